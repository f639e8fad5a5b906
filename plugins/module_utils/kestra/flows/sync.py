# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Carry a plan to a server: read what is stored, have the changes validated, write them, put back what was there.

The server's bulk calls are for reading only. Its bulk writes split texts at any C(---), trim them, delete by default
and are not atomic, so each flow is written by a request of its own.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, TypeVar

from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.client import KestraClient, KestraError
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows.plan import (
    Item,
    Plan,
    Stored,
    exported_sources,
    validation_batches,
    violations,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows.record import (
    RECORD_DESCRIPTION,
    RECORD_KEY,
    Record,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows.source import (
    Flow,
    Key,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.source_files import Problem

Argument = TypeVar("Argument")
Result = TypeVar("Result")

State = Literal["previous", "planned", "other", "unknown"]
DONE: Mapping[str, str] = {"create": "created", "update": "updated", "prune": "pruned"}
GRACE = 60
"""Seconds that putting back may take when the time for the run is over, or while no flow can be put back."""
PATIENCE = 6
"""Rounds of putting back that may follow each other without a success; with the usual pauses they take a minute."""
NOT_REACHED = ("refused", "unresolved", "unreachable", "connect-timeout", "no-answer", "closed", "tls", "proxy")
"""Kinds of failures that are those of the server as a whole."""
NOT_PUT_BACK = "could not be put back"


@dataclass(frozen=True)
class Outcome:
    """What became of an item of a plan.

    C(action) is what was done in the end: C(created), C(updated), C(pruned), C(unchanged), C(blocked), C(failed),
    C(skipped) (not tried, since another one failed) or C(rolled_back) (done, and put back). C(state) is what the server
    has now: what it had before (C(previous)), what the plan wants (C(planned)), a third text (C(other)), or
    C(unknown), where it could not be asked. C(error) is the reason of a failure, C(warning) something to know about a
    written flow. C(sent) is false if this run cannot have changed the flow, so that nothing is to be put back.
    """

    item: Item
    action: str
    revision: int | None = None
    state: State = "previous"
    error: str | None = None
    warning: str | None = None
    sent: bool = True


@dataclass(frozen=True)
class Look:
    """What the server has of a flow. C(problem) is why that is C(unknown)."""

    state: State
    revision: int | None = None
    problem: KestraError | None = None


class Overtaken(Exception):
    """A write replaced what another client had written since the plan was made; C(state) is what the server has now."""

    def __init__(self, message: str, revision: int | None, state: State) -> None:
        super().__init__(message)
        self.revision = revision
        self.state = state


class FlowSync:
    """One run against one server, with at most C(concurrency) requests in flight and never two for the same flow.

    A request that may be repeated is repeated by the client. What it cannot know is decided here: a write whose answer
    is lost or makes no sense may have been carried out, so the flow is looked at before it is tried again, at most
    C(retries) times more.
    """

    def __init__(self, client: KestraClient, concurrency: int = 8) -> None:
        self.client = client
        self.concurrency = concurrency
        self.retries = client.connection.retries
        self.warnings: list[str] = []

    def _each(self, function: Callable[[Argument], Result], arguments: Sequence[Argument]) -> list[Result]:
        """Return the results in the order of the arguments; the first exception ends the run."""
        if len(arguments) < 2:
            return [function(argument) for argument in arguments]
        with ThreadPoolExecutor(max_workers=min(self.concurrency, len(arguments))) as pool:
            return list(pool.map(function, arguments))

    def read(self, namespaces: Collection[str]) -> dict[Key, Stored]:
        """Return every flow that the server has in these namespaces, in two requests for each thousand of them.

        A list shows which flows exist, their revisions and whether they can be read; an archive has the texts. A flow
        that the archive lacks is asked for by itself.
        """
        if not namespaces:
            return {}
        retry = self.client.retry
        with ThreadPoolExecutor(max_workers=1) as pool:
            entries = pool.submit(retry, lambda: self.client.search_flows(namespaces))
            # First, because it fails most clearly if this is not a Kestra server.
            retry(self.client.server_info)
            try:
                archive = retry(lambda: self.client.export_flows(namespaces))
            except KestraError as error:
                if error.status is None or error.status in (401, 403):
                    raise
                archive = {}
            listed = {(str(entry["namespace"]), str(entry["id"])): entry for entry in entries.result()}
        texts = exported_sources(archive, listed)
        listed = {key: entry for key, entry in listed.items() if key[0] in namespaces}
        missing = [key for key in listed if key not in texts]
        singles = self._each(lambda key: self.client.retry(lambda: self.client.get_flow(*key)), missing)
        for key, single in zip(missing, singles, strict=True):
            if single is None:
                del listed[key]
            else:
                texts[key] = str(single.get("source", "")).encode("utf-8", errors="surrogateescape")
        return {
            key: Stored(
                key[0],
                key[1],
                texts[key].decode("utf-8", errors="surrogateescape"),
                _revision(entry),
                broken(entry),
                bool(entry.get("draft")),
                texts[key],
            )
            for key, entry in listed.items()
        }

    def validate(self, items: Sequence[Item], plan: Plan | None = None) -> tuple[list[Problem], list[str]]:
        """Let the server validate the texts; return what it refuses, and what it warns of.

        It misses subflows that do not exist yet; about those that C(plan) creates it does not warn.
        """
        flows = [item.flow for item in items if item.flow is not None]
        batches = validation_batches([flow.text for flow in flows])
        answers: dict[int, list[dict[str, Any]]] = {}
        for entries, found in zip(batches, self._each(self._validated, batches), strict=True):
            if len(entries) == 1:
                answers[entries[0][0]] = found
            elif len(found) == len(entries):
                by_position = {int(answer.get("index", position)): answer for position, answer in enumerate(found)}
                for position, (index, _text) in enumerate(entries):
                    answers[index] = [by_position.get(position, {})]
            else:
                # The server saw other boundaries between the flows than we do.
                alone = self._each(lambda entry: self._validated([entry]), entries)
                answers.update({index: answer for (index, _text), answer in zip(entries, alone, strict=True)})
        problems: list[Problem] = []
        warnings: list[str] = []
        for index, flow in enumerate(flows):
            found_problems, found_warnings = read_answers(flow, answers.get(index, []))
            problems += found_problems
            warnings += found_warnings
        planned = [item.key for item in plan.items] if plan and warnings else []
        missing = tuple(
            f"The subflow '{flow_id}' not found in namespace '{namespace}'." for namespace, flow_id in planned
        )
        warnings = [warning for warning in warnings if not warning.endswith(missing)]
        return problems, warnings

    def _validated(self, entries: Sequence[tuple[int, str]]) -> list[dict[str, Any]]:
        return self.client.retry(lambda: self.client.validate_flows([text for _index, text in entries]))

    def read_records(self, namespaces: Iterable[str]) -> tuple[dict[str, Record], list[str]]:
        """Return the record of each namespace, without those that may not be read, and warnings about these."""
        names = sorted(namespaces)
        if not names:
            return {}, []
        from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.kv import KeyStore

        def read(namespace: str) -> Record | KestraError:
            try:
                stored = self.client.retry(lambda: KeyStore(self.client, namespace).value(RECORD_KEY))
                return Record.from_value(stored.content if stored else None)
            except KestraError as error:
                if error.status in (401, 403, 405):
                    return error
                raise

        records: dict[str, Record] = {}
        warnings: list[str] = []
        for namespace, found in zip(names, self._each(read, names), strict=True):
            if isinstance(found, Record):
                records[namespace] = found
            else:
                warnings.append(f"Edits on the server in namespace {namespace} cannot be detected. {found}")
        return records, warnings

    def _write_records(self, records: Mapping[str, Record], items: Iterable[Item]) -> dict[str, Record]:
        """Write down what is about to be written; return the records as they were."""
        earlier: dict[str, Record] = {}
        new: dict[str, Record] = {}
        by_namespace: dict[str, list[Item]] = {}
        for item in items:
            by_namespace.setdefault(item.key[0], []).append(item)
        unknown = by_namespace.keys() - records.keys()
        known = {**records, **self.read_records(unknown)[0]}
        for namespace, changed in by_namespace.items():
            if namespace in known:
                earlier[namespace] = known[namespace]
                changes = ((item.key[1], item.before, item.after) for item in changed)
                new[namespace] = known[namespace].with_changes(changes)
        self._each(self._put_record, [(name, record) for name, record in new.items() if record != earlier[name]])
        return earlier

    def _put_record(self, entry: tuple[str, Record]) -> None:
        from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.kv import KeyStore, Value

        namespace, record = entry
        value = Value("JSON", record.as_value())
        try:
            self.client.retry(lambda: KeyStore(self.client, namespace).put(RECORD_KEY, value, RECORD_DESCRIPTION, None))
        except KestraError as error:
            if error.status not in (403, 405):
                raise
            self.warnings.append(
                f"What is written in namespace {namespace} cannot be recorded, so that a later run takes it for edited "
                f"on the server. {error}"
            )

    def apply(self, plan: Plan, records: Mapping[str, Record] | None = None, rollback: bool = True) -> list[Outcome]:
        """Carry out a plan; return what became of each of its items, in the plan's order.

        Flows that another client has changed since the plan was made are found before the first write, and again by
        what each write replaced. Flows are pruned when everything else is written, and only then. With C(rollback), the
        first failure ends the run, and every flow that was touched is put back. Without it, a flow that the server
        refuses does not keep the others from being written; when the server itself fails, nothing more is started, and
        what is written stays.
        """
        stop = threading.Event()
        changes, outcomes = self._unmoved(plan.changes)
        if rollback and any(outcome.action == "failed" for outcome in outcomes.values()):
            stop.set()
        earlier = {} if stop.is_set() else self._write_records(records or {}, changes)

        def write(item: Item) -> Outcome:
            if stop.is_set():
                return Outcome(item, "skipped", item.revision, error="not tried, since another flow failed before")
            try:
                outcome = self._write(item)
            except Exception as error:
                # An unexpected exception must not keep the other flows from being put back.
                outcome = Outcome(item, "failed", item.revision, "unknown", f"{type(error).__name__}: {error}")
            if outcome.action == "failed" and (rollback or _is_fatal(outcome)):
                stop.set()
            return outcome

        for phase in (("create", "update"), ("prune",)):
            # Kestra compares each flow with all that it holds: updates go while those are few.
            items = sorted((item for item in changes if item.action in phase), key=lambda item: item.action == "create")
            outcomes.update((outcome.item.key, outcome) for outcome in self._each(write, items))
            if any(outcome.action == "failed" for outcome in outcomes.values()):
                stop.set()
        failed = [outcome for outcome in outcomes.values() if outcome.action == "failed"]
        if failed and self.client.http.deadline is not None:
            self.client.http.deadline = max(self.client.http.deadline, time.monotonic() + GRACE)
        if failed and rollback:
            self._roll_back(outcomes, earlier)
        elif failed:
            unknown = [outcome for outcome in failed if outcome.state == "unknown"]
            for outcome, now in zip(unknown, self._each(lambda one: self._look(one.item), unknown), strict=True):
                outcomes[outcome.item.key] = replace(outcome, state=now.state, revision=now.revision)
        return [
            outcomes.get(item.key)
            or Outcome(item, "blocked" if item.action == "blocked" else "unchanged", item.revision)
            for item in plan.items
        ]

    def _unmoved(self, items: Sequence[Item]) -> tuple[list[Item], dict[Key, Outcome]]:
        """Return the items whose flows are stored as they were planned, and what became of the others.

        Few flows are looked at one by one. Of many, a list shows which have another revision than they had.
        """
        suspects = list(items)
        if len(items) > self.concurrency:
            listed = {
                (str(entry["namespace"]), str(entry["id"])): _revision(entry)
                for entry in self.client.retry(lambda: self.client.search_flows({item.key[0] for item in items}))
            }
            suspects = [
                item
                for item in items
                if (item.key in listed) != (item.stored is not None)
                or (item.stored is not None and listed[item.key] != item.stored.revision)
            ]
        unmoved = {item.key: item for item in items}
        outcomes: dict[Key, Outcome] = {}
        for item, now in zip(suspects, self._each(self._look, suspects), strict=True):
            if now.state == "previous":
                if item.stored is not None:
                    unmoved[item.key] = replace(item, stored=replace(item.stored, revision=now.revision))
                continue
            del unmoved[item.key]
            if now.state == "planned":
                # Another client did what the plan wants; it is not for this run to take it back.
                outcomes[item.key] = Outcome(item, "unchanged", now.revision, now.state)
            else:
                reason = now.problem.reason if now.problem else _moved(now.revision)
                outcomes[item.key] = Outcome(item, "failed", now.revision, now.state, reason, sent=False)
        return list(unmoved.values()), outcomes

    def _roll_back(self, outcomes: dict[Key, Outcome], earlier: Mapping[str, Record]) -> None:
        """Restore every flow that a run may have touched, and report for each what the server has now.

        The flows are tried in rounds. A round in which the server cannot be reached ends for all flows at the first one
        that finds that out. After C(PATIENCE) rounds or C(GRACE) seconds without a flow that was put back, those that
        are left are given up together.
        """
        pending = [
            outcome
            for outcome in outcomes.values()
            if outcome.action in DONE.values()
            or (outcome.action == "failed" and outcome.sent and outcome.state in ("previous", "unknown"))
        ]
        since, idle = time.monotonic(), 0
        while pending:
            gone: list[str] = []
            done = self._each(partial(self._tried, gone=gone), pending)
            outcomes.update((outcome.item.key, outcome) for outcome, _again in done)
            # What was tried comes behind what was not.
            left = sorted((pair for pair in zip(done, pending, strict=True) if pair[0][1]), key=lambda pair: pair[0][1])
            since, idle = (time.monotonic(), 0) if len(left) < len(pending) else (since, idle + 1)
            pending = [outcome for _done, outcome in left]
            if not pending or idle > PATIENCE or time.monotonic() - since > GRACE or self._is_over():
                break
            self.client.pause(idle)
        if all(outcome.state == "previous" for outcome in outcomes.values()):
            try:
                self._each(self._put_record, list(earlier.items()))
            except KestraError:
                # The record then knows more texts than it has to, which makes no flow seem edited.
                return

    def _is_over(self) -> bool:
        deadline = self.client.http.deadline
        return deadline is not None and time.monotonic() >= deadline

    def _once(self, function: Callable[[], Result]) -> Result:
        """Call a function whose requests are not repeated by themselves, since a loop around it does so."""
        return self.client.http.repeat(function, lambda _error: False)

    def _write(self, item: Item) -> Outcome:
        """Carry out one item, and read the flow again if the answer does not show whether it was carried out.

        A look that fails is one of the attempts, so that a flow takes at most twice as many requests as attempts.
        """
        before = item.stored.revision if item.stored else None
        now = Look("previous", before)
        asked: float | None = None
        lost = False
        for attempt in range(self.retries + 1):
            if now.state == "previous":
                before = now.revision
                try:
                    done = self._send(item, before)
                    if done is not None:
                        return done
                    problem = KestraError(
                        f"write flow {item.name}", "another client changed it in the meantime", status=409
                    )
                except Overtaken as overtaken:
                    return Outcome(item, "failed", overtaken.revision, overtaken.state, str(overtaken))
                except KestraError as error:
                    problem = error
                    lost |= error.is_transient
                # The first attempt failed cleanly: nothing was written.
                if attempt == 0 and not problem.is_transient and problem.status != 409:
                    return Outcome(item, "failed", item.revision, "previous", problem.reason, sent=False)
                asked = problem.pause
            now = self._look(item, patient=False)
            if now.state == "planned":
                try:
                    # Without a lost answer, it is another client's work and not ours.
                    warning = self._check(item.key, before, now.revision, item.after) if lost else None
                except Overtaken as overtaken:
                    return Outcome(item, "failed", overtaken.revision, overtaken.state, str(overtaken))
                return Outcome(item, DONE[item.action], now.revision, "planned", warning=warning)
            over = now.state == "other" or attempt == self.retries
            over |= now.state == "previous" and not problem.is_transient
            if over or not self.client.http.pause(attempt, asked):
                reason = _moved(now.revision) if now.state == "other" else problem.reason
                return Outcome(item, "failed", now.revision, now.state, reason)
        raise AssertionError("the last attempt returns")

    def _send(self, item: Item, before: int | None) -> Outcome | None:
        """Send the request of an item; return None where the flow is not in the state that the plan was made for."""
        namespace, flow_id = item.key
        if item.flow is None:
            if not self._once(lambda: self.client.delete_flow(namespace, flow_id)):
                return None
            return Outcome(item, "pruned", None, "planned", warning=self._check(item.key, before, None))
        text = item.flow.text
        if item.action == "create":
            answer = self._once(lambda: self.client.create_flow(item.name, text))
        else:
            answer = self._once(lambda: self.client.update_flow(namespace, flow_id, text))
        if answer is None:
            return None
        if item.action == "update":
            self._check(item.key, before, _revision(answer), text)
        warning = None
        if answer.get("source", text) != text:
            warning = (
                f"{item.file}: Kestra stored another text of flow {item.name} than the file has, so that the next run "
                "will change it again"
            )
        return Outcome(item, DONE[item.action], _revision(answer), "planned", warning=warning)

    def _check(self, key: Key, before: int | None, after: int | None, text: str | None = None) -> str | None:
        """Raise Overtaken if revisions lie between the one that was to be replaced and the one that was written.

        Kestra has no request that writes only if nothing has changed, so that an edit may be replaced in the instant
        between the last look and the write. Kestra keeps the revision of the edit; its text is stored again. C(after)
        is None for a flow that was deleted, C(before) for one that was created, C(text) is what was written. Return a
        warning where that cannot be found out.

        If another client wrote first an edit and then exactly this text, in that instant, nothing shows that the
        revision of this text is not ours. The edit is stored again then too, because the files still have this text.
        """
        if before is None or (after is not None and after <= before + 1):
            return None
        name = "/".join(key)
        lost: int | None = None if after is None else after - 1
        try:
            if after is None:
                history = self.client.retry(lambda: self.client.revisions(*key))
                between = [int(each["revision"]) for each in history if not each.get("deleted")]
                lost = max((revision for revision in between if revision > before), default=None)
                if lost is None:
                    return None
            found = self.client.retry(lambda: self.client.get_flow(*key, lost))
            # A write of our own that was sent twice, because its answer was lost, makes two revisions on old servers.
            if found is None or found.get("deleted") or found.get("source") == text:
                return None
            theirs, draft = str(found.get("source", "")), bool(found.get("draft"))
            if after is None:
                answer = self.client.create_flow(name, theirs, draft)
            else:
                answer = self.client.update_flow(*key, theirs, draft)
        except KestraError as error:
            if lost is None:
                return f"Whether another client edited flow {name} just before it was pruned is unknown: {error.reason}"
            raise Overtaken(
                f"another client wrote revision {lost} in the meantime, which was replaced and could not be stored "
                f"again ({error.reason}); restore it by kestra_flow with revision={lost}",
                after,
                "planned",
            ) from error
        now = None if answer is None else _revision(answer)
        if now is not None and after is not None:
            self._check(key, after, now, theirs)
        where = "stored in that revision alone" if answer is None else "stored again"
        raise Overtaken(f"another client wrote revision {lost} in the meantime; its text is {where}", now, "other")

    def _look(self, item: Item, patient: bool = True) -> Look:
        """Return the state of an item's flow on the server."""

        def get() -> dict[str, Any] | None:
            return self.client.get_flow(*item.key)

        try:
            now = self.client.retry(get) if patient else self._once(get)
        except KestraError as error:
            return Look("unknown", problem=error)
        text = None if now is None else str(now.get("source", ""))
        draft = now is not None and bool(now.get("draft"))
        revision = None if now is None else _revision(now)
        if text == item.after and not draft:
            return Look("planned", revision)
        if text == item.before and draft == bool(item.stored and item.stored.draft):
            return Look("previous", revision)
        return Look("other", revision)

    def _tried(self, outcome: Outcome, gone: list[str]) -> tuple[Outcome, int]:
        """Put one flow back; an unexpected exception is a failure of this flow alone."""
        try:
            return self._put_back(outcome, gone)
        except Exception as error:
            reason = f"{NOT_PUT_BACK}: {type(error).__name__}: {error}"
            return replace(outcome, action="failed", state="unknown", error=reason), 0

    def _put_back(self, outcome: Outcome, gone: list[str]) -> tuple[Outcome, int]:
        """Restore one flow to what it was before the run, unless another client has changed it since.

        Return also whether it is to be tried again: 0 for no, 1 if it was not tried, 2 if it was. C(gone) gets the
        reason where the server cannot be reached.
        """
        item = outcome.item
        if gone:
            return replace(outcome, action="failed", state="unknown", error=f"{NOT_PUT_BACK}: {gone[0]}"), 1
        problem: KestraError | None = None
        now = self._look(item, patient=False)
        if now.state == "planned":
            try:
                self._restore(item, now.revision)
            except Overtaken as overtaken:
                left = replace(outcome, action="failed", revision=overtaken.revision, state=overtaken.state)
                return replace(left, error=str(overtaken)), 0
            except KestraError as refusal:
                problem = refusal
            now = self._look(item, patient=False)
        if now.state == "previous":
            # What failed stays a failure, for its own reason.
            action = "failed" if outcome.action == "failed" else "rolled_back"
            return replace(outcome, action=action, revision=now.revision, state="previous"), 0
        again = 2
        problem = now.problem or problem
        reason = "the flow stays as it is" if problem is None else problem.reason
        if now.state == "other":
            reason, again = f"{_moved(now.revision)}, so it is left as it is", 0
        elif problem is not None:
            if problem.kind in NOT_REACHED:
                gone.append(problem.reason)
            elif not problem.is_transient and problem.status != 409:
                again = 0
        left = replace(outcome, action="failed", revision=now.revision, state=now.state)
        return replace(left, error=f"{NOT_PUT_BACK}: {reason}"), again

    def _restore(self, item: Item, written: int | None) -> None:
        """Send the request that undoes an item; C(written) is the revision that it wrote."""
        namespace, flow_id = item.key
        if item.stored is None:
            if self._once(lambda: self.client.delete_flow(namespace, flow_id)):
                self._check(item.key, written, None)
            return
        text, draft = item.stored.text, item.stored.draft
        if item.action == "prune":
            self._once(lambda: self.client.create_flow(item.name, text, draft))
            return
        answer = self._once(lambda: self.client.update_flow(namespace, flow_id, text, draft))
        if answer is not None:
            self._check(item.key, written, _revision(answer), text)


def _is_fatal(outcome: Outcome) -> bool:
    """Whether a failure is one of the server and not of one flow."""
    if outcome.state == "other":
        return False
    return outcome.state == "unknown" or not (outcome.error or "").startswith(("HTTP 409", "HTTP 413", "HTTP 422"))


def _moved(revision: int | None) -> str:
    if revision is None:
        return "another client deleted it in the meantime"
    return f"another client changed it in the meantime (revision {revision} now)"


def read_answers(flow: Flow, answers: Sequence[dict[str, Any]]) -> tuple[list[Problem], list[str]]:
    """Return the problems and the warnings in what the server's validation says about one flow."""
    problems: list[Problem] = []
    warnings: list[str] = []
    if not answers:
        problems.append(flow.problem(f"Kestra did not say whether flow {flow.name} is valid"))
    for answer in answers:
        constraints = str(answer.get("constraints") or "")
        problems += [
            flow.problem(f"Kestra refuses flow {flow.name}: {message}", about=message)
            for message in violations(constraints)
        ]
        read_as = (answer.get("namespace"), answer.get("flow"))
        if not constraints and None not in read_as and read_as != flow.key:
            problems.append(
                flow.problem(
                    f"Kestra reads {read_as[0]}/{read_as[1]} where the file says {flow.name}; put the names in quotes"
                )
            )
        warnings += [f"{flow.file}: {text}" for text in answer.get("warnings") or []]
        warnings += [f"{flow.file}: {text}" for text in dict.fromkeys(answer.get("infos") or [])]
        warnings += [f"{flow.file}: {path} is deprecated" for path in answer.get("deprecationPaths") or []]
    return problems, warnings


def _revision(entry: dict[str, Any]) -> int | None:
    revision = entry.get("revision")
    return int(revision) if revision is not None else None


def broken(entry: Mapping[str, Any]) -> str | None:
    """Return why the server cannot read a flow that it has; a flow it can read has at least one task."""
    if entry.get("exception"):
        return str(entry["exception"])
    return None if entry.get("tasks", True) else "it has no tasks"
