#!/usr/bin/python

# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: kestra_trigger
short_description: Manage triggers of Kestra flows and their backfills
version_added: 0.2.0
description:
  - Enables, disables and unlocks a trigger in the scheduler. The flow gets no new revision.
  - Starts, pauses, resumes and removes a backfill. A backfill runs a schedule for a period in the past.
author:
  - devorch maintainers (@devorch)
extends_documentation_fragment:
  - devorch.orchestration.kestra
  - devorch.orchestration.kestra.attributes
  - devorch.orchestration.kestra.actiongroup
options:
  namespace:
    description: Namespace of the flow.
    type: str
    required: true
  flow:
    description: Id of the flow.
    type: str
    required: true
  id:
    description: Id of the trigger in the flow.
    type: str
    required: true
  enabled:
    description:
      - Whether the scheduler evaluates the trigger. If not set, this is not changed.
      - If the text of the flow has C(disabled) for this trigger, the next revision of the flow applies it again.
    type: bool
  unlocked:
    description:
      - Whether to unlock a locked trigger, for example if its execution was lost.
      - A schedule is locked while its execution runs. If you unlock it then, two executions can run at the same time.
    type: bool
    default: false
  backfill:
    description: Backfill of the trigger. If not set, it is not changed.
    type: dict
    suboptions:
      state:
        description:
          - V(running) starts a backfill, or resumes a paused one.
          - V(paused) pauses the backfill.
          - V(absent) removes the backfill. Executions that it has already started continue.
        type: str
        choices: [running, paused, absent]
        default: running
      start:
        description:
          - Start of the period to backfill, in ISO 8601. Without an offset it is in UTC.
          - Required for a new backfill.
        type: str
      end:
        description: End of the period to backfill, in ISO 8601. If not set, it is the present time.
        type: str
      labels:
        description: Labels of the executions that the backfill starts.
        type: dict
        default: {}
      inputs:
        description:
          - Inputs of the executions that the backfill starts. They are kept out of the host's log and of the result.
        type: dict
        default: {}
  wait_timeout:
    description:
      - Seconds to wait for the scheduler. It applies changes, and learns of a new flow, with a short delay.
    type: int
    default: 60
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: partial
    details:
      - A finished backfill leaves no trace. V(running) starts it again.
notes:
  - The scheduler does not manage triggers of the types C(Webhook) and C(Flow). To disable such a trigger, set
    C(disabled) in its flow.
  - If a backfill exists, and O(backfill.start), O(backfill.end), O(backfill.labels) or O(backfill.inputs) are set but
    differ from it, the module fails. Remove that backfill first.
seealso:
  - module: devorch.orchestration.kestra_flows
"""

EXAMPLES = r"""
- name: Disable a schedule
  devorch.orchestration.kestra_trigger:
    namespace: default
    flow: nightly
    id: every-night
    enabled: false
    username: admin@example.org
    password: "{{ kestra_password }}"

- name: Enable the schedule, and unlock it if it is locked
  devorch.orchestration.kestra_trigger:
    namespace: default
    flow: nightly
    id: every-night
    enabled: true
    unlocked: true
    username: admin@example.org
    password: "{{ kestra_password }}"

- name: Start a backfill for one week
  devorch.orchestration.kestra_trigger:
    namespace: default
    flow: nightly
    id: every-night
    backfill:
      start: "2026-11-01T00:00:00Z"
      end: "2026-11-07T23:59:59Z"
      labels:
        reason: outage
    username: admin@example.org
    password: "{{ kestra_password }}"

- name: Remove the backfill
  devorch.orchestration.kestra_trigger:
    namespace: default
    flow: nightly
    id: every-night
    backfill:
      state: absent
    username: admin@example.org
    password: "{{ kestra_password }}"
"""

RETURN = r"""
trigger:
  description: The trigger after the run. In check mode, as it was before.
  returned: always
  type: dict
  contains:
    enabled:
      description: Whether the scheduler evaluates the trigger.
      type: bool
      returned: always
    locked:
      description: Whether the trigger waits for its execution or its evaluation.
      type: bool
      returned: always
    next_date:
      description: Date of the next evaluation.
      type: str
      returned: always
    last_date:
      description: Date at which the trigger last started an execution.
      type: str
      returned: always
    execution_id:
      description: Id of the execution that the trigger waits for.
      type: str
      returned: always
    backfill:
      description: Backfill with C(start), C(end), C(current_date), C(paused), C(labels) and the ids of its C(inputs).
      type: dict
      returned: always
  sample:
    enabled: true
    locked: false
    next_date: "2026-11-25T02:00:00Z"
    last_date: "2026-11-24T02:00:00Z"
    execution_id: null
    backfill: null
steps:
  description: The steps that were done, in order. In check mode, the steps that would be done.
  returned: always
  type: list
  elements: str
  sample: [unlock, enable]
diff:
  description: The part of the trigger that the module can change, before and after.
  returned: always
  type: dict
  sample:
    before: {"enabled": false, "locked": false, "backfill": null}
    after: {"enabled": true, "locked": false, "backfill": null}
msg:
  description: Summary of the result.
  returned: always
  type: str
  sample: "Trigger default/nightly/every-night: enable"
"""

from functools import partial
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.client import KestraClient
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.executions import label_text, moment
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.module import (
    REQUIRED_TOGETHER,
    connection_argument_spec,
    only_for_the_server,
    run_module,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.triggers import (
    UNSCHEDULED,
    Triggers,
    WantedTrigger,
    make_plan,
    reached,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.module import Failure, texts_in


def wanted_from(params: dict[str, Any], inputs: dict[str, Any]) -> WantedTrigger:
    """Return what the options ask for; C(inputs) are those of the backfill."""
    backfill = params["backfill"]
    if backfill is None:
        return WantedTrigger(params["enabled"], params["unlocked"])
    return WantedTrigger(
        params["enabled"],
        params["unlocked"],
        backfill["state"],
        backfill["start"],
        backfill["end"],
        {str(key): label_text(value) for key, value in backfill["labels"].items()},
        inputs,
    )


def run(module: AnsibleModule, client: KestraClient, inputs: dict[str, Any]) -> dict[str, Any]:
    """Return the module's result."""
    client.http.hide(texts_in(inputs))
    params = module.params
    where = (params["namespace"], params["flow"], params["id"])
    name = "/".join(where)
    nothing: dict[str, Any] = {"trigger": None, "steps": [], "diff": {"before": {}, "after": {}}}
    triggers = Triggers(client)
    definition, known = triggers.definition(*where)
    if definition is None:
        have = f"it has {', '.join(known)}" if known else "the flow does not exist, or has no triggers"
        raise Failure(f"Flow {where[0]}/{where[1]} has no trigger {where[2]}: {have}.", **nothing)
    kind = str(definition.get("type"))
    if kind in UNSCHEDULED:
        raise Failure(
            f"Trigger {name} is a {kind}: the scheduler does not handle it, so it has no state to "
            "change. Write disabled: true into the flow to switch it off.",
            **nothing,
        )
    trigger = triggers.wait(*where, params["wait_timeout"], lambda found: True)
    if trigger is None:
        raise Failure(
            f"The scheduler does not know trigger {name} after {params['wait_timeout']} seconds. Is the flow disabled, "
            "and does the scheduler run? Raise wait_timeout to wait longer.",
            **nothing,
        )
    # Later versions copy what the text says into the state, which then counts.
    off = bool(definition.get("disabled")) and not client.server_info().has_filters
    if off and params["enabled"]:
        raise Failure(f"Trigger {name} is disabled in the text of its flow. Remove disabled: true there.", **nothing)
    wanted = wanted_from(params, inputs)
    plan = make_plan(trigger, wanted)
    keys = {"steps": list(plan.steps), "diff": {"before": plan.before, "after": plan.after}}
    if plan.problem:
        same = {"steps": [], "diff": {"before": plan.before, "after": plan.before}}
        raise Failure(f"Could not change trigger {name}: {plan.problem}.", **{"trigger": trigger.as_result(), **same})
    if plan.steps and not module.check_mode:
        for step in plan.steps:
            triggers.apply(*where, step, trigger, wanted)
            # Before 2.0 a change is only accepted, and seen a moment later.
            shows = partial(reached, step, trigger)
            trigger = triggers.wait(*where, params["wait_timeout"], shows) or trigger
    done = ", ".join(plan.steps) if plan.steps else "nothing to do"
    shown = trigger.as_result()
    shown["enabled"] = shown["enabled"] and not off
    return {"changed": bool(plan.steps), "msg": f"Trigger {name}: {done}", "trigger": shown, **keys}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **connection_argument_spec(),
            "namespace": {"type": "str", "required": True},
            "flow": {"type": "str", "required": True},
            "id": {"type": "str", "required": True},
            "enabled": {"type": "bool"},
            "unlocked": {"type": "bool", "default": False},
            "backfill": {
                "type": "dict",
                "options": {
                    "state": {"type": "str", "choices": ["running", "paused", "absent"], "default": "running"},
                    "start": {"type": "str"},
                    "end": {"type": "str"},
                    "labels": {"type": "dict", "default": {}},
                    "inputs": {"type": "dict", "default": {}, "no_log": True},
                },
            },
            "wait_timeout": {"type": "int", "default": 60},
        },
        required_together=REQUIRED_TOGETHER,
        supports_check_mode=True,
    )
    if module.params["wait_timeout"] < 0:
        module.fail_json(msg=f"wait_timeout is {module.params['wait_timeout']}; it is a number of seconds from 0")
    for name in ("start", "end"):
        given = (module.params["backfill"] or {}).get(name)
        if given is not None:
            try:
                module.params["backfill"][name] = moment(given)
            except ValueError as error:
                module.fail_json(msg=f"backfill.{name} is not an ISO 8601 date: {error}")
    backfill = module.params["backfill"]
    inputs = only_for_the_server(module, "inputs", backfill) if backfill else {}
    run_module(module, lambda client: run(module, client, inputs))


if __name__ == "__main__":
    main()
