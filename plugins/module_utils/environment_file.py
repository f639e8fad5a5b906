# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Values in a container's environment file, as Docker Compose reads them. The backup program contains this file."""

from __future__ import annotations

import datetime
import re
from typing import Any

ESCAPES = {"\\": "\\\\", '"': '\\"', "$": "\\$", "\n": "\\n", "\r": "\\r"}
ESCAPED = {written: character for character, written in ESCAPES.items()}


def text(value: Any) -> str:
    """Return a value of a YAML dictionary as programs read it; raise ValueError for a list and the like.

    The message continues a sentence, and does not have the value, which may be secret.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        raise ValueError("is null")
    if isinstance(value, (dict, list, tuple, set)):
        kind = "a dictionary" if isinstance(value, dict) else "a list"
        raise ValueError(f"is {kind}, and an environment variable is a text")
    if isinstance(value, datetime.datetime):
        raise ValueError("is a point in time, which YAML reads from the text")
    found = str(value)
    if "\0" in found:
        raise ValueError("has a NUL character")
    return found


def quoted(value: str) -> str:
    """Return a value in quotes and in one line.

    Compose takes what is in single quotes as it is, but for a single quote, a backslash before one, and CRLF.
    """
    if not re.search(r"['\\\r\n]", value):
        return f"'{value}'"
    return '"' + "".join(ESCAPES.get(character, character) for character in value) + '"'


def unquoted(text: str) -> str:
    """Return the value of a text that C(quoted) has made; another text without its first and last character."""
    if not text.startswith('"'):
        return text[1:-1]
    return re.sub(r"\\.", lambda match: ESCAPED.get(match[0], match[0]), text[1:-1])


def parse(content: str) -> dict[str, str]:
    """Return the variables of a file whose values C(quoted) has made."""
    # Not splitlines(): a value may have other line separators of Unicode.
    pairs = (line.partition("=") for line in content.split("\n") if line and not line.startswith("#"))
    return {name: unquoted(text) for name, _equals, text in pairs}
