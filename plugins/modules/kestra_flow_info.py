#!/usr/bin/python

# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: kestra_flow_info
short_description: Gather information about flows of a Kestra server
version_added: 0.2.0
description:
  - Finds flows by namespace, labels or text, or reads one flow by its id.
  - Returns the revision of each flow, whether it is disabled, and whether Kestra can still read it.
  - With O(source), O(revisions) and O(activity), also returns its text, its revisions, its last execution, and its
    triggers with the date of their next run.
author:
  - devorch maintainers (@devorch)
extends_documentation_fragment:
  - devorch.orchestration.kestra
  - devorch.orchestration.kestra.attributes
  - devorch.orchestration.kestra.actiongroup
options:
  namespace:
    description: Namespace to search. If not set, all namespaces are searched.
    type: str
  below:
    description: Whether to search the namespaces below O(namespace) too. Needs O(namespace).
    type: bool
    default: false
  id:
    description: Id of one flow. Needs O(namespace). If the flow does not exist, the result is an empty list.
    type: str
  query:
    description: Text to find in namespaces and ids, as in Kestra's search field.
    type: str
  labels:
    description: Only flows that have all of these labels.
    type: dict
    default: {}
  limit:
    description: Maximum number of flows to return.
    type: int
    default: 1000
  source:
    description: Whether to return the text of each flow. This needs up to one more request per flow.
    type: bool
    default: false
  revisions:
    description: Whether to return the revisions of each flow. This needs one more request per flow.
    type: bool
    default: false
  activity:
    description:
      - Whether to return the last execution and the triggers of each flow. This needs one more request per flow, and
        one for all flows together. Kestra before 1.0 cannot report it.
    type: bool
    default: false
  concurrency:
    description: Number of concurrent requests, from 1 to 32.
    type: int
    default: 8
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
  - module: devorch.orchestration.kestra_flow
  - module: devorch.orchestration.kestra_execution_info
"""

EXAMPLES = r"""
- name: Find the flows of a team
  devorch.orchestration.kestra_flow_info:
    namespace: company
    below: true
    labels:
      team: ops
    username: admin@example.org
    password: "{{ kestra_password }}"
  register: found

- name: Read one flow with its history, its last execution and its next run
  devorch.orchestration.kestra_flow_info:
    namespace: company.team
    id: greeting
    source: true
    revisions: true
    activity: true
    username: admin@example.org
    password: "{{ kestra_password }}"
  register: greeting

- name: Report when the flow runs next
  ansible.builtin.debug:
    msg: "{{ greeting.flows[0].triggers | map(attribute='next_date') }}"
"""

RETURN = r"""
flows:
  description: The flows that were found, sorted by namespace and id.
  returned: always
  type: list
  elements: dict
  contains:
    namespace:
      description: Namespace of the flow.
      type: str
      returned: always
    id:
      description: Id of the flow.
      type: str
      returned: always
    revision:
      description: Revision of the flow.
      type: int
      returned: always
    description:
      description: Description of the flow, if it has one.
      type: str
      returned: always
    labels:
      description: Labels of the flow.
      type: dict
      returned: always
    disabled:
      description: Whether the flow is disabled.
      type: bool
      returned: always
    draft:
      description: Whether the flow is a draft. A draft does not run.
      type: bool
      returned: always
    problem:
      description: Why Kestra can no longer read the flow. V(null) if it can.
      type: str
      returned: always
    updated:
      description: Date of the last change, if the server reports it.
      type: str
      returned: always
    source:
      description: Text of the flow.
      type: str
      returned: when O(source=true)
    revisions:
      description: Revisions of the flow, the oldest first.
      type: list
      elements: dict
      returned: when O(revisions=true)
    last_execution:
      description: Last execution of the flow, if there is one.
      type: dict
      returned: when O(activity=true)
    triggers:
      description: Triggers that the scheduler evaluates, with the dates of their last and next run.
      type: list
      elements: dict
      returned: when O(activity=true)
  sample:
    - namespace: company.team
      id: greeting
      revision: 2
      description: Says hello
      labels: {team: ops}
      disabled: false
      draft: false
      problem: null
      updated: "2026-11-24T10:00:00Z"
      revisions:
        - {revision: 1, deleted: false, disabled: false, updated: "2026-11-23T10:00:00Z"}
        - {revision: 2, deleted: false, disabled: false, updated: "2026-11-24T10:00:00Z"}
      last_execution: {id: 3kL8sNvXQm, state: SUCCESS, start_date: "2026-11-24T10:00:00Z"}
      triggers:
        - {id: daily, enabled: true, locked: false, last_date: null, next_date: "2026-11-25T10:00:00Z"}
msg:
  description: Number of flows that were found.
  returned: always
  type: str
  sample: 1 flow
"""

import json
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.client import KestraClient
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows.info import (
    Query,
    as_result,
    find_flows,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.module import (
    REQUIRED_TOGETHER,
    connection_argument_spec,
    run_module,
)


def run(module: AnsibleModule, client: KestraClient) -> dict[str, Any]:
    """Read the flows, and return the result."""
    options = module.params
    query = Query(
        namespace=options["namespace"],
        below=options["below"],
        id=options["id"],
        text=options["query"],
        labels={
            str(name): value if isinstance(value, str) else json.dumps(value)
            for name, value in options["labels"].items()
        },
    )
    extras = {name: options[name] for name in ("source", "revisions", "activity")}
    found = find_flows(client, query, options["limit"], options["concurrency"], **extras)
    flows = [as_result(each, source=options["source"]) for each in found]
    return {"changed": False, "flows": flows, "msg": "1 flow" if len(flows) == 1 else f"{len(flows)} flows"}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **connection_argument_spec(),
            "namespace": {"type": "str"},
            "below": {"type": "bool", "default": False},
            "id": {"type": "str"},
            "query": {"type": "str"},
            "labels": {"type": "dict", "default": {}},
            "limit": {"type": "int", "default": 1000},
            "source": {"type": "bool", "default": False},
            "revisions": {"type": "bool", "default": False},
            "activity": {"type": "bool", "default": False},
            "concurrency": {"type": "int", "default": 8},
        },
        required_together=REQUIRED_TOGETHER,
        required_by={"id": "namespace"},
        mutually_exclusive=[("id", "query")],
        supports_check_mode=True,
    )
    # By hand, since an option with a default is always given.
    if module.params["below"] and not module.params["namespace"]:
        module.fail_json(msg="below is set, so namespace has to be set as well")
    if module.params["limit"] < 1:
        module.fail_json(msg=f"limit is {module.params['limit']}; it is a number from 1")
    if not 1 <= module.params["concurrency"] <= 32:
        module.fail_json(msg=f"concurrency is {module.params['concurrency']}; it is a number from 1 to 32")
    run_module(module, lambda client: run(module, client), pool_size=module.params["concurrency"])


if __name__ == "__main__":
    main()
