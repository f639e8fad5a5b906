# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Find flows on a server, and gather what is known about each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.devorch.orchestration.plugins.module_utils.http_session import ParamValue
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra import executions, triggers
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.client import KestraClient, KestraError
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows.deprecations import findings
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows.sync import broken
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows.yaml_nodes import YamlProblem, compose


@dataclass(frozen=True)
class Query:
    """Which flows are looked for; what is None or empty does not matter."""

    namespace: str | None = None
    below: bool = False
    id: str | None = None
    text: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)

    def params(self, has_filters: bool) -> dict[str, ParamValue]:
        """Return the query of a search. Before 1.0 a namespace includes those below it."""
        found: dict[str, ParamValue] = {}
        if not has_filters:
            if self.namespace:
                found["namespace"] = self.namespace
            if self.text:
                found["q"] = self.text
            if self.labels:
                found["labels"] = [f"{name}:{value}" for name, value in self.labels.items()]
            return found
        if self.namespace:
            found[f"filters[namespace][{'PREFIX' if self.below else 'EQUALS'}]"] = self.namespace
        if self.text:
            found["filters[q][EQUALS]"] = self.text
        for name, value in self.labels.items():
            found[f"filters[labels][EQUALS][{name}]"] = value
        return found

    def matches(self, raw: Mapping[str, Any]) -> bool:
        """Whether a flow that was found is one that was looked for: servers read the same query differently."""
        namespace = str(raw.get("namespace"))
        inside = self.below and namespace.startswith(f"{self.namespace}.")
        if self.namespace and namespace != self.namespace and not inside:
            return False
        return self.labels.items() <= executions.labels_of(raw).items()


@dataclass(frozen=True)
class Found:
    """A flow as the server reports it, with the details that were asked for. The others are None."""

    raw: Mapping[str, Any]
    revisions: Sequence[Mapping[str, Any]] | None = None
    triggers: Sequence[Mapping[str, Any]] | None = None
    last_execution: Mapping[str, Any] | None = None
    edges: Sequence[Mapping[str, Any]] | None = None


def find_flows(
    client: KestraClient,
    query: Query,
    most: int,
    concurrency: int,
    *,
    source: bool = False,
    revisions: bool = False,
    activity: bool = False,
    dependencies: bool = False,
) -> list[Found]:
    """Return the flows that fit, at most C(most), with the details that were asked for."""
    if query.id is not None:
        one = client.get_flow(query.namespace or "", query.id)
        raws = [one] if one is not None and query.matches(one) else []
    else:
        has_filters = client.server_info().has_filters
        listed = client.search(client.path("flows", "search"), "list the flows", query.params(has_filters), most)
        raws = [raw for raw in listed if query.matches(raw) and not raw.get("deleted")]
    raws.sort(key=lambda raw: (str(raw["namespace"]), str(raw["id"])))

    def more(raw: Mapping[str, Any]) -> Found:
        namespace, flow_id = str(raw["namespace"]), str(raw["id"])
        whole = client.get_flow(namespace, flow_id) or raw if source and "source" not in raw else raw
        history = client.revisions(namespace, flow_id) if revisions else None
        states = None
        if activity:
            path = client.path("triggers", namespace, flow_id)
            states = client.search(path, f"read the triggers of flow {namespace}/{flow_id}")
        return Found(whole, history, states, edges=_edges(client, namespace, flow_id) if dependencies else None)

    with ThreadPoolExecutor(max_workers=concurrency) as pool:
        found = list(pool.map(more, raws))
    if not activity or not found:
        return found
    last = _last_executions(client, raws)
    return [replace(each, last_execution=last.get((str(each.raw["namespace"]), str(each.raw["id"])))) for each in found]


def _edges(client: KestraClient, namespace: str, flow_id: str) -> list[dict[str, Any]]:
    """Return which flows start this one, and which it starts: C(side), C(namespace), C(id) and C(relation)."""
    doing = f"read the dependencies of flow {namespace}/{flow_id}"
    path = client.path("flows", namespace, flow_id, "dependencies")
    graph = client.object(client.json(client.request("GET", path, doing), doing), doing)
    nodes = {node.get("uid"): node for node in graph.get("nodes") or []}
    own = {uid for uid, node in nodes.items() if (node.get("namespace"), node.get("id")) == (namespace, flow_id)}
    found = []
    for edge in graph.get("edges") or []:
        for side, here, there in (("started_by", "target", "source"), ("starts", "source", "target")):
            other = nodes.get(edge.get(there))
            if edge.get(here) in own and other is not None:
                names = {"namespace": other.get("namespace"), "id": other.get("id")}
                found.append({"side": side, **names, "relation": edge.get("relation")})
    return sorted(found, key=lambda each: tuple(str(value) for value in each.values()))


def _last_executions(client: KestraClient, raws: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the last execution of each flow that has one."""
    doing = "read the last executions"
    keys = [{"namespace": raw["namespace"], "id": raw["id"]} for raw in raws]
    response = client.send_json("POST", client.path("executions", "latest"), doing, keys, expected=(200, 404, 405))
    if response.status_code != 200:
        version = client.server_info().version
        raise KestraError(
            doing, f"this version of Kestra ({version}) cannot list the last executions; set activity=false"
        )
    answer = client.json(response, doing)
    return {(str(each.get("namespace")), str(each.get("flowId"))): each for each in answer}


def as_result(found: Found, source: bool, target: tuple[int, ...] | None = None) -> dict[str, Any]:
    """Return the entry of a module's C(flows); for a version C(target) with what the flow has that it lacks."""
    raw = found.raw
    result: dict[str, Any] = {
        "namespace": raw.get("namespace"),
        "id": raw.get("id"),
        "revision": raw.get("revision"),
        "description": raw.get("description"),
        "labels": executions.labels_of(raw),
        "disabled": bool(raw.get("disabled")),
        "draft": bool(raw.get("draft")),
        "problem": broken(raw),
        "updated": raw.get("updated"),
    }
    if source:
        result["source"] = raw.get("source")
    if found.revisions is not None:
        result["revisions"] = [_revision(each, source) for each in found.revisions]
    if found.triggers is not None:
        result["triggers"] = [
            {"id": each.get("triggerId"), **triggers.parse(each).as_result()} for each in found.triggers
        ]
        result["last_execution"] = _execution(found.last_execution)
    if found.edges is not None:
        for side in ("started_by", "starts"):
            result[side] = [
                {name: each[name] for name in ("namespace", "id", "relation")}
                for each in found.edges
                if each["side"] == side
            ]
    if target is not None:
        result["findings"] = _findings(raw, target)
    return result


def _findings(raw: Mapping[str, Any], target: tuple[int, ...]) -> list[dict[str, Any]]:
    """Return what the text of a stored flow has that a server of the version C(target) lacks."""
    text = str(raw.get("source") or "")
    problem = broken(raw)
    found: list[dict[str, Any]] = []
    if problem is not None:
        found.append({"line": None, "message": f"Kestra cannot read it: {problem}", "refused": True})
    try:
        roots = compose(text)
    except YamlProblem as error:
        return [*found, {"line": error.line, "message": f"YAML syntax: {error}", "refused": True}]
    if target < (2, 0):
        return found
    for root in roots:
        found += [
            {"line": each.line, "message": each.message, "refused": each.refused}
            for each in findings(root, text)
            if not each.before_2
        ]
    return found


def _revision(raw: Mapping[str, Any], source: bool) -> dict[str, Any]:
    shown = {name: raw.get(name) for name in ("revision", "updated")}
    shown.update({name: bool(raw.get(name)) for name in ("deleted", "disabled")})
    return {**shown, "source": raw.get("source")} if source else shown


def _execution(raw: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if raw is None:
        return None
    state = raw.get("state")
    current = state.get("current") if isinstance(state, dict) else raw.get("status")
    started = state.get("startDate") if isinstance(state, dict) else raw.get("startDate")
    return {"id": raw.get("id"), "state": current, "start_date": started}
