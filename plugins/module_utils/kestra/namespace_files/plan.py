# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The files of a directory that are to become a namespace's, and what to do to make both equal. No network here."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from ansible_collections.devorch.orchestration.plugins.module_utils.ignore_file import IgnoreProblem, load

Action = Literal["create", "update", "unchanged", "prune"]
FLOWS = "_flows"
"""What Kestra takes for flows instead of files, at the top of a namespace."""
LONGEST_DIFF = 100_000
SPOILING = "#%?"
_REVISION = re.compile(r"(.+)\.v([2-9]|[1-9]\d+)")
_LIMIT = re.compile(r"(\d+)(%?)")


class Content(Protocol):
    """A file that can be read when its bytes are needed. C(name) is its path in the directory, parts behind C(/)."""

    @property
    def name(self) -> str: ...

    @property
    def size(self) -> int: ...

    def read(self) -> bytes: ...


@dataclass(frozen=True)
class DiskFile:
    """A file on this host."""

    name: str
    size: int
    file: Path

    def read(self) -> bytes:
        """Return its bytes."""
        return self.file.read_bytes()


def read_tree(directory: Path, ignore_file: str) -> tuple[list[DiskFile], list[str]]:
    """Return the files below a directory, sorted, and what is wrong with any of them.

    Hidden files count, empty directories do not. Links are followed within the directory.
    """
    problems: list[str] = []
    try:
        ignored = load(directory, ignore_file)
    except IgnoreProblem as problem:
        return [], [str(problem)]
    files = list(_walk(directory, "", (os.path.realpath(directory),), ignored, problems))
    return files, problems


def _walk(
    directory: Path, prefix: str, above: tuple[str, ...], ignored: Callable[[str], bool], problems: list[str]
) -> Iterator[DiskFile]:
    """Yield the files of a directory and those below; C(above) are the real paths from the top down to it."""
    try:
        entries = sorted(os.scandir(directory), key=lambda entry: entry.name)
    except OSError as error:
        problems.append(f"{directory}: cannot be read: {error.strerror or error}")
        return
    for entry in entries:
        name, shown = prefix + entry.name, os.fsencode(entry.path).decode("utf-8", "backslashreplace")
        try:
            is_directory = entry.is_dir()
            if ignored(name + "/" if is_directory else name):
                continue
            wrong = _wrong_name(entry.name)
            real = os.path.realpath(entry.path)
            if wrong is None and entry.is_symlink():
                wrong = _wrong_link(real, above)
            if wrong is not None:
                problems.append(f"{shown}: {wrong}")
            elif is_directory:
                yield from _walk(Path(entry.path), name + "/", (*above, real), ignored, problems)
            else:
                found = entry.stat()
                if stat.S_ISREG(found.st_mode):
                    # Opened for the message's sake: nothing is written when one of the files cannot be read.
                    with Path(entry.path).open("rb"):
                        yield DiskFile(name, found.st_size, Path(entry.path))
                else:
                    problems.append(f"{shown}: is not a regular file")
        except OSError as error:
            problems.append(f"{shown}: cannot be read: {error.strerror or error}")


def _wrong_name(name: str) -> str | None:
    if "\\" in name:
        return "has a backslash in its name, which Kestra takes for a directory"
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return "has a name that is not UTF-8"
    return None


def _wrong_link(real: str, above: tuple[str, ...]) -> str | None:
    if not Path(real).exists():
        return f"is a link to {real}, which does not exist"
    if not Path(real).is_relative_to(above[0]):
        return f"is a link to {real}, out of the directory"
    return f"is a link to {real}, a directory that it lies in" if real in above else None


@dataclass(frozen=True)
class Item:
    """One file of a plan. C(path) is its path in the namespace, without a slash before it.

    C(stored_path) is the one it has on the server now. C(before) is its content there, for the diff.
    """

    path: str
    action: Action
    local: Content | None = None
    stored_path: str | None = None
    before: bytes | None = None

    def diff(self) -> dict[str, str]:
        """Return Ansible's diff of this file."""
        content = self.local.read() if self.local is not None else b""
        before, after = show(self.before or b""), show(content)
        if before == after:
            before, after = describe(self.before or b""), describe(content)
        return {
            "before_header": f"{self.path} (missing)" if self.action == "create" else self.path,
            "after_header": f"{self.path} (deleted)" if self.action == "prune" else self.path,
            "before": "" if self.action == "create" else before,
            "after": "" if self.action == "prune" else after,
        }


def show(content: bytes) -> str:
    """Return a content for the diff: its text, or what it is if it is not a short text."""
    if len(content) <= LONGEST_DIFF and b"\0" not in content:
        try:
            return content.decode("utf-8")
        except UnicodeDecodeError:
            pass
    return describe(content)


def describe(content: bytes) -> str:
    """Return a line that identifies a content."""
    return f"({len(content)} bytes, SHA-256 {hashlib.sha256(content).hexdigest()})\n"


@dataclass(frozen=True)
class Plan:
    """What has to happen, one item per file, sorted by path. C(extra) are files of the server without a source."""

    items: tuple[Item, ...] = field(default_factory=tuple)
    extra: tuple[str, ...] = field(default_factory=tuple)

    def having(self, *actions: Action) -> tuple[Item, ...]:
        """Return the items with one of these actions."""
        return tuple(item for item in self.items if item.action in actions)


def target_path(dest: str, name: str) -> str:
    """Return the path in the namespace of a file of the directory."""
    return "/".join(part for part in (*dest.split("/"), name) if part)


def check_dest(dest: str) -> str | None:
    """Return what is wrong with a directory of a namespace, or None."""
    parts = [part for part in dest.split("/") if part]
    if "\\" in dest or any(part in (".", "..") for part in parts):
        return f"dest is {dest!r}; it is a path from the top of the namespace, without '.', '..' and backslashes"
    return f"dest is {dest!r}; Kestra keeps flows there" if parts[:1] == [FLOWS] else None


def match(
    local: Iterable[Content], dest: str, stored: Iterable[str], blank_is_plus: bool, cuts_names: bool = False
) -> tuple[dict[str, Content], dict[str, str], list[str]]:
    """Return the files by their path in the namespace, the path on the server of those that are there, and problems.

    Servers before 2.0 may store a blank as a plus sign: C(blank_is_plus). Servers before 1.0 cut a name, or cannot list
    the namespace any more, if a name has one of certain characters: C(cuts_names).
    """
    wanted = {target_path(dest, each.name): each for each in local}
    known = set(stored)
    problems: list[str] = []
    there: dict[str, str] = {}
    for path in wanted:
        plus = path.replace(" ", "+")
        if path in known:
            there[path] = path
        elif blank_is_plus and plus in known and plus not in wanted:
            there[path] = plus
        if blank_is_plus and plus != path and plus in wanted:
            problems.append(f"{path}: this server may store it as {plus}, which is another file")
        spoiling = sorted(set(path) & set(SPOILING)) if cuts_names else []
        if spoiling:
            problems.append(f"{path}: this server cannot keep a name with {' or '.join(spoiling)}; rename the file")
        if path.split("/")[0] == FLOWS:
            problems.append(f"{path}: Kestra takes what is below {FLOWS} for flows; load it with kestra_flows")
        revision = _REVISION.fullmatch(path)
        if revision and (revision.group(1) in wanted or revision.group(1) in known):
            problems.append(
                f"{path}: Kestra keeps revision {revision.group(2)} of {revision.group(1)} under this name; one of "
                "them needs another"
            )
    return wanted, there, problems + _clashes(wanted, known)


def _clashes(wanted: Mapping[str, Content], known: set[str]) -> list[str]:
    """Return where a file is to be where the server has a directory, and the other way around."""
    above_known = {parent for path in known for parent in _parents(path)}
    clashes = [f"{path}: the server has a directory of this name" for path in wanted if path in above_known]
    for path in wanted:
        clashes += [f"{path}: the server has a file {parent}" for parent in _parents(path) if parent in known]
    return clashes


def _parents(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def new_directories(items: Iterable[Item], stored: Iterable[str]) -> tuple[list[Item], list[Item]]:
    """Split what is to be written: items that make a directory of their own, to be written one by one, and the rest.

    Kestra makes missing directories as it stores a file, and fails where two requests make the same one.
    """
    there = {parent for path in stored for parent in _parents(path)}
    openers: list[Item] = []
    rest: list[Item] = []
    for item in items:
        missing = set(_parents(item.path)) - there
        (openers if missing else rest).append(item)
        there |= missing
    return openers, rest


def most_pruned(limit: str, stored: int) -> int:
    """Return how many files may be pruned: a number, or a share of those stored, rounded down; raise ValueError."""
    found = _LIMIT.fullmatch(limit.strip())
    if found is None or (found.group(2) and int(found.group(1)) > 100):
        raise ValueError(f"prune_limit is {limit!r}; it is a number, or a share such as 20%")
    return stored * int(found.group(1)) // 100 if found.group(2) else int(found.group(1))


def as_result(item: Item, action: str, error: str | None) -> dict[str, Any]:
    """Return the entry of a module's C(files)."""
    return {"path": item.path, "action": action, "size": item.local.size if item.local else None, "error": error}
