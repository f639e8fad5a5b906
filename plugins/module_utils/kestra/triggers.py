# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Triggers of Kestra's flows, as the scheduler keeps them: whether they rest, are locked, or make up for the past."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.devorch.orchestration.plugins.module_utils.dates import parse as parse_date
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.executions import labels_of
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.polling import Polling

# The scheduler has nothing to do with these, so that they have no state.
UNSCHEDULED = ("io.kestra.plugin.core.trigger.Webhook", "io.kestra.plugin.core.trigger.Flow")


@dataclass(frozen=True)
class Trigger:
    """The state of a trigger, in the words of 2.x."""

    disabled: bool
    locked: bool
    next_date: str | None
    last_date: str | None
    execution_id: str | None
    backfill: dict[str, Any] | None
    raw: dict[str, Any] = field(repr=False, compare=False)

    def as_result(self) -> dict[str, Any]:
        """Return what the modules report of it."""
        return {
            "enabled": not self.disabled,
            "locked": self.locked,
            "next_date": self.next_date,
            "last_date": self.last_date,
            "execution_id": self.execution_id,
            "backfill": backfill_result(self.backfill),
        }


def backfill_result(backfill: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return what the modules report of a backfill, or None if there is none."""
    if backfill is None:
        return None
    return {
        "start": backfill.get("start"),
        "end": backfill.get("end"),
        "current_date": backfill.get("currentDate"),
        "paused": bool(backfill.get("paused")),
        "labels": labels_of(backfill),
        # The names alone, since a value may be a secret.
        "inputs": sorted(backfill.get("inputs") or {}),
    }


def parse(raw: Mapping[str, Any]) -> Trigger:
    """Return a trigger from what 2.x or 1.3 answers.

    In 1.3 a trigger is locked if it has an execution or is being evaluated.
    """
    locked = raw.get("locked")
    if locked is None:
        locked = raw.get("executionId") is not None or raw.get("evaluateRunningDate") is not None
    return Trigger(
        disabled=bool(raw.get("disabled")),
        locked=bool(locked),
        next_date=raw.get("nextEvaluationDate") or raw.get("nextExecutionDate"),
        last_date=raw.get("lastTriggeredDate") or raw.get("date"),
        execution_id=raw.get("executionId"),
        backfill=raw.get("backfill"),
        raw=dict(raw),
    )


@dataclass(frozen=True)
class WantedTrigger:
    """What a trigger is to be like; None leaves it as it is. C(backfill) is C(running), C(paused) or C(absent)."""

    enabled: bool | None = None
    unlocked: bool = False
    backfill: str | None = None
    start: str | None = None
    end: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    inputs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TriggerPlan:
    """The steps that lead to what is wanted, in their order, what they lead to, and why they cannot be gone."""

    steps: tuple[str, ...]
    before: dict[str, Any]
    after: dict[str, Any]
    problem: str | None = None


def same_moment(one: str | None, other: str | None) -> bool:
    """Whether two ISO 8601 dates mean the same moment."""
    if one is None or other is None:
        return one is other
    return parse_date(one) == parse_date(other)


def make_plan(trigger: Trigger, wanted: WantedTrigger) -> TriggerPlan:
    """Return what has to be done; nothing where the trigger is as wanted."""
    steps: list[str] = []
    before = _shown(trigger)
    after = dict(before)
    if wanted.enabled is False and not trigger.disabled:
        # Before it is unlocked, or it could fire and be locked again.
        steps.append("disable")
        after["enabled"] = False
    if wanted.unlocked and trigger.locked:
        steps.append("unlock")
        after["locked"] = False
    if wanted.enabled and trigger.disabled:
        steps.append("enable")
        after["enabled"] = True
    problem = None
    if wanted.backfill == "absent" and trigger.backfill is not None:
        steps.append("delete-backfill")
        after["backfill"] = None
    elif wanted.backfill == "paused" and trigger.backfill is None:
        problem = "there is no backfill to pause"
    elif wanted.backfill == "running" and trigger.backfill is None:
        if wanted.start is None:
            problem = "there is no backfill to continue. Set a start to create one"
        else:
            steps.append("create-backfill")
            after["backfill"] = {"start": wanted.start, "end": wanted.end, "paused": False}
    elif wanted.backfill in ("running", "paused") and trigger.backfill is not None:
        other = _difference(trigger.backfill, wanted)
        paused = bool(trigger.backfill.get("paused"))
        if other:
            problem = f"another backfill is under way, {other}; remove it first (backfill.state=absent)"
        elif paused != (wanted.backfill == "paused"):
            steps.append("unpause-backfill" if paused else "pause-backfill")
            after["backfill"] = {**(after["backfill"] or {}), "paused": not paused}
    return TriggerPlan(tuple(steps), before, after, problem)


def reached(step: str, before: Trigger, now: Trigger) -> bool:
    """Whether a step that was gone from C(before) shows. A short backfill may be over before it is seen."""
    if step == "unlock":
        return not now.locked or now.execution_id != before.execution_id
    if step in ("enable", "disable"):
        return now.disabled == (step == "disable")
    if step == "create-backfill":
        return now.backfill is not None or now.last_date != before.last_date
    if step == "delete-backfill" or now.backfill is None:
        return now.backfill is None
    return bool(now.backfill.get("paused")) == (step == "pause-backfill")


def _shown(trigger: Trigger) -> dict[str, Any]:
    """Return the part of a trigger that the module can change, for a diff."""
    backfill = trigger.backfill
    return {
        "enabled": not trigger.disabled,
        "locked": trigger.locked,
        "backfill": None
        if backfill is None
        else {"start": backfill.get("start"), "end": backfill.get("end"), "paused": bool(backfill.get("paused"))},
    }


def _difference(backfill: Mapping[str, Any], wanted: WantedTrigger) -> str | None:
    """Return in what a backfill is not the wanted one, or None. What is not wanted explicitly is not compared."""
    if wanted.start is not None and not same_moment(backfill.get("start"), wanted.start):
        return f"from {backfill.get('start')}"
    if wanted.end is not None and not same_moment(backfill.get("end"), wanted.end):
        return f"until {backfill.get('end')}"
    if wanted.labels and labels_of(backfill) != dict(wanted.labels):
        return f"with the labels {labels_of(backfill)}"
    if wanted.inputs and (backfill.get("inputs") or {}) != dict(wanted.inputs):
        return "with other inputs"
    return None


class Triggers(Polling):
    """The triggers of one server."""

    def definition(self, namespace: str, flow: str, trigger_id: str) -> tuple[dict[str, Any] | None, list[str]]:
        """Return a trigger as its flow has it, and the ids of all triggers of the flow.

        It is None if the trigger does not exist; without the flow, there are no ids either.
        """
        found = self.client.get_flow(namespace, flow)
        triggers = [trigger for trigger in (found or {}).get("triggers") or [] if isinstance(trigger, dict)]
        known = {str(trigger.get("id")): trigger for trigger in triggers}
        return known.get(trigger_id), sorted(known)

    def find(self, namespace: str, flow: str, trigger_id: str) -> Trigger | None:
        """Return a trigger, or None where the scheduler does not know it (yet)."""
        doing = f"read the triggers of flow {namespace}/{flow}"
        path = self.client.path("triggers", namespace, flow)
        found = self.client.all_of(path, doing, ("triggerId",), {"sort": "triggerId:asc"})
        return next((parse(raw) for raw in found if raw.get("triggerId") == trigger_id), None)

    def wait(
        self, namespace: str, flow: str, trigger_id: str, seconds: float, until: Callable[[Trigger], bool]
    ) -> Trigger | None:
        """Return the trigger as soon as it is as wanted, or as it is when the time is over."""
        trigger: Trigger | None = None
        for _left in self.attempts(seconds):
            trigger = self.find(namespace, flow, trigger_id)
            if trigger is not None and until(trigger):
                break
        return trigger

    def apply(
        self, namespace: str, flow: str, trigger_id: str, step: str, trigger: Trigger, wanted: WantedTrigger
    ) -> None:
        """Go one step of a plan."""
        name = {"namespace": namespace, "flowId": flow, "triggerId": trigger_id}
        doing = f"{step.replace('-', ' the ')} of trigger {namespace}/{flow}/{trigger_id}"
        if step in ("unlock", "enable", "disable"):
            doing = f"{step} trigger {namespace}/{flow}/{trigger_id}"
        is_2 = self.client.server_info().is_2
        path = self.client.path
        if step == "unlock":
            self.client.request("POST", path("triggers", namespace, flow, trigger_id, "unlock"), doing)
        elif step in ("enable", "disable"):
            disabled = {"disabled": step == "disable"}
            if is_2:
                self.client.send_json("PUT", path("triggers", "set-disabled"), doing, name | disabled)
            else:
                # With a backfill in it, the whole object would be a request for a backfill.
                old = {key: value for key, value in trigger.raw.items() if key != "backfill"}
                self.client.send_json("PUT", path("triggers"), doing, old | name | disabled)
        elif step == "create-backfill":
            labels = [{"key": key, "value": value} for key, value in sorted(wanted.labels.items())]
            backfill = {"start": wanted.start, "end": wanted.end, "inputs": dict(wanted.inputs), "labels": labels}
            given = {"backfill": {key: value for key, value in backfill.items() if value}}
            if is_2:
                self.client.send_json("PUT", path("triggers", "backfill", "create"), doing, name | given)
            else:
                self.client.send_json("PUT", path("triggers"), doing, trigger.raw | name | given)
        else:
            body = name if is_2 else trigger.raw | name
            method = "POST" if step == "delete-backfill" else "PUT"
            action = step.removesuffix("-backfill")
            self.client.send_json(method, path("triggers", "backfill", action), doing, body)
