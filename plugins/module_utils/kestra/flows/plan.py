# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From flows to a plan, without a server: compare what the files have with what is stored, text with text.

A plan says for each flow what has to happen. It is made once; check mode shows it, a run carries it out, and a saved
one can be carried out later.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows.record import Record
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows.source import (
    Flow,
    Key,
    parse_sources,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows.yaml_nodes import (
    BOM,
    YamlProblem,
    compose,
    labels_of,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.source_files import (
    Problem,
    Source,
)

Action = Literal["create", "update", "unchanged", "prune", "blocked"]
Drift = Literal["edited", "disabled", "enabled", "unparseable", "draft", "unrecorded"]
"""How a stored flow differs from what was written from files; C(unrecorded) is one of which nothing is known."""

DRIFT_WORDS: Mapping[str, str] = {
    "edited": "was edited on the server",
    "disabled": "was disabled on the server",
    "enabled": "was enabled on the server",
    "unparseable": "is stored, but Kestra cannot read it any more",
    "draft": "is a draft on the server",
    "unrecorded": "is not known to have been written from files",
}
_DOCUMENT_MARKER = re.compile(r"^---(?=[ \t\r\n]|$)", re.MULTILINE)
_DISABLED_LINE = re.compile(r"^disabled[ \t]*:[ \t]*(true|false)[ \t]*\r?\n?", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Stored:
    """A flow as the server has it. C(broken) is the server's reason for not being able to read its own text.

    C(content) has the bytes of the text, if they are to be compared with those of files.
    """

    namespace: str
    id: str
    text: str
    revision: int | None = None
    broken: str | None = None
    draft: bool = False
    content: bytes = field(default=b"", repr=False, compare=False)

    @property
    def key(self) -> Key:
        return (self.namespace, self.id)


@dataclass(frozen=True, slots=True)
class Item:
    """One line of a plan: a flow of the files, a stored one, or both. C(reason) is why it is blocked."""

    action: Action
    flow: Flow | None = None
    stored: Stored | None = None
    drift: Drift | None = None
    reason: str | None = None

    @property
    def key(self) -> Key:
        known = self.flow or self.stored
        if known is None:
            raise ValueError("an item of a plan is about a flow")
        return known.key

    @property
    def name(self) -> str:
        return "/".join(self.key)

    @property
    def file(self) -> str | None:
        return self.flow.file if self.flow else None

    @property
    def before(self) -> str | None:
        """The text that the server has, None if it has none."""
        return self.stored.text if self.stored else None

    @property
    def after(self) -> str | None:
        """The text that the server has when the item is done, None for none."""
        if self.action == "prune":
            return None
        if self.action == "blocked":
            return self.before
        return self.flow.text if self.flow else None

    @property
    def revision(self) -> int | None:
        return self.stored.revision if self.stored else None

    @property
    def changes(self) -> bool:
        return self.action in ("create", "update", "prune")

    @property
    def to_validate(self) -> bool:
        """Whether the server has to validate the text before anything is written."""
        broken = self.stored is not None and self.stored.broken is not None
        return self.action in ("create", "update") or (self.action == "unchanged" and broken)

    def as_result(self) -> dict[str, Any]:
        """Return the entry of a module's C(plan)."""
        return {
            "action": self.action,
            "namespace": self.key[0],
            "id": self.key[1],
            "file": self.file,
            "revision": self.revision,
            "drift": self.drift,
            "reason": self.reason,
        }

    def diff(self) -> dict[str, str]:
        """Return Ansible's diff of this flow, which is shown as a unified one."""
        revision = f"revision {self.revision}" if self.revision else "stored"
        return {
            "before_header": f"{self.name} ({revision})" if self.stored else f"{self.name} (missing)",
            "after_header": f"{self.name} (pruned)" if self.action == "prune" else f"{self.name} ({self.file})",
            "before": self.before or "",
            "after": self.after or "",
        }


@dataclass(frozen=True)
class Plan:
    """What has to happen to make the server equal to the files, one item a flow, sorted by namespace and id."""

    items: tuple[Item, ...] = field(default_factory=tuple)

    @property
    def changes(self) -> tuple[Item, ...]:
        return tuple(item for item in self.items if item.changes)

    @property
    def to_validate(self) -> tuple[Item, ...]:
        return tuple(item for item in self.items if item.to_validate)

    def with_action(self, *actions: Action) -> tuple[Item, ...]:
        """Return the items with one of these actions."""
        return tuple(item for item in self.items if item.action in actions)

    def diff(self) -> list[dict[str, str]]:
        """Return Ansible's diffs of the flows that change."""
        return [item.diff() for item in self.changes]

    @property
    def namespaces_to_look_up(self) -> set[str]:
        """The namespaces in which a stored flow would be replaced or removed."""
        return {item.key[0] for item in self.items if item.action in ("update", "prune")}


def make_plan(
    flows: Iterable[Flow],
    stored: Mapping[Key, Stored],
    prune_in: Collection[str] = (),
    owner_labels: Mapping[str, str] | None = None,
) -> Plan:
    """Compare the flows of the files with those of the server, text with text.

    A stored draft is updated even where the text is the same, since a draft is not in force. Stored flows of the
    namespaces C(prune_in) that no file has are pruned where their own text carries all of C(owner_labels).
    """
    items: list[Item] = []
    planned: set[Key] = set()
    for flow in flows:
        planned.add(flow.key)
        before = stored.get(flow.key)
        action: Action
        if before is None:
            action = "create"
        elif before.text != flow.text or before.draft:
            action = "update"
        else:
            action = "unchanged"
        items.append(Item(action, flow, before))
    if owner_labels:
        for key, candidate in stored.items():
            if key[0] in prune_in and key not in planned and is_owned(candidate.text, owner_labels):
                items.append(Item("prune", None, candidate))
    return Plan(tuple(sorted(items, key=lambda item: item.key)))


def is_owned(text: str, owner_labels: Mapping[str, str]) -> bool:
    """Whether the text of a flow carries all of these labels."""
    if not all(value in text for value in owner_labels.values()):
        return False
    return owner_labels.items() <= labels_of(text).items()


def find_drift(item: Item, record: Record | None) -> Drift | None:
    """Return how an item's stored flow differs from what was written last; None if it was written from files.

    C(record) is that of the flow's namespace, None where it cannot be read.
    """
    stored = item.stored
    if stored is None or item.action not in ("update", "prune"):
        return None
    if stored.broken is not None:
        return "unparseable"
    if stored.draft:
        return "draft"
    if item.flow and switched(stored.text) == switched(item.flow.text):
        return "disabled" if is_disabled(stored.text) else "enabled"
    known = record.knows(stored.id, stored.text) if record else None
    if known is None:
        return "unrecorded"
    return None if known else "edited"


def switched(text: str) -> str:
    """Return the text of a flow without the line that disables it; Kestra adds and changes that line (observed)."""
    return _DISABLED_LINE.sub("", text).rstrip("\n")


def is_disabled(text: str) -> bool:
    """Whether the text of a flow has a line that disables it."""
    line = _DISABLED_LINE.search(text)
    return line is not None and line.group(1) == "true"


def split_findings(plan: Plan, is_2: bool, refused: Collection[str] = ()) -> tuple[list[Problem], list[str]]:
    """Return problems and warnings for constructs that 2.0 removed, in the flows that are to be written.

    C(refused) has the files of which the server refuses a flow. A finding explains why; of a flow that a server of 2.x
    takes, nothing that it would refuse is true.
    """
    problems: list[Problem] = []
    warnings: list[str] = []
    for item in plan.with_action("create", "update"):
        for finding in item.flow.findings if item.flow else ():
            problem = Problem(item.file or "", finding.line, finding.message)
            if finding.before_2:
                problems += [] if is_2 else [problem]
            elif not finding.refused or not is_2:
                warnings.append(str(problem))
            elif item.file in refused:
                problems.append(problem)
    return problems, warnings


def with_switch(text: str, disabled: bool) -> str | None:
    """Return the text of a flow with the line that disables it, or without; None where that line cannot be set.

    A flow in one line of braces, for instance, does not have one line per key.
    """
    line = _DISABLED_LINE.search(text)
    if line:
        new = "disabled: true\n" if disabled else ""
        changed = text[: line.start()] + new + text[line.end() :]
    elif disabled:
        changed = text + ("" if text.endswith("\n") else "\n") + "disabled: true\n"
    else:
        changed = text
    try:
        root = compose(changed)[-1]
    except (YamlProblem, IndexError):
        return None
    value = root.get("disabled")
    return changed if (value is not None and value.text == "true") is disabled else None


def mark_drift(plan: Plan, records: Mapping[str, Record], block: bool) -> Plan:
    """Return the plan with the drift of each flow; with C(block), flows that drifted are left as they are."""

    def marked(item: Item) -> Item:
        drift = find_drift(item, records.get(item.key[0]))
        if drift is None:
            return item
        if not block:
            return replace(item, drift=drift)
        return replace(item, action="blocked", drift=drift, reason=DRIFT_WORDS[drift])

    return Plan(tuple(marked(item) for item in plan.items))


def prune_problem(plan: Plan, stored: Mapping[Key, Stored], limit: str) -> str | None:
    """Return why the plan would prune too much, or None.

    C(limit) is a number of flows, or a share of those that the server has in the namespaces, such as C(20%).
    """
    pruned = plan.with_action("prune")
    most = most_pruned(limit, len(stored))
    share = f"{limit} of the {len(stored)} flows in these namespaces, which is {most}"
    allowed = share if limit.endswith("%") else str(most)
    if len(pruned) <= most:
        return None
    names = ", ".join(item.name for item in pruned[:20]) + (" ..." if len(pruned) > 20 else "")
    return (
        f"{len(pruned)} flows would be pruned, and prune_limit allows {allowed}; nothing was written. "
        f"They are: {names}. To delete them, raise prune_limit for this run"
    )


def most_pruned(limit: str, count: int) -> int:
    """Return how many of so many flows may be pruned."""
    return int(count * float(limit[:-1]) / 100) if limit.endswith("%") else int(limit)


@dataclass(frozen=True)
class Pruning:
    """What a saved plan may prune: at most so many flows, which carry these labels."""

    most: int = 0
    owner_labels: Mapping[str, str] = field(default_factory=dict)


def validation_text(text: str) -> str:
    """Return a text that means the same to Kestra's validation and keeps its line numbers, without what would upset a
    request that carries several flows: a byte order mark, YAML directives, and the marker before the document."""
    text = text.removeprefix(BOM)
    marker = _DOCUMENT_MARKER.search(text)
    if marker is None:
        return text
    head = re.sub(r"^%", "#", text[: marker.start()], flags=re.MULTILINE)
    return head + "   " + text[marker.end() :]


def validation_batches(
    texts: Sequence[str], most_flows: int = 100, most_bytes: int = 1_000_000
) -> list[list[tuple[int, str]]]:
    """Split texts into as few requests as their number and their size (bytes of UTF-8) allow.

    Each entry is the index of the text and what to send. Kestra splits a request at every line that begins with
    C(---), so a text that still has such a line travels alone.
    """
    batches: list[list[tuple[int, str]]] = []
    alone: list[list[tuple[int, str]]] = []
    size = 0
    for index, text in enumerate(texts):
        sent = validation_text(text)
        if re.search(r"^---", sent, re.MULTILINE):
            alone.append([(index, sent)])
            continue
        length = len(sent.encode("utf-8"))
        if not batches or len(batches[-1]) >= most_flows or size + length > most_bytes:
            batches.append([])
            size = 0
        batches[-1].append((index, sent))
        size += length
    return batches + alone


_VIOLATION = re.compile(r"[^\s:]*: \S")


def violations(constraints: str) -> list[str]:
    """Split what C(/flows/validate) says about one flow into single messages of one line each."""
    messages: list[str] = []
    for line in constraints.strip().removeprefix("Validation error: ").splitlines():
        if messages and not _VIOLATION.match(line):
            messages[-1] += " " + line.strip()
        else:
            # What concerns the whole flow has an empty path.
            messages.append(line.strip().removeprefix(": "))
    return list(dict.fromkeys(re.sub(r"\s+", " ", message) for message in messages if message))


def exported_sources(entries: Mapping[str, bytes], keys: Iterable[Key]) -> dict[Key, bytes]:
    """Return which flow each file of an export archive contains.

    The names of the files are not a safe guide: C(<namespace>.<id>.yml) or C(<namespace>-<id>.yml), depending on the
    server, with dots and dashes in both parts. A name that fits one known flow alone counts; otherwise the text does.
    """
    owners: dict[str, list[Key]] = {}
    for namespace, flow_id in keys:
        for separator in (".", "-"):
            owners.setdefault(f"{namespace}{separator}{flow_id}.yml", []).append((namespace, flow_id))
    found: dict[Key, bytes] = {}
    for name, content in entries.items():
        candidates = owners.get(name, [])
        if len(candidates) == 1:
            found[candidates[0]] = content
            continue
        flows, _problems = parse_sources([Source(name, content)])
        if len(flows) == 1:
            found[flows[0].key] = content
    return found
