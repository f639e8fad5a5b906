# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The contents of namespaces as files of a directory: read them from a server, compare, and write the files."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.client import KestraClient, KestraError
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows.plan import exported_sources
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows.record import RECORD_KEY
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows.source import Key
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.kv import KeyStore, entry_from
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.namespace_files.sync import NamespaceFiles

CONTENT = ("flows", "files", "kv")
PRIVATE = 0o600
Action = Literal["created", "updated", "unchanged", "removed", "stale"]
ACTIONS: tuple[Action, ...] = ("created", "updated", "unchanged", "removed", "stale")
Argument = TypeVar("Argument")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Export:
    """What an export has read: contents by their path in the directory, and the places that belong to it alone."""

    files: Mapping[str, bytes]
    namespaces: tuple[str, ...]
    empty: tuple[str, ...]


def flow_names(ids: Iterable[str]) -> dict[str, str]:
    """Return a file name for each flow of a namespace.

    It is the id, unless a file system that takes upper and lower case for the same would take it for another's; then
    all but the first are numbered.
    """
    names: dict[str, str] = {}
    taken: set[str] = set()
    for flow_id in sorted(ids):
        name, number = flow_id, 1
        while name.lower() in taken:
            number += 1
            name = f"{flow_id}~{number}"
        taken.add(name.lower())
        names[flow_id] = f"{name}.yaml"
    return names


def is_safe(path: str) -> bool:
    """Return whether a path that a server names stays below the directory that it is written to."""
    return "\0" not in path and all(part not in ("", ".", "..") for part in path.split("/"))


class Reader:
    """Reads namespaces of one server, with at most C(concurrency) requests in flight."""

    def __init__(self, client: KestraClient, concurrency: int) -> None:
        self.client = client
        self.concurrency = concurrency

    def _each(self, function: Callable[[Argument], Result], arguments: Sequence[Argument]) -> list[Result]:
        if not arguments:
            return []
        with ThreadPoolExecutor(max_workers=min(self.concurrency, len(arguments))) as pool:
            return list(pool.map(function, arguments))

    def below(self, namespaces: Sequence[str]) -> list[str]:
        """Return the namespaces, and those below them that the server knows of."""
        found = {str(entry.get("id")) for entry in self._search("namespaces", "search")}
        if self.client.server_info().is_2:
            found |= {str(entry.get("namespace")) for entry in self._search("kv")}
        doing = "list the namespaces of the flows"
        path = self.client.path("flows", "distinct-namespaces")
        listed = self.client.json(self.client.request("GET", path, doing), doing)
        found |= {str(name) for name in listed} if isinstance(listed, list) else set()
        return sorted({*namespaces, *(name for name in found if any(name.startswith(f"{n}.") for n in namespaces))})

    def _search(self, *segments: str) -> list[dict[str, Any]]:
        return self.client.search(self.client.path(*segments), "list the namespaces")

    def read(self, namespaces: Sequence[str], content: Sequence[str]) -> Export:
        """Return the contents of the namespaces; nothing is changed."""
        files: dict[str, bytes] = {}
        full: set[str] = set()

        def add(namespace: str, path: str, found: bytes) -> None:
            files[path] = found
            full.add(namespace)

        if "flows" in content:
            for namespace, path, found in self._flows(namespaces):
                add(namespace, path, found)
        for namespace in namespaces:
            if "files" in content:
                for path, found in self._files(namespace):
                    add(namespace, f"files/{namespace}/{path}", found)
            keys = self._keys(namespace) if "kv" in content else []
            if keys:
                text = json.dumps(keys, ensure_ascii=False, indent=2)
                add(namespace, f"kv/{namespace}.json", f"{text}\n".encode())
        return Export(files, tuple(namespaces), tuple(name for name in namespaces if name not in full))

    def _flows(self, namespaces: Sequence[str]) -> Iterator[tuple[str, str, bytes]]:
        listed: list[Key] = [(str(e["namespace"]), str(e["id"])) for e in self.client.search_flows(namespaces)]
        texts = exported_sources(self.client.export_flows(namespaces), listed) if listed else {}
        missing = [key for key in listed if key not in texts]
        for key, flow in zip(missing, self._each(lambda key: self.client.get_flow(*key), missing), strict=True):
            if flow is not None:
                texts[key] = str(flow.get("source", "")).encode("utf-8", errors="surrogateescape")
        for namespace in namespaces:
            names = flow_names(flow_id for name, flow_id in listed if name == namespace)
            for flow_id, file in names.items():
                text = texts.get((namespace, flow_id))
                if text is not None:
                    yield namespace, f"flows/{namespace}/{file}", text

    def _files(self, namespace: str) -> list[tuple[str, bytes]]:
        files = NamespaceFiles(self.client, namespace, self.concurrency)
        paths = files.listed()
        wrong = [path for path in paths if not is_safe(path)]
        if wrong:
            raise KestraError(
                f"export the files of namespace {namespace}", f"{wrong[0]!r} leads out of the directory", kind="answer"
            )
        with files.archive(paths) as archive:
            return [(path, archive.read(path)) for path in paths]

    def _keys(self, namespace: str) -> list[dict[str, Any]]:
        store = KeyStore(self.client, namespace)
        listed = sorted((e for e in store.listed() if e.get("key") != RECORD_KEY), key=lambda e: str(e.get("key")))
        values = self._each(lambda entry: store.value(str(entry.get("key"))), listed)
        entries = [entry_from(e, value) for e, value in zip(listed, values, strict=True) if value is not None]
        return [
            {
                "key": entry.key,
                "type": entry.value.type,
                "value": entry.value.content,
                "description": entry.description,
                "expiration": entry.expires.isoformat() if entry.expires else None,
            }
            for entry in entries
        ]


@dataclass(frozen=True)
class Change:
    """What happens to one file of the directory."""

    path: str
    action: Action


def compare(export: Export, directory: Path, content: Sequence[str], below: bool, prune: bool) -> list[Change]:
    """Return what has to be done to the directory, sorted by path.

    What is stale is found in the places that belong to the export alone: those of its namespaces and kinds.
    """
    changes = [Change(path, _action(directory / path, path, found)) for path, found in export.files.items()]
    for path in _own(directory, export.namespaces, content, below):
        if path not in export.files:
            changes.append(Change(path, "removed" if prune else "stale"))
    return sorted(changes, key=lambda change: change.path)


def _action(file: Path, path: str, content: bytes) -> Action:
    try:
        found = file.lstat()
        if not stat.S_ISREG(found.st_mode):
            return "updated"
        as_it_is = found.st_size == len(content) and file.read_bytes() == content
    except (FileNotFoundError, NotADirectoryError):
        return "created"
    private = not path.startswith("kv/") or stat.S_IMODE(found.st_mode) == PRIVATE
    return "unchanged" if as_it_is and private else "updated"


def _own(directory: Path, namespaces: Sequence[str], content: Sequence[str], below: bool) -> Iterator[str]:
    """Yield the files in the directory that an export of these namespaces may have written."""

    def ours(name: str) -> bool:
        return name in namespaces or (below and any(name.startswith(f"{each}.") for each in namespaces))

    for kind in content:
        top = directory / kind
        for entry in sorted(top.iterdir()) if top.is_dir() else []:
            if kind == "kv":
                if entry.suffix == ".json" and ours(entry.stem):
                    yield f"kv/{entry.name}"
            elif ours(entry.name) and entry.is_dir():
                for root, _directories, names in os.walk(entry):
                    for name in names:
                        path = Path(root, name).relative_to(directory).as_posix()
                        if kind == "files" or path.endswith(".yaml"):
                            yield path


def write(export: Export, directory: Path, changes: Sequence[Change]) -> None:
    """Do it: write all contents beside their places first, rename them then, and remove what is stale at last."""
    directory.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".kestra-export-", dir=directory))
    try:
        todo = [change.path for change in changes if change.action in ("created", "updated")]
        for number, path in enumerate(todo):
            beside = staging / str(number)
            mode = PRIVATE if path.startswith("kv/") else 0o666
            with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
                file.write(export.files[path])
        for number, path in enumerate(todo):
            target = directory / path
            target.parent.mkdir(parents=True, exist_ok=True)
            (staging / str(number)).replace(target)
        for change in changes:
            if change.action == "removed":
                (directory / change.path).unlink()
                _remove_empty((directory / change.path).parent, directory)
    finally:
        # What it cannot remove must not hide why the write failed.
        shutil.rmtree(staging, ignore_errors=True)


def _remove_empty(parent: Path, top: Path) -> None:
    """Remove directories from here upwards that are left empty, but not those of the kinds."""
    with contextlib.suppress(OSError):
        while len(parent.relative_to(top).parts) > 1:
            parent.rmdir()
            parent = parent.parent


def diff(changes: Sequence[Change]) -> dict[str, str]:
    """Return Ansible's diff: the names of the files that change."""
    before = [change.path for change in changes if change.action in ("updated", "removed")]
    after = [
        change.path if change.action == "created" else f"{change.path} (other content)"
        for change in changes
        if change.action in ("created", "updated")
    ]
    return {"before": "".join(f"{path}\n" for path in before), "after": "".join(f"{path}\n" for path in after)}
