# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Gives the module of the same name the run of ansible-playbook this is, and whether another one here still lives."""

from __future__ import annotations

import getpass
import os
import socket
import time
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.release import __version__ as ansible_version
from ansible_collections.devorch.orchestration.plugins.plugin_utils import support

LONGEST_WAIT = 60.0


PROC = Path("/proc")


def stat(number: int | str, proc: Path = PROC) -> list[str]:
    """Return the fields of /proc/<number>/stat from the state on; an empty list if the system does not show them."""
    try:
        return Path(f"{proc}/{number}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return []


def process_identity(number: int) -> str:
    """Return number and start of a process: a number that is used again is then another process."""
    fields = stat(number)
    return f"{number}-{fields[19]}" if fields else str(number)


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


def this_controller() -> str:
    """Return an identity of this controller, different also from that of containers with the same name."""
    marks = [socket.gethostname()]
    for path in (Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")):
        try:
            marks.append(str(path.readlink()) if path.is_symlink() else path.read_text(encoding="ascii").strip())
        except OSError:
            continue
    return " ".join(marks)


def user() -> str:
    """Return the name of the user of this run, or the number of one without an entry in passwd, as in a container."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


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
        # Tasks run in processes of their own: their parent is the run.
        run = {
            "owner": f"{user()}@{socket.gethostname()}",
            "controller": this_controller(),
            "process": process_identity(os.getppid()),
        }
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
