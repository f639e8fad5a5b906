#!/usr/bin/python

# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: host_lock
short_description: Acquire or release the lock of an orchestration host
version_added: 0.3.0
description:
  - Acquires, renews or releases a lock on the managed host for this run of C(ansible-playbook). Only one run at a time
    can change the host.
  - If another run holds the lock, the task fails at once. It reports who holds the lock, for how long, and how to
    remove it.
  - A lock is stale if it was not renewed for O(expires) seconds, or if its run was started on this controller and has
    ended. The next run takes over a stale lock. A reboot removes the lock.
  - If the module takes over the lock of a run that has ended on this controller, it also removes what the tasks of that
    run left in Ansible's temporary directories.
author:
  - devorch maintainers (@devorch)
options:
  path:
    description: File of the lock, in a directory that a reboot empties.
    type: path
    default: /run/orchestration.lock
  state:
    description:
      - V(held) acquires the lock, or renews it if this run holds it. V(released) releases it.
      - V(renewed) renews the lock, and fails if this run no longer holds it. Use it before a step that must not be
        taken beside another run.
    type: str
    choices:
      - held
      - renewed
      - released
    default: held
  expires:
    description: Seconds after which a lock that was not renewed is stale.
    type: int
    default: 3600
  wait_for_unit:
    description:
      - The systemd unit to wait for. If it is active when the lock is acquired, the module waits up to 60 seconds for
        it to finish. If it is still active then, the module continues without an error.
    type: str
  wait_for_lock_file:
    description:
      - File that a process on the host locks with flock(2) while no run may change the host.
      - If the file is locked when the lock is acquired, the module waits for its release. If the file is still locked
        after 60 seconds, the module releases the lock and fails.
    type: path
  _run:
    description:
      - This run, from the action plugin. Not for use in a task.
    type: dict
    suboptions: &run
      owner:
        description: User and controller that started the run.
        type: str
      controller:
        description: Identity of the controller.
        type: str
      process:
        description: Identity of the process on the controller.
        type: str
  _stale_holder:
    description:
      - Run that has ended without releasing the lock, from the action plugin. Not for use in a task.
    type: dict
    suboptions: *run
attributes:
  action:
    description: Has an action plugin of the same name, which runs a part of the work on the controller.
    support: full
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying the target.
    support: full
    details:
      - The lock is neither acquired nor checked.
  diff_mode:
    description: Returns details on what has changed, or would change in C(check_mode), when in diff mode.
    support: N/A
    details:
      - The lock is not part of the host's configuration. RV(ignore:changed) is always false.
notes:
  - Begin a block with O(state=held), and put O(state=released) into its C(always) section.
"""

EXAMPLES = r"""
- name: Change the host while no other run does
  block:
    - name: Acquire the host lock
      devorch.orchestration.host_lock:
        path: /run/orchestration.lock

    - name: Change the host
      ansible.builtin.command:
        argv: ["true"]
      changed_when: true
  always:
    - name: Release the host lock
      devorch.orchestration.host_lock:
        path: /run/orchestration.lock
        state: released
"""

RETURN = r"""
msg:
  description: What was done. On failure, who holds the lock.
  returned: always
  type: str
  sample: "held by this run (ops@ci-1)"
acquired:
  description: Whether this task acquired the lock. False if this run already held it.
  returned: success
  type: bool
  sample: true
held:
  description: Whether this run holds the lock now. False in check mode, which needs no lock.
  returned: always
  type: bool
  sample: true
holder:
  description: The run that holds the lock.
  returned: when another run holds it
  type: dict
  sample: {"owner": "ops@ci-1", "controller": "4026531836-ci-1", "process": "1234-5678"}
"""

import os
import pwd
import shutil
import time
from dataclasses import asdict
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.devorch.orchestration.plugins.module_utils.host.lock import (
    LostError,
    PlaybookRun,
    is_locked,
    release,
    renew,
    take,
    uptime,
)

LONGEST_WAIT = 60.0


def wait_for(module: AnsibleModule, unit: str) -> None:
    """Wait until a unit of systemd is not at work any more, for a minute at most."""
    until = time.monotonic() + LONGEST_WAIT
    while time.monotonic() < until:
        _code, state, _errors = module.run_command(["systemctl", "show", "--property=ActiveState", "--value", unit])
        if state.strip() not in ("activating", "active", "deactivating"):
            return
        time.sleep(0.5)


def holders(path: Path) -> str:
    """Return which processes hold the lock of a file, as far as proc(5) shows."""
    found = []
    for line in Path("/proc/locks").read_text(encoding="ascii").splitlines():
        fields = line.split()
        if "FLOCK" in fields and fields[-3].endswith(f":{path.stat().st_ino}"):
            number = fields[-4]
            try:
                command = Path(f"/proc/{number}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                command = ""
            found.append(f"process {number} ({command.strip()})")
    return ", ".join(found) or "a process"


def remove_remains(roots: list[Path], processes: Path = Path("/proc")) -> None:
    """Remove what tasks of a run that was killed have left in Ansible's temporary directories, unless it is in use."""
    commands = b""
    for process in processes.glob("[0-9]*/cmdline"):
        try:
            commands += process.read_bytes()
        except OSError:
            continue  # ended since
    for root in roots:
        for path in root.glob("ansible-tmp-*"):
            if path.name.encode() not in commands:
                # What cannot be removed now is left for the next run; it does no harm.
                shutil.rmtree(path, ignore_errors=True)


def main() -> None:
    """Run the module."""
    run_options = {"type": "dict", "options": {key: {"type": "str"} for key in ("owner", "controller", "process")}}
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "default": "/run/orchestration.lock"},
            "state": {"type": "str", "choices": ["held", "renewed", "released"], "default": "held"},
            "expires": {"type": "int", "default": 3600},
            "wait_for_unit": {"type": "str"},
            "wait_for_lock_file": {"type": "path"},
            # Set by the action plugin.
            "_run": run_options,
            "_stale_holder": run_options,
        },
        supports_check_mode=True,
    )
    if not module.params["_run"]:
        module.fail_json(msg="host_lock: works as a task only, since its other half runs on the controller")
    if module.check_mode:
        module.exit_json(changed=False, acquired=False, held=False, msg="not needed in check mode")
    run = PlaybookRun(**module.params["_run"])
    path = Path(module.params["path"])
    if module.params["state"] == "released":
        mine = release(path, run)
        message = "released" if mine else "was not held by this run"
        module.exit_json(changed=False, acquired=False, held=False, msg=message)
    if module.params["state"] == "renewed":
        try:
            renew(path, run)
        except LostError as error:
            module.fail_json(held=False, msg=str(error))
        module.exit_json(changed=False, acquired=False, held=True, msg=f"held by this run ({run.owner})")
    now = uptime()
    dead = PlaybookRun(**module.params["_stale_holder"]) if module.params["_stale_holder"] else None
    lock, before = take(path, run, now, module.params["expires"], dead)
    if lock.run != run:
        module.fail_json(
            held=False,
            holder=asdict(lock.run),
            msg=(
                f"{lock.run.owner} has been working on this host for {lock.age(now):.0f} s (process"
                f" {lock.run.process.split('-')[0]} there). Wait until that run has ended. If it no longer runs, remove"
                f" {path} on the host; it expires in {module.params['expires'] - (now - lock.renewed):.0f} s"
            ),
        )
    if dead and before and before.run == dead:
        # Ansible's own attribute: the option remote_tmp, relative to the home of the user who logged in.
        place = str(module._remote_tmp)
        login = os.environ.get("SUDO_USER")
        homes = [Path.home(), *([Path(pwd.getpwnam(login).pw_dir)] if login else [])]
        remove_remains([Path(place.replace("~", str(home), 1)) for home in homes])
    acquired = lock.taken == now
    if acquired and module.params["wait_for_unit"]:
        wait_for(module, module.params["wait_for_unit"])
    if acquired and module.params["wait_for_lock_file"]:
        file = Path(module.params["wait_for_lock_file"])
        until = time.monotonic() + LONGEST_WAIT
        while is_locked(file) and time.monotonic() < until:
            time.sleep(0.5)
        if is_locked(file):
            release(path, run)
            module.fail_json(
                held=False,
                msg=f"{holders(file)} holds the backup lock {file} for more than {LONGEST_WAIT:.0f} s. Wait until the"
                " backup or restore has finished, then run this again",
            )
    taken_over = f", taken over from {before.run.owner}, whose run has ended" if before else ""
    module.exit_json(changed=False, acquired=acquired, held=True, msg=f"held by this run ({run.owner}){taken_over}")


if __name__ == "__main__":
    main()
