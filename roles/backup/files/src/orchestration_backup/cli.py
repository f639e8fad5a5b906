# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The command line: one command, whose result is one line of JSON."""

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
from .archive import archives
from .config import Config
from .create import create
from .errors import BackupError
from .lock import locked, quiet
from .migrate import migrate
from .restore import check, recover, restore
from .verify import verify


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    top = argparse.ArgumentParser(prog="orchestration-backup", description=description)
    # The role writes it beside the program.
    top.add_argument("--config", type=Path, default=Path(sys.argv[0]).resolve().with_name("backup.json"))
    commands = top.add_subparsers(dest="command", required=True)
    command = commands.add_parser("create", help="write an archive")
    command.add_argument(
        "--plain", action="store_true", help="without encryption, for an upgrade that may have to return"
    )
    command.add_argument("--wait", action="store_true", help="wait while others change the host, playbooks as well")
    commands.add_parser("list", help="list the archives")
    commands.add_parser("recover", help="put back what a restore that was cut off replaced")
    for name, text in (
        ("check", "check an archive and change nothing"),
        ("restore", "replace the host's state by that of an archive"),
        ("migrate", "restore an archive with another PostgreSQL and keep the former cluster"),
        ("verify", "restore an archive into temporary containers and count"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("archive", nargs="?", default="", help="name or path, the newest by default")
        if name == "migrate":
            command.add_argument("--postgres-image", required=True, help="image of the new PostgreSQL")
        command.add_argument("--identity", type=Path, help="private key of an encrypted archive")
        command.add_argument(
            "--expected", default="{}", help='what the inventory wants, as JSON: {"versions": {"n8n": "2.41.1"}}'
        )
    return top


def chosen(config: Config, name: str) -> Path:
    """Return the archive of that name or path, the newest without one."""
    if name:
        return Path(name) if "/" in name else config.directory / name
    found = archives(config)
    if not found:
        raise BackupError(
            f"{config.directory}: holds no archive. Run playbooks/backup.yml, or name one with backup_archive"
        )
    return found[-1]


def act(config: Config, options: argparse.Namespace) -> dict[str, Any]:
    """Carry out one command and return what it prints."""
    if options.command == "list":
        return {"archives": [{"archive": str(path), "size": path.stat().st_size} for path in archives(config)]}
    with quiet(config) if options.command == "create" and options.wait else locked(config):
        if options.command == "create":
            # A playbook that was waited for may have changed it.
            config = Config.read(options.config)
            return create(dataclasses.replace(config, encryption="none") if options.plain else config)
        if options.command == "recover":
            return recover(config)
        path = chosen(config, options.archive)
        if options.command == "check":
            return check(config, path, options.identity, json.loads(options.expected))
        if options.command == "restore":
            return restore(config, path, options.identity, json.loads(options.expected))
        if options.command == "migrate":
            return migrate(config, path, options.identity, options.postgres_image)
        return verify(config, path, options.identity)


def interrupted(number: int, _frame: object) -> NoReturn:
    """Turn a signal into an error, so that everything is cleaned up and put back."""
    raise BackupError(f"stopped by {signal.Signals(number).name}")


def main() -> NoReturn:
    """Run the program and end it with its exit code."""
    options = parser().parse_args()
    os.umask(0o077)
    signal.signal(signal.SIGTERM, interrupted)
    # A lost connection must not stop a restore midway.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        result = act(Config.read(options.config), options)
    except BackupError as error:
        print(f"orchestration-backup: {error}", file=sys.stderr)
        sys.exit(1)
    print(json.dumps(result))
    sys.exit(0)
