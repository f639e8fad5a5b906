# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which files of a directory an ignore file leaves out, by the patterns of C(.gitignore)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

IGNORE_FILE = ".kestraignore"
_EVERYTHING = re.compile(r"\*|/?(\*\*/)+\*|(.*/)?\*\*")
"""Patterns that mean what is below a directory too."""


class IgnoreProblem(Exception):
    """An ignore file that cannot be used; C(line) counts from 1 and is None if the line is unknown."""

    def __init__(self, file: Path, line: int | None, message: str) -> None:
        self.file = file
        self.line = line
        self.message = message
        super().__init__(f"{file}: {message}" if line is None else f"{file}:{line}: {message}")


def nothing(_path: str) -> bool:
    """Leave out nothing."""
    return False


def load(directory: Path, name: str = IGNORE_FILE) -> Callable[[str], bool]:
    """Return a test whether the directory's ignore file leaves a path out; without such a file it leaves out none.

    The paths that it takes are relative to the directory, with C(/) between their parts, and with a C(/) at the end
    where they are directories. What is below a directory that is left out, is left out as well. The ignore file itself
    is left out. Needs the library pathspec where there is an ignore file, and only there; raises IgnoreProblem.
    """
    file = directory / name
    if not name or not file.is_file():
        return nothing
    try:
        # Not at the top: most directories have no such file, and to load it is a tenth of the start of kestra_flows.
        import pathspec  # noqa: F401 - only to learn whether it is there
    except ImportError as error:
        message = "the Python library pathspec is needed to read it, and is not installed"
        raise IgnoreProblem(file, None, message) from error
    try:
        lines = file.read_bytes().decode("utf-8").removeprefix("\ufeff").splitlines()
    except UnicodeDecodeError as error:
        raise IgnoreProblem(file, None, f"is not UTF-8: {error.reason}") from error
    except OSError as error:
        raise IgnoreProblem(file, None, f"cannot be read: {error.strerror or error}") from error
    rules: list[Rule] = []
    for number, line in enumerate(lines, 1):
        if line.strip() == "!/":
            # Nothing to git, and everything to pathspec.
            raise IgnoreProblem(file, number, f"{line!r} is not a pattern: it names nothing")
        try:
            rule = _rule(line)
        except ValueError as error:
            raise IgnoreProblem(file, number, f"{line!r} is not a pattern: {error}") from error
        if rule is not None:
            rules.insert(0, rule)

    @cache
    def is_left_out(path: str) -> bool:
        above, _slash, _last = path.rstrip("/").rpartition("/")
        if above and is_left_out(f"{above}/"):
            return True
        return next((rule.ignores for rule in rules if rule.means(path)), False)

    return lambda path: path == name or is_left_out(path)


@dataclass(frozen=True)
class Rule:
    """A pattern, and whether it leaves out (C(ignores)) or takes back what it means.

    pathspec makes the regular expressions. It lets a pattern mean all that is below a directory as well, so that one
    with an exclamation mark would take back what another pattern leaves out there. Git does not.
    """

    expression: re.Pattern[str]
    ignores: bool
    directories: bool
    everything: bool

    def means(self, path: str) -> bool:
        """Return whether the pattern means this path itself."""
        if self.directories and not path.endswith("/"):
            return False
        path = path.rstrip("/")
        found = self.expression.search(path)
        return found is not None and (self.everything or found.end() == len(path))


def _rule(line: str) -> Rule | None:
    """Return the rule of a line; None where it has none. Raise ValueError where it is not a pattern."""
    import pathspec

    line = line if line.endswith("\\ ") else line.rstrip(" ")
    pattern = line.rstrip("/") if line.strip("!/") else line
    for made in pathspec.GitIgnoreSpec.from_lines([pattern]).patterns:
        if made.include is not None and made.regex is not None and line.strip("!/"):
            body = pattern.removeprefix("!")
            everything = _EVERYTHING.fullmatch(body) is not None
            return Rule(made.regex, made.include, pattern != line, everything)
    return None
