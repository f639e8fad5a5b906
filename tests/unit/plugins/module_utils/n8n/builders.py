"""Small workflows for tests, as files and as an instance of n8n returns them."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from ansible_collections.devorch.orchestration.plugins.module_utils.n8n.workflows.plan import Stored
from ansible_collections.devorch.orchestration.plugins.module_utils.n8n.workflows.source import Workflow

TAG = "managed-by-ansible"


def node(name: str, kind: str = "set", **more: Any) -> dict[str, Any]:
    base = {"name": name, "type": kind if "." in kind else f"n8n-nodes-base.{kind}", "typeVersion": 1}
    return {**base, "position": [0, 0], "parameters": {}, **more}


def webhook(path: str, method: str = "GET", **more: Any) -> dict[str, Any]:
    return node("Webhook", "webhook", parameters={"path": path, "httpMethod": method}, **more)


def call(target: str, name: str | None = None) -> dict[str, Any]:
    reference = {"__rl": True, "mode": "list", "value": target, "cachedResultUrl": f"/workflow/{target}"}
    if name:
        reference["cachedResultName"] = name
    return node("Call", "executeWorkflow", parameters={"workflowId": reference})


def link(*names: str) -> dict[str, Any]:
    """Connect nodes one behind the other."""
    return {a: {"main": [[{"node": b, "type": "main", "index": 0}]]} for a, b in pairwise(names)}


def content(name: str, *nodes: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"name": name, "nodes": list(nodes) or [node("Set")], "connections": {}, "settings": {}, **more}


def file(name: str, *nodes: dict[str, Any], **more: Any) -> Workflow:
    value = content(name, *nodes, **more)
    tags = value.get("tags")
    return Workflow(f"{name}.json", name, value, value.get("id"), value.get("active"), tags and tuple(tags))


def stored(name: str, *nodes: dict[str, Any], id: str = "1", live: bool = False, **more: Any) -> Stored:
    tags = [{"id": f"t-{tag}", "name": tag} for tag in more.pop("tags", [TAG])]
    versions = {"versionId": "v2", "activeVersionId": "v2" if live else None, "active": live}
    return Stored({"id": id, "tags": tags, "isArchived": False, **versions, **content(name, *nodes), **more})
