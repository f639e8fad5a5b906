# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What Kestra 2.0 removed or deprecated, found in a flow before a server is asked.

Kestra's own validation names a removed property only as an unrecognized field, and does not see what fails when the
flow runs. Each finding names the construct and how to replace it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows.yaml_nodes import Node

CORE = "io.kestra.plugin.core."


@dataclass(frozen=True)
class Finding:
    """A construct in line C(line) of a flow that Kestra 2.0 lacks. C(refused) says that a 2.x server does not take the
    flow; what is not refused fails when the flow runs, depends on a plugin, or goes in a version to come."""

    line: int
    message: str
    refused: bool
    before_2: bool = False
    """Whether it concerns servers before 2.0 alone, which take the flow and do not show it."""


ROOT_KEYS: Mapping[str, str] = {
    "pluginDefaults": "write the values into each task, or use a Policy of the Enterprise Edition",
    "taskDefaults": "write the values into each task, or use a Policy of the Enterprise Edition",
    "listeners": f"use a second flow with a {CORE}trigger.Flow trigger, or afterExecution",
    "workerGroup": "use workerSelector with tags",
}

TRIGGER_KEYS: Mapping[str, str] = {
    "conditions": 'use when: "{{ ... }}"; a Flow trigger names the flows that it follows in dependsOn',
    "preconditions": "use dependsOn, and window for its time window",
    "multipleConditions": "use dependsOn, and window for its time window",
    "scheduleConditions": 'use when: "{{ ... }}"',
    "backfill": "start a backfill through the API or the UI",
    "minLogLevel": "use logLevel",
    "workerGroup": "use workerSelector with tags",
}

_LOOP = f"use {CORE}flow.Loop (taskrun.value becomes item.value, taskrun.iteration item.index)"
_PLUGIN_KESTRA = "use the task of the plugin plugin-kestra, or Kestra's API"

# What follows CORE.
CORE_TYPES: Mapping[str, str] = {
    "flow.ForEach": _LOOP,
    "flow.ForEachItem": f"{_LOOP}; {CORE}storage.Split makes the batches, {CORE}flow.Subflow starts a flow for each",
    "flow.EachSequential": _LOOP,
    "flow.EachParallel": f"{_LOOP} with concurrencyLimit: 0",
    "flow.Flow": f"use {CORE}flow.Subflow",
    "flow.Template": f"use {CORE}flow.Subflow",
    "flow.Worker": f"use {CORE}flow.WorkingDirectory",
    "execution.Count": _PLUGIN_KESTRA,
    "execution.Counts": _PLUGIN_KESTRA,
    "execution.Resume": _PLUGIN_KESTRA,
    "execution.PurgeExecution": f"use {CORE}storage.PurgeCurrentExecutionFiles",
    "trigger.Toggle": _PLUGIN_KESTRA,
    "log.Fetch": "use io.kestra.plugin.kestra.logs.Fetch",
    "state.Get": f"use {CORE}kv.Get",
    "state.Set": f"use {CORE}kv.Set",
    "state.Delete": f"use {CORE}kv.Delete",
    "storage.LocalFiles": "use the task's own inputFiles and outputFiles",
    "storage.Purge": f"use {CORE}execution.PurgeExecutions",
    "storage.PurgeExecution": f"use {CORE}storage.PurgeCurrentExecutionFiles",
    "debug.Echo": f"use {CORE}log.Log",
}

# Types that belong to plugins, or beginnings of them if they end with a dot; whether a server has the plugin is its own
# affair. Read in the plugins' sources: plugin-git and plugin-scripts of August 2026.
PLUGIN_TYPES: Mapping[str, str] = {
    "io.kestra.plugin.notifications.": (
        "was removed in Kestra 2.0; each service has its own plugin, such as io.kestra.plugin.slack"
    ),
    "io.kestra.plugin.git.Push": "is deprecated; use io.kestra.plugin.git.PushFlows or PushNamespaceFiles",
    "io.kestra.plugin.git.Sync": "is deprecated; use io.kestra.plugin.git.SyncFlows or SyncNamespaceFiles",
    "io.kestra.plugin.scripts.nashorn.": "is deprecated; use io.kestra.plugin.graalvm",
    "io.kestra.plugin.scripts.runner.docker.DockerTaskRunner": (
        "was removed in Kestra 2.0; use io.kestra.plugin.scripts.runner.docker.Docker"
    ),
}

SCRIPTS = ("io.kestra.plugin.scripts.", "io.kestra.plugin.dbt.cli.")
"""Beginnings of the types of tasks that run in Docker if they name no task runner."""

# By type below CORE: the properties of a task that 2.0 removed.
_HTTP = {
    "basicAuthUser": "use auth with type BASIC, username and password",
    "basicAuthPassword": "use auth with type BASIC, username and password",
    "connectTimeout": "use timeout with connectTimeout",
    "readTimeout": "use timeout with readIdleTimeout",
}
TASK_KEYS: Mapping[str, Mapping[str, str]] = {
    "flow.Pause": {"delay": "use pauseDuration", "tasks": "put the tasks behind the pause"},
    "flow.Subflow": {"outputs": "declare outputs in the flow that is called"},
    "kv.PurgeKV": {"expiredOnly": "use behavior"},
}

# The packages of the names before 0.18, and those of today below CORE.
OLD_PACKAGES: Mapping[str, str] = {
    "tasks.debugs": "debug",
    "tasks.executions": "execution",
    "tasks.flows": "flow",
    "tasks.log": "log",
    "tasks.states": "state",
    "tasks.storages": "storage",
    "tasks.templating": "templating",
    "tasks.trigger": "trigger",
    "models.triggers.types": "trigger",
}
OLD = "io.kestra.core."
OLD_PROCESS = f"{OLD}models.tasks.runners.types.ProcessTaskRunner"

NO = ("false", "no", "off")
INPUT_TYPES: Mapping[str, str] = {"BOOLEAN": "BOOL", "ENUM": "SELECT"}

_EXPRESSION = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)
# Comments, and what is not evaluated.
_VERBATIM = re.compile(r"\{#.*?#\}|\{%-?\s*(raw|verbatim)\s*-?%\}.*?\{%-?\s*end\1\s*-?%\}", re.DOTALL)
# What holds a state of Kestra's, and not one of some service.
_STATE = re.compile(r"\b(execution|trigger|taskrun|tasks\.\w+)\.state\b")
_QUOTED = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"", re.DOTALL)
_CALL = re.compile(r"(?<![\w.|])(?<!\|\s)json\s*\(")
_FILTER = re.compile(r"\|\s*json\b")
_CANCELED = re.compile(r"['\"]CANCELED['\"]")
_MISSPELT = "state CANCELED has another spelling in Kestra 2.0: use CANCELLED"


def findings(root: Node, text: str) -> list[Finding]:
    """Return what 2.0 removed or deprecated in a flow, by line; C(root) was composed from C(text)."""
    found: list[Finding] = []
    for key, value in root.pairs:
        way_out = ROOT_KEYS.get(key.text)
        if way_out:
            found.append(Finding(key.line, f"{key.text} was removed in Kestra 2.0; {way_out}", True))
            continue
        if key.text == "tenantId" and not (value.plain and value.text in ("", "~", "null")):
            message = "tenantId hides the flow on servers before 2.0; set the option tenant of the module"
            found.append(Finding(key.line, message, False, before_2=True))
        check = SECTIONS.get(key.text)
        if check:
            found += check(value)
    found += _retry(root)
    if "json" in text or "CANCELED" in text:
        found += _expressions(root, text.splitlines())
    return sorted(set(found), key=lambda finding: (finding.line, finding.message))


def _nodes(root: Node) -> Iterator[Node]:
    """Yield every node; aliases may make the tree a graph, whose lists and mappings come once."""
    seen: set[int] = set()
    pending = [root]
    while pending:
        node = pending.pop()
        if node.kind == "scalar":
            yield node
        elif id(node) not in seen:
            seen.add(id(node))
            yield node
            pending += node.children


def _entries(section: Node) -> Iterator[dict[str, tuple[Node, Node]]]:
    """Yield the mappings of a list as dictionaries of key and value nodes."""
    for entry in section.children if section.kind == "sequence" else []:
        if entry.kind == "mapping":
            yield {key.text: (key, value) for key, value in entry.pairs}


def _tasks(section: Node) -> Iterator[Finding]:
    for node in _nodes(section):
        kind = node.get("type") if node.kind == "mapping" else None
        if kind is None or kind.kind != "scalar" or node.get("id") is None:
            continue
        yield from _type(kind, "task")
        for key, value in node.pairs:
            if key.text == "workerGroup":
                message = f"workerGroup was removed in Kestra 2.0; {ROOT_KEYS['workerGroup']}"
                yield Finding(key.line, message, kind.text.startswith(CORE))
            elif key.text in TASK_KEYS.get(kind.text.removeprefix(CORE), {}) and kind.text.startswith(CORE):
                way_out = TASK_KEYS[kind.text.removeprefix(CORE)][key.text]
                yield Finding(key.line, f"{key.text} of {kind.text} was removed; {way_out}", True)
            elif key.text == "options" and kind.text.startswith(f"{CORE}http."):
                for option, _value in value.pairs:
                    if option.text in _HTTP:
                        message = f"{option.text} of options was removed; {_HTTP[option.text]}"
                        yield Finding(option.line, message, True)
            elif key.text in ("runner", "docker") and kind.text.startswith(SCRIPTS):
                yield Finding(key.line, f"{key.text} is deprecated; use taskRunner and containerImage", False)
            elif key.text == "taskRunner":
                runner = value.get("type")
                yield from _type(runner, "task runner") if runner is not None else ()
        if kind.text == "io.kestra.plugin.fs.local.Delete" and node.get("recursive") is None:
            message = (
                "recursive of io.kestra.plugin.fs.local.Delete is false by default since Kestra 2.0; say which it is"
            )
            yield Finding(kind.line, message, False)
        yield from _retry(node)


def _retry(node: Node) -> Iterator[Finding]:
    retry = node.get("retry")
    for key, _value in retry.pairs if retry else []:
        if key.text == "maxAttempt":
            yield Finding(key.line, "retry.maxAttempt was renamed; use maxAttempts", True)


def _type(kind: Node, what: str) -> Iterator[Finding]:
    """Check the type of a task, of its runner, or of a trigger."""
    name, way_out, refused = kind.text, None, True
    if name.startswith(CORE):
        way_out = CORE_TYPES.get(name.removeprefix(CORE))
    elif name == OLD_PROCESS:
        way_out = f"use {CORE}runner.Process"
    elif name.startswith(OLD):
        package, _dot, last = name.removeprefix(OLD).rpartition(".")
        today = f"{OLD_PACKAGES[package]}.{last}" if package in OLD_PACKAGES else None
        way_out = CORE_TYPES.get(today or "") or (
            f"use {CORE}{today}" if today else "find its successor among the plugins"
        )
    else:
        fate = next((way for start, way in PLUGIN_TYPES.items() if _is_named(name, start)), None)
        if fate:
            yield Finding(kind.line, f"{what} type {name} {fate}", False)
        return
    if way_out:
        yield Finding(kind.line, f"{what} type {name} was removed in Kestra 2.0; {way_out}", refused)


def _is_named(name: str, entry: str) -> bool:
    return name.startswith(entry) if entry.endswith(".") else name == entry


def _triggers(section: Node) -> Iterator[Finding]:
    for trigger in section.children:
        kind = trigger.get("type")
        if kind is None:
            continue
        yield from _type(kind, "trigger")
        for key, _value in trigger.pairs:
            if key.text in TRIGGER_KEYS:
                message = f"{key.text} of a trigger was removed in Kestra 2.0; {TRIGGER_KEYS[key.text]}"
                yield Finding(key.line, message, kind.text.startswith(CORE))
        if kind.text == f"{CORE}trigger.Flow":
            lists = (node.get("states") for node in _nodes(trigger))
            states = (state for states in lists if states is not None for state in states.children)
            yield from (Finding(state.line, _MISSPELT, True) for state in states if state.text == "CANCELED")


def _inputs(section: Node) -> Iterator[Finding]:
    yield from _typed(section, "input")
    for entry in _entries(section):
        if "name" in entry and "id" not in entry:
            yield Finding(entry["name"][0].line, "name of an input was removed; use id", True)
        if "options" in entry:
            yield Finding(entry["options"][0].line, "options of an input was removed; use values", True)
        if "defaults" in entry and "required" in entry and entry["required"][1].text.lower() in NO:
            message = (
                "an input with defaults is never without a value: remove required: false, or give the value as prefill"
            )
            yield Finding(entry["required"][0].line, message, True)
        if "inputs" in entry:
            yield from _inputs(entry["inputs"][1])


def _typed(section: Node, what: str = "output") -> Iterator[Finding]:
    """Check the types of inputs or outputs."""
    for entry in _entries(section):
        for name in ("type", "itemType"):
            value = entry[name][1] if name in entry else None
            if value is not None and value.text in INPUT_TYPES:
                message = f"{what} type {value.text} was removed in Kestra 2.0; use {INPUT_TYPES[value.text]}"
                yield Finding(value.line, message, True)


def _checks(section: Node) -> Iterator[Finding]:
    for entry in _entries(section):
        if "condition" in entry:
            yield Finding(entry["condition"][0].line, "condition of a check is deprecated since 2.0; use when", False)


def _expressions(root: Node, lines: list[str]) -> Iterator[Finding]:
    """Check the Pebble expressions, which a server does not compile before the flow runs."""
    for node in _nodes(root):
        if node.kind != "scalar" or ("{{" not in node.text and "{%" not in node.text):
            continue
        for expression in _EXPRESSION.findall(_VERBATIM.sub("", node.text)):
            code = _QUOTED.sub("''", expression)
            for rule, message in (
                (_CALL, "json() was removed in Kestra 2.0 and fails when the flow runs; use fromJson()"),
                (_FILTER, "the filter json was removed in Kestra 2.0 and fails when the flow runs; use toJson"),
            ):
                if rule.search(code):
                    yield Finding(_line(lines, node.line, rule), message, False)
            if _CANCELED.search(expression) and _STATE.search(expression):
                yield Finding(_line(lines, node.line, _CANCELED), _MISSPELT, False)


def _line(lines: list[str], start: int, rule: re.Pattern[str]) -> int:
    """Return the first line from the start of a value in which a rule applies: the value may have many."""
    return next((n for n in range(start, len(lines) + 1) if rule.search(lines[n - 1])), start)


SECTIONS: Mapping[str, Callable[[Node], Iterator[Finding]]] = {
    "tasks": _tasks,
    "errors": _tasks,
    "finally": _tasks,
    "afterExecution": _tasks,
    "triggers": _triggers,
    "inputs": _inputs,
    "outputs": _typed,
    "checks": _checks,
}
