"""A wrong change is refused, or takes itself back: the former service answers, and nothing is lost."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any

import pytest

from ..sampling import LONG, sample
from .conftest import Host, Run
from .data import answers, configuration, data, leftovers, seed
from .wrong_changes import CHANGES, ODD, PREFLIGHT, TAKEN_BACK, WRITTEN, Odd, Wrong, batches

REFUSED = sample([change for change in CHANGES if change.stage == PREFLIGHT], 8)
BEFORE_WRITING = sample([change for change in CHANGES if change.stage == WRITTEN], 2)
BACK = sample([change for change in CHANGES if change.stage == TAKEN_BACK], 1)
# One run has all that do not set the same: a sample of them costs one run, and all of them three.
RIGHT = batches(ODD) if LONG else batches(sample(ODD, 12))[:1]


def test_the_table_is_long_and_has_every_role() -> None:
    assert len(CHANGES) >= 80 and len(ODD) >= 40
    assert len({change.name for change in (*CHANGES, *ODD)}) == len(CHANGES) + len(ODD)
    assert sum(len(rows) for _variables, rows in batches(ODD)) == len(ODD) and len(batches(ODD)) <= 4
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
    for message in (change.message, *change.also):
        assert message in refused[change.name], refused[change.name]
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


def environment(host: Host, service: str) -> dict[str, str]:
    """Return the environment of a service's first process, byte for byte."""
    read = host.shell(f"docker exec orchestration-{service}-1 base64 /proc/1/environ")
    lines = base64.b64decode(read).decode().split("\0")
    return dict(line.partition("=")[::2] for line in lines if line)


def landed(host: Host, row: Odd) -> tuple[dict[str, str | None], str]:
    """Return what a row is to lead to, as it is on the host."""
    found = environment(host, row.role) if row.environment else {}
    printed = host.shell(row.script, check=False) if row.script else ""
    return {name: found.get(name) for name in row.environment}, printed


@pytest.mark.parametrize(("variables", "rows"), RIGHT, ids=[f"run-{number}" for number in range(1, len(RIGHT) + 1)])
def test_odd_changes_that_are_right_go_through(
    variables: dict[str, Any], rows: list[Odd], host: Host, kept: dict[str, Any]
) -> None:
    host.site(variables, about=f"{len(rows)} changes, about 2 minutes").succeeded()
    wanted = {row.name: (row.environment, row.expected) for row in rows}
    assert {row.name: landed(host, row) for row in rows} == wanted


def test_right_change_goes_through_after_all_that(host: Host, kept: dict[str, Any]) -> None:
    assert host.site({}, about="about a minute").succeeded().recap["failed"] == 0
    host.wait("every service answers", lambda: answers(host), 120)
    assert data(host) == kept
