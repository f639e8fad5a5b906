# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rules for single values of variables, whichever service they belong to."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import available_timezones

from ansible_collections.devorch.orchestration.plugins.module_utils.environment_file import text
from ansible_collections.devorch.orchestration.plugins.module_utils.host.preflight.situation import (
    ABSOLUTE,
    Rule,
    Situation,
)

ENVIRONMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
OLD_ZONE = re.compile("(US|Canada|Brazil|Chile|Mexico)/[A-Z][A-Za-z_-]+")
CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
"""Control characters other than a tab."""

AUTHORITY = re.compile(r"(?:[^/?#@]*@)?(?P<host>\[[^\]]*\]|[^/?#@:\[\]]*)(?::(?P<port>[^/?#@]*))?(?=[/?#]|$)")
HOST_NAME = re.compile(r"(?=.{1,253}$)[\w](?:[\w-]{0,61}[\w])?(?:\.[\w](?:[\w-]{0,61}[\w])?)*\.?")


def either(words: Sequence[str]) -> str:
    return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def listed(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def one_line(situation: Situation, *names: str) -> Iterator[str]:
    """Passwords and keys: a line break in one is a mistake, and programs ask for a line."""
    for name in names:
        if CONTROL.search(situation.text(name)):
            yield (
                f"{name}: the value has a line break or another control character. Set a value of one line; in YAML, a"
                " block that begins with |- or >- has no line break at its end."
            )


def environment(name: str, variables: Mapping[str, Any], reason: str = "") -> Iterator[str]:
    """Names and values of a dictionary of environment variables; the values may be secret."""
    for key, value in variables.items():
        if not isinstance(key, str) or not ENVIRONMENT_NAME.fullmatch(key):
            yield (
                f"{name}: '{key}' is not a name of an environment variable{reason}. Use letters, digits and"
                " underscores, and no digit at the beginning."
            )
        try:
            text(value)
        except ValueError as error:
            yield f"{name}.{key}: {error}. {_text_of(value)}"


def _text_of(value: Any) -> str:
    if value is None:
        return "Set a text, or leave it out."
    if isinstance(value, Mapping):
        return 'Write JSON in quotes, such as \'{"a": "b"}\'.'
    if isinstance(value, (list, tuple)):
        return 'Write JSON in quotes, such as \'["a", "b"]\', or what else the program reads.'
    return "Put it into quotes." if not isinstance(value, str) else "Set a value without it."


def filled(situation: Situation, *names: str) -> Iterator[str]:
    for name in names:
        if situation.given(name) and not situation.text(name):
            yield f"{name}: is empty. Set a value, or leave {name} out to have one generated."


def ranges(*limits: tuple[str, int, int | None]) -> Rule:
    def rule(situation: Situation) -> Iterator[str]:
        for name, low, high in limits:
            number = situation.number(name)
            if number is not None and not (low <= number and (high is None or number <= high)):
                wanted = f"{low} or more" if high is None else f"{low} to {high}"
                yield f"{name}: {number} is out of range. Set it to {wanted}."

    return rule


def time_zones(*names: str) -> Rule:
    """Return a rule for names of time zones; a controller that knows none checks none."""

    def rule(situation: Situation) -> Iterator[str]:
        known = _time_zones()
        for name in names:
            value = situation.text(name)
            # Distributions leave out the old names of zones, and the images know them.
            if situation.given(name) and known and value not in known and not OLD_ZONE.fullmatch(value):
                close = get_close_matches(value, known, 1)
                meant = f" Is {close[0]} meant?" if close else ""
                yield f"{name}: there is no time zone '{value}'.{meant} Set a name such as Europe/Berlin or UTC."

    return rule


@cache
def _time_zones() -> frozenset[str]:
    return frozenset(available_timezones())


def address(name: str, value: str) -> Iterator[str]:
    """What is wrong with the address of a service on the web. A value may hold a password, so it is not shown."""
    wanted = "Set an address such as https://host.example.com or http://10.0.0.5:8080."
    scheme, separator, rest = value.partition("://")
    if re.search(r"\s", value):
        yield f"{name}: has a blank or a line break. {wanted}"
    elif not separator:
        yield f"{name}: has no scheme. {wanted}"
    elif scheme.lower() not in ("http", "https"):
        yield f"{name}: the scheme is '{scheme}' and must be http or https. {wanted}"
    else:
        match = AUTHORITY.match(rest)
        port = match["port"] if match else None
        if not match or not _is_host(match["host"]):
            yield f"{name}: the host is not valid. {wanted}"
        elif port is not None and not port.isdecimal():
            yield f"{name}: the port is not a number. {wanted}"
        elif port is not None and (len(port.lstrip("0")) > 5 or not 1 <= int(port) <= 65535):
            yield f"{name}: the port {port} is out of range. Set a port from 1 to 65535."


def _is_host(host: str) -> bool:
    if host[:1] == "[" or re.fullmatch(r"[\d.]+", host):
        try:
            ipaddress.ip_address(host.strip("[]"))
        except ValueError:
            return False
        return True
    return bool(HOST_NAME.fullmatch(host))


def addresses(*names: str) -> Rule:
    """Return a rule for addresses on the web, one or a list of them; an empty one is not used."""

    def rule(situation: Situation) -> Iterator[str]:
        for name in names:
            given = situation.variables.get(name)
            for value in given if isinstance(given, (list, tuple)) else [given]:
                if value and not str(value).startswith("file:"):
                    yield from address(name, str(value))

    return rule


def address_without_path(name: str, service: str) -> Rule:
    """Return a rule for the address of a service, which is served without a path."""

    def rule(situation: Situation) -> Iterator[str]:
        value = situation.text(name)
        problems = list(address(name, value)) if situation.given(name) else []
        yield from problems
        if problems:
            return
        parts = urlsplit(value)
        path = parts.path.strip("/")
        if path:
            yield (
                f"{name}: has the path /{path}, and {service} is served without a path. Give it a host name of its own"
                f" in the reverse proxy, and set {name} to that."
            )
        if parts.username is not None:
            yield f"{name}: has a user name, which everybody could read. Set the address without it."
        if parts.query or parts.fragment:
            yield f"{name}: has a part that begins with ? or #. Set the address without it."

    return rule


def absolute(*names: str) -> Rule:
    """Return a rule for paths of the host, one or a list of them."""

    def rule(situation: Situation) -> Iterator[str]:
        for name in names:
            value = situation.variables.get(name)
            for path in value if isinstance(value, (list, tuple)) else [value]:
                if path is not None and path != "" and not ABSOLUTE.fullmatch(str(path)):
                    yield f"{name}: '{path}' is not an absolute path. Set one that begins with / and has no spaces."

    return rule
