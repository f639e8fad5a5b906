"""The same done with many executions: which of them, in which order, how many, and what becomes of each."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.bulk import (
    ALLOWED,
    DEFAULT,
    before,
    in_time,
    states_for,
    wrong_states,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.executions import ENDED, STATES

from ....fake_kestra import PASSWORD, USERNAME, Answer, FakeKestra
from ....in_process import call

VERSIONS = pytest.mark.parametrize("version", ["2.0.5", "1.3.9", "0.21.0"])


def run(server: FakeKestra, state: str, *, check: bool = False, **options: Any) -> dict[str, Any]:
    login = {"url": server.url, "username": USERNAME, "password": PASSWORD, "retries": 0}
    return call("kestra_executions", {**login, "namespace": "team", "state": state, **options}, check=check)


def done(result: dict[str, Any]) -> dict[str, str]:
    return {each["id"]: each["action"] for each in result["executions"]}


def filled(version: str = "2.0.5") -> FakeKestra:
    """One execution a day, of each kind, and one of another namespace: e0 to e6."""
    server = FakeKestra(version=version)
    for day, state in enumerate(("SUCCESS", "FAILED", "RUNNING", "KILLED", "SUCCESS", "PAUSED"), 1):
        server.add_execution(state, day)
    server.add_execution("SUCCESS", 1, namespace="team.below")
    return server


def test_every_state_is_for_purge_or_kill_or_is_on_its_way() -> None:
    assert {*ALLOWED["purged"], *ALLOWED["killed"], "KILLING"} == set(STATES)
    assert not set(ALLOWED["purged"]) & set(ALLOWED["killed"])
    assert all(set(DEFAULT[action]) <= set(ALLOWED[action]) for action in ALLOWED)
    assert set(states_for("purged", [], True)) == set(ENDED)
    assert "RESUBMITTED" not in states_for("purged", [], False)
    assert states_for("killed", ["SUBMITTED"], False) == ["SUBMITTED"]
    assert wrong_states("restarted", ["FAILED", "SUCCESS"]) == ["SUCCESS"]


def test_the_time_of_an_execution_is_looked_at_here_too() -> None:
    raw = {"state": {"startDate": "2026-11-02T00:00:00.123456789Z"}}
    assert before(datetime(2026, 11, 3, tzinfo=UTC), 86400) == "2026-11-02T00:00:00+00:00"
    assert in_time(raw, None, "2026-11-02T00:00:01+00:00") and in_time(raw, "2026-11-02T01:00:00+01:00", None)
    assert not in_time(raw, None, "2026-11-02T00:00:00+00:00") and not in_time(raw, "2026-11-03T00:00:00+00:00", None)
    assert in_time({}, None, None) and not in_time({}, "2026-11-03T00:00:00+00:00", None)


@VERSIONS
@pytest.mark.parametrize(
    ("state", "options", "expected"),
    [
        ("purged", {}, ["e0", "e1", "e3", "e4"]),
        ("purged", {"states": ["SUCCESS"]}, ["e0", "e4"]),
        ("purged", {"until": "2026-11-02T12:00:00"}, ["e0", "e1"]),
        ("purged", {"since": "2026-11-02", "until": "2026-11-04"}, ["e1", "e3"]),
        ("purged", {"flow": "other"}, []),
        ("purged", {"labels": {"a": True}}, []),
        ("killed", {}, ["e2", "e5"]),
        ("restarted", {}, ["e1"]),
        ("restarted", {"states": ["PAUSED"]}, ["e5"]),
        ("replayed", {}, ["e1"]),
        ("replayed", {"states": ["SUCCESS"]}, ["e0", "e4"]),
    ],
)
def test_what_is_chosen_is_changed_and_nothing_else(
    version: str, state: str, options: dict[str, Any], expected: list[str]
) -> None:
    """The oldest first; check mode says the same and writes nothing; a second run has nothing to do."""
    with filled(version) as server:
        untouched = {number: str(raw) for number, raw in server.executions.items() if number not in expected}
        planned = run(server, state, check=True, **options)
        assert server.writes == []
        result = run(server, state, **options)
        assert not result["failed"], result["msg"]
        assert list(done(planned)) == list(done(result)) == expected
        assert set(done(result).values()) == set(done(planned).values()) == ({state} if expected else set())
        assert planned["changed"] == result["changed"] == bool(expected)
        assert planned["summary"] == result["summary"] and planned["msg"] == result["msg"]
        assert {number: str(server.executions.get(number)) for number in untouched} == untouched
        if state == "purged":
            assert not set(expected) & server.executions.keys()
        elif state == "replayed":
            new = [each["new_id"] for each in result["executions"]]
            assert [server.executions[number]["originalId"] for number in new] == expected
        else:
            reached = {"killed": "KILLED", "restarted": "RESTARTED"}[state]
            assert {server.executions[number]["state"]["current"] for number in expected} <= {reached}
        if state != "replayed":
            again = run(server, state, **options)
            assert (again["changed"], again["executions"]) == (False, [])


@VERSIONS
def test_logs_alone_are_purged_once(version: str) -> None:
    with filled(version) as server:
        server.logs["e1"] = []
        for check in (True, False):
            result = run(server, "purged", only_logs=True, until="2026-11-04", check=check)
            assert done(result) == {"e0": "purged", "e1": "unchanged", "e3": "purged"}
            assert result["msg"] == "2 purged, 1 unchanged"
        assert set(server.executions) == {f"e{number}" for number in range(7)}
        assert [number for number in server.logs if not server.logs[number]] == ["e0", "e1", "e3"]
        assert run(server, "purged", only_logs=True, until="2026-11-04")["changed"] is False


def test_a_limit_takes_the_oldest_and_counts_the_others() -> None:
    with filled() as server:
        for expected, remaining in ((["e0", "e1", "e3"], 1), (["e4"], 0), ([], 0)):
            for check in (True, False):
                result = run(server, "purged", limit=3, check=check)
                assert (list(done(result)), result["summary"]["remaining"]) == (expected, remaining)
        assert set(server.executions) == {"e2", "e5", "e6"}


def test_the_age_counts_back_from_now() -> None:
    with FakeKestra() as server:
        for hours in (3, 1):
            number = server.add_execution("SUCCESS", 1)
            created = datetime.now(UTC) - timedelta(hours=hours)
            server.executions[number]["state"]["startDate"] = created.isoformat()
        assert list(done(run(server, "purged", older_than="PT2H"))) == ["e0"]


def test_many_pages() -> None:
    with FakeKestra() as server:
        for day in range(250):
            server.add_execution("SUCCESS", 1 + day % 28)
        result = run(server, "purged", limit=120)
        assert (result["summary"]["done"], result["summary"]["remaining"]) == (120, 130)
        assert len(server.executions) == 130
        left = min(str(raw["state"]["startDate"]) for raw in server.executions.values())
        assert max(each["start_date"] for each in result["executions"]) <= left


def test_a_server_that_ignores_what_it_is_asked_loses_nothing_else() -> None:
    with filled() as server:
        everything = sorted(server.executions.values(), key=lambda raw: str(raw["state"]["startDate"]))
        answer = Answer(200, {"results": everything, "total": len(everything)})
        server.prepare("GET /api/v1/main/executions/search", answer)
        assert list(done(run(server, "purged", until="2026-11-02", states=["SUCCESS"]))) == ["e0"]
        assert len(server.executions) == 6


def test_what_ended_by_itself_is_no_failure() -> None:
    with filled() as server:
        kill = server.execution

        def faster(method: str, kind: str, path: str, query: dict[str, list[str]]) -> Answer:
            if method == "DELETE":
                server.executions["e2"]["state"]["current"] = "SUCCESS"
            return kill(method, kind, path, query)

        server.execution = faster  # type: ignore[method-assign]
        result = run(server, "killed", states=["RUNNING"])
    assert not result["failed"] and not result["changed"] and done(result) == {"e2": "unchanged"}


@pytest.mark.parametrize(("wait_timeout", "failed"), [(1, True), (0, False)])
def test_a_kill_that_does_not_show(wait_timeout: int, failed: bool) -> None:
    with filled() as server:
        request = "DELETE /api/v1/main/executions/e2/actions/kill"
        server.prepare(request, Answer(200, server.executions["e2"]))
        result = run(server, "killed", states=["RUNNING"], wait_timeout=wait_timeout)
    assert (result["failed"], result["changed"]) == (failed, True)
    assert done(result) == {"e2": "failed" if failed else "killed"}
    assert not failed or "e2: it is still RUNNING" in result["msg"]


def test_a_refusal_is_told_and_does_not_end_the_run() -> None:
    with filled() as server:
        server.prepare("DELETE /api/v1/main/executions/e1", server.problem(422, "kept for the auditor"))
        result = run(server, "purged")
        assert set(server.executions) == {"e1", "e2", "e5", "e6"}
    assert result["failed"] and result["changed"] and "e1: HTTP 422: kept for the auditor" in result["msg"]
    assert done(result) == {"e0": "purged", "e1": "failed", "e3": "purged", "e4": "purged"}


def test_a_failing_server_ends_the_run() -> None:
    with filled() as server:
        server.prepare("DELETE /api/v1/main/executions/e1", Answer(500, {"message": "disk full"}))
        result = run(server, "purged", concurrency=1)
        assert set(server.executions) == {f"e{number}" for number in range(1, 7)}
    assert result["failed"] and result["changed"]
    assert done(result) == {"e0": "purged", "e1": "failed", "e3": "skipped", "e4": "skipped"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"namespace": None}, "The search has no limits; set one or more of namespace, flow, labels"),
        ({"states": ["SUCCESS", "RUNNING"]}, "states has RUNNING, in which no execution can be purged"),
        ({"state": "killed", "only_logs": True}, "only_logs is for state=purged"),
        ({"limit": 0}, "limit is 0"),
        ({"concurrency": 33}, "concurrency is 33"),
        ({"wait_timeout": -1}, "wait_timeout is -1"),
        ({"since": "soon"}, "since is not an ISO 8601 date"),
        ({"older_than": "30 days"}, "older_than is not a duration"),
        ({"older_than": "P9999999D"}, "which is longer ago than dates go"),
        ({"older_than": "P1D", "until": "2026-11-01"}, "mutually exclusive"),
    ],
)
def test_options_that_cannot_be_right(options: dict[str, Any], message: str) -> None:
    given = {"state": "purged", "namespace": "team", **options}
    result = call("kestra_executions", {name: value for name, value in given.items() if value is not None})
    assert result["failed"] and message in result["msg"]
