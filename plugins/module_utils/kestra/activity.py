# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a Kestra server does: executions per day, stuck ones, triggers, and flows that it cannot read."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from ansible_collections.devorch.orchestration.plugins.module_utils.dates import UTC
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra import triggers
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.client import KestraClient
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.executions import (
    Executions,
    Query,
    as_result,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows.sync import broken

SHOWN = 20
"""How many stuck executions are named; the others are counted."""

GROUPS: dict[str, tuple[str, ...]] = {
    "success": ("SUCCESS",),
    "warning": ("WARNING",),
    "failed": ("FAILED",),
    "killed": ("KILLED", "CANCELLED"),
}
"""The states of ended executions that are counted together; the rest of a day is C(other)."""
UNFINISHED = ("CREATED", "SUBMITTED", "QUEUED", "RUNNING", "RESTARTED", "RETRYING", "KILLING")
"""The states that an execution leaves by itself; a paused one waits for a person."""


def iso(date: datetime) -> str:
    """Return a moment as Kestra takes it: UTC, with milliseconds."""
    return date.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def counts(executions: Executions, since: datetime, until: datetime) -> dict[str, int]:
    """Return how many executions began between two moments, by the group of their state."""
    first, last = iso(since), iso(until)
    found = {name: executions.count(Query(states=states, since=first, until=last)) for name, states in GROUPS.items()}
    # What ends between two questions may be counted twice.
    return found | {"other": max(0, executions.count(Query(since=first, until=last)) - sum(found.values()))}


def by_day(executions: Executions, now: datetime, days: int) -> list[dict[str, Any]]:
    """Return the counts of the last days, today included, oldest first; a day is UTC's."""
    today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    found = []
    for back in range(days - 1, -1, -1):
        start = today - timedelta(days=back)
        end = start + timedelta(days=1) - timedelta(milliseconds=1)
        found.append({"day": f"{start:%Y-%m-%d}", **counts(executions, start, end)})
    return found


def describe_trigger(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return a trigger of a search: an entry has what the flow defines and, since 2.0, the state beside it."""
    state = raw.get("state") or raw.get("triggerContext") or raw
    parsed = triggers.parse(state)
    return {
        "namespace": state.get("namespace"),
        "flow": state.get("flowId"),
        "id": state.get("triggerId"),
        "enabled": not parsed.disabled,
        "locked": parsed.locked,
        "next_date": parsed.next_date,
        "since": state.get("updatedAt") or state.get("evaluateRunningDate") or state.get("updatedDate"),
    }


def collect(client: KestraClient, now: datetime, days: int, stuck_hours: int) -> dict[str, Any]:
    """Return everything that is judged about a server's work."""
    executions = Executions(client)
    flows = client.search(client.path("flows", "search"), "list the flows")
    named = {(str(flow.get("namespace")), str(flow.get("id"))): flow for flow in flows if not flow.get("deleted")}
    triggers = [describe_trigger(raw) for raw in client.search(client.path("triggers", "search"), "list the triggers")]
    # The scheduler leaves the triggers of a disabled flow as they were.
    resting = {key for key, flow in named.items() if flow.get("disabled")}
    stuck = Query(states=UNFINISHED, until=iso(now - timedelta(hours=stuck_hours)))
    return {
        "version": client.server_info().version,
        "broken_flows": {"/".join(key): problem for key, flow in named.items() if (problem := broken(flow))},
        "triggers": [entry for entry in triggers if (entry["namespace"], entry["flow"]) not in resting],
        "stuck": [as_result(raw) for raw in executions.search(stuck, SHOWN)],
        "stuck_total": executions.count(stuck),
        "last_day": counts(executions, now - timedelta(days=1), now),
        "by_day": by_day(executions, now, days),
    }
