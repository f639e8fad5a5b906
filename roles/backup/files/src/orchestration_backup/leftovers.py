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


def sweep(config: Config) -> None:
    """Unpause services, and remove plaintext, containers and networks of a run that was killed.

    What a restore leaves is put right by `recover`, since it may be the only good state.
    """
    staging = (config.state_directory / name for name in (create.STAGING, verify.STAGING))
    for path in staging:
        remove(path)
    for mend in (compose.thaw, verify.sweep):
        try:
            mend(config)
        except BackupError as error:
            # A host whose Docker does not run is restored or copied all the same.
            print(f"orchestration-backup: after an interrupted run: {error}", file=sys.stderr)


def thaw(config: Config) -> dict[str, Any]:
    """Unpause what an interrupted run has paused. A run that goes on does that itself."""
    try:
        with hold(config):
            return {"thawed": compose.thaw(config)}
    except BusyError:
        return {"thawed": False}
