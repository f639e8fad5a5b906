"""`kestra_execution` on a live Kestra: its own engine runs, kills, pauses, restarts and replays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ..faults.proxy import Proxy, Rule, reset
from ..unit.in_process import call
from .executions import FLOWS, GREETING, execution_in, fresh_namespace, make_ready, state_of, wait_for
from .kestra import Kestra


@pytest.fixture
def namespace() -> str:
    """A namespace of this test's own."""
    return fresh_namespace()


def run(kestra: Kestra, check: bool = False, url: str | None = None, **options: Any) -> dict[str, Any]:
    connection = {"url": url or kestra.url, "username": kestra.username, "password": kestra.password, "timeout": 120}
    result = call("kestra_execution", {**connection, **options}, check=check)
    assert kestra.password not in str(result) and "exception" not in result
    return result


def found(kestra: Kestra, namespace: str) -> list[dict[str, Any]]:
    """Return the executions of a namespace."""
    query = {"filters[namespace][EQUALS]": namespace, "size": 100}
    results: list[dict[str, Any]] = kestra.call("GET", "/executions/search", params=query).json()["results"]
    return results


def test_run_with_inputs_a_file_and_labels(either: Kestra, namespace: str, tmp_path: Path) -> None:
    either.save_flow(GREETING.format(namespace=namespace))
    letter = tmp_path / "letter.txt"
    letter.write_bytes("Dear ☃\r\n".encode())
    options = {
        "namespace": namespace,
        "flow": "greeting",
        "inputs": {"count": 3, "who": None},
        "files": {"letter": str(letter)},
        "labels": {"a": "b:c", "yes": True},
    }
    result = run(either, **options)
    assert not result["failed"] and result["changed"], result["msg"]
    assert result["outputs"] == {"greeting": "Dear ☃\r\n 3"}
    execution = result["execution"]
    assert (execution["state"], execution["flow"], execution["revision"]) == ("SUCCESS", "greeting", 1)
    assert {"a": "b:c", "yes": "true", "kind": "test"}.items() <= execution["labels"].items()
    assert (execution["inputs"]["count"], execution["inputs"]["who"]) == (3, "nobody")
    assert result["msg"] == f"Execution {execution['id']} of {namespace}/greeting ended SUCCESS"
    assert result["diff"]["after"]["inputs"] == ["count", "letter"]
    assert [entry["id"] for entry in found(either, namespace)] == [execution["id"]]


def test_an_older_revision(either: Kestra, namespace: str) -> None:
    either.save_flow(GREETING.format(namespace=namespace))
    either.save_flow(GREETING.format(namespace=namespace).replace("nobody", "everybody"))
    flow = {"namespace": namespace, "flow": "greeting"}
    assert run(either, **flow, revision=1)["outputs"] == {"greeting": "nobody 1"}
    assert run(either, **flow)["outputs"] == {"greeting": "everybody 1"}
    missing = run(either, **flow, revision=9)
    assert missing["failed"] and missing["msg"].startswith(f"Could not start flow {namespace}/greeting: HTTP 404")


def test_a_failure_is_told_with_the_task_and_its_log(either: Kestra, namespace: str) -> None:
    either.save_flow(FLOWS["FAILED"].format(namespace=namespace))
    result = run(either, namespace=namespace, flow="picky")
    assert result["failed"] and result["changed"]
    assert (result["execution"]["state"], result["outputs"]) == ("FAILED", {})
    (failure,) = result["failures"]
    assert (failure["task"], failure["state"], failure["attempt"]) == ("second", "FAILED", 1)
    assert [line["level"] for line in failure["log"]] == ["ERROR", "ERROR"]
    assert [line["message"] for line in failure["log"]] == ["not ready", "Fail on a condition"]
    identifier = result["execution"]["id"]
    assert result["msg"] == (
        f"Execution {identifier} of {namespace}/picky ended FAILED:\n"
        "  task second FAILED (attempt 1)\n    ERROR not ready\n    ERROR Fail on a condition"
    )
    accepted = run(either, namespace=namespace, flow="picky", success_states=["FAILED"])
    assert not accepted["failed"] and accepted["execution"]["state"] == "FAILED"

    make_ready(either, namespace)
    restarted = run(either, id=identifier, state="restarted")
    assert not restarted["failed"] and restarted["changed"], restarted["msg"]
    assert (restarted["execution"]["id"], restarted["execution"]["state"]) == (identifier, "SUCCESS")


def test_check_mode_asks_the_server_and_creates_nothing(either: Kestra, namespace: str) -> None:
    either.save_flow(GREETING.format(namespace=namespace))
    flow = {"namespace": namespace, "flow": "greeting"}
    with Proxy(either.url, read_only=True) as proxy:
        fine = run(either, check=True, url=proxy.url, **flow, inputs={"count": "7"})
        bad = run(either, check=True, url=proxy.url, **flow, inputs={"count": "many"})
        missing = run(either, check=True, url=proxy.url, namespace=namespace, flow="nope")
    assert not fine["failed"] and fine["changed"]
    assert (fine["execution"]["id"], fine["execution"]["flow"]) == (None, "greeting")
    assert bad["failed"] and not bad["changed"]
    assert f"Flow {namespace}/greeting cannot run with these inputs:\n  count: " in bad["msg"]
    assert missing["failed"] and "HTTP 404: " in missing["msg"] and "Requested Flow is not found" in missing["msg"]
    assert found(either, namespace) == []
    real = run(either, **flow, inputs={"count": "many"})
    assert real["failed"] and "HTTP 422" in real["msg"] and "count" in real["msg"]
    either.save_flow(GREETING.format(namespace=namespace) + "disabled: true\n")
    for check in (True, False):
        disabled = run(either, check=check, **flow)
        assert disabled["failed"] and "HTTP 409: " in disabled["msg"]
        assert "Requested Flow is disabled" in disabled["msg"]


def test_once(either: Kestra, namespace: str) -> None:
    either.save_flow(FLOWS["FAILED"].format(namespace=namespace))
    options = {"namespace": namespace, "flow": "picky", "labels": {"release": "1.4"}, "once": True}
    assert run(either, **options)["failed"]
    make_ready(either, namespace)
    second = run(either, **options)
    assert not second["failed"] and second["changed"]
    for check in (True, False):
        third = run(either, check=check, **options)
        assert not third["failed"] and not third["changed"]
        assert third["execution"]["id"] == second["execution"]["id"]
    other = run(either, **{**options, "labels": {"release": "1.5"}})
    assert other["changed"] and len(found(either, namespace)) == 3


def test_the_time_to_wait_is_over(either: Kestra, namespace: str) -> None:
    either.save_flow(FLOWS["RUNNING"].format(namespace=namespace))
    result = run(either, namespace=namespace, flow="long", wait_timeout=1)
    assert result["failed"] and result["changed"]
    assert "after 1 seconds. It continues. Raise wait_timeout" in result["msg"]
    identifier = result["execution"]["id"]
    wait_for(either, identifier, "RUNNING")
    asked = run(either, check=True, id=identifier, state="killed")
    assert asked["changed"] and state_of(either, identifier) == "RUNNING"
    killed = run(either, id=identifier, state="killed")
    assert not killed["failed"] and killed["changed"] and killed["execution"]["state"] == "KILLED"
    assert killed["diff"] == asked["diff"] == {"before": {"state": "RUNNING"}, "after": {"state": "KILLED"}}
    again = run(either, id=identifier, state="killed")
    assert not again["changed"] and again["msg"].endswith("is KILLED: nothing to do")
    refused = run(either, id=identifier, state="restarted")
    assert refused["failed"] and "can only be replayed (state=replayed)" in refused["msg"]


def test_a_pause_in_the_flow(either: Kestra, namespace: str) -> None:
    either.save_flow(FLOWS["PAUSED"].format(namespace=namespace))
    waiting = run(either, namespace=namespace, flow="asking", success_states=["SUCCESS", "PAUSED"])
    assert not waiting["failed"] and waiting["execution"]["state"] == "PAUSED"
    identifier = waiting["execution"]["id"]
    stuck = run(either, id=identifier, state="restarted", check=True)
    assert stuck["changed"]
    bad = run(either, id=identifier, state="resumed")
    assert bad["failed"] and "HTTP 422" in bad["msg"] and "why" in bad["msg"]
    resumed = run(either, id=identifier, state="resumed", inputs={"why": "because"})
    assert not resumed["failed"] and resumed["changed"], resumed["msg"]
    assert resumed["outputs"] == {"answer": "because"}
    again = run(either, id=identifier, state="resumed", inputs={"why": "because"})
    assert not again["failed"] and not again["changed"]


def test_pause_and_resume(either: Kestra, namespace: str) -> None:
    identifier = execution_in(either, namespace, "RUNNING")
    paused = run(either, id=identifier, state="paused")
    assert not paused["failed"] and paused["changed"] and paused["execution"]["state"] == "PAUSED"
    assert not run(either, id=identifier, state="paused")["changed"]
    resumed = run(either, id=identifier, state="resumed", wait=False)
    assert not resumed["failed"] and resumed["changed"], resumed["msg"]
    wait_for(either, identifier, "RUNNING")
    run(either, id=identifier, state="killed")
    refused = run(either, id=identifier, state="paused")
    assert refused["failed"] and "it is KILLED, and only a RUNNING execution can be paused" in refused["msg"]


def test_replay(either: Kestra, namespace: str) -> None:
    identifier = execution_in(either, namespace, "SUCCESS")
    same = run(either, id=identifier, state="replayed")
    assert not same["failed"] and same["changed"], same["msg"]
    assert same["execution"]["id"] != identifier and same["execution"]["original_id"] == identifier
    assert same["outputs"] == {"greeting": "nobody 1"}
    other = run(either, id=identifier, state="replayed", inputs={"who": "Eve", "count": 2})
    assert other["outputs"] == {"greeting": "Eve 2"}
    (task,) = either.call("GET", f"/executions/{identifier}").json()["taskRunList"]
    partly = run(either, id=identifier, state="replayed", task_run=task["id"])
    assert not partly["failed"] and partly["outputs"] == {"greeting": "nobody 1"}
    missing = run(either, id=identifier, state="replayed", task_run="nope")
    assert missing["failed"] and "'nope' not found" in missing["msg"]


def test_labels(either: Kestra, namespace: str) -> None:
    identifier = execution_in(either, namespace, "SUCCESS")
    asked = run(either, check=True, id=identifier, state="labeled", labels={"checked": "yes"})
    labeled = run(either, id=identifier, state="labeled", labels={"checked": "yes"})
    assert labeled["changed"] and labeled["diff"] == asked["diff"]
    assert labeled["diff"]["after"] == {"labels": {"kind": "test", "checked": "yes"}}
    assert not run(either, id=identifier, state="labeled", labels={"checked": "yes"})["changed"]
    stored = {
        label["key"]: label["value"] for label in either.call("GET", f"/executions/{identifier}").json()["labels"]
    }
    assert stored["kind"] == "test" and stored["checked"] == "yes" and "system.correlationId" in stored
    running = execution_in(either, namespace, "RUNNING")
    refused = run(either, id=running, state="labeled", labels={"checked": "yes"})
    assert refused["failed"] and "only an ended execution takes labels" in refused["msg"]
    run(either, id=running, state="killed")


def test_delete(either: Kestra, namespace: str) -> None:
    identifier = execution_in(either, namespace, "SUCCESS")
    assert run(either, check=True, id=identifier, state="absent")["changed"]
    assert state_of(either, identifier) == "SUCCESS"
    assert run(either, id=identifier, state="absent")["changed"]
    gone = run(either, id=identifier, state="absent")
    assert not gone["failed"] and not gone["changed"]
    killed = run(either, id=identifier, state="killed")
    assert killed["failed"] and killed["msg"] == f"Execution {identifier} does not exist."


def test_start_later(either: Kestra, namespace: str) -> None:
    either.save_flow(GREETING.format(namespace=namespace))
    later = {"schedule_date": "2099-01-01 00:00", "wait": False}
    result = run(either, namespace=namespace, flow="greeting", **later)
    assert not result["failed"] and result["execution"]["state"] == "CREATED", result["msg"]
    stored = either.call("GET", f"/executions/{result['execution']['id']}").json()
    assert stored["scheduleDate"].startswith("2099-01-01T00:00:00")
    run(either, id=stored["id"], state="killed")


def test_a_lost_answer_starts_no_second_execution(either: Kestra, namespace: str) -> None:
    either.save_flow(GREETING.format(namespace=namespace))
    lost = Rule(reset(after=True), method="POST", path="/executions/", nth=[1])
    with Proxy(either.url, rules=[lost]) as proxy:
        result = run(either, url=proxy.url, namespace=namespace, flow="greeting", inputs={"who": "Ada"})
        starts = [request for request in proxy.requests if request.method == "POST"]
    assert not result["failed"] and result["outputs"] == {"greeting": "Ada 1"}, result["msg"]
    assert len(starts) == 1
    assert [entry["id"] for entry in found(either, namespace)] == [result["execution"]["id"]]
