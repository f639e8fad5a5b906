"""`kestra_trigger` on a live Kestra: its own scheduler keeps the triggers."""

from __future__ import annotations

from typing import Any

import pytest

from ..faults.proxy import Proxy
from ..unit.in_process import call
from .executions import NIGHTLY, fresh_namespace
from .kestra import Kestra, wait_until

WEEK = {"start": "2026-11-01 00:00", "end": "2026-11-07T00:00:00Z"}

# Its executions are much longer than a test, and the next one has to wait for them.
BUSY = """\
id: busy
namespace: {namespace}
tasks: [{{id: sleep, type: io.kestra.plugin.core.flow.Sleep, duration: PT5M}}]
triggers:
  - {{id: often, type: io.kestra.plugin.core.trigger.Schedule, cron: "* * * * * *", withSeconds: true}}
"""


@pytest.fixture
def namespace() -> str:
    """A namespace of this test's own."""
    return fresh_namespace()


def run(kestra: Kestra, namespace: str, check: bool = False, url: str | None = None, **options: Any) -> dict[str, Any]:
    """Change the trigger of the nightly flow, or another one."""
    name = {"namespace": namespace, "flow": "nightly", "id": "every-night"}
    connection = {"url": url or kestra.url, "username": kestra.username, "password": kestra.password, "timeout": 120}
    result = call("kestra_trigger", {**connection, **name, **options}, check=check)
    assert kestra.password not in str(result) and "exception" not in result
    return result


def executions(kestra: Kestra, namespace: str) -> list[dict[str, Any]]:
    query = {"filters[namespace][EQUALS]": namespace, "size": 100, "sort": "state.startDate:asc"}
    found: list[dict[str, Any]] = kestra.call("GET", "/executions/search", params=query).json()["results"]
    return found


def test_a_trigger_rests_and_works_again(either: Kestra, namespace: str) -> None:
    either.save_flow(NIGHTLY.format(namespace=namespace))
    # The scheduler learns of the flow a moment later; the module waits for that.
    with Proxy(either.url, read_only=True) as proxy:
        asked = run(either, namespace, check=True, url=proxy.url, enabled=False)
    rests = run(either, namespace, enabled=False)
    assert not rests["failed"] and rests["changed"] and asked["changed"], rests["msg"]
    assert rests["diff"] == asked["diff"]
    assert rests["steps"] == asked["steps"] == ["disable"]
    assert (rests["trigger"]["enabled"], asked["trigger"]["enabled"]) == (False, True)
    assert not run(either, namespace, enabled=False)["changed"]
    assert not run(either, namespace)["changed"]
    works = run(either, namespace, enabled=True)
    assert works["changed"] and works["trigger"]["enabled"]
    assert works["msg"] == f"Trigger {namespace}/nightly/every-night: enable"
    revision = either.call("GET", f"/flows/{namespace}/nightly").json()["revision"]
    assert revision == 1


def test_a_backfill_from_its_beginning_to_its_removal(either: Kestra, namespace: str) -> None:
    either.save_flow(NIGHTLY.format(namespace=namespace))
    # A trigger that rests keeps its backfill where it is.
    run(either, namespace, enabled=False)
    nothing = run(either, namespace, backfill={"state": "paused"})
    assert nothing["failed"] and "there is no backfill to pause" in nothing["msg"]
    vague = run(either, namespace, backfill={"state": "running"})
    assert vague["failed"] and "Set a start to create one" in vague["msg"]

    begin = {"backfill": {**WEEK, "labels": {"reason": "outage"}}}
    asked = run(either, namespace, check=True, **begin)
    begun = run(either, namespace, **begin)
    assert not begun["failed"] and begun["changed"] and begun["diff"] == asked["diff"], begun["msg"]
    backfill = begun["trigger"]["backfill"]
    assert (backfill["paused"], backfill["labels"]) == (False, {"reason": "outage"})
    assert backfill["start"].startswith("2026-11-01T00:00") and backfill["end"].startswith("2026-11-07T00:00")
    assert not run(either, namespace, **begin)["changed"]

    other = run(either, namespace, backfill={"start": "2026-10-01"})
    assert other["failed"] and "another backfill is under way, from 2026-11-01T00:00" in other["msg"]
    paused = run(either, namespace, backfill={"state": "paused"})
    assert paused["changed"] and paused["trigger"]["backfill"]["paused"]
    assert not run(either, namespace, backfill={"state": "paused"})["changed"]
    assert run(either, namespace, **begin)["steps"] == ["unpause-backfill"]
    # Before 2.0 the whole trigger is sent to switch it, and must not begin its backfill anew.
    works = run(either, namespace, backfill={"state": "absent"}, enabled=True)
    assert works["steps"] == ["enable", "delete-backfill"] and works["trigger"]["backfill"] is None
    assert works["trigger"]["enabled"]
    gone = run(either, namespace, backfill={"state": "absent"})
    assert not gone["failed"] and not gone["changed"]


def test_a_backfill_runs_what_was_missed(either: Kestra, namespace: str) -> None:
    either.save_flow(NIGHTLY.format(namespace=namespace))
    result = run(either, namespace, backfill={**WEEK, "end": "2026-11-03T00:00:00Z", "labels": {"reason": "outage"}})
    assert not result["failed"] and result["changed"], result["msg"]

    label = {"key": "reason", "value": "outage"}

    def dates() -> list[str]:
        # The schedule itself may fire meanwhile; what it starts has no such label.
        made_up = [one for one in executions(either, namespace) if label in one["labels"]]
        return sorted(one["trigger"]["variables"]["date"][:10] for one in made_up)

    wait_until("both nights were made up for", lambda: dates() == ["2026-11-01", "2026-11-02"], 120)


def test_a_locked_trigger_is_released(either: Kestra, namespace: str) -> None:
    either.save_flow(BUSY.format(namespace=namespace))
    wait_until("the schedule fired", lambda: len(executions(either, namespace)) == 1, 60)
    busy = {"flow": "busy", "id": "often"}

    def locked() -> bool:
        seen = run(either, namespace, check=True, **busy, unlocked=True)
        return bool(seen["steps"] == ["unlock"])

    wait_until("the trigger is locked", locked, 60)
    released = run(either, namespace, **busy, enabled=False, unlocked=True)
    assert not released["failed"] and released["changed"], released["msg"]
    assert released["steps"] == ["disable", "unlock"]
    assert not released["trigger"]["enabled"] and not released["trigger"]["locked"]
    assert not run(either, namespace, **busy, enabled=False, unlocked=True)["changed"]
    for execution in executions(either, namespace):
        call_path = f"/executions/{execution['id']}" + ("/actions/kill" if either.dialect == "2.0" else "/kill")
        either.call("DELETE", call_path)


def test_what_the_scheduler_does_not_know(either: Kestra, namespace: str) -> None:
    either.save_flow(NIGHTLY.format(namespace=namespace))
    hook = run(either, namespace, id="hook", enabled=False)
    assert hook["failed"] and "is a io.kestra.plugin.core.trigger.Webhook" in hook["msg"]
    missing = run(either, namespace, id="nope", enabled=False)
    assert missing["failed"] and "has no trigger nope: it has every-night, hook." in missing["msg"]
    nowhere = run(either, namespace, flow="nope", enabled=False)
    assert nowhere["failed"] and "the flow does not exist" in nowhere["msg"]
