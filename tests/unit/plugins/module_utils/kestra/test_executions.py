"""What the modules make of executions, without a server or against one that misbehaves."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra import executions as execution
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.client import (
    Connection,
    KestraClient,
    KestraError,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.executions import (
    ENDED,
    Executions,
    Query,
    describe_failures,
    failures,
    form,
    labels_of,
    moment,
    plan_action,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.polling import (
    FIRST_INTERVAL,
    LONGEST_INTERVAL,
)

from ....fake_kestra import PASSWORD, USERNAME, Answer, FakeKestra
from ....in_process import call

START = "POST /api/v1/main/executions/team/one"
SEARCH = "GET /api/v1/main/executions/search"
GET = "GET /api/v1/main/executions/abc"

LOGIN = {"username": USERNAME, "password": PASSWORD, "retries": 0}


class Clock:
    """Time that passes only where somebody waits."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def __call__(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


def executions(server: FakeKestra, clock: Clock | None = None) -> Executions:
    connection = Connection(server.url, username=USERNAME, password=PASSWORD, retries=0, timeout=5)
    clock = clock or Clock()
    return Executions(KestraClient(connection), clock, clock.pause)


def raw(state: str, changes: int = 1, **more: Any) -> dict[str, Any]:
    histories = [{"state": state, "date": "2026-11-23T09:28:09Z"}] * changes
    return {
        "id": "abc",
        "namespace": "team",
        "flowId": "one",
        "flowRevision": 1,
        "state": {"current": state, "histories": histories},
        **more,
    }


def found(*entries: dict[str, Any]) -> Answer:
    return Answer(200, {"results": list(entries), "total": len(entries)})


def test_inputs_become_the_parts_of_a_form() -> None:
    inputs = {"s": "Wörld", "n": 3, "b": True, "l": [1, "ü"], "d": {"k": None}, "nothing": None, "empty": ""}
    parts = form(inputs, {"file": ("a.csv", b"x\r\n")})
    assert [(part.name, part.content.decode(), part.filename) for part in parts] == [
        ("s", "Wörld", None),
        ("n", "3", None),
        ("b", "true", None),
        ("l", '[1, "ü"]', None),
        ("d", '{"k": null}', None),
        ("empty", "", None),
        ("file", "x\r\n", "a.csv"),
    ]


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("2026-11-01", "2026-11-01T00:00:00+00:00"),
        ("2026-11-01T02:00:00Z", "2026-11-01T02:00:00+00:00"),
        (" 2026-11-01 02:00+01:00 ", "2026-11-01T02:00:00+01:00"),
    ],
)
def test_dates(given: str, sent: str) -> None:
    assert moment(given) == sent


@pytest.mark.parametrize("given", ["", "tomorrow", "PT1H", "2026-13-01"])
def test_what_is_no_date(given: str) -> None:
    with pytest.raises(ValueError, match=r"isoformat|month"):
        moment(given)


@pytest.mark.parametrize(
    ("wanted", "state", "action"),
    [
        ("killed", "RUNNING", "kill"),
        ("killed", "QUEUED", "kill"),
        ("killed", "PAUSED", "kill"),
        *(("killed", state, None) for state in ENDED),
        ("paused", "RUNNING", "pause"),
        ("paused", "PAUSED", None),
        ("resumed", "PAUSED", "resume"),
        ("resumed", "RUNNING", None),
        ("resumed", "SUCCESS", None),
        ("restarted", "FAILED", "restart"),
        ("restarted", "PAUSED", "restart"),
        ("restarted", "RUNNING", None),
        ("restarted", "SUCCESS", None),
    ],
)
def test_what_a_state_asks_for(wanted: str, state: str, action: str | None) -> None:
    plan = plan_action(wanted, state)
    assert (plan.action, plan.problem) == (action, None)


@pytest.mark.parametrize(
    ("wanted", "state", "words"),
    [
        ("paused", "SUCCESS", "only a RUNNING execution"),
        ("paused", "CREATED", "only a RUNNING execution"),
        ("restarted", "KILLED", "state=replayed"),
        ("restarted", "CANCELLED", "state=replayed"),
    ],
)
def test_states_that_cannot_be_reached(wanted: str, state: str, words: str) -> None:
    plan = plan_action(wanted, state)
    assert plan.action is None and plan.problem is not None and words in plan.problem


def test_the_innermost_failing_task_is_told_with_its_last_lines() -> None:
    runs = [
        {"id": "1", "taskId": "outer", "state": {"current": "FAILED"}},
        {
            "id": "2",
            "taskId": "inner",
            "parentTaskRunId": "1",
            "value": "a",
            "state": {"current": "FAILED"},
            "attempts": [{}, {}],
        },
        {"id": "3", "taskId": "fine", "state": {"current": "SUCCESS"}},
    ]
    log = [
        {"taskRunId": "2", "taskId": "inner", "level": "INFO", "message": "try"},
        {"taskRunId": "2", "taskId": "inner", "level": "WARN", "message": "first"},
        {"taskRunId": "3", "taskId": "fine", "level": "ERROR", "message": "other"},
        {"taskRunId": "2", "taskId": "inner", "level": "ERROR", "message": "second\n"},
        {"taskRunId": "2", "taskId": "inner", "level": "ERROR", "message": "third"},
    ]
    (failure,) = failures(raw("FAILED", taskRunList=runs), log, 2)
    assert (failure["task"], failure["attempt"], failure["value"]) == ("inner", 2, "a")
    assert [line["message"] for line in failure["log"]] == ["second", "third"]
    text = describe_failures([failure], log, 2)
    assert text == "  task inner FAILED (attempt 2, value a)\n    ERROR second\n    ERROR third"
    assert failures(raw("FAILED", taskRunList=runs), log, 0)[0]["log"] == []


def test_without_a_failing_task_the_execution_s_own_log_is_told() -> None:
    log = [{"level": "ERROR", "message": "no such input"}, {"level": "INFO", "message": "x"}]
    assert failures(raw("FAILED"), log, 5) == []
    assert describe_failures([], log, 5) == "    ERROR no such input"


def test_labels_are_read_in_both_forms() -> None:
    pairs = [{"key": "a", "value": "b"}, {"key": "system.from", "value": "api"}]
    assert labels_of({"labels": pairs}) == {"a": "b", "system.from": "api"}
    assert labels_of({"labels": {"a": 1, "system.from": "api"}}, system=False) == {"a": "1"}
    assert labels_of({}) == {}


def test_searches_are_spelt_for_the_version() -> None:
    query = Query("team", "one", ["FAILED", "KILLED"], {"a": "b"}, "2026-11-01T00:00:00+00:00")
    assert query.params(has_filters=True) == {
        "sort": "state.startDate:desc",
        "filters[namespace][EQUALS]": "team",
        "filters[flowId][EQUALS]": "one",
        "filters[state][IN]": "FAILED,KILLED",
        "filters[labels][EQUALS][a]": "b",
        "filters[startDate][GREATER_THAN_OR_EQUAL_TO]": "2026-11-01T00:00:00+00:00",
    }
    assert query.params(has_filters=False) == {
        "sort": "state.startDate:desc",
        "namespace": "team",
        "flowId": "one",
        "state": ["FAILED", "KILLED"],
        "labels": ["a:b"],
        "startDate": "2026-11-01T00:00:00+00:00",
    }
    assert Query().params(has_filters=True) == {"sort": "state.startDate:desc"}


def test_more_than_was_asked_for_is_left_out() -> None:
    query = Query("team", "one", labels={"a": "b"})
    fits = raw("SUCCESS", labels=[{"key": "a", "value": "b"}])
    with FakeKestra() as server:
        server.prepare(SEARCH, found({**fits, "namespace": "team.below"}, fits, raw("SUCCESS")))
        assert executions(server).search(query) == [fits]


def correlation(server: FakeKestra, request: str) -> str:
    """Return the correlation label that a request was sent with."""
    query = parse_qs(urlsplit(request.split(" ", 1)[1]).query)
    labels = dict(label.split(":", 1) for label in query["labels"])
    return labels[execution.CORRELATION]


@pytest.mark.parametrize(
    "answer",
    [Answer(200, drop=True), Answer(503), Answer(500, "{}"), Answer(502, "<html>"), Answer(200, "<html>")],
    ids=["dropped", "503", "500", "proxy", "no json"],
)
def test_a_start_whose_answer_is_lost_is_looked_for_and_not_sent_again(answer: Answer) -> None:
    with FakeKestra() as server:
        server.prepare(START, answer)
        clock = Clock()
        started = executions(server, clock)

        def mark(seconds: float) -> None:
            """Let the execution be found from the second look on."""
            clock.pause(seconds)
            label = {"key": execution.CORRELATION, "value": correlation(server, first_start(server))}
            child = raw("RUNNING", id="sub", labels=[label], trigger={"id": "subflow"})
            server.prepare(SEARCH, found(child, raw("RUNNING", labels=[label])))

        server.prepare(SEARCH, found())
        started.pause = mark
        assert started.start("team", "one", [], {"a": "b"})["id"] == "abc"
        assert sum(request.startswith(START) for request in server.requests) == 1
        assert "labels=a%3Ab" in first_start(server)


def first_start(server: FakeKestra) -> str:
    return next(request for request in server.requests if request.startswith(START))


def test_a_start_that_nobody_knows_of_is_an_error_and_not_sent_again() -> None:
    with FakeKestra() as server:
        server.prepare(START, Answer(200, drop=True))
        clock = Clock()
        with pytest.raises(KestraError) as caught:
            executions(server, clock).start("team", "one", [], {})
        assert sum(request.startswith(START) for request in server.requests) == 1
        assert correlation(server, first_start(server)) in str(caught.value)
        assert "not sent again" in str(caught.value)
    assert sum(clock.pauses) == pytest.approx(execution.LOOK_SECONDS)


def test_a_refused_start_is_not_looked_for() -> None:
    with FakeKestra() as server:
        server.prepare(START, server.problem(422, "Invalid value for input `n`"))
        with pytest.raises(KestraError, match="Could not start flow team/one: HTTP 422: Invalid value for input `n`"):
            executions(server).start("team", "one", [], {})
        assert not any(request.startswith(SEARCH) for request in server.requests)


def test_waiting_looks_less_and_less_often_and_bears_a_server_that_is_away() -> None:
    clock = Clock()
    with FakeKestra() as server:
        running = Answer(200, raw("RUNNING"))
        server.prepare(GET, running, Answer(503), Answer(200, drop=True), *[running] * 12, Answer(200, raw("SUCCESS")))
        ended = executions(server, clock).wait("abc", 600, execution.has_ended)
    assert ended is not None and ended["state"]["current"] == "SUCCESS"
    assert clock.pauses == sorted(clock.pauses)
    assert (clock.pauses[0], clock.pauses[-1]) == (FIRST_INTERVAL, LONGEST_INTERVAL)


def test_waiting_ends_with_the_time() -> None:
    clock = Clock()
    with FakeKestra() as server:
        server.prepare(GET, *[Answer(200, raw("RUNNING"))] * 50)
        last = executions(server, clock).wait("abc", 12, execution.has_ended)
    assert last is not None and last["state"]["current"] == "RUNNING"
    assert clock.now == pytest.approx(12)


def test_waiting_does_not_bear_refused_credentials() -> None:
    with FakeKestra() as server:
        server.prepare(GET, Answer(401))
        with pytest.raises(KestraError, match="HTTP 401"):
            executions(server).wait("abc", 600, execution.has_ended)
        assert sum(request.startswith(GET) for request in server.requests) == 1


def test_waiting_for_what_is_gone() -> None:
    clock = Clock()
    with FakeKestra() as server:
        assert executions(server, clock).wait("abc", 600, execution.has_ended) is None
    assert clock.now < 60


@pytest.mark.parametrize(("version", "path"), [("2.0.5", "actions/kill"), ("1.3.9", "kill")])
def test_actions_moved_with_2_0(version: str, path: str) -> None:
    request = f"DELETE /api/v1/main/executions/abc/{path}"
    with FakeKestra(version=version) as server:
        server.prepare(request, Answer(202))
        assert executions(server).act("abc", "kill") is None
        assert request in server.requests


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"namespace": "team"}, "flow"),
        ({"state": "killed"}, "id"),
        ({"namespace": "team", "flow": "one", "wait_timeout": -1}, "wait_timeout is -1"),
        ({"namespace": "team", "flow": "one", "log_lines": -1}, "log_lines is -1"),
        ({"namespace": "team", "flow": "one", "once": True}, "set labels"),
        ({"namespace": "team", "flow": "one", "labels": {"system.x": "y"}}, "Kestra's own"),
        ({"namespace": "team", "flow": "one", "labels": {"x": ""}}, "label x is empty"),
        ({"namespace": "team", "flow": "one", "schedule_date": "soon"}, "schedule_date is not an ISO 8601 date"),
        ({"state": "killed", "id": "abc", "inputs": {"a": 1}}, "inputs and files are for"),
        ({"state": "labeled", "id": "abc"}, "needs labels"),
    ],
)
def test_options_that_cannot_be_right(options: dict[str, Any], words: str) -> None:
    result = call("kestra_execution", options)
    assert result["failed"] and words in result["msg"]


def test_a_file_that_cannot_be_read() -> None:
    with FakeKestra() as server:
        options = {"url": server.url, "namespace": "team", "flow": "one", "files": {"data": "/no/such/file"}}
        result = call("kestra_execution", options)
    assert result["failed"]
    assert result["msg"] == "Could not read '/no/such/file', the file of input 'data': No such file or directory."


def test_inputs_are_not_shown() -> None:
    with FakeKestra() as server:
        server.prepare(f"{START}/validate", Answer(200, {"inputs": [{"input": {"id": "token"}}], "checks": []}))
        options = {"url": server.url, "namespace": "team", "flow": "one", "inputs": {"token": "s3cret"}}
        result = call("kestra_execution", options, check=True)
    assert not result["failed"] and result["diff"]["after"]["inputs"] == ["token"]
    assert "s3cret" not in str(result)


def test_a_kill_takes_the_media_type_that_kestra_declares() -> None:
    accepted: list[str] = []
    with FakeKestra() as server:
        handle = server.handle

        def remember(handler: Any) -> None:
            if handler.command == "DELETE":
                accepted.append(handler.headers["Accept"])
            handle(handler)

        server.handle = remember  # type: ignore[method-assign]
        server.prepare("DELETE /api/v1/main/executions/abc/actions/kill", Answer(200, raw("KILLING")))
        executions(server).act("abc", "kill")
    assert accepted == ["application/json, text/json"]


@pytest.mark.parametrize(("version", "name"), [("2.0.5", "letter.txt"), ("1.3.9", "letter.txt"), ("0.21.0", "letter")])
def test_a_file_is_named_as_the_version_takes_it(version: str, name: str, tmp_path: Path) -> None:
    letter = tmp_path / "letter.txt"
    letter.write_text("Dear")
    with FakeKestra(version=version) as server:
        server.prepare(START, Answer(200, raw("CREATED")))
        options = {"namespace": "team", "flow": "one", "files": {"letter": str(letter)}, "wait": False}
        result = call("kestra_execution", {**LOGIN, "url": server.url, **options})
        assert not result["failed"], result["msg"]
        body = server.bodies[server.requests.index(first_start(server))].decode()
    assert f'name="letter"; filename="{name}"' in body


def test_an_input_that_the_flow_does_not_have_is_refused() -> None:
    flow = {"namespace": "team", "id": "one", "source": "x", "tasks": [{}], "inputs": [{"id": "a"}, {"id": "b.c"}]}
    options = {**LOGIN, "namespace": "team", "flow": "one", "wait": False}
    with FakeKestra() as server:
        options["url"] = server.url
        server.prepare("GET /api/v1/main/flows/team/one", *[Answer(200, flow)] * 3)
        validated = [{"input": {"id": name}} for name in ("a", "b.c")]
        server.prepare(f"{START}/validate", Answer(200, {"inputs": validated}))
        result = call("kestra_execution", {**options, "inputs": {"a": 1, "zz": 1}})
        assert result["failed"] and "zz: the flow has no such input; it has a, b.c" in result["msg"]
        assert not [request for request in server.requests if request.startswith(f"{START}?")]
        server.prepare(START, Answer(200, raw("CREATED")))
        assert not call("kestra_execution", {**options, "inputs": {"b.c": 1}})["failed"]
        server.prepare(f"{START}/validate", Answer(200, {"inputs": [*validated, {"input": {"id": "shared"}}]}))
        server.prepare(START, Answer(200, raw("CREATED")))
        assert not call("kestra_execution", {**options, "inputs": {"shared": 1}})["failed"]


def test_the_address_of_an_execution_is_kept_while_it_is_waited_for() -> None:
    with FakeKestra() as server:
        server.prepare(START, Answer(200, raw("CREATED", url="http://ui/abc")))
        server.prepare("GET /api/v1/main/executions/abc", Answer(200, raw("SUCCESS", changes=2)))
        server.prepare("GET /api/v1/main/outputs", Answer(200, {}))
        result = call("kestra_execution", {**LOGIN, "url": server.url, "namespace": "team", "flow": "one"})
    assert result["execution"]["url"] == "http://ui/abc"


def test_an_old_version_does_not_replay_with_inputs() -> None:
    with FakeKestra(version="0.21.0") as server:
        server.prepare("GET /api/v1/main/executions/abc", Answer(200, raw("SUCCESS")))
        options = {**LOGIN, "url": server.url, "id": "abc", "state": "replayed", "inputs": {"a": 1}}
        result = call("kestra_execution", options)
    assert result["failed"] and "cannot be replayed with other inputs before Kestra 1.0" in result["msg"]


def test_a_refused_look_for_a_lost_start_is_told() -> None:
    with FakeKestra() as server:
        server.prepare(START, Answer(200, drop=True))
        server.prepare(SEARCH, Answer(403))
        with pytest.raises(KestraError, match="HTTP 403"):
            executions(server).start("team", "one", [], {})


def test_a_last_look_without_an_answer_leaves_what_was_seen() -> None:
    with FakeKestra() as server:
        server.prepare(GET, Answer(200, raw("RUNNING")), *[Answer(0, drop=True)] * 9)
        found = executions(server).wait("abc", 1, lambda it: False)
    assert found is not None and found["state"]["current"] == "RUNNING"


@pytest.mark.parametrize(("version", "said"), [("2.0.5", False), ("1.3.9", True), ("0.21.0", True)])
def test_a_flow_whose_id_is_that_of_an_action(version: str, said: bool) -> None:
    with FakeKestra(version=version) as server:
        server.prepare("POST /api/v1/main/executions/team/pause", server.problem(404, "Not Found"))
        with pytest.raises(KestraError, match="HTTP 404") as caught:
            executions(server).start("team", "pause", [], {})
    assert ("no flow with the id pause can be started. Rename the flow" in str(caught.value)) is said
