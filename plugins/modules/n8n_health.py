#!/usr/bin/python

# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: n8n_health
short_description: Wait until n8n is ready, or report which part is not
version_added: 0.3.0
description:
  - Checks whether n8n's process answers, whether it has its database, and whether it accepts the API key.
  - Waits until all of that is so, for O(wait_timeout) seconds. Otherwise the module fails with the reasons.
author:
  - devorch maintainers (@devorch)
extends_documentation_fragment:
  - devorch.orchestration.n8n
  - devorch.orchestration.n8n.attributes
options:
  wait_timeout:
    description: Seconds to wait. V(0) looks once.
    type: int
    default: 60
  fail:
    description: Whether the module fails if n8n is not ready.
    type: bool
    default: true
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
notes:
  - If O(api_key) is not set, the API is not checked.
seealso:
  - module: devorch.orchestration.n8n_workflow_info
"""

EXAMPLES = r"""
- name: Wait until n8n is ready
  devorch.orchestration.n8n_health:
    url: http://127.0.0.1:5678
    api_key: "{{ n8n_api_key }}"
    wait_timeout: 120
"""

RETURN = r"""
ready:
  description: Whether all parts are ready.
  returned: always
  type: bool
  sample: true
liveness:
  description: Whether n8n's process answers.
  returned: always
  type: bool
  sample: true
readiness:
  description: Whether n8n has its database and has started.
  returned: always
  type: bool
  sample: true
api:
  description: Whether n8n accepts the API key. V(null) if there is none.
  returned: always
  type: bool
  sample: true
reasons:
  description: Why n8n is not ready.
  returned: always
  type: list
  elements: str
  sample: []
msg:
  description: Summary of the result.
  returned: always
  type: str
  sample: n8n is ready
"""

import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.devorch.orchestration.plugins.module_utils.module import Failure
from ansible_collections.devorch.orchestration.plugins.module_utils.n8n.client import N8nClient, N8nError
from ansible_collections.devorch.orchestration.plugins.module_utils.n8n.module import (
    connection_argument_spec,
    run_module,
)

PAUSE = 1.0


def answers(client: N8nClient, path: str, doing: str) -> str | None:
    """Return why an address does not answer 200, or None."""
    try:
        response = client.http.send("GET", path, doing)
        client.http.expect(response, doing, (200,), lambda _status: None)
    except N8nError as error:
        return str(error)
    return None


def look(client: N8nClient) -> dict[str, Any]:
    """Return the state of each part."""
    live = answers(client, "/healthz", "reach n8n")
    ready = None if live else answers(client, "/healthz/readiness", "see whether n8n is ready")
    api: str | None = None
    has_key = client.connection.api_key is not None
    if has_key and not live and not ready:
        try:
            client.request("GET", ["workflows"], "try the API key", params={"limit": 1})
        except N8nError as error:
            api = str(error)
    reasons = [reason for reason in (live, ready, api) if reason]
    return {
        "ready": not reasons,
        "liveness": not live,
        "readiness": not live and not ready,
        "api": not reasons if has_key else None,
        "reasons": reasons,
    }


def run(module: AnsibleModule, client: N8nClient) -> dict[str, Any]:
    """Look until n8n is ready or the time is over."""
    end = time.monotonic() + module.params["wait_timeout"]
    state = look(client)
    while not state["ready"] and time.monotonic() < end:
        time.sleep(min(PAUSE, max(0.0, end - time.monotonic())))
        state = look(client)
    msg = "n8n is ready" if state["ready"] else f"n8n is not ready: {'; '.join(state['reasons'])}"
    if not state["ready"] and module.params["fail"]:
        raise Failure(msg, **state)
    return {"changed": False, "msg": msg, **state}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **connection_argument_spec(),
            "wait_timeout": {"type": "int", "default": 60},
            "fail": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    if module.params["wait_timeout"] < 0:
        module.fail_json(msg=f"wait_timeout is {module.params['wait_timeout']}; it is a number of seconds from 0")
    nothing = dict.fromkeys(("ready", "liveness", "readiness"), False)
    # Each look is a try of its own.
    run_module(
        module,
        lambda client: run(module, client),
        partial=lambda: {**nothing, "api": None, "reasons": []},
        retries=0,
    )


if __name__ == "__main__":
    main()
