"""`kestra_executions` on a live Kestra: what its engine makes of an action on many executions."""

from __future__ import annotations

from typing import Any

import pytest

from ..unit.in_process import call
from .executions import execution_in, fresh_namespace, make_ready, state_of, wait_for
from .kestra import Kestra


@pytest.fixture
def namespace() -> str:
    """A namespace of this test's own."""
    return fresh_namespace()


def run(kestra: Kestra, **options: Any) -> dict[str, Any]:
    connection = {"url": kestra.url, "username": kestra.username, "password": kestra.password, "timeout": 120}
    result = call("kestra_executions", {**connection, **options})
    assert kestra.password not in str(result) and "exception" not in result
    return result


def ids(result: dict[str, Any]) -> list[str]:
    assert not result["failed"], result["msg"]
    return [execution["id"] for execution in result["executions"]]


def test_from_the_start_to_the_purge(either: Kestra, namespace: str) -> None:
    running, failed = execution_in(either, namespace, "RUNNING"), execution_in(either, namespace, "FAILED")
    paused, below = execution_in(either, namespace, "PAUSED"), execution_in(either, f"{namespace}.below", "SUCCESS")
    assert ids(run(either, state="killed", namespace=namespace, flow="long")) == [running]
    assert state_of(either, running) == "KILLED"
    make_ready(either, namespace)
    assert ids(run(either, state="restarted", namespace=namespace)) == [failed]
    wait_for(either, failed, "SUCCESS")
    assert ids(run(either, state="replayed", namespace=namespace)) == []
    replayed = run(either, state="replayed", namespace=namespace, states=["SUCCESS"])
    assert ids(replayed) == [failed]
    new = replayed["executions"][0]["new_id"]
    wait_for(either, new, "SUCCESS")
    assert ids(run(either, state="purged", namespace=namespace, limit=1)) == [running]
    rest = run(either, state="purged", namespace=namespace)
    assert ids(rest) == [failed, new] and rest["summary"]["remaining"] == 0
    for gone in (running, failed, new):
        assert either.call("GET", f"/executions/{gone}").status_code == 404
    assert (state_of(either, paused), state_of(either, below)) == ("PAUSED", "SUCCESS")


def test_logs_alone(either: Kestra, namespace: str) -> None:
    failed = execution_in(either, namespace, "FAILED")
    assert either.call("GET", f"/logs/{failed}").json()
    result = run(either, state="purged", only_logs=True, namespace=namespace)
    assert ids(result) == [failed] and result["changed"]
    assert (either.call("GET", f"/logs/{failed}").json(), state_of(either, failed)) == ([], "FAILED")
    assert run(either, state="purged", only_logs=True, namespace=namespace)["changed"] is False
