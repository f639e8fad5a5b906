# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Verify a backup: restore it into temporary containers on an isolated network, and count their contents.

The host's own services are not touched.
"""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

from . import compose, process
from .config import Config
from .environment_file import parse
from .errors import BackupError
from .files import iso_time, now, remove, write_private
from .manifest import GRANTS, counts, summary
from .restore import Source, foreign_roles, permissions, text_of
from .state import State

STAGING = ".verifying"
"""The directory of the restored files, in the state directory."""
LABEL = "devorch.orchestration.verify"
"""What containers and networks of a verification carry, with the project, so that leftovers are found."""
# An export activates no workflow. Decrypted credentials stay in the container's memory; only their number is printed.
SCRATCH = "/scratch"
DECRYPT = f"""
n8n export:credentials --all --decrypted --output={SCRATCH}/credentials >{SCRATCH}/log 2>&1 || {{
  tail -n 5 {SCRATCH}/log >&2
  exit 1
}}
node -e 'const all = JSON.parse(require("fs").readFileSync("{SCRATCH}/credentials"));
console.log(all.filter((one) => one.data && typeof one.data === "object").length)'
"""


class Sandbox:
    """Temporary containers on an isolated network. They are removed at the end, with their data."""

    def __init__(self, config: Config, manifest: dict[str, Any], directory: Path) -> None:
        self.name = f"{config.project}-verify"
        self.label = ("--label", f"{LABEL}={config.project}")
        self.config = config
        self.manifest = manifest
        self.directory = directory

    def __enter__(self) -> Sandbox:
        process.run(["docker", "network", "create", "--internal", *self.label, self.name])
        return self

    def __exit__(self, *_exception: object) -> None:
        sweep(self.config)

    def start(
        self,
        service: str,
        *options: str,
        command: tuple[str, ...] = (),
        once: bool = False,
        environment: dict[str, str] | None = None,
    ) -> str:
        """Run a container of the image that the backup names. With `once`, wait for its end and return its output."""
        name = f"{self.name}-{service}"
        mode = ["--rm"] if once else ["--detach", "--network-alias", service]
        image = self.manifest["images"][service]["image"]
        run = ["docker", "run", *mode, *self.label, "--name", name, "--network", self.name, *options, image, *command]
        return process.run(run, environment=environment)

    def execute(self, service: str, *command: str, **options: Any) -> str:
        """Run a command in a container. The options are those of `process.run`."""
        return process.run(["docker", "exec", "--interactive", f"{self.name}-{service}", *command], **options)

    def wait(self, service: str, *command: str) -> None:
        """Wait until a command in a container succeeds; raise BackupError with the container's log if it does not."""
        deadline = time.monotonic() + self.config.start_timeout
        while True:
            try:
                self.execute(service, *command)
                return
            except BackupError as error:
                name = f"{self.name}-{service}"
                running = process.run(["docker", "inspect", "--format", "{{.State.Running}}", name]) == "true"
                if running and time.monotonic() < deadline:
                    time.sleep(1)
                    continue
                log = process.output(["docker", "logs", "--tail", "15", name])
                raise BackupError(f"{service} does not start on the restored data: {log}") from error

    def environment(self, service: str) -> tuple[list[str], dict[str, str]]:
        """Return the options of `docker run` for a service's restored environment, and what they read from our own.

        A file of `docker run` has one line per variable, so the others are given by name.
        """
        variables = parse((self.directory / self.config.environment_directory / f"{service}.env").read_text("utf-8"))
        several = {name: value for name, value in variables.items() if re.search("[\r\n]", value)}
        path = self.directory / f"{service}.environment"
        path.touch(0o600)
        path.write_text(
            "".join(f"{name}={value}\n" for name, value in variables.items() if name not in several), encoding="utf-8"
        )
        return ["--env-file", str(path), *(option for name in several for option in ("--env", name))], several

    def tolerant(self, script: str) -> str:
        """Run SQL that may fail in parts; return its output with the errors."""
        command = ["docker", "exec", "--interactive", f"{self.name}-{compose.POSTGRES}", *compose.LENIENT]
        return process.output(command, text=script)

    def databases(self) -> list[str]:
        """Load the databases, and compare their numbers of rows; return what could not be created."""
        postgres = compose.POSTGRES
        self.start(postgres, "--env", "POSTGRES_HOST_AUTH_METHOD=trust")
        self.wait(postgres, "pg_isready", "--quiet", "--host", "127.0.0.1", "--username", "postgres")
        for database in self.config.databases:
            self.execute(postgres, *compose.PSQL, "-c", f"CREATE ROLE {database.owner} LOGIN")
        uncovered = compose.errors(self.tolerant(foreign_roles(self.config, self.directory)))
        for dump, database in self.config.dumps.items():
            name, owner = database.name, database.owner
            self.execute(postgres, *compose.PSQL, "-c", f"CREATE DATABASE {name} OWNER {owner} TEMPLATE template0")
            with (self.directory / dump).open("rb") as source:
                command = ["pg_restore", "--exit-on-error", *permissions(self.directory), "-U", "postgres", "-d", name]
                self.execute(postgres, *command, source=source)
            rows = self.execute(postgres, *compose.PSQL, "-d", name, text=compose.COUNT_ROWS)
            compose.compare_rows(name, self.manifest, compose.parse_rows(rows.splitlines()))
        return uncovered + compose.errors(self.tolerant(text_of(self.directory / GRANTS)))

    def n8n(self) -> int:
        """Decrypt the stored credentials with the restored key, in the container only; return their number."""
        expected = counts(self.manifest)["credentials"]
        if "n8n" not in self.manifest["images"] or not expected:
            return 0
        n8n = self.config.n8n
        mounts = ("--volume", f"{self.directory / n8n.data_directory}:{n8n.data_mount}")
        memory = ("--tmpfs", f"{SCRATCH}:mode=1777")
        variables, several = self.environment("n8n")
        options = (*mounts, *memory, *variables, "--entrypoint", "sh")
        shown = self.start("n8n", *options, command=("-c", DECRYPT), once=True, environment=several)
        decrypted = int(shown.splitlines()[-1])
        if decrypted != expected:
            raise BackupError(
                f"n8n: only {decrypted} of {expected} credentials can be decrypted with the key of the backup"
            )
        return decrypted

    def kestra(self) -> dict[str, int]:
        """Start only Kestra's web server, which executes nothing; return its numbers of flows and executions."""
        if "kestra" not in self.manifest["images"]:
            return {}
        kestra = self.config.kestra
        secret = self.directory / self.config.secrets_directory / kestra.password_secret
        # Archives of format 1 do not name the user.
        username = self.manifest.get("kestra_username", kestra.username)
        mounts = (
            "--volume",
            f"{self.directory / kestra.config_directory}:{kestra.config_mount}:ro",
            "--volume",
            f"{self.directory / kestra.data_directory}:{kestra.data_mount}",
        )
        variables, several = self.environment("kestra")
        options = ("--user", "root", *mounts, *variables, "--env", "JAVA_OPTS=-Xmx768m")
        server = ("server", "webserver", "--config", kestra.config_file)
        self.start("kestra", *options, command=server, environment=several)
        self.wait("kestra", "curl", "--fail", "--silent", "--output", "/dev/null", kestra.health_url)
        password = re.sub(r'["\\]', r"\\\g<0>", secret.read_text("utf-8").removesuffix("\n"))
        login = f'user = "{username}:{password}"'
        curl = ("curl", "--fail", "--silent", "--show-error", "--config", "-")
        found = {}
        for kind in ("flows", "executions"):
            answer = self.execute("kestra", *curl, f"{kestra.api_url}/{kind}/search?size=1", text=login)
            found[kind] = int(json.loads(answer)["total"])
        return found


def sweep(config: Config) -> None:
    """Remove the containers and networks of verifications, of this one or of one that was killed."""
    label = f"label={LABEL}={config.project}"
    containers = process.run(["docker", "ps", "--all", "--quiet", "--filter", label]).split()
    if containers:
        process.run(["docker", "rm", "--force", "--volumes", *containers])
    networks = process.run(["docker", "network", "ls", "--quiet", "--filter", label]).split()
    if networks:
        process.run(["docker", "network", "rm", *networks])


def verify(config: Config, source: Source) -> dict[str, Any]:
    """Restore a backup into temporary containers, count their contents, and remember the result."""
    root = config.state_directory / STAGING
    root.mkdir(mode=0o700)
    try:
        manifest = source.unpack(root, lambda item: root / item)
        with Sandbox(config, manifest, root) as sandbox:
            uncovered = sandbox.databases()
            result = summary(source.name, manifest) | {"uncovered": uncovered}
            result["counts"] |= {"decrypted": sandbox.n8n(), **sandbox.kestra()}
    except BaseException as error:
        remember(config, source, {"ok": False, "error": str(error) or type(error).__name__})
        raise
    finally:
        remove(root)
    result["verified"] = remember(config, source, {"ok": True, "counts": result["counts"]})
    if config.last.is_file():
        record = json.loads(config.last.read_text("utf-8"))
        if record.get("backup") == source.name:
            record |= {"verified": result["verified"], "counts": result["counts"]}
            write_private(config.last, json.dumps(record, indent=2))
    return result


def remember(config: Config, source: Source, result: dict[str, Any]) -> str:
    """Write the result of a trial restore to the state, and return its time."""
    state, time = State(config), iso_time(now())
    # A failure later on, such as that of a busy host, does not make a backup that was restored once a bad one.
    if result["ok"] or not state.verified_time(source.name):
        state.verified[source.name] = {"time": time, **result}
    state.latest_verification = {"backup": source.name, "time": time, **result}
    state.write()
    return time
