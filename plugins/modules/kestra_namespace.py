#!/usr/bin/python

# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: kestra_namespace
short_description: Manage a namespace of Kestra Enterprise
version_added: 0.2.0
description:
  - Keeps description, variables and other settings of a namespace, or deletes it.
  - Options that are not set leave what the namespace has.
  - The open-source edition has no settings of namespaces. The module refuses it.
author:
  - devorch maintainers (@devorch)
extends_documentation_fragment:
  - devorch.orchestration.kestra
  - devorch.orchestration.kestra.attributes
  - devorch.orchestration.kestra.actiongroup
options:
  namespace:
    description: Name of the namespace.
    type: str
    required: true
  state:
    description: Whether the namespace exists.
    type: str
    choices: [present, absent]
    default: present
  description:
    description: Description of the namespace. An empty text removes it.
    type: str
  variables:
    description: Variables of the namespace. They replace all that it has. An empty mapping removes them.
    type: dict
  allowed_namespaces:
    description: Namespaces that may use flows and files of this one. They replace all that it has.
    type: list
    elements: str
  settings:
    description:
      - Other properties, with the names and the form of Kestra's API, such as C(storageType), C(secretIsolation) or
        C(concurrency). For servers before 2.0, C(pluginDefaults) too.
      - They may hold credentials. They are shown nowhere.
    type: dict
    default: {}
attributes:
  check_mode:
    support: full
  diff_mode:
    support: partial
    details:
      - Of O(settings), only the names that change are shown.
  idempotent:
    support: partial
    details:
      - If Kestra returns a setting in another form than it was sent, such as a password, it is written in every run.
notes:
  - The module was tested with a stand-in for the Enterprise edition, which follows Kestra's Python client. It was not
    tested with that edition.
  - Secrets of a namespace are not managed, because Kestra does not return them to compare.
seealso:
  - module: devorch.orchestration.kestra_kv
  - module: devorch.orchestration.kestra_namespace_files
"""

EXAMPLES = r"""
- name: Ensure the settings of a namespace
  devorch.orchestration.kestra_namespace:
    namespace: company.team
    description: Flows of the team
    variables:
      region: eu-central
    allowed_namespaces: [company.reports]
    settings:
      concurrency: {limit: 10, behavior: QUEUE}
    token: "{{ kestra_token }}"

- name: Delete a namespace
  devorch.orchestration.kestra_namespace:
    namespace: company.outdated
    state: absent
    token: "{{ kestra_token }}"
"""

RETURN = r"""
action:
  description: What was done, V(created), V(updated), V(deleted) or V(unchanged).
  returned: success
  type: str
  sample: updated
namespace:
  description: The namespace, without its settings. V(null) if it does not exist any more.
  returned: success
  type: dict
  sample: {"id": "company.team", "description": "Flows of the team", "variables": {}, "allowed_namespaces": []}
properties:
  description: Names of the properties that differed, as Kestra's API calls them.
  returned: success
  type: list
  elements: str
  sample: [description, variables]
msg:
  description: Summary of the result.
  returned: always
  type: str
  sample: Namespace company.team updated
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.client import SHORTEST_SECRET, KestraClient
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.kv import NAMESPACE
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.module import (
    REQUIRED_TOGETHER,
    connection_argument_spec,
    only_for_the_server,
    run_module,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.namespaces import (
    OWN,
    Namespaces,
    different,
    edition_problem,
    settings_problem,
    shown,
    wanted_properties,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.module import Failure, texts_in


def run(module: AnsibleModule, client: KestraClient, settings: dict[str, Any]) -> dict[str, Any]:
    """Compare, and unless in check mode, write; return the result."""
    name: str = module.params["namespace"]
    info = client.server_info()
    problem = edition_problem(info.edition) or settings_problem(settings, info.is_2)
    if problem:
        raise Failure(problem)
    client.http.hide(text for text in texts_in(settings) if len(text) >= SHORTEST_SECRET)
    options = module.params
    wanted = wanted_properties(options["description"], options["variables"], options["allowed_namespaces"], settings)
    namespaces = Namespaces(client)
    before = namespaces.read(name)
    properties = different(before or {}, wanted)
    if module.params["state"] == "absent":
        properties = []
        action, after = ("unchanged", None) if before is None else ("deleted", None)
    elif before is not None and not properties:
        action, after = "unchanged", shown(before)
    else:
        action = "created" if before is None else "updated"
        after = shown({**(before or {}), "id": name, **wanted})
    if action == "deleted" and not module.check_mode:
        namespaces.delete(name)
    if action in ("created", "updated") and not module.check_mode:
        stored = namespaces.write(name, before, wanted)
        lost = [each for each in different(stored or {}, wanted) if each in OWN]
        if stored is None or lost:
            what = "it is not there" if stored is None else f"it has another {', '.join(lost)}"
            raise Failure(
                f"Namespace {name} was {action}, but then {what}. Another client may have changed it.", changed=True
            )
    hidden = [each for each in properties if each not in OWN]
    return {
        "changed": action != "unchanged",
        "action": action,
        "namespace": after,
        "properties": properties,
        "diff": {"before": shown(before) or {}, "after": {**(after or {}), **({"settings": hidden} if hidden else {})}},
        "msg": f"Namespace {name} {action}",
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **connection_argument_spec(),
            "namespace": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "description": {"type": "str"},
            "variables": {"type": "dict"},
            "allowed_namespaces": {"type": "list", "elements": "str"},
            "settings": {"type": "dict", "default": {}, "no_log": True},
        },
        required_together=REQUIRED_TOGETHER,
        supports_check_mode=True,
    )
    name = module.params["namespace"]
    if not NAMESPACE.fullmatch(name):
        module.fail_json(
            msg=f"namespace is {name!r}; it has lower-case letters, digits, points, hyphens and underscores"
        )
    settings = only_for_the_server(module, "settings")
    run_module(module, lambda client: run(module, client, settings))


if __name__ == "__main__":
    main()
