"""Every whole number may be given as text, as `-e orchestration_start_timeout=9` does: "9" is not a number to Jinja."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleError
from jinja2 import Environment, nodes

from ..templating import ROOT, evaluate, load, variables
from .test_booleans import CONDITIONS, FILES, texts

CALCULATING = (nodes.Compare, nodes.Add, nodes.Sub, nodes.Mul, nodes.Div, nodes.FloorDiv, nodes.Mod, nodes.Neg)
ORDERING = {"max", "min", "sort", "sum", "abs", "round"}
DECIDING = (nodes.And, nodes.Or, nodes.Not)
OPTIONS: dict[str, dict[str, dict[str, Any]]] = {}
for specification in sorted(ROOT.glob("roles/*/meta/argument_specs.yml")):
    points = yaml.safe_load(specification.read_text("utf-8"))["argument_specs"]
    OPTIONS[specification.parts[-3]] = {
        name: option for point in points.values() for name, option in point.get("options", {}).items()
    }
ROLES = ("common", "docker", "postgres", "sidecar", "kestra", "n8n", "backup", "upgrade")


@functools.cache
def numbers() -> set[str]:
    """Return every variable that is a whole number by the roles' specifications."""
    return {name for options in OPTIONS.values() for name, option in options.items() if option["type"] == "int"}


def unconverted(node: nodes.Node, names: set[str], calculates: bool = False) -> Iterator[str]:
    """Return the variables with which an expression calculates, compares or decides as they are."""
    if isinstance(node, nodes.Filter):
        if node.name in ("int", "string"):
            return
        calculates = calculates or node.name in ORDERING
    if isinstance(node, (*CALCULATING, *DECIDING)):
        calculates = True
    if isinstance(node, nodes.Name) and node.name in names and calculates:
        yield node.name
    if isinstance(node, (nodes.CondExpr, nodes.If)):
        yield from unconverted(node.test, names, True)
    for child in node.iter_child_nodes():
        yield from unconverted(child, names, calculates)


def problems(path: Path, text: str, names: set[str]) -> set[str]:
    """Return the whole numbers that a file uses without a conversion."""
    parse = Environment(autoescape=True).parse
    if path.suffix == ".j2":
        return set(unconverted(parse(text), names))
    found: set[str] = set()
    for keys, value in texts(yaml.safe_load(text)):
        condition = keys[-1] in CONDITIONS and "{{" not in value
        found |= set(unconverted(parse(f"{{{{ {value} }}}}" if condition else value), names, condition))
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_numbers_are_converted_where_they_are_used(path: Path) -> None:
    assert problems(path, path.read_text("utf-8"), numbers()) == set()


@pytest.mark.parametrize(
    "text",
    [
        "{{ [number, 300] | max }}",
        "{{ number + 30 }}",
        "{{ 'a' if number > 0 else 'b' }}",
        "{{ 'a' if number else 'b' }}",
        "{% if not number %}a{% endif %}",
    ],
)
def test_numbers_as_they_are_would_be_found(text: str) -> None:
    assert problems(Path("a.j2"), text, {"number"}) == {"number"}
    assert problems(Path("a.j2"), text.replace("number", "(number | int)"), {"number"}) == set()


def outcome(name: str, given: dict[str, Any]) -> str:
    """Return a variable of a role as modules get it, by way of JSON, or the error if it needs what only a host has."""
    try:
        return str(json.loads(json.dumps(evaluate(given[name], given), default=str)))
    except AnsibleError as error:
        return f"error: {error.message}"


def test_variables_of_the_roles_are_the_same_with_every_number_and_boolean_as_text() -> None:
    """All of them at once, as `-e name=value` gives them, both those that are true and those that are false."""
    own = {name for role in ROLES for name in load(f"roles/{role}/vars/main.yml") or {}}
    kinds = {name: option["type"] for options in OPTIONS.values() for name, option in options.items()}
    found = {
        "orchestration_host": {"files": {}, "packages": [], "docker": {"engine": "29"}},
        "orchestration_secrets": {"secrets": dict.fromkeys(("kestra_password", "sidecar_token"), "x")},
        "ansible_facts": {"distribution": "Debian", "distribution_major_version": "13", "architecture": "x86_64"},
    }
    for flip in (False, True):
        given = variables(*ROLES) | found
        plain = {name: given[name] for name, kind in kinds.items() if kind in ("int", "bool") and name in given}
        plain = {name: value for name, value in plain.items() if isinstance(value, (bool, int))}
        plain = {name: value != flip if isinstance(value, bool) else value for name, value in plain.items()}
        assert len(plain) > 30
        expected = {name: outcome(name, given | plain) for name in sorted(own)}
        assert sum(not text.startswith("error: ") for text in expected.values()) > 60
        as_text = {name: str(value).lower() for name, value in plain.items()}
        assert {name: outcome(name, given | as_text) for name in sorted(own)} == expected
