"""In which order a plan is carried out, and what a run says of it."""

from __future__ import annotations

from ansible_collections.devorch.orchestration.plugins.module_utils.n8n.module import connection_argument_spec
from ansible_collections.devorch.orchestration.plugins.module_utils.n8n.workflows.plan import (
    Instance,
    Policy,
    make_plan,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.n8n.workflows.run import (
    Run,
    failure_message,
    needs_credentials,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.n8n.workflows.sync import (
    Outcome,
    new_references,
    ordered,
    recorded,
)

from .builders import TAG, call, file, node, stored


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
