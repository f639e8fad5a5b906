# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Credentials of n8n: what is to be done with each, and doing it. Their values can be written, and never read."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.devorch.orchestration.plugins.module_utils.http_session import LOST
from ansible_collections.devorch.orchestration.plugins.module_utils.n8n.canonical import canonical
from ansible_collections.devorch.orchestration.plugins.module_utils.n8n.client import N8nClient, N8nError

KIND = "credential"
SHORTEST_NAME = 3
LONGEST_NAME = 128
TYPES: Mapping[str, type | tuple[type, ...]] = {
    "string": str,
    "number": (int, float),
    "boolean": bool,
    "json": (str, dict, list),
}
DONE = {"create": "created", "update": "updated", "delete": "deleted", "unchanged": "unchanged", "absent": "unchanged"}


@dataclass(frozen=True)
class Wanted:
    """Credentials as a task wants them; the values are secret."""

    name: str
    type: str
    data: Mapping[str, Any] = field(repr=False, default_factory=dict)
    id: str | None = None

    def digest(self, key: str) -> str:
        """What the values are, for whoever has the key."""
        message = canonical([self.type, self.data]).encode("utf-8", "surrogatepass")
        return hmac.new(key.encode("utf-8", "surrogateescape"), message, hashlib.sha256).hexdigest()


@dataclass(frozen=True)
class Item:
    """What to do with one: C(create), C(update), C(unchanged), C(delete) or C(absent) (nothing to delete)."""

    action: str
    wanted: Wanted
    id: str | None = None

    @property
    def is_change(self) -> bool:
        return self.action in ("create", "update", "delete")


def schema_problems(wanted: Wanted, schema: Mapping[str, Any] | None) -> list[str]:
    """Return what is wrong with the fields, without their values."""
    where = f"credentials {wanted.name!r}"
    if schema is None:
        return [f"{where}: n8n has no type of credentials {wanted.type!r}. Correct the type."]
    known: Mapping[str, Any] = schema.get("properties") or {}
    problems = [
        f"{where}: the type {wanted.type} has no field {name!r}. It has {', '.join(sorted(known))}."
        for name in sorted(wanted.data)
        if name not in known
    ]
    problems += [
        f"{where}: the type {wanted.type} needs the field {name!r}. Set it."
        for name in schema.get("required") or []
        if name not in wanted.data
    ]
    for name, value in wanted.data.items():
        field_schema = known.get(name)
        if not isinstance(field_schema, dict):
            continue
        kind = field_schema.get("type")
        expected = TYPES.get(kind) if isinstance(kind, str) else None
        wrong = expected is not None and (
            not isinstance(value, expected) or (isinstance(value, bool) and kind == "number")
        )
        if wrong:
            problems.append(f"{where}: the field {name!r} is not a {kind}. Give it as one.")
        choices = field_schema.get("enum")
        if not wrong and isinstance(choices, list) and value not in choices:
            shown = ", ".join(str(choice) for choice in choices)
            problems.append(f"{where}: the field {name!r} has another value than {shown}. Set it to one of them.")
    return problems


def name_problems(wanted: Sequence[Wanted]) -> list[str]:
    """Return what is wrong with the names."""
    problems: list[str] = []
    seen: set[tuple[str, str]] = set()
    for one in wanted:
        if not SHORTEST_NAME <= len(one.name) <= LONGEST_NAME:
            problems.append(
                f"credentials {one.name!r}: the name has {len(one.name)} characters. n8n takes {SHORTEST_NAME} to "
                f"{LONGEST_NAME}."
            )
        if (one.name, one.type) in seen:
            problems.append(f"credentials {one.name!r} of the type {one.type} are given twice. Remove one of them.")
        seen.add((one.name, one.type))
    return problems


def find(wanted: Wanted, stored: Sequence[Mapping[str, Any]]) -> tuple[str | None, str | None]:
    """Return the id of the credentials that a task means, or why that is not clear."""
    ids = [str(one["id"]) for one in stored if (one.get("name"), one.get("type")) == (wanted.name, wanted.type)]
    if wanted.id in ids:
        return wanted.id, None
    if len(ids) > 1:
        return None, (
            f"credentials {wanted.name!r}: n8n has {len(ids)} of the type {wanted.type} with this name "
            f"({', '.join(sorted(ids))}). Rename or delete all but one, or set id."
        )
    taken = next((one for one in stored if str(one.get("id")) == wanted.id), None)
    if not ids and taken is not None:
        return None, (
            f"credentials {wanted.name!r}: the id {wanted.id} is that of {taken.get('name')!r} of the type"
            f" {taken.get('type')} in n8n. Set another id, or the name and type that n8n has."
        )
    return (ids[0] if ids else None), None


def make_plan(
    wanted: Sequence[Wanted],
    stored: Sequence[Mapping[str, Any]],
    records: Mapping[str, tuple[str, str]],
    key: str,
    present: bool,
) -> tuple[list[Item], list[str]]:
    """Return what to do with each of the credentials, and what is not clear."""
    items: list[Item] = []
    problems: list[str] = []
    names = {str(one["id"]): one.get("name") for one in stored}
    for one in wanted:
        found, problem = find(one, stored)
        if problem:
            problems.append(problem)
        elif not present:
            items.append(Item("delete" if found else "absent", one, found))
        elif found is None:
            items.append(Item("create", one))
        else:
            same = names[found] == one.name and records.get(found, ("",))[0] == one.digest(key)
            items.append(Item("unchanged" if same else "update", one, found))
    return items, problems


def apply(client: N8nClient, item: Item) -> str | None:
    """Carry out one item; return the id of the credentials."""
    one = item.wanted
    if item.action == "create":
        return create(client, one)
    if item.action == "update":
        content = {"name": one.name, "type": one.type, "data": dict(one.data)}
        client.call("PATCH", ["credentials", str(item.id)], f"update credentials {one.name}", content)
    if item.action == "delete":
        path, doing = ["credentials", str(item.id)], f"delete credentials {one.name}"
        client.retry(lambda: client.request("DELETE", path, doing, expected=(200, 204, 404)))
    return item.id


def create(client: N8nClient, one: Wanted) -> str:
    """Create credentials and return their id. If the answer is lost, n8n is asked whether it has them."""
    content: dict[str, Any] = {"name": one.name, "type": one.type, "data": dict(one.data)}
    doing = f"create credentials {one.name}"
    if one.id:
        content["id"] = one.id
    for attempt in range(client.connection.retries + 1):
        try:
            response = client.request("POST", ["credentials"], doing, expected=(200, 201), content=content)
            return str(client.object(response, doing)["id"])
        except N8nError as error:
            if error.status == 400 and "id" in content and "property" in error.message and "id" in error.message:
                # Before 2.41, n8n chooses every id.
                del content["id"]
                continue
            if not error.is_transient:
                raise
            if error.kind in (*LOST, "answer") or (error.status or 0) >= 500:
                found, _problem = find(one, client.credentials())
                if found:
                    return found
            if not client.http.pause(attempt, error.pause):
                raise
    raise N8nError(doing, "n8n failed each time", kind="other")
