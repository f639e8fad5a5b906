# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Carry a plan to n8n: store drafts, then publish, then archive; put back what was there if anything fails.

First every workflow is stored without being published, so that what is live changes only when all of it is stored.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ansible_collections.devorch.orchestration.plugins.module_utils.http_session import LOST, ServiceError
from ansible_collections.devorch.orchestration.plugins.module_utils.n8n.client import N8nClient, N8nError
from ansible_collections.devorch.orchestration.plugins.module_utils.n8n.records import Records
from ansible_collections.devorch.orchestration.plugins.module_utils.n8n.workflows.normal import (
    CredentialReference,
    payload,
    with_references,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.n8n.workflows.plan import (
    FORM,
    NEW,
    Item,
    Plan,
    Recorded,
    Stored,
    webhooks,
)

State = Literal["previous", "planned", "other", "unknown"]
DONE: Mapping[str, str] = {"create": "created", "update": "updated", "prune": "pruned"}
GRACE = 60
"""Seconds that putting back may take when the time for the run is over."""
PAUSE = 0.1
PUBLISHING = 2.0
"""Seconds in which n8n, which publishes in the background, has exchanged the content behind a webhook."""
NOT_TRIED = "not tried, since another workflow failed before"


@dataclass(frozen=True)
class Outcome:
    """What became of an item: C(action) is what was done in the end, and C(state) what n8n has now.

    The state is C(previous), C(planned), C(other) (what another client has written) or C(unknown).
    """

    item: Item
    action: str
    id: str | None = None
    state: State = "previous"
    error: str | None = None


class Moved(Exception):
    """Another client has changed a workflow since the plan was made."""


@dataclass
class Progress:
    """How far one item has come."""

    item: Item
    id: str | None = None
    touched: bool = False
    error: str | None = None
    state: State = "previous"
    done: bool = False
    written: str | None = None
    """The digest of what n8n says that it stored."""
    version: str | None = None
    """The version that this run has stored; that of the plan if it has stored none."""
    released: bool = False
    """Whether a workflow that is to be pruned is unpublished already."""
    incomplete: bool = field(default=False)
    """Whether a reference to a workflow is left out that did not exist yet."""


def fingerprint(stored: Stored) -> tuple[Any, ...]:
    """Return what is the same as long as nothing has changed a workflow."""
    return stored.digest, stored.live_version, stored.archived, tuple(sorted(stored.tags))


def ordered(items: Sequence[Item]) -> list[Item]:
    """Return items so that a new workflow comes before those that refer to it, as far as that is possible."""
    by_name = {item.name: item for item in items}
    done: dict[str, Item] = {}

    def visit(item: Item, path: tuple[str, ...]) -> None:
        if item.name in done or item.name in path:
            return
        for name in new_references(item):
            if name in by_name:
                visit(by_name[name], (*path, item.name))
        done[item.name] = item

    for item in items:
        visit(item, ())
    return list(done.values())


def new_references(item: Item) -> list[str]:
    """Return the names of new workflows that the workflow of an item refers to."""
    found: list[str] = []

    def note(value: str) -> str:
        found.extend([value.removeprefix(NEW)] if value.startswith(NEW) else [])
        return value

    if item.resolved is not None:
        with_references(item.resolved, lambda one: note(one.value), _same)
    return found


def _same(one: CredentialReference) -> tuple[str, str]:
    return str(one.id), str(one.name)


class WorkflowSync:
    """One run against one instance of n8n. Requests follow each other: n8n works on one after the other anyway."""

    def __init__(self, client: N8nClient, publish: str = "file") -> None:
        self.client = client
        self.publish = publish
        self.retries = client.connection.retries
        self.tags: dict[str, str] = {}
        self.ids: dict[str, str] = {}
        """The ids of workflows that this run has created, by name."""
        self.known: set[str] = set()

    def read(self) -> list[Stored]:
        """Return all workflows."""
        return [Stored(workflow) for workflow in self.client.retry(self.client.workflows)]

    def apply(self, plan: Plan, records: Records, rollback: bool = True) -> list[Outcome]:
        """Carry out a plan; return what became of each of its items, in the plan's order."""
        progress = {item.name if item.id is None else item.id: Progress(item, item.id) for item in plan.changes}
        steps = list(progress.values())
        now = {stored.id: stored for stored in self.read()}
        self.known = set(now)
        for step in steps:
            self._check_unmoved(step, now)
        if not (rollback and self._failed(steps)):
            self._write(steps, rollback)
        failed = self._failed(steps)
        if failed and self.client.http.deadline is not None:
            self.client.http.deadline = max(self.client.http.deadline, time.monotonic() + GRACE)
        if failed and rollback:
            for step in reversed(steps):
                self._put_back(step)
        else:
            self._record(records, steps)
        outcomes = {id(step.item): self._outcome(step, bool(failed) and rollback) for step in steps}
        return [
            outcomes.get(id(item)) or Outcome(item, "blocked" if item.action == "blocked" else "unchanged", item.id)
            for item in plan.items
        ]

    def _failed(self, steps: Iterable[Progress]) -> list[Progress]:
        return [step for step in steps if step.error is not None]

    def _check_unmoved(self, step: Progress, now: Mapping[str, Stored]) -> None:
        stored = step.item.stored
        if stored is None:
            return
        found = now.get(stored.id)
        if found is None or fingerprint(found) != fingerprint(stored):
            what = "deleted" if found is None else "changed"
            step.error, step.state = f"was {what} in n8n since the plan was made. Run the task again.", "other"

    def _write(self, steps: Sequence[Progress], rollback: bool) -> None:
        """Do everything, one kind of step after the other."""
        by_item = {id(step.item): step for step in steps}
        writing = ordered([step.item for step in steps if step.item.action in ("create", "update")])
        writes = [by_item[id(item)] for item in writing]
        self._each(writes, self._store, rollback)
        self._each([step for step in writes if step.incomplete], self._store_again, rollback)
        stopping = [step for step in writes if "unpublish" in step.item.changes]
        self._each(stopping, self._unpublish, rollback)
        pruned = [step for step in steps if step.item.action == "prune"]
        if not self._failed(steps):
            # Their webhooks may be wanted by what is published next.
            self._each(
                [step for step in pruned if step.item.stored and step.item.stored.active], self._release, rollback
            )
        self._publish_all([step for step in writes if "publish" in step.item.changes], rollback)
        for step in writes:
            step.done = step.done or (step.touched and step.error is None)
        if not self._failed(steps):
            self._each(pruned, self._prune, rollback)

    def _each(self, steps: Sequence[Progress], function: Any, rollback: bool) -> None:
        for step in steps:
            if step.error is not None:
                continue
            if self._stopped(rollback):
                return
            self._attempt(step, function)

    def _stopped(self, rollback: bool) -> bool:
        return self._fatal or (rollback and self._any_failed)

    _fatal = False
    _any_failed = False

    def _attempt(self, step: Progress, function: Any) -> None:
        try:
            function(step)
        except Moved as error:
            step.error, step.state = str(error), "other"
        except ServiceError as error:
            step.error, step.state = error.reason, "unknown" if step.touched else "previous"
            self._fatal = self._fatal or error.kind != "http" or (error.status or 0) >= 500 or error.status == 401
        except Exception as error:
            # An unexpected exception must not keep the other workflows from being put back.
            step.error, step.state = f"{type(error).__name__}: {error}", "unknown"
        self._any_failed = self._any_failed or step.error is not None

    def _content(self, step: Progress) -> dict[str, Any]:
        """Return what to send, with the ids of workflows that this run has created."""
        step.incomplete = False

        def of_workflow(reference: Any) -> str:
            value: str = reference.value
            if not value.startswith(NEW):
                return value
            found = self.ids.get(value.removeprefix(NEW))
            step.incomplete = step.incomplete or found is None
            return found or ""

        item = step.item
        content = with_references(item.resolved or {}, of_workflow, _same)
        return payload(content, item.stored.content if item.stored else None)

    def _store(self, step: Progress) -> None:
        item = step.item
        if "content" in item.changes:
            content = self._content(step)
            if step.id is None:
                step.touched = True
                try:
                    step.id = self.ids[item.name] = self._create(content)
                except N8nError as error:
                    # A refusal made nothing, and another client may make a workflow of this name.
                    step.touched = error.kind != "http" or (error.status or 0) >= 500
                    raise
            else:
                step.touched = True
                if item.stored is not None and item.stored.archived:
                    self.client.unarchive(step.id, item.name)
                self._update(step, content)
        if "tags" in item.changes and step.id is not None:
            step.touched = True
            self.client.set_tags(step.id, item.name, self._tag_ids(item.tags))

    def _store_again(self, step: Progress) -> None:
        """Store a workflow again that referred to one that did not exist yet."""
        self._note(step, self.client.update_workflow(str(step.id), self._content(step)))

    def _note(self, step: Progress, answer: Mapping[str, Any]) -> None:
        """Note what n8n says that it has stored, so that a later change of another client shows."""
        found = Stored(answer)
        step.written, step.version = found.digest, found.version

    def _create(self, content: Mapping[str, Any]) -> str:
        """Return the id of a new workflow. If an answer is lost, n8n is asked whether it has it."""
        for attempt in range(self.retries + 1):
            try:
                return str(self.client.create_workflow(content)["id"])
            except N8nError as error:
                if not error.is_transient:
                    raise
                if error.kind in LOST or error.kind == "answer" or (error.status or 0) >= 500:
                    found = [
                        stored
                        for stored in self.read()
                        if stored.name == content["name"] and stored.id not in self.known and not stored.archived
                    ]
                    if found:
                        self.known.add(found[0].id)
                        return found[0].id
                if attempt == self.retries or not self.client.http.pause(attempt, error.pause):
                    raise
        raise AssertionError("unreachable")

    def _update(self, step: Progress, content: Mapping[str, Any]) -> None:
        """Replace a workflow, unless it was changed in the meantime."""
        stored = step.item.stored
        if stored is None:
            return
        before = self.client.workflow(stored.id)
        if before is None or (not stored.archived and fingerprint(Stored(before)) != fingerprint(stored)):
            step.touched = False
            raise Moved("was changed in n8n since the plan was made. Run the task again.")
        only_draft = stored.active and self.publish == "never"
        self._note(step, self.client.update_workflow(stored.id, content, only_draft=only_draft))

    def _tag_ids(self, names: Iterable[str]) -> list[str]:
        found: list[str] = []
        for name in names:
            if name not in self.tags:
                self.tags = self.client.tags()
            if name not in self.tags:
                self.tags[name] = self.client.create_tag(name)
            found.append(self.tags[name])
        return found

    def _unpublish(self, step: Progress) -> None:
        step.touched = True
        self.client.unpublish(str(step.id), step.item.name)

    def _publish(self, step: Progress) -> None:
        step.touched = True
        item = step.item
        if "content" not in item.changes and item.stored is not None:
            step.version = item.stored.version
        self.client.publish(str(step.id), item.name, step.version if self.client.has_drafts else None)

    def _publish_all(self, steps: Sequence[Progress], rollback: bool) -> None:
        """Publish; what needs a webhook that another workflow is about to give up comes after it."""
        waiting = [step for step in steps if step.error is None]
        while waiting and not self._stopped(rollback):
            late: list[Progress] = []
            for step in waiting:
                if self._stopped(rollback):
                    return
                try:
                    self._publish(step)
                except N8nError as error:
                    if error.status == 409 or "conflict" in error.message.lower():
                        late.append(step)
                        step.state = "unknown"
                        conflict = error
                        continue
                    self._attempt(step, _raise(error))
                # `_attempt` reports it of this workflow, and the others are put back.
                except Exception as error:
                    self._attempt(step, _raise(error))
            if len(late) == len(waiting):
                for step in late:
                    self._attempt(step, _raise(conflict))
                return
            waiting = late

    def _release(self, step: Progress) -> None:
        """Unpublish what will be pruned."""
        before = self.client.workflow(str(step.id))
        if before is None:
            return
        self._require_unmoved(step, before)
        self._unpublish(step)
        step.released = True

    def _require_unmoved(self, step: Progress, before: Mapping[str, Any]) -> None:
        if step.item.stored is not None and fingerprint(Stored(before)) != fingerprint(step.item.stored):
            raise Moved("was changed in n8n since the plan was made. Run the task again.")

    def _prune(self, step: Progress) -> None:
        before = self.client.workflow(str(step.id))
        if before is None:
            step.done = True
            return
        if not step.released:
            self._require_unmoved(step, before)
        elif step.item.stored is not None and Stored(before).digest != step.item.stored.digest:
            raise Moved("was changed in n8n since the plan was made. Run the task again.")
        step.touched = True
        self.client.archive(str(step.id), step.item.name)
        step.done = True

    def _put_back(self, step: Progress) -> None:
        """Restore what was there before, for what was touched."""
        if not step.touched:
            return
        try:
            self._restore(step)
            step.state = "previous"
        except ServiceError as error:
            step.state = "unknown"
            reason = f"could not be put back: {error.reason}"
            step.error = f"{step.error}; {reason}" if step.error else reason

    def _restore(self, step: Progress) -> None:
        stored, name = step.item.stored, step.item.name
        if stored is None:
            ids = [step.id] if step.id else [s.id for s in self.read() if s.name == name and s.id not in self.known]
            for workflow_id in ids:
                self.client.archive(workflow_id, name)
                self.client.delete_workflow(workflow_id, name)
            return
        found = self.client.workflow(stored.id)
        if found is None:
            raise N8nError(f"put workflow {name} back", "it is gone", kind="other")
        now = Stored(found)
        if now.archived and not stored.archived:
            self.client.unarchive(stored.id, name)
            now = Stored(self.client.workflow(stored.id) or found)
        if step.written is not None and now.digest not in (stored.digest, step.written):
            doing = f"put workflow {name} back"
            raise N8nError(doing, "another client has changed it after this run, so it stays as it is", kind="other")
        if now.digest != stored.digest:
            self.client.update_workflow(stored.id, payload(stored.content, stored.content))
        if set(now.tags) != set(stored.tags):
            self.client.set_tags(stored.id, name, list(stored.tags.values()))
        now = Stored(self.client.workflow(stored.id) or found)
        if stored.live_version != now.live_version:
            if stored.live_version is None:
                self.client.unpublish(stored.id, name)
            else:
                self.client.publish(stored.id, name, stored.live_version if self.client.has_drafts else None)
        if stored.archived and not now.archived:
            self.client.archive(stored.id, name)

    def settle(self, plan: Plan, outcomes: Sequence[Outcome], seconds: float) -> list[str]:
        """Wait until the running n8n answers the webhooks that are published, and no other ones of these workflows.

        Return a sentence for each webhook for which the time was too short.
        """
        done = {id(outcome.item) for outcome in outcomes if outcome.state == "planned"}
        live = [item for item in plan.items if item.active and item.resolved is not None]
        present = {hook for item in live if id(item) in done for hook in webhooks(item.resolved or {})}
        absent = {
            hook
            for item in plan.changes
            if id(item) in done and item.stored is not None and item.stored.active
            for hook in webhooks(item.stored.live)
        } - {hook for item in live for hook in webhooks(item.resolved or {})}
        started = time.monotonic()
        end = started + seconds
        late: list[str] = []
        for wanted, hooks in ((True, present), (False, absent)):
            for method, path in sorted(hooks):
                if path.startswith(FORM):
                    continue
                while (method in self.client.webhook_methods(path)) is not wanted:
                    if time.monotonic() > end:
                        what = "does not answer" if wanted else "still answers"
                        late.append(f"n8n {what} {method} {path} after {seconds:g} seconds. Check its log.")
                        break
                    time.sleep(PAUSE)
        # Which version is behind a webhook that was there before, n8n shows to its page only.
        replaced = [item for item in plan.changes if id(item) in done and item.stored and item.stored.active]
        if any("publish" in item.changes for item in replaced):
            time.sleep(max(0.0, min(seconds, PUBLISHING) - (time.monotonic() - started)))
        return late

    def _record(self, records: Records, steps: Sequence[Progress]) -> None:
        """Write down what is stored now, so that a later run can find an edit in n8n."""
        written = {step.id for step in steps if step.done and step.item.action != "prune"}
        if not written:
            return
        try:
            now = [stored for stored in self.read() if stored.id in written]
            records.write((stored.id, stored.digest, str(stored.active).lower()) for stored in now)
        except N8nError as error:
            records.problem = error

    def _outcome(self, step: Progress, rolled_back: bool) -> Outcome:
        item = step.item
        if step.error is not None:
            return Outcome(item, "failed", step.id, step.state, step.error)
        if rolled_back and step.touched:
            return Outcome(item, "rolled_back", item.id, step.state)
        if step.done:
            return Outcome(item, DONE[item.action], step.id, "planned")
        return Outcome(item, "skipped", step.id, "unknown" if step.touched else "previous", NOT_TRIED)


def _raise(error: Exception) -> Any:
    def function(step: Progress) -> None:
        raise error

    return function


def recorded(records: Mapping[str, tuple[str, str]]) -> dict[str, Recorded]:
    """Return what was written of each workflow, by its id."""
    return {key: Recorded(digest, state == "true") for key, (digest, state) in records.items()}
