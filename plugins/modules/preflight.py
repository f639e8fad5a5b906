#!/usr/bin/python

# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: preflight
short_description: Check every variable and the host before anything is changed
version_added: 0.3.0
description:
  - Reads the variables of the roles for a host, and checks them against each other and against one look at that host.
    All problems of all services are reported in one message, each with the variable it is about and what to set.
  - The variables are read by their names, as the argument specification of each role lists them. A variable that is
    undefined, that fails as a template, or that has a wrong type or an unknown choice is a problem among the others.
  - Runs on the controller alone. Nothing is executed on the host and nothing is changed.
  - Secret values are never part of a message.
author:
  - devorch maintainers (@devorch)
options:
  services:
    description:
      - Services of the run, which are roles of this collection. Their variables are checked, and those that all
        services share.
      - What is checked of a service depends on its variable C(<service>_state).
    type: list
    elements: str
    required: true
  host:
    description:
      - Result of M(devorch.orchestration.host_info) for the host.
      - A dictionary C(calendar) in it is used as well. For the expression in C(backup_schedule) it has why systemd does
        not read that, or an empty text. Without it the expression is not checked.
    type: dict
    required: true
  upgrade:
    description: Whether another major version than the one that has run on the data is allowed.
    type: bool
    default: false
  rendered:
    description:
      - Texts that templates give, by the variable that names the template. V(kestra_config_template) is known.
      - A text that fails as a template is a problem among the others, with ansible-core 2.19 and newer.
    type: dict
    default: {}
attributes:
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying target.
    support: full
  diff_mode:
    description: Will return details on what has changed when in C(--diff) mode.
    support: N/A
    details:
      - It only reads.
notes:
  - The distribution is read from the facts of the host, so the play must gather facts.
seealso:
  - module: devorch.orchestration.host_info
"""

EXAMPLES = r"""
- name: Look at the host
  devorch.orchestration.host_info:
  register: orchestration_host

- name: Check every variable and the host
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
  description: Everything that speaks against the run. The task fails if there is anything.
  returned: always
  type: list
  elements: str
  sample:
    - "kestra_port: port 8080 is in use by python3 (other.service). Stop it, or set kestra_port to a free port."
warnings:
  description: What a run does not fail at, and its operator may not have meant.
  returned: always
  type: list
  elements: str
  sample: []
msg:
  description: The problems in one text, or that there are none.
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
            "rendered": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    module.fail_json(msg="preflight runs on the controller only. Use it as a task of a playbook.")


if __name__ == "__main__":
    main()
