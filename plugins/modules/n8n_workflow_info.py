#!/usr/bin/python

# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: n8n_workflow_info
short_description: Gather information about workflows of n8n
version_added: 0.3.0
description:
  - Returns the workflows of n8n, whether they are published, their tags and webhooks, and with O(content=true) what
    they do.
author:
  - devorch maintainers (@devorch)
extends_documentation_fragment:
  - devorch.orchestration.n8n
  - devorch.orchestration.n8n.attributes
options:
  name:
    description: Name of the workflow. If not set, all are returned.
    type: str
  id:
    description: Id of the workflow in this n8n.
    type: str
  tags:
    description: Tags that a workflow must have. It must have all of them.
    type: list
    elements: str
    default: []
  published:
    description: Whether only published workflows are returned, or, with V(false), only others.
    type: bool
  archived:
    description: Whether archived workflows are returned as well.
    type: bool
    default: false
  content:
    description: Whether RV(workflows[].content) is returned.
    type: bool
    default: false
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
seealso:
  - module: devorch.orchestration.n8n_workflows
"""

EXAMPLES = r"""
- name: List the published workflows
  devorch.orchestration.n8n_workflow_info:
    published: true
    url: http://127.0.0.1:5678
    api_key: "{{ n8n_api_key }}"
  register: published

- name: Read what one workflow does
  devorch.orchestration.n8n_workflow_info:
    name: environment-orchestration
    content: true
    api_key: "{{ n8n_api_key }}"
"""

RETURN = r"""
workflows:
  description: The workflows, sorted by name and id. Empty if there is none.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: Id of the workflow in this n8n.
      type: str
      returned: always
    name:
      description: Name of the workflow.
      type: str
      returned: always
    published:
      description: Whether it is published.
      type: bool
      returned: always
    draft:
      description: Whether what is stored is another version than the published one.
      type: bool
      returned: always
    archived:
      description: Whether it is archived.
      type: bool
      returned: always
    tags:
      description: Names of its tags, sorted.
      type: list
      elements: str
      returned: always
    webhooks:
      description: Methods and paths of its webhooks, sorted.
      type: list
      elements: dict
      returned: always
    version_id:
      description: Id of the stored version.
      type: str
      returned: always
    published_version_id:
      description: Id of the published version, or V(null).
      type: str
      returned: always
    created_at:
      description: When it was created, as n8n reports it.
      type: str
      returned: always
    updated_at:
      description: When it was last changed, as n8n reports it.
      type: str
      returned: always
    content:
      description: What it does, as M(devorch.orchestration.n8n_export) writes it.
      type: dict
      returned: if O(content=true)
  sample:
    - id: R2DjclaysHbqn778
      name: orders
      published: true
      draft: false
      archived: false
      tags: [managed-by-ansible]
      webhooks: [{method: POST, path: orders}]
      version_id: 0f6c3c6e-6d5f-4b1c-9a53-1d0f4f1f2a11
      published_version_id: 0f6c3c6e-6d5f-4b1c-9a53-1d0f4f1f2a11
      created_at: "2026-11-29T14:00:00.000Z"
      updated_at: "2026-11-29T14:00:00.000Z"
msg:
  description: Summary of the result.
  returned: always
  type: str
  sample: 1 workflow
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.devorch.orchestration.plugins.module_utils.n8n.client import N8nClient
from ansible_collections.devorch.orchestration.plugins.module_utils.n8n.export import exported
from ansible_collections.devorch.orchestration.plugins.module_utils.n8n.module import (
    connection_argument_spec,
    run_module,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.n8n.workflows.plan import Stored, webhooks


def selected(stored: Stored, options: dict[str, Any]) -> bool:
    """Return whether the options mean this workflow."""
    return (
        options["name"] in (None, stored.name)
        and options["id"] in (None, stored.id)
        and options["published"] in (None, stored.active)
        and set(options["tags"]) <= set(stored.tags)
        and (options["archived"] or not stored.archived)
    )


def described(stored: Stored, everything: list[Stored], content: bool) -> dict[str, Any]:
    """Return what the result says of a workflow."""
    return {
        "id": stored.id,
        "name": stored.name,
        "published": stored.active,
        "draft": stored.active and stored.version != stored.live_version,
        "archived": stored.archived,
        "tags": sorted(stored.tags),
        "webhooks": [{"method": method, "path": path} for method, path in sorted(webhooks(stored.content))],
        "version_id": stored.version,
        "published_version_id": stored.live_version,
        "created_at": stored.content.get("createdAt"),
        "updated_at": stored.content.get("updatedAt"),
        **({"content": exported(stored, everything, everything)} if content else {}),
    }


def run(module: AnsibleModule, client: N8nClient) -> dict[str, Any]:
    """Read, and return the result."""
    everything = [Stored(workflow) for workflow in client.retry(client.workflows)]
    found = [one for one in everything if selected(one, module.params)]
    found.sort(key=lambda one: (one.name, one.id))
    return {
        "changed": False,
        "msg": "1 workflow" if len(found) == 1 else f"{len(found)} workflows",
        "workflows": [described(one, everything, module.params["content"]) for one in found],
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **connection_argument_spec(),
            "name": {"type": "str"},
            "id": {"type": "str"},
            "tags": {"type": "list", "elements": "str", "default": []},
            "published": {"type": "bool"},
            "archived": {"type": "bool", "default": False},
            "content": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    run_module(module, lambda client: run(module, client))


if __name__ == "__main__":
    main()
