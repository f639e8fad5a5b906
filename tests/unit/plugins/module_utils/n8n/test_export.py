"""Names and contents of exported files."""

from __future__ import annotations

import json
from pathlib import Path

from ansible_collections.devorch.orchestration.plugins.module_utils.n8n.executions import described, failure
from ansible_collections.devorch.orchestration.plugins.module_utils.n8n.export import (
    compare,
    diff,
    exported,
    file_names,
    text_of,
    write,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.n8n.workflows.plan import (
    Instance,
    Policy,
    make_plan,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.n8n.workflows.source import parse_sources
from ansible_collections.devorch.orchestration.plugins.module_utils.source_files import Source

from .builders import TAG, call, node, stored


def test_file_names() -> None:
    there = [stored("Über Orders/2026!", id="1"), stored("a", id="2"), stored("A", id="3"), stored("..", id="4")]
    assert file_names(there) == {"1": "ber-orders-2026.json", "2": "a~2.json", "3": "a.json", "4": "workflow.json"}


def test_an_export_is_read_back_equal() -> None:
    there = [
        stored("caller", call("2"), id="1", live=True, settings={"errorWorkflow": "3"}, pinData={"Call": [1]}),
        stored("callee", node("A", id="x", disabled=True), id="2"),
        stored("on error", id="3", tags=[]),
    ]
    selected = there[:2]
    texts = [text_of(exported(one, there, selected)) for one in selected]
    first = json.loads(texts[0])
    assert first["settings"]["errorWorkflow"] == "on error", "its id would mean nothing elsewhere"
    assert first["nodes"][0]["parameters"]["workflowId"]["cachedResultName"] == "callee"
    assert first["active"] is True and "versionId" not in first
    wanted, problems = parse_sources(Source(f"{number}.json", text) for number, text in enumerate(texts))
    assert problems == []
    instance = Instance(wanted, there, [], TAG)
    assert {item.action for item in make_plan(instance, Policy(TAG)).items} == {"unchanged"}
    assert instance.problems == []
    assert "pinData" not in exported(there[0], there, selected, pinned=False)


def test_files_are_written_and_removed(tmp_path: Path) -> None:
    files = {"a.json": b"1", "b.json": b"2"}
    (tmp_path / "b.json").write_bytes(b"2")
    (tmp_path / "old.json").write_bytes(b"3")
    stale = compare(files, tmp_path, prune=False)
    assert [(change.path, change.action) for change in stale] == [
        ("a.json", "created"),
        ("b.json", "unchanged"),
        ("old.json", "stale"),
    ]
    assert diff(stale) == {"before": "", "after": "a.json\n"}
    write(files, tmp_path, compare(files, tmp_path, prune=True))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "b.json"]


def test_an_execution_and_its_failing_node() -> None:
    execution = {"id": 7, "workflowId": "w", "status": "error", "mode": "webhook"}
    assert described(execution, {"w": "orders"})["workflow"] == "orders" and described(execution, {})["id"] == "7"
    data = {"resultData": {"error": {"message": "no", "node": {"name": "Http"}}, "lastNodeExecuted": "Other"}}
    assert failure({"data": data}) == {"node": "Http", "message": "no"}
    assert failure({"data": {"resultData": {}}}) is None and failure({}) is None
