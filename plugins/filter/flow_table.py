# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The result of kestra_flows as a table that people can read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError

DOCUMENTATION = r"""
name: flow_table
short_description: Format the plan of kestra_flows as a table
version_added: 0.2.0
author:
  - devorch maintainers (@devorch)
description:
  - Formats RV(devorch.orchestration.kestra_flows#module:plan) of a result of M(devorch.orchestration.kestra_flows) as a
    table. It has one line per flow, except for unchanged flows, and the counts at the end.
  - If the result has problems, it lists the problems instead.
positional: style
options:
  _input:
    description: The registered result of M(devorch.orchestration.kestra_flows).
    type: dict
    required: true
  style:
    description: V(text) is for the terminal. V(markdown) is for example for a comment on a pull request.
    type: str
    choices: [text, markdown]
    default: text
  directory:
    description: Directory to remove from the beginning of the files' paths.
    type: str
    default: ""
seealso:
  - plugin_type: module
    plugin: devorch.orchestration.kestra_flows
"""

EXAMPLES = r"""
- name: Report the plan
  ansible.builtin.debug:
    msg: "{{ flows | devorch.orchestration.flow_table }}"

- name: Write the plan for a pull request
  ansible.builtin.copy:
    content: "{{ flows | devorch.orchestration.flow_table('markdown') }}"
    dest: plan.md
    mode: "0644"
"""

RETURN = r"""
_value:
  description: The table and the counts.
  type: str
"""

HEADINGS = ("action", "flow", "file", "revision", "drift", "reason")


def flow_table(result: Mapping[str, Any], style: str = "text", directory: str = "") -> str:
    """Return the plan in a result as a table, with the counts below it."""
    if style not in ("text", "markdown"):
        raise AnsibleFilterError(f"flow_table: style is {style!r}; it is text or markdown")
    if not isinstance(result, Mapping) or not {"plan", "summary", "problems"} <= set(result):
        message = result.get("msg") if isinstance(result, Mapping) else None
        raise AnsibleFilterError(f"flow_table: this is not a result of kestra_flows{f': {message}' if message else ''}")
    rows = [_row(entry, directory) for entry in result["plan"]]
    problems = [_problem(problem, directory) for problem in result["problems"]]
    failed = str(result.get("msg", "")) if result.get("failed") and not problems else ""
    return (_markdown if style == "markdown" else _text)(rows, problems, _counts(result["summary"]), failed)


def _row(entry: Mapping[str, Any], directory: str) -> tuple[str, ...]:
    cells = (
        entry["action"],
        f"{entry['namespace']}/{entry['id']}",
        _short(entry.get("file"), directory),
        entry.get("revision"),
        entry.get("drift"),
        entry.get("reason"),
    )
    return tuple("" if cell is None else " ".join(str(cell).split()) for cell in cells)


def _short(file: str | None, directory: str) -> str | None:
    return file.removeprefix(directory.rstrip("/") + "/") if file and directory else file


def _problem(problem: Mapping[str, Any], directory: str) -> str:
    line = f":{problem['line']}" if problem.get("line") else ""
    return f"{_short(problem['file'], directory)}{line}: {problem['message']}"


def _counts(summary: Mapping[str, int]) -> str:
    counts = [f"{count} {name.replace('_', ' ')}" for name, count in summary.items() if count and name != "total"]
    total = "1 flow" if summary["total"] == 1 else f"{summary['total']} flows"
    return f"{total}: {', '.join(counts)}" if counts else "no flows"


def _text(rows: Sequence[tuple[str, ...]], problems: Sequence[str], counts: str, failed: str) -> str:
    if problems:
        return "\n".join([*problems, "", "Nothing was written."])
    lines: list[str] = []
    if rows:
        table = [tuple(heading.upper() for heading in HEADINGS), *rows]
        widths = [max(len(row[column]) for row in table) for column in range(len(HEADINGS))]
        # A column that is empty for all is left out.
        shown = [column for column in range(len(HEADINGS)) if any(row[column] for row in rows)]
        lines = ["  ".join(row[column].ljust(widths[column]) for column in shown).rstrip() for row in table] + [""]
    return "\n".join([*lines, counts, *([failed] if failed else [])])


def _markdown(rows: Sequence[tuple[str, ...]], problems: Sequence[str], counts: str, failed: str) -> str:
    lines = ["### Kestra flows", ""]
    if problems:
        return "\n".join(
            [*lines, *(f"- {_escaped(problem)}" for problem in problems), "", "**Nothing was written.**", ""]
        )
    if rows:
        lines += ["| " + " | ".join(HEADINGS) + " |", "|" + "---|" * len(HEADINGS)]
        lines += ["| " + " | ".join(map(_escaped, row)) + " |" for row in rows] + [""]
    lines += [f"**{counts}**", ""]
    if failed:
        # A fence of four, since the text is a server's and may hold one of three.
        lines += ["````text", failed, "````", ""]
    return "\n".join(lines)


def _escaped(text: str) -> str:
    """Keep a text from being read as Markdown or HTML."""
    for character in ("\\", "`", "*", "_", "|", "[", "]", "~", "@"):
        text = text.replace(character, f"\\{character}" if character != "@" else "@\u200b")
    return " ".join(text.replace("&", "&amp;").replace("<", "&lt;").split())


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., str]]:
        return {"flow_table": flow_table}
