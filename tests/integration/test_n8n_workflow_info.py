"""`n8n_workflow_info` against the real n8n."""

from __future__ import annotations

from ..unit.in_process import call
from .contracts.n8n_workflows import store
from .n8n import N8n
from .n8n_patterns import webhook
from .test_n8n_workflows import edited


def test_a_draft_behind_what_is_published(n8n: N8n) -> None:
    store(n8n, webhook("one", "info"), live=True, tag="x")
    options = {"url": n8n.url, "api_key": n8n.api_key, "name": "one"}
    (before,) = call("n8n_workflow_info", options)["workflows"]
    assert before["published"] and not before["draft"] and before["tags"] == ["x"]
    assert before["webhooks"] == [{"method": "GET", "path": "info"}] and "content" not in before
    edited(n8n, "one", "edited")
    (after,) = call("n8n_workflow_info", {**options, "content": True})["workflows"]
    assert after["draft"] and after["published_version_id"] == before["version_id"] != after["version_id"]
    assert after["content"]["name"] == "one"
