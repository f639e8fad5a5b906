"""Real stores for backups: a REST server, an SFTP server and an S3 server, each in a container on a free loopback port.

A store can be stopped, paused and broken: its files are in a directory of the test.
"""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "images"))

from testbed import engine
from testbed.settings import LABEL

IMAGE = "localhost/devorch-stores:latest"
START_TIMEOUT = 30


def require_programs() -> None:
    """Install the programs that the tests call, if they are missing."""
    packages = {"restic": "restic", "ssh": "openssh-client", "ssh-keygen": "openssh-client", "openssl": "openssl"}
    missing = sorted({package for program, package in packages.items() if not shutil.which(program)})
    if missing:
        engine.install(missing)


@dataclass
class Store:
    """A store that runs, and what a client needs to reach it."""

    name: str
    container: str
    directory: Path
    """Its files, as this machine sees them."""
    repository: str
    environment: dict[str, str] = field(default_factory=dict)
    """The credentials."""
    options: dict[str, str] = field(default_factory=dict)
    """Extended options of restic."""
    append_only: bool = False

    def target(self, directory: Path) -> dict[str, Any]:
        """Write the files with its location and credentials, and return its entry of backup.json."""
        directory.mkdir(exist_ok=True)
        repository, environment = directory / f"{self.name}.repository", directory / f"{self.name}.environment"
        for path, text in (
            (repository, self.repository),
            (environment, "".join(f"{name}={value}\n" for name, value in self.environment.items())),
        ):
            path.touch(mode=0o600)
            path.write_text(text)
        return {
            "name": self.name,
            "repository_file": str(repository),
            "environment_file": str(environment) if self.environment else "",
            "options": self.options,
            "append_only": self.append_only,
            "upload_limit": 0,
            "download_limit": 0,
            "keep": {"daily": 7, "weekly": 5, "monthly": 12, "upgrade": 3, "manual": 3},
        }

    @contextmanager
    def away(self) -> Iterator[None]:
        """Refuse connections meanwhile, and keep the port."""
        engine.docker("stop", "--time", "1", self.container)
        try:
            yield
        finally:
            engine.docker("start", self.container)

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """Accept connections and never answer."""
        engine.docker("pause", self.container)
        try:
            yield
        finally:
            engine.docker("unpause", self.container)


def free_port() -> int:
    """Return a port that nobody listens on. It stays the store's own when it stops and starts again."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def served(
    name: str, directory: Path, inside: int, command: Callable[[int], list[str]], *mounts: str, network: str = ""
) -> Iterator[tuple[str, int]]:
    """Run a server in a container until it accepts connections; yield the container's name and its port here."""
    engine.ensure_engine()
    container, port = f"devorch-store-{name}-{secrets.token_hex(4)}", free_port()
    directory.mkdir(exist_ok=True)
    arguments = ["run", "--detach", "--init", "--name", container, "--label", f"{LABEL}=1"]
    arguments += ["--publish", f"127.0.0.1:{port}:{inside}", "--volume", f"{directory}:/store"]
    if network:
        arguments += ["--network", network, "--network-alias", f"store-{name}"]
    for mount in mounts:
        arguments += ["--volume", mount]
    engine.docker(*arguments, IMAGE, *command(inside))
    try:
        wait(container, inside)
        yield container, port
    finally:
        engine.docker("rm", "--force", "--volumes", container, check=False)


def wait(container: str, port: int) -> None:
    """Wait until the server listens. A published port accepts connections before it does."""
    deadline = time.monotonic() + START_TIMEOUT
    probe = f"exec 3<>/dev/tcp/127.0.0.1/{port}"
    while engine.docker("exec", container, "bash", "-c", probe, check=False).returncode != 0:
        if time.monotonic() > deadline:
            log = engine.docker("logs", "--tail", "20", container, check=False)
            raise AssertionError(f"{container} does not listen: {log.stdout}{log.stderr}")
        time.sleep(0.1)


def certificate(directory: Path, *names: str) -> tuple[Path, Path]:
    """Make a certificate of the loopback address and these names; return it and its key."""
    public, private = directory / "tls.crt", directory / "tls.key"
    subject = ",".join(["IP:127.0.0.1", *(f"DNS:{name}" for name in names)])
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "2", "-subj", "/CN=store", "-addext", f"subjectAltName={subject}"]
    command += ["-keyout", str(private), "-out", str(public)]
    subprocess.run(command, check=True, capture_output=True)
    return public, private


@contextmanager
def rest(directory: Path, *, append_only: bool = False, network: str = "") -> Iterator[Store]:
    """Debian's REST server, with TLS and a user who has a password."""
    directory.mkdir(parents=True, exist_ok=True)
    data, password = directory / "data", secrets.token_urlsafe(12)
    public, private = certificate(directory, "store-rest")
    digest = base64.b64encode(hashlib.sha1(password.encode(), usedforsecurity=False).digest()).decode()
    users = directory / "htpasswd"
    users.write_text(f"backup:{{SHA}}{digest}\n")

    def command(port: int) -> list[str]:
        options = ["--path", "/store", "--listen", f":{port}", "--htpasswd-file", "/etc/htpasswd"]
        options += ["--tls", "--tls-cert", "/etc/tls.crt", "--tls-key", "/etc/tls.key"]
        return ["restic-rest-server", *options, *(["--append-only"] if append_only else [])]

    mounts = (f"{users}:/etc/htpasswd:ro", f"{public}:/etc/tls.crt:ro", f"{private}:/etc/tls.key:ro")
    with served("rest", data, 8000, command, *mounts, network=network) as (container, port):
        yield Store(
            "rest",
            container,
            data / "repository",
            f"rest:https://backup:{password}@127.0.0.1:{port}/repository",
            {"SSL_CERT_FILE": str(public)},
            append_only=append_only,
        )


@contextmanager
def sftp(directory: Path, *, network: str = "") -> Iterator[Store]:
    """Debian's OpenSSH server, which lets one key in, to transfer files only."""
    directory.mkdir(parents=True, exist_ok=True)
    data, key, host_key = directory / "data", directory / "key", directory / "host_key"
    for path in (key, host_key):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    settings = {
        "HostKey": "/etc/ssh/host_key",
        "AuthorizedKeysFile": "/etc/ssh/authorized_keys",
        "PasswordAuthentication": "no",
        "KbdInteractiveAuthentication": "no",
        "AllowUsers": "backup-store",
        "ForceCommand": "internal-sftp",
        "Subsystem": "sftp internal-sftp",
        "PidFile": "none",
    }

    def command(port: int) -> list[str]:
        options = " ".join(f"-o '{name} {value}'" for name, value in settings.items())
        # The copies have the owner that sshd asks for.
        script = (
            "install -m 600 /keys/host_key /etc/ssh/host_key; install -m 644 /keys/key.pub /etc/ssh/authorized_keys"
        )
        script += f"; chown backup-store /store; exec /usr/sbin/sshd -D -e -f /dev/null -p {port} {options}"
        return ["sh", "-c", script]

    with served("sftp", data, 2222, command, f"{directory}:/keys:ro", network=network) as (container, port):
        known = directory / "known_hosts"
        public = (directory / "host_key.pub").read_text()
        known.write_text(f"[127.0.0.1]:{port} {public}[store-sftp]:2222 {public}")
        login = f"ssh -p {port} -i {key} -o UserKnownHostsFile={known} -o BatchMode=yes -o IdentitiesOnly=yes"
        options = {"sftp.command": f"{login} -F none backup-store@127.0.0.1 -s sftp"}
        yield Store(
            "sftp", container, data / "repository", "sftp:backup-store@127.0.0.1:/store/repository", {}, options
        )


@contextmanager
def s3(directory: Path, *, network: str = "") -> Iterator[Store]:
    """An S3 server that checks signatures, with one access key. It has no TLS."""
    directory.mkdir(parents=True, exist_ok=True)
    data, access, secret = directory / "data", secrets.token_hex(8), secrets.token_urlsafe(24)
    users = directory / "users.toml"
    users.write_text(f'[[users]]\naccess_key = "{access}"\nsecret_key = "{secret}"\n')

    def command(port: int) -> list[str]:
        return ["nanio", "serve", "--data-dir", "/store", "--port", str(port), "--options", "/etc/users.toml"]

    with served("s3", data, 9000, command, f"{users}:/etc/users.toml:ro", network=network) as (container, port):
        credentials = {
            "AWS_ACCESS_KEY_ID": access,
            "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        repository = f"s3:http://127.0.0.1:{port}/backups/repository"
        yield Store("s3", container, data / "backups" / "repository", repository, credentials)


SERVERS: dict[str, Callable[[Path], Any]] = {"rest": rest, "sftp": sftp, "s3": s3}


class Client:
    """The real restic on a store, with its secrets in files and in the environment."""

    def __init__(self, directory: Path, store: Store | None = None, repository: str = "") -> None:
        directory.mkdir(exist_ok=True)
        self.store = store
        self.repository, self.password = directory / "repository", directory / "password"
        self.repository.write_text(store.repository if store else repository)
        self.password.write_text("secret")
        self.cache = directory / "cache"

    def run(
        self, *arguments: str, source: Client | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run restic."""
        command = ["restic", "--repository-file", str(self.repository), "--password-file", str(self.password)]
        command += ["--cache-dir", str(self.cache)]
        for name, value in (self.store.options if self.store else {}).items():
            command += ["--option", f"{name}={value}"]
        command += arguments
        if source:
            command += ["--from-repository-file", str(source.repository), "--from-password-file", str(source.password)]
        environment = os.environ | (self.store.environment if self.store else {})
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL, check=False
        )
        assert not check or done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
        return done
