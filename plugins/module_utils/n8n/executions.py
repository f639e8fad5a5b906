# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Executions of n8n: what an API answer says of one, and which node failed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ENDED = ("success", "error", "crashed", "canceled")
FAILED = ("error", "crashed", "canceled")


def described(execution: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Return what the result says of an execution."""
    workflow_id = str(execution.get("workflowId"))
    return {
        "id": str(execution.get("id")),
        "workflow_id": workflow_id,
        "workflow": names.get(workflow_id),
        "status": execution.get("status"),
        "mode": execution.get("mode"),
        "started_at": execution.get("startedAt"),
        "stopped_at": execution.get("stoppedAt"),
        "retry_of": execution.get("retryOf"),
    }


def failure(execution: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the error of an execution that was read with its data, and the node that failed."""
    data = execution.get("data")
    result = data.get("resultData") if isinstance(data, dict) else None
    error = result.get("error") if isinstance(result, dict) else None
    if not isinstance(result, dict) or not isinstance(error, dict):
        return None
    node = error.get("node")
    name = node.get("name") if isinstance(node, dict) else result.get("lastNodeExecuted")
    return {"node": name, "message": str(error.get("message") or error.get("name") or "failed")}
