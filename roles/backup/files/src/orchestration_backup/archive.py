# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tar archives of formats 1 and 2, which this program only reads. It does not run Docker or PostgreSQL here.

An archive is a tar of `manifest.json`, a `pg_dump` of each database and a compressed tar of each group of files. It may
be encrypted. Every byte of it is checked, in memory that depends neither on the number nor on the size of its files.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import shutil
import tarfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any

from . import manifest as manifests
from . import space
from .config import Config
from .encryption import decrypted
from .errors import BackupError, refuse
from .files import CHUNK
from .manifest import MANIFEST
from .process import pipe

MANIFEST_LIMIT = 16 * 1024 * 1024
NAME = re.compile(r"orchestration-([0-9]{8}T[0-9]{6}Z)\.tar(\.age|\.gpg)?")
DUMP_MAGIC = b"PGDMP"
SMALL = 64 * 1024
"""How much of a compressed tar is inflated at once. What is left of it is copied for each member."""
LOOK_EVERY = 256 * 1024 * 1024
"""After how many bytes the free space is looked at again. Compressed files may be of any size."""


class HashingReader:
    """A stream that is hashed and counted while it is read."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream = stream
        self.digest = hashlib.sha256()
        self.size = 0

    def read(self, size: int = -1) -> bytes:
        """Read up to so many bytes; all by default."""
        data = self.stream.read(size)
        self.digest.update(data)
        self.size += len(data)
        return data


@dataclass
class Destination:
    """Where the dumps and the files of an archive are unpacked."""

    dumps: Path
    place: Callable[[PurePosixPath], Path]
    config: Config
    directories: list[tuple[Path, int, int, int, float]] = field(default_factory=list)
    written: int = LOOK_EVERY

    def wrote(self, size: int) -> None:
        """Look at the free space now and then."""
        self.written += size
        if self.written >= LOOK_EVERY:
            self.written = 0
            space.require(self.config, {self.dumps: LOOK_EVERY}, "the rest of the archive")

    def finish(self) -> None:
        """Set the owner, mode and time of directories, after everything is in them."""
        for directory, owner, group, mode, time in reversed(self.directories):
            set_metadata(directory, owner, group, mode, time)


class Archive:
    """An archive, for commands that read a backup."""

    def __init__(self, config: Config, path: Path, identity: Path | None) -> None:
        self.config, self.path, self.identity = config, path, identity
        self.name = str(path)

    def __str__(self) -> str:
        return self.name

    def check(self, *, read_data: bool = False) -> dict[str, Any]:
        """Check every byte, in any case, and return the manifest."""
        return scan(self.config, self.path, self.identity)

    def unpack(self, dumps: Path, place: Callable[[str], Path]) -> dict[str, Any]:
        """Write the dumps to a directory and the files to their places, and return the manifest."""
        items = self.config.files

        def target(member: PurePosixPath) -> Path:
            item = next(item for item in items if member.is_relative_to(item))
            return place(item) / member.relative_to(item)

        destination = Destination(dumps, target, self.config)
        manifest = scan(self.config, self.path, self.identity, destination)
        destination.finish()
        return manifest


def read_manifest(config: Config, path: Path, stream: IO[bytes] | None, size: int) -> dict[str, Any]:
    """Return the manifest; raise BackupError if this program does not understand it."""
    if stream is None or size > MANIFEST_LIMIT:
        refuse(path, f"{MANIFEST} is not a file, or is too large")
    manifest = manifests.read(path, stream.read())
    parts = manifest.get("parts")
    if not isinstance(parts, dict) or not config.dumps.keys() < parts.keys():
        refuse(path, "its manifest does not list the parts of a backup")
    for name, part in parts.items():
        if (
            not isinstance(part, dict)
            or not isinstance(part.get("size"), int)
            or not re.fullmatch("[0-9a-f]{64}", str(part.get("sha256")))
        ):
            refuse(path, f"its manifest has no size and hash of {name}")
    return manifest


def members(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Yield the members of a tar stream, without keeping them in memory."""
    for entry in tar:
        yield entry
        tar.members.clear()  # type: ignore[attr-defined]  # which typeshed lacks


def scan(
    config: Config, path: Path, identity: Path | None = None, destination: Destination | None = None
) -> dict[str, Any]:
    """Check every byte of an archive, unpack it if there is a destination, and return its manifest.

    Raise BackupError for an archive that is damaged, foreign, of a newer format, or points outside its own directories.
    """
    if not path.is_file():
        raise BackupError(f"{path}: does not exist. Name an archive that exists")
    manifest: dict[str, Any] | None = None
    seen: set[str] = set()
    try:
        with decrypted(path, identity) as stream, tarfile.open(fileobj=stream, mode="r|", bufsize=CHUNK) as tar:
            for entry in members(tar):
                if not entry.isfile():
                    refuse(path, f"{entry.name!r} is not a regular file")
                content = tar.extractfile(entry)
                if manifest is None:
                    if entry.name != MANIFEST:
                        refuse(path, f"it does not begin with {MANIFEST}, so it is not a backup of this program")
                    manifest = read_manifest(config, path, content, entry.size)
                    continue
                if entry.name in seen or entry.name not in manifest["parts"]:
                    refuse(path, f"{entry.name!r} is not in its manifest, or is in the archive twice")
                seen.add(entry.name)
                hashing = HashingReader(pipe(content))
                read_part(config, path, entry.name, hashing, destination)
                expected = manifest["parts"][entry.name]
                if (hashing.size, hashing.digest.hexdigest()) != (expected["size"], expected["sha256"]):
                    refuse(path, f"{entry.name} is damaged: its size or hash differs from the manifest")
    except (tarfile.TarError, zlib.error, EOFError, ValueError) as error:
        refuse(path, f"it is damaged ({error})")
    except OSError as error:
        refuse(path, f"it cannot be read or unpacked ({error})")
    if manifest is None:
        refuse(path, "it is empty")
    missing = sorted(manifest["parts"].keys() - seen)
    if missing:
        refuse(path, f"it is incomplete: {', '.join(missing)} is missing")
    return manifest


def read_part(config: Config, path: Path, name: str, stream: HashingReader, destination: Destination | None) -> None:
    """Read one part to its end: a dump, or a tar of files."""
    if name not in config.dumps:
        with (
            # typeshed wants more of a file than GzipFile reads.
            gzip.GzipFile(fileobj=stream) as inflated,  # type: ignore[call-overload]
            tarfile.open(fileobj=inflated, mode="r|", bufsize=SMALL) as tar,
        ):
            for entry in members(tar):
                target = member_path(config, path, name, entry)
                if destination:
                    unpack(tar, entry, destination.place(target), destination)
        while stream.read(CHUNK):
            pass
        return
    head = stream.read(len(DUMP_MAGIC))
    if head != DUMP_MAGIC:
        refuse(path, f"{name} is not a dump of pg_dump")
    sink: IO[bytes]
    with (destination.dumps / name).open("wb") if destination else open(os.devnull, "wb") as sink:  # noqa: PTH123
        sink.write(head)
        while data := stream.read(CHUNK):
            if destination:
                destination.wrote(len(data))
            sink.write(data)


def member_path(config: Config, path: Path, part: str, entry: tarfile.TarInfo) -> PurePosixPath:
    """Return the path of a member, with its present name; raise BackupError for a link or a member of another part."""
    target = PurePosixPath(entry.name)
    if not (entry.isfile() or entry.isdir()):
        refuse(path, f"{entry.name!r} in {part} is a link or a device")
    if target.is_absolute() or ".." in target.parts:
        refuse(path, f"{entry.name!r} in {part} points outside the archive")
    for old, new in config.former_names.items():
        if target.is_relative_to(old):
            target = new / target.relative_to(old)
    if not any(target.is_relative_to(item) for item in config.files):
        refuse(path, f"{entry.name!r} does not belong in {part}")
    return target


def unpack(tar: tarfile.TarFile, entry: tarfile.TarInfo, target: Path, destination: Destination) -> None:
    """Write one member with its owner, mode and time. Those of directories are set later, by `finish`."""
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if entry.isdir():
        target.mkdir(mode=0o700, exist_ok=True)
        destination.directories.append((target, entry.uid, entry.gid, entry.mode, entry.mtime))
        return
    destination.wrote(entry.size)
    source = pipe(tar.extractfile(entry))
    # Never through an existing file or link. So an archive that contains a path twice is refused.
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        shutil.copyfileobj(source, stream, CHUNK)
    set_metadata(target, entry.uid, entry.gid, entry.mode, entry.mtime)


def set_metadata(target: Path, owner: int, group: int, mode: int, time: float) -> None:
    """Set the owner, mode and time of a file or directory."""
    os.chown(target, owner, group)
    target.chmod(mode & 0o777)
    os.utime(target, (time, time))
