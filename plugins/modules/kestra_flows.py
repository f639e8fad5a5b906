#!/usr/bin/python

# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: kestra_flows
short_description: Keep Kestra's flows equal to files
version_added: 0.1.0
description:
  - Makes the flows of a Kestra server equal to YAML files - creates and updates them, and prunes those without a file
    where that is asked for.
  - The text of a file is stored as it is, byte for byte, and compared as text. A flow with the same text is left alone,
    so that no revision is made.
  - Everything that is wrong with any of the files is reported in one run, with file and line, and then nothing is
    written. The server validates what would change before the first write.
  - All or nothing - when a write fails, every flow that was touched is put back, unless O(on_failure=keep).
  - The plan can be saved to a file and carried out later, exactly as it was, or not at all.
author:
  - devorch maintainers (@devorch)
extends_documentation_fragment:
  - devorch.orchestration.kestra
  - devorch.orchestration.kestra.attributes
  - devorch.orchestration.kestra.actiongroup
options:
  src:
    description:
      - Directories, of which every C(*.yml) and C(*.yaml) file is loaded with those of the directories below it, and
        files. Hidden files and directories are left out, and symbolic links that lead out of a directory are refused.
      - A file with several documents holds several flows. The C(namespace) of a flow counts, not the directory.
      - A relative path is looked up as for M(ansible.builtin.copy), in the C(files) directory of the role or the
        playbook first.
    type: list
    elements: path
  content:
    description:
      - Texts of flows, given in the task itself, beside or instead of O(src).
      - Ansible templates them before the module sees them; C(!unsafe) keeps Kestra's own braces as they are.
    type: list
    version_added: 0.2.0
    elements: str
  remote_src:
    description:
      - Whether O(src) is on the managed host.
      - If V(false), the files are read on the controller and handed to the module, so that Kestra's port need not be
        reachable from there.
    type: bool
    default: false
  ignore_file:
    description:
      - Name of a file at the top of each directory of O(src) that tells which files to leave out, with the patterns of
        C(.gitignore). Empty for none.
      - Where there is such a file, the Python library C(pathspec) is needed to read it.
    type: str
    version_added: 0.2.0
    default: .kestraignore
  template:
    description:
      - "Whether the texts are Jinja templates, with delimiters that Kestra does not use: C(<[ variable ]>),
        C(<% statement %>) and C(<# comment #>). Kestra's own braces stay as they are."
      - Works on the controller, so not with O(remote_src=true).
    type: bool
    version_added: 0.2.0
    default: false
  namespace_map:
    description:
      - Namespaces to rename, and those below them with them, so that the same files serve several stages. The longest
        entry that fits counts.
      - Only the top-level C(namespace) of a flow is rewritten. References to other flows stay as they are.
    type: dict
    version_added: 0.2.0
    default: {}
  namespaces:
    description:
      - Namespaces to look at besides those of the files, for O(prune). Exactly these, not those below them.
    type: list
    version_added: 0.2.0
    elements: str
    default: []
  prune:
    description:
      - Whether to delete flows that have no file, in the namespaces of the files and in O(namespaces).
      - Only flows that carry O(owner_labels) in their own text are deleted, and only when every other write succeeded.
      - Kestra keeps the revisions of a deleted flow; a later run with its file brings it back.
    type: bool
    version_added: 0.2.0
    default: false
  prune_limit:
    description:
      - How many flows may be pruned in one run - a number, or a share of the flows that the server holds in these
        namespaces, such as V(20%). More is refused before anything is written.
    type: str
    version_added: 0.2.0
    default: "10"
  owner_labels:
    description: Labels that a flow has to carry, all of them, to be pruned.
    type: dict
    version_added: 0.2.0
    default:
      managed-by: ansible
  drift:
    description:
      - What to do with a flow that would be updated or pruned, and that is stored differently from what was written
        from files - edited, disabled or enabled on the server, not readable by Kestra any more, a draft, or not known
        to have been written by this module.
      - With V(overwrite) it is updated or pruned, and RV(plan) and a warning tell what it was.
      - With V(report) it is left as it is, and the plan calls it C(blocked). With V(fail) nothing is written at all.
      - To know what was written, the module keeps hashes of the texts in each namespace's key-value store, under the
        key C(devorch.orchestration.flows).
    type: str
    version_added: 0.2.0
    choices: [overwrite, report, fail]
    default: overwrite
  on_failure:
    description:
      - What to do when a flow cannot be written. With V(rollback) every flow that was touched gets its former text
        again, and those that were created are deleted.
      - With V(keep) what was written stays, and flows that the server refuses do not stop the others.
    type: str
    version_added: 0.2.0
    choices: [rollback, keep]
    default: rollback
  save_plan:
    description:
      - File for the plan, on the host the module runs on. It holds the texts of the flows, and has mode 0600.
      - In check mode it is written as well, which changes nothing on the server.
    type: path
    version_added: 0.2.0
  plan:
    description:
      - File with a plan that O(save_plan) has written. It is carried out exactly as it is, instead of O(src) and
        O(content).
      - When a flow of the plan is not stored as it was when the plan was made, nothing is written, and all such flows
        are named.
    type: path
    version_added: 0.2.0
  concurrency:
    description: How many requests are in flight at the same time, from 1 to 32. Never two for the same flow.
    type: int
    default: 8
  run_timeout:
    description:
      - Seconds that the whole run may take. When they are over, nothing more is started, and what was written is put
        back or kept as O(on_failure) says; putting back may take another minute.
    type: int
    version_added: 0.2.0
    default: 1800
  _packed_src:
    description: Where the action plugin has put what it read on the controller. Not for use in a task.
    type: path
attributes:
  check_mode:
    support: full
    details:
      - Sends only what reads, which includes the server's validation, and returns the same plan.
  diff_mode:
    support: full
  idempotent:
    support: full
requirements:
  - PyYAML
notes:
  - A file with a top-level C(revision), C(deleted), C(tenantId), C(draft), C(source) or C(updated) is refused. Kestra
    would store such a flow anew on every run, or hide it.
  - A flow that was deleted is created again. Its revisions go on counting.
  - Flows that somebody else changes between the plan and the write are not overwritten; the run fails.
seealso:
  - module: devorch.orchestration.kestra_flow
  - module: devorch.orchestration.kestra_export
  - module: devorch.orchestration.kestra_health
"""

EXAMPLES = r"""
- name: Load the flows of a directory next to the playbook
  devorch.orchestration.kestra_flows:
    src: kestra-flows
    url: http://127.0.0.1:8080
    username: admin@example.org
    password: "{{ kestra_password }}"

- name: Load one flow from a file on the managed host
  devorch.orchestration.kestra_flows:
    src: /srv/flows/hello-world.yaml
    remote_src: true
    username: admin@example.org
    password: "{{ kestra_password }}"
  register: loaded

- name: Show what would change, and keep the plan
  devorch.orchestration.kestra_flows:
    src: kestra-flows
    prune: true
    save_plan: /srv/flows/plan.json
    username: admin@example.org
    password: "{{ kestra_password }}"
  check_mode: true
  diff: true

- name: Carry out the plan, or nothing
  devorch.orchestration.kestra_flows:
    plan: /srv/flows/plan.json
    username: admin@example.org
    password: "{{ kestra_password }}"

- name: Promote the same files to production, and touch nothing that was edited there
  devorch.orchestration.kestra_flows:
    src: kestra-flows
    namespace_map:
      company.dev: company.prod
    drift: fail
    username: admin@example.org
    password: "{{ kestra_password }}"

- name: Load a flow that is written here
  devorch.orchestration.kestra_flows:
    content:
      - !unsafe |
        id: greeting
        namespace: company.dev
        tasks:
          - id: say
            type: io.kestra.plugin.core.log.Log
            message: Hello from {{ flow.id }}
    username: admin@example.org
    password: "{{ kestra_password }}"
"""

RETURN = r"""
summary:
  description: How many flows there are, and what was done with them (in check mode, what would be done).
  returned: always
  type: dict
  contains:
    total:
      description: Flows of the plan.
      type: int
      returned: always
    created:
      description: Flows that were missing or deleted.
      type: int
      returned: always
    updated:
      description: Flows whose text differed.
      type: int
      returned: always
    unchanged:
      description: Flows with the same text.
      type: int
      returned: always
    pruned:
      description: Flows that were deleted, since they have no file.
      type: int
      returned: always
    blocked:
      description: Flows that were left as they are, since they drifted.
      type: int
      returned: always
    failed:
      description: Flows that could not be written, or not be put back.
      type: int
      returned: always
    skipped:
      description: Flows that were not tried, since something failed before.
      type: int
      returned: always
    rolled_back:
      description: Flows that were written and then put back.
      type: int
      returned: always
  sample:
    total: 3
    created: 1
    updated: 1
    unchanged: 1
    pruned: 0
    blocked: 0
    failed: 0
    skipped: 0
    rolled_back: 0
plan:
  description: What is to be done, for every flow but the unchanged ones, sorted by namespace and id.
  returned: always
  type: list
  elements: dict
  contains:
    action:
      description: One of V(create), V(update), V(prune) and V(blocked).
      type: str
      returned: always
    namespace:
      description: Namespace of the flow.
      type: str
      returned: always
    id:
      description: Id of the flow.
      type: str
      returned: always
    file:
      description: The file it comes from; none for a flow to prune.
      type: str
      returned: always
    revision:
      description: The revision that is stored, if there is one.
      type: int
      returned: always
    drift:
      description:
        - How what is stored differs from what was written from files - V(edited), V(disabled), V(enabled),
          V(unparseable), V(draft) or V(unrecorded); none if it does not.
      type: str
      returned: always
    reason:
      description: Why it is blocked, if so.
      type: str
      returned: always
  sample:
    - action: update
      namespace: default
      id: hello-world
      file: /srv/site/kestra-flows/default/hello-world.yaml
      revision: 3
      drift: edited
      reason: null
flows:
  description: Every flow of the plan, sorted by namespace and id.
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
    file:
      description: The file it comes from; none for a flow to prune.
      type: str
      returned: always
    action:
      description:
        - One of V(created), V(updated), V(unchanged), V(pruned), V(blocked), V(failed), V(skipped) and V(rolled_back).
      type: str
      returned: always
    revision:
      description: The revision that is stored in the end. In check mode the one stored now, if there is one.
      type: int
      returned: always
    state:
      description:
        - What the server holds in the end - V(planned) for what the plan wants, V(former) for what it held before,
          V(other) for what somebody else has written meanwhile, V(unknown) where it could not be asked.
      type: str
      returned: always
    error:
      description: Why it could not be written or put back, if so.
      type: str
      returned: always
  sample:
    - namespace: default
      id: hello-world
      file: /srv/site/kestra-flows/default/hello-world.yaml
      action: updated
      revision: 4
      state: planned
      error: null
problems:
  description: Everything that is wrong with the files. Nothing is written if there is anything.
  returned: always
  type: list
  elements: dict
  contains:
    file:
      description: The file.
      type: str
      returned: always
    line:
      description: Its line, counted from 1, where there is one.
      type: int
      returned: always
    message:
      description: What is wrong.
      type: str
      returned: always
  sample:
    - file: /srv/site/kestra-flows/default/hello-world.yaml
      line: 7
      message: "Kestra refuses flow default/hello-world: Invalid type: io.kestra.plugin.nope.Nope"
server:
  description: The server's version and edition, as it tells them. Empty if it was not asked.
  returned: always
  type: dict
  sample: {"version": "2.0.5", "edition": "OSS"}
seconds:
  description: How long the parts of the run took - reading files and server, planning, validating, writing - and all.
  returned: always
  type: dict
  sample: {"read": 0.31, "plan": 0.02, "validate": 0.1, "apply": 0.44, "total": 0.9}
diff:
  description: The text of each flow that changes, before and after.
  returned: in diff mode
  type: list
  elements: dict
  sample:
    - before_header: default/hello-world (revision 3)
      after_header: default/hello-world (/srv/site/kestra-flows/default/hello-world.yaml)
      before: "id: hello-world\n"
      after: "id: hello-world\ndescription: Says hello\n"
msg:
  description: What happened, in words.
  returned: always
  type: str
  sample: 1 created, 1 updated, 1 unchanged
"""

import gc
import re

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows.run import Run, run
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows.yaml_nodes import HAS_YAML
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.module import (
    REQUIRED_TOGETHER,
    connection_argument_spec,
    run_module,
)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **connection_argument_spec(),
            "src": {"type": "list", "elements": "path"},
            "content": {"type": "list", "elements": "str"},
            "remote_src": {"type": "bool", "default": False},
            "ignore_file": {"type": "str", "default": ".kestraignore"},
            "template": {"type": "bool", "default": False},
            "namespace_map": {"type": "dict", "default": {}},
            "namespaces": {"type": "list", "elements": "str", "default": []},
            "prune": {"type": "bool", "default": False},
            "prune_limit": {"type": "str", "default": "10"},
            "owner_labels": {"type": "dict", "default": {"managed-by": "ansible"}},
            "drift": {"type": "str", "choices": ["overwrite", "report", "fail"], "default": "overwrite"},
            "on_failure": {"type": "str", "choices": ["rollback", "keep"], "default": "rollback"},
            "save_plan": {"type": "path"},
            "plan": {"type": "path"},
            "concurrency": {"type": "int", "default": 8},
            "run_timeout": {"type": "int", "default": 1800},
            "_packed_src": {"type": "path"},
        },
        required_together=REQUIRED_TOGETHER,
        required_one_of=[("src", "content", "plan")],
        mutually_exclusive=[("src", "plan"), ("content", "plan"), ("save_plan", "plan"), ("template", "remote_src")],
        supports_check_mode=True,
    )
    # What Ansible has made so far stays; nothing is gained by looking through it again and again.
    gc.freeze()
    if not HAS_YAML:
        module.fail_json(msg=missing_required_lib("PyYAML"))
    check_options(module)
    state = Run(shows_diff=module._diff)
    run_module(
        module,
        lambda client: run(module, client, state),
        partial=state.failure,
        pool_size=module.params["concurrency"],
    )


def check_options(module: AnsibleModule) -> None:
    """End the module where options cannot work."""
    options = module.params
    if not 1 <= options["concurrency"] <= 32:
        module.fail_json(msg=f"concurrency is {options['concurrency']}; it is a number from 1 to 32")
    if options["run_timeout"] < 1:
        module.fail_json(msg=f"run_timeout is {options['run_timeout']}; it is a number of seconds from 1")
    if not re.fullmatch(r"\d+|\d{1,2}(\.\d+)?%|100%", options["prune_limit"]):
        module.fail_json(
            msg=f"prune_limit is {options['prune_limit']!r}; it is a number of flows or a share such as 20%"
        )
    if options["prune"] and not options["owner_labels"]:
        module.fail_json(msg="owner_labels is empty; to prune, name at least one label that the flows carry")
    for name in ("owner_labels", "namespace_map"):
        options[name] = {str(key): str(value) for key, value in options[name].items()}


if __name__ == "__main__":
    main()
