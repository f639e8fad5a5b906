"""The sidecar's client against a server that misbehaves, and how modules end."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from ansible_collections.devorch.orchestration.plugins.module_utils.http_session import ServiceError, address_problem
from ansible_collections.devorch.orchestration.plugins.module_utils.multipass import client as sidecar_client
from ansible_collections.devorch.orchestration.plugins.module_utils.multipass.client import (
    Sidecar,
    SidecarConnection,
    SidecarError,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.multipass.module import (
    run_module,
    sidecar_argument_spec,
    wait_argument_spec,
)

TOKEN = "token-0123456789abcdef"
JOB = "0" * 32
PROBLEM = "application/problem+json"


class Server(ThreadingHTTPServer):
    """Answers as prepared, one answer a request: a status, a body, and headers; 0 cuts the connection."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[tuple[int, Any, dict[str, str]]] = []
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.url = f"http://127.0.0.1:{self.server_port}"

    def prepare(self, status: int, body: Any = None, kind: str = "application/json", **headers: str) -> None:
        self.answers.append((status, body, {"Content-Type": kind, **headers}))

    def job(self, state: str, **more: Any) -> None:
        self.prepare(200, {"id": JOB, "state": state, "log": [], "result": None, "error": None, **more})


class Handler(BaseHTTPRequestHandler):
    """One request to Server."""

    protocol_version = "HTTP/1.1"
    server: Server

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.requests.append((f"{self.command} {self.path}", dict(self.headers.items()), body))
        status, content, headers = self.server.answers.pop(0)
        if status == 0:
            self.close_connection = True
            self.connection.close()
            return
        text = content if isinstance(content, str) else "" if content is None else json.dumps(content)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    do_GET = do_POST = do_PUT = do_DELETE = answer

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield server
        server.shutdown()


def client(server: Server, **options: Any) -> Sidecar:
    settings = {"token": TOKEN, "retries": 2, "backoff": 0.001, "timeout": 5, **options}
    return Sidecar(SidecarConnection(server.url, **settings), wait_timeout=5)


def problem(status: int, detail: str, **more: Any) -> dict[str, Any]:
    return {"type": "/problems/x", "title": "x", "status": status, "detail": detail, "instance": "/x", **more}


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("127.0.0.1:8090", "expected the form http://127.0.0.1:8090"),
        ("http://u:p@host", "url contains credentials; set token"),
        ("http://host/?a=b", "it is the root of the server"),
        ("http://host:port", "url is not a URL"),
    ],
)
def test_urls_that_cannot_be_one(url: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SidecarConnection(url)
    assert address_problem("https://host/path", "", "") is None


def test_a_token_is_sent_and_shown_nowhere(server: Server, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "netrc").write_text("default login other password other\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    server.prepare(200, {"instances": []})
    server.prepare(422, problem(422, f"echo {TOKEN}"), PROBLEM)
    sidecar = client(server)
    assert sidecar.instances() == []
    assert server.requests[0][1]["Authorization"] == f"Bearer {TOKEN}"
    with pytest.raises(SidecarError) as raised:
        sidecar.instances()
    assert TOKEN not in str(raised.value)


@pytest.mark.parametrize(
    ("status", "body", "kind", "expected"),
    [
        (401, problem(401, "no"), PROBLEM, "HTTP 401: no. Check token."),
        (403, problem(403, "needs admin"), PROBLEM, "HTTP 403: needs admin. Use a token with that scope"),
        (
            *(422, problem(422, "bad", errors=[{"field": "body.cpus", "detail": "too many"}]), PROBLEM),
            "HTTP 422: bad; body.cpus: too many",
        ),
        (404, "<html><title>x</title></html>", "text/html", "an HTML page titled 'x', not an answer of the sidecar's"),
        (302, None, "text/html", "redirected to nowhere"),
        (204, None, "text/html", "without a message"),
        (200, "no JSON", "text/html", "'no JSON', where a JSON object was expected"),
        (200, [], "application/json", "where a JSON object was expected"),
    ],
)
def test_error_answers(server: Server, status: int, body: Any, kind: str, expected: str) -> None:
    server.prepare(status, body, kind)
    with pytest.raises(SidecarError) as raised:
        client(server).instance("vm")
    assert str(raised.value).startswith("Could not read instance vm: ")
    assert expected in str(raised.value)
    assert isinstance(raised.value, ServiceError)


def test_no_token_is_told_apart(server: Server) -> None:
    server.prepare(401, problem(401, "no"), PROBLEM)
    with pytest.raises(SidecarError, match="Set token"):
        client(server, token=None).instances()


def test_lists_that_are_none(server: Server) -> None:
    for body in ({}, {"instances": 3}, {"instances": [3]}):
        server.prepare(200, body)
        with pytest.raises(SidecarError, match="no list of instances"):
            client(server).instances()


def test_what_is_not_there(server: Server) -> None:
    for read in (client(server).instance, client(server).environment):
        server.prepare(404, problem(404, "no such"), PROBLEM)
        assert read("a/b") is None
        assert server.requests[-1][0].endswith("/a%2Fb")


def test_a_change_is_repeated_with_the_same_key(server: Server) -> None:
    server.prepare(503, problem(503, "away"), PROBLEM, **{"Retry-After": "0"})
    server.prepare(0)
    server.prepare(202, {"id": JOB, "state": "queued"})
    job = client(server).change("POST", ["instances", "vm", "stop"], "stop vm", {"force": True})
    assert job == {"id": JOB, "state": "queued"}
    keys = {headers["Idempotency-Key"] for _request, headers, _body in server.requests}
    assert len(server.requests) == 3
    assert len(keys) == 1
    assert {json.loads(body)["force"] for _request, _headers, body in server.requests} == {True}


def test_two_changes_have_two_keys(server: Server) -> None:
    sidecar = client(server)
    for _number in range(2):
        server.prepare(204)
        assert sidecar.change("DELETE", ["environments", "e"], "delete e") is None
    first, second = (headers["Idempotency-Key"] for _request, headers, _body in server.requests)
    assert first != second


def test_an_answer_that_is_no_job(server: Server) -> None:
    server.prepare(202, {"id": 3})
    with pytest.raises(SidecarError, match="the answer is not a job"):
        client(server).change("POST", ["instances"], "launch vm", {})


def test_a_job_is_waited_for(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sidecar_client, "PAUSE", 0.01)
    server.job("queued")
    server.prepare(503, problem(503, "restarting"), PROBLEM)
    server.job("running")
    server.job("succeeded", result={"changed": True})
    assert client(server).wait({"id": JOB, "state": "queued"}, "start vm") == {"changed": True}
    assert [request for request, _headers, _body in server.requests] == [f"GET /jobs/{JOB}?wait=2"] * 4


@pytest.mark.parametrize(
    ("job", "expected"),
    [
        ({"state": "failed", "error": problem(409, "it runs")}, "Could not start vm: HTTP 409: it runs"),
        ({"state": "failed", "error": problem(504, "slow")}, "multipass may still be working"),
        ({"state": "cancelled", "log": [{"text": "a"}, {"text": "b"}]}, f"job {JOB} was cancelled; a; b"),
        ({"state": "interrupted"}, "The sidecar was restarted in the meantime"),
    ],
)
def test_a_job_that_fails(server: Server, job: dict[str, Any], expected: str) -> None:
    with pytest.raises(SidecarError) as raised:
        client(server).wait({"id": JOB, **job}, "start vm")
    assert expected in str(raised.value)


def test_a_job_that_takes_too_long(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sidecar_client, "PAUSE", 0.1)
    sidecar = client(server)
    sidecar.wait_timeout = 0.15
    for _number in range(5):
        server.job("running")
    with pytest.raises(SidecarError, match=r"is still running after 0\.15 seconds. It continues. Raise wait_timeout"):
        sidecar.wait({"id": JOB, "state": "queued"}, "start vm")


class Ended(Exception):
    """A module's end."""


class Module:
    """The part of an AnsibleModule that is used here."""

    def __init__(self, **params: Any) -> None:
        spec = {**sidecar_argument_spec(), **wait_argument_spec()}
        self.params = {name: option.get("default") for name, option in spec.items()} | params

    def exit_json(self, **result: Any) -> None:
        raise Ended(result)

    def fail_json(self, **result: Any) -> None:
        raise Ended({"failed": True, **result})


def ended(body: Any, **params: Any) -> dict[str, Any]:
    with pytest.raises(Ended) as caught:
        run_module(Module(**params), body)  # type: ignore[arg-type]
    result: dict[str, Any] = caught.value.args[0]
    return result


def test_how_modules_end() -> None:
    assert ended(lambda sidecar: {"msg": str(sidecar.wait_timeout)}, wait_timeout=7) == {"msg": "7"}

    def fail(sidecar: Sidecar) -> None:
        raise SidecarError("do it", "no", status=500)

    assert ended(fail) == {"failed": True, "changed": False, "msg": "Could not do it: HTTP 500: no"}


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"timeout": 0}, "timeout is 0; it is a number from 1"),
        ({"retries": -1}, "retries is -1; it is a number from 0"),
        ({"wait_timeout": 0}, "wait_timeout is 0; it is a number from 1"),
        ({"url": "nowhere"}, "url is 'nowhere'"),
    ],
)
def test_options_that_cannot_work(params: dict[str, Any], message: str) -> None:
    assert message in ended(lambda _sidecar: {"msg": "ran"}, **params)["msg"]
