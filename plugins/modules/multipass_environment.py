#!/usr/bin/python

# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: multipass_environment
short_description: Manage a named set of multipass VMs
version_added: 0.3.0
description:
  - Defines, starts, stops and deletes an environment of the multipass sidecar. An environment is a named set of VMs.
  - Flows such as C(devops/environment-orchestration) start and stop the same environments.
author:
  - devorch maintainers (@devorch)
extends_documentation_fragment:
  - devorch.orchestration.sidecar
  - devorch.orchestration.sidecar.wait
  - devorch.orchestration.sidecar.attributes
options:
  name:
    description:
      - Name of the environment. It has 2 to 63 letters, digits and hyphens, begins with a letter and does not end with
        a hyphen.
    type: str
    required: true
  state:
    description:
      - V(present) defines the environment. Its instances are not changed.
      - V(started) launches missing instances, and starts instances that are not running.
      - V(stopped) stops running instances.
      - V(absent) removes the definition. With O(purge=true), it also deletes the instances.
      - A token of scope C(admin) is needed to define or remove an environment. Scope C(operate) is sufficient to start
        or stop it.
    type: str
    choices: [present, started, stopped, absent]
    default: present
  description:
    description: Description of the environment.
    type: str
  instances:
    description:
      - Definition of the instances. It replaces an existing definition that differs.
      - Existing instances are not changed. Instances that the new definition no longer contains are not deleted.
      - If not set, the environment is started or stopped with its existing definition. Do not set it with a token of
        scope C(operate), because this token cannot read the cloud-init texts to compare them.
    type: list
    elements: dict
    suboptions:
      name:
        description: Name of the instance. The rule for O(name) applies.
        type: str
        required: true
      image:
        description: Image to launch, such as V(24.04).
        type: str
        default: lts
      cpus:
        description: Number of CPUs.
        type: int
        default: 1
      memory:
        description: Memory, as a whole number with V(K), V(M) or V(G). A number without a letter is in bytes.
        type: str
        default: 1G
      disk:
        description: Size of the disk, in the form of O(instances[].memory).
        type: str
        default: 5G
      cloud_init:
        description: Cloud-init user data, as text.
        type: str
  purge:
    description: Whether O(state=absent) also deletes the instances with their disks and snapshots.
    type: bool
    default: false
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
seealso:
  - module: devorch.orchestration.multipass_instance
"""

EXAMPLES = r"""
- name: Ensure that an environment is defined and started
  devorch.orchestration.multipass_environment:
    name: staging
    state: started
    description: Tests of the next release
    instances:
      - name: staging-web
        image: "24.04"
        memory: 2G
        cloud_init: |
          #cloud-config
          packages: [nginx]
      - name: staging-db
        disk: 20G
    url: http://127.0.0.1:8090
    token: "{{ sidecar_token }}"
  register: staging

- name: Report the addresses of the environment
  ansible.builtin.debug:
    msg: "{{ staging.addresses }}"

- name: Ensure that the environment is stopped
  devorch.orchestration.multipass_environment:
    name: staging
    state: stopped
    token: "{{ sidecar_token }}"

- name: Delete the environment with its instances
  devorch.orchestration.multipass_environment:
    name: staging
    state: absent
    purge: true
    token: "{{ sidecar_token }}"
"""

RETURN = r"""
name:
  description: Name of the environment.
  returned: success
  type: str
  sample: staging
steps:
  description:
    - The steps that were done, in order. In check mode, the steps that would be done.
    - They are V(define), V(start), V(stop), V(delete) (with the instances) and V(undefine) (without the instances).
  returned: success
  type: list
  elements: str
  sample: [define, start]
state:
  description:
    - V(running) if all instances are running. V(stopped) if all are stopped or suspended. V(absent) if none of the
      instances exists, or the environment does not exist. V(partial) in all other cases.
  returned: success
  type: str
  sample: running
instances:
  description: State of each instance after the run. V(absent) if the instance does not exist.
  returned: success
  type: dict
  sample: {staging-db: Running, staging-web: Running}
addresses:
  description: Addresses of each instance after the run. In check mode, as they were before.
  returned: success
  type: dict
  sample: {staging-db: [10.21.77.12], staging-web: [10.21.77.11]}
diff:
  description: State and definition before and after. Cloud-init texts are not shown.
  returned: success
  type: dict
  sample:
    before_header: staging
    after_header: staging
    before: {"state": "stopped", "definition": {"description": "", "instances": []}}
    after: {"state": "running", "definition": {"description": "", "instances": []}}
msg:
  description: Summary of the result.
  returned: always
  type: str
  sample: defined and started staging
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
    LAUNCH_DEFAULTS,
    RUNNING,
    PlanProblem,
    check_name,
    check_sizes,
    environment_state,
    hidden_definition,
    normal_definition,
    plan_environment,
    summary_text,
)


class EnvironmentTask:
    """One run of the module."""

    def __init__(self, module: AnsibleModule, client: Sidecar) -> None:
        self.module = module
        self.client = client
        self.name: str = module.params["name"]
        self.steps: list[str] = []

    def result(
        self, before: dict[str, Any] | None, after: dict[str, Any] | None, states: dict[str, str], nothing: str
    ) -> dict[str, Any]:
        """Return the result; C(after) is the definition in the end."""
        instances = before["instances"] if before else []
        was = environment_state(each["state"] for each in instances) if before else "absent"
        stored = stored_definition(before)
        state = environment_state(states.values()) if after else "absent"
        return {
            "changed": bool(self.steps),
            "msg": summary_text(self.name, self.steps, nothing),
            "name": self.name,
            "steps": self.steps,
            "state": state,
            "instances": dict(sorted(states.items())),
            "addresses": {},
            "diff": {
                "before_header": self.name if before else f"{self.name} (missing)",
                "after_header": self.name if after else f"{self.name} (missing)",
                "before": {"state": was, "definition": hidden_definition(stored, after)} if before else {},
                "after": {"state": state, "definition": hidden_definition(after, stored)} if after else {},
            },
        }

    def absent(self) -> dict[str, Any]:
        status = self.client.environment(self.name)
        purge: bool = self.module.params["purge"]
        if status is not None:
            self.steps = ["delete"] if purge else ["undefine"]
            if not self.module.check_mode:
                doing = f"delete environment {self.name}"
                params = {"purge": "true"} if purge else None
                job = self.client.change("DELETE", ["environments", self.name], doing, params=params)
                if job is not None:
                    self.client.wait(job, doing)
        states: dict[str, str] = {}
        if status is not None:
            states = {each["name"]: "absent" if purge else each["state"] for each in status["instances"]}
        return self.result(status, None, states, "is not there")

    def present(self) -> dict[str, Any]:
        options = self.module.params
        status = self.client.environment(self.name)
        stored = stored_definition(status)
        if options["instances"] is not None:
            description = options["description"]
            if description is None and stored is not None:
                description = stored["description"]
            wanted = normal_definition(description, options["instances"])
        elif stored is not None:
            given = options["description"]
            wanted = {**stored, "description": stored["description"] if given is None else given}
        else:
            raise Failure(f"environment {self.name} does not exist. Set instances to define it")
        there = {each["name"]: each for each in self.client.instances()}
        states = {name: each["state"] for name, each in there.items()}
        plan = plan_environment(options["state"], wanted, stored, states)
        self.steps = list(plan.steps)
        result = self.result(status, wanted, plan.states, "is as it should be")
        if self.steps and not self.module.check_mode:
            status = self.carry_out(wanted, status)
            there = {each["name"]: each for each in status["instances"]} if status else {}
        # One that is to be started has its address then.
        addresses = {
            name: there[name]["ipv4"] if state in RUNNING and name in there else []
            for name, state in sorted(plan.states.items())
        }
        return {**result, "addresses": addresses}

    def carry_out(self, definition: dict[str, Any], status: dict[str, Any] | None) -> dict[str, Any] | None:
        for step in self.steps:
            if step == "define":
                status = self.client.define(self.name, definition)
                continue
            doing = f"{step} environment {self.name}"
            job = self.client.change("POST", ["environments", self.name, step], doing)
            status = self.client.wait(job, doing) if job is not None else status
        return status


def stored_definition(status: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return the definition in an answer of the sidecar."""
    if status is None:
        return None
    return normal_definition(status["definition"].get("description"), status["definition"]["instances"])


def run(module: AnsibleModule, client: Sidecar) -> dict[str, Any]:
    """Check, do it, and return the result."""
    options = module.params
    try:
        check_name(options["name"])
        if options["instances"] is not None and not options["instances"]:
            raise PlanProblem("instances is empty; an environment has one at least")
        names = [each["name"] for each in options["instances"] or []]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise PlanProblem(f"instances names {', '.join(repeated)} more than once")
        for each in options["instances"] or []:
            check_name(each["name"])
            check_sizes(each["cpus"], each["memory"], each["disk"])
        return (
            EnvironmentTask(module, client).absent()
            if options["state"] == "absent"
            else EnvironmentTask(module, client).present()
        )
    except PlanProblem as problem:
        raise Failure(str(problem)) from problem


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **sidecar_argument_spec(),
            **wait_argument_spec(),
            "name": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "started", "stopped", "absent"], "default": "present"},
            "description": {"type": "str"},
            "instances": {
                "type": "list",
                "elements": "dict",
                "options": {
                    "name": {"type": "str", "required": True},
                    "image": {"type": "str", "default": LAUNCH_DEFAULTS["image"]},
                    "cpus": {"type": "int", "default": LAUNCH_DEFAULTS["cpus"]},
                    "memory": {"type": "str", "default": LAUNCH_DEFAULTS["memory"]},
                    "disk": {"type": "str", "default": LAUNCH_DEFAULTS["disk"]},
                    "cloud_init": {"type": "str", "no_log": True},
                },
            },
            "purge": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    run_module(module, lambda client: run(module, client))


if __name__ == "__main__":
    main()
