#!/usr/bin/python

# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: container_health
short_description: Wait until a container is healthy, and tell early when it never will be
version_added: 0.3.0
description:
  - Asks Docker for the state of a container until its health check passes.
  - Ends before the time is over where the container has ended, is started again and again, or is called unhealthy.
  - A container that is unhealthy from the start, or whose dependency was started after it, is restarted once.
author:
  - devorch maintainers (@devorch)
options:
  name:
    description: Name of the container.
    type: str
    required: true
  depends_on:
    description:
      - Container whose restart this one does not survive, such as its database.
      - Where it was started later, and this one is not well or that was less than a minute ago, this one is restarted.
    type: str
  wait_timeout:
    description: How long it may take to become healthy, in seconds.
    type: int
    default: 600
  restarts:
    description: How many restarts by Docker while it waits mean that the container does not come up.
    type: int
    default: 3
attributes:
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying target.
    support: full
    details:
      - It does not wait then, since what would be started is not.
  diff_mode:
    description: Will return details on what has changed when in C(--diff) mode.
    support: none
  idempotent:
    description: When run twice in a row outside check mode with the same arguments, the second run changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Wait for Kestra
  devorch.orchestration.container_health:
    name: orchestration-kestra-1
    depends_on: orchestration-postgres-1
    wait_timeout: 120
"""

RETURN = r"""
msg:
  description: What was seen.
  returned: always
  type: str
  sample: "orchestration-kestra-1 is healthy"
waited:
  description: Seconds until it was.
  returned: success
  type: float
  sample: 21.5
"""

import json
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.devorch.orchestration.plugins.module_utils.host.container import State, verdict

INTERVAL = 1.0
STARTS = 10


class Docker:
    """The few commands that are needed."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.program = module.get_bin_path("docker", required=True)

    def state(self, name: str) -> State | None:
        """Return the state of a container, or None where there is none."""
        code, output, errors = self.module.run_command([self.program, "inspect", "--type", "container", name])
        if code == 0:
            return State.parse(json.loads(output)[0])
        if "no such" not in errors.lower():
            self.module.fail_json(msg=f"{name}: Docker does not tell its state: {errors.strip()}")
        return None

    def restart(self, name: str) -> None:
        """Restart a container; start it where Docker stopped it and went no further."""
        code, _output, errors = self.module.run_command([self.program, "restart", "--time", "30", name])
        for _attempt in range(STARTS):
            if code == 0:
                return
            time.sleep(INTERVAL)
            code, _output, errors = self.module.run_command([self.program, "start", name])
        if code != 0:
            self.module.fail_json(msg=f"{name}: Docker does not restart it: {errors.strip()}")


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "depends_on": {"type": "str"},
            "wait_timeout": {"type": "int", "default": 600},
            "restarts": {"type": "int", "default": 3},
        },
        supports_check_mode=True,
    )
    parameters: dict[str, Any] = module.params
    name = parameters["name"]
    docker = Docker(module)
    begin = time.monotonic()
    state = docker.state(name)
    dependency = docker.state(parameters["depends_on"]) if parameters["depends_on"] else None
    stale = state.needs_restart(dependency, time.time()) if state else False
    if module.check_mode:
        module.exit_json(changed=stale, msg=f"{name} would be restarted" if stale else f"{name} is left", waited=0.0)
    if stale:
        docker.restart(name)
        state = docker.state(name)
    first = state.restarts if state else 0
    while True:
        waited = time.monotonic() - begin
        found = verdict(state, first, parameters["restarts"])
        if found == "":
            module.exit_json(changed=stale, msg=f"{name} is healthy", waited=round(waited, 1))
        if found is None and waited > parameters["wait_timeout"]:
            found = f"is not healthy after {parameters['wait_timeout']} s"
        if found:
            module.fail_json(msg=f"{name} {found}", waited=round(waited, 1))
        time.sleep(INTERVAL)
        state = docker.state(name)


if __name__ == "__main__":
    main()
