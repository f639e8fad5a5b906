"""The rules for what Kestra 2.0 removed, without a server; tests/integration/test_flow_rules.py asks the engine."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows.deprecations import Finding, findings
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows.yaml_nodes import compose

from .flow_constructs import CONSTRUCTS, HEAD, TASKS

ROOT = Path(__file__).parents[6]


def found(text: str) -> list[Finding]:
    return findings(compose(text)[0], text)


@pytest.mark.parametrize("name", CONSTRUCTS)
def test_each_construct_is_found_once_with_its_line_and_the_way_out(name: str) -> None:
    construct = CONSTRUCTS[name]
    (finding,) = found(construct.text)
    assert (finding.line, finding.refused) == (construct.line, construct.verdict == "refused")
    assert construct.message in finding.message


GOOD = {
    "BOOL and SELECT": (
        f"{HEAD}inputs:\n  - id: b\n    type: BOOL\n  - {{id: s, type: SELECT, values: [a]}}\n{TASKS}"
        "outputs:\n  - {id: o, type: BOOL, value: true}\n"
    ),
    "today's expressions": (
        f"{HEAD}{TASKS}variables:\n"
        '  a: "{{ fromJson(x) }} {{ x | toJson }} {{ x is json }} {{ my.json(x) }} {{ x | jsonata }}"\n'
        "  b: \"{{ x == 'json(y)' }} json(z) | json\"\n"
        '  c: |\n    import json\n    print(json.dumps({}), json("no expression"))\n'
    ),
    "conditions of Assert": (
        f"{HEAD}tasks:\n  - id: a\n    type: io.kestra.plugin.core.execution.Assert\n    conditions: [x]\n"
    ),
    "condition of If": (
        f'{HEAD}tasks:\n  - id: a\n    type: io.kestra.plugin.core.flow.If\n    condition: "{{{{ x }}}}"\n    then:\n'
    ),
    "names in data": (
        f"{HEAD}{TASKS}variables:\n  pluginDefaults: x\n  type: io.kestra.plugin.core.flow.ForEach\n  docker: y\n"
        "labels:\n  listeners: 'no'\n"
    ),
    "a type in a body": (
        f"{HEAD}tasks:\n  - id: a\n    type: io.kestra.plugin.core.http.Request\n    uri: x\n"
        "    body:\n      type: io.kestra.plugin.core.flow.ForEach\n"
    ),
    "states of another trigger": (
        f"{HEAD}{TASKS}triggers:\n  - id: a\n    type: io.kestra.plugin.jira.Trigger\n    states: [CANCELED]\n"
    ),
    "relatives of git.Push and git.Sync": (
        f"{HEAD}tasks:\n  - {{id: a, type: io.kestra.plugin.git.PushFlows}}\n"
        "  - {id: b, type: io.kestra.plugin.git.SyncNamespaceFiles}\n"
    ),
    "comments, raw texts and states of services": (
        f'{HEAD}{TASKS}variables:\n  a: "{{# {{{{ json(x) }}}} #}}"\n'
        '  b: "{% raw %}{{ json(x) }}{% endraw %}"\n'
        "  c: \"{{ outputs.jira.status == 'CANCELED' }}\"\n"
    ),
    "odd shapes": (
        f"{HEAD}tasks: x\ntriggers: [1, [2], {{id: a}}]\ninputs: {{a: b}}\noutputs: [~]\nchecks:\nretry: no\nerrors:\n"
    ),
}


@pytest.mark.parametrize("name", GOOD)
def test_nothing_is_found_where_nothing_is(name: str) -> None:
    assert found(GOOD[name]) == []


def test_nothing_is_found_in_our_own_flows() -> None:
    flows = list((ROOT / "kestra-flows").rglob("*.yaml"))
    assert flows
    assert {str(flow): found(flow.read_text("utf-8")) for flow in flows} == {str(flow): [] for flow in flows}


def test_all_findings_in_the_order_of_their_lines() -> None:
    text = (
        f"{HEAD}pluginDefaults: []\ninputs:\n  - {{id: a, type: BOOLEAN}}\n"
        "tasks:\n  - id: x\n    type: io.kestra.plugin.core.flow.ForEach\n    values: \"{{ json('[1]') | json }}\"\n"
    )
    assert [(f.line, f.refused) for f in found(text)] == [(3, True), (5, True), (8, True), (9, False), (9, False)]


def test_a_trigger_of_a_plugin_is_left_to_the_server() -> None:
    text = f"{HEAD}{TASKS}triggers:\n  - id: a\n    type: io.kestra.plugin.aws.s3.Trigger\n    conditions: []\n"
    assert [(f.line, f.refused) for f in found(text)] == [(10, False)]


def test_a_value_behind_aliases_is_reported_once() -> None:
    text = f"{HEAD}tasks:\n  - &one\n    id: a\n    type: io.kestra.plugin.core.debug.Echo\n  - *one\n  - *one\n"
    assert [f.line for f in found(text)] == [6]


def test_rules_cost_a_fraction_of_parsing() -> None:
    text = max((flow.read_text("utf-8") for flow in (ROOT / "kestra-flows").rglob("*.yaml")), key=len)
    root = compose(text)[0]

    def best(call: object) -> float:
        times = []
        for _ in range(7):
            start = time.perf_counter()
            call()  # type: ignore[operator]
            times.append(time.perf_counter() - start)
        return min(times)

    assert best(lambda: findings(root, text)) < best(lambda: compose(text)) / 3


def test_a_tenant_concerns_servers_before_2_alone() -> None:
    (finding,) = found(f"{HEAD}tenantId: x\n{TASKS}")
    assert (finding.line, finding.refused, finding.before_2) == (3, False, True)
    assert found(f"{HEAD}tenantId: null\n{TASKS}") == []
