"""The table of a plan, for terminals and as Markdown."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.devorch.orchestration.plugins.filter.flow_table import FilterModule

flow_table = FilterModule().filters()["flow_table"]


def entry(action: str, name: str, **more: Any) -> dict[str, Any]:
    return {
        "action": action,
        "namespace": "team",
        "id": name,
        "file": f"/srv/flows/{name}.yml",
        "revision": None,
        "drift": None,
        "reason": None,
        **more,
    }


def result(*plan: dict[str, Any], **more: Any) -> dict[str, Any]:
    summary = {"total": len(plan) + 7, "created": len(plan), "updated": 0, "unchanged": 7, "rolled_back": 0}
    return {"plan": list(plan), "problems": [], "summary": summary, "msg": "done", **more}


def test_text_lines_up_and_leaves_empty_columns_out() -> None:
    shown = flow_table(result(entry("create", "a"), entry("update", "longer", revision=12)), directory="/srv/flows/")
    assert shown == (
        "ACTION  FLOW         FILE        REVISION\n"
        "create  team/a       a.yml\n"
        "update  team/longer  longer.yml  12\n"
        "\n"
        "9 flows: 2 created, 7 unchanged"
    )


def test_drift_and_reason_are_told() -> None:
    blocked = entry("blocked", "a", revision=3, drift="edited", reason="edited on\nthe server")
    assert flow_table(result(blocked)).splitlines()[1].split()[-5:] == ["edited", "edited", "on", "the", "server"]


def test_a_flow_to_prune_has_no_file() -> None:
    shown = flow_table(result(entry("prune", "a", file=None, revision=2)))
    assert shown.splitlines()[:2] == ["ACTION  FLOW    REVISION", "prune   team/a  2"]


@pytest.mark.parametrize("style", ["text", "markdown"])
def test_nothing_to_do_is_a_count(style: str) -> None:
    shown = flow_table(result(), style)
    assert "7 flows: 7 unchanged" in shown and "|" not in shown and "ACTION" not in shown


def test_markdown_is_a_table() -> None:
    shown = flow_table(result(entry("create", "a")), "markdown", "/srv/flows")
    assert "| create | team/a | a.yml |  |  |  |\n" in shown and shown.endswith("**8 flows: 1 created, 7 unchanged**\n")


def test_markdown_takes_nothing_for_a_command() -> None:
    shown = flow_table(result(entry("blocked", "a", reason="a|b <img> `x` @all *b* & [c](d)")), "markdown")
    assert "a\\|b &lt;img> \\`x\\` @\u200ball \\*b\\* &amp; \\[c\\](d)" in shown


@pytest.mark.parametrize("style", ["text", "markdown"])
def test_problems_come_instead_of_the_plan(style: str) -> None:
    problems = [
        {"file": "/srv/flows/a.yml", "line": 3, "message": "is bad"},
        {"file": "b", "line": None, "message": "x"},
    ]
    shown = flow_table(result(entry("create", "a"), problems=problems, failed=True), style, "/srv/flows")
    assert "a.yml:3: is bad" in shown and "b: x" in shown and "othing was written" in shown and "create" not in shown


@pytest.mark.parametrize("style", ["text", "markdown"])
def test_a_failure_is_told_below(style: str) -> None:
    shown = flow_table(result(entry("create", "a"), failed=True, msg="HTTP 500"), style)
    assert "create" in shown and "HTTP 500" in shown


@pytest.mark.parametrize(
    ("value", "message"), [("x", "not a result"), ({"msg": "skipped"}, "not a result of kestra_flows: skipped")]
)
def test_something_else_is_refused(value: object, message: str) -> None:
    with pytest.raises(AnsibleFilterError, match=message):
        flow_table(value)


def test_another_style_is_refused() -> None:
    with pytest.raises(AnsibleFilterError, match="text or markdown"):
        flow_table(result(), "html")
