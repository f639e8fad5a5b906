"""Call `kestra_flows` without Ansible around it, for tests that need hundreds of runs."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.client import Connection, KestraClient
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows.run import Run, run
from ansible_collections.devorch.orchestration.plugins.module_utils.module import run_with
from ansible_collections.devorch.orchestration.plugins.modules.kestra_flows import DOCUMENTATION

DEFAULTS: dict[str, Any] = {
    name: option.get("default") for name, option in yaml.safe_load(DOCUMENTATION)["options"].items()
}


class Ended(Exception):
    """The end of the module: its result."""


class Module:
    """The part of an AnsibleModule that a run uses."""

    def __init__(self, params: dict[str, Any], check_mode: bool, tmpdir: str) -> None:
        self.params = params
        self.check_mode = check_mode
        self.tmpdir = tmpdir
        self.warnings: list[str] = []

    def warn(self, text: str) -> None:
        self.warnings.append(text)

    def atomic_move(self, source: str, target: str) -> None:
        Path(source).replace(target)

    def exit_json(self, **result: Any) -> None:
        raise Ended({**result, "failed": False, "warnings": self.warnings})

    def fail_json(self, **result: Any) -> None:
        raise Ended({**result, "failed": True, "warnings": self.warnings})


def load_flows(connection: Connection, check_mode: bool = False, **options: Any) -> dict[str, Any]:
    """Run the module; return its result, with `failed` and `warnings`. An error of the collection is raised."""
    state = Run(shows_diff=True)
    unknown = set(options) - set(DEFAULTS)
    assert not unknown, unknown
    with tempfile.TemporaryDirectory() as directory:
        module: Any = Module({**DEFAULTS, "remote_src": True, **options}, check_mode, directory)
        client = KestraClient(connection, module.params["concurrency"])
        try:
            run_with(module, client, lambda opened: run(module, opened, state), state.failure)
        except Ended as ended:
            result: dict[str, Any] = ended.args[0]
            assert "exception" not in result, result["exception"]
            return result
    raise AssertionError("the module did not end")
