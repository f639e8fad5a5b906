"""A wrong change is refused, or takes itself back: the former service answers, and nothing is lost."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from ..sampling import sample
from .conftest import Host, Run
from .data import answers, configuration, data, leftovers, seed
from .wrong_changes import CHANGES, PREFLIGHT, TAKEN_BACK, WRITTEN, Wrong

REFUSED = sample([change for change in CHANGES if change.stage == PREFLIGHT], 8)
BEFORE_WRITING = sample([change for change in CHANGES if change.stage == WRITTEN], 2)
BACK = sample([change for change in CHANGES if change.stage == TAKEN_BACK], 1)


def test_the_table_is_long_and_has_every_role() -> None:
    assert len(CHANGES) >= 40
    assert len({change.name for change in CHANGES}) == len(CHANGES)
    assert {change.role for change in CHANGES} == {"docker", "postgres", "kestra", "n8n", "sidecar", "orchestration"}


@pytest.fixture(scope="module")
def kept(host: Host, converged: Run) -> dict[str, Any]:
    """What the host holds before any of the changes."""
    seed(host)
    return data(host)


def started(host: Host) -> str:
    return host.shell(
        "docker inspect --format '{{.Name}} {{.State.StartedAt}}' $(docker ps -aq); pidof dockerd;"
        " systemctl show --property=MainPID orchestration-sidecar"
    )


@pytest.fixture(scope="module")
def refused(host: Host, kept: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What each change was told; the host has as many names as there are changes, so that one run tries them all."""
    before = configuration(host), started(host)
    hosts = {change.name: {**change.variables, "role": change.playing} for change in (*REFUSED, *BEFORE_WRITING)}
    directory = tmp_path_factory.mktemp("inventory")
    run = host.play("tests/system/role.yml", hosts, directory, about=f"{len(hosts)} changes, about a minute")
    assert run.code != 0
    assert (configuration(host), started(host)) == before, "a refused change touched the host"
    return {name: run.of(name) for name in hosts}


@pytest.mark.parametrize("change", [*REFUSED, *BEFORE_WRITING], ids=lambda change: change.name)
def test_refused_before_the_host_is_touched(change: Wrong, refused: dict[str, str]) -> None:
    assert change.message in refused[change.name], refused[change.name]
    assert re.search(r"failed=1\b", refused[change.name])
    assert re.search(r"changed=0\b", refused[change.name])


@pytest.mark.parametrize("change", BACK, ids=lambda change: change.name)
def test_taken_back_by_itself(change: Wrong, host: Host, kept: dict[str, Any], tmp_path: Path) -> None:
    before = configuration(host)
    variables = {**change.variables, "role": change.role, "orchestration_start_timeout": change.limit}
    run = host.play("tests/system/role.yml", {change.name: variables}, tmp_path, about="about 2 minutes")
    assert run.code != 0
    assert change.message in " ".join(run.output.split()), run.output[-6000:]
    assert configuration(host) == before
    host.wait("every service answers", lambda: answers(host), 300)
    assert data(host) == kept
    assert leftovers(host) == ""


def test_right_change_goes_through_after_all_that(host: Host, kept: dict[str, Any]) -> None:
    assert host.site({}, about="about a minute").succeeded().recap["failed"] == 0
    assert data(host) == kept
