"""Every boolean variable may be given as text, as `-e upgrade_plan_only=false` does: "false" is true to Jinja."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jinja2 import Environment, nodes

from ..templating import ROOT

FILES = sorted(
    path
    for pattern in ("roles/*/*/*.yml", "roles/*/templates/**/*.j2", "templates/**/*.j2", "playbooks/*.yml")
    for path in ROOT.glob(pattern)
    if path.parent.name != "meta"
)
CONDITIONS = {"when", "changed_when", "failed_when", "until", "that"}
"""Keys whose value is an expression without braces."""


def texts(content: Any, *keys: str) -> Iterator[tuple[tuple[str, ...], str]]:
    """Return every text of a YAML document with the keys that lead to it."""
    if isinstance(content, dict):
        for name, value in content.items():
            yield from texts(value, *keys, str(name))
    elif isinstance(content, list):
        for value in content:
            yield from texts(value, *keys)
    elif isinstance(content, str):
        yield keys, content


@functools.cache
def booleans() -> set[str]:
    """Return every variable that is a boolean by the roles' specifications, or by the value in a playbook or a role."""
    found: set[str] = set()
    for path in ROOT.glob("roles/*/meta/argument_specs.yml"):
        for entry in yaml.safe_load(path.read_text("utf-8"))["argument_specs"].values():
            found |= {name for name, option in entry.get("options", {}).items() if option["type"] == "bool"}
    for path in FILES:
        if path.suffix == ".yml":
            found |= set(assigned(yaml.safe_load(path.read_text("utf-8")), path.parent.name == "vars"))
    return found


def assigned(content: Any, variables: bool) -> Iterator[str]:
    """Return the names of variables that are set to true or false."""
    for key, value in content.items() if isinstance(content, dict) else enumerate(content or []):
        if variables and isinstance(value, bool):
            yield key
        elif isinstance(value, dict | list):
            yield from assigned(value, key == "vars")


def unconverted(node: nodes.Node, names: set[str]) -> Iterator[str]:
    """Return the variables that are used as they are."""
    if isinstance(node, nodes.Filter) and node.name == "bool":
        return
    if isinstance(node, nodes.Test) and node.name in ("defined", "undefined"):
        return
    if isinstance(node, nodes.Name) and node.name in names:
        yield node.name
    for child in node.iter_child_nodes():
        yield from unconverted(child, names)


def is_nothing_else(template: nodes.Template) -> bool:
    """Return whether a text is a variable and nothing else."""
    if [type(node) for node in template.body] != [nodes.Output]:
        return False
    (output,) = template.body
    if len(output.nodes) != 1:
        return False
    node = output.nodes[0]
    while isinstance(node, nodes.Filter) and node.name == "default":
        node = node.node
    return isinstance(node, nodes.Name)


def problems(path: Path, text: str, names: set[str]) -> set[str]:
    """Return the boolean variables that a file uses without a conversion."""
    parse = Environment(autoescape=True).parse
    if path.suffix == ".j2":
        return set(unconverted(parse(text), names))
    found: set[str] = set()
    for keys, value in texts(yaml.safe_load(text)):
        condition = keys[-1] in CONDITIONS and "{{" not in value
        template = parse(f"{{{{ {value} }}}}" if condition else value)
        # An option of a module, or another boolean variable, may be given the text.
        to_module = path.parent.name != "vars" and "vars" not in keys and keys[-1] not in CONDITIONS
        if not (is_nothing_else(template) and (to_module or keys[-1] in names)):
            found |= set(unconverted(template, names))
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_boolean_variables_are_converted_where_they_are_used(path: Path) -> None:
    assert problems(path, path.read_text("utf-8"), booleans()) == set()
