# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rules for single values of variables, whichever service they belong to."""

from __future__ import annotations

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


def without_path(name: str, service: str) -> Rule:
    """Return a rule for the address of a service, which is served without a path."""

    def rule(situation: Situation) -> Iterator[str]:
        path = urlsplit(situation.text(name)).path.strip("/")
        if path:
            yield (
                f"{name}: has the path /{path}, and {service} is served without a path. Give it a host name of its own"
                f" in the reverse proxy, and set {name} to that."
            )

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
