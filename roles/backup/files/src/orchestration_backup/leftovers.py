# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a killed run leaves behind, and how the next one puts it right. The caller holds the backup lock."""

from __future__ import annotations

import sys
from typing import Any

from . import compose, create, verify
from .config import Config
from .errors import BackupError, BusyError
from .files import remove
from .lock import hold
from .restore import recover


def sweep(config: Config, *, restores: bool = True) -> None:
    """Put right what a run that was killed has paused, stopped or left behind: plaintext, containers and networks.

    Without `restores`, the caller puts back the previous state after an interrupted restore itself.
    """
    remove_staging(config)
    for mend in (compose.thaw, verify.sweep, *([recover] if restores else [])):
        try:
            if mend(config) == {"recovered": True}:
                print("orchestration-backup: a restore was interrupted; the previous state is back", file=sys.stderr)
        except BackupError as error:
            # A host whose Docker does not run is restored or copied all the same.
            print(f"orchestration-backup: after an interrupted run: {error}", file=sys.stderr)


def remove_staging(config: Config) -> None:
    """Remove dumps and files of a backup or a verification, which are not encrypted."""
    for name in (create.STAGING, verify.STAGING):
        remove(config.state_directory / name)


def thaw(config: Config) -> dict[str, Any]:
    """Unpause what an interrupted run has paused. A run that continues does that itself."""
    try:
        with hold(config):
            remove_staging(config)
            return {"thawed": compose.thaw(config)}
    except BusyError:
        return {"thawed": False}
