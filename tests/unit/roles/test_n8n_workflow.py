"""The workflow for n8n: whole, without a secret, and with the same rules as the flow for Kestra."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "n8n-workflows" / "environment-orchestration.json").read_text(encoding="utf-8")
WORKFLOW: dict[str, Any] = json.loads(TEXT)
FLOW = yaml.safe_load((ROOT / "kestra-flows" / "devops" / "environment-orchestration.yaml").read_text("utf-8"))
NODES = {node["name"]: node for node in WORKFLOW["nodes"]}


def targets(name: str) -> list[list[str]]:
    """Return the names of the nodes behind each output of a node."""
    outputs = WORKFLOW["connections"].get(name, {"main": []})["main"]
    return [[target["node"] for target in output] for output in outputs]


def test_names_and_ids_are_there_once() -> None:
    assert len(NODES) == len(WORKFLOW["nodes"]) == len({node["id"] for node in WORKFLOW["nodes"]})
    assert not WORKFLOW["active"]


def test_every_node_is_reached_and_every_branch_goes_on() -> None:
    reached, pending = set(), ["Webhook", "By hand"]
    while pending:
        name = pending.pop()
        if name not in reached:
            reached.add(name)
            pending += [target for output in targets(name) for target in output]
    assert reached == set(NODES)
    for name, node in NODES.items():
        ends = name == "Result" or node["type"].endswith(".stopAndError")
        branches = 2 if node["type"].endswith(".if") else 1
        assert [len(output) for output in targets(name)] == ([] if ends else [1] * branches), name


def test_what_expressions_name_is_there() -> None:
    assert set(re.findall(r"\$\('([^']+)'\)", TEXT)) <= set(NODES)


def test_credentials_are_named_and_not_held() -> None:
    for node in WORKFLOW["nodes"]:
        kind = node["parameters"].get("genericAuthType")
        if node["type"].endswith(".httpRequest"):
            assert node["parameters"]["authentication"] == "genericCredentialType"
            assert node["credentials"][kind]["name"] == "Multipass sidecar"
            assert not {"sendHeaders", "headerParameters"} & node["parameters"].keys()
        if node["type"].endswith(".webhook"):
            assert node["parameters"]["authentication"] == "headerAuth"
            assert node["credentials"]["httpHeaderAuth"]["name"] == "Environment webhook"
    documented = (ROOT / "docs" / "environments.md").read_text("utf-8")
    names = {each["name"] for node in WORKFLOW["nodes"] for each in node.get("credentials", {}).values()}
    assert all(f"| {name} |" in documented for name in names)


def test_rules_are_those_of_the_flow() -> None:
    inputs = {each["id"]: each for each in FLOW["inputs"]}
    condition = NODES["Valid?"]["parameters"]["conditions"]["conditions"][0]["leftValue"]
    assert f"/{inputs['environment']['validator']}/" in condition
    assert str(inputs["action"]["values"]) in condition
    values = NODES["Request"]["parameters"]["assignments"]["assignments"]
    defaults = {each["name"]: each["value"] for each in values}
    for name in ("environment", "action"):
        assert f"?? '{inputs[name]['defaults']}'" in defaults[name]
