"""What is read of a server's work, from a client that answers from a list."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra import activity as kestra_activity

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
SCHEDULE = {"namespace": "a", "flowId": "b", "triggerId": "t"}


class Client:
    """Has executions, as (state, start), and the answers of two searches."""

    def __init__(self, executions: list[tuple[str, str]], flows: list[Any], triggers: list[Any]) -> None:
        self.executions = executions
        self.lists = {"flows": flows, "triggers": triggers}
        self.requests = 0

    def server_info(self) -> Any:
        return SimpleNamespace(version="2.0.5", has_filters=True, is_2=True)

    def path(self, *segments: str) -> str:
        return "/".join(segments)

    def _found(self, params: dict[str, Any]) -> list[dict[str, Any]]:
        states = params.get("filters[state][IN]", "").split(",")
        since = params.get("filters[startDate][GREATER_THAN_OR_EQUAL_TO]", "")
        until = params.get("filters[startDate][LESS_THAN_OR_EQUAL_TO]", "9")
        return [
            {"id": start, "namespace": "a", "flowId": "b", "state": {"current": state, "startDate": start}}
            for state, start in self.executions
            if states in ([""], []) or state in states
            if since <= start <= until
        ]

    def search(self, path: str, doing: str, params: Any = None, most: int | None = None) -> list[Any]:
        if path.startswith("executions"):
            return self._found(params)[:most]
        return self.lists[path.split("/")[0]]

    def request(self, method: str, path: str, doing: str, params: dict[str, Any]) -> Any:
        assert method == "GET"
        self.requests += 1
        found = self._found(params)
        return SimpleNamespace(text=json.dumps({"results": found[:1], "total": len(found)}))

    def json(self, response: Any, doing: str) -> Any:
        return json.loads(response.text)

    def object(self, value: Any, doing: str) -> Any:
        return value


def look(client: Client, **more: int) -> dict[str, Any]:
    return kestra_activity.collect(client, NOW, **{"days": 3, "stuck_hours": 24, **more})  # type: ignore[arg-type]


def test_executions_are_counted_by_day_and_state() -> None:
    executions = [
        ("SUCCESS", "2026-11-22T00:00:00.000Z"),
        ("SUCCESS", "2026-11-22T23:59:59.900Z"),
        ("FAILED", "2026-11-23T13:00:00.000Z"),
        ("RUNNING", "2026-11-24T11:00:00.000Z"),
        ("CANCELLED", "2026-11-24T11:00:00.000Z"),
        ("RUNNING", "2026-11-21T11:00:00.000Z"),
    ]
    found = look(Client(executions, [], []))
    nothing = {"success": 0, "warning": 0, "failed": 0, "killed": 0, "other": 0}
    assert found["by_day"] == [
        {**nothing, "day": "2026-11-22", "success": 2},
        {**nothing, "day": "2026-11-23", "failed": 1},
        {**nothing, "day": "2026-11-24", "killed": 1, "other": 1},
    ]
    assert found["last_day"] == {**nothing, "failed": 1, "killed": 1, "other": 1}
    assert [one["id"] for one in found["stuck"]] == ["2026-11-21T11:00:00.000Z"]
    assert found["stuck_total"] == 1


def test_many_executions_take_as_many_requests_as_none() -> None:
    many, none = Client([("SUCCESS", "2026-11-24T01:00:00.000Z")] * 5000, [], []), Client([], [], [])
    look(many)
    look(none)
    assert many.requests == none.requests == 21


def test_flows_that_cannot_be_read_are_named() -> None:
    flows = [
        {"namespace": "a", "id": "good", "tasks": [{}]},
        {"namespace": "a", "id": "bad", "exception": "no such task"},
        {"namespace": "a", "id": "gone", "tasks": [], "deleted": True},
    ]
    assert look(Client([], flows, []))["broken_flows"] == {"a/bad": "no such task"}


@pytest.mark.parametrize(
    "entry",
    [
        {"trigger": {}, "state": {**SCHEDULE, "nextEvaluationDate": "n", "updatedAt": "u", "locked": True}},
        {
            "abstractTrigger": {},
            "triggerContext": {**SCHEDULE, "nextExecutionDate": "n", "evaluateRunningDate": "u"},
        },
    ],
    ids=["2.0", "1.3"],
)
def test_triggers_of_both_dialects(entry: dict[str, Any]) -> None:
    flows = [{"namespace": "a", "id": "b", "tasks": [{}]}]
    assert look(Client([], flows, [entry]))["triggers"] == [
        {"namespace": "a", "flow": "b", "id": "t", "enabled": True, "locked": True, "next_date": "n", "since": "u"}
    ]


def test_triggers_of_disabled_flows_rest() -> None:
    flows = [{"namespace": "a", "id": "b", "tasks": [{}], "disabled": True}]
    assert look(Client([], flows, [{"state": SCHEDULE}]))["triggers"] == []
