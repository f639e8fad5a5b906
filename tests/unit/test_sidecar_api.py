"""The sidecar's API and program, over the stand-in for multipass in tests/multipass."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

ROOT = Path(__file__).parents[2]
FILES = ROOT / "roles" / "sidecar" / "files"
FAKE = ROOT / "tests" / "multipass" / "multipass"
sys.path.insert(0, str(FILES / "src"))

from multipass_sidecar import app as api  # noqa: E402
from multipass_sidecar import models, settings  # noqa: E402

TOKEN = "0123456789abcdef0123456789abcdef"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


class Sidecar:
    """The API in this process, and the world of its multipass."""

    def __init__(self, state: Path, **options: Any) -> None:
        self.state = state
        self.app = api.create_app(settings.Settings(**{"multipass": str(FAKE)} | options), TOKEN)

    def client(self) -> httpx.AsyncClient:
        """Return a client without credentials."""
        transport = httpx.ASGITransport(app=self.app, raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url="http://sidecar", timeout=60)

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send one request, with the token unless `headers` are given."""
        (answer,) = self.together((method, path, options))
        return answer

    def together(self, *requests: tuple[str, str, dict[str, Any]]) -> list[httpx.Response]:
        """Send requests at the same time and return the answers in order."""

        async def send() -> list[httpx.Response]:
            async with self.client() as client:
                calls = [client.request(verb, path, **({"headers": BEARER} | more)) for verb, path, more in requests]
                return await asyncio.gather(*calls)

        return asyncio.run(send())

    def world(self) -> dict[str, Any]:
        """Return what multipass holds."""
        found: dict[str, Any] = json.loads(self.state.read_text("utf-8"))
        return found

    def set(self, *, faults: dict[str, list[dict[str, Any]]] | None = None, **instances: str) -> None:
        """Give multipass instances (name and state) and faults."""
        entry = {"cpus": "2", "memory": 1024**3, "disk": 5 * 1024**3, "release": "24.04 LTS", "ipv4": ["10.21.77.10"]}
        content = {"instances": {name: entry | {"state": state} for name, state in instances.items()}}
        self.state.write_text(json.dumps(content | {"faults": faults or {}}), encoding="utf-8")

    def calls(self, *verbs: str) -> list[dict[str, Any]]:
        """Return the calls of these verbs, in the order in which they ended."""
        return [call for call in self.world()["calls"] if call["arguments"][0] in verbs]


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "multipass.json"
    monkeypatch.setenv("FAKE_MULTIPASS_STATE", str(path))
    return path


@pytest.fixture
def sidecar(state: Path) -> Sidecar:
    made = Sidecar(state)
    made.set()
    return made


def check_problem(answer: httpx.Response, status: int, kind: str) -> dict[str, Any]:
    """Check that an answer is problem details as RFC 9457 has them, and return them."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body["status"] == status
    assert body["type"] == f"/problems/{kind}"
    assert body["title"] and body["detail"]
    assert body["instance"] == answer.request.url.path
    return body


@pytest.mark.parametrize(
    "header",
    [None, "", TOKEN, f"Bearer {TOKEN[:-1]}", f"Bearer {TOKEN}x", f"Basic {TOKEN}", "Bearer ", f"bearer {TOKEN}"],
)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/instances"),
        ("GET", "/instances/dev"),
        ("POST", "/instances"),
        ("POST", "/instances/dev/start"),
        ("POST", "/instances/dev/stop"),
        ("DELETE", "/instances/dev"),
        ("GET", "/openapi.json"),
        ("GET", "/nothing/here"),
        ("POST", "/health"),
        ("GET", "/health/"),
    ],
)
def test_everything_but_health_asks_for_the_token(sidecar: Sidecar, method: str, path: str, header: str | None) -> None:
    sidecar.set(dev="Running")
    # The body is no JSON: the refusal must come before anybody reads it.
    headers = {} if header is None else {"Authorization": header}
    answer = sidecar.request(method, path, headers=headers, content=b"{")
    check_problem(answer, 401, "unauthenticated")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert "calls" not in sidecar.world()


def test_list_shows_all_instances_by_name(sidecar: Sidecar) -> None:
    assert sidecar.request("GET", "/instances").json() == {"instances": []}
    sidecar.set(web="Running", db="Stopped", old="Deleted")
    assert sidecar.request("GET", "/instances").json() == {
        "instances": [
            {"name": "db", "state": "Stopped", "ipv4": [], "release": "Not Available"},
            {"name": "old", "state": "Deleted", "ipv4": [], "release": "Not Available"},
            {"name": "web", "state": "Running", "ipv4": ["10.21.77.10"], "release": "Ubuntu 24.04 LTS"},
        ]
    }


def test_info_of_a_running_and_of_a_stopped_instance(sidecar: Sidecar) -> None:
    sidecar.set(web="Running", db="Stopped")
    running = sidecar.request("GET", "/instances/web").json()
    assert running["state"] == "Running" and running["ipv4"] == ["10.21.77.10"]
    assert running["cpus"] == 2 and running["load"] == [0.1, 0.05, 0.01] and running["snapshots"] == 0
    assert running["memory"] == {"used": 200000000, "total": 1024**3}
    assert running["disk"] == {"used": 1500000000, "total": 5 * 1024**3}
    stopped = sidecar.request("GET", "/instances/db").json()
    assert stopped["cpus"] is None and stopped["memory"] == {"used": None, "total": None}
    check_problem(sidecar.request("GET", "/instances/none"), 404, "instance-not-found")


def test_keys_of_other_versions_are_no_problem(sidecar: Sidecar) -> None:
    newer = {"list": [{"name": "a1", "state": "Unavailable", "ipv4": [], "zone": {"name": "zone1"}}], "more": 1}
    sidecar.set(faults={"list": [{"stdout": json.dumps(newer)}]})
    (found,) = sidecar.request("GET", "/instances").json()["instances"]
    assert found == {"name": "a1", "state": "Unavailable", "ipv4": [], "release": None}


@pytest.mark.parametrize("text", ["", "no JSON", "[]", '"text"'])
def test_output_that_is_no_json_object_is_told(sidecar: Sidecar, text: str) -> None:
    sidecar.set(faults={"list": [{"stdout": text}]})
    check_problem(sidecar.request("GET", "/instances"), 502, "bad-output")


def test_launch_passes_every_option_and_cloud_init_on_standard_input(sidecar: Sidecar) -> None:
    wanted = {
        "name": "web-1",
        "image": "24.04",
        "cpus": 2,
        "memory": "2G",
        "disk": "10G",
        "cloud_init": "#cloud-config\n",
    }
    answer = sidecar.request("POST", "/instances", json=wanted)
    assert answer.status_code == 201, answer.text
    assert answer.json()["state"] == "Running"
    (call,) = sidecar.calls("launch")
    assert call["arguments"] == [
        *("launch", "--name=web-1", "--cpus=2", "--memory=2G", "--disk=10G", "--timeout=1800"),
        *("--cloud-init=-", "24.04"),
    ]
    assert call["stdin"] == "#cloud-config\n"


def test_launch_has_defaults(sidecar: Sidecar) -> None:
    assert sidecar.request("POST", "/instances", json={"name": "dev"}).status_code == 201
    (call,) = sidecar.calls("launch")
    assert call["arguments"][1:] == ["--name=dev", "--cpus=1", "--memory=1G", "--disk=5G", "--timeout=1800", "lts"]
    assert call["stdin"] is None


@pytest.mark.parametrize("present", ["Running", "Stopped", "Deleted"])
def test_launch_of_a_taken_name_is_a_conflict(sidecar: Sidecar, present: str) -> None:
    sidecar.set(dev=present)
    body = check_problem(sidecar.request("POST", "/instances", json={"name": "dev"}), 409, "instance-exists")
    assert ("DELETE it" in body["detail"]) == (present == "Deleted")
    assert not sidecar.calls("launch")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(
            ("name", value)
            for value in ["", "a", "-x", "--all", "a-", "1a", "a_b", "a b", "a/b", "ä1", "a\n", "a" * 64, None, 5]
        ),
        *(("image", value) for value in ["", "-x", "file:///etc/shadow", "http://x/y.img", "../x", "a b", "x" * 101]),
        *(("cpus", value) for value in [0, -1, 257, "two", 1.5]),
        *(("memory", value) for value in ["", "511M", "0", "1T", "-1G", "1 G", "1.5G", "9" * 20, 1073741824]),
        *(("disk", value) for value in ["1023M", "big", "1g"]),
        *(("cloud_init", value) for value in ["", "x" * 65537, ["#cloud-config"]]),
        *(("mounts", value) for value in ["/:/host"]),
    ],
    ids=str,
)
def test_launch_names_each_field_that_is_wrong(sidecar: Sidecar, field: str, value: object) -> None:
    answer = sidecar.request("POST", "/instances", json={"name": "dev"} | {field: value})
    body = check_problem(answer, 422, "invalid-request")
    assert [error["field"] for error in body["errors"]] == [f"body.{field}"]
    assert "calls" not in sidecar.world()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff"])
def test_launch_without_a_json_object_is_refused(sidecar: Sidecar, content: bytes) -> None:
    answer = sidecar.request(
        "POST", "/instances", content=content, headers=BEARER | {"Content-Type": "application/json"}
    )
    assert answer.status_code in (400, 422)
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("name", ["-x", "a", "--all", "a_b", "a%20b", "1a", "a%2Fb", "a%0A", "%C3%A4b"])
@pytest.mark.parametrize(("method", "end"), [("GET", ""), ("DELETE", ""), ("POST", "/start"), ("POST", "/stop")])
def test_a_path_with_a_bad_name_never_reaches_multipass(sidecar: Sidecar, method: str, end: str, name: str) -> None:
    assert sidecar.request(method, f"/instances/{name}{end}").status_code in (404, 405, 422)
    assert "calls" not in sidecar.world()


@pytest.mark.parametrize(
    ("action", "before", "status", "after", "called"),
    [
        ("start", "Stopped", 200, "Running", True),
        ("start", "Suspended", 200, "Running", True),
        ("start", "Running", 200, "Running", False),
        ("start", "Starting", 200, "Starting", False),
        ("start", "Deleted", 409, "Deleted", False),
        ("stop", "Running", 200, "Stopped", True),
        ("stop", "Delayed Shutdown", 200, "Stopped", True),
        ("stop", "Stopped", 200, "Stopped", False),
        ("stop", "Suspended", 409, "Suspended", False),
        ("stop", "Unknown", 409, "Unknown", False),
        ("stop", "Deleted", 409, "Deleted", False),
    ],
)
def test_start_and_stop_by_state(
    sidecar: Sidecar, action: str, before: str, status: int, after: str, called: bool
) -> None:
    sidecar.set(dev=before)
    answer = sidecar.request("POST", f"/instances/dev/{action}")
    assert answer.status_code == status, answer.text
    if status == 200:
        assert answer.json()["state"] == after
    else:
        check_problem(answer, 409, "wrong-state")
    assert sidecar.world()["instances"]["dev"]["state"] == after
    wanted = {"start": ["start", "--timeout=300", "dev"], "stop": ["stop", "dev"]}[action]
    assert [call["arguments"] for call in sidecar.calls(action)] == ([wanted] if called else [])


@pytest.mark.parametrize("before", ["Running", "Stopped", "Deleted"])
def test_delete_purges_this_instance_and_no_other(sidecar: Sidecar, before: str) -> None:
    sidecar.set(dev=before, other="Deleted")
    answer = sidecar.request("DELETE", "/instances/dev")
    assert (answer.status_code, answer.content) == (204, b"")
    assert list(sidecar.world()["instances"]) == ["other"]
    assert [call["arguments"] for call in sidecar.calls("delete", "purge")] == [["delete", "--purge", "dev"]]
    check_problem(sidecar.request("DELETE", "/instances/dev"), 404, "instance-not-found")


@pytest.mark.parametrize(
    ("code", "stderr", "status", "kind"),
    [
        (1, "error: Unknown option", 422, "not-accepted"),
        (2, 'start failed: instance "dev" does not exist', 404, "instance-not-found"),
        (2, 'launch failed: instance "dev" already exists', 409, "instance-exists"),
        (2, 'launch failed: Unable to find an image matching "x"', 422, "image-not-found"),
        (2, "start failed: The following errors occurred:\n no KVM", 502, "command-failed"),
        (2, "", 502, "command-failed"),
        (3, "start failed: cannot connect to the multipass socket", 503, "daemon-unreachable"),
        (4, "start failed: retry", 503, "try-again"),
        (5, "start failed: timed out", 504, "timeout"),
        (255, "segmentation fault", 502, "command-failed"),
        (77, "who knows", 502, "command-failed"),
    ],
)
def test_exit_codes_are_told_apart(sidecar: Sidecar, code: int, stderr: str, status: int, kind: str) -> None:
    sidecar.set(dev="Stopped", faults={"start": [{"code": code, "stderr": stderr}]})
    body = check_problem(sidecar.request("POST", "/instances/dev/start"), status, kind)
    assert " ".join(stderr.split()) in body["detail"]
    assert f"exit code {code}" in body["detail"]


def test_unknown_image_is_the_callers_fault(sidecar: Sidecar) -> None:
    answer = sidecar.request("POST", "/instances", json={"name": "dev", "image": "nosuch"})
    check_problem(answer, 422, "image-not-found")


def test_a_command_that_hangs_is_ended_with_its_children(state: Path, tmp_path: Path) -> None:
    program = tmp_path / "hangs"
    program.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nsleep 60 &\necho $! >> {tmp_path}/pid\nwait\n")
    program.chmod(0o755)
    sidecar = Sidecar(state, multipass=str(program), query_timeout=1)
    started = time.monotonic()
    body = check_problem(sidecar.request("GET", "/instances"), 504, "timeout")
    assert "within 1 s" in body["detail"]
    assert time.monotonic() - started < 10
    deadline = time.monotonic() + 10
    for pid in (tmp_path / "pid").read_text().split():
        # A zombie that nobody has collected yet has ended as well.
        while Path(f"/proc/{pid}").exists() and " Z " not in Path(f"/proc/{pid}/stat").read_text():
            assert time.monotonic() < deadline, "a child outlived its command"
            time.sleep(0.05)


@pytest.mark.parametrize("path", ["/nowhere/multipass", str(ROOT / "LICENSE")])
def test_without_multipass_the_api_is_degraded_but_up(state: Path, path: str) -> None:
    sidecar = Sidecar(state, multipass=path)
    answer = sidecar.request("GET", "/health", headers={})
    assert answer.status_code == 200
    assert answer.json()["status"] == "degraded"
    assert path in answer.json()["multipass"]["reason"]
    check_problem(sidecar.request("GET", "/instances"), 503, "multipass-missing")


def test_health_is_open_and_asks_multipass_seldom(sidecar: Sidecar) -> None:
    for answer in sidecar.together(*[("GET", "/health", {"headers": {}})] * 20):
        assert answer.status_code == 200
        assert answer.json() == {
            "status": "ok",
            "multipass": {"version": "1.16.3", "daemon_version": "1.16.3", "reason": None},
        }
    assert len(sidecar.calls("version")) == 1


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"code": 3, "stderr": "cannot connect to the multipass socket"}, "cannot connect to the multipass socket"),
        ({"stdout": '{"multipass": "1.16.3"}'}, "its daemon does not answer"),
        ({"stdout": "oops"}, "printed no JSON"),
    ],
)
def test_health_says_why_multipass_does_not_answer(sidecar: Sidecar, fault: dict[str, Any], reason: str) -> None:
    sidecar.set(faults={"version": [fault]})
    body = sidecar.request("GET", "/health").json()
    assert body["status"] == "degraded"
    assert reason in body["multipass"]["reason"]


def overlap(calls: list[dict[str, Any]]) -> bool:
    """Tell whether two of the calls ran at the same time."""
    ordered = sorted(calls, key=lambda call: float(call["began"]))
    return any(later["began"] < earlier["ended"] for earlier, later in itertools.pairwise(ordered))


def test_changes_of_one_instance_wait_for_each_other(sidecar: Sidecar) -> None:
    slow = [{"seconds": 0.3}] * 3
    sidecar.set(dev="Stopped", faults={"start": slow, "stop": slow})
    actions = ["start", "stop"] * 3
    answers = sidecar.together(*[("POST", f"/instances/dev/{action}", {}) for action in actions])
    assert [answer.json()["state"] for answer in answers] == ["Running", "Stopped"] * 3
    calls = sidecar.calls("start", "stop")
    assert not overlap(calls)
    # Each saw what the one before it had done: nothing was started or stopped twice in a row.
    verbs = [call["arguments"][0] for call in calls]
    assert len(verbs) >= 2 and all(verb != following for verb, following in itertools.pairwise(verbs))


def test_of_two_launches_of_a_name_one_wins(sidecar: Sidecar) -> None:
    sidecar.set(faults={"launch": [{"seconds": 0.3}]})
    answers = sidecar.together(*[("POST", "/instances", {"json": {"name": "dev"}})] * 2)
    assert sorted(answer.status_code for answer in answers) == [201, 409]
    assert len(sidecar.calls("launch")) == 1


def test_instances_do_not_wait_for_each_other(sidecar: Sidecar) -> None:
    sidecar.set(aa="Stopped", bb="Stopped", faults={"start": [{"seconds": 1}] * 2})
    sidecar.together(("POST", "/instances/aa/start", {}), ("POST", "/instances/bb/start", {}))
    assert overlap(sidecar.calls("start"))


def test_no_more_commands_than_allowed_run_at_once(state: Path) -> None:
    sidecar = Sidecar(state, max_parallel=1)
    sidecar.set(faults={"list": [{"seconds": 0.1}] * 3})
    sidecar.together(*[("GET", "/instances", {})] * 3)
    assert not overlap(sidecar.calls("list"))


def test_unknown_paths_and_methods_are_problems(sidecar: Sidecar) -> None:
    check_problem(sidecar.request("GET", "/nothing"), 404, "http")
    answer = sidecar.request("PATCH", "/instances")
    check_problem(answer, 405, "http")
    assert "allow" in answer.headers


def test_a_bug_is_not_shown_to_the_client(sidecar: Sidecar, caplog: pytest.LogCaptureFixture) -> None:
    sidecar.set(faults={"list": [{"stdout": '{"secret-of-the-house": 1}'}]})
    body = check_problem(sidecar.request("GET", "/instances"), 500, "internal-error")
    assert "KeyError" not in json.dumps(body)
    assert any(record.exc_info for record in caplog.records)


def test_the_log_has_a_line_a_request_and_no_token(sidecar: Sidecar, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "multipass_sidecar")
    sidecar.request("GET", "/instances?token=" + TOKEN)
    sidecar.request("GET", "/instances", headers={"Authorization": "Bearer wrong-token-of-somebody"})
    lines = [getattr(record, "fields", {}) for record in caplog.records if record.name == "multipass_sidecar"]
    assert [(line["method"], line["path"], line["status"]) for line in lines] == [
        ("GET", "/instances", 200),
        ("GET", "/instances", 401),
    ]
    assert TOKEN not in json.dumps(lines) and "wrong-token" not in json.dumps(lines)


@pytest.mark.parametrize(("text", "bytes_"), [("1", 1), ("2K", 2048), ("512M", 512 * 1024**2), ("3G", 3 * 1024**3)])
def test_sizes(text: str, bytes_: int) -> None:
    assert models.size_in_bytes(text) == bytes_


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("multipass = 5", "multipass"),
        ('nonsense = "x"', "nonsense"),
        ("query_timeout = 0", "query_timeout"),
        ("launch_timeout = 20000", "launch_timeout"),
        ("max_parallel = 1.5", "max_parallel"),
        ("not toml", "line 1"),
    ],
)
def test_bad_configuration_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "sidecar.toml"
    path.write_text(text)
    with pytest.raises(settings.SettingsError, match=re.escape(message)) as caught:
        settings.load(path)
    assert str(path) in str(caught.value)


def test_configuration_has_defaults_and_a_missing_file_is_told(tmp_path: Path) -> None:
    assert settings.load(None).multipass == "/snap/bin/multipass"
    with pytest.raises(settings.SettingsError, match="No such file"):
        settings.load(tmp_path / "none.toml")


def test_token_comes_from_its_file_or_from_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    path.chmod(0o600)
    assert settings.read_token(path) == TOKEN
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    with pytest.raises(settings.SettingsError, match="--token-file"):
        settings.read_token(None)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert settings.read_token(None) == TOKEN
    path.unlink()
    with pytest.raises(settings.SettingsError, match="can't be read"):
        settings.read_token(None)


@pytest.mark.parametrize(
    ("content", "mode", "message"),
    [
        (TOKEN, 0o640, "others than the owner"),
        (TOKEN, 0o604, "others than the owner"),
        (TOKEN[:31], 0o600, "at least 32"),
        ("", 0o600, "at least 32"),
        (TOKEN[:16] + " " + TOKEN, 0o600, "without spaces"),
        ("ü" * 40, 0o600, "can't be read"),
    ],
)
def test_bad_token_files_are_refused_without_showing_them(
    tmp_path: Path, content: str, mode: int, message: str
) -> None:
    path = tmp_path / "token"
    path.write_text(content, encoding="utf-8")
    path.chmod(mode)
    with pytest.raises(settings.SettingsError, match=message) as caught:
        settings.read_token(path)
    assert not content or content not in str(caught.value)


@pytest.fixture
def program(tmp_path: Path, state: Path) -> Iterator[Any]:
    """Start the program as systemd does; return the process, its log and its port."""
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "token").chmod(0o600)
    (tmp_path / "sidecar.toml").write_text(f"multipass = {json.dumps(str(FAKE))}\n")
    started: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str, inherit: bool = False) -> tuple[subprocess.Popen[bytes], Path, int, str]:
        listener = socket.create_server(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        command = [
            sys.executable,
            "-B",
            "-m",
            "multipass_sidecar",
            "--config",
            str(tmp_path / "sidecar.toml"),
            *arguments,
        ]
        environment = os.environ | {"PYTHONPATH": str(FILES / "src")}
        channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        channel.bind(str(tmp_path / "notify"))
        channel.settimeout(30)
        environment["NOTIFY_SOCKET"] = str(tmp_path / "notify")
        if inherit:
            # sd_listen_fds(3): descriptors from 3 on, for the process whose id is told.
            environment |= {"LISTEN_FDS": "1", "CREDENTIALS_DIRECTORY": str(tmp_path)}
            shell = f'exec 3<&{listener.fileno()}; export LISTEN_PID=$$; exec "$@"'
            command = ["bash", "-c", shell, "bash", *command]
        else:
            listener.close()
            command += ["--listen", f"127.0.0.1:{port}", "--token-file", str(tmp_path / "token")]
        with (tmp_path / "log").open("wb") as log:
            descriptors = (listener.fileno(),) if inherit else ()
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, pass_fds=descriptors)
        started.append(process)
        listener.close()
        ready = channel.recv(100).decode()
        channel.close()
        return process, tmp_path / "log", port, ready

    yield start
    for process in started:
        process.kill()
        process.wait(30)


@pytest.mark.parametrize("inherit", [False, True], ids=["listens", "inherits"])
def test_program_serves_tells_systemd_and_ends(program: Any, inherit: bool) -> None:
    process, log, port, ready = program(inherit=inherit)
    assert ready == "READY=1"
    url = f"http://127.0.0.1:{port}"
    assert httpx.get(f"{url}/health").json()["status"] == "ok"
    assert httpx.get(f"{url}/instances").status_code == 401
    assert httpx.get(f"{url}/instances", headers=BEARER).json() == {"instances": []}
    public = Path(f"/proc/{process.pid}/cmdline").read_text() + Path(f"/proc/{process.pid}/environ").read_text()
    assert TOKEN not in public
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) in (0, -signal.SIGTERM)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["status"] for line in lines if line["message"] == "request"] == [200, 401, 200]
    assert TOKEN not in log.read_text()


def test_program_lets_a_running_change_end(program: Any, state: Path) -> None:
    state.write_text(json.dumps({"faults": {"launch": [{"seconds": 1.5}]}}))
    process, _log, port, _ready = program()
    answers: list[httpx.Response] = []

    async def launch_and_stop() -> None:
        async with httpx.AsyncClient(timeout=30) as client:
            body = {"name": "dev"}
            pending = asyncio.create_task(client.post(f"http://127.0.0.1:{port}/instances", json=body, headers=BEARER))
            await asyncio.sleep(1)
            process.send_signal(signal.SIGTERM)
            answers.append(await pending)

    asyncio.run(launch_and_stop())
    assert answers[0].status_code == 201
    assert process.wait(30) in (0, -signal.SIGTERM)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config", "/nowhere.toml"], "/nowhere.toml"),
        (["--listen", "127.0.0.1"], "expected host:port"),
        (["--listen", "192.0.2.1:80"], "192.0.2.1:80"),
        (["--listen", "127.0.0.1:99999"], "99999"),
        ([], "no socket"),
    ],
)
def test_program_says_what_is_misconfigured(tmp_path: Path, arguments: list[str], message: str) -> None:
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "token").chmod(0o600)
    command = [sys.executable, "-B", "-m", "multipass_sidecar", "--token-file", str(tmp_path / "token"), *arguments]
    environment = os.environ | {"PYTHONPATH": str(FILES / "src")}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(("text", "code"), [("max_parallel = 2\n", 0), ("max_parallel = 0\n", 2)])
def test_program_checks_a_configuration(tmp_path: Path, text: str, code: int) -> None:
    (tmp_path / "sidecar.toml").write_text(text)
    command = [sys.executable, "-B", "-m", "multipass_sidecar", "--check", "--config", str(tmp_path / "sidecar.toml")]
    environment = os.environ | {"PYTHONPATH": str(FILES / "src")}
    assert subprocess.run(command, env=environment, capture_output=True, timeout=60, check=False).returncode == code


def test_lock_pins_every_dependency_by_hash() -> None:
    lock = (FILES / "requirements.txt").read_text()
    pinned = set(re.findall(r"^([a-z0-9-]+)==", lock, re.MULTILINE))
    project = tomllib.loads((FILES / "pyproject.toml").read_text())["project"]
    assert {re.split(r"[^a-z0-9-]", dependency)[0] for dependency in project["dependencies"]} <= pinned
    assert len(re.findall(r"^[a-z0-9-]+==.*\\\n    --hash=sha256:", lock, re.MULTILINE)) == len(pinned)
