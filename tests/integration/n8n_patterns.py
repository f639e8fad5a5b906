"""Workflows written by hand after the patterns of people's workflows, for tests with a real n8n."""

from __future__ import annotations

import itertools
from typing import Any

from .n8n import N8n

CREDENTIALS = {"name": "Pattern token", "type": "httpHeaderAuth", "data": {"name": "X-Token", "value": "secret"}}


def credentials(n8n: N8n) -> None:
    """Create the credentials that the patterns use."""
    n8n.api("POST", "/credentials", CREDENTIALS)


def node(
    name: str, kind: str, version: float = 1, parameters: dict[str, Any] | None = None, **more: Any
) -> dict[str, Any]:
    kind = kind if "." in kind else f"n8n-nodes-base.{kind}"
    base = {"id": f"id-{name.lower().replace(' ', '-')}", "name": name, "type": kind, "typeVersion": version}
    return {**base, "position": [0, 0], "parameters": parameters or {}, **more}


def link(*names: str, kind: str = "main") -> dict[str, Any]:
    return {a: {kind: [[{"node": b, "type": kind, "index": 0}]]} for a, b in itertools.pairwise(names)}


def workflow(name: str, *nodes: dict[str, Any], links: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "nodes": list(nodes),
        "connections": links or {},
        "settings": {"executionOrder": "v1"},
        **more,
    }


def say(name: str, value: str) -> dict[str, Any]:
    field = {"id": "f1", "name": "says", "type": "string", "value": value}
    return node(name, "set", 3.4, {"assignments": {"assignments": [field]}, "options": {}})


def webhook(name: str, path: str, says: str = "hello") -> dict[str, Any]:
    """Answer a GET with one field."""
    hook = node(
        "Webhook", "webhook", 2, {"path": path, "responseMode": "lastNode", "options": {}}, webhookId=f"hook-{path}"
    )
    return workflow(name, hook, say("Say", says), links=link("Webhook", "Say"))


def callee(name: str) -> dict[str, Any]:
    start = node("Start", "executeWorkflowTrigger", 1.1, {"inputSource": "passthrough"})
    return workflow(name, start, say("Say", "called"), links=link("Start", "Say"))


def caller(name: str, target: str, **more: Any) -> dict[str, Any]:
    reference = {"__rl": True, "mode": "list", "value": target, "cachedResultName": target}
    call = node("Call", "executeWorkflow", 1.2, {"workflowId": reference, "options": {}})
    return workflow(name, node("Start", "manualTrigger"), call, links=link("Start", "Call"), **more)


def _patterns() -> list[dict[str, Any]]:
    every = {"rule": {"interval": [{"field": "hours", "hoursInterval": 6}]}}
    start = node("Start", "manualTrigger")
    http = node(
        "Http",
        "httpRequest",
        4.2,
        {"url": "http://127.0.0.1:9", "authentication": "genericCredentialType", "genericAuthType": "httpHeaderAuth"},
        credentials={"httpHeaderAuth": {"id": "of-elsewhere", "name": CREDENTIALS["name"]}},
        onError="continueErrorOutput",
        retryOnFail=True,
        maxTries=2,
    )
    loop = node("Loop", "splitInBatches", 3, {"options": {}})
    looping = {"Start": link("Start", "Loop")["Start"], **link("Code", "Loop")}
    looping["Loop"] = {"main": [[], [{"node": "Code", "type": "main", "index": 0}]]}
    code = node("Code", "code", 2, {"jsCode": "const a = 1;\nreturn $input.all();"})
    merge = node("Merge", "merge", 3, {"mode": "combine", "combineBy": "combineByPosition", "options": {}})
    both = {
        "Start": {"main": [[{"node": "A", "type": "main", "index": 0}, {"node": "B", "type": "main", "index": 0}]]},
        "A": {"main": [[{"node": "Merge", "type": "main", "index": 0}]]},
        "B": {"main": [[{"node": "Merge", "type": "main", "index": 1}]]},
    }
    model = node("Model", "@n8n/n8n-nodes-langchain.lmChatOpenAi", 1.2, {"model": "m", "options": {}})
    agent = node("Agent", "@n8n/n8n-nodes-langchain.agent", 1.7, {"promptType": "define", "text": "hi", "options": {}})
    chat = {**link("Start", "Agent"), **link("Model", "Agent", kind="ai_languageModel")}
    failing = {"executionOrder": "v1", "errorWorkflow": "p-error", "timezone": "Europe/Berlin"}
    return [
        webhook("p-webhook", "p-webhook"),
        workflow("p-timer", node("Every", "scheduleTrigger", 1.2, every), say("Say", ""), links=link("Every", "Say")),
        workflow("p-http", start, http, say("Failed", "x"), links={
            **link("Start", "Http"), "Http": {"main": [[], [{"node": "Failed", "type": "main", "index": 0}]]},
        }),
        workflow("p-loop", start, loop, code, links=looping),
        workflow("p-merge", start, say("A", "a"), say("B", "b"), merge, links=both),
        workflow("p-pinned", start, say("Say", ""), links=link("Start", "Say"), pinData={"Say": [{"json": {"a": 1}}]}),
        workflow("p-disabled", start, {**say("Say", ""), "disabled": True}, links=link("Start", "Say")),
        workflow("p-sticky", start, node("Note", "stickyNote", 1, {"content": "## Grüße\nlines", "height": 200})),
        workflow("p-ai", start, agent, model, links=chat),
        workflow("p-error", node("On error", "errorTrigger"), say("Say", "x"), links=link("On error", "Say")),
        callee("p-callee"),
        caller("p-caller", "p-callee", settings=failing),
    ]  # fmt: skip


PATTERNS = _patterns()
