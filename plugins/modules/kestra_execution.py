#!/usr/bin/python

# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: kestra_execution
short_description: Run a Kestra flow and act on executions
version_added: 0.2.0
description:
  - Starts a flow with inputs, files and labels, waits for its end, and returns its outputs.
  - When the execution ends badly, the module fails, with the failing tasks and the last lines of their log.
  - Kills, pauses, resumes, restarts, replays, labels and deletes executions. Where there is nothing to do, nothing is
    sent.
author:
  - devorch maintainers (@devorch)
extends_documentation_fragment:
  - devorch.orchestration.kestra
  - devorch.orchestration.kestra.attributes
  - devorch.orchestration.kestra.actiongroup
options:
  state:
    description:
      - V(started) starts the flow O(flow) of O(namespace). All others are about the execution O(id).
      - V(killed) ends an execution. One that has ended is left alone.
      - V(paused) suspends a running execution.
      - V(resumed) goes on with a paused one, with O(inputs) and O(files) for its C(onResume) inputs. One that is not
        paused is left alone.
      - V(restarted) runs a failed or paused execution again from the task that failed. One that runs or succeeded is
        left alone.
      - V(replayed) starts a new execution like an old one, with its inputs. O(inputs) and O(files) replace all of them.
      - V(labeled) sees to it that an ended execution has O(labels), and leaves its other labels alone.
      - V(absent) deletes an execution with its log, metrics and files.
    type: str
    choices: [started, killed, paused, resumed, restarted, replayed, labeled, absent]
    default: started
  namespace:
    description: Namespace of the flow, with O(state=started).
    type: str
  flow:
    description: Id of the flow, with O(state=started).
    type: str
  id:
    description: Id of the execution, with every other O(state).
    type: str
  inputs:
    description:
      - Inputs of the flow by their id. Lists, dictionaries, numbers and booleans are sent as JSON, texts as they are.
      - An input of V(null) is left out, so that its default counts.
    type: dict
    default: {}
  files:
    description: Inputs of type C(FILE) by their id, each the path of a file on the host the module runs on.
    type: dict
    default: {}
  labels:
    description:
      - Labels of the new execution, or those that it is to have with O(state=labeled).
      - Labels that begin with C(system.) are Kestra's own and refused.
    type: dict
    default: {}
  revision:
    description: Revision of the flow, for O(state=started) and O(state=replayed). The newest one if not set.
    type: int
  schedule_date:
    description:
      - When the execution is to begin, an ISO 8601 date, for O(state=started). Without an offset it counts as UTC.
      - Set O(wait=false), or an O(wait_timeout) that reaches beyond that date.
    type: str
  task_run:
    description: Id of the task run to replay from, for O(state=replayed). From the beginning if not set.
    type: str
  once:
    description:
      - Whether an execution of O(flow) that carries all of O(labels) already is returned instead of starting another.
      - One that failed or was killed or cancelled does not count, so that the next run tries again.
      - Two tasks that look at the same moment can both start one.
    type: bool
    default: false
  wait:
    description:
      - Whether to wait until the execution has ended.
      - For O(state=killed) and O(state=paused), until it is killed or paused.
    type: bool
    default: true
  wait_timeout:
    description: Seconds to wait. Then the module fails, and the execution goes on.
    type: int
    default: 600
  success_states:
    description:
      - In which states an execution counts as successful.
      - With V(PAUSED) in it, waiting ends at a pause as well.
    type: list
    elements: str
    choices: [SUCCESS, WARNING, FAILED, KILLED, CANCELLED, SKIPPED, PAUSED]
    default: [SUCCESS, WARNING]
  log_lines:
    description: How many of its last lines of level C(WARN) and C(ERROR) are shown for each task that failed.
    type: int
    default: 20
attributes:
  check_mode:
    support: full
    details:
      - With O(state=started), the server validates the inputs, which creates nothing.
      - What only a real run can tell, such as the id of the new execution, is V(null).
  diff_mode:
    support: full
  idempotent:
    support: partial
    details:
      - O(state=started) starts an execution on every call, unless O(once=true). O(state=replayed) always does.
notes:
  - A flow is never started twice. The request is sent once, with a label of its own, and if its answer is lost, the
    execution is looked for by that label.
  - An execution with a retry that makes a new execution ends in the state C(RETRIED), which is no success. The new one
    has the same RV(execution.original_id).
seealso:
  - module: devorch.orchestration.kestra_execution_info
  - module: devorch.orchestration.kestra_flows
"""

EXAMPLES = r"""
- name: Run a flow and use what it returns
  devorch.orchestration.kestra_execution:
    namespace: default
    flow: greeting
    inputs:
      who: World
      count: 3
    labels:
      started-by: ansible
    username: admin@example.org
    password: "{{ kestra_password }}"
  register: run

- name: Show it
  ansible.builtin.debug:
    msg: "{{ run.outputs.greeting }}, in {{ run.execution.duration }}"

- name: Run a migration once for each release, with a file
  devorch.orchestration.kestra_execution:
    namespace: default
    flow: migrate
    files:
      script: "{{ migration_script }}"
    labels:
      release: "1.4.0"
    once: true
    wait_timeout: 1800
    username: admin@example.org
    password: "{{ kestra_password }}"

- name: Start a flow and do not wait
  devorch.orchestration.kestra_execution:
    namespace: default
    flow: greeting
    wait: false
    username: admin@example.org
    password: "{{ kestra_password }}"
  register: started

- name: Kill it, if it still runs
  devorch.orchestration.kestra_execution:
    id: "{{ started.execution.id }}"
    state: killed
    username: admin@example.org
    password: "{{ kestra_password }}"
"""

RETURN = r"""
execution:
  description: The execution. In check mode, what there is of it already.
  returned: always
  type: dict
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
      description: Its inputs as the server understood them.
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
  sample:
    id: 5rHk3qlvcUoE0pojGTX2MW
    namespace: default
    flow: greeting
    revision: 2
    state: SUCCESS
    start_date: "2026-11-23T09:28:11.400Z"
    end_date: "2026-11-23T09:28:13.100Z"
    duration: PT1.7S
    schedule_date: null
    labels: {"started-by": "ansible", "system.correlationId": "0b8e"}
    inputs: {"who": "World", "count": 3}
    trigger: null
    parent_id: null
    original_id: 5rHk3qlvcUoE0pojGTX2MW
    url: http://localhost:8080/ui/main/executions/default/greeting/5rHk3qlvcUoE0pojGTX2MW
outputs:
  description: Outputs of the flow. Empty as long as the execution has not ended.
  returned: always
  type: dict
  sample: {"greeting": "Hello World"}
failures:
  description: The tasks that failed, were killed or cancelled, if the execution did not end successfully.
  returned: always
  type: list
  elements: dict
  contains:
    task:
      description: Id of the task.
      type: str
      returned: always
    task_run:
      description: Id of the task run.
      type: str
      returned: always
    value:
      description: Value of the iteration, if the task is in a loop.
      type: str
      returned: always
    state:
      description: State of the task run.
      type: str
      returned: always
    attempt:
      description: How often it was tried.
      type: int
      returned: always
    log:
      description: The last lines of level C(WARN) and C(ERROR).
      type: list
      elements: dict
      returned: always
  sample:
    - task: load
      task_run: 2FlAkIGsfZf5LlwOS9ucoL
      value: null
      state: FAILED
      attempt: 3
      log:
        - timestamp: "2026-11-23T09:28:12.900Z"
          level: ERROR
          task: load
          task_run: 2FlAkIGsfZf5LlwOS9ucoL
          attempt: 2
          message: Connection refused
diff:
  description: State and labels of the execution, before and after. For a start, what is started.
  returned: always
  type: dict
  sample: {"before": {"state": "RUNNING"}, "after": {"state": "KILLED"}}
msg:
  description: What happened, in words.
  returned: always
  type: str
  sample: Execution 5rHk3qlvcUoE0pojGTX2MW of default/greeting ended SUCCESS
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.execution_run import Run, problem_in
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.executions import moment
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.module import (
    REQUIRED_TOGETHER,
    connection_argument_spec,
    run_module,
)

STATES = ("started", "killed", "paused", "resumed", "restarted", "replayed", "labeled", "absent")
SUCCESS_STATES = ("SUCCESS", "WARNING", "FAILED", "KILLED", "CANCELLED", "SKIPPED", "PAUSED")


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **connection_argument_spec(),
            "state": {"type": "str", "choices": list(STATES), "default": "started"},
            "namespace": {"type": "str"},
            "flow": {"type": "str"},
            "id": {"type": "str"},
            "inputs": {"type": "dict", "default": {}},
            "files": {"type": "dict", "default": {}},
            "labels": {"type": "dict", "default": {}},
            "revision": {"type": "int"},
            "schedule_date": {"type": "str"},
            "task_run": {"type": "str"},
            "once": {"type": "bool", "default": False},
            "wait": {"type": "bool", "default": True},
            "wait_timeout": {"type": "int", "default": 600},
            "success_states": {
                "type": "list",
                "elements": "str",
                "choices": list(SUCCESS_STATES),
                "default": ["SUCCESS", "WARNING"],
            },
            "log_lines": {"type": "int", "default": 20},
        },
        required_together=REQUIRED_TOGETHER,
        required_if=[
            ("state", "started", ("namespace", "flow")),
            *(("state", state, ("id",)) for state in STATES if state != "started"),
        ],
        supports_check_mode=True,
    )
    problem = problem_in(module.params)
    if problem:
        module.fail_json(msg=problem)
    if module.params["schedule_date"] is not None:
        module.params["schedule_date"] = moment(module.params["schedule_date"])
    run_module(module, lambda client: Run(module, client).run())


if __name__ == "__main__":
    main()
