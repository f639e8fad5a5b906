"""In which order a plan is carried out, and what a run says of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, cast

from ansible_collections.devorch.orchestration.plugins.module_utils.n8n.client import N8nError
from ansible_collections.devorch.orchestration.plugins.module_utils.n8n.module import connection_argument_spec
from ansible_collections.devorch.orchestration.plugins.module_utils.n8n.workflows.plan import (
    Instance,
    Policy,
    Stored,
    make_plan,
    webhooks,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.n8n.workflows.run import (
    Run,
    failure_message,
    needs_credentials,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.n8n.workflows.source import Workflow
from ansible_collections.devorch.orchestration.plugins.module_utils.n8n.workflows.sync import (
    Outcome,
    WorkflowSync,
    new_references,
    ordered,
    recorded,
)

from .builders import TAG, call, file, node, stored, webhook


def test_a_new_workflow_comes_before_those_that_call_it() -> None:
    wanted = [
        file("a", call("x", "b")),
        file("b", call("x", "c")),
        file("c"),
        file("d", call("x", "d2")),
        file("d2", call("x", "d")),
    ]
    plan = make_plan(Instance(wanted, [], [], TAG), Policy(TAG))
    names = [item.name for item in ordered(plan.changes)]
    assert names.index("c") < names.index("b") < names.index("a") and sorted(names) == ["a", "b", "c", "d", "d2"]
    assert new_references(plan.items[0]) == ["b"]


def test_a_failure_says_what_n8n_has() -> None:
    plan = make_plan(Instance([file("a"), file("b"), file("c")], [], [], TAG), Policy(TAG))
    a, b, c = plan.items
    text = failure_message(
        [
            Outcome(a, "failed", None, "unknown", "refused"),
            Outcome(b, "rolled_back"),
            Outcome(c, "skipped"),
        ]
    )
    assert text.splitlines() == [
        "1 workflow could not be written:",
        "  a (a.json): refused; it is unknown what n8n has",
        "Written and put back: b.",
        "Not tried: c.",
    ]
    state = Run(shows_diff=True, plan=plan)
    assert state.failure()["summary"]["skipped"] == 3


def test_what_a_run_reads() -> None:
    assert not needs_credentials([file("a")])
    assert needs_credentials([file("a", node("Http", credentials={"x": {"id": "1", "name": "n"}}))])
    assert recorded({"1": ("d", "true")})["1"].active is True
    assert connection_argument_spec()["api_key"]["no_log"] is True
    assert stored("a", live=True).live_version == "v2"


class FakeN8n:
    """An n8n with a few workflows that refuses a webhook which another published workflow has."""

    has_drafts = True

    def __init__(self, *workflows: Stored) -> None:
        self.kept = {workflow.id: dict(workflow.content) for workflow in workflows}
        self.connection = SimpleNamespace(retries=0)
        self.http = SimpleNamespace(deadline=None, pause=lambda *_arguments: False)
        self.refused: set[str] = set()
        self.afterwards: Callable[[str], None] = lambda _call: None
        self.published: list[tuple[str, str | None]] = []

    def retry(self, function: Callable[[], Any]) -> Any:
        return function()

    def workflows(self) -> list[dict[str, Any]]:
        return [dict(kept) for kept in self.kept.values()]

    def workflow(self, workflow_id: str) -> dict[str, Any] | None:
        return dict(self.kept[workflow_id]) if workflow_id in self.kept else None

    def _store(self, workflow_id: str, value: Mapping[str, Any]) -> dict[str, Any]:
        if value["name"] in self.refused:
            self.afterwards(value["name"])
            raise N8nError("store it", "not accepted", status=400)
        kept = self.kept.setdefault(workflow_id, {"id": workflow_id, "tags": [], "activeVersionId": None})
        kept.update(value, versionId=f"version {sum(len(str(one)) for one in self.kept.values())}")
        answer = dict(kept)
        self.afterwards(value["name"])
        return answer

    def create_workflow(self, value: Mapping[str, Any]) -> dict[str, Any]:
        return self._store(f"new {len(self.kept)}", value)

    def update_workflow(self, workflow_id: str, value: Mapping[str, Any], only_draft: bool = False) -> dict[str, Any]:
        return self._store(workflow_id, value)

    def tags(self) -> dict[str, str]:
        return {TAG: f"t-{TAG}"}

    def set_tags(self, workflow_id: str, _name: str, ids: Sequence[str]) -> None:
        self.kept[workflow_id]["tags"] = [{"id": one, "name": one.removeprefix("t-")} for one in ids]

    def publish(self, workflow_id: str, name: str, version: str | None = None) -> None:
        others = [Stored(kept) for number, kept in self.kept.items() if number != workflow_id]
        taken = {hook for other in others if other.active for hook in webhooks(other.live)}
        if taken & set(webhooks(self.kept[workflow_id])):
            raise N8nError(f"publish {name}", "conflict", status=409)
        self.published.append((name, version))
        self.kept[workflow_id].update(activeVersionId=version or self.kept[workflow_id]["versionId"], active=True)

    def unpublish(self, workflow_id: str, _name: str) -> None:
        self.kept[workflow_id].update(activeVersionId=None, active=False)

    def archive(self, workflow_id: str, _name: str) -> None:
        self.kept[workflow_id].update(isArchived=True, activeVersionId=None, active=False)

    def delete_workflow(self, workflow_id: str, _name: str) -> None:
        del self.kept[workflow_id]


RECORDS: Any = SimpleNamespace(write=lambda entries: list(entries), problem=None)


def carry_out(n8n: FakeN8n, *wanted: Workflow, prune: bool = False) -> dict[str, tuple[str, str]]:
    instance = Instance(wanted, [Stored(kept) for kept in n8n.workflows()], [], TAG)
    plan = make_plan(instance, Policy(TAG, prune=prune))
    assert instance.problems == []
    outcomes = WorkflowSync(cast("Any", n8n)).apply(plan, RECORDS)
    return {outcome.item.name: (outcome.action, outcome.state) for outcome in outcomes}


def test_a_webhook_moves_from_a_pruned_workflow_to_a_new_one() -> None:
    """n8n refuses a webhook that another published workflow has."""
    n8n = FakeN8n(stored("old", webhook("orders"), live=True))
    found = carry_out(n8n, file("new", webhook("orders"), active=True), prune=True)
    assert found == {"new": ("created", "planned"), "old": ("pruned", "planned")}
    old, new = (Stored(kept) for kept in n8n.workflows())
    assert old.archived and new.active and not old.active


def test_a_workflow_that_was_to_be_pruned_is_published_again_after_a_failure() -> None:
    n8n = FakeN8n(stored("old", webhook("orders"), live=True), stored("third", webhook("third"), id="3", live=True))
    n8n.kept["3"]["tags"] = []
    found = carry_out_with_conflict(n8n)
    assert found["old"] == ("rolled_back", "previous")
    assert Stored(n8n.kept["1"]).active and set(n8n.kept) == {"1", "3"}


def carry_out_with_conflict(n8n: FakeN8n) -> dict[str, tuple[str, str]]:
    """Load a workflow whose webhook somebody takes while it is written."""

    def take(name: str) -> None:
        n8n.kept["3"]["nodes"] = [webhook("new")]

    n8n.afterwards = take
    return carry_out(n8n, file("new", webhook("new"), active=True), prune=True)


def test_a_rollback_leaves_what_another_client_made() -> None:
    """One was edited after it was written; one of a name that n8n refused to this run was made by another client."""
    n8n = FakeN8n(stored("a", node("Set")))

    def edit(name: str) -> None:
        if name == "a":
            n8n.kept["1"].update(nodes=[node("Theirs")])
        else:
            n8n.kept["9"] = dict(stored("b", node("Theirs"), id="9").content)

    n8n.refused, n8n.afterwards = {"b"}, edit
    found = carry_out(n8n, file("a", node("Ours")), file("b", node("Ours")))
    assert found["a"][1] == "unknown" and found["b"] == ("failed", "previous")
    assert [one["nodes"][0]["name"] for one in n8n.workflows()] == ["Theirs", "Theirs"]


def test_the_version_that_was_stored_is_published() -> None:
    """And not what another client stores after it."""
    n8n = FakeN8n(stored("a", node("Set")))
    written: list[str] = []

    def edit(name: str) -> None:
        written.append(n8n.kept["1"]["versionId"])

    n8n.afterwards = edit
    found = carry_out(n8n, file("a", node("Ours"), active=True))
    assert found == {"a": ("updated", "planned")}
    assert n8n.published == [("a", written[0])]
