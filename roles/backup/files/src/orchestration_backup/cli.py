# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The command line: it runs one command and prints its result as one line of JSON. The work is done elsewhere."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any, NoReturn

from . import __doc__ as description
from .archive import list_archives
from .config import Config
from .create import create
from .errors import BackupError
from .lock import acquire, wait_and_acquire
from .migrate import migrate
from .restore import check, recover, restore
from .verify import verify


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    top = argparse.ArgumentParser(prog="orchestration-backup", description=description)
    # The role writes the configuration beside the program.
    default = Path(sys.argv[0]).resolve().with_name("backup.json")
    top.add_argument("--config", type=Path, default=default, help="the configuration (default: %(default)s)")
    commands = top.add_subparsers(dest="command", required=True)
    command = commands.add_parser("create", help="create an archive")
    command.add_argument("--plain", action="store_true", help="do not encrypt it, so that an upgrade can roll back")
    command.add_argument("--wait", action="store_true", help="wait while a playbook or another backup runs")
    commands.add_parser("list", help="list the archives")
    commands.add_parser("recover", help="put back the previous state after an interrupted restore")
    for name, text in (
        ("check", "check an archive without changing anything"),
        ("restore", "replace the host's state with that of an archive"),
        ("migrate", "restore an archive with another PostgreSQL and keep the previous cluster"),
        ("verify", "restore an archive into temporary containers and count its contents"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("archive", nargs="?", default="", help="name or path (default: the newest)")
        if name == "migrate":
            command.add_argument("--postgres-image", required=True, help="image of the new PostgreSQL")
        command.add_argument("--identity", type=Path, help="private key of an encrypted archive")
        command.add_argument(
            "--expected", default="{}", help='what the inventory expects, as JSON: {"versions": {"n8n": "2.41.1"}}'
        )
    return top


def select_archive(config: Config, name: str) -> Path:
    """Return the archive with this name or path. Without a name, return the newest."""
    if name:
        return Path(name) if "/" in name else config.directory / name
    found = list_archives(config)
    if not found:
        raise BackupError(f"{config.directory}: contains no archive. Run playbooks/backup.yml, or set backup_archive")
    return found[-1]


def execute(config: Config, options: argparse.Namespace) -> dict[str, Any]:
    """Execute one command and return its result."""
    if options.command == "list":
        return {"archives": [{"archive": str(path), "size": path.stat().st_size} for path in list_archives(config)]}
    with wait_and_acquire(config) if options.command == "create" and options.wait else acquire(config):
        if options.command == "create":
            # A playbook may have changed the configuration during the wait.
            config = Config.read(options.config)
            return create(dataclasses.replace(config, encryption="none") if options.plain else config)
        if options.command == "recover":
            return recover(config)
        path = select_archive(config, options.archive)
        if options.command == "check":
            return check(config, path, options.identity, json.loads(options.expected))
        if options.command == "restore":
            return restore(config, path, options.identity, json.loads(options.expected))
        if options.command == "migrate":
            return migrate(config, path, options.identity, options.postgres_image)
        return verify(config, path, options.identity)


def on_signal(number: int, _frame: object) -> NoReturn:
    """Raise an error for a signal, so that everything is cleaned up and put back."""
    raise BackupError(f"stopped by {signal.Signals(number).name}")


def main() -> NoReturn:
    """Run the program and exit."""
    options = parser().parse_args()
    os.umask(0o077)
    signal.signal(signal.SIGTERM, on_signal)
    # A lost connection must not stop a restore in the middle.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        result = execute(Config.read(options.config), options)
    except BackupError as error:
        print(f"orchestration-backup: {error}", file=sys.stderr)
        sys.exit(1)
    print(json.dumps(result))
    sys.exit(0)
