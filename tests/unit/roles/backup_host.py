"""A host for the tests of the backup program: its files and configuration, real restic, and stand-ins for Docker."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from orchestration_backup import compose, process
from orchestration_backup.config import Config
from orchestration_backup.errors import BackupError

VERSIONS = {"postgres": "17", "kestra": "v2.0.5", "n8n": "2.41.1"}
FILES = {
    "secrets/n8n_encryption_key": "key",
    "secrets/kestra_database_password": "it's",
    "secrets/n8n_database_password": "other",
    "secrets/backup_password": "of the store",
    "env/n8n.env": "N8N_ENCRYPTION_KEY='key'\n",
    "services/n8n.yml": "services: {}\n",
    "kestra-config/standalone.yml": "kestra: {}\n",
    "rollback/n8n/record.json": "{}",
    "compose.yml": "name: orchestration\n",
    "data/kestra/main/company/file with spaces": "stored",
    "data/n8n/config": "{}",
    "sidecar-data/environments/stage.json": "{}",
}
KEEP = {"daily": 7, "weekly": 5, "monthly": 12, "upgrade": 3, "manual": 3}


def install_restic() -> None:
    """Install restic from the distribution, as hosts have it. Several workers may ask at once."""
    with (Path(tempfile.gettempdir()) / "devorch-restic.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not shutil.which("restic"):
            apt = ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=600"]
            subprocess.run([*apt, "update"], check=True, capture_output=True)
            environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
            install = [*apt, "install", "-y", "--no-install-recommends", "restic"]
            subprocess.run(install, check=True, capture_output=True, env=environment)


def target(name: str, tmp_path: Path, **changes: Any) -> dict[str, Any]:
    """Return a store in a directory, as the role describes it."""
    file = tmp_path / f"{name}.repository"
    file.write_text(f"{tmp_path / 'stores' / name}\n")
    return {
        "name": name,
        "repository_file": str(file),
        "environment_file": "",
        "options": {},
        "append_only": False,
        "upload_limit": 0,
        "download_limit": 0,
        "keep": KEEP,
        **changes,
    }


def settings(tmp_path: Path) -> dict[str, Any]:
    """Return the backup.json that the role writes, without stores."""
    root = tmp_path / "root"
    return {
        "root": str(root),
        "project": "orchestration",
        "compose_file": "compose.yml",
        "services_directory": "services",
        "environment_directory": "env",
        "secrets_directory": "secrets",
        "cluster": "data/postgres",
        "cluster_directories": ["data/postgres/pgdata", "data/postgres/run"],
        "data": {"postgres": "data/postgres/pgdata/PG_VERSION", "kestra": "data/kestra", "n8n": "data/n8n"},
        "databases": [
            {"name": name, "owner": name, "password_secret": f"{name}_database_password"} for name in ("kestra", "n8n")
        ],
        "files": [
            *("secrets", "env", "services", "kestra-config", "rollback", "versions", "compose.yml"),
            *("data/kestra", "data/n8n", "sidecar-data/environments"),
        ],
        "former_names": {"former": "rollback"},
        "directory": str(root / "backups"),
        "password_file": str(root / "secrets" / "backup_password"),
        "targets": [],
        "pause": False,
        "paused_services": ["kestra", "n8n"],
        "start_timeout": 600,
        "kestra_stop_timeout": 330,
        "state_directory": str(root / "backups"),
        "cache_directory": str(root / "backups" / ".cache"),
        "minimum_free": 1024,
        "lock": str(root / "backups" / ".lock"),
        "last": str(root / "backups" / "last.json"),
        "state": str(root / "backups" / "state.json"),
        "paused": str(root / "backups" / "paused.json"),
        "journal": str(root / "backups" / "restore.json"),
        "host_lock": str(tmp_path / "host.lock"),
        "host_lock_expires": 3600,
        "kestra": {
            "config_directory": "kestra-config",
            "config_mount": "/app/kestra-config",
            "config_file": "/app/kestra-config/standalone.yml",
            "data_directory": "data/kestra",
            "data_mount": "/app/data",
            "health_url": "http://localhost:8081/health",
            "api_url": "http://localhost:8080/api/v1/main",
            "username": "admin@example.com",
            "password_secret": "kestra_password",
        },
        "n8n": {"data_directory": "data/n8n", "data_mount": "/home/node/.n8n"},
    }


def write_config(tmp_path: Path, *targets: dict[str, Any], **changes: Any) -> Config:
    """Write backup.json and read it with the program."""
    path = tmp_path / "backup.json"
    path.write_text(json.dumps(settings(tmp_path) | {"targets": list(targets)} | changes))
    return Config.read(path)


def make_host(tmp_path: Path) -> Config:
    """Write the files of a host as the roles create them, with one store."""
    root = tmp_path / "root"
    for name, text in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o600)
    (root / "data/kestra/empty").mkdir()
    (root / "data/postgres/pgdata").mkdir(parents=True)
    (root / "data/postgres/pgdata/PG_VERSION").write_text("17\n")
    (root / "backups").mkdir()
    return write_config(tmp_path, target("local", tmp_path))


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """A host with real restic, and Docker that answers what a backup asks."""
    install_restic()
    return make_host(tmp_path)


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put FAKE_DOCKER in the place of Docker, and return the log of its commands."""
    program = tmp_path / "path" / "docker"
    program.parent.mkdir()
    program.write_text(FAKE_DOCKER)
    program.chmod(0o755)
    log = tmp_path / "docker.log"
    log.touch()
    monkeypatch.setenv("FAKE_DOCKER_LOG", str(log))
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return log


FAKE_DOCKER = r"""#!/usr/bin/python3
import json, os, sys, time
words = " ".join(sys.argv[1:])
with open(os.environ["FAKE_DOCKER_LOG"], "a") as log:
    log.write(words + "\n")
if words.startswith("compose config"):
    print(json.dumps({"services": {"n8n": {"image": "docker.io/n8nio/n8n:2.41.1@sha256:00"}}}))
elif words.startswith("image inspect"):
    print("n8nio/n8n@sha256:00")
elif words.startswith("compose ps --services"):
    print(os.environ.get("FAKE_DOCKER_" + sys.argv[-1].upper(), ""))
elif "pg_dumpall" in words:
    print("--\n-- Roles\n--\n\nCREATE ROLE grafana;\nALTER ROLE grafana WITH NOSUPERUSER;\nCREATE ROLE n8n;\n")
elif "pg_dump" in words:
    assert "--snapshot 0001" in words and "-Z0" in words
    time.sleep(float(os.environ.get("FAKE_DOCKER_SECONDS", "0")))
    print("PGDMP of", sys.argv[-1])
elif "psql" in words:
    query = ""
    for line in sys.stdin:
        if not line.startswith("\\echo"):
            query += line
            continue
        if "pg_export_snapshot" in query:
            print("0001")
        elif "count(*)" in query:
            n8n = "public.workflow_entity|2\npublic.credentials_entity|0"
            print(n8n if sys.argv[-1] == "n8n" else "public.flows|5")
        elif "server_version" in query:
            print("17.2 (Debian)")
        elif "pg_database_size" in query:
            print("8000000")
        query = ""
        print("end of answer", flush=True)
    if "pg_database_size" in query:
        print("8000000")
    elif "aclexplode" in query:
        if "datname = 'n8n'" in query:
            print("GRANT CONNECT ON DATABASE n8n TO grafana;")
    elif "datistemplate" in query:
        print("kestra\nn8n\nreports")
elif words.split()[0] in ("ps", "network") or words.startswith(("compose pause", "compose unpause", "compose ps")):
    pass
else:
    sys.exit(f"unexpected: {words}")
"""


class Docker:
    """A stand-in for Docker in a restore: it records its commands, and fails at one that contains `failing`."""

    def __init__(self, config: Config, monkeypatch: pytest.MonkeyPatch, failing: str = "") -> None:
        self.config, self.failing = config, failing
        self.commands: list[str] = []
        self.scripts: list[str] = []
        self.environments: list[tuple[str, dict[str, str]]] = []
        self.answers: dict[str, str] = {}
        self.real = process.run
        monkeypatch.setattr(process, "run", self)
        monkeypatch.setattr(process, "output", self)

    def __call__(self, command: list[str], **options: Any) -> str:
        if command[0] in ("restic", "fallocate"):
            return str(self.real(command, **options))
        text = " ".join(command)
        self.commands.append(text)
        self.scripts.append(options.get("text") or "")
        if "--env-file" in command:
            assert command[command.index("--env") + 1] == "KEY"
            file = Path(command[command.index("--env-file") + 1])
            self.environments.append((file.read_text(), options["environment"]))
        if "up" in command and "postgres" in command:
            # Docker does not create what it mounts.
            made = [(self.config.root / name).stat().st_mode & 0o777 for name in self.config.cluster_directories]
            assert made == [0o755, 0o755]
            (self.config.root / "data/postgres/fresh").mkdir(parents=True, exist_ok=True)
        if "{{.Health}}" in text and not self.failing:
            return "postgres running healthy\nother running"
        if self.failing and self.failing in text + self.scripts[-1]:
            self.failing = ""
            raise BackupError("by request of the test")
        if options.get("text") == compose.COUNT_ROWS:
            n8n = "public.workflow_entity|2\npublic.credentials_entity|0"
            return n8n if command[-1] == "n8n" else "public.flows|5"
        return next((answer for part, answer in self.answers.items() if part in text), "")


def tree(root: Path) -> dict[str, tuple[int, bytes]]:
    """Return the mode and content of everything below a directory, except what the program keeps of itself."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if (name.startswith("backups/") and path.suffix in (".tar", ".json", "")) or name == "backups/.lock":
            continue
        content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        found[name] = (path.lstat().st_mode, content)
    return found


class Copied:
    """A backup that is a copy of the host's files, for tests of what does not depend on the store."""

    def __init__(self, config: Config, directory: Path) -> None:
        self.name = "20260131T120000Z"
        self.config, self.directory = config, directory
        for item in config.files:
            copy(config.root / item, directory / item)
        (directory / "dumps").mkdir()
        for dump in config.dumps:
            (directory / "dumps" / dump).write_bytes(b"PGDMP")
        (directory / "dumps" / "globals.sql").touch()
        self.manifest: dict[str, Any] = {
            "root": str(config.root),
            "created": "2026-01-31T12:00:00Z",
            "host": "here",
            "images": {name: {"image": f"{name}:{version}", "version": version} for name, version in VERSIONS.items()},
            "databases": {
                "kestra": {"server": "17.2", "rows": {"public.flows": 5}},
                "n8n": {"server": "17.2", "rows": {"public.workflow_entity": 2, "public.credentials_entity": 0}},
            },
            "files": len(FILES),
        }

    def check(self, *, read_data: bool = False) -> dict[str, Any]:
        """Return the manifest."""
        return self.manifest

    def unpack(self, dumps: Path, place: Callable[[str], Path]) -> dict[str, Any]:
        """Copy everything."""
        for item in self.config.files:
            copy(self.directory / item, place(item))
        shutil.copytree(self.directory / "dumps", dumps, dirs_exist_ok=True)
        return self.manifest


def copy(source: Path, place: Path) -> None:
    """Copy a file or a directory, if it exists."""
    if source.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copy2)(source, place)  # type: ignore[operator]
