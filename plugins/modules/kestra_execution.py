#!/usr/bin/python

# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: kestra_execution
short_description: Run Kestra flows and manage their executions
version_added: 0.2.0
description:
  - Starts a flow with inputs, files and labels, waits until the execution has ended, and returns its outputs.
  - If the execution is not successful, the module fails and reports the failed tasks with the last lines of their log.
  - Kills, pauses, resumes, restarts, replays, labels and deletes executions. If there is nothing to do, the module
    changes nothing.
author:
  - devorch maintainers (@devorch)
extends_documentation_fragment:
  - devorch.orchestration.kestra
  - devorch.orchestration.kestra.attributes
  - devorch.orchestration.kestra.actiongroup
options:
  state:
    description:
      - V(started) starts the flow O(flow) of O(namespace). All other states apply to the execution O(id).
      - V(killed) ends an execution. An execution that has ended is not changed.
      - V(paused) pauses a running execution. An execution that is neither running nor paused is refused.
      - V(resumed) continues a paused execution, with O(inputs) and O(files) as its C(onResume) inputs. An execution
        that is not paused is not changed.
      - V(restarted) runs a failed or paused execution again from the task that failed. An execution that is running or
        succeeded is not changed. A killed or cancelled execution is refused. Use V(replayed) for it.
      - V(replayed) starts a new execution with the inputs of an old one. O(inputs) and O(files) replace all of them.
      - V(labeled) adds O(labels) to an execution that has ended. Its other labels are not changed.
      - V(absent) deletes an execution with its log, metrics and files.
    type: str
    choices: [started, killed, paused, resumed, restarted, replayed, labeled, absent]
    default: started
  namespace:
    description: Namespace of the flow, for O(state=started).
    type: str
  flow:
    description: Id of the flow, for O(state=started).
    type: str
  id:
    description: Id of the execution, for every other O(state).
    type: str
  inputs:
    description:
      - Inputs of the flow, by id. Lists, dictionaries, numbers and booleans are sent as JSON, and strings as they are.
      - If an input is V(null), it is not sent, and its default is used.
      - They are kept out of the host's log. The result shows them in RV(execution.inputs).
    type: dict
    default: {}
  secret_inputs:
    description:
      - More inputs, whose values are masked everywhere, also where the flow writes them to its log or its outputs.
      - A short value is masked wherever it occurs by chance.
    type: dict
    default: {}
  files:
    description: Inputs of type C(FILE), by id. Each value is the path of a file on the host the module runs on.
    type: dict
    default: {}
  labels:
    description:
      - Labels of the new execution, or the labels to add with O(state=labeled).
      - Labels that begin with C(system.) are reserved for Kestra and refused.
    type: dict
    default: {}
  revision:
    description:
      - Revision of the flow, for O(state=started) and O(state=replayed).
      - If not set, O(state=started) uses the newest revision, and O(state=replayed) uses that of the old execution.
    type: int
  schedule_date:
    description:
      - Date at which the execution begins, in ISO 8601, for O(state=started). Without an offset it is in UTC.
      - Also set O(wait=false), or an O(wait_timeout) that ends after this date.
    type: str
  task_run:
    description: Id of the task run to replay from, for O(state=replayed). If not set, the whole execution is replayed.
    type: str
  once:
    description:
      - Whether to return an existing execution of O(flow) that has all of O(labels), instead of starting a new one.
        Requires O(labels).
      - Executions that failed or were killed or cancelled do not count. The next run tries again.
      - Two tasks that run at the same time can both start an execution.
    type: bool
    default: false
  wait:
    description:
      - Whether to wait until the execution has ended.
      - With O(state=killed) and O(state=paused), the module waits until the execution is killed or paused.
    type: bool
    default: true
  wait_timeout:
    description: Seconds to wait. After that the module fails, and the execution continues.
    type: int
    default: 600
  success_states:
    description:
      - States in which an execution counts as successful.
      - If V(PAUSED) is one of them, the module also stops waiting when the execution is paused.
    type: list
    elements: str
    choices: [SUCCESS, WARNING, FAILED, KILLED, CANCELLED, SKIPPED, PAUSED]
    default: [SUCCESS, WARNING]
  log_lines:
    description: Number of log lines of level C(WARN) and C(ERROR) to report per failed task. They are the last ones.
    type: int
    default: 20
attributes:
  check_mode:
    support: full
    details:
      - With O(state=started), the server validates the inputs. This creates nothing.
      - Values that only a real run produces, such as the id of the new execution, are V(null).
  diff_mode:
    support: full
  idempotent:
    support: partial
    details:
      - O(state=started) starts an execution in every run, unless O(once=true). O(state=replayed) always starts one.
notes:
  - A flow is never started twice. The module sends the request once, with a unique label. If the answer is lost, it
    finds the execution by this label.
  - If a retry creates a new execution, the old one ends in the state C(RETRIED), which does not count as successful.
    The new one has the same RV(execution.original_id).
seealso:
  - module: devorch.orchestration.kestra_execution_info
  - module: devorch.orchestration.kestra_executions
  - module: devorch.orchestration.kestra_flows
"""

EXAMPLES = r"""
- name: Run a flow
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

- name: Report the outputs of the flow
  ansible.builtin.debug:
    msg: "{{ run.outputs.greeting }}, in {{ run.execution.duration }}"

- name: Run a migration once per release, with a file
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

- name: Start a flow without waiting for its end
  devorch.orchestration.kestra_execution:
    namespace: default
    flow: greeting
    wait: false
    username: admin@example.org
    password: "{{ kestra_password }}"
  register: started

- name: Kill the execution if it is still running
  devorch.orchestration.kestra_execution:
    id: "{{ started.execution.id }}"
    state: killed
    username: admin@example.org
    password: "{{ kestra_password }}"
"""

RETURN = r"""
execution:
  description: The execution. In check mode, only the keys that are known already have a value.
  returned: always
  type: dict
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
      description: Inputs of the execution, as the server parsed them.
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
  description: Outputs of the flow. Empty until the execution has ended.
  returned: always
  type: dict
  sample: {"greeting": "Hello World"}
failures:
  description: Tasks that failed or were killed or cancelled, if the execution was not successful.
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
      description: Value of the loop iteration, if the task is in a loop.
      type: str
      returned: always
    state:
      description: State of the task run.
      type: str
      returned: always
    attempt:
      description: Number of attempts.
      type: int
      returned: always
    log:
      description: Last log lines of level C(WARN) and C(ERROR).
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
  description:
    - State and labels of the execution before and after. For a start, the flow, the names of its inputs and its labels.
  returned: always
  type: dict
  sample: {"before": {"state": "RUNNING"}, "after": {"state": "KILLED"}}
msg:
  description: Summary of the result.
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
    only_for_the_server,
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
            "inputs": {"type": "dict", "default": {}, "no_log": True},
            "secret_inputs": {"type": "dict", "default": {}, "no_log": True},
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
    inputs = {**only_for_the_server(module, "inputs"), **module.params["secret_inputs"]}
    problem = problem_in(module.params, inputs)
    if problem:
        module.fail_json(msg=problem)
    if module.params["schedule_date"] is not None:
        module.params["schedule_date"] = moment(module.params["schedule_date"])
    run_module(module, lambda client: Run(module, client, inputs).run())


if __name__ == "__main__":
    main()
