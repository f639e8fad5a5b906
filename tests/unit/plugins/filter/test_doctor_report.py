"""The findings as a table, as JSON and as a page."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.devorch.orchestration.plugins.filter.doctor_report import FilterModule

doctor_report = FilterModule().filters()["doctor_report"]
RESULT: dict[str, Any] = {
    "status": "warning",
    "summary": {"ok": 1, "warning": 1, "critical": 0},
    "findings": [
        {"check": "disk", "subject": "/<srv>", "status": "warning", "message": "81 % & more", "hint": "Free some."},
        {"check": "service", "subject": "kestra", "status": "ok", "message": "healthy", "hint": ""},
    ],
    "disks": {"/<srv>": {"total": 100, "free": 19, "used_percent": 81, "inodes_percent": 1}},
    "executions_by_day": [
        {"day": "2026-11-23", "success": 3, "warning": 0, "failed": 1, "killed": 0, "other": 0},
        {"day": "2026-11-24", "success": 0, "warning": 0, "failed": 0, "killed": 0, "other": 0},
    ],
    "checked_at": "2026-11-24T10:00:00+00:00",
    "changed": False,
}


def test_text_lines_up_and_hints_stand_below() -> None:
    assert doctor_report(RESULT) == (
        "STATUS   CHECK    SUBJECT  MESSAGE\n"
        "warning  disk     /<srv>   81 % & more\n"
        "         -> Free some.\n"
        "ok       service  kestra   healthy\n"
        "\n"
        "1 ok, 1 warning, 0 critical"
    )


def test_json_has_every_host_and_the_worst_status() -> None:
    told = json.loads(doctor_report({"a": RESULT, "b": {}}, "json"))
    assert told["status"] == "critical"
    assert told["hosts"]["a"]["findings"] == RESULT["findings"]
    assert "changed" not in told["hosts"]["a"]
    assert told["hosts"]["b"]["findings"][0]["message"].startswith("this host was not checked")


class Page(HTMLParser):
    """Collects what a browser would fetch, and checks that tags are closed."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [str(value) for name, value in attrs if name in ("src", "href", "xlink:href", "data")]
        if tag not in ("meta", "rect"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [str(value) for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        if tag == "rect":
            return
        assert self.open.pop() == tag


def test_page_needs_nothing_else_and_escapes_what_it_shows() -> None:
    page = doctor_report({"a<b": RESULT}, "html")
    parser = Page()
    parser.feed(page)
    assert parser.links == [] and parser.open == []
    assert not re.search(r"url\(|@import|https?:|<script", page)
    assert "a&lt;b" in page and "/&lt;srv&gt;" in page and "81 % &amp; more" in page and "<srv>" not in page


def test_plots_show_the_numbers() -> None:
    page = doctor_report({"a": RESULT}, "html")
    assert "<title>2026-11-23: 3 success</title>" in page and "<title>2026-11-23: 1 failed</title>" in page
    assert "81 % used, 19 B of 100 B free" in page
    tall = {name: float(height) for name, height in re.findall(r'class="f-(\w+)" x=.*?height="([\d.]+)"', page)}
    assert tall["success"] == pytest.approx(3 * tall["failed"], rel=0.01)
    assert 'class="f-warning" y="18" width="291.6"' in page


def test_host_without_executions_has_no_empty_plot() -> None:
    page = doctor_report({"a": {**RESULT, "executions_by_day": []}}, "html")
    assert "Executions by day" not in page and "Disk" in page


@pytest.mark.parametrize(("value", "style"), [({"msg": "failed"}, "text"), ([], "json"), (RESULT, "yaml")])
def test_anything_else_is_refused(value: Any, style: str) -> None:
    with pytest.raises(AnsibleFilterError, match="doctor_report"):
        doctor_report(value, style)
