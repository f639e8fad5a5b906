# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads the files of a service on the controller, and runs the module of the same name only if the host differs."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.module_utils.common.yaml import yaml_load
from ansible.plugins.action import ActionBase
from ansible.template import trust_as_template
from ansible_collections.devorch.orchestration.plugins.module_utils.host.deploy_plan import (
    COMPOSE,
    PlanError,
    archive,
    argument_spec,
    as_found,
    companions_of,
    difference,
    pack,
    parse,
    sha256,
    unchanged,
    with_records,
)
from ansible_collections.devorch.orchestration.plugins.plugin_utils.playbook_run import this_run

SOURCES = ("content", "src", "template", "zip")


def check_types(spec: Any) -> None:
    """Refuse what Ansible would turn into an unintended string; its own validation comes later."""
    if not isinstance(spec, Mapping):
        return
    mode, content = spec.get("mode"), spec.get("content")
    if mode is not None and not isinstance(mode, str):
        raise AnsibleActionFail(f"files: {spec.get('path')}: mode: {mode!r} is not in quotes. Write it as '0644'")
    if isinstance(content, Mapping | list):
        raise AnsibleActionFail(
            f"files: {spec.get('path')}: content is data, not text. Use to_nice_json or to_nice_yaml"
        )


class ActionModule(ActionBase):
    _supports_check_mode = True
    _supports_async = False

    @classmethod
    def finalize_task_arg(cls, name: str, value: Any, templar: Any, context: Any) -> Any:
        """Leave O(host) to run(): it is large, and to copy all of it takes longer than the comparison."""
        return value if name == "host" else super().finalize_task_arg(name, value, templar, context)

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Compare what is wanted with what the host was found to be, and run the module if that differs."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        if "_packed" in self._task.args:
            raise AnsibleActionFail("_packed is not for use in a task; set files")
        host = self._templar.template(self._task.args.pop("host", {}))
        if not isinstance(host, Mapping):
            raise AnsibleActionFail("host is not the result of host_info. Set it to that, or leave it out")
        given = self._task.args.get("files")
        for spec in given if isinstance(given, list) else []:
            check_types(spec)
        _validation, options = self.validate_argument_spec(argument_spec())
        options["files"] = with_records(options["files"])
        try:
            contents = {spec["path"]: self._content(spec, task_vars or {}) for spec in options["files"]}
            digests = {path: sha256(content) for path, content in contents.items()}
            files, digests = as_found(options["files"], digests, host.get("files") or {})
            companions = self._companions(options, contents)
            wanted = parse({**options, "files": files}, digests, companions)
        except PlanError as error:
            raise AnsibleActionFail(f"{options['service']}: {error}") from error
        if not difference(wanted, host, time.time()):
            return {**result, **unchanged(wanted.service, remote=False)}
        try:
            result.update(
                self._execute_module(
                    module_name="devorch.orchestration.deploy",
                    module_args=self._arguments(options, contents, companions),
                    task_vars=task_vars,
                )
            )
        finally:
            self._remove_tmp_path(self._connection._shell.tmpdir)
        return result

    def _companions(self, options: Mapping[str, Any], contents: Mapping[str, bytes]) -> list[str]:
        """Return the further services of the Compose file, which Python on the host may be unable to read."""
        name = f"{options['root']}/services/{options['service']}.yml"
        if options["type"] != COMPOSE or name not in contents:
            return []
        try:
            return companions_of(options["service"], yaml_load(contents[name]))
        except (yaml.YAMLError, ValueError):
            # Compose says what is wrong.
            return []

    def _arguments(
        self, options: Mapping[str, Any], contents: Mapping[str, bytes], companions: Sequence[str]
    ) -> dict[str, Any]:
        """Return the module's arguments; what may be secret is packed, since arguments are logged on the host."""
        files = [
            {key: spec[key] for key in ("path", "mode", "secret", "public", "validate", "merge_record", "merge_below")}
            for spec in options["files"]
        ]
        secret = {key: options[key] for key in ("verify", "preserved_env")}
        left_out = {"files", "host", *secret}
        secret |= {"companions": companions, "run": this_run()}
        arguments = {key: value for key, value in options.items() if key not in left_out and value is not None}
        return {**arguments, "files": files, "_packed": pack(contents, secret)}

    def _content(self, spec: Mapping[str, Any], task_vars: dict[str, Any]) -> bytes:
        """Return what a file is to contain."""
        path = spec["path"]
        given = [name for name in SOURCES if spec[name] is not None]
        if len(given) != 1:
            raise PlanError(
                f"files: {path}: has {' and '.join(given) or 'no content'}. Set one of {', '.join(SOURCES)}"
            )
        if spec["zip"] is None and (spec["main"] or spec["interpreter"]):
            raise PlanError(f"files: {path}: main and interpreter are for an archive. Set zip, or leave them out")
        if spec["content"] is not None:
            return str(spec["content"]).encode()
        if spec["src"] is not None:
            return self._read(self._found("files", spec["src"], path))
        if spec["template"] is not None:
            return self._rendered(self._found("templates", spec["template"], path), task_vars).encode()
        entries: dict[str, bytes] = {}
        for prefix, directory in spec["zip"].items():
            top = self._found("files", str(directory), path)
            if top.is_file():
                entries[str(prefix)] = self._read(top)
            for file in sorted(top.rglob("*")):
                relative = file.relative_to(top)
                if file.is_file() and "__pycache__" not in relative.parts:
                    entries[(Path(prefix) / relative).as_posix()] = self._read(file)
        if not entries:
            raise PlanError(f"files: {path}: zip: the directories hold no files")
        return archive(entries, spec["main"] or "", spec["interpreter"] or "")

    def _found(self, kind: str, name: str, path: str) -> Path:
        try:
            return Path(self._find_needle(kind, name))
        except AnsibleError as error:
            raise PlanError(f"files: {path}: {name!r} was not found on the controller: {error}") from error

    def _rendered(self, file: Path, task_vars: dict[str, Any]) -> str:
        """Return a template's text as M(ansible.builtin.template) renders it.

        The lookup plugin renders the same, but copies all variables first, and those of a host are large.
        """
        roots = task_vars.get("ansible_search_path", [])
        search = [directory for root in roots for directory in (f"{root}/templates", root)]
        templar = self._templar.copy_with_new_env(
            searchpath=[str(file.parent), *search],
            available_variables={"ansible_managed": "Ansible managed", **task_vars},
        )
        try:
            source = trust_as_template(self._read(file).decode())
            rendered = templar.template(source, escape_backslashes=False, overrides={"trim_blocks": True})
        except UnicodeDecodeError as error:
            raise PlanError(f"{file}: is not UTF-8. Save it in this encoding") from error
        except AnsibleError as error:
            raise PlanError(f"{file}: {error.message}. Correct the template or its variables") from error
        return "" if rendered is None else str(rendered)

    def _read(self, file: Path) -> bytes:
        """Return a file's content, decrypted if it is encrypted."""
        try:
            return Path(self._loader.get_real_file(str(file), decrypt=True)).read_bytes()
        except (AnsibleError, OSError) as error:
            raise PlanError(f"{file}: {error}") from error
