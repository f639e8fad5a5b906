# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A client of Kestra's REST API, for servers of 1.3 and 2.x.

What differs between versions is decided here and nowhere else: the two shapes of error bodies, the tenant segment of
paths, the spelling of filters, the status of a duplicate, and in `ServerInfo` the paths that moved with 2.0.
"""

from __future__ import annotations

import io
import json
import re
import struct
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, urlsplit

from ansible_collections.devorch.orchestration.plugins.module_utils.http_session import (
    HttpSession,
    ParamValue,
    Part,
    ServiceError,
    address_problem,
    error_message,
    token_problem,
)

if TYPE_CHECKING:
    import requests

Result = TypeVar("Result")

YAML_CONTENT = "application/x-yaml"
# Kestra's web server takes a request line of 4096 bytes; longer filters are left out, and applied to the answer.
LONGEST_FILTER = 1500
PAGE = 1000
# What the client or the HTTP library sets.
OWN_HEADERS = ("accept", "content-length", "content-type", "cookie", "host", "transfer-encoding", "user-agent")
# A shorter value of a header would be found in many a text that has nothing to do with it.
SHORTEST_SECRET = 6
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")

# A file's local header in a zip archive (APPNOTE 4.3.7) ends with the lengths of its name and of the extra field.
_LOCAL_SIZE = 30
_LOCAL_LENGTHS_AT = 26
_LOCAL_LENGTHS = struct.Struct("<HH")
# Its entry in the directory (4.3.12): flags, method, checksum, two sizes, three lengths, the place of the local header.
_ENTRY = struct.Struct("<4x4xHH4xIIIHHH8xI")
_ENTRY_MARK = b"PK\1\2"
# The end of the archive (4.3.16): the number of entries, the size of the directory and where it begins.
_END = struct.Struct("<4s4x2xHIIH")
_END_MARK = b"PK\5\6"
_LARGE = 0xFFFFFFFF
_UTF_8_NAME = 0x800
_PLAIN_FLAGS = _UTF_8_NAME | 0xE
"""What does not keep an entry from being read: how its name is written, how well it is packed, where its sizes are."""


class KestraError(ServiceError):
    """A call to Kestra that failed."""


@dataclass(frozen=True)
class Connection:
    """How to reach a server, and with which login: a C(token), or a name and a password, or C(headers).

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
    token: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    client_cert: str | None = None
    client_key: str | None = None

    def __post_init__(self) -> None:
        problem = url_problem(self.url) or headers_problem(self.headers) or token_problem(self.token)
        if problem:
            raise ValueError(problem)
        if self.client_key and not self.client_cert:
            raise ValueError("client_key is set, but client_cert is not; set both")

    @property
    def secrets(self) -> list[str]:
        """What no message may show."""
        values = [value for value in self.headers.values() if len(value) >= SHORTEST_SECRET]
        return [secret for secret in (self.password, self.token, *values) if secret]


@dataclass(frozen=True)
class ServerInfo:
    """What a server says about itself; C(uuid) stays the same for as long as its database does."""

    version: str
    edition: str | None = None
    uuid: str | None = None

    @property
    def number(self) -> tuple[int, int]:
        """Major and minor version; (0, 0) if the server does not report it."""
        match = re.search(r"(\d+)\.(\d+)", self.version)
        return (int(match.group(1)), int(match.group(2))) if match else (0, 0)

    @property
    def is_2(self) -> bool:
        """Whether paths and bodies are those of 2.x. A server that does not report its version counts as 2.x."""
        return self.number >= (2, 0) or self.number == (0, 0)

    @property
    def has_filters(self) -> bool:
        """Whether searches take C(filters[field][OPERATION]); before 1.0 they take C(namespace=)."""
        return self.number >= (1, 0) or self.number == (0, 0)


def url_problem(url: str) -> str | None:
    """Return what is wrong with the URL of a server, or None."""
    problem = address_problem(url, "http://127.0.0.1:8080", "username and password")
    if problem is None and re.fullmatch(r"/(ui(/.*)?|api(/v1(/.*)?)?)/?", urlsplit(url).path):
        return f"url is {url!r}; it is the root of the server, without /ui, /api or anything behind it"
    return problem


def headers_problem(headers: Mapping[str, str]) -> str | None:
    """Return what is wrong with headers of a user, or None; the values, which may be secret, are not in it."""
    for name, value in headers.items():
        if not _HEADER.fullmatch(name):
            return f"headers has {name!r}, which cannot be the name of a header"
        if name.lower() in OWN_HEADERS:
            return f"headers has {name}, which the module sets itself"
        if not value.isprintable() or value != value.strip() or any(ord(each) > 0xFF for each in value):
            return f"the value of the header {name} is not one line in ISO 8859-1"
    return None


class Http(HttpSession):
    """A session with a token, with Kestra's basic authentication, or without any login."""

    service = "Kestra"
    api = "Kestra's API"
    error = KestraError
    silence = (
        "Kestra hangs, as it does after PostgreSQL was restarted under it, or it is overloaded. Check its log, "
        "restart it, or raise timeout."
    )
    connection: Connection

    def __init__(self, connection: Connection, pool_size: int = 8) -> None:
        super().__init__(connection, connection.secrets, pool_size)
        self.add_headers(connection.headers)
        if connection.token is not None:
            self.bear(connection.token)
        elif connection.username is not None:
            self.log_in(connection.username, connection.password or "")


def extract(content: bytes) -> dict[str, bytes]:
    """Return the files of an archive by name; raises what the standard library's C(zipfile) raises.

    C(zipfile) makes objects of several layers for each file, which for a thousand flows takes a fifth of the whole run.
    It reads the archives that are not plainly deflated.
    """
    try:
        files = _deflated(content)
    except (struct.error, zlib.error, ValueError):
        files = None
    if files is not None:
        return files
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        try:
            return {info.filename: archive.read(info) for info in archive.infolist() if not info.is_dir()}
        except (zlib.error, EOFError) as error:
            raise zipfile.BadZipFile(f"an entry is damaged: {error}") from error


def _deflated(content: bytes) -> dict[str, bytes] | None:
    """Return the files of an archive whose entries are all deflated; None for any other, and for a damaged one."""
    end = len(content) - _END.size
    mark, count, size, begin, comment = _END.unpack_from(content, max(end, 0))
    if mark != _END_MARK or comment or begin + size != end:
        return None
    files: dict[str, bytes] = {}
    place, view = begin, memoryview(content)
    for _entry in range(count):
        flags, method, checksum, packed, unpacked, name_size, extra, note, header = _ENTRY.unpack_from(content, place)
        if content[place : place + len(_ENTRY_MARK)] != _ENTRY_MARK or flags & ~_PLAIN_FLAGS:
            return None
        place += _ENTRY.size
        name = content[place : place + name_size].decode("utf-8" if flags & _UTF_8_NAME else "cp437")
        place += name_size + extra + note
        if name.endswith("/"):
            continue
        if method != zipfile.ZIP_DEFLATED or _LARGE in (packed, unpacked, header) or "\0" in name:
            return None
        local_name, local_extra = _LOCAL_LENGTHS.unpack_from(content, header + _LOCAL_LENGTHS_AT)
        start = header + _LOCAL_SIZE + local_name + local_extra
        text = zlib.decompress(view[start : start + packed], -zlib.MAX_WBITS)
        if zlib.crc32(text) != checksum:
            return None
        files[name] = text
    return files if place == end else None


class KestraClient:
    """Kestra's API, as far as the modules need it. Every method raises KestraError where it fails."""

    def __init__(self, connection: Connection, pool_size: int = 8) -> None:
        self.connection = connection
        self.http = Http(connection, pool_size)
        self._info: ServerInfo | None = None
        self._info_lock = threading.Lock()

    @property
    def whole_messages(self) -> list[str]:
        """What the server said, where a message has less of it."""
        return self.http.whole_messages

    def close(self) -> None:
        self.http.close()

    def retry(self, function: Callable[[], Result]) -> Result:
        """Call a function that may be called twice, and call it again while the server fails for a moment.

        This is more than a request repeats by itself: answers that are cut off, that are not JSON, and requests other
        than GET and PUT that leave nothing else behind the second time.
        """
        return self.http.repeat(function, lambda error: error.is_transient)

    def pause(self, attempt: int) -> None:
        """Wait before the next attempt, unless the time of the whole run is over by then; the first one is number 0."""
        self.http.pause(attempt)

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
        try:
            return self.http.expect(response, doing, expected, self._hint)
        except KestraError as error:
            if error.status == 404 and not re.fullmatch(r"(page )?not found.*", error.message, re.IGNORECASE):
                # Kestra names what is missing, so that its address is right.
                error.hint = None
            raise

    def _hint(self, status: int) -> str | None:
        if status == 401:
            if self.connection.token is not None:
                return "Check token: it may have expired, or be one of another tenant."
            if self.connection.username is None:
                return "Set username and password, or token."
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
                f"the answer is {error_message(response, self.http.api)[:200]!r}, where JSON was expected",
                kind="answer",
                status=response.status_code,
                hint="Something else than Kestra answers at url.",
            ) from error

    @staticmethod
    def archive(response: requests.Response, doing: str, opener: Callable[[bytes], Result]) -> Result:
        """Return what C(opener) makes of the archive that the server answered."""
        try:
            return opener(response.content)
        except (zipfile.BadZipFile, OSError, RuntimeError, EOFError, NotImplementedError) as error:
            raise KestraError(
                doing,
                f"the answer is not an archive: {error}",
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

    def all_of(
        self, path: str, doing: str, named_by: Sequence[str], params: Mapping[str, ParamValue] | None = None
    ) -> list[dict[str, Any]]:
        """Return the results of all pages of a search, each of them once.

        Without an order, a database may repeat a result on the next page and leave another one out. The search is sent
        again then. C(named_by) are the keys that name a result.
        """

        def once() -> list[dict[str, Any]]:
            found = self.search(path, doing, params)
            names = {tuple(str(each.get(key)) for key in named_by) for each in found}
            if len(names) < len(found):
                raise KestraError(doing, "a result is on two pages", kind="answer")
            return found

        return self.retry(once)

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

        The answer may contain more than was asked for, because a server before 1.0 does not know these filters.
        """
        names = sorted(set(namespaces))
        if len(names) == 1:
            return {"filters[namespace][EQUALS]": names[0]}
        joined = ",".join(names)
        return {"filters[namespace][IN]": joined} if len(quote(joined, safe="")) <= LONGEST_FILTER else {}

    def search_flows(self, namespaces: Iterable[str]) -> list[dict[str, Any]]:
        """Return what identifies each flow of these namespaces, its revision, and whether it can be read.

        Flows of other namespaces may be among them, deleted ones are not. C(tasks) only shows whether there are any.
        """
        doing = "list the flows"
        # Without an order, a database may repeat a flow on the next page and leave another one out.
        params: dict[str, ParamValue] = {**self.namespace_params(namespaces), "sort": ["namespace:asc", "id:asc"]}
        found: list[dict[str, Any]] = []
        seen: set[tuple[str, str]] = set()
        # Page by page, since ten thousand flows with all their tasks would fill the memory.
        for page in self.pages(self.path("flows", "search"), doing, params):
            for flow in page:
                key = (str(flow.get("namespace")), str(flow.get("id")))
                if key in seen:
                    # It is asked again, since flows came or went between two pages.
                    raise KestraError(doing, f"flow {key[0]}/{key[1]} is on two pages", kind="answer")
                seen.add(key)
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
        return self.archive(response, doing, extract)

    def _flow(self, response: requests.Response, doing: str) -> dict[str, Any]:
        flow = self.object(self.json(response, doing), doing)
        if not isinstance(flow.get("source"), str):
            raise KestraError(doing, "the answer is not a flow with its text", kind="answer")
        return flow

    def get_flow(self, namespace: str, flow_id: str, revision: int | None = None) -> dict[str, Any] | None:
        """Return a flow with its source, or None where there is none.

        A deleted flow has only its previous revisions.
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
        message = self.http.message_of(response)
        # A duplicate is 409 in 2.x and 422 before.
        if response.status_code == 409 or "already exists" in message:
            return None
        raise KestraError(doing, message, status=422)

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
        """Delete a flow; return whether it existed. Its revisions stay; a new flow of its name continues them."""
        path = self.path("flows", namespace, flow_id)
        return (
            self.request("DELETE", path, f"delete flow {namespace}/{flow_id}", expected=(204, 404)).status_code == 204
        )
