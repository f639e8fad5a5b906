"""`n8n_execution_info` against the real n8n."""

from __future__ import annotations

from ..unit.in_process import call
from .contracts.n8n_workflows import store
from .n8n import N8n
from .n8n_patterns import link, node, webhook


def test_the_failing_node_is_named(n8n: N8n) -> None:
    failing = webhook("fails", "fails")
    failing["nodes"][1] = node("Stop", "stopAndError", 1, {"errorMessage": "no more orders"})
    failing["connections"] = link("Webhook", "Stop")
    store(n8n, failing, live=True)
    n8n.refused("fails", 500)
    result = call("n8n_execution_info", {"url": n8n.url, "api_key": n8n.api_key, "workflow": "fails", "limit": 1})
    (execution,) = result["executions"]
    assert execution["status"] == "error" and execution["mode"] == "webhook" and execution["workflow"] == "fails"
    assert execution["error"] == {"node": "Stop", "message": "no more orders"}
    missing = call("n8n_execution_info", {"url": n8n.url, "api_key": n8n.api_key, "workflow": "none"})
    assert missing["failed"] and "has no workflow 'none'" in missing["msg"]
