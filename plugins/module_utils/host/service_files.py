# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The files of a service as one set: written together, and restored together."""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RECORD = "record.json"
SECRET_NAME = re.compile(r"pass|secret|token|key|credential", re.IGNORECASE)
SECRET_SETTING = re.compile(SECRET_NAME.pattern + r"|pwd|auth|jwt|dsn|private|://[^/\s]*@", re.IGNORECASE)
"""What a name or a value has that is a secret in spite of a public name."""
SETTING = re.compile(r"^(?P<start>\s*(?:- )?[\"']?(?P<name>[\w.-]+)[\"']?\s*[:=]\s*)(?P<value>\S.*)$")
SHORTEST_MASKED = 4
MASK = "********"


class FilesError(Exception):
    """Files that can't be written or restored; the message names the path and what to do."""


@dataclass(frozen=True)
class File:
    """A file as it should be, or as it is: its content, and its mode as a number."""

    content: bytes
    mode: int

    def digest(self) -> str:
        """Return the SHA-256 of the content, in hexadecimal."""
        return hashlib.sha256(self.content).hexdigest()


def read(path: Path) -> File | None:
    """Return the file at a path, or None if there is none."""
    try:
        return File(path.read_bytes(), path.stat().st_mode & 0o7777)
    except FileNotFoundError:
        return None


def temporary_prefix(path: Path) -> str:
    """Return how the names of the temporary files beside a path begin."""
    return f".{path.name}.new-"


def write(path: Path, file: File) -> None:
    """Put a file in place so that a reader, or a power cut, meets the old or the new one and never a part."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=temporary_prefix(path))
    try:
        with os.fdopen(handle, "wb") as stream:
            # A directory may hand its group on.
            os.fchown(stream.fileno(), os.geteuid(), os.getegid())
            os.fchmod(stream.fileno(), file.mode)
            stream.write(file.content)
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def remove_leftovers(paths: Iterable[Path]) -> None:
    """Remove the temporary files of runs that were killed while they wrote these paths."""
    for path in paths:
        if path.parent.is_dir():
            for leftover in path.parent.iterdir():
                if leftover.name.startswith(temporary_prefix(path)):
                    leftover.unlink(missing_ok=True)


def digest_of(entries: Iterable[tuple[str, int, str]]) -> str:
    """Return a digest of files, each given as its path, its mode and the SHA-256 of its content."""
    return hashlib.sha256(json.dumps(sorted(entries)).encode()).hexdigest()


def set_digest(files: Mapping[Path, File]) -> str:
    """Return a digest of paths, modes and contents."""
    return digest_of((str(path), file.mode, file.digest()) for path, file in files.items())


class LastKnownGood:
    """The files with which a service was last healthy, in a directory of their own, one copy each.

    The record names the directory of the copies and is replaced last, so that a run that is killed leaves the set as it
    was. While a deployment is under way, the record has no digest: whatever is found then may run, or may not.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.record: dict[str, Any] | None = None
        self._before: dict[str, Any] | None = None
        try:
            self.record = json.loads((directory / RECORD).read_text(encoding="utf-8"))
        except FileNotFoundError:
            pass
        except ValueError as error:
            raise FilesError(
                f"{directory / RECORD}: it is damaged ({error}). Remove {directory} and run again"
            ) from error

    @property
    def committed(self) -> str:
        """The digest of the files that were committed; an empty string if there are none, or if others may run."""
        return str((self.record or {}).get("digest", ""))

    @property
    def config_hash(self) -> str:
        """What Compose wrote at the container that was healthy with the set; an empty string if that is not known."""
        return str((self.record or {}).get("config_hash", ""))

    @property
    def exists(self) -> bool:
        """Whether there is a set to return to."""
        return bool(self._copies)

    @property
    def _copies(self) -> str:
        """The name of the directory of the copies. Records of version 0.2 call it by the digest."""
        record = self.record or {}
        return str(record.get("copies", record.get("digest", "")[:12]))

    def paths(self) -> list[Path]:
        """Return the paths of the set."""
        return [Path(name) for name in (self.record or {}).get("files", {})]

    def files(self) -> dict[Path, File]:
        """Return the set by path; raise FilesError if a copy is missing or was changed."""
        found: dict[Path, File] = {}
        for name, noted in (self.record or {}).get("files", {}).items():
            copy = self._copy_of(self._copies, Path(name))
            file = read(copy)
            if file is None or file.digest() != noted["sha256"]:
                raise FilesError(f"{copy}: the copy of {name} is missing or was changed. Restore {name} by hand")
            found[Path(name)] = File(file.content, int(noted["mode"], 8))
        return found

    def holds(self, files: Mapping[Path, File]) -> bool:
        """Return whether exactly these files were committed, and no deployment has begun since."""
        noted = (self.record or {}).get("files", {})
        listed = [(name, int(entry["mode"], 8), entry["sha256"]) for name, entry in noted.items()]
        return bool(self.committed) and digest_of(listed) == set_digest(files)

    def begin(self) -> None:
        """Note that other files than those of the set may run from now on."""
        self._before = self.record
        if self.record is None or self.committed:
            files = (self.record or {}).get("files", {})
            self._replace_record({"digest": "", "copies": self._copies, "files": files})

    def abandon(self) -> None:
        """Take the note back, since nothing but the set's files was started after all."""
        if self._before is not None and self._before != self.record:
            self._replace_record(self._before)

    def commit(self, files: Mapping[Path, File], extra: Mapping[Path, File], config_hash: str = "") -> None:
        """Make these files the set; the digest is that of C(files) alone, which others know as well."""
        both = {**files, **extra}
        copies = set_digest(both)[:12]
        make_directory(self.directory.parent, 0o700)
        make_directory(self.directory, 0o700)
        remove_leftovers(self._copy_of(copies, path) for path in both)
        for path, file in both.items():
            copy = self._copy_of(copies, path)
            copy.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write(copy, File(file.content, 0o600))
        noted = {str(path): {"sha256": file.digest(), "mode": f"{file.mode:04o}"} for path, file in both.items()}
        self._replace_record(
            {"digest": set_digest(files), "copies": copies, "config_hash": config_hash, "files": noted}
        )
        for entry in self.directory.iterdir():
            if entry.is_dir() and entry.name != copies:
                shutil.rmtree(entry)

    def _copy_of(self, copies: str, path: Path) -> Path:
        return self.directory / copies / str(path).lstrip("/")

    def _replace_record(self, record: dict[str, Any]) -> None:
        make_directory(self.directory.parent, 0o700)
        make_directory(self.directory, 0o700)
        remove_leftovers([self.directory / RECORD])
        write(self.directory / RECORD, File(json.dumps(record, indent=1).encode(), 0o600))
        self.record = record


def make_directory(path: Path, mode: int, owner: tuple[int, int] = (-1, -1), *, follow: bool = False) -> None:
    """Make a directory with a mode and an owner, and those above it so that everybody may enter them.

    Raise FilesError if something else is there; a link to a directory is as well, unless C(follow).
    """
    for parent in reversed(path.parents):
        if not parent.exists():
            parent.mkdir()
            _own(parent, 0o755, (-1, -1), follow=False)
    with contextlib.suppress(FileExistsError):
        path.mkdir()
    _own(path, mode, owner, follow=follow)


def _own(path: Path, mode: int, owner: tuple[int, int], *, follow: bool) -> None:
    # Through a descriptor: who may write to the directory above can put a link in its place at any moment.
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | (0 if follow else os.O_NOFOLLOW))
    except OSError as error:
        problem = no_directory(path, follow=follow)
        if problem:
            raise FilesError(problem) from error
        raise
    try:
        if owner != (-1, -1):
            os.fchown(descriptor, *owner)
        os.fchmod(descriptor, mode)
    finally:
        os.close(descriptor)


def no_directory(path: Path, *, follow: bool = False) -> str:
    """Return why no directory can be at a path, and what to do; an empty string if there is one, or nothing."""
    if path.is_symlink() and not (follow and path.is_dir()):
        return f"{path}: is a symbolic link. Remove it and run again"
    if path.exists() and not path.is_dir():
        return f"{path}: is not a directory. Move it away and run again"
    return ""


def preserve_env(content: bytes, values: Mapping[str, str]) -> bytes:
    """Return an environment file with these values for the variables that it has among them."""
    lines = []
    for line in content.decode().splitlines():
        name = line.split("=", 1)[0]
        lines.append(f"{name}='{values[name]}'" if name in values else line)
    return "".join(f"{line}\n" for line in lines).encode()


def masked_lines(text: str, every: bool, public: Collection[str] = ()) -> list[str]:
    """Return the lines of a file with secret values masked: of names that sound secret, or of all but public names."""
    lines = []
    for line in text.splitlines(keepends=True):
        match = SETTING.match(line.rstrip("\n"))
        if match and (
            not (match["name"] in public and not SECRET_SETTING.search(line))
            if every
            else SECRET_NAME.search(match["name"]) and not match["value"].startswith("${")
        ):
            # The value stays behind the mask for a comparison: a hash could be searched for.
            lines.append(f"{match['start']}{MASK}{match['value']}")
        else:
            lines.append(line.rstrip("\n"))
    return lines


def shown(before: bytes, after: bytes, every: bool, public: Collection[str] = ()) -> tuple[str, str]:
    """Return both texts for a diff, without any secret value; those that differ are marked."""
    old = masked_lines(before.decode(errors="replace"), every, public)
    new = masked_lines(after.decode(errors="replace"), every, public)

    def hide(lines: list[str], others: list[str], word: str) -> str:
        known = set(others)
        return "".join(
            f"{line.split(MASK, 1)[0]}{MASK if line in known else f'{MASK} ({word})'}\n"
            if MASK in line
            else f"{line}\n"
            for line in lines
        )

    return hide(old, new, "old"), hide(new, old, "changed")


def secret_values(text: str) -> set[str]:
    """Return the values in an environment or YAML file whose names sound secret, as they are and out of Base64."""
    values: set[str] = set()
    for line in text.splitlines():
        match = SETTING.match(line)
        if match and SECRET_NAME.search(match["name"]):
            value = match["value"].strip("'\"")
            values.add(value)
            try:
                values.add(base64.b64decode(value, validate=True).decode())
            except (binascii.Error, ValueError):
                continue
    return {value for value in values if len(value) >= SHORTEST_MASKED and not value.startswith("${")}


def mask(text: str, values: Iterable[str]) -> str:
    """Return a text in which these values are asterisks, the longest first."""
    for value in sorted(values, key=len, reverse=True):
        text = text.replace(value, MASK)
    return text
