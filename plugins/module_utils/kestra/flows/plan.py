# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From flows to a plan, without a server: compare what the files have with what is stored, text with text.

A plan says for each flow what has to happen. It is made once; check mode shows it, a run carries it out, and a saved
one can be carried out later.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows.record import Record, sha256
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows.source import (
    Flow,
    Key,
    Problem,
    Source,
    parse_sources,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows.yaml_nodes import (
    BOM,
    YamlProblem,
    compose,
    labels_of,
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
SAVED_FORMAT = 2
_SURROGATE = re.compile("[\ud800-\udfff]")
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


def dump_plan(plan: Plan, server: Mapping[str, Any], pruning: Pruning | None = None, key: str | None = None) -> str:
    """Return a plan as JSON, to be carried out later on the server that it was made for; C(key) signs it."""
    items = [
        {
            **item.as_result(),
            "before": None if item.stored is None else {"sha256": sha256(item.stored.text), "draft": item.stored.draft},
            "text": item.flow.text if item.flow else None,
        }
        for item in plan.items
    ]
    content: dict[str, Any] = {
        "format": SAVED_FORMAT,
        "server": dict(server),
        "pruning": asdict(pruning or Pruning()),
        "items": items,
    }
    content["sha256"] = hashlib.sha256(_canonical(content)).hexdigest()
    if key is not None:
        content["signature"] = _signature(content, key)
    return json.dumps(content, indent=1) + "\n"


def _canonical(content: Mapping[str, Any]) -> bytes:
    """Return the bytes that stand for a saved plan, whatever its white space and the order of its keys."""
    signed = {name: value for name, value in content.items() if name not in ("sha256", "signature")}
    return json.dumps(signed, sort_keys=True, separators=(",", ":")).encode("ascii")


def _signature(content: Mapping[str, Any], key: str) -> str:
    return hmac.new(key.encode("utf-8", "surrogateescape"), _canonical(content), hashlib.sha256).hexdigest()


@dataclass(frozen=True)
class SavedPlan:
    """A plan from a file: for each flow the item as it was planned, and the SHA-256 of what was stored then."""

    server: Mapping[str, Any]
    entries: tuple[tuple[Item, str | None], ...]
    pruning: Pruning = field(default_factory=Pruning)

    @property
    def namespaces(self) -> set[str]:
        return {item.key[0] for item, _before in self.entries}

    def moved(self, stored: Mapping[Key, Stored]) -> tuple[list[str], list[str]]:
        """Return a sentence for each flow that is not stored as it was when the plan was made.

        First those that the plan would change, which make it void, then those that it leaves alone. A flow that is
        already as the plan wants it has not moved.
        """
        found: tuple[list[str], list[str]] = ([], [])
        for item, before in self.entries:
            now = stored.get(item.key)
            sentence = None
            if now is None and before is not None:
                sentence = f"{item.name} was deleted"
            elif now is not None and before is None:
                sentence = f"{item.name} was created (revision {now.revision})"
            elif now is not None and (sha256(now.text) != before or now.revision != item.revision):
                sentence = f"{item.name} was changed (revision {item.revision} then, {now.revision} now)"
            if sentence and not _is_done(item, now):
                found[0 if item.changes else 1].append(sentence)
        return found

    def on(self, stored: Mapping[Key, Stored]) -> Plan:
        """Return the plan for a server on which nothing moved that it changes; raise ValueError if it may not prune."""
        items: list[Item] = []
        for item, _before in self.entries:
            now = stored.get(item.key)
            if item.changes and _is_done(item, now):
                if now is not None:
                    items.append(replace(item, action="unchanged", stored=now))
                continue
            if item.action == "prune" and now is not None and not is_owned(now.text, self.pruning.owner_labels):
                raise ValueError(f"prunes flow {item.name}, which does not have the labels {self.pruning.owner_labels}")
            if item.flow is not None or now is not None:
                items.append(replace(item, stored=now))
        plan = Plan(tuple(items))
        if len(plan.with_action("prune")) > self.pruning.most:
            raise ValueError(f"prunes more flows than the {self.pruning.most} that prune_limit allowed")
        return plan


def _is_done(item: Item, now: Stored | None) -> bool:
    """Whether a flow that is to change is already as the plan wants it."""
    if item.action == "prune":
        return now is None
    return item.changes and now is not None and item.flow is not None and now.text == item.flow.text and not now.draft


_ACTIONS: Mapping[str, tuple[bool | None, bool | None]] = {
    "create": (True, False),
    "update": (True, True),
    "unchanged": (True, True),
    "prune": (False, True),
    "blocked": (None, True),
}
"""For each action whether its item has a text, and whether something was stored; None for either."""
_ITEM_KEYS = {"action", "namespace", "id", "file", "revision", "drift", "reason", "before", "text"}


def load_plan(text: str, key: str | None = None) -> SavedPlan:
    """Read what `dump_plan` has written; raise ValueError with what is wrong with it, if anything is.

    With C(key), the plan must have been signed with it.
    """
    again = "make it again with save_plan"
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is not a saved plan: {error}") from error
    if not isinstance(content, dict) or content.get("format") != SAVED_FORMAT:
        raise ValueError(f"is not a saved plan of format {SAVED_FORMAT}; {again}")
    if content.get("sha256") != hashlib.sha256(_canonical(content)).hexdigest():
        raise ValueError(f"was changed after it was saved: its checksum does not fit; {again}")
    if key is not None:
        if "signature" not in content:
            raise ValueError("is not signed, and plan_key is set; make it again with save_plan and plan_key")
        signature = str(content["signature"]).encode("utf-8", "replace")
        if not hmac.compare_digest(signature, _signature(content, key).encode()):
            raise ValueError("is signed with another key than plan_key, or was changed after it was signed")
    try:
        _expect(set(content) - {"signature"} == {"format", "server", "pruning", "items", "sha256"}, "its keys")
        server, pruning, items = content["server"], content["pruning"], content["items"]
        _expect(isinstance(server, dict) and set(server) == {"uuid", "tenant"}, "server")
        _expect(all(isinstance(value, str) for value in server.values()), "server")
        _expect(isinstance(pruning, dict) and set(pruning) == {"most", "owner_labels"}, "pruning")
        _expect(_is_number(pruning["most"]) and isinstance(pruning["owner_labels"], dict), "pruning")
        _expect(all(isinstance(value, str) for value in pruning["owner_labels"].values()), "owner_labels")
        _expect(isinstance(items, list), "items")
        entries = [_entry(item) for item in items]
        _expect(len({item.key for item, _before in entries}) == len(entries), "a flow is there twice")
    except _Damaged as error:
        raise ValueError(f"is damaged ({error}); {again}") from error
    return SavedPlan(server, tuple(entries), Pruning(**pruning))


class _Damaged(Exception):
    """What is wrong with the contents of a saved plan."""


def _expect(true: bool, what: str) -> None:
    if not true:
        raise _Damaged(what)


def _is_number(value: Any) -> bool:
    """Return whether a value of JSON is a whole number; in Python, true is one as well."""
    return isinstance(value, int) and not isinstance(value, bool)


def _entry(item: Any) -> tuple[Item, str | None]:
    """Return an item of a saved plan, and the SHA-256 of what was stored; nothing in it is believed."""
    _expect(isinstance(item, dict) and set(item) == _ITEM_KEYS, "the keys of an item")
    namespace, flow_id, action, before, text = (item[name] for name in ("namespace", "id", "action", "before", "text"))
    _expect(isinstance(namespace, str) and isinstance(flow_id, str), "a name")
    name = f"{namespace}/{flow_id}"
    _expect(isinstance(action, str) and action in _ACTIONS, f"action of {name}")
    has_text, was_stored = _ACTIONS[action]
    _expect(text is None or isinstance(text, str), f"text of {name}")
    _expect(has_text in (None, text is not None), f"{action} of {name} and its text")
    _expect(was_stored in (None, before is not None), f"{action} of {name} and what was stored")
    _expect((item["file"] is not None) is (text is not None), f"file of {name}")
    _expect(item["file"] is None or isinstance(item["file"], str), f"file of {name}")
    _expect(item["revision"] is None or (_is_number(item["revision"]) and before is not None), f"revision of {name}")
    _expect(
        item["drift"] is None or (isinstance(item["drift"], str) and item["drift"] in DRIFT_WORDS), f"drift of {name}"
    )
    _expect(item["reason"] is None or isinstance(item["reason"], str), f"reason of {name}")
    digest, draft = None, False
    if before is not None:
        _expect(isinstance(before, dict) and set(before) == {"sha256", "draft"}, f"before of {name}")
        digest, draft = before["sha256"], before["draft"]
        _expect(isinstance(digest, str) and isinstance(draft, bool), f"before of {name}")
    flow = None
    if text is not None:
        _expect(not _SURROGATE.search(text), f"text of {name}")
        flow = Flow(namespace, flow_id, item["file"], text)
        same = digest == sha256(text) and not draft
        _expect(same is (action == "unchanged") or action == "blocked", f"{action} of {name} and what was stored")
        if action in ("create", "update"):
            written, problems = parse_sources([Source(flow.file, text.encode("utf-8"))])
            _expect(not problems and [one.key for one in written] == [flow.key], f"another flow in the text of {name}")
    # What is stored is read again later; until then the key and the revision represent it.
    stored = None if before is None else Stored(namespace, flow_id, "", item["revision"])
    return Item(action, flow, stored, item["drift"], item["reason"]), digest


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
