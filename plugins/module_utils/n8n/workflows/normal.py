# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The normal form of a workflow: what two workflows with the same meaning have in common.

What n8n adds or counts by itself is left out: ids of versions, times, static data, and values that are the default.
References to other workflows and to credentials are handed to the caller, who knows what they mean in an instance.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.devorch.orchestration.plugins.module_utils.n8n.canonical import canonical

# What n8n's API takes; it refuses a workflow with any other key.
NODE_KEYS = (
    "id", "name", "webhookId", "disabled", "notesInFlow", "notes", "type", "typeVersion", "executeOnce",
    "alwaysOutputData", "retryOnFail", "maxTries", "waitBetweenTries", "continueOnFail", "onError", "position",
    "parameters", "credentials", "customTelemetryTags",
)  # fmt: skip
NODE_DEFAULTS: Mapping[str, Any] = {
    "disabled": False,
    "notesInFlow": False,
    "notes": "",
    "executeOnce": False,
    "alwaysOutputData": False,
    "retryOnFail": False,
    "continueOnFail": False,
    "onError": "stopWorkflow",
    "credentials": {},
    "parameters": {},
    "typeVersion": 1,
}
SETTINGS = (
    "saveExecutionProgress", "saveManualExecutions", "saveDataErrorExecution", "saveDataSuccessExecution",
    "executionTimeout", "errorWorkflow", "timezone", "executionOrder", "binaryMode", "callerPolicy", "callerIds",
    "timeSavedMode", "timeSavedPerExecution", "redactionPolicy", "availableInMCP", "customTelemetryTags",
    "credentialResolverId",
)  # fmt: skip
SETTINGS_DEFAULTS: Mapping[str, Any] = {
    "executionOrder": "v1",
    "binaryMode": "separate",
    "callerPolicy": "workflowsFromSameOwner",
    "availableInMCP": False,
    "timeSavedMode": "fixed",
    "redactionPolicy": "none",
    "callerIds": "",
    "errorWorkflow": "",
    "timezone": "",
    "customTelemetryTags": [],
}
# n8n has no other way to forget them. An empty time zone is one that it does not know.
REMOVABLE = frozenset(SETTINGS_DEFAULTS) - {"timezone"}
# n8n's page writes it for "as n8n is set up", and the API refuses it.
AS_SET_UP = "DEFAULT"
# Nodes whose parameter workflowId names another workflow.
CALLERS = (
    "n8n-nodes-base.executeWorkflow",
    "@n8n/n8n-nodes-langchain.toolWorkflow",
    "@n8n/n8n-nodes-langchain.retrieverWorkflow",
)
OPTIONAL = ("pinData", "nodeGroups")
"""Parts that count only if the file has them."""
LONGEST_VALUE = 400


@dataclass(frozen=True)
class WorkflowReference:
    """What a workflow says of another one: a text that is an id or a name, and a name, if there is one."""

    where: str
    value: str
    name: str | None = None


@dataclass(frozen=True)
class CredentialReference:
    """What a node says of its credentials of one kind."""

    where: str
    kind: str
    id: str | None
    name: str | None


Resolve = Callable[[WorkflowReference], str]
ResolveCredential = Callable[[CredentialReference], tuple[str, str]]
"""Returns the id and the name."""


def is_expression(value: Any) -> bool:
    """Return whether n8n evaluates a value when the workflow runs."""
    return isinstance(value, str) and value.startswith("=")


def with_references(
    content: Mapping[str, Any], workflow: Resolve, credential: ResolveCredential, bare: bool = False
) -> dict[str, Any]:
    """Return the content with each reference replaced by what the functions return.

    With C(bare), what an instance has noted beside a reference, such as a name, is left out.
    """
    nodes = [_node(node, workflow, credential, bare) for node in content["nodes"]]
    settings = dict(content.get("settings") or {})
    error = settings.get("errorWorkflow")
    if isinstance(error, str) and error not in ("", AS_SET_UP):
        settings["errorWorkflow"] = workflow(WorkflowReference("settings.errorWorkflow", error))
    callers = settings.get("callerIds")
    if isinstance(callers, str) and callers.strip():
        named = [caller.strip() for caller in callers.split(",") if caller.strip()]
        found = [workflow(WorkflowReference("settings.callerIds", caller)) for caller in named]
        settings["callerIds"] = ",".join(sorted(found) if bare else found)
    return {**content, "nodes": nodes, "settings": settings}


def _node(node: Mapping[str, Any], workflow: Resolve, credential: ResolveCredential, bare: bool) -> dict[str, Any]:
    result = dict(node)
    where = f"node {node.get('name')!r}"
    parameters = node.get("parameters")
    if node.get("type") in CALLERS and isinstance(parameters, dict):
        given = parameters.get("workflowId")
        value = given.get("value") if isinstance(given, dict) else given
        in_database = parameters.get("source", "database") == "database"
        if in_database and isinstance(value, str) and value and not is_expression(value):
            name = given.get("cachedResultName") if isinstance(given, dict) else None
            target = workflow(WorkflowReference(where, value, name if isinstance(name, str) and name else None))
            replaced: Any = target
            if isinstance(given, dict):
                kept = () if bare else ("mode", "cachedResultName")
                replaced = {"__rl": True, **{key: given[key] for key in kept if key in given}, "value": target}
            result["parameters"] = {**parameters, "workflowId": replaced}
    credentials = node.get("credentials")
    if isinstance(credentials, dict):
        replaced_credentials: dict[str, Any] = {}
        for kind, one in credentials.items():
            entry = one if isinstance(one, dict) else {"name": one}
            found, title = credential(CredentialReference(where, kind, entry.get("id"), entry.get("name")))
            replaced_credentials[kind] = found if bare else {"id": found, "name": title}
        result["credentials"] = replaced_credentials
    return result


def normal(content: Mapping[str, Any], positions: bool = False) -> dict[str, Any]:
    """Return the normal form of a content whose references are C(bare)."""
    nodes: dict[str, dict[str, Any]] = {}
    for node in content["nodes"]:
        kept = {
            key: node[key]
            for key in NODE_KEYS
            if key in node and node[key] is not None and node[key] != NODE_DEFAULTS.get(key, ...)
        }
        if not positions or node.get("type") is None:
            kept.pop("position", None)
        name = str(kept.pop("name", ""))
        nodes[name] = _numbers(kept)
    settings = {
        key: value
        for key, value in (content.get("settings") or {}).items()
        if key in SETTINGS and value is not None and value not in (AS_SET_UP, SETTINGS_DEFAULTS.get(key, ...))
    }
    result: dict[str, Any] = {
        "name": content.get("name"),
        "settings": _numbers(settings),
        "nodes": dict(sorted(nodes.items())),
        "connections": sorted(connections(content.get("connections") or {})),
    }
    for part in OPTIONAL:
        if content.get(part):
            result[part] = _numbers(content[part])
    return result


def _numbers(value: Any) -> Any:
    """Return a value with whole numbers as such: JSON has one kind of numbers."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {key: _numbers(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_numbers(each) for each in value]
    return value


Connection = tuple[str, str, int, str, str, int]
"""Source node, kind and number of its output, target node, kind and number of its input."""


def connections(given: Mapping[str, Any]) -> Iterator[Connection]:
    """Yield each connection; what is not one is left out."""
    for source, kinds in given.items():
        for kind, outputs in (kinds if isinstance(kinds, dict) else {}).items():
            for number, targets in enumerate(outputs or []):
                for target in targets or []:
                    yield (
                        source,
                        kind,
                        number,
                        str(target["node"]),
                        str(target.get("type", "main")),
                        target.get("index", 0),
                    )


def digest(form: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a normal form."""
    return hashlib.sha256(canonical(form).encode("utf-8", "surrogatepass")).hexdigest()


def limited(form: Mapping[str, Any], to: Mapping[str, Any]) -> dict[str, Any]:
    """Return a normal form without what another one leaves to n8n: optional parts, settings, and ids."""
    result = {key: value for key, value in form.items() if key not in OPTIONAL or key in to}
    # n8n merges settings, so one that a file has no more stays, unless what n8n takes for none can be written.
    result["settings"] = {
        key: value for key, value in form["settings"].items() if key in to["settings"] or key in REMOVABLE
    }
    nodes: dict[str, Any] = {}
    for name, node in form["nodes"].items():
        other = to["nodes"].get(name)
        chosen = () if other is None else tuple(key for key in ("id", "webhookId") if key not in other)
        nodes[name] = {key: value for key, value in node.items() if key not in chosen}
    result["nodes"] = nodes
    return result


def payload(content: Mapping[str, Any], stored: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return what to send for a content; what the file leaves to n8n stays as it is C(stored)."""
    before = {node.get("name"): node for node in (stored or {}).get("nodes", [])}
    nodes: list[dict[str, Any]] = []
    for node in content["nodes"]:
        sent = {key: node[key] for key in NODE_KEYS if key in node and node[key] is not None}
        for key in ("id", "webhookId"):
            if key not in sent and before.get(node["name"], {}).get(key):
                sent[key] = before[node["name"]][key]
        sent.setdefault("position", before.get(node["name"], {}).get("position", [0, 0]))
        sent.setdefault("parameters", {})
        sent.setdefault("typeVersion", 1)
        nodes.append(sent)
    settings = {
        key: value
        for key, value in (content.get("settings") or {}).items()
        if key in SETTINGS and value is not None and value != AS_SET_UP
    }
    for key in ((stored or {}).get("settings") or {}).keys() & REMOVABLE - settings.keys():
        settings[key] = SETTINGS_DEFAULTS[key]
    result: dict[str, Any] = {
        "name": content["name"],
        "nodes": nodes,
        "connections": content.get("connections") or {},
        "settings": settings,
    }
    # Not static data, which n8n may have changed since it was read.
    for part in OPTIONAL:
        source = content if content.get(part) else stored or {}
        if source.get(part) is not None:
            result[part] = source[part]
    return result


def left_out(content: Mapping[str, Any]) -> list[str]:
    """Return what of a content n8n would refuse, so that it is not sent."""
    found = [f"settings.{key}" for key in content.get("settings") or {} if key not in SETTINGS]
    keys = {key for node in content["nodes"] for key in node if key not in (*NODE_KEYS, "createdAt", "updatedAt")}
    return found + [f"{key} of nodes" for key in sorted(keys)]


def render(form: Mapping[str, Any]) -> str:
    """Return a normal form as lines that read well in a diff: by node and parameter."""
    lines = [f"name: {form['name']}"]
    lines += [f"settings.{line}" for line in _flat(form["settings"])]
    for name, node in form["nodes"].items():
        lines.append(f"node {name} ({node.get('type')} {node.get('typeVersion', 1)})")
        rest = {key: value for key, value in node.items() if key not in ("type", "typeVersion", "parameters")}
        lines += [f"  {line}" for line in _flat(rest)]
        lines += [f"  {line}" for line in _flat(node.get("parameters") or {})]
    for source, kind, number, target, target_kind, index in form["connections"]:
        into = f" {target_kind} {index}" if (target_kind, index) != (kind, 0) else ""
        lines.append(f"connection {source} {kind} {number} -> {target}{into}")
    for name, items in (form.get("pinData") or {}).items():
        count = len(items) if isinstance(items, list) else 1
        lines.append(f"pinned data of node {name}: {count} items, {digest({'items': items})[:12]}")
    for group in form.get("nodeGroups") or []:
        lines.append(f"group {canonical(group)}")
    return "\n".join(lines) + "\n"


def _flat(value: Any, path: str = "") -> Iterator[str]:
    """Yield a line for each value, under its path; a text of several lines has a line for each."""
    if isinstance(value, dict) and value:
        for key in sorted(value):
            yield from _flat(value[key], f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and value:
        for number, each in enumerate(value):
            yield from _flat(each, f"{path}[{number}]")
    elif isinstance(value, str) and "\n" in value:
        yield f"{path}:"
        yield from (f"  {line}" for line in value.split("\n"))
    elif path:
        text = value if isinstance(value, str) else canonical(value)
        yield f"{path}: {text if len(text) <= LONGEST_VALUE else text[:LONGEST_VALUE] + '...'}"
