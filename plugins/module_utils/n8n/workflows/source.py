# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Read workflows from the texts of files, and find everything that is wrong with them. Nothing here asks a server."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.devorch.orchestration.plugins.module_utils.n8n.workflows.normal import connections
from ansible_collections.devorch.orchestration.plugins.module_utils.source_files import Problem, Source

SUFFIXES = (".json",)
IGNORE_FILE = ".n8nignore"
LONGEST_NAME = 128
LONGEST_TAG = 24


@dataclass(frozen=True)
class Workflow:
    """A workflow of a file.

    C(active) is whether the file wants it published, and C(tags) which tags it wants; None where it says nothing.
    """

    file: str
    name: str
    content: Mapping[str, Any]
    id: str | None = None
    active: bool | None = None
    tags: tuple[str, ...] | None = None


class Wrong(Exception):
    """What is wrong with a workflow."""


def parse_sources(sources: Iterable[Source]) -> tuple[list[Workflow], list[Problem]]:
    """Return the workflows of the files, and everything that is wrong with any of the files."""
    workflows: list[Workflow] = []
    problems: list[Problem] = []
    for source in sources:
        try:
            values = _values(source)
        except Wrong as error:
            problems.append(Problem(source.path, *error.args))
            continue
        for value in values:
            found = wrong_with(value)
            problems += [Problem(source.path, None, message) for message in found]
            if not found:
                workflows.append(_workflow(source.path, value))
    for kind, key in (("name", "name"), ("id", "id")):
        first: dict[str, str] = {}
        for workflow in workflows:
            value = getattr(workflow, key)
            if value is not None and value in first:
                message = (
                    f"{kind} {value!r} is already in {first[value]}. Give each workflow its own, or remove the id."
                )
                problems.append(Problem(workflow.file, None, message))
            elif value is not None:
                first[value] = workflow.file
    return workflows, problems


def _values(source: Source) -> list[Any]:
    """Return the workflows in a file: one, or a list of them."""
    try:
        value = json.loads(source.content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise Wrong(source.content.count(b"\n", 0, error.start) + 1, f"is not UTF-8: {error.reason}") from error
    except json.JSONDecodeError as error:
        raise Wrong(error.lineno, f"is not JSON: {error.msg} (column {error.colno})") from error
    except RecursionError as error:
        raise Wrong(None, "is nested too deeply") from error
    if value == []:
        raise Wrong(None, "holds no workflow. Remove the file, or write one into it")
    return value if isinstance(value, list) else [value]


def _workflow(path: str, value: Mapping[str, Any]) -> Workflow:
    active = value.get("active")
    given = value.get("tags")
    tags = None if given is None else tuple(tag if isinstance(tag, str) else str(tag["name"]) for tag in given)
    workflow_id = value.get("id")
    return Workflow(
        path, value["name"], value, str(workflow_id) if workflow_id else None, active, tags and tuple(sorted(set(tags)))
    )


def wrong_with(value: Any) -> list[str]:
    """Return everything that keeps a value from being a workflow."""
    if not isinstance(value, dict):
        return ["is not a workflow: it is not a JSON object with name, nodes and connections"]
    missing = [key for key in ("name", "nodes", "connections") if key not in value]
    if missing:
        return [f"is not a workflow: it has no {' and no '.join(missing)}"]
    problems: list[str] = []
    name = value["name"]
    if not isinstance(name, str) or not name.strip() or len(name) > LONGEST_NAME:
        problems.append(f"name {name!r} is not a text of 1 to {LONGEST_NAME} characters")
    for key, kind in (("settings", dict), ("pinData", dict), ("connections", dict), ("active", bool), ("tags", list)):
        if value.get(key) is not None and not isinstance(value[key], kind):
            problems.append(f"{key} is not a {kind.__name__}")
    problems += _wrong_tags(value.get("tags"))
    nodes = value["nodes"]
    if not isinstance(nodes, list) or not all(isinstance(node, dict) for node in nodes):
        return [*problems, "nodes is not a list of objects"]
    names: set[str] = set()
    for node in nodes:
        title = node.get("name")
        if not isinstance(title, str) or not title or not isinstance(node.get("type"), str):
            problems.append(f"node {title!r} has no name or no type")
        elif title in names:
            problems.append(f"node {title!r} is there twice. Give each node its own name.")
        else:
            names.add(title)
        if not isinstance(node.get("parameters", {}), dict) or not isinstance(node.get("credentials") or {}, dict):
            problems.append(f"node {title!r}: parameters or credentials is not an object")
    if isinstance(value["connections"], dict):
        try:
            for source, _kind, _number, target, _target_kind, _index in connections(value["connections"]):
                problems += [f"connections: there is no node {end!r}" for end in (source, target) if end not in names]
        except (TypeError, KeyError, AttributeError):
            problems.append("connections is damaged. Export the workflow again.")
    return list(dict.fromkeys(problems))


def _wrong_tags(tags: Any) -> list[str]:
    problems: list[str] = []
    for tag in tags if isinstance(tags, list) else ():
        name = tag.get("name") if isinstance(tag, dict) else tag
        if not isinstance(name, str) or not 1 <= len(name) <= LONGEST_TAG:
            problems.append(f"tag {name!r} is not a text of 1 to {LONGEST_TAG} characters")
    return problems
