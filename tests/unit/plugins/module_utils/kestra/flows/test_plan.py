"""Planning, without a server."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows import plan as flow_plan
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows import saved_plan
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows.deprecations import Finding
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows.plan import Item, Plan, Stored
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows.record import Record, sha256
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows.source import Flow
from ansible_collections.devorch.orchestration.plugins.module_utils.source_files import Problem

GOOD = "id: good\nnamespace: team.one\ntasks:\n  - id: say\n    type: io.kestra.plugin.core.log.Log\n    message: hi\n"


def plan(text: str, stored: Stored | None) -> Item:
    flow = Flow("team.one", "good", "good.yml", text)
    return flow_plan.make_plan([flow], {stored.key: stored} if stored else {}).items[0]


def stored(text: str, **fields: object) -> Stored:
    return Stored("team.one", "good", text, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("before", "action"),
    [
        (None, "create"),
        (stored(GOOD), "unchanged"),
        (stored(GOOD + "\n"), "update"),
        (stored(GOOD.rstrip("\n")), "update"),
        (stored("\ufeff" + GOOD), "update"),
        (stored(GOOD.replace("\n", "\r\n")), "update"),
        (stored(GOOD + "# comment\n"), "update"),
        (stored(GOOD, draft=True), "update"),
        (stored(GOOD, broken="unknown type"), "unchanged"),
    ],
)
def test_actions(before: Stored | None, action: str) -> None:
    item = plan(GOOD, before)
    assert item.action == action
    assert item.to_validate is (action != "unchanged" or (before is not None and before.broken is not None))


def test_the_plan_is_sorted_counted_and_shown() -> None:
    flows = [Flow("b", "x", "1.yml", "new"), Flow("a", "z", "2.yml", "same"), Flow("a", "b", "3.yml", "new")]
    known = {("a", "z"): Stored("a", "z", "same", 4), ("a", "b"): Stored("a", "b", "old", 7)}
    made = flow_plan.make_plan(flows, known)
    assert [(item.name, item.action) for item in made.items] == [
        ("a/b", "update"),
        ("a/z", "unchanged"),
        ("b/x", "create"),
    ]
    assert [len(made.with_action(action)) for action in ("create", "update", "unchanged")] == [1, 1, 1]
    assert made.diff() == [
        {"before_header": "a/b (revision 7)", "after_header": "a/b (3.yml)", "before": "old", "after": "new"},
        {"before_header": "b/x (missing)", "after_header": "b/x (1.yml)", "before": "", "after": "new"},
    ]


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("id: a\n", "id: a\n"),
        ("\ufeffid: a\n", "id: a\n"),
        ("---\nid: a\n", "   \nid: a\n"),
        ("# c\n--- # d\nid: a\n", "# c\n    # d\nid: a\n"),
        ("---\r\nid: a\r\n", "   \r\nid: a\r\n"),
        ("%YAML 1.1\n---\nid: a\n", "#YAML 1.1\n   \nid: a\n"),
        ("id: a\nd: |\n  ---\n", "id: a\nd: |\n  ---\n"),
        ("id: a---\n", "id: a---\n"),
    ],
)
def test_what_is_sent_for_validation(text: str, sent: str) -> None:
    assert flow_plan.validation_text(text) == sent
    assert sent.count("\n") == text.count("\n")


def test_validation_takes_few_requests() -> None:
    assert flow_plan.validation_batches([]) == []
    batches = flow_plan.validation_batches(["x"] * 250)
    assert [len(batch) for batch in batches] == [100, 100, 50]
    assert [index for batch in batches for index, _text in batch] == list(range(250))
    assert [len(batch) for batch in flow_plan.validation_batches(["ü" * 300_000] * 3)] == [1, 1, 1]
    assert [len(batch) for batch in flow_plan.validation_batches(["a", "---\n---\n", "b"])] == [2, 1]


@pytest.mark.parametrize(
    ("constraints", "expected"),
    [
        ("", []),
        ("tasks: must not be empty\n", ["tasks: must not be empty"]),
        (
            "id: must not be blank\nid: must not be null\nid: must not be null\n",
            ["id: must not be blank", "id: must not be null"],
        ),
        (
            "Illegal flow yaml: Duplicate field 'id'\n at [Source: (StringReader); line: 2, column: 3]",
            ["Illegal flow yaml: Duplicate field 'id' at [Source: (StringReader); line: 2, column: 3]"],
        ),
        ("Invalid type: io.Nope", ["Invalid type: io.Nope"]),
        (": Invalid Flow: Duplicate task id with name [a]\n", ["Invalid Flow: Duplicate task id with name [a]"]),
        ("Validation error: tasks[x].value: must not be null\n", ["tasks[x].value: must not be null"]),
    ],
)
def test_single_messages(constraints: str, expected: list[str]) -> None:
    assert flow_plan.violations(constraints) == expected


def test_files_of_an_archive_whose_names_say_too_little() -> None:
    one, two = b"id: c.d\nnamespace: a.b\n", b"id: d\nnamespace: a.b.c\n"
    keys = [("a.b", "c.d"), ("a.b.c", "d"), ("plain", "flow")]
    entries = {"a.b.c.d.yml": one, "a.b.c-d.yml": two, "plain-flow.yml": b"not: parsed\xff", "other.yml": b"["}
    found = flow_plan.exported_sources(entries, keys)
    assert found[("a.b", "c.d")] == one
    assert found[("a.b.c", "d")] == two
    assert found[("plain", "flow")] == b"not: parsed\xff"
    assert len(found) == 3


OWNED = GOOD + "labels: {managed-by: ansible, team: ops}\n"
LABELS = {"managed-by": "ansible"}


def several(*texts: tuple[str, str, str]) -> dict[tuple[str, str], Stored]:
    return {(namespace, name): Stored(namespace, name, text, 1) for namespace, name, text in texts}


def test_only_owned_flows_of_the_scope_are_pruned() -> None:
    known = several(
        ("a", "owned", OWNED), ("a", "foreign", GOOD), ("a", "comment", GOOD + "# managed-by: ansible\n"),
        ("a", "task", GOOD + "x: {labels: {managed-by: ansible}}\n"), ("b", "owned", OWNED), ("a.b", "owned", OWNED),
        ("a", "kept", OWNED),
    )  # fmt: skip
    files = [Flow("a", "kept", "kept.yml", OWNED)]
    pruned = flow_plan.make_plan(files, known, {"a"}, LABELS).with_action("prune")
    assert [item.name for item in pruned] == ["a/owned"]
    assert pruned[0].after is None and pruned[0].diff()["after_header"] == "a/owned (pruned)"
    assert flow_plan.make_plan(files, known).changes == ()
    assert flow_plan.make_plan(files, known, {"a"}, LABELS | {"team": "dev"}).changes == ()


@pytest.mark.parametrize(("limit", "fine"), [("3", True), ("2", False), ("60%", True), ("59%", False), ("0", False)])
def test_prune_limit(limit: str, fine: bool) -> None:
    known = several(*(("a", f"f{n}", OWNED if n < 3 else GOOD) for n in range(5)))
    problem = flow_plan.prune_problem(flow_plan.make_plan([], known, {"a"}, LABELS), known, limit)
    assert (problem is None) is fine
    assert fine or "a/f0, a/f1, a/f2" in str(problem)


def record(*texts: str) -> Record:
    return Record({"good": tuple(sha256(text)[:16] for text in texts)})


@pytest.mark.parametrize(
    ("before", "known", "drift"),
    [
        (stored("other"), None, "unrecorded"),
        (stored("other"), Record(), "unrecorded"),
        (stored("other"), record("other"), None),
        (stored("other"), record("older", "other"), None),
        (stored("other"), record("older"), "edited"),
        (stored(GOOD + "\ndisabled: true"), record(GOOD), "disabled"),
        (stored(GOOD + "disabled: true\n"), None, "disabled"),
        (stored(GOOD + "disabled: false\n"), record(GOOD), "enabled"),
        (stored("other", broken="no such type"), record("other"), "unparseable"),
        (stored(GOOD, draft=True), record(GOOD), "draft"),
        (stored(GOOD), Record(), None),
    ],
)
def test_drift(before: Stored, known: Record | None, drift: str | None) -> None:
    made = flow_plan.make_plan([Flow("team.one", "good", "good.yml", GOOD)], {before.key: before})
    records = {"team.one": known} if known else {}
    assert flow_plan.mark_drift(made, records, block=False).items[0].drift == drift
    blocked = flow_plan.mark_drift(made, records, block=True).items[0]
    assert blocked.action == ("blocked" if drift else made.items[0].action)
    assert (blocked.reason is not None) is (drift is not None)


def test_records_know_what_is_there_and_what_is_to_come() -> None:
    first = Record().with_changes([("a", None, "one"), ("b", "foreign", "two")])
    assert first.knows("a", "one") and first.knows("b", "two") and first.knows("c", "x") is None
    assert first.knows("b", "foreign") is False
    second = first.with_changes([("a", "one", "three"), ("b", "two", None)])
    assert second.knows("a", "one") and second.knows("a", "three") and second.knows("b", "two")
    assert Record.from_value(json.loads(json.dumps(second.as_value()))) == second
    assert second.with_changes([("b", None, None)]).knows("b", "two") is None
    assert Record.from_value("nonsense") == Record.from_value({"a": "x"}) == Record()


def saved() -> tuple[Plan, dict[tuple[str, str], Stored]]:
    known = several(("team.one", "good", GOOD + "# old\n"), ("a", "gone", OWNED))
    files = [Flow("team.one", "good", "good.yml", GOOD), Flow("new", "n", "n.yml", "id: n\nnamespace: new\n")]
    return flow_plan.make_plan(files, known, {"a"}, LABELS), known


SERVER = {"uuid": "u", "tenant": "main"}
PRUNING = flow_plan.Pruning(10, LABELS)


def test_a_saved_plan_is_the_same_plan() -> None:
    made, known = saved()
    text = saved_plan.dump_plan(made, SERVER, PRUNING)
    loaded = saved_plan.load_plan(text)
    assert loaded.server == SERVER and loaded.namespaces == {"a", "new", "team.one"}
    assert loaded.moved(known) == ([], [])
    again = loaded.on(known)
    assert [(i.name, i.action, i.before, i.after) for i in again.items] == [
        (i.name, i.action, i.before, i.after) for i in made.items
    ]
    assert saved_plan.dump_plan(again, SERVER, PRUNING) == text


def test_a_saved_plan_names_every_flow_that_moved_and_that_it_changes() -> None:
    made, known = saved()
    known[("new", "same")] = Stored("new", "same", "id: same\nnamespace: new\n", 1)
    made = Plan(
        (*made.items, *flow_plan.make_plan([Flow("new", "same", "s.yml", known["new", "same"].text)], known).items)
    )
    loaded = saved_plan.load_plan(saved_plan.dump_plan(made, SERVER, PRUNING))
    known[("a", "gone")] = replace(known[("a", "gone")], text=OWNED + "# x\n", revision=2)
    known[("team.one", "good")] = replace(known[("team.one", "good")], revision=2)
    known[("new", "n")] = Stored("new", "n", "x", 7)
    known[("new", "same")] = replace(known[("new", "same")], revision=4)
    assert loaded.moved(known) == (
        [
            "a/gone was changed (revision 1 then, 2 now)",
            "new/n was created (revision 7)",
            "team.one/good was changed (revision 1 then, 2 now)",
        ],
        ["new/same was changed (revision 1 then, 4 now)"],
    )


def test_what_is_already_as_planned_has_not_moved() -> None:
    made, known = saved()
    loaded = saved_plan.load_plan(saved_plan.dump_plan(made, SERVER, PRUNING))
    del known[("a", "gone")]
    for item in made.with_action("create", "update"):
        known[item.key] = Stored(*item.key, item.after or "", 9)
    assert loaded.moved(known) == ([], []) and loaded.on(known).changes == ()


def test_a_saved_plan_prunes_no_more_than_was_allowed() -> None:
    made, known = saved()
    for pruning in (flow_plan.Pruning(0, LABELS), flow_plan.Pruning(1, {"managed-by": "others"})):
        loaded = saved_plan.load_plan(saved_plan.dump_plan(made, SERVER, pruning))
        with pytest.raises(ValueError, match="prunes"):
            loaded.on(known)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not a saved plan: "),
        ("[" * 100_000, "is not a saved plan: "),
        ("[]", "is not a saved plan of format 2"),
        ('{"format": 1}', "is not a saved plan of format 2"),
        ('{"format": 2, "server": {}, "items": [{}]}', "its checksum does not fit"),
    ],
)
def test_a_damaged_plan_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        saved_plan.load_plan(text)


@pytest.mark.parametrize(
    ("text", "disabled", "expected"),
    [
        ("id: a\n", True, "id: a\ndisabled: true\n"),
        ("id: a", True, "id: a\ndisabled: true\n"),
        ("id: a\ndisabled: false\nb: c\n", True, "id: a\ndisabled: true\nb: c\n"),
        ("id: a\ndisabled: true\nb: c\n", False, "id: a\nb: c\n"),
        ("id: a\n\ndisabled: true", False, "id: a\n\n"),
        ("id: a\n", False, "id: a\n"),
        ("{id: a}\n", True, None),
        ("id: a\n...\n", True, None),
    ],
)
def test_switching_a_text(text: str, disabled: bool, expected: str | None) -> None:
    assert flow_plan.with_switch(text, disabled) == expected


def test_a_blocked_flow_that_was_deleted_since_is_no_longer_in_the_plan() -> None:
    made, known = saved()
    blocked = flow_plan.mark_drift(made, {}, block=True)
    loaded = saved_plan.load_plan(saved_plan.dump_plan(blocked, SERVER, PRUNING))
    del known[("a", "gone")]
    assert [item.name for item in loaded.on(known).items] == ["new/n", "team.one/good"]


def test_a_rule_explains_what_a_server_refuses_and_refuses_nothing_by_itself() -> None:
    found = (
        Finding(3, "gone", refused=True),
        Finding(4, "deprecated", refused=False),
        Finding(5, "hidden", refused=False, before_2=True),
    )
    made = flow_plan.make_plan([replace(Flow("a", "b", "b.yml", GOOD), findings=found)], {})
    gone, old, hidden = (Problem("b.yml", finding.line, finding.message) for finding in found)
    assert flow_plan.split_findings(made, is_2=True) == ([], [str(old)])
    assert flow_plan.split_findings(made, is_2=True, refused={"b.yml"}) == ([gone], [str(old)])
    assert flow_plan.split_findings(made, is_2=False) == ([hidden], [str(gone), str(old)])
