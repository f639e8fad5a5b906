#!/usr/bin/python

# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: n8n_credentials
short_description: Manage the credentials of n8n
version_added: 0.3.0
description:
  - Creates, updates and deletes credentials of n8n. They are found by name and type.
  - n8n never returns the values. The module keeps a keyed hash of them in n8n's data table C(devorch_orchestration),
    and writes the values only if the hash changes.
  - The fields are checked against the type's schema in this n8n. If any is wrong, the module writes nothing and reports
    all problems.
author:
  - devorch maintainers (@devorch)
extends_documentation_fragment:
  - devorch.orchestration.n8n
  - devorch.orchestration.n8n.attributes
options:
  credentials:
    description: The credentials.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the credentials, with 3 to 128 characters. The nodes of workflows refer to it.
        type: str
        required: true
      type:
        description: Type of the credentials, such as V(httpHeaderAuth).
        type: str
        required: true
      data:
        description:
          - The fields and their values. They replace all values that n8n has.
          - They are kept out of the log, the result and the diff.
        type: dict
        default: {}
      id:
        description:
          - Id for credentials that do not exist yet, with at most 16 letters, digits, underscores and hyphens.
          - n8n takes it since 2.41. An older one chooses the id.
          - If several credentials have the same name and type, it says which ones are meant.
        type: str
  state:
    description: Whether the credentials exist. For V(absent), only C(name), C(type) and C(id) count.
    type: str
    choices: [present, absent]
    default: present
  hash_key:
    description:
      - Secret that keys the hashes. If it changes, all values are written once.
      - If it is not set, O(api_key) is used.
    type: str
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details:
      - Shows which credentials change, and no value.
  idempotent:
    support: full
    details:
      - If the API key must not use data tables, the module warns and writes the values in each run.
notes:
  - A change of the values in n8n cannot be seen.
  - Values that were written cannot be rolled back.
  - A workflow that uses deleted credentials fails when it runs.
seealso:
  - module: devorch.orchestration.n8n_workflows
"""

EXAMPLES = r"""
- name: Ensure the credentials that the workflows use
  devorch.orchestration.n8n_credentials:
    credentials:
      - name: Environment webhook
        type: httpHeaderAuth
        data:
          name: X-Webhook-Token
          value: "{{ webhook_token }}"
      - name: Multipass sidecar
        type: httpBearerAuth
        data:
          token: "{{ sidecar_token }}"
    url: http://127.0.0.1:5678
    api_key: "{{ n8n_api_key }}"
  no_log: true

- name: Remove credentials
  devorch.orchestration.n8n_credentials:
    credentials:
      - name: Outdated
        type: httpHeaderAuth
    state: absent
    api_key: "{{ n8n_api_key }}"
"""

RETURN = r"""
summary:
  description: Number of credentials by what was done with them. In check mode, by what would be done.
  returned: success
  type: dict
  sample: {"total": 2, "created": 1, "updated": 0, "unchanged": 1, "deleted": 0}
credentials:
  description: The credentials, in the order of the task.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name of the credentials.
      type: str
      returned: always
    type:
      description: Type of the credentials.
      type: str
      returned: always
    id:
      description: Id in this n8n. V(null) for credentials that do not exist, and in check mode for those to create.
      type: str
      returned: always
    action:
      description: One of V(created), V(updated), V(unchanged) and V(deleted).
      type: str
      returned: always
  sample:
    - name: Environment webhook
      type: httpHeaderAuth
      id: R2DjclaysHbqn778
      action: created
diff:
  description: The names of the credentials that change.
  returned: success
  type: dict
  sample: {"before": "", "after": "Environment webhook (httpHeaderAuth)\n"}
msg:
  description: Summary of the result.
  returned: always
  type: str
  sample: 1 created, 0 updated, 1 unchanged
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.devorch.orchestration.plugins.module_utils.module import HIDDEN, Failure, texts_in
from ansible_collections.devorch.orchestration.plugins.module_utils.n8n.client import N8nClient
from ansible_collections.devorch.orchestration.plugins.module_utils.n8n.credentials import (
    DONE,
    KIND,
    Item,
    Wanted,
    apply,
    make_plan,
    name_problems,
    schema_problems,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.n8n.module import (
    connection_argument_spec,
    run_module,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.n8n.records import Records

# A shorter text would be found in many a message that has nothing to do with it.
SHORTEST_SECRET = 6


def failure(problems: list[str]) -> Failure:
    """Return the failure for what is wrong with the options."""
    return Failure("nothing was written:\n" + "\n".join(f"  {problem}" for problem in problems))


def take(module: AnsibleModule) -> list[Wanted]:
    """Return the credentials, whose values are shown nowhere, but are not masked in what others say.

    A port C(1) would otherwise be masked in every number of the result.
    """
    given = module.params["credentials"]
    wanted = [Wanted(one["name"], one["type"], one["data"], one["id"]) for one in given]
    for one in given:
        one["data"] = HIDDEN
    module.no_log_values.clear()
    module.no_log_values.update(text for text in (module.params["api_key"], module.params["hash_key"]) if text)
    return wanted


def run(module: AnsibleModule, client: N8nClient, wanted: list[Wanted]) -> dict[str, Any]:
    """Read, plan, and unless in check mode, write; return the result."""
    options = module.params
    present = options["state"] == "present"
    problems = name_problems(wanted)
    stored = client.credentials()
    if present:
        schemas = {kind: client.credential_schema(kind) for kind in sorted({one.type for one in wanted})}
        for one in wanted:
            problems += schema_problems(one, schemas[one.type])
    records = Records(client, KIND)
    key = options["hash_key"] or options["api_key"] or ""
    known = records.read() if present else {}
    if records.problem:
        module.warn(f"It cannot be seen whether values have changed, so they are written. {records.problem}")
    items, unclear = make_plan(wanted, stored, known, key, present)
    if problems + unclear:
        raise failure(problems + unclear)
    ids = [item.id for item in items]
    if not module.check_mode:
        ids = carry_out(client, items, records, key)
    return result(items, ids)


def carry_out(client: N8nClient, items: list[Item], records: Records, key: str) -> list[str | None]:
    """Write; return the ids."""
    ids: list[str | None] = []
    for item in items:
        # Forgotten first: what is written and not recorded is written again, and never taken for recorded.
        if item.action in ("update", "delete") and item.id and not records.problem:
            records.forget([item.id])
        found = apply(client, item) if item.is_change else item.id
        if item.action in ("create", "update") and found and not records.problem:
            records.write([(found, item.wanted.digest(key), "")])
        ids.append(None if item.action == "delete" else found)
    return ids


def result(items: list[Item], ids: list[str | None]) -> dict[str, Any]:
    """Return the module's result."""
    actions = [DONE[item.action] for item in items]
    summary: dict[str, int] = {"total": len(items)}
    summary.update({action: actions.count(action) for action in ("created", "updated", "unchanged", "deleted")})
    titles = [f"{item.wanted.name} ({item.wanted.type})" for item in items]
    pairs = list(zip(titles, actions, strict=True))
    before = "".join(f"{title}\n" for title, action in pairs if action in ("updated", "deleted"))
    after = "".join(
        f"{title}{', other values' if action == 'updated' else ''}\n"
        for title, action in pairs
        if action in ("created", "updated")
    )
    shown = [f"{summary[action]} {action}" for action in ("created", "updated", "unchanged")]
    shown += [f"{summary['deleted']} deleted"] if summary["deleted"] else []
    return {
        "changed": any(item.is_change for item in items),
        "msg": ", ".join(shown),
        "summary": summary,
        "credentials": [
            {"name": item.wanted.name, "type": item.wanted.type, "id": found, "action": action}
            for item, found, action in zip(items, ids, actions, strict=True)
        ],
        "diff": {"before": before, "after": after},
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **connection_argument_spec(),
            "credentials": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    "type": {"type": "str", "required": True},
                    "data": {"type": "dict", "default": {}, "no_log": True},
                    "id": {"type": "str"},
                },
            },
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "hash_key": {"type": "str", "no_log": True},
        },
        supports_check_mode=True,
    )
    wanted = take(module)

    def body(client: N8nClient) -> dict[str, Any]:
        client.http.hide(text for one in wanted for text in texts_in(one.data) if len(text) >= SHORTEST_SECRET)
        return run(module, client, wanted)

    run_module(module, body)


if __name__ == "__main__":
    main()
