"""Malformed and hostile requests to the whole API: generated from its own document, and written by hand.

20,000 of them with DEVORCH_LONG=1, otherwise about 1,500. The tests check three things: a 5xx answer is a true 503 or
504, no process is started with an argument that a caller smuggled in, and none is started for a caller without a token.
"""

from __future__ import annotations

import gzip
import json
import random
import re
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, seed, settings
from schemathesis import GenerationMode

from tests.sampling import LONG, SEED

from .service import TOKENS, Service, World, bearer

BY_DOCUMENT = 10000 if LONG else 700
BY_HAND = 9500 if LONG else 600
WITHOUT_TOKEN = 2000 if LONG else 200
PRESENT = {"web-1": "Running", "db": "Stopped", "old": "Deleted", "nap": "Suspended", "dev": "Running"}

NAME = r"[A-Za-z]([A-Za-z0-9-]{0,198}[A-Za-z0-9])?"
SIZE = r"[1-9][0-9]{0,14}[KMG]?"
IMAGE = r"[A-Za-z0-9][A-Za-z0-9._:-]{0,99}"
NETWORK = r"name=[A-Za-z0-9][A-Za-z0-9._:-]{0,63},mode=(auto|manual)(,mac=([0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2})?"
# Each argument of each verb that is allowed; what follows "--", and a file's path, is the caller's.
ARGUMENTS = {
    "list": ["--format=json"],
    "info": ["--format=json", "--snapshots", NAME],
    "version": ["--format=json"],
    "find": ["--format=json", IMAGE],
    "networks": ["--format=json"],
    "get": [r"local\.driver", rf"local\.{NAME}\.(cpus|memory|disk)"],
    "set": [rf"local\.{NAME}\.(cpus=[0-9]+|(memory|disk)={SIZE})"],
    "launch": [
        *(r"--timeout=[0-9]+", f"--name={NAME}", r"--cpus=[0-9]+", f"--memory={SIZE}", f"--disk={SIZE}"),
        *(f"--network={NETWORK}", "--cloud-init=-", IMAGE),
    ],
    "start": [r"--timeout=[0-9]+", NAME],
    "restart": [r"--timeout=[0-9]+", NAME],
    "stop": ["--force", r"--time=[0-9]+", NAME],
    "suspend": [NAME],
    "recover": [NAME],
    "delete": ["--purge", NAME, rf"{NAME}\.{NAME}"],
    "clone": [f"--name={NAME}", NAME],
    "snapshot": [f"--name={NAME}", r"--comment=[^\x00-\x1f]*", NAME],
    "restore": ["--destructive", rf"{NAME}\.{NAME}"],
    "exec": ["--no-map-working-directory", NAME],
    "transfer": ["-", rf"{NAME}:/[^\x00-\x1f]*"],
}


def check_calls(world: World) -> int:
    """Check every argument that multipass was called with, and return the number of calls."""
    calls = world.arguments()
    for verb, *arguments in calls:
        known = arguments[: arguments.index("--")] if verb == "exec" else arguments
        for argument in known:
            assert any(re.fullmatch(pattern, argument, re.DOTALL) for pattern in ARGUMENTS[verb]), (verb, arguments)
        assert verb != "delete" or (arguments[0] == "--purge" and len(arguments) == 2)
        assert verb != "exec" or len(known) == 2
    return len(calls)


def check_answer(status: int, content: bytes) -> None:
    """Check that a 5xx answer is true: the queue is full, or multipass failed, as it does by seed."""
    if status >= 500:
        problem = json.loads(content)
        assert status in (503, 504), content
        kinds = "queue-full|busy|command-failed|exec-unknown|daemon-unreachable|try-again|timeout"
        assert re.fullmatch(f"/problems/({kinds})", problem["type"]), content


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with Service(tmp_path_factory.mktemp("fuzz"), max_queue=1000) as made:
        made.world.set(options={"seed": int(SEED), "failure_rate": 0.02}, **PRESENT)
        made.http.put("/environments/dev", json={"instances": [{"name": "web-1"}, {"name": "db"}]})
        yield made
        assert made.process and made.process.poll() is None
        lines = [json.loads(line) for line in made.log().splitlines()]
        assert not [line for line in lines if line["logger"] == "multipass_sidecar" and line["level"] == "ERROR"]


def test_requests_by_the_document(service: Service, say: Callable[[str], None]) -> None:
    document = service.http.get("/openapi.json").json()
    for operations in document["paths"].values():
        for operation in operations.values():
            # The test itself sends the token.
            operation.pop("security", None)
    found = [result.ok() for result in schemathesis.openapi.from_dict(document).get_all_operations()]
    assert len(found) > 30
    statuses: Counter[int] = Counter()
    lots = random.Random(SEED)
    session = requests.Session()
    rounds = [(mode, operation) for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE) for operation in found]
    # Without parameters, nothing can be wrong.
    bare = [
        path
        for path, methods in document["paths"].items()
        if not methods.get("get", {"parameters": 1}).get("parameters")
    ]
    rounds = [
        (mode, op)
        for mode, op in rounds
        if mode is GenerationMode.POSITIVE or op.path not in bare or op.method != "get"
    ]
    for mode, operation in rounds:

        @seed(int(SEED))
        @settings(
            max_examples=-(-BY_DOCUMENT // len(rounds)),
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(operation.as_strategy(generation_mode=mode))
        def fuzz(case: Any) -> None:
            if "name" in (case.path_parameters or {}) and lots.random() < 0.5:
                case.path_parameters["name"] = lots.choice(list(PRESENT))
            if statuses.total() % 20 == 0:
                service.world.put(**PRESENT)
            if isinstance(case.query and case.query.get("wait"), int):
                case.query["wait"] = min(1, case.query["wait"])
            answer = case.call(base_url=service.url, session=session, headers=bearer(), timeout=60)
            statuses[answer.status_code] += 1
            check_answer(answer.status_code, answer.content)
            if answer.status_code >= 400:
                assert answer.headers["content-type"] == ["application/problem+json"]

        fuzz()
    calls = check_calls(service.world)
    say(f"{statuses.total()} requests by the document: {dict(sorted(statuses.items()))}, {calls} calls of multipass")
    assert statuses.total() >= 0.8 * BY_DOCUMENT
    assert calls > 20 and statuses[202] + statuses[200] > 50 and statuses[422] > 50


HOSTILE = [
    *(
        "--all",
        "-x",
        "--purge",
        "-",
        "a b",
        "$(id)",
        "`id`",
        ";reboot",
        "a|b",
        "../../etc",
        "a\nb",
        "%00",
        "a%00b",
        "%0a",
    ),
    *(
        "%2e%2e%2f",
        "%2F",
        "a%2Fb",
        "%ff%fe",
        "%c0%af",
        "%ed%a0%80",
        "ä",
        "😀",
        "a" * 64,
        "A" * 5000,
        "",
        ".",
        "..",
        "*",
    ),
    *(
        "web-1%20--purge",
        "web-1.snap",
        "web-1:/etc",
        "primary",
        "null",
        "0",
        "{}",
        "web-1?x",
        "web-1#x",
        "--help",
        "help",
    ),
]
VALUES = [
    *(
        None,
        True,
        0,
        -1,
        10**400,
        1e308,
        "",
        "-1",
        [],
        {},
        [[]],
        "\0",
        "\ud800",
        "--purge",
        "file:///etc/shadow",
        "a" * 70000,
    ),
    *("1G --purge", "1G\n", "\uff11G", "lts;id", "-lts", {"$ne": 1}, ["--all"], "web-1", "1G", 1, "#cloud-config\n"),
]
FIELDS = [
    *("name", "image", "cpus", "memory", "disk", "cloud_init", "networks", "mounts", "force", "delay_minutes", "argv"),
    *("timeout", "working_directory", "comment", "instances", "description", "__proto__", "--purge"),
]


class Hostile:
    """Requests by seed, as bytes that no client would send."""

    def __init__(self, lots: random.Random) -> None:
        self._lots = lots

    def _path(self) -> str:
        lots = self._lots
        name = lots.choice(HOSTILE) if lots.random() < 0.5 else lots.choice(list(PRESENT))
        end = lots.choice(["", "/start", "/stop", "/exec", "/resize", "/clone", "/snapshots", "/size", "/restart"])
        more = lots.choice(HOSTILE)
        path = lots.choice(
            [
                *[f"/instances/{name}{end}"] * 12,
                *(f"/instances/{name}/files?path={more}"),
                *(f"/instances/{name}/snapshots/{more}", f"/instances/{name}/snapshots/{more}/restore"),
                *(
                    f"/environments/{name}",
                    f"/environments/{name}{lots.choice(['/start', '/stop'])}",
                    f"/images?query={name}",
                ),
                *(f"/jobs/{name}", f"/jobs?instance={name}&limit={more}&state={name}", "/instances", f"/{name}"),
                *(
                    f"/instances?wait={more}",
                    f"//instances//{name}",
                    f"/instances/{name}/exec?wait=nan",
                    "/environments",
                ),
            ]
        )
        # A request line ends at its first space or line break.
        return re.sub(r"[ \r\n\0]", "+", path)

    def _body(self) -> bytes:
        lots = self._lots
        content: Any = {field: lots.choice(VALUES) for field in lots.sample(FIELDS, lots.randint(0, 4))}
        if lots.random() < 0.3:
            content |= {"name": lots.choice(HOSTILE)}
        if lots.random() < 0.2:
            content = {"instances": [content] * lots.randint(0, 60)}
        if lots.random() < 0.2:
            content = {"argv": [lots.choice(HOSTILE) for _ in range(3)], "timeout": 1}
        text = json.dumps(content)
        return lots.choice(
            [
                *(text.encode(), text.encode(), text.encode(), text.encode("utf-16"), b"\xef\xbb\xbf" + text.encode()),
                *(text[:-1].encode(), b"[" * 20000, b"\xff\xfe\x00", b"", gzip.compress(text.encode()), b"1" * 6000),
                *(lots.randbytes(200), b'{"name": "dev", "name": "--all"}', b'{"cpus": NaN, "name": "dev"}'),
            ]
        )

    def request(self, token: str | None) -> tuple[bytes, bool]:
        """Return one request, and whether it is complete."""
        lots = self._lots
        path = self._path()
        usual = "POST" if re.search("/(start|stop|exec|resize|clone|restart|restore|snapshots)$", path) else "GET"
        odd = lots.choice(["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "TRACE", "g\x01"])
        method = usual if lots.random() < 0.6 else odd
        body = self._body() if method not in ("GET", "HEAD") or lots.random() < 0.1 else b""
        headers = [
            "Host: sidecar",
            "Connection: close",
            *(
                [f"Authorization: Bearer {token}"]
                if token
                else [lots.choice(["X: y", "Authorization: Bearer x", "Authorization:"])]
            ),
            lots.choice(
                ["Content-Type: application/json"] * 4 + ["Content-Type: text/xml", "Content-Type: multipart/form-data"]
            ),
            lots.choice(
                [
                    *(
                        "X-HTTP-Method-Override: DELETE",
                        "X-Forwarded-For: 127.0.0.1",
                        "Content-Encoding: gzip",
                        "Accept: */*",
                    ),
                    *(
                        "Cookie: a=b",
                        "Idempotency-Key: \x01",
                        f"Idempotency-Key: {lots.randint(0, 20)}",
                        "Expect: 100-continue",
                    ),
                    *(
                        f"X-Large: {'x' * 70000}",
                        "Range: bytes=0-",
                        "Upgrade: websocket",
                        "Host: other",
                        "Connection: upgrade",
                    ),
                ]
            ),
        ]
        chunked = lots.random() < 0.1
        if chunked:
            size = lots.choice([f"{len(body):x}", "-1", "zz", "ffffffffffffffffff"])
            headers.append("Transfer-Encoding: chunked")
            complete = bool(body) and size == f"{len(body):x}"
            body = f"{size}\r\n".encode() + body + b"\r\n0\r\n\r\n"
        else:
            length = lots.choice([len(body)] * 12 + [max(0, len(body) - 5), 10**12, -1])
            headers.append(f"Content-Length: {length}")
            complete = length == len(body)
        version = lots.choice(["HTTP/1.1"] * 8 + ["HTTP/1.0", "HTTP/9.9"])
        head = f"{method} {path} {version}\r\n" + "\r\n".join(headers) + "\r\n\r\n"
        return head.encode("utf-8", "surrogatepass") + body, complete


def send(port: int, request: bytes, complete: bool) -> tuple[int, bytes]:
    """Send bytes; return the status and content of the answer, or status 0 if the connection was closed without."""
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout=40) as connection:
        try:
            connection.sendall(request)
            if not complete:
                # Do not wait for content that was announced but does not arrive.
                connection.shutdown(socket.SHUT_WR)
            while chunk := connection.recv(65536):
                answer += chunk
                head, _, content = answer.partition(b"\r\n\r\n")
                length = re.search(rb"(?i)content-length: (\d+)", head)
                if length and len(content) >= int(length[1]) and not head.startswith(b"HTTP/1.1 100"):
                    break
        except TimeoutError as error:
            raise AssertionError(f"no answer to {request[:500]!r}") from error
        except OSError:
            # Closed before all was sent.
            pass
    last = re.split(rb"HTTP/1\.1 100 [^\r]*\r\n\r\n", answer)[-1]
    status = re.match(rb"HTTP/1\.[01] (\d{3})", last)
    return int(status[1]) if status else 0, last.partition(b"\r\n\r\n")[2]


def test_requests_by_hand(service: Service, say: Callable[[str], None]) -> None:
    hostile = Hostile(random.Random(f"{SEED} by hand"))
    statuses: Counter[int] = Counter()
    for number in range(BY_HAND):
        if number % 20 == 0:
            service.world.put(**PRESENT)
        request, complete = hostile.request(TOKENS["admin"])
        status, content = send(service.port, request, complete)
        statuses[status] += 1
        try:
            check_answer(status, content)
        except (AssertionError, ValueError) as error:
            raise AssertionError(f"{status} {content!r} for {request[:2000]!r}") from error
    calls = check_calls(service.world)
    say(f"{BY_HAND} requests by hand: {dict(sorted(statuses.items()))}, {calls} calls of multipass")
    assert {200, 202, 400, 404, 405, 422} <= statuses.keys()
    assert service.http.get("/instances").status_code == 200


def test_requests_without_a_token(service: Service, say: Callable[[str], None]) -> None:
    # All earlier jobs have ended.
    for job in service.http.get("/jobs?limit=1000").json()["jobs"]:
        service.http.get(f"/jobs/{job['id']}", params={"wait": 60})
    before = len(service.world.calls())
    hostile = Hostile(random.Random(f"{SEED} without a token"))
    statuses: Counter[int] = Counter()
    for _ in range(WITHOUT_TOKEN):
        status, content = send(service.port, *hostile.request(None))
        statuses[status] += 1
        # The page and GET /health need no token, but refuse a large body.
        is_open = status == 200 and content.startswith((b"<!doctype html>", b'{"status":'))
        is_open |= status == 413 and json.loads(content)["instance"] in ("/", "/health")
        # So do the problem types. An answer to HEAD is empty.
        is_open |= status == 200 and (not content or content.startswith(b'{"type":"/problems/'))
        is_open |= status in (404, 413, 422) and json.loads(content)["instance"].startswith("/problems/")
        assert is_open or status in (0, 400, 401, 421, 429), content
    say(f"{WITHOUT_TOKEN} requests without a token: {dict(sorted(statuses.items()))}")
    assert statuses[401] > 10
    # GET /health needs no token, and checks whether multipass answers.
    assert {call["arguments"][0] for call in service.world.calls()[before:]} <= {"version"}


def test_files_stay_in_the_state_directory(service: Service, tmp_path: Path) -> None:
    assert {path.name for path in (service.folder / "state").iterdir()} <= {
        *("environments", "jobs.sqlite", "jobs.sqlite-wal", "jobs.sqlite-shm"),
    }
    for path in (service.folder / "state" / "environments").iterdir():
        assert re.fullmatch(rf"{NAME}\.json", path.name)
        assert path.stat().st_mode & 0o077 == 0
