#!/usr/bin/python

# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: kestra_health
short_description: Wait until Kestra is healthy, or report which part is not
version_added: 0.1.0
description:
  - Waits until the management port reports that Kestra is ready, the API and the database answer, and the API accepts
    the credentials.
  - Checks that the management port is not open to other hosts, because it does not ask for a password.
  - If Kestra is not healthy in time, the module fails. It reports the part that is down and the reason, such as a
    refused connection, a failing health indicator, or an open port that does not answer.
  - If the credentials are refused or the management port is open to other hosts, the module stops waiting early,
    because waiting does not help.
  - The module changes nothing.
author:
  - devorch maintainers (@devorch)
extends_documentation_fragment:
  - devorch.orchestration.kestra
  - devorch.orchestration.kestra.attributes
  - devorch.orchestration.kestra.actiongroup
options:
  management_url:
    description:
      - Root URL of Kestra's management port, which answers C(/health).
      - The credentials are not sent to it.
      - If not set, the value of the environment variable E(KESTRA_MANAGEMENT_URL) is used.
    type: str
    default: http://127.0.0.1:8081
  management_closed_on:
    description:
      - Addresses or names at which the port of O(management_url) must not accept connections.
      - If not set and O(management_url) has a loopback address, these are all addresses of the host the module runs on,
        except loopback and link-local addresses. If O(management_url) has another address, no address is checked,
        because the port must be open there.
      - Set it to an empty list if the port may be open, for example because a firewall protects it. The module connects
        from the host itself and cannot detect a firewall.
    type: list
    elements: str
    version_added: 0.2.0
  wait_timeout:
    description:
      - Seconds to wait until Kestra is healthy. With V(0), the module checks once.
      - A request that is still running at the end of this time is cancelled.
    type: int
    default: 300
  interval:
    description: Seconds between two checks.
    type: float
    default: 2
attributes:
  check_mode:
    support: full
  diff_mode:
    support: N/A
    details:
      - The module only reads.
  idempotent:
    support: full
notes:
  - O(retries) has no effect, because every check is repeated anyway. O(timeout) limits each request of a check.
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

- name: Check once whether Kestra is healthy
  devorch.orchestration.kestra_health:
    username: admin@example.org
    password: "{{ kestra_password }}"
    wait_timeout: 0
  register: kestra

- name: Check a server whose management port is open for monitoring
  devorch.orchestration.kestra_health:
    username: admin@example.org
    password: "{{ kestra_password }}"
    wait_timeout: 0
    management_closed_on: []

- name: Report the version of Kestra
  ansible.builtin.debug:
    msg: "Kestra {{ kestra.version }}, ready within {{ kestra.ready_within }} seconds"
"""

RETURN = r"""
liveness:
  description: Whether the process answers, V(UP), V(DOWN) or V(UNKNOWN).
  returned: always
  type: str
  sample: UP
readiness:
  description: Whether Kestra reports that it is ready, V(UP), V(DOWN) or V(UNKNOWN).
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
    - Whether Kestra has free disk space, V(UP), V(DOWN) or V(UNKNOWN).
    - Kestra 2.x does not report this by default.
  returned: always
  type: str
  sample: UNKNOWN
api:
  description: Whether the API answers, V(UP), V(DOWN) or V(UNKNOWN).
  returned: always
  type: str
  sample: UP
credentials:
  description: Whether the API accepts the credentials, V(UP), V(DOWN) (refused) or V(UNKNOWN).
  returned: always
  type: str
  sample: UP
version:
  description: Version of the server. V(null) if the API does not report it.
  returned: always
  type: str
  sample: 2.0.5
edition:
  description: Edition of the server, if it reports one.
  returned: always
  type: str
  sample: OSS
management_exposed:
  description: Addresses at which the management port is open but must not be. Empty if there are none.
  returned: always
  type: list
  elements: str
  sample: ["192.0.2.10"]
reasons:
  description: Why Kestra is not healthy. Empty if it is healthy.
  returned: always
  type: list
  elements: str
  sample: ["management port: /health/readiness answers HTTP 503, failing: jdbc"]
ready_within:
  description: Seconds from the start of the module until Kestra was healthy or the module failed.
  returned: always
  type: float
  sample: 12.4
attempts:
  description: Number of checks.
  returned: always
  type: int
  sample: 6
msg:
  description: Summary of the state.
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
        "attempts": waited.checks,
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
