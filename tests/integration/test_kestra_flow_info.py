"""`kestra_flow_info` on a live server."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

from ..unit.in_process import call
from ..unit.playbook import play
from .contracts.kestra_flows import flow
from .kestra import Kestra, wait_until

SCHEDULE = "triggers: [{id: yearly, type: io.kestra.plugin.core.trigger.Schedule, cron: '0 0 1 1 *'}]\n"


def test_flows_with_history_and_activity(either: Kestra, tmp_path: Path) -> None:
    namespace = f"test.n{secrets.token_hex(4)}"
    either.save_flow(flow("one", namespace))
    either.save_flow(flow("one", namespace, "again") + SCHEDULE)
    either.save_flow(flow("two", f"{namespace}.below") + "description: Says <hello>\n")
    either.save_flow(flow("three", f"{namespace}ish"))
    execution = either.execute(f"{namespace}/one")
    path = f"/triggers/{namespace}/one"
    wait_until("the scheduler knows the trigger", lambda: either.call("GET", path).json()["total"] == 1, 30)
    given = {"url": either.url, "username": either.username, "password": either.password, "namespace": namespace}
    searches = [
        {"below": True},
        {"below": True, "labels": {"managed-by": "nobody"}},
        {"id": "one", "source": True, "revisions": True, "activity": True},
        {"below": True, "query": "two"},
        {"below": True, "limit": 1},
        {"id": "none"},
    ]
    tasks = [{"name": "Look", "devorch.orchestration.kestra_flow_info": {**given, **search}} for search in searches]
    played = play(tmp_path, tasks)
    assert played.returncode == 0, played.output
    both, nothing, detailed, described, first, none = (result["flows"] for result in played.results)
    assert [(each["namespace"], each["id"], each["revision"]) for each in both] == [
        (namespace, "one", 2),
        (f"{namespace}.below", "two", 1),
    ]
    assert both[1]["description"] == "Says <hello>" and both[0]["labels"] == {"managed-by": "ansible"}
    assert nothing == none == [] and [each["id"] for each in described] == ["two"] and len(first) == 1
    (one,) = detailed
    assert one["source"] == flow("one", namespace, "again") + SCHEDULE
    assert [(each["revision"], each["source"]) for each in one["revisions"]] == [
        (1, flow("one", namespace)),
        (2, flow("one", namespace, "again") + SCHEDULE),
    ]
    assert one["last_execution"]["id"] == execution["id"] and one["last_execution"]["state"] == "SUCCESS"
    (trigger,) = one["triggers"]
    assert trigger["id"] == "yearly" and trigger["enabled"] and trigger["next_date"]


CALL = "  - {id: call, type: io.kestra.plugin.core.flow.Subflow, namespace: %s, flowId: child}\n"


def test_which_flows_start_which_and_what_a_version_lacks(either: Kestra) -> None:
    """The server has them as the engine of 2.0 takes them; the older one is asked the same."""
    namespace = f"test.n{secrets.token_hex(4)}"
    either.save_flow(flow("child", namespace))
    either.save_flow(flow("parent", namespace) + CALL % namespace)
    given = {"url": either.url, "username": either.username, "password": either.password, "namespace": namespace}

    def look() -> list[dict[str, Any]]:
        result = call("kestra_flow_info", {**given, "dependencies": True, "target_version": "2.0"})
        assert result["failed"] is False and result["problems"] == [], result["msg"]
        flows: list[dict[str, Any]] = result["flows"]
        return flows

    wait_until("the dependency is known", lambda: bool(look()[0]["started_by"]), 30)
    child, parent = look()
    edge = {"namespace": namespace, "relation": "FLOW_TASK"}
    assert (child["started_by"], child["starts"]) == ([{**edge, "id": "parent"}], [])
    assert (parent["started_by"], parent["starts"]) == ([], [{**edge, "id": "child"}])
