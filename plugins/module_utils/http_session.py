# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One session to one HTTP API, and what its failures mean: for Kestra, and for the multipass sidecar."""

from __future__ import annotations

import email.utils
import errno
import http.client
import io
import ipaddress
import json
import re
import socket
import ssl
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from typing import Any, Protocol, TypeVar, Union
from urllib.parse import urlsplit

REQUESTS_IMPORT_ERROR: str | None = None
try:
    import requests
    import urllib3
    from requests.adapters import HTTPAdapter
    from requests.auth import HTTPBasicAuth
    from urllib3.connection import HTTPConnection, HTTPSConnection
    from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
    from urllib3.filepost import encode_multipart_formdata
except ImportError:
    REQUESTS_IMPORT_ERROR = traceback.format_exc()

CONNECT_TIMEOUT = 10
LONGEST_MESSAGE = 2000
LONGEST_WHOLE_MESSAGE = 20_000
# Seconds.
LONGEST_PAUSE = 60
# A long answer may take as long again for each of these many bytes; a server that trickles is given up.
PATIENT_BYTES = 1 << 20
# Statuses of a server that may be well again in a moment.
BUSY = (429, 502, 503, 504)
# Failures before anything was sent, after which every request may be repeated; and those of requests that may be.
NEVER_SENT = ("refused", "unresolved", "unreachable", "connect-timeout")
LOST = (*NEVER_SENT, "closed", "no-answer")
Result = TypeVar("Result")
ParamValue = Union[str, int, Sequence[str]]  # noqa: UP007 - ansible-test's pylint refuses the operator here


class ServiceError(Exception):
    """A call that failed: what was tried, the HTTP status if there was one, the server's message, and a hint.

    C(kind) names what happened, for programs: C(http) (an answer with an error status), C(answer) (an answer that is
    not the service's), C(refused), C(unresolved), C(unreachable), C(connect-timeout), C(no-answer) (connected, and then
    nothing within the timeout), C(closed) (connected, and then cut off), C(tls), C(proxy), C(deadline) (the time for
    the whole run is over, and the request was not sent) or C(other).
    """

    def __init__(
        self,
        doing: str,
        message: str,
        *,
        kind: str = "http",
        status: int | None = None,
        hint: str | None = None,
        pause: float | None = None,
    ) -> None:
        self.doing = doing
        self.message = message
        self.kind = kind
        self.status = status
        self.hint = hint
        self.pause = pause
        """The seconds that the server asks to wait before the next try, if it does."""
        super().__init__(str(self))

    def __str__(self) -> str:
        status = f"HTTP {self.status}: " if self.status is not None else ""
        text = f"Could not {self.doing}: {status}{self.message}"
        return f"{text.rstrip('. ')}. {self.hint}" if self.hint else text

    @property
    def is_transient(self) -> bool:
        """Whether it may be over when the request is sent again: busy or broken servers, lost or damaged answers."""
        if self.kind == "http":
            return self.status in (408, 429) or (self.status or 0) >= 500
        return self.kind in ("answer", "closed", "no-answer", "connect-timeout", "refused", "unreachable")

    @property
    def reason(self) -> str:
        """The status and the message alone."""
        return f"HTTP {self.status}: {self.message}" if self.status is not None else self.message


@dataclass(frozen=True)
class Part:
    """A part of a multipart form; with a C(filename) it is a file."""

    name: str
    content: bytes
    filename: str | None = None

    def field(self) -> tuple[str, Any]:
        """Return the part as requests takes it, with its length.

        Netty, which decodes Kestra's forms, adds a carriage return to a part without a length when a read from the
        socket ends between the two characters of the line end behind that part.
        """
        return self.name, (self.filename, self.content, None, {"Content-Length": str(len(self.content))})


_now = threading.local()
"""The deadline and the time of an answer in this thread, in seconds, and whether it is already C(repeating)."""


class _TimedBytes(io.RawIOBase):
    """What a socket receives, with its timeout for all of it and not for each piece."""

    def __init__(self, raw: Any, sock: Any) -> None:
        self.raw = raw
        self.sock = sock
        self.limit: float | None = sock.gettimeout()
        self.begin = time.monotonic()
        self.last: float | None = getattr(_now, "deadline", None)
        self.received = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self.limit is None:
            count: int | None = self.raw.readinto(buffer)
            return count
        end = self.begin + self.limit * (1 + self.received // PATIENT_BYTES)
        left = (end if self.last is None else min(end, self.last)) - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self.sock.settimeout(left)
        try:
            count = self.raw.readinto(buffer)
        finally:
            self.sock.settimeout(self.limit)
        self.received += count or 0
        return count

    def close(self) -> None:
        if not self.closed:
            self.raw.close()
        super().close()


class _TimedResponse(http.client.HTTPResponse):
    """An answer whose last byte has to come within the time, and not the next one."""

    def __init__(self, sock: Any, *arguments: Any, **options: Any) -> None:
        super().__init__(sock, *arguments, **options)
        # The buffer that is replaced holds nothing yet.
        self.fp = io.BufferedReader(_TimedBytes(self.fp.detach(), sock))


if REQUESTS_IMPORT_ERROR is None:

    class _Timed:
        """A connection whose time counts again for each piece of a long body, and not the time for connecting."""

        sock: Any

        def send(self, data: Any) -> None:
            if not isinstance(data, bytes):
                super().send(data)  # type: ignore[misc]  # of the connection that this is mixed into
                return
            for begin in range(0, len(data), PATIENT_BYTES) or (0,):
                last = getattr(_now, "deadline", None)
                left = _now.wait if last is None else min(_now.wait, last - time.monotonic())
                if left <= 0:
                    raise TimeoutError("timed out")
                if self.sock is None:
                    self.connect()  # type: ignore[attr-defined]  # of that connection
                self.sock.settimeout(left)
                super().send(data[begin : begin + PATIENT_BYTES])  # type: ignore[misc]  # as above

    class _Connection(_Timed, HTTPConnection):
        response_class = _TimedResponse

    class _SafeConnection(_Timed, HTTPSConnection):
        response_class = _TimedResponse

    class _Pool(HTTPConnectionPool):
        ConnectionCls = _Connection

    class _SafePool(HTTPSConnectionPool):
        ConnectionCls = _SafeConnection

    class _Adapter(HTTPAdapter):
        """Makes connections that give up in time; they repeat nothing."""

        def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
            super().init_poolmanager(*arguments, **options)
            self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _SafePool}

        def proxy_manager_for(self, *arguments: Any, **options: Any) -> Any:
            manager = super().proxy_manager_for(*arguments, **options)
            manager.pool_classes_by_scheme = {"http": _Pool, "https": _SafePool}
            return manager


class Endpoint(Protocol):
    """How a service is reached; times are in seconds."""

    @property
    def url(self) -> str: ...

    @property
    def validate_certs(self) -> bool: ...

    @property
    def ca_path(self) -> str | None: ...

    @property
    def client_cert(self) -> str | None: ...

    @property
    def client_key(self) -> str | None: ...

    @property
    def timeout(self) -> float: ...

    @property
    def retries(self) -> int: ...

    @property
    def backoff(self) -> float: ...


class HttpSession:
    """One keep-alive session to one server. Safe to use from several threads.

    Connections that were never made are tried again for every method; answers 429, 502, 503 and 504 and broken
    connections for those methods alone that may be repeated (C(repeatable)): reading, and PUT, which leaves an equal
    thing as it is. C(secrets) are kept out of messages. The environment has no say about logins, and about authorities
    only if the options have none.
    """

    service = "the service"
    api = "the API"
    silence = "It hangs or is overloaded. Check its log, restart it, or raise timeout."
    error: type[ServiceError] = ServiceError
    repeatable: frozenset[str] = frozenset(("GET", "HEAD", "PUT"))

    def __init__(self, connection: Endpoint, secrets: Sequence[str | None] = (), pool_size: int = 8) -> None:
        self.connection = connection
        self._secrets: list[str] = []
        self.hide(secrets)
        self.whole_messages: list[str] = []
        """What the server said, where SQL or a stack trace is left out of the message."""
        self.deadline: float | None = None
        """When no request may be under way any more, in the seconds of C(time.monotonic()); None for no limit."""
        self.base = connection.url.rstrip("/")
        self._session = requests.Session()
        self._session.headers["User-Agent"] = "devorch.orchestration"
        # A cookie next to the header would make Kestra 2.x ask for a CSRF token on every write.
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        # Given with each request, or requests would prefer REQUESTS_CA_BUNDLE and CURL_CA_BUNDLE.
        self._verify: bool | str = connection.ca_path or True if connection.validate_certs else False
        if not connection.validate_certs:
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        if _is_loopback(urlsplit(self.base).hostname or ""):
            # No network that compressing would spare.
            self._session.headers["Accept-Encoding"] = "identity"
            # Proxies of the environment are for the outside; a proxy cannot reach this host's own loopback.
            self._session.trust_env = False
        if connection.client_cert and connection.client_key:
            self._session.cert = (connection.client_cert, connection.client_key)
        else:
            self._session.cert = connection.client_cert
        # Without a login of its own, requests would send that of a .netrc.
        self._session.auth = _nothing
        adapter = _Adapter(pool_connections=2, pool_maxsize=pool_size, max_retries=0)
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)

    def hide(self, secrets: Iterable[str | None]) -> None:
        """Keep these texts out of messages from now on; the longest first, since one may be a part of another."""
        self._secrets = sorted({*self._secrets, *(secret for secret in secrets if secret)}, key=len, reverse=True)

    def add_headers(self, headers: Mapping[str, str]) -> None:
        """Send these headers with every request from now on."""
        self._session.headers.update(headers)

    def log_in(self, username: str, password: str) -> None:
        """Send a name and a password from now on."""
        # Bytes, since requests would encode a text as Latin-1.
        self._session.auth = HTTPBasicAuth(username.encode("utf-8"), password.encode("utf-8"))

    def bear(self, token: str) -> None:
        """Send a token from now on."""

        # No header of the session: the one of a .netrc would win over it.
        def add(request: requests.PreparedRequest) -> requests.PreparedRequest:
            request.headers["Authorization"] = f"Bearer {token}"
            return request

        self._session.auth = add

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """End every request of the block within this time, or before, if the whole run has less time left."""
        before = self.deadline
        end = time.monotonic() + seconds
        self.deadline = end if before is None else min(before, end)
        try:
            yield
        finally:
            self.deadline = before

    def repeat(self, function: Callable[[], Result], again: Callable[[ServiceError], bool]) -> Result:
        """Call a function; call it again, with pauses that grow, as long as C(again) says so of its error.

        This is the one place that repeats: what is called in here repeats nothing by itself. There are no more than
        C(retries) repeats, and none that could not begin before the deadline.
        """
        if getattr(_now, "repeating", False):
            return function()
        _now.repeating = True
        try:
            for attempt in range(self.connection.retries):
                try:
                    return function()
                except ServiceError as error:
                    if not again(error) or not self.pause(attempt, error.pause):
                        raise
            return function()
        finally:
            _now.repeating = False

    def pause(self, attempt: int, asked: float | None = None) -> bool:
        """Wait before the next attempt; the first one is number 0. Return whether there is time for it.

        The server may have C(asked) for a longer pause, which is kept up to a minute.
        """
        seconds = min(max(self.connection.backoff * 2**attempt, asked or 0.0), LONGEST_PAUSE)
        if self.deadline is not None and time.monotonic() + seconds >= self.deadline:
            return False
        time.sleep(seconds)
        return True

    def send(
        self,
        method: str,
        path: str,
        doing: str,
        *,
        params: Mapping[str, ParamValue] | None = None,
        body: bytes | None = None,
        parts: Sequence[Part] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> requests.Response:
        """Send one request and return the answer, whatever its status; raise ServiceError where there is none.

        With C(parts) the body is a multipart form, with an empty one too.
        """
        sent = dict(headers or {})
        if parts is not None and not parts:
            # requests leaves a form without parts out, and Kestra then misses it.
            body, sent["Content-Type"] = encode_multipart_formdata([])
        options = {
            "params": dict(params or {}),
            "data": body,
            "files": [part.field() for part in parts] if parts else None,
            "headers": sent,
        }
        may_be_repeated = method in self.repeatable
        busy: list[requests.Response] = []

        def once() -> requests.Response:
            busy.clear()
            response = self._once(method, path, doing, timeout, options)
            if may_be_repeated and response.status_code in BUSY:
                busy.append(response)
                raise self.error(doing, "busy", status=response.status_code, pause=pause_asked_by(response))
            return response

        try:
            return self.repeat(
                once, lambda error: bool(busy) or error.kind in (LOST if may_be_repeated else NEVER_SENT)
            )
        except ServiceError:
            if busy:
                return busy[0]
            raise

    def _once(
        self, method: str, path: str, doing: str, timeout: float | None, options: Mapping[str, Any]
    ) -> requests.Response:
        wait = self._wait(doing, timeout)
        _now.deadline, _now.wait = self.deadline, wait
        try:
            response = self._session.request(
                method,
                self.base + path,
                timeout=(min(wait, CONNECT_TIMEOUT), wait),
                verify=self._verify,
                # A redirect would turn a POST into a GET; neither API makes one.
                allow_redirects=False,
                stream=True,
                **options,
            )
            # requests would read a large answer in a hundred pieces, which takes as long as all the rest of its work.
            response.raw = io.BytesIO(response.raw.read(decode_content=True))
            return response
        except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            raise self._transport_error(error, doing, wait) from error
        finally:
            _now.deadline = None

    def expect(
        self,
        response: requests.Response,
        doing: str,
        expected: Sequence[int],
        hint: Callable[[int], str | None],
    ) -> requests.Response:
        """Return the answer if its status is an expected one; otherwise raise ServiceError with its message."""
        status = response.status_code
        if status in expected:
            return response
        message = self.message_of(response)
        if 300 <= status < 400:
            message = self.scrub(f"redirected to {response.headers.get('Location', 'nowhere')}")[:LONGEST_MESSAGE]
        # A success other than the API's own comes from something in between.
        kind = "answer" if status < 300 else "http"
        asked = pause_asked_by(response)
        raise self.error(doing, message, kind=kind, status=status, hint=hint(status), pause=asked)

    def message_of(self, response: requests.Response) -> str:
        """Return what an error answer says; what is left out of it is kept for C(whole_messages)."""
        whole = _said_by(response, self.api)
        if concise(whole) != whole:
            self.whole_messages.append(self.scrub(whole)[:LONGEST_WHOLE_MESSAGE])
        return self.scrub(error_message(response, self.api))[:LONGEST_MESSAGE]

    def _wait(self, doing: str, timeout: float | None) -> float:
        """Return the seconds that a request may wait for its answer."""
        wait = self.connection.timeout if timeout is None else timeout
        if self.deadline is None:
            return wait
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise self.error(doing, "the time for the whole run is over", kind="deadline")
        return min(wait, left)

    def _transport_error(self, error: BaseException, doing: str, wait: float) -> ServiceError:
        where = f"{urlsplit(self.base).hostname}:{port_of(self.base)}"
        kind = classify(error)
        if kind == "refused":
            message = f"connection refused by {where}: nothing listens there"
            hint: str | None = f"Is {self.service} running, and is url right as seen from the host the module runs on?"
        elif kind == "unresolved":
            message, hint = f"the name {urlsplit(self.base).hostname} cannot be resolved", "Check url."
        elif kind == "unreachable":
            message, hint = f"no route to {where}", "Check url and the network."
        elif kind == "connect-timeout":
            message = f"{where} does not accept a connection within {min(wait, CONNECT_TIMEOUT):g} seconds"
            hint = "Check url, the network and firewalls."
        elif kind == "no-answer":
            message = f"{where} is open, but nothing answers within {wait:g} seconds"
            hint = self.silence
        elif kind == "closed":
            message = f"{where} closed the connection without an answer"
            service = self.service[0].upper() + self.service[1:]
            hint = f"{service} is starting, stopping or gone while its port is still published. Check its log."
        elif kind == "tls":
            message = f"TLS with {where} failed: {_innermost(error)}"
            hint = "Check that url begins with the right scheme, and ca_path or validate_certs."
        elif kind == "proxy":
            message, hint = f"the proxy failed: {_innermost(error)}", "Check http_proxy, https_proxy and no_proxy."
        else:
            message, hint = f"{type(error).__name__}: {_innermost(error)}", None
        return self.error(doing, self.scrub(message), kind=kind, hint=hint)

    def scrub(self, text: str) -> str:
        """Remove the secrets from a text."""
        for secret in self._secrets:
            text = text.replace(secret, "********")
        return text

    def close(self) -> None:
        self._session.close()


def _nothing(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Log in with nothing."""
    return request


def pause_asked_by(response: requests.Response) -> float | None:
    """Return the seconds that a server asks to wait for, in its header Retry-After; None if it does not."""
    text = response.headers.get("Retry-After", "").strip()
    if text.isdecimal():
        return float(text)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def token_problem(token: str | None) -> str | None:
    """Return what is wrong with a token, or None; the token is not in it."""
    if token and not re.fullmatch(r"[!-~]+", token):
        return "token has a character that a header cannot have, such as a line break or a blank; remove it"
    return None


def address_problem(url: str, example: str, credentials: str) -> str | None:
    """Return what is wrong with the URL of a server, or None; C(credentials) names the options for those."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
        _port = parts.port
    except ValueError as error:
        return f"url is not a URL: {error}"
    if parts.username is not None or parts.password is not None:
        return f"url contains credentials; set {credentials}"
    if parts.scheme not in ("http", "https") or not host:
        return f"url is {url!r}; expected the form {example}"
    if parts.query or parts.fragment:
        return f"url is {url!r}; it is the root of the server, without anything behind it"
    return None


def port_of(url: str) -> int:
    """Return the port that a URL means."""
    parts = urlsplit(url)
    return parts.port or (443 if parts.scheme == "https" else 80)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and all those it was made from, outermost first."""
    seen: set[int] = set()
    pending: list[Any] = [error]
    while pending:
        current = pending.pop(0)
        if not isinstance(current, BaseException) or id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        pending += [getattr(current, "reason", None), *current.args, current.__cause__, current.__context__]


def _innermost(error: BaseException) -> str:
    return str(list(_chain(error))[-1])[:LONGEST_MESSAGE]


def classify(error: BaseException) -> str:
    """Return the kind of a ServiceError for an exception of requests, urllib3 or the socket below them."""
    chain = list(_chain(error))
    if any(isinstance(e, (ssl.SSLError, requests.exceptions.SSLError)) for e in chain):
        return "tls"
    if any(isinstance(e, (requests.exceptions.ProxyError, urllib3.exceptions.ProxyError)) for e in chain):
        return "proxy"
    if any(isinstance(e, socket.gaierror) for e in chain):
        return "unresolved"
    if any(isinstance(e, ConnectionRefusedError) for e in chain):
        return "refused"
    if any(isinstance(e, OSError) and e.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH) for e in chain):
        return "unreachable"
    if any(isinstance(e, (requests.exceptions.ConnectTimeout, urllib3.exceptions.ConnectTimeoutError)) for e in chain):
        return "connect-timeout"
    if any(isinstance(e, (requests.exceptions.ReadTimeout, urllib3.exceptions.ReadTimeoutError)) for e in chain):
        return "no-answer"
    closed = (ConnectionError, urllib3.exceptions.ProtocolError, requests.exceptions.ChunkedEncodingError)
    if any(isinstance(e, closed) for e in chain):
        return "closed"
    return "other"


_STATEMENT = re.compile(r"(?s)\bSQL \[.*\](?:;\s*|\s*$)|\bSQL \[.*$|\bBatch entry \d+ .* was aborted: ")
_TRACE = re.compile(r"(?s)\s+(?:at [\w.$/<>]+\([^()\n]*\)|Caused by: |\.\.\. \d+ more\b|Call getNextException ).*$")


def concise(message: str) -> str:
    """Return a message without the SQL and the stack traces in it; if there are any, the first line of the rest."""
    if "SQL [" not in message and "Batch entry" not in message and not _TRACE.search(message):
        return message
    rest = _TRACE.sub("", _STATEMENT.sub("", message)).strip()
    first = rest.splitlines()[0].rstrip(": ") if rest else ""
    return first or "a statement to its database failed"


def error_message(response: requests.Response, api: str = "the API") -> str:
    """Return what a server says in an error answer, in one line; C(api) is whose answer it should be.

    SQL and stack traces are left out.
    """
    return re.sub(r"\s+", " ", concise(_said_by(response, api))).strip()[:LONGEST_MESSAGE]


def _said_by(response: requests.Response, api: str) -> str:
    """Return what a server says in an error answer, as it says it.

    Reads RFC 9457 problems (the sidecar, Kestra 2.x), HAL errors (Kestra 1.x), HTML pages of proxies, plain text and
    empty bodies.
    """
    text = response.text.strip()
    if not text:
        return f"{response.reason or 'error'}, without a message"
    try:
        body = json.loads(text)
    except ValueError:
        body = None
    if isinstance(body, dict):
        parts = [str(body.get("detail") or body.get("message") or body.get("title") or response.reason)]
        embedded = body.get("_embedded")
        errors = body.get("errors") or (embedded.get("errors") if isinstance(embedded, dict) else None) or []
        for entry in errors if isinstance(errors, list) else []:
            if not isinstance(entry, dict):
                continue
            detail = str(entry.get("detail") or entry.get("message") or "")
            where = entry.get("path") or entry.get("pointer") or entry.get("field")
            if detail and detail not in parts[0]:
                parts.append(f"{where}: {detail}" if where else detail)
        return "; ".join(parts)
    if re.match(r"(?is)\s*<(!doctype|html)", text):
        title = re.search(r"(?is)<title[^>]*>(.*?)</title>", text)
        titled = f" titled {title.group(1).strip()!r}" if title else ""
        return f"an HTML page{titled}, not an answer of {api}"
    return text
