# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Find and read the files that a module loads, and what is wrong with any of them, whatever is in them."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SUFFIXES = (".yml", ".yaml")
# The limit of Kestra's parser, in characters (observed); one of UTF-8 has at most four bytes.
LONGEST_TEXT = 3 * 1024 * 1024
LARGEST = 4 * LONGEST_TEXT
# A marker that may begin another document, behind any line end of YAML.
_LATER_DOCUMENT = re.compile("(?:[\n\r]|\x85|\u2028|\u2029)---".encode())


@dataclass(frozen=True)
class Source:
    """A file as it was read: its path, as messages name it, and its bytes."""

    path: str
    content: bytes

    @property
    def recognizable(self) -> bool:
        """Whether a flow that a server has stored with this very text need not be parsed."""
        # Kestra stores the text of several documents as that of the first flow, if it is given it as one.
        return b"---" not in self.content or _LATER_DOCUMENT.search(self.content) is None


@dataclass(frozen=True)
class Problem:
    """The reason why a file cannot be loaded; C(line) counts from 1 and is None if the line is unknown.

    C(no_flow) says that the file may never have been meant as one.
    """

    file: str
    line: int | None
    message: str
    no_flow: bool = False

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{place}: {self.message}"

    def as_result(self) -> dict[str, Any]:
        """Return the entry of a module's C(problems)."""
        return {"file": self.file, "line": self.line, "message": self.message}


def read_sources(
    path: Path, ignored: Callable[[str], bool] | None = None, suffixes: tuple[str, ...] = SUFFIXES
) -> tuple[list[Source], list[Problem]]:
    """Read a file, or every file with one of these suffixes below a directory, sorted by path.

    Hidden files and directories are left out, and those for whose path below the directory C(ignored) is true. Files
    that cannot be read, that are not files, or that a symbolic link takes out of the directory, and a directory
    without any flow file, are problems; a missing path raises FileNotFoundError.
    """
    if not path.exists():
        raise FileNotFoundError(str(path))
    sources: list[Source] = []
    problems: list[Problem] = []
    root = os.path.realpath(path)
    is_file = not path.is_dir()
    for file in _flow_files(path, ignored, suffixes):
        try:
            # The walk follows no link to the outside, so what is not a link itself is inside.
            if not is_file and file.is_symlink() and not Path(os.path.realpath(file)).is_relative_to(root):
                problems.append(Problem(str(file), None, f"is a symbolic link that leads out of {path}"))
                continue
            # Without O_NONBLOCK a named pipe would be waited for.
            descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK)
            with os.fdopen(descriptor, "rb") as stream:
                status = os.fstat(descriptor)
                if not stat.S_ISREG(status.st_mode):
                    problems.append(Problem(str(file), None, "is not a regular file"))
                elif status.st_size > LARGEST:
                    problems.append(Problem(str(file), None, too_large(status.st_size, "bytes", LARGEST)))
                else:
                    sources.append(Source(str(file), stream.read()))
        except OSError as error:
            problems.append(Problem(str(file), None, f"cannot be read: {error.strerror or error}"))
    if not sources and not problems:
        problems.append(
            Problem(str(path), None, f"no {' or '.join(f'*{suffix}' for suffix in suffixes)} file below this directory")
        )
    return sources, problems


def read_all(
    paths: Iterable[Path], ignore_file: str, suffixes: tuple[str, ...] = SUFFIXES
) -> tuple[list[Source], list[Problem]]:
    """Read several files and directories, without what their ignore files name.

    What a path has in common with one before it is read once.
    """
    from ansible_collections.devorch.orchestration.plugins.module_utils.ignore_file import IgnoreProblem, load

    sources: list[Source] = []
    problems: list[Problem] = []
    read: set[str] = set()
    paths = list(paths)
    several = len(paths) > 1
    for path in paths:
        try:
            ignored = load(path, ignore_file) if path.is_dir() else None
            found = read_sources(path, ignored, suffixes)
        except IgnoreProblem as error:
            found = [], [Problem(str(error.file), error.line, error.message)]
        except OSError:
            found = [], [Problem(str(path), None, "does not exist")]
        places = {source.path: os.path.realpath(source.path) for source in found[0]} if several else {}
        sources += (source for source in found[0] if places.get(source.path) not in read)
        read.update(places.values())
        problems += (problem for problem in found[1] if problem not in problems)
    return sources, problems


def too_large(size: int, unit: str, most: int) -> str:
    """Return the message for a file with so many bytes or characters."""
    return f"has {size} {unit}, and Kestra reads {most} at the most; flows of a large file can have files of their own"


def _flow_files(path: Path, ignored: Callable[[str], bool] | None, suffixes: tuple[str, ...]) -> Iterator[Path]:
    """Yield the files to read, and links to directories outside, which are for the caller to refuse.

    Links that stay inside are followed, each directory once: mounted configuration often consists of them.
    """
    if not path.is_dir():
        yield path
        return
    top = os.path.realpath(path)
    found: list[tuple[tuple[str, ...], Path]] = []
    seen: set[str] = set()
    for root, directories, files in os.walk(path, followlinks=True):
        real = os.path.realpath(root)
        if real in seen:
            directories.clear()
            continue
        seen.add(real)
        below = Path(root).relative_to(path)
        kept: list[str] = []
        for name in directories:
            if name.startswith(".") or (ignored and ignored(f"{(below / name).as_posix()}/")):
                continue
            if Path(os.path.realpath(Path(root, name))).is_relative_to(top):
                kept.append(name)
            else:
                found.append(((*below.parts, name), Path(root, name)))
        directories[:] = kept
        for name in files:
            if name.endswith(suffixes) and not name.startswith("."):
                if ignored and ignored((below / name).as_posix()):
                    continue
                found.append(((*below.parts, name), Path(root, name)))
    yield from (file for _parts, file in sorted(found))
