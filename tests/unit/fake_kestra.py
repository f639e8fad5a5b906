"""A small in-process server that answers as Kestra does, counts what it is asked, and can refuse to be written to.

It stands in where a test needs a server that misbehaves on purpose. What Kestra really does is tested in
`tests/integration` against its engine.
"""

from __future__ import annotations

import base64
import io
import json
import re
import sys
import threading
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

USERNAME = "admin@example.org"
PASSWORD = "Sn0wflake/ü"
# What an action on an execution needs, and what it leads to.
BECOMES = {
    "kill": (("CREATED", "RUNNING", "PAUSED", "QUEUED"), "KILLED"),
    "restart": (("FAILED", "PAUSED"), "RESTARTED"),
    "replay": ((), "CREATED"),
}


@dataclass
class Answer:
    """A prepared answer, given instead of the real one."""

    status: int
    body: bytes | str | dict[str, Any] | list[Any] | None = None
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0
    drop: bool = False


@dataclass
class Stored:
    source: str
    revision: int = 1
    deleted: bool = False
    extra: dict[str, Any] = field(default_factory=dict)


class FakeKestra:
    """Start with `with FakeKestra() as server:`; `requests` lists what it was asked, as `METHOD path?query`."""

    def __init__(self, version: str = "2.0.5", read_only: bool = False, tenant: str = "main") -> None:
        self.version = version
        self.uuid = "u"
        self.read_only = read_only
        self.tenant = tenant
        self.flows: dict[tuple[str, str], Stored] = {}
        self.history: dict[tuple[str, str], list[dict[str, Any]]] = {}
        self.before: Callable[[str], None] = lambda _request: None
        self.values: dict[str, Any] = {}
        self.executions: dict[str, dict[str, Any]] = {}
        self.logs: dict[str, list[dict[str, Any]]] = {}
        self.dashboards: dict[str, str] = {}
        self.edition = "OSS"
        self.namespaces: dict[str, dict[str, Any]] = {}
        self.requests: list[str] = []
        self.bodies: list[bytes] = []
        self.authorizations: set[str | None] = set()
        self.cookies: list[str] = []
        self.connections = 0
        self.in_flight = 0
        self.most_in_flight = 0
        self.write_delay = 0.0
        self.prepared: dict[str, list[Answer]] = {}
        self.health: dict[str, Answer] = {
            "/health": Answer(200, {"name": "kestra", "status": "UP"}),
            "/health/readiness": Answer(200, {"name": "kestra", "status": "UP"}),
            "/health/liveness": Answer(200, {"name": "kestra", "status": "UNKNOWN", "details": {}}),
        }
        self.lock = threading.Lock()
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Headers and body are two writes; together they would wait for each other's acknowledgement.
            disable_nagle_algorithm = True

            def answer(self) -> None:
                fake.handle(self)

            do_GET = do_POST = do_PUT = do_DELETE = answer

            def log_message(self, format: str, *args: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            def process_request(self, request: Any, client_address: Any) -> None:
                fake.connections += 1
                super().process_request(request, client_address)

            def handle_error(self, request: Any, client_address: Any) -> None:
                """Say nothing of clients that gave up, which some tests are about."""
                if not isinstance(sys.exc_info()[1], OSError):
                    super().handle_error(request, client_address)

        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self) -> FakeKestra:
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    @property
    def writes(self) -> list[str]:
        """What was asked that could change something."""
        return [
            r
            for r in self.requests
            if not r.startswith("GET ") and not r.endswith(("/flows/validate", "/dashboards/validate"))
        ]

    @property
    def flow_writes(self) -> list[str]:
        """The same, without the record of what was written."""
        return [request for request in self.writes if "/kv/" not in request]

    def add(self, source: str, **extra: Any) -> Stored:
        """Store a flow, as if it had been there before."""
        namespace, flow_id = names(source)
        stored = self.flows[(namespace, flow_id)] = Stored(source, extra=extra)
        self.note((namespace, flow_id))
        return stored

    def note(self, key: tuple[str, str]) -> None:
        """Keep the revision that a flow has now."""
        stored = self.flows[key]
        kept = {"revision": stored.revision, "deleted": stored.deleted, "source": stored.source}
        self.history.setdefault(key, []).append({**self.as_flow(key), **kept})

    def edit(self, source: str) -> None:
        """Save a flow as another client does."""
        key = names(source)
        known = self.flows.get(key)
        self.flows[key] = Stored(source, known.revision + 1 if known else 1)
        self.note(key)

    def remove(self, namespace: str, flow_id: str) -> None:
        """Delete a flow as another client does."""
        stored = self.flows[(namespace, flow_id)]
        stored.deleted = True
        stored.revision += 1
        self.note((namespace, flow_id))

    def prepare(self, request: str, *answers: Answer) -> None:
        """Give these answers to the next requests that begin with C(request), such as `GET /api/v1/configs`."""
        self.prepared[request] = list(answers)

    def handle(self, handler: BaseHTTPRequestHandler) -> None:
        length = int(handler.headers.get("Content-Length") or 0)
        body = handler.rfile.read(length)
        request = f"{handler.command} {handler.path}"
        with self.lock:
            self.requests.append(request)
            self.bodies.append(body)
            self.authorizations.add(handler.headers.get("Authorization"))
            if handler.headers.get("Cookie"):
                self.cookies.append(handler.headers["Cookie"])
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
            answer = next((a.pop(0) for start, a in self.prepared.items() if request.startswith(start) and a), None)
        try:
            self.before(request)
            self.send(handler, answer or self.respond(handler, body))
        finally:
            with self.lock:
                self.in_flight -= 1

    def send(self, handler: BaseHTTPRequestHandler, answer: Answer) -> None:
        time.sleep(answer.delay)
        if answer.drop:
            handler.close_connection = True
            handler.connection.close()
            return
        body = answer.body
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
        content = body.encode("utf-8") if isinstance(body, str) else body or b""
        handler.send_response(answer.status)
        if content:
            handler.send_header("Content-Type", answer.content_type)
        handler.send_header("Set-Cookie", "BASIC_AUTH=secret")
        for name, value in answer.headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    def problem(self, status: int, message: str, slug: str = "validation-failed", path: str | None = None) -> Answer:
        """Return an error in the shape of the version."""
        if self.version.startswith("2"):
            body: dict[str, Any] = {
                "type": f"https://kestra.io/docs/api-reference/problems/{slug}",
                "title": slug.replace("-", " "),
                "status": status,
                "detail": message,
            }
            if path:
                body["errors"] = [{"detail": message, "pointer": f"/{path}", "path": path}]
            return Answer(status, body, "application/problem+json")
        return Answer(
            status,
            {"message": message, "_links": {}, "_embedded": {"errors": [{"message": message, "path": path}]}},
        )

    def respond(self, handler: BaseHTTPRequestHandler, body: bytes) -> Answer:
        parts = urlsplit(handler.path)
        if parts.path in self.health:
            return self.health[parts.path]
        expected = "Basic " + base64.b64encode(f"{USERNAME}:{PASSWORD}".encode()).decode()
        if handler.headers.get("Authorization") != expected:
            return Answer(401, headers={"WWW-Authenticate": "Basic realm=Kestra"})
        if parts.path == "/api/v1/configs":
            return Answer(200, {"uuid": self.uuid, "version": self.version, "edition": self.edition})
        root = f"/api/v1/{self.tenant}/flows" if self.tenant else "/api/v1/flows"
        for kind in ("executions", "logs"):
            above = root.replace("/flows", f"/{kind}/")
            if parts.path.startswith(above):
                with self.lock:
                    return self.execution(handler.command, kind, parts.path[len(above) :], parse_qs(parts.query))
        if self.edition != "OSS" and re.search(r"/namespaces(/[^/]+)?$", parts.path):
            return self.namespace(handler.command, parts.path.partition("/namespaces")[2].strip("/"), body)
        if "/dashboards" in parts.path:
            _, _, name = parts.path.partition("/dashboards")
            return self.dashboard(handler.command, name.strip("/"), body.decode("utf-8"))
        if "/kv/" in parts.path:
            return self.key_value(handler.command, parts.path, body)
        if not parts.path.startswith(root):
            return self.problem(404, "Not Found", "not-found")
        path = unquote(parts.path[len(root) :])
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if handler.command == "GET":
            return self.read(path, query)
        if handler.command == "DELETE" and not self.read_only:
            return self.delete(path)
        content_type = handler.headers.get("Content-Type", "")
        if content_type != "application/x-yaml":
            return self.problem(415, f"Content Type [{content_type}] not allowed", "unsupported-media-type")
        if handler.command == "POST" and path == "/validate":
            return Answer(200, self.validate(body.decode("utf-8")))
        if self.read_only:
            return self.problem(405, "this server refuses to be written to", "method-not-allowed")
        time.sleep(self.write_delay)
        with self.lock:
            return self.write(handler.command, path, body.decode("utf-8"))

    def key_value(self, method: str, path: str, body: bytes) -> Answer:
        """The key-value store: a value a path."""
        if method == "PUT" and not self.read_only:
            self.values[path] = json.loads(body)
            return Answer(200)
        if method != "GET" or path not in self.values:
            return self.problem(404, "No value found", "not-found")
        return Answer(200, {"type": "JSON", "value": self.values[path]})

    def namespace(self, method: str, name: str, body: bytes) -> Answer:
        """Create, read, replace and delete namespaces, as the Enterprise edition does."""
        if method != "GET" and self.read_only:
            return self.problem(405, "this server refuses to be written to", "method-not-allowed")
        if method == "POST":
            name = json.loads(body)["id"]
            if name in self.namespaces:
                return self.problem(409, "Namespace already exists", "entity-already-exists")
        elif name not in self.namespaces:
            return self.problem(404, "Not Found", "not-found")
        if method == "DELETE":
            del self.namespaces[name]
            return Answer(204)
        if method in ("POST", "PUT"):
            self.namespaces[name] = json.loads(body)
        return Answer(200, self.namespaces[name])

    def dashboard(self, method: str, name: str, source: str) -> Answer:
        """Validate, create, read, replace and delete dashboards."""
        if name == "validate":
            return Answer(200, {"index": 0, "constraints": "charts: are odd\n"} if "odd" in source else {"index": 0})
        if method != "GET" and self.read_only:
            return self.problem(405, "this server refuses to be written to", "method-not-allowed")
        if method == "GET" and not name:
            return Answer(200, {"results": [], "total": 0})
        if method == "POST":
            name = str(re.search(r"^id: (\S+)", source, re.M)[1])  # type: ignore[index]
            if name in self.dashboards:
                return self.problem(422, "Dashboard id already exists", path="dashboard.id")
        elif name not in self.dashboards:
            return self.problem(404, "Not Found", "not-found")
        if method == "DELETE":
            del self.dashboards[name]
            return Answer(204)
        if method in ("POST", "PUT"):
            self.dashboards[name] = source
        return Answer(200, {"id": name, "sourceCode": self.dashboards[name]})

    def add_execution(self, state: str, day: int, **more: Any) -> str:
        """Keep an execution that was created on a day of November, with a line of log; return its id."""
        created = f"2026-11-{day:02}T00:00:00Z"
        number = f"e{len(self.executions)}"
        self.executions[number] = {
            "id": number,
            "namespace": "team",
            "flowId": "one",
            "state": {"current": state, "startDate": created, "histories": [{"state": state, "date": created}]},
            "labels": [],
            **more,
        }
        self.logs[number] = [{"level": "INFO", "message": "hello"}]
        return number

    def execution(self, method: str, kind: str, path: str, query: dict[str, list[str]]) -> Answer:
        """Search, read, delete and act on executions, and read and delete their logs."""
        is_2 = self.version.startswith("2")
        if path == "search":
            return self.search_executions(query)
        number, _, rest = path.partition("/")
        if method != "GET" and self.read_only:
            return self.problem(405, "this server refuses to be written to", "method-not-allowed")
        if number not in self.executions:
            return self.problem(404, "Execution not found", "not-found")
        if kind == "logs" and not rest:
            if method == "DELETE":
                self.logs[number] = []
                return Answer(204)
            return Answer(200, self.logs[number])
        raw = self.executions[number]
        if not rest and method == "DELETE":
            del self.executions[number]
            return Answer(204)
        if not rest:
            return Answer(200, raw)
        verb = rest.removeprefix("actions/")
        if (rest != verb) is not is_2 or verb not in BECOMES or (method == "DELETE") is not (verb == "kill"):
            return self.problem(404, "Page Not Found", "not-found")
        if verb == "replay":
            return Answer(200, self.executions[self.add_execution("CREATED", 30, originalId=number)])
        if raw["state"]["current"] not in BECOMES[verb][0]:
            return self.problem(409, f"it is {raw['state']['current']}", "conflict")
        raw["state"]["current"] = BECOMES[verb][1]
        raw["state"]["histories"].append({"state": BECOMES[verb][1]})
        return Answer(200, raw) if is_2 or verb != "kill" else Answer(202)

    def search_executions(self, query: dict[str, list[str]]) -> Answer:
        """A server before 1.0 does not know the filters of later ones, and the other way around."""
        if self.version.startswith("0"):
            asked = {name: query.get(name, []) for name in ("namespace", "state")}
            since, until = query.get("startDate"), query.get("endDate")
        else:
            asked = {
                "namespace": query.get("filters[namespace][EQUALS]", []),
                "state": query.get("filters[state][IN]", [""])[0].split(",") if "filters[state][IN]" in query else [],
            }
            since = query.get("filters[startDate][GREATER_THAN_OR_EQUAL_TO]")
            until = query.get("filters[startDate][LESS_THAN_OR_EQUAL_TO]")
        if set(asked["state"]) & {"SUBMITTED", "BREAKPOINT", "RESUBMITTED"} and not self.version.startswith("2"):
            return self.problem(422, "no such state")
        found = [
            raw
            for raw in self.executions.values()
            if (not asked["namespace"] or raw["namespace"] in asked["namespace"])
            and (not asked["state"] or raw["state"]["current"] in asked["state"])
            and (not since or raw["state"]["startDate"][:19] >= since[0][:19])
            and (not until or raw["state"]["startDate"][:19] <= until[0][:19])
        ]
        found.sort(
            key=lambda raw: str(raw["state"]["startDate"]), reverse="state.startDate:desc" in query.get("sort", [])
        )
        size, page = int(query.get("size", ["10"])[0]), int(query.get("page", ["1"])[0])
        return Answer(200, {"results": found[(page - 1) * size : page * size], "total": len(found)})

    def delete(self, path: str) -> Answer:
        key = tuple(path.strip("/").split("/", 1))
        with self.lock:
            stored = self.flows.get(key) if len(key) == 2 else None
            if stored is None or stored.deleted:
                return self.problem(404, "Not Found", "not-found")
            self.remove(*key)
        return Answer(204)

    def read(self, path: str, query: dict[str, str]) -> Answer:
        if path == "/search":
            found = [self.as_flow(key) for key in self.select(query)]
            size, page = int(query.get("size", 10)), int(query.get("page", 1))
            return Answer(200, {"results": found[(page - 1) * size : page * size], "total": len(found)})
        if path == "/export/by-query":
            archive = io.BytesIO()
            with zipfile.ZipFile(archive, "w") as out:
                for key in self.select(query):
                    separator = "." if self.version.startswith("2") else "-"
                    out.writestr(f"{key[0]}{separator}{key[1]}.yml", self.flows[key].source.encode("utf-8"))
            return Answer(200, archive.getvalue(), "application/octet-stream")
        if path.endswith("/revisions"):
            key = tuple(path.removesuffix("/revisions").strip("/").split("/", 1))
            return Answer(200, list(self.history.get(key, [])))
        key = tuple(path.strip("/").split("/", 1))
        if "revision" in query:
            kept = [each for each in self.history.get(key, []) if each["revision"] == int(query["revision"])]
            return Answer(200, kept[-1]) if kept else self.problem(404, "Not Found", "not-found")
        if len(key) != 2 or key not in self.flows or self.flows[key].deleted:
            return self.problem(404, "Not Found", "not-found")
        return Answer(200, {**self.as_flow(key), "source": self.flows[key].source})

    def select(self, query: dict[str, str]) -> list[tuple[str, str]]:
        keys = sorted(key for key, stored in self.flows.items() if not stored.deleted)
        if self.version.startswith("0"):
            # It does not know what it is asked.
            return keys
        equal, among = query.get("filters[namespace][EQUALS]"), query.get("filters[namespace][IN]")
        if equal:
            keys = [key for key in keys if key[0] == equal]
        if among:
            keys = [key for key in keys if key[0] in among.split(",")]
        return keys

    def as_flow(self, key: tuple[str, str]) -> dict[str, Any]:
        stored = self.flows[key]
        return {
            "namespace": key[0],
            "id": key[1],
            "revision": stored.revision,
            "deleted": stored.deleted,
            "tasks": [{"id": "say", "type": "io.kestra.plugin.core.log.Log"}],
            **stored.extra,
        }

    def validate(self, text: str) -> list[dict[str, Any]]:
        answers: list[dict[str, Any]] = []
        for index, source in enumerate(re.split(r"\n+---\n*?", text)):
            answer: dict[str, Any] = {"index": index, "outdated": False, "warnings": [], "infos": []}
            bad = re.search(r"type: (\S*nope\S*)", source)
            if not source.strip():
                answer["constraints"] = "Illegal flow yaml: No content to map due to end-of-input"
            elif bad:
                answer["constraints"] = f"Invalid type: {bad.group(1)}"
            else:
                answer["namespace"], answer["flow"] = names(source)
            if "tasks: []" in source:
                answer["constraints"] = "tasks: must not be empty\nid: looks odd\n"
            if "old.Log" in source:
                answer["infos"] = ["old.Log is replaced by new.Log"]
            answers.append(answer)
        return answers

    def write(self, method: str, path: str, source: str) -> Answer:
        key = names(source)
        stored = self.flows.get(key)
        if "refuse: me" in source:
            return self.problem(422, "tasks: must not be empty", path="tasks")
        if method == "POST":
            if stored is not None and not stored.deleted:
                if self.version.startswith("2"):
                    return self.problem(409, "Flow id already exists", "entity-already-exists")
                return self.problem(422, "Invalid entity: flow.id: Flow id already exists", path="flow.id")
            self.edit(source)
        else:
            if stored is None or stored.deleted:
                return self.problem(404, "Not Found", "not-found")
            if stored.source != source:
                self.edit(source)
        return Answer(200, {**self.as_flow(key), "source": source})


def names(source: str) -> tuple[str, str]:
    """Return namespace and id of a flow's text."""
    found = dict(re.findall(r"^\ufeff?(id|namespace): *([\w.-]+)", source, re.MULTILINE))
    return found.get("namespace", ""), found.get("id", "")
