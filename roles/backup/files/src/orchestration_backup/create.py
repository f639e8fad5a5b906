# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Create an archive: dump the databases, copy the files, and remove old archives. Nothing else on the host changes."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import stat
import subprocess
import tarfile
import tempfile
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import IO, Any

from . import compose, process
from .archive import FORMAT, KIND, MANIFEST, NAME, counts, list_archives
from .config import Config
from .encryption import encrypted, encryption_command
from .errors import BackupError
from .files import CHUNK, describe, iso_time, now, write_private
from .restore import require_no_interrupted_restore


class Snapshot:
    """A consistent snapshot of one database: the number of rows of each table, and the dump of the same state."""

    def __init__(self, config: Config, database: str) -> None:
        self.database = database
        self.command = ["docker", "compose", "exec", "-T", compose.POSTGRES]
        self.config = config

    def __enter__(self) -> Snapshot:
        self.errors = tempfile.TemporaryFile()
        self.process = subprocess.Popen(  # noqa: S603
            [*self.command, *compose.PSQL, "-d", self.database],
            cwd=self.config.root,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
        )
        self.queries, self.answers = process.pipe(self.process.stdin), process.pipe(self.process.stdout)
        try:
            (self.id,) = self.query("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;\nSELECT pg_export_snapshot();\n")
            self.rows = compose.parse_rows(self.query(compose.COUNT_ROWS))
        except BaseException:
            self.__exit__()
            raise
        return self

    def query(self, text: str) -> list[str]:
        """Send a query and return the lines of the answer; raise BackupError with PostgreSQL's error."""
        with contextlib.suppress(BrokenPipeError):
            self.queries.write(f"{text}\\echo end of answer\n")
            self.queries.flush()
        lines: list[str] = []
        for line in self.answers:
            if line == "end of answer\n":
                return lines
            lines.append(line.rstrip("\n"))
        raise BackupError(f"database {self.database}: {process.error_output(self.errors)}")

    def dump(self, path: Path) -> None:
        """Write the database in pg_dump's custom format."""
        options = ["-Fc", "--lock-wait-timeout=60s", "--snapshot", self.id, "-U", "postgres", "-d", self.database]
        with path.open("wb") as target:
            process.run([*self.command, "pg_dump", *options], cwd=self.config.root, target=target)

    def __exit__(self, *_exception: object) -> None:
        with contextlib.suppress(BrokenPipeError):
            self.queries.close()
        self.answers.close()
        self.process.wait()
        self.errors.close()


def pack(root: Path, items: tuple[str, ...], path: Path) -> dict[str, int]:
    """Write files and directories below the root to a compressed tar; return how many files it has and leaves out.

    It leaves out what is not a file or a directory: sockets, and links, which a restore refuses.
    Raise BackupError if a file shrinks while it is read.
    """
    found = {"files": 0, "left_out": 0}

    def add(archive: tarfile.TarFile, source: Path) -> None:
        # A file that is removed while its directory is read does not exist at the end of the backup either.
        try:
            state = source.lstat()
            if stat.S_ISDIR(state.st_mode):
                children = sorted(source.iterdir())
                archive.addfile(member(archive, source))
                for child in children:
                    add(archive, child)
            elif stat.S_ISREG(state.st_mode):
                with source.open("rb") as stream:
                    archive.addfile(member(archive, source, os.fstat(stream.fileno()).st_size), stream)
                found["files"] += 1
            else:
                found["left_out"] += 1
        except FileNotFoundError:
            return

    def member(archive: tarfile.TarFile, source: Path, size: int = 0) -> tarfile.TarInfo:
        entry = archive.gettarinfo(source, str(source.relative_to(root)))
        entry.size = size
        # A hard link is written as a file.
        entry.type, entry.linkname = tarfile.DIRTYPE if entry.isdir() else tarfile.REGTYPE, ""
        return entry

    with tarfile.open(path, "w:gz", compresslevel=4, format=tarfile.PAX_FORMAT) as archive:
        for item in items:
            try:
                add(archive, root / item)
            except OSError as error:
                raise BackupError(
                    f"{root / item}: changed while it was read ({error}). Try again, or set backup_pause"
                ) from error
    return found


def collect(config: Config, directory: Path) -> dict[str, Any]:
    """Write the parts of an archive to a directory and return its manifest."""
    manifest: dict[str, Any] = {
        "kind": KIND,
        "format": FORMAT,
        "created": iso_time(now()),
        "host": socket.gethostname(),
        "root": str(config.root),
        "images": compose.images(config),
        # The archive contains the password of this user.
        "kestra_username": config.kestra.username,
        "databases": {},
        "parts": {},
    }
    with compose.paused(config):
        for name, database in config.dumps.items():
            with Snapshot(config, database.name) as snapshot:
                snapshot.dump(directory / name)
                (version,) = snapshot.query("SHOW server_version;\n")
            manifest["databases"][database.name] = {"server": version.split()[0], "rows": snapshot.rows}
            manifest["parts"][name] = describe(directory / name)
        # After the databases, so that the files contain whatever a row refers to.
        for name, items in config.trees.items():
            found = pack(config.root, items, directory / name)
            manifest["parts"][name] = describe(directory / name) | found
    return manifest


def create(config: Config) -> dict[str, Any]:
    """Create an archive, remove old ones, and return the record of the last backup."""
    require_no_interrupted_restore(config)
    compose_file = config.root / config.compose_file
    if not compose_file.is_file():
        raise BackupError(
            f"{compose_file}: does not exist, so this host has nothing to back up. Run playbooks/site.yml first"
        )
    require_data(config)
    config.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    suffix = "" if config.encryption == "none" else f".{config.encryption}"
    with tempfile.TemporaryDirectory(dir=config.directory, prefix=".creating-") as temporary:
        directory = Path(temporary)
        command = encryption_command(config, directory)
        parts = directory / "parts"
        parts.mkdir()
        manifest = collect(config, parts)
        archive = config.directory / f"orchestration-{manifest['created'].translate({45: None, 58: None})}.tar{suffix}"
        whole = directory / "archive"
        with whole.open("wb") as stream:
            write_archive(stream, parts, manifest, command)
            stream.flush()
            os.fsync(stream.fileno())
        if archive.exists():
            raise BackupError(f"{archive}: already exists. Try again in a second")
        record = {
            "finished": iso_time(now()),
            "archive": str(archive),
            **describe(whole),
            "verified": None,
            "counts": counts(manifest),
        }
        whole.replace(archive)
    write_private(config.last, json.dumps(record, indent=2))
    record["removed"] = [path.name for path in expired(config, now())]
    for name in record["removed"]:
        (config.directory / name).unlink()
    return record


def require_data(config: Config) -> None:
    """Raise BackupError if a service has no data: an archive without them would replace good ones in time."""
    for service, data in config.data.items():
        path = config.root / data
        if (config.root / config.services_directory / f"{service}.yml").is_file() and not path.exists():
            raise BackupError(
                f"{path}: does not exist, so the data of {service} are missing, and no archive was written or removed."
                " Mount the disk that has them, or restore an archive with playbooks/restore.yml"
            )


def write_archive(stream: IO[bytes], parts: Path, manifest: dict[str, Any], command: list[str]) -> None:
    """Write manifest and parts as one tar, through the command that encrypts, if there is one."""
    (parts / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    with (
        encrypted(stream, command) as target,
        tarfile.open(fileobj=target, mode="w|", bufsize=CHUNK, format=tarfile.PAX_FORMAT) as tar,
    ):
        for name in (MANIFEST, *manifest["parts"]):
            entry = tarfile.TarInfo(name)
            entry.size = (parts / name).stat().st_size
            entry.mode = 0o600
            entry.mtime = int(time.time())
            with (parts / name).open("rb") as source:
                tar.addfile(entry, source)
            (parts / name).unlink()


def expired(config: Config, moment: datetime) -> list[Path]:
    """Return the archives that are neither among the newest `keep` nor younger than `keep_days`."""
    limit = moment - timedelta(days=config.keep_days)

    def created(path: Path) -> datetime:
        match = NAME.fullmatch(path.name)
        return datetime.strptime(match[1] if match else "", "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc)

    return [path for path in list_archives(config)[: -config.keep] if created(path) < limit]
