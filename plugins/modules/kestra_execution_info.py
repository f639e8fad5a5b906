#!/usr/bin/python

# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: kestra_execution_info
short_description: Find executions of Kestra's flows, with their logs and outputs
version_added: 0.2.0
description:
  - Returns one execution by its id, or the newest ones that fit.
  - Brings their logs and outputs if asked to.
author:
  - devorch maintainers (@devorch)
extends_documentation_fragment:
  - devorch.orchestration.kestra
  - devorch.orchestration.kestra.attributes
  - devorch.orchestration.kestra.actiongroup
options:
  id:
    description:
      - Id of one execution. The result is an empty list if there is none.
      - Cannot be used together with the options that search.
    type: str
  namespace:
    description: Only executions of flows of exactly this namespace.
    type: str
  flow:
    description: Only executions of flows with this id.
    type: str
  states:
    description: Only executions in one of these states.
    type: list
    elements: str
    choices:
      - CREATED
      - SUBMITTED
      - QUEUED
      - RUNNING
      - PAUSED
      - BREAKPOINT
      - RESTARTED
      - RETRYING
      - KILLING
      - SUCCESS
      - WARNING
      - FAILED
      - KILLED
      - CANCELLED
      - SKIPPED
      - RETRIED
      - RESUBMITTED
    default: []
  labels:
    description: Only executions that have all of these labels.
    type: dict
    default: {}
  since:
    description: Only executions created at this moment or later, an ISO 8601 date. Without an offset it counts as UTC.
    type: str
  until:
    description: Only executions created at this moment or earlier, an ISO 8601 date.
    type: str
  limit:
    description: How many executions to return at most, the newest ones.
    type: int
    default: 100
  logs:
    description: Whether to return the log of each execution.
    type: bool
    default: false
  level:
    description: The lowest level of the lines to return, with O(logs=true).
    type: str
    choices: [TRACE, DEBUG, INFO, WARN, ERROR]
    default: INFO
  outputs:
    description: Whether to return the outputs of each execution, those of the flow and those of its tasks.
    type: bool
    default: false
attributes:
  check_mode:
    support: full
    details:
      - Reads only.
  diff_mode:
    support: none
    details:
      - Nothing changes.
  idempotent:
    support: full
notes:
  - O(logs) and O(outputs) take some requests for each execution, in 2.x one for each task that has outputs as well.
seealso:
  - module: devorch.orchestration.kestra_execution
"""

EXAMPLES = r"""
- name: List what failed in a namespace
  devorch.orchestration.kestra_execution_info:
    namespace: default
    states: [FAILED]
    limit: 10
    logs: true
    level: ERROR
    username: admin@example.org
    password: "{{ kestra_password }}"
  register: failed

- name: Show the flows and what they said
  ansible.builtin.debug:
    msg: "{{ item.flow }}: {{ item.log | map(attribute='message') | join(', ') }}"
  loop: "{{ failed.executions }}"
  loop_control:
    label: "{{ item.id }}"

- name: Read the outputs of one execution
  devorch.orchestration.kestra_execution_info:
    id: "{{ execution_id }}"
    outputs: true
    username: admin@example.org
    password: "{{ kestra_password }}"
  register: one
"""

RETURN = r"""
executions:
  description: The executions, newest first.
  returned: always
  type: list
  elements: dict
  contains:
    id:
      description: Its id.
      type: str
      returned: always
    namespace:
      description: Namespace of the flow.
      type: str
      returned: always
    flow:
      description: Id of the flow.
      type: str
      returned: always
    revision:
      description: Revision of the flow.
      type: int
      returned: always
    state:
      description: Its state, such as V(SUCCESS).
      type: str
      returned: always
    start_date:
      description: When it was created.
      type: str
      returned: always
    end_date:
      description: When it ended.
      type: str
      returned: always
    duration:
      description: How long it took, an ISO 8601 duration.
      type: str
      returned: always
    schedule_date:
      description: When it is to begin, if later.
      type: str
      returned: always
    labels:
      description: Its labels, with those of the flow and the system.
      type: dict
      returned: always
    inputs:
      description: Its inputs.
      type: dict
      returned: always
    trigger:
      description: Id of the trigger that started it, if any.
      type: str
      returned: always
    parent_id:
      description: The execution that it was made from, if any.
      type: str
      returned: always
    original_id:
      description: The first of the executions that were made from one another.
      type: str
      returned: always
    url:
      description: Its page in Kestra's user interface, as the server tells it.
      type: str
      returned: always
    log:
      description: Lines of its log, in the order of time.
      type: list
      elements: dict
      returned: O(logs=true)
    outputs:
      description: Outputs of the flow.
      type: dict
      returned: O(outputs=true)
    task_outputs:
      description: Outputs of each task run that has any, with C(task), C(task_run), C(value) and C(outputs).
      type: list
      elements: dict
      returned: O(outputs=true)
  sample:
    - id: 5rHk3qlvcUoE0pojGTX2MW
      namespace: default
      flow: greeting
      revision: 2
      state: SUCCESS
      start_date: "2026-11-23T09:28:11.400Z"
      end_date: "2026-11-23T09:28:13.100Z"
      duration: PT1.7S
      schedule_date: null
      labels: {"system.correlationId": "5rHk3qlvcUoE0pojGTX2MW"}
      inputs: {"who": "World"}
      trigger: null
      parent_id: null
      original_id: 5rHk3qlvcUoE0pojGTX2MW
      url: http://localhost:8080/ui/main/executions/default/greeting/5rHk3qlvcUoE0pojGTX2MW
msg:
  description: How many were found, in words.
  returned: always
  type: str
  sample: 3 executions
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.client import KestraClient
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.executions import (
    LEVELS,
    STATES,
    Executions,
    Query,
    as_result,
    log_line,
    moment,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.module import (
    REQUIRED_TOGETHER,
    connection_argument_spec,
    run_module,
)

SEARCHING = ("namespace", "flow", "since", "until")


def run(module: AnsibleModule, client: KestraClient) -> dict[str, Any]:
    """Return the module's result."""
    params = module.params
    executions = Executions(client)
    if params["id"] is not None:
        one = executions.get(params["id"])
        found = [] if one is None else [one]
    else:
        query = Query(
            params["namespace"],
            params["flow"],
            params["states"],
            {str(key): str(value) for key, value in params["labels"].items()},
            params["since"],
            params["until"],
        )
        found = executions.search(query, params["limit"])
    shown = []
    for raw in found:
        entry = as_result(raw)
        if params["logs"]:
            entry["log"] = [log_line(line) for line in executions.log(str(raw["id"]), params["level"])]
        if params["outputs"]:
            entry["outputs"] = executions.outputs(raw)
            entry["task_outputs"] = executions.task_outputs(raw)
        shown.append(entry)
    count = "1 execution" if len(shown) == 1 else f"{len(shown)} executions"
    return {"changed": False, "msg": count, "executions": shown}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **connection_argument_spec(),
            "id": {"type": "str"},
            "namespace": {"type": "str"},
            "flow": {"type": "str"},
            "states": {"type": "list", "elements": "str", "choices": list(STATES), "default": []},
            "labels": {"type": "dict", "default": {}},
            "since": {"type": "str"},
            "until": {"type": "str"},
            "limit": {"type": "int", "default": 100},
            "logs": {"type": "bool", "default": False},
            "level": {"type": "str", "choices": list(LEVELS), "default": "INFO"},
            "outputs": {"type": "bool", "default": False},
        },
        required_together=REQUIRED_TOGETHER,
        mutually_exclusive=[("id", name) for name in SEARCHING],
        supports_check_mode=True,
    )
    params = module.params
    if params["limit"] < 1:
        module.fail_json(msg=f"limit is {params['limit']}; it is a number from 1")
    if params["id"] is not None and (params["states"] or params["labels"]):
        module.fail_json(msg="id names one execution; states and labels are for a search")
    for name in ("since", "until"):
        if params[name] is not None:
            try:
                params[name] = moment(params[name])
            except ValueError as error:
                module.fail_json(msg=f"{name} is not an ISO 8601 date: {error}")
    run_module(module, lambda client: run(module, client))


if __name__ == "__main__":
    main()
