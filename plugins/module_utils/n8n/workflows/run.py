# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One run of the module n8n_workflows: read the files, plan and write, and report what became of each workflow."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.devorch.orchestration.plugins.module_utils.module import Failure
from ansible_collections.devorch.orchestration.plugins.module_utils.n8n.client import N8nClient, N8nError
from ansible_collections.devorch.orchestration.plugins.module_utils.n8n.records import Records
from ansible_collections.devorch.orchestration.plugins.module_utils.n8n.workflows.normal import left_out
from ansible_collections.devorch.orchestration.plugins.module_utils.n8n.workflows.plan import (
    DRIFT_WORDS,
    Instance,
    Plan,
    Policy,
    make_plan,
    mark_drift,
    prune_problem,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.n8n.workflows.source import (
    SUFFIXES,
    Workflow,
    parse_sources,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.n8n.workflows.sync import (
    DONE,
    Outcome,
    WorkflowSync,
    recorded,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.packed_files import unpack
from ansible_collections.devorch.orchestration.plugins.module_utils.source_files import (
    Problem,
    Source,
    read_all,
)

ACTIONS = ("created", "updated", "unchanged", "pruned", "blocked", "failed", "skipped", "rolled_back")
ALWAYS_COUNTED = ("created", "updated", "unchanged")
KIND = "workflow"


@dataclass
class Run:
    """What is known so far. Whether the run succeeds or fails, its result has the same keys."""

    shows_diff: bool
    started: float = field(default_factory=time.monotonic)
    plan: Plan = field(default_factory=Plan)
    outcomes: list[Outcome] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    changed: bool = False
    seconds: dict[str, float] = field(default_factory=dict)
    part_started: float = field(default_factory=time.monotonic)

    def record_timing(self, name: str) -> None:
        """Record how long the part of the run took that ends now."""
        now = time.monotonic()
        self.seconds[name] = round(now - self.part_started, 3)
        self.part_started = now

    def outcomes_so_far(self) -> list[Outcome]:
        """Return what was done with each workflow, or else what would be done."""
        return self.outcomes or [
            Outcome(item, DONE.get(item.action, item.action), item.id, "planned" if item.is_change else "previous")
            for item in self.plan.items
        ]

    def summary(self) -> dict[str, int]:
        """Return the counts."""
        outcomes = self.outcomes_so_far()
        counts = dict.fromkeys(ACTIONS, 0)
        for outcome in outcomes:
            counts[outcome.action] += 1
        return {"total": len(outcomes), **counts}

    def result(self, msg: str) -> dict[str, Any]:
        """Return the module's result, except for whether it failed."""
        return {
            "msg": msg,
            "changed": self.changed,
            "summary": self.summary(),
            "plan": [item.as_result() for item in self.plan.items if item.action != "unchanged"],
            "workflows": [
                {
                    "name": outcome.item.name,
                    "id": outcome.id,
                    "file": outcome.item.file,
                    "action": outcome.action,
                    "state": outcome.state,
                    "error": outcome.error,
                }
                for outcome in self.outcomes_so_far()
            ],
            "problems": [problem.as_result() for problem in self.problems],
            "seconds": {**self.seconds, "total": round(time.monotonic() - self.started, 3)},
            **({"diff": self.plan.diff()} if self.shows_diff else {}),
        }

    def failure(self) -> dict[str, Any]:
        """Return the result of a run that failed, without its message."""
        self.outcomes = self.outcomes or [
            Outcome(item, "skipped", item.id, error="not tried, since the run failed before")
            if item.is_change
            else Outcome(item, item.action, item.id)
            for item in self.plan.items
        ]
        return {key: value for key, value in self.result("").items() if key != "msg"}

    def summary_text(self) -> str:
        """Return the counts as a sentence."""
        summary = self.summary()
        counts = [f"{summary[action]} {action}" for action in ACTIONS if action in ALWAYS_COUNTED or summary[action]]
        return ", ".join(counts).replace("_", " ")


def gather(module: AnsibleModule) -> tuple[list[Source], list[Problem]]:
    """Return the texts, which are read here or were packed by the action plugin."""
    packed_src = module.params["_packed_src"]
    if packed_src is not None:
        first, *rest = unpack(Path(packed_src))
        packed = Path(packed_src).read_bytes()
        problems = [Problem(*problem) for problem in json.loads(first.of(packed))["problems"]]
        return [Source(entry.name, entry.of(packed)) for entry in rest], problems
    if not module.params["remote_src"]:
        raise Failure(
            "The files were not transferred: with remote_src=false the module runs through its action plugin, in a "
            "playbook or by the ansible command."
        )
    return read_all(map(Path, module.params["src"]), module.params["ignore_file"], SUFFIXES)


def problems_text(problems: Sequence[Problem]) -> str:
    """Return the message for files that cannot be loaded, one problem a line."""
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    lines = "\n".join(f"  {problem}" for problem in problems)
    return f"{count} in the workflow files; nothing was written:\n{lines}"


def needs_credentials(wanted: Sequence[Workflow]) -> bool:
    """Return whether any of the workflows refers to credentials."""
    return any(node.get("credentials") for workflow in wanted for node in workflow.content["nodes"])


def make(module: AnsibleModule, client: N8nClient, sync: WorkflowSync, records: Records, state: Run) -> None:
    """Make the plan."""
    options = module.params
    sources, state.problems = gather(module)
    wanted, found = parse_sources(sources)
    state.problems += found
    try:
        stored = sync.read()
        credentials = client.credentials() if needs_credentials(wanted) else []
    except N8nError:
        # What is wrong with the files can be reported without n8n.
        if state.problems:
            raise Failure(problems_text(state.problems)) from None
        raise
    state.record_timing("read")
    for workflow in wanted:
        for what in left_out(workflow.content):
            module.warn(f"{workflow.file}: {what} is left out, because n8n's API does not take it.")
    instance = Instance(wanted, stored, credentials, options["owner_tag"])
    policy = Policy(options["owner_tag"], options["publish"], options["positions"], options["prune"])
    plan = make_plan(instance, policy)
    state.problems += instance.problems
    state.problems.sort(key=lambda problem: (problem.file, problem.line or 0))
    if state.problems:
        raise Failure(problems_text(state.problems))
    state.plan = plan
    problem = prune_problem(plan, stored, options["owner_tag"], options["prune_limit"])
    if problem:
        raise Failure(problem)
    state.plan = with_drift(module, plan, records)
    state.record_timing("plan")


def with_drift(module: AnsibleModule, plan: Plan, records: Records) -> Plan:
    """Return the plan with the drift of each workflow that changes."""
    policy = module.params["drift"]
    known = records.read() if any(item.stored for item in plan.changes) else {}
    if records.problem:
        module.warn(f"Edits in n8n cannot be detected. {records.problem}")
        return plan
    plan = mark_drift(plan, recorded(known), block=policy != "overwrite")
    drifted = [item for item in plan.items if item.drift is not None]
    if policy == "fail" and drifted:
        lines = "\n".join(f"  {item.name} ({item.file or 'no file'}): {item.reason}" for item in drifted)
        count = "1 workflow is" if len(drifted) == 1 else f"{len(drifted)} workflows are"
        raise Failure(
            f"{count} stored differently from what was written from files, and drift is 'fail'; nothing was written:\n"
            f"{lines}\nBring the edits into the files, or run once with drift=overwrite."
        )
    for item in drifted:
        if item.drift is not None and (item.drift != "unrecorded" or policy != "overwrite" or item.action == "prune"):
            what = "is pruned" if item.action == "prune" else "is overwritten"
            what = "is left as it is" if policy != "overwrite" else what
            module.warn(f"Workflow {item.name} {DRIFT_WORDS[item.drift]}, and {what}.")
    return plan


def run(module: AnsibleModule, client: N8nClient, state: Run) -> dict[str, Any]:
    """Do everything and return the result, or raise Failure or N8nError. C(state) is filled on the way."""
    client.http.deadline = state.started + module.params["run_timeout"]
    sync = WorkflowSync(client, module.params["publish"])
    records = Records(client, KIND)
    make(module, client, sync, records, state)
    if module.check_mode:
        state.changed = bool(state.plan.changes)
        return state.result(state.summary_text())
    if state.plan.changes:
        before = records.problem
        state.outcomes = sync.apply(state.plan, records, rollback=module.params["on_failure"] == "rollback")
        if records.problem is not None and before is None:
            module.warn(f"What was written is not recorded, so that a later run takes it for edited. {records.problem}")
        if module.params["webhook_timeout"]:
            for sentence in sync.settle(state.plan, state.outcomes, module.params["webhook_timeout"]):
                module.warn(sentence)
    state.changed = any(
        outcome.item.is_change and (outcome.state != "previous" or outcome.action == "rolled_back")
        for outcome in state.outcomes
    )
    state.record_timing("apply")
    if any(outcome.action == "failed" for outcome in state.outcomes):
        raise Failure(failure_message(state.outcomes))
    return state.result(state.summary_text())


STATES = {
    "previous": "n8n has what it had before",
    "planned": "n8n has the new state",
    "other": "n8n has what another client has written",
    "unknown": "it is unknown what n8n has",
}


def failure_message(outcomes: Sequence[Outcome]) -> str:
    """Return the message for a run that failed: what failed, and what n8n has of each workflow."""
    failed = [outcome for outcome in outcomes if outcome.action == "failed"]
    lines = [
        f"  {outcome.item.name} ({outcome.item.file or 'no file'}): {outcome.error}; {STATES[outcome.state]}"
        for outcome in failed
    ]
    count = "1 workflow" if len(failed) == 1 else f"{len(failed)} workflows"
    text = f"{count} could not be written:\n" + "\n".join(lines)
    back = [outcome.item.name for outcome in outcomes if outcome.action == "rolled_back"]
    kept = [outcome.item.name for outcome in outcomes if outcome.action in DONE.values()]
    left = [outcome.item.name for outcome in outcomes if outcome.action == "skipped"]
    if back:
        text += f"\nWritten and put back: {', '.join(back)}."
    if kept:
        text += f"\nWritten, and kept: {', '.join(kept)}."
    if left:
        text += f"\nNot tried: {', '.join(left)}."
    return text
