"""The sidecar's program as a process, with the stand-in for multipass, and a record of the stand-in's calls."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx

ROOT = Path(__file__).parents[2]
FILES = ROOT / "roles" / "sidecar" / "files"
FAKE = ROOT / "tests" / "multipass" / "multipass"
TOKENS = {scope: f"{scope}-{'0123456789abcdef' * 3}" for scope in ("read", "operate", "admin")}
STANDARD = {"cpus": "1", "memory": 1024**3, "disk": 5 * 1024**3, "release": "24.04 LTS", "ipv4": ["10.21.77.10"]}


def bearer(scope: str = "admin") -> dict[str, str]:
    """Return the header with the token of a scope."""
    return {"Authorization": f"Bearer {TOKENS[scope]}"}


def write_tokens(path: Path, tokens: dict[str, str]) -> None:
    """Write a file of tokens, by scope, as the role does."""
    lines = [f"{scope} {scope} {hashlib.sha256(token.encode()).hexdigest()}\n" for scope, token in tokens.items()]
    path.touch(mode=0o600)
    path.write_text("".join(lines), encoding="ascii")


class World:
    """The state of the stand-in for multipass, and its calls."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.calls_path = path.with_name(f"{path.name}.calls")

    def read(self) -> dict[str, Any]:
        """Return everything."""
        found: dict[str, Any] = json.loads(self.path.read_text("utf-8")) if self.path.exists() else {}
        return found

    def set(self, *, options: dict[str, Any] | None = None, **instances: str) -> None:
        """Reset the state to instances (name and state) and options such as `faults`, `seconds`, `seed`, `version`."""
        content = {name: STANDARD | {"state": state, "snapshots": {}} for name, state in instances.items()}
        self.path.write_text(json.dumps({"instances": content} | (options or {})), encoding="utf-8")
        self.calls_path.unlink(missing_ok=True)

    def put(self, **instances: str) -> None:
        """Add instances (name and state), also while multipass is working."""
        with self.path.open("r+", encoding="utf-8") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            content = json.load(stream)
            for name, state in instances.items():
                content["instances"][name] = STANDARD | {"state": state, "snapshots": {}}
            stream.seek(0)
            stream.truncate()
            json.dump(content, stream)
            stream.flush()

    def states(self) -> dict[str, str]:
        """Return the state of each instance."""
        return {name: entry["state"] for name, entry in self.read().get("instances", {}).items()}

    def lines(self) -> list[dict[str, Any]]:
        """Return every line of the record."""
        text = self.calls_path.read_text("utf-8") if self.calls_path.exists() else ""
        return [json.loads(line) for line in text.splitlines()]

    def calls(self, *verbs: str) -> list[dict[str, Any]]:
        """Return the calls of these verbs, or all, in the order of their start; one that still runs has no `ended`."""
        calls: dict[str, dict[str, Any]] = {}
        for line in self.lines():
            if "call" in line:
                calls.setdefault(line["call"], {}).update(line)
        return [call for call in calls.values() if not verbs or call["arguments"][0] in verbs]

    def arguments(self, *verbs: str) -> list[list[str]]:
        """Return the arguments of the calls of these verbs."""
        return [call["arguments"] for call in self.calls(*verbs)]

    def made(self) -> list[str]:
        """Return the name of each instance that was ever created, once per creation."""
        return [line["name"] for line in self.lines() if line.get("event") == "made"]


class Service:
    """The program and a client for it."""

    def __init__(self, folder: Path, host: str = "127.0.0.1", package: Path = FILES / "src", **settings: Any) -> None:
        self.folder = folder
        self.host = host
        self.package = package
        self.world = World(folder / "multipass.json")
        self.settings = {"multipass": str(FAKE), "state_directory": str(folder / "state"), "rate_limit": 100000}
        # The same on each machine that the tests run on.
        self.settings |= {"max_cpus": 256, "max_memory": 2**60, "max_disk": 2**60}
        self.settings |= settings
        (folder / "state").mkdir(exist_ok=True)
        with socket.create_server((host, 0)) as probe:
            self.port = probe.getsockname()[1]
        self.url = f"http://{host}:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None
        self.http = httpx.Client(base_url=self.url, headers=bearer(), timeout=60)

    def __enter__(self) -> Service:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        self.http.close()

    def start(self) -> None:
        """Start the program and wait until it answers."""
        write_tokens(self.folder / "tokens", TOKENS)
        lines = [f"{name} = {json.dumps(value)}\n" for name, value in self.settings.items() if name != "limits"]
        for token, limits in self.settings.get("limits", {}).items():
            lines += [f"[limits.{token}]\n", *(f"{key} = {json.dumps(value)}\n" for key, value in limits.items())]
        (self.folder / "sidecar.toml").write_text("".join(lines), encoding="utf-8")
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-B", "-m", "multipass_sidecar", "--config", str(self.folder / "sidecar.toml")),
                    *("--tokens", str(self.folder / "tokens"), "--listen", f"{self.host}:{self.port}"),
                ],
                env=os.environ | {"PYTHONPATH": str(self.package), "FAKE_MULTIPASS_STATE": str(self.world.path)},
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + 30
        while True:
            try:
                with socket.create_connection((self.host, self.port), timeout=1):
                    return
            except OSError:
                assert self.process.poll() is None and time.monotonic() < deadline, self.log()
                time.sleep(0.02)

    def kill(self) -> None:
        """Kill the program."""
        if self.process:
            self.process.kill()
            self.process.wait(30)

    def log(self) -> str:
        """Return what the program logged."""
        return (self.folder / "log").read_text("utf-8", errors="replace")

    def done(self, method: str, path: str, state: str = "succeeded", **options: Any) -> dict[str, Any]:
        """Send a request for a job, wait for its end, and return it."""
        answer = self.http.request(method, path, params={"wait": 60} | options.pop("params", {}), **options)
        assert answer.status_code == 200, answer.text
        job: dict[str, Any] = answer.json()
        assert job["state"] == state, job
        return job
