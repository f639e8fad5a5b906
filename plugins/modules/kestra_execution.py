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
    sends nothing.
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
      - V(paused) pauses a running execution.
      - V(resumed) continues a paused execution, with O(inputs) and O(files) as its C(onResume) inputs. An execution
        that is not paused is not changed.
      - V(restarted) runs a failed or paused execution again from the task that failed. An execution that is running or
        succeeded is not changed.
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
    description: Revision of the flow, for O(state=started) and O(state=replayed). If not set, it is the newest one.
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
      - Unless O(once=true), O(state=started) starts an execution in every run. So does O(state=replayed).
notes:
  - A flow is never started twice. The module sends the request once, with a unique label. If the answer is lost, it
    finds the execution by this label.
  - If a retry creates a new execution, the old one ends in the state C(RETRIED), which does not count as successful.
    The new one has the same RV(execution.original_id).
seealso:
  - module: devorch.orchestration.kestra_execution_info
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
  description: State and labels of the execution before and after. For a start, the flow, its inputs and its labels.
  returned: always
  type: dict
  sample: {"before": {"state": "RUNNING"}, "after": {"state": "KILLED"}}
msg:
  description: Summary of the result.
  returned: always
  type: str
  sample: Execution 5rHk3qlvcUoE0pojGTX2MW of default/greeting ended SUCCESS
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.devorch.orchestration.plugins.module_utils.execution import (
    ENDED,
    SYSTEM_PREFIX,
    UNSUCCESSFUL,
    Executions,
    Query,
    as_result,
    changes_of,
    describe_failures,
    failures,
    form,
    has_ended,
    labels_of,
    moment,
    plan_action,
    state_of,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.http_session import Part
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra_client import KestraClient
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra_module import (
    REQUIRED_TOGETHER,
    Failure,
    connection_argument_spec,
    run_module,
)

STATES = ("started", "killed", "paused", "resumed", "restarted", "replayed", "labeled", "absent")
SUCCESS_STATES = ("SUCCESS", "WARNING", "FAILED", "KILLED", "CANCELLED", "SKIPPED", "PAUSED")
WITH_INPUTS = ("started", "resumed", "replayed")


def result(
    raw: Mapping[str, Any], msg: str, changed: bool, before: Mapping[str, Any], after: Mapping[str, Any], **more: Any
) -> dict[str, Any]:
    """Return the module's result, which has the same keys for every state."""
    return {
        "changed": changed,
        "msg": msg,
        "execution": as_result(raw),
        "outputs": {},
        "failures": [],
        "diff": {"before": dict(before), "after": dict(after)},
        **more,
    }


def named(raw: Mapping[str, Any]) -> str:
    return f"Execution {raw.get('id')} of {raw.get('namespace')}/{raw.get('flowId')}"


class Run:
    """One call of the module."""

    def __init__(self, module: AnsibleModule, client: KestraClient) -> None:
        self.params: dict[str, Any] = module.params
        self.check: bool = module.check_mode
        self.executions = Executions(client)
        self.state: str = module.params["state"]
        self.success: list[str] = module.params["success_states"]
        self.end: float = time.monotonic() + module.params["wait_timeout"]
        self.labels = {str(key): _text(value) for key, value in self.params["labels"].items()}

    def parts(self) -> list[Part]:
        """Return the form with the inputs and the files."""
        files = {}
        for name, path in self.params["files"].items():
            try:
                files[str(name)] = (Path(str(path)).name, Path(str(path)).read_bytes())
            except OSError as error:
                raise Failure(f"Could not read {path!r}, the file of input {name!r}: {error.strerror}.") from error
        return form({str(key): value for key, value in self.params["inputs"].items()}, files)

    def left(self) -> float:
        return max(0.0, self.end - time.monotonic())

    def finish(
        self, raw: dict[str, Any], changed: bool, before: Mapping[str, Any], after: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return the result for an execution that was waited for; raise Failure if it is no success."""
        state = state_of(raw)
        outputs = self.executions.outputs(raw) if state in ENDED else {}
        if state in self.success:
            verb = "ended" if state in ENDED else "is"
            return result(raw, f"{named(raw)} {verb} {state}", changed, before, after, outputs=outputs)
        if state not in ENDED:
            seconds = self.params["wait_timeout"]
            hint = "A paused execution goes on with state=resumed." if state == "PAUSED" else "It goes on."
            text = f"{named(raw)} is still {state} after {seconds} seconds. {hint} Raise wait_timeout to wait longer."
            raise Failure(text, **_failed(result(raw, "", changed, before, after)))
        lines = self.params["log_lines"]
        log = self.executions.log(str(raw["id"]), "WARN")
        found = failures(raw, log, lines)
        text = describe_failures(found, log, lines)
        msg = f"{named(raw)} ended {state}" + (f":\n{text}" if text else ".")
        raise Failure(msg, **_failed(result(raw, "", changed, before, after, outputs=outputs, failures=found)))

    def wait_for_end(self, identifier: str, changes: int = 0) -> dict[str, Any]:
        """Wait until the execution has ended, or is in a state of O(success_states), after so many changes."""
        raw = self.executions.wait(
            identifier, self.left(), lambda it: changes_of(it) > changes and has_ended(it, self.success)
        )
        if raw is None:
            raise Failure(
                f"Execution {identifier} is gone: somebody deleted it.", **_failed(result({}, "", True, {}, {}))
            )
        return raw

    def start(self) -> dict[str, Any]:
        namespace, flow = self.params["namespace"], self.params["flow"]
        if self.params["once"]:
            earlier = self.earlier(namespace, flow)
            if earlier is not None:
                return earlier
        parts = self.parts()
        revision, date = self.params["revision"], self.params["schedule_date"]
        after: dict[str, Any] = {
            "flow": f"{namespace}/{flow}",
            "revision": revision,
            "labels": self.labels,
            # The names alone, since a value may be a secret.
            "inputs": sorted(part.name for part in parts),
        }
        if date is not None:
            after["schedule_date"] = date
        if self.check:
            problems = self.executions.validate(namespace, flow, parts, self.labels, revision)
            if problems:
                listed = "\n".join(f"  {problem}" for problem in problems)
                raise Failure(
                    f"Flow {namespace}/{flow} cannot run with these inputs:\n{listed}",
                    **_failed(result({}, "", False, {}, {})),
                )
            planned = {"namespace": namespace, "flowId": flow, "flowRevision": revision}
            return result(planned, f"Flow {namespace}/{flow} would be started", True, {}, after)
        raw = self.executions.start(namespace, flow, parts, self.labels, revision, date)
        if not self.params["wait"]:
            return result(raw, f"{named(raw)} was started", True, {}, after)
        return self.finish(self.wait_for_end(str(raw["id"])), True, {}, after)

    def earlier(self, namespace: str, flow: str) -> dict[str, Any] | None:
        """Return the result for an execution that carries the labels already, if there is one."""
        found = self.executions.search(Query(namespace, flow, labels=self.labels))
        same = [raw for raw in found if state_of(raw) not in UNSUCCESSFUL]
        if not same:
            return None
        raw = self.existing(str(same[0]["id"]))
        if self.params["wait"] and not self.check and not has_ended(raw, self.success):
            raw = self.wait_for_end(str(raw["id"]))
        if has_ended(raw, self.success):
            return self.finish(raw, False, {}, {})
        return result(raw, f"{named(raw)} carries these labels already, and is {state_of(raw)}", False, {}, {})

    def existing(self, identifier: str) -> dict[str, Any]:
        raw = self.executions.get(identifier)
        if raw is None:
            raise Failure(f"There is no execution {identifier}.", **_failed(result({}, "", False, {}, {})))
        return raw

    def act(self) -> dict[str, Any]:
        """Kill, pause, resume or restart."""
        raw = self.existing(self.params["id"])
        before = state_of(raw)
        plan = plan_action(self.state, before)
        shown = {"state": before}
        if plan.problem:
            raise Failure(
                f"Could not bring execution {raw['id']} to state={self.state}: {plan.problem}.",
                **_failed(result(raw, "", False, shown, shown)),
            )
        if plan.action is None:
            return result(raw, f"{named(raw)} is {before}: nothing to do", False, shown, shown)
        after = {"state": plan.reached}
        parts = self.parts() if self.state == "resumed" else None
        if self.check:
            return result(raw, f"{named(raw)} would be {self.state}", True, shown, after)
        changes = changes_of(raw)
        self.executions.act(str(raw["id"]), plan.action, parts=parts)
        if self.state in ("killed", "paused"):
            return self.finish_stopping(raw, changes, shown, after)
        if self.params["wait"]:
            return self.finish(self.wait_for_end(str(raw["id"]), changes), True, shown, after)
        fresh = self.executions.get(str(raw["id"])) or raw
        return result(fresh, f"{named(fresh)} was {self.state}", True, shown, after)

    def finish_stopping(
        self, raw: dict[str, Any], changes: int, before: Mapping[str, Any], after: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Wait until a killed execution has ended, or a paused one is paused or has ended before that."""
        seconds = self.left() if self.params["wait"] else 0
        also = ["PAUSED"] if self.state == "paused" else []
        fresh = (
            self.executions.wait(str(raw["id"]), seconds, lambda it: changes_of(it) > changes and has_ended(it, also))
            or raw
        )
        if self.params["wait"] and not has_ended(fresh, also):
            seconds = self.params["wait_timeout"]
            text = f"{named(fresh)} is still {state_of(fresh)}, {seconds} seconds after it was to be {self.state}."
            raise Failure(text, **_failed(result(fresh, "", True, before, after)))
        return result(fresh, f"{named(fresh)} was {self.state}", True, before, after)

    def replay(self) -> dict[str, Any]:
        raw = self.existing(self.params["id"])
        parts = self.parts()
        params = {"taskRunId": self.params["task_run"], "revision": self.params["revision"]}
        after = {"flow": f"{raw['namespace']}/{raw['flowId']}", "replay_of": raw["id"]}
        if self.check:
            planned = {"namespace": raw["namespace"], "flowId": raw["flowId"]}
            return result(planned, f"{named(raw)} would be replayed", True, {}, after)
        fresh = self.executions.act(
            str(raw["id"]),
            "replay-with-inputs" if parts else "replay",
            parts=parts or None,
            params={key: value for key, value in params.items() if value is not None},
        )
        if fresh is None or fresh.get("id") in (None, raw["id"]):
            raise Failure(f"{named(raw)} was replayed, but the server does not tell the new execution.", changed=True)
        if not self.params["wait"]:
            return result(fresh, f"{named(fresh)} was started, a replay of {raw['id']}", True, {}, after)
        return self.finish(self.wait_for_end(str(fresh["id"])), True, {}, after)

    def label(self) -> dict[str, Any]:
        raw = self.existing(self.params["id"])
        now = labels_of(raw, system=False)
        wanted = now | self.labels
        before, after = {"labels": now}, {"labels": wanted}
        if wanted == now:
            return result(raw, f"{named(raw)} has these labels", False, before, before)
        if state_of(raw) not in ENDED:
            raise Failure(
                f"Could not label execution {raw['id']}: it is {state_of(raw)}, and only an ended execution takes "
                "labels. Give them with state=started.",
                **_failed(result(raw, "", False, before, before)),
            )
        if not self.check:
            self.executions.set_labels(str(raw["id"]), wanted)
            fresh = self.executions.wait(str(raw["id"]), self.left(), lambda it: labels_of(it, system=False) == wanted)
            raw = fresh or raw
        return result({**raw, "labels": {**labels_of(raw), **wanted}}, f"{named(raw)} was labeled", True, before, after)

    def remove(self) -> dict[str, Any]:
        identifier = self.params["id"]
        raw = self.executions.get(identifier)
        if raw is None:
            return result({}, f"There is no execution {identifier}", False, {}, {})
        if not self.check:
            self.executions.delete(identifier)
        return result(raw, f"{named(raw)} was deleted", True, {"state": state_of(raw)}, {})

    def run(self) -> dict[str, Any]:
        if self.state == "started":
            return self.start()
        if self.state == "replayed":
            return self.replay()
        if self.state == "labeled":
            return self.label()
        if self.state == "absent":
            return self.remove()
        return self.act()


def _text(value: Any) -> str:
    """Return a label's value as text; YAML's true is not Python's True."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _failed(keys: dict[str, Any]) -> dict[str, Any]:
    """Return the keys of a result for a Failure, which brings its own message."""
    return {key: value for key, value in keys.items() if key != "msg"}


def problem_in(params: Mapping[str, Any]) -> str | None:
    """Return what is wrong with the options, beyond what Ansible finds."""
    state = params["state"]
    if params["wait_timeout"] < 0:
        return f"wait_timeout is {params['wait_timeout']}; it is a number of seconds from 0"
    if params["log_lines"] < 0:
        return f"log_lines is {params['log_lines']}; it is a number from 0"
    for key, value in params["labels"].items():
        if str(key).startswith(SYSTEM_PREFIX):
            return f"labels has {key}; labels that begin with {SYSTEM_PREFIX} are Kestra's own"
        if value is None or not _text(value).strip():
            return f"the label {key} is empty"
    if params["once"] and (state != "started" or not params["labels"]):
        return "once is for state=started, and tells executions apart by labels: set labels"
    if (params["inputs"] or params["files"]) and state not in WITH_INPUTS:
        return f"inputs and files are for state={', '.join(WITH_INPUTS)}"
    if state == "labeled" and not params["labels"]:
        return "state=labeled needs labels"
    if params["schedule_date"] is not None:
        try:
            moment(params["schedule_date"])
        except ValueError as error:
            return f"schedule_date is no ISO 8601 date: {error}"
    return None


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
