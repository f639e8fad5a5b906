"""A session against servers that hang, trickle, cut off or ask for patience; its logins and its authorities."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.devorch.orchestration.plugins.module_utils import http_session
from ansible_collections.devorch.orchestration.plugins.module_utils.http_session import ServiceError, pause_asked_by
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.client import Connection, KestraClient
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.executions import Executions
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.health import Probe, wait_until_healthy
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.triggers import Triggers
from ansible_collections.devorch.orchestration.plugins.module_utils.multipass.client import (
    Sidecar,
    SidecarConnection,
)

Behaviour = Callable[[socket.socket], None]
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n"
SLACK = 2.0


class BadServer:
    """A server that answers every request, and each connection, in one way; C(requests) counts them."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.requests = 0
        self.over = threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def __enter__(self) -> BadServer:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.over.set()
        self.listener.close()

    def _accept(self) -> None:
        while not self.over.is_set():
            try:
                connection, _address = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                while connection.recv(65536):
                    self.requests += 1
                    self.behaviour(connection)
            except OSError:
                return


def trickle(connection: socket.socket, content: bytes) -> None:
    for place in range(len(content)):
        connection.sendall(content[place : place + 1])
        time.sleep(0.05)


def answer(status: str, body: bytes = b"{}", **headers: str) -> Behaviour:
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    content = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{lines}\r\n".encode() + body
    return lambda connection: connection.sendall(content)


def hang(connection: socket.socket) -> None:
    time.sleep(60)


def slow(connection: socket.socket) -> None:
    time.sleep(0.4)
    answer("503 Service Unavailable")(connection)


def cut(connection: socket.socket) -> None:
    connection.sendall(HEAD + b"[")
    connection.close()


BEHAVIOURS: dict[str, Behaviour] = {
    "hangs": hang,
    "hangs in the headers": lambda c: (c.sendall(HEAD[:30]), hang(c))[1],
    "hangs in the body": lambda c: (c.sendall(HEAD + b"["), hang(c))[1],
    "trickles headers": lambda c: trickle(c, HEAD + b"[" + b" " * 1000),
    "trickles the body": lambda c: (c.sendall(HEAD), trickle(c, b"[" + b" " * 1000))[1],
    "trickles chunks": lambda c: (
        c.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        trickle(c, b"1\r\n \r\n" * 200),
    )[1],
    "trickles names of headers": lambda c: (c.sendall(b"HTTP/1.1 200 OK\r\n"), trickle(c, b"A: b\r\n" * 200))[1],
    "is slow and busy": slow,
    "asks for 30 seconds": answer("503 Service Unavailable", Retry_After="30"),
    "asks for a date": answer("429 Too Many Requests", Retry_After="Sun, 29 Nov 2099 11:00:00 GMT"),
    "cuts off": cut,
    "closes": lambda c: c.close(),
}
LIMIT = 0.6


def connection(url: str, **options: Any) -> Connection:
    return Connection(url, **{"timeout": 0.3, "retries": 1, "backoff": 0.01, **options})


def one_call(url: str) -> None:
    """`timeout` and `retries` alone: two attempts, and a pause between them."""
    KestraClient(connection(url)).server_info()


def whole_run(url: str) -> None:
    """`run_timeout`, with patience of all other kinds."""
    client = KestraClient(connection(url, timeout=30, retries=9, backoff=0.2))
    client.http.deadline = time.monotonic() + LIMIT
    client.retry(lambda: client.search_flows(["team"]))


def execution(url: str) -> None:
    """`wait_timeout` of an execution."""
    Executions(KestraClient(connection(url, timeout=30, retries=9, backoff=0.2))).wait("x", LIMIT, lambda raw: False)


def trigger(url: str) -> None:
    """`wait_timeout` of a trigger."""
    client = KestraClient(connection(url, timeout=30, retries=9, backoff=0.2))
    Triggers(client).wait("team", "flow", "x", LIMIT, lambda found: False)


def health(url: str) -> None:
    """`wait_timeout` of kestra_health."""
    probe = Probe(connection(url, timeout=30, retries=9), url)
    assert not wait_until_healthy(probe, LIMIT, 0.1).health.healthy
    raise ServiceError("find it healthy", "no")


def job(url: str) -> None:
    """`wait_timeout` of a job of the sidecar."""
    sidecar = Sidecar(SidecarConnection(url, timeout=30, retries=9, backoff=0.2), wait_timeout=LIMIT)
    sidecar.wait({"id": "x", "state": "running"}, "start vm")


@pytest.mark.parametrize("call", [one_call, whole_run, execution, trigger, health, job])
def test_every_call_ends_within_its_limit(call: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Against each of the servers, all at the same time."""
    if call is one_call:
        monkeypatch.setattr(http_session, "LONGEST_PAUSE", 0.1)
    took: dict[str, float] = {}
    wrong: dict[str, BaseException | None] = {}

    def run(name: str, url: str) -> None:
        begin = time.monotonic()
        try:
            call(url)
            wrong[name] = None
        except ServiceError:
            pass
        except BaseException as error:
            wrong[name] = error
        took[name] = time.monotonic() - begin

    with_servers = {name: BadServer(behaviour).__enter__() for name, behaviour in BEHAVIOURS.items()}
    threads = [threading.Thread(target=run, args=(name, server.url)) for name, server in with_servers.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    for server in with_servers.values():
        server.__exit__()
    assert wrong == {}
    assert set(took) == set(BEHAVIOURS)
    late = {name: seconds for name, seconds in took.items() if seconds > LIMIT + SLACK}
    assert late == {}


@pytest.mark.parametrize("retries", [0, 1, 3])
@pytest.mark.parametrize("behaviour", ["is slow and busy", "cuts off", "closes"])
def test_there_are_no_more_repeats_than_asked_for(behaviour: str, retries: int) -> None:
    with BadServer(BEHAVIOURS[behaviour]) as server:
        client = KestraClient(connection(server.url, retries=retries, timeout=5))
        with pytest.raises(ServiceError):
            client.retry(lambda: client.search_flows(["team"]))
        assert server.requests == retries + 1


def test_a_pause_that_the_server_asks_for_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    with BadServer(answer("503 Service Unavailable", Retry_After="7")) as server:
        client = KestraClient(connection(server.url, retries=2))
        monkeypatch.setattr(time, "sleep", pauses.append)
        for call in (client.server_info, lambda: client.retry(lambda: client.delete_flow("a", "b"))):
            with pytest.raises(ServiceError, match="HTTP 503"):
                call()
    assert pauses == [7, 7, 7, 7]


@pytest.mark.parametrize(
    ("text", "expected"), [("", None), ("soon", None), ("12", 12.0), ("Sun, 29 Nov 2020 11:00:00 GMT", 0.0)]
)
def test_retry_after(text: str, expected: float | None) -> None:
    response: Any = type("Response", (), {"headers": {"Retry-After": text}})
    assert pause_asked_by(response) == expected


def test_a_large_answer_may_take_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A download that goes on is not given up."""
    monkeypatch.setattr(http_session, "PATIENT_BYTES", 1000)

    def large(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n")
        for _piece in range(10):
            time.sleep(0.1)
            connection.sendall(b"x" * 1000)

    with BadServer(large) as server:
        client = KestraClient(connection(server.url, retries=0, timeout=0.4))
        assert len(client.request("GET", "/", "read").content) == 10000
