# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Carry a plan to a server: read what is stored, have the changes validated, write them.

The server's bulk calls are for reading only. Its bulk writes split texts at any C(---), trim them, delete by default
and are not atomic, so each flow is written by a request of its own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from ansible_collections.devorch.orchestration.plugins.module_utils.flow_plan import (
    Flow,
    Item,
    Key,
    Plan,
    Problem,
    Stored,
    exported_sources,
    locate,
    validation_batches,
    violations,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra_client import KestraClient, KestraError

Argument = TypeVar("Argument")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Outcome:
    """What became of an item of a plan: C(action) is what was done in the end, C(failed) or C(skipped).

    C(error) is the reason of a failure, C(warning) something a person should know about a flow that was written.
    """

    item: Item
    action: str
    revision: int | None = None
    error: str | None = None
    warning: str | None = None


class FlowSync:
    """One run against one server, with at most C(concurrency) requests in flight and never two for the same flow."""

    def __init__(self, client: KestraClient, concurrency: int = 8) -> None:
        self.client = client
        self.concurrency = concurrency

    def _each(self, function: Callable[[Argument], Result], arguments: Sequence[Argument]) -> list[Result]:
        """Return the results in the order of the arguments; the first exception ends the run."""
        if len(arguments) < 2:
            return [function(argument) for argument in arguments]
        with ThreadPoolExecutor(max_workers=min(self.concurrency, len(arguments))) as pool:
            return list(pool.map(function, arguments))

    def read(self, flows: Iterable[Flow]) -> dict[Key, Stored]:
        """Return what the server holds of these flows, in three requests (one for the version) however many they are.

        A list tells which of them exist, their revisions and whether they can be read; an archive has the texts. A flow
        that the archive lacks is asked for by itself.
        """
        wanted = {flow.key for flow in flows}
        if not wanted:
            return {}
        namespaces = {namespace for namespace, _id in wanted}
        listed = {(str(entry["namespace"]), str(entry["id"])): entry for entry in self.client.search_flows(namespaces)}
        present = sorted(wanted & set(listed))
        if not present:
            return {}
        try:
            texts = exported_sources(self.client.export_flows(namespaces), listed)
        except KestraError as error:
            if error.status is None or error.status in (401, 403):
                raise
            texts = {}
        missing = [key for key in present if key not in texts]
        singles = dict(zip(missing, self._each(lambda key: self.client.get_flow(*key), missing), strict=True))
        stored: dict[Key, Stored] = {}
        for key in present:
            entry = listed[key]
            text = texts.get(key)
            if text is None:
                single = singles[key]
                if single is None:
                    continue
                text = str(single.get("source", ""))
            stored[key] = Stored(key[0], key[1], text, _revision(entry), _broken(entry), bool(entry.get("draft")))
        return stored

    def validate(self, items: Sequence[Item]) -> tuple[list[Problem], list[str]]:
        """Let the server look at the texts; return what it refuses, and what it warns of."""
        flows = [item.flow for item in items]
        batches = validation_batches([flow.text for flow in flows])
        answers: dict[int, list[dict[str, Any]]] = {}
        for entries, found in zip(
            batches,
            self._each(lambda batch: self.client.validate_flows([text for _index, text in batch]), batches),
            strict=True,
        ):
            if len(entries) == 1:
                answers[entries[0][0]] = found
            elif len(found) == len(entries):
                by_position = {int(answer.get("index", position)): answer for position, answer in enumerate(found)}
                for position, (index, _text) in enumerate(entries):
                    answers[index] = [by_position.get(position, {})]
            else:
                # The server saw other boundaries between the flows than we do.
                alone = self._each(lambda entry: self.client.validate_flows([entry[1]]), entries)
                answers.update({index: answer for (index, _text), answer in zip(entries, alone, strict=True)})
        problems: list[Problem] = []
        warnings: list[str] = []
        for index, flow in enumerate(flows):
            found_problems, found_warnings = judge(flow, answers.get(index, []))
            problems += found_problems
            warnings += found_warnings
        return problems, warnings

    def apply(self, plan: Plan) -> list[Outcome]:
        """Write the changes of a plan; return what became of each of its items, in the plan's order.

        A flow that the server refuses does not keep the others from being written. When the server itself fails,
        nothing more is started.
        """
        stop = threading.Event()

        def write(item: Item) -> Outcome:
            if stop.is_set():
                return Outcome(item, "skipped", _known(item), "not tried, since the server failed before")
            try:
                return self._write(item)
            except KestraError as error:
                if error.kind != "http" or error.status in (401, 403) or (error.status or 0) >= 500:
                    stop.set()
                return Outcome(item, "failed", _known(item), error.reason)

        written = iter(self._each(write, plan.changes))
        return [
            Outcome(item, "unchanged", _known(item)) if item.action == "unchanged" else next(written)
            for item in plan.items
        ]

    def _write(self, item: Item) -> Outcome:
        """Create or update one flow, whatever somebody else did to it since the plan was made."""
        flow = item.flow
        if item.action == "create":
            answer = self.client.create_flow(flow.name, flow.text)
            if answer is not None:
                return self._written(item, "created", answer)
            present = self.client.get_flow(flow.namespace, flow.id)
            if present is None:
                raise KestraError(
                    f"create flow {flow.name}",
                    "the server says both that the flow exists and that it does not",
                    status=409,
                )
            if present.get("source") == flow.text:
                return Outcome(item, "unchanged", _revision(present))
        answer = self.client.update_flow(flow.namespace, flow.id, flow.text)
        if answer is not None:
            return self._written(item, "updated", answer)
        answer = self.client.create_flow(flow.name, flow.text)
        if answer is None:
            raise KestraError(
                f"update flow {flow.name}",
                "the flow is deleted and created by somebody else at this moment",
                status=409,
            )
        return self._written(item, "created", answer)

    @staticmethod
    def _written(item: Item, action: str, answer: dict[str, Any]) -> Outcome:
        source = answer.get("source")
        warning = None
        if source is not None and source != item.flow.text:
            warning = (
                f"{item.flow.file}: Kestra stored another text of flow {item.flow.name} than the file has, so that the "
                "next run will change it again"
            )
        return Outcome(item, action, _revision(answer), warning=warning)


def judge(flow: Flow, answers: Sequence[dict[str, Any]]) -> tuple[list[Problem], list[str]]:
    """Return the problems and the warnings in what the server's validation says about one flow."""
    problems: list[Problem] = []
    warnings: list[str] = []
    if not answers:
        problems.append(Problem(flow.file, None, f"Kestra did not say whether flow {flow.name} is valid"))
    for answer in answers:
        constraints = str(answer.get("constraints") or "")
        problems += [
            Problem(flow.file, locate(flow.text, message), f"Kestra refuses flow {flow.name}: {message}")
            for message in violations(constraints)
        ]
        read_as = (answer.get("namespace"), answer.get("flow"))
        if not constraints and None not in read_as and read_as != flow.key:
            problems.append(
                Problem(
                    flow.file,
                    None,
                    f"Kestra reads {read_as[0]}/{read_as[1]} where the file says {flow.name}; put the names in quotes",
                )
            )
        warnings += [f"{flow.file}: {text}" for text in answer.get("warnings") or []]
        warnings += [f"{flow.file}: {text}" for text in dict.fromkeys(answer.get("infos") or [])]
        warnings += [f"{flow.file}: {path} is deprecated" for path in answer.get("deprecationPaths") or []]
    return problems, warnings


def _revision(entry: dict[str, Any]) -> int | None:
    revision = entry.get("revision")
    return int(revision) if revision is not None else None


def _known(item: Item) -> int | None:
    return item.stored.revision if item.stored else None


def _broken(entry: dict[str, Any]) -> str | None:
    """Return why the server cannot read a flow that it holds; a flow it can read has at least one task."""
    if entry.get("exception"):
        return str(entry["exception"])
    return "it has no tasks" if entry.get("tasks") == [] else None
