"""How each type of service is started, watched and asked: against programs that only seem to be there."""

from __future__ import annotations

import http.server
import json
import ssl
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from ansible_collections.devorch.orchestration.plugins.module_utils.host import deploy_plan, runtimes
from ansible_collections.devorch.orchestration.plugins.module_utils.host.runtimes import (
    DeployError,
    Finished,
    Host,
    Started,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra import health

MISSING = Finished(runtimes.MISSING, "", "docker: No such file or directory")
NAME = "orchestration-kestra-1"


class FakeHost(Host):
    """Answers by the beginning of a command, with one answer after the other, the last one again and again."""

    def __init__(self, answers: Mapping[str, str | Finished | Sequence[str | Finished]]) -> None:
        self.answers = {
            key: [value] if isinstance(value, str | Finished) else list(value) for key, value in answers.items()
        }
        self.ran: list[str] = []
        self.now = 10_000.0

    def run(self, command: Sequence[str], timeout: float | None = None, *, merged: bool = False) -> Finished:
        del timeout, merged
        line = " ".join(command)
        self.ran.append(line)
        for key, left in self.answers.items():
            if line.startswith(key):
                answer = left.pop(0) if len(left) > 1 else left[0]
                return Finished(0, answer, "") if isinstance(answer, str) else answer
        return NONE if line.startswith("docker inspect") else Finished(0, "", "")

    def done(self, *beginnings: str) -> list[str]:
        """Return the commands that begin so."""
        return [line for line in self.ran if line.startswith(beginnings)]

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def moment(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    return f"1970-01-01T{int(minutes // 60):02}:{int(minutes % 60):02}:{rest:09.6f}Z"


def inspected(
    health: str = "healthy", *, status: str = "running", started: float = 5000.0, failures: int = 0, **more: Any
) -> str:
    """Return what `docker inspect` prints about a container."""
    state: dict[str, Any] = {"Status": status, "StartedAt": moment(started), "ExitCode": more.pop("code", 0)}
    state["Health"] = {"Status": health, "FailingStreak": failures}
    config = {"Image": "docker.io/kestra/kestra:v2", "Labels": {"com.docker.compose.config-hash": "made-so"}}
    told = {"Id": "1", "Image": "sha256:1", "RestartCount": 0, "State": state, "Config": config}
    return json.dumps([{**told, **more}])


NONE = Finished(1, "[]", f"Error response from daemon: No such container: {NAME}")
INSPECT = f"docker inspect --type container {NAME}"
POSTGRES = "docker inspect --type container orchestration-postgres-1"


def wanted(kind: str, root: Path | str = "/opt/orchestration", **more: Any) -> deploy_plan.WantedService:
    return deploy_plan.WantedService("kestra", kind, PurePosixPath(root), "orchestration", (), **more)


def compose(host: Host, **more: Any) -> runtimes.Files:
    return runtimes.runtime_of(wanted("compose", depends_on="postgres"), host, **more)


UP = "docker compose --project-directory /opt/orchestration up --detach --no-color --quiet-pull kestra"


@pytest.mark.parametrize(
    ("states", "started", "restarts"),
    [
        ([inspected()], Started(), 0),
        ([NONE, inspected("starting", started=9000)], Started(True, False), 0),
        ([inspected(), inspected("starting", started=9000, Id="2")], Started(True, True), 0),
        ([inspected(status="exited"), inspected(started=9000)], Started(True, False), 0),
        ([inspected("unhealthy"), inspected("unhealthy"), inspected(started=9000)], Started(True, True), 1),
    ],
    ids=["as it was", "new", "made anew", "started", "restarted since it was unhealthy"],
)
def test_container_is_started(states: list[str | Finished], started: Started, restarts: int) -> None:
    host = FakeHost({INSPECT: states, POSTGRES: inspected(started=4000)})
    assert compose(host).start(changed=True) == started
    assert host.done("docker compose") == [UP]
    assert len(host.done("docker restart")) == restarts


COMPANION = "orchestration-kestra-docker-1"
INSPECT_COMPANION = f"docker inspect --type container {COMPANION}"


def accompanied(answers: Mapping[str, str | Finished | Sequence[str | Finished]]) -> tuple[FakeHost, runtimes.Files]:
    host = FakeHost({INSPECT: inspected(), **answers})
    service = wanted("compose", companions=("kestra-docker",))
    return host, runtimes.runtime_of(service, host, committed_hash="made-so")


@pytest.mark.parametrize(
    ("state", "reason", "action"),
    [
        (NONE, "does not exist", "start"),
        (inspected(status="exited"), "is exited", "start"),
        (inspected("unhealthy"), "is unhealthy", "restart"),
    ],
)
def test_every_container_of_the_file_is_looked_at(state: str | Finished, reason: str, action: str) -> None:
    _host, runtime = accompanied({INSPECT_COMPANION: state})
    (need,) = runtime.differs()
    assert (need.reason, need.action) == (f"{COMPANION} {reason}", action)
    assert runtime.wait(5).startswith(COMPANION)


def test_every_container_of_the_file_is_started() -> None:
    host, runtime = accompanied({INSPECT_COMPANION: [NONE, NONE, inspected()]})
    assert runtime.start(changed=False) == Started(True, False)
    assert host.done("docker compose") == [f"{UP} kestra-docker"]
    assert runtime.wait(5) == ""
    host, runtime = accompanied({INSPECT_COMPANION: inspected()})
    assert runtime.start(changed=False) == Started()


def test_companion_that_is_unhealthy_is_restarted_before_compose_waits_for_it() -> None:
    host, runtime = accompanied({INSPECT_COMPANION: [inspected("unhealthy")] * 2 + [inspected(started=9000)]})
    assert runtime.start(changed=False) == Started(True, True)
    assert host.done("docker restart", "docker compose") == [
        f"docker restart --time 30 {COMPANION}",
        f"{UP} kestra-docker",
    ]


def test_restored_file_need_not_have_the_companions() -> None:
    host, runtime = accompanied({})
    runtime.restored()
    assert runtime.start(changed=True) == Started()
    assert host.done("docker compose") == [UP]
    assert runtime.wait(5) == ""


@pytest.mark.parametrize("health", ["starting", "healthy"])
def test_container_is_restarted_after_its_dependency(health: str) -> None:
    states = [inspected(health), inspected(health), inspected("starting", started=9999)]
    host = FakeHost({INSPECT: states, POSTGRES: inspected(started=9990)})
    runtime = compose(host)
    (need,) = compose(FakeHost({INSPECT: inspected(health), POSTGRES: inspected(started=9990)})).differs()
    assert (need.reason, need.action) == (f"{NAME} runs since before its dependency was restarted", "restart")
    assert runtime.start(changed=False) == Started(True, True)
    assert host.done("docker restart") == [f"docker restart --time 30 {NAME}"]


def test_container_that_docker_stopped_and_did_not_start_is_started() -> None:
    refused = Finished(1, "", "cannot restart")
    states = [inspected("unhealthy"), inspected("unhealthy"), inspected(started=9000)]
    host = FakeHost({INSPECT: states, "docker restart": refused, "docker start": [refused, ""]})
    assert compose(host).start(changed=False).restarted
    assert len(host.done("docker start")) == 2
    with pytest.raises(DeployError, match=f"{NAME}: Docker does not restart it: cannot restart"):
        compose(FakeHost({INSPECT: inspected("unhealthy"), "docker restart": refused, "docker start": refused})).start(
            changed=False
        )


def test_failing_compose_says_why_in_its_own_words() -> None:
    errors = (
        " Network orchestration_default  Creating\n Network orchestration_default  Created\n"
        f" kestra Pulling \n Container {NAME}  Recreate\n Container {NAME}  Recreated\n Container {NAME}  Starting\n"
        "Error response from daemon: driver failed programming external connectivity: port is already allocated\n"
    )
    host = FakeHost({INSPECT: inspected(), "docker compose": Finished(1, "", errors)})
    with pytest.raises(DeployError) as error:
        compose(host).start(changed=True)
    assert str(error.value) == (
        "docker compose up failed: Error response from daemon: driver failed programming external connectivity: "
        "port is already allocated"
    )


@pytest.mark.parametrize(
    ("states", "timeout", "problem", "seconds"),
    [
        ([inspected()], 600, "", 0),
        ([inspected("starting"), inspected("starting"), inspected()], 600, "", 2),
        ([inspected("starting")], 5, "is not healthy after 5 s", 6),
        ([inspected("starting"), inspected("unhealthy")], 600, "is unhealthy: its health check fails", 1),
        ([inspected("starting"), inspected(status="exited", code=3)], 600, "ended with code 3", 1),
        (
            [inspected("starting", RestartCount=4), inspected("starting", RestartCount=7, code=1)],
            600,
            "does not stay up: Docker restarted it 3 times, and it last ended with code 1",
            1,
        ),
        ([NONE], 600, "does not exist", 0),
    ],
)
def test_waiting_ends_as_early_as_it_can(
    states: list[str | Finished], timeout: float, problem: str, seconds: float
) -> None:
    host = FakeHost({INSPECT: states})
    begin = host.now
    assert compose(host).wait(timeout) == (f"{NAME} {problem}" if problem else "")
    assert host.now - begin == seconds


def test_container_as_it_is_in_check_mode() -> None:
    answers = {INSPECT: inspected(), "docker image inspect": "sha256:1\n"}
    assert compose(FakeHost(answers), committed_hash="made-so").differs() == []
    (need,) = compose(FakeHost(answers), committed_hash="made otherwise").differs()
    assert need.action == "update"
    (need,) = compose(FakeHost({**answers, "docker image inspect": "sha256:2\n"})).differs()
    assert (need.action, "runs another image" in need.reason) == ("update", True)
    (need,) = compose(FakeHost({"docker": MISSING})).differs()
    assert need.reason == f"{NAME}: Docker does not report its state: docker: No such file or directory"


def test_container_knows_from_what_it_was_made() -> None:
    assert compose(FakeHost({INSPECT: inspected()})).config_hash() == "made-so"
    assert compose(FakeHost({INSPECT: NONE})).config_hash() == ""
    assert compose(FakeHost({"docker": MISSING})).config_hash() == ""


def test_project_has_the_services_that_are_there(tmp_path: Path) -> None:
    services = tmp_path / "services"
    services.mkdir()
    (services / "postgres.yml").touch()
    (services / ".kestra.yml.new-x1").touch()
    runtime = runtimes.runtime_of(wanted("compose", tmp_path), FakeHost({}))
    own = services / "kestra.yml"
    ((path, file),) = runtime.derived([own, tmp_path / "env" / "kestra.env"]).items()
    assert path == tmp_path / "compose.yml" and file.mode == 0o644
    assert file.content.decode() == (
        "# Ansible managed\n---\nname: orchestration\ninclude:\n  - services/kestra.yml\n  - services/postgres.yml\n"
    )
    own.touch()
    ((_path, file),) = runtime.derived([], [own]).items()
    assert b"kestra" not in file.content


def shown(*units: tuple[str, str], **more: Any) -> str:
    """Return what `systemctl show` prints about units, each with its active and its enabled state."""
    extra = "".join(f"{key}={value}\n" for key, value in more.items())
    return "\n".join(f"LoadState=loaded\nActiveState={a}\nUnitFileState={e}\n{extra}" for a, e in units)


def systemd(host: Host) -> runtimes.Files:
    return runtimes.runtime_of(wanted("systemd", units=("a.socket", "a.service")), host)


RUNS = shown(("active", "enabled"), ("active", "enabled"))


def test_units_are_restarted_in_their_order_after_systemd_forgot_their_failures() -> None:
    host = FakeHost({"systemctl show": RUNS, "systemctl reset-failed": Finished(1, "", "not loaded")})
    assert systemd(host).start(changed=True) == Started(True, True)
    assert [line for line in host.ran if "show" not in line] == [
        "systemctl daemon-reload",
        "systemctl reset-failed a.socket a.service",
        "systemctl restart a.socket",
        "systemctl restart a.service",
    ]


def test_units_that_run_with_the_same_files_are_left_alone() -> None:
    host = FakeHost({"systemctl show": RUNS})
    assert systemd(host).start(changed=False) == Started()
    assert [line for line in host.ran if "show" not in line] == []
    assert systemd(host).differs() == []


def test_units_that_do_not_run_are_started_and_enabled() -> None:
    host = FakeHost({"systemctl show": shown(("active", "disabled"), ("failed", "enabled"))})
    assert [need.action for need in systemd(host).differs()] == ["update", "start"]
    assert systemd(host).start(changed=False) == Started(True, False)
    assert [line for line in host.ran if "show" not in line] == [
        "systemctl enable a.socket",
        "systemctl reset-failed a.socket a.service",
        "systemctl start a.service",
    ]


def test_unit_that_does_not_start_says_why() -> None:
    host = FakeHost({"systemctl show": RUNS, "systemctl restart a.socket": Finished(1, "", "Job for a.socket failed")})
    with pytest.raises(DeployError, match=r"systemctl restart a\.socket failed: Job for a\.socket failed"):
        systemd(host).start(changed=True)


@pytest.mark.parametrize(
    ("states", "problem"),
    [
        ([RUNS], ""),
        ([shown(("active", "enabled"), ("activating", "enabled")), RUNS], ""),
        ([shown(("active", "enabled"), ("activating", "enabled"))], "a.service is activating after 5 s"),
        ([shown(("active", "enabled"), ("failed", "enabled"), Result="exit-code")], "a.service is failed (exit-code)"),
        (
            [
                shown(("active", "e"), ("activating", "e"), NRestarts=2),
                shown(("active", "e"), ("active", "e"), NRestarts=5),
            ],
            "a.socket does not stay up: systemd restarted it 3 times",
        ),
        ([MISSING], "a.service is not there after 5 s"),
    ],
)
def test_waiting_for_units(states: list[str | Finished], problem: str) -> None:
    assert systemd(FakeHost({"systemctl show": states})).wait(5) == problem


def docker(host: Host) -> runtimes.Files:
    return runtimes.runtime_of(wanted("docker", units=("docker.service",)), host)


def test_docker_is_restarted_and_asked_until_it_answers() -> None:
    answers = {
        "systemctl show": shown(("active", "enabled")),
        "docker version": [Finished(1, "", "Cannot connect"), Finished(1, "", "Cannot connect"), "26.1.5\n"],
        "docker compose version": "2.26.1-4\n",
    }
    host = FakeHost(answers)
    assert docker(host).start(changed=True) == Started(True, True)
    assert "systemctl restart docker.service" in host.ran
    assert "systemctl reset-failed docker.service" in host.ran
    begin = host.now
    assert docker(host).wait(1) == ""
    assert host.now - begin == 2


def test_docker_that_does_not_answer() -> None:
    host = FakeHost({"docker": MISSING})
    begin = host.now
    assert docker(host).wait(5).startswith("Docker answers with version '', Compose with ''; Docker 25")
    assert 60 <= host.now - begin <= 62
    assert [need.action for need in docker(host).differs()] == ["start", "none"]


def test_log_has_the_last_lines_and_each_type_its_own() -> None:
    lines = "\n".join(str(number) for number in range(100))
    host = FakeHost({"docker logs": lines, "journalctl": lines, "own": lines})
    assert compose(host).log().splitlines() == [str(number) for number in range(70, 100)]
    assert systemd(host).log() == docker(host).log() == compose(host, log_command=["own"]).log()
    assert host.ran == [
        f"docker logs --tail 30 {NAME}",
        "journalctl --unit a.socket --unit a.service --lines 30 --no-pager --output cat",
        "journalctl --unit docker --lines 30 --no-pager --output cat",
        "own",
    ]
    files = runtimes.runtime_of(wanted("files"), FakeHost({}))
    assert (files.log(), files.well, files.more, files.differs(), files.wait(1)) == ("", "", "", [], "")
    assert compose(host).more == "docker compose logs kestra in /opt/orchestration"
    assert docker(host).more == "journalctl --unit docker"


def test_log_of_units_begins_with_this_run() -> None:
    host = FakeHost({"systemctl show": RUNS})
    runtime = systemd(host)
    runtime.start(changed=True)
    runtime.log()
    assert "--since=@10000" in host.ran[-1]


def test_verification_ends_as_soon_as_what_is_asked_has_ended() -> None:
    host = FakeHost({"ask": Finished(1, "", "no answer"), INSPECT: [inspected(), inspected(status="exited", code=3)]})
    begin = host.now
    runtime = compose(host, checks=[{"command": ["ask"], "deadline": 60}])
    assert runtime.verify() == f"ask ended with code 1: no answer; {NAME} ended with code 3"
    assert host.now - begin == 1


# The commands and URLs of `verify`, asked in earnest.


class Patient(Host):
    """Runs commands, and does not wait for long."""

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds / 100)


def test_command_is_tried_until_it_is_right(tmp_path: Path) -> None:
    count = f"echo x >> {tmp_path}/tries; test $(wc -l < {tmp_path}/tries) -ge 3"
    checks = [{"command": ["sh", "-c", count], "deadline": 60}]
    assert runtimes.runtime_of(wanted("files"), Patient(), checks).verify() == ""
    wrong = {"command": ["sh", "-c", "echo out; echo error >&2; exit 4"], "deadline": 0}
    assert runtimes.verified(wrong, Patient()).endswith("ended with code 4: error\nout")


def test_commands_that_can_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMPOSE_FILE", "somebody's")
    host = Host()
    assert host.run(["/no/such/program"]) == Finished(127, "", "/no/such/program: No such file or directory")
    assert host.run(["sleep", "5"], 0.1) == Finished(124, "", "sleep gave no answer within 0.1 s")
    assert host.run(["sh", "-c", "echo $COMPOSE_FILE; echo error >&2"], merged=True) == Finished(0, "\nerror\n", "")
    assert host.run(["printf", r"\033[31mred\033[0m"]).output == "red"


class Answers(http.server.BaseHTTPRequestHandler):
    """Says what it was asked for; is busy the first time."""

    seen: list[tuple[str, str]] = []  # noqa: RUF012 - for the test to read

    def do_GET(self) -> None:
        self.seen.append((self.path, self.headers.get("Authorization", "")))
        status = 503 if len(self.seen) == 1 else 302 if self.path == "/moved" else 200
        self.send_response(status)
        self.send_header("Location", "/elsewhere")
        self.end_headers()
        self.wfile.write(b"what it says")

    def log_message(self, *_arguments: Any) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[http.server.ThreadingHTTPServer]:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    Answers.seen = []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


def test_url_is_asked_until_it_answers(server: http.server.ThreadingHTTPServer) -> None:
    url = f"http://127.0.0.1:{server.server_port}"
    check = {"url": f"{url}/health?x=1", "headers": {"Authorization": "Bearer x"}, "deadline": 60}
    assert runtimes.verified(check, Patient()) == ""
    assert Answers.seen == [("/health?x=1", "Bearer x")] * 2
    moved = {"url": f"{url}/moved", "deadline": 0}
    assert runtimes.verified(moved, Patient()) == f"{url}/moved: answers HTTP 302 instead of 200: what it says"
    assert runtimes.verified({**moved, "status": [200, 302]}, Patient()) == ""


def test_url_of_nobody() -> None:
    problem = runtimes.verified({"url": "http://127.0.0.1:9/health", "deadline": 0}, Patient())
    assert problem.startswith("http://127.0.0.1:9/health: ") and "refused" in problem


def test_certificate_is_checked_unless_it_need_not_be(server: http.server.ThreadingHTTPServer, tmp_path: Path) -> None:
    key, certificate = tmp_path / "key", tmp_path / "certificate"
    made = ["openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    subprocess.run(
        [*made, "-subj", "/CN=x", "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    Answers.seen = [("", "")]
    check = {"url": f"https://127.0.0.1:{server.server_port}/", "deadline": 0}
    assert "certificate verify failed" in runtimes.verified(check, Patient())
    assert runtimes.verified({**check, "validate_certs": False}, Patient()) == ""


def test_kestra_is_asked_as_its_module_does(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, ...]] = []

    class Probe:
        def __init__(self, connection: Any, management_url: str, closed_on: Sequence[str]) -> None:
            asked.append((connection.url, connection.username, connection.password, management_url, closed_on))

        def close(self) -> None:
            asked.append(("closed",))

    class Health:
        healthy, credentials = False, health.UNKNOWN
        reasons = ("credentials: HTTP 401",)

    class Waited:
        health, seconds = Health(), 4.0

    monkeypatch.setattr(runtimes, "Probe", Probe)
    monkeypatch.setattr(runtimes, "host_addresses", lambda: ["192.0.2.1"])
    monkeypatch.setattr(runtimes, "wait_until_healthy", lambda *_arguments, sleep: sleep(0.0) or Waited())
    login = {"username": "a@example.com", "password": "Kestra-1"}
    check = {"kestra": {"url": "http://127.0.0.1:8080", "management_url": "http://127.0.0.1:8081", **login}}
    problem = runtimes.verified(check, Patient())
    assert problem == "Kestra at http://127.0.0.1:8080 is not healthy after 4 seconds: credentials: HTTP 401"
    assert asked[0] == ("http://127.0.0.1:8080", "a@example.com", "Kestra-1", "http://127.0.0.1:8081", ["192.0.2.1"])
    assert asked[1] == ("closed",)
    ended = runtimes.verified(check, Patient(), lambda: f"{NAME} ended with code 1")
    assert ended == f"Kestra at http://127.0.0.1:8080 does not answer; {NAME} ended with code 1"
    Health.healthy = True
    assert runtimes.verified(check, Patient()) == ""
    monkeypatch.setattr(runtimes, "REQUESTS_IMPORT_ERROR", "no requests")
    assert "Install python3-requests" in runtimes.verified(check, Patient())


@pytest.mark.parametrize(("credentials", "says"), [("DOWN", True), ("UNKNOWN", False)])
def test_another_login_of_kestra_is_named(monkeypatch: pytest.MonkeyPatch, credentials: str, says: bool) -> None:
    """Whoever changes the password in Kestra's UI changes it in the database."""
    seen = health.Health(credentials=getattr(health, credentials), reasons=("credentials: HTTP 401",))
    monkeypatch.setattr(runtimes, "wait_until_healthy", lambda *_args, **_more: health.Waited(seen, 3, 1))
    options = {"url": "http://127.0.0.1:9", "management_url": "http://127.0.0.1:9", "username": "a", "password": "b"}
    problem = runtimes.verified({"kestra": options}, Patient())
    assert problem.startswith("Kestra at http://127.0.0.1:9 is not healthy after 3 seconds: credentials: HTTP 401")
    assert ("set kestra_password to the new one" in problem) is says


@pytest.mark.parametrize(
    ("text", "limited"),
    [
        ("Error response from daemon: toomanyrequests: You have reached your pull rate limit.", True),
        (
            "failed to copy: httpReadSeeker: failed open: unexpected status code https://r/v2/x: 429 Too Many Requests",
            True,
        ),
        ("manifest for x:4290 not found", False),
    ],
)
def test_a_limit_of_a_registry_is_named_with_what_to_set(text: str, limited: bool) -> None:
    """The preflight asks for the manifest alone. The limit may come with a layer."""
    error = runtimes.compose_error(Finished(1, "", f" Image kestra Pulling \n{text}\n"))
    assert error.startswith(text)
    assert error.endswith("or docker_registry_mirrors to a mirror, or try again later.") is limited
