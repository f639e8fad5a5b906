"""What holds for every role: argument specifications equal the defaults, names carry the role's prefix."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import role_readmes
from tests.unit.playbook import play

ROOT = Path(__file__).parents[3]
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
            handed = name.startswith(("kestra_flows_", "n8n_workflows_"))
            assert option.get("no_log") or handed, f"{name}: only secrets have no default"


def all_tasks(content: object) -> Iterator[dict[str, Any]]:
    """Yield each task and block of a list of tasks."""
    for task in content if isinstance(content, list) else []:
        yield task
        for part in ("block", "rescue", "always", "tasks"):
            yield from all_tasks(task.get(part))


def test_apt_waits_for_the_upgrades_of_a_new_host() -> None:
    paths = [*ROOT.glob("roles/*/tasks/*.yml"), *ROOT.glob("playbooks/*.yml")]
    found = [
        task["ansible.builtin.apt"] for path in paths for task in all_tasks(load(path)) if "ansible.builtin.apt" in task
    ]
    assert len(found) >= 6
    assert {options.get("lock_timeout") for options in found} == {600}


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


BANNED = ("Bring", "Forget", "Have", "Hold", "Keep", "Let", "Look", "Put", "Remember", "Say", "Show", "Sweep", "Tell")
"""Verbs that do not say what a task does."""
TASK_FILES = sorted(
    path
    for folder in ("roles", "playbooks", "molecule")
    for path in (ROOT / folder).rglob("*.yml")
    if path.parent.name in {"tasks", "handlers", "playbooks"} or (folder == "molecule" and path.stem != "molecule")
)
INCLUDES = {f"{prefix}_{kind}" for prefix in ("import", "include") for kind in ("playbook", "role", "tasks")}


def test_a_conditional_role_warns_of_nothing(tmp_path: Path) -> None:
    """Ansible warns of a noop under a condition, and a role that does nothing needs none."""
    roles = [path.relative_to(ROOT / "roles").parts for path in TASK_FILES if "noop" in path.read_text("utf-8")]
    assert not roles
    loaded = [
        {"ansible.builtin.include_role": {"name": f"devorch.orchestration.{role}", "tasks_from": entry}}
        for role, entry in (("common", "main"), ("n8n", "load_variables"))
    ]
    played = play(tmp_path, [{"when": "1 == 1 + nothing | default(0)", "block": loaded}])
    assert played.returncode == 0 and "WARNING" not in played.output


def named(content: Any) -> Iterator[dict[str, Any]]:
    """Return every play, block and task with a name."""
    for each in content or []:
        if "name" in each:
            yield each
        for key in ("block", "rescue", "always", "pre_tasks", "tasks", "post_tasks", "handlers"):
            yield from named(each.get(key))


def included(path: Path, task: dict[str, Any]) -> str | None:
    """Return the file that a task includes, with the variables in its path as they are written; None for any other."""
    for action, value in task.items():
        kind = action.rpartition(".")[2]
        if kind in INCLUDES and "role" in kind:
            return f"roles/{value['name'].rpartition('.')[2]}/tasks/{value.get('tasks_from', 'main')}.yml"
        if kind in INCLUDES:
            return str((path.parent / value).resolve().relative_to(ROOT))
    return None


@pytest.mark.parametrize("path", TASK_FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_task_names_say_what_is_done_to_what(path: Path) -> None:
    names = [each["name"] for each in named(load(path))]
    assert not [name for name in names if name.split()[0] in BANNED]
    assert not [name for name in names if len(name.split()) == 1 and name != "Converge"]
    assert not [name for name in names if re.search(r"\b(it|its|them)$", name)]


def test_a_task_name_means_one_thing() -> None:
    """Tasks of one name include the same file, or all but one include the file that has the other."""
    places: dict[str, list[tuple[Path, str | None]]] = defaultdict(list)
    for path in TASK_FILES:
        for each in named(load(path)):
            places[each["name"]].append((path, included(path, each)))
    for name, found in places.items():
        own = [path for path, target in found if target is None]
        targets = {target for _path, target in found if target is not None}
        assert len(own) <= 1 and len(targets) <= 1, f"'{name}' has several meanings: {found}"


def test_task_files_that_others_use_are_entry_points() -> None:
    for path in TASK_FILES:
        for each in named(load(path)):
            target = included(path, each)
            if target and "{{" not in target and path.parts[-3] != Path(target).parts[1] and "/tasks/" in target:
                role = ROOT / "roles" / Path(target).parts[1]
                specifications = load(role / "meta" / "argument_specs.yml")["argument_specs"]
                assert Path(target).stem in role_readmes.entry_points(role, specifications), target


@pytest.mark.parametrize("path", role_readmes.pages(), ids=lambda path: path.parent.name)
def test_readmes_are_those_of_the_specifications(path: Path) -> None:
    assert path.read_text("utf-8") == role_readmes.pages()[path], "run make role-readmes"


def test_a_value_of_kestra_config_may_be_encrypted(tmp_path: Path) -> None:
    """Kestra does not know ansible-vault: its file has the value itself, and the grace period is read from that."""
    (tmp_path / "password").write_text("secret")
    vault = [str(Path(sys.executable).with_name("ansible-vault")), "encrypt_string", "--vault-password-file"]
    encrypted = subprocess.run(
        [*vault, str(tmp_path / "password"), "plain-value"], capture_output=True, text=True, check=True
    ).stdout
    (tmp_path / "variables.yml").write_text(f"kestra_config:\n  kestra:\n    url: {encrypted}")
    message = "{{ [(_kestra_configuration_file.content | from_yaml).kestra.url, kestra_stop_timeout] }}"
    files = [f"{ROOT}/roles/{role}/{kind}/main.yml" for role in ("common", "kestra") for kind in ("defaults", "vars")]
    played = play(
        tmp_path,
        [{"ansible.builtin.debug": {"msg": message}}],
        *("--vault-password-file", str(tmp_path / "password"), "--extra-vars", f"@{tmp_path / 'variables.yml'}"),
        play_keys={"vars_files": files, "vars": {"role_path": f"{ROOT}/roles/kestra"}},
    )
    assert played.last["msg"] == ["plain-value", 330], played.output


def tasks_of(path: Path) -> Any:
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
    (block,) = play["tasks"]
    steps = [task.get("ansible.builtin.import_role", {}) for task in block["block"]]
    order = [(step.get("name", "").rpartition(".")[2], step.get("tasks_from")) for step in steps]
    assert (
        order.index(("docker", "present")) < order.index(("common", "packages")) < order.index(("postgres", "present"))
    )
