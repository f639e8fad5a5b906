# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Dates of ISO 8601, as servers write them, for every Python of a managed host. No network here."""

from __future__ import annotations

import re
from datetime import datetime, timezone

UTC = timezone.utc
_FRACTION = re.compile(r"[.,](\d+)")


def plain(text: str) -> str:
    """Return a date as Python 3.10 reads it: an offset for the Z, and a fraction of six digits."""
    text = re.sub(r"[zZ]$", "+00:00", text.strip())
    return _FRACTION.sub(lambda match: f".{match[1][:6]:0<6}", text)


def parse(text: str) -> datetime:
    """Return the moment that a text means, without a time zone if it has none; ValueError if it is not a date."""
    return datetime.fromisoformat(plain(text))
