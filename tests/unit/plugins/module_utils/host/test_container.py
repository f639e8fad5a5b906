"""What the state of a container means."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.devorch.orchestration.plugins.module_utils.host.container import State, verdict

TOLD: dict[str, Any] = {
    "RestartCount": 0,
    "State": {
        "Status": "running",
        "ExitCode": 0,
        "OOMKilled": False,
        "Error": "",
        "StartedAt": "2026-01-02T03:04:05.123456789Z",
        "Health": {"Status": "healthy", "FailingStreak": 0},
    },
}
WELL = State.parse(TOLD)


def test_state_is_read() -> None:
    assert WELL.started == 1767323045.123456
    assert State.parse({"State": {"Status": "created", "StartedAt": "0001-01-01T00:00:00Z"}}).started == 0.0
    assert State.parse({"State": {"Status": "running", "StartedAt": "2026-01-02T03:04:05.5Z"}}).started % 1 == 0.5


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (WELL, ""),
        (replace(WELL, health=""), ""),
        (replace(WELL, health="starting"), None),
        (replace(WELL, status="restarting", restarts=1), None),
        (replace(WELL, status="created"), None),
        (None, "does not exist"),
        (replace(WELL, health="unhealthy"), "is unhealthy: its health check fails"),
        (replace(WELL, status="exited", exit_code=3), "ended with code 3"),
        (replace(WELL, status="created", error="port is taken"), "was not started: port is taken"),
        (
            replace(WELL, status="running", restarts=3, exit_code=137, out_of_memory=True),
            "does not stay up: Docker restarted it 3 times, and it last ended with code 137, killed for lack of memory",
        ),
    ],
)
def test_verdict(state: State | None, expected: str | None) -> None:
    assert verdict(state, 0, 3) == expected


@pytest.mark.parametrize(
    ("state", "dependency", "now", "expected"),
    [
        (WELL, None, 0.0, False),
        (replace(WELL, health="unhealthy"), None, 0.0, True),
        (WELL, replace(WELL, started=WELL.started + 2), WELL.started + 3, False),
        (replace(WELL, health="starting"), replace(WELL, started=WELL.started + 10), WELL.started + 100, True),
        (WELL, replace(WELL, started=WELL.started + 10), WELL.started + 20, True),
        (WELL, replace(WELL, started=WELL.started + 10), WELL.started + 100, False),
        (replace(WELL, failures=2), replace(WELL, started=WELL.started + 10), WELL.started + 100, True),
        (replace(WELL, status="restarting", health="unhealthy"), None, 0.0, False),
    ],
)
def test_restart(state: State, dependency: State | None, now: float, expected: bool) -> None:
    assert state.needs_restart(dependency, now) is expected
