# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The deployment of a service on a host: validate, write, start, verify, and commit or roll back.

A run that is killed at any moment leaves a host on which the next run completes the work. Each file is replaced as a
whole; the record of the last known good set has no digest from before the first write until after the last check, and
is replaced last.
"""

from __future__ import annotations

import contextlib
import fcntl
import grp
import os
import pwd
import shutil
import stat
import tempfile
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ansible_collections.devorch.orchestration.plugins.module_utils.host import json_merge
from ansible_collections.devorch.orchestration.plugins.module_utils.host.deploy_plan import (
    CREATE,
    NONE,
    RESTART,
    ROLLBACK,
    START,
    UPDATE,
    Found,
    Need,
    WantedDirectory,
    WantedService,
    directory_problem,
    file_problem,
    file_reasons,
    sha256,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.host.runtimes import (
    MISSING,
    DeployError,
    Finished,
    Started,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.host.service_files import (
    RECORD,
    File,
    FilesError,
    LastKnownGood,
    make_directory,
    mask,
    no_directory,
    preserve_env,
    read,
    remove_leftovers,
    secret_values,
    shown,
    write,
)

NO_SECRETS, ONLY_SECRETS = "none", "all"
ROLLBACK_DIRECTORY, FORMER_DIRECTORY = "rollback", "former"
SHORTEST_SECRET_LINE = 8
MOMENT = 5.0
LONGEST_WAIT = 300.0
"""Seconds to wait at least after a rollback: it was healthy with those files, and a short limit was set for others."""

STRENGTH = [NONE, START, RESTART, UPDATE]
PAST = {CREATE: "created", UPDATE: "updated", RESTART: "restarted", START: "started"}


class Commands(Protocol):
    """What runs commands."""

    def run(self, command: Sequence[str], timeout: float | None = None) -> Finished: ...

    def monotonic(self) -> float: ...


class Runtime(Protocol):
    """What differs between the types of services; C(runtimes.Files) describes each."""

    @property
    def name(self) -> str: ...

    @property
    def well(self) -> str: ...

    @property
    def more(self) -> str: ...

    @property
    def shared(self) -> bool: ...

    def differs(self) -> list[Need]: ...

    def derived(self, after: Iterable[Path], gone: Iterable[Path] = ()) -> dict[Path, File]: ...

    def start(self, changed: bool) -> Started: ...

    def restored(self) -> None: ...

    def stop(self) -> None: ...

    def wait(self, timeout: float) -> str: ...

    def verify(self) -> str: ...

    def config_hash(self) -> str: ...

    def log(self) -> str: ...


class Failed(Exception):
    """A deployment that failed: the whole message, and what was done on the host."""

    def __init__(self, message: str, result: dict[str, Any]) -> None:
        super().__init__(message)
        self.result = result


@dataclass(frozen=True)
class DeployRequest:
    """What is wanted, with the contents of the files and how each is treated."""

    wanted: WantedService
    contents: Mapping[str, bytes]
    secrecy: Mapping[str, str] = field(default_factory=dict)
    validators: Mapping[str, Sequence[str]] = field(default_factory=dict)
    extra_files: Sequence[str] = ()
    preserved_env: Mapping[str, str] = field(default_factory=dict)
    secrets: Sequence[str] = ()
    """More values that no message may show."""

    wait_timeout: float = 600.0
    check_mode: bool = False
    public: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Names in a file of secrets whose values are none."""

    merge_records: Mapping[str, str] = field(default_factory=dict)
    """The files that the host shares, with the files that note the keys of this collection in them."""

    merge_below: Mapping[str, str] = field(default_factory=dict)
    """The key of such a file whose object is merged as well."""

    replaced: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """The values of the host that are replaced in those files."""


@dataclass
class DeployPlan:
    """What is to be done, and what was there before."""

    present: dict[Path, File]
    """The files of the set, and the extra files, as they are."""

    changed: list[Path]
    derived: dict[Path, File]
    """Files that follow from those of all services, as far as they differ."""

    directories: list[WantedDirectory]
    pending: bool
    """Whether what runs may be anything but the wanted files."""

    reasons: list[str]
    action: str
    diff: list[dict[str, Any]] = field(default_factory=list)


def inspect(path: Path, *, follow: bool = False) -> Found | None:
    """Return what is at a path, with the digest of a file; None if there is nothing.

    A link is one, whatever it leads to; with C(follow), one to a directory counts as that directory.
    """
    kinds = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "link"}
    try:
        status = path.stat() if follow and path.is_dir() else path.lstat()
        kind = kinds.get(stat.S_IFMT(status.st_mode), "other")
        content = path.read_bytes() if kind == "file" else b""
    except FileNotFoundError:
        return None
    return Found(
        type=kind,
        mode=status.st_mode & 0o7777,
        uid=status.st_uid,
        gid=status.st_gid,
        owner=_name(pwd.getpwuid, status.st_uid),
        group=_name(grp.getgrgid, status.st_gid),
        sha256=sha256(content),
    )


def _name(lookup: Any, number: int) -> str:
    try:
        return str(lookup(number)[0])
    except KeyError:
        return ""


def number_of(lookup: Any, name: str | None, what: str) -> int:
    """Return the number of a user or a group; -1 for None."""
    if name is None:
        return -1
    if name.isdecimal():
        return int(name)
    try:
        return int(lookup(name)[2])
    except KeyError as error:
        raise DeployError(f"directories: the host has no {what} {name}") from error


def owner_of(directory: WantedDirectory) -> tuple[int, int]:
    """Return the numbers of a directory's user and group; -1 for one that stays as it is."""
    return number_of(pwd.getpwnam, directory.owner, "user"), number_of(grp.getgrnam, directory.group, "group")


def foreign(path: Path, owner: tuple[int, int]) -> Iterator[tuple[str, int]]:
    """Yield what is below a directory and belongs to others: a name, and the descriptor of the directory that has it.

    No link is followed: who may write there can put one in the place of anything.
    """
    for _directory, directories, files, descriptor in os.fwalk(path, follow_symlinks=False):
        for name in (*directories, *files):
            with contextlib.suppress(FileNotFoundError):
                status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
                if owner[0] not in (-1, status.st_uid) or owner[1] not in (-1, status.st_gid):
                    yield name, descriptor


COMPOSE_COMMAND = ("docker", "compose")


class Deployment:
    """One service on this host."""

    def __init__(self, order: DeployRequest, runtime: Runtime, host: Commands, good: LastKnownGood) -> None:
        self.order, self.runtime, self.host, self.good = order, runtime, host, good
        self.wanted = order.wanted
        self.files = {Path(file.path): File(order.contents[file.path], file.mode) for file in self.wanted.files}
        self.extra = [Path(path) for path in order.extra_files]
        self.begin = host.monotonic()
        self.started = Started()
        self.hidden: set[str] = self.secret_texts()

    def run(self) -> dict[str, Any]:
        """Deploy the service and return the result of the module; raise Failed."""
        plan = self.plan()
        try:
            self.refuse(plan)
            if plan.changed:
                self.validate()
            if self.order.check_mode:
                return self.result(plan)
            self.write(plan)
        except (DeployError, FilesError, OSError) as error:
            raise self.failed(f"{self.wanted.service}: {error}", plan, NONE) from error
        reason = self.start(plan)
        if reason:
            raise self.roll_back(plan, reason)
        try:
            if plan.pending or not self._noted():
                self.commit(self.present())
        except (FilesError, OSError) as error:
            message = (
                f"{self.wanted.service} started, but its files cannot be kept for a rollback: {error}. Correct that"
            )
            raise self.failed(f"{message}, and run again", plan, plan.action) from error
        return self.result(plan)

    def _noted(self) -> bool:
        """Return whether the record of the last known good set is as this version would write it."""
        recorded = self.good.committed, self.good.config_hash
        return recorded == (self.wanted.digest, self.runtime.config_hash())

    def present(self) -> dict[Path, File]:
        """Return the files of the set, and the extra files, as they are on the host."""
        return {path: file for path in [*self.files, *self.extra] if (file := read(path)) is not None}

    def plan(self) -> DeployPlan:
        """Compare the host with what is wanted; changes nothing."""
        owner = (os.geteuid(), os.getegid())
        present = self.present()
        after = {**present, **self.files}
        found = {each.path: inspect(Path(each.path)) for each in self.wanted.files}
        for directory in self.wanted.directories:
            path = Path(directory.path)
            found[directory.path] = inspect(path, follow=self.may_be_link(path))
        holds = self.good.holds(after)
        reasons = file_reasons(self.wanted, found, self.wanted.digest if holds else "", owner)
        derived = {path: file for path, file in self.runtime.derived(self.files).items() if read(path) != file}
        reasons += [f"{path} {'has another content' if path.exists() else 'is missing'}" for path in derived]
        needs = self.runtime.differs()
        changed = [Path(file.path) for file in self.wanted.files if file_problem(file, found[file.path], owner)]
        directories = [each for each in self.wanted.directories if directory_problem(each, found[each.path])]
        if reasons:
            new = not self.good.exists and not present.keys() & self.files.keys()
            action = CREATE if new else UPDATE
        else:
            action = max((need.action for need in needs), key=STRENGTH.index, default=NONE)
        reasons += [need.reason for need in needs]
        pending = bool(self.files) and not holds
        plan = DeployPlan(present, changed, derived, directories, pending, reasons, action)
        plan.diff = self.diff(plan)
        return plan

    def may_be_link(self, directory: Path) -> bool:
        """Return whether a link may stand for a directory: an operator may keep the root elsewhere, but no part of it.

        Service users own directories below the root, and could lead the changes of root anywhere.
        """
        return Path(self.wanted.root) not in directory.parents

    def refuse(self, plan: DeployPlan) -> None:
        """Raise DeployError if something else is where a directory is wanted."""
        for directory in plan.directories:
            path = Path(directory.path)
            problem = no_directory(path, follow=self.may_be_link(path))
            if problem:
                raise DeployError(problem)

    def validate(self) -> None:
        """Run every command that checks a file, over all new files together; raise FilesError with what it says."""
        prefix = f"orchestration-{self.wanted.service}-"
        remove_abandoned(prefix)
        with tempfile.TemporaryDirectory(prefix=prefix) as directory, held(Path(directory)):
            staged = self._stage(Path(directory))
            for path in self.files:
                self._validate(path, staged)

    def _stage(self, directory: Path) -> dict[str, str]:
        """Write the new files below a directory; return their paths there by their real ones, the longest first."""
        places = {str(path): directory / str(number) / path.name for number, path in enumerate(self.files)}
        staged = {path: str(places[path]) for path in sorted(places, key=len, reverse=True)}
        for path, place in places.items():
            file = self.files[Path(path)]
            place.parent.mkdir(mode=0o700)
            content = file.content
            # A program that was packed is damaged by another length of a path in it.
            with contextlib.suppress(UnicodeDecodeError):
                if b"\0" not in content:
                    content = replaced(content.decode(), staged).encode()
            write(place, File(content, file.mode & 0o700 | 0o600))
        return staged

    def _validate(self, path: Path, staged: Mapping[str, str]) -> None:
        command = self.order.validators.get(str(path), ())
        if not command:
            return
        ended = self.host.run([replaced(part.replace("%s", str(path)), staged) for part in command])
        if self.order.check_mode and (ended.code == MISSING or (ended.code != 0 and self._needs_compose(command))):
            return
        if ended.code == MISSING:
            raise FilesError(
                f"{path}: the new file can't be checked, and nothing was changed: {self.masked(ended.said)}"
            )
        if ended.code != 0:
            said = replaced(ended.said, {place: original for original, place in staged.items()})
            raise FilesError(f"{path}: {command[0]} refuses the new file, and nothing was changed: {self.masked(said)}")

    def _needs_compose(self, command: Sequence[str]) -> bool:
        """Return whether a command is one of Compose, which a Docker of the host may lack until the real run."""
        compose = [*COMPOSE_COMMAND, "version"]
        return tuple(command[:2]) == COMPOSE_COMMAND and self.host.run(compose).code != 0

    def write(self, plan: DeployPlan) -> None:
        """Make the directories and write what differs; if that fails, restore what was there."""
        self._adopt_former_directory()
        remove_leftovers([*self.files, *self.runtime.derived(self.files), self.good.directory / RECORD])
        for directory in plan.directories:
            self._make(directory, owned=not directory.recurse)
        if plan.pending or plan.changed:
            # Files from before last known good sets were kept are the best that there is, if none is missing: a part of
            # them, such as what remains of a removed service, never ran.
            if self.good.record is None and plan.changed and plan.present.keys() >= self.files.keys():
                self.commit(plan.present)
            self.good.begin()
            self.good.note_replaced(self.order.replaced)
        done: list[Path] = []
        try:
            for path, file in {**{path: self.files[path] for path in plan.changed}, **plan.derived}.items():
                done.append(path)
                put(path, file)
        except (FilesError, OSError) as error:
            raise DeployError(f"{error}. {self._undo(plan, done)}") from error

    def _undo(self, plan: DeployPlan, done: Iterable[Path]) -> str:
        """Restore what was at these paths, before anything was started; return what became of it."""
        try:
            for path in done:
                if path in plan.present:
                    put(path, plan.present[path])
                elif path in self.files:
                    path.unlink(missing_ok=True)
            self.good.abandon()
        except (FilesError, OSError) as error:
            return f"The files can't be restored either ({error}). Correct that, and run again"
        return "All files are as they were. Correct that, and run again"

    def _adopt_former_directory(self) -> None:
        """Take the last known good sets over from the directory that version 0.2 kept them in."""
        old, new = (Path(self.wanted.root) / name for name in (FORMER_DIRECTORY, ROLLBACK_DIRECTORY))
        if old.is_dir() and not new.exists():
            old.rename(new)
        if self.good.directory.parent == old and new.is_dir():
            self.good.directory = new / self.good.directory.name

    def _make(self, directory: WantedDirectory, *, owned: bool = True) -> None:
        """Make a directory with its mode and its owner; one that is there keeps its owner unless it is C(owned)."""
        path = Path(directory.path)
        follow = self.may_be_link(path)
        found = inspect(path, follow=follow)
        owner = owner_of(directory) if owned or found is None else (-1, -1)
        mode = directory.mode if directory.mode is not None else found.mode if found else 0o755
        try:
            make_directory(path, mode, owner, follow=follow)
        except FilesError as error:
            raise DeployError(str(error)) from error

    def _own_contents(self, plan: DeployPlan) -> None:
        """Give what is below a directory to its owner. A service that could add to it meanwhile is stopped first.

        The directory itself is last: if its owner is right, a run that comes after a killed one looks no further.
        """
        for directory in self.wanted.directories:
            path, owner = Path(directory.path), owner_of(directory)
            if directory.recurse and any(True for _each in foreign(path, owner)):
                self.runtime.stop()
                for name, descriptor in foreign(path, owner):
                    os.chown(name, *owner, dir_fd=descriptor, follow_symlinks=False)
            if directory.recurse and directory in plan.directories:
                self._make(directory)

    def start(self, plan: DeployPlan) -> str:
        """Start, wait and verify; return an empty string, or the end of a sentence about what failed."""
        failure = "did not start"
        try:
            if plan.pending or plan.changed or plan.directories:
                self._own_contents(plan)
            self.started = self.runtime.start(plan.pending or bool(plan.changed))
            failure = "does not work"
            problem = self.runtime.wait(self.order.wait_timeout) or self.runtime.verify()
        except (DeployError, OSError) as error:
            problem = str(error)
        return f"{failure}: {problem}" if problem else ""

    def commit(self, present: Mapping[Path, File]) -> None:
        """Make the files on the host the last known good ones."""
        files = {path: file for path, file in present.items() if path in self.files}
        extra = {path: file for path, file in present.items() if path not in self.files}
        self.good.commit(files, extra, self.runtime.config_hash())

    def roll_back(self, plan: DeployPlan, reason: str) -> Failed:
        """Restore the last known good files and start with them; return the failure with the whole report."""
        log = self.runtime.log()
        restored: list[Path] = []
        service = self.wanted.service
        lines = [f"{service} {reason}"]
        try:
            if not self.good.exists and self.runtime.shared:
                restored = self._restore_found(plan)
                if restored:
                    lines.append(self._start_restored(restored, "The files are as they were before this run"))
            elif not self.good.exists:
                lines.append(
                    "It was never healthy on this host, so there are no last known good files to return to. "
                    "Correct the variables and run again."
                )
            else:
                restored = self._restore()
                if restored:
                    lines.append(self._start_restored(restored))
                else:
                    lines.append("Its files are those with which it was last healthy: the reason is elsewhere.")
        except (DeployError, FilesError, OSError) as error:
            lines.append(f"The last known good files can't be restored: {error}")
        if log:
            more = f" (more: {self.runtime.more})" if self.runtime.more else ""
            lines.append(f"Its last log lines before that{more}:\n{log}")
        return self.failed("\n".join(lines), plan, ROLLBACK if restored else plan.action, restored)

    def _restore(self) -> list[Path]:
        """Write the last known good files, and remove those that the set lacks; return the paths that differed."""
        present = self.present()
        good = {path: self._preserved(path, file) for path, file in self.good.files().items()}
        for shared, record in self.order.merge_records.items():
            good.update(self._unmerged(Path(shared), Path(record), good))
        changed = [path for path, file in good.items() if (present.get(path) or read(path)) != file]
        gone = [path for path in self.files if path in present and path not in good]
        remove_leftovers(good)
        for path in changed:
            put(path, good[path])
        for path in gone:
            path.unlink()
        for path, file in self.runtime.derived(good, gone).items():
            if read(path) != file:
                put(path, file)
        return [*changed, *gone]

    def _unmerged(self, path: Path, record: Path, good: Mapping[Path, File]) -> dict[Path, File]:
        """Return a file that the host shares, with our last known good keys and those that the host has now."""
        found, noted, now = read(path), good.get(record), read(record)
        if path not in good or not (found and noted and now):
            return {}
        before, replaced = json_merge.parse(record, now.content), self.good.replaced(path)
        below = self.order.merge_below.get(str(path), "")
        content = json_merge.merged(path, noted.content, found.content, before, below, replaced)
        return {path: File(content, found.mode)}

    def _restore_found(self, plan: DeployPlan) -> list[Path]:
        """Write what was there before this run, and remove what was not; return the paths that differed."""
        present = self.present()
        changed = [path for path in self.files if present.get(path) != plan.present.get(path)]
        for path in changed:
            if path in plan.present:
                put(path, plan.present[path])
            else:
                path.unlink()
        return changed

    def _preserved(self, path: Path, file: File) -> File:
        if path in self.files and self.order.secrecy.get(str(path)) == ONLY_SECRETS and self.order.preserved_env:
            return File(preserve_env(file.content, self.order.preserved_env), file.mode)
        return file

    def _start_restored(self, restored: Sequence[Path], done: str = "The last known good files are back") -> str:
        """Start with the restored files; return the sentence about it."""
        sentence = f"{done} ({', '.join(str(path) for path in restored)})"
        try:
            self.runtime.restored()
            again = self.runtime.start(True)
            self.started = Started(True, self.started.restarted or again.restarted)
            problem = self.runtime.wait(max(self.order.wait_timeout, LONGEST_WAIT))
        except DeployError as error:
            problem = str(error)
        if problem:
            return f"{sentence}, but it does not work with them either:\n{problem}"
        if self.good.exists:
            self.commit(self._all_present())
        return f"{sentence}, and it {self.runtime.well} with them." if self.runtime.well else f"{sentence}."

    def _all_present(self) -> dict[Path, File]:
        """Return the files on the host that the last known good set consists of."""
        return {path: file for path in self.good.paths() if (file := read(path)) is not None}

    def secret_texts(self) -> set[str]:
        """Return every value that no message may show."""
        values: set[str] = {value for value in self.order.secrets if value}
        good: dict[Path, File] = {}
        with contextlib.suppress(FilesError):
            good = self.good.files()
        present = self.present()
        for path, file in [*self.files.items(), *present.items(), *good.items()]:
            secrecy = self.order.secrecy.get(str(path))
            if path not in self.extra and secrecy != NO_SECRETS:
                text = file.content.decode(errors="replace")
                values |= secret_values(text, secrecy == ONLY_SECRETS, self.order.public.get(str(path), ()))
        directory = Path(self.wanted.root) / "secrets"
        kept = [file for found in (present, good) for path, file in found.items() if path in self.extra]
        if directory.is_dir():
            kept += [secret for path in directory.iterdir() if path.is_file() and (secret := read(path))]
        for secret in kept:
            text = secret.content.decode(errors="replace").strip()
            values |= {text} | {line for line in text.splitlines() if len(line) >= SHORTEST_SECRET_LINE}
        # A user or a database is often called like its service, which messages begin with.
        return values - {"", self.wanted.service}

    def masked(self, text: str) -> str:
        """Return a text without any secret, also of those that were there before."""
        self.hidden |= self.secret_texts()
        return mask(text, self.hidden)

    def diff(self, plan: DeployPlan) -> list[dict[str, Any]]:
        """Return what changes, file by file: the content without a secret, and then mode and owner."""
        result: list[dict[str, Any]] = []
        user, group = _name(pwd.getpwuid, os.geteuid()), _name(grp.getgrgid, os.getegid())
        for path in [*plan.changed, *plan.derived]:
            old = plan.present.get(path) or (read(path) if path in plan.derived else None)
            new = self.files.get(path) or plan.derived[path]
            if old is None or old.content != new.content:
                before, after = self._shown(path, old.content if old else b"", new.content)
                result.append({"before": before, "after": after, "before_header": str(path), "after_header": str(path)})
            if old is not None:
                result += attribute_diff(path, inspect(path), WantedDirectory(str(path), new.mode, user, group))
        for directory in plan.directories:
            path = Path(directory.path)
            result += attribute_diff(path, inspect(path, follow=self.may_be_link(path)), directory)
        return result

    def _shown(self, path: Path, old: bytes, new: bytes) -> tuple[str, str]:
        secrecy = self.order.secrecy.get(str(path), NO_SECRETS)
        if not (readable(old) and readable(new)):
            return described(old), described(new)
        if secrecy == NO_SECRETS:
            return old.decode(), new.decode()
        before, after = shown(old, new, secrecy == ONLY_SECRETS, self.order.public.get(str(path), ()))
        return mask(before, self.hidden), mask(after, self.hidden)

    def result(self, plan: DeployPlan) -> dict[str, Any]:
        """Return the result of the module."""
        action = plan.action
        changed = action != NONE
        if not self.order.check_mode and not (plan.changed or plan.derived or plan.directories or plan.pending):
            changed = self.started.changed
            action = NONE if not changed else action if action != NONE else RESTART if self.started.restarted else START
        restarted = self.started.restarted
        if self.order.check_mode:
            # What does not run is not restarted, but started.
            needs = {need.action for need in self.runtime.differs()}
            renewed = plan.pending or bool(plan.changed) or not needs.isdisjoint({UPDATE, RESTART})
            restarted = renewed and START not in needs and bool(self.runtime.well)
        message = f"{self.wanted.service} is as wanted"
        if changed:
            message = f"{self.wanted.service} {'would be' if self.order.check_mode else 'was'} {PAST[action]}"
            message += f": {'; '.join(plan.reasons)}" if plan.reasons and action != CREATE else ""
        return self._result(plan, changed, action, message, [*plan.changed, *plan.derived], restarted)

    def failed(self, message: str, plan: DeployPlan, action: str, restored: Sequence[Path] = ()) -> Failed:
        """Return a failure, without a secret in its message."""
        text = self.masked(message)
        paths = list(dict.fromkeys([*plan.changed, *plan.derived, *restored])) if action != NONE else []
        return Failed(text, self._result(plan, action != NONE, action, text, paths, self.started.restarted))

    def _result(
        self, plan: DeployPlan, changed: bool, action: str, message: str, paths: Iterable[Path], restarted: bool
    ) -> dict[str, Any]:
        return {
            "changed": changed,
            "msg": message,
            "service": self.wanted.service,
            "remote": True,
            "paths": [str(path) for path in paths],
            "action": action,
            "restarted": restarted,
            "seconds": round(self.host.monotonic() - self.begin, 1),
            "reasons": plan.reasons,
            "diff": plan.diff,
        }


def remove_abandoned(prefix: str) -> None:
    """Remove the temporary directories of runs that were killed while they validated."""
    for path in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        # What cannot be removed does no harm.
        with contextlib.suppress(OSError):
            status = path.lstat()
            mine = stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()
            # Others make theirs a moment before they hold it.
            if mine and time.time() - status.st_mtime > MOMENT:
                with held(path):
                    shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def held(directory: Path) -> Iterator[None]:
    """Hold a directory until the end of the block or of the process; raise OSError if another process does."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def last_known_good(root: Path, service: str, wanted: Collection[Path]) -> LastKnownGood:
    """Return the last known good set of a service, also from where version 0.2 kept it.

    A set of another root came along when its directory was moved: restoring it would create the previous root again.
    """
    new, old = root / ROLLBACK_DIRECTORY, root / FORMER_DIRECTORY
    good = LastKnownGood((old if old.is_dir() and not new.exists() else new) / service)
    known = [path for path in good.paths() if path not in wanted]
    moved = [path.relative_to(root) for path in wanted if root in path.parents and path not in good.paths()]
    if any(str(path).endswith(f"/{name}") for name in moved for path in known):
        good.disregard()
    return good


def put(path: Path, file: File) -> None:
    """Write a file, in a directory that may not be there yet."""
    if not path.parent.exists():
        make_directory(path.parent, 0o755)
    write(path, file)


def replaced(text: str, substitutes: Mapping[str, str]) -> str:
    """Return a text with these parts replaced, in their order."""
    for part, substitute in substitutes.items():
        text = text.replace(part, substitute)
    return text


def attribute_diff(path: Path, found: Found | None, wanted: WantedDirectory) -> list[dict[str, Any]]:
    """Return the difference in mode and owner as Ansible shows it; an empty list if there is none."""
    was = {
        "state": found.type if found else "absent",
        "mode": f"{found.mode:04o}" if found else "",
        "owner": (found.owner or str(found.uid)) if found else "",
        "group": (found.group or str(found.gid)) if found else "",
    }
    will = {"mode": None if wanted.mode is None else f"{wanted.mode:04o}", "owner": wanted.owner, "group": wanted.group}
    numbers = {"owner": str(found.uid), "group": str(found.gid)} if found else {}
    changes = {
        key: value for key, value in will.items() if value is not None and value not in (was[key], numbers.get(key))
    }
    if found is None:
        was, changes = {"state": "absent"}, {"state": "directory", **changes}
    elif not changes:
        return []
    before = {key: was[key] for key in changes if key in was}
    return [{"before": before, "after": changes, "before_header": str(path), "after_header": str(path)}]


def described(content: bytes) -> str:
    """Return what a diff shows instead of a content that is not text."""
    return f"{len(content)} bytes, SHA-256 {sha256(content)}\n" if content else ""


def readable(content: bytes) -> bool:
    """Return whether a content is text."""
    try:
        return "\0" not in content.decode()
    except UnicodeDecodeError:
        return False
