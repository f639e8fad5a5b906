# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Decide what to do with each workflow. Nothing here asks a server.

n8n chooses the id of a new workflow, so the same workflow has another id in each instance. What stays
the same is its name. So a file means the workflow with the id that the file has, if this instance has it, and otherwise
the one with the file's name, first of all among those that carry the owner's tag. The id lets a workflow be renamed;
the name lets the same files be used for several instances.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.devorch.orchestration.plugins.module_utils.n8n.workflows.normal import (
    CredentialReference,
    WorkflowReference,
    digest,
    is_expression,
    limited,
    normal,
    render,
    with_references,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.n8n.workflows.source import Workflow
from ansible_collections.devorch.orchestration.plugins.module_utils.source_files import Problem

NEW = "new:"
"""Begins what stands for the id of a workflow that is still to be created; its name follows."""
MISSING = "missing:"
DRIFT_WORDS: Mapping[str, str] = {
    "edited": "was edited in n8n",
    "published": "was published in n8n",
    "unpublished": "was unpublished in n8n",
    "unrecorded": "was not written by this module, as far as it has a record",
}
CHANGING = ("create", "update", "prune")


@dataclass(frozen=True)
class Stored:
    """A workflow as n8n has it. C(live) is what is published, or None."""

    content: Mapping[str, Any]

    @property
    def id(self) -> str:
        return str(self.content["id"])

    @property
    def name(self) -> str:
        return str(self.content["name"])

    @property
    def version(self) -> str | None:
        return self.content.get("versionId")

    @property
    def live_version(self) -> str | None:
        """The version that is published. n8n 1.x has no such versions: what is active is what is stored."""
        found = self.content.get("activeVersionId")
        return found or (self.version if self.content.get("active") else None)

    @property
    def active(self) -> bool:
        return self.live_version is not None

    @property
    def archived(self) -> bool:
        return bool(self.content.get("isArchived"))

    @property
    def tags(self) -> dict[str, str]:
        return {str(tag["name"]): str(tag["id"]) for tag in self.content.get("tags") or []}

    @property
    def live(self) -> Mapping[str, Any]:
        """The content that is published, as far as versions have it."""
        published = self.content.get("activeVersion")
        if self.live_version == self.version or not isinstance(published, dict):
            return self.content
        return {**self.content, **{key: published[key] for key in ("nodes", "connections") if key in published}}

    @property
    def digest(self) -> str:
        """What its content is, for a record of what was written."""
        return digest(normal(bare(self.content)))


def bare(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return a content with each reference as the instance has written it, without notes beside it."""
    return with_references(
        content, lambda reference: reference.value, lambda one: (one.id or f"{MISSING}{one.name}", one.name or ""), True
    )


@dataclass(frozen=True)
class Item:
    """What to do with one workflow: C(create), C(update), C(unchanged), C(prune), or C(blocked).

    C(changes) says what of it changes: C(content), C(tags), C(publish), C(unpublish). C(unresolved) is the content of
    the file with its references resolved, where C(NEW) stands for what does not exist yet.
    """

    action: str
    name: str
    wanted: Workflow | None = None
    stored: Stored | None = None
    changes: tuple[str, ...] = ()
    resolved: Mapping[str, Any] | None = None
    tags: tuple[str, ...] = ()
    active: bool = False
    drift: str | None = None
    reason: str | None = None
    before: str = ""
    after: str = ""

    @property
    def id(self) -> str | None:
        return self.stored.id if self.stored else None

    @property
    def file(self) -> str | None:
        return self.wanted.file if self.wanted else None

    @property
    def is_change(self) -> bool:
        return self.action in CHANGING

    @property
    def goes_live(self) -> bool:
        """Whether this changes what n8n answers and runs."""
        return "publish" in self.changes or "unpublish" in self.changes

    def as_result(self) -> dict[str, Any]:
        return {
            "action": self.action,
            "name": self.name,
            "id": self.id,
            "file": self.file,
            "changes": list(self.changes),
            "drift": self.drift,
            "reason": self.reason,
        }

    def diff(self) -> dict[str, str]:
        stored = f"{self.name} (id {self.id})" if self.stored else f"{self.name} (none)"
        return {
            "before_header": stored,
            "after_header": f"{self.name} ({self.file or 'no file'})",
            "before": self.before,
            "after": self.after,
        }


@dataclass(frozen=True)
class Plan:
    items: tuple[Item, ...] = ()

    @property
    def changes(self) -> list[Item]:
        return [item for item in self.items if item.is_change]

    def with_action(self, *actions: str) -> list[Item]:
        return [item for item in self.items if item.action in actions]

    def diff(self) -> list[dict[str, str]]:
        return [item.diff() for item in self.items if item.is_change]


@dataclass(frozen=True)
class Policy:
    """What the options of a run decide."""

    owner_tag: str
    publish: str = "file"
    positions: bool = False
    prune: bool = False


@dataclass
class Instance:
    """The files beside what an instance has, and which of its workflows each file means."""

    wanted: Sequence[Workflow]
    stored: Sequence[Stored]
    credentials: Sequence[Mapping[str, Any]]
    owner_tag: str
    problems: list[Problem] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.by_id = {stored.id: stored for stored in self.stored}
        self.files = {workflow.name: workflow for workflow in self.wanted}
        self.file_ids = {workflow.id: workflow for workflow in self.wanted if workflow.id}
        self.match: dict[str, Stored] = {}
        for workflow in self.wanted:
            if workflow.id in self.by_id and self._counts(self.by_id[workflow.id]):
                self.match[workflow.name] = self.by_id[workflow.id]
        claimed = {stored.id for stored in self.match.values()}
        for workflow in self.wanted:
            if workflow.name not in self.match:
                found = self._named(workflow, claimed)
                if found:
                    self.match[workflow.name] = found
        self.file_of = {stored.id: self.files[name] for name, stored in self.match.items()}

    def _counts(self, stored: Stored) -> bool:
        return not stored.archived or self.owner_tag in stored.tags

    def _named(self, workflow: Workflow, claimed: Collection[str]) -> Stored | None:
        """Return the workflow with the file's name: ours before others, and one in use before an archived one."""
        same = [s for s in self.stored if s.name == workflow.name and s.id not in claimed and self._counts(s)]
        for archived in (False, True):
            for ours in (True, False):
                found = [s for s in same if s.archived is archived and (self.owner_tag in s.tags) is ours]
                if len(found) > 1 and not archived:
                    ids = ", ".join(sorted(s.id for s in found))
                    self.problems.append(
                        Problem(
                            workflow.file,
                            None,
                            f"n8n has {len(found)} workflows named {workflow.name!r} ({ids}). Rename or archive all "
                            "but one, or write the id of the right one into the file.",
                        )
                    )
                if found:
                    return found[0]
        return None

    def workflow(self, reference: WorkflowReference) -> str | None:
        """Return the id of the workflow that a file refers to, or what stands for it, or None."""
        target = self.file_ids.get(reference.value)
        if target is None:
            stored = self.by_id.get(reference.value)
            if stored is not None and not stored.archived:
                return stored.id
            for name in (reference.name, reference.value):
                target = target or self.files.get(name or "")
        if target is not None:
            match = self.match.get(target.name)
            return match.id if match else f"{NEW}{target.name}"
        for name in (reference.name, reference.value):
            named = [s for s in self.stored if s.name == name and not s.archived]
            if len(named) == 1:
                return named[0].id
        return None

    def credential(self, reference: CredentialReference) -> Mapping[str, Any] | None:
        """Return the credentials that a file refers to, by name first, or None."""
        same = [one for one in self.credentials if one.get("type") == reference.kind]
        named = [one for one in same if one.get("name") == reference.name]
        if len(named) == 1:
            return named[0]
        return next((one for one in named or same if one.get("id") == reference.id), None)

    def resolve(self, workflow: Workflow) -> dict[str, Any]:
        """Return the content of a file with this instance's ids; what is missing becomes a problem."""
        return self._resolved(workflow, False)

    def _resolved(self, workflow: Workflow, without_notes: bool) -> dict[str, Any]:
        def of_workflow(reference: WorkflowReference) -> str:
            found = self.workflow(reference)
            if found is None and not without_notes:
                name = f"{reference.name!r} (id {reference.value})" if reference.name else repr(reference.value)
                self._problem(
                    workflow,
                    f"{reference.where} refers to the workflow {name}, which neither the files nor n8n have. Add its "
                    "file, or correct the reference.",
                )
            return found or f"{MISSING}{reference.value}"

        def of_credential(reference: CredentialReference) -> tuple[str, str]:
            found = self.credential(reference)
            if found is None:
                if not without_notes:
                    same = [c for c in self.credentials if c.get("type") == reference.kind]
                    several = len([c for c in same if c.get("name") == reference.name]) > 1
                    why = (
                        "of which n8n has several. Rename all but one"
                        if several
                        else ("which n8n does not have. Create them with n8n_credentials, or correct the name")
                    )
                    self._problem(
                        workflow,
                        f"{reference.where} uses the credentials {reference.name or reference.id!r} of the type "
                        f"{reference.kind}, {why}.",
                    )
                return f"{MISSING}{reference.name}", reference.name or ""
            return str(found["id"]), str(found["name"])

        return with_references(workflow.content, of_workflow, of_credential, without_notes)

    def _problem(self, workflow: Workflow, message: str) -> None:
        problem = Problem(workflow.file, None, message)
        if problem not in self.problems:
            self.problems.append(problem)

    def form(self, workflow: Workflow, positions: bool) -> dict[str, Any]:
        """Return the normal form of a file, with this instance's ids."""
        return normal(self._resolved(workflow, True), positions)

    def readable(self, content: Mapping[str, Any], positions: bool) -> dict[str, Any]:
        """Return the normal form of a content of this instance, with names in the place of ids."""
        names = {str(one["id"]): str(one["name"]) for one in self.credentials}

        def title(value: str) -> str:
            if value in self.file_of:
                return self.file_of[value].name
            return self.by_id[value].name if value in self.by_id else value.removeprefix(NEW)

        def of_credential(one: CredentialReference) -> tuple[str, str]:
            return names.get(str(one.id), str(one.name or one.id)), ""

        return normal(with_references(content, lambda one: title(one.value), of_credential, True), positions)


def make_plan(instance: Instance, policy: Policy) -> Plan:
    """Return what to do with each workflow, sorted by name; problems are those of the instance."""
    items = [_item(instance, workflow, policy) for workflow in instance.wanted]
    if policy.prune:
        kept = {stored.id for stored in instance.match.values()}
        for stored in instance.stored:
            if stored.id not in kept and policy.owner_tag in stored.tags and not stored.archived:
                text = render(instance.readable(stored.content, policy.positions)) + _end(stored.active, stored.tags)
                changes = ("unpublish",) if stored.active else ()
                items.append(Item("prune", stored.name, None, stored, changes, before=text))
    plan = Plan(tuple(sorted(items, key=lambda item: (item.name, item.id or ""))))
    instance.problems += webhook_problems(instance, plan)
    return plan


def _end(active: bool, tags: Iterable[str]) -> str:
    return f"published: {str(active).lower()}\ntags: {', '.join(sorted(tags))}\n"


def _item(instance: Instance, workflow: Workflow, policy: Policy) -> Item:
    resolved = instance.resolve(workflow)
    form = instance.form(workflow, policy.positions)
    stored = instance.match.get(workflow.name)
    own = {policy.owner_tag}
    if stored is None or stored.archived:
        tags = own | set(workflow.tags or ())
        active = policy.publish == "file" and bool(workflow.active)
        changes = ("content", "tags", *(("publish",) if active else ()))
        after = render(instance.readable(resolved, policy.positions)) + _end(active, tags)
        return Item(
            "create", workflow.name, workflow, stored, changes, resolved, tuple(sorted(tags)), active, after=after
        )
    found = limited(normal(bare(stored.content), policy.positions), form)
    changes_content = found != form
    tags = own | (set(stored.tags) if workflow.tags is None else set(workflow.tags))
    active = stored.active
    if policy.publish == "file" and workflow.active is not None:
        active = workflow.active
    changes_list: list[str] = []
    if changes_content:
        changes_list.append("content")
    if tags != set(stored.tags):
        changes_list.append("tags")
    if policy.publish != "never":
        live = limited(normal(bare(stored.live), policy.positions), form)
        if active and (not stored.active or changes_content or live != form):
            changes_list.append("publish")
        if stored.active and not active:
            changes_list.append("unpublish")
    # The readable forms leave out what the comparison leaves out.
    named = instance.readable(resolved, policy.positions)
    was = limited(instance.readable(stored.content, policy.positions), named)
    return Item(
        "update" if changes_list else "unchanged",
        workflow.name,
        workflow,
        stored,
        tuple(changes_list),
        resolved,
        tuple(sorted(tags)),
        active,
        before=render(was) + _end(stored.active, stored.tags) if changes_list else "",
        after=render(named) + _end(active, tags) if changes_list else "",
    )


FORM = "form:"
WEBHOOK_NODES = {"n8n-nodes-base.webhook": "", "n8n-nodes-base.formTrigger": FORM}


def webhooks(content: Mapping[str, Any]) -> set[tuple[str, str]]:
    """Return the methods and paths at which a workflow answers when it is published."""
    found: set[tuple[str, str]] = set()
    for node in content["nodes"]:
        prefix = WEBHOOK_NODES.get(str(node.get("type")))
        parameters = node.get("parameters") or {}
        path = parameters.get("path")
        if prefix is None or node.get("disabled") or not isinstance(path, str) or not path or is_expression(path):
            continue
        if ":" in path:
            # n8n puts the webhook's own id before a path with parameters.
            continue
        methods = parameters.get("httpMethod") or "GET"
        for method in methods if isinstance(methods, list) else [methods]:
            found.add((str(method), prefix + path.strip("/")))
    return found


def webhook_problems(instance: Instance, plan: Plan) -> list[Problem]:
    """Return a problem for each published webhook that two workflows would have."""
    changed = {item.id for item in plan.items if item.id}
    taken: dict[tuple[str, str], list[tuple[str, str | None]]] = {}
    for item in plan.items:
        if item.active and item.resolved is not None:
            for webhook in webhooks(item.resolved):
                taken.setdefault(webhook, []).append((item.name, item.file))
    for stored in instance.stored:
        if stored.active and not stored.archived and stored.id not in changed:
            for webhook in webhooks(stored.live):
                taken.setdefault(webhook, []).append((stored.name, None))
    problems: list[Problem] = []
    for (method, path), owners in sorted(taken.items()):
        files = [(name, file) for name, file in owners if file is not None]
        if len(owners) < 2 or not files:
            continue
        name, file = files[-1]
        others = ", ".join(f"{other} ({place or 'in n8n only'})" for other, place in owners if other != name)
        message = f"workflow {name!r} would answer {method} {path}, as {others} does. Change a path, or unpublish one."
        problems.append(Problem(str(file), None, message))
    return problems


@dataclass(frozen=True)
class Recorded:
    """What was written of a workflow, and whether it was published then."""

    digest: str
    active: bool


def find_drift(item: Item, record: Recorded | None) -> str | None:
    """Return how the workflow of an item that changes differs from what was written, or None."""
    if item.stored is None or not item.is_change or item.stored.archived:
        return None
    if record is None:
        return "unrecorded"
    if item.stored.digest != record.digest:
        return "edited"
    if item.stored.active is not record.active:
        return "published" if item.stored.active else "unpublished"
    return None


def mark_drift(plan: Plan, records: Mapping[str, Recorded], block: bool) -> Plan:
    """Return the plan with the drift of each workflow; with C(block), those that drifted are left as they are."""
    items: list[Item] = []
    for item in plan.items:
        drift = find_drift(item, records.get(item.id or ""))
        if drift is None:
            items.append(item)
        elif block:
            items.append(replace(item, action="blocked", drift=drift, reason=DRIFT_WORDS[drift]))
        else:
            items.append(replace(item, drift=drift))
    return Plan(tuple(items))


def prune_problem(plan: Plan, stored: Sequence[Stored], owner_tag: str, limit: str) -> str | None:
    """Return why the plan would prune too much, or None; a share is one of the workflows with the tag."""
    pruned = plan.with_action("prune")
    owned = len([one for one in stored if owner_tag in one.tags and not one.archived])
    most = int(owned * float(limit[:-1]) / 100) if limit.endswith("%") else int(limit)
    if len(pruned) <= most:
        return None
    allowed = (
        f"{limit} of the {owned} workflows with the tag {owner_tag}, which is {most}" if "%" in limit else str(most)
    )
    names = ", ".join(item.name for item in pruned[:20]) + (" ..." if len(pruned) > 20 else "")
    return (
        f"{len(pruned)} workflows would be pruned, and prune_limit allows {allowed}; nothing was written. "
        f"They are: {names}. To archive them, raise prune_limit for this run"
    )
