"""Scripts of flows on Kestra's own task runners: processes, and containers of a Docker."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from . import scripts
from .kestra import Kestra, docker


@pytest.fixture
def containers(images: None) -> Iterator[set[str]]:
    """The containers before the test; those of scripts are gone after it."""
    before = set(docker("ps", "--all", "--quiet", "--filter", f"ancestor={scripts.IMAGE}").split())
    yield before
    assert set(docker("ps", "--all", "--quiet", "--filter", f"ancestor={scripts.IMAGE}").split()) <= before


@pytest.mark.parametrize("runner", ["process", "docker"])
def test_scripts_run(kestra: Kestra, containers: set[str], runner: str) -> None:
    kestra.save_flow(scripts.flow(runner, scripts.PROCESS if runner == "process" else scripts.docker_runner()))
    execution = kestra.execute(f"{scripts.NAMESPACE}/{runner}")
    assert execution["state"]["current"] == "SUCCESS", kestra.messages(execution)
    outputs = kestra.call("GET", f"/outputs/executions/{execution['id']}").json()
    own = json.loads(docker("inspect", "--format", "{{json .Config.Hostname}}", kestra.container))
    assert outputs["said"] == f"Grüße ☃ from {runner}"
    # The price of each, as docs/flows.md has it.
    assert (outputs["hostname"] == own, outputs["secret"]) == ((True, "seen") if runner == "process" else (False, ""))
