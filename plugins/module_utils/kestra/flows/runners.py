# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Scripts that a server has nothing to run on, found in a flow before the server is asked."""

from __future__ import annotations

from collections.abc import Iterator

from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows.deprecations import (
    CORE,
    SCRIPTS,
    Finding,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows.yaml_nodes import Node

RUNNERS = {"process": f"{CORE}runner.Process", "docker": "io.kestra.plugin.scripts.runner.docker.Docker"}
"""The types of the task runners that a server by itself may have."""
SECTIONS = ("tasks", "errors", "finally", "afterExecution")


def findings(root: Node, available: list[str]) -> list[Finding]:
    """Return the tasks of a flow whose task runner is not among the available ones; none if all may be there."""
    if not available:
        return []
    missing = {kind: name for name, kind in RUNNERS.items() if name not in available}
    found = [finding for section in SECTIONS for finding in _tasks(root.get(section), missing)]
    return sorted(set(found), key=lambda finding: finding.line)


def _tasks(section: Node | None, missing: dict[str, str]) -> Iterator[Finding]:
    pending, seen = [section] if section is not None else [], set()
    while pending:
        node = pending.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        pending += node.children
        kind = node.get("type") if node.kind == "mapping" else None
        if kind is None or node.get("id") is None:
            continue
        runner = node.get("taskRunner")
        named = runner.get("type") if runner is not None else None
        if named is not None and named.text in missing:
            message = f"the server has no task runner {missing[named.text]}; set taskRunner.type to {_others(missing)}"
            yield Finding(named.line, message, False)
        elif runner is None and RUNNERS["docker"] in missing and kind.text.startswith(SCRIPTS):
            message = "a script without taskRunner runs in Docker, which the server does not have"
            message += f"; set taskRunner.type to {_others(missing)}"
            yield Finding(kind.line, message, False)


def _others(missing: dict[str, str]) -> str:
    return " or ".join(kind for kind in RUNNERS.values() if kind not in missing) or "one that the server has"
