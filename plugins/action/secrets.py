# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Gives the module of the same name the run of ansible-playbook this is, which its lock names."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.devorch.orchestration.plugins.plugin_utils.playbook_run import this_run


class ActionModule(ActionBase):
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the module."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        if "_run" in self._task.args:
            raise AnsibleActionFail("_run is not for use in a task")
        result.update(
            self._execute_module(
                module_name="devorch.orchestration.secrets",
                module_args={**self._task.args, "_run": this_run()},
                task_vars=task_vars,
            )
        )
        if result.get("lock_lost"):
            # The result is hidden, as it has the secrets if all is well.
            Display().error(str(result["msg"]))
        return result
