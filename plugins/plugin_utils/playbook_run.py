# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who this run of ansible-playbook is, as the lock of a host names it."""

from __future__ import annotations

import getpass
import os
import socket
from pathlib import Path

PROC = Path("/proc")


def stat(number: int | str, proc: Path = PROC) -> list[str]:
    """Return the fields of /proc/<number>/stat from the state on; an empty list if the system does not show them."""
    try:
        return Path(f"{proc}/{number}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return []


def process_identity(number: int) -> str:
    """Return number and start of a process: a number that is used again is then another process."""
    fields = stat(number)
    return f"{number}-{fields[19]}" if fields else str(number)


def this_controller() -> str:
    """Return an identity of this controller, different also from that of containers with the same name."""
    marks = [socket.gethostname()]
    for path in (Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")):
        try:
            marks.append(str(path.readlink()) if path.is_symlink() else path.read_text(encoding="ascii").strip())
        except OSError:
            continue
    return " ".join(marks)


def user() -> str:
    """Return the name of the user of this run, or the number of one without an entry in passwd, as in a container."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def this_run() -> dict[str, str]:
    """Return the identity of this run, from one of its tasks."""
    return {
        "owner": f"{user()}@{socket.gethostname()}",
        "controller": this_controller(),
        # Tasks run in processes of their own: their parent is the run.
        "process": process_identity(os.getppid()),
    }
