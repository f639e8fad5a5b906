# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The backup lock and the host lock: one command at a time, and none while a playbook changes the host."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from .config import Config
from .errors import BusyError

MAX_WAIT = 6 * 3600
"""How many seconds the nightly backup waits, since a late backup is better than none."""
POLL = 2
HELD = "ORCHESTRATION_LOCK_HELD"


@contextlib.contextmanager
def hold(config: Config) -> Iterator[None]:
    """Hold the backup lock; raise BusyError if another command has it. Playbooks wait until it is released."""
    config.lock.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with config.lock.open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BusyError("another backup or restore is running on this host") from error
        yield


def require_no_playbook(config: Config) -> None:
    """Raise BusyError if a playbook holds the host lock."""
    try:
        lock = json.loads(config.host_lock.read_text("utf-8"))
        owner, renewed = str(lock["run"]["owner"]), float(lock["renewed"])
        uptime = float(Path("/proc/uptime").read_text("ascii").split()[0])
    except (OSError, ValueError, KeyError, TypeError):
        return
    if 0 <= uptime - renewed <= config.host_lock_expires:
        raise BusyError(f"a playbook of {owner} is changing this host")


@contextlib.contextmanager
def acquire(config: Config) -> Iterator[None]:
    """Hold the backup lock; raise BusyError if another command has it, or if a playbook changes the host.

    A playbook that runs the program says by a variable that it holds the host lock itself.
    """
    with hold(config):
        if os.environ.get(HELD) != "1":
            require_no_playbook(config)
        yield


@contextlib.contextmanager
def wait_and_acquire(config: Config) -> Iterator[None]:
    """Wait until no playbook and no other command changes the host, then hold the backup lock.

    Raise BusyError if that takes too long. Each side acquires its own lock first and checks the other one afterwards,
    and a playbook waits while the backup lock is held. So both never work at once, and there is no deadlock.
    """
    deadline = time.monotonic() + MAX_WAIT
    reported = ""
    while True:
        try:
            with contextlib.ExitStack() as stack:
                stack.enter_context(acquire(config))
                lock = stack.pop_all()
        except BusyError as error:
            if time.monotonic() > deadline:
                raise
            if error.reason != reported:
                reported = error.reason
                print(f"orchestration-backup: waiting: {reported}", file=sys.stderr, flush=True)
            time.sleep(POLL)
            continue
        with lock:
            yield
        return
