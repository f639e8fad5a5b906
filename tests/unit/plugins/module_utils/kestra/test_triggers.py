"""What the module makes of a trigger's state."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.client import Connection, KestraClient
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.triggers import (
    Trigger,
    TriggerPlan,
    Triggers,
    WantedTrigger,
    make_plan,
    parse,
    reached,
    same_moment,
)

from ....fake_kestra import PASSWORD, USERNAME, Answer, FakeKestra
from ....in_process import call

START, END = "2026-11-01T00:00:00+00:00", "2026-11-07T00:00:00+00:00"
BACKFILL = {"start": "2026-11-01T00:00:00Z", "end": END, "paused": False, "labels": [{"key": "a", "value": "b"}]}


def trigger(disabled: bool = False, locked: bool = False, backfill: dict[str, Any] | None = None) -> Trigger:
    return parse({"disabled": disabled, "locked": locked, "backfill": backfill, "nextEvaluationDate": START})


@pytest.mark.parametrize(
    ("now", "wanted", "steps"),
    [
        (trigger(), WantedTrigger(), ()),
        (trigger(), WantedTrigger(enabled=True), ()),
        (trigger(), WantedTrigger(enabled=False), ("disable",)),
        (trigger(disabled=True), WantedTrigger(enabled=True), ("enable",)),
        (trigger(disabled=True), WantedTrigger(enabled=False), ()),
        (trigger(), WantedTrigger(unlocked=True), ()),
        (trigger(locked=True), WantedTrigger(), ()),
        (trigger(disabled=True, locked=True), WantedTrigger(True, True), ("unlock", "enable")),
        (trigger(locked=True), WantedTrigger(False, True), ("disable", "unlock")),
        (trigger(), WantedTrigger(backfill="absent"), ()),
        (trigger(backfill=BACKFILL), WantedTrigger(backfill="absent"), ("delete-backfill",)),
        (trigger(), WantedTrigger(backfill="running", start=START), ("create-backfill",)),
        (trigger(backfill=BACKFILL), WantedTrigger(backfill="running"), ()),
        (trigger(backfill=BACKFILL), WantedTrigger(backfill="running", start=START, end=END, labels={"a": "b"}), ()),
        (trigger(backfill=BACKFILL), WantedTrigger(backfill="paused"), ("pause-backfill",)),
        (trigger(backfill=BACKFILL | {"paused": True}), WantedTrigger(backfill="paused"), ()),
        (trigger(backfill=BACKFILL | {"paused": True}), WantedTrigger(backfill="running"), ("unpause-backfill",)),
    ],
)
def test_steps(now: Trigger, wanted: WantedTrigger, steps: tuple[str, ...]) -> None:
    plan = make_plan(now, wanted)
    assert (plan.steps, plan.problem) == (steps, None)
    assert (plan.before == plan.after) == (steps == ())


@pytest.mark.parametrize(
    ("now", "wanted", "words"),
    [
        (trigger(), WantedTrigger(backfill="paused"), "there is no backfill"),
        (trigger(), WantedTrigger(backfill="running"), "Set a start"),
        (trigger(backfill=BACKFILL), WantedTrigger(backfill="running", start=END), "from 2026-11-01T00:00:00Z"),
        (trigger(backfill=BACKFILL), WantedTrigger(backfill="running", end=START), "until 2026-11-07"),
        (trigger(backfill=BACKFILL), WantedTrigger(backfill="paused", labels={"c": "d"}), "with the labels {'a': 'b'}"),
        (trigger(backfill=BACKFILL), WantedTrigger(backfill="running", inputs={"c": "d"}), "with other inputs"),
    ],
)
def test_backfills_that_cannot_be(now: Trigger, wanted: WantedTrigger, words: str) -> None:
    plan = make_plan(now, wanted)
    assert plan.steps == () and plan.problem is not None and words in plan.problem


def test_what_a_plan_shows() -> None:
    plan = make_plan(trigger(disabled=True), WantedTrigger(enabled=True, backfill="running", start=START))
    before = {"enabled": False, "locked": False, "backfill": None}
    after = {"enabled": True, "locked": False, "backfill": {"start": START, "end": None, "paused": False}}
    assert plan == TriggerPlan(("enable", "create-backfill"), before, after)


@pytest.mark.parametrize(
    ("raw", "locked"),
    [
        ({"disabled": False}, False),
        ({"executionId": "x"}, True),
        ({"evaluateRunningDate": START}, True),
        # 2.x says it itself: a trigger that may run twice has an execution and is not locked.
        ({"locked": False, "executionId": "x"}, False),
    ],
)
def test_what_is_locked(raw: dict[str, Any], locked: bool) -> None:
    assert parse(raw).locked is locked


def test_both_forms_are_told_alike() -> None:
    new = {"disabled": True, "locked": True, "nextEvaluationDate": START, "lastTriggeredDate": END, "executionId": "x"}
    old = {"disabled": True, "nextExecutionDate": START, "date": END, "executionId": "x"}
    assert parse(new).as_result() == parse(old).as_result()
    assert parse(new | {"backfill": BACKFILL}).as_result()["backfill"] == {
        "start": "2026-11-01T00:00:00Z",
        "end": END,
        "current_date": None,
        "paused": False,
        "labels": {"a": "b"},
        "inputs": [],
    }


def test_moments() -> None:
    assert same_moment("2026-11-01T00:00:00Z", "2026-11-01T01:00:00+01:00")
    assert not same_moment(START, END)
    assert same_moment(None, None) and not same_moment(None, END)


@pytest.mark.parametrize(
    ("step", "now", "expected"),
    [
        ("enable", trigger(), True),
        ("enable", trigger(disabled=True), False),
        ("disable", trigger(disabled=True), True),
        ("unlock", trigger(), True),
        ("unlock", trigger(locked=True), False),
        ("create-backfill", trigger(backfill=BACKFILL), True),
        ("create-backfill", trigger(), False),
        ("delete-backfill", trigger(), True),
        ("delete-backfill", trigger(backfill=BACKFILL), False),
        ("pause-backfill", trigger(backfill=BACKFILL), False),
        ("unpause-backfill", trigger(backfill=BACKFILL), True),
        ("pause-backfill", trigger(), True),
    ],
)
def test_when_a_step_shows(step: str, now: Trigger, expected: bool) -> None:
    assert reached(step, trigger(), now) is expected


def options(server: FakeKestra, trigger_id: str, **more: Any) -> dict[str, Any]:
    connection = {"url": server.url, "username": USERNAME, "password": PASSWORD}
    return {**connection, "namespace": "team", "flow": "one", "id": trigger_id, "enabled": False, **more}


def test_a_webhook_is_refused_before_anything_is_asked_of_the_scheduler() -> None:
    hook = {"id": "hook", "type": "io.kestra.plugin.core.trigger.Webhook"}
    with FakeKestra(read_only=True) as server:
        server.add("id: one\nnamespace: team\n", triggers=[hook])
        result = call("kestra_trigger", options(server, "hook"))
        assert not any("/triggers" in request for request in server.requests)
        other = call("kestra_trigger", options(server, "nope"))
        nowhere = call("kestra_trigger", options(server, "hook", flow="two"))
    assert result["failed"] and "is a io.kestra.plugin.core.trigger.Webhook" in result["msg"]
    assert "disabled: true" in result["msg"]
    assert other["failed"] and "Flow team/one has no trigger nope: it has hook." in other["msg"]
    assert nowhere["failed"] and "the flow does not exist" in nowhere["msg"]


@pytest.mark.parametrize(("version", "enabled"), [("0.21.0", False), ("2.0.5", True)])
def test_a_trigger_that_the_text_disables(version: str, enabled: bool) -> None:
    """Old versions do not tell it in the state; later ones have it there."""
    schedule = {"id": "daily", "type": "io.kestra.plugin.core.trigger.Schedule", "disabled": True}
    state = {"triggerId": "daily", "disabled": False}
    with FakeKestra(version=version) as server:
        server.add("id: one\nnamespace: team\n", triggers=[schedule])
        server.prepare("GET /api/v1/main/triggers/team/one", *[Answer(200, {"results": [state], "total": 1})] * 2)
        found = call("kestra_trigger", options(server, "daily", enabled=None))
        assert found["trigger"]["enabled"] is enabled
        wanted = call("kestra_trigger", options(server, "daily", enabled=True))
    assert wanted["failed"] is not enabled
    assert enabled or "is disabled in the text of its flow" in wanted["msg"]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"wait_timeout": -1}, "wait_timeout is -1"),
        ({"backfill": {"start": "yesterday"}}, "backfill.start is not an ISO 8601 date"),
    ],
)
def test_options_that_cannot_be_right(more: dict[str, Any], words: str) -> None:
    with FakeKestra() as server:
        result = call("kestra_trigger", options(server, "x", **more))
        assert server.requests == []
    assert result["failed"] and words in result["msg"]


def test_triggers_are_listed_in_an_order() -> None:
    with FakeKestra() as server:
        server.prepare("GET /api/v1/main/triggers/team/one", Answer(200, {"results": [], "total": 0}))
        client = KestraClient(Connection(server.url, username=USERNAME, password=PASSWORD, retries=0))
        assert Triggers(client).find("team", "one", "t") is None
        assert "sort=triggerId%3Aasc" in server.requests[0]
