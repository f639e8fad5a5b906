"""Call `kestra_flows` without Ansible around it, for tests that need hundreds of runs."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.client import (
    Connection,
    KestraClient,
    KestraError,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.module import Failure
from ansible_collections.devorch.orchestration.plugins.modules import kestra_flows

DEFAULTS: dict[str, Any] = {
    name: option.get("default") for name, option in yaml.safe_load(kestra_flows.DOCUMENTATION)["options"].items()
}


class Module:
    """What `kestra_flows.run` needs of an AnsibleModule."""

    def __init__(self, params: dict[str, Any], check_mode: bool, tmpdir: str) -> None:
        self.params = params
        self.check_mode = check_mode
        self.tmpdir = tmpdir
        self.warnings: list[str] = []

    def warn(self, text: str) -> None:
        self.warnings.append(text)

    def atomic_move(self, source: str, target: str) -> None:
        Path(source).replace(target)


def load_flows(connection: Connection, check_mode: bool = False, **options: Any) -> dict[str, Any]:
    """Run the module; return its result, with `failed` and `warnings`. What is no failure it names, is raised."""
    state = kestra_flows.Run(shows_diff=True)
    unknown = set(options) - set(DEFAULTS)
    assert not unknown, unknown
    with tempfile.TemporaryDirectory() as directory:
        module = Module({**DEFAULTS, "remote_src": True, **options}, check_mode, directory)
        client = KestraClient(connection, module.params["concurrency"])
        try:
            words, failed = kestra_flows.run(module, client, state), False
        except (Failure, KestraError) as error:
            words, failed = str(error), True
            state.give_up()
        finally:
            client.close()
    return {**state.result(words), "failed": failed, "warnings": module.warnings}
