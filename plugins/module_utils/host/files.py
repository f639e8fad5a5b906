# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The files of an orchestration host: what is below its root, and how it compares with the last known good sets."""

from __future__ import annotations

import grp
import hashlib
import json
import os
import pwd
import stat
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

from ansible_collections.devorch.orchestration.plugins.module_utils.host.service_files import (
    FilesError,
    LastKnownGood,
    read,
)

CLOSED = (
    ("data", "*"),
    ("backups",),
    ("bundle",),
    ("sidecar-data", "*"),
    ("sidecar", "venv-*"),
    ("rollback", "*", "*"),
    ("former", "*", "*"),
)
"""Directories below the root that are listed without their contents, which are large or never compared."""

ALSO = ("sidecar/venv-*/digest",)
"""What is listed nevertheless."""

VOLATILE = (("sidecar-data",),)
"""Directories whose files change while a service runs: of these, only the directories are listed."""

SECRETS = "secrets"
LARGEST_HASHED = 64 * 1024 * 1024
LARGEST_TEXT = 64 * 1024
RECORDS = ("rollback", "former")
"""Where the records of the last known good sets are: older versions of the collection used the second."""


@cache
def user_name(uid: int) -> str:
    """Return the name of a user, or the number where there is none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


@cache
def group_name(gid: int) -> str:
    """Return the name of a group, or the number where there is none."""
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def digest(path: Path) -> str:
    """Return the SHA-256 of a file; an empty text where it can't be read."""
    result = hashlib.sha256()
    try:
        with path.open("rb") as stream:
            for block in iter(lambda: stream.read(1024 * 1024), b""):
                result.update(block)
    except OSError:
        return ""
    return result.hexdigest()


def entry(path: Path, hashed: bool, follow: bool = False) -> dict[str, Any] | None:
    """Return what is at a path; None where there is nothing.

    With C(follow), a link to a directory counts as that directory.
    """
    try:
        status = path.stat() if follow and path.is_dir() else path.lstat()
    except OSError:
        return None
    kinds = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "link"}
    found: dict[str, Any] = {
        "type": kinds.get(stat.S_IFMT(status.st_mode), "other"),
        "mode": f"{stat.S_IMODE(status.st_mode):04o}",
        "owner": user_name(status.st_uid),
        "group": group_name(status.st_gid),
        "uid": status.st_uid,
        "gid": status.st_gid,
    }
    if found["type"] == "file" and hashed:
        found["sha256"] = digest(path) if status.st_size <= LARGEST_HASHED else ""
    return found


def below(root: Path) -> Iterator[Path]:
    """Yield the root and what is below it, but for what is in closed directories."""
    seen: set[tuple[int, int]] = set()
    waiting = [root]
    while waiting:
        path = waiting.pop()
        yield path
        parts = path.relative_to(root).parts
        if any(len(parts) == len(closed) and all(map(fnmatchcase, parts, closed)) for closed in CLOSED):
            continue
        try:
            # Through links as well: the root may be one. Where others than root may plant one, directories are closed.
            status = path.stat()
            if not stat.S_ISDIR(status.st_mode) or (status.st_dev, status.st_ino) in seen:
                continue
            # A link may lead to a directory above it.
            seen.add((status.st_dev, status.st_ino))
            waiting += [
                child for child in path.iterdir() if parts not in VOLATILE or child.is_symlink() or child.is_dir()
            ]
        except OSError:
            continue


def files(root: Path, paths: Iterable[Path] = ()) -> dict[str, dict[str, Any]]:
    """Return what is below the root and at further paths, by path. Of secrets there is no SHA-256."""
    found: dict[str, dict[str, Any]] = {}
    also = (path for pattern in ALSO for path in root.glob(pattern))
    for path in (*below(root), *also, *paths):
        inside = path.relative_to(root).parts if root in path.parents else ()
        # The copies of the last known good sets have the same secrets.
        known = entry(path, SECRETS not in inside, follow=not inside)
        if known is not None:
            found[str(path)] = known
    return found


def last_known_good(root: Path, service: str) -> dict[str, Any]:
    """Return the digest of a last known good set, the hash of its container, and which files differ from it."""
    for name in RECORDS:
        try:
            good = LastKnownGood(root / name / service)
            if good.record is not None:
                differing = sorted(str(path) for path, file in good.files().items() if read(path) != file)
                return {"committed": good.committed, "config_hash": good.config_hash, "differing": differing}
        except (FilesError, OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
    return {"committed": "", "config_hash": "", "differing": []}


def content(path: Path, most: int) -> bytes:
    """Return the beginning of a file; raise OSError if something else is there, such as a link.

    A container may have put it there: a pipe never answers, and a link would reveal another file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as stream:
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            raise OSError(f"{path}: is not a file")
        return stream.read(most)


def text(path: Path, most: int = LARGEST_TEXT) -> str:
    """Return the stripped text at the beginning of a file; an empty one where it can't be read."""
    try:
        return content(path, most).decode().strip()
    except (OSError, ValueError):
        return ""


def marked_root(marker: Path) -> str:
    """Return the root of this host's data as the marker names it; an empty text if there is none."""
    try:
        return str(json.loads(text(marker))["root"])
    except (ValueError, KeyError, TypeError):
        return ""


def other_roots(root: Path, known: Iterable[str]) -> list[str]:
    """Return those of the known roots that are another directory than this one, also by way of links."""
    return sorted({name for name in known if name and os.path.realpath(name) != os.path.realpath(root)})


def names(directory: Path) -> list[str]:
    """Return the names of the files in a directory, without those of unfinished writes."""
    try:
        return sorted(path.name for path in directory.iterdir() if path.is_file() and not path.name.startswith("."))
    except OSError:
        return []


def versions(directory: Path) -> dict[str, str]:
    """Return the image of each service, from a file each."""
    # Older versions of the collection wrote a backslash and an "n" for the end of the line.
    return {name: text(directory / name).removesuffix("\\n") for name in names(directory)}


def password(path: Path) -> str | None:
    """Return a secret as it is in its file; None where it can't be read."""
    try:
        return content(path, LARGEST_TEXT).decode()
    except (OSError, ValueError):
        return None
