# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The command line: it runs one command and prints its result as one line of JSON. The work is done elsewhere."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any, NoReturn

from . import __doc__ as description
from .archive import Archive
from .config import Config
from .create import create
from .errors import BackupError, Stopped
from .keep import copy
from .leftovers import sweep, thaw
from .lock import acquire, wait_and_acquire
from .migrate import migrate
from .restore import Source, check, recover, restore
from .space import named
from .state import State
from .store import Store, first_store
from .verify import verify

WAIT = "wait while a playbook or another backup runs"
PARTLY = 3
"""The exit code of a command whose backup exists, but lacks files, or is not in each store."""


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    top = argparse.ArgumentParser(prog="orchestration-backup", description=description)
    # The role writes the configuration beside the program.
    default = Path(sys.argv[0]).resolve().with_name("backup.json")
    top.add_argument("--config", type=Path, default=default, help="the configuration (default: %(default)s)")
    commands = top.add_subparsers(dest="command", required=True)
    command = commands.add_parser("create", help="create a backup, copy it to all stores, and remove old ones")
    command.add_argument("--reason", choices=("nightly", "manual", "upgrade"), default="manual", help="why")
    command.add_argument("--wait", action="store_true", help=WAIT)
    command.add_argument("--no-copy", action="store_true", help="only make it in the first store")
    commands.add_parser("recover", help="put back the previous state after an interrupted restore")
    commands.add_parser("thaw", help="unpause what an interrupted backup has paused")
    for name, text in (("list", "list the backups"), ("copy", "copy to the stores what they lack")):
        commands.add_parser(name, help=text).add_argument("--target", default="", help="only this store")
    for name, text in (
        ("check", "check a backup without changing anything"),
        ("restore", "replace the host's state with that of a backup"),
        ("migrate", "restore a backup with another PostgreSQL and keep the previous cluster"),
        ("verify", "restore a backup into temporary containers and count its contents"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("backup", nargs="?", default="", help="id, or file of a tar archive (default: the newest)")
        command.add_argument("--target", default="", help="the store (default: the first)")
        command.add_argument("--identity", type=Path, help="private key of an encrypted tar archive")
        command.add_argument(
            "--expected", default="{}", help='what the inventory expects, as JSON: {"versions": {"n8n": "2.41.1"}}'
        )
        if name == "migrate":
            command.add_argument("--postgres-image", required=True, help="image of the new PostgreSQL")
        if name == "verify":
            command.add_argument("--wait", action="store_true", help=WAIT)
        if name == "check":
            command.add_argument("--read-data", action="store_true", help="read all data of the store")
    return top


def select(config: Config, options: argparse.Namespace) -> Source:
    """Return the backup that the options name: a tar archive, or one of a store."""
    name = options.backup
    if "/" in name or ".tar" in name:
        return Archive(config, Path(name) if "/" in name else config.directory / name, options.identity)
    return first_store(config, options.target).open().find(name)


def list_backups(config: Config, name: str) -> dict[str, Any]:
    """Return the backups of all stores or of one. A store that is away does not hide the others."""
    found: list[dict[str, Any]] = []
    unavailable = []
    state = State(config)
    for target in [first_store(config, name).target] if name else config.targets:
        try:
            backups = Store(config, target).backups()
        except BackupError as error:
            if name:
                raise
            unavailable.append({"name": target.name, "error": str(error)})
            continue
        found += [
            {
                "backup": backup.id,
                "reason": backup.reason,
                "host": backup.host,
                "target": backup.target,
                "verified": state.verified_time(backup.id),
                "complete": backup.complete,
            }
            for backup in backups
        ]
    return {"backups": found, "unavailable": unavailable}


def execute(config: Config, options: argparse.Namespace) -> dict[str, Any]:
    """Execute one command and return its result."""
    if options.command == "list":
        return list_backups(config, options.target)
    if options.command == "thaw":
        return thaw(config)
    with wait_and_acquire(config) if getattr(options, "wait", False) else acquire(config):
        # A playbook may have changed the configuration during the wait.
        config = Config.read(options.config)
        sweep(config, restores=options.command != "recover")
        if options.command == "recover":
            return recover(config)
        if options.command == "create":
            return create(config, options.reason, copies=not options.no_copy)
        if options.command == "copy":
            return copy(config, options.target)
        source = select(config, options)
        if options.command == "check":
            return check(config, source, json.loads(options.expected), read_data=options.read_data)
        if options.command == "restore":
            return restore(config, source, json.loads(options.expected))
        if options.command == "migrate":
            return migrate(config, source, options.postgres_image)
        return verify(config, source)


def exit_code(result: dict[str, Any]) -> int:
    """Return the exit code of a command that has a result."""
    failed = [target for target in result.get("targets", []) if not target["ok"]]
    return PARTLY if failed or result.get("incomplete") else 0


def on_signal(number: int, _frame: object) -> NoReturn:
    """Raise Stopped for a signal, so that everything is cleaned up and put back."""
    raise Stopped(f"stopped by {signal.Signals(number).name}")


def main() -> NoReturn:
    """Run the program and exit."""
    options = parser().parse_args()
    os.umask(0o077)
    signal.signal(signal.SIGTERM, on_signal)
    # A lost connection must not stop a restore in the middle.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        result = execute(Config.read(options.config), options)
    except (BackupError, OSError, Stopped) as error:
        print(f"orchestration-backup: {named(str(error))}", file=sys.stderr)
        sys.exit(1)
    print(json.dumps(result))
    for target in result.get("targets", []):
        if not target["ok"]:
            print(f"orchestration-backup: {target['error']}", file=sys.stderr)
    for path in result.get("incomplete", [])[:20]:
        print(f"orchestration-backup: {path}: could not be read, and is not in the backup", file=sys.stderr)
    sys.exit(exit_code(result))
