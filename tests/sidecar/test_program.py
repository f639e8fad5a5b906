"""The sidecar's program: its configuration, its tokens, its start and its stop."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from .service import FAKE, FILES, TOKENS, bearer, write_tokens

sys.path.insert(0, str(FILES / "src"))

from multipass_sidecar import settings

DIGEST = hashlib.sha256(b"x").hexdigest()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("multipass = 5", "multipass"),
        ('nonsense = "x"', "nonsense"),
        ("query_timeout = 0", "query_timeout"),
        ("launch_timeout = 20000", "launch_timeout"),
        ("max_parallel = 1.5", "max_parallel"),
        ("rate_limit = inf", "rate_limit"),
        ('tls_key = "/x"', "tls_certificate"),
        ("not toml", "line 1"),
    ],
)
def test_bad_configuration_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "sidecar.toml"
    path.write_text(text)
    with pytest.raises(settings.SettingsError, match=re.escape(message)) as caught:
        settings.load(path)
    assert str(path) in str(caught.value)


def test_configuration_has_defaults_and_a_missing_file_is_reported(tmp_path: Path) -> None:
    assert settings.load(None).multipass == "/snap/bin/multipass"
    with pytest.raises(settings.SettingsError, match="No such file"):
        settings.load(tmp_path / "none.toml")


def test_tokens_come_from_their_file_or_from_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "tokens"
    write_tokens(path, TOKENS)
    tokens = settings.read_tokens(path)
    assert [(token.name, token.scope) for token in tokens] == [(scope, scope) for scope in TOKENS]
    assert all(token not in path.read_text() for token in TOKENS.values())
    for scope, token in TOKENS.items():
        found = settings.find_token(tokens, token.encode())
        assert found and found.scope == scope
    assert settings.find_token(tokens, b"other") is settings.find_token(tokens, b"") is None
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    with pytest.raises(settings.SettingsError, match="--tokens"):
        settings.read_tokens(None)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert settings.read_tokens(None) == tokens
    path.unlink()
    with pytest.raises(settings.SettingsError, match="--tokens"):
        settings.read_tokens(None)
    with pytest.raises(settings.SettingsError, match="cannot be read"):
        settings.read_tokens(path)


@pytest.mark.parametrize(
    ("content", "mode", "message"),
    [
        (f"admin admin {DIGEST}\n", 0o640, "other users than the owner"),
        (f"admin admin {DIGEST}\n", 0o604, "other users than the owner"),
        ("", 0o600, "add at least one"),
        (f"a admin {DIGEST}\na read {DIGEST}\n", 0o600, "use each name once"),
        (f"a admin {DIGEST}\nb root {DIGEST}\n", 0o600, "line 2"),
        (f"a admin {DIGEST[:-1]}\n", 0o600, "line 1"),
        ("0123456789abcdef0123456789abcdef\n", 0o600, "line 1"),
        ("ü" * 40, 0o600, "cannot be read"),
    ],
)
def test_bad_files_of_tokens_are_refused_without_showing_them(
    tmp_path: Path, content: str, mode: int, message: str
) -> None:
    path = tmp_path / "tokens"
    path.write_text(content, encoding="utf-8")
    path.chmod(mode)
    with pytest.raises(settings.SettingsError, match=message) as caught:
        settings.read_tokens(path)
    assert DIGEST not in str(caught.value) and "0123456789" not in str(caught.value)


@pytest.mark.parametrize(
    ("scope", "allowed"),
    [("read", ["read"]), ("operate", ["read", "operate"]), ("admin", ["read", "operate", "admin"])],
)
def test_a_scope_includes_those_below(scope: settings.TokenScope, allowed: list[str]) -> None:
    token = settings.Token("name", scope, DIGEST)
    assert [wanted for wanted in settings.SCOPES if token.allows(wanted)] == allowed


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Any]:
    """Start the program as systemd does; return the process, its log and its port."""
    write_tokens(tmp_path / "tokens", TOKENS)
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
        environment = os.environ | {"PYTHONPATH": str(FILES / "src"), "STATE_DIRECTORY": str(tmp_path)}
        environment["FAKE_MULTIPASS_STATE"] = str(tmp_path / "multipass.json")
        channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        (tmp_path / "notify").unlink(missing_ok=True)
        channel.bind(str(tmp_path / "notify"))
        channel.settimeout(30)
        environment["NOTIFY_SOCKET"] = str(tmp_path / "notify")
        if inherit:
            # sd_listen_fds(3): descriptors from 3 on, for the process with the given id.
            environment |= {"LISTEN_FDS": "1", "CREDENTIALS_DIRECTORY": str(tmp_path)}
            shell = f'exec 3<&{listener.fileno()}; export LISTEN_PID=$$; exec "$@"'
            command = ["bash", "-c", shell, "bash", *command]
        else:
            listener.close()
            command += ["--listen", f"127.0.0.1:{port}", "--tokens", str(tmp_path / "tokens")]
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
def test_program_serves_notifies_systemd_and_stops(program: Any, inherit: bool) -> None:
    process, log, port, ready = program(inherit=inherit)
    assert ready == "READY=1"
    url = f"http://127.0.0.1:{port}"
    assert httpx.get(f"{url}/health").json()["status"] == "ok"
    assert httpx.get(f"{url}/instances").status_code == 401
    assert httpx.get(f"{url}/instances", headers=bearer()).json()["instances"] == []
    public = Path(f"/proc/{process.pid}/cmdline").read_text() + Path(f"/proc/{process.pid}/environ").read_text()
    assert TOKENS["admin"] not in public
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) in (0, -signal.SIGTERM)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["status"] for line in lines if line["message"] == "request"] == [200, 401, 200]
    assert TOKENS["admin"] not in log.read_text()


def test_program_waits_for_a_running_job(program: Any, tmp_path: Path) -> None:
    world = tmp_path / "multipass.json"
    world.write_text(json.dumps({"seconds": {"launch": 2}}))
    process, _log, port, _ready = program()
    url = f"http://127.0.0.1:{port}"
    job = httpx.post(f"{url}/instances", json={"name": "dev"}, headers=bearer()).json()["id"]
    waiting: list[httpx.Response] = []

    async def wait_and_stop() -> None:
        async with httpx.AsyncClient(timeout=30) as client:
            pending = asyncio.create_task(client.get(f"{url}/jobs/{job}?wait=20", headers=bearer()))
            await asyncio.sleep(0.5)
            process.send_signal(signal.SIGTERM)
            waiting.append(await pending)

    asyncio.run(wait_and_stop())
    # The client that waits is answered at once; the job continues to its end.
    assert waiting[0].json()["state"] == "running"
    assert process.wait(30) in (0, -signal.SIGTERM)
    assert json.loads(world.read_text())["instances"]["dev"]["state"] == "Running"
    _process, _log, port, _ready = program()
    found = httpx.get(f"http://127.0.0.1:{port}/jobs/{job}", headers=bearer()).json()
    assert (found["state"], found["result"]["instance"]["state"]) == ("succeeded", "Running")


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
    write_tokens(tmp_path / "tokens", TOKENS)
    command = [sys.executable, "-B", "-m", "multipass_sidecar", "--tokens", str(tmp_path / "tokens"), *arguments]
    environment = os.environ | {"PYTHONPATH": str(FILES / "src"), "STATE_DIRECTORY": str(tmp_path)}
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
