# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Errors that stop a command, with what is wrong and what to do."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn


class BackupError(Exception):
    """Something that stops the command; the message says what is wrong and what to do."""


class BusyError(BackupError):
    """Somebody else works on this host; the message says who."""


def refuse(path: Path, reason: str) -> NoReturn:
    """Raise BackupError about an archive."""
    raise BackupError(f"{path}: refused: {reason}")
