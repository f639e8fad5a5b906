#!/usr/bin/python

# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: kestra_dashboard
short_description: Manage a custom dashboard of a Kestra server
version_added: 0.2.0
description:
  - Keeps a custom dashboard equal to a text in YAML, or deletes it.
  - The text is checked here and by the server before anything is written, and read back after it.
author:
  - devorch maintainers (@devorch)
extends_documentation_fragment:
  - devorch.orchestration.kestra
  - devorch.orchestration.kestra.attributes
  - devorch.orchestration.kestra.actiongroup
options:
  id:
    description: Id of the dashboard. The text has the same one.
    type: str
    required: true
  state:
    description: Whether the dashboard exists.
    type: str
    choices: [present, absent]
    default: present
  content:
    description:
      - Text of the dashboard, as in Kestra's editor. Required if O(state=present).
      - The number of line breaks at the end is ignored.
    type: str
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
notes:
  - Kestra keeps no revisions of dashboards. If another client saves the dashboard between the module's read and its
    write, that change is overwritten.
  - Servers that give a dashboard an id of their own refuse a text with an id. Kestra 2.0 and 1.3 take it.
requirements:
  - PyYAML
seealso:
  - name: Dashboards
    description: Kestra's documentation of dashboards, with all charts.
    link: https://kestra.io/docs/ui/dashboard
"""

EXAMPLES = r"""
- name: Ensure a dashboard from its file
  devorch.orchestration.kestra_dashboard:
    id: errors
    content: "{{ lookup('ansible.builtin.file', 'errors.yaml') }}"
    username: admin@example.org
    password: "{{ kestra_password }}"

- name: Ensure a dashboard with one chart
  devorch.orchestration.kestra_dashboard:
    id: states
    content: |
      id: states
      title: Executions by state
      timeWindow:
        default: P7D
      charts:
        - id: states
          type: io.kestra.plugin.core.dashboard.chart.Pie
          data:
            type: io.kestra.plugin.core.dashboard.data.Executions
            columns:
              state:
                field: STATE
              total:
                agg: COUNT
    username: admin@example.org
    password: "{{ kestra_password }}"

- name: Delete a dashboard
  devorch.orchestration.kestra_dashboard:
    id: outdated
    state: absent
    username: admin@example.org
    password: "{{ kestra_password }}"
"""

RETURN = r"""
action:
  description: What was done, V(created), V(updated), V(deleted) or V(unchanged).
  returned: success
  type: str
  sample: updated
dashboard:
  description: The dashboard. C(source) is its text, and V(null) if there is no such dashboard any more.
  returned: success
  type: dict
  sample: {"id": "errors", "source": "id: errors\ntitle: Errors\ncharts: []\n"}
problems:
  description: What is wrong with the text. The list is empty if nothing is.
  returned: always
  type: list
  elements: str
  sample: ["it has no id; add the line 'id: errors'"]
msg:
  description: Summary of the result.
  returned: always
  type: str
  sample: Dashboard errors updated
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.client import KestraClient
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.dashboards import (
    Dashboards,
    id_problem,
    text_problems,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows.yaml_nodes import HAS_YAML
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.module import (
    REQUIRED_TOGETHER,
    connection_argument_spec,
    run_module,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.module import Failure


def same(one: str | None, other: str | None) -> bool:
    """Whether two texts differ by line breaks at the end alone, which lookups remove."""
    return one is other or (one is not None and other is not None and one.rstrip("\n") == other.rstrip("\n"))


def refuse(dashboard_id: str, problems: list[str]) -> Failure:
    lines = "; ".join(problems)
    return Failure(f"Dashboard {dashboard_id} cannot be stored, and nothing was written: {lines}", problems=problems)


def run(module: AnsibleModule, client: KestraClient) -> dict[str, Any]:
    """Compare, and unless in check mode, write; return the result."""
    dashboard_id: str = module.params["id"]
    wanted: str | None = module.params["content"]
    dashboards = Dashboards(client)
    before = dashboards.read(dashboard_id)
    if same(before, wanted):
        action, after = "unchanged", before
    else:
        action, after = "deleted" if wanted is None else "created" if before is None else "updated", wanted
    if wanted is not None and action != "unchanged":
        problems = dashboards.refusals(dashboard_id, wanted)
        if problems:
            raise refuse(dashboard_id, [f"Kestra says: {problem}" for problem in problems])
    if action == "deleted" and not module.check_mode:
        dashboards.delete(dashboard_id)
    if wanted is not None and action != "unchanged" and not module.check_mode:
        stored = dashboards.write(dashboard_id, wanted, exists=before is not None)
        if not same(stored, wanted):
            raise Failure(
                f"Dashboard {dashboard_id} was {action}, but Kestra now has another text. Another client may have "
                "saved it at the same time. Run the task again.",
                changed=True,
                problems=[],
            )
    name = f"dashboard {dashboard_id}"
    diff = {"before_header": name, "after_header": name, "before": before or "", "after": after or ""}
    return {
        "changed": action != "unchanged",
        "action": action,
        "dashboard": {"id": dashboard_id, "source": after},
        "problems": [],
        "diff": [] if action == "unchanged" else [diff],
        "msg": f"Dashboard {dashboard_id} {action}",
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **connection_argument_spec(),
            "id": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "content": {"type": "str"},
        },
        required_together=REQUIRED_TOGETHER,
        required_if=[("state", "present", ("content",))],
        supports_check_mode=True,
    )
    if not HAS_YAML:
        module.fail_json(msg=missing_required_lib("PyYAML"))
    options = module.params
    if options["state"] == "absent" and options["content"] is not None:
        module.fail_json(msg="content goes with state 'present', not with 'absent'", problems=[])
    problem = id_problem(options["id"])
    if problem:
        module.fail_json(msg=problem, problems=[])
    problems = [] if options["content"] is None else text_problems(options["content"], options["id"])
    if problems:
        failure = refuse(options["id"], problems)
        module.fail_json(msg=str(failure), **failure.result)
    run_module(module, lambda client: run(module, client), partial=lambda: {"problems": []})


if __name__ == "__main__":
    main()
