# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Find the line of a flow that a message of Kestra is about.

Pure. It knows the texts of Kestra's messages and the nodes of the flow, and nothing of files or servers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows.yaml_nodes import (
    Node,
    YamlProblem,
    compose,
    walk,
)


def locate(text: str, message: str) -> int | None:
    """Return the line of a flow that a message of Kestra is about, or None if it is unknown.

    Kestra names a position only for syntax errors; otherwise a type, a field, an id or a path through the flow.
    """
    position = re.findall(r"\bline:? (\d+)", message)
    if position:
        return int(position[-1])
    try:
        root = compose(text)[0]
    except (YamlProblem, IndexError):
        return None
    for rule in (_locate_type, _locate_field, _locate_duplicate, _locate_path):
        line = rule(root, message)
        if line is not None:
            return line
    return None


def _locate_type(root: Node, message: str) -> int | None:
    match = re.search(r"(?:Invalid type|No plugin registered for the defined type): '?([^\s'\"]+)", message)
    if not match:
        return None
    if match.group(1) == "<null>":
        return next((node.line for node in _tasks(root) if node.get("type") is None), None)
    types = (node.get("type") for node in walk(root))
    return next((node.line for node in types if node is not None and node.text == match.group(1)), None)


def _tasks(root: Node) -> Iterator[Node]:
    """Yield the mappings in which Kestra expects a type."""
    lists = ("tasks", "errors", "finally", "afterExecution", "triggers", "inputs", "outputs")
    for node in walk(root):
        for key, value in node.pairs:
            if key.text in lists and value.kind == "sequence":
                yield from (entry for entry in value.children if entry.kind == "mapping")


def _locate_field(root: Node, message: str) -> int | None:
    match = re.search(r"Unrecognized field \\?[\"']([^\"'\\]+)", message)
    if not match:
        return None
    keys = (key for node in walk(root) for key, _value in node.pairs)
    return next((key.line for key in keys if key.text == match.group(1)), None)


def _locate_duplicate(root: Node, message: str) -> int | None:
    match = re.search(r"[Dd]uplicate .*?\[([^\],]+)", message)
    if not match:
        return None
    found = list(_with_id(root, match.group(1)))
    return found[1].line if len(found) > 1 else None


def _with_id(root: Node, name: str) -> Iterator[Node]:
    """Yield what is below the flow itself and has this id: tasks, triggers, inputs, outputs."""
    for node in walk(root):
        value = node.get("id")
        if node is not root and value is not None and value.text == name:
            yield node


def _locate_path(root: Node, message: str) -> int | None:
    """Follow a path such as C(tasks[say].message), C(tasks[0].type), C(say.message) or C(tasks)."""
    match = re.match(r"([^\s:]+):", message)
    if not match:
        return None
    node: Node | None = root
    line: int | None = None
    for index, step in enumerate(step for step in re.split(r"[.\[\]]+", match.group(1)) if step):
        found = _step(node, step)
        if found is None and index == 0:
            # Messages of 1.x begin with the id of a task.
            found = next(((task.line, task) for task in _with_id(root, step)), None)
        if found is None:
            break
        line, node = found
    return line


def _step(node: Node | None, step: str) -> tuple[int, Node] | None:
    if node is None:
        return None
    for key, value in node.pairs:
        if key.text == step:
            return key.line, value
    if node.kind == "sequence":
        for index, entry in enumerate(node.children):
            value_of_id = entry.get("id")
            if (value_of_id is not None and value_of_id.text == step) or str(index) == step:
                return entry.line, entry
    return None
