# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Gives the module of the same name the run of ansible-playbook this is, and whether another one here still lives."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.release import __version__ as ansible_version
from ansible_collections.devorch.orchestration.plugins.plugin_utils import support
from ansible_collections.devorch.orchestration.plugins.plugin_utils.playbook_run import (
    PROC,
    process_identity,
    stat,
    this_run,
)

LONGEST_WAIT = 60.0


def lives(identity: str) -> bool:
    """Return whether a process of this controller runs."""
    number = int(identity.split("-")[0])
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    fields = stat(number)
    return process_identity(number) == identity and fields[:1] != ["Z"]


def ancestors(number: int, proc: Path = PROC) -> list[str]:
    """Return a process and those above it."""
    found = [str(number)]
    while (parent := stat(found[-1], proc)[1:2]) and parent != ["0"] and parent[0] not in found:
        found += parent
    return found


def orphans(number: int | None = None, proc: Path = PROC) -> list[str]:
    """Return the processes of runs that were killed: they still end the task that they were at.

    C(number) is a process of the present run. If the run is the first process, as in a container, all are below it.
    """
    own = ancestors(os.getpid() if number is None else number, proc)
    if own[1:2] == ["1"]:
        return []
    found = []
    for directory in proc.glob("[0-9]*"):
        try:
            command = (directory / "cmdline").read_bytes()
        except OSError:
            continue
        fields = stat(directory.name, proc)
        if b"ansible-playbook" in command and fields[1:2] == ["1"] and fields[0] != "Z" and directory.name not in own:
            found.append(directory.name)
    return found


class ActionModule(ActionBase):
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the module; once more where the run that holds the lock has ended on this controller."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        # As the first task that touches a host, before anything of the collection runs there.
        problem = (
            support.ansible_problem(ansible_version)
            or support.docker_modules_problem(support.version_of("community.docker"))
            or support.host_problem((task_vars or {}).get("ansible_facts", {}))
        )
        if problem and self._task.args.get("state") == "released":
            result.update(changed=False, acquired=False, msg="nothing was acquired")
            return result
        if problem:
            raise AnsibleActionFail(problem)
        if self._task.check_mode:
            result.update(changed=False, acquired=False, msg="not needed in check mode")
            return result
        run = this_run()
        if {"_run", "_stale_holder"} & self._task.args.keys():
            raise AnsibleActionFail("_run and _stale_holder are not for use in a task")
        arguments = {**self._task.args, "_run": run}
        result.update(self._ask(arguments, task_vars))
        holder = result.get("holder")
        if holder and holder["controller"] == run["controller"] and not lives(holder["process"]):
            until = time.monotonic() + LONGEST_WAIT
            while orphans() and time.monotonic() < until:
                time.sleep(1)
            result.pop("holder")
            result.pop("failed")
            result.pop("exception", None)
            result.update(self._ask({**arguments, "_stale_holder": holder}, task_vars))
        return result

    def _ask(self, arguments: dict[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        """Run the module on the managed host."""
        found: dict[str, Any] = self._execute_module(
            module_name="devorch.orchestration.host_lock", module_args=arguments, task_vars=task_vars
        )
        return found
