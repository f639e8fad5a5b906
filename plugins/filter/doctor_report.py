# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The findings of doctor_info for a terminal, for machines and as a page."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.devorch.orchestration.plugins.module_utils.host.doctor import CRITICAL, STATUSES, size

DOCUMENTATION = r"""
name: doctor_report
short_description: Format the findings of doctor_info
version_added: 0.3.0
author:
  - devorch maintainers (@devorch)
description:
  - Formats one result of M(devorch.orchestration.doctor_info) as a table for the terminal.
  - Formats the results of all hosts as JSON, or as one self-contained HTML page.
positional: style
options:
  _input:
    description:
      - The registered result. For V(json) and V(html), the results by host.
      - For a host that could not be reached, the result is empty.
    type: dict
    required: true
  style:
    description: V(text) is for the terminal, V(json) is for programs, and V(html) is a page.
    type: str
    choices: [text, json, html]
    default: text
seealso:
  - plugin_type: module
    plugin: devorch.orchestration.doctor_info
"""

EXAMPLES = r"""
- name: Report the findings
  ansible.builtin.debug:
    msg: "{{ (doctor | devorch.orchestration.doctor_report).splitlines() }}"

- name: Write the HTML page
  ansible.builtin.copy:
    content: "{{ {inventory_hostname: doctor} | devorch.orchestration.doctor_report('html') }}"
    dest: doctor.html
    mode: "0644"
  delegate_to: localhost
"""

RETURN = r"""
_value:
  description: The report.
  type: str
"""

KEYS = ("status", "summary", "findings", "disks", "executions_by_day", "checked_at")
UNREACHED = {
    "status": CRITICAL,
    "summary": {"ok": 0, "warning": 0, "critical": 1},
    "findings": [
        {
            "check": "host",
            "subject": "connection",
            "status": CRITICAL,
            "message": "this host was not checked, because an earlier task failed",
            "hint": "Look at Ansible's own messages.",
        }
    ],
    "disks": {},
    "executions_by_day": [],
    "checked_at": "",
}
GROUPS = ("success", "warning", "failed", "killed", "other")
HEADINGS = ("status", "check", "subject", "message")


def doctor_report(found: Mapping[str, Any], style: str = "text") -> str:
    """Return the findings in a style."""
    if style not in ("text", "json", "html"):
        raise AnsibleFilterError(f"doctor_report: style is {style!r}; it is text, json or html")
    if not isinstance(found, Mapping):
        raise AnsibleFilterError("doctor_report: this is not a result of doctor_info")
    if style == "text":
        if not isinstance(found.get("findings"), Sequence):
            raise AnsibleFilterError(f"doctor_report: this is not a result of doctor_info: {found.get('msg')}")
        return _text(found)
    hosts = {str(name): _kept(result) for name, result in found.items()}
    worst = max((host["status"] for host in hosts.values()), key=STATUSES.index, default="ok")
    if style == "json":
        return json.dumps({"status": worst, "hosts": hosts}, indent=2) + "\n"
    return _html(hosts, worst)


def _kept(result: Any) -> dict[str, Any]:
    if not isinstance(result, Mapping) or "findings" not in result:
        return dict(UNREACHED)
    return {key: result[key] for key in KEYS}


def _text(result: Mapping[str, Any]) -> str:
    rows = [tuple(" ".join(str(finding[heading]).split()) for heading in HEADINGS) for finding in result["findings"]]
    table = [tuple(heading.upper() for heading in HEADINGS), *rows]
    widths = [max(len(row[column]) for row in table) for column in range(3)]
    hints = ["", *(finding["hint"] for finding in result["findings"])]
    lines = []
    for row, hint in zip(table, hints, strict=True):
        lines.append("  ".join([*(row[column].ljust(widths[column]) for column in range(3)), row[3]]).rstrip())
        if hint:
            lines.append(" " * (widths[0] + 2) + f"-> {hint}")
    counts = ", ".join(f"{number} {status}" for status, number in result["summary"].items())
    return "\n".join([*lines, "", counts])


STYLE = """
:root{color-scheme:light dark;--text:#1c2330;--dim:#5b6575;--page:#f5f6f8;--card:#fff;--line:#dde1e7;
--ok:#2f7d4f;--warning:#a86400;--critical:#c02b2b;--success:#3d9563;--failed:#cf4040;--killed:#7d6bb0;--other:#9aa4b2;--amber:#dd9a26}
@media(prefers-color-scheme:dark){:root{--text:#e6e9ee;--dim:#9aa4b2;--page:#14181f;--card:#1d232c;--line:#323a46;
--ok:#63c08a;--warning:#e3a94a;--critical:#f07b7b}}
*{box-sizing:border-box}body{margin:0 auto;max-width:1080px;padding:24px;background:var(--page);color:var(--text);
font:15px/1.45 system-ui,sans-serif}h1{font-size:22px;margin:0 0 4px}h2{font-size:18px;margin:32px 0 4px}
h3{font-size:13px;margin:0 0 10px;color:var(--dim);font-weight:600}p{margin:0 0 14px;color:var(--dim)}
.card{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:16px;margin:0 0 14px}
.plots{display:grid;grid-template-columns:3fr 2fr;gap:14px}@media(max-width:760px){.plots{grid-template-columns:1fr}}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;vertical-align:top;padding:7px 10px 7px 0;border-top:1px solid var(--line)}
th{border-top:0;font-size:13px;color:var(--dim)}td{overflow-wrap:anywhere}td:first-child,td:nth-child(2){white-space:nowrap}
.hint{color:var(--dim);font-size:13px}.s{font-weight:600}.s.ok{color:var(--ok)}.s.warning{color:var(--warning)}.s.critical{color:var(--critical)}
svg{display:block;width:100%;height:auto}svg text{font:11px system-ui,sans-serif;fill:var(--dim)}
.f-success,.f-ok{fill:var(--success)}.f-warning{fill:var(--amber)}.f-failed,.f-critical{fill:var(--failed)}.f-killed{fill:var(--killed)}.f-other{fill:var(--other)}
.track{fill:var(--line)}.key{display:flex;flex-wrap:wrap;gap:4px 14px;margin-top:8px;font-size:12px;color:var(--dim)}
.key svg{width:10px;height:10px;display:inline-block;margin-right:5px}
"""
MARKS = {"ok": "✓", "warning": "!", "critical": "✕"}


def _html(hosts: Mapping[str, Mapping[str, Any]], worst: str) -> str:
    parts = [_host(name, host) for name, host in sorted(hosts.items())]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(worst)}: orchestration hosts</title><style>{STYLE}</style></head><body>\n"
        f"<h1>Orchestration hosts</h1><p>Worst status: {_status(worst)}</p>\n" + "\n".join(parts) + "\n</body></html>\n"
    )


def _status(status: str) -> str:
    return f'<span class="s {status}">{MARKS[status]} {status}</span>'


def _host(name: str, host: Mapping[str, Any]) -> str:
    counts = ", ".join(f"{number} {status}" for status, number in host["summary"].items())
    rows = "".join(
        f"<tr><td>{_status(finding['status'])}</td><td>{escape(finding['check'])}</td><td>{escape(finding['subject'])}</td>"
        f"<td>{escape(finding['message'])}{_hint(finding['hint'])}</td></tr>"
        for finding in host["findings"]
    )
    checked = f", checked at {escape(host['checked_at'])}" if host["checked_at"] else ""
    cards = [
        f'<div class="card"><h3>{title}</h3>{plot}</div>'
        for title, plot in (
            ("Executions by day and state", _executions(host["executions_by_day"])),
            ("Disk", _disks(host["disks"], host["findings"])),
        )
        if plot
    ]
    plots = f'<div class="plots">{"".join(cards)}</div>' if cards else ""
    heads = "".join(f"<th>{heading}</th>" for heading in HEADINGS)
    return (
        f"<section><h2>{escape(name)}</h2><p>{_status(host['status'])} · {counts}{checked}</p>{plots}"
        f'<div class="card"><table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div></section>'
    )


def _hint(text: str) -> str:
    return f'<div class="hint">{escape(text)}</div>' if text else ""


def _executions(days: Sequence[Mapping[str, Any]]) -> str:
    """Return stacked bars, a day each, with the day's total above its bar."""
    if not days:
        return ""
    width, height, top, bottom = 560, 190, 18, 20
    most = max(sum(day[group] for group in GROUPS) for day in days)
    step = width / len(days)
    bars = []
    for number, day in enumerate(days):
        left, base = number * step + step * 0.2, float(height - bottom)
        for group in GROUPS:
            tall = day[group] * (height - top - bottom) / most if most else 0
            base -= tall
            if tall:
                bars.append(
                    f'<rect class="f-{group}" x="{left:.1f}" y="{base:.1f}"'
                    f' width="{step * 0.6:.1f}" height="{tall:.1f}">'
                    f"<title>{escape(day['day'])}: {day[group]} {group}</title></rect>"
                )
        middle = left + step * 0.3
        total = sum(day[group] for group in GROUPS)
        bars.append(f'<text x="{middle:.1f}" y="{base - 4:.1f}" text-anchor="middle">{total}</text>')
        bars.append(f'<text x="{middle:.1f}" y="{height - 5}" text-anchor="middle">{escape(day["day"][5:])}</text>')
    shown = [group for group in GROUPS if any(day[group] for day in days)]
    key = "".join(
        f'<span><svg viewBox="0 0 10 10"><rect class="f-{group}" width="10" height="10"/></svg>{group}</span>'
        for group in shown
    )
    line = f'<rect class="track" x="0" y="{height - bottom}" width="{width}" height="1"/>'
    return f'<svg viewBox="0 0 {width} {height}" role="img">{line}{"".join(bars)}</svg><div class="key">{key}</div>'


def _disks(disks: Mapping[str, Mapping[str, Any]], findings: Sequence[Mapping[str, str]]) -> str:
    """Return a bar for each file system, in the colour of its finding."""
    if not disks:
        return ""
    status = {finding["subject"]: finding["status"] for finding in findings if finding["check"] == "disk"}
    rows = []
    for number, (path, disk) in enumerate(sorted(disks.items())):
        top = number * 52
        filled = 360 * disk["used_percent"] / 100
        rows.append(
            f'<text x="0" y="{top + 12}">{escape(path)}</text>'
            f'<rect class="track" y="{top + 18}" width="360" height="12" rx="3"/>'
            f'<rect class="f-{status.get(path, "ok")}" y="{top + 18}" width="{filled:.1f}" height="12" rx="3"/>'
            f'<text x="0" y="{top + 44}">{disk["used_percent"]} % used, {size(disk["free"])} of'
            f" {size(disk['total'])} free</text>"
        )
    return f'<svg viewBox="0 0 360 {len(disks) * 52}" role="img">{"".join(rows)}</svg>'


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., str]]:
        return {"doctor_report": doctor_report}
