# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the program remembers between its runs."""

from __future__ import annotations

import json
from typing import Any

from .config import Config
from .files import write_private

VERIFIED_LIMIT = 200


class State:
    """The state of the program. Nothing in it is needed to restore."""

    def __init__(self, config: Config) -> None:
        self.path = config.state
        try:
            found = json.loads(self.path.read_text("utf-8"))
        except (OSError, ValueError):
            found = {}
        known: dict[str, Any] = found if isinstance(found, dict) else {}
        self.verified: dict[str, dict[str, Any]] = known.get("verified", {})
        """The result of each trial restore by backup: time, ok, counts or error."""
        self.latest_verification: dict[str, Any] = known.get("latest_verification", {})
        """The result of the last one, also if it failed."""
        self.repositories: dict[str, str] = known.get("repositories", {})
        """The id of each store by name."""
        self.checked: dict[str, int] = known.get("checked", {})
        """How often each store was checked."""
        self.pruned: dict[str, str] = known.get("pruned", {})
        """When each store was pruned."""
        self.added: int = known.get("added", 0)
        """How many bytes the last backup added to its store."""

    def write(self) -> None:
        """Write the file."""
        newest = dict(sorted(self.verified.items())[-VERIFIED_LIMIT:])
        found = {
            "verified": newest,
            "latest_verification": self.latest_verification,
            "repositories": self.repositories,
            "checked": self.checked,
            "pruned": self.pruned,
            "added": self.added,
        }
        write_private(self.path, json.dumps(found, indent=1))

    def verified_time(self, backup: str) -> str | None:
        """Return when a backup was last verified with success."""
        found = self.verified.get(backup, {})
        return str(found["time"]) if found.get("ok") else None
