# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Helpers for files and times. They know nothing of backups."""

from __future__ import annotations

import os
import shutil
import tempfile
from datetime import datetime, timezone
from pathlib import Path

CHUNK = 1024 * 1024


def now() -> datetime:
    """Return the time in UTC, in whole seconds."""
    return datetime.now(timezone.utc).replace(microsecond=0)


def iso_time(moment: datetime) -> str:
    """Return a time for JSON, such as 2026-01-31T12:00:00Z."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def filename_time(moment: datetime) -> str:
    """Return a time for a file name, such as 20260131T120000Z."""
    return moment.strftime("%Y%m%dT%H%M%SZ")


def write_private(path: Path, text: str) -> None:
    """Write a file with mode 0600 atomically."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).replace(path)
        write_directory(path.parent)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_directory(path: Path) -> None:
    """Wait until the names in a directory are on the disk."""
    directory = os.open(path, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def unlink(path: Path) -> None:
    """Remove a file, and wait until it is gone from the disk."""
    path.unlink()
    write_directory(path.parent)


def remove(path: Path) -> None:
    """Remove a file or a directory if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
