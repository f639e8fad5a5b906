# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads the flow files on the controller for the module of the same name, which runs where Kestra can be reached."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase
from ansible_collections.devorch.orchestration.plugins.module_utils.flow_source import Problem, Source, read_all
from ansible_collections.devorch.orchestration.plugins.module_utils.ignore import IGNORE_FILE
from ansible_collections.devorch.orchestration.plugins.plugin_utils.handover import hand_over

# Kestra's own are the braces of Jinja.
DELIMITERS = {
    "variable_start_string": "<[",
    "variable_end_string": "]>",
    "block_start_string": "<%",
    "block_end_string": "%>",
    "comment_start_string": "<#",
    "comment_end_string": "#>",
}


class ActionModule(ActionBase):
    TRANSFERS_FILES = True
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Find O(src) where tasks look for files, read it, render it, and run the module with what was read."""
        task_vars = task_vars or {}
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        if "_packed_src" in arguments:
            raise AnsibleActionFail("_packed_src is not for use in a task; set src")
        try:
            if not boolean(arguments.get("remote_src", False), strict=False) and not arguments.get("plan"):
                arguments["_packed_src"] = self._read(arguments, task_vars)
            result.update(
                self._execute_module(
                    module_name="devorch.orchestration.kestra_flows", module_args=arguments, task_vars=task_vars
                )
            )
        finally:
            self._remove_tmp_path(self._connection._shell.tmpdir)
        return result

    def _read(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> str:
        """Read what the arguments name, hand it over, and return its path on the managed host."""
        paths: list[Path] = []
        given = arguments.get("src") or []
        for path in given if isinstance(given, list) else str(given).split(","):
            try:
                paths.append(Path(self._find_needle("files", str(path).strip())))
            except AnsibleError as error:
                raise AnsibleActionFail(f"src {str(path)!r} was not found on the controller: {error}") from error
        sources, problems = read_all(paths, str(arguments.get("ignore_file", IGNORE_FILE) or ""))
        texts = arguments.get("content") or []
        for number, text in enumerate(texts if isinstance(texts, list) else [texts]):
            sources.append(Source(f"content[{number}]", str(text).encode("utf-8")))
        if boolean(arguments.get("template", False), strict=False):
            sources, more = self._render(sources, task_vars)
            problems += more
        told = json.dumps([(problem.file, problem.line, problem.message) for problem in problems]).encode("utf-8")
        entries = [("", told), *((source.path, source.content) for source in sources)]
        return hand_over(self, entries)

    def _render(self, sources: list[Source], task_vars: dict[str, Any]) -> tuple[list[Source], list[Problem]]:
        """Return the texts with their templates carried out, and what is wrong with any of them."""
        try:
            from ansible.template import trust_as_template
        except ImportError as error:
            raise AnsibleActionFail("template=true needs ansible-core 2.19 or newer on the controller") from error
        rendered: list[Source] = []
        problems: list[Problem] = []
        templar = self._templar.copy_with_new_env(available_variables=task_vars)
        for source in sources:
            try:
                template = trust_as_template(source.content.decode("utf-8"))
                text = templar.template(template, escape_backslashes=False, overrides=DELIMITERS)
                rendered.append(Source(source.path, str(text).encode("utf-8")))
            except UnicodeDecodeError:
                rendered.append(source)
            except AnsibleError as error:
                problems.append(Problem(source.path, None, f"the template fails: {error.message}"))
        return rendered, problems
