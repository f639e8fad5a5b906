#!/usr/bin/python

# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: kestra_flow
short_description: Manage one flow of a Kestra server
version_added: 0.2.0
description:
  - Creates, updates, deletes, enables or disables one flow, or restores a previous revision.
  - The text is stored byte for byte and compared as text.
  - To manage many flows, use M(devorch.orchestration.kestra_flows).
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
  id:
    description: Id of the flow. It is case-sensitive.
    type: str
    required: true
  state:
    description:
      - V(present) gives the flow the text O(content), or the text of O(revision). Set exactly one of them.
      - V(disabled) sets C(disabled) to V(true) in the text of the flow. V(enabled) removes that line. The flow must
        exist.
      - V(absent) deletes the flow. Kestra keeps its revisions.
    type: str
    choices: [present, absent, enabled, disabled]
    default: present
  content:
    description:
      - Text of the flow. It must have the same O(namespace) and O(id).
      - Ansible templates the text before the module reads it. To keep Kestra's own braces, use a lookup of a file, or
        C(!unsafe).
      - It is kept out of the host's log. The result shows it in RV(flow.source).
    type: str
  revision:
    description: Number of the revision to restore. It can also be a revision of a deleted flow.
    type: int
attributes:
  check_mode:
    support: full
    details:
      - Sends only requests that change nothing. The server still validates the text.
  diff_mode:
    support: full
  idempotent:
    support: full
requirements:
  - PyYAML
notes:
  - If the flow was edited on the server since a module of this collection wrote it, the module warns and overwrites or
    deletes it. With V(enabled) and V(disabled), it does not warn, since the edit stays.
  - After V(enabled) or V(disabled), the flow differs from its file. M(devorch.orchestration.kestra_flows) reports this
    and overwrites the flow, unless O(devorch.orchestration.kestra_flows#module:drift) is V(report) or V(fail).
seealso:
  - module: devorch.orchestration.kestra_flows
  - module: devorch.orchestration.kestra_flow_info
"""

EXAMPLES = r"""
- name: Ensure that a flow exists
  devorch.orchestration.kestra_flow:
    namespace: company.team
    id: greeting
    content: "{{ lookup('ansible.builtin.file', 'greeting.yaml', rstrip=false) }}"
    username: admin@example.org
    password: "{{ kestra_password }}"

- name: Disable a flow during maintenance
  devorch.orchestration.kestra_flow:
    namespace: company.team
    id: greeting
    state: disabled
    username: admin@example.org
    password: "{{ kestra_password }}"

- name: Restore the first revision of a flow
  devorch.orchestration.kestra_flow:
    namespace: company.team
    id: greeting
    revision: 1
    username: admin@example.org
    password: "{{ kestra_password }}"

- name: Ensure that a flow does not exist
  devorch.orchestration.kestra_flow:
    namespace: company.team
    id: greeting
    state: absent
    username: admin@example.org
    password: "{{ kestra_password }}"
"""

RETURN = r"""
action:
  description:
    - V(created), V(updated), V(deleted) or V(unchanged). In check mode, what would be done.
  returned: success
  type: str
  sample: updated
flow:
  description: The flow after the module has run.
  returned: success
  type: dict
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
      description: Stored revision. In check mode, the one before a change. V(null) for a deleted flow.
      type: int
      returned: always
    disabled:
      description: Whether the text disables the flow. V(null) for a deleted flow.
      type: bool
      returned: always
    source:
      description: Text of the flow. V(null) for a deleted flow.
      type: str
      returned: always
  sample:
    namespace: company.team
    id: greeting
    revision: 2
    disabled: false
    source: "id: greeting\n"
problems:
  description: Problems in the text of the flow. Empty if there are none.
  returned: always
  type: list
  elements: dict
  sample:
    - file: content
      line: 7
      message: "Kestra refuses flow company.team/greeting: Invalid type: io.kestra.plugin.nope.Nope"
diff:
  description: Text of the flow before and after a change.
  returned: success
  type: list
  elements: dict
  sample:
    - before_header: company.team/greeting (revision 1)
      after_header: company.team/greeting (content)
      before: "id: greeting\n"
      after: "id: greeting\ndisabled: true\n"
msg:
  description: Summary of the result.
  returned: always
  type: str
  sample: Flow company.team/greeting updated
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.client import KestraClient
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows.deprecations import findings
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows.plan import (
    DRIFT_WORDS,
    Item,
    Plan,
    Stored,
    is_disabled,
    make_plan,
    mark_drift,
    split_findings,
    with_switch,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows.source import (
    Flow,
    parse_sources,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows.sync import DONE, FlowSync
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows.yaml_nodes import HAS_YAML
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.module import (
    REQUIRED_TOGETHER,
    connection_argument_spec,
    only_for_the_server,
    run_module,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.module import Failure
from ansible_collections.devorch.orchestration.plugins.module_utils.source_files import (
    Problem,
    Source,
)


def fail(problems: list[Problem]) -> Failure:
    """Return the failure for what is wrong with a text."""
    lines = "; ".join(str(problem) for problem in problems)
    return Failure(
        f"The flow cannot be stored, and nothing was written: {lines}",
        problems=[problem.as_result() for problem in problems],
    )


def wanted_text(module: AnsibleModule, client: KestraClient, stored: Stored | None, content: str) -> tuple[str, str]:
    """Return the text that the flow is to have, and where it comes from."""
    namespace, flow_id, state = (module.params[name] for name in ("namespace", "id", "state"))
    if state in ("enabled", "disabled"):
        if stored is None:
            raise Failure(f"Flow {namespace}/{flow_id} does not exist, so it cannot be {state}.", problems=[])
        if is_disabled(stored.text) is (state == "disabled"):
            return stored.text, state
        text = with_switch(stored.text, state == "disabled")
        if text is None:
            raise Failure(
                f"The text of flow {namespace}/{flow_id} has no place for a line of its own that says 'disabled'; "
                "change it in its file.",
                problems=[],
            )
        return text, state
    revision = module.params["revision"]
    if revision is None:
        return content, "content"
    found = client.get_flow(namespace, flow_id, revision)
    if found is None:
        raise Failure(f"Flow {namespace}/{flow_id} has no revision {revision}.", problems=[])
    return str(found.get("source", "")), f"revision {revision}"


def plan_for(module: AnsibleModule, client: KestraClient, stored: Stored | None, content: str) -> Plan:
    """Return the plan for the one flow; raise Failure where its text is wrong."""
    key = (module.params["namespace"], module.params["id"])
    known = {} if stored is None else {key: stored}
    if module.params["state"] == "absent":
        return Plan(() if stored is None else (Item("prune", None, stored),))
    text, origin = wanted_text(module, client, stored, content)
    source = Source(origin, text.encode("utf-8"))
    if stored is not None and stored.text == text and source.recognizable:
        return make_plan([Flow(*key, origin, text)], known)
    flows, problems = parse_sources([source], inspect=findings)
    if not problems and [flow.key for flow in flows] != [key]:
        names = ", ".join(flow.name for flow in flows)
        problems = [Problem(origin, None, f"is about {names} and not about {'/'.join(key)}")]
    if problems:
        raise fail(problems)
    return make_plan(flows, known)


def run(module: AnsibleModule, client: KestraClient, content: str) -> dict[str, Any]:
    """Do everything; return the result."""
    namespace, flow_id = module.params["namespace"], module.params["id"]
    now = client.get_flow(namespace, flow_id)
    stored = None
    if now is not None:
        stored = Stored(
            namespace, flow_id, str(now.get("source", "")), now.get("revision"), draft=bool(now.get("draft"))
        )
    plan = plan_for(module, client, stored, content)
    sync = FlowSync(client)
    refused, more = sync.validate(plan.to_validate)
    explained, warnings = split_findings(plan, client.server_info().is_2, {problem.file for problem in refused})
    for warning in warnings + more:
        module.warn(warning)
    if explained or refused:
        raise fail(explained + refused)
    records, warnings = sync.read_records(plan.namespaces_to_look_up)
    plan = mark_drift(plan, records, block=False)
    (item,) = plan.items or (None,)
    switches = module.params["state"] in ("enabled", "disabled")
    if item is not None and item.drift not in (None, "unrecorded") and not switches:
        what = "is deleted" if item.action == "prune" else "is overwritten"
        module.warn(f"Flow {item.name} {DRIFT_WORDS[item.drift]}, and {what}.")
    action = "unchanged" if item is None else DONE.get(item.action, "unchanged").replace("pruned", "deleted")
    revision = stored.revision if stored else None
    if item is not None and item.changes and not module.check_mode:
        (outcome,) = sync.apply(plan, records)
        for warning in sync.warnings:
            module.warn(warning)
        if outcome.action == "failed":
            raise Failure(f"Flow {item.name} could not be {action}: {outcome.error}", problems=[])
        if outcome.warning:
            module.warn(outcome.warning)
        revision = outcome.revision
    text = item.after if item else None
    return {
        "changed": action != "unchanged",
        "action": action,
        "flow": {
            "namespace": namespace,
            "id": flow_id,
            "revision": None if text is None else revision,
            "disabled": None if text is None else is_disabled(text),
            "source": text,
        },
        "problems": [],
        "diff": plan.diff(),
        "msg": f"Flow {namespace}/{flow_id} {action}",
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **connection_argument_spec(),
            "namespace": {"type": "str", "required": True},
            "id": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "absent", "enabled", "disabled"], "default": "present"},
            "content": {"type": "str", "no_log": True},
            "revision": {"type": "int"},
        },
        required_together=REQUIRED_TOGETHER,
        required_if=[("state", "present", ("content", "revision"), True)],
        mutually_exclusive=[("content", "revision")],
        supports_check_mode=True,
    )
    if not HAS_YAML:
        module.fail_json(msg=missing_required_lib("PyYAML"))
    if module.params["state"] != "present":
        for name in ("content", "revision"):
            if module.params[name] is not None:
                module.fail_json(msg=f"{name} goes with state 'present', not with {module.params['state']!r}")
    content = "" if module.params["content"] is None else only_for_the_server(module, "content")
    run_module(module, lambda client: run(module, client, content))


if __name__ == "__main__":
    main()
