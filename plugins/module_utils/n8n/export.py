# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Workflows as files of a directory: their contents as C(n8n_workflows) reads them back equal, and what to write."""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.devorch.orchestration.plugins.module_utils.n8n.workflows.normal import (
    CredentialReference,
    WorkflowReference,
    is_expression,
    payload,
    with_references,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.n8n.workflows.plan import Stored

ACTIONS = ("created", "updated", "unchanged", "removed", "stale")
LONGEST_STEM = 80


@dataclass(frozen=True)
class Change:
    """What happens to one file of the directory."""

    path: str
    action: str


def file_names(workflows: Iterable[Stored]) -> dict[str, str]:
    """Return a file name for each id: the workflow's name in small letters, with a number if it is taken."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    for stored in sorted(workflows, key=lambda one: (one.name, one.id)):
        stem = re.sub(r"[^a-z0-9._]+", "-", stored.name.lower())[:LONGEST_STEM].strip("-.") or "workflow"
        name, number = stem, 1
        while name in taken:
            number += 1
            name = f"{stem}~{number}"
        taken.add(name)
        names[stored.id] = f"{name}.json"
    return names


def exported(
    stored: Stored, everything: Sequence[Stored], selected: Sequence[Stored], pinned: bool = True
) -> dict[str, Any]:
    """Return what the file of a workflow holds.

    References keep the id of this instance, with the name beside it if there is a place for it. Where there is none,
    a workflow that is not exported as well is named, since its id would mean nothing elsewhere.
    """
    by_id = {one.id: one for one in everything}
    ids = {one.id for one in selected}

    def workflow(reference: WorkflowReference) -> str:
        target = by_id.get(reference.value)
        if target is None or target.id in ids or not reference.where.startswith("settings"):
            return reference.value
        return target.name

    def credential(one: CredentialReference) -> tuple[str, str]:
        return one.id or "", one.name or ""

    content = payload(with_references(stored.content, workflow, credential))
    for node in content["nodes"]:
        given = (node.get("parameters") or {}).get("workflowId")
        if isinstance(given, dict) and not is_expression(given.get("value")) and given.get("value") in by_id:
            given["cachedResultName"] = by_id[given["value"]].name
    result: dict[str, Any] = {"id": stored.id, "name": stored.name, "active": stored.active}
    result["tags"] = sorted(stored.tags)
    result.update({key: content[key] for key in ("settings", "nodes", "connections")})
    for part in ("pinData", "nodeGroups"):
        if stored.content.get(part) and (pinned or part != "pinData"):
            result[part] = stored.content[part]
    return result


def text_of(content: Mapping[str, Any]) -> bytes:
    """Return the text of a file."""
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode("utf-8", "surrogatepass")


def compare(files: Mapping[str, bytes], directory: Path, prune: bool) -> list[Change]:
    """Return what has to be done to the directory, sorted by path."""
    changes = [Change(path, _action(directory / path, content)) for path, content in files.items()]
    there = sorted(directory.glob("*.json")) if directory.is_dir() else []
    for file in there:
        if file.name not in files and not file.name.startswith("."):
            changes.append(Change(file.name, "removed" if prune else "stale"))
    return sorted(changes, key=lambda change: change.path)


def _action(file: Path, content: bytes) -> str:
    try:
        found = file.lstat()
    except FileNotFoundError:
        return "created"
    same = stat.S_ISREG(found.st_mode) and found.st_size == len(content) and file.read_bytes() == content
    return "unchanged" if same else "updated"


def write(files: Mapping[str, bytes], directory: Path, changes: Sequence[Change]) -> None:
    """Write each file beside its place and rename it then; remove what is stale at last."""
    directory.mkdir(parents=True, exist_ok=True)
    for change in changes:
        target = directory / change.path
        if change.action in ("created", "updated"):
            handle, name = tempfile.mkstemp(prefix=".n8n-export-", dir=directory)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(files[change.path])
                Path(name).replace(target)
            except BaseException:
                with contextlib.suppress(OSError):
                    Path(name).unlink()
                raise
    for change in changes:
        if change.action == "removed":
            (directory / change.path).unlink()


def diff(changes: Sequence[Change]) -> dict[str, str]:
    """Return Ansible's diff: the names of the files that change."""
    before = [change.path for change in changes if change.action in ("updated", "removed")]
    after = [
        change.path if change.action == "created" else f"{change.path} (other content)"
        for change in changes
        if change.action in ("created", "updated")
    ]
    return {"before": "".join(f"{path}\n" for path in before), "after": "".join(f"{path}\n" for path in after)}
