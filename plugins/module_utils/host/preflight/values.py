# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rules for single values of variables, whichever service they belong to."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.devorch.orchestration.plugins.module_utils.host.preflight.situation import (
    ABSOLUTE,
    Rule,
    Situation,
)

ENVIRONMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
UNQUOTABLE = re.compile(r"['\\\n]|[$][{]")


def either(words: Sequence[str]) -> str:
    return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def listed(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def quotable(values: Mapping[str, Any]) -> Iterator[str]:
    for name, value in values.items():
        if value is not None and UNQUOTABLE.search(str(value)):
            yield (
                f"{name}: the value holds a single quote, a backslash, a line break or ${{, which Docker or Kestra"
                " would change. Set another value."
            )


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


def absolute(*names: str) -> Rule:
    """Return a rule for paths of the host, one or a list of them."""

    def rule(situation: Situation) -> Iterator[str]:
        for name in names:
            value = situation.variables.get(name)
            for path in value if isinstance(value, (list, tuple)) else [value]:
                if path is not None and path != "" and not ABSOLUTE.fullmatch(str(path)):
                    yield f"{name}: '{path}' is not an absolute path. Set one that begins with / and has no spaces."

    return rule
