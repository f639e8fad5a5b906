# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads the files on the controller for the module of the same name, which runs where Kestra can be reached."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase
from ansible_collections.devorch.orchestration.plugins.module_utils.file_tree import read_tree
from ansible_collections.devorch.orchestration.plugins.module_utils.ignore import IGNORE_FILE
from ansible_collections.devorch.orchestration.plugins.plugin_utils.handover import hand_over


class ActionModule(ActionBase):
    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Find O(src) where tasks look for files, read it, and run the module with what was read."""
        task_vars = task_vars or {}
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        for private in ("_packed_src", "_problems"):
            if private in arguments:
                raise AnsibleActionFail(f"{private} is not for use in a task; set src")
        source = arguments.get("src")
        if source and not boolean(arguments.get("remote_src", False), strict=False):
            try:
                found = Path(self._find_needle("files", str(source)))
            except AnsibleError as error:
                raise AnsibleActionFail(f"src {str(source)!r} was not found on the controller: {error}") from error
            if not found.is_dir():
                raise AnsibleActionFail(f"src {str(found)!r} is no directory")
            ignore_file = arguments.get("ignore_file")
            files, problems = read_tree(found, IGNORE_FILE if ignore_file is None else str(ignore_file))
            arguments["src"] = str(found)
            arguments["_problems"] = problems
            if not problems:
                try:
                    arguments["_packed_src"] = hand_over(self, ((file.name, file.read()) for file in files))
                except OSError as error:
                    raise AnsibleActionFail(f"src {str(found)!r} cannot be read: {error}") from error
        result.update(
            self._execute_module(
                module_name="devorch.orchestration.kestra_namespace_files", module_args=arguments, task_vars=task_vars
            )
        )
        return result
