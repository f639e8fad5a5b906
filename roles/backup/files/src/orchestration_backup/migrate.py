# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Restore a backup with another PostgreSQL, and keep the previous cluster beside the new one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from orchestration_backup.versions import numbers

from . import compose
from .config import Config
from .errors import BackupError
from .files import filename_time, now
from .manifest import summary
from .restore import Source, replace, unstage


def migrate(config: Config, source: Source, postgres_image: str) -> dict[str, Any]:
    """Load the databases into another PostgreSQL. The roles start the other services."""
    services = config.restored(config.services_directory)
    manifest = replace(
        config,
        source,
        {},
        begin=lambda: use_image(services / f"{compose.POSTGRES}.yml", postgres_image),
        end=lambda: None,
    )
    server = next(iter(manifest["databases"].values()))["server"]
    kept = config.root / f"{config.cluster}-{numbers(server)[0]}.{filename_time(now())}"
    config.previous(config.cluster).rename(kept)
    unstage(config)
    return summary(source.name, manifest) | {"uncovered": manifest["uncovered"]}


def use_image(path: Path, image: str) -> None:
    """Set another image in the Compose file of one service."""
    text = path.read_text("utf-8") if path.is_file() else ""
    text, changed = re.subn(r"(?m)^( +image: ).*$", lambda match: match[1] + image, text, count=1)
    if not changed:
        raise BackupError(f"the backup has no image in {path.name}. Run restore instead of migrate")
    path.write_text(text, encoding="utf-8")
