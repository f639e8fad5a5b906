"""Finding flows, without a server."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows.info import Found, Query, as_result

from .....fake_kestra import PASSWORD, USERNAME, Answer, FakeKestra
from .....in_process import call

QUERY = Query("company", True, None, "hello", {"team": "ops"})


def test_queries_of_both_kinds_of_servers() -> None:
    assert QUERY.params(has_filters=True) == {
        "filters[namespace][PREFIX]": "company",
        "filters[q][EQUALS]": "hello",
        "filters[labels][EQUALS][team]": "ops",
    }
    assert QUERY.params(has_filters=False) == {"namespace": "company", "q": "hello", "labels": ["team:ops"]}
    assert Query("company").params(has_filters=True) == {"filters[namespace][EQUALS]": "company"}
    assert Query().params(has_filters=True) == Query().params(has_filters=False) == {}


@pytest.mark.parametrize(
    ("namespace", "below", "fits"),
    [
        ("company", False, True),
        ("company", True, True),
        ("company.a", True, True),
        ("company.a", False, False),
        ("companyish", True, False),
        ("other", True, False),
    ],
)
def test_what_fits(namespace: str, below: bool, fits: bool) -> None:
    raw: dict[str, Any] = {"namespace": namespace, "labels": [{"key": "team", "value": "ops"}]}
    assert Query("company", below).matches(raw) is fits
    assert Query(labels={"team": "ops"}).matches(raw) and not Query(labels={"team": "dev"}).matches(raw)


def test_results_of_both_dialects() -> None:
    raw = {"namespace": "a", "id": "b", "revision": 3, "labels": [], "exception": "gone", "tasks": [], "source": "s"}
    state = {"triggerId": "t", "nextExecutionDate": "tomorrow", "date": "today"}
    last_old = {"id": "x", "state": {"current": "FAILED", "startDate": "now"}}
    last_new = {"id": "x", "status": "FAILED", "startDate": "now"}
    for last in (last_old, last_new):
        result = as_result(Found(raw, [{"revision": 1, "deleted": True, "source": "s"}], [state], last), source=False)
        assert result["problem"] == "gone" and "source" not in result
        assert result["last_execution"] == {"id": "x", "state": "FAILED", "start_date": "now"}
        assert result["revisions"] == [{"revision": 1, "updated": None, "deleted": True, "disabled": False}]
        assert result["triggers"][0]["id"] == "t" and result["triggers"][0]["next_date"] == "tomorrow"
    plain = as_result(Found(raw), source=True)
    assert plain["source"] == "s" and "revisions" not in plain and "triggers" not in plain


OLD = "id: {}\nnamespace: team\npluginDefaults: []\ntasks:\n  - id: a\n    type: io.kestra.plugin.core.debug.Echo\n"


def look(server: FakeKestra, **options: Any) -> dict[str, Any]:
    login = {"url": server.url, "username": USERNAME, "password": PASSWORD, "retries": 0}
    return call("kestra_flow_info", {**login, **options})


def test_the_problems_of_all_stored_flows_come_in_one_run() -> None:
    with FakeKestra("1.3.9") as server:
        server.add(OLD.format("one"))
        server.add(OLD.format("two"))
        server.add("id: good\nnamespace: team\ntenantId: x\ntasks: []\n")
        server.add("id: broken\nnamespace: team\n", exception="it has no tasks")
        result = look(server, target_version="v2.0.5")
        before = look(server, target_version="1.3.20")
        assert server.writes == []
    assert [problem.split(";")[0].split(":")[:2] for problem in result["problems"]] == [
        ["team/broken", " Kestra cannot read it"],
        ["team/one", "3"],
        ["team/one", "6"],
        ["team/two", "3"],
        ["team/two", "6"],
    ]
    assert "pluginDefaults was removed in Kestra 2.0" in result["problems"][1]
    assert result["msg"] == "4 flows, 3 of them with problems for Kestra v2.0.5"
    assert "source" not in result["flows"][0] and result["flows"][1]["findings"] == []
    assert [len(flow["findings"]) for flow in before["flows"]] == [1, 0, 0, 0]


def test_a_stored_text_that_is_no_yaml_is_a_problem() -> None:
    raw = {"namespace": "a", "id": "b", "source": "id: [", "tasks": [1]}
    (finding,) = as_result(Found(raw), False, (2, 0))["findings"]
    assert finding["message"].startswith("YAML syntax") and finding["refused"]


def test_a_version_that_is_none_is_refused() -> None:
    with FakeKestra() as server:
        assert "target_version is 'latest'" in look(server, target_version="latest")["msg"]


def test_which_flows_start_which() -> None:
    def node(uid: str) -> dict[str, str]:
        return {"uid": f"main_team_{uid}", "namespace": "team", "id": uid}

    def edge(source: str, target: str, relation: str) -> dict[str, str]:
        return {"source": f"main_team_{source}", "target": f"main_team_{target}", "relation": relation}

    edges = [edge("one", "down", "FLOW_TASK"), edge("up", "one", "FLOW_TRIGGER"), edge("up", "gone", "FLOW_TASK")]
    graph = {"nodes": [node("one"), node("up"), node("down")], "edges": edges}
    with FakeKestra() as server:
        server.add(OLD.format("one"))
        server.prepare("GET /api/v1/main/flows/team/one/dependencies", Answer(200, graph), Answer(200, {}))
        (flow,) = look(server, namespace="team", id="one", dependencies=True)["flows"]
        (alone,) = look(server, namespace="team", id="one", dependencies=True)["flows"]
    assert flow["starts"] == [{"namespace": "team", "id": "down", "relation": "FLOW_TASK"}]
    assert flow["started_by"] == [{"namespace": "team", "id": "up", "relation": "FLOW_TRIGGER"}]
    assert (alone["starts"], alone["started_by"]) == ([], [])
