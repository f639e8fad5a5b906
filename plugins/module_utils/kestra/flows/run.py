# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One run of the module kestra_flows: read the files, plan, validate and write, and report what became of each flow.

What is imported in a function is not needed where nothing has changed; a host compiles what it imports in every run.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
import time
from collections.abc import Sequence, Sized
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.client import KestraClient, KestraError
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows.plan import (
    DRIFT_WORDS,
    Plan,
    Pruning,
    Stored,
    make_plan,
    mark_drift,
    most_pruned,
    prune_problem,
    split_findings,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows.record import Record
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows.source import (
    Flow,
    Key,
    Known,
    guess_namespaces,
    parse_sources,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows.sync import DONE, FlowSync, Outcome
from ansible_collections.devorch.orchestration.plugins.module_utils.module import Failure
from ansible_collections.devorch.orchestration.plugins.module_utils.packed_files import unpack
from ansible_collections.devorch.orchestration.plugins.module_utils.source_files import (
    Problem,
    Source,
    read_all,
)

if TYPE_CHECKING:
    from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows.deprecations import Finding
    from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows.yaml_nodes import Node

ACTIONS = ("created", "updated", "unchanged", "pruned", "blocked", "failed", "skipped", "rolled_back")
ALWAYS_COUNTED = ("created", "updated", "unchanged")


@dataclass
class Run:
    """What is known so far. Whether the run succeeds or fails, its result has the same keys."""

    shows_diff: bool
    contents: Sequence[str] = ()
    lists_unchanged: bool = False
    """Whether the result has an entry for each flow that stays as it is; Ansible handles each of them several times."""
    started: float = field(default_factory=time.monotonic)
    plan: Plan = field(default_factory=Plan)
    pruning: Pruning = field(default_factory=Pruning)
    outcomes: list[Outcome] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    paths: Sequence[str] = field(default_factory=list)
    server: dict[str, Any] = field(default_factory=dict)
    changed: bool = False
    seconds: dict[str, float] = field(default_factory=dict)
    part_started: float = field(default_factory=time.monotonic)

    def record_timing(self, name: str) -> None:
        """Record how long the part of the run took that ends now."""
        now = time.monotonic()
        self.seconds[name] = round(now - self.part_started, 3)
        self.part_started = now

    def mark_skipped(self) -> None:
        """Mark each flow that would change as not tried, if nothing has been written yet."""
        self.outcomes = self.outcomes or [
            Outcome(item, "skipped", item.revision, error="not tried, since the run failed before")
            if item.changes
            else Outcome(item, item.action, item.revision)
            for item in self.plan.items
        ]

    def outcomes_so_far(self) -> list[Outcome]:
        """Return what was done with each flow, or else what would be done."""
        return self.outcomes or [
            Outcome(item, DONE.get(item.action, item.action), item.revision, "planned" if item.changes else "previous")
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
            "flows": [
                {
                    "namespace": outcome.item.key[0],
                    "id": outcome.item.key[1],
                    "file": outcome.item.file,
                    "action": outcome.action,
                    "revision": outcome.revision,
                    "state": outcome.state,
                    "error": outcome.error,
                }
                for outcome in self.outcomes_so_far()
                if self.lists_unchanged or outcome.action != "unchanged"
            ],
            "problems": [problem.as_result() for problem in self.problems],
            "server": self.server,
            "seconds": {**self.seconds, "total": round(time.monotonic() - self.started, 3)},
            # It holds every changed text twice, and Ansible handles each of them.
            **({"diff": self.plan.diff()} if self.shows_diff else {}),
        }

    def failure(self) -> dict[str, Any]:
        """Return the result of a run that failed, without its message."""
        self.mark_skipped()
        return {key: value for key, value in self.result("").items() if key != "msg"}

    def summary_text(self) -> str:
        """Return the counts as a sentence."""
        summary = self.summary()
        counts = [f"{summary[action]} {action}" for action in ACTIONS if action in ALWAYS_COUNTED or summary[action]]
        return ", ".join(counts).replace("_", " ")


@dataclass(frozen=True)
class Wanted:
    """What the files ask for, and what the server holds in their namespaces."""

    flows: list[Flow]
    namespaces: set[str]
    stored: dict[Key, Stored]


def gather(module: AnsibleModule, contents: Sequence[str]) -> tuple[list[Source], list[Problem], list[str]]:
    """Return the texts, which are read here or were packed by the action plugin, and the paths that were read."""
    packed_src = module.params["_packed_src"]
    if packed_src is not None:
        first, *rest = unpack(Path(packed_src))
        packed = Path(packed_src).read_bytes()
        read_before = json.loads(first.of(packed))
        problems = [Problem(*problem) for problem in read_before["problems"]]
        return [Source(entry.name, entry.of(packed)) for entry in rest], problems, read_before["paths"]
    if module.params["src"] and not module.params["remote_src"]:
        raise Failure(
            "The files were not transferred: with remote_src=false the module runs through its action plugin, in a "
            "playbook or by the ansible command."
        )
    paths = module.params["src"] or []
    sources, problems = read_all(map(Path, paths), module.params["ignore_file"])
    texts = [Source(f"content[{n}]", text.encode("utf-8")) for n, text in enumerate(contents)]
    return sources + texts, problems, paths


def count_flows(flows: Sized) -> str:
    """Return the beginning of a sentence about so many flows."""
    return "1 flow is" if len(flows) == 1 else f"{len(flows)} flows are"


def describe(problems: list[Problem], what: str, ignore_file: str = "", paths: Sequence[str] = ()) -> str:
    """Return the message for files that cannot be loaded, one problem a line; what is not a flow can be left out."""
    lines = "\n".join(f"  {problem}" for problem in problems)
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    text = f"{count} {what}; nothing was written:\n{lines}"
    for path in paths if ignore_file else ():
        below = [
            Path(problem.file).relative_to(path).as_posix()
            for problem in problems
            if problem.no_flow and Path(problem.file) != Path(path) and Path(problem.file).is_relative_to(path)
        ]
        if below:
            ignored = "\n".join(f"  /{_escaped(name)}" for name in dict.fromkeys(below))
            text += f"\nTo leave out what is not a flow, write into {Path(path, ignore_file)}:\n{ignored}"
    return text


def _escaped(name: str) -> str:
    """Return a pattern that means this path alone."""
    return re.sub(r"([*?\[\\]| $)", r"\\\1", name)


def read(module: AnsibleModule, sync: FlowSync, state: Run) -> Wanted:
    """Return what the files ask for and what is stored; what is wrong with the files is in the problems."""
    sources, state.problems, state.paths = gather(module, state.contents)
    named = set(module.params["namespaces"])
    stored: dict[Key, Stored] = {}
    asked: set[str] = set()
    if not module.params["namespace_map"]:
        # Most files have the text that is stored. Then the stored flow shows their contents, and they need no parsing.
        asked = guess_namespaces(sources) | named
        try:
            stored = sync.read(asked)
        except KestraError:
            # What is wrong with the files can be reported without a server.
            state.problems += parse_sources(sources)[1]
            if state.problems:
                raise file_failure(module, state) from None
            raise
    known: dict[bytes, list[Known]] = {}
    for flow in stored.values():
        if flow.broken is None:
            known.setdefault(flow.content, []).append((flow.namespace, flow.id, flow.text))

    def inspect(root: Node, text: str) -> list[Finding]:
        from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows import runners
        from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows.deprecations import findings

        return findings(root, text) + runners.findings(root, module.params["task_runners"])

    flows, found = parse_sources(sources, module.params["namespace_map"], known, inspect)
    state.problems += found
    namespaces = {flow.namespace for flow in flows} | named
    try:
        stored.update(sync.read(namespaces - asked))
    except KestraError:
        if state.problems:
            raise file_failure(module, state) from None
        raise
    return Wanted(flows, namespaces, stored)


def file_failure(module: AnsibleModule, state: Run) -> Failure:
    """Return the failure for what is wrong with the files."""
    return Failure(describe(state.problems, "in the flow files", module.params["ignore_file"], state.paths))


def check(module: AnsibleModule, client: KestraClient, sync: FlowSync, plan: Plan) -> list[Problem]:
    """Let the server validate what would be written; return what is wrong with it, and report the warnings."""
    refused, more = sync.validate(plan.to_validate, plan)
    explained, warnings = split_findings(plan, client.server_info().is_2, {problem.file for problem in refused})
    for warning in warnings + more:
        module.warn(warning)
    return sorted(explained + refused, key=lambda problem: (problem.file, problem.line or 0))


def plan_from_files(module: AnsibleModule, client: KestraClient, sync: FlowSync, state: Run) -> dict[str, Record]:
    """Make the plan; return the records of what was written before, by namespace."""
    wanted = read(module, sync, state)
    if state.problems:
        # All problems in one run: the server is asked about the flows that have none so far.
        with contextlib.suppress(KestraError):
            state.problems += check(module, client, sync, make_plan(wanted.flows, wanted.stored))
        raise file_failure(module, state)
    state.record_timing("read")
    scope = wanted.namespaces if module.params["prune"] else set()
    state.plan = make_plan(wanted.flows, wanted.stored, scope, module.params["owner_labels"])
    stored = {key: flow for key, flow in wanted.stored.items() if key[0] in scope}
    problem = prune_problem(state.plan, stored, module.params["prune_limit"])
    if problem:
        raise Failure(problem)
    if module.params["prune"]:
        most = most_pruned(module.params["prune_limit"], len(stored))
        state.pruning = Pruning(most, module.params["owner_labels"])
    records, warnings = sync.read_records(state.plan.namespaces_to_look_up)
    for warning in warnings:
        module.warn(warning)
    policy = module.params["drift"]
    state.plan = mark_drift(state.plan, records, block=policy != "overwrite")
    drifted = [item for item in state.plan.items if item.drift is not None]
    if policy == "fail" and drifted:
        lines = "\n".join(f"  {item.name} ({item.file or 'no file'}): {item.reason}" for item in drifted)
        raise Failure(
            f"{count_flows(drifted)} stored differently from what was written from files, and drift is 'fail'; "
            f"nothing was written:\n{lines}\nBring the edits into the files, or run once with drift=overwrite."
        )
    for item in drifted:
        pruned = item.action == "prune"
        if item.drift is not None and (item.drift != "unrecorded" or policy != "overwrite" or pruned):
            what = "is left as it is" if policy != "overwrite" else "is overwritten"
            what = "is pruned" if pruned else what
            module.warn(f"Flow {item.name} {DRIFT_WORDS[item.drift]}, and {what}.")
    return records


def plan_from_file(module: AnsibleModule, client: KestraClient, sync: FlowSync, state: Run) -> None:
    """Read the saved plan; raise Failure if it does not fit what the server holds now."""
    from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows.saved_plan import load_plan

    path = Path(module.params["plan"])
    try:
        saved = load_plan(path.read_text(encoding="utf-8"), module.params["plan_key"])
    except OSError as error:
        raise Failure(f"The plan {path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise Failure(f"The plan {path} {error}") from error
    server = identity(client)
    if {name: saved.server.get(name) for name in server} != server:
        raise Failure(f"The plan {path} was made for another server: {dict(saved.server)} and not {server}.")
    stored = sync.read(saved.namespaces)
    state.record_timing("read")
    moved, others = saved.moved(stored)
    if moved:
        lines = "\n".join(f"  {sentence}" for sentence in moved)
        raise Failure(
            f"{count_flows(moved)} not stored any more as when the plan {path} was made; nothing was written:\n"
            f"{lines}\nMake the plan again."
        )
    for sentence in others:
        module.warn(f"Flow {sentence} since the plan was made, which leaves it alone.")
    try:
        state.plan = saved.on(stored)
    except ValueError as error:
        raise Failure(f"The plan {path} {error}") from error


def identity(client: KestraClient) -> dict[str, str]:
    """Return an identity of the server and tenant of a plan."""
    return {"uuid": client.server_info().uuid or client.http.base, "tenant": client.connection.tenant}


def run(module: AnsibleModule, client: KestraClient, state: Run) -> dict[str, Any]:
    """Do everything and return the result, or raise Failure or KestraError. C(state) is filled on the way."""
    client.http.deadline = state.started + module.params["run_timeout"]
    sync = FlowSync(client, module.params["concurrency"])
    records: dict[str, Record] = {}
    if module.params["plan"]:
        plan_from_file(module, client, sync, state)
    else:
        records = plan_from_files(module, client, sync, state)
    info = client.server_info()
    state.server = {"version": info.version, "edition": info.edition}
    state.record_timing("plan")

    state.problems = check(module, client, sync, state.plan)
    if state.problems:
        raise Failure(describe(state.problems, "found in the flows"))
    state.record_timing("validate")
    for item in state.plan.with_action("unchanged"):
        if item.stored and item.stored.broken:
            module.warn(f"{item.file}: Kestra cannot read the flow it has stored: {item.stored.broken}")
    if module.params["save_plan"]:
        from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows.saved_plan import dump_plan

        save(module, dump_plan(state.plan, identity(client), state.pruning, module.params["plan_key"]))
    if module.check_mode:
        state.changed = bool(state.plan.changes)
        return state.result(state.summary_text())

    state.outcomes = sync.apply(state.plan, records, rollback=module.params["on_failure"] == "rollback")
    for warning in sync.warnings:
        module.warn(warning)
    state.changed = any(
        outcome.item.changes
        and outcome.action != "unchanged"
        and (outcome.state != "previous" or outcome.action == "rolled_back")
        for outcome in state.outcomes
    )
    state.record_timing("apply")
    for outcome in state.outcomes:
        if outcome.warning and outcome.state == "planned":
            module.warn(outcome.warning)
    if any(outcome.action == "failed" for outcome in state.outcomes):
        raise Failure(failure_message(state.outcomes))
    return state.result(state.summary_text())


def save(module: AnsibleModule, text: str) -> None:
    """Write the plan to its file at once, or not at all."""
    target = Path(module.params["save_plan"])
    beside: Path | None = None
    try:
        # Only its owner may read it, from the first byte on.
        handle, name = tempfile.mkstemp(prefix=".plan-", dir=target.parent)
        beside = Path(name)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        beside.replace(target)
    except OSError as error:
        if beside is not None:
            beside.unlink(missing_ok=True)
        raise Failure(f"The plan cannot be saved as {target}: {error.strerror or error}") from error


STATES = {
    "previous": "the server has what it had before",
    "planned": "the server has the new state",
    "other": "the server has what another client has written",
    "unknown": "it is unknown what the server has",
}


def failure_message(outcomes: list[Outcome]) -> str:
    """Return the message for a run that failed: what failed, and what the server holds of each flow."""
    failed = [outcome for outcome in outcomes if outcome.action == "failed"]
    causes: dict[tuple[str | None, str], list[str]] = {}
    for outcome in failed:
        name = f"{outcome.item.name} ({outcome.item.file or 'no file'})"
        causes.setdefault((outcome.error, STATES[outcome.state]), []).append(name)
    lines = [f"  {', '.join(names)}: {error}; {state}" for (error, state), names in causes.items()]
    count = "1 flow" if len(failed) == 1 else f"{len(failed)} flows"
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
    if not kept and all(outcome.state == "previous" for outcome in outcomes if outcome.item.changes):
        text += "\nThe server has what it had before."
    return text
