"""Kestra's own engine judges the constructs that the rules call refused, and those that they only warn of."""

from __future__ import annotations

import time

import pytest

from ..unit.plugins.module_utils.kestra.flows.flow_constructs import CONSTRUCTS, HEAD, ODD_NAMES, TASKS
from .kestra import Kestra, wait_until


@pytest.mark.parametrize("name", [name for name, construct in CONSTRUCTS.items() if construct.verdict != "elsewhere"])
def test_the_engine_agrees_about_what_it_refuses(kestra: Kestra, name: str) -> None:
    construct = CONSTRUCTS[name]
    headers = {"Content-Type": "application/x-yaml"}
    answer = kestra.call("POST", "/flows/validate", data=construct.text.encode(), headers=headers)
    (verdict,) = answer.json()
    assert bool(verdict.get("constraints")) == (construct.verdict == "refused"), verdict


@pytest.mark.parametrize("name", ["json function", "json filter"])
def test_what_the_engine_takes_and_the_rules_warn_of_fails_when_it_runs(kestra: Kestra, name: str) -> None:
    kestra.save_flow(CONSTRUCTS[name].text)
    execution = kestra.execute("rules/old")
    assert execution["state"]["current"] == "FAILED"
    # The log comes a moment after the end.
    wait_until("the log tells why", lambda: "json" in kestra.messages(execution), 20)


def test_the_engine_agrees_about_names_that_it_reads_otherwise(kestra: Kestra) -> None:
    headers = {"Content-Type": "application/x-yaml"}
    read = {}
    for value, _odd in ODD_NAMES:
        text = f"id: {value}\nnamespace: rules\n{TASKS}"
        (verdict,) = kestra.call("POST", "/flows/validate", data=text.encode(), headers=headers).json()
        read[value] = verdict.get("flow")
    assert {value: name != value for value, name in read.items()} == dict(ODD_NAMES)


def test_the_engine_takes_what_the_rules_let_pass(kestra: Kestra) -> None:
    """A mapping that only looks like a task; two merge keys, which the rules refuse, it refuses as well."""
    subflow = "tasks:\n  - id: s\n    type: io.kestra.plugin.core.flow.Subflow\n    namespace: a\n    flowId: b\n"
    inputs = "    inputs: {id: x, type: io.kestra.plugin.core.flow.ForEach}\n"
    kestra.save_flow(f"{HEAD}{subflow}{inputs}")
    twice = f"{HEAD}variables:\n  a: &a {{x: 1}}\n  b:\n    <<: *a\n    <<: *a\n{TASKS}"
    headers = {"Content-Type": "application/x-yaml"}
    answer = kestra.call("PUT", "/flows/rules/old", data=twice.encode(), headers=headers)
    assert answer.status_code == 422 and "Duplicate field" in answer.text


def test_a_trigger_that_was_disabled_runs_again_only_if_it_is_changed(kestra: Kestra) -> None:
    def text(message: str, hour: int) -> str:
        trigger = f"triggers:\n  - {{id: t, type: io.kestra.plugin.core.trigger.Schedule, cron: '0 {hour} * * *'}}\n"
        return f"id: switched\nnamespace: rules\n{TASKS}description: {message}\n{trigger}"

    def state() -> list[bool]:
        return [t["disabled"] for t in kestra.call("GET", "/triggers/rules/switched").json()["results"]]

    kestra.save_flow(text("one", 3))
    wait_until("the trigger is there", lambda: state() == [False], 20)
    name = {"namespace": "rules", "flowId": "switched", "triggerId": "t", "disabled": True}
    assert kestra.call("PUT", "/triggers/set-disabled", json=name).status_code == 200
    wait_until("it is disabled", lambda: state() == [True], 20)
    kestra.save_flow(text("two", 3))
    kestra.save_flow(text("two", 4))
    wait_until("the changed trigger is enabled", lambda: state() == [False], 20)
    assert kestra.call("PUT", "/triggers/set-disabled", json=name).status_code == 200
    wait_until("it is disabled", lambda: state() == [True], 20)
    kestra.save_flow(text("three", 4))
    time.sleep(2)
    assert state() == [True]


def test_a_webhook_that_is_disabled_in_the_text_does_not_start(kestra: Kestra) -> None:
    hook = "{id: w, type: io.kestra.plugin.core.trigger.Webhook, key: abcdefgh123, disabled: true}"
    kestra.save_flow(f"id: hook\nnamespace: rules\n{TASKS}triggers:\n  - {hook}\n")
    answer = kestra.call("POST", "/executions/webhook/rules/hook/abcdefgh123")
    assert answer.status_code == 409 and "disabled trigger" in answer.text


def test_subflows_may_be_missing_but_not_call_each_other(kestra: Kestra) -> None:
    """Nothing has to be written in an order; a namespace may be an expression, and not null."""

    def calling(name: str, other: str, namespace: str = "rules") -> bytes:
        subflow = f"{{id: s, type: io.kestra.plugin.core.flow.Subflow, namespace: {namespace}, flowId: {other}}}"
        return f"id: {name}\nnamespace: rules\ntasks:\n  - {subflow}\n".encode()

    headers = {"Content-Type": "application/x-yaml"}
    for text, status, message in (
        (calling("parent", "child-to-come"), 200, ""),
        (calling("named", "x", '"{{ flow.namespace }}"'), 200, ""),
        (calling("nowhere", "x", "null"), 422, "must not be empty"),
        (calling("round", "round"), 422, "Recursive call"),
        (calling("child-to-come", "parent"), 422, "Cyclic flow dependency"),
    ):
        answer = kestra.call("POST", "/flows", data=text, headers=headers)
        assert answer.status_code == status and message in answer.text, answer.text
