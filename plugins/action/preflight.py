# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads the variables of the roles by their argument specifications and checks them against a look at the host."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from ansible.errors import AnsibleActionFail, AnsibleError, AnsibleUndefinedVariable
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.errors import ArgumentValueError, ElementError
from ansible.plugins.action import ActionBase
from ansible_collections.devorch.orchestration.plugins.module_utils.host.preflight import check, situation

try:
    from ansible.template import trust_as_template
except ImportError:  # before ansible-core 2.19 every text is a template

    def trust_as_template(value: str) -> str:
        return value


ROLES = Path(__file__).parents[2] / "roles"
KINDS = {
    "bool": "true or false",
    "dict": "a dictionary",
    "float": "a number",
    "int": "a whole number",
    "list": "a list",
    "path": "a path",
    "str": "a text",
}
LONGEST_VALUE = 80
FILES = ("orchestration_bundle", "orchestration_ca_certificates", "kestra_flows_directory")
"""Variables that name a file or directory of the controller, or several."""
PREFIXES = tuple(f"{word}_" for word in (*situation.SERVICES, "orchestration", "upgrade", "rotate"))
"""How the names of variables begin that may be meant for this collection."""
OF_PLAYBOOKS = ("rotate_secrets", "upgrade_plan_only", "export_keys_recipients", "export_keys_directory")
CLOSE = 0.85
"""How alike two names are of which one is likely to be meant for the other, from 0 to 1."""
WORD = re.compile(r"\b[a-z_][a-z0-9_]*\b")


def read_options(role: str, roles: Path = ROLES) -> dict[str, dict[str, Any]] | None:
    """Return the options of a role by their names, None if there is no such role."""
    path = roles / role / "meta" / "argument_specs.yml"
    if not path.is_file():
        return None
    specification = yaml.safe_load(path.read_text(encoding="utf-8"))
    point = specification["argument_specs"]["variables" if role == situation.SHARED else "main"]
    options: dict[str, dict[str, Any]] = point.get("options") or {}
    return options


JSON = {"dict": '{"KEY": "value"}', "list": '["value"]'}
OF_A_MODULE = ("kestra_flows_", "n8n_workflows_")
"""How variables begin that a module reads, which converts texts itself."""


def validate(name: str, option: Mapping[str, Any], value: Any) -> tuple[Any, list[str]]:
    """Return a value in the type of its option, and what is wrong with it; a secret value is never shown."""
    if value is None:
        if option.get("default") is None and not option.get("required"):
            return None, []
        return None, [f"{name}: is null. Set a value, or leave {name} out."]
    secret = bool(option.get("no_log"))
    if name in check.NUMBERS and str(value).isdecimal():
        return None, [f"{name}: {check.NUMBERS[name]}."]
    if isinstance(value, str) and option.get("type") in JSON and not name.startswith(OF_A_MODULE):
        # Ansible would convert it here, and not where a role uses it.
        return None, [
            f"{name}: is a text, and not {_kind(option, 'type')}. With -e, write JSON:"
            f""" -e '{{"{name}": {JSON[option["type"]]}}}'."""
        ]
    own = {key: option[key] for key in ("type", "elements", "choices") if key in option}
    checked = ArgumentSpecValidator({name: own}).validate({name: value})
    found = [
        f"{name}: {_reason(option, value, error)} {_advice(name, option, error)}" for error in checked.errors.errors
    ]
    if not found and "options" in option:
        checked = ArgumentSpecValidator({name: {**own, "options": option["options"]}}).validate({name: value})
        for error in checked.errors.errors:
            reason = "the value does not fit" if secret else error.msg.rstrip(".")
            found.append(f"{name}: {reason}. Correct the value.")
    return (None if found else checked.validated_parameters[name]), found


def _reason(option: Mapping[str, Any], value: Any, error: Exception) -> str:
    simple = isinstance(value, (str, int, float)) and len(str(value)) <= LONGEST_VALUE and not option.get("no_log")
    shown = f"'{value}'" if simple else "the value"
    if isinstance(error, ElementError):
        return f"an item is not {_kind(option, 'elements')}."
    if isinstance(error, ArgumentValueError):
        return f"{shown} is not one of {', '.join(str(choice) for choice in option['choices'])}."
    return f"{shown} is not {_kind(option, 'type')}."


def _advice(name: str, option: Mapping[str, Any], error: Exception) -> str:
    if isinstance(error, ElementError):
        return f"Set each item to {_kind(option, 'elements')}."
    return f"Set {name} to {'one of them' if isinstance(error, ArgumentValueError) else _kind(option, 'type')}."


def _kind(option: Mapping[str, Any], key: str) -> str:
    kind = str(option.get(key, "str"))
    return KINDS.get(kind, kind)


class ActionModule(ActionBase):
    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False

    @classmethod
    def finalize_task_arg(cls, name: str, value: Any, templar: Any, context: Any) -> Any:
        """Leave the texts of O(rendered) to run(): a template that fails is one problem among the others."""
        if name == "rendered" and isinstance(value, Mapping):
            return value
        return super().finalize_task_arg(name, value, templar, context)

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Read all variables, apply all rules, and fail with every problem at once."""
        task_vars = task_vars or {}
        result: dict[str, Any] = super().run(tmp, task_vars)
        _checked, arguments = self.validate_argument_spec(
            argument_spec={
                "services": {"type": "list", "elements": "str", "required": True},
                "host": {"type": "dict", "required": True},
                "upgrade": {"type": "bool", "default": False},
                "installs": {"type": "bool", "default": True},
                "rendered": {"type": "dict", "default": {}},
            }
        )
        services = arguments["services"]
        specifications = {role: read_options(role) for role in (situation.SHARED, *situation.SERVICES, *services)}
        for service in services:
            if specifications[service] is None:
                raise AnsibleActionFail(f"services: '{service}' is not a role of this collection")
        options = {role: found for role, found in specifications.items() if found is not None}
        reader = _Reader(self._templar, task_vars, options)
        variables, problems = reader.read([situation.SHARED, *services])
        problems = [*selected(self._task.tags, task_vars), *renamed(task_vars), *problems]
        rendered, failed = reader.render(self._task.args.get("rendered") or {}, services, variables)
        problems += failed
        given = {
            "services": services,
            "variables": variables,
            "host": arguments["host"],
            "facts": task_vars.get("ansible_facts", {}),
        }
        missing = [name for name in FILES if any(not path.exists() for path in paths(variables.get(name)))]
        certificate = (variables.get("postgres_external") or {}).get("ca")
        missing += ["postgres_external.ca" for path in paths(str(certificate or "")) if not path.is_file()]
        run = {"upgrade": arguments["upgrade"], "installs": arguments["installs"]}
        problems += check.problems(rendered=rendered, missing_files=missing, **run, **given)
        problems = list(dict.fromkeys(problems))
        warnings = [
            *misspelt(task_vars, {name for found in options.values() for name in found}),
            *check.warnings(**given),
        ]
        result.update(changed=False, problems=problems, warnings=warnings, msg="no problems")
        if problems:
            count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
            result.update(
                failed=True, msg="\n".join([f"{count}; nothing was changed:", *(f"- {text}" for text in problems)])
            )
        return result


def selected(tags: Collection[str], task_vars: Mapping[str, Any]) -> Iterator[str]:
    """Return a problem if a part of the playbook is asked for: the playbooks of this collection have no such parts.

    A role may have a tag of the playbook that the operator wrote.
    """
    wanted = set(task_vars.get("ansible_run_tags") or ["all"])
    # Another tag that no task has changes nothing; Molecule always gives one.
    skipped = set(task_vars.get("ansible_skip_tags") or []) & set(situation.SERVICES)
    advice = "Leave it out. A run changes only what differs"
    if not wanted & {*tags, "all", "tagged"}:
        yield f"--tags: no task has the tag {', '.join(sorted(wanted))}. {advice}."
    if skipped and "always" in tags:
        yield f"--skip-tags: no task has the tag {', '.join(sorted(skipped))}. {advice}."


def paths(value: Any) -> list[Path]:
    """Return the paths that a variable of the type path names, or a list of them."""
    values = value if isinstance(value, list) else [value]
    return [Path(each).expanduser() for each in values if each]


def renamed(task_vars: Mapping[str, Any]) -> Iterator[str]:
    """Return a problem for each variable that has another name now, or is gone."""
    for previous, name in check.RENAMED.items():
        if previous in task_vars:
            yield f"{previous}: was renamed. Set {name} instead."
    for name, advice in check.REMOVED.items():
        if name in task_vars:
            yield f"{name}: {advice}."


def misspelt(task_vars: Mapping[str, Any], options: Collection[str], top: Path = ROLES.parent) -> Iterator[str]:
    """Return a warning for each variable that nothing uses and whose name is almost that of an option.

    Whoever writes an inventory may have variables with any name, so a name that is not close to another is theirs.
    """
    known = {*options, *OF_PLAYBOOKS}
    unknown = {name for name in task_vars if name.startswith(PREFIXES)} - known - {*check.RENAMED, *check.REMOVED}
    if not unknown:
        return
    # The collection has further variables and facts, and an inventory may use its own in the value of an option.
    files = (path for kind in ("roles", "playbooks") for path in sorted((top / kind).rglob("*.yml")))
    texts = (path.read_text(encoding="utf-8") for path in files)
    values = (str(task_vars[name]) for name in known & task_vars.keys())
    used = {word for text in (*texts, *values) for word in WORD.findall(text)}
    for name in sorted(unknown - used):
        for close in get_close_matches(name, known, n=1, cutoff=CLOSE):
            yield f"{name}: nothing uses this variable. If {close} is meant, correct the name."


def message(error: AnsibleError) -> str:
    """Return what an error says, in one line without the full stop."""
    return " ".join(str(error.message).split()).rstrip(".")


class _Reader:
    """The variables of a host, by the specifications of the roles; a role that is not loaded has its defaults."""

    def __init__(self, templar: Any, task_vars: Mapping[str, Any], options: Mapping[str, Mapping[str, Any]]) -> None:
        self._templar = templar
        self._options = options
        self._given = task_vars
        self._defaults: dict[str, Any] = {}
        for specification in options.values():
            for name, option in specification.items():
                if "default" in option:
                    default = option["default"]
                    self._defaults[name] = trust_as_template(default) if isinstance(default, str) else default

    def read(self, roles: list[str]) -> tuple[dict[str, Any], list[str]]:
        """Return the variables of these roles and of their neighbours, and what is wrong with those of these roles."""
        variables: dict[str, Any] = {}
        problems: list[str] = []
        for role, specification in self._options.items():
            templar = self._templar_of(role)
            for name, option in specification.items():
                if role not in roles and name not in check.NEIGHBOURS:
                    continue
                value, found = self._value(templar, name, option)
                if value is not None:
                    variables[name] = value
                if role in roles:
                    problems += found
        return variables, problems

    def render(
        self, templates: Mapping[str, Any], services: list[str], variables: Mapping[str, Any]
    ) -> tuple[dict[str, str], list[str]]:
        """Return the texts that the run needs, by the variable that names the template, and those that fail."""
        rendered: dict[str, str] = {}
        problems: list[str] = []
        for name, text in templates.items():
            owner = next((role for role, options in self._options.items() if name in options), situation.SHARED)
            if owner != situation.SHARED and (owner not in services or variables.get(f"{owner}_state") == "absent"):
                continue
            try:
                rendered[str(name)] = str(self._templar_of(owner).template(text))
            except AnsibleError as error:
                problems.append(f"{name}: the template fails: {message(error)}. Correct it, or what it uses.")
        return rendered, problems

    def _templar_of(self, role: str) -> Any:
        # Defaults of a role name files below it.
        own = {"role_path": str(ROLES / role)}
        return self._templar.copy_with_new_env(available_variables={**self._defaults, **self._given, **own})

    def _value(self, templar: Any, name: str, option: Mapping[str, Any]) -> tuple[Any, list[str]]:
        if name not in self._given and name not in self._defaults:
            return None, []
        try:
            value = templar.template(self._given[name] if name in self._given else self._defaults[name])
        except AnsibleError as error:
            secret = option.get("no_log") and not isinstance(error, AnsibleUndefinedVariable)
            reason = "" if secret else f": {message(error)}"
            return None, [f"{name}: the value cannot be read{reason}. Correct the variable."]
        if "omit" in self._given and value is self._given["omit"]:
            return None, []
        return validate(name, option, value)
