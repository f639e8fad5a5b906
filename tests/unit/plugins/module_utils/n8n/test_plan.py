"""What is done with each workflow, for every situation of files and instance."""

from __future__ import annotations

from typing import Any

from ansible_collections.devorch.orchestration.plugins.module_utils.n8n.workflows.plan import (
    Instance,
    Item,
    Plan,
    Policy,
    Recorded,
    Stored,
    make_plan,
    mark_drift,
    prune_problem,
    webhooks,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.n8n.workflows.source import Workflow

from .builders import TAG, call, content, file, node, stored, webhook

CREDENTIALS = [
    {"id": "c1", "name": "token", "type": "httpHeaderAuth"},
    {"id": "c2", "name": "twice", "type": "httpHeaderAuth"},
    {"id": "c3", "name": "twice", "type": "httpHeaderAuth"},
]


def plan(wanted: list[Workflow], there: list[Stored], **policy: Any) -> tuple[dict[str, Item], list[str]]:
    instance = Instance(wanted, there, CREDENTIALS, TAG)
    made = make_plan(instance, Policy(TAG, **policy))
    return {item.name: item for item in made.items}, [str(problem) for problem in instance.problems]


def only(wanted: Workflow, *there: Stored, **policy: Any) -> Item:
    items, problems = plan([wanted], list(there), **policy)
    assert problems == []
    return items[wanted.name]


def test_create_update_unchanged_and_prune() -> None:
    wanted = [file("new"), file("same"), file("old", node("Other"))]
    there = [stored("same", id="1"), stored("old", id="2"), stored("gone", id="3"), stored("theirs", id="4", tags=[])]
    items, problems = plan(wanted, there, prune=True)
    assert problems == []
    actions = {name: item.action for name, item in items.items()}
    assert actions == {"new": "create", "same": "unchanged", "old": "update", "gone": "prune"}
    assert items["old"].changes == ("content",) and items["new"].changes == ("content", "tags")
    assert "gone" not in plan(wanted, there)[0]


def test_the_id_of_a_file_wins_over_its_name() -> None:
    renamed = only(file("new name", id="7"), stored("old name", id="7"), stored("new name", id="8"))
    assert (renamed.action, renamed.id) == ("update", "7")
    elsewhere = only(file("a", id="other-instance"), stored("a", id="7"))
    assert (elsewhere.action, elsewhere.id) == ("unchanged", "7")


def test_a_workflow_of_ours_wins_over_one_of_the_same_name() -> None:
    assert only(file("a"), stored("a", id="7", tags=[]), stored("a", id="8")).id == "8"
    adopted = only(file("a"), stored("a", id="7", tags=["theirs"]))
    assert (adopted.action, adopted.id, adopted.tags) == ("update", "7", (TAG, "theirs"))


def test_two_of_ours_with_one_name_are_a_problem() -> None:
    _items, problems = plan([file("a")], [stored("a", id="7"), stored("a", id="8")])
    assert len(problems) == 1 and "2 workflows named 'a' (7, 8)" in problems[0]


def test_an_archived_workflow_of_ours_is_created_again_and_one_of_others_is_not() -> None:
    ours = only(file("a"), stored("a", id="7", isArchived=True))
    assert (ours.action, ours.id) == ("create", "7")
    theirs = only(file("a"), stored("a", id="7", isArchived=True, tags=[]))
    assert (theirs.action, theirs.id) == ("create", None)


def test_tags_of_the_file_are_the_tags_beside_ours() -> None:
    assert only(file("a", tags=["x"]), stored("a", tags=[TAG, "y"])).tags == (TAG, "x")
    assert only(file("a"), stored("a", tags=[TAG, "y"])).action == "unchanged"


def test_what_is_published_follows_the_policy() -> None:
    def changes(active: bool | None, live: bool, publish: str, new: bool = False) -> tuple[str, ...]:
        more = {} if active is None else {"active": active}
        return only(file("a", node("New" if new else "Set"), **more), stored("a", live=live), publish=publish).changes

    assert changes(True, False, "file") == ("publish",)
    assert changes(False, True, "file") == ("unpublish",)
    assert changes(None, True, "file") == changes(None, False, "file") == ()
    assert changes(None, True, "file", new=True) == ("content", "publish")
    assert changes(True, False, "keep") == changes(False, True, "keep") == ()
    assert changes(False, True, "keep", new=True) == ("content", "publish")
    assert changes(True, True, "never", new=True) == ("content",)
    assert changes(True, False, "never") == ()


def test_a_draft_in_n8n_that_is_not_published_is_published() -> None:
    """What is stored is as the file wants it, and what is live is not."""
    old = {"nodes": [node("Old")], "connections": {}}
    there = stored("a", live=True, activeVersionId="v1", activeVersion=old)
    assert only(file("a", active=True), there).changes == ("publish",)
    same = stored("a", live=True, activeVersionId="v1", activeVersion={"nodes": [node("Set")], "connections": {}})
    assert only(file("a", active=True), same).action == "unchanged"


def test_references_to_files_that_exist_nowhere_yet() -> None:
    items, problems = plan([file("caller", call("abc", "callee")), file("callee")], [])
    assert problems == []
    assert items["caller"].resolved is not None
    assert items["caller"].resolved["nodes"][0]["parameters"]["workflowId"]["value"] == "new:callee"
    assert "workflowId.value: callee" in items["caller"].after


def test_references_mean_the_same_in_another_instance() -> None:
    """The file has the ids of where it was exported; the instance has its own."""
    wanted = [file("caller", call("abc", "callee"), settings={"errorWorkflow": "abc"}), file("callee", id="abc")]
    there = [
        stored("caller", call("9", "callee"), id="8", settings={"errorWorkflow": "9"}),
        stored("callee", id="9"),
    ]
    items, problems = plan(wanted, there)
    assert problems == []
    assert {item.action for item in items.values()} == {"unchanged"}


def test_a_reference_that_means_nothing_is_a_problem_with_its_file() -> None:
    _items, problems = plan([file("a", call("9", "absent"), settings={"errorWorkflow": "none"})], [])
    assert len(problems) == 2 and all(problem.startswith("a.json: ") for problem in problems)
    assert "node 'Call' refers to the workflow 'absent' (id 9)" in problems[0]
    assert "settings.errorWorkflow refers to the workflow 'none'" in problems[1]


def http(id: str | None, name: str) -> dict[str, Any]:
    return node("Http", "httpRequest", credentials={"httpHeaderAuth": {"id": id, "name": name}})


def test_credentials_are_found_by_name() -> None:
    item = only(file("a", http("elsewhere", "token")), stored("a", http("c1", "token")))
    assert item.action == "unchanged"
    assert only(file("a", http("c3", "twice"))).resolved["nodes"][0]["credentials"]["httpHeaderAuth"]["id"] == "c3"  # type: ignore[index]
    renamed = only(file("a", http("c1", "other name")))
    assert renamed.resolved["nodes"][0]["credentials"]["httpHeaderAuth"] == {"id": "c1", "name": "token"}  # type: ignore[index]
    assert "credentials.httpHeaderAuth: token" in renamed.after


def test_missing_and_ambiguous_credentials_are_problems() -> None:
    _items, problems = plan([file("a", http(None, "none")), file("b", http(None, "twice"))], [])
    assert "'none' of the type httpHeaderAuth, which n8n does not have" in problems[0]
    assert "'twice' of the type httpHeaderAuth, of which n8n has several" in problems[1]


def test_two_workflows_with_one_webhook_are_a_problem() -> None:
    wanted = [file("a", webhook("x", "POST"), active=True), file("b", webhook("/x", "POST"), active=True)]
    _items, problems = plan(wanted, [])
    assert problems == [
        "b.json: workflow 'b' would answer POST x, as a (a.json) does. Change a path, or unpublish one."
    ]
    _items, problems = plan(wanted[:1], [stored("c", webhook("x", "POST"), live=True, tags=[])])
    assert "as c (in n8n only) does" in problems[0]


def test_what_shares_no_webhook() -> None:
    a = file("a", webhook("x"), active=True)
    for other in (
        file("b", webhook("x"), active=False),
        file("b", webhook("x", "POST"), active=True),
        file("b", webhook("x", disabled=True), active=True),
        file("b", webhook("={{ 1 }}"), active=True),
    ):
        assert plan([a, other], [])[1] == []
    moved = [file("a", webhook("y"), active=True), file("b", webhook("x"), active=True)]
    assert plan(moved, [stored("a", webhook("x"), live=True)])[1] == [], "a gives the path up in the same run"
    pruned = [stored("old", webhook("x"), live=True)]
    assert plan([a], pruned, prune=True)[1] == [] and plan([a], pruned)[1] != []
    assert webhooks(content("a", node("W", "webhook", parameters={"path": "p", "httpMethod": ["GET", "POST"]}))) == {
        ("GET", "p"),
        ("POST", "p"),
    }


def test_drift() -> None:
    there = stored("a", id="1", live=True)
    item = only(file("a", node("New")), there)

    def drift(record: Recorded | None, block: bool = False) -> Item:
        return mark_drift(Plan((item,)), {"1": record} if record else {}, block).items[0]

    assert drift(Recorded(there.digest, True)).drift is None
    assert drift(Recorded("other", True)).drift == "edited"
    assert drift(Recorded(there.digest, False)).drift == "published"
    assert drift(None).drift == "unrecorded"
    blocked = drift(Recorded("other", True), block=True)
    assert blocked.action == "blocked" and blocked.reason == "was edited in n8n"
    same = only(file("a"), there)
    assert mark_drift(Plan((same,)), {}, True).items[0].action == "unchanged"


def test_pruning_has_a_limit() -> None:
    there = [stored(f"w{number}", id=str(number)) for number in range(5)]
    instance = Instance([], there, [], TAG)
    made = make_plan(instance, Policy(TAG, prune=True))
    assert prune_problem(made, there, TAG, "5") is None and prune_problem(made, there, TAG, "100%") is None
    assert "5 workflows would be pruned, and prune_limit allows 4" in str(prune_problem(made, there, TAG, "4"))
    assert "20% of the 5 workflows with the tag" in str(prune_problem(made, there, TAG, "20%"))
