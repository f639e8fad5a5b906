"""Kestra's own engine judges the constructs that the rules call refused, and those that they only warn of."""

from __future__ import annotations

import pytest

from ..unit.plugins.module_utils.kestra.flows.flow_constructs import CONSTRUCTS
from .kestra import Kestra, wait_until


@pytest.mark.parametrize("name", [name for name, construct in CONSTRUCTS.items() if construct.verdict != "elsewhere"])
def test_the_engine_agrees_about_what_it_refuses(kestra: Kestra, name: str) -> None:
    construct = CONSTRUCTS[name]
    headers = {"Content-Type": "application/x-yaml"}
    answer = kestra.call("POST", "/flows/validate", data=construct.text.encode(), headers=headers)
    (verdict,) = answer.json()
    assert bool(verdict.get("constraints")) == (construct.verdict == "refused"), verdict


@pytest.mark.parametrize("name", ["json function", "json filter"])
def test_what_the_engine_takes_and_the_rules_warn_of_fails_when_it_runs(kestra: Kestra, name: str) -> None:
    kestra.save_flow(CONSTRUCTS[name].text)
    execution = kestra.execute("rules/old")
    assert execution["state"]["current"] == "FAILED"
    # The log comes a moment after the end.
    wait_until("the log tells why", lambda: "json" in kestra.messages(execution), 20)
