# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which backups of a store may go. It is pure: the caller removes them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from .config import Keep
from .store import is_future, moment

NIGHTLY = "nightly"
BUCKETS = (("daily", "%Y-%m-%d"), ("weekly", "%G-%V"), ("monthly", "%Y-%m"))
"""For each rule of nightly backups, what those of one day, week or month have in common."""


@dataclass(frozen=True)
class Plan:
    """What happens to the backups of a store."""

    expired: list[str]
    """They may go."""
    future: list[str]
    """They are dated in the future, stay, and count for nothing."""


def plan(reasons: dict[str, str], keep: Keep, *, at: datetime, protected: Iterable[str]) -> Plan:
    """Return which backups may go. `reasons` has the reason of each by its id; protected ones stay in any case."""
    future = sorted(backup for backup in reasons if is_future(backup, at))
    newest_first = sorted(reasons.keys() - set(future), reverse=True)
    kept = set(protected)
    for name, pattern in BUCKETS:
        seen: set[str] = set()
        for backup in newest_first:
            bucket = moment(backup).strftime(pattern)
            if reasons[backup] == NIGHTLY and bucket not in seen and len(seen) < getattr(keep, name):
                seen.add(bucket)
                kept.add(backup)
    for reason in ("upgrade", "manual"):
        kept |= set([backup for backup in newest_first if reasons[backup] == reason][: getattr(keep, reason)])
    known = {NIGHTLY, "upgrade", "manual"}
    # A reason that this program does not know is of a newer one, which has a rule for it.
    return Plan(sorted(backup for backup in newest_first if backup not in kept and reasons[backup] in known), future)
