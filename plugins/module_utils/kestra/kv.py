# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Keys and values of a namespace: what a task means by a value, how it is sent, whether two are equal.

Kestra reads what is sent as Ion, of which JSON is a part. Only JSON is sent, except for dates and times, which JSON
does not know; texts are always quoted, since of others Kestra keeps the first word.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Literal, Optional

from ansible_collections.devorch.orchestration.plugins.module_utils.dates import UTC
from ansible_collections.devorch.orchestration.plugins.module_utils.dates import parse as parse_date
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.client import KestraClient, KestraError

TYPES = ("STRING", "NUMBER", "BOOLEAN", "DATETIME", "DATE", "DURATION", "JSON")
TEXT = "text/plain"
# Kestra's own rules for the two names.
NAMESPACE = re.compile(r"[a-z0-9][a-z0-9._-]*")
KEY = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]*")
# io.kestra.core.storages.kv.InternalKVStore: a stored text of this form is read as a duration, or not at all.
_READ_AS_DURATION = re.compile(r"P(?=[^T]|T.)(?:\d*D)?(?:T(?=.)(?:\d*H)?(?:\d*M)?(?:\d*S)?)?")
_DURATION = re.compile(r"P(?=\d|T\d)(?:(\d+)D)?(?:T(?=\d)(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?")
_INTEGER = re.compile(r"[-+]?\d+", re.ASCII)
_TRUE, _FALSE = ("true", "yes", "on"), ("false", "no", "off")
TOLERANCE = timedelta(seconds=5)
"""How far a lifetime may be from the requested one: Kestra reads its clock twice for one write."""


Lifetime = Optional[timedelta]  # noqa: UP045 - ansible-test's pylint refuses the operator here
"""How long a key lives after it was written; None where it does not expire."""
NEVER = "never"


class ValueProblem(Exception):
    """Why a value, a lifetime or a description cannot be stored. The text never contains the value itself."""


@dataclass(frozen=True)
class Value:
    """A value and its type. C(content) is what JSON makes of it; dates, times and durations are texts of ISO 8601."""

    type: str
    content: Any

    def body(self) -> str:
        """Return what is sent."""
        if self.type in ("DATE", "DATETIME"):
            return str(self.content)
        return json.dumps(self.content, ensure_ascii=False, allow_nan=False)

    def equals(self, other: Value) -> bool:
        """Return whether both are the same to a flow that reads them."""
        if self.type != other.type:
            return False
        if self.type == "DURATION":
            return seconds(str(self.content)) == seconds(str(other.content))
        if self.type == "DATETIME":
            return moment(str(self.content)) == moment(str(other.content))
        return same(self.content, other.content)

    def text(self) -> str:
        """Return the value for people, over several lines where it has parts."""
        if self.type == "JSON":
            return json.dumps(self.content, ensure_ascii=False, indent=2, sort_keys=True)
        return self.content if isinstance(self.content, str) else json.dumps(self.content)


@dataclass(frozen=True)
class Entry:
    """A key as the server has it."""

    key: str
    value: Value
    description: str | None = None
    revision: int | None = None
    updated: datetime | None = None
    expires: datetime | None = None

    @property
    def lifetime(self) -> timedelta | None:
        """How long the key was to live when it was written."""
        return None if self.expires is None or self.updated is None else self.expires - self.updated


def same(left: Any, right: Any) -> bool:
    """Compare what JSON can say: numbers as numbers, and a mapping's null like a key that is not there.

    Kestra leaves those out when it is asked for a value.
    """
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, (int, float)) and isinstance(right, (int, float)):
        return left == right
    if isinstance(left, dict) and isinstance(right, dict):
        left = {key: value for key, value in left.items() if value is not None}
        right = {key: value for key, value in right.items() if value is not None}
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    return type(left) is type(right) and bool(left == right)


def seconds(text: str) -> int:
    """Return the length of a duration of ISO 8601 in days, hours, minutes and whole seconds; raise ValueProblem."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueProblem("is not a duration of days, hours, minutes and whole seconds, such as PT15M or P7DT12H")
    days, hours, minutes, rest = (int(part or 0) for part in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + rest


def moment(text: str) -> datetime:
    """Return a moment of ISO 8601, in UTC and in milliseconds, which is what Kestra keeps; raise ValueProblem."""
    try:
        read = parse_date(text)
    except ValueError as error:
        raise ValueProblem("is not a date and time such as 2026-01-31T08:15:00Z") from error
    if read.tzinfo is None:
        raise ValueProblem("has no time zone; put Z or an offset such as +02:00 behind the time")
    return read.astimezone(UTC).replace(microsecond=read.microsecond // 1000 * 1000)


def value_from(given: Any, kind: str | None) -> Value:
    """Return what a task means by a value and an optional type; raise ValueProblem.

    Nothing is guessed from what a text looks like. What Ansible or YAML may have turned into something else than what
    was written is refused.
    """
    if given is None:
        raise ValueProblem("is missing")
    if kind is None:
        kind = _type_of(given)
    return Value(kind, _READERS[kind](given))


def _type_of(given: Any) -> str:
    if isinstance(given, bool):
        return "BOOLEAN"
    if isinstance(given, (int, float)):
        return "NUMBER"
    return "STRING" if isinstance(given, str) else "JSON"


def _string(given: Any) -> str:
    if isinstance(given, int) and not isinstance(given, bool):
        return str(given)
    if not isinstance(given, str):
        raise ValueProblem(
            f"is {_kind(given)} where type is STRING, so that its first spelling is lost; put it into quotes, or "
            "add the filter string to the template"
        )
    if _READ_AS_DURATION.fullmatch(given):
        raise ValueProblem("is a text that Kestra would read as a duration; give it type DURATION or another form")
    return given


def _number(given: Any) -> int | float:
    number: int | float
    if isinstance(given, str):
        try:
            # Python takes the digits of every script, and JSON those of ASCII.
            given.encode("ascii")
            number = int(given) if _INTEGER.fullmatch(given.strip()) else float(given)
        except ValueError as error:
            raise ValueProblem("is not a number, but type is NUMBER") from error
    elif isinstance(given, (int, float)) and not isinstance(given, bool):
        number = given
    else:
        raise ValueProblem(f"is {_kind(given)} where type is NUMBER")
    if isinstance(number, float) and not math.isfinite(number):
        raise ValueProblem("is not a finite number")
    return number


def _boolean(given: Any) -> bool:
    if isinstance(given, bool):
        return given
    if isinstance(given, str) and given.strip().lower() in _TRUE + _FALSE:
        return given.strip().lower() in _TRUE
    raise ValueProblem(f"is {_kind(given)} where type is BOOLEAN; it is true or false")


def _date(given: Any) -> str:
    try:
        return date.fromisoformat(given if isinstance(given, str) else "").isoformat()
    except ValueError as error:
        raise ValueProblem("is not a date such as 2026-01-31, but type is DATE") from error


def _datetime(given: Any) -> str:
    if not isinstance(given, str):
        raise ValueProblem(f"is {_kind(given)} where type is DATETIME")
    # Kestra takes only moments in UTC for a DATETIME.
    return moment(given).isoformat(timespec="milliseconds").replace("+00:00", "Z").replace(".000Z", "Z")


def _duration(given: Any) -> str:
    if not isinstance(given, str):
        raise ValueProblem(f"is {_kind(given)} where type is DURATION")
    seconds(given)
    return given


def _json(given: Any) -> Any:
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except ValueError as error:
            raise ValueProblem(f"is not JSON: {error.args[0].split(':')[0]}") from error
    if not isinstance(given, (dict, list)):
        raise ValueProblem(f"is {_kind(given)} where type is JSON; it is a mapping or a list")
    _check_json(given)
    return given


def _check_json(given: Any) -> None:
    if isinstance(given, float) and not math.isfinite(given):
        raise ValueProblem("contains a number that is not finite, which JSON cannot express")
    for part in given.values() if isinstance(given, dict) else given if isinstance(given, list) else []:
        _check_json(part)


def _kind(given: Any) -> str:
    names = {bool: "a boolean", int: "a number", float: "a number", str: "a text", list: "a list", dict: "a mapping"}
    return names.get(type(given), f"a {type(given).__name__}")


_READERS = {
    "STRING": _string,
    "NUMBER": _number,
    "BOOLEAN": _boolean,
    "DATE": _date,
    "DATETIME": _datetime,
    "DURATION": _duration,
    "JSON": _json,
}


def check_key(key: str) -> None:
    """Raise ValueProblem for a key that Kestra does not take."""
    if not KEY.fullmatch(key):
        raise ValueProblem(
            f"{key!r} must begin with a letter or a digit and contain only letters, digits, '.', '_' and '-'"
        )


def check_description(text: str) -> None:
    """Raise ValueProblem for a description that cannot travel in a header, which is where Kestra takes it from."""
    wrong = next((each for each in text if ord(each) > 0xFF or ord(each) < 0x20 or 0x7F <= ord(each) < 0xA0), None)
    if wrong is not None:
        raise ValueProblem(
            f"contains the character U+{ord(wrong):04X}. Kestra receives it as a header: use one line in ISO 8859-1"
        )
    if text != text.strip():
        raise ValueProblem("begins or ends with a blank, which Kestra does not keep")


def check_namespace(name: str) -> None:
    """Raise ValueProblem for a namespace that Kestra does not take."""
    if not NAMESPACE.fullmatch(name):
        raise ValueProblem(f"{name!r} is not a namespace such as company.team")


def lifetime_from(text: str | None) -> timedelta | Literal["never"] | None:
    """Return what a task means by a time to live: nothing in particular, never ending, or a time."""
    if text is None or text == NEVER:
        return None if text is None else "never"
    length = seconds(text)
    if length == 0:
        raise ValueProblem("is not a positive time. Set state to absent to delete the key")
    return timedelta(seconds=length)


def lifetime_text(lifetime: Lifetime) -> str:
    """Return a lifetime as option C(ttl) takes it."""
    return NEVER if lifetime is None else f"PT{round(lifetime.total_seconds())}S"


def entry_from(listed: dict[str, Any], value: Value) -> Entry:
    """Return a key from what a list says about it, and its value."""
    return Entry(
        key=str(listed.get("key")),
        value=value,
        description=str(listed["description"]) if listed.get("description") else None,
        revision=int(listed["revision"]) if listed.get("revision") is not None else None,
        updated=_instant(listed.get("updateDate")),
        expires=_instant(listed.get("expirationDate")),
    )


def _instant(text: Any) -> datetime | None:
    return parse_date(str(text)) if text else None


def differences(
    stored: Entry | None, value: Value, description: str | None, lifetime: timedelta | Literal["never"] | None
) -> list[str]:
    """Return what has to be written: names of what differs from what is asked for, nothing where all is as asked.

    A description or lifetime of None is not asked for; a lifetime V(never) asks for none.
    """
    if stored is None:
        return ["key"]
    found = [] if stored.value.equals(value) else ["value"]
    if description is not None and description != (stored.description or ""):
        found.append("description")
    if lifetime == NEVER:
        found += ["ttl"] if stored.expires is not None else []
    elif isinstance(lifetime, timedelta) and (stored.lifetime is None or abs(stored.lifetime - lifetime) > TOLERANCE):
        found.append("ttl")
    return found


class KeyStore:
    """The keys of one namespace on a server."""

    def __init__(self, client: KestraClient, namespace: str) -> None:
        self.client = client
        self.namespace = namespace

    def _path(self, key: str) -> str:
        return self.client.path("namespaces", self.namespace, "kv", key)

    def listed(self) -> list[dict[str, Any]]:
        """Return what the server reports about each key, without the values."""
        doing = f"list the keys of namespace {self.namespace}"
        params = {"filters[namespace][EQUALS]": self.namespace}
        try:
            found = self.client.all_of(self.client.path("kv"), doing, ("namespace", "key"), params)
        except KestraError as error:
            # Servers before 1.3 have a list for each namespace alone.
            if error.status != 404 or self.client.server_info().is_2:
                raise
            response = self.client.request("GET", self.client.path("namespaces", self.namespace, "kv"), doing)
            found = self.client.json(response, doing)
            if not isinstance(found, list):
                raise KestraError(doing, "the answer is not a list", kind="answer") from error
        return [entry for entry in found if entry.get("namespace", self.namespace) == self.namespace]

    def value(self, key: str) -> Value | None:
        """Return a value, or None where there is none, or one that expired."""
        doing = f"read key {key} of namespace {self.namespace}"
        response = self.client.request("GET", self._path(key), doing, expected=(200, 404, 410))
        if response.status_code != 200:
            return None
        body = self.client.object(self.client.json(response, doing), doing)
        if not isinstance(body.get("type"), str):
            raise KestraError(doing, "the answer is not a value with its type", kind="answer")
        return Value(body["type"], body.get("value"))

    def entry(self, key: str) -> Entry | None:
        """Return a key with everything that is known about it, or None.

        The list is asked first: to ask for a value that expired would make the server delete it.
        """
        listed = next((entry for entry in self.listed() if entry.get("key") == key), None)
        value = self.value(key) if listed is not None else None
        return None if listed is None or value is None else entry_from(listed, value)

    def put(self, key: str, value: Value, description: str, lifetime: timedelta | None) -> None:
        """Write a key; without a lifetime it does not expire."""
        headers = {"description": description} if description else {}
        if lifetime is not None:
            headers["ttl"] = lifetime_text(lifetime)
        self.client.request(
            "PUT",
            self._path(key),
            f"write key {key} of namespace {self.namespace}",
            body=value.body().encode("utf-8"),
            content_type=TEXT,
            headers=headers,
        )

    def delete(self, key: str) -> None:
        """Delete a key; a missing one is not an error."""
        self.client.request("DELETE", self._path(key), f"delete key {key} of namespace {self.namespace}")
