"""`kestra_execution_info` on a live Kestra."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ..unit.in_process import call
from .executions import GREETING, execution_in, fresh_namespace, start, wait_for
from .kestra import Kestra


@pytest.fixture
def namespace() -> str:
    """A namespace of this test's own."""
    return fresh_namespace()


def run(kestra: Kestra, **options: Any) -> dict[str, Any]:
    connection = {"url": kestra.url, "username": kestra.username, "password": kestra.password, "timeout": 120}
    result = call("kestra_execution_info", {**connection, **options})
    assert kestra.password not in str(result) and "exception" not in result
    return result


def test_one_with_its_log_and_outputs(either: Kestra, namespace: str) -> None:
    identifier = execution_in(either, namespace, "SUCCESS")
    result = run(either, id=identifier, outputs=True, logs=True, level="DEBUG")
    assert not result["failed"] and not result["changed"] and result["msg"] == "1 execution"
    (execution,) = result["executions"]
    assert (execution["id"], execution["state"], execution["flow"]) == (identifier, "SUCCESS", "greeting")
    assert execution["outputs"] == {"greeting": "nobody 1"}
    (task,) = execution["task_outputs"]
    assert (task["task"], task["outputs"], task["value"]) == ("text", {"value": "nobody 1"}, None)
    assert [line["message"] for line in execution["log"] if line["task"] == "text"] == ["nobody 1"]
    assert run(either, id=identifier, logs=True, level="ERROR")["executions"][0]["log"] == []
    plain = run(either, id=identifier)["executions"][0]
    assert not {"log", "outputs", "task_outputs"} & set(plain)
    none = run(either, id="nope")
    assert (none["failed"], none["executions"], none["msg"]) == (False, [], "0 executions")


def test_a_search(either: Kestra, namespace: str) -> None:
    either.save_flow(GREETING.format(namespace=namespace))
    either.save_flow(GREETING.format(namespace=f"{namespace}.below"))
    first = start(either, f"{namespace}/greeting", labels="a:b")
    wait_for(either, first, "SUCCESS")
    between = datetime.now(UTC)
    second = start(either, f"{namespace}/greeting", labels=["a:b", "c:d"])
    wait_for(either, second, "SUCCESS")
    wait_for(either, start(either, f"{namespace}.below/greeting"), "SUCCESS")
    failed = execution_in(either, namespace, "FAILED")

    def ids(**options: Any) -> list[str]:
        return [execution["id"] for execution in run(either, namespace=namespace, **options)["executions"]]

    assert ids() == [failed, second, first]
    assert ids(limit=2) == [failed, second]
    assert ids(flow="greeting") == [second, first]
    assert ids(states=["FAILED", "KILLED"]) == [failed]
    assert ids(labels={"a": "b"}) == [second, first]
    assert ids(labels={"a": "b", "c": "d"}) == [second]
    assert ids(labels={"a": "other"}) == []
    assert ids(since=between.isoformat()) == [failed, second]
    assert ids(until=between.replace(tzinfo=None).isoformat()) == [first]
    assert ids(since=(between + timedelta(days=1)).isoformat()) == []
    (execution,) = run(either, namespace=namespace, states=["FAILED"], logs=True, level="ERROR")["executions"]
    assert "not ready" in [line["message"] for line in execution["log"]]
    (execution,) = run(either, namespace=namespace, labels={"c": "d"}, outputs=True)["executions"]
    assert execution["outputs"] == {"greeting": "nobody 1"}
    assert [task["task"] for task in execution["task_outputs"]] == ["text"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"id": "x", "flow": "y"}, "mutually exclusive: id|flow"),
        ({"id": "x", "states": ["FAILED"]}, "states and labels are for a search"),
        ({"limit": 0}, "limit is 0"),
        ({"since": "yesterday"}, "since is not an ISO 8601 date"),
    ],
)
def test_options_that_cannot_be_right(either: Kestra, options: dict[str, Any], words: str) -> None:
    result = run(either, **options)
    assert result["failed"] and words in result["msg"]
