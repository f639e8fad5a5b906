"""`n8n_health` against the real n8n, and against nothing."""

from __future__ import annotations

from ..unit.in_process import call
from .n8n import N8n


def test_each_part_is_reported(n8n: N8n) -> None:
    ready = call("n8n_health", {"url": n8n.url, "api_key": n8n.api_key})
    assert ready["ready"] and ready["api"] is True and ready["reasons"] == []
    assert call("n8n_health", {"url": n8n.url})["api"] is None
    refused = call("n8n_health", {"url": n8n.url, "api_key": "wrong", "wait_timeout": 0})
    assert refused["failed"] and refused["readiness"] and refused["api"] is False and "Check api_key" in refused["msg"]
    gone = call("n8n_health", {"url": "http://127.0.0.1:9", "wait_timeout": 0, "fail": False})
    assert not gone["failed"] and not gone["liveness"] and not gone["readiness"] and "refused" in gone["reasons"][0]
