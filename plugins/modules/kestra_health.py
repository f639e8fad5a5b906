#!/usr/bin/python

# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: kestra_health
short_description: Wait until Kestra works, and tell which part does not
version_added: 0.1.0
description:
  - Waits until Kestra's management port reports readiness, its API answers, its database answers behind it, and the
    credentials are accepted.
  - Checks as well that the management port is closed to the outside, since it asks for no password.
  - Fails when the time is over, with the part that is down and the reason, such as a refused connection, a failing
    indicator, or an open port on which nothing answers.
  - Refused credentials and an open management port end the wait early, since waiting does not mend them.
  - Changes nothing.
author:
  - devorch maintainers (@devorch)
extends_documentation_fragment:
  - devorch.orchestration.kestra
  - devorch.orchestration.kestra.attributes
  - devorch.orchestration.kestra.actiongroup
options:
  management_url:
    description:
      - Root of Kestra's management port, which answers C(/health).
      - Credentials are not sent there.
      - If not set, the value of the environment variable E(KESTRA_MANAGEMENT_URL) is used.
    type: str
    default: http://127.0.0.1:8081
  management_closed_on:
    description:
      - Addresses or names at which the port of O(management_url) must not accept a connection.
      - If not set and O(management_url) is a loopback address, all addresses of the host that the module runs on,
        without loopback and link-local ones. If it is another address, none, since the port has to be open there.
      - Set it to an empty list where the port may be open, for instance because a firewall keeps others away from it.
        The module tries the addresses from the host itself, and does not see that firewall.
    type: list
    elements: str
    version_added: 0.2.0
  wait_timeout:
    description:
      - Seconds to wait until everything is up. With V(0), Kestra is looked at once.
      - A request that is under way when the time is over is cut off.
    type: int
    default: 300
  interval:
    description: Seconds between two looks.
    type: float
    default: 2
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
    details:
      - Nothing changes.
  idempotent:
    support: full
notes:
  - O(retries) has no effect, since every look is repeated anyway. O(timeout) limits each request of a look.
seealso:
  - module: devorch.orchestration.kestra_flows
"""

EXAMPLES = r"""
- name: Wait until Kestra is ready
  devorch.orchestration.kestra_health:
    url: http://127.0.0.1:8080
    management_url: http://127.0.0.1:8081
    username: admin@example.org
    password: "{{ kestra_password }}"
    wait_timeout: 600

- name: Look once
  devorch.orchestration.kestra_health:
    username: admin@example.org
    password: "{{ kestra_password }}"
    wait_timeout: 0
  register: kestra

- name: Look once, at a server whose management port has to be open for monitoring
  devorch.orchestration.kestra_health:
    username: admin@example.org
    password: "{{ kestra_password }}"
    wait_timeout: 0
    management_closed_on: []

- name: Show the version
  ansible.builtin.debug:
    msg: "Kestra {{ kestra.version }}, ready within {{ kestra.ready_within }} seconds"
"""

RETURN = r"""
liveness:
  description: Whether the process answers at all, V(UP), V(DOWN) or V(UNKNOWN).
  returned: always
  type: str
  sample: UP
readiness:
  description: Whether Kestra says that it is ready, V(UP), V(DOWN) or V(UNKNOWN).
  returned: always
  type: str
  sample: UP
database:
  description: Whether the database answers, V(UP), V(DOWN) or V(UNKNOWN).
  returned: always
  type: str
  sample: UP
disk:
  description:
    - Whether Kestra has disk space left, V(UP), V(DOWN) or V(UNKNOWN).
    - Kestra 2.x keeps this to itself by default.
  returned: always
  type: str
  sample: UNKNOWN
api:
  description: Whether the API answers, V(UP), V(DOWN) or V(UNKNOWN).
  returned: always
  type: str
  sample: UP
credentials:
  description: Whether the API takes the credentials, V(UP), V(DOWN) (refused) or V(UNKNOWN).
  returned: always
  type: str
  sample: UP
version:
  description: Version of the server.
  returned: always
  type: str
  sample: 2.0.5
edition:
  description: Edition of the server, if it tells.
  returned: always
  type: str
  sample: OSS
management_exposed:
  description: The addresses at which the management port is open and should not be. Empty if there is none.
  returned: always
  type: list
  elements: str
  sample: ["192.0.2.10"]
reasons:
  description: Why it is not healthy. Empty if it is.
  returned: always
  type: list
  elements: str
  sample: ["management port: /health/readiness answers HTTP 503, failing: jdbc"]
ready_within:
  description: Seconds from the start of the module until everything was up, or until it gave up.
  returned: always
  type: float
  sample: 12.4
looks:
  description: How often the server was looked at.
  returned: always
  type: int
  sample: 6
msg:
  description: The state in words.
  returned: always
  type: str
  sample: Kestra 2.0.5 is healthy
"""

from collections.abc import Sequence
from typing import Any

from ansible.module_utils.basic import AnsibleModule, env_fallback
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.client import KestraClient, url_problem
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.health import (
    Probe,
    host_addresses,
    is_on_this_host,
    wait_until_healthy,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.module import (
    REQUIRED_TOGETHER,
    connection_argument_spec,
    run_module,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.module import Failure


def run(parameters: dict[str, Any], client: KestraClient, closed_on: Sequence[str]) -> dict[str, Any]:
    """Wait until the server is healthy; return the result, or raise Failure if it is not."""
    probe = Probe(client.connection, parameters["management_url"], closed_on)
    try:
        waited = wait_until_healthy(probe, parameters["wait_timeout"], parameters["interval"])
    finally:
        probe.close()
    health = waited.health
    result: dict[str, Any] = {
        "changed": False,
        **health.as_result(),
        "ready_within": waited.seconds,
        "looks": waited.checks,
    }
    if not health.healthy:
        raise Failure(
            f"Kestra at {client.connection.url} is not healthy after {waited.seconds:g} seconds: "
            f"{'; '.join(health.reasons)}",
            **result,
        )
    return {**result, "msg": f"Kestra {health.version} is healthy"}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **connection_argument_spec(),
            "management_url": {
                "type": "str",
                "default": "http://127.0.0.1:8081",
                "fallback": (env_fallback, ["KESTRA_MANAGEMENT_URL"]),
            },
            "management_closed_on": {"type": "list", "elements": "str"},
            "wait_timeout": {"type": "int", "default": 300},
            "interval": {"type": "float", "default": 2},
        },
        required_together=REQUIRED_TOGETHER,
        supports_check_mode=True,
    )
    management_url = module.params["management_url"]
    problem = url_problem(management_url)
    if problem:
        module.fail_json(msg=f"management_{problem}")
    if module.params["wait_timeout"] < 0:
        module.fail_json(msg=f"wait_timeout is {module.params['wait_timeout']}; it is a number of seconds from 0")
    if module.params["interval"] <= 0:
        module.fail_json(msg=f"interval is {module.params['interval']}; it is a number of seconds above 0")

    closed_on = module.params["management_closed_on"]
    if closed_on is None:
        closed_on = host_addresses() if is_on_this_host(management_url) else []
    run_module(module, lambda client: run(module.params, client, closed_on))


if __name__ == "__main__":
    main()
