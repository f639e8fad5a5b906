# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A plan as a file: written by one run, and read, checked and carried out by a later one."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows.plan import (
    DRIFT_WORDS,
    Item,
    Plan,
    Pruning,
    Stored,
    is_owned,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows.record import sha256
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows.source import (
    Flow,
    Key,
    parse_sources,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.source_files import Source

SAVED_FORMAT = 2
_SURROGATE = re.compile("[\ud800-\udfff]")


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
