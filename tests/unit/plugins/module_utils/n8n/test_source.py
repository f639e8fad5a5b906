"""What is wrong with workflow files, found without a server."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.devorch.orchestration.plugins.module_utils.n8n.workflows.source import parse_sources
from ansible_collections.devorch.orchestration.plugins.module_utils.source_files import Source

from .builders import content, link, node


def parse(*values: Any) -> tuple[list[Any], list[str]]:
    sources = [
        Source(f"f{number}.json", value if isinstance(value, bytes) else json.dumps(value).encode())
        for number, value in enumerate(values)
    ]
    workflows, problems = parse_sources(sources)
    return workflows, [str(problem) for problem in problems]


def test_a_file_with_one_and_one_with_several() -> None:
    tagged = {**content("b"), "tags": [{"id": "1", "name": "y"}, "x"], "active": True, "id": 7}
    workflows, problems = parse(
        content("a"), [tagged, content("c")], b"\xef\xbb\xbf" + json.dumps(content("d")).encode()
    )
    assert problems == []
    assert [one.name for one in workflows] == ["a", "b", "c", "d"]
    assert workflows[1].tags == ("x", "y") and workflows[1].active is True and workflows[1].id == "7"
    assert workflows[0].tags is None and workflows[0].active is None and workflows[0].id is None


WRONG: list[tuple[Any, str]] = [
    (b"{\n,", "f0.json:2: is not JSON"),
    (b"{}\n\xff", "f0.json:2: is not UTF-8"),
    ("text", "is not a workflow"),
    (b"[]", "holds no workflow"),
    ({"name": "a"}, "has no nodes and no connections"),
    (content(""), "name ''"),
    (content("x" * 129), "of 1 to 128 characters"),
    (content("a", settings=[]), "settings is not a dict"),
    (content("a", active="yes"), "active is not a bool"),
    (content("a", tags=["x" * 25]), "of 1 to 24 characters"),
    (content("a", {"type": "x"}), "has no name or no type"),
    (content("a", node("A"), node("A")), "node 'A' is there twice"),
    (content("a", node("A", parameters=[])), "parameters or credentials is not an object"),
    (content("a", node("A"), connections=link("A", "B")), "there is no node 'B'"),
    (content("a", node("A"), connections={"A": {"main": [[{}]]}}), "connections is damaged"),
    ({**content("a"), "nodes": ["A"]}, "nodes is not a list of objects"),
]


@pytest.mark.parametrize(("value", "expected"), WRONG)
def test_every_problem_is_reported_with_its_file(value: Any, expected: str) -> None:
    workflows, problems = parse(value)
    assert workflows == [] and len(problems) == 1
    assert problems[0].startswith("f0.json") and expected in problems[0]


def test_two_files_with_one_name_or_one_id() -> None:
    _workflows, problems = parse(content("a", id="1"), content("a"), content("b", id="1"))
    assert [problem.partition(". ")[0] for problem in problems] == [
        "f1.json: name 'a' is already in f0.json",
        "f2.json: id '1' is already in f0.json",
    ]
