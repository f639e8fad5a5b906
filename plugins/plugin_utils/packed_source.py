# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The action plugin of a module that reads files of the controller: reads them here, and transfers them packed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase


class PackedSourceAction(ActionBase):
    """Runs C(module), whose options C(private) only this plugin sets, in `read`."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False
    module: str
    private: tuple[str, ...] = ("_packed_src",)

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Read the files unless they are on the managed host, and run the module with what was read."""
        task_vars = task_vars or {}
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        for option in self.private:
            if option in arguments:
                raise AnsibleActionFail(f"{option} is not for use in a task; set src")
        if not boolean(arguments.get("remote_src", False), strict=False):
            arguments.update(self.read(arguments, task_vars))
        result.update(
            self._execute_module(
                module_name=f"devorch.orchestration.{self.module}", module_args=arguments, task_vars=task_vars
            )
        )
        return result

    def read(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Read what the arguments name, transfer it, and return the arguments that this changes."""
        raise NotImplementedError

    def find(self, src: str) -> Path:
        """Return the path of a file or directory, which is looked for where tasks look for files."""
        try:
            return Path(self._find_needle("files", src))
        except AnsibleError as error:
            raise AnsibleActionFail(f"src {src!r} was not found on the controller: {error}") from error
