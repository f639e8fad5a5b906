#!/usr/bin/python

# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: kestra_executions
short_description: Purge, kill, restart or replay executions of Kestra flows
version_added: 0.2.0
description:
  - Searches executions by namespace, flow, state, labels and age, and does the same with each of them.
  - Purges executions with their logs, metrics and files, or their logs alone.
  - The oldest executions come first. No more than O(limit) of them are changed in a run.
  - If the server fails, no further execution is changed. The result lists what was done.
author:
  - devorch maintainers (@devorch)
extends_documentation_fragment:
  - devorch.orchestration.kestra
  - devorch.orchestration.kestra.attributes
  - devorch.orchestration.kestra.actiongroup
options:
  state:
    description:
      - V(purged) deletes executions that have ended, with their logs, metrics and files.
      - V(killed) kills executions that have not ended.
      - V(restarted) runs failed or paused executions again from the task that failed.
      - V(replayed) starts a new execution for each of them, with the same inputs. It does so in every run.
    type: str
    choices: [purged, killed, restarted, replayed]
    required: true
  namespace:
    description: Only executions of flows in exactly this namespace, not below it.
    type: str
  flow:
    description: Only executions of flows with this id.
    type: str
  states:
    description:
      - Only executions in one of these states.
      - If not set, V(purged) takes all that have ended, V(killed) all that have not and are not being killed,
        and V(restarted) and V(replayed) those that failed.
      - States that appeared with Kestra 2.0 or shortly before (V(SUBMITTED), V(BREAKPOINT), V(RESUBMITTED)) must be
        named for servers before 2.0.
      - A state that O(state) cannot be applied to is refused.
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
  older_than:
    description:
      - Only executions created at least this long ago, a duration in ISO 8601 such as V(P30D) or V(PT12H).
      - Cannot be combined with O(until).
    type: str
  since:
    description: Only executions created at this date (in ISO 8601) or later. Without an offset it is in UTC.
    type: str
  until:
    description: Only executions created at this date (in ISO 8601) or earlier. Without an offset it is in UTC.
    type: str
  only_logs:
    description: Whether to purge the logs alone and keep the executions, with O(state=purged).
    type: bool
    default: false
  limit:
    description:
      - Maximum number of executions to change in one run.
      - C(remaining) in RV(summary) is the number of the others that match. A further run continues with them.
    type: int
    default: 1000
  wait_timeout:
    description:
      - Seconds to wait until the killed executions have ended, and the restarted ones are restarted. After that, the
        module fails.
      - With V(0) it does not wait.
    type: int
    default: 60
  concurrency:
    description: Maximum number of simultaneous requests, from 1 to 32.
    type: int
    default: 8
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
    details:
      - RV(executions) lists what is changed.
  idempotent:
    support: partial
    details:
      - V(replayed) starts new executions in every run.
notes:
  - At least one of O(namespace), O(flow), O(labels), O(older_than), O(since) and O(until) is needed.
  - With O(only_logs), the log of each execution is read, to know whether there is one.
  - To purge each night in Kestra itself, set C(kestra_retention) of the role kestra, or load a flow with
    C(io.kestra.plugin.core.execution.PurgeExecutions).
seealso:
  - module: devorch.orchestration.kestra_execution
  - module: devorch.orchestration.kestra_execution_info
"""

EXAMPLES = r"""
- name: Purge successful executions of the last months
  devorch.orchestration.kestra_executions:
    state: purged
    states: [SUCCESS, WARNING]
    older_than: P90D
    username: admin@example.org
    password: "{{ kestra_password }}"

- name: Purge the logs of one flow
  devorch.orchestration.kestra_executions:
    state: purged
    only_logs: true
    namespace: default
    flow: greeting
    older_than: P7D
    username: admin@example.org
    password: "{{ kestra_password }}"

- name: Kill all executions of a flow that have been running for a day
  devorch.orchestration.kestra_executions:
    state: killed
    namespace: default
    flow: long
    older_than: P1D
    username: admin@example.org
    password: "{{ kestra_password }}"

- name: Replay what failed during an outage
  devorch.orchestration.kestra_executions:
    state: replayed
    namespace: default
    since: "2026-11-01T02:00:00Z"
    until: "2026-11-01T03:30:00Z"
    username: admin@example.org
    password: "{{ kestra_password }}"
"""

RETURN = r"""
executions:
  description: The executions that were found, the oldest first, no more than O(limit).
  returned: when the server could be read
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
    state:
      description: State of the execution before the change.
      type: str
      returned: always
    start_date:
      description: Date at which the execution was created.
      type: str
      returned: always
    action:
      description: What was done, the value of O(state), or V(unchanged), V(failed) or V(skipped).
      type: str
      returned: always
    new_id:
      description: Id of the new execution of a replay.
      type: str
      returned: always
    error:
      description: Why it failed or was skipped.
      type: str
      returned: always
  sample:
    - id: 5rHk3qlvcUoE0pojGTX2MW
      namespace: default
      flow: greeting
      state: SUCCESS
      start_date: "2026-08-23T09:28:11.400Z"
      action: purged
      new_id: null
      error: null
summary:
  description: Number of executions by what was done, and of those that match and are over the limit.
  returned: when the server could be read
  type: dict
  sample: {"total": 3, "done": 3, "unchanged": 0, "failed": 0, "skipped": 0, "remaining": 0}
msg:
  description: Summary of the result.
  returned: always
  type: str
  sample: 3 purged
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.devorch.orchestration.plugins.module_utils.dates import UTC
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.bulk import (
    ALLOWED,
    Bulk,
    Outcome,
    before,
    states_for,
    wrong_states,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.client import KestraClient
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.executions import (
    STATES,
    Executions,
    Query,
    label_text,
    moment,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.kv import ValueProblem, seconds
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.module import (
    REQUIRED_TOGETHER,
    connection_argument_spec,
    run_module,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.module import Failure

NARROWING = ("namespace", "flow", "labels", "older_than", "since", "until")


def result_of(action: str, outcomes: Sequence[Outcome], remaining: int) -> dict[str, Any]:
    """Return what the module returns of what became of the executions."""
    actions = [outcome.action for outcome in outcomes]
    summary = {"total": len(actions), "done": actions.count(action)}
    summary.update({name: actions.count(name) for name in ("unchanged", "failed", "skipped")})
    summary["remaining"] = remaining
    return {
        "changed": bool(summary["done"]) or any(outcome.action == "failed" and outcome.sent for outcome in outcomes),
        "executions": [outcome.as_result() for outcome in outcomes],
        "summary": summary,
    }


def summary_text(action: str, summary: dict[str, int]) -> str:
    """Return the counts as a sentence."""
    others = [f"{summary[name]} {name}" for name in ("unchanged", "failed", "skipped", "remaining") if summary[name]]
    return ", ".join([f"{summary['done']} {action}", *others])


def run(module: AnsibleModule, client: KestraClient) -> dict[str, Any]:
    """Search, and unless in check mode, act; return the result."""
    params = module.params
    action: str = params["state"]
    query = Query(
        params["namespace"],
        params["flow"],
        states_for(action, params["states"], client.server_info().is_2),
        {str(key): label_text(value) for key, value in params["labels"].items()},
        params["since"],
        params["until"],
    )
    bulk = Bulk(Executions(client), action, params["only_logs"], params["concurrency"])
    plan = bulk.plan(query, params["limit"])
    if module.check_mode:
        outcomes = [Outcome(item, item.action) for item in plan.items]
    else:
        outcomes = bulk.apply(plan, params["wait_timeout"])
    result = result_of(action, outcomes, plan.remaining)
    text = summary_text(action, result["summary"])
    failed = [outcome for outcome in outcomes if outcome.error]
    if failed:
        lines = "\n".join(f"  {outcome.item.id}: {outcome.error}" for outcome in failed[:10])
        more = f"\n  and {len(failed) - 10} others" if len(failed) > 10 else ""
        raise Failure(f"{len(failed)} executions are not as they should be ({text}):\n{lines}{more}", **result)
    return {**result, "msg": text}


def check(params: dict[str, Any], now: datetime) -> str | None:
    """Read the dates, and return what is wrong with the options, or None."""
    if not any(params[name] for name in NARROWING):
        return f"The search has no limits; set one or more of {', '.join(NARROWING)}"
    action = params["state"]
    wrong = wrong_states(action, params["states"])
    if wrong:
        return (
            f"states has {', '.join(wrong)}, in which no execution can be {action}. With state={action} it can have "
            f"{', '.join(ALLOWED[action])}"
        )
    if params["only_logs"] and action != "purged":
        return "only_logs is for state=purged"
    if params["limit"] < 1:
        return f"limit is {params['limit']}; it is a number from 1"
    if params["wait_timeout"] < 0:
        return f"wait_timeout is {params['wait_timeout']}; it is a number of seconds from 0"
    if not 1 <= params["concurrency"] <= 32:
        return f"concurrency is {params['concurrency']}; it is a number from 1 to 32"
    for name in ("since", "until"):
        if params[name] is not None:
            try:
                params[name] = moment(params[name])
            except ValueError as error:
                return f"{name} is not an ISO 8601 date: {error}"
    if params["older_than"] is not None:
        try:
            params["until"] = before(now, seconds(params["older_than"]))
        except ValueProblem as problem:
            return f"older_than {problem}"
        except OverflowError:
            return f"older_than is {params['older_than']!r}, which is longer ago than dates go"
    return None


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **connection_argument_spec(),
            "state": {"type": "str", "choices": list(ALLOWED), "required": True},
            "namespace": {"type": "str"},
            "flow": {"type": "str"},
            "states": {"type": "list", "elements": "str", "choices": list(STATES), "default": []},
            "labels": {"type": "dict", "default": {}},
            "older_than": {"type": "str"},
            "since": {"type": "str"},
            "until": {"type": "str"},
            "only_logs": {"type": "bool", "default": False},
            "limit": {"type": "int", "default": 1000},
            "wait_timeout": {"type": "int", "default": 60},
            "concurrency": {"type": "int", "default": 8},
        },
        required_together=REQUIRED_TOGETHER,
        mutually_exclusive=[("older_than", "until")],
        supports_check_mode=True,
    )
    problem = check(module.params, datetime.now(UTC))
    if problem:
        module.fail_json(msg=problem)
    run_module(module, lambda client: run(module, client), pool_size=module.params["concurrency"])


if __name__ == "__main__":
    main()
