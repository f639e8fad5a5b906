# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Back up, check, restore and verify an orchestration host: its databases, files, secrets and configuration.

An archive is a tar of `manifest.json`, a `pg_dump` of each database and a compressed tar of each group of files.
Nothing is needed but Python's standard library, Docker, and age or gpg for encrypted archives. Every command prints
one line of JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tarfile
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import IO, Any, AnyStr, NoReturn

KIND = "devorch.orchestration backup"
FORMAT = 1
MANIFEST = "manifest.json"
MANIFEST_LIMIT = 16 * 1024 * 1024
CHUNK = 1024 * 1024
DATABASES = ("kestra", "n8n")
ENGINES = ("kestra", "n8n")
SERVICES = ("postgres", *ENGINES)
# What each part of an archive holds, as paths below the root.
TREES: dict[str, tuple[str, ...]] = {
    "configuration.tar.gz": ("secrets", "env", "services", "kestra-config", "former", "versions", "compose.yml"),
    "kestra.tar.gz": ("data/kestra",),
    "n8n.tar.gz": ("data/n8n",),
    # Jobs are about instances of the host.
    "sidecar.tar.gz": ("sidecar-data/environments",),
}
ITEMS = tuple(item for items in TREES.values() for item in items)
CLUSTER = "data/postgres"
NAME = re.compile(r"orchestration-[0-9]{8}T[0-9]{6}Z\.tar(\.age|\.gpg)?")
DUMP_MAGIC = b"PGDMP"
FREEZE_TIMEOUT = THAW_TIMEOUT = 60
WATCHDOG = "orchestration-watchdog.timer"
LONGEST_WAIT = 6 * 3600
"""Seconds that the nightly backup waits for others; it is better late than left out."""
POLL = 2
# The exact number of rows of each table, in the transaction that the dump is made of as well.
COUNT_ROWS = r"""
SELECT format('%s.%s', table_schema, table_name),
  (xpath('/row/c/text()', query_to_xml(
    format('SELECT count(*) AS c FROM %I.%I', table_schema, table_name), false, true, '')))[1]::text
FROM information_schema.tables
WHERE table_type = 'BASE TABLE' AND table_schema NOT IN ('pg_catalog', 'information_schema') ORDER BY 1;
"""
# An export activates no workflow. What is decrypted stays in the container's memory; its number is printed.
SCRATCH = "/scratch"
DECRYPT = f"""
n8n export:credentials --all --decrypted --output={SCRATCH}/credentials >{SCRATCH}/log 2>&1 || {{
  tail -n 5 {SCRATCH}/log >&2
  exit 1
}}
node -e 'const all = JSON.parse(require("fs").readFileSync("{SCRATCH}/credentials"));
console.log(all.filter((one) => one.data && typeof one.data === "object").length)'
"""


class BackupError(Exception):
    """Something that stops the command; the message says what, and the way out."""


@dataclass(frozen=True)
class Config:
    """What the role wrote: where everything is, what is kept, and for whom archives are encrypted."""

    root: Path
    directory: Path
    project: str
    host_lock: Path
    host_lock_expires: int
    keep: int = 7
    keep_days: int = 0
    pause: bool = False
    start_timeout: int = 600
    encryption: str = "none"
    recipients: tuple[str, ...] = ()

    @classmethod
    def read(cls, path: Path) -> Config:
        """Read the file; raise BackupError where it is unreadable."""
        try:
            fields = json.loads(path.read_text("utf-8"))
            fields |= {name: Path(fields[name]) for name in ("root", "directory", "host_lock")}
            fields["recipients"] = tuple(fields.get("recipients", ()))
            return cls(**fields)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BackupError(f"{path}: cannot be used ({error}). Run playbooks/backup.yml, which writes it") from error

    @property
    def last(self) -> Path:
        """Return the marker of the last backup that succeeded."""
        return self.root / "backups" / "last.json"

    @property
    def journal(self) -> Path:
        """Return the file that is there while a restore replaces the host's state."""
        return self.root / "backups" / "restore.json"


def run(
    command: list[str],
    *,
    cwd: Path | None = None,
    text: str | None = None,
    source: IO[bytes] | None = None,
    target: IO[bytes] | None = None,
    environment: dict[str, str] | None = None,
) -> str:
    """Run a command and return what it prints; raise BackupError with its last words where it fails."""
    with tempfile.TemporaryFile() as errors:
        try:
            done = subprocess.run(  # noqa: S603 - argument lists of this file only
                command,
                cwd=cwd,
                stdin=None if text is not None else source or subprocess.DEVNULL,
                input=None if text is None else text.encode(),
                stdout=target or subprocess.PIPE,
                stderr=errors,
                env=os.environ | (environment or {}),
                check=False,
            )
        except FileNotFoundError as error:
            raise BackupError(f"{command[0]} is not installed") from error
        if done.returncode != 0:
            errors.seek(0)
            said = errors.read().decode(errors="replace").strip().splitlines()[-12:]
            raise BackupError(f"{' '.join(command[:6])} ended with {done.returncode}: {' / '.join(said)}")
    return "" if target else done.stdout.decode(errors="replace").strip()


def pipe(stream: IO[AnyStr] | None) -> IO[AnyStr]:
    """Return a stream that was asked for."""
    if stream is None:
        raise BackupError("a stream is missing")
    return stream


def compose(config: Config, *arguments: str, **options: Any) -> str:
    """Run Docker Compose on the host's project; options are those of `run`."""
    return run(["docker", "compose", *arguments], cwd=config.root, **options)


def now() -> datetime:
    """Return the time in UTC, in whole seconds."""
    return datetime.now(UTC).replace(microsecond=0)


def stamp(moment: datetime) -> str:
    """Return a time as it stands in JSON, such as 2026-01-31T12:00:00Z."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def write_private(path: Path, text: str) -> None:
    """Write a file for root only, so that no reader ever sees a part of it."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


class BusyError(BackupError):
    """Somebody else works on this host; the message says who."""


@contextlib.contextmanager
def locked(config: Config) -> Iterator[None]:
    """Keep a second run out; playbooks wait until the lock is given back before they change the host."""
    directory = config.root / "backups"
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (directory / ".lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BusyError("another backup or restore runs on this host; wait until it has ended") from error
        yield


def refuse_playbook(config: Config) -> None:
    """Raise BusyError while a playbook holds the host, as the module host_lock writes it down."""
    try:
        told = json.loads(config.host_lock.read_text("utf-8"))
        owner, renewed = str(told["run"]["owner"]), float(told["renewed"])
        uptime = float(Path("/proc/uptime").read_text("ascii").split()[0])
    except (OSError, ValueError, KeyError, TypeError):
        return
    if 0 <= uptime - renewed <= config.host_lock_expires:
        raise BusyError(f"a playbook of {owner} changes this host")


@contextlib.contextmanager
def quiet(config: Config) -> Iterator[None]:
    """Keep others out from the first moment on at which nobody changes the host; raise BusyError where none comes.

    Whoever takes a lock looks at the other's afterwards, and a playbook waits while this one is held. So both are never
    at work, and neither waits for the other.
    """
    deadline = time.monotonic() + LONGEST_WAIT
    said = ""
    while True:
        try:
            with contextlib.ExitStack() as held:
                held.enter_context(locked(config))
                refuse_playbook(config)
                lock = held.pop_all()
        except BusyError as error:
            if time.monotonic() > deadline:
                raise
            if str(error) != said:
                said = str(error)
                print(f"orchestration-backup: waits, since {said}", file=sys.stderr, flush=True)
            time.sleep(POLL)
            continue
        with lock:
            yield
        return


# Writing an archive


class Snapshot:
    """One database at one moment: the rows of its tables, and a snapshot that `pg_dump` sees the same in."""

    def __init__(self, config: Config, database: str) -> None:
        self.database = database
        self.command = ["docker", "compose", "exec", "-T", "postgres"]
        self.config = config

    def __enter__(self) -> Snapshot:
        client = ["psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", self.database]
        self.errors = tempfile.TemporaryFile()
        self.process = subprocess.Popen(  # noqa: S603
            [*self.command, *client],
            cwd=self.config.root,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
        )
        self.questions, self.answers = pipe(self.process.stdin), pipe(self.process.stdout)
        try:
            (self.id,) = self.ask("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;\nSELECT pg_export_snapshot();\n")
            self.rows = parse_rows(self.ask(COUNT_ROWS))
        except BaseException:
            self.__exit__()
            raise
        return self

    def ask(self, query: str) -> list[str]:
        """Send a query and return its lines; raise BackupError with PostgreSQL's words."""
        with contextlib.suppress(BrokenPipeError):
            self.questions.write(f"{query}\\echo end of answer\n")
            self.questions.flush()
        lines: list[str] = []
        for line in self.answers:
            if line == "end of answer\n":
                return lines
            lines.append(line.rstrip("\n"))
        self.errors.seek(0)
        raise BackupError(f"database {self.database}: {self.errors.read().decode(errors='replace').strip()}")

    def dump(self, path: Path) -> None:
        """Write the database in pg_dump's own format."""
        options = ["-Fc", "--lock-wait-timeout=60s", "--snapshot", self.id, "-U", "postgres", "-d", self.database]
        with path.open("wb") as target:
            run([*self.command, "pg_dump", *options], cwd=self.config.root, target=target)

    def __exit__(self, *_exception: object) -> None:
        with contextlib.suppress(BrokenPipeError):
            self.questions.close()
        self.answers.close()
        self.process.wait()
        self.errors.close()


def parse_rows(lines: list[str]) -> dict[str, int]:
    """Return the answer of COUNT_ROWS as a dictionary."""
    return {name: int(count) for name, _bar, count in (line.rpartition("|") for line in lines if line)}


def pack(root: Path, items: tuple[str, ...], path: Path) -> dict[str, int]:
    """Write files and directories below the root to a compressed tar; return how many files, and how many not.

    Left out is what is no file or directory: sockets, and links, which a restore refuses.
    Raise BackupError where a file shrinks while it is read.
    """
    found = {"files": 0, "left_out": 0}

    def add(archive: tarfile.TarFile, source: Path) -> None:
        # What goes away while its directory is read is not there at the end of the backup either.
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
        # A second name of the same file is written as a file.
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


def describe(path: Path) -> dict[str, Any]:
    """Return size in bytes and SHA-256 of a file."""
    with path.open("rb") as stream:
        return {"size": path.stat().st_size, "sha256": hashlib.file_digest(stream, "sha256").hexdigest()}


def images(config: Config) -> dict[str, dict[str, str]]:
    """Return image, tag and the local image's digests of each service of the project."""
    services = json.loads(compose(config, "config", "--format", "json"))["services"]
    found = {}
    for name, service in sorted(services.items()):
        reference = service["image"]
        local = run(["docker", "image", "inspect", "--format", '{{join .RepoDigests " "}}', reference])
        found[name] = {"image": reference, "version": tag(reference), "digests": local}
    return found


def tag(reference: str) -> str:
    """Return the tag of an image's name."""
    name = reference.partition("@")[0].rpartition("/")[2]
    return name.partition(":")[2] or "latest"


def engines(config: Config, status: str) -> list[str]:
    """Return which of Kestra and n8n are C(running), or C(paused)."""
    found = compose(config, "ps", "--services", "--status", status).split()
    return [name for name in ENGINES if name in found]


def freeze(config: Config, wanted: list[str]) -> None:
    """Freeze services; raise BackupError where one does not freeze."""
    deadline = time.monotonic() + FREEZE_TIMEOUT
    while wanted:
        try:
            compose(config, "pause", *wanted)
            return
        except BackupError:
            # On a busy host with the first version of control groups runc gives up before all threads stand still.
            if time.monotonic() > deadline:
                raise
            time.sleep(POLL)
            wanted = [name for name in wanted if name not in engines(config, "paused")]


def thaw(config: Config, wanted: list[str]) -> None:
    """Let those of the services run again that are frozen, and wait until Docker takes them for healthy."""
    frozen = [name for name in engines(config, "paused") if name in wanted]
    if not frozen:
        return
    compose(config, "unpause", *frozen)
    deadline = time.monotonic() + THAW_TIMEOUT
    while "(unhealthy)" in compose(config, "ps", *frozen) and time.monotonic() < deadline:
        time.sleep(1)


@contextlib.contextmanager
def paused(config: Config) -> Iterator[None]:
    """Freeze Kestra and n8n, so that their files are those of one moment; afterwards they run, whatever happens."""
    wanted = engines(config, "running") if config.pause else []
    if not wanted:
        yield
        return
    # To Docker a frozen container is unhealthy until its next check, and the watchdog would restart it.
    watched = subprocess.run(["systemctl", "is-active", "--quiet", WATCHDOG], check=False).returncode == 0  # noqa: S603, S607
    if watched:
        run(["systemctl", "stop", WATCHDOG])
    try:
        try:
            freeze(config, wanted)
            yield
        finally:
            thaw(config, wanted)
    finally:
        if watched:
            run(["systemctl", "start", WATCHDOG])


def encryption(config: Config, directory: Path) -> list[str]:
    """Return the command that encrypts standard input for the recipients, none without encryption."""
    if config.encryption == "none":
        return []
    if not config.recipients:
        raise BackupError("backup_recipients: is empty, so nobody could read the archive. Name a public key")
    if config.encryption == "age":
        return ["age", "--encrypt", *(argument for key in config.recipients for argument in ("--recipient", key))]
    home = directory / "gpg"
    home.mkdir(mode=0o700)
    command = [
        "gpg",
        "--batch",
        "--quiet",
        "--no-options",
        "--homedir",
        str(home),
        "--trust-model",
        "always",
        "--encrypt",
    ]
    for number, key in enumerate(config.recipients):
        path = directory / f"recipient-{number}.asc"
        path.write_text(key, encoding="utf-8")
        command += ["--recipient-file", str(path)]
    return command


def collect(config: Config, directory: Path) -> dict[str, Any]:
    """Write the parts of an archive to a directory and return its manifest."""
    manifest: dict[str, Any] = {
        "kind": KIND,
        "format": FORMAT,
        "created": stamp(now()),
        "host": socket.gethostname(),
        "root": str(config.root),
        "images": images(config),
        "databases": {},
        "parts": {},
    }
    with paused(config):
        for database in DATABASES:
            name = f"{database}.dump"
            with Snapshot(config, database) as snapshot:
                snapshot.dump(directory / name)
                (version,) = snapshot.ask("SHOW server_version;\n")
            manifest["databases"][database] = {"server": version.split()[0], "rows": snapshot.rows}
            manifest["parts"][name] = describe(directory / name)
        # After the databases: what a row names is then in the files.
        for name, items in TREES.items():
            found = pack(config.root, items, directory / name)
            manifest["parts"][name] = describe(directory / name) | found
    return manifest


def create(config: Config) -> dict[str, Any]:
    """Write an archive, forget old ones, and return the marker of the last backup."""
    refuse_interrupted(config)
    if not (config.root / "compose.yml").is_file():
        raise BackupError(
            f"{config.root}/compose.yml is not there: this host holds nothing to back up. Run playbooks/site.yml first"
        )
    config.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    suffix = "" if config.encryption == "none" else f".{config.encryption}"
    with tempfile.TemporaryDirectory(dir=config.directory, prefix=".creating-") as temporary:
        directory = Path(temporary)
        command = encryption(config, directory)
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
            raise BackupError(f"{archive} is there already: try again in a second")
        marker = {
            "finished": stamp(now()),
            "archive": str(archive),
            **describe(whole),
            "verified": None,
            "counts": counts(manifest),
        }
        whole.replace(archive)
    write_private(config.last, json.dumps(marker, indent=2))
    marker["removed"] = [path.name for path in expired(config, now())]
    for name in marker["removed"]:
        (config.directory / name).unlink()
    return marker


def write_archive(stream: IO[bytes], parts: Path, manifest: dict[str, Any], command: list[str]) -> None:
    """Write manifest and parts as one tar, through the command that encrypts where there is one."""

    def add(target: IO[bytes]) -> None:
        (parts / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        with tarfile.open(fileobj=target, mode="w|", bufsize=CHUNK, format=tarfile.PAX_FORMAT) as tar:
            for name in (MANIFEST, *manifest["parts"]):
                entry = tarfile.TarInfo(name)
                entry.size = (parts / name).stat().st_size
                entry.mode = 0o600
                entry.mtime = int(time.time())
                with (parts / name).open("rb") as source:
                    tar.addfile(entry, source)
                (parts / name).unlink()

    if not command:
        add(stream)
        return
    with tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=stream, stderr=errors)  # noqa: S603
        except FileNotFoundError as error:
            raise BackupError(f"{command[0]} is not installed: run playbooks/backup.yml, which installs it") from error
        with contextlib.suppress(BrokenPipeError), pipe(process.stdin) as target:
            add(target)
        if process.wait() != 0:
            errors.seek(0)
            raise BackupError(f"{command[0]}: {errors.read().decode(errors='replace').strip()}")


def counts(manifest: dict[str, Any]) -> dict[str, int]:
    """Return what people count, from the rows of the tables and the files."""
    rows = {name: database["rows"] for name, database in manifest["databases"].items()}
    return {
        "workflows": rows["n8n"].get("public.workflow_entity", 0),
        "credentials": rows["n8n"].get("public.credentials_entity", 0),
        "rows": sum(sum(tables.values()) for tables in rows.values()),
        "files": sum(part.get("files", 0) for part in manifest["parts"].values()),
    }


def archives(config: Config) -> list[Path]:
    """Return the archives of the directory, the oldest first."""
    if not config.directory.is_dir():
        return []
    return sorted(path for path in config.directory.iterdir() if NAME.fullmatch(path.name) and path.is_file())


def expired(config: Config, moment: datetime) -> list[Path]:
    """Return the archives that are neither among the newest `keep` nor younger than `keep_days`."""
    limit = moment - timedelta(days=config.keep_days)

    def made(path: Path) -> datetime:
        return datetime.strptime(path.name[14:30], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)

    return [path for path in archives(config)[: -config.keep] if made(path) < limit]


# Reading an archive


class Hashing:
    """A stream that is hashed and counted while it is read."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream = stream
        self.digest = hashlib.sha256()
        self.size = 0

    def read(self, size: int = -1) -> bytes:
        """Read like a file."""
        data = self.stream.read(size)
        self.digest.update(data)
        self.size += len(data)
        return data


@dataclass
class Place:
    """Where the dumps and the files of an archive go; what has no place is only checked."""

    dumps: Path
    tree: Callable[[PurePosixPath], Path] | None = None
    made: list[tuple[Path, tarfile.TarInfo]] = field(default_factory=list)


@contextlib.contextmanager
def opened(path: Path, identity: Path | None) -> Iterator[IO[bytes]]:
    """Yield the archive as a tar, decrypted where its name says that it is encrypted."""
    if path.suffix not in (".age", ".gpg"):
        with path.open("rb") as stream:
            yield stream
        return
    if identity is None:
        raise BackupError(f"{path}: is encrypted. Give the private key: backup_identity in a playbook, --identity here")
    with tempfile.TemporaryDirectory(prefix="orchestration-") as home, tempfile.TemporaryFile() as errors:
        if path.suffix == ".age":
            command = ["age", "--decrypt", "--identity", str(identity), str(path)]
        else:
            gpg = ["gpg", "--batch", "--quiet", "--no-options", "--homedir", home]
            run([*gpg, "--import", str(identity)])
            command = [*gpg, "--decrypt", str(path)]
        try:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors)  # noqa: S603
        except FileNotFoundError as error:
            raise BackupError(f"{command[0]} is not installed: install the package of that name") from error
        output, refused = pipe(process.stdout), False
        try:
            yield output
            while output.read(CHUNK):
                pass
        except BackupError:
            refused = True
            raise
        finally:
            output.close()
            code = process.wait()
            if path.suffix == ".gpg":
                run(["gpgconf", "--homedir", home, "--kill", "all"])
            # What cannot be decrypted looks damaged, too; the program's own words tell why.
            if code > 0 and not refused:
                errors.seek(0)
                refuse(path, f"{command[0]} cannot decrypt it: {errors.read().decode(errors='replace').strip()}")


def refuse(path: Path, reason: str) -> NoReturn:
    """Raise BackupError about an archive."""
    raise BackupError(f"{path}: refused: {reason}")


def read_manifest(path: Path, stream: IO[bytes] | None, size: int) -> dict[str, Any]:
    """Return a manifest that this program understands; raise BackupError for any other."""
    if stream is None or size > MANIFEST_LIMIT:
        refuse(path, f"{MANIFEST} is no file of a sensible size")
    try:
        manifest = json.loads(stream.read())
    except ValueError:
        refuse(path, f"{MANIFEST} is no JSON")
    if not isinstance(manifest, dict) or manifest.get("kind") != KIND:
        refuse(path, "it is no backup of an orchestration host")
    if not isinstance(manifest.get("format"), int) or manifest["format"] < 1:
        refuse(path, "its format has no number")
    if manifest["format"] > FORMAT:
        refuse(
            path,
            f"its format {manifest['format']} is newer than {FORMAT}. Use the collection that made it, or a newer one",
        )
    parts = manifest.get("parts")
    if not isinstance(parts, dict) or set(parts) != {*TREES, *(f"{database}.dump" for database in DATABASES)}:
        refuse(path, "its manifest does not list the parts of a backup")
    for name, part in parts.items():
        if (
            not isinstance(part, dict)
            or not isinstance(part.get("size"), int)
            or not re.fullmatch("[0-9a-f]{64}", str(part.get("sha256")))
        ):
            refuse(path, f"its manifest has no size and hash of {name}")
    return manifest


def scan(path: Path, identity: Path | None = None, place: Place | None = None) -> dict[str, Any]:
    """Check every byte of an archive, unpack it where a place is given, and return its manifest.

    Raise BackupError for an archive that is damaged, foreign, of a newer format, or reaches out of its own directories.
    """
    if not path.is_file():
        raise BackupError(f"{path}: there is no such archive")
    manifest: dict[str, Any] | None = None
    seen: set[str] = set()
    try:
        with opened(path, identity) as stream, tarfile.open(fileobj=stream, mode="r|", bufsize=CHUNK) as tar:
            for entry in tar:
                if not entry.isfile():
                    refuse(path, f"{entry.name!r} is no regular file")
                content = tar.extractfile(entry)
                if manifest is None:
                    if entry.name != MANIFEST:
                        refuse(path, f"it does not begin with {MANIFEST}, so it is no backup of an orchestration host")
                    manifest = read_manifest(path, content, entry.size)
                    continue
                if entry.name in seen or entry.name not in manifest["parts"]:
                    refuse(path, f"{entry.name!r} is not in its manifest, or is there twice")
                seen.add(entry.name)
                hashing = Hashing(pipe(content))
                read_part(path, entry.name, hashing, place)
                expected = manifest["parts"][entry.name]
                if (hashing.size, hashing.digest.hexdigest()) != (expected["size"], expected["sha256"]):
                    refuse(path, f"{entry.name} is damaged: its size or hash is not that of the manifest")
    except (tarfile.TarError, zlib.error, EOFError, ValueError) as error:
        refuse(path, f"it is damaged ({error})")
    except OSError as error:
        refuse(path, f"it cannot be read or unpacked ({error})")
    if manifest is None:
        refuse(path, "it is empty")
    missing = sorted(manifest["parts"].keys() - seen)
    if missing:
        refuse(path, f"it is cut short: {', '.join(missing)} is missing")
    return manifest


def read_part(path: Path, name: str, stream: Hashing, place: Place | None) -> None:
    """Read one part to its end: a dump, or a tar of files."""
    if name in TREES:
        with tarfile.open(fileobj=stream, mode="r|gz", bufsize=CHUNK) as tar:  # type: ignore[call-overload]
            for entry in tar:
                target = checked(path, name, entry)
                if place and place.tree:
                    unpack(tar, entry, place.tree(target), place)
        while stream.read(CHUNK):
            pass
        return
    head = stream.read(len(DUMP_MAGIC))
    if head != DUMP_MAGIC:
        refuse(path, f"{name} is no dump of pg_dump")
    sink: IO[bytes]
    with (place.dumps / name).open("wb") if place else open(os.devnull, "wb") as sink:  # noqa: PTH123
        sink.write(head)
        while data := stream.read(CHUNK):
            sink.write(data)


def checked(path: Path, part: str, entry: tarfile.TarInfo) -> PurePosixPath:
    """Return the path of a member; raise BackupError where it is a link, or outside of what its part holds."""
    target = PurePosixPath(entry.name)
    if not (entry.isfile() or entry.isdir()):
        refuse(path, f"{entry.name!r} in {part} is a link or a device")
    if target.is_absolute() or ".." in target.parts:
        refuse(path, f"{entry.name!r} in {part} leads out of the archive")
    if not any(target.is_relative_to(item) for item in TREES[part]):
        refuse(path, f"{entry.name!r} does not belong into {part}")
    return target


def unpack(tar: tarfile.TarFile, entry: tarfile.TarInfo, target: Path, place: Place) -> None:
    """Write one member with its owner, mode and time; directories get theirs when everything is in them."""
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if entry.isdir():
        target.mkdir(mode=0o700, exist_ok=True)
        place.made.append((target, entry))
        return
    source = pipe(tar.extractfile(entry))
    # Never through something that is there: an archive that holds a path twice is refused by this.
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        shutil.copyfileobj(source, stream, CHUNK)
    finish(target, entry)


def finish(target: Path, entry: tarfile.TarInfo) -> None:
    """Give a file or directory its owner, mode and time."""
    os.chown(target, entry.uid, entry.gid)
    target.chmod(entry.mode & 0o777)
    os.utime(target, (entry.mtime, entry.mtime))


def numbers(version: str) -> tuple[int, ...]:
    """Return the numbers of a version, (2, 0, 5) for v2.0.5-slim."""
    match = re.match(r"v?(\d+(?:\.\d+)*)", version)
    return tuple(int(number) for number in match[1].split(".")) if match else ()


def compare_versions(path: Path, manifest: dict[str, Any], wanted: dict[str, str]) -> None:
    """Refuse an archive whose services are not those that the site wants, as far as data go.

    The same major version is needed, and not an older one: an upgrade is another matter than a restore.
    """
    for service, version in wanted.items():
        held = str(manifest["images"].get(service, {}).get("version", ""))
        old, new = numbers(held), numbers(version)
        if not old or not new:
            continue
        # 17 means any 17.x.
        shared = min(len(old), len(new))
        if new[0] != old[0] or new[:shared] < old[:shared]:
            refuse(
                path,
                f"it holds data of {service} {held}, and {service}_version is {version}. Set {service}_version to"
                f" {held}, restore, and then change versions with playbooks/upgrade.yml",
            )


def check(config: Config, path: Path, identity: Path | None, expected: dict[str, Any]) -> dict[str, Any]:
    """Check an archive against itself and against the site; return what it is."""
    manifest = scan(path, identity)
    compare(config, path, manifest, expected)
    return summary(path, manifest)


def compare(config: Config, path: Path, manifest: dict[str, Any], expected: dict[str, Any]) -> None:
    """Raise BackupError where an archive does not fit the host or what the site wants of it."""
    if manifest["root"] != str(config.root):
        refuse(
            path, f"it belongs to {manifest['root']}. Set orchestration_root to that, whose paths stand in its files"
        )
    compare_versions(path, manifest, expected.get("versions", {}))


def summary(path: Path, manifest: dict[str, Any]) -> dict[str, Any]:
    """Return what people want to know of an archive."""
    versions = {name: image["version"] for name, image in manifest["images"].items()}
    known = {key: manifest[key] for key in ("created", "host", "root")}
    return {"archive": str(path), **known, "versions": versions, "counts": counts(manifest)}


# Restoring


def beside(path: Path, word: str) -> Path:
    """Return the name beside a path at which its restored or former state waits: on the same file system."""
    return path.with_name(f".{path.name}.{word}")


def remove(path: Path) -> None:
    """Remove a file or a directory, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def refuse_interrupted(config: Config) -> None:
    """Raise BackupError where a restore was cut off: what is there is not what was there."""
    if config.journal.exists():
        raise BackupError(
            f"a restore was interrupted. '{sys.argv[0]} recover' puts the former state back; restore.yml does so too"
        )


def stage(config: Config, path: Path, identity: Path | None, expected: dict[str, Any]) -> tuple[dict[str, Any], Path]:
    """Unpack and check an archive beside the present state; return its manifest and the directory of the dumps."""
    dumps = config.root / "backups" / ".restoring"
    dumps.mkdir(mode=0o700)

    def target(member: PurePosixPath) -> Path:
        item = next(item for item in ITEMS if member.is_relative_to(item))
        return beside(config.root / item, "restored") / member.relative_to(item)

    place = Place(dumps, target)
    try:
        manifest = scan(path, identity, place)
        compare(config, path, manifest, expected)
        for directory, entry in reversed(place.made):
            finish(directory, entry)
    except BaseException:
        unstage(config)
        raise
    return manifest, dumps


def unstage(config: Config) -> None:
    """Remove what a restore that is over left beside the present state."""
    for item in (*ITEMS, CLUSTER):
        remove(beside(config.root / item, "restored"))
        remove(beside(config.root / item, "former"))
    remove(config.root / "backups" / ".restoring")


def swap(config: Config) -> None:
    """Put the restored state in the place of the present one, which stays beside it; the cluster's place is empty."""
    for item in (*ITEMS, CLUSTER):
        path = config.root / item
        if path.exists():
            path.rename(beside(path, "former"))
        if beside(path, "restored").exists():
            beside(path, "restored").rename(path)


def stop(config: Config) -> None:
    """Remove the project's containers, if it has any."""
    if (config.root / "compose.yml").is_file():
        compose(config, "down", "--timeout", "330")


def start(config: Config, *services: str) -> None:
    """Start services, all by default, and wait until they are healthy.

    Longer than Compose does: on a busy host a service is unhealthy for a while and gets well.
    Raise BackupError with the log of one that does not.
    """
    compose(config, "up", "--detach", *services)
    deadline = time.monotonic() + config.start_timeout
    while True:
        listed = compose(config, "ps", "--all", "--format", "{{.Service}} {{.State}} {{.Health}}", *services)
        states = [line.split() for line in listed.splitlines()]
        # One without a health check has no third word.
        ill = [state for state in states if state[1:] not in (["running", "healthy"], ["running"])]
        if not ill:
            return
        if time.monotonic() > deadline:
            name, said = ill[0][0], " and ".join(ill[0][1:])
            log = compose(config, "logs", "--no-color", "--no-log-prefix", "--tail", "10", name)
            raise BackupError(f"{name} is {said} after {config.start_timeout} s. Its log: {log}")
        time.sleep(2)


def recover(config: Config) -> dict[str, Any]:
    """Put back what was there before a restore that did not succeed."""
    if not config.journal.exists():
        unstage(config)
        return {"recovered": False}
    journal = json.loads(config.journal.read_text("utf-8"))
    containers = run(
        ["docker", "ps", "--all", "--quiet", "--filter", f"label=com.docker.compose.project={config.project}"]
    ).split()
    if containers:
        run(["docker", "rm", "--force", *containers])
    for item in (*ITEMS, CLUSTER):
        path = config.root / item
        former = beside(path, "former")
        # Without a former state it was either not there, or not reached yet.
        if former.exists() or item not in journal["present"]:
            remove(path)
        if former.exists():
            former.rename(path)
    unstage(config)
    config.journal.unlink()
    if "compose.yml" in journal["present"]:
        start(config)
    return {"recovered": True}


def restore(
    config: Config, path: Path, identity: Path | None, expected: dict[str, Any], postgres_image: str = ""
) -> dict[str, Any]:
    """Replace the host's state with that of an archive; put the present one back where that fails.

    With the image of another PostgreSQL the databases are loaded into that, the former cluster is kept beside it, and
    the other services are left to their roles.
    Raise BackupError: before anything is touched for an archive that is not fit, else when the former state is back.
    """
    run(["docker", "compose", "version"])
    recover(config)
    manifest, dumps = stage(config, path, identity, expected)
    if postgres_image:
        use_image(beside(config.root / "services", "restored") / "postgres.yml", postgres_image)
    present = [item for item in (*ITEMS, CLUSTER) if (config.root / item).exists()]
    write_private(config.journal, json.dumps({"archive": str(path), "present": present}))
    try:
        stop(config)
        swap(config)
        start(config, "postgres")
        make_databases(config)
        load(config, manifest, dumps)
        if not postgres_image:
            start(config)
    except BaseException as error:
        reason = error if isinstance(error, BackupError) else BackupError(f"{type(error).__name__}: {error}")
        try:
            recover(config)
        except BackupError as second:
            raise BackupError(f"{reason} The former state is back, but does not start: {second}") from error
        raise BackupError(f"{path}: could not be restored, the former state is back: {reason}") from error
    config.journal.unlink()
    if postgres_image:
        major = numbers(manifest["databases"]["kestra"]["server"])[0]
        kept = config.root / f"{CLUSTER}-{major}.{now():%Y%m%dT%H%M%SZ}"
        beside(config.root / CLUSTER, "former").rename(kept)
    unstage(config)
    return summary(path, manifest)


def use_image(path: Path, image: str) -> None:
    """Put another image into the Compose file of one service."""
    text, changed = re.subn(r"(?m)^( +image: ).*$", lambda match: match[1] + image, path.read_text("utf-8"), count=1)
    if not changed:
        raise BackupError(f"{path}: names no image")
    path.write_text(text, encoding="utf-8")


def psql(config: Config, database: str, script: str) -> str:
    """Run SQL from standard input, where no other process sees it."""
    client = ["psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", database]
    return compose(config, "exec", "-T", "postgres", *client, text=script)


def make_databases(config: Config) -> None:
    """Make the owners with their restored passwords and a database each, in a cluster that has none."""
    for name in DATABASES:
        secret = (config.root / "secrets" / f"{name}_database_password").read_text("utf-8").replace("'", "''")
        psql(config, "postgres", f"CREATE ROLE {name} LOGIN PASSWORD '{secret}';")
        psql(config, "postgres", f"CREATE DATABASE {name} OWNER {name} ENCODING 'UTF8' TEMPLATE template0;")
        psql(config, "postgres", f"REVOKE CONNECT, TEMPORARY ON DATABASE {name} FROM PUBLIC;")


def load(config: Config, manifest: dict[str, Any], dumps: Path) -> None:
    """Load the dumps into empty databases and compare the rows of each table with the manifest."""
    for name in DATABASES:
        with (dumps / f"{name}.dump").open("rb") as source:
            options = ["--exit-on-error", "--single-transaction", "-U", "postgres", "-d", name]
            compose(config, "exec", "-T", "postgres", "pg_restore", *options, source=source)
        compare_rows(name, manifest, parse_rows(psql(config, name, COUNT_ROWS).splitlines()))


def compare_rows(database: str, manifest: dict[str, Any], rows: dict[str, int]) -> None:
    """Raise BackupError where a table has not the rows that were backed up."""
    expected = manifest["databases"][database]["rows"]
    wrong = [
        f"{name}: {rows.get(name)} instead of {expected.get(name)}"
        for name in sorted(expected.keys() | rows.keys())
        if rows.get(name) != expected.get(name)
    ]
    if wrong:
        raise BackupError(f"database {database}: rows differ from the backup: {', '.join(wrong[:5])}")


# Verifying


class Trial:
    """Throw-away containers in a network without a way out; removed at the end, with everything that is in them."""

    def __init__(self, manifest: dict[str, Any], directory: Path, timeout: int) -> None:
        self.name = f"orchestration-verify-{secrets.token_hex(4)}"
        self.manifest = manifest
        self.directory = directory
        self.timeout = timeout

    def __enter__(self) -> Trial:
        run(["docker", "network", "create", "--internal", self.name])
        return self

    def __exit__(self, *_exception: object) -> None:
        containers = run(["docker", "ps", "--all", "--quiet", "--filter", f"network={self.name}"]).split()
        if containers:
            run(["docker", "rm", "--force", "--volumes", *containers])
        run(["docker", "network", "rm", self.name])

    def start(self, service: str, *options: str, command: tuple[str, ...] = (), once: bool = False) -> str:
        """Run a container of the image that the archive names; return its output when it is to run once."""
        name = f"{self.name}-{service}"
        how = ["--rm"] if once else ["--detach", "--network-alias", service]
        image = self.manifest["images"][service]["image"]
        return run(["docker", "run", *how, "--name", name, "--network", self.name, *options, image, *command])

    def inside(self, service: str, *command: str, **options: Any) -> str:
        """Run a command in a container; options are those of `run`."""
        return run(["docker", "exec", "--interactive", f"{self.name}-{service}", *command], **options)

    def wait(self, service: str, *command: str) -> None:
        """Wait until a command in a container succeeds; raise BackupError with the container's log otherwise."""
        deadline = time.monotonic() + self.timeout
        while True:
            try:
                self.inside(service, *command)
                return
            except BackupError as error:
                name = f"{self.name}-{service}"
                up = run(["docker", "inspect", "--format", "{{.State.Running}}", name]) == "true"
                if up and time.monotonic() < deadline:
                    time.sleep(1)
                    continue
                log = subprocess.run(["docker", "logs", "--tail", "15", name], capture_output=True, check=False)  # noqa: S603, S607
                said = (log.stdout + log.stderr).decode(errors="replace").strip()
                raise BackupError(f"{service} does not start on the restored data: {said}") from error

    def environment(self, service: str) -> str:
        """Write a service's restored environment file as `docker run` reads it; return its path."""
        lines = (self.directory / "env" / f"{service}.env").read_text("utf-8").splitlines()
        pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
        path = self.directory / f"{service}.environment"
        path.touch(0o600)
        path.write_text("".join(f"{name}={value[1:-1]}\n" for name, _equals, value in pairs), encoding="utf-8")
        return str(path)

    def databases(self) -> None:
        """Load both databases and compare their rows."""
        self.start("postgres", "--env", "POSTGRES_HOST_AUTH_METHOD=trust")
        self.wait("postgres", "pg_isready", "--quiet", "--host", "127.0.0.1", "--username", "postgres")
        for name in DATABASES:
            psql = ("psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-U", "postgres")
            self.inside(
                "postgres",
                *psql,
                "-c",
                f"CREATE ROLE {name} LOGIN",
                "-c",
                f"CREATE DATABASE {name} OWNER {name} TEMPLATE template0",
            )
            with (self.directory / f"{name}.dump").open("rb") as source:
                self.inside("postgres", "pg_restore", "--exit-on-error", "-U", "postgres", "-d", name, source=source)
            compare_rows(
                name,
                self.manifest,
                parse_rows(self.inside("postgres", *psql, "-d", name, text=COUNT_ROWS).splitlines()),
            )

    def n8n(self) -> int:
        """Decrypt the stored credentials with the restored key, in the container only; return how many."""
        expected = counts(self.manifest)["credentials"]
        if "n8n" not in self.manifest["images"] or not expected:
            return 0
        mounts = ("--volume", f"{self.directory}/data/n8n:/home/node/.n8n", "--tmpfs", f"{SCRATCH}:mode=1777")
        options = (*mounts, "--env-file", self.environment("n8n"), "--entrypoint", "sh")
        decrypted = int(self.start("n8n", *options, command=("-c", DECRYPT), once=True).splitlines()[-1])
        if decrypted != expected:
            raise BackupError(
                f"n8n: only {decrypted} of {expected} credentials can be decrypted with the key of the archive"
            )
        return decrypted

    def kestra(self) -> dict[str, int]:
        """Start Kestra's web server alone, which runs nothing, and ask it for flows and executions."""
        if "kestra" not in self.manifest["images"]:
            return {}
        configuration = self.directory / "kestra-config" / "standalone.yml"
        login = re.search(
            r"^( +)basic-auth:\n(?:\1 +.*\n)*?\1 +username: *(\S+)", configuration.read_text("utf-8"), re.MULTILINE
        )
        password = (self.directory / "secrets" / "kestra_password").read_text("utf-8")
        path = "/app/kestra-config"
        mounts = (
            "--volume",
            f"{configuration.parent}:{path}:ro",
            "--volume",
            f"{self.directory}/data/kestra:/app/data",
        )
        environment = ("--env-file", self.environment("kestra"), "--env", "JAVA_OPTS=-Xmx768m")
        server = ("server", "webserver", "--config", f"{path}/standalone.yml")
        self.start("kestra", "--user", "root", *mounts, *environment, command=server)
        self.wait("kestra", "curl", "--fail", "--silent", "--output", "/dev/null", "http://localhost:8081/health")
        user = f'user = "{login[2] if login else ""}:{password}"'
        found = {}
        for kind in ("flows", "executions"):
            address = f"http://localhost:8080/api/v1/main/{kind}/search?size=1"
            answer = self.inside(
                "kestra", "curl", "--fail", "--silent", "--show-error", "--config", "-", address, text=user
            )
            found[kind] = int(json.loads(answer)["total"])
        return found


def verify(config: Config, path: Path, identity: Path | None) -> dict[str, Any]:
    """Restore an archive into throw-away containers, count what is in them, and mark it as verified."""
    with tempfile.TemporaryDirectory(dir=config.root / "backups", prefix=".verifying-") as temporary:
        root = Path(temporary)
        place = Place(root, lambda member: root / member)
        manifest = scan(path, identity, place)
        for directory, entry in reversed(place.made):
            finish(directory, entry)
        with Trial(manifest, root, config.start_timeout) as trial:
            trial.databases()
            result = summary(path, manifest)
            result["counts"] |= {"decrypted": trial.n8n(), **trial.kestra()}
    result["verified"] = stamp(now())
    if config.last.is_file():
        marker = json.loads(config.last.read_text("utf-8"))
        if marker.get("archive") == str(path):
            marker |= {"verified": result["verified"], "counts": result["counts"]}
            write_private(config.last, json.dumps(marker, indent=2))
    return result


def chosen(config: Config, name: str) -> Path:
    """Return the archive of that name or path, the newest without one."""
    if name:
        return Path(name) if "/" in name else config.directory / name
    found = archives(config)
    if not found:
        raise BackupError(
            f"{config.directory}: holds no archive. Run playbooks/backup.yml, or name one with backup_archive"
        )
    return found[-1]


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    top = argparse.ArgumentParser(prog="orchestration-backup", description=__doc__)
    top.add_argument("--config", type=Path, default=Path(__file__).with_name("backup.json"))
    commands = top.add_subparsers(dest="command", required=True)
    command = commands.add_parser("create", help="write an archive")
    command.add_argument(
        "--plain", action="store_true", help="without encryption, for an upgrade that may have to return"
    )
    command.add_argument("--wait", action="store_true", help="wait while others change the host, playbooks as well")
    commands.add_parser("list", help="list the archives")
    commands.add_parser("recover", help="put back what a restore that was cut off replaced")
    for name, text in (
        ("check", "check an archive and change nothing"),
        ("restore", "replace the host's state by that of an archive"),
        ("migrate", "restore an archive with another PostgreSQL and keep the former cluster"),
        ("verify", "restore an archive into throw-away containers and count"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("archive", nargs="?", default="", help="name or path, the newest by default")
        if name == "migrate":
            command.add_argument("--postgres-image", required=True, help="image of the new PostgreSQL")
        command.add_argument("--identity", type=Path, help="private key of an encrypted archive")
        command.add_argument(
            "--expected", default="{}", help='what the site wants, as JSON: {"versions": {"n8n": "2.41.1"}}'
        )
    return top


def act(config: Config, options: argparse.Namespace) -> dict[str, Any]:
    """Carry out one command and return what it prints."""
    if options.command == "list":
        return {"archives": [{"archive": str(path), "size": path.stat().st_size} for path in archives(config)]}
    with quiet(config) if options.command == "create" and options.wait else locked(config):
        if options.command == "create":
            # A playbook that was waited for may have changed it.
            config = Config.read(options.config)
            return create(dataclasses.replace(config, encryption="none") if options.plain else config)
        if options.command == "recover":
            return recover(config)
        path = chosen(config, options.archive)
        if options.command == "check":
            return check(config, path, options.identity, json.loads(options.expected))
        if options.command == "restore":
            return restore(config, path, options.identity, json.loads(options.expected))
        if options.command == "migrate":
            return restore(config, path, options.identity, {}, options.postgres_image)
        return verify(config, path, options.identity)


def interrupted(number: int, _frame: object) -> NoReturn:
    """Turn a signal into an error, so that everything is cleaned up and put back."""
    raise BackupError(f"stopped by {signal.Signals(number).name}")


def main() -> int:
    """Run the program; return its exit code."""
    options = parser().parse_args()
    os.umask(0o077)
    signal.signal(signal.SIGTERM, interrupted)
    # A lost connection must not stop a restore midway.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        result = act(Config.read(options.config), options)
    except BackupError as error:
        print(f"orchestration-backup: {error}", file=sys.stderr)
        return 1
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
