#!/usr/bin/python

# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: multipass_instance
short_description: Manage a multipass VM
version_added: 0.3.0
description:
  - Launches, starts, stops, suspends, resizes, restores and deletes one multipass VM through the sidecar's API.
  - The module plans all steps first. If one of them is not possible, it changes nothing.
author:
  - devorch maintainers (@devorch)
extends_documentation_fragment:
  - devorch.orchestration.sidecar
  - devorch.orchestration.sidecar.wait
  - devorch.orchestration.sidecar.attributes
options:
  name:
    description:
      - Name of the instance. It has 2 to 63 letters, digits and hyphens, begins with a letter and does not end with a
        hyphen.
    type: str
    required: true
  state:
    description:
      - V(present) launches a missing instance. The state of an existing instance is not changed.
      - V(started), V(stopped) and V(suspended) bring the instance into this state. A missing instance is launched
        first.
      - V(restarted) restarts a running instance and starts any other instance.
      - V(absent) permanently deletes the instance with its disk and snapshots. This needs a token of scope C(admin).
      - For all states except V(absent), an instance that was deleted but not purged is recovered.
    type: str
    choices: [present, started, stopped, suspended, restarted, absent]
    default: present
  image:
    description:
      - Image to launch, such as V(24.04), V(lts) or V(daily:noble). If not set, the sidecar uses V(lts).
      - It is used only for the launch. multipass does not report enough about an existing instance to compare it.
    type: str
  cpus:
    description: Number of CPUs. If not set, a new instance has V(1).
    type: int
  memory:
    description:
      - Memory, as a whole number with V(K), V(M) or V(G), such as V(2G). A number without a letter is in bytes. If not
        set, a new instance has V(1G).
    type: str
  disk:
    description:
      - Size of the disk, in the form of O(memory). If not set, a new instance has V(5G). A disk can only grow.
    type: str
  cloud_init:
    description: Cloud-init user data, as text. It is used only for the launch.
    type: str
  snapshot:
    description:
      - Name of a snapshot to restore. The current data of the instance is lost.
      - It is restored in every run, because multipass does not report whether an instance equals its snapshot.
      - This needs a token of scope C(admin).
    type: str
  allow_restart:
    description:
      - Whether the module may stop a running or suspended instance to resize it or to restore a snapshot. Both need a
        stopped instance. The instance is then brought back into its state.
      - If V(false), such a task fails before anything is changed, unless O(state=stopped).
    type: bool
    default: false
  force:
    description: Whether to cut the power instead of shutting down. A suspended instance loses its memory.
    type: bool
    default: false
  wait:
    description:
      - Whether to wait for the end of the last step. The module always waits for the steps before it.
      - If V(false), the result is the plan, and RV(jobs) has the ids of the jobs.
    type: bool
    default: true
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: partial
    details:
      - O(state=restarted) and O(snapshot) change the instance in every run.
seealso:
  - module: devorch.orchestration.multipass_instance_info
  - module: devorch.orchestration.multipass_environment
"""

EXAMPLES = r"""
- name: Ensure that a VM is running
  devorch.orchestration.multipass_instance:
    name: web-1
    state: started
    image: "24.04"
    cpus: 2
    memory: 2G
    disk: 10G
    cloud_init: |
      #cloud-config
      packages: [nginx]
    url: http://127.0.0.1:8090
    token: "{{ sidecar_token }}"

- name: Ensure that the VM has more memory, with a restart if necessary
  devorch.orchestration.multipass_instance:
    name: web-1
    state: started
    memory: 4G
    allow_restart: true
    token: "{{ sidecar_token }}"

- name: Restore a snapshot of the VM
  devorch.orchestration.multipass_instance:
    name: web-1
    snapshot: clean
    allow_restart: true
    token: "{{ sidecar_token }}"

- name: Ensure that the VM is suspended
  devorch.orchestration.multipass_instance:
    name: web-1
    state: suspended
    token: "{{ sidecar_token }}"

- name: Ensure that the VM does not exist
  devorch.orchestration.multipass_instance:
    name: web-1
    state: absent
    token: "{{ sidecar_token }}"
"""

RETURN = r"""
name:
  description: Name of the instance.
  returned: success
  type: str
  sample: web-1
steps:
  description:
    - The steps that were done, in order. In check mode, the steps that would be done.
    - They are V(recover), V(launch), V(stop), V(restore), V(resize), V(start), V(suspend), V(restart) and V(delete).
  returned: success
  type: list
  elements: str
  sample: [stop, resize, start]
state:
  description: State of the instance after the run, as multipass names it. V(null) if it does not exist.
  returned: success
  type: str
  sample: Running
instance:
  description:
    - The instance after the run, as M(devorch.orchestration.multipass_instance_info) returns it. V(null) if it does not
      exist.
    - In check mode and with O(wait=false), the instance before the run.
  returned: success
  type: dict
  sample:
    name: web-1
    state: Running
    ipv4: [10.21.77.11]
    release: Ubuntu 24.04 LTS
    image_release: 24.04 LTS
    image_hash: 3a0b3a5d2c8b1f4e
    cpus: 2
    load: [0.1, 0.05, 0.01]
    memory: {used: 200000000, total: 4294967296}
    disk: {used: 1500000000, total: 10737418240}
    snapshots: 1
jobs:
  description: Ids of the jobs that did the steps. Empty in check mode.
  returned: success
  type: list
  elements: str
  sample: [8c1d5f0e2b7a4c3f]
diff:
  description: State and size before and after.
  returned: success
  type: dict
  sample:
    before_header: web-1
    after_header: web-1
    before: {"state": "Running", "cpus": 2, "memory": "2G", "disk": "10G"}
    after: {"state": "Running", "cpus": 2, "memory": "4G", "disk": "10G"}
msg:
  description: Summary of the result.
  returned: always
  type: str
  sample: stopped, resized and started web-1
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.devorch.orchestration.plugins.module_utils.module import Failure
from ansible_collections.devorch.orchestration.plugins.module_utils.multipass.client import Sidecar
from ansible_collections.devorch.orchestration.plugins.module_utils.multipass.module import (
    run_module,
    sidecar_argument_spec,
    wait_argument_spec,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.multipass.plan import (
    Plan,
    PlanProblem,
    Wanted,
    check_name,
    check_sizes,
    instance_from,
    make_plan,
    shown,
    summary_text,
)


def carry_out(client: Sidecar, name: str, plan: Plan, wait: bool) -> tuple[list[str], dict[str, Any] | None]:
    """Do the steps; return the ids of the jobs, and the instance where the last one was waited for."""
    jobs: list[str] = []
    instance: dict[str, Any] | None = None
    for number, step in enumerate(plan.steps, 1):
        path = ["instances"] if step.path is None else ["instances", name, *step.path]
        doing = f"{step.verb} instance {name}"
        job = client.change(step.method, path, doing, step.body or None)
        if job is None:
            continue
        jobs.append(job["id"])
        if wait or number < len(plan.steps):
            instance = client.wait(job, doing).get("instance")
    return jobs, instance


def run(module: AnsibleModule, client: Sidecar) -> dict[str, Any]:
    """Plan, do it, and return the result."""
    options = module.params
    name: str = options["name"]
    taken = ("name", "state", "image", "cpus", "memory", "disk", "cloud_init", "snapshot", "allow_restart", "force")
    wanted = Wanted(**{key: options[key] for key in taken})
    try:
        check_name(name)
        check_sizes(wanted.cpus, wanted.memory, wanted.disk)
        detail = client.instance(name)
        asked = any(option is not None for option in (wanted.cpus, wanted.memory, wanted.disk))
        # These cost three more commands of multipass, so they run only on request; a deleted instance has no answer.
        size = client.size(name) if detail and asked and detail.get("state") != "Deleted" else None
        plan = make_plan(wanted, instance_from(detail, size))
    except PlanProblem as problem:
        raise Failure(str(problem)) from problem
    jobs: list[str] = []
    after = plan.after
    if plan.steps and not module.check_mode:
        jobs, detail = carry_out(client, name, plan, options["wait"])
    steps = [step.verb for step in plan.steps]
    nothing = "is not there" if after is None else "is as it should be"
    return {
        "changed": bool(steps),
        "msg": summary_text(name, steps, nothing),
        "name": name,
        "steps": steps,
        "state": after.state if after else None,
        "instance": detail if after else None,
        "jobs": jobs,
        "diff": {
            "before_header": name if plan.before else f"{name} (missing)",
            "after_header": name if after else f"{name} (missing)",
            "before": shown(plan.before),
            "after": shown(after),
        },
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **sidecar_argument_spec(),
            **wait_argument_spec(),
            "name": {"type": "str", "required": True},
            "state": {
                "type": "str",
                "choices": ["present", "started", "stopped", "suspended", "restarted", "absent"],
                "default": "present",
            },
            "image": {"type": "str"},
            "cpus": {"type": "int"},
            "memory": {"type": "str"},
            "disk": {"type": "str"},
            "cloud_init": {"type": "str", "no_log": True},
            "snapshot": {"type": "str"},
            "allow_restart": {"type": "bool", "default": False},
            "force": {"type": "bool", "default": False},
            "wait": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    run_module(module, lambda client: run(module, client))


if __name__ == "__main__":
    main()
