#!/usr/bin/python

# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: multipass_instance_info
short_description: Look at the VMs of multipass
version_added: 0.3.0
description:
  - Lists the VMs of multipass through the sidecar's API, or reads one. On demand also its size and its snapshots.
author:
  - devorch maintainers (@devorch)
extends_documentation_fragment:
  - devorch.orchestration.sidecar
  - devorch.orchestration.sidecar.attributes
options:
  name:
    description: Name of one instance. One that does not exist makes the list empty.
    type: str
  states:
    description:
      - States of the instances to return, as multipass names them, such as V(Running), V(Stopped), V(Suspended) or
        V(Deleted). Upper and lower case count. If not set, all are returned.
    type: list
    elements: str
  size:
    description:
      - Whether to return the size that each instance is set to, which takes one more request an instance. Of an
        instance that does not run nothing else tells it.
    type: bool
    default: false
  snapshots:
    description: Whether to return the snapshots of each instance, which takes one more request an instance.
    type: bool
    default: false
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
    details:
      - Nothing changes.
  idempotent:
    support: full
seealso:
  - module: devorch.orchestration.multipass_instance
"""

EXAMPLES = r"""
- name: Find the VMs that run
  devorch.orchestration.multipass_instance_info:
    states: [Running]
    url: http://127.0.0.1:8090
    token: "{{ sidecar_token }}"
  register: running

- name: Show their addresses
  ansible.builtin.debug:
    msg: "{{ running.instances | items2dict(key_name='name', value_name='ipv4') }}"

- name: Read one VM with its size and its snapshots
  devorch.orchestration.multipass_instance_info:
    name: web-1
    size: true
    snapshots: true
    token: "{{ sidecar_token }}"
"""

RETURN = r"""
instances:
  description: The instances that were found, sorted by name.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Its name.
      type: str
      returned: always
    state:
      description: Its state, as multipass names it.
      type: str
      returned: always
    ipv4:
      description: Its addresses, none where it does not run.
      type: list
      elements: str
      returned: always
    release:
      description: What runs in it, null where it does not run.
      type: str
      returned: always
    image_release:
      description: The release of the image it was launched from.
      type: str
      returned: always
    image_hash:
      description: The hash of that image.
      type: str
      returned: always
    cpus:
      description: Its CPUs, null where it does not run.
      type: int
      returned: always
    load:
      description: Its load, over 1, 5 and 15 minutes.
      type: list
      elements: float
      returned: always
    memory:
      description: Bytes of memory that are used and that there are, as the system in it sees them.
      type: dict
      returned: always
    disk:
      description: Bytes of disk that are used and that there are, as the system in it sees them.
      type: dict
      returned: always
    snapshots:
      description: How many snapshots there are, or the snapshots, each with C(name), C(parent), C(comment), C(created).
      type: raw
      returned: always
    size:
      description: The size that it is set to, C(cpus), and C(memory) and C(disk) in bytes.
      type: dict
      returned: when O(size=true); null for an instance that is deleted
  sample:
    - name: web-1
      state: Running
      ipv4: [10.21.77.11]
      release: Ubuntu 24.04 LTS
      image_release: 24.04 LTS
      image_hash: 3a0b3a5d2c8b1f4e
      cpus: 2
      load: [0.1, 0.05, 0.01]
      memory: {used: 200000000, total: 2147483648}
      disk: {used: 1500000000, total: 10737418240}
      snapshots:
        - {name: clean, parent: null, comment: after the installation, created: "2026-11-24T10:00:00Z"}
      size: {cpus: 2, memory: 2147483648, disk: 10737418240}
msg:
  description: How many instances were found.
  returned: always
  type: str
  sample: 1 instance
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.devorch.orchestration.plugins.module_utils.multipass.client import Sidecar
from ansible_collections.devorch.orchestration.plugins.module_utils.multipass.module import (
    run_module,
    sidecar_argument_spec,
)


def run(module: AnsibleModule, client: Sidecar) -> dict[str, Any]:
    """Read the instances, and return the result."""
    options = module.params
    names = [options["name"]] if options["name"] else [each["name"] for each in client.instances()]
    # One that went since the list is left out.
    found = [each for each in map(client.instance, names) if each is not None]
    if options["states"] is not None:
        found = [each for each in found if each["state"] in options["states"]]
    for each in found:
        if options["size"]:
            each["size"] = None if each["state"] == "Deleted" else client.size(each["name"])
        if options["snapshots"]:
            each["snapshots"] = client.snapshots(each["name"])
    words = "1 instance" if len(found) == 1 else f"{len(found)} instances"
    return {"changed": False, "instances": sorted(found, key=lambda each: str(each["name"])), "msg": words}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **sidecar_argument_spec(),
            "name": {"type": "str"},
            "states": {"type": "list", "elements": "str"},
            "size": {"type": "bool", "default": False},
            "snapshots": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    run_module(module, lambda client: run(module, client))


if __name__ == "__main__":
    main()
