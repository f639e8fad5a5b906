"""The client against a server that records what it is asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from ansible_collections.devorch.orchestration.plugins.module_utils.n8n.client import N8nClient, N8nConnection, N8nError
from ansible_collections.devorch.orchestration.plugins.module_utils.n8n.internal import N8nPage
from ansible_collections.devorch.orchestration.plugins.module_utils.n8n.records import TABLE, Records

KEY = "canary-4711-songbird"
Answer = tuple[int, Any]


class Server:
    """Answers with what `respond` returns, by method, path and content; keeps the requests."""

    def __init__(self, respond: Callable[[str, str, Any], Answer]) -> None:
        server = self
        self.requests: list[tuple[str, str, Any]] = []
        self.headers: list[Any] = []

        class Handler(BaseHTTPRequestHandler):
            def handle_one(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                content = json.loads(body) if body else None
                server.requests.append((self.command, self.path, content))
                server.headers.append(self.headers)
                status, answer = respond(self.command, self.path, content)
                sent = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(sent)))
                self.send_header("Set-Cookie", "n8n-auth=the-session; Path=/")
                self.send_header("Access-Control-Allow-Methods", "OPTIONS, GET")
                self.end_headers()
                self.wfile.write(sent)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = handle_one

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Server:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def serve() -> Iterator[Callable[..., tuple[Server, N8nClient]]]:
    opened: list[tuple[Server, N8nClient]] = []

    def start(respond: Callable[[str, str, Any], Answer], retries: int = 2) -> tuple[Server, N8nClient]:
        server = Server(respond).__enter__()
        client = N8nClient(N8nConnection(server.url, KEY, retries=retries, backoff=0.001))
        opened.append((server, client))
        return server, client

    yield start
    for server, client in opened:
        client.close()
        server.__exit__()


def test_all_pages_are_read_with_the_key(serve: Any) -> None:
    pages = {"/api/v1/tags?limit=250": ([{"id": 1, "name": "a"}], "n"), "/api/v1/tags?limit=250&cursor=n": (
        [{"id": 2, "name": "b"}], None)}  # fmt: skip
    server, client = serve(lambda _m, path, _c: (200, dict(zip(("data", "nextCursor"), pages[path], strict=True))))
    assert client.tags() == {"a": "1", "b": "2"}
    assert all(headers["X-N8N-API-KEY"] == KEY for headers in server.headers)


def test_what_may_be_sent_twice_is_sent_twice(serve: Any) -> None:
    count = {"n": 0}

    def respond(_method: str, _path: str, _content: Any) -> Answer:
        count["n"] += 1
        return (503, {}) if count["n"] % 2 else (200, {"id": "1", "name": "a"})

    server, client = serve(respond)
    client.update_workflow("1", {"name": "a"})
    client.publish("1", "a")
    client.unpublish("1", "a")
    assert [method for method, _path, _content in server.requests] == ["PUT", "PUT", "POST", "POST", "POST", "POST"]
    assert server.requests[0][1] == "/api/v1/workflows/1?publishIfActive=false"
    with pytest.raises(N8nError):
        client.create_workflow({"name": "a"})
    assert len(server.requests) == 7, "a new workflow could be there twice"


def test_an_n8n_without_drafts(serve: Any) -> None:
    def respond(_method: str, path: str, _content: Any) -> Answer:
        unknown = {"message": "Unknown query parameter 'publishIfActive'"}
        return (400, unknown) if "?" in path else (200, {"id": "1"})

    server, client = serve(respond)
    with pytest.raises(N8nError, match="publishes a published workflow when it is stored"):
        client.update_workflow("1", {"name": "a"}, only_draft=True)
    assert len(server.requests) == 1 and not client.has_drafts
    client.update_workflow("1", {"name": "a"})
    assert server.requests[-1][1] == "/api/v1/workflows/1"


def test_errors_name_what_to_do_and_hide_the_key(serve: Any) -> None:
    _server, client = serve(lambda _m, _p, _c: (401, {"message": f"unauthorized {KEY}"}))
    with pytest.raises(N8nError) as error:
        client.workflows()
    assert KEY not in str(error.value) and "Check api_key" in str(error.value)
    _server, client = serve(lambda _m, _p, _c: (200, b"<!doctype html><title>Login</title>"))
    with pytest.raises(N8nError, match="Something else than n8n answers"):
        client.workflows()


def test_a_webhook_is_asked_for_without_running_it(serve: Any) -> None:
    server, client = serve(lambda _m, _p, _c: (204, b""))
    assert client.webhook_methods("a b/c") == {"GET"}
    assert server.requests == [("OPTIONS", "/webhook/a%20b/c", None)]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"url": "ftp://x"}, "expected the form"),
        ({"url": "http://u:p@x"}, "contains credentials"),
        ({"url": "http://x/api/v1"}, "is the root of n8n"),
        ({"url": "http://x", "api_key": "a b"}, "api_key has a character"),
        ({"url": "http://x", "client_key": "k"}, "client_cert is not"),
    ],
)
def test_options_that_cannot_work(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        N8nConnection(**options)


def test_records_are_found_written_and_removed(serve: Any) -> None:
    rows = [
        {"id": 1, "kind": "workflow", "key": "w", "digest": "d", "state": "true"},
        {"id": 2, "kind": "other", "key": "x"},
    ]

    def respond(method: str, path: str, _content: Any) -> Answer:
        if path.startswith("/api/v1/data-tables?"):
            return 200, {"data": [{"id": "t", "name": TABLE}]}
        return 200, ({"data": rows} if method == "GET" else True)

    server, client = serve(respond)
    records = Records(client, "workflow")
    assert records.read() == {"w": ("d", "true")}
    records.write([("w", "e", "false")])
    assert server.requests[-1][2]["data"] == {"kind": "workflow", "key": "w", "digest": "e", "state": "false"}
    records.forget(["w"])
    assert server.requests[-1][0] == "DELETE" and records.problem is None
    assert all("+" not in path and " " not in path for _method, path, _content in server.requests), "n8n refuses it"


def test_without_the_right_there_are_no_records(serve: Any) -> None:
    _server, client = serve(lambda _m, _p, _c: (403, {"message": "no"}))
    records = Records(client, "workflow")
    assert records.read() == {} and records.problem is not None
    records.write([("w", "e", "false")])


def test_a_key_is_made_instead_of_one_with_its_label(serve: Any) -> None:
    def respond(method: str, path: str, _content: Any) -> Answer:
        if method == "GET" and path == "/rest/api-keys":
            return 200, {"data": {"items": [{"id": "old", "label": "mine"}, {"id": "theirs", "label": "x"}]}}
        return 200, {"data": ["workflow:read"] if path.endswith("scopes") else {"rawApiKey": "new-key-4711"}}

    server, _client = serve(respond)
    page = N8nPage(N8nConnection(server.url, retries=0), ["pass"])
    page.log_in("a@b.example", "pass")
    assert page.make_key("mine") == "new-key-4711"
    assert ("DELETE", "/rest/api-keys/old", None) in server.requests
    assert not [path for _method, path, _content in server.requests if path.endswith("theirs")]
    assert server.headers[-1]["Cookie"] == "n8n-auth=the-session"
    assert page.http.scrub("new-key-4711 pass the-session") == " ".join(["********"] * 3)
    page.close()


def test_a_refused_key_does_not_work(serve: Any) -> None:
    server, _client = serve(lambda _m, _p, _c: (401, {"message": "unauthorized"}))
    page = N8nPage(N8nConnection(server.url, retries=0))
    assert page.key_works("x") is False
    page.close()
