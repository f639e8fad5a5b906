"""Evaluate what roles and playbooks say, in this process, with Ansible's own templates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

ROOT = Path(__file__).parents[2]
SERVICE_ROLES = ("common", "docker", "postgres", "sidecar", "kestra", "n8n", "backup")


def load(path: str) -> Any:
    """Return a YAML file of the collection, with its templates."""
    return DataLoader().load_from_file(str(ROOT / path), trusted_as_template=True)


def variables(*roles: str) -> dict[str, Any]:
    """Return the defaults and variables of these roles."""
    found: dict[str, Any] = {"role_path": str(ROOT / "roles" / roles[-1]), "ansible_check_mode": False}
    for role in roles:
        for kind in ("defaults", "vars"):
            if (ROOT / "roles" / role / kind / "main.yml").exists():
                found |= load(f"roles/{role}/{kind}/main.yml") or {}
    return found


def _templar(given: Mapping[str, Any]) -> Templar:
    return Templar(loader=DataLoader(), variables=dict(given))


def evaluate(template: Any, given: Mapping[str, Any]) -> Any:
    """Return what a template, or data with templates, is with these variables."""
    trusted = trust_as_template(template) if isinstance(template, str) else template
    return _templar(given).template(trusted)


def holds(when: Any, given: Mapping[str, Any]) -> bool:
    """Return whether every condition of a C(when) holds."""
    conditions = when if isinstance(when, list) else [when]
    return all(_templar(given).evaluate_conditional(trust_as_template(condition)) for condition in conditions)


def tasks(content: Any) -> Iterator[dict[str, Any]]:
    """Return every task of plays, blocks or task files, blocks themselves among them."""
    for each in content or []:
        if "hosts" not in each:
            yield each
        for key in ("tasks", "block", "rescue", "always"):
            yield from tasks(each.get(key))


def find(path: str, key: str) -> dict[str, Any]:
    """Return the one task of a file that has this key, such as the name of a module."""
    (found,) = [task for task in tasks(load(path)) if key in task]
    return found


def included(path: str, task: Mapping[str, Any]) -> list[str]:
    """Return the task files that a task includes, for each item of its loop."""
    for action, value in task.items():
        kind = action.rpartition(".")[2]
        if kind in ("include_role", "import_role"):
            target = f"roles/{value['name'].rpartition('.')[2]}/tasks/{value.get('tasks_from', 'main')}.yml"
        elif kind in ("include_tasks", "import_tasks"):
            target = str((ROOT / path).parent.joinpath(value).resolve().relative_to(ROOT))
        else:
            continue
        items = [evaluate(target, {"item": item}) for item in task.get("loop", [""])]
        assert all("{{" not in item for item in items), f"{path}: {target}"
        return items
    return []


def reached(path: str) -> Iterator[dict[str, Any]]:
    """Return every task that a playbook or a task file may run, those of the files that it includes as well."""
    for task in tasks(load(path)):
        yield task
        for target in included(path, task):
            yield from reached(target)
