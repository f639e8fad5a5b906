#!/usr/bin/python

# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: n8n_export
short_description: Export the workflows of n8n to a directory
version_added: 0.3.0
description:
  - Writes each workflow of n8n to a JSON file on the host the module runs on. Archived workflows are left out.
  - M(devorch.orchestration.n8n_workflows) reads the files back and finds no change. n8n's page can import them too.
  - The name of a file is the workflow's name in small letters. If it is taken, it has the suffix C(~2).
  - A file that already has the right content is not written.
author:
  - devorch maintainers (@devorch)
extends_documentation_fragment:
  - devorch.orchestration.n8n
  - devorch.orchestration.n8n.attributes
options:
  dest:
    description: Directory of the export. It is created if it does not exist.
    type: path
    required: true
  tags:
    description: Tags that a workflow must have to be exported. It must have all of them. If empty, all are exported.
    type: list
    elements: str
    default: []
  pinned_data:
    description: Whether to export the pinned data of nodes. It can hold data that a workflow was tried with.
    type: bool
    default: true
  prune:
    description: Whether to remove other C(*.json) files in O(dest). Do not put your own files there.
    type: bool
    default: false
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details:
      - Shows only the names of the files.
  idempotent:
    support: full
notes:
  - The module changes nothing in n8n.
  - The files hold the names of credentials, and not their values. A secret in a parameter of a node is in them.
seealso:
  - module: devorch.orchestration.n8n_workflows
"""

EXAMPLES = r"""
- name: Export all workflows
  devorch.orchestration.n8n_export:
    dest: "{{ backup }}/all"
    prune: true
    url: http://127.0.0.1:5678
    api_key: "{{ n8n_api_key }}"

- name: Export the workflows that the collection manages
  devorch.orchestration.n8n_export:
    dest: "{{ backup }}/managed"
    tags: [managed-by-ansible]
    pinned_data: false
    api_key: "{{ n8n_api_key }}"

- name: Load the exported workflows
  devorch.orchestration.n8n_workflows:
    src: "{{ backup }}/all"
    remote_src: true
    api_key: "{{ n8n_api_key }}"
"""

RETURN = r"""
summary:
  description: Number of files by what was done with them. In check mode, by what would be done.
  returned: success
  type: dict
  sample: {"total": 12, "created": 2, "updated": 1, "unchanged": 9, "removed": 0, "stale": 1}
files:
  description: The files of the export and the stale files, sorted by path.
  returned: success
  type: list
  elements: dict
  contains:
    path:
      description: Path of the file in O(dest).
      type: str
      returned: always
    action:
      description: One of V(created), V(updated), V(unchanged), V(removed) and V(stale).
      type: str
      returned: always
  sample:
    - path: orders.json
      action: created
diff:
  description: The names of the files that change.
  returned: success
  type: dict
  sample:
    before: ""
    after: "orders.json\n"
msg:
  description: Summary of the result.
  returned: always
  type: str
  sample: 2 created, 1 updated, 9 unchanged, 1 stale
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.devorch.orchestration.plugins.module_utils.module import Failure
from ansible_collections.devorch.orchestration.plugins.module_utils.n8n.client import N8nClient
from ansible_collections.devorch.orchestration.plugins.module_utils.n8n.export import (
    ACTIONS,
    compare,
    diff,
    exported,
    file_names,
    text_of,
    write,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.n8n.module import (
    connection_argument_spec,
    run_module,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.n8n.workflows.plan import Stored


def run(module: AnsibleModule, client: N8nClient) -> dict[str, Any]:
    """Read, compare, and unless in check mode, write; return the result."""
    options = module.params
    directory = Path(options["dest"])
    if directory.exists() and not directory.is_dir():
        raise Failure(f"dest {str(directory)!r} is not a directory")
    found = [Stored(workflow) for workflow in client.retry(client.workflows)]
    everything = [one for one in found if not one.archived]
    selected = [one for one in everything if set(options["tags"]) <= set(one.tags)]
    names = file_names(selected)
    files = {names[one.id]: text_of(exported(one, everything, selected, options["pinned_data"])) for one in selected}
    try:
        changes = compare(files, directory, options["prune"])
        if not module.check_mode and any(change.action in ("created", "updated", "removed") for change in changes):
            write(files, directory, changes)
    except OSError as error:
        where = error.filename or directory
        raise Failure(
            f"Could not write the export: {where}: {error.strerror or error}. Files that were renamed before stay.",
            # Some may have been.
            changed=not module.check_mode,
        ) from error
    actions = [change.action for change in changes]
    summary: dict[str, int] = {"total": len(files)}
    summary.update({action: actions.count(action) for action in ACTIONS})
    shown = [f"{summary[name]} {name}" for name in ACTIONS if name in ACTIONS[:3] or summary[name]]
    return {
        "changed": any(summary[action] for action in ("created", "updated", "removed")),
        "msg": ", ".join(shown),
        "summary": summary,
        "files": [{"path": change.path, "action": change.action} for change in changes],
        "diff": diff(changes),
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **connection_argument_spec(),
            "dest": {"type": "path", "required": True},
            "tags": {"type": "list", "elements": "str", "default": []},
            "pinned_data": {"type": "bool", "default": True},
            "prune": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    run_module(module, lambda client: run(module, client))


if __name__ == "__main__":
    main()
