# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The files of one namespace on a server: compare them with a directory's, write what differs."""

from __future__ import annotations

import io
import re
import threading
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TypeVar

from ansible_collections.devorch.orchestration.plugins.module_utils.http_session import Part
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.client import KestraClient, KestraError
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.namespace_files.plan import (
    FLOWS,
    Content,
    Item,
    Plan,
    new_directories,
)

Argument = TypeVar("Argument")
Result = TypeVar("Result")
BINARY = "application/octet-stream"
# A name that a server may take for another one.
ODD = re.compile(r"[^A-Za-z0-9._/-]")
FEW = 3
"""Up to how many files are read one by one; for more the archive of all of them is cheaper."""


@dataclass(frozen=True)
class Outcome:
    """What became of an item: C(created), C(updated), C(unchanged), C(pruned), C(failed) or C(skipped)."""

    item: Item
    action: str
    error: str | None = None


class Archive:
    """The files of a namespace as the server exports them; what it lacks is asked for by itself."""

    def __init__(self, files: NamespaceFiles, archive: zipfile.ZipFile | None) -> None:
        self._files = files
        self._archive = archive
        self._names = set(archive.namelist()) if archive else set()

    def read(self, path: str) -> bytes:
        """Return the bytes of a file, none where it was deleted meanwhile."""
        if self._archive is not None and path in self._names:
            try:
                return self._archive.read(path)
            except (zipfile.BadZipFile, OSError, RuntimeError, EOFError, NotImplementedError) as error:
                raise KestraError(
                    f"export the files of namespace {self._files.namespace}", f"{path}: {error}", kind="answer"
                ) from error
        return self._files.read(path) or b""


class NamespaceFiles:
    """One run against one namespace, with at most C(concurrency) requests in flight and never two for one file."""

    def __init__(self, client: KestraClient, namespace: str, concurrency: int = 8) -> None:
        self.client = client
        self.namespace = namespace
        self.concurrency = concurrency

    def _path(self, *more: str) -> str:
        return self.client.path("namespaces", self.namespace, "files", *more)

    def listed(self) -> list[str]:
        """Return the paths of all files, without a slash before them; flows are not among them."""
        doing = f"list the files of namespace {self.namespace}"
        response = self.client.request("GET", self._path("search"), doing, params={"q": ""})
        found = self.client.json(response, doing)
        if not isinstance(found, list):
            raise KestraError(doing, "the answer is not a list", kind="answer")
        paths = (str(path).lstrip("/") for path in found)
        return sorted(path for path in paths if not path.startswith(f"{FLOWS}/"))

    def read(self, path: str) -> bytes | None:
        """Return the bytes of a file, or None where there is none."""
        doing = f"read file {path} of namespace {self.namespace}"
        response = self.client.request(
            "GET", self._path(), doing, expected=(200, 404), params={"path": f"/{path}"}, accept="*/*"
        )
        return response.content if response.status_code == 200 else None

    @contextmanager
    def archive(self, paths: Sequence[str]) -> Iterator[Archive]:
        """Yield what the bytes of these files can be read from: one archive where there are more than a few."""
        if len(paths) <= FEW:
            yield Archive(self, None)
            return
        doing = f"export the files of namespace {self.namespace}"
        response = self.client.request("GET", self._path("export"), doing, accept="*/*")
        with self.client.archive(response, doing, lambda content: zipfile.ZipFile(io.BytesIO(content))) as opened:
            yield Archive(self, opened)

    def plan(
        self, wanted: Mapping[str, Content], there: Mapping[str, str], managed: Iterable[str], prune: bool
    ) -> Plan:
        """Compare the files with those of the server, byte by byte.

        C(there) is the path on the server of those that it has, C(managed) all of its files that are the run's.
        """
        items: list[Item] = []
        taken = set(there.values())
        extra = [path for path in managed if path not in taken]
        with self.archive([*there.values(), *(extra if prune else ())]) as archive:
            for path, local in wanted.items():
                stored_path = there.get(path)
                if stored_path is None:
                    items.append(Item(path, "create", local))
                    continue
                before = archive.read(stored_path)
                if len(before) == local.size and before == local.read():
                    items.append(Item(path, "unchanged", local, stored_path))
                else:
                    items.append(Item(path, "update", local, stored_path, before))
            if prune:
                items += [Item(path, "prune", None, path, archive.read(path)) for path in extra]
        return Plan(tuple(sorted(items, key=lambda item: item.path)), () if prune else tuple(extra))

    def apply(self, plan: Plan, stored: Iterable[str]) -> list[Outcome]:
        """Write, and when all of that succeeded, prune; return what became of each item, in the plan's order.

        When the server itself fails, nothing more is started.
        """
        stop = threading.Event()
        done: dict[str, Outcome] = {item.path: Outcome(item, "unchanged") for item in plan.having("unchanged")}

        def run(item: Item, function: Callable[[Item], str]) -> Outcome:
            if stop.is_set():
                return Outcome(item, "skipped", "not tried, since the server failed before")
            try:
                return Outcome(item, function(item))
            except KestraError as error:
                if error.kind != "http" or error.status in (401, 403) or (error.status or 0) >= 500:
                    stop.set()
                return Outcome(item, "failed", error.reason)

        openers, rest = new_directories(plan.having("create", "update"), stored)
        written = [run(item, self._write) for item in openers]
        written += self._each(lambda item: run(item, self._write), rest)
        written = self._read_back(written)
        failed = any(outcome.error for outcome in written)
        for item in plan.having("prune"):
            if failed:
                written.append(Outcome(item, "skipped", "not pruned, since not everything was written"))
            else:
                # One by one: Kestra removes directories that are left empty, which two requests would do at once.
                written.append(run(item, self._prune))
        done.update({outcome.item.path: outcome for outcome in written})
        return [done[item.path] for item in plan.items]

    def _read_back(self, written: list[Outcome]) -> list[Outcome]:
        """Return the outcomes as the server really has them: it may keep a file with an odd name under another one."""
        odd = [outcome for outcome in written if not outcome.error and ODD.search(outcome.item.path)]
        if not odd:
            return written
        try:
            listed = set(self.client.retry(self.listed))
        except KestraError as error:
            # A name can make the server unable to list the namespace.
            return [replace(each, action="failed", error=error.reason) if each in odd else each for each in written]
        return [self._proved(each, listed) if each in odd else each for each in written]

    def _proved(self, outcome: Outcome, listed: set[str]) -> Outcome:
        """Return an outcome as failed unless the file is there under its name, with its bytes."""
        path, local = outcome.item.path, outcome.item.local
        kept = next((each for each in (outcome.item.stored_path, path, path.replace(" ", "+")) if each in listed), None)
        try:
            if kept is not None and local is not None and self.client.retry(lambda: self.read(kept)) == local.read():
                return outcome
        except KestraError as error:
            return replace(outcome, action="failed", error=error.reason)
        wrong = (
            "this server keeps it under another name, or other bytes; give the file a name without special characters"
        )
        return replace(outcome, action="failed", error=wrong)

    def _each(self, function: Callable[[Argument], Result], arguments: Sequence[Argument]) -> list[Result]:
        if not arguments:
            return []
        with ThreadPoolExecutor(max_workers=min(self.concurrency, len(arguments))) as pool:
            return list(pool.map(function, arguments))

    def _write(self, item: Item) -> str:
        if item.local is None:
            raise ValueError(f"{item.path} has no content to write")
        # Not the file's own name: Kestra unpacks what is called .zip.
        part = Part("fileContent", item.local.read(), "content")
        path = item.stored_path or item.path
        doing = f"write file {path} of namespace {self.namespace}"
        self.client.retry(
            lambda: self.client.request("POST", self._path(), doing, params={"path": f"/{path}"}, parts=[part])
        )
        return "created" if item.action == "create" else "updated"

    def _prune(self, item: Item) -> str:
        doing = f"delete file {item.path} of namespace {self.namespace}"
        self.client.retry(
            lambda: self.client.request(
                "DELETE", self._path(), doing, expected=(200, 204, 404), params={"path": f"/{item.path}"}
            )
        )
        return "pruned"
