#!/usr/bin/python

# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: kestra_execution_info
short_description: Gather information about executions of Kestra flows
version_added: 0.2.0
description:
  - Returns one execution by its id, or the newest executions that match.
  - Returns their logs and outputs if O(logs) and O(outputs) are set.
author:
  - devorch maintainers (@devorch)
extends_documentation_fragment:
  - devorch.orchestration.kestra
  - devorch.orchestration.kestra.attributes
  - devorch.orchestration.kestra.actiongroup
options:
  id:
    description:
      - Id of one execution. If it does not exist, the result is an empty list.
      - Cannot be combined with the options that search.
    type: str
  namespace:
    description: Only executions of flows in exactly this namespace, not below it.
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
    description: Only executions created at this date (in ISO 8601) or later. Without an offset it is in UTC.
    type: str
  until:
    description: Only executions created at this date (in ISO 8601) or earlier. Without an offset it is in UTC.
    type: str
  limit:
    description: Maximum number of executions to return. They are the newest ones.
    type: int
    default: 100
  logs:
    description: Whether to return the log of each execution.
    type: bool
    default: false
  level:
    description: Lowest level of the log lines to return, with O(logs=true).
    type: str
    choices: [TRACE, DEBUG, INFO, WARN, ERROR]
    default: INFO
  outputs:
    description: Whether to return the outputs of the flow and of its tasks for each execution.
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
notes:
  - O(logs) and O(outputs) need additional requests per execution. With Kestra 2.x, O(outputs) also needs one request
    per task that has outputs.
seealso:
  - module: devorch.orchestration.kestra_execution
  - module: devorch.orchestration.kestra_executions
"""

EXAMPLES = r"""
- name: Find the failed executions of a namespace
  devorch.orchestration.kestra_execution_info:
    namespace: default
    states: [FAILED]
    limit: 10
    logs: true
    level: ERROR
    username: admin@example.org
    password: "{{ kestra_password }}"
  register: failed

- name: Report the flows and the errors in their logs
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
      description: Id of the execution.
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
      description: State of the execution, such as V(SUCCESS).
      type: str
      returned: always
    start_date:
      description: Date at which the execution was created.
      type: str
      returned: always
    end_date:
      description: Date at which the execution ended.
      type: str
      returned: always
    duration:
      description: Duration of the execution, in ISO 8601.
      type: str
      returned: always
    schedule_date:
      description: Date at which the execution is scheduled to begin, if any.
      type: str
      returned: always
    labels:
      description: Labels of the execution, including those of the flow and the system.
      type: dict
      returned: always
    inputs:
      description: Inputs of the execution.
      type: dict
      returned: always
    trigger:
      description: Id of the trigger that started the execution, if any.
      type: str
      returned: always
    parent_id:
      description: Id of the execution that this one was created from, if any.
      type: str
      returned: always
    original_id:
      description: Id of the first execution in a chain of executions that were created from one another.
      type: str
      returned: always
    url:
      description: URL of the execution in Kestra's user interface, as the server reports it.
      type: str
      returned: always
    log:
      description: Log lines of the execution, the oldest first.
      type: list
      elements: dict
      returned: when O(logs=true)
    outputs:
      description: Outputs of the flow.
      type: dict
      returned: when O(outputs=true)
    task_outputs:
      description: Outputs of the task runs that have any, with C(task), C(task_run), C(value) and C(outputs).
      type: list
      elements: dict
      returned: when O(outputs=true)
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
  description: Number of executions that were found.
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
