"""The flow endpoints, called through Kestra's official Python SDK, whose models take the answers."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from typing import Any

import pytest

from .kestra import Kestra, wait_until
from .sdk import TENANT, ApiException, client, where
from .test_kestra_server import flow

NAMESPACE = "sdk.flows"
PARENT = (
    "tasks:\n"
    "  - id: call\n    type: io.kestra.plugin.core.flow.Subflow\n"
    f"    namespace: {NAMESPACE}\n    flowId: child\n"
    "  - id: say\n    type: io.kestra.plugin.core.log.Log\n    message: needle in a haystack\n"
)


@pytest.fixture(scope="module")
def sdk(kestra: Kestra) -> Iterator[Any]:
    api = client(kestra)
    kestra.save_flow(flow("child", NAMESPACE))
    kestra.save_flow(flow("parent", NAMESPACE, tasks=PARENT, more="labels: {team: sdk}\n"))
    yield api


def ids(*names: str) -> list[dict[str, str]]:
    return [{"namespace": NAMESPACE, "id": name} for name in names]


def test_one_flow(sdk: Any) -> None:
    source = flow("life", NAMESPACE)
    created = sdk.flows.create_flow(tenant=TENANT, body=source)
    assert (created.revision, created.source, created.draft) == (1, source, False)
    with pytest.raises(ApiException) as exists:
        sdk.flows.create_flow(tenant=TENANT, body=source)
    assert exists.value.status == 409
    updated = sdk.flows.update_flow(NAMESPACE, "life", TENANT, source + "# why\n")
    assert updated.revision == 2
    read = sdk.flows.flow(NAMESPACE, "life", TENANT, source=True, revision=1)
    assert read.source == source
    assert sdk.flows.task_from_flow(NAMESPACE, "life", "say", TENANT).id == "say"
    sdk.flows.delete_flow(NAMESPACE, "life", TENANT)
    with pytest.raises(ApiException) as gone:
        sdk.flows.flow(NAMESPACE, "life", TENANT)
    assert gone.value.status == 404
    assert sdk.flows.flow(NAMESPACE, "life", TENANT, allow_deleted=True).deleted


def test_drafts(sdk: Any) -> None:
    task = {"id": "say", "type": "io.kestra.plugin.core.log.Log", "message": "hello"}
    body = {"id": "draft", "namespace": NAMESPACE, "tasks": [task]}
    assert sdk.flows.create_flow_from_object(TENANT, body, draft=True).draft
    body["description"] = "no draft any more"
    finished = sdk.flows.update_flow_from_object(NAMESPACE, "draft", TENANT, body, draft=False)
    assert (finished.draft, finished.revision) == (False, 2)


def test_revisions(sdk: Any, kestra: Kestra) -> None:
    for text in ("", "# two\n", "# three\n"):
        kestra.save_flow(flow("revised", NAMESPACE) + text)
    revisions = sdk.flows.list_flow_revisions(NAMESPACE, "revised", TENANT)
    assert [one.revision for one in revisions] == [1, 2, 3]
    sdk.flows.delete_revisions(NAMESPACE, "revised", TENANT, [1, 2])
    left = sdk.flows.list_flow_revisions(NAMESPACE, "revised", TENANT, allow_delete=False)
    assert [one.revision for one in left] == [3]
    sdk.flows.delete_revisions(NAMESPACE, "revised", TENANT, [3])
    with pytest.raises(ApiException) as gone:
        sdk.flows.flow(NAMESPACE, "revised", TENANT)
    assert gone.value.status == 404


def test_search_and_lists(sdk: Any) -> None:
    filters = [where("namespace", "EQUALS", NAMESPACE), where("labels", "EQUALS", {"team": "sdk"})]
    page = sdk.flows.search_flows(TENANT, page=1, size=10, sort=["id:asc"], filters=filters)
    assert (page.total, [one.id for one in page.results]) == (1, ["parent"])
    hits = sdk.flows.search_flows_by_source_code(TENANT, q="needle in", namespace=NAMESPACE)
    (hit,) = hits.results
    assert (hits.total, hit.namespace, hit.id) == (1, NAMESPACE, "parent")
    assert "[mark]needle in[/mark] a haystack" in hit.matches[0].snippet
    assert {"child", "parent"} <= {one.id for one in sdk.flows.list_flows_by_namespace(NAMESPACE, TENANT)}
    assert NAMESPACE in sdk.flows.list_distinct_namespaces(TENANT, q="sdk")


def test_exports(sdk: Any) -> None:
    query = sdk.flows.export_flows_by_query(TENANT, filters=[where("labels", "EQUALS", {"team": "sdk"})])
    named = sdk.flows.export_flows_by_ids(TENANT, ids("child", "parent"))
    names = [zipfile.ZipFile(io.BytesIO(archive)).namelist() for archive in (query, named)]
    assert names == [["sdk.flows.parent.yml"], ["sdk.flows.child.yml", "sdk.flows.parent.yml"]]


def test_disabling_and_deleting_several(sdk: Any, kestra: Kestra) -> None:
    for name in ("some", "other"):
        kestra.save_flow(flow(name, NAMESPACE, more="labels: {batch: several}\n"))
    several = [where("labels", "EQUALS", {"batch": "several"})]
    assert sdk.flows.disable_flows_by_ids(TENANT, ids("some")).count == 1
    assert sdk.flows.disable_flows_by_query(TENANT, filters=several).count == 1
    assert sdk.flows.flow(NAMESPACE, "other", TENANT).disabled
    assert sdk.flows.enable_flows_by_ids(TENANT, ids("other")).count == 1
    assert sdk.flows.enable_flows_by_query(TENANT, filters=several).count == 1
    assert sdk.flows.delete_flows_by_ids(TENANT, ids("some")).count == 1
    assert sdk.flows.delete_flows_by_query(TENANT, filters=several).count == 1


def test_graphs_and_dependencies(sdk: Any, kestra: Kestra) -> None:
    graph = sdk.flows.generate_flow_graph(NAMESPACE, "parent", TENANT)
    assert any((node.uid or "").endswith("root.call") for node in graph.nodes)
    drawn = sdk.flows.generate_flow_graph_from_source(TENANT, flow("drawn", NAMESPACE))
    assert any((node.uid or "").endswith("root.say") for node in drawn.nodes)

    def known() -> bool:
        found = sdk.flows.flow_dependencies(NAMESPACE, "child", TENANT, destination_only=False)
        return {node.id for node in found.nodes} == {"child", "parent"} and len(found.edges) == 1

    wait_until("the dependency is known", known, 30)


def test_validation(sdk: Any) -> None:
    good, bad = sdk.flows.validate_flows(TENANT, f"{flow('good', NAMESPACE)}---\n{flow('bad', tasks='tasks: []')}")
    assert (good.constraints, good.flow, good.outdated) == (None, "good", False)
    assert "must not be empty" in bad.constraints
    task = {"id": "say", "type": "io.kestra.plugin.core.log.Log", "message": "hello"}
    assert sdk.flows.validate_task("TASKS", TENANT, task).constraints is None
    assert (
        "must not be null" in sdk.flows.validate_task("TASKS", TENANT, {"id": "say", "type": task["type"]}).constraints
    )
    trigger = {"id": "at", "type": "io.kestra.plugin.core.trigger.Schedule", "cron": "never"}
    assert "cron" in sdk.flows.validate_trigger(TENANT, trigger).constraints
