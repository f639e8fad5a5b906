# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Executions of Kestra's flows: start them once, wait for their end, act on them, and read what became of them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.devorch.orchestration.plugins.module_utils.dates import UTC
from ansible_collections.devorch.orchestration.plugins.module_utils.dates import parse as parse_date
from ansible_collections.devorch.orchestration.plugins.module_utils.http_session import ParamValue, Part
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.client import KestraError
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.polling import Polling

ENDED = ("SUCCESS", "WARNING", "FAILED", "KILLED", "CANCELLED", "SKIPPED", "RETRIED", "RESUBMITTED")
STATES = (
    *("CREATED", "SUBMITTED", "QUEUED", "RUNNING", "PAUSED", "BREAKPOINT", "RESTARTED", "RETRYING", "KILLING"),
    *ENDED,
)
# Runs that did not do what they were for; RETRIED and RESUBMITTED mean that another execution took over.
UNSUCCESSFUL = ("FAILED", "KILLED", "CANCELLED", "RETRIED", "RESUBMITTED")
LEVELS = ("TRACE", "DEBUG", "INFO", "WARN", "ERROR")
SYSTEM_PREFIX = "system."
# The one label of the system that a caller may choose. Kestra passes it on to subflows.
CORRELATION = "system.correlationId"
# How long to look for an execution whose start was not answered, and for one that the server just accepted.
LOOK_SECONDS = 15.0
# Without an answer, or with these statuses, a request may have been carried out all the same.
UNCLEAR_KINDS = ("no-answer", "closed", "answer", "other")
UNCLEAR_STATUSES = (500, 502, 503, 504)
# Before 2.0, to start a flow with such an id had the address of an action on the execution that its namespace names.
OLD_ACTIONS = (
    *("restart", "replay", "replay-with-inputs", "resume", "pause", "force-run", "unqueue", "change-status", "state"),
    *("labels", "eval"),
)
# A server that does not let the user look does not do so a moment later.
REFUSALS = (401, 403)


def input_text(value: Any) -> str:
    """Return an input's value as Kestra reads it from a form: text as it is, everything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def form(inputs: Mapping[str, Any], files: Mapping[str, tuple[str, bytes]], named_by_file: bool = False) -> list[Part]:
    """Return the parts of a form with these inputs; an input of None is left out, so that its default counts.

    C(files) has the name and the content of a file by the input's id. Servers before 1.0 take the name of the file for
    the input's id: C(named_by_file).
    """
    parts = [Part(name, input_text(value).encode("utf-8")) for name, value in inputs.items() if value is not None]
    return parts + [
        Part(name, content, name if named_by_file else filename) for name, (filename, content) in files.items()
    ]


def label_text(value: Any) -> str:
    """Return a label's value as text; YAML's true is not Python's True."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def state_of(raw: Mapping[str, Any]) -> str:
    return str((raw.get("state") or {}).get("current") or "UNKNOWN")


def changes_of(raw: Mapping[str, Any]) -> int:
    """Return how often the state has changed."""
    return len((raw.get("state") or {}).get("histories") or [])


def labels_of(raw: Mapping[str, Any], system: bool = True) -> dict[str, str]:
    """Return the labels; without those of the system if so asked."""
    labels = raw.get("labels") or []
    pairs = labels.items() if isinstance(labels, dict) else ((label["key"], label["value"]) for label in labels)
    return {str(key): str(value) for key, value in pairs if system or not str(key).startswith(SYSTEM_PREFIX)}


def as_result(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a module reports of an execution; the keys are the same for one that does not exist yet."""
    state = raw.get("state") or {}
    return {
        "id": raw.get("id"),
        "namespace": raw.get("namespace"),
        "flow": raw.get("flowId"),
        "revision": raw.get("flowRevision"),
        "state": state.get("current"),
        "start_date": state.get("startDate"),
        "end_date": state.get("endDate"),
        "duration": state.get("duration"),
        "schedule_date": raw.get("scheduleDate"),
        "labels": labels_of(raw),
        "inputs": raw.get("inputs") or {},
        "trigger": (raw.get("trigger") or {}).get("id"),
        "parent_id": raw.get("parentId"),
        "original_id": raw.get("originalId"),
        "url": raw.get("url"),
    }


def log_line(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return a line of a log as the modules show it."""
    return {
        "timestamp": entry.get("timestamp"),
        "level": entry.get("level"),
        "task": entry.get("taskId"),
        "task_run": entry.get("taskRunId"),
        "attempt": entry.get("attemptNumber"),
        "message": str(entry.get("message") or "").rstrip(),
    }


def failing_runs(raw: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the task runs that failed, were killed or cancelled, without those that only contain such a run."""
    runs = [run for run in raw.get("taskRunList") or [] if isinstance(run, dict)]
    failed = [run for run in runs if state_of(run) in UNSUCCESSFUL]
    holders = {run.get("parentTaskRunId") for run in failed}
    return [run for run in failed if run.get("id") not in holders]


def failures(raw: Mapping[str, Any], log: Sequence[Mapping[str, Any]], lines: int) -> list[dict[str, Any]]:
    """Return each failing task with its last lines of level WARN or ERROR."""
    serious = [entry for entry in log if entry.get("level") in ("WARN", "ERROR")]
    found = []
    for run in failing_runs(raw):
        own = [log_line(entry) for entry in serious if entry.get("taskRunId") == run.get("id")]
        found.append(
            {
                "task": run.get("taskId"),
                "task_run": run.get("id"),
                "value": run.get("value"),
                "state": state_of(run),
                "attempt": len(run.get("attempts") or []),
                "log": own[len(own) - lines :] if len(own) > lines else own,
            }
        )
    return found


def describe_failures(found: Sequence[Mapping[str, Any]], log: Sequence[Mapping[str, Any]], lines: int) -> str:
    """Return the failing tasks and their log, one line each; the execution's own log where no task is to blame."""
    text = []
    for failure in found:
        value = f", value {failure['value']}" if failure["value"] else ""
        text.append(f"  task {failure['task']} {failure['state']} (attempt {failure['attempt']}{value})")
        text += [f"    {line['level']} {line['message']}" for line in failure["log"]]
    if not found:
        serious = [log_line(entry) for entry in log if entry.get("level") in ("WARN", "ERROR")]
        last = serious[len(serious) - lines :] if len(serious) > lines else serious
        text = [f"    {line['level']} {line['message']}" for line in last]
    return "\n".join(text)


def moment(text: str) -> str:
    """Return a date as Kestra takes it, with seconds and an offset; without an offset it counts as UTC.

    Raises ValueError for a text that is not an ISO 8601 date.
    """
    parsed = parse_date(text)
    if parsed.tzinfo is None:
        parsed = parsed.replace(tzinfo=UTC)
    return parsed.isoformat()


@dataclass(frozen=True)
class ActionPlan:
    """What is to be done with an execution: an action, or nothing, and the state that it leads to."""

    action: str | None
    reached: str | None = None
    problem: str | None = None


def plan_action(wanted: str, state: str) -> ActionPlan:
    """Return what a wanted state means for an execution that is in C(state)."""
    if wanted == "killed":
        return ActionPlan(None) if state in ENDED else ActionPlan("kill", "KILLED")
    if wanted == "paused":
        if state == "PAUSED":
            return ActionPlan(None)
        if state == "RUNNING":
            return ActionPlan("pause", "PAUSED")
        return ActionPlan(None, problem=f"it is {state}, and only a RUNNING execution can be paused")
    if wanted == "resumed":
        return ActionPlan("resume", "RUNNING") if state == "PAUSED" else ActionPlan(None)
    if wanted == "restarted":
        if state in ("FAILED", "PAUSED"):
            return ActionPlan("restart", "RESTARTED")
        if state in ("KILLED", "CANCELLED"):
            return ActionPlan(
                None, problem=f"it is {state}, and such an execution can only be replayed (state=replayed)"
            )
        return ActionPlan(None)
    raise ValueError(f"no action leads to {wanted}")


@dataclass(frozen=True)
class Query:
    """Which executions to look for."""

    namespace: str | None = None
    flow: str | None = None
    states: Sequence[str] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    since: str | None = None
    until: str | None = None

    def params(self, has_filters: bool) -> dict[str, ParamValue]:
        """Return the search's parameters, newest execution first; before 1.0 they are spelt differently."""
        if has_filters:
            named: dict[str, ParamValue | None] = {
                "filters[namespace][EQUALS]": self.namespace,
                "filters[flowId][EQUALS]": self.flow,
                "filters[state][IN]": ",".join(self.states) or None,
                "filters[startDate][GREATER_THAN_OR_EQUAL_TO]": self.since,
                "filters[startDate][LESS_THAN_OR_EQUAL_TO]": self.until,
                **{f"filters[labels][EQUALS][{key}]": value for key, value in self.labels.items()},
            }
        else:
            named = {
                "namespace": self.namespace,
                "flowId": self.flow,
                "state": list(self.states) or None,
                "startDate": self.since,
                "endDate": self.until,
                "labels": [f"{key}:{value}" for key, value in self.labels.items()] or None,
            }
        return {"sort": "state.startDate:desc"} | {key: value for key, value in named.items() if value is not None}

    def matches(self, raw: Mapping[str, Any]) -> bool:
        """Whether an execution is one of them; servers may answer more than was asked for."""
        return (
            self.namespace in (None, raw.get("namespace"))
            and self.flow in (None, raw.get("flowId"))
            and (not self.states or state_of(raw) in self.states)
            and self.labels.items() <= labels_of(raw).items()
        )


class Executions(Polling):
    """The executions of one server."""

    def _path(self, execution_id: str, action: str) -> str:
        """Return the address of an action, which moved with 2.0."""
        moved = ("actions",) if self.client.server_info().is_2 else ()
        return self.client.path("executions", execution_id, *moved, action)

    def get(self, execution_id: str) -> dict[str, Any] | None:
        """Return an execution, or None where there is none."""
        doing = f"read execution {execution_id}"
        response = self.client.request("GET", self.client.path("executions", execution_id), doing, expected=(200, 404))
        if response.status_code == 404:
            return None
        return self.client.object(self.client.json(response, doing), doing)

    def search(self, query: Query, most: int | None = None) -> list[dict[str, Any]]:
        """Return the executions, newest first; in 2.x without their task runs."""
        doing = "search the executions"
        params = query.params(self.client.server_info().has_filters)
        found = self.client.search(self.client.path("executions", "search"), doing, params, most)
        return [raw for raw in found if query.matches(raw)]

    def count(self, query: Query) -> int:
        """Return how many executions the server finds."""
        doing = "count the executions"
        params = {**query.params(self.client.server_info().has_filters), "page": 1, "size": 1}
        response = self.client.request("GET", self.client.path("executions", "search"), doing, params=params)
        return int(self.client.object(self.client.json(response, doing), doing).get("total") or 0)

    def validate(
        self, namespace: str, flow: str, parts: Sequence[Part], labels: Mapping[str, str], revision: int | None
    ) -> list[str]:
        """Return what the server does not like about a start. Nothing is created.

        Raises KestraError where the flow cannot run at all.
        """
        doing = f"validate the inputs of flow {namespace}/{flow}"
        response = self.client.request(
            "POST",
            self.client.path("executions", namespace, flow, "validate"),
            doing,
            params=_start_params(labels, revision, None),
            parts=list(parts),
        )
        body = self.client.object(self.client.json(response, doing), doing)
        known = [str((entry.get("input") or {}).get("id")) for entry in body.get("inputs") or []]
        problems = unknown_inputs(parts, known) if isinstance(body.get("inputs"), list) else []
        for entry in body.get("inputs") or []:
            name = (entry.get("input") or {}).get("id")
            problems += [f"{name}: {error.get('message')}" for error in entry.get("errors") or []]
        for check in body.get("checks") or []:
            if str(check.get("behavior") or "BLOCK_EXECUTION") in ("BLOCK_EXECUTION", "FAIL_EXECUTION"):
                problems.append(f"check: {check.get('message')}")
        return problems

    def unknown(self, namespace: str, flow: str, parts: Sequence[Part], revision: int | None) -> list[str]:
        """Return a line for each input that is not in the flow; Kestra would pass over it without a word."""
        found = self.client.get_flow(namespace, flow, revision) if parts else None
        # A flow that is not there, or cannot be read, is refused at its start.
        if not found or not found.get("tasks"):
            return []
        known = [str(each.get("id")) for each in found.get("inputs") or [] if isinstance(each, dict)]
        return unknown_inputs(parts, known)

    def start(
        self,
        namespace: str,
        flow: str,
        parts: Sequence[Part],
        labels: Mapping[str, str],
        revision: int | None = None,
        schedule_date: str | None = None,
    ) -> dict[str, Any]:
        """Start a flow and return the execution, of which there is never more than one.

        The request is sent once. If its answer is lost, the execution is looked for by the correlation label that it
        was sent with.
        """
        doing = f"start flow {namespace}/{flow}"
        correlation = labels.get(CORRELATION) or uuid.uuid4().hex
        marked = {**labels, CORRELATION: correlation}
        try:
            response = self.client.request(
                "POST",
                self.client.path("executions", namespace, flow),
                doing,
                params=_start_params(marked, revision, schedule_date),
                parts=list(parts) or None,
            )
            raw = self.client.object(self.client.json(response, doing), doing)
            if not isinstance(raw.get("id"), str):
                raise KestraError(doing, "the answer is not an execution", kind="answer")
            return raw
        except KestraError as error:
            if error.kind not in UNCLEAR_KINDS and error.status not in UNCLEAR_STATUSES:
                if flow in OLD_ACTIONS and error.status not in REFUSALS and not self.client.server_info().is_2:
                    error.hint = f"Before Kestra 2.0 no flow with the id {flow} can be started. Rename the flow."
                raise
            found = self._started(Query(namespace, flow, labels={CORRELATION: correlation}))
            if found is None:
                raise KestraError(
                    doing,
                    error.message,
                    kind=error.kind,
                    status=error.status,
                    hint="No execution was found that this request started. It was not sent again, since it may still "
                    f"be carried out: search for the label {CORRELATION}={correlation} before the next try.",
                ) from error
            return found

    def _started(self, query: Query) -> dict[str, Any] | None:
        """Return the execution of a start whose answer was lost, looking for it for a while."""
        for _left in self.attempts(LOOK_SECONDS):
            try:
                # A subflow carries the same label; the execution that was started has no parent's trigger.
                found = [raw for raw in self.search(query) if not raw.get("trigger")]
            except KestraError as error:
                if error.status in REFUSALS:
                    raise
                found = []
            if found:
                return found[-1]
        return None

    def act(
        self,
        execution_id: str,
        action: str,
        *,
        parts: Sequence[Part] | None = None,
        params: Mapping[str, ParamValue] | None = None,
    ) -> dict[str, Any] | None:
        """Do something with an execution; return the execution that the server answers, if it answers one."""
        doing = f"{action.replace('-', ' ')} execution {execution_id}"
        response = self.client.request(
            "DELETE" if action == "kill" else "POST",
            self._path(execution_id, action),
            doing,
            expected=(200, 202, 204),
            params=params,
            parts=None if parts is None else list(parts),
            # Kestra declares the second one for a kill, and refuses who does not take it.
            accept="application/json, text/json",
        )
        if not response.content:
            return None
        return self.client.object(self.client.json(response, doing), doing)

    def set_labels(self, execution_id: str, labels: Mapping[str, str]) -> None:
        """Replace the labels of an ended execution, but for those of the system."""
        pairs = [{"key": key, "value": value} for key, value in sorted(labels.items())]
        doing = f"set the labels of execution {execution_id}"
        self.client.send_json("POST", self._path(execution_id, "labels"), doing, pairs)

    def delete(self, execution_id: str) -> None:
        """Remove an execution with its log, metrics and files."""
        doing = f"delete execution {execution_id}"
        path = self.client.path("executions", execution_id)
        self.client.request("DELETE", path, doing, expected=(200, 204, 404))

    def delete_log(self, execution_id: str) -> None:
        """Remove the log of an execution and leave the rest."""
        doing = f"delete the log of execution {execution_id}"
        path = self.client.path("logs", execution_id)
        self.client.request("DELETE", path, doing, expected=(200, 204, 404))

    def wait(
        self, execution_id: str, seconds: float, until: Callable[[Mapping[str, Any]], bool]
    ) -> dict[str, Any] | None:
        """Return the execution as soon as it is as wanted, or as it is when the time is over; None if it is gone.

        A server that does not answer in between is asked again.
        """
        begin = self.clock()
        raw: dict[str, Any] | None = None
        for left in self.attempts(seconds):
            try:
                raw = self.get(execution_id)
                # Before 2.0 an execution that was just accepted need not be there yet.
                if raw is None and self.clock() - begin > LOOK_SECONDS:
                    return None
                if raw is not None and until(raw):
                    return raw
            except KestraError as error:
                lost = error.status is None or error.status in UNCLEAR_STATUSES
                if not lost or (left <= 0 and raw is None):
                    raise
        return raw

    def log(self, execution_id: str, level: str) -> list[dict[str, Any]]:
        """Return the log from this level up, in the order of time."""
        doing = f"read the log of execution {execution_id}"
        path = self.client.path("logs", execution_id)
        response = self.client.request("GET", path, doing, params={"minLevel": level})
        entries = self.client.json(response, doing)
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise KestraError(doing, "the answer is not a list of lines", kind="answer")
        lowest = LEVELS.index(level)
        return [entry for entry in entries if entry.get("level") in LEVELS[lowest:]]

    def outputs(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        """Return the outputs of the flow; before 2.0 they are in the execution itself."""
        if not self.client.server_info().is_2:
            return dict(raw.get("outputs") or {})
        doing = f"read the outputs of execution {raw['id']}"
        path = self.client.path("outputs", "executions", str(raw["id"]))
        response = self.client.request("GET", path, doing)
        return self.client.object(self.client.json(response, doing), doing)

    def task_outputs(self, raw: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the outputs of each task run that has any."""
        runs = [run for run in raw.get("taskRunList") or [] if isinstance(run, dict)]
        if not self.client.server_info().is_2:
            return [_task_output(run, run["outputs"]) for run in runs if run.get("outputs")]
        identifier = str(raw["id"])
        doing = f"read the outputs of the tasks of execution {identifier}"
        response = self.client.request("GET", self.client.path("outputs", "tasks", identifier), doing)
        listed = self.client.json(response, doing)
        if not isinstance(listed, list) or not all(isinstance(run, dict) and "taskRunId" in run for run in listed):
            raise KestraError(doing, "the answer is not a list of task runs", kind="answer")
        found = []
        for run in listed:
            path = self.client.path("outputs", "tasks", identifier, str(run["taskRunId"]))
            answer = self.client.request("GET", path, doing)
            found.append(_task_output(run, self.client.object(self.client.json(answer, doing), doing)))
        return found


def _task_output(run: Mapping[str, Any], outputs: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "task": run.get("taskId"),
        "task_run": run.get("taskRunId") or run.get("id"),
        "value": run.get("value"),
        "outputs": dict(outputs),
    }


def unknown_inputs(parts: Sequence[Part], known: Sequence[str]) -> list[str]:
    """Return a line for each part that is none of the flow's inputs."""
    have = f"it has {', '.join(known)}" if known else "it has none"
    return [f"{part.name}: the flow has no such input; {have}" for part in parts if part.name not in known]


def _start_params(labels: Mapping[str, str], revision: int | None, schedule_date: str | None) -> dict[str, ParamValue]:
    params: dict[str, ParamValue] = {}
    if labels:
        params["labels"] = [f"{key}:{value}" for key, value in labels.items()]
    if revision is not None:
        params["revision"] = revision
    if schedule_date is not None:
        params["scheduleDate"] = schedule_date
    return params


def has_ended(raw: Mapping[str, Any], also: Collection[str] = ()) -> bool:
    return state_of(raw) in ENDED or state_of(raw) in also
