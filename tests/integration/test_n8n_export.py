"""`n8n_export` against the real n8n. That an export is loaded back equal is in test_n8n_workflows.py."""

from __future__ import annotations

import json
from pathlib import Path

from ..unit.in_process import call
from .contracts.n8n_workflows import store
from .n8n import N8n
from .n8n_patterns import callee, caller, say, workflow


def test_an_export_names_what_it_refers_to(n8n: N8n, tmp_path: Path) -> None:
    target = store(n8n, callee("target"))
    pinned = {**caller("source", target), "pinData": {"Call": [{"json": {"a": 1}}]}}
    store(n8n, {**pinned, "settings": {"executionOrder": "v1", "errorWorkflow": target}})
    n8n.api("POST", f"/workflows/{store(n8n, workflow('archived', say('A', 'x')))}/archive")
    options = {"url": n8n.url, "api_key": n8n.api_key, "dest": str(tmp_path), "pinned_data": False}
    result = call("n8n_export", options)
    assert [file["path"] for file in result["files"]] == ["source.json", "target.json"]
    source = json.loads((tmp_path / "source.json").read_text("utf-8"))
    reference = next(node for node in source["nodes"] if node["name"] == "Call")["parameters"]["workflowId"]
    assert (reference["value"], reference["cachedResultName"]) == (target, "target")
    assert source["settings"]["errorWorkflow"] == target and "pinData" not in source
