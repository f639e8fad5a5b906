# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""After a new backup: copy to each store what it lacks, read it back, and remove what is too old.

A store that fails does not hold up the others.
"""

from __future__ import annotations

import socket
from datetime import datetime, timedelta
from typing import Any

from .config import Config, Target
from .errors import BackupError
from .files import iso_time, now
from .retention import plan
from .space import named
from .state import State
from .store import Backup, Store, first_store

PRUNE_EVERY = timedelta(days=7)
READ_PARTS = 30
"""Each check reads one of so many parts of the data, so that all are read in about a month."""


def keep_copies(config: Config, *, made: str = "", only: str = "") -> list[dict[str, Any]]:
    """Copy and clear all stores, or only one; return the result of each. `made` is the backup of this run."""
    results = []
    source: list[Backup] | None = None
    for target in config.targets:
        if only and target.name not in (only, config.targets[0].name):
            continue
        result: dict[str, Any] = {"name": target.name, "ok": True, "copied": [], "forgotten": [], "future": []}
        try:
            store = Store(config, target)
            if target == config.targets[0]:
                # The run that made a backup in it has opened it.
                source = present = (store if made else store.open()).backups()
            elif source is None:
                raise BackupError(f"{target.name}: nothing was copied, because {config.targets[0].name} cannot be read")
            else:
                result["copied"] = copy_missing(config, store.open(make=True), source, made)
                present = store.backups()
            clear(config, store, present, made, result)
        except (BackupError, OSError) as error:
            result |= {"ok": False, "error": named(str(error))}
        if not only or target.name == only:
            results.append(result)
    return results


def protected(config: Config, backups: list[Backup], made: str) -> set[str]:
    """Return the backups that stay in any case: the new one, and the newest that was verified."""
    state = State(config)
    verified = [backup.id for backup in backups if backup.complete and state.verified_time(backup.id)]
    return {made, *verified[-1:]}


def reasons(backups: list[Backup]) -> dict[str, str]:
    """Return the reason of each complete backup of this host. Those of another host in the same store are not ours."""
    host = socket.gethostname()
    return {backup.id: backup.reason for backup in backups if backup.complete and backup.host == host}


def copy_missing(config: Config, store: Store, source: list[Backup], made: str) -> list[str]:
    """Copy the backups that the store lacks and would keep, newest first; return their ids."""
    here = reasons(store.backups())
    every = reasons(source) | here
    kept = plan(every, store.target.keep, at=now(), protected=protected(config, source, made))
    wanted = every.keys() - {*here, *kept.expired, *kept.future}
    copied = []
    for backup in reversed(source):
        if backup.files and backup.databases and backup.host == socket.gethostname() and backup.id in wanted:
            store.repository.copy([backup.files.id])
            # It completes the backup.
            store.repository.copy([backup.databases.id])
            copied.append(backup.id)
    return copied


def clear(config: Config, store: Store, backups: list[Backup], made: str, result: dict[str, Any]) -> None:
    """Read the new backup back, and remove old backups, leftovers of killed runs, and data that nothing needs."""
    found = plan(reasons(backups), store.target.keep, at=now(), protected=protected(config, backups, made))
    result["future"] = found.future
    host = socket.gethostname()
    complete = [backup for backup in backups if backup.complete and backup.host == host]
    result["snapshots"] = len(complete)
    if made and made not in {backup.id for backup in complete}:
        raise BackupError(f"{store.target.name}: the new backup {made} is not there, so nothing was removed")
    if store.target.append_only:
        return
    state = State(config)
    number = state.checked.get(store.target.name, 0) % READ_PARTS + 1
    store.repository.check(f"{number}/{READ_PARTS}")
    # No other run of this host is under way, since this one holds the lock.
    leftovers = [
        snapshot
        for backup in backups
        for snapshot in backup.snapshots
        if backup.host == host and (not backup.complete or snapshot not in ids(backup))
    ]
    store.repository.forget(
        leftovers + [one for backup in complete if backup.id in found.expired for one in ids(backup)]
    )
    result["forgotten"] = found.expired
    result["snapshots"] -= len(found.expired)
    state = State(config)
    state.checked[store.target.name] = number
    if is_due(state, store.target, now()) and (leftovers or found.expired):
        store.repository.prune()
        state.pruned[store.target.name] = iso_time(now())
    state.write()


def ids(backup: Backup) -> list[str]:
    """Return the snapshots that make up a backup."""
    return [snapshot.id for snapshot in (backup.files, backup.databases) if snapshot]


def is_due(state: State, target: Target, at: datetime) -> bool:
    """Return whether a store is pruned again. A time in the future is of a clock that was wrong."""
    last = state.pruned.get(target.name)
    return not last or not iso_time(at - PRUNE_EVERY) < last <= iso_time(at)


def copy(config: Config, name: str) -> dict[str, Any]:
    """Copy to the stores what they lack; return the result of each."""
    if name:
        first_store(config, name)
    return {"targets": keep_copies(config, only=name)}
