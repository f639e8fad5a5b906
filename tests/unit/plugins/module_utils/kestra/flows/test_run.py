"""What a run reports, without a server."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows.plan import Plan, Stored, make_plan
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows.run import (
    Run,
    count_flows,
    failure_message,
    save,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows.source import Flow
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows.sync import Outcome
from ansible_collections.devorch.orchestration.plugins.module_utils.module import Failure

PLAN: Plan = make_plan(
    [Flow("a", "new", "1.yml", "x"), Flow("a", "same", "2.yml", "y")], {("a", "same"): Stored("a", "same", "y", 3)}
)


def test_a_plan_that_was_not_applied_is_reported_as_planned() -> None:
    state = Run(shows_diff=False, plan=PLAN)
    assert state.summary_text() == "1 created, 0 updated, 1 unchanged"
    result = state.result("done")
    assert [(flow["id"], flow["state"]) for flow in result["flows"]] == [("new", "planned")]
    state.lists_unchanged = True
    assert [flow["state"] for flow in state.result("done")["flows"]] == ["planned", "previous"]
    assert [item["id"] for item in result["plan"]] == ["new"] and "diff" not in result


def test_a_failure_before_the_first_write_marks_changes_as_skipped() -> None:
    state = Run(shows_diff=True, plan=PLAN, lists_unchanged=True)
    keys = state.failure()
    assert "msg" not in keys and keys.keys() | {"msg"} == state.result("").keys()
    assert [flow["action"] for flow in keys["flows"]] == ["skipped", "unchanged"]
    assert state.summary()["skipped"] == 1


def test_a_failure_keeps_what_was_done() -> None:
    outcomes = [
        Outcome(PLAN.items[0], "failed", error="HTTP 500", state="previous"),
        Outcome(PLAN.items[1], "unchanged"),
    ]
    state = Run(shows_diff=True, plan=PLAN, outcomes=outcomes, lists_unchanged=True)
    assert [flow["action"] for flow in state.failure()["flows"]] == ["failed", "unchanged"]
    message = failure_message(outcomes)
    assert "1 flow could not be written:\n  a/new (1.yml): HTTP 500; the server has what it had before" in message
    assert message.endswith("\nThe server has what it had before.")


def test_a_cause_is_told_once() -> None:
    dead = "could not be put back: connection refused"
    message = failure_message([Outcome(item, "failed", error=dead, state="unknown") for item in PLAN.items])
    assert message.count(dead) == 1 and "  a/new (1.yml), a/same (2.yml): could not be put back" in message


def test_one_flow_is_and_two_flows_are() -> None:
    assert [count_flows(range(n)) for n in (1, 2)] == ["1 flow is", "2 flows are"]


class Module:
    """The options of a module."""

    def __init__(self, **params: Any) -> None:
        self.params = params


def test_a_plan_is_its_owners_alone_from_the_first_byte_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds the texts of flows. A file that was open to others before does not stay so."""
    target = tmp_path / "plan.json"
    target.write_text("old", encoding="utf-8")
    target.chmod(0o644)
    modes: list[int] = []
    replace = Path.replace

    def seen(self: Path, other: Path) -> Path:
        modes.append(stat.S_IMODE(self.stat().st_mode))
        return replace(self, other)

    monkeypatch.setattr(Path, "replace", seen)
    save(Module(save_plan=str(target)), "new")  # type: ignore[arg-type]
    assert modes == [0o600] and stat.S_IMODE(target.stat().st_mode) == 0o600
    assert target.read_text(encoding="utf-8") == "new" and list(tmp_path.iterdir()) == [target]


def test_a_plan_that_cannot_be_saved_leaves_nothing_beside(tmp_path: Path) -> None:
    (tmp_path / "plan.json").mkdir()
    with pytest.raises(Failure, match=r"cannot be saved as .*plan\.json: Is a directory"):
        save(Module(save_plan=str(tmp_path / "plan.json")), "new")  # type: ignore[arg-type]
    with pytest.raises(Failure, match=r"cannot be saved as .*No such file"):
        save(Module(save_plan=str(tmp_path / "missing/plan.json")), "new")  # type: ignore[arg-type]
    assert [path.name for path in tmp_path.iterdir()] == ["plan.json"]
