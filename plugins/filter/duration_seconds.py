# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Durations as Kestra's configuration has them."""

from __future__ import annotations

import math
import re
from typing import Any

from ansible.errors import AnsibleFilterError

DOCUMENTATION = r"""
name: duration_seconds
short_description: Convert a duration in Kestra's configuration to seconds
version_added: 0.3.0
description:
  - Accepts V(5m), V(1h30m), V(500ms) or an ISO 8601 duration such as V(PT5M). Returns whole seconds, rounded up.
author: devorch maintainers (@devorch)
positional: _input
options:
  _input:
    description: The duration.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Report the seconds of a duration
  ansible.builtin.debug:
    msg: "{{ '5m' | devorch.orchestration.duration_seconds }}"
"""

RETURN = r"""
_value:
  description: Number of seconds.
  type: int
"""

# Micronaut reads durations so: https://docs.micronaut.io/latest/guide/#customTypeConverter
SIMPLE = re.compile(r"(\d+)(ms|s|m|h|d)", re.IGNORECASE)
ISO = re.compile(r"P(?=.)(?:(\d+)D)?(?:T(?=\d)(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?", re.IGNORECASE)
UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def duration_seconds(text: Any) -> int:
    """Return the whole seconds of a duration, rounded up; raise AnsibleFilterError for anything else."""
    value = str(text).strip()
    if match := ISO.fullmatch(value):
        days, hours, minutes, seconds = (float(part or 0) for part in match.groups())
        return math.ceil(days * 86400 + hours * 3600 + minutes * 60 + seconds)
    if not re.fullmatch(rf"(?:{SIMPLE.pattern})+", value, re.IGNORECASE):
        raise AnsibleFilterError(f"duration_seconds: {value!r} is not a duration. Use one such as 5m, 1h30m or PT5M.")
    return math.ceil(sum(int(number) * UNITS[unit.lower()] for number, unit in SIMPLE.findall(value)))


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Any]:
        """Return the filters by name."""
        return {"duration_seconds": duration_seconds}
