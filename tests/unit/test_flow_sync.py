"""Reading, validating and writing flows on a server that other people use too."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from ansible_collections.devorch.orchestration.plugins.module_utils.flow_plan import Flow, Plan, make_plan
from ansible_collections.devorch.orchestration.plugins.module_utils.flow_sync import FlowSync, judge
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra_client import (
    Connection,
    KestraClient,
    KestraError,
)

from .fake_kestra import PASSWORD, USERNAME, Answer, FakeKestra


def flow(name: str, namespace: str = "team", more: str = "") -> Flow:
    text = f"id: {name}\nnamespace: {namespace}\ntasks:\n  - id: say\n    type: Log\n{more}"
    return Flow(namespace, name, f"{namespace}-{name}.yml", text)


@pytest.fixture(params=["2.0.5", "1.3.9"])
def server(request: pytest.FixtureRequest) -> Iterator[FakeKestra]:
    with FakeKestra(version=request.param) as fake:
        yield fake


def sync(server: FakeKestra, concurrency: int = 8) -> FlowSync:
    return FlowSync(KestraClient(Connection(server.url, USERNAME, PASSWORD, retries=0, timeout=5)), concurrency)


def plan(server: FakeKestra, *flows: Flow) -> Plan:
    return make_plan(flows, sync(server).read(flows))


def test_a_hundred_flows_are_read_in_three_requests(server: FakeKestra) -> None:
    flows = [flow(f"f{n}", f"team.n{n % 7}") for n in range(100)]
    for each in flows:
        server.add(each.text)
    assert plan(server, *flows).count("unchanged") == 100
    assert len(server.requests) == 3


def test_nothing_is_exported_where_nothing_exists(server: FakeKestra) -> None:
    assert plan(server, flow("a")).count("create") == 1
    assert not any("export" in request for request in server.requests)
    assert sync(server).read([]) == {}


def test_what_the_archive_lacks_is_asked_for(server: FakeKestra) -> None:
    server.add(flow("a").text)
    server.add(flow("b").text)
    server.prepare("GET /api/v1/main/flows/export", Answer(500, {"message": "duplicate entry"}))
    assert plan(server, flow("a"), flow("b")).count("unchanged") == 2
    assert sum(request.endswith("?source=true") for request in server.requests) == 2


def test_an_export_that_is_forbidden_is_an_error(server: FakeKestra) -> None:
    server.add(flow("a").text)
    server.prepare("GET /api/v1/main/flows/export", Answer(403))
    with pytest.raises(KestraError, match="Could not export the flows"):
        plan(server, flow("a"))


def test_revisions_brokenness_and_drafts_are_read(server: FakeKestra) -> None:
    server.add(flow("a").text, exception="no such plugin", tasks=[]).revision = 4
    server.add(flow("b").text, tasks=[])
    server.add(flow("c").text, draft=True)
    stored = sync(server).read([flow("a"), flow("b"), flow("c")])
    assert (stored[("team", "a")].revision, stored[("team", "a")].broken) == (4, "no such plugin")
    assert stored[("team", "b")].broken == "it has no tasks"
    assert stored[("team", "c")].draft


def test_validation_goes_in_one_request_and_names_lines(server: FakeKestra) -> None:
    flows = [flow("a"), flow("b", more="  - id: x\n    type: io.nope\n"), flow("c", more="tasks: []\n"), flow("d")]
    flows[3] = Flow("team", "d", "d.yml", "\ufeff# comment\n---\n" + flows[3].text + "x: old.Log\n")
    problems, warnings = sync(server).validate(plan(server, *flows).items)
    assert sum("validate" in request for request in server.requests) == 1
    assert [str(problem) for problem in problems] == [
        "team-b.yml:7: Kestra refuses flow team/b: Invalid type: io.nope",
        "team-c.yml:3: Kestra refuses flow team/c: tasks: must not be empty",
        "team-c.yml:1: Kestra refuses flow team/c: id: looks odd",
    ]
    assert warnings == ["d.yml: old.Log is replaced by new.Log"]


def test_validation_that_sees_other_boundaries_is_repeated_one_by_one(server: FakeKestra) -> None:
    server.prepare("POST /api/v1/main/flows/validate", Answer(200, [{"index": 0}]))
    problems, _warnings = sync(server).validate(plan(server, flow("a"), flow("b", more="x: nope\n")).items)
    assert problems == []
    assert sum("validate" in request for request in server.requests) == 3


def test_an_answer_without_a_verdict_is_a_problem() -> None:
    problems, _warnings = judge(flow("a"), [])
    assert "did not say" in str(problems[0])


def test_names_that_kestra_reads_otherwise() -> None:
    problems, _warnings = judge(flow("a"), [{"namespace": "team", "flow": "b"}])
    assert "put the names in quotes" in str(problems[0])


def test_deprecations_and_warnings() -> None:
    _problems, warnings = judge(
        flow("a"), [{"warnings": ["w"], "infos": ["i", "i"], "deprecationPaths": ["taskDefaults"]}]
    )
    assert warnings == ["team-a.yml: w", "team-a.yml: i", "team-a.yml: taskDefaults is deprecated"]


def test_writing(server: FakeKestra) -> None:
    server.add(flow("same").text).revision = 9
    server.add(flow("old").text)
    server.add(
        flow("gone").text,
    ).deleted = True
    server.flows[("team", "gone")].revision = 5
    made = plan(server, flow("same"), flow("old", more="# new\n"), flow("gone"), flow("new"))
    outcomes = {o.item.flow.id: (o.action, o.revision) for o in sync(server).apply(made)}
    assert outcomes == {
        "same": ("unchanged", 9),
        "old": ("updated", 2),
        "gone": ("created", 6),
        "new": ("created", 1),
    }


def test_writes_overlap_but_not_more_than_allowed(server: FakeKestra) -> None:
    server.write_delay = 0.05
    made = plan(server, *(flow(f"f{n}") for n in range(12)))
    outcomes = sync(server, concurrency=3).apply(made)
    assert [outcome.item.flow for outcome in outcomes] == [item.flow for item in made.items]
    assert server.most_in_flight in (2, 3)


def test_a_flow_that_somebody_created_meanwhile(server: FakeKestra) -> None:
    made = plan(server, flow("same"), flow("other"))
    server.add(flow("same").text)
    server.add(flow("other").text + "# by somebody\n")
    outcomes = {o.item.flow.id: (o.action, o.revision) for o in sync(server).apply(made)}
    assert outcomes == {"same": ("unchanged", 1), "other": ("updated", 2)}


def test_a_flow_that_somebody_deleted_meanwhile(server: FakeKestra) -> None:
    server.add(flow("a").text)
    made = plan(server, flow("a", more="# new\n"))
    server.flows[("team", "a")].deleted = True
    assert [(o.action, o.revision) for o in sync(server).apply(made)] == [("created", 2)]


def test_a_refused_flow_does_not_keep_the_others_back(server: FakeKestra) -> None:
    made = plan(server, flow("a"), flow("b", more="refuse: me\n"), flow("c"))
    outcomes = sync(server, concurrency=1).apply(made)
    assert [o.action for o in outcomes] == ["created", "failed", "created"]
    assert outcomes[1].error == "HTTP 422: tasks: must not be empty"


@pytest.mark.parametrize("answer", [Answer(500, {"message": "database"}), Answer(401), Answer(0, drop=True)])
def test_a_failing_server_stops_the_writes(server: FakeKestra, answer: Answer) -> None:
    made = plan(server, *(flow(name) for name in "abcd"))
    server.prepare("POST /api/v1/main/flows", Answer(200, {"revision": 1}), answer)
    outcomes = sync(server, concurrency=1).apply(made)
    assert [o.action for o in outcomes] == ["created", "failed", "skipped", "skipped"]
    assert all(o.error for o in outcomes[1:])
    assert len(server.writes) == 2


def test_a_server_that_contradicts_itself(server: FakeKestra) -> None:
    made = plan(server, flow("a"))
    server.prepare("POST /api/v1/main/flows", Answer(409, {"detail": "Flow id already exists"}))
    assert "says both" in str(sync(server).apply(made)[0].error)


def test_a_text_that_is_stored_otherwise_is_told(server: FakeKestra) -> None:
    made = plan(server, flow("a"))
    server.prepare("POST /api/v1/main/flows", Answer(200, {"revision": 1, "source": "trimmed"}))
    assert "stored another text" in str(sync(server).apply(made)[0].warning)
