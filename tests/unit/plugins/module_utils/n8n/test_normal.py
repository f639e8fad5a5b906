"""What counts as a change of a workflow, and what does not."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from ansible_collections.devorch.orchestration.plugins.module_utils.n8n.workflows.normal import (
    digest,
    left_out,
    limited,
    normal,
    payload,
    render,
    with_references,
)

from .builders import call, content, link, node

EXAMPLE = content(
    "one",
    node("A", "httpRequest", parameters={"url": "https://a.example", "options": {"timeout": 10}}),
    node("B", "code", parameters={"jsCode": "const a = 1;\nreturn a;"}),
    connections=link("A", "B"),
    settings={"timezone": "Europe/Berlin"},
)


def form(value: dict[str, Any], **options: Any) -> dict[str, Any]:
    return normal(value, **options)


NOISE: list[dict[str, Any]] = [
    {"id": "x", "versionId": "v", "updatedAt": "now", "createdAt": "then", "active": True, "staticData": {"a": 1}},
    {"meta": {"instanceId": "i"}, "shared": [], "triggerCount": 3, "versionCounter": 7, "isArchived": False},
    {"settings": {"timezone": "Europe/Berlin", "executionOrder": "v1", "callerPolicy": "workflowsFromSameOwner"}},
    {"settings": {"timezone": "Europe/Berlin", "saveExecutionProgress": "DEFAULT", "unknown": 1}},
    {"nodes": list(reversed(EXAMPLE["nodes"]))},
    {"nodes": [{**one, "position": [7, 8], "disabled": False, "notes": ""} for one in EXAMPLE["nodes"]]},
    {"nodes": [{**one, "typeVersion": 1.0, "createdAt": "now"} for one in EXAMPLE["nodes"]]},
    {"connections": {**link("A", "B"), "B": {"main": [[]]}}},
    {"pinData": {}},
]  # fmt: skip


@pytest.mark.parametrize("more", NOISE)
def test_noise_does_not_count(more: dict[str, Any]) -> None:
    assert form({**EXAMPLE, **more}) == form(EXAMPLE)
    assert digest(form({**EXAMPLE, **more})) == digest(form(EXAMPLE))


CHANGES: list[dict[str, Any]] = [
    {"name": "other"},
    {"settings": {}},
    {"settings": {"timezone": "Europe/Berlin", "executionOrder": "v0"}},
    {"connections": {}},
    {"connections": {"A": {"main": [[], [{"node": "B", "type": "main", "index": 0}]]}}},
    {"nodes": [{**EXAMPLE["nodes"][0], "disabled": True}, EXAMPLE["nodes"][1]]},
    {"nodes": [{**EXAMPLE["nodes"][0], "typeVersion": 1.1}, EXAMPLE["nodes"][1]]},
    {"nodes": EXAMPLE["nodes"][:1]},
    {"pinData": {"A": [{"json": {}}]}},
]


@pytest.mark.parametrize("more", CHANGES)
def test_what_a_workflow_does_is_a_change(more: dict[str, Any]) -> None:
    assert digest(form({**EXAMPLE, **more})) != digest(form(EXAMPLE))
    assert render(form({**EXAMPLE, **more})) != render(form(EXAMPLE)), "the diff shows it"


def test_positions_count_if_asked_for() -> None:
    moved = copy.deepcopy(EXAMPLE)
    moved["nodes"][0]["position"] = [1, 1]
    assert form(moved) == form(EXAMPLE)
    assert form(moved, positions=True) != form(EXAMPLE, positions=True)


def test_a_diff_is_by_node_and_parameter() -> None:
    assert render(form(EXAMPLE)).splitlines() == [
        "name: one",
        "settings.timezone: Europe/Berlin",
        "node A (n8n-nodes-base.httpRequest 1)",
        "  options.timeout: 10",
        "  url: https://a.example",
        "node B (n8n-nodes-base.code 1)",
        "  jsCode:",
        "    const a = 1;",
        "    return a;",
        "connection A main 0 -> B",
    ]


def test_pinned_data_is_counted_in_a_diff() -> None:
    text = render(form({**EXAMPLE, "pinData": {"A": [{"json": {"a": "long"}}]}}))
    assert "pinned data of node A: 1 items" in text and "long" not in text


def test_references_are_replaced_and_expressions_are_not() -> None:
    seen: list[Any] = []

    def workflow(reference: Any) -> str:
        seen.append((reference.where, reference.value, reference.name))
        return f"<{reference.value}>"

    def credential(reference: Any) -> tuple[str, str]:
        seen.append((reference.where, reference.kind, reference.id, reference.name))
        return "c9", "mine"

    value = content(
        "one",
        call("w1", "Sub"),
        node("Old", "executeWorkflow", parameters={"workflowId": "w2"}),
        node("Dynamic", "executeWorkflow", parameters={"workflowId": "={{ $json.id }}"}),
        node("File", "executeWorkflow", parameters={"source": "localFile", "workflowId": "w3"}),
        node("Http", "httpRequest", credentials={"httpHeaderAuth": {"id": "c1", "name": "token"}, "old": "name"}),
        settings={"errorWorkflow": "w4", "callerIds": "w5, w6"},
    )
    result = with_references(value, workflow, credential)
    nodes = {one["name"]: one for one in result["nodes"]}
    assert nodes["Call"]["parameters"]["workflowId"] == {
        "__rl": True,
        "mode": "list",
        "value": "<w1>",
        "cachedResultName": "Sub",
    }
    assert nodes["Old"]["parameters"]["workflowId"] == "<w2>"
    assert nodes["Dynamic"]["parameters"]["workflowId"] == "={{ $json.id }}"
    assert nodes["File"]["parameters"]["workflowId"] == "w3"
    assert nodes["Http"]["credentials"]["httpHeaderAuth"] == {"id": "c9", "name": "mine"}
    assert result["settings"] == {"errorWorkflow": "<w4>", "callerIds": "<w5>,<w6>"}
    assert ("node 'Http'", "httpHeaderAuth", "c1", "token") in seen and ("node 'Http'", "old", None, "name") in seen
    without = with_references(value, workflow, credential, bare=True)
    assert without["nodes"][0]["parameters"]["workflowId"] == {"__rl": True, "value": "<w1>"}
    assert without["nodes"][4]["credentials"] == {"httpHeaderAuth": "c9", "old": "c9"}


def test_only_what_the_api_takes_is_sent() -> None:
    value = {**EXAMPLE, "id": "x", "active": True, "tags": [], "meta": {}, "staticData": {"old": 1}}
    value["settings"] = {"timezone": "UTC", "newer": 1, "saveManualExecutions": "DEFAULT"}
    value["nodes"] = [{**EXAMPLE["nodes"][0], "updatedAt": "x", "strange": 1, "id": None}, EXAMPLE["nodes"][1]]
    before = content("one", node("A", id="kept", webhookId="hook"), staticData={"poll": 3}, pinData={"A": []})
    sent = payload(value, before)
    assert set(sent) == {"name", "nodes", "connections", "settings", "pinData"}
    assert sent["settings"] == {"timezone": "UTC"}
    assert sent["nodes"][0]["id"] == "kept" and sent["nodes"][0]["webhookId"] == "hook"
    assert "strange" not in sent["nodes"][0]
    assert left_out(value) == ["settings.newer", "strange of nodes"]


def test_settings_that_a_file_has_no_more() -> None:
    """n8n merges settings, so some stay, and a later run must not report them again."""
    stored = content("one", node("A"), settings={"executionTimeout": 60, "timezone": "UTC", "callerIds": "7"})
    wanted = content("one", node("A"), settings={})
    assert payload(wanted, stored)["settings"] == {"callerIds": ""}
    assert limited(form(stored), form(wanted)) != form(wanted)
    stored["settings"] |= payload(wanted, stored)["settings"]
    assert limited(form(stored), form(wanted)) == form(wanted)


def test_what_a_file_says_nothing_about_does_not_count() -> None:
    given = form(content("one", node("A")))
    there = form(content("one", node("A", id="i", webhookId="w"), pinData={"A": [1]}))
    assert limited(there, given) == given
    assert limited(there, there) == there
