"""The proxy that spoils answers: it must do what its rules say, and nothing else."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import requests

from ...faults.proxy import (
    Fault,
    Proxy,
    Rule,
    dribble,
    empty,
    half,
    html,
    is_write,
    other_shape,
    reset,
    slow,
    status,
    version,
    wrong_json,
)
from ..fake_kestra import PASSWORD, USERNAME, Answer, FakeKestra

FLOW = "id: a\nnamespace: team\ntasks:\n  - id: say\n    type: Log\n"
FLOWS = "/api/v1/main/flows"


@pytest.fixture
def server() -> Iterator[FakeKestra]:
    with FakeKestra() as fake:
        yield fake


def send(proxy: Proxy, method: str, path: str, text: str | None = None, **options: Any) -> requests.Response:
    """One request on a connection of its own."""
    headers = {"Content-Type": "application/x-yaml"}
    return requests.request(
        method,
        proxy.url + path,
        data=None if text is None else text.encode(),
        headers=headers,
        auth=(USERNAME.encode(), PASSWORD.encode()),
        timeout=10,
        **options,
    )


def lost(proxy: Proxy, method: str, path: str, text: str | None = None) -> bool:
    """Whether a request gets no whole answer."""
    try:
        send(proxy, method, path, text)
    except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError):
        return True
    return False


def test_what_has_no_rule_is_passed_on_as_it_is(server: FakeKestra) -> None:
    server.add(FLOW)
    with Proxy(server.url) as proxy:
        for method, path, text in (
            ("GET", "/api/v1/configs", None),
            ("GET", f"{FLOWS}/team/a?source=true", None),
            ("GET", f"{FLOWS}/team/nothing", None),
            ("GET", f"{FLOWS}/export/by-query", None),
            ("POST", f"{FLOWS}/validate", FLOW),
            ("POST", FLOWS, FLOW),
            ("PUT", f"{FLOWS}/team/a", FLOW + "description: Grüße\n"),
        ):
            through = send(proxy, method, path, text)
            direct = requests.request(
                method,
                server.url + path,
                data=None if text is None else text.encode(),
                headers={"Content-Type": "application/x-yaml"},
                auth=(USERNAME.encode(), PASSWORD.encode()),
                timeout=10,
            )
            assert (through.status_code, through.headers["Content-Type"]) == (
                direct.status_code,
                direct.headers["Content-Type"],
            )
            if "export" not in path:
                assert through.content == direct.content
        assert [(str(r), r.forwarded, r.status, r.fault) for r in proxy.requests][-1] == (
            f"PUT {FLOWS}/team/a", True, 200, None,
        )  # fmt: skip
        assert proxy.spoiled == []
        assert [str(request) for request in proxy.writes] == [f"POST {FLOWS}", f"PUT {FLOWS}/team/a"]
    assert server.flows[("team", "a")].source == FLOW + "description: Grüße\n"


def test_connections_are_kept_on_both_sides(server: FakeKestra) -> None:
    with Proxy(server.url) as proxy, requests.Session() as session:
        session.auth = (USERNAME.encode(), PASSWORD.encode())
        ports = set()
        for _ in range(20):
            with session.get(f"{proxy.url}/api/v1/configs", stream=True, timeout=5) as answer:
                ports.add(answer.raw.connection.sock.getsockname())
                assert answer.json()["version"] == "2.0.5"
        assert len(ports) == 1
    assert server.connections == 1


def test_requests_are_served_at_once(server: FakeKestra) -> None:
    """None is answered before all have arrived."""
    together = threading.Barrier(8)

    def wait(answer: Any, _random: Any) -> Any:
        together.wait(timeout=10)
        return answer

    with (
        Proxy(server.url, [Rule(Fault("all together", wait, True))]) as proxy,
        ThreadPoolExecutor(max_workers=8) as pool,
    ):
        answers = list(pool.map(lambda _n: send(proxy, "GET", "/api/v1/configs").status_code, range(8)))
    assert answers == [200] * 8


@pytest.mark.parametrize(
    ("method", "path", "write"),
    [
        ("GET", f"{FLOWS}/search", False),
        ("HEAD", f"{FLOWS}/search", False),
        ("POST", f"{FLOWS}/validate", False),
        ("POST", f"{FLOWS}/validate?x=y", False),
        ("POST", "/api/v1/flows/validate", False),
        ("POST", f"{FLOWS}/export/by-ids", False),
        ("POST", "/api/v1/main/executions/latest", False),
        ("POST", "/api/v1/main/executions/team/a/validate", False),
        ("POST", "/api/v1/main/executions/team/validate", True),
        ("POST", "/api/v1/main/executions/trigger/team/validate", True),
        ("POST", "/api/v1/main/executions/team/a", True),
        ("GET", "/api/v1/main/executions/webhook/team/a/key", True),
        ("POST", FLOWS, True),
        ("POST", f"{FLOWS}/team", True),
        ("POST", f"{FLOWS}/import", True),
        ("PUT", f"{FLOWS}/validate", True),
        ("PUT", f"{FLOWS}/team/a", True),
        ("DELETE", f"{FLOWS}/team/a", True),
        ("DELETE", f"{FLOWS}/delete/by-ids", True),
        ("PATCH", f"{FLOWS}/team/a", True),
        # The sidecar's.
        ("GET", "/instances/vm/size", False),
        ("GET", "/jobs/0?wait=20", False),
        ("POST", "/instances", True),
        ("POST", "/instances/vm/start", True),
        ("POST", "/instances/vm/exec", True),
        ("PUT", "/environments/stage", True),
        ("DELETE", "/environments/stage?purge=true", True),
    ],
)
def test_what_counts_as_a_write(method: str, path: str, write: bool) -> None:
    assert is_write(method, path) is write


def test_a_write_is_refused_and_fails_the_test(server: FakeKestra) -> None:
    with Proxy(server.url, read_only=True) as proxy:
        assert send(proxy, "POST", f"{FLOWS}/validate", FLOW).status_code == 200
    with (
        pytest.raises(AssertionError, match=r"writes were sent: \['POST /api/v1/main/flows'\]"),
        Proxy(server.url, read_only=True) as proxy,
    ):
        assert send(proxy, "POST", FLOWS, FLOW).status_code == 405
        assert [request.forwarded for request in proxy.requests] == [False]
    assert server.writes == [] and server.flows == {}


def test_a_failing_test_keeps_its_own_failure(server: FakeKestra) -> None:
    with pytest.raises(KeyError), Proxy(server.url, read_only=True) as proxy:
        send(proxy, "POST", FLOWS, FLOW)
        raise KeyError


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("code", [429, 500, 502, 503, 504])
def test_an_error_before_and_after_the_work(server: FakeKestra, code: int, after: bool) -> None:
    with Proxy(server.url, [Rule(status(code, after=after), method="POST")]) as proxy:
        answer = send(proxy, "POST", FLOWS, FLOW)
        assert answer.status_code == code and answer.json()["status"] == code
        assert "Retry-After" not in answer.headers
        (request,) = proxy.requests
        assert (request.forwarded, request.status) == ((True, 200) if after else (False, None))
    assert (("team", "a") in server.flows) is after


def test_retry_after_is_sent(server: FakeKestra) -> None:
    with Proxy(server.url, [Rule(status(429, retry_after="7"))]) as proxy:
        assert send(proxy, "GET", "/api/v1/configs").headers["Retry-After"] == "7"
    assert server.requests == []


@pytest.mark.parametrize("after", [False, True])
def test_a_reset_before_and_after_the_work(server: FakeKestra, after: bool) -> None:
    with Proxy(server.url, [Rule(reset(after=after))]) as proxy:
        client = socket.create_connection(("127.0.0.1", int(proxy.url.rpartition(":")[2])), timeout=10)
        client.sendall(
            f"POST {FLOWS} HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-yaml\r\n"
            f"Authorization: {requests.auth._basic_auth_str(USERNAME.encode(), PASSWORD.encode())}\r\n"
            f"Content-Length: {len(FLOW)}\r\n\r\n{FLOW}".encode()
        )
        with pytest.raises(ConnectionResetError):
            client.recv(100)
        client.close()
        assert lost(proxy, "GET", "/api/v1/configs")
    assert (("team", "a") in server.flows) is after


def test_half_an_answer_comes_after_the_work(server: FakeKestra) -> None:
    with Proxy(server.url, [Rule(half())]) as proxy:
        assert lost(proxy, "POST", FLOWS, FLOW)
        assert lost(proxy, "GET", "/api/v1/configs")
    assert ("team", "a") in server.flows


def test_slow_answers(server: FakeKestra) -> None:
    rules = [Rule(slow(0.2), path="configs"), Rule(dribble(0.2, pieces=4), path="health")]
    with Proxy(server.url, rules) as proxy:
        for path, first_byte in (("/api/v1/configs", True), ("/health", False)):
            start = time.monotonic()
            answer = send(proxy, "GET", path)
            assert answer.json() and time.monotonic() - start >= 0.2
            assert (answer.elapsed.total_seconds() >= 0.2) is first_byte


def test_a_slow_answer_does_not_keep_the_proxy_from_ending(server: FakeKestra) -> None:
    start = time.monotonic()
    with Proxy(server.url, [Rule(slow(60))]) as proxy, pytest.raises(requests.ReadTimeout):
        requests.get(f"{proxy.url}/health", timeout=0.1)
    assert time.monotonic() - start < 10


def test_answers_of_another_kind(server: FakeKestra) -> None:
    rules = [
        Rule(wrong_json(), path="search"),
        Rule(html(), path="a1"),
        Rule(html(502), path="a2"),
        Rule(empty(), path="a3"),
        Rule(version("1.3.9"), path="configs"),
    ]
    with Proxy(server.url, rules) as proxy:
        wrong = send(proxy, "GET", f"{FLOWS}/search")
        assert wrong.headers["Content-Type"] == "application/json" and wrong.text != '{"results": [], "total": 0}'
        for path, code in (("a1", 200), ("a2", 502)):
            page = send(proxy, "GET", f"{FLOWS}/team/{path}")
            assert (page.status_code, page.headers["Content-Type"]) == (code, "text/html; charset=utf-8")
        nothing = send(proxy, "GET", f"{FLOWS}/team/a3")
        assert (nothing.status_code, nothing.content, nothing.headers["Content-Length"]) == (200, b"", "0")
        assert send(proxy, "GET", "/api/v1/configs").json() == {"uuid": "u", "version": "1.3.9", "edition": "OSS"}


@pytest.mark.parametrize(("before", "code"), [("2.0.5", 422), ("1.3.9", 409)])
def test_errors_in_the_shape_of_the_other_version(before: str, code: int) -> None:
    with FakeKestra(version=before) as server, Proxy(server.url, [Rule(other_shape())]) as proxy:
        server.add(FLOW)
        duplicate = send(proxy, "POST", FLOWS, FLOW)
        assert duplicate.status_code == code
        assert ("_embedded" in duplicate.json()) is (code == 422)
        assert "already exists" in duplicate.text
        assert send(proxy, "GET", f"{FLOWS}/team/a").json()["id"] == "a"


def test_the_first_rule_that_applies_counts_and_occurrences_are_counted_by_rule(server: FakeKestra) -> None:
    rules = [
        Rule(status(503), method="GET", path="configs", nth=[2, 4]),
        Rule(status(500), method="GET|HEAD", path=r"configs$", nth=[4, 5]),
    ]
    with Proxy(server.url, rules) as proxy:
        send(proxy, "GET", "/health")
        codes = [send(proxy, "GET", "/api/v1/configs").status_code for _ in range(6)]
    assert codes == [200, 503, 200, 503, 500, 200]


def test_the_seed_decides_whatever_the_order(server: FakeKestra) -> None:
    paths = [f"/health?n={n % 20}" for n in range(60)]

    def spoiled(seed: int, order: list[str], workers: int) -> list[tuple[str, ...]]:
        rules = [Rule(status(500), probability=0.2), Rule(wrong_json(), probability=0.5)]
        with Proxy(server.url, rules, seed=seed) as proxy, ThreadPoolExecutor(workers) as pool:
            bodies = list(pool.map(lambda path: send(proxy, "GET", path).text, order))
            assert len(proxy.requests) == 60
            return sorted(zip(order, bodies, strict=True))

    once = spoiled(7, paths, 1)
    assert spoiled(7, paths[::-1], 8) == once
    assert spoiled(8, paths, 1) != once
    faulty = sum("spoiled by the proxy" in body for _path, body in once)
    assert 3 <= faulty <= 25


def test_a_server_that_hangs_up_is_passed_on_and_not_asked_twice(server: FakeKestra) -> None:
    with Proxy(server.url) as proxy, requests.Session() as session:
        assert session.get(f"{proxy.url}/health", timeout=5).status_code == 200
        server.prepare("GET /health/liveness", Answer(200, drop=True))
        with pytest.raises(requests.ConnectionError):
            session.get(f"{proxy.url}/health/liveness", timeout=5)
        assert server.requests.count("GET /health/liveness") == 1
        assert session.get(f"{proxy.url}/health", timeout=5).status_code == 200
        assert [request.status for request in proxy.requests] == [200, None, 200]


def test_forms_and_bodies_in_chunks_arrive(server: FakeKestra) -> None:
    with Proxy(server.url) as proxy:
        requests.post(f"{proxy.url}/x", data=iter([b"one ", b"two"]), timeout=5)
        requests.post(f"{proxy.url}/x", files={"a": ("a.txt", b"\0\r\n\xff")}, timeout=5)
    assert server.bodies[0] == b"one two"
    assert b"\0\r\n\xff" in server.bodies[1]


def test_events_are_passed_on_as_they_come() -> None:
    """The second event is sent when the first has arrived, so a proxy that collects them would never end."""
    arrived = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            self.wfile.write(b"data: 1\n\n")
            assert arrived.wait(10)
            self.wfile.write(b"data: 2\n\n")

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        with (
            Proxy(f"http://127.0.0.1:{server.server_port}") as proxy,
            requests.get(proxy.url, stream=True, timeout=10) as answer,
        ):
            lines = answer.iter_lines(chunk_size=1)
            assert next(lines) == b"data: 1"
            arrived.set()
            assert [line for line in lines if line] == [b"data: 2"]
    finally:
        server.shutdown()
        server.server_close()


def test_heads_have_no_body(server: FakeKestra) -> None:
    with Proxy(server.url, [Rule(empty(204, after=False), path="gone"), Rule(html(), method="HEAD")]) as proxy:
        answer = send(proxy, "HEAD", "/health")
        assert answer.status_code == 200 and int(answer.headers["Content-Length"]) > 0
        gone = send(proxy, "DELETE", "/gone")
        assert gone.status_code == 204 and "Content-Length" not in gone.headers
        assert json.loads(send(proxy, "GET", "/health").text)["status"] == "UP"
