# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Docker Compose: pause, stop and start the host's services, and query their PostgreSQL.

It knows nothing of stores, except for the numbers of rows in a manifest.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from typing import Any

from orchestration_backup.versions import tag

from . import process
from .config import Config
from .errors import BackupError
from .files import write_private

POSTGRES = "postgres"
"""The name of the service. In the image it is also the name of the superuser and of the first database."""
PSQL = ("psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-U", "postgres")
LENIENT = ("psql", "-XqAt", "-U", "postgres")
"""It continues after an error, and names all of them."""
PAUSE_TIMEOUT = UNPAUSE_TIMEOUT = 60
POLL = 2
# The exact number of rows of each table, in the same transaction as the dump.
COUNT_ROWS = r"""
SELECT format('%s.%s', table_schema, table_name),
  (xpath('/row/c/text()', query_to_xml(
    format('SELECT count(*) AS c FROM %I.%I', table_schema, table_name), false, true, '')))[1]::text
FROM information_schema.tables
WHERE table_type = 'BASE TABLE' AND table_schema NOT IN ('pg_catalog', 'information_schema') ORDER BY 1;
"""


def call(config: Config, *arguments: str, **options: Any) -> str:
    """Run Docker Compose on the host's project. The options are those of `process.run`."""
    return process.run(["docker", "compose", *arguments], cwd=config.root, **options)


def images(config: Config) -> dict[str, dict[str, str]]:
    """Return the image, its tag and its local digests for each service of the project."""
    services = json.loads(call(config, "config", "--format", "json"))["services"]
    found = {}
    for name, service in sorted(services.items()):
        reference = service["image"]
        local = process.run(["docker", "image", "inspect", "--format", '{{join .RepoDigests " "}}', reference])
        found[name] = {
            "image": reference,
            "version": tag(reference) or "latest",
            "digests": local,
        }
    return found


def services_with_status(config: Config, status: str) -> list[str]:
    """Return those of the services that a backup pauses which are `running`, or `paused`."""
    found = call(config, "ps", "--services", "--status", status).split()
    return [name for name in config.paused_services if name in found]


def pause(config: Config, services: list[str]) -> None:
    """Pause services; raise BackupError if one cannot be paused."""
    deadline = time.monotonic() + PAUSE_TIMEOUT
    while services:
        try:
            call(config, "pause", *services)
            return
        except BackupError:
            # On a busy host with cgroups v1, runc gives up before all threads are paused.
            if time.monotonic() > deadline:
                raise
            time.sleep(POLL)
            services = [name for name in services if name not in services_with_status(config, "paused")]


def unpause(config: Config, services: list[str]) -> None:
    """Unpause those of the services that are paused, and wait until Docker reports them healthy."""
    found = [name for name in services_with_status(config, "paused") if name in services]
    if not found:
        return
    call(config, "unpause", *found)
    deadline = time.monotonic() + UNPAUSE_TIMEOUT
    while "(unhealthy)" in call(config, "ps", *found) and time.monotonic() < deadline:
        time.sleep(1)


@contextlib.contextmanager
def paused(config: Config) -> Iterator[None]:
    """Pause services, so that their files are consistent. Unpause them in any case.

    The journal is written first. If this program is killed, the watchdog, the unit or the next command unpauses what it
    names. The watchdog restarts nothing while there is a journal and this program holds the backup lock.
    """
    services = services_with_status(config, "running")
    if not services:
        yield
        return
    write_private(config.paused, json.dumps({"services": services}))
    try:
        pause(config, services)
        yield
    finally:
        thaw(config)


def thaw(config: Config) -> bool:
    """Unpause what the pause journal names; return whether there was a journal.

    The journal stays if a service cannot be unpaused, so that the next command tries again.
    """
    try:
        found = json.loads(config.paused.read_text("utf-8"))
    except FileNotFoundError:
        return False
    except ValueError:
        found = {"services": list(config.paused_services)}
    # Without a Compose file there is no project, and so nothing that is paused.
    if (config.root / config.compose_file).is_file():
        unpause(config, found["services"])
    config.paused.unlink()
    return True


def remove_containers(config: Config) -> None:
    """Remove the project's containers at once, also without a Compose file."""
    label = f"label=com.docker.compose.project={config.project}"
    containers = process.run(["docker", "ps", "--all", "--quiet", "--filter", label]).split()
    if containers:
        process.run(["docker", "rm", "--force", *containers])


def stop(config: Config) -> None:
    """Stop and remove the project's containers, if there is a Compose file."""
    if (config.root / config.compose_file).is_file():
        call(config, "down", "--timeout", str(config.kestra_stop_timeout))


def start(config: Config, *services: str) -> None:
    """Start services, by default all, and wait until they are healthy.

    The wait is longer than that of Compose, because on a busy host a service may be unhealthy for a while and recover.
    Raise BackupError with the log of a service that does not.
    """
    call(config, "up", "--detach", *services)
    deadline = time.monotonic() + config.start_timeout
    while True:
        listed = call(config, "ps", "--all", "--format", "{{.Service}} {{.State}} {{.Health}}", *services)
        states = [line.split() for line in listed.splitlines()]
        # A service without a health check has no third word.
        failing = [state for state in states if state[1:] not in (["running", "healthy"], ["running"])]
        if not failing:
            return
        if time.monotonic() > deadline:
            name, state = failing[0][0], " and ".join(failing[0][1:])
            log = call(config, "logs", "--no-color", "--no-log-prefix", "--tail", "10", name)
            raise BackupError(f"{name} is {state} after {config.start_timeout} s. Its log: {log}")
        time.sleep(POLL)


def psql(config: Config, database: str, script: str) -> str:
    """Run SQL. It is passed on standard input, where no other process can read it."""
    return call(config, "exec", "-T", POSTGRES, *PSQL, "-d", database, text=script)


def errors(output: str) -> list[str]:
    """Return the errors in the output of LENIENT. Their lines after the first may contain a password."""
    return [line.partition("ERROR:")[2].strip() for line in output.splitlines() if "ERROR:" in line]


def parse_rows(lines: list[str]) -> dict[str, int]:
    """Return the result of COUNT_ROWS as a dictionary."""
    return {name: int(count) for name, _bar, count in (line.rpartition("|") for line in lines if line)}


def compare_rows(database: str, manifest: dict[str, Any], rows: dict[str, int]) -> None:
    """Raise BackupError if the number of rows of a table differs from the backup."""
    expected = manifest["databases"][database]["rows"]
    differences = [
        f"{name}: {rows.get(name)} instead of {expected.get(name)}"
        for name in sorted(expected.keys() | rows.keys())
        if rows.get(name) != expected.get(name)
    ]
    if differences:
        raise BackupError(f"database {database}: rows differ from the backup: {', '.join(differences[:5])}")
