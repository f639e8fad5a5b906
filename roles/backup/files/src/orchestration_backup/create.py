# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Create a backup in the first store, copy it to the others, and remove old ones. Nothing else on the host changes."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import stat
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from . import compose, databases, space
from .config import Config
from .errors import BackupError
from .files import iso_time, now, remove, write_private
from .keep import keep_copies
from .manifest import FORMAT, KIND, MANIFEST, counts
from .restic import UNNAMED, Added, restic_time
from .restore import require_no_interrupted_restore
from .state import State
from .store import Backup, Store, first_store, moment, new_id

STAGING = ".creating"
"""The directory of the dumps, in the state directory."""
UNKNOWN = "\ufffd"
"""The character in a name for bytes that cannot be decoded."""
HOLE = 1024 * 1024
"""A file with at least so many bytes less on the disk than in the file is sparse."""


def survey(config: Config) -> dict[str, Any]:
    """Return the sizes of the files, also on the disk, the sparse ones, and what a restore cannot bring back."""
    found: dict[str, Any] = {"sparse": [], "left_out": []}
    found["items"] = {item: survey_item(config, item, found) for item in config.files}
    for kind in ("bytes", "allocated"):
        found[kind] = sum(sizes[kind] for sizes in found["items"].values())
    return found


def survey_item(config: Config, item: str, found: dict[str, Any]) -> dict[str, int]:
    """Return the sizes of a file or directory, and add to what was found."""
    sizes = {"bytes": 0, "allocated": 0}
    # Texts instead of Path, which takes half of the time for many files.
    pending = [str(config.root / item)]
    skip = len(str(config.root)) + 1
    while pending:
        path = pending.pop()
        # A file that is removed meanwhile does not exist at the end of the backup either.
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            status = os.lstat(path)
            if stat.S_ISDIR(status.st_mode):
                with os.scandir(path) as entries:
                    pending += [entry.path for entry in entries]
            elif stat.S_ISREG(status.st_mode):
                on_disk = status.st_blocks * 512
                sizes["bytes"] += status.st_size
                sizes["allocated"] += on_disk
                if on_disk + HOLE <= status.st_size:
                    found["sparse"].append(path[skip:])
            elif stat.S_ISSOCK(status.st_mode):
                found["left_out"].append(path[skip:])
    return sizes


def below(config: Config, path: str) -> str:
    """Return a path that restic names, which may be that of the host or of the snapshot, as it is below the root."""
    found = Path(path)
    # The root may be a link, and restic names what it leads to.
    for root in (config.root, config.root.resolve()):
        if found.is_relative_to(root):
            return str(found.relative_to(root))
    return path.lstrip("/")


def is_missing(config: Config, path: str) -> bool:
    """Return whether a file that could not be read still exists. restic does not know the names of all."""
    return path == UNNAMED or UNKNOWN in path or os.path.lexists(config.root / path)


def save_files(config: Config, store: Store, backup: str, tags: dict[str, str], parent: str) -> Added:
    """Save the files. If some could not be read, try once more."""
    items = [item for item in config.files if os.path.lexists(config.root / item)]
    tags = {"backup": backup, "part": "files", **tags}
    added = 0
    for attempt in range(2):
        # Of two snapshots with the same id, the later one counts.
        at = moment(backup) + timedelta(seconds=attempt)
        saved = store.repository.backup(
            config.root, items, tags, moment=restic_time(at), host=socket.gethostname(), parent=parent
        )
        added += saved.bytes_added
        # What does not exist any more is not missing in the backup.
        named = [below(config, path) for path in saved.unread]
        unread = [path for path in named if is_missing(config, path)]
        if not unread:
            break
        parent = saved.snapshot
    return Added(saved.snapshot, added, saved.files, unread)


def collect(
    config: Config, store: Store, backup: str, tags: dict[str, str], parent: str, staging: Path
) -> tuple[dict[str, Any], Added]:
    """Dump the databases, save the files, and return the manifest."""
    manifest: dict[str, Any] = {
        "kind": KIND,
        "format": FORMAT,
        "backup": backup,
        "created": iso_time(moment(backup)),
        "host": socket.gethostname(),
        "root": str(config.root),
        "images": compose.images(config),
        # The backup contains the password of this user.
        "kestra_username": config.kestra.username,
        "databases": {},
        **survey(config),
    }
    files: Added | None = None
    with contextlib.ExitStack() as stack:

        def open_snapshots() -> list[tuple[str, databases.Snapshot]]:
            return [
                (name, stack.enter_context(databases.Snapshot(config, database)))
                for name, database in config.dumps.items()
            ]

        if config.pause:
            # Nothing is dumped while services stand still. The dumps show the moment of the files all the same.
            with compose.paused(config):
                snapshots = open_snapshots()
                files = save_files(config, store, backup, tags, parent)
        else:
            snapshots = open_snapshots()
        for name, snapshot in snapshots:
            manifest["databases"][snapshot.database.name] = snapshot.dump(staging / name)
    manifest["uncovered"] = databases.dump_globals(config, staging)
    if not files:
        # After the databases, so that the files contain whatever a row refers to.
        files = save_files(config, store, backup, tags, parent)
    manifest |= {"files": files.files, "incomplete": files.unread}
    (staging / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    return manifest, files


def create(config: Config, reason: str, *, copies: bool = True) -> dict[str, Any]:
    """Create a backup, copy it to all stores if `copies`, remove old ones, and return the record of the last backup."""
    started = time.monotonic()
    require_no_interrupted_restore(config)
    compose_file = config.root / config.compose_file
    if not compose_file.is_file():
        raise BackupError(
            f"{compose_file}: does not exist, so this host has nothing to back up. Run playbooks/site.yml first"
        )
    require_data(config)
    store = first_store(config).open(make=True)
    existing = store.backups()
    backup = new_id(existing)
    staging = config.state_directory / STAGING
    staging.mkdir(mode=0o700)
    try:
        require_space(config, store, staging, existing)
        manifest, files = collect(config, store, backup, {"reason": reason}, newest_files(existing), staging)
        tags = {"backup": backup, "part": "databases", "reason": reason}
        names = sorted(path.name for path in staging.iterdir())
        at, host = restic_time(moment(backup)), socket.gethostname()
        dumped = store.repository.backup(staging, names, tags, moment=at, host=host, parent=newest_databases(existing))
        if dumped.unread:
            raise BackupError(f"{staging}: the dumps cannot be read: {', '.join(dumped.unread)}")
    finally:
        remove(staging)
    state = State(config)
    state.added = files.bytes_added + dumped.bytes_added
    state.write()
    record = {
        "finished": iso_time(now()),
        "backup": backup,
        "reason": reason,
        "verified": None,
        "counts": counts(manifest),
        "bytes_added": state.added,
        "incomplete": files.unread,
        "left_out": manifest["left_out"],
        "uncovered": manifest["uncovered"],
        "targets": [],
        "seconds": round(time.monotonic() - started),
    }
    # First without the results of the stores, because a copy may take hours.
    write_private(config.last, json.dumps(record, indent=2))
    record["targets"] = keep_copies(config, made=backup, only="" if copies else config.targets[0].name)
    record |= {"finished": iso_time(now()), "seconds": round(time.monotonic() - started)}
    write_private(config.last, json.dumps(record, indent=2))
    return record


def newest_files(existing: list[Backup]) -> str:
    """Return the snapshot of files that a new one is compared with."""
    return next((backup.files.id for backup in reversed(existing) if backup.files), "")


def newest_databases(existing: list[Backup]) -> str:
    """Return the snapshot of databases that a new one is compared with."""
    return next((backup.databases.id for backup in reversed(existing) if backup.databases), "")


def require_space(config: Config, store: Store, staging: Path, existing: list[Backup]) -> None:
    """Raise BackupError if there is no room for the dumps, and for what is added to a local store.

    The first backup adds all files, and later ones about as much as the last one.
    """
    sizes = {staging: databases.sizes(config)}
    if store.repository.local:
        first = not any(backup.files for backup in existing)
        sizes[store.repository.local] = survey(config)["allocated"] if first else State(config).added
    space.require(config, sizes, "a backup")


def require_data(config: Config) -> None:
    """Raise BackupError if a service has no data: a backup without them would replace good ones in time."""
    for item in config.files:
        if (config.root / item).is_symlink():
            raise BackupError(
                f"{config.root / item}: is a symbolic link, so a backup would have the link alone. Put what it leads to"
                f" in its place. For more room, mount a larger disk at {config.data_directory}, or move all of"
                f" {config.root}, as docs/host.md says"
            )
    for service, data in config.data.items():
        path = config.root / data
        if (config.root / config.services_directory / f"{service}.yml").is_file() and not path.exists():
            raise BackupError(
                f"{path}: does not exist, so the data of {service} are missing, and no backup was made or removed."
                " Mount the disk that has them, or restore a backup with playbooks/restore.yml"
            )
