"""The test server's executions, logs and triggers where the dialects differ: addresses, statuses and bodies."""

from __future__ import annotations

import pytest
import requests

from .executions import GREETING, NIGHTLY, execution_in, fresh_namespace, state_of, wait_for
from .kestra import Kestra, wait_until

ACTIONS = ("restart", "replay", "pause", "force-run", "change-status")


@pytest.fixture
def namespace() -> str:
    """A namespace of this test's own."""
    return fresh_namespace()


def act(kestra: Kestra, identifier: str, action: str, **options: object) -> requests.Response:
    """Ask for an action at the dialect's own address."""
    moved = "actions/" if kestra.dialect == "2.0" else ""
    method = "DELETE" if action == "kill" else "POST"
    return kestra.call(method, f"/executions/{identifier}/{moved}{action}", **options)


def test_actions_have_one_address_in_each_dialect(either: Kestra, namespace: str) -> None:
    identifier = execution_in(either, namespace, "SUCCESS")
    other = "" if either.dialect == "2.0" else "actions/"
    for action in ACTIONS:
        answer = either.call("POST", f"/executions/{identifier}/{other}{action}", params={"status": "FAILED"})
        assert answer.status_code == 404, action
    killed = either.call("DELETE", f"/executions/{identifier}/{other}kill")
    # In 2.0 the old address is that of a start, which is no DELETE.
    assert killed.status_code == (405 if either.dialect == "2.0" else 404)
    assert state_of(either, identifier) == "SUCCESS"


def test_what_actions_answer(either: Kestra, namespace: str) -> None:
    new = either.dialect == "2.0"
    identifier = execution_in(either, namespace, "RUNNING")
    for action, old in (("pause", 204), ("resume", 204), ("kill", 202)):
        options = {"files": {"any": (None, "thing")}} if action == "resume" else {}
        answer = act(either, identifier, action, **options)
        assert answer.status_code == (200 if new else old), answer.text
        assert (answer.json()["id"] == identifier) if new else (answer.content == b"")
    wait_for(either, identifier, "KILLED")
    # With the cascade, which is the default, a kill is for subflows that may still run.
    assert act(either, identifier, "kill").status_code == (200 if new else 202)
    for action, options in (
        ("kill", {"params": {"isOnKillCascade": "false"}}),
        ("restart", {}),
        ("pause", {}),
        ("force-run", {}),
        ("change-status", {"params": {"status": "SUCCESS"}}),
        ("resume", {"files": {"any": (None, "thing")}}),
    ):
        assert act(either, identifier, action, **options).status_code == 409, action
        missing = act(either, "nope", action, **options)
        assert missing.status_code == 404, action


def test_labels_are_for_ended_executions(either: Kestra, namespace: str) -> None:
    running = execution_in(either, namespace, "RUNNING")
    assert act(either, running, "labels", json=[{"key": "a", "value": "b"}]).status_code == 400
    act(either, running, "kill")
    done = execution_in(either, namespace, "SUCCESS")
    assert act(either, done, "labels", json=[{"key": "a", "value": "b"}]).status_code == 200
    assert act(either, done, "labels", json=[{"key": "system.a", "value": "b"}]).status_code == 422

    def labels() -> set[str]:
        return {label["key"] for label in either.call("GET", f"/executions/{done}").json()["labels"]}

    # They replace what there was, but for the system's.
    wait_until("the labels are replaced", lambda: labels() == {"a", "system.correlationId"}, 30)


def test_outputs_left_the_execution_with_2_0(either: Kestra, namespace: str) -> None:
    identifier = execution_in(either, namespace, "SUCCESS")
    execution = either.call("GET", f"/executions/{identifier}").json()
    (run,) = execution["taskRunList"]
    separate = either.call("GET", f"/outputs/executions/{identifier}")
    query = {"filters[namespace][EQUALS]": namespace}
    (found,) = either.call("GET", "/executions/search", params=query).json()["results"]
    if either.dialect == "2.0":
        assert "outputs" not in execution and not run["outputs"]
        assert separate.json() == {"greeting": "nobody 1"}
        assert "taskRunList" not in found
    else:
        assert execution["outputs"] == {"greeting": "nobody 1"}
        assert run["outputs"] == {"value": "nobody 1"}
        assert separate.status_code == 404
        assert found["taskRunList"][0]["outputs"] == {"value": "nobody 1"}


def test_validation_creates_nothing(either: Kestra, namespace: str) -> None:
    either.save_flow(GREETING.format(namespace=namespace))
    path = f"/executions/{namespace}/greeting/validate"
    files = {"count": (None, "many"), "letter": ("letter.txt", b"Dear")}
    answer = either.call("POST", path, files=files)
    assert answer.status_code == 200
    errors = {entry["input"]["id"]: entry["errors"] for entry in answer.json()["inputs"]}
    assert [bool(errors[name]) for name in ("who", "count", "letter")] == [False, True, False]
    assert either.call("POST", path).json()["inputs"][0]["value"] == "nobody"
    assert either.call("POST", f"/executions/{namespace}/nope/validate").status_code == 404
    query = {"filters[namespace][EQUALS]": namespace}
    assert either.call("GET", "/executions/search", params=query).json()["total"] == 0


def test_triggers_in_the_form_of_each_dialect(either: Kestra, namespace: str) -> None:
    either.save_flow(NIGHTLY.format(namespace=namespace))
    query = {"filters[namespace][EQUALS]": namespace}

    def found() -> list[dict[str, dict[str, object]]]:
        results: list[dict[str, dict[str, object]]] = either.call("GET", "/triggers/search", params=query).json()[
            "results"
        ]
        return results

    wait_until("the scheduler knows the trigger", lambda: len(found()) == 1, 60)
    (entry,) = found()
    (listed,) = either.call("GET", f"/triggers/{namespace}/nightly").json()["results"]
    name = {"namespace": namespace, "flowId": "nightly", "triggerId": "every-night"}
    new = either.dialect == "2.0"
    assert set(entry) == ({"trigger", "state"} if new else {"abstractTrigger", "triggerContext"})
    assert ("nextEvaluationDate" in listed, "nextExecutionDate" in listed) == (new, not new)
    switch = either.call("PUT", "/triggers/set-disabled", json=name | {"disabled": True})
    whole = either.call("PUT", "/triggers", json=listed | {"disabled": True})
    assert [switch.status_code, whole.status_code] == ([200, 404] if new else [404, 200])
    assert (switch if new else whole).json()["disabled"] is True
    # Nothing to remove is an error before 2.0.
    removed = either.call("POST", "/triggers/backfill/delete", json=name)
    assert removed.status_code == (200 if new else 400)
    assert either.call("POST", f"/triggers/{namespace}/nightly/every-night/unlock").status_code == 409
    assert either.call("DELETE", f"/triggers/{namespace}/nightly/every-night").status_code == 204
    assert either.call("DELETE", f"/triggers/{namespace}/nightly/every-night").status_code == 404
