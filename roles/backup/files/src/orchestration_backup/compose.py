# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Docker Compose: pause, stop and start the host's services, and talk to their PostgreSQL."""

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

POSTGRES = "postgres"
"""The service, which the image calls its superuser and first database as well."""
PSQL = ("psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-U", "postgres")
PAUSE_TIMEOUT = UNPAUSE_TIMEOUT = 60
POLL = 2
# The exact number of rows of each table, in the transaction that the dump is made of as well.
COUNT_ROWS = r"""
SELECT format('%s.%s', table_schema, table_name),
  (xpath('/row/c/text()', query_to_xml(
    format('SELECT count(*) AS c FROM %I.%I', table_schema, table_name), false, true, '')))[1]::text
FROM information_schema.tables
WHERE table_type = 'BASE TABLE' AND table_schema NOT IN ('pg_catalog', 'information_schema') ORDER BY 1;
"""


def call(config: Config, *arguments: str, **options: Any) -> str:
    """Run Docker Compose on the host's project; options are those of `run`."""
    return process.run(["docker", "compose", *arguments], cwd=config.root, **options)


def images(config: Config) -> dict[str, dict[str, str]]:
    """Return image, tag and the local image's digests of each service of the project."""
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


def pausable(config: Config, status: str) -> list[str]:
    """Return which of the services that a backup pauses are `running`, or `paused`."""
    found = call(config, "ps", "--services", "--status", status).split()
    return [name for name in config.paused_services if name in found]


def pause(config: Config, wanted: list[str]) -> None:
    """Pause services; raise BackupError if one cannot be paused."""
    deadline = time.monotonic() + PAUSE_TIMEOUT
    while wanted:
        try:
            call(config, "pause", *wanted)
            return
        except BackupError:
            # On a busy host with the first version of control groups runc gives up before all threads are paused.
            if time.monotonic() > deadline:
                raise
            time.sleep(POLL)
            wanted = [name for name in wanted if name not in pausable(config, "paused")]


def unpause(config: Config, wanted: list[str]) -> None:
    """Let those of the services run again that are paused, and wait until Docker reports them healthy."""
    found = [name for name in pausable(config, "paused") if name in wanted]
    if not found:
        return
    call(config, "unpause", *found)
    deadline = time.monotonic() + UNPAUSE_TIMEOUT
    while "(unhealthy)" in call(config, "ps", *found) and time.monotonic() < deadline:
        time.sleep(1)


@contextlib.contextmanager
def paused(config: Config) -> Iterator[None]:
    """Pause services, so that all their files are of one moment; afterwards they run, whatever happens."""
    wanted = pausable(config, "running") if config.pause else []
    if not wanted:
        yield
        return
    # To Docker a paused container is unhealthy until its next check, and the watchdog would restart it.
    watched = process.succeeds(["systemctl", "is-active", "--quiet", config.watchdog])
    if watched:
        process.run(["systemctl", "stop", config.watchdog])
    try:
        try:
            pause(config, wanted)
            yield
        finally:
            unpause(config, wanted)
    finally:
        if watched:
            process.run(["systemctl", "start", config.watchdog])


def remove_containers(config: Config) -> None:
    """Remove the project's containers at once, whether there is a Compose file or not."""
    label = f"label=com.docker.compose.project={config.project}"
    containers = process.run(["docker", "ps", "--all", "--quiet", "--filter", label]).split()
    if containers:
        process.run(["docker", "rm", "--force", *containers])


def stop(config: Config) -> None:
    """Stop and remove the project's containers, if it has any."""
    if (config.root / config.compose_file).is_file():
        call(config, "down", "--timeout", str(config.kestra_stop_timeout))


def start(config: Config, *services: str) -> None:
    """Start services, all by default, and wait until they are healthy.

    Longer than Compose does: on a busy host a service is unhealthy for a while and recovers.
    Raise BackupError with the log of one that does not.
    """
    call(config, "up", "--detach", *services)
    deadline = time.monotonic() + config.start_timeout
    while True:
        listed = call(config, "ps", "--all", "--format", "{{.Service}} {{.State}} {{.Health}}", *services)
        states = [line.split() for line in listed.splitlines()]
        # One without a health check has no third word.
        ill = [state for state in states if state[1:] not in (["running", "healthy"], ["running"])]
        if not ill:
            return
        if time.monotonic() > deadline:
            name, state = ill[0][0], " and ".join(ill[0][1:])
            log = call(config, "logs", "--no-color", "--no-log-prefix", "--tail", "10", name)
            raise BackupError(f"{name} is {state} after {config.start_timeout} s. Its log: {log}")
        time.sleep(POLL)


def psql(config: Config, database: str, script: str) -> str:
    """Run SQL from standard input, where no other process sees it."""
    return call(config, "exec", "-T", POSTGRES, *PSQL, "-d", database, text=script)


def parse_rows(lines: list[str]) -> dict[str, int]:
    """Return the answer of COUNT_ROWS as a dictionary."""
    return {name: int(count) for name, _bar, count in (line.rpartition("|") for line in lines if line)}


def compare_rows(database: str, manifest: dict[str, Any], rows: dict[str, int]) -> None:
    """Raise BackupError if a table does not have the rows that were backed up."""
    expected = manifest["databases"][database]["rows"]
    wrong = [
        f"{name}: {rows.get(name)} instead of {expected.get(name)}"
        for name in sorted(expected.keys() | rows.keys())
        if rows.get(name) != expected.get(name)
    ]
    if wrong:
        raise BackupError(f"database {database}: rows differ from the backup: {', '.join(wrong[:5])}")
