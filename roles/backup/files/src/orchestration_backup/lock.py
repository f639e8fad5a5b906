# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Locks: one command at a time, and none while a playbook changes the host."""

from __future__ import annotations

import contextlib
import fcntl
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from .config import Config
from .errors import BusyError

LONGEST_WAIT = 6 * 3600
"""Seconds that the nightly backup waits for others; it is better late than left out."""
POLL = 2


@contextlib.contextmanager
def locked(config: Config) -> Iterator[None]:
    """Keep a second run out; playbooks wait until the lock is released before they change the host."""
    config.lock.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with config.lock.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BusyError("another backup or restore runs on this host; wait until it has ended") from error
        yield


def refuse_playbook(config: Config) -> None:
    """Raise BusyError while a playbook holds the host, as the module host_lock writes it down."""
    try:
        written = json.loads(config.host_lock.read_text("utf-8"))
        owner, renewed = str(written["run"]["owner"]), float(written["renewed"])
        uptime = float(Path("/proc/uptime").read_text("ascii").split()[0])
    except (OSError, ValueError, KeyError, TypeError):
        return
    if 0 <= uptime - renewed <= config.host_lock_expires:
        raise BusyError(f"a playbook of {owner} changes this host")


@contextlib.contextmanager
def quiet(config: Config) -> Iterator[None]:
    """Wait until nobody changes the host, and keep others out from then on; raise BusyError if that takes too long.

    Whoever takes a lock looks at the other's afterwards, and a playbook waits while this one is held. So both are never
    at work, and neither waits for the other.
    """
    deadline = time.monotonic() + LONGEST_WAIT
    reported = ""
    while True:
        try:
            with contextlib.ExitStack() as held:
                held.enter_context(locked(config))
                refuse_playbook(config)
                lock = held.pop_all()
        except BusyError as error:
            if time.monotonic() > deadline:
                raise
            if str(error) != reported:
                reported = str(error)
                print(f"orchestration-backup: waits, since {reported}", file=sys.stderr, flush=True)
            time.sleep(POLL)
            continue
        with lock:
            yield
        return
