"""Systems, Ansible and libraries: the README says what the checks accept and what the collection's metadata say."""

from __future__ import annotations

import ast
import re
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
REQUIREMENTS = (ROOT / "README.md").read_text("utf-8").split("\n## Requirements\n")[1].split("\n## ")[0]
RELEASES = {"12": "bookworm", "13": "trixie", "24.04": "noble", "26.04": "resolute"}
ROLES = sorted(path.parents[1].name for path in (ROOT / "roles").glob("*/meta/main.yml"))


def stated() -> dict[str, list[str]]:
    """Return the releases that the README lists, by system."""
    rows = re.findall(r"^\| (\w+) \| (\d[\d., ]*) \|$", REQUIREMENTS, re.MULTILINE)
    return {system: releases.split(", ") for system, releases in rows}


def oldest_and_newest() -> tuple[str, str]:
    """Return the versions of ansible-core that the README names."""
    ((oldest, newest),) = re.findall(r"ansible-core ([\d.]+) to ([\d.]+)", REQUIREMENTS)
    return oldest, newest


def after(version: str) -> str:
    """Return the minor version after this one."""
    major, minor = version.split(".")
    return f"{major}.{int(minor) + 1}"


def metadata(role: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "roles" / role / "meta" / "main.yml").read_text("utf-8"))
    return found["galaxy_info"]


def test_the_preflight_checks_accept_what_the_readme_lists() -> None:
    server = import_module("ansible_collections.devorch.orchestration.plugins.module_utils.host.preflight.server")
    assert stated() == {name: list(found) for name, found in server.DISTRIBUTIONS.items()}


@pytest.mark.parametrize("role", ROLES)
def test_roles_name_the_same_systems(role: str) -> None:
    named = {platform["name"]: platform["versions"] for platform in metadata(role)["platforms"]}
    assert named == {system: [RELEASES[release] for release in releases] for system, releases in stated().items()}


@pytest.mark.parametrize("role", ROLES)
def test_roles_ask_for_the_same_ansible(role: str) -> None:
    assert metadata(role)["min_ansible_version"] == oldest_and_newest()[0]


def test_the_collection_asks_for_the_same_ansible() -> None:
    oldest, newest = oldest_and_newest()
    runtime = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text("utf-8"))
    assert runtime["requires_ansible"] == f">={oldest}.0,<{after(newest)}.0"


def test_the_first_task_refuses_others() -> None:
    support = import_module("ansible_collections.devorch.orchestration.plugins.plugin_utils.support")
    assert [".".join(map(str, version)) for version in support.ANSIBLE] == list(oldest_and_newest())
    assert f"on Python {'.'.join(map(str, support.PYTHON))} or newer" in REQUIREMENTS


def imported(path: Path) -> set[str]:
    """Return the modules that a Python file imports, by their whole names."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            # A name of a package may be a module of its own.
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def test_the_libraries_of_the_controller_are_listed() -> None:
    """What plugins of the controller import, also by way of the collection's own modules, is what the README lists."""
    files = [path for kind in ("action", "filter", "inventory") for path in (ROOT / "plugins" / kind).glob("*.py")]
    needed: set[str] = set()
    seen: set[Path] = set()
    while files:
        path = files.pop()
        if path in seen:
            continue
        seen.add(path)
        for name in imported(path):
            own = re.match(r"ansible_collections\.devorch\.orchestration\.(.+)", name)
            if own:
                file = ROOT / f"{own[1].replace('.', '/')}.py"
                files += [file] if file.is_file() else []
            else:
                needed.add(name.partition(".")[0])
    libraries = {"requests": "requests", "yaml": "PyYAML", "pathspec": "pathspec"}
    # urllib3 is a part of requests, as far as its users are concerned.
    others = needed - set(sys.stdlib_module_names) - {"ansible", "ansible_collections", "urllib3"}
    assert others == set(libraries)
    assert all(f"`{name}`" in REQUIREMENTS for name in libraries.values())
    listed = (ROOT / "requirements.txt").read_text("utf-8").splitlines()
    assert sorted((line for line in listed if not line.startswith("#")), key=str.lower) == sorted(
        libraries.values(), key=str.lower
    )


def test_execution_environments_get_these_libraries() -> None:
    environment = yaml.safe_load((ROOT / "meta" / "execution-environment.yml").read_text("utf-8"))
    assert environment["dependencies"] == {"python": "requirements.txt"}


def test_requirements_are_the_dependencies_of_the_collection() -> None:
    """A clone installs with requirements.yml what an archive brings by its dependencies."""
    listed = yaml.safe_load((ROOT / "requirements.yml").read_text("utf-8"))["collections"]
    galaxy = yaml.safe_load((ROOT / "galaxy.yml").read_text("utf-8"))
    assert {each["name"]: each["version"] for each in listed} == galaxy["dependencies"]


def test_the_workflow_for_flows_installs_the_same() -> None:
    text = (ROOT / "docs" / "github-actions" / "flows.yml").read_text("utf-8")
    oldest, newest = oldest_and_newest()
    installed = re.findall(r"pip install 'ansible-core(.+)' (.+)", text)
    assert installed
    for versions, libraries in installed:
        assert versions == f">={oldest},<{after(newest)}"
        assert all(f"`{name}`" in REQUIREMENTS for name in libraries.split())
        assert len(libraries.split()) == len(re.findall(r"^\w", (ROOT / "requirements.txt").read_text("utf-8"), re.M))
