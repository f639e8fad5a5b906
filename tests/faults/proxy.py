"""A proxy between the collection and a Kestra, real or not: it records every request, and spoils answers by rule.

    with Proxy(kestra.url, rules=[Rule(status(503), method="PUT", nth=[1])]) as proxy:
        ...                     # talk to proxy.url
        proxy.requests          # everything that was asked, with what became of it
        proxy.writes            # what could have changed something

With `read_only=True` it passes no write on, and the `with` block fails if there was one.

A rule with a probability decides by the seed, the request and how often the same request came before, and never by the
order in which different requests arrive: the same seed spoils the same requests however many are in flight.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import re
import select
import socket
import struct
import sys
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from http.client import HTTPConnection, HTTPException, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

HOP_BY_HOP = frozenset(
    (
        *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te"),
        *("trailer", "transfer-encoding", "upgrade", "content-length", "host", "expect"),
    )
)
UPSTREAM_TIMEOUT = 120
STREAM = "text/event-stream"

_TENANT = r"/api/v1(/[^/]+)?"
# What is asked for with a POST because the question is long, and changes nothing.
READING = re.compile(
    rf"{_TENANT}/("
    r"flows/(validate|validate/task|validate/trigger|graph|expressions|export/by-ids|source/replace/preview)"
    r"|executions/(latest|(?!trigger/|webhook/)[^/]+/[^/]+/validate|[^/]+/(actions/)?eval(/[^/]+)?)"
    r"|namespaces/autocomplete"
    r"|dashboards/(validate|validate/chart|charts/preview)"
    r")|/api/v1/plugins/auto-install/detect"
)
# A webhook runs a flow, by whatever method it is called.
RUNNING = re.compile(rf"{_TENANT}/executions/webhook/.*")


def is_write(method: str, path: str) -> bool:
    """Whether a request can change something on the server; `path` may have a query."""
    address = path.partition("?")[0]
    if method in ("GET", "HEAD", "OPTIONS"):
        return RUNNING.fullmatch(address) is not None
    return not (method == "POST" and READING.fullmatch(address))


@dataclass(frozen=True)
class Request:
    """A request that came in; what became of it is filled in when it is known."""

    method: str
    path: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    forwarded: bool = False
    """Whether the server got it."""
    status: int | None = None
    """What the server answered; None where it was not asked, or gave no answer."""
    fault: str | None = None
    """What was done to the answer."""

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def is_write(self) -> bool:
        return is_write(self.method, self.path)


@dataclass(frozen=True)
class Answer:
    """An answer, and how it is delivered."""

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    delay: float = 0
    """Seconds before the first byte."""
    pieces: int = 1
    """In how many parts the body is sent."""
    pause: float = 0
    """Seconds between the parts."""
    cut: int | None = None
    """After how many bytes of the body the connection ends, though the header promised all of it."""

    def with_body(self, body: bytes, content_type: str, status: int | None = None) -> Answer:
        """Return the answer with another body, which is neither packed nor what it was."""
        kept = tuple(h for h in self.headers if h[0].lower() not in ("content-type", "content-encoding"))
        return replace(self, body=body, headers=(*kept, ("Content-Type", content_type)), status=status or self.status)


Spoil = Callable[[Answer, random.Random], Answer | None]


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong.

    With `forward` the server gets the request, and `spoil` its answer; without it the server never hears of it.
    Where `spoil` returns None the connection is reset.
    """

    name: str
    spoil: Spoil
    forward: bool


def status(code: int, *, retry_after: str | None = None, after: bool = False) -> Fault:
    """Answer with an error, in the shape of Kestra 2; with `after` the server has done what it was asked."""
    headers = [("Content-Type", "application/problem+json")]
    if retry_after is not None:
        headers.append(("Retry-After", retry_after))
    body = json.dumps({"type": "about:blank", "title": "spoiled", "status": code, "detail": "spoiled by the proxy"})
    answer = Answer(code, tuple(headers), body.encode())
    suffix = f" with Retry-After {retry_after}" if retry_after is not None else ""
    return Fault(f"{code}{suffix} {_when(after)}", lambda _answer, _random: answer, after)


def reset(*, after: bool = False) -> Fault:
    """Reset the connection; with `after` the server has done what it was asked."""
    return Fault(f"reset {_when(after)}", lambda _answer, _random: None, after)


def half() -> Fault:
    """Cut the answer off, anywhere in its body; an answer without a body is cut off before its header."""

    def spoil(answer: Answer, source: random.Random) -> Answer | None:
        return replace(answer, cut=source.randrange(len(answer.body))) if answer.body else None

    return Fault("half an answer", spoil, True)


def slow(seconds: float) -> Fault:
    """Wait before the answer."""
    return Fault(f"slow by {seconds:g} s", lambda answer, _random: replace(answer, delay=seconds), True)


def dribble(seconds: float, pieces: int = 10) -> Fault:
    """Send the body in pieces, all of it within this time."""
    pause = seconds / pieces
    return Fault(
        f"dribbled over {seconds:g} s", lambda answer, _random: replace(answer, pieces=pieces, pause=pause), True
    )


def wrong_json() -> Fault:
    """Answer with JSON of another kind than anybody asks for, or with what is nearly JSON."""
    bodies = (b'{"unexpected": true}', b"[1, 2", b"null", b'"text"', b"[[]]", b"17", b'{"results": 3, "total": "x"}')

    def spoil(answer: Answer, source: random.Random) -> Answer:
        return answer.with_body(source.choice(bodies), "application/json")

    return Fault("wrong JSON", spoil, True)


def html(code: int = 200, *, after: bool = False) -> Fault:
    """Answer with a page, as proxies and login forms do."""
    page = f"<!DOCTYPE html>\n<html><head><title>{code} spoiled</title></head><body>nginx</body></html>".encode()
    answer = Answer(code, (("Content-Type", "text/html; charset=utf-8"),), page)
    return Fault(f"HTML page {code} {_when(after)}", lambda _answer, _random: answer, after)


def empty(code: int = 200, *, after: bool = True) -> Fault:
    """Answer with nothing in it."""
    return Fault(f"empty {code} {_when(after)}", lambda _answer, _random: Answer(code), after)


def version(text: str) -> Fault:
    """Let the server say that it has another version."""

    def spoil(answer: Answer, _random: random.Random) -> Answer:
        content = json.loads(answer.body)
        return answer.with_body(json.dumps({**content, "version": text}).encode(), "application/json")

    return Fault(f"version {text}", spoil, True)


def other_shape() -> Fault:
    """Put an error into the shape of the other version: problem+json of 2.x, HAL of 1.x, 409 or 422 for a duplicate."""

    def spoil(answer: Answer, _random: random.Random) -> Answer:
        if answer.status < 400 or not answer.body:
            return answer
        content = json.loads(answer.body)
        code = answer.status
        if "detail" in content:
            message = content["detail"]
            code = 422 if code == 409 else code
            old = {"message": message, "_links": {}, "_embedded": {"errors": [{"message": message}]}}
            return answer.with_body(json.dumps(old).encode(), "application/json", code)
        message = content.get("message")
        code = 409 if "already exists" in str(message) else code
        new = {"type": "about:blank", "title": "error", "status": code, "detail": message}
        return answer.with_body(json.dumps(new).encode(), "application/problem+json", code)

    return Fault("error of another version", spoil, True)


def _when(after: bool) -> str:
    return "after it was done" if after else "before it was done"


@dataclass(frozen=True)
class Rule:
    """When a fault happens: what it matches counts, from 1, and `nth` and `probability` choose among that.

    `method` is matched as a whole, `path` (with its query) anywhere; both are regular expressions.
    """

    fault: Fault
    method: str = ".*"
    path: str = ""
    nth: Sequence[int] = ()
    probability: float = 1.0

    def matches(self, method: str, path: str) -> bool:
        return re.fullmatch(self.method, method) is not None and re.search(self.path, path) is not None


class Proxy:
    """Start with `with Proxy(url) as proxy:`. The first rule that applies to a request counts for it."""

    def __init__(self, upstream: str, rules: Sequence[Rule] = (), *, seed: int = 0, read_only: bool = False) -> None:
        parts = urlsplit(upstream)
        self.upstream = (parts.hostname or "", parts.port or 80)
        self.rules = list(rules)
        self.seed = seed
        self.read_only = read_only
        self._requests: list[Request] = []
        self._seen: Counter[str] = Counter()
        self._matched: Counter[int] = Counter()
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._clients: set[socket.socket] = set()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def setup(self) -> None:
                super().setup()
                self.to_server = _Upstream(*proxy.upstream)
                with proxy._lock:
                    proxy._clients.add(self.connection)

            def finish(self) -> None:
                with proxy._lock:
                    proxy._clients.discard(self.connection)
                self.to_server.close()
                super().finish()

            def __getattr__(self, name: str) -> Any:
                if name.startswith("do_"):
                    return lambda: proxy._serve(self, self.to_server)
                raise AttributeError(name)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, request: Any, client_address: Any) -> None:
                """Say nothing of clients that gave up."""
                if not isinstance(sys.exc_info()[1], (OSError, ValueError)):
                    super().handle_error(request, client_address)

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def __enter__(self) -> Proxy:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        self._closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        with self._lock:
            for client in self._clients:
                _hang_up(client)
        if self.read_only and kind is None:
            assert not self.writes, f"writes were sent: {[str(request) for request in self.writes]}"

    @property
    def requests(self) -> list[Request]:
        """Every request so far, in the order of their arrival."""
        with self._lock:
            return list(self._requests)

    @property
    def writes(self) -> list[Request]:
        """Those that could change something, passed on or not."""
        return [request for request in self.requests if request.is_write]

    @property
    def spoiled(self) -> list[Request]:
        """Those whose answer was spoiled."""
        return [request for request in self.requests if request.fault is not None]

    def _serve(self, handler: BaseHTTPRequestHandler, to_server: _Upstream) -> None:
        request = Request(handler.command, handler.path, _read_body(handler), tuple(handler.headers.items()))
        with self._lock:
            index = len(self._requests)
            self._requests.append(request)
            fault, source = self._choose(request)

        def note(**known: Any) -> None:
            with self._lock:
                self._requests[index] = replace(self._requests[index], **known)

        if self.read_only and request.is_write:
            detail = {"status": 405, "title": "read only", "detail": "this proxy passes no writes on"}
            refused = Answer(405, (("Content-Type", "application/problem+json"),), json.dumps(detail).encode())
            self._deliver(handler, refused)
            return
        if fault is not None:
            note(fault=fault.name)
        answer = Answer()
        if fault is None or fault.forward:
            note(forwarded=True)
            try:
                response = to_server.send(request)
                note(status=response.status)
                headers = tuple((n, v) for n, v in response.getheaders() if n.lower() not in HOP_BY_HOP)
                if (response.getheader("Content-Type") or "").startswith(STREAM) and fault is None:
                    self._stream(handler, response, headers)
                    return
                answer = Answer(response.status, headers, response.read())
            except (HTTPException, OSError):
                # The server gave no answer, and so does the proxy.
                to_server.close()
                handler.close_connection = True
                _reset(handler.connection)
                return
        spoiled = fault.spoil(answer, source) if fault is not None else answer
        if spoiled is None:
            handler.close_connection = True
            _reset(handler.connection)
            return
        self._deliver(handler, spoiled)

    def _choose(self, request: Request) -> tuple[Fault | None, random.Random]:
        identity = f"{request} {hashlib.sha256(request.body).hexdigest()}"
        self._seen[identity] += 1
        chosen: tuple[Fault | None, random.Random] | None = None
        for index, rule in enumerate(self.rules):
            if not rule.matches(request.method, request.path):
                continue
            self._matched[index] += 1
            if chosen is not None or (rule.nth and self._matched[index] not in rule.nth):
                continue
            source = random.Random(f"{self.seed} {index} {self._seen[identity]} {identity}")
            if source.random() < rule.probability:
                chosen = rule.fault, source
        return chosen or (None, random.Random(self.seed))

    def _deliver(self, handler: BaseHTTPRequestHandler, answer: Answer) -> None:
        self._closing.wait(answer.delay)
        # A HEAD is answered with the length that a GET would have.
        bare = handler.command == "HEAD" or answer.status in (204, 304)
        content = b"" if bare else answer.body
        cut = answer.cut is not None and not bare
        handler.send_response_only(answer.status)
        for name, value in answer.headers:
            handler.send_header(name, value)
        if answer.status not in (204, 304):
            handler.send_header("Content-Length", str(len(answer.body)))
        head = b"".join(getattr(handler, "_headers_buffer", [])) + b"\r\n"
        handler._headers_buffer = []  # type: ignore[attr-defined]
        if cut:
            content = content[: answer.cut]
        if answer.pieces <= 1:
            # In one go, since a header that travels alone waits for its receipt.
            handler.wfile.write(head + content)
        else:
            handler.wfile.write(head)
            size = max(1, -(-len(content) // answer.pieces))
            for start in range(0, len(content), size):
                self._closing.wait(answer.pause)
                handler.wfile.write(content[start : start + size])
        if cut:
            handler.close_connection = True

    @staticmethod
    def _stream(handler: BaseHTTPRequestHandler, response: HTTPResponse, headers: tuple[tuple[str, str], ...]) -> None:
        """Pass events on as they come; the end of the connection is the end of the stream."""
        handler.close_connection = True
        handler.send_response_only(response.status)
        for name, value in (*headers, ("Connection", "close")):
            handler.send_header(name, value)
        handler.end_headers()
        while part := response.read1(65536):
            handler.wfile.write(part)


class _Upstream:
    """The connection to the server that belongs to a connection of a client."""

    def __init__(self, host: str, port: int) -> None:
        self.connection = HTTPConnection(host, port, timeout=UPSTREAM_TIMEOUT)

    def send(self, request: Request) -> HTTPResponse:
        # Nothing may be sent twice, so a connection that the server has ended is found out before.
        if self.connection.sock is not None and select.select([self.connection.sock], [], [], 0)[0]:
            self.connection.close()
        self.connection.putrequest(request.method, request.path, skip_accept_encoding=True)
        for name, value in request.headers:
            if name.lower() not in HOP_BY_HOP:
                self.connection.putheader(name, value)
        if request.body or request.method in ("POST", "PUT", "PATCH"):
            self.connection.putheader("Content-Length", str(len(request.body)))
        self.connection.endheaders(request.body or None)
        return self.connection.getresponse()

    def close(self) -> None:
        self.connection.close()


def _read_body(handler: BaseHTTPRequestHandler) -> bytes:
    if "chunked" not in handler.headers.get("Transfer-Encoding", "").lower():
        return handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
    body = b""
    while size := int(handler.rfile.readline().partition(b";")[0], 16):
        body += handler.rfile.read(size)
        handler.rfile.readline()
    while handler.rfile.readline().strip():
        pass
    return body


def _reset(connection: socket.socket) -> None:
    """End a connection the hard way, as a crash or a firewall does."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def _hang_up(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
