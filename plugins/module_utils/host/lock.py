# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A lock on a managed host, so that two controllers never change it at the same time."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from ansible_collections.devorch.orchestration.plugins.module_utils.host.service_files import (
    File,
    read,
    remove_leftovers,
    write,
)


@dataclass(frozen=True)
class PlaybookRun:
    """A run of ansible-playbook: who started it, the controller, and the process on it."""

    owner: str
    controller: str
    process: str


@dataclass(frozen=True)
class Lock:
    """Who holds the host; both times are seconds since its start, a clock that is never set back."""

    run: PlaybookRun
    taken: float
    renewed: float

    def age(self, now: float) -> float:
        """Return for how many seconds it is held."""
        return max(0.0, now - self.taken)

    def expired(self, now: float, limit: float) -> bool:
        """Return whether it was not renewed for longer than the limit, or before the host was started."""
        return not 0 <= now - self.renewed <= limit


class LostError(Exception):
    """A run that was suspended for too long, or whose host was restarted: what it knows of the host may be wrong."""

    def __init__(self, path: Path, now: Lock | None) -> None:
        holder = f"{now.run.owner} has taken it over" if now else "it was removed, as by a restart of the host"
        super().__init__(
            f"{path}: this run no longer holds the lock of the host: {holder}. Nothing was changed. Run the playbook"
            f" again{' once that run has ended' if now else ''}"
        )


def uptime(path: Path = Path("/proc/uptime")) -> float:
    """Return the seconds since the host was started."""
    return float(path.read_text(encoding="ascii").split()[0])


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Keep other processes of this host out while the lock at a path is looked at and changed."""
    handle = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def load(path: Path) -> Lock | None:
    """Return the lock at a path; None where there is none, or one that can't be read."""
    file = read(path)
    try:
        data = json.loads(file.content) if file else {}
        return Lock(PlaybookRun(**data["run"]), float(data["taken"]), float(data["renewed"]))
    except (ValueError, KeyError, TypeError):
        return None


def store(path: Path, lock: Lock) -> None:
    """Write a lock."""
    remove_leftovers([path])
    write(path, File(json.dumps(asdict(lock)).encode(), 0o644))


def take(
    path: Path, run: PlaybookRun, now: float, limit: float, dead: PlaybookRun | None = None
) -> tuple[Lock, Lock | None]:
    """Take or renew the lock for a run, also from one that is dead or expired.

    Return the lock that holds now, and the one before where it was another run's. The first is another run's
    where that one keeps it.
    """
    with alone(path):
        before = load(path)
        if before and before.run == run:
            renewed = Lock(run, before.taken, now)
            store(path, renewed)
            return renewed, None
        if before and before.run != dead and not before.expired(now, limit):
            return before, before
        taken = Lock(run, now, now)
        store(path, taken)
        return taken, before


def renew(path: Path, run: PlaybookRun, now: float | None = None) -> None:
    """Renew the lock for a run that continues; raise LostError if it holds the lock no longer."""
    if not path.parent.is_dir():
        raise LostError(path, None)
    with alone(path):
        before = load(path)
        if before is None or before.run != run:
            raise LostError(path, before)
        store(path, Lock(run, before.taken, uptime() if now is None else now))


def release(path: Path, run: PlaybookRun) -> bool:
    """Release the lock; return whether it was this run's."""
    with alone(path):
        before = load(path)
        if before is None or before.run != run:
            return False
        path.unlink()
        return True


def is_locked(path: Path) -> bool:
    """Return whether a process holds the lock of a file."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False
