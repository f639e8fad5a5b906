#!/usr/bin/python

# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: preflight
short_description: Check all variables and the host before anything is changed
version_added: 0.3.0
description:
  - Reads the variables of the roles for a host. Checks them against each other and against the state of the host.
    Reports all problems of all services in one message. Each problem names the variable and what to set.
  - The variables are those in the argument specifications of the roles. An undefined variable, a failing template, a
    wrong type and an unknown choice are reported with the other problems.
  - The module runs only on the controller. It executes nothing on the host and changes nothing.
  - Messages never contain secret values.
author:
  - devorch maintainers (@devorch)
options:
  services:
    description:
      - Services of the run. Each is a role of this collection. The module checks their variables and the variables that
        all services share.
      - The checks of a service depend on its variable C(<service>_state).
    type: list
    elements: str
    required: true
  host:
    description:
      - Result of M(devorch.orchestration.host_info) for the host.
      - C(backup_schedule) and C(backup_verify_schedule) are only checked if
        RV(devorch.orchestration.host_info#module:calendars) has that schedule.
    type: dict
    required: true
  upgrade:
    description:
      - Whether the run is an upgrade. In other runs, another major version of a service than the one that last ran on
        its data is refused. For Kestra and n8n, any other version is refused, unless
        C(orchestration_upgrade_without_backup) allows it.
    type: bool
    default: false
  installs:
    description:
      - Whether the run may install something. A run that does not, such as a backup, needs neither
        C(orchestration_minimum_memory) nor C(orchestration_minimum_disk).
    type: bool
    default: true
  rendered:
    description:
      - Texts to check, by variable. V(kestra_config_template) is the rendered template. V(docker_daemon_config) is the
        new content of C(daemon.json).
      - A template that fails is reported with the other problems.
    type: dict
    default: {}
attributes:
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying the target.
    support: full
  diff_mode:
    description: Returns details on what has changed, or would change in C(check_mode), when in diff mode.
    support: N/A
    details:
      - The module only reads.
notes:
  - The play must gather facts, because the module reads the distribution from them.
seealso:
  - module: devorch.orchestration.host_info
"""

EXAMPLES = r"""
- name: Gather information about the host
  devorch.orchestration.host_info:
  register: orchestration_host

- name: Check all variables and the host
  devorch.orchestration.preflight:
    services:
      - docker
      - postgres
      - kestra
    host: "{{ orchestration_host }}"
    rendered:
      kestra_config_template: "{{ lookup('ansible.builtin.template', kestra_config_template) }}"
"""

RETURN = r"""
problems:
  description: All problems of the variables and the host. If there is any, the task fails.
  returned: always
  type: list
  elements: str
  sample:
    - "kestra_port: port 8080 is in use by python3 (other.service). Stop it, or set kestra_port to a free port."
warnings:
  description: Settings with which the run works, but which may not be intended.
  returned: always
  type: list
  elements: str
  sample: []
msg:
  description: All problems as one text, or V(no problems).
  returned: always
  type: str
  sample: no problems
"""

from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    """Fail, because the action plugin of the same name does the work on the controller."""
    module = AnsibleModule(
        argument_spec={
            "services": {"type": "list", "elements": "str", "required": True},
            "host": {"type": "dict", "required": True},
            "upgrade": {"type": "bool", "default": False},
            "installs": {"type": "bool", "default": True},
            "rendered": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    module.fail_json(msg="preflight runs on the controller only. Use it as a task of a playbook.")


if __name__ == "__main__":
    main()
