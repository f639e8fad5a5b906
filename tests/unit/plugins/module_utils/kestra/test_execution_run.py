"""The options of kestra_execution that exclude each other, and labels as text."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.execution_run import problem_in
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.executions import label_text

PARAMS: dict[str, Any] = {
    "state": "started",
    "wait_timeout": 600,
    "log_lines": 20,
    "labels": {},
    "once": False,
    "inputs": {},
    "files": {},
    "schedule_date": None,
}


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({}, None),
        ({"wait_timeout": -1}, "wait_timeout is -1"),
        ({"log_lines": -1}, "log_lines is -1"),
        ({"labels": {"system.x": "y"}}, "labels has system.x"),
        ({"labels": {"x": " "}}, "the label x is empty"),
        ({"labels": {"k:1": "v"}}, "labels has k:1; Kestra ends the key of a label at the first colon"),
        ({"labels": {"k": "v:1"}}, None),
        ({"state": "labeled", "labels": {"k:1": "v"}}, None),
        ({"once": True}, "once"),
        ({"once": True, "labels": {"x": "y"}}, None),
        ({"state": "killed", "inputs": {"x": 1}}, "inputs and files"),
        ({"state": "labeled"}, "state=labeled needs labels"),
        ({"schedule_date": "soon"}, "schedule_date"),
    ],
)
def test_options_that_cannot_work(options: dict[str, Any], problem: str | None) -> None:
    found = problem_in({**PARAMS, **options}, options.get("inputs", {}))
    assert found is None if problem is None else found is not None and problem in found


def test_a_label_is_written_as_in_yaml() -> None:
    assert [label_text(value) for value in (True, False, 3, "x")] == ["true", "false", "3", "x"]
