# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a run has changed, as a table that people can read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from ansible.errors import AnsibleFilterError

DOCUMENTATION = r"""
name: run_summary
short_description: Format what a run has changed as a table
version_added: 0.3.0
author:
  - devorch maintainers (@devorch)
description:
  - Formats the results of M(devorch.orchestration.deploy) as a table, with one line per service and a total.
  - Results without a service, such as those of skipped tasks, are ignored.
  - A line for the secrets comes first if the run wrote any. A line for each removed service comes last.
positional: check_mode
options:
  _input:
    description:
      - Results with the keys C(service), C(changed), C(action), C(restarted), C(paths), C(seconds) and C(reasons).
    type: list
    elements: dict
    required: true
  check_mode:
    description: Whether the results are those of a run in check mode.
    type: bool
    default: false
  secrets:
    description: Names of the secrets that the run wrote.
    type: list
    elements: str
    default: []
  removed:
    description: Services that the run removed.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Report what the run has changed
  ansible.builtin.debug:
    msg: "{{ [postgres_deployed, kestra_deployed] | devorch.orchestration.run_summary(ansible_check_mode) }}"
"""

RETURN = r"""
_value:
  description: Lines of the table.
  type: list
  elements: str
"""

SHOWN = 3
"""Paths and reasons of a service that are listed; the others are counted."""
WIDTH = 70
"""How long the first two columns are at most. Ansible breaks a text at a blank behind its 80th character."""
DONE = {
    "create": "created",
    "update": "updated",
    "restart": "restarted",
    "start": "started",
    "rollback": "rolled back",
    "remove": "removed",
    "none": "changed",
}


def run_summary(
    results: Iterable[Any], check_mode: bool = False, secrets: Sequence[str] = (), removed: Iterable[str] = ()
) -> list[str]:
    """Return the lines of the table."""
    if isinstance(results, (str, Mapping)) or not isinstance(results, Iterable):
        raise AnsibleFilterError("run_summary: the input is not a list of results")
    deployed = [
        *([{"service": "secrets", "changed": True, "action": "update", "paths": secrets}] if secrets else []),
        *(result for result in results if isinstance(result, Mapping) and result.get("service")),
        *({"service": service, "changed": True, "action": "remove"} for service in removed),
    ]
    headings = ("service", "would change" if check_mode else "changed", "would restart" if check_mode else "restarted")
    width = WIDTH - 2 - max((len(str(result["service"])) for result in deployed), default=0)
    table = [(*headings, "seconds")] + [_row(result, check_mode, width) for result in deployed]
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]
    return [*lines, _total(deployed, check_mode)] if deployed else [_total(deployed, check_mode)]


def _row(result: Mapping[str, Any], check_mode: bool, width: int) -> tuple[str, ...]:
    restarted = "yes" if result.get("restarted") else "no"
    return (str(result["service"]), _change(result, check_mode, width), restarted, f"{_seconds(result):.1f}")


def _change(result: Mapping[str, Any], check_mode: bool, width: int) -> str:
    if not result.get("changed"):
        return "failed" if result.get("failed") else "-"
    action = str(result.get("action") or "none")
    word = DONE.get(action, action)
    if check_mode:
        word = "change" if action == "none" else action
    listed = _names(result.get("paths") or []) or [str(reason) for reason in result.get("reasons") or []]
    text = f"{'failed, ' if result.get('failed') else ''}{word}"
    if not listed:
        return text
    for number in range(min(SHOWN, len(listed)), 0, -1):
        more = f" and {len(listed) - number} more" if len(listed) > number else ""
        shown = f"{text} ({', '.join(listed[:number])}{more})"
        if len(shown) <= width:
            return shown
    room = width - len(f"{text} (...{more})")
    return f"{text} ({listed[0][: max(room, 0)]}...{more})"


def _names(paths: Iterable[Any]) -> list[str]:
    """Return as much of the end of each path as differs from the others."""
    parts = [PurePosixPath(str(path)).parts for path in paths]
    names = []
    for own in parts:
        others = [other for other in parts if other != own]
        length = 1
        while length < len(own) and any(other[-length:] == own[-length:] for other in others):
            length += 1
        # A path that is absolute but for its first slash would look as if it were another one.
        whole = length >= max(len(own) - 1, 2)
        names.append(str(PurePosixPath(*(own if whole else own[-length:]))))
    return names


def _total(deployed: Sequence[Mapping[str, Any]], check_mode: bool) -> str:
    changed = sum(bool(result.get("changed")) for result in deployed)
    restarted = sum(bool(result.get("restarted")) for result in deployed)
    seconds = sum(_seconds(result) for result in deployed)
    services = "1 service" if len(deployed) == 1 else f"{len(deployed)} services"
    would = "would be " if check_mode else ""
    return f"{services}: {changed} {would}changed, {restarted} {would}restarted, {seconds:.1f} s"


def _seconds(result: Mapping[str, Any]) -> float:
    try:
        return float(result.get("seconds") or 0)
    except (TypeError, ValueError):
        return 0.0


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, Callable[..., list[str]]]:
        """Return it by its name."""
        return {"run_summary": run_summary}
