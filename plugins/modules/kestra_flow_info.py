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
  - With O(source), O(revisions), O(activity) and O(dependencies), also returns its text, its revisions, its last
    execution, its triggers with the date of their next run, and the flows that it depends on.
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
  dependencies:
    description:
      - Whether to return which flows start each flow, and which it starts, as subflows or by their triggers. This needs
        one more request per flow.
      - The server computes them some moments after a flow was saved.
    type: bool
    default: false
  target_version:
    description:
      - A version of Kestra, such as V(2.0.5). Returns what each flow has that this version lacks, by the rules that
        M(devorch.orchestration.kestra_flows) has for it. Versions before 2.0 have no rules.
      - The server is not asked, since it runs another version. What its plugins lack is not found.
      - This needs up to one more request per flow, and PyYAML.
    type: str
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

- name: Find the flows that an upgrade to Kestra 2.0 would break
  devorch.orchestration.kestra_flow_info:
    target_version: "2.0"
    dependencies: true
    username: admin@example.org
    password: "{{ kestra_password }}"
  register: before_upgrade

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
    started_by:
      description: Flows that start this one, with C(namespace), C(id) and C(relation).
      type: list
      elements: dict
      returned: when O(dependencies=true)
    starts:
      description: Flows that this one starts, with C(namespace), C(id) and C(relation).
      type: list
      elements: dict
      returned: when O(dependencies=true)
    findings:
      description:
        - What the flow has that O(target_version) lacks, with C(line) and C(message). If C(refused) is V(true), that
          version does not take the flow.
      type: list
      elements: dict
      returned: when O(target_version) is set
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
problems:
  description: All C(findings) of all flows, a line each.
  returned: always
  type: list
  elements: str
  sample: ["company.team/greeting:4: pluginDefaults was removed in Kestra 2.0; write the values into each task"]
msg:
  description: Number of flows that were found.
  returned: always
  type: str
  sample: 1 flow
"""

import json
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.client import KestraClient
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows.info import (
    Query,
    as_result,
    find_flows,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows.yaml_nodes import HAS_YAML
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.module import (
    REQUIRED_TOGETHER,
    connection_argument_spec,
    run_module,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.versions import numbers


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
    target = numbers(options["target_version"]) if options["target_version"] else None
    extras = {name: options[name] for name in ("revisions", "activity", "dependencies")}
    extras["source"] = options["source"] or target is not None
    found = find_flows(client, query, options["limit"], options["concurrency"], **extras)
    flows = [as_result(each, options["source"], target) for each in found]
    problems = [problem_text(flow, finding) for flow in flows for finding in flow.get("findings", [])]
    text = "1 flow" if len(flows) == 1 else f"{len(flows)} flows"
    if target is not None:
        affected = sum(1 for flow in flows if flow["findings"])
        text += f", {affected} of them with problems for Kestra {options['target_version']}"
    return {"changed": False, "flows": flows, "problems": problems, "msg": text}


def problem_text(flow: dict[str, Any], finding: dict[str, Any]) -> str:
    """Return a finding of a flow in one line."""
    place = f"{flow['namespace']}/{flow['id']}"
    return (
        f"{place}: {finding['message']}"
        if finding["line"] is None
        else f"{place}:{finding['line']}: {finding['message']}"
    )


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
            "dependencies": {"type": "bool", "default": False},
            "target_version": {"type": "str"},
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
    target = module.params["target_version"]
    if target is not None:
        if not HAS_YAML:
            module.fail_json(msg=missing_required_lib("PyYAML"))
        if not numbers(target):
            module.fail_json(msg=f"target_version is {target!r}; it is a version such as 2.0.5")
    run_module(module, lambda client: run(module, client), pool_size=module.params["concurrency"])


if __name__ == "__main__":
    main()
