# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Check whether an archive fits this host, replace the host's state with it, and put the former state back on failure.

A restore unpacks beside the present state, writes its journal, swaps by renames, and removes what was there only when
everything runs.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

from orchestration_backup.versions import numbers, other_major

from . import compose, process
from .archive import Place, scan, summary
from .config import Config
from .errors import BackupError, refuse
from .files import beside, remove, write_private


def check(config: Config, path: Path, identity: Path | None, expected: dict[str, Any]) -> dict[str, Any]:
    """Check an archive against itself and against the inventory; return what it is."""
    manifest = scan(config, path, identity)
    compare(config, path, manifest, expected)
    return summary(path, manifest)


def compare(config: Config, path: Path, manifest: dict[str, Any], expected: dict[str, Any]) -> None:
    """Raise BackupError if an archive does not fit the host or what the inventory wants of it."""
    if manifest["root"] != str(config.root):
        refuse(
            path, f"it belongs to {manifest['root']}. Set orchestration_root to that, since its files name that path"
        )
    compare_versions(path, manifest, expected.get("versions", {}))


def compare_versions(path: Path, manifest: dict[str, Any], wanted: dict[str, str]) -> None:
    """Refuse an archive of another major version than the inventory wants, or of a newer one: its data do not fit."""
    for service, version in wanted.items():
        held = str(manifest["images"].get(service, {}).get("version", ""))
        old, new = numbers(held), numbers(version)
        # 17 means any 17.x.
        shared = min(len(old), len(new))
        if other_major(held, version) or new[:shared] < old[:shared]:
            refuse(
                path,
                f"it holds data of {service} {held}, and {service}_version is {version}. Set {service}_version to"
                f" {held}, restore, and then change versions with playbooks/upgrade.yml",
            )


def refuse_interrupted(config: Config) -> None:
    """Raise BackupError if a restore was cut off: what is there is not what was there."""
    if config.journal.exists():
        raise BackupError(
            f"a restore was interrupted. '{sys.argv[0]} recover' puts the former state back; restore.yml does so too"
        )


def stage(config: Config, path: Path, identity: Path | None, expected: dict[str, Any]) -> tuple[dict[str, Any], Path]:
    """Unpack and check an archive beside the present state; return its manifest and the directory of the dumps."""
    dumps = unpacked_dumps(config)
    dumps.mkdir(mode=0o700)

    def target(member: PurePosixPath) -> Path:
        item = next(item for item in config.items if member.is_relative_to(item))
        return beside(config.root / item, "restored") / member.relative_to(item)

    place = Place(dumps, target)
    try:
        manifest = scan(config, path, identity, place)
        compare(config, path, manifest, expected)
        place.finish()
    except BaseException:
        unstage(config)
        raise
    return manifest, dumps


def unpacked_dumps(config: Config) -> Path:
    """Return the directory of the dumps while a restore runs."""
    return config.state_directory / ".restoring"


def unstage(config: Config) -> None:
    """Remove what a restore that is over left beside the present state."""
    for item in config.replaced:
        remove(beside(config.root / item, "restored"))
        remove(beside(config.root / item, "former"))
    remove(unpacked_dumps(config))


def swap(config: Config) -> None:
    """Put the restored state in the place of the present one, which stays beside it; the cluster's place is empty."""
    for item in config.replaced:
        path = config.root / item
        if path.exists():
            path.rename(beside(path, "former"))
        if beside(path, "restored").exists():
            beside(path, "restored").rename(path)


def recover(config: Config) -> dict[str, Any]:
    """Put back what was there before a restore that did not succeed."""
    if not config.journal.exists():
        unstage(config)
        return {"recovered": False}
    journal = json.loads(config.journal.read_text("utf-8"))
    compose.remove_containers(config)
    for item in config.replaced:
        path = config.root / item
        former = beside(path, "former")
        # Without a former state it was either not there, or not reached yet.
        if former.exists() or item not in journal["present"]:
            remove(path)
        if former.exists():
            former.rename(path)
    unstage(config)
    config.journal.unlink()
    if config.compose_file in journal["present"]:
        compose.start(config)
    return {"recovered": True}


def restore(config: Config, path: Path, identity: Path | None, expected: dict[str, Any]) -> dict[str, Any]:
    """Replace the host's state with that of an archive; put the present one back if that fails."""
    manifest = replace(config, path, identity, expected, begin=lambda: None, end=lambda: compose.start(config))
    unstage(config)
    return summary(path, manifest)


def replace(
    config: Config,
    path: Path,
    identity: Path | None,
    expected: dict[str, Any],
    *,
    begin: Callable[[], None],
    end: Callable[[], None],
) -> dict[str, Any]:
    """Replace the host's state, which stays beside it, and return the archive's manifest.

    `begin` is called when the archive is unpacked and nothing has changed, `end` when the databases are loaded.
    Raise BackupError: before anything is touched for an archive that is not fit, else when the former state is back.
    """
    process.run(["docker", "compose", "version"])
    recover(config)
    manifest, dumps = stage(config, path, identity, expected)
    try:
        begin()
    except BaseException:
        unstage(config)
        raise
    present = [item for item in config.replaced if (config.root / item).exists()]
    write_private(config.journal, json.dumps({"archive": str(path), "present": present}))
    try:
        compose.stop(config)
        swap(config)
        compose.start(config, compose.POSTGRES)
        make_databases(config)
        load(config, manifest, dumps)
        end()
    except BaseException as error:
        reason = error if isinstance(error, BackupError) else BackupError(f"{type(error).__name__}: {error}")
        try:
            recover(config)
        except BackupError as second:
            raise BackupError(f"{reason} The former state is back, but does not start: {second}") from error
        raise BackupError(f"{path}: could not be restored, the former state is back: {reason}") from error
    config.journal.unlink()
    return manifest


def make_databases(config: Config) -> None:
    """Make the owners with their restored passwords and a database each, in a cluster that has none."""
    for database in config.databases:
        name, owner = database.name, database.owner
        secret = config.root / config.secrets_directory / database.password_secret
        password = secret.read_text("utf-8").replace("'", "''")
        for statement in (
            f"CREATE ROLE {owner} LOGIN PASSWORD '{password}';",
            f"CREATE DATABASE {name} OWNER {owner} ENCODING 'UTF8' TEMPLATE template0;",
            f"REVOKE CONNECT, TEMPORARY ON DATABASE {name} FROM PUBLIC;",
        ):
            compose.psql(config, "postgres", statement)


def load(config: Config, manifest: dict[str, Any], dumps: Path) -> None:
    """Load the dumps into empty databases and compare the rows of each table with the manifest."""
    for dump, database in config.dumps.items():
        with (dumps / dump).open("rb") as source:
            options = ["--exit-on-error", "--single-transaction", "-U", "postgres", "-d", database.name]
            compose.call(config, "exec", "-T", compose.POSTGRES, "pg_restore", *options, source=source)
        rows = compose.psql(config, database.name, compose.COUNT_ROWS)
        compose.compare_rows(database.name, manifest, compose.parse_rows(rows.splitlines()))
