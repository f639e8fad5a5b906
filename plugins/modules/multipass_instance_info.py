#!/usr/bin/python

# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: multipass_instance_info
short_description: Gather information about multipass VMs
version_added: 0.3.0
description:
  - Lists the multipass VMs through the sidecar's API, or reads one of them.
  - With O(size) and O(snapshots), also returns their configured sizes and their snapshots.
author:
  - devorch maintainers (@devorch)
extends_documentation_fragment:
  - devorch.orchestration.sidecar
  - devorch.orchestration.sidecar.attributes
options:
  name:
    description: Name of one instance. If it does not exist, the result is an empty list.
    type: str
  states:
    description:
      - States of the instances to return, as multipass names them, such as V(Running), V(Stopped), V(Suspended) or
        V(Deleted). They are case-sensitive. If not set, all instances are returned.
    type: list
    elements: str
  size:
    description:
      - Whether to return the configured size of each instance. This needs one more request per instance. It is the only
        way to find the size of an instance that is not running.
    type: bool
    default: false
  snapshots:
    description: Whether to return the snapshots of each instance. This needs one more request per instance.
    type: bool
    default: false
attributes:
  check_mode:
    support: full
  diff_mode:
    support: N/A
    details:
      - The module only reads.
  idempotent:
    support: full
seealso:
  - module: devorch.orchestration.multipass_instance
"""

EXAMPLES = r"""
- name: Find the running VMs
  devorch.orchestration.multipass_instance_info:
    states: [Running]
    url: http://127.0.0.1:8090
    token: "{{ sidecar_token }}"
  register: running

- name: Report the addresses of the running VMs
  ansible.builtin.debug:
    msg: "{{ running.instances | items2dict(key_name='name', value_name='ipv4') }}"

- name: Read one VM with its size and snapshots
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
      description: Name of the instance.
      type: str
      returned: always
    state:
      description: State of the instance, as multipass names it.
      type: str
      returned: always
    ipv4:
      description: IPv4 addresses. Empty if the instance is not running.
      type: list
      elements: str
      returned: always
    release:
      description: Operating system. V(null) if the instance is not running.
      type: str
      returned: always
    image_release:
      description: Release of the image from which the instance was launched.
      type: str
      returned: always
    image_hash:
      description: Hash of the image from which the instance was launched.
      type: str
      returned: always
    cpus:
      description: Number of CPUs. V(null) if the instance is not running.
      type: int
      returned: always
    load:
      description: Load average over 1, 5 and 15 minutes.
      type: list
      elements: float
      returned: always
    memory:
      description: Used and total memory in bytes, as the guest system reports it.
      type: dict
      returned: always
    disk:
      description: Used and total disk space in bytes, as the guest system reports it.
      type: dict
      returned: always
    snapshots:
      description: Number of snapshots. With O(snapshots=true), a list with C(name), C(parent), C(comment), C(created).
      type: raw
      returned: always
    size:
      description: Configured size, with C(cpus), and C(memory) and C(disk) in bytes. V(null) for a deleted instance.
      type: dict
      returned: when O(size=true)
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
  description: Number of instances that were found.
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
