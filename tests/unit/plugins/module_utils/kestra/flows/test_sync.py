"""Reading, validating and writing flows on a server that other people use too."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.client import (
    Connection,
    KestraClient,
    KestraError,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows.plan import Plan, make_plan
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows.record import RECORD_KEY
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows.source import Flow
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows.sync import (
    PATIENCE,
    FlowSync,
    read_answers,
)

from .....fake_kestra import PASSWORD, USERNAME, Answer, FakeKestra


def flow(name: str, namespace: str = "team", more: str = "") -> Flow:
    text = f"id: {name}\nnamespace: {namespace}\ntasks:\n  - id: say\n    type: Log\n{more}"
    return Flow(namespace, name, f"{namespace}-{name}.yml", text)


@pytest.fixture(params=["2.0.5", "1.3.9"])
def server(request: pytest.FixtureRequest) -> Iterator[FakeKestra]:
    with FakeKestra(version=request.param) as fake:
        yield fake


def sync(server: FakeKestra, concurrency: int = 8, retries: int = 0) -> FlowSync:
    connection = Connection(server.url, USERNAME, PASSWORD, retries=retries, timeout=5, backoff=0.001)
    return FlowSync(KestraClient(connection), concurrency)


def plan(server: FakeKestra, *flows: Flow, prune: bool = False) -> Plan:
    namespaces = {flow.namespace for flow in flows}
    stored = sync(server).read(namespaces)
    return make_plan(flows, stored, namespaces if prune else (), {"managed-by": "ansible"})


def texts(server: FakeKestra) -> dict[str, str]:
    """What the server holds, by id."""
    return {key[1]: stored.source for key, stored in server.flows.items() if not stored.deleted}


def test_updates_are_written_before_new_flows(server: FakeKestra) -> None:
    server.add(flow("b").text)
    made = plan(server, flow("a"), flow("b", more="# new\n"), flow("c"))
    outcomes = sync(server, concurrency=1).apply(made)
    assert [outcome.action for outcome in outcomes] == ["created", "updated", "created"]
    assert [write.split()[0] for write in server.flow_writes] == ["PUT", "POST", "POST"]


def test_a_hundred_flows_are_read_in_three_requests(server: FakeKestra) -> None:
    flows = [flow(f"f{n}", f"team.n{n % 7}") for n in range(100)]
    for each in flows:
        server.add(each.text)
    assert len(plan(server, *flows).with_action("unchanged")) == 100
    assert len(server.requests) == 3


def test_nothing_is_asked_about_no_namespace(server: FakeKestra) -> None:
    assert sync(server).read([]) == {}
    assert server.requests == []


def test_what_the_archive_lacks_is_asked_for(server: FakeKestra) -> None:
    server.add(flow("a").text)
    server.add(flow("b").text)
    server.prepare("GET /api/v1/main/flows/export", Answer(500, {"message": "duplicate entry"}))
    assert len(plan(server, flow("a"), flow("b")).with_action("unchanged")) == 2
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
    stored = sync(server).read({"team"})
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
    problems, _warnings = read_answers(flow("a"), [])
    assert "did not say" in str(problems[0])


def test_names_that_kestra_reads_otherwise() -> None:
    problems, _warnings = read_answers(flow("a"), [{"namespace": "team", "flow": "b"}])
    assert "put the names in quotes" in str(problems[0])


def test_deprecations_and_warnings() -> None:
    _problems, warnings = read_answers(
        flow("a"), [{"warnings": ["w"], "infos": ["i", "i"], "deprecationPaths": ["taskDefaults"]}]
    )
    assert warnings == ["team-a.yml: w", "team-a.yml: i", "team-a.yml: taskDefaults is deprecated"]


def test_writing(server: FakeKestra) -> None:
    server.add(flow("same").text).revision = 9
    server.add(flow("old").text)
    server.add(flow("owned", more="labels: {managed-by: ansible}\n").text)
    server.add(flow("gone").text).deleted = True
    server.flows[("team", "gone")].revision = 5
    made = plan(server, flow("same"), flow("old", more="# new\n"), flow("gone"), flow("new"), prune=True)
    outcomes = {o.item.key[1]: (o.action, o.revision, o.state) for o in sync(server).apply(made)}
    assert outcomes == {
        "same": ("unchanged", 9, "previous"),
        "old": ("updated", 2, "planned"),
        "gone": ("created", 6, "planned"),
        "new": ("created", 1, "planned"),
        "owned": ("pruned", None, "planned"),
    }
    assert server.flow_writes[-1].startswith("DELETE ")


def test_what_is_written_is_recorded_first(server: FakeKestra) -> None:
    server.add(flow("old").text)
    made = plan(server, flow("old", more="# new\n"), flow("new", namespace="other"))
    sync(server).apply(made)
    writes = ["kv" if "/kv/" in request else "flow" for request in server.writes]
    assert writes == ["kv", "kv", "flow", "flow"]
    records, warnings = sync(server).read_records({"team", "other", "third"})
    assert warnings == [] and records["third"].hashes == {}
    assert records["team"].knows("old", flow("old", more="# new\n").text)
    assert records["team"].knows("old", flow("old").text) is False
    assert records["other"].knows("new", flow("new", namespace="other").text)
    assert all(RECORD_KEY in path for path in server.values)
    before = len(server.writes)
    sync(server).apply(plan(server, flow("old", more="# new\n")))
    assert len(server.writes) == before


def test_a_record_that_may_not_be_read_is_told(server: FakeKestra) -> None:
    server.add(flow("a").text)
    path = "/api/v1/main/namespaces/team/kv/"
    server.prepare(f"GET {path}", Answer(403), Answer(403))
    records, warnings = sync(server).read_records({"team"})
    assert records == {} and "team cannot be detected" in warnings[0]
    assert [o.action for o in sync(server).apply(plan(server, flow("a", more="# new\n")), records)] == ["updated"]
    assert server.values == {}


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
    outcomes = {o.item.key[1]: (o.action, o.state) for o in sync(server).apply(made, rollback=False)}
    assert outcomes == {"same": ("unchanged", "planned"), "other": ("failed", "other")}
    assert texts(server)["other"].endswith("# by somebody\n")


def test_a_flow_that_somebody_deleted_meanwhile(server: FakeKestra) -> None:
    server.add(flow("a").text)
    made = plan(server, flow("a", more="# new\n"))
    server.flows[("team", "a")].deleted = True
    (outcome,) = sync(server).apply(made)
    assert (outcome.action, outcome.state) == ("failed", "other")
    assert texts(server) == {}


def test_with_keep_a_refused_flow_does_not_keep_the_others_back(server: FakeKestra) -> None:
    server.add(flow("owned", more="labels: {managed-by: ansible}\n").text)
    made = plan(server, flow("a"), flow("b", more="refuse: me\n"), flow("c"), prune=True)
    outcomes = sync(server, concurrency=1).apply(made, rollback=False)
    assert [o.action for o in outcomes] == ["created", "failed", "created", "skipped"]
    assert outcomes[1].error == "HTTP 422: tasks: must not be empty"
    assert sorted(texts(server)) == ["a", "c", "owned"]


def test_a_refused_flow_rolls_everything_back(server: FakeKestra) -> None:
    server.add(flow("a").text)
    server.add(flow("owned", more="labels: {managed-by: ansible}\n").text)
    before = texts(server)
    made = plan(server, flow("a", more="# new\n"), flow("b"), flow("c", more="refuse: me\n"), flow("d"), prune=True)
    outcomes = {o.item.key[1]: (o.action, o.state) for o in sync(server, concurrency=1).apply(made)}
    assert outcomes == {
        "a": ("rolled_back", "previous"),
        "b": ("rolled_back", "previous"),
        "c": ("failed", "previous"),
        "d": ("skipped", "previous"),
        "owned": ("skipped", "previous"),
    }
    assert texts(server) == before
    assert list(server.values.values()) == [{}]


def test_a_failed_prune_brings_the_pruned_back(server: FakeKestra) -> None:
    for name in ("p", "q"):
        server.add(flow(name, more="labels: {managed-by: ansible}\n").text)
    before = texts(server)
    made = plan(server, flow("new"), prune=True)
    server.prepare("DELETE /api/v1/main/flows/team/q", Answer(403))
    outcomes = {o.item.key[1]: (o.action, o.state) for o in sync(server, concurrency=1).apply(made)}
    assert outcomes == {
        "new": ("rolled_back", "previous"),
        "p": ("rolled_back", "previous"),
        "q": ("failed", "previous"),
    }
    assert texts(server) == before


def test_what_cannot_be_put_back_is_named(server: FakeKestra) -> None:
    server.add(flow("a").text)
    made = plan(server, flow("a", more="# new\n"), flow("b", more="refuse: me\n"))
    put = "PUT /api/v1/main/flows/team/a"
    changer = sync(server, concurrency=1)
    real = changer._restore

    def refuse(*arguments: object) -> None:
        server.prepare(put, Answer(403))
        real(*arguments)  # type: ignore[arg-type]

    changer._restore = refuse  # type: ignore[method-assign]
    outcomes = {o.item.key[1]: (o.action, o.state, o.error) for o in changer.apply(made)}
    assert outcomes["a"][:2] == ("failed", "planned")
    assert str(outcomes["a"][2]).startswith("could not be put back: HTTP 403")
    assert texts(server)["a"].endswith("# new\n")


@pytest.mark.parametrize(
    "answer",
    [Answer(500, {"message": "database"}), Answer(0, drop=True), Answer(200, "<html>", "text/html"), Answer(429)],
    ids=["500", "closed", "html", "429"],
)
def test_a_write_is_tried_again_when_the_server_fails_for_a_moment(server: FakeKestra, answer: Answer) -> None:
    server.add(flow("old").text)
    server.add(flow("owned", more="labels: {managed-by: ansible}\n").text)
    made = plan(server, flow("new"), flow("old", more="# new\n"), prune=True)
    for request in ("POST", "PUT", "DELETE"):
        server.prepare(f"{request} /api/v1/main/flows", answer)
    outcomes = sync(server, retries=2).apply(made)
    assert [(o.action, o.state) for o in outcomes] == [
        ("created", "planned"),
        ("updated", "planned"),
        ("pruned", "planned"),
    ]
    assert sorted(texts(server)) == ["new", "old"]
    assert server.flows[("team", "new")].revision == 1


@pytest.mark.parametrize("answer", [Answer(500, {"message": "database"}), Answer(401), Answer(0, drop=True)])
def test_with_keep_a_failing_server_stops_the_writes(server: FakeKestra, answer: Answer) -> None:
    made = plan(server, *(flow(name) for name in "abcd"))
    server.prepare("POST /api/v1/main/flows", Answer(200, {"revision": 1, "source": flow("a").text}), answer)
    outcomes = sync(server, concurrency=1).apply(made, rollback=False)
    assert [o.action for o in outcomes] == ["created", "failed", "skipped", "skipped"]
    assert all(o.error for o in outcomes[1:])
    assert len(server.flow_writes) == 2


def test_reading_is_tried_again_when_an_answer_is_damaged(server: FakeKestra) -> None:
    server.add(flow("a").text)
    server.prepare("GET /api/v1/main/flows/export", Answer(200, b"PK damaged"))
    server.prepare("GET /api/v1/main/flows/search", Answer(200, "<html>", "text/html"), Answer(500))
    assert len(sync(server, retries=2).read({"team"})) == 1


def test_when_the_time_is_over_nothing_more_is_written(server: FakeKestra) -> None:
    server.write_delay = 0.2
    made = plan(server, *(flow(name) for name in "abcd"))
    changer = sync(server, concurrency=1)
    changer.client.http.deadline = time.monotonic() + 0.3
    outcomes = changer.apply(made)
    actions = [o.action for o in outcomes]
    assert "failed" in actions and actions[-1] == "skipped"
    assert all(o.state == "previous" for o in outcomes)
    assert texts(server) == {}


def test_a_text_that_is_stored_otherwise_is_told(server: FakeKestra) -> None:
    made = plan(server, flow("a"))
    server.prepare("POST /api/v1/main/flows", Answer(200, {"revision": 1, "source": "trimmed"}))
    assert "stored another text" in str(sync(server).apply(made)[0].warning)


def owned(name: str) -> Flow:
    return flow(name, more="labels: {managed-by: ansible}\n")


def late(server: FakeKestra, request: str, edit: Callable[[], None]) -> None:
    """Let another client do something once, in the instant before the first request that begins like this."""
    left = [edit]

    def before(seen: str) -> None:
        if seen.startswith(request) and left:
            left.pop()()

    server.before = before


@pytest.mark.parametrize("many", [0, 12])
@pytest.mark.parametrize("rollback", [True, False])
def test_flows_that_moved_since_the_plan_are_named_and_not_written(
    server: FakeKestra, many: int, rollback: bool
) -> None:
    """Of many flows a list tells; few are looked at one by one."""
    for each in (flow("edited"), flow("gone"), owned("pruned"), flow("quiet")):
        server.add(each.text)
    files = [flow(name, more="# new\n") for name in ("edited", "gone", "made", "quiet")]
    made = plan(server, *files, *(flow(f"f{n}") for n in range(many)), prune=True)
    server.edit(flow("edited", more="# by somebody\n").text)
    server.edit(flow("made", more="# by somebody\n").text)
    server.edit(owned("pruned").text + "# by somebody\n")
    server.remove("team", "gone")
    # Saved twice, and as it was: there is nothing to lose.
    server.edit(flow("quiet", more="# x\n").text)
    server.edit(flow("quiet").text)
    outcomes = {o.item.key[1]: o for o in sync(server).apply(made, rollback=rollback)}
    for name in ("edited", "made", "pruned", "gone"):
        assert (outcomes[name].action, outcomes[name].state) == ("failed", "other")
        assert "another client" in str(outcomes[name].error)
    assert texts(server)["edited"].endswith("# by somebody\n") and "pruned" in texts(server)
    assert outcomes["quiet"].action == ("skipped" if rollback else "updated")
    assert bool(server.flow_writes) is not rollback


def test_an_edit_in_the_instant_before_the_write_is_stored_again(server: FakeKestra) -> None:
    server.add(flow("a").text)
    made = plan(server, flow("a", more="# new\n"), flow("b"))
    edited = flow("a", more="# by somebody\n").text
    late(server, "PUT ", lambda: server.edit(edited))
    outcomes = {o.item.key[1]: o for o in sync(server, concurrency=1).apply(made)}
    assert (outcomes["a"].action, outcomes["a"].state, outcomes["a"].revision) == ("failed", "other", 4)
    assert outcomes["a"].error == "another client wrote revision 2 in the meantime; its text is stored again"
    assert texts(server) == {"a": edited} and outcomes["b"].action == "skipped"


def test_an_edit_in_the_instant_before_a_prune_is_stored_again(server: FakeKestra) -> None:
    server.add(owned("a").text)
    made = plan(server, flow("b"), prune=True)
    edited = owned("a").text + "# by somebody\n"
    late(server, "DELETE ", lambda: server.edit(edited))
    outcomes = {o.item.key[1]: o for o in sync(server).apply(made, rollback=False)}
    assert (outcomes["a"].action, outcomes["a"].state) == ("failed", "other")
    assert "revision 2" in str(outcomes["a"].error) and texts(server)["a"] == edited


def test_a_flow_that_another_client_edits_and_deletes_before_a_prune_stays_deleted(server: FakeKestra) -> None:
    server.add(owned("a").text)
    made = plan(server, flow("b"), prune=True)

    def both() -> None:
        server.edit(owned("a").text + "# by somebody\n")
        server.remove("team", "a")

    late(server, "DELETE ", both)
    outcomes = {o.item.key[1]: o for o in sync(server, retries=1).apply(made, rollback=False)}
    assert texts(server).keys() == {"b"}
    assert (outcomes["a"].action, outcomes["a"].state) == ("pruned", "planned")


def test_an_edit_and_then_the_planned_text_of_another_client_are_named(server: FakeKestra) -> None:
    """It looks as if this run had replaced the edit. Both texts are kept, and the failure says which one is stored."""
    server.add(flow("a").text)
    made = plan(server, flow("a", more="# new\n"))
    edited = flow("a", more="# by somebody\n").text

    def both() -> None:
        server.edit(edited)
        server.edit(flow("a", more="# new\n").text)

    late(server, "PUT ", both)
    (outcome,) = sync(server).apply(made)
    assert (outcome.action, outcome.state, texts(server)) == ("failed", "other", {"a": edited})
    assert outcome.error == "another client wrote revision 2 in the meantime; its text is stored again"


def test_an_edit_that_cannot_be_stored_again_is_named(server: FakeKestra) -> None:
    server.add(flow("a").text)
    made = plan(server, flow("a", more="# new\n"))

    def edit() -> None:
        server.edit(flow("a", more="# by somebody\n").text)
        server.prepare("GET /api/v1/main/flows/team/a?source=true&revision=2", *[Answer(403)] * 9)

    late(server, "PUT ", edit)
    (outcome,) = sync(server).apply(made)
    assert (outcome.action, outcome.state) == ("failed", "planned")
    assert "kestra_flow with revision=2" in str(outcome.error)


def test_an_edit_while_flows_are_put_back_is_stored_again(server: FakeKestra) -> None:
    server.add(flow("a").text)
    made = plan(server, flow("a", more="# new\n"), flow("b", more="refuse: me\n"))
    edited = flow("a", more="# by somebody\n").text
    writes: list[str] = []

    def before(request: str) -> None:
        if request.startswith("PUT "):
            writes.append(request)
            if len(writes) == 2:
                server.edit(edited)

    server.before = before
    outcomes = {o.item.key[1]: o for o in sync(server, concurrency=1).apply(made)}
    assert (outcomes["a"].action, outcomes["a"].state) == ("failed", "other")
    assert texts(server) == {"a": edited}


def test_a_write_that_was_sent_twice_is_no_edit_of_somebody(server: FakeKestra) -> None:
    """Servers before 1.0 make two revisions of it where the text names one."""
    server.add(flow("a").text)
    made = plan(server, flow("a", more="revision: 1\n"))
    late(server, "PUT ", lambda: server.edit(flow("a", more="revision: 1\n# x\n").text.replace("# x\n", "")))
    server.flows[("team", "a")].extra = {}
    (outcome,) = sync(server).apply(made)
    assert (outcome.action, outcome.state) == ("updated", "planned")


def test_a_server_that_dies_midway_is_given_up_together_with_the_reason(server: FakeKestra) -> None:
    for n in range(20):
        server.add(flow(f"f{n:02}").text)
    made = plan(server, *(flow(f"f{n:02}", more="# new\n") for n in range(20)))
    asked: list[str] = []
    dead = Answer(0, drop=True)

    def before(request: str) -> None:
        if request.startswith("PUT ") or len(asked) >= 10:
            asked.append(request)
        if len(asked) == 10:
            for method in ("GET", "PUT", "POST", "DELETE"):
                server.prepare(f"{method} /", *[dead] * 10_000)

    server.before = before
    started = time.monotonic()
    outcomes = sync(server, concurrency=4).apply(made)
    assert time.monotonic() - started < 5 and len(asked) < 100
    unknown = [o for o in outcomes if o.state == "unknown"]
    assert len(unknown) >= 10 and all("closed the connection" in str(o.error) for o in unknown)


def test_a_server_that_comes_back_gets_every_flow_put_back(server: FakeKestra) -> None:
    for n in range(10):
        server.add(flow(f"f{n}").text)
    before = texts(server)
    made = plan(server, *(flow(f"f{n}", more="# new\n") for n in range(9)), flow("f9", more="refuse: me\n"))
    changer = sync(server, concurrency=1)
    put_back = changer._put_back
    calls: list[int] = []

    def first_dead(*arguments: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            server.prepare("GET /api/v1/main/flows/team/", *[Answer(0, drop=True)] * 3)
        return put_back(*arguments, **options)

    changer._put_back = first_dead  # type: ignore[method-assign]
    outcomes = changer.apply(made)
    assert {o.action for o in outcomes} == {"rolled_back", "failed"} and texts(server) == before
    assert all(o.state == "previous" for o in outcomes)


def test_flows_are_written_without_the_permission_to_record_them(server: FakeKestra) -> None:
    made = plan(server, flow("a"))
    server.prepare("PUT /api/v1/main/namespaces/team/kv/", Answer(403))
    changer = sync(server)
    assert [o.action for o in changer.apply(made)] == ["created"]
    (warning,) = changer.warnings
    assert "namespace team cannot be recorded" in warning and "403" in warning


def test_a_subflow_of_the_same_plan_is_not_missing(server: FakeKestra) -> None:
    made = plan(server, flow("parent"), flow("child"))
    warnings = [f"The subflow '{name}' not found in namespace 'team'." for name in ("child", "nowhere")]
    server.prepare("POST /api/v1/main/flows/validate", Answer(200, [{"index": 0}, {"index": 1, "warnings": warnings}]))
    assert [w[-25:] for w in sync(server).validate(made.to_validate, made)[1]] == [warnings[1][-25:]]


@pytest.mark.parametrize("retries", [0, 3])
def test_one_loop_repeats_a_write_and_one_its_looks(server: FakeKestra, retries: int) -> None:
    server.add(flow("a").text)
    made = plan(server, flow("a", more="# new\n"))
    server.requests.clear()
    server.prepare("PUT /api/v1/main/flows/", *[Answer(503)] * 200)
    (outcome,) = sync(server, retries=retries).apply(made, rollback=False)
    assert (outcome.action, outcome.state) == ("failed", "previous") and "503" in str(outcome.error)
    assert sum(request.startswith("PUT /api/v1/main/flows/") for request in server.requests) == retries + 1
    assert sum(request.startswith("GET /api/v1/main/flows/team/a") for request in server.requests) == retries + 2


def test_a_lost_write_is_looked_at_until_the_server_answers(server: FakeKestra) -> None:
    server.add(flow("a").text)
    made = plan(server, flow("a", more="# new\n"))
    # The write is carried out, its answer is lost, and the first two looks fail.
    send, lost = server.send, []

    def lose(handler: Any, answer: Answer) -> None:
        if handler.command == "PUT" and "/flows/" in handler.path and not lost:
            lost.append(handler.path)
            server.prepare("GET /api/v1/main/flows/team/a", Answer(503), Answer(503))
            answer = Answer(0, drop=True)
        send(handler, answer)

    server.send = lose  # type: ignore[method-assign]
    (outcome,) = sync(server, retries=3).apply(made)
    assert (outcome.action, outcome.state, outcome.revision) == ("updated", "planned", 2)
    assert sum(request.startswith("PUT /api/v1/main/flows/") for request in server.requests) == 1


def test_putting_back_is_repeated_by_its_rounds_alone(server: FakeKestra) -> None:
    server.add(flow("a").text)
    made = plan(server, flow("a", more="# new\n"), flow("b", more="refuse: me\n"))
    changer = sync(server, concurrency=1, retries=3)
    late(server, "POST ", lambda: server.prepare("PUT /api/v1/main/flows/", *[Answer(503)] * 200))
    outcomes = {o.item.key[1]: o for o in changer.apply(made)}
    assert (outcomes["a"].action, outcomes["a"].state) == ("failed", "planned")
    assert str(outcomes["a"].error).startswith("could not be put back: HTTP 503")
    # The write, and the rounds without a success; b was refused, so nothing of it is put back.
    assert sum(request.startswith("PUT /api/v1/main/flows/") for request in server.requests) == 2 + PATIENCE


def test_a_flow_that_this_run_never_wrote_is_not_put_back(server: FakeKestra) -> None:
    """Another run of the same files has written it, while the look at it failed once."""
    planned = flow("a", more="# new\n")
    server.add(flow("a").text)
    made = plan(server, planned)
    server.prepare("GET /api/v1/main/flows/team/a", Answer(500))
    late(server, "GET /api/v1/main/flows/team/a", lambda: server.edit(planned.text))
    (outcome,) = sync(server).apply(made)
    assert outcome.action == "failed"
    assert not server.flow_writes and texts(server)["a"] == planned.text


def test_an_unexpected_exception_does_not_keep_the_others_from_being_put_back(
    server: FakeKestra, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        server.add(flow(name).text)
    made = plan(server, flow("a", more="# new\n"), flow("b", more="# new\n"))
    program = sync(server, concurrency=1)
    send = program._send

    def odd(item: Any, before: int | None) -> Any:
        if item.key[1] == "b":
            raise OverflowError("odd")
        return send(item, before)

    monkeypatch.setattr(program, "_send", odd)
    outcomes = {o.item.key[1]: o for o in program.apply(made)}
    assert (outcomes["a"].action, outcomes["a"].state) == ("rolled_back", "previous")
    assert outcomes["b"].action == "failed" and "OverflowError: odd" in str(outcomes["b"].error)
    assert texts(server) == {"a": flow("a").text, "b": flow("b").text}
