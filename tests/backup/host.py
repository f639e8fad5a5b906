"""A host for the backup program: files, a stand-in for Docker, local stores, and what a test may ask of all that."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.unit.roles.backup_program import PROGRAM

from .keys import cheapen

HERE = Path(__file__).parent
IMAGES = {"postgres": "postgres:17.2", "kestra": "kestra/kestra:v2.0.5", "n8n": "n8nio/n8n:2.41.1"}
# In each secret, each row, and each file: where it is found in the clear, something was left behind.
PLAIN = b"in the clear"
KEEP = {"daily": 7, "weekly": 5, "monthly": 12, "upgrade": 3, "manual": 30}
FILES = ("secrets", "env", "services", "kestra-config", "compose.yml", "data/kestra", "data/n8n")
STAGING = (".creating", ".restoring", ".verifying")


class Host:
    """What is below one directory: `live` is the host with its stores, `base` a copy of it to go back to."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.live = directory, directory / "live"
        self.root = self.live / "root"
        self.state_directory = self.root / "backups"
        self.temporary = self.live / "tmp"
        self.config = self.live / "backup.json"
        self.stand_in = self.live / "docker.json"

    def make(
        self, *, stores: tuple[str, ...] = ("local",), keep: dict[str, int] | None = None, pause: bool = True
    ) -> Host:
        """Make the files, the cluster, and the configuration."""
        for name, text in {
            "secrets/n8n_encryption_key": f"key {PLAIN.decode()}",
            "secrets/kestra_database_password": "it's",
            "secrets/n8n_database_password": "other",
            "secrets/kestra_password": "secret",
            "secrets/backup_password": "password of the stores",
            "env/n8n.env": "N8N_ENCRYPTION_KEY='key'\n",
            "env/kestra.env": "A='b'\n",
            "services/n8n.yml": "services: {}\n",
            "services/postgres.yml": "services:\n  postgres:\n    image: postgres:17.2\n",
            "kestra-config/standalone.yml": "kestra: {}\n",
            "compose.yml": "name: orchestration\n",
            "data/kestra/main/company/file with spaces": f"stored {PLAIN.decode()}",
            "data/n8n/config": "{}",
        }.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            path.chmod(0o600)
        (self.root / "data/n8n/link").symlink_to("config")
        os.link(self.root / "data/n8n/config", self.root / "data/n8n/hard")
        (self.root / "data/n8n/shared").mkdir()
        (self.root / "data/n8n/shared").chmod(0o2770)
        (self.root / "data/postgres/pgdata").mkdir(parents=True)
        (self.root / "data/postgres/pgdata/PG_VERSION").write_text("17\n")
        self.state_directory.mkdir()
        self.temporary.mkdir()
        self.stand_in.write_text(
            json.dumps(
                {
                    "root": str(self.root),
                    "project": "orchestration",
                    "images": IMAGES,
                    "services": dict.fromkeys(IMAGES, "running"),
                    "trials": {},
                    "networks": [],
                    "credentials": 2,
                }
            )
        )
        self.write_cluster(
            {
                "kestra": {"tables": {"public.flows": [f"flow {PLAIN.decode()}"]}},
                "n8n": {
                    "tables": {
                        "public.workflow_entity": ["one", "two"],
                        "public.credentials_entity": [f"a {PLAIN.decode()}", f"b {PLAIN.decode()}"],
                    }
                },
            }
        )
        targets = []
        for name in stores:
            location = self.live / f"{name}.repository"
            location.write_text(str(self.store(name)))
            targets.append(
                {
                    "name": name,
                    "repository_file": str(location),
                    "environment_file": "",
                    "options": {},
                    "append_only": False,
                    "upload_limit": 0,
                    "download_limit": 0,
                    "keep": keep or KEEP,
                }
            )
        self.configure(targets)
        return self

    def store(self, name: str) -> Path:
        """Return the directory of a local store."""
        return self.root / "backups" / "store" if name == "local" else self.live / name

    def configure(self, targets: list[dict[str, Any]], **changes: Any) -> None:
        """Write backup.json."""
        state = self.state_directory
        settings = {
            "root": str(self.root),
            "project": "orchestration",
            "compose_file": "compose.yml",
            "services_directory": "services",
            "environment_directory": "env",
            "secrets_directory": "secrets",
            "cluster": "data/postgres",
            "cluster_directories": ["data/postgres/pgdata", "data/postgres/run"],
            "data": {"postgres": "data/postgres/pgdata/PG_VERSION", "kestra": "data/kestra", "n8n": "data/n8n"},
            "databases": [
                {"name": name, "owner": name, "password_secret": f"{name}_database_password"}
                for name in ("kestra", "n8n")
            ],
            "files": list(FILES),
            "former_names": {},
            "directory": str(state),
            "password_file": str(self.root / "secrets" / "backup_password"),
            "targets": targets,
            "pause": True,
            "paused_services": ["kestra", "n8n"],
            "start_timeout": 20,
            "kestra_stop_timeout": 30,
            "state_directory": str(state),
            "cache_directory": str(self.live / "cache"),
            "minimum_free": 0,
            "lock": str(state / ".lock"),
            "last": str(state / "last.json"),
            "state": str(state / "state.json"),
            "paused": str(state / "paused.json"),
            "journal": str(state / "restore.json"),
            "host_lock": str(self.live / "host.lock"),
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
        self.config.write_text(json.dumps(settings | changes))

    def setting(self, name: str) -> Any:
        """Return a key of backup.json."""
        return json.loads(self.config.read_text())[name]

    @property
    def cluster_file(self) -> Path:
        """The stand-in's PostgreSQL."""
        return self.root / "data/postgres/pgdata/cluster.json"

    def write_cluster(self, databases: dict[str, Any]) -> None:
        """Give the databases their content."""
        self.cluster_file.write_text(json.dumps({"databases": databases, "roles": ["foreign", "kestra", "n8n"]}))

    def change(self, text: str) -> None:
        """Change a file and a row, so that states differ."""
        (self.root / "data/kestra/changed").write_text(f"{text} {PLAIN.decode()}")
        cluster = json.loads(self.cluster_file.read_text())
        cluster["databases"]["n8n"]["tables"]["public.workflow_entity"] = [text, *map(str, range(len(text)))]
        self.cluster_file.write_text(json.dumps(cluster))

    def content(self) -> dict[str, Any]:
        """Return all that a backup contains: what is at each path, and the databases."""
        found: dict[str, Any] = {}
        for item in FILES:
            for path in (self.root / item, *(self.root / item).rglob("*")):
                status = path.lstat()
                data: Any = b""
                if stat.S_ISREG(status.st_mode):
                    data = path.read_bytes() if status.st_size < 10_000_000 else status.st_size
                elif path.is_symlink():
                    data = path.readlink()
                found[str(path.relative_to(self.root))] = (status.st_mode, status.st_nlink, data)
                if stat.S_ISDIR(status.st_mode):
                    found[str(path.relative_to(self.root))] = (status.st_mode, 0, b"")
        cluster = self.cluster_file
        found["databases"] = json.loads(cluster.read_text())["databases"] if cluster.exists() else None
        return found

    def cheapen(self) -> None:
        """Let the local stores open at once."""
        for target in self.setting("targets"):
            cheapen(self.store(target["name"]), "password of the stores")

    def keep_base(self) -> None:
        """Keep everything as it is now."""
        shutil.rmtree(self.directory / "base", ignore_errors=True)
        subprocess.run(["cp", "-a", self.live, self.directory / "base"], check=True)

    def go_back(self) -> None:
        """Put everything back as it was kept, at the same paths."""
        shutil.rmtree(self.live, ignore_errors=True)
        subprocess.run(["cp", "-a", self.directory / "base", self.live], check=True)

    def lose(self) -> None:
        """Lose the host with its disk. The new one has the configuration, and the keys that were kept elsewhere."""
        password = Path(self.setting("password_file"))
        text = password.read_text()
        for path in (self.root, self.live / "cache"):
            shutil.rmtree(path, ignore_errors=True)
        password.parent.mkdir(parents=True)
        password.touch(mode=0o600)
        password.write_text(text)
        self.state_directory.mkdir()
        state = json.loads(self.stand_in.read_text())
        self.stand_in.write_text(json.dumps(state | {"services": {}}))

    def environment(self, **more: str) -> dict[str, str]:
        """Return the environment of the program: our programs come first, and temporary files have their own place."""
        path = os.pathsep.join([str(HERE / "programs"), os.environ["PATH"]])
        return os.environ | {
            "PATH": path,
            "TMPDIR": str(self.temporary),
            "DEVORCH_STAND_IN": str(self.stand_in),
            "ORCHESTRATION_LOCK_HELD": "1",
            **more,
        }

    def begin(self, *arguments: str, **more: str) -> subprocess.Popen[str]:
        """Start the program."""
        return subprocess.Popen(
            [sys.executable, str(PROGRAM), "--config", str(self.config), *arguments],
            env=self.environment(**more),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # A kill of the group ends all that it started.
            start_new_session=True,
        )

    def run(self, *arguments: str, code: int = 0, timeout: float = 120, **more: str) -> dict[str, Any]:
        """Run the program to its end, which has this exit code, and return its result, or its errors."""
        program = self.begin(*arguments, **more)
        output, errors = program.communicate(timeout=timeout)
        assert program.returncode == code, f"{arguments}: {program.returncode}\n{output}{errors}"
        found: dict[str, Any] = json.loads(output) if output.strip() else {}
        return found | {"errors": errors}

    def restic(self, name: str, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run restic on a local store."""
        command = ["restic", "--repo", str(self.store(name)), "--password-file", self.setting("password_file")]
        command += ["--no-cache", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=check)

    def complete(self, name: str) -> set[str]:
        """Return the backups that a store has with both parts."""
        parts: dict[str, set[str]] = {}
        for snapshot in json.loads(self.restic(name, "snapshots", "--json", "--no-lock").stdout) or []:
            tags = dict(tag.partition("=")[::2] for tag in snapshot["tags"])
            parts.setdefault(tags["backup"], set()).add(tags["part"])
        return {backup for backup, found in parts.items() if found == {"files", "databases"}}

    def left_behind(self) -> list[str]:
        """Return what a command must not leave: paused services, staged files, and plain text."""
        state = json.loads(self.stand_in.read_text())
        found = [f"{name} is {status}" for name, status in state["services"].items() if status != "running"]
        found += [f"{name} does not run" for name in IMAGES if name not in state["services"]]
        found += [f"trial container {name}" for name in state["trials"]]
        found += [f"trial network {name}" for name in state["networks"]]
        found += [path.name for path in map(Path, (self.setting("paused"), self.setting("journal"))) if path.exists()]
        found += [f"temporary {path.name}" for path in self.temporary.iterdir()]
        ours = [*FILES, "data/postgres"]
        for path in self.live.rglob("*"):
            if path.name.startswith(STAGING) or ".restored" in path.name or ".previous" in path.name:
                found.append(str(path.relative_to(self.live)))
            elif (
                path.is_file()
                and not path.is_symlink()
                and not any(path.is_relative_to(self.root / item) for item in ours)
                and PLAIN in path.read_bytes()
            ):
                found.append(f"plain text in {path.relative_to(self.live)}")
        return found

    def check_stores(self) -> None:
        """See that every local store is whole."""
        for target in self.setting("targets"):
            done = self.restic(target["name"], "check", "--read-data", "--no-lock", check=False)
            assert done.returncode == 0, f"{target['name']}: {done.stdout}{done.stderr}"


def next_second() -> None:
    """Wait for the next second: a backup is named after it."""
    time.sleep(1.01 - time.time() % 1)
