# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Errors that stop a command. Each message names the problem and what to do."""

from __future__ import annotations

from typing import NoReturn


class BackupError(Exception):
    """An error that stops the command. The message says what is wrong and what to do."""


class Stopped(BaseException):
    """A signal ends the program. No handler of BackupError catches this."""


class BusyError(BackupError):
    """Another process changes this host. `reason` says which."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"{reason}; wait until it has ended")
        self.reason = reason


def refuse(name: object, reason: str) -> NoReturn:
    """Raise BackupError for a backup."""
    raise BackupError(f"{name}: refused: {reason}")
