# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Check whether a backup fits this host, and replace the host's state with it.

A restore unpacks the backup beside the present state, writes its journal, and swaps the two by renames. If that fails,
the previous state is put back; it is removed only when everything runs and is on the disk.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

from orchestration_backup.versions import numbers, other_major

from . import compose, process, space
from .config import Config
from .errors import BackupError, refuse
from .files import remove, unlink, write_private
from .manifest import GLOBALS, GRANTS, summary
from .store import TEMPORARY


class Source(Protocol):
    """What is restored: a backup in a store, or a tar archive. As text it is the name in messages."""

    name: str
    """How a command names it."""

    def check(self, *, read_data: bool = False) -> dict[str, Any]:
        """Check it and return its manifest."""

    def unpack(self, dumps: Path, place: Callable[[str], Path]) -> dict[str, Any]:
        """Write the dumps to a directory and each file or directory of the root to its place; return the manifest."""


def check(config: Config, source: Source, expected: dict[str, Any], *, read_data: bool = False) -> dict[str, Any]:
    """Check a backup and whether it fits the inventory; return its summary."""
    manifest = source.check(read_data=read_data)
    check_fit(config, source, manifest, expected)
    require_places(config)
    return summary(source.name, manifest)


def require_places(config: Config) -> None:
    """Raise BackupError if something cannot be set aside by a rename, before anything is changed."""
    mounts = space.mount_points()
    for item in config.replaced:
        path = config.root / item
        real = path.parent.resolve() / path.name
        for mount in mounts:
            if mount == real or real in mount.parents:
                raise BackupError(
                    f"{mount}: is a mount point, which a restore cannot set aside. Mount the disk at"
                    f" {config.data_directory} with all data of the services, or copy its content to {path} and"
                    " unmount it"
                )
        aside = config.restored(item).parent
        if aside == path.parent or not os.path.lexists(path.parent):
            continue
        if path.parent.is_symlink() or path.parent.stat().st_dev != aside.stat().st_dev:
            raise BackupError(
                f"{path.parent}: is a symbolic link or on another file system than {aside}, so a restore cannot move"
                f" anything there. Copy its content to {config.root}"
            )


def check_fit(config: Config, source: Source, manifest: dict[str, Any], expected: dict[str, Any]) -> None:
    """Raise BackupError if a backup does not fit the host or the inventory."""
    if manifest["root"] != str(config.root):
        refuse(
            source, f"it is from {manifest['root']}. Set orchestration_root to that path, because its files contain it"
        )
    check_versions(source, manifest, expected.get("versions", {}))


def check_versions(source: Source, manifest: dict[str, Any], expected: dict[str, str]) -> None:
    """Refuse data of another major version than is expected, of a newer one, or of one that cannot be compared."""
    for service, version in expected.items():
        if service not in manifest["images"]:
            continue
        archived = str(manifest["images"][service]["version"])
        if service == compose.POSTGRES and not numbers(archived):
            # What its server said, for a tag such as latest.
            archived = next((str(one.get("server", "")) for one in manifest["databases"].values()), archived)
        old, new = numbers(archived), numbers(version)
        # 17 stands for any 17.x.
        shared = min(len(old), len(new))
        unknown = archived != version and not shared
        if unknown or other_major(archived, version) or new[:shared] < old[:shared]:
            refuse(
                source,
                f"it contains data of {service} {archived}, but {service}_version is {version}. Set that variable to"
                f" {archived}, restore, and then change the version with playbooks/upgrade.yml",
            )


def require_no_interrupted_restore(config: Config) -> None:
    """Raise BackupError if a restore was interrupted, because the present state may be mixed."""
    if config.journal.exists():
        raise BackupError(
            f"a restore was interrupted. Run '{sys.argv[0]} recover' or restore.yml, which puts the previous state back"
        )


def stage(config: Config, source: Source, expected: dict[str, Any]) -> tuple[dict[str, Any], Path]:
    """Check a backup and unpack it beside the present state; return its manifest and the directory of the dumps."""
    dumps = unpacked_dumps(config)
    dumps.mkdir(mode=0o700)
    try:
        manifest = source.unpack(dumps, config.restored)
        check_fit(config, source, manifest, expected)
        keep_access(config)
    except BaseException:
        unstage(config)
        raise
    return manifest, dumps


def keep_access(config: Config) -> None:
    """Keep the host's own secrets of the stores, if it has any: with those of the backup, its stores may be shut."""
    secrets = config.root / config.secrets_directory
    used = [str(config.password_file)]
    for target in config.targets:
        used += [target.repository_file, target.environment_file, *target.options.values()]
    for path in sorted(secrets.iterdir()) if secrets.is_dir() else []:
        if any(str(path) in text for text in used):
            copy = config.restored(config.secrets_directory) / path.name
            copy.parent.mkdir(mode=0o700, exist_ok=True)
            status = path.stat()
            write_private(copy, path.read_text("utf-8"))
            os.chown(copy, status.st_uid, status.st_gid)
            copy.chmod(status.st_mode & 0o7777)


def unpacked_dumps(config: Config) -> Path:
    """Return the directory of the dumps while a restore runs."""
    return config.state_directory / f"{TEMPORARY}.dumps"


def unstage(config: Config) -> None:
    """Remove what an ended restore left beside the present state."""
    for item in config.replaced:
        remove(config.restored(item))
        remove(config.previous(item))
        remove(config.restored(item).parent / TEMPORARY)
    remove(unpacked_dumps(config))


def swap(config: Config) -> None:
    """Move the restored state in place of the present one, which stays beside it. The cluster is missing then."""
    for item in config.replaced:
        path = config.root / item
        # A link that leads nowhere is something too.
        if os.path.lexists(path):
            path.rename(config.previous(item))
        if os.path.lexists(config.restored(item)):
            path.parent.mkdir(parents=True, exist_ok=True)
            config.restored(item).rename(path)


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
        set_aside = os.path.lexists(config.previous(item))
        if set_aside or item not in journal["present"]:
            remove(path)
        if set_aside:
            config.previous(item).rename(path)
    unstage(config)
    config.journal.unlink()
    if config.compose_file in journal["present"]:
        compose.start(config)
    return {"recovered": True}


def restore(config: Config, source: Source, expected: dict[str, Any]) -> dict[str, Any]:
    """Replace the host's state with that of a backup. Put the previous state back if that fails."""
    manifest = replace(config, source, expected, begin=lambda: None, end=lambda: compose.start(config))
    unstage(config)
    return summary(source.name, manifest) | {"uncovered": manifest.get("uncovered", [])}


def replace(
    config: Config,
    source: Source,
    expected: dict[str, Any],
    *,
    begin: Callable[[], None],
    end: Callable[[], None],
) -> dict[str, Any]:
    """Replace the host's state, keep the previous one beside it, and return the backup's manifest.

    `begin` is called when the backup is unpacked and nothing has changed yet, `end` when the databases are loaded.
    Raise BackupError: for a backup that does not fit, before anything is changed; for any other failure, after the
    previous state was put back.
    """
    process.run(["docker", "compose", "version"])
    recover(config)
    require_places(config)
    manifest, dumps = stage(config, source, expected)
    try:
        begin()
    except BaseException:
        unstage(config)
        raise
    present = [item for item in config.replaced if os.path.lexists(config.root / item)]
    write_private(config.journal, json.dumps({"backup": source.name, "present": present}))
    try:
        compose.stop(config)
        swap(config)
        for directory in config.cluster_directories:
            (config.root / directory).mkdir(parents=True, exist_ok=True)
            # As the role creates them, whatever the umask of the program is.
            (config.root / directory).chmod(0o755)
        compose.start(config, compose.POSTGRES)
        create_databases(config)
        manifest["uncovered"] = [*manifest.get("uncovered", []), *load(config, manifest, dumps)]
        end()
        # A loss of power must not leave empty files and no previous ones.
        for place in {(config.root / item).parent for item in config.replaced}:
            if place.is_dir():
                process.synchronise(place)
    except BaseException as error:
        reason = error if isinstance(error, BackupError) else BackupError(f"{type(error).__name__}: {error}")
        try:
            recover(config)
        except BackupError as second:
            raise BackupError(
                f"{source}: could not be restored: {reason}. The previous state is back, but does not start: {second}"
            ) from error
        raise BackupError(f"{source}: could not be restored, so the previous state is back: {reason}") from error
    unlink(config.journal)
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


def load(config: Config, manifest: dict[str, Any], dumps: Path) -> list[str]:
    """Load the dumps into empty databases, and compare the number of rows of each table with the manifest.

    Return what could not be created: the host needs its data also without the roles and grants of others.
    """

    def lenient(script: str) -> list[str]:
        command = ["docker", "compose", "exec", "-T", compose.POSTGRES, *compose.LENIENT, "-d", "postgres"]
        return compose.errors(process.output(command, cwd=config.root, text=script))

    failed = lenient(foreign_roles(config, dumps))
    if permissions(dumps):
        failed.append("permissions of roles other than the owners, which tar archives do not have")
    for dump, database in config.dumps.items():
        with (dumps / dump).open("rb") as source:
            options = ["--exit-on-error", "--single-transaction", "-U", "postgres", "-d", database.name]
            options += permissions(dumps)
            compose.call(config, "exec", "-T", compose.POSTGRES, "pg_restore", *options, source=source)
        rows = compose.psql(config, database.name, compose.COUNT_ROWS)
        compose.compare_rows(database.name, manifest, compose.parse_rows(rows.splitlines()))
    return failed + lenient(text_of(dumps / GRANTS))


def permissions(dumps: Path) -> list[str]:
    """Return the option that leaves out permissions, if the backup does not have the roles that they are for."""
    return [] if (dumps / GLOBALS).is_file() else ["--no-acl"]


def text_of(path: Path) -> str:
    """Return the text of a file; nothing if a backup of an older program does not have it."""
    return path.read_text("utf-8") if path.is_file() else ""


def foreign_roles(config: Config, dumps: Path) -> str:
    """Return the SQL that creates the roles which neither the image nor this program creates."""
    names = [re.escape(name) for name in ("postgres", *(database.owner for database in config.databases))]
    known = "|".join(form for name in names for form in (name, f'"{name}"'))
    made = re.compile(rf"CREATE ROLE ({known});|ALTER ROLE ({known}) WITH |CREATE TABLESPACE ")
    return "".join(one for one in statements(text_of(dumps / GLOBALS)) if not made.match(one.lstrip()))


def statements(script: str) -> Iterator[str]:
    """Yield the statements of a script of pg_dumpall without comments, each with its line end.

    Names and texts in quotes may contain anything, a line end too.
    """
    quoted = r"""(?:"(?:[^"]|"")*"|'(?:[^']|'')*'|[^"';])+;\n"""
    for match in re.finditer(rf"(?m)^(?:--.*|\\.*|)\n|({quoted})", script):
        if match[1]:
            yield match[1]
