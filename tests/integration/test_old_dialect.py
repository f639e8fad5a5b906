"""Where the test server answers as 1.3 does, and not as 2.0."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from .kestra import Kestra
from .test_kestra_server import LOG, YAML, flow, post, put


def hal(answer: requests.Response, status: int, reason: str) -> str:
    """Check that an answer is an error of 1.x and return its message."""
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.reason == reason
    body = answer.json()
    assert set(body) <= {"message", "_links", "_embedded"}
    path = answer.request.path_url
    assert body["_links"] == {"self": {"href": path, "templated": False}}
    message: str = body["message"]
    assert message.startswith(reason)
    return message


def violations(answer: requests.Response) -> list[dict[str, Any]]:
    """Return the violated constraints of an error."""
    found: list[dict[str, Any]] = answer.json().get("_embedded", {}).get("errors", [])
    return found


def test_a_flow_that_exists_is_one_more_violation(kestra_old: Kestra) -> None:
    assert post(kestra_old, flow("twice", "old.team")).status_code == 200
    again = post(kestra_old, flow("twice", "old.team"))
    assert hal(again, 422, "Invalid entity") == "Invalid entity: flow.id: Flow id already exists"
    assert violations(again) == [{"message": "Flow id already exists", "path": "flow.id"}]


@pytest.mark.parametrize(
    ("source", "reason", "message", "path"),
    [
        (flow("bad", tasks="tasks: []"), "Invalid entity", "tasks: must not be empty", "tasks"),
        (f"id: bad\ntasks: [{LOG}]\n", "Invalid entity", "namespace: must not be null", "namespace"),
        (flow("bad", tasks="tasks: [{id: a, type: io.Nope}]"), "Invalid entity", "Invalid type: io.Nope", None),
        ("", "Invalid route params", "Required Body [", None),
    ],
    ids=["tasks", "namespace", "type", "empty"],
)
def test_invalid_flows(kestra_old: Kestra, source: str, reason: str, message: str, path: str | None) -> None:
    answer = post(kestra_old, source)
    assert message in hal(answer, 422, reason)
    assert path is None or [violation["path"] for violation in violations(answer)] == [path]


def test_other_errors(kestra_old: Kestra) -> None:
    hal(put(kestra_old, "old.team/nope", "id: 'broken"), 404, "Not Found")
    kestra_old.save_flow(flow("off", "old.team", more="disabled: true\n"))
    disabled = kestra_old.call("POST", "/executions/old.team/off")
    assert hal(disabled, 409, "Illegal state") == "Illegal state: Requested Flow is disabled."
    untyped = kestra_old.call("POST", "/executions/old.team/off", json={"who": "me"})
    assert "Content Type [application/json] not allowed" in hal(untyped, 415, "Unsupported Media Type")
    search = kestra_old.call("GET", "/flows/search", params={"size": "0"})
    message = "Invalid entity: find.size: must be greater than or equal to 1"
    assert hal(search, 422, "Invalid entity") == message
    assert [violation["path"] for violation in violations(search)] == ["find.size"]
    large = kestra_old.call("POST", "/flows", data=b"#" * 11_000_000, headers=YAML)
    hal(large, 500, "Internal server error")
    hal(requests.get(f"{kestra_old.url}/no/such/path", timeout=10), 404, "Not Found")


def test_the_configuration_is_open_and_there_is_no_other(kestra_old: Kestra) -> None:
    configuration = requests.get(f"{kestra_old.url}/api/v1/configs", timeout=10)
    assert configuration.json()["version"].startswith("1.3.")
    login = f"{kestra_old.url}/api/v1/configs/login"
    assert requests.get(login, timeout=10).status_code == 401
    known = requests.get(login, auth=(kestra_old.username, kestra_old.password), timeout=10)
    hal(known, 404, "Not Found")


@pytest.mark.parametrize("path", ["/main/flows/search", "/main/flows/demo.team/nope", "/no/such/path"])
def test_credentials_are_asked_for(kestra_old: Kestra, path: str) -> None:
    for auth in (None, ("admin@example.com", "Wrong1234")):
        answer = requests.get(f"{kestra_old.url}/api/v1{path}", auth=auth, timeout=10)
        assert (answer.status_code, answer.content) == (401, b"")
        assert answer.headers["WWW-Authenticate"] == "Basic realm=Kestra"


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"namespace": "past"}, "abc"),
        ({"namespace": "past.me"}, "bc"),
        ({"namespace": "pas"}, ""),
        ({"namespace": "past", "labels": "team:ops"}, "b"),
        ({"namespace": "past", "q": "zzzzzz"}, ""),
        ({"filters[namespace][EQUALS]": "past"}, "a"),
    ],
)
def test_searches_take_the_old_parameters_as_well(kestra_old: Kestra, query: dict[str, str], found: str) -> None:
    for namespace, identifier in (("past", "a"), ("past.me", "b"), ("past.me", "c"), ("pasture", "d")):
        more = "labels: {team: ops}\n" if identifier == "b" else ""
        kestra_old.save_flow(flow(identifier, namespace, more=more))
    answer = kestra_old.call("GET", "/flows/search", params=query | {"sort": "id:asc", "size": "100"}).json()
    assert "".join(one["id"] for one in answer["results"]) == found
