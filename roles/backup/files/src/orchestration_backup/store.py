# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The stores and the backups in them.

A backup has the same id in each store, and two snapshots: files and databases.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from . import manifest as manifests
from . import process, restic, space
from .config import Config, Target
from .errors import BackupError, refuse
from .files import filename_time, now, remove
from .restic import Repository, Snapshot
from .state import State

ID = re.compile(r"[0-9]{8}T[0-9]{6}Z")
AHEAD = timedelta(days=1)
"""How far ahead of the clock the time of a backup may be."""
TEMPORARY = ".restoring"
"""The directory of files that are being restored, beside their places, and how that of the databases begins."""


@dataclass(frozen=True)
class Backup:
    """A backup in one store."""

    id: str
    target: str
    files: Snapshot | None
    databases: Snapshot | None
    """It is written last, so a backup that has it is complete."""
    snapshots: tuple[str, ...]
    """All snapshots with this id."""

    @property
    def complete(self) -> bool:
        """Return whether nothing is missing."""
        return bool(self.files and self.databases)

    @property
    def reason(self) -> str:
        """Why it was made: nightly, upgrade or manual."""
        return next((snapshot.reason for snapshot in (self.databases, self.files) if snapshot), "")

    @property
    def host(self) -> str:
        """The host that it is of."""
        return next((snapshot.host for snapshot in (self.databases, self.files) if snapshot), "")


def moment(backup: str) -> datetime:
    """Return the time of a backup."""
    return datetime.strptime(backup, "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc)


def is_future(backup: str, at: datetime) -> bool:
    """Return whether a backup is dated in the future, because a clock is or was wrong."""
    return moment(backup) > at + AHEAD


class Store:
    """One store of the configuration."""

    def __init__(self, config: Config, target: Target) -> None:
        self.config = config
        self.target = target
        self.first = config.targets[0]
        self.repository = Repository(config, target, self.first if target != self.first else None)

    def open(self, *, make: bool = False) -> Store:
        """Remove what killed runs left in the store. Create it if it does not exist, unless it once did."""
        identity = self.repository.identity()
        state = State(self.config)
        known = state.repositories.get(self.target.name, "")
        if not identity:
            if known:
                raise BackupError(
                    f"{self.repository.absent}. The store was there before: mount its disk, or make it reachable. If it"
                    f" is lost for good, remove its name from repositories in {self.config.state}, and the next backup"
                    " creates a new one"
                )
            if not make:
                raise BackupError(f"{self.repository.absent}. Run playbooks/backup.yml, if there was no backup yet")
            if self.repository.local:
                self.repository.local.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.repository.initialise()
            identity = self.repository.identity()
        elif make and known and known != identity:
            raise BackupError(
                f"{self.target.name}: another repository is in its place. Set the location that it had, or remove its"
                f" name from repositories in {self.config.state}, if the new one is right"
            )
        if make and known != identity:
            state.repositories[self.target.name] = identity
            state.write()
        if not self.target.append_only:
            self.repository.unlock()
        return self

    def backups(self) -> list[Backup]:
        """Return the backups, oldest first. The timers of two hosts may have made one of the same id each."""
        found: dict[tuple[str, str], list[Snapshot]] = {}
        for snapshot in self.repository.snapshots():
            if ID.fullmatch(snapshot.backup):
                found.setdefault((snapshot.backup, snapshot.host), []).append(snapshot)
        # If files were read again, the last snapshot is the whole one.
        parts = {key: {snapshot.part: snapshot for snapshot in snapshots} for key, snapshots in found.items()}
        every = {key: tuple(snapshot.id for snapshot in snapshots) for key, snapshots in found.items()}
        return [
            Backup(key[0], self.target.name, part.get("files"), part.get("databases"), every[key])
            for key, part in sorted(parts.items())
        ]

    def find(self, backup: str) -> Stored:
        """Return the backup with this id. Without an id, return the newest complete one that is not of the future."""
        if backup and not ID.fullmatch(backup):
            raise BackupError(
                f"{backup}: is not the id of a backup, such as 20260131T120000Z; the command list shows them"
            )
        at, host = now(), socket.gethostname()
        there = [
            found
            for found in self.backups()
            if found.id == backup or (not backup and found.complete and not is_future(found.id, at))
        ]
        # A new host of another name restores the backups of the one that is gone.
        there = [found for found in there if found.host == host] or there
        hosts = sorted({found.host for found in there})
        if len(hosts) > 1:
            raise BackupError(
                f"{self.target.name}: has backups of {' and '.join(hosts)}, and none of {host}. Two hosts must not have"
                " the same repository. Name the backup by its id, which the command list shows"
            )
        if there and not there[-1].complete:
            raise BackupError(f"{there[-1].id} in {self.target.name}: is incomplete, because its run did not end")
        if there:
            return Stored(self, there[-1])
        wanted = f"no backup {backup}" if backup else "no complete backup"
        raise BackupError(f"{self.target.name}: contains {wanted}. The command list shows what there is")


class Stored:
    """A backup in a store, for commands that read it."""

    def __init__(self, store: Store, backup: Backup) -> None:
        if not backup.files or not backup.databases:
            raise BackupError(f"{backup.id} in {backup.target}: is incomplete")
        self.store, self.id = store, backup.id
        self.files, self.databases = backup.files.id, backup.databases.id
        self.name = backup.id
        self.manifest: dict[str, Any] = {}

    def __str__(self) -> str:
        return f"{self.id} in {self.store.target.name}"

    def read_manifest(self) -> dict[str, Any]:
        """Return the manifest."""
        if not self.manifest:
            found = manifests.read(self, self.store.repository.read(self.databases, f"/{manifests.MANIFEST}"))
            if set(found["databases"]) != {database.name for database in self.store.config.databases}:
                refuse(self, "its databases are not those of this host")
            self.manifest = found
        return self.manifest

    def check(self, *, read_data: bool = False) -> dict[str, Any]:
        """Check the store, all data of it if asked, and return the manifest."""
        found = self.read_manifest()
        self.store.repository.check("100%" if read_data else "")
        return found

    def unpack(self, dumps: Path, place: Callable[[str], Path]) -> dict[str, Any]:
        """Restore the dumps to a directory and each file or directory to its place, and return the manifest."""
        found = self.read_manifest()
        self.require_space(dumps, place)
        config, repository = self.store.config, self.store.repository
        repository.restore(self.databases, dumps, [])
        parents: dict[Path, list[str]] = {}
        for item in config.files:
            parents.setdefault(place(item).parent, []).append(item)
        for parent, items in parents.items():
            parent.mkdir(parents=True, exist_ok=True)
            temporary = parent / TEMPORARY
            remove(temporary)
            temporary.mkdir(mode=0o700)
            repository.restore(self.files, temporary, items)
            if not restic.writes_sparse():
                dig_holes(temporary, [path for path in found["sparse"] if belongs(path, items)])
            for item in items:
                if os.path.lexists(temporary / item):
                    (temporary / item).rename(place(item))
            remove(temporary)
        return found

    def require_space(self, dumps: Path, place: Callable[[str], Path]) -> None:
        """Raise BackupError if there is no room for the files, the dumps, and the databases loaded from them."""
        found, config = self.read_manifest(), self.store.config
        kind = "allocated" if restic.writes_sparse() else "bytes"
        databases = sum(database.get("size", 0) + database.get("dump", 0) for database in found["databases"].values())
        sizes = {dumps: databases}
        # A manifest without sizes of each says the sum.
        for item, size in found.get("items", {config.files[0]: found}).items():
            parent = place(item).parent
            sizes[parent] = sizes.get(parent, 0) + size[kind]
        space.require(config, sizes, f"restoring {self.id}")


def belongs(path: str, items: list[str]) -> bool:
    """Return whether a path is one of the items or below it."""
    return any(path == item or path.startswith(f"{item}/") for item in items)


def dig_holes(root: Path, paths: list[str]) -> None:
    """Make files sparse again that had holes."""
    for path in paths:
        if (root / path).is_file() and not (root / path).is_symlink():
            status = (root / path).stat()
            process.run(["fallocate", "--dig-holes", str(root / path)])
            os.utime(root / path, ns=(status.st_atime_ns, status.st_mtime_ns))


def first_store(config: Config, name: str = "") -> Store:
    """Return the store with this name; the first one without a name."""
    for target in config.targets:
        if name in ("", target.name):
            return Store(config, target)
    known = ", ".join(target.name for target in config.targets)
    raise BackupError(f"{name}: is not the name of a store. Name one of {known}, or add it to backup_targets")


def new_id(existing: list[Backup]) -> str:
    """Return the id of a new backup: the time, or the next second that is free."""
    at, known = now(), {backup.id for backup in existing}
    while filename_time(at) in known:
        at += timedelta(seconds=1)
    return filename_time(at)
