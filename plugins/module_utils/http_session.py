# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One session to one HTTP API, and what its failures mean: for Kestra, and for the multipass sidecar."""

from __future__ import annotations

import errno
import io
import ipaddress
import json
import re
import socket
import ssl
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from typing import Any, Protocol, Union
from urllib.parse import urlsplit

REQUESTS_IMPORT_ERROR: str | None = None
try:
    import requests
    import urllib3
    from requests.adapters import HTTPAdapter
    from requests.auth import HTTPBasicAuth
    from urllib3.filepost import encode_multipart_formdata
    from urllib3.util.retry import Retry
except ImportError:
    REQUESTS_IMPORT_ERROR = traceback.format_exc()

CONNECT_TIMEOUT = 10
LONGEST_MESSAGE = 2000
# Seconds.
LONGEST_PAUSE = 60
ParamValue = Union[str, int, Sequence[str]]  # noqa: UP007 - ansible-test's pylint refuses the operator here


class ServiceError(Exception):
    """A call that failed: what was tried, the HTTP status if there was one, the server's message, and a hint.

    C(kind) names what happened, for programs: C(http) (an answer with an error status), C(answer) (an answer that is
    not the service's), C(refused), C(unresolved), C(unreachable), C(connect-timeout), C(no-answer) (connected, and then
    nothing within the timeout), C(closed) (connected, and then cut off), C(tls), C(proxy), C(deadline) (the time for
    the whole run is over, and the request was not sent) or C(other).
    """

    def __init__(
        self, doing: str, message: str, *, kind: str = "http", status: int | None = None, hint: str | None = None
    ) -> None:
        self.doing = doing
        self.message = message
        self.kind = kind
        self.status = status
        self.hint = hint
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


if REQUESTS_IMPORT_ERROR is None:

    class _PatientRetry(Retry):
        """Does not wait longer than a minute, whatever the server asks for."""

        def get_retry_after(self, response: urllib3.BaseHTTPResponse) -> float | None:
            asked = super().get_retry_after(response)
            return None if asked is None else min(asked, LONGEST_PAUSE)


class Endpoint(Protocol):
    """How a service is reached; times are in seconds."""

    @property
    def url(self) -> str: ...

    @property
    def validate_certs(self) -> bool: ...

    @property
    def ca_path(self) -> str | None: ...

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
    thing as it is. C(secret) is kept out of messages.
    """

    service = "the service"
    api = "the API"
    silence = "It hangs or is overloaded. Check its log, restart it, or raise timeout."
    error: type[ServiceError] = ServiceError
    repeatable: frozenset[str] = frozenset(("GET", "HEAD", "PUT"))

    def __init__(self, connection: Endpoint, secret: str | None, pool_size: int = 8) -> None:
        self.connection = connection
        self._secret = secret
        self.deadline: float | None = None
        """When no request may be under way any more, in the seconds of C(time.monotonic()); None for no limit."""
        self.base = connection.url.rstrip("/")
        self._session = requests.Session()
        self._session.headers["User-Agent"] = "devorch.orchestration"
        # A cookie next to the header would make Kestra 2.x ask for a CSRF token on every write.
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self._session.verify = connection.ca_path or connection.validate_certs
        if not connection.validate_certs:
            self._session.verify = False
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        if _is_loopback(urlsplit(self.base).hostname or ""):
            # No network that compressing would spare.
            self._session.headers["Accept-Encoding"] = "identity"
            # Proxies of the environment are for the outside; a proxy cannot reach this host's own loopback.
            self._session.trust_env = False
        retry = _PatientRetry(
            total=connection.retries,
            connect=connection.retries,
            read=connection.retries,
            status=connection.retries,
            redirect=0,
            backoff_factor=connection.backoff,
            status_forcelist=(429, 502, 503, 504),
            allowed_methods=self.repeatable,
            raise_on_status=False,
        )
        adapter = HTTPAdapter(pool_connections=2, pool_maxsize=pool_size, max_retries=retry)
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)

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
        wait = self._wait(doing, timeout)
        url = self.base + path
        sent = dict(headers or {})
        if parts is not None and not parts:
            # requests leaves a form without parts out, and Kestra then misses it.
            body, sent["Content-Type"] = encode_multipart_formdata([])
        try:
            response = self._session.request(
                method,
                url,
                params=dict(params or {}),
                data=body,
                files=[part.field() for part in parts] if parts else None,
                headers=sent,
                timeout=(min(wait, CONNECT_TIMEOUT), wait),
                # A redirect would turn a POST into a GET; neither API makes one.
                allow_redirects=False,
                stream=True,
            )
            # requests would read a large answer in a hundred pieces, which takes as long as all the rest of its work.
            response.raw = io.BytesIO(response.raw.read(decode_content=True))
            return response
        except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            raise self._transport_error(error, doing, wait) from error

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
        message = self.scrub(error_message(response, self.api))
        if 300 <= status < 400:
            message = f"redirected to {response.headers.get('Location', 'nowhere')}"
        # A success other than the API's own comes from something in between.
        kind = "answer" if status < 300 else "http"
        raise self.error(doing, message, kind=kind, status=status, hint=hint(status))

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
        """Remove the secret from a text."""
        return text.replace(self._secret, "********") if self._secret else text

    def close(self) -> None:
        self._session.close()


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


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


def error_message(response: requests.Response, api: str = "the API") -> str:
    """Return what a server says in an error answer, in one line; C(api) is whose answer it should be.

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
        message = "; ".join(parts)
    elif re.match(r"(?is)\s*<(!doctype|html)", text):
        title = re.search(r"(?is)<title[^>]*>(.*?)</title>", text)
        titled = f" titled {title.group(1).strip()!r}" if title else ""
        message = f"an HTML page{titled}, not an answer of {api}"
    else:
        message = text
    return re.sub(r"\s+", " ", message).strip()[:LONGEST_MESSAGE]
