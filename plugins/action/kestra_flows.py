# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads the flow files on the controller for the module of the same name, which runs where Kestra can be reached."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase
from ansible_collections.devorch.orchestration.plugins.module_utils.flow_plan import read_sources


class ActionModule(ActionBase):
    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Find O(src) where tasks look for files, read it, and run the module with what was read."""
        task_vars = task_vars or {}
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        if "_sources" in arguments:
            raise AnsibleActionFail("_sources is not for use in a task; set src")
        source = arguments.get("src")
        if source and not boolean(arguments.get("remote_src", False), strict=False):
            try:
                found = Path(self._find_needle("files", str(source)))
                files, problems = read_sources(found)
            except AnsibleError as error:
                raise AnsibleActionFail(f"src {str(source)!r} was not found on the controller: {error}") from error
            except OSError as error:
                raise AnsibleActionFail(f"src {str(source)!r} cannot be read on the controller: {error}") from error
            arguments["src"] = str(found)
            arguments["_sources"] = [
                {"path": file.path, "content": base64.b64encode(file.content).decode("ascii")} for file in files
            ] + [{"path": problem.file, "problem": problem.message} for problem in problems]
        result.update(
            self._execute_module(
                module_name="devorch.orchestration.kestra_flows", module_args=arguments, task_vars=task_vars
            )
        )
        return result
