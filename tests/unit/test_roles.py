"""What holds for every role: argument specifications equal the defaults, names carry the role's prefix."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir())


def load(path: Path) -> dict[str, object]:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("role", ROLES)
def test_argument_specification_equals_defaults(role: str) -> None:
    defaults = load(ROOT / "roles" / role / "defaults" / "main.yml")
    specs = load(ROOT / "roles" / role / "meta" / "argument_specs.yml")["argument_specs"]
    # Those of the role common are no entry point that Ansible validates by itself.
    options = specs.get("variables", specs.get("main", {"options": {}}))["options"]
    with_default = {name: option["default"] for name, option in options.items() if "default" in option}
    assert with_default == defaults
    for name, option in options.items():
        assert option["description"], f"{name} has no description"
        if name not in defaults:
            # What is handed to a module has the module's default.
            handed = name.startswith("kestra_flows_")
            assert option.get("no_log") or handed, f"{name}: only secrets have no default"


def names_of(role: str, kind: str) -> set[str]:
    path = ROOT / "roles" / role / kind / "main.yml"
    return set(load(path) or {}) if path.exists() else set()


# The variables of the collection as a whole are those of the role common.
PREFIX = dict.fromkeys(ROLES, "") | {role: f"{role}_" for role in ROLES} | {"common": "orchestration_"}


@pytest.mark.parametrize("role", ROLES)
def test_variables_have_a_prefix(role: str) -> None:
    assert all(name.startswith(PREFIX[role]) for name in names_of(role, "defaults"))
    assert all(name.lstrip("_").startswith(PREFIX[role]) for name in names_of(role, "vars") if role != "kestra")


@pytest.mark.parametrize("role", ROLES)
def test_a_role_uses_no_other_roles_underscore_variables(role: str) -> None:
    """Nor do the playbooks; the templates that a site may override are those of the role of their folder's name."""
    own = [*(ROOT / "roles" / role).rglob("*"), *(ROOT / "templates" / role).glob("*")]
    for path in own:
        if path.suffix in {".yml", ".j2"}:
            used = set(re.findall(r"(?<![\w.'/-])_[a-z0-9]+(?:_[a-z0-9]+)+", path.read_text("utf-8")))
            foreign = {
                name for name in used if any(name.startswith(f"_{PREFIX[other]}") for other in ROLES if other != role)
            }
            assert not foreign, f"{path.relative_to(ROOT)} uses {sorted(foreign)}"


@pytest.mark.parametrize("path", sorted((ROOT / "playbooks").glob("*.yml")), ids=lambda path: path.stem)
def test_a_playbook_uses_no_roles_underscore_variables(path: Path) -> None:
    used = set(re.findall(r"(?<![\w.'/-])_[a-z0-9]+(?:_[a-z0-9]+)+", path.read_text("utf-8")))
    assert not {name for name in used if any(name.startswith(f"_{prefix}") for prefix in PREFIX.values())} - {
        name for name in used if name.startswith(f"_{path.stem}_")
    }


def test_no_role_reads_anothers_files() -> None:
    """The templates that a site may override, and the collection's own modules, are outside of the roles."""
    for path in (ROOT / "roles").rglob("*.yml"):
        for climbed in re.findall(r"role_path \}\}/\.\./([\w./-]+)", path.read_text("utf-8")):
            assert climbed.startswith(("../templates/", "../kestra-flows", "../plugins/")), f"{path}: {climbed}"


# A default and the place that repeats it: only the role's defaults may have it.
ONCE = [
    r"/run/orchestration\.lock",
    r"host\.docker\.internal:\{\{",
    r"default\(8090\)",
    r"'127\.0\.0\.1' if ",
    r"330",
]


@pytest.mark.parametrize("fact", ONCE)
def test_a_fact_stands_once(fact: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for folder in ("roles", "playbooks", "templates")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in {".yml", ".j2"}
        for line in path.read_text("utf-8").splitlines()
        if re.search(fact, line)
    ]
    assert len(found) <= 1, found


def test_no_default_is_defined_by_two_roles() -> None:
    defined: dict[str, str] = {}
    for role in ROLES:
        for name in names_of(role, "defaults") | names_of(role, "vars"):
            assert name not in defined, f"{name} is in {defined[name]} and {role}"
            defined[name] = role


def tasks_of(path: Path) -> list[dict[str, object]]:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def test_packages_are_installed_by_each_way_to_a_service_and_not_before_the_bundle_is_there() -> None:
    """With orchestration_offline apt has nothing but the bundle, which the role docker unpacks."""
    common = ROOT / "roles" / "common" / "tasks"
    for task in tasks_of(common / "prepare.yml"):
        assert "ansible.builtin.apt" not in (common / str(task["ansible.builtin.import_tasks"])).read_text("utf-8")
    imported = {"name": "devorch.orchestration.common", "tasks_from": "packages"}
    for role in ("postgres", "kestra", "backup"):
        tasks = tasks_of(ROOT / "roles" / role / "tasks" / "manage.yml")
        assert [task.get("ansible.builtin.import_role") for task in tasks].index(imported) == 0
        assert tasks[1]["ansible.builtin.import_tasks"] == "present.yml"
    (_, play) = tasks_of(ROOT / "playbooks" / "site.yml")
    (block,) = play["tasks"]  # type: ignore[misc]
    steps = [task.get("ansible.builtin.import_role", {}) for task in block["block"]]  # type: ignore[index]
    order = [(step.get("name", "").rpartition(".")[2], step.get("tasks_from")) for step in steps]
    assert (
        order.index(("docker", "present")) < order.index(("common", "packages")) < order.index(("postgres", "present"))
    )
