# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The format of an archive, and the reader that checks every byte of it. It does not run Docker or PostgreSQL.

An archive is a tar of `manifest.json`, a `pg_dump` of each database and a compressed tar of each group of files.
Formats 1 and 2 differ only in the names of files: see `former_names` of the configuration.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tarfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any

from .config import Config
from .encryption import decrypted
from .errors import BackupError, refuse
from .files import CHUNK
from .process import pipe

KIND = "devorch.orchestration backup"
FORMAT = 2
MANIFEST = "manifest.json"
MANIFEST_LIMIT = 16 * 1024 * 1024
NAME = re.compile(r"orchestration-([0-9]{8}T[0-9]{6}Z)\.tar(\.age|\.gpg)?")
DUMP_MAGIC = b"PGDMP"


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
    """Where the dumps and the files of an archive are unpacked. Without `tree`, the files are only checked."""

    dumps: Path
    tree: Callable[[PurePosixPath], Path] | None = None
    directories: list[tuple[Path, tarfile.TarInfo]] = field(default_factory=list)

    def finish(self) -> None:
        """Set the owner, mode and time of directories, after everything is in them."""
        for directory, entry in reversed(self.directories):
            set_metadata(directory, entry)


def read_manifest(config: Config, path: Path, stream: IO[bytes] | None, size: int) -> dict[str, Any]:
    """Return the manifest; raise BackupError if this program does not understand it."""
    if stream is None or size > MANIFEST_LIMIT:
        refuse(path, f"{MANIFEST} is not a file, or is too large")
    try:
        manifest = json.loads(stream.read())
    except ValueError:
        refuse(path, f"{MANIFEST} is not JSON")
    if not isinstance(manifest, dict) or manifest.get("kind") != KIND:
        refuse(path, "it is not a backup of an orchestration host")
    if not isinstance(manifest.get("format"), int) or manifest["format"] < 1:
        refuse(path, "its format is not a number")
    if manifest["format"] > FORMAT:
        refuse(
            path,
            f"its format {manifest['format']} is newer than {FORMAT}. Use the collection that made it, or a newer one",
        )
    parts = manifest.get("parts")
    if not isinstance(parts, dict) or set(parts) != {*config.trees, *config.dumps}:
        refuse(path, "its manifest does not list the parts of a backup")
    for name, part in parts.items():
        if (
            not isinstance(part, dict)
            or not isinstance(part.get("size"), int)
            or not re.fullmatch("[0-9a-f]{64}", str(part.get("sha256")))
        ):
            refuse(path, f"its manifest has no size and hash of {name}")
    return manifest


def scan(
    config: Config, path: Path, identity: Path | None = None, destination: Destination | None = None
) -> dict[str, Any]:
    """Check every byte of an archive, unpack it if there is a destination, and return its manifest.

    Raise BackupError for an archive that is damaged, foreign, of a newer format, or points outside its own directories.
    """
    if not path.is_file():
        raise BackupError(f"{path}: does not exist. Name an archive that exists; the command list shows them")
    manifest: dict[str, Any] | None = None
    seen: set[str] = set()
    try:
        with decrypted(path, identity) as stream, tarfile.open(fileobj=stream, mode="r|", bufsize=CHUNK) as tar:
            for entry in tar:
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
    if name in config.trees:
        with tarfile.open(fileobj=stream, mode="r|gz", bufsize=CHUNK) as tar:  # type: ignore[call-overload]
            for entry in tar:
                target = member_path(config, path, name, entry)
                if destination and destination.tree:
                    unpack(tar, entry, destination.tree(target), destination)
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
    if not any(target.is_relative_to(item) for item in config.trees[part]):
        refuse(path, f"{entry.name!r} does not belong in {part}")
    return target


def unpack(tar: tarfile.TarFile, entry: tarfile.TarInfo, target: Path, destination: Destination) -> None:
    """Write one member with its owner, mode and time. Those of directories are set later, by `finish`."""
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if entry.isdir():
        target.mkdir(mode=0o700, exist_ok=True)
        destination.directories.append((target, entry))
        return
    source = pipe(tar.extractfile(entry))
    # Never through an existing file or link. So an archive that contains a path twice is refused.
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        shutil.copyfileobj(source, stream, CHUNK)
    set_metadata(target, entry)


def set_metadata(target: Path, entry: tarfile.TarInfo) -> None:
    """Set the owner, mode and time of a file or directory."""
    os.chown(target, entry.uid, entry.gid)
    target.chmod(entry.mode & 0o777)
    os.utime(target, (entry.mtime, entry.mtime))


def counts(manifest: dict[str, Any]) -> dict[str, int]:
    """Return the numbers of workflows, credentials, rows and files in an archive."""
    tables = [database["rows"] for database in manifest["databases"].values()]
    return {
        # Tables of n8n.
        "workflows": sum(rows.get("public.workflow_entity", 0) for rows in tables),
        "credentials": sum(rows.get("public.credentials_entity", 0) for rows in tables),
        "rows": sum(sum(rows.values()) for rows in tables),
        "files": sum(part.get("files", 0) for part in manifest["parts"].values()),
    }


def summary(path: Path, manifest: dict[str, Any]) -> dict[str, Any]:
    """Return the description of an archive that commands print."""
    versions = {name: image["version"] for name, image in manifest["images"].items()}
    origin = {key: manifest[key] for key in ("created", "host", "root")}
    return {"archive": str(path), **origin, "versions": versions, "counts": counts(manifest)}


def list_archives(config: Config) -> list[Path]:
    """Return the archives in the directory, oldest first."""
    if not config.directory.is_dir():
        return []
    return sorted(path for path in config.directory.iterdir() if NAME.fullmatch(path.name) and path.is_file())
