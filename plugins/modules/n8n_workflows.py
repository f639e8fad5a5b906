#!/usr/bin/python

# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: n8n_workflows
short_description: Manage the workflows of n8n from files
version_added: 0.3.0
description:
  - Creates and updates the workflows of an n8n from JSON files, as n8n exports them. With O(prune=true), also archives
    workflows without a file.
  - A file means the workflow with the C(id) in the file, if n8n has it, and otherwise the workflow with its C(name). So
    the same files can be used for several instances, and an exported workflow can be renamed.
  - Only what a workflow does is compared. Versions, times, static data, positions and values that are the default do
    not count.
  - References to other workflows and to credentials are resolved in each instance, by name. If one of them is missing,
    the module writes nothing and reports all problems of all files.
  - All workflows are first stored as drafts. Only if that succeeds, they are published. If a write fails, all workflows
    that were touched are rolled back, and the version that was published is published again, unless O(on_failure=keep).
author:
  - devorch maintainers (@devorch)
extends_documentation_fragment:
  - devorch.orchestration.n8n
  - devorch.orchestration.n8n.attributes
options:
  src:
    description:
      - Files and directories to load. From a directory, all C(*.json) files are loaded, including those in its
        subdirectories. Hidden files and directories are ignored. A symbolic link that leads out of the directory is
        refused. A directory without any workflow file is refused as well.
      - A file with a list of workflows has several workflows.
      - A relative path is searched for as in M(ansible.builtin.copy), first in the C(files) directory of the role or
        the playbook.
    type: list
    elements: path
    required: true
  remote_src:
    description:
      - Whether O(src) is on the managed host.
      - If V(false), the files are read on the controller and sent to the managed host. The controller does not need
        access to n8n's port.
    type: bool
    default: false
  ignore_file:
    description:
      - Name of a file at the top of each directory of O(src). It lists files to ignore, with the patterns of
        C(.gitignore). If empty, no file is ignored.
      - If such a file exists, the Python library C(pathspec) is required.
    type: str
    default: .n8nignore
  owner_tag:
    description:
      - Tag that every workflow gets that the module writes. Only workflows with it are pruned.
      - If several directories are loaded into one n8n, give each its own tag.
    type: str
    default: managed-by-ansible
  publish:
    description:
      - Which workflows are published.
      - V(file) publishes a workflow whose file has C(active) true, and unpublishes one whose file has C(active) false.
        If the file has no C(active), the workflow stays as it is.
      - V(keep) changes nothing about that. A workflow that is published gets its new content published.
      - V(never) stores the new content as a draft. What is published stays. Before n8n 2.x had drafts, this is refused
        for a published workflow.
    type: str
    choices: [file, keep, never]
    default: file
  positions:
    description: Whether other positions of nodes are a change.
    type: bool
    default: false
  prune:
    description:
      - Whether to archive workflows that have O(owner_tag) and no file, after all other writes have succeeded.
      - An archived workflow is unpublished, and n8n hides it. A later run with its file brings it back.
    type: bool
    default: false
  prune_limit:
    description:
      - Maximum number of workflows to prune in one run. It is a number, or a share of the workflows with O(owner_tag),
        such as V(20%). If there are more to prune, the module fails before it writes anything.
    type: str
    default: "10"
  drift:
    description:
      - What to do if a workflow that would be updated or pruned has drifted. A workflow has drifted if it was edited,
        published or unpublished in n8n, or if the module has no record that it wrote the workflow.
      - V(overwrite) updates or prunes the workflow. RV(plan) reports the drift. A warning reports it as well, unless it
        is only that there is no record.
      - V(report) does not change the workflow. Its action in RV(plan) is V(blocked).
      - V(fail) writes nothing at all.
      - The records are hashes of what the module has written. They are in n8n's data table C(devorch_orchestration).
        If the API key must not write it, the module warns and writes the workflows.
    type: str
    choices: [overwrite, report, fail]
    default: overwrite
  on_failure:
    description:
      - What to do if a workflow cannot be written.
      - V(rollback) restores the previous content, tags and published version of all workflows that were touched, and
        deletes workflows that were created.
      - V(keep) does not roll back. If n8n refuses a workflow, the others are still written.
    type: str
    choices: [rollback, keep]
    default: rollback
  webhook_timeout:
    description:
      - Seconds to wait until n8n answers the webhooks of what was published, and no longer those of what was
        unpublished. After that, the module warns. V(0) does not wait.
      - If only the content behind a webhook has changed, n8n does not show when it is live, and the module waits 2
        seconds.
      - This is found out without running a workflow. Set V(0) if webhooks are answered by another process or path.
    type: int
    default: 10
  run_timeout:
    description:
      - Seconds that the whole run may take. After that, the module starts no further write. What was written is rolled
        back or kept, depending on O(on_failure). A rollback may take another minute.
    type: int
    default: 1800
  _packed_src:
    description: Path of the archive that the action plugin has packed on the controller. Not for use in a task.
    type: path
attributes:
  check_mode:
    support: full
    details:
      - Sends only requests that change nothing, and returns the same plan.
  diff_mode:
    support: full
    details:
      - Shows each workflow as lines, by node and parameter. Pinned data is shown as its number of items.
  idempotent:
    support: full
notes:
  - n8n chooses the id of a new workflow. The file keeps the id of the instance that it was exported
    from, and the module finds the workflow of another instance by name.
  - If another client changes a workflow between the plan and the write, the module fails and names the workflow.
  - Static data is never written. It belongs to the instance. Pinned data counts only if the file has it.
  - n8n merges settings. A setting that a file has no more returns to its default if the API of n8n takes that, such as
    C(errorWorkflow) and C(callerIds). Others, such as C(executionTimeout) and C(timezone), stay until they are removed
    on the page of n8n.
seealso:
  - module: devorch.orchestration.n8n_credentials
  - module: devorch.orchestration.n8n_export
  - module: devorch.orchestration.n8n_workflow_info
"""

EXAMPLES = r"""
- name: Load workflows from a directory next to the playbook
  devorch.orchestration.n8n_workflows:
    src: n8n-workflows
    url: http://127.0.0.1:5678
    api_key: "{{ n8n_api_key }}"

- name: Report what would change
  devorch.orchestration.n8n_workflows:
    src: n8n-workflows
    prune: true
    api_key: "{{ n8n_api_key }}"
  check_mode: true
  diff: true

- name: Store the workflows as drafts
  devorch.orchestration.n8n_workflows:
    src: n8n-workflows
    publish: never
    api_key: "{{ n8n_api_key }}"

- name: Make the workflows equal to the files, but fail if one was edited in n8n
  devorch.orchestration.n8n_workflows:
    src: n8n-workflows
    prune: true
    prune_limit: 20%
    drift: fail
    api_key: "{{ n8n_api_key }}"
"""

RETURN = r"""
summary:
  description: Number of workflows by what was done with them. In check mode, by what would be done.
  returned: always
  type: dict
  sample:
    {"total": 3, "created": 1, "updated": 1, "unchanged": 1, "pruned": 0, "blocked": 0, "failed": 0, "skipped": 0,
    "rolled_back": 0}
plan:
  description: What is to be done with each workflow that is not as its file wants it, sorted by name.
  returned: always
  type: list
  elements: dict
  contains:
    action:
      description: One of V(create), V(update), V(prune) and V(blocked).
      type: str
      returned: always
    name:
      description: Name of the workflow.
      type: str
      returned: always
    id:
      description: Id of the workflow in this n8n. V(null) for a new one.
      type: str
      returned: always
    file:
      description: File of the workflow. V(null) for a workflow to prune.
      type: str
      returned: always
    changes:
      description: What changes - V(content), V(tags), V(publish) and V(unpublish).
      type: list
      elements: str
      returned: always
    drift:
      description: How the workflow has drifted - V(edited), V(published), V(unpublished) or V(unrecorded), or V(null).
      type: str
      returned: always
    reason:
      description: Why the workflow is blocked, if it is.
      type: str
      returned: always
  sample:
    - action: update
      name: orders
      id: R2DjclaysHbqn778
      file: /srv/site/n8n-workflows/orders.json
      changes: [content, publish]
      drift: null
      reason: null
workflows:
  description: All workflows in the plan, sorted by name.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: Name of the workflow.
      type: str
      returned: always
    id:
      description: Id of the workflow in this n8n, if it has one.
      type: str
      returned: always
    file:
      description: File of the workflow. V(null) for a workflow to prune.
      type: str
      returned: always
    action:
      description:
        - One of V(created), V(updated), V(unchanged), V(pruned), V(blocked), V(failed), V(skipped) and V(rolled_back).
      type: str
      returned: always
    state:
      description:
        - What n8n has after the run. V(planned) is the workflow as planned. V(previous) is the workflow as it was
          before the run. V(other) is what another client wrote. V(unknown) means that n8n could not be asked.
      type: str
      returned: always
    error:
      description: Why the workflow could not be written or rolled back.
      type: str
      returned: always
  sample:
    - name: orders
      id: R2DjclaysHbqn778
      file: /srv/site/n8n-workflows/orders.json
      action: updated
      state: planned
      error: null
problems:
  description: All problems in the files. If there are any, nothing is written.
  returned: always
  type: list
  elements: dict
  contains:
    file:
      description: Path of the file.
      type: str
      returned: always
    line:
      description: Line in the file, counted from 1, if known.
      type: int
      returned: always
    message:
      description: Description of the problem.
      type: str
      returned: always
  sample:
    - file: /srv/site/n8n-workflows/orders.json
      line: null
      message: "node 'Call' refers to the workflow 'billing', which neither the files nor n8n have."
seconds:
  description: Seconds for each part of the run - reading, planning and writing - and for the whole run.
  returned: always
  type: dict
  sample: {"read": 0.11, "plan": 0.02, "apply": 0.44, "total": 0.6}
diff:
  description: Each changed workflow before and after, as lines.
  returned: in diff mode
  type: list
  elements: dict
  sample:
    - before_header: orders (id R2DjclaysHbqn778)
      after_header: orders (/srv/site/n8n-workflows/orders.json)
      before: "name: orders\n"
      after: "name: orders\nsettings.timezone: Europe/Berlin\n"
msg:
  description: Summary of the result.
  returned: always
  type: str
  sample: 1 created, 1 updated, 1 unchanged
"""

import re

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.devorch.orchestration.plugins.module_utils.n8n.module import (
    connection_argument_spec,
    run_module,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.n8n.workflows.run import Run, run
from ansible_collections.devorch.orchestration.plugins.module_utils.n8n.workflows.source import (
    IGNORE_FILE,
    LONGEST_TAG,
)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **connection_argument_spec(),
            "src": {"type": "list", "elements": "path", "required": True},
            "remote_src": {"type": "bool", "default": False},
            "ignore_file": {"type": "str", "default": IGNORE_FILE},
            "owner_tag": {"type": "str", "default": "managed-by-ansible"},
            "publish": {"type": "str", "choices": ["file", "keep", "never"], "default": "file"},
            "positions": {"type": "bool", "default": False},
            "prune": {"type": "bool", "default": False},
            "prune_limit": {"type": "str", "default": "10"},
            "drift": {"type": "str", "choices": ["overwrite", "report", "fail"], "default": "overwrite"},
            "on_failure": {"type": "str", "choices": ["rollback", "keep"], "default": "rollback"},
            "webhook_timeout": {"type": "int", "default": 10},
            "run_timeout": {"type": "int", "default": 1800},
            "_packed_src": {"type": "path"},
        },
        supports_check_mode=True,
    )
    options = module.params
    if options["run_timeout"] < 1:
        module.fail_json(msg=f"run_timeout is {options['run_timeout']}; it is a number of seconds from 1")
    if options["webhook_timeout"] < 0:
        module.fail_json(msg=f"webhook_timeout is {options['webhook_timeout']}; it is a number of seconds from 0")
    if not re.fullmatch(r"\d+|\d{1,2}(\.\d+)?%|100%", options["prune_limit"]):
        module.fail_json(
            msg=f"prune_limit is {options['prune_limit']!r}; it is a number of workflows or a share such as 20%"
        )
    if not 1 <= len(options["owner_tag"]) <= LONGEST_TAG:
        module.fail_json(msg=f"owner_tag is {options['owner_tag']!r}; it is a text of 1 to {LONGEST_TAG} characters")
    state = Run(shows_diff=module._diff)
    run_module(module, lambda client: run(module, client, state), partial=state.failure)


if __name__ == "__main__":
    main()
