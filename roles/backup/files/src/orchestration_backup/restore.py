# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Check whether an archive fits this host, and replace the host's state with it.

A restore unpacks the archive beside the present state, writes its journal, and swaps the two by renames. If that fails,
the previous state is put back; it is removed only when everything runs.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

from orchestration_backup.versions import numbers, other_major

from . import compose, process
from .archive import Destination, scan, summary
from .config import Config
from .errors import BackupError, refuse
from .files import previous, remove, restored, write_private


def check(config: Config, path: Path, identity: Path | None, expected: dict[str, Any]) -> dict[str, Any]:
    """Check an archive and whether it fits the inventory; return its summary."""
    manifest = scan(config, path, identity)
    check_fit(config, path, manifest, expected)
    return summary(path, manifest)


def check_fit(config: Config, path: Path, manifest: dict[str, Any], expected: dict[str, Any]) -> None:
    """Raise BackupError if an archive does not fit the host or the inventory."""
    if manifest["root"] != str(config.root):
        refuse(
            path, f"it is from {manifest['root']}. Set orchestration_root to that path, because its files contain it"
        )
    check_versions(path, manifest, expected.get("versions", {}))


def check_versions(path: Path, manifest: dict[str, Any], expected: dict[str, str]) -> None:
    """Refuse data of another major version than the inventory expects, or of a newer version."""
    for service, version in expected.items():
        archived = str(manifest["images"].get(service, {}).get("version", ""))
        old, new = numbers(archived), numbers(version)
        # 17 stands for any 17.x.
        shared = min(len(old), len(new))
        if other_major(archived, version) or new[:shared] < old[:shared]:
            refuse(
                path,
                f"it contains data of {service} {archived}, but {service}_version is {version}. Set that variable to"
                f" {archived}, restore, and then change the version with playbooks/upgrade.yml",
            )


def require_no_interrupted_restore(config: Config) -> None:
    """Raise BackupError if a restore was interrupted, because the present state may be mixed."""
    if config.journal.exists():
        raise BackupError(
            f"a restore was interrupted. Run '{sys.argv[0]} recover' or restore.yml, which puts the previous state back"
        )


def stage(config: Config, path: Path, identity: Path | None, expected: dict[str, Any]) -> tuple[dict[str, Any], Path]:
    """Check an archive and unpack it beside the present state; return its manifest and the directory of the dumps."""
    dumps = unpacked_dumps(config)
    dumps.mkdir(mode=0o700)

    def target(member: PurePosixPath) -> Path:
        item = next(item for item in config.items if member.is_relative_to(item))
        return restored(config.root / item) / member.relative_to(item)

    destination = Destination(dumps, target)
    try:
        manifest = scan(config, path, identity, destination)
        check_fit(config, path, manifest, expected)
        destination.finish()
    except BaseException:
        unstage(config)
        raise
    return manifest, dumps


def unpacked_dumps(config: Config) -> Path:
    """Return the directory of the dumps while a restore runs."""
    return config.state_directory / ".restoring"


def unstage(config: Config) -> None:
    """Remove what an ended restore left beside the present state."""
    for item in config.replaced:
        remove(restored(config.root / item))
        remove(previous(config.root / item))
    remove(unpacked_dumps(config))


def swap(config: Config) -> None:
    """Move the restored state in place of the present one, which stays beside it. The cluster is missing then."""
    for item in config.replaced:
        path = config.root / item
        if path.exists():
            path.rename(previous(path))
        if restored(path).exists():
            restored(path).rename(path)


def recover(config: Config) -> dict[str, Any]:
    """Put the previous state back after a restore that did not succeed."""
    if not config.journal.exists():
        unstage(config)
        return {"recovered": False}
    journal = json.loads(config.journal.read_text("utf-8"))
    compose.remove_containers(config)
    for item in config.replaced:
        path = config.root / item
        # Without a previous state, the item either did not exist or was not replaced yet.
        if previous(path).exists() or item not in journal["present"]:
            remove(path)
        if previous(path).exists():
            previous(path).rename(path)
    unstage(config)
    config.journal.unlink()
    if config.compose_file in journal["present"]:
        compose.start(config)
    return {"recovered": True}


def restore(config: Config, path: Path, identity: Path | None, expected: dict[str, Any]) -> dict[str, Any]:
    """Replace the host's state with that of an archive. Put the previous state back if that fails."""
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
    """Replace the host's state, keep the previous one beside it, and return the archive's manifest.

    `begin` is called when the archive is unpacked and nothing has changed yet, `end` when the databases are loaded.
    Raise BackupError: for an archive that does not fit, before anything is changed; for any other failure, after the
    previous state was put back.
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
        for directory in config.cluster_directories:
            (config.root / directory).mkdir(parents=True, exist_ok=True)
            # As the role creates them, whatever the umask of the program is.
            (config.root / directory).chmod(0o755)
        compose.start(config, compose.POSTGRES)
        create_databases(config)
        load(config, manifest, dumps)
        end()
    except BaseException as error:
        reason = error if isinstance(error, BackupError) else BackupError(f"{type(error).__name__}: {error}")
        try:
            recover(config)
        except BackupError as second:
            raise BackupError(
                f"{path}: could not be restored: {reason}. The previous state is back, but does not start: {second}"
            ) from error
        raise BackupError(f"{path}: could not be restored, so the previous state is back: {reason}") from error
    config.journal.unlink()
    return manifest


def create_databases(config: Config) -> None:
    """Create the owners with their restored passwords, and a database each, in an empty cluster."""
    for database in config.databases:
        name, owner = database.name, database.owner
        secret = config.root / config.secrets_directory / database.password_secret
        password = secret.read_text("utf-8").removesuffix("\n").replace("'", "''")
        for statement in (
            f"CREATE ROLE {owner} LOGIN PASSWORD '{password}';",
            f"CREATE DATABASE {name} OWNER {owner} ENCODING 'UTF8' TEMPLATE template0;",
            f"REVOKE CONNECT, TEMPORARY ON DATABASE {name} FROM PUBLIC;",
        ):
            compose.psql(config, "postgres", statement)


def load(config: Config, manifest: dict[str, Any], dumps: Path) -> None:
    """Load the dumps into empty databases, and compare the number of rows of each table with the manifest."""
    for dump, database in config.dumps.items():
        with (dumps / dump).open("rb") as source:
            options = ["--exit-on-error", "--single-transaction", "-U", "postgres", "-d", database.name]
            compose.call(config, "exec", "-T", compose.POSTGRES, "pg_restore", *options, source=source)
        rows = compose.psql(config, database.name, compose.COUNT_ROWS)
        compose.compare_rows(database.name, manifest, compose.parse_rows(rows.splitlines()))
