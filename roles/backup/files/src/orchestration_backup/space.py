# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Free space: PostgreSQL stops on a full disk, so a command looks before it writes."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from .config import Config
from .errors import BackupError

FULL = os.strerror(28)
"""How the system and all programs call a full disk."""
MOUNTS = Path("/proc/self/mountinfo")
ADVICE = "The disk is full: free space, or enlarge the file system"


def require(config: Config, sizes: dict[Path, int], purpose: str) -> None:
    """Raise BackupError if a file system has no room for what is written to these places, and the reserve."""
    devices: dict[int, tuple[Path, int]] = {}
    for place, size in sizes.items():
        existing = next(path for path in (place, *place.parents) if path.exists())
        device = existing.stat().st_dev
        first, sum_so_far = devices.get(device, (existing, 0))
        devices[device] = (first, sum_so_far + size)
    for path, size in devices.values():
        free = shutil.disk_usage(path).free
        if free < size + config.minimum_free:
            raise BackupError(
                f"{path}: has {mebibytes(free)} MiB of free space, and {purpose} needs {mebibytes(size)} MiB and"
                f" the reserve of {mebibytes(config.minimum_free)} MiB. Free space, or enlarge the file system"
            )


def mount_points() -> list[Path]:
    """Return what is mounted on this host, also directories of the same file system."""
    lines = MOUNTS.read_text("utf-8", errors="surrogateescape").split("\n")
    # A blank is written as \040.
    names = [re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), line.split(" ")[4]) for line in lines if line]
    return [Path(name) for name in names]


def mebibytes(size: int) -> int:
    """Return a size in MiB, rounded up."""
    return -(-size // 1024**2)


def named(reason: str) -> str:
    """Add what to do to the message of a full disk."""
    if FULL.lower() not in reason.lower() or ADVICE in reason:
        return reason
    return f"{reason}. {ADVICE}"
