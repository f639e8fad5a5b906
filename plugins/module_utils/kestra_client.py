# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A client of Kestra's REST API, for servers of 1.3 and 2.x.

What differs between versions is decided here and nowhere else: the two shapes of error bodies, the tenant segment of
paths, the spelling of filters, the status of a duplicate, and in `ServerInfo` the paths that moved with 2.0.
"""

from __future__ import annotations

import errno
import io
import ipaddress
import json
import re
import socket
import ssl
import threading
import time
import traceback
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from typing import Any, TypeVar, Union
from urllib.parse import quote, urlsplit

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

Result = TypeVar("Result")

YAML_CONTENT = "application/x-yaml"
CONNECT_TIMEOUT = 10
LONGEST_MESSAGE = 2000
# Kestra's web server takes a request line of 4096 bytes; longer filters are left out, and applied to the answer.
LONGEST_FILTER = 1500
PAGE = 1000
# Seconds.
LONGEST_PAUSE = 60
ParamValue = Union[str, int, Sequence[str]]  # noqa: UP007 - ansible-test's pylint refuses the operator here


class KestraError(Exception):
    """A call that failed: what was tried, the HTTP status if there was one, the server's message, and a hint.

    C(kind) tells what happened, for programs: C(http) (an answer with an error status), C(answer) (an answer that is
    not Kestra's), C(refused), C(unresolved), C(unreachable), C(connect-timeout), C(no-answer) (connected, and then
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
    def is_passing(self) -> bool:
        """Whether it may be over when the request is sent again: busy or broken servers, lost or damaged answers."""
        if self.kind == "http":
            return self.status in (408, 429) or (self.status or 0) >= 500
        return self.kind in ("answer", "closed", "no-answer", "connect-timeout", "refused", "unreachable")

    @property
    def reason(self) -> str:
        """The status and the message alone."""
        return f"HTTP {self.status}: {self.message}" if self.status is not None else self.message


@dataclass(frozen=True)
class Connection:
    """How to reach a server.

    C(timeout) is in seconds and counts for connecting and for each wait for data. A request is repeated C(retries)
    times, with pauses of C(backoff) seconds, twice that, and so on.
    """

    url: str
    username: str | None = None
    password: str | None = None
    tenant: str = "main"
    validate_certs: bool = True
    ca_path: str | None = None
    timeout: float = 30
    retries: int = 3
    backoff: float = 0.5

    def __post_init__(self) -> None:
        problem = url_problem(self.url)
        if problem:
            raise ValueError(problem)


@dataclass(frozen=True)
class ServerInfo:
    """What a server says about itself; C(uuid) stays the same for as long as its database does."""

    version: str
    edition: str | None = None
    uuid: str | None = None

    @property
    def number(self) -> tuple[int, int]:
        """Major and minor version; (0, 0) where the server does not tell."""
        match = re.search(r"(\d+)\.(\d+)", self.version)
        return (int(match.group(1)), int(match.group(2))) if match else (0, 0)

    @property
    def is_2(self) -> bool:
        """Whether paths and bodies are those of 2.x. A server that does not tell its version counts as one."""
        return self.number >= (2, 0) or self.number == (0, 0)

    @property
    def has_filters(self) -> bool:
        """Whether searches take C(filters[field][OPERATION]); before 1.0 they take C(namespace=)."""
        return self.number >= (1, 0) or self.number == (0, 0)


def url_problem(url: str) -> str | None:
    """Return what is wrong with the URL of a server, or None."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
        _port = parts.port
    except ValueError as error:
        return f"url is no URL: {error}"
    if parts.username is not None or parts.password is not None:
        return "url holds credentials; put them into username and password"
    if parts.scheme not in ("http", "https") or not host:
        return f"url is {url!r}; it looks like http://127.0.0.1:8080"
    if parts.query or parts.fragment or re.search(r"/(ui|api)(/|$)", parts.path):
        return f"url is {url!r}; it is the root of the server, without /ui, /api or anything behind it"
    return None


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


class Http:
    """One keep-alive session to one server. Safe to use from several threads.

    Connections that were never made are tried again for every method; answers 429, 502, 503 and 504 and broken
    connections for those methods alone that may be repeated: reading, and PUT, which leaves an equal flow as it is.
    """

    def __init__(self, connection: Connection, pool_size: int = 8) -> None:
        self.connection = connection
        self.deadline: float | None = None
        """When no request may be under way any more, in the seconds of C(time.monotonic()); None for no limit."""
        self.base = connection.url.rstrip("/")
        self._session = requests.Session()
        self._session.headers["User-Agent"] = "devorch.orchestration"
        # A cookie next to the header would make Kestra 2.x ask for a CSRF token on every write.
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        if connection.username is not None:
            # Bytes, since requests would encode a text as Latin-1.
            self._session.auth = HTTPBasicAuth(
                connection.username.encode("utf-8"), (connection.password or "").encode("utf-8")
            )
        self._session.verify = connection.ca_path or connection.validate_certs
        if not connection.validate_certs:
            self._session.verify = False
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        if _is_loopback(urlsplit(self.base).hostname or ""):
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
            allowed_methods=frozenset(("GET", "HEAD", "PUT")),
            raise_on_status=False,
        )
        adapter = HTTPAdapter(pool_connections=2, pool_maxsize=pool_size, max_retries=retry)
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)

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
        """Send one request and return the answer, whatever its status; raise KestraError where there is none.

        With C(parts) the body is a multipart form, with an empty one too.
        """
        wait = self._wait(doing, timeout)
        url = self.base + path
        sent = dict(headers or {})
        if parts is not None and not parts:
            # requests leaves a form without parts out, and Kestra then misses it.
            body, sent["Content-Type"] = encode_multipart_formdata([])
        try:
            return self._session.request(
                method,
                url,
                params=dict(params or {}),
                data=body,
                files=[part.field() for part in parts] if parts else None,
                headers=sent,
                timeout=(min(wait, CONNECT_TIMEOUT), wait),
                # A redirect would turn a POST into a GET; Kestra's API makes none.
                allow_redirects=False,
            )
        except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            raise self._transport_error(error, doing, wait) from error

    def _wait(self, doing: str, timeout: float | None) -> float:
        """Return the seconds that a request may wait for its answer."""
        wait = self.connection.timeout if timeout is None else timeout
        if self.deadline is None:
            return wait
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise KestraError(doing, "the time for the whole run is over", kind="deadline")
        return min(wait, left)

    def _transport_error(self, error: BaseException, doing: str, wait: float) -> KestraError:
        where = f"{urlsplit(self.base).hostname}:{port_of(self.base)}"
        kind = classify(error)
        if kind == "refused":
            message = f"connection refused by {where}: nothing listens there"
            hint: str | None = "Is Kestra running, and is url right as seen from the host the module runs on?"
        elif kind == "unresolved":
            message, hint = f"the name {urlsplit(self.base).hostname} cannot be resolved", "Check url."
        elif kind == "unreachable":
            message, hint = f"no route to {where}", "Check url and the network."
        elif kind == "connect-timeout":
            message = f"{where} does not accept a connection within {min(wait, CONNECT_TIMEOUT):g} seconds"
            hint = "Check url, the network and firewalls."
        elif kind == "no-answer":
            message = f"{where} is open, but nothing answers within {wait:g} seconds"
            hint = (
                "Kestra hangs, as it does after PostgreSQL was restarted under it, or it is overloaded: look at its "
                "log, restart it, or raise timeout."
            )
        elif kind == "closed":
            message = f"{where} closed the connection without an answer"
            hint = "Kestra is starting, stopping or gone while its port is still published: look at its log."
        elif kind == "tls":
            message = f"TLS with {where} failed: {_innermost(error)}"
            hint = "Check that url begins with the right scheme, and ca_path or validate_certs."
        elif kind == "proxy":
            message, hint = f"the proxy failed: {_innermost(error)}", "Check http_proxy, https_proxy and no_proxy."
        else:
            message, hint = f"{type(error).__name__}: {_innermost(error)}", None
        return KestraError(doing, self.scrub(message), kind=kind, hint=hint)

    def scrub(self, text: str) -> str:
        """Remove the password from a text."""
        password = self.connection.password
        return text.replace(password, "********") if password else text

    def close(self) -> None:
        self._session.close()


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


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
    """Return the kind of a KestraError for an exception of requests, urllib3 or the socket below them."""
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


def error_message(response: requests.Response) -> str:
    """Return what a server says in an error answer, in one line.

    Reads RFC 9457 problems (2.x), HAL errors (1.x), HTML pages of proxies, plain text and empty bodies.
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
            where = entry.get("path") or entry.get("pointer")
            if detail and detail not in parts[0]:
                parts.append(f"{where}: {detail}" if where else detail)
        message = "; ".join(parts)
    elif re.match(r"(?is)\s*<(!doctype|html)", text):
        title = re.search(r"(?is)<title[^>]*>(.*?)</title>", text)
        message = f"an HTML page{f' titled {title.group(1).strip()!r}' if title else ''}, not an answer of Kestra's API"
    else:
        message = text
    return re.sub(r"\s+", " ", message).strip()[:LONGEST_MESSAGE]


class KestraClient:
    """Kestra's API, as far as the modules need it. Every method raises KestraError where it fails."""

    def __init__(self, connection: Connection, pool_size: int = 8) -> None:
        self.connection = connection
        self.http = Http(connection, pool_size)
        self._info: ServerInfo | None = None
        self._info_lock = threading.Lock()

    def close(self) -> None:
        self.http.close()

    def again(self, function: Callable[[], Result]) -> Result:
        """Call a function that may be called twice, and call it again while the server fails for a moment.

        This is beyond what urllib3 repeats: answers that are cut off, that are no JSON, and requests other than GET and
        PUT that leave nothing else behind the second time.
        """
        for attempt in range(self.connection.retries):
            try:
                return function()
            except KestraError as error:
                if not error.is_passing:
                    raise
            self.pause(attempt)
        return function()

    def pause(self, attempt: int) -> None:
        """Wait before the next attempt, but not longer than the whole run may take; the first one is number 0."""
        seconds = self.connection.backoff * 2**attempt
        if self.http.deadline is not None:
            seconds = min(seconds, max(0.0, self.http.deadline - time.monotonic()))
        time.sleep(seconds)

    def path(self, *segments: str) -> str:
        """Return the path of something in the tenant; servers before 0.23 have no tenant segment."""
        tenant = (self.connection.tenant,) if self.connection.tenant else ()
        return "/api/v1/" + "/".join(quote(segment, safe="") for segment in (*tenant, *segments))

    def request(
        self,
        method: str,
        path: str,
        doing: str,
        *,
        expected: Sequence[int] = (200,),
        params: Mapping[str, ParamValue] | None = None,
        body: bytes | None = None,
        content_type: str = YAML_CONTENT,
        parts: Sequence[Part] | None = None,
        headers: Mapping[str, str] | None = None,
        accept: str = "application/json",
        timeout: float | None = None,
    ) -> requests.Response:
        """Send a request; return the answer if its status is an expected one.

        C(content_type) is that of C(body); C(parts) make a multipart form instead of a body.
        """
        sent = {"Accept": accept, **(headers or {})}
        if body is not None:
            sent["Content-Type"] = content_type
        response = self.http.send(
            method, path, doing, params=params, body=body, parts=parts, headers=sent, timeout=timeout
        )
        if response.status_code in expected:
            return response
        status = response.status_code
        message = self.http.scrub(error_message(response))
        if 300 <= status < 400:
            message = f"redirected to {response.headers.get('Location', 'nowhere')}"
        # A success other than Kestra's own comes from something in between.
        kind = "answer" if status < 300 else "http"
        raise KestraError(doing, message, kind=kind, status=status, hint=self._hint(status))

    def _hint(self, status: int) -> str | None:
        if status == 401:
            if self.connection.username is None:
                return "Set username and password."
            return (
                "Check username and password; the user name is an e-mail address and upper and lower case count. A new "
                "password in the configuration counts from Kestra's next start."
            )
        if status == 403:
            return "The user may not do this, or something in front of Kestra forbids it."
        if status == 404:
            return (
                f"Check url and tenant (now {self.connection.tenant!r}): it is 'main' for an open-source server and "
                "empty for one before 0.23."
            )
        if 300 <= status < 400:
            return "Something in front of Kestra redirects, such as a login page; url has to reach Kestra itself."
        if status == 413:
            return "The flow is larger than the server takes."
        if status in (502, 503, 504):
            return "Kestra is not ready, or cannot reach its database: see the module kestra_health."
        if status >= 500:
            return "Kestra's log has the details."
        return None

    def json(self, response: requests.Response, doing: str) -> Any:
        try:
            return response.json()
        except ValueError as error:
            raise KestraError(
                doing,
                f"the answer is {error_message(response)[:200]!r}, where JSON was expected",
                kind="answer",
                status=response.status_code,
                hint="Something else than Kestra answers at url.",
            ) from error

    def server_info(self, timeout: float | None = None) -> ServerInfo:
        """Return the server's version and edition; asked once."""
        with self._info_lock:
            if self._info is None:
                doing = "read the version of Kestra"
                # One path for the whole server, without a tenant. 2.x asks for credentials here, older ones do not.
                response = self.request("GET", "/api/v1/configs", doing, timeout=timeout)
                body = self.object(self.json(response, doing), doing)
                edition, uuid = body.get("edition"), body.get("uuid")
                self._info = ServerInfo(
                    str(body.get("version", "")),
                    None if edition is None else str(edition),
                    None if uuid is None else str(uuid),
                )
            return self._info

    def check_credentials(self, timeout: float | None = None) -> None:
        """Read the first flow, which needs credentials, the tenant and the database; raise KestraError if one fails."""
        doing = "read the list of flows"
        params = {"page": 1, "size": 1}
        response = self.request("GET", self.path("flows", "search"), doing, params=params, timeout=timeout)
        self.object(self.json(response, doing), doing)

    def send_json(self, method: str, path: str, doing: str, content: Any, **options: Any) -> requests.Response:
        """Send a request with a JSON body; the options are those of `request`."""
        body = json.dumps(content).encode("utf-8")
        return self.request(method, path, doing, body=body, content_type="application/json", **options)

    def pages(
        self, path: str, doing: str, params: Mapping[str, ParamValue] | None = None, most: int | None = None
    ) -> Iterator[list[dict[str, Any]]]:
        """Yield the results of a search, page by page; a page has no more than C(most) of them."""
        size = PAGE if most is None else min(PAGE, most)
        page = 1
        while True:
            response = self.request("GET", path, doing, params={**(params or {}), "page": page, "size": size})
            body = self.object(self.json(response, doing), doing)
            results, total = body.get("results"), body.get("total")
            if not isinstance(results, list) or not isinstance(total, int):
                raise KestraError(doing, "the answer is not a page of results", kind="answer")
            yield results
            if not results or page * size >= total:
                return
            page += 1

    def search(
        self, path: str, doing: str, params: Mapping[str, ParamValue] | None = None, most: int | None = None
    ) -> list[dict[str, Any]]:
        """Return the results of all pages of a search, or the first C(most) of them."""
        found: list[dict[str, Any]] = []
        for results in self.pages(path, doing, params, most):
            found += results
            if most is not None and len(found) >= most:
                return found[:most]
        return found

    @staticmethod
    def object(value: Any, doing: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise KestraError(doing, "the answer is not a JSON object", kind="answer")
        return value

    def namespace_params(self, namespaces: Iterable[str]) -> dict[str, str | int]:
        """Return the query that asks for these namespaces, or for all where that would be too long a query.

        The answer may hold more than was asked for: before 1.0 a namespace stands for those below it as well.
        """
        names = sorted(set(namespaces))
        if not self.server_info().has_filters:
            return {"namespace": names[0]} if len(names) == 1 else {}
        if len(names) == 1:
            return {"filters[namespace][EQUALS]": names[0]}
        joined = ",".join(names)
        return {"filters[namespace][IN]": joined} if len(quote(joined, safe="")) <= LONGEST_FILTER else {}

    def search_flows(self, namespaces: Iterable[str]) -> list[dict[str, Any]]:
        """Return what identifies each flow of these namespaces, its revision, and whether it can be read.

        Flows of other namespaces may be among them, deleted ones are not. Of C(tasks) it is told whether there are any.
        """
        params = self.namespace_params(namespaces)
        found: list[dict[str, Any]] = []
        # Page by page, since ten thousand flows with all their tasks would fill the memory.
        for page in self.pages(self.path("flows", "search"), "list the flows", params):
            for flow in page:
                if not flow.get("deleted"):
                    kept: dict[str, Any] = {
                        name: flow[name] for name in ("namespace", "id", "revision", "draft") if name in flow
                    }
                    kept["exception"] = flow.get("exception")
                    kept["tasks"] = bool(flow.get("tasks", True))
                    found.append(kept)
        return found

    def export_flows(self, namespaces: Iterable[str]) -> dict[str, bytes]:
        """Return the sources of the flows of these namespaces, by the name of the file in the server's archive."""
        doing = "export the flows"
        response = self.request(
            "GET",
            self.path("flows", "export", "by-query"),
            doing,
            params=self.namespace_params(namespaces),
            accept="application/octet-stream",
        )
        try:
            with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
                return {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}
        except (zipfile.BadZipFile, OSError, RuntimeError, EOFError, NotImplementedError) as error:
            raise KestraError(
                doing,
                f"the answer is no archive: {error}",
                kind="answer",
                status=response.status_code,
                hint="Something else than Kestra answers at url.",
            ) from error

    def _flow(self, response: requests.Response, doing: str) -> dict[str, Any]:
        flow = self.object(self.json(response, doing), doing)
        if not isinstance(flow.get("source"), str):
            raise KestraError(doing, "the answer is not a flow with its text", kind="answer")
        return flow

    def get_flow(self, namespace: str, flow_id: str, revision: int | None = None) -> dict[str, Any] | None:
        """Return a flow with its source, or None where there is none.

        Of a deleted flow there are only its former revisions.
        """
        doing = f"read flow {namespace}/{flow_id}"
        params: dict[str, ParamValue] = {"source": "true"}
        if revision is not None:
            doing = f"read revision {revision} of flow {namespace}/{flow_id}"
            params.update(revision=revision, allowDeleted="true")
        path = self.path("flows", namespace, flow_id)
        response = self.request("GET", path, doing, expected=(200, 404), params=params)
        if response.status_code == 404:
            return None
        return self._flow(response, doing)

    def revisions(self, namespace: str, flow_id: str) -> list[dict[str, Any]]:
        """Return every revision of a flow with its source, those of a deleted flow included."""
        doing = f"read the revisions of flow {namespace}/{flow_id}"
        response = self.request("GET", self.path("flows", namespace, flow_id, "revisions"), doing, expected=(200, 404))
        found = [] if response.status_code == 404 else self.json(response, doing)
        if not isinstance(found, list):
            raise KestraError(doing, "the answer is not a list", kind="answer")
        return found

    def validate_flows(self, texts: Sequence[str]) -> list[dict[str, Any]]:
        """Return the server's opinion on each of the texts, in the order of the answer.

        Nothing is stored. The server answers 200 for invalid flows too: those have C(constraints).
        """
        doing = "validate the flows"
        # Kestra leaves a line end behind the marker to the text that follows, whose lines it then counts one too high.
        body = "\n---".join(texts).encode("utf-8")
        response = self.request("POST", self.path("flows", "validate"), doing, body=body)
        result = self.json(response, doing)
        if not isinstance(result, list) or not all(isinstance(entry, dict) for entry in result):
            raise KestraError(doing, "the answer is not a list", kind="answer")
        return result

    def create_flow(self, name: str, text: str, draft: bool = False) -> dict[str, Any] | None:
        """Store a flow that does not exist; return it as stored, or None where it exists already."""
        doing = f"create flow {name}"
        response = self.request(
            "POST",
            self.path("flows"),
            doing,
            expected=(200, 201, 409, 422),
            params={"draft": "true"} if draft else None,
            body=text.encode("utf-8"),
        )
        if response.status_code in (200, 201):
            return self._flow(response, doing)
        message = error_message(response)
        # A duplicate is 409 in 2.x and 422 before.
        if response.status_code == 409 or "already exists" in message:
            return None
        raise KestraError(doing, self.http.scrub(message), status=422)

    def update_flow(self, namespace: str, flow_id: str, text: str, draft: bool = False) -> dict[str, Any] | None:
        """Replace the text of a flow; return it as stored, or None where the flow does not exist (or is deleted)."""
        doing = f"update flow {namespace}/{flow_id}"
        path = self.path("flows", namespace, flow_id)
        params = {"draft": "true"} if draft else None
        response = self.request("PUT", path, doing, expected=(200, 404), params=params, body=text.encode("utf-8"))
        if response.status_code == 404:
            return None
        return self._flow(response, doing)

    def delete_flow(self, namespace: str, flow_id: str) -> bool:
        """Delete a flow; return whether there was one. Its revisions stay, and go on counting."""
        path = self.path("flows", namespace, flow_id)
        return (
            self.request("DELETE", path, f"delete flow {namespace}/{flow_id}", expected=(204, 404)).status_code == 204
        )
