"""Start PostgreSQL and Kestra as the role's Compose file starts them, for tests that need a live server.

Both are context managers that leave nothing behind. The images must be there (fixture `images`).
"""

from __future__ import annotations

import base64
import json
import secrets
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import requests
import yaml

ROOT = Path(__file__).parents[2]
ROLE = ROOT / "roles" / "kestra"
CONFIG_DIRECTORY = "/app/kestra-config"
# A cold Java machine on a machine that builds images at the same time.
BOOT_SECONDS = 180


def docker(*arguments: str, check: bool = True) -> str:
    """Run a docker command and return what it prints, on both channels."""
    done = subprocess.run(
        ["docker", *arguments],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    if check and done.returncode != 0:
        raise AssertionError(f"docker {' '.join(arguments[:3])} ended with {done.returncode}:\n{done.stdout}")
    return done.stdout.strip()


def wait_until(what: str, condition: Callable[[], bool], seconds: float) -> float:
    """Poll a condition twice a second; return the seconds it took, fail when it does not come true in time."""
    start = time.monotonic()
    while not condition():
        if time.monotonic() - start > seconds:
            raise AssertionError(f"after {seconds} s still not: {what}")
        time.sleep(0.5)
    return time.monotonic() - start


def role_defaults(role: str) -> dict[str, Any]:
    """Return the defaults of a role, expressions left as they are."""
    defaults: dict[str, Any] = yaml.safe_load((ROOT / "roles" / role / "defaults" / "main.yml").read_text("utf-8"))
    return defaults


def render_configuration(**variables: Any) -> str:
    """Return the standalone.yml that the role writes: its defaults, these variables over them."""
    with tempfile.TemporaryDirectory() as directory:
        host = {"orchestration_root": directory, "orchestration_minimum_memory": 0, "orchestration_minimum_disk": 0}
        command = ["ansible-playbook", "tests/integration/render.yml", "--extra-vars", json.dumps(host | variables)]
        done = subprocess.run(
            command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
        )
        assert done.returncode == 0, done.stdout
        return (Path(directory) / "kestra-config" / "standalone.yml").read_text("utf-8")


def published_url(container: str, port: int) -> str:
    """Return the address on loopback that a container's port is published at."""
    return f"http://127.0.0.1:{docker('port', container, f'{port}/tcp').splitlines()[0].rpartition(':')[2]}"


@dataclass(frozen=True)
class Postgres:
    """A running PostgreSQL with a database and role `kestra`; in its network it is called `postgres`."""

    container: str
    network: str
    password: str


@dataclass(frozen=True)
class Kestra:
    """A started Kestra, healthy or not."""

    container: str
    url: str
    management_url: str
    username: str
    password: str
    dialect: str = "2.0"
    session: requests.Session = field(default_factory=requests.Session)

    def logs(self) -> str:
        """Return everything that the server printed."""
        return docker("logs", self.container)

    def health(self, path: str = "health") -> int:
        """Return the status code of a health check, 0 when nothing answers."""
        try:
            return requests.get(f"{self.management_url}/{path}", timeout=5).status_code
        except requests.RequestException:
            return 0

    def state(self) -> dict[str, Any]:
        """Return the container's state as the engine tells it."""
        state: dict[str, Any] = json.loads(docker("inspect", "--format", "{{json .State}}", self.container))
        return state

    def wait_healthy(self, seconds: float = BOOT_SECONDS) -> float:
        """Wait until the server is healthy; return the seconds, fail with the log when it ends or takes too long."""

        def healthy() -> bool:
            if not self.state()["Running"]:
                raise AssertionError(f"Kestra ended:\n{self.logs()[-4000:]}")
            return self.health() == 200

        try:
            return wait_until("Kestra is healthy", healthy, seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.logs()[-4000:]}") from error

    def restart(self) -> Kestra:
        """Restart the server and return it, healthy, at its new ports."""
        docker("restart", self.container)
        restarted = replace(
            self,
            url=published_url(self.container, 8080),
            management_url=published_url(self.container, 8081),
        )
        restarted.wait_healthy()
        return restarted

    def call(self, method: str, path: str, **options: Any) -> requests.Response:
        """Send a request to `/api/v1/main<path>` with the credentials, unless `auth` says otherwise."""
        options.setdefault("auth", (self.username, self.password))
        if options.get("files"):
            options["files"] = {name: _measured(*part) for name, part in options["files"].items()}
        return self.session.request(method, f"{self.url}/api/v1/main{path}", timeout=120, **options)

    def save_flow(self, source: str) -> dict[str, Any]:
        """Create or update a flow from its source and return it."""
        flow = yaml.safe_load(source)
        headers = {"Content-Type": "application/x-yaml"}
        answer = self.call("POST", "/flows", data=source.encode(), headers=headers)
        if answer.status_code == 409 or "already exists" in answer.text:
            path = f"/flows/{flow['namespace']}/{flow['id']}"
            answer = self.call("PUT", path, data=source.encode(), headers=headers)
        assert answer.status_code == 200, answer.text
        saved: dict[str, Any] = answer.json()
        return saved

    def execute(self, flow: str, files: Mapping[str, Any] | None = None, **query: Any) -> dict[str, Any]:
        """Run a flow (`namespace/id`) to its end and return the execution."""
        answer = self.call("POST", f"/executions/{flow}", params={"wait": "true"} | query, files=files)
        assert answer.status_code == 200, answer.text
        execution: dict[str, Any] = answer.json()
        return execution

    def messages(self, execution: Mapping[str, Any]) -> str:
        """Return the log of an execution, a message a line."""
        return "\n".join(entry["message"] for entry in self.call("GET", f"/logs/{execution['id']}").json())


def _measured(name: str | None, content: str | bytes) -> tuple[str | None, bytes, None, dict[str, str]]:
    """Return a part of a form with its length in a header.

    Netty, which decodes Kestra's forms, adds a carriage return to a part without it when a read from the socket ends
    between the two characters of the line end behind that part: seen twice in 500 requests cut at random.
    """
    data = content.encode() if isinstance(content, str) else content
    return name, data, None, {"Content-Length": str(len(data))}


def _name(kind: str) -> str:
    return f"devorch-test-{kind}-{secrets.token_hex(4)}"


@contextmanager
def start_postgres() -> Iterator[Postgres]:
    """Run PostgreSQL in a network of its own and yield it when it takes connections."""
    name, password = _name("postgres"), secrets.token_hex(12)
    docker("network", "create", name)
    try:
        docker(
            *("run", "--detach", "--name", name, "--network", name, "--network-alias", "postgres"),
            *("--env", "POSTGRES_USER=kestra", "--env", "POSTGRES_DB=kestra", "--env", f"POSTGRES_PASSWORD={password}"),
            f"postgres:{role_defaults('postgres')['postgres_version']}",
        )
        ready = ("exec", name, "pg_isready", "--host", "127.0.0.1", "--username", "kestra", "--dbname", "kestra")
        wait_until("PostgreSQL takes connections", lambda: "accepting connections" in docker(*ready, check=False), 60)
        yield Postgres(name, name, password)
    finally:
        docker("rm", "--force", "--volumes", name, check=False)
        docker("network", "rm", name, check=False)


def environment(postgres: Postgres, **more: str) -> dict[str, str]:
    """Return what the role's env file gives the container, with fresh secrets."""
    return {
        "KESTRA_CONFIGURATION_URL": f"{CONFIG_DIRECTORY}/standalone.yml",
        "KESTRA_DB_PASSWORD": postgres.password,
        "KESTRA_PASSWORD": f"Aa1{secrets.token_hex(12)}",
        "KESTRA_ENCRYPTION_KEY": base64.b64encode(secrets.token_bytes(32)).decode(),
        "JAVA_OPTS": "-Duser.timezone=UTC",
        "TZ": "UTC",
        **more,
    }


@contextmanager
def start_kestra(
    config_path: Path,
    env: Mapping[str, str],
    network: str,
    *,
    volume: str | None = None,
    mounts: tuple[str, ...] = (),
    user: str = "root",
    options: tuple[str, ...] = (),
    wait: bool = True,
    dialect: str = "2.0",
) -> Iterator[Kestra]:
    """Run Kestra with a configuration and yield it, healthy unless `wait` is off.

    `dialect` is the version whose addresses, statuses and bodies the test server uses, 2.0 or 1.3.
    `volume` is mounted at /app/data and survives when given, `options` are added to `server standalone`.
    `mounts` are more volumes, in docker's form.
    """
    name = _name("kestra")
    config_path.chmod(0o644)
    run = (
        *("run", "--detach", "--name", name, "--network", network, "--user", user),
        *(
            argument
            for key, value in {**env, "TEST_SERVER_DIALECT": dialect}.items()
            for argument in ("--env", f"{key}={value}")
        ),
        *("--publish", "127.0.0.1::8080", "--publish", "127.0.0.1::8081"),
        *("--volume", f"{config_path.resolve()}:{CONFIG_DIRECTORY}/standalone.yml:ro"),
        *("--volume", f"{volume}:/app/data" if volume else "/app/data"),
        *(argument for mount in mounts for argument in ("--volume", mount)),
        *("--add-host", "host.docker.internal:host-gateway"),
        f"kestra/kestra:{role_defaults('kestra')['kestra_version']}",
        *("server", "standalone", "--config", f"{CONFIG_DIRECTORY}/standalone.yml", *options),
    )
    try:
        docker(*run)
        basic_auth = yaml.safe_load(config_path.read_text("utf-8"))["kestra"]["server"]["basic-auth"]
        kestra = Kestra(
            container=name,
            url=published_url(name, 8080),
            management_url=published_url(name, 8081),
            username=basic_auth["username"],
            password=env["KESTRA_PASSWORD"],
            dialect=dialect,
        )
        if wait:
            kestra.wait_healthy()
        yield kestra
    finally:
        docker("rm", "--force", "--volumes", name, check=False)
