# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The one place that runs restic and knows how its versions differ: 0.14 (Debian 12), 0.16, 0.18 (Debian 13).

Repository, password and credentials are passed in files and in the environment of restic, never as arguments.
"""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from . import process
from .config import Config, Target
from .errors import BackupError
from .files import CHUNK
from .space import FULL

# Of Go: collect garbage early, and hard before the memory of a small host is gone.
MEMORY = {"GOGC": "50", "GOMEMLIMIT": "160MiB"}
LOCK_WAIT = 300
"""How many seconds a lock of another host is waited for."""
LOCK_POLL = 5
LOCAL_ATTEMPTS, REMOTE_ATTEMPTS = 5, 20
FIRST_SILENCE, SILENCE = 60, 900
"""For how many seconds restic may stand still: until a store has answered once, and later."""
FIRST_LEAST, LEAST = 100, 64 * 1024
"""The bytes that restic moves at least if it continues. Its runtime moves a few without end, and so does its lock."""
DAMAGED, SILENT = -1, -2
"""The exit codes of restic that was ended because it could not read a file, or because the store did not answer."""
INCOMPLETE = 3
"""The exit code of a backup that has left out files which it could not read."""
UNNAMED = "a file that restic does not name"


class ResticError(BackupError):
    """restic failed."""


@dataclass(frozen=True)
class Snapshot:
    """One snapshot of a repository: a part of a backup."""

    id: str
    original: str
    """The id in the store that it was made in."""
    time: str
    host: str
    backup: str
    part: str
    reason: str


@dataclass(frozen=True)
class Added:
    """What restic says about a new snapshot."""

    snapshot: str
    bytes_added: int
    files: int
    unread: list[str]
    """Files that could not be read."""


@functools.lru_cache(maxsize=1)
def version() -> tuple[int, ...]:
    """Return the version of restic."""
    found = re.search(r"restic (\d+)\.(\d+)(?:\.(\d+))?", process.run(["restic", "version"]))
    if not found:
        raise BackupError("restic: 'restic version' prints no version. Install restic of the distribution")
    return tuple(int(number or 0) for number in found.groups())


def writes_sparse() -> bool:
    """Return whether restic restores sparse files with their holes."""
    return version() >= (0, 15)


def read_environment(path: str) -> dict[str, str]:
    """Return the variables of a file with one NAME=VALUE a line."""
    if not path:
        return {}
    try:
        lines = Path(path).read_text("utf-8").split("\n")
    except OSError as error:
        raise BackupError(f"{path}: cannot be read ({error}); run site.yml again") from error
    return {name: value for name, equals, value in (line.partition("=") for line in lines) if equals}


class Repository:
    """A restic repository. `source` is another one, whose snapshots are copied."""

    def __init__(self, config: Config, target: Target, source: Target | None = None) -> None:
        self.config = config
        self.target = target
        self.source = source
        self.absent = ""
        """Why `identity` found no repository."""
        self.answered = False
        self.code = 0
        """The exit code of the last command."""

    @property
    def location(self) -> str:
        """Where the repository is. For messages, see `target.name`: a location may contain a password."""
        try:
            return Path(self.target.repository_file).read_text("utf-8").strip()
        except OSError as error:
            raise BackupError(f"{self.target.repository_file}: cannot be read ({error}); run site.yml again") from error

    @property
    def local(self) -> Path | None:
        """The directory of a local repository."""
        location = self.location.removeprefix("local:")
        return Path(location) if location.startswith("/") else None

    @property
    def targets(self) -> list[Target]:
        """The store, after the one that it is copied from."""
        return [target for target in (self.source, self.target) if target]

    @staticmethod
    def merged(stores: list[tuple[str, dict[str, str]]]) -> dict[str, str]:
        """Return the settings of both stores of a copy, which one process has; raise BackupError if they differ."""
        found: dict[str, str] = {}
        for store, settings in stores:
            for name, value in settings.items():
                if found.setdefault(name, value) != value:
                    raise BackupError(
                        f"backup_targets: {name} of {store} differs from that of the first store, from which everything"
                        " is copied in one process. Let the first store be a directory of this host"
                    )
        return found

    def environment(self) -> dict[str, str]:
        """Return the environment of restic: ours, and the credentials of the stores."""
        credentials = self.merged([(target.name, read_environment(target.environment_file)) for target in self.targets])
        return {"TZ": "UTC", "LC_ALL": "C.UTF-8", "RESTIC_PROGRESS_FPS": "0.02", **MEMORY, **credentials}

    def command(self, *arguments: str, cache: bool = True) -> list[str]:
        """Return the command line."""
        config, target = self.config, self.target
        command = ["restic", "--json", "--repository-file", target.repository_file]
        command += ["--password-file", str(config.password_file)]
        if self.local and (not self.source or Repository(config, self.source).local):
            command.append("--no-cache")
        elif cache:
            command += ["--cache-dir", str(config.cache_directory), "--cleanup-cache"]
        for name, value in self.merged([(one.name, one.options) for one in self.targets]).items():
            command += ["--option", f"{name}={value}"]
        for limit, rate in (("upload", target.upload_limit), ("download", target.download_limit)):
            if rate:
                command += [f"--limit-{limit}", str(rate)]
        return [*command, *arguments]

    def lines(
        self,
        *arguments: str,
        cwd: Path | None = None,
        source: IO[bytes] | None = None,
        target: IO[bytes] | None = None,
        accepted: tuple[int, ...] = (),
    ) -> list[str]:
        """Run restic and return the lines it prints; raise ResticError if it fails. Wait for another host's lock."""
        deadline = time.monotonic() + LOCK_WAIT
        while True:
            with process.in_memory() as output, process.in_memory() as errors:
                if source:
                    source.seek(0)
                program = process.begin(
                    self.command(*arguments),
                    cwd=cwd,
                    env={**os.environ, **self.environment()},
                    stdin=source or subprocess.DEVNULL,
                    stdout=target or output,
                    stderr=errors,
                )
                try:
                    code = self.wait(program, errors)
                finally:
                    program.kill()
                    program.wait()
                said, answer = process.error_output(errors), process.error_output(output)
            if code == 0 or code in accepted:
                self.answered, self.code = True, code
                # A name may have what Python sees as the end of a line as well.
                return answer.split("\n") + (said.split("\n") if code else [])
            if "already locked" not in said or time.monotonic() > deadline:
                raise ResticError(f"{self.target.name}: {self.explain(code, said)}")
            print(f"orchestration-backup: {self.target.name} is locked", file=sys.stderr, flush=True)
            time.sleep(LOCK_POLL)
            # The process that holds it may not run any more.
            for locked in self.targets:
                if not locked.append_only:
                    Repository(self.config, locked).unlock()

    def wait(self, program: subprocess.Popen[Any], errors: IO[bytes]) -> int:
        """Wait for the end of restic, and return its exit code.

        It reads a damaged file again and again for a quarter of an hour, and then the next one. So end it after some
        attempts: on a disk they do not help, and elsewhere not for long. It also waits without end for a server that
        accepts a connection and says nothing.
        """
        limit = LOCAL_ATTEMPTS if self.local else REMOTE_ATTEMPTS
        moved, silent = 0, 0
        least = LEAST if self.answered or self.local else FIRST_LEAST
        while True:
            try:
                return int(program.wait(timeout=1))
            except subprocess.TimeoutExpired:
                pass
            # The position of the file is that of restic too, so it must not change.
            size = os.fstat(errors.fileno()).st_size
            said = os.pread(errors.fileno(), CHUNK, max(0, size - CHUNK))
            attempts = Counter(re.findall(rb"(Load\(<[^>]*>).* returned error, retrying", said))
            if any(number >= limit for number in attempts.values()):
                return DAMAGED
            # The seconds are counted, not measured: a clock continues while a virtual machine is stopped.
            so_far = process.moved(program)
            silent += 1
            if so_far - moved >= least:
                moved, silent = so_far, 0
            if silent >= self.patience:
                return SILENT

    @property
    def patience(self) -> int:
        """For how many seconds restic may do nothing."""
        return SILENCE if self.answered or self.local else FIRST_SILENCE

    def explain(self, code: int, said: str) -> str:
        """Return why restic failed. A location may contain a password, so it is left out."""
        # A copy names the other store too, and restic may write a location in another way.
        every = [masked(message(line).replace(self.location, self.target.name)) for line in said.split("\n")]
        words, before = every[-4:], every[:-4]
        # The last lines only count the errors.
        if not contains_full(words):
            words = [line for line in before if contains_full([line])][:1] + words
        reason = " / ".join(word for word in words if word)
        if code == 12 or "wrong password" in said:
            return f"the password is wrong. Set backup_password to that of the store ({reason})"
        if code == DAMAGED:
            return f"the store is damaged or cannot be read: {reason}"
        if code == SILENT:
            return (
                f"has not answered for {self.patience} seconds, so restic was ended. Look whether its server or disk"
                " works and can be reached from this host, and what its log, a firewall and a proxy say"
                + (f" ({reason})" if reason else "")
            )
        return f"restic failed with exit code {code}: {reason}"

    def run(self, *arguments: str, **options: Any) -> str:
        """Run restic and return its output."""
        return "".join(self.lines(*arguments, **options))

    def reading(self) -> list[str]:
        """Return the option of commands that only read. A lock that is left behind could not be removed there."""
        return ["--no-lock"] if self.target.append_only else []

    def identity(self) -> str:
        """Return the id of the repository, or nothing if there is none."""
        try:
            return str(json.loads(self.run("cat", "config", "--no-lock"))["id"])
        except ResticError as error:
            if re.search(r"exit code 10:|Is there a repository at", str(error)):
                self.absent = str(error)
                return ""
            raise

    def initialise(self) -> None:
        """Create the repository. One that snapshots are copied to cuts files as its source does."""
        self.run("init", *self.from_source(), *(["--copy-chunker-params"] if self.source else []))

    def from_source(self) -> list[str]:
        """Return the options that name the source."""
        if not self.source:
            return []
        password = str(self.config.password_file)
        return ["--from-repository-file", self.source.repository_file, "--from-password-file", password]

    def snapshots(self) -> list[Snapshot]:
        """Return the snapshots of backups, oldest first. Others are not ours."""
        found = []
        for entry in json.loads(self.run("snapshots", "--no-lock") or "null") or []:
            tags = dict(tag.partition("=")[::2] for tag in entry.get("tags") or [])
            if "backup" in tags and "part" in tags:
                found.append(
                    Snapshot(
                        entry["id"],
                        entry.get("original") or entry["id"],
                        entry["time"],
                        entry["hostname"],
                        tags["backup"],
                        tags["part"],
                        tags.get("reason", ""),
                    )
                )
        return sorted(found, key=lambda snapshot: (snapshot.backup, snapshot.time))

    def backup(
        self, directory: Path, items: list[str], tags: dict[str, str], moment: str, host: str, parent: str
    ) -> Added:
        """Save files and directories below a directory, with their paths relative to it."""
        tagged = [part for name, value in tags.items() for part in ("--tag", f"{name}={value}")]
        options = [*tagged, "--time", moment, "--host", host, *(["--parent", parent] if parent else [])]
        # A file on the disk would stay if this program is killed.
        with process.in_memory() as names:
            names.write(b"".join(os.fsencode(item) + b"\0" for item in items))
            summary: dict[str, Any] = {}
            unread: list[str] = []
            # Without the first walk over all files, which only a progress bar needs.
            scan = ["--no-scan"] if version() >= (0, 15) else []
            arguments = ["backup", "--quiet", *scan, *options, "--files-from-raw", "-"]
            for line in self.lines(*arguments, cwd=directory, source=names, accepted=(INCOMPLETE,)):
                entry = parsed(line)
                if entry.get("message_type") == "summary":
                    summary = entry
                if entry.get("message_type") == "error":
                    unread.append(str(entry.get("item") or UNNAMED))
            if self.code == INCOMPLETE and not unread:
                unread = [UNNAMED]
        if not summary.get("snapshot_id"):
            raise ResticError(f"{self.target.name}: restic names no new snapshot")
        return Added(
            summary["snapshot_id"],
            int(summary["data_added"]),
            int(summary["total_files_processed"]),
            sorted(set(unread)),
        )

    def read(self, snapshot: str, path: str) -> bytes:
        """Return the content of one small file of a snapshot."""
        with process.in_memory() as content:
            self.run("dump", *self.reading(), snapshot, path, target=content)
            content.seek(0)
            return content.read()

    def restore(self, snapshot: str, target: Path, items: list[str]) -> None:
        """Restore files and directories of a snapshot below a directory; all without items."""
        included = [part for item in items for part in ("--include", f"/{escaped(item)}")]
        sparse = ["--sparse"] if writes_sparse() else []
        self.run("restore", snapshot, *self.reading(), "--quiet", "--target", str(target), *sparse, *included)

    def copy(self, snapshots: list[str]) -> None:
        """Copy snapshots of the source. Those that are here already are left out by restic."""
        self.run("copy", "--quiet", *self.from_source(), *snapshots)

    def check(self, subset: str = "") -> None:
        """Check the structure of the repository, and read a subset of its data such as 1/7 or 100%."""
        self.run("check", *self.reading(), "--quiet", *([f"--read-data-subset={subset}"] if subset else []))

    def forget(self, snapshots: list[str]) -> None:
        """Remove snapshots. Their data stay until `prune`."""
        if snapshots:
            self.run("forget", "--quiet", *snapshots)

    def prune(self) -> None:
        """Remove the data that no snapshot needs."""
        self.run("prune", "--quiet")

    def unlock(self) -> None:
        """Remove the locks of restic processes that do not run any more."""
        # To open a store takes about a second, and to look into a directory nothing.
        locks = self.local / "locks" if self.local else None
        if not locks or not locks.is_dir() or any(locks.iterdir()):
            self.run("unlock", "--quiet")


def parsed(line: str) -> dict[str, Any]:
    """Return a line of restic's JSON; nothing for other text."""
    try:
        entry = json.loads(line)
    except ValueError:
        return {}
    return entry if isinstance(entry, dict) else {}


def message(line: str) -> str:
    """Return the text of a line of restic's error output, which is JSON in newer versions."""
    entry = parsed(line)
    error = entry.get("error")
    text = entry.get("message") or (error.get("message") if isinstance(error, dict) else error) or line
    return str(text).strip()


def contains_full(lines: list[str]) -> bool:
    """Return whether lines of a program say that a disk is full."""
    return any(FULL.lower() in line.lower() for line in lines)


def masked(text: str) -> str:
    """Return a text without the login in its URLs."""
    return re.sub(r"://[^/\s]*@", "://", text)


def restic_time(at: datetime) -> str:
    """Return a time as restic reads it."""
    return at.strftime("%Y-%m-%d %H:%M:%S")


def escaped(item: str) -> str:
    """Return a path as a pattern of restic."""
    return re.sub(r"([*?\[\]\\])", r"\\\1", item)
