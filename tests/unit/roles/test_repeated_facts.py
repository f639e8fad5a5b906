"""Facts that have to be in several places: each test fails if one of them is changed alone."""

from __future__ import annotations

import re
import sys
from typing import Any

import yaml
from ansible_collections.devorch.orchestration.plugins.modules import kestra_flows, multipass_environment

from ..templating import ROOT, load

sys.path.insert(0, str(ROOT / "roles" / "sidecar" / "files" / "src"))

from multipass_sidecar import models

OPTION = re.compile(r"\bkestra_flows_(\w+)")
OWN = {"directory", "plan_only", "markdown"}
"""What the playbook has apart from the module's options; the directory is the module's src."""
NOT_OFFERED = {"src", "content", "remote_src", "concurrency", "run_timeout", "task_runners", "list_unchanged"}


def test_new_instances_have_the_same_size_in_the_collection_and_in_the_sidecar() -> None:
    defaults = vars(multipass_environment)["LAUNCH_DEFAULTS"]
    assert {name: models.Launch.model_fields[name].default for name in defaults} == defaults


def module_options() -> dict[str, Any]:
    options = yaml.safe_load(kestra_flows.DOCUMENTATION)["options"]
    return {name: option for name, option in options.items() if not name.startswith("_") and name not in NOT_OFFERED}


def specification() -> dict[str, Any]:
    options = load("roles/kestra/meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    return {match[1]: option for name, option in options.items() if (match := OPTION.fullmatch(name))}


def test_flow_variables_are_the_options_of_the_module() -> None:
    found, options = specification(), module_options()
    assert found.keys() == options.keys() | OWN
    for name, option in options.items():
        assert {key: found[name].get(key) for key in ("type", "elements")} == {
            key: option.get(key) for key in ("type", "elements")
        }, name


def test_flow_variables_reach_the_module() -> None:
    text = (ROOT / "roles" / "kestra" / "tasks" / "sync.yml").read_text("utf-8")
    (block,) = load("roles/kestra/tasks/sync.yml")
    given = block["block"][0]["devorch.orchestration.kestra_flows"]
    assert set(OPTION.findall(text)) - {"login"} == specification().keys()
    assert {name for name, value in given.items() if f"kestra_flows_{name} " in value} == module_options().keys()


def test_flow_variables_are_documented() -> None:
    text = (ROOT / "docs" / "flows-in-ci.md").read_text("utf-8")
    assert set(OPTION.findall(text)) == specification().keys()
