#!/usr/bin/python

# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: n8n_execution_info
short_description: Gather information about executions of n8n's workflows
version_added: 0.3.0
description:
  - Returns executions, the newest first. For one that failed, returns the node and its error.
author:
  - devorch maintainers (@devorch)
extends_documentation_fragment:
  - devorch.orchestration.n8n
  - devorch.orchestration.n8n.attributes
options:
  id:
    description: Id of one execution.
    type: str
  workflow:
    description: Name or id of the workflow. If n8n has several with this name, their executions are returned.
    type: str
  status:
    description: Status of the executions.
    type: str
    choices: [canceled, crashed, error, new, running, success, waiting]
  limit:
    description: Maximum number of executions, from 1 to 1000.
    type: int
    default: 20
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
notes:
  - n8n keeps only the executions that the settings of the workflow say.
seealso:
  - module: devorch.orchestration.n8n_workflow_info
"""

EXAMPLES = r"""
- name: Read which executions have failed
  devorch.orchestration.n8n_execution_info:
    status: error
    url: http://127.0.0.1:5678
    api_key: "{{ n8n_api_key }}"
  register: failed
"""

RETURN = r"""
executions:
  description: The executions, the newest first. Empty if there is none.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: Id of the execution.
      type: str
      returned: always
    workflow_id:
      description: Id of the workflow.
      type: str
      returned: always
    workflow:
      description: Name of the workflow. V(null) if it is gone.
      type: str
      returned: always
    status:
      description: Status, as n8n reports it.
      type: str
      returned: always
    mode:
      description: What has started it, such as V(webhook) and V(trigger).
      type: str
      returned: always
    started_at:
      description: When it started.
      type: str
      returned: always
    stopped_at:
      description: When it ended. V(null) if it has not.
      type: str
      returned: always
    retry_of:
      description: Id of the execution that it repeats, or V(null).
      type: str
      returned: always
    error:
      description: The node that failed, in C(node), and its error, in C(message). V(null) if none has.
      type: dict
      returned: always
  sample:
    - id: "1204"
      workflow_id: R2DjclaysHbqn778
      workflow: orders
      status: error
      mode: webhook
      started_at: "2026-11-29T14:00:00.000Z"
      stopped_at: "2026-11-29T14:00:01.000Z"
      retry_of: null
      error: {node: Http, message: "connect ECONNREFUSED 127.0.0.1:9"}
msg:
  description: Summary of the result.
  returned: always
  type: str
  sample: 1 execution
"""

from itertools import islice
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.devorch.orchestration.plugins.module_utils.module import Failure
from ansible_collections.devorch.orchestration.plugins.module_utils.n8n.client import PAGE, N8nClient
from ansible_collections.devorch.orchestration.plugins.module_utils.n8n.executions import FAILED, described, failure
from ansible_collections.devorch.orchestration.plugins.module_utils.n8n.module import (
    connection_argument_spec,
    run_module,
)

MOST = 1000


def listed(client: N8nClient, filters: dict[str, str], limit: int) -> list[dict[str, Any]]:
    """Return the newest executions."""
    pages = client.pages(["executions"], "list the executions", **filters, limit=str(min(limit, PAGE)))
    return list(islice(pages, limit))


def run(module: AnsibleModule, client: N8nClient) -> dict[str, Any]:
    """Read, and return the result."""
    options = module.params
    names = {str(one["id"]): str(one["name"]) for one in client.retry(client.workflows)}
    if options["id"] is not None:
        one = client.find(["executions", options["id"]], f"read execution {options['id']}")
        found = [] if one is None else [one]
    else:
        filters = {"status": options["status"]} if options["status"] else {}
        wanted = options["workflow"]
        ids = [one for one, name in names.items() if wanted in (one, name)]
        if wanted is not None and not ids:
            raise Failure(f"n8n has no workflow {wanted!r}. Correct workflow.")
        found = []
        for workflow_id in ids if wanted is not None else [None]:
            of_workflow = {"workflowId": workflow_id} if workflow_id else {}
            found += listed(client, {**filters, **of_workflow}, options["limit"])
        found.sort(key=lambda one: int(one["id"]), reverse=True)
        found = found[: options["limit"]]
    executions = []
    for one in found:
        error = None
        if one.get("status") in FAILED:
            doing = f"read execution {one['id']}"
            error = failure(client.find(["executions", str(one["id"])], doing, includeData="true") or {})
        executions.append({**described(one, names), "error": error})
    count = "1 execution" if len(executions) == 1 else f"{len(executions)} executions"
    return {"changed": False, "msg": count, "executions": executions}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **connection_argument_spec(),
            "id": {"type": "str"},
            "workflow": {"type": "str"},
            "status": {
                "type": "str",
                "choices": ["canceled", "crashed", "error", "new", "running", "success", "waiting"],
            },
            "limit": {"type": "int", "default": 20},
        },
        supports_check_mode=True,
    )
    if not 1 <= module.params["limit"] <= MOST:
        module.fail_json(msg=f"limit is {module.params['limit']}; it is a number from 1 to {MOST}")
    run_module(module, lambda client: run(module, client))


if __name__ == "__main__":
    main()
