# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Many executions: which of them a task means, what is to be done with each, and what became of it.

Each execution is acted on by itself. The actions of Kestra that take a query would also reach what matches it a moment
later, and know no limit.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from ansible_collections.devorch.orchestration.plugins.module_utils.dates import parse as parse_date
from ansible_collections.devorch.orchestration.plugins.module_utils.http_session import ParamValue
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.client import KestraError
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.executions import (
    ENDED,
    STATES,
    UNCLEAR_KINDS,
    Executions,
    Query,
    changes_of,
    has_ended,
    state_of,
)

_UNDER_WAY = tuple(state for state in STATES if state not in (*ENDED, "KILLING"))
# The states of executions that an action can be applied to, and those that it is applied to if a task names none.
ALLOWED: Mapping[str, Sequence[str]] = {
    "purged": ENDED,
    "killed": _UNDER_WAY,
    "restarted": ("FAILED", "PAUSED"),
    "replayed": ENDED,
}
DEFAULT: Mapping[str, Sequence[str]] = {**ALLOWED, "restarted": ("FAILED",), "replayed": ("FAILED",)}
# A server before 2.0 refuses a search for a state that it does not have.
_SINCE_2 = ("SUBMITTED", "BREAKPOINT", "RESUBMITTED")
_SMALLEST_PAGE = 100
_GONE = "not tried, since the server failed before"


@dataclass(frozen=True)
class Item:
    """An execution as the search found it, and what is to be done: the action, or C(unchanged)."""

    raw: Mapping[str, Any]
    action: str

    @property
    def id(self) -> str:
        return str(self.raw["id"])


@dataclass(frozen=True)
class Plan:
    """What is to be done, the oldest execution first. C(remaining) is how many others match, over the limit."""

    items: tuple[Item, ...]
    remaining: int = 0


@dataclass(frozen=True)
class Outcome:
    """What became of an item: its action, C(unchanged), C(failed) or C(skipped).

    C(sent) says that the server took what failed then, or may have.
    """

    item: Item
    action: str
    error: str | None = None
    new_id: str | None = None
    sent: bool = False

    def as_result(self) -> dict[str, Any]:
        """Return what the module reports of it."""
        raw = self.item.raw
        return {
            "id": self.item.id,
            "namespace": raw.get("namespace"),
            "flow": raw.get("flowId"),
            "state": state_of(raw),
            "start_date": (raw.get("state") or {}).get("startDate"),
            "action": self.action,
            "new_id": self.new_id,
            "error": self.error,
        }


def wrong_states(action: str, states: Sequence[str]) -> list[str]:
    """Return the states of executions that an action cannot be applied to."""
    return [state for state in states if state not in ALLOWED[action]]


def states_for(action: str, states: Sequence[str], is_2: bool) -> list[str]:
    """Return the states to search for; without any, those that the action is meant for."""
    return list(states) or [state for state in DEFAULT[action] if is_2 or state not in _SINCE_2]


def before(now: datetime, seconds: int) -> str:
    """Return the moment this long ago, as Kestra takes it."""
    return (now - timedelta(seconds=seconds)).isoformat(timespec="seconds")


def in_time(raw: Mapping[str, Any], since: str | None, until: str | None) -> bool:
    """Whether an execution was created between two moments; servers may answer more than was asked for."""
    created = (raw.get("state") or {}).get("startDate")
    if since is None and until is None:
        return True
    if not created:
        return False
    moment = parse_date(str(created))
    return (since is None or moment >= parse_date(since)) and (until is None or moment <= parse_date(until))


class Bulk:
    """One action on the executions that a query finds, with at most C(concurrency) requests in flight."""

    def __init__(self, executions: Executions, action: str, only_logs: bool = False, concurrency: int = 8) -> None:
        self.executions = executions
        self.client = executions.client
        self.action = action
        self.only_logs = only_logs
        self.concurrency = concurrency

    def plan(self, query: Query, most: int) -> Plan:
        """Return what is to be done with the oldest C(most) executions. Nothing is written."""
        doing = "search the executions"
        params: dict[str, ParamValue] = {**query.params(self.client.server_info().has_filters)}
        params["sort"] = "state.startDate:asc"
        found: dict[str, dict[str, Any]] = {}
        path = self.client.path("executions", "search")
        for page in self.client.pages(path, doing, params, max(most, _SMALLEST_PAGE)):
            for raw in page:
                if query.matches(raw) and in_time(raw, query.since, query.until):
                    found.setdefault(str(raw.get("id")), raw)
            if len(found) >= most:
                break
        remaining = max(0, self.executions.count(query) - most) if len(found) >= most else 0
        chosen = list(found.values())[:most]
        return Plan(tuple(self._each(self._item, chosen)), remaining)

    def _item(self, raw: Mapping[str, Any]) -> Item:
        # That an execution has a log can be known only from the log.
        has_nothing = self.only_logs and not self.client.retry(lambda: self.executions.log(str(raw["id"]), "TRACE"))
        return Item(raw, "unchanged" if has_nothing else self.action)

    def apply(self, plan: Plan, wait_timeout: float) -> list[Outcome]:
        """Do it, and wait until the server shows it; when the server itself fails, nothing more is started."""
        stop = threading.Event()

        def run(item: Item) -> Outcome:
            if item.action == "unchanged":
                return Outcome(item, "unchanged")
            if stop.is_set():
                return Outcome(item, "skipped", _GONE)
            try:
                return self._act(item)
            except KestraError as error:
                if error.kind != "http" or error.status in (401, 403) or (error.status or 0) >= 500:
                    stop.set()
                return Outcome(item, "failed", error.reason, sent=error.kind in UNCLEAR_KINDS)

        done = self._each(run, plan.items)
        return self._shown(done, wait_timeout) if self.action in ("killed", "restarted") and wait_timeout else done

    def _act(self, item: Item) -> Outcome:
        if self.action == "purged":
            # To delete what is gone leaves nothing else behind, so that it may be repeated.
            delete = self.executions.delete_log if self.only_logs else self.executions.delete
            self.client.retry(lambda: delete(item.id))
            return Outcome(item, self.action)
        verb = {"killed": "kill", "restarted": "restart", "replayed": "replay"}[self.action]
        try:
            fresh = self.executions.act(item.id, verb)
        except KestraError as error:
            if error.status not in (404, 409):
                raise
            now = self.executions.get(item.id)
            if now is not None and state_of(now) == state_of(item.raw):
                raise
            # It ended or continued by itself, or another user was faster.
            return Outcome(item, "unchanged")
        if self.action != "replayed":
            return Outcome(item, self.action)
        new = (fresh or {}).get("id")
        if new in (None, item.id):
            return Outcome(item, self.action, "it was replayed, but the server does not report the new execution")
        return Outcome(item, self.action, new_id=str(new))

    def _shown(self, outcomes: list[Outcome], seconds: float) -> list[Outcome]:
        """Return the outcomes, as failed where the server does not show the new state within the time."""
        waiting = {each.item.id: each.item for each in outcomes if each.action == self.action}
        states: dict[str, str] = {}

        def look(item: Item) -> bool:
            try:
                raw = self.executions.get(item.id)
            except KestraError as error:
                if error.status in (401, 403):
                    raise
                return False
            if raw is None:
                return True
            states[item.id] = state_of(raw)
            return has_ended(raw) if self.action == "killed" else changes_of(raw) > changes_of(item.raw)

        for _left in self.executions.attempts(seconds):
            items = list(waiting.values())
            for item, shown in zip(items, self._each(look, items), strict=True):
                if shown:
                    del waiting[item.id]
            if not waiting:
                break
        return [
            replace(each, action="failed", error=f"it is still {states.get(each.item.id, 'unknown')}", sent=True)
            if each.item.id in waiting
            else each
            for each in outcomes
        ]

    def _each(self, function: Callable[[Any], Any], arguments: Sequence[Any]) -> list[Any]:
        if not arguments:
            return []
        with ThreadPoolExecutor(max_workers=min(self.concurrency, len(arguments))) as pool:
            return list(pool.map(function, arguments))
