#!/usr/bin/python

# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: kestra_flows
short_description: Manage the flows of a Kestra server from files
version_added: 0.1.0
description:
  - Creates and updates the flows of a Kestra server from YAML files. With O(prune=true), also deletes flows without a
    file.
  - The text of a file is stored byte for byte and compared as text. A flow with the same text is not written and gets
    no new revision.
  - If any file has a problem, the module writes nothing and reports all problems of all files, with file and line. The
    server validates all changes before the first write.
  - If a write fails, all flows that were written are rolled back, unless O(on_failure=keep).
  - The plan can be saved to a file and applied later. It is applied exactly as saved, or not at all.
author:
  - devorch maintainers (@devorch)
extends_documentation_fragment:
  - devorch.orchestration.kestra
  - devorch.orchestration.kestra.attributes
  - devorch.orchestration.kestra.actiongroup
options:
  src:
    description:
      - Files and directories to load. From a directory, all C(*.yml) and C(*.yaml) files are loaded, including those in
        its subdirectories. Hidden files and directories are ignored. A symbolic link that leads out of the directory is
        refused. A directory without any flow file is refused as well.
      - One of O(src), O(content) and O(plan) is required.
      - A file with several YAML documents has several flows. The module uses the C(namespace) in the flow, not the name
        of the directory.
      - A relative path is searched for as in M(ansible.builtin.copy), first in the C(files) directory of the role or
        the playbook.
    type: list
    elements: path
  content:
    description:
      - Texts of flows, in addition to or instead of O(src).
      - Ansible templates the texts before the module reads them. To keep Kestra's own braces, use C(!unsafe).
      - They are kept out of the host's log. The diff shows those that change.
    type: list
    version_added: 0.2.0
    elements: str
  remote_src:
    description:
      - Whether O(src) is on the managed host.
      - If V(false), the files are read on the controller and sent to the managed host. The controller does not need
        access to Kestra's port.
    type: bool
    default: false
  ignore_file:
    description:
      - Name of a file at the top of each directory of O(src). It lists files to ignore, with the patterns of
        C(.gitignore). If empty, no file is ignored.
      - If such a file exists, the Python library C(pathspec) is required.
    type: str
    version_added: 0.2.0
    default: .kestraignore
  template:
    description:
      - "Whether the texts are Jinja templates, with delimiters that Kestra does not use: C(<[ variable ]>),
        C(<% statement %>) and C(<# comment #>). Kestra's own braces stay as they are."
      - The templates are rendered on the controller, so this cannot be combined with O(remote_src=true). The controller
        needs ansible-core 2.19 or newer.
    type: bool
    version_added: 0.2.0
    default: false
  namespace_map:
    description:
      - Namespaces to rename, to use the same files for several stages. Each key is a namespace in the files, and each
        value is its new name. Namespaces below it are renamed too. If several keys match, the longest one is used.
      - Only the top-level C(namespace) of a flow is changed. References to other flows are not changed.
    type: dict
    version_added: 0.2.0
    default: {}
  namespaces:
    description:
      - Namespaces to read for O(prune) in addition to the namespaces of the files. Namespaces below them are not read.
    type: list
    version_added: 0.2.0
    elements: str
    default: []
  prune:
    description:
      - Whether to delete flows that have no file, in the namespaces of the files and in O(namespaces).
      - Only flows whose text has all O(owner_labels) are deleted, and only after all other writes have succeeded.
      - If the module has no record that it wrote such a flow, it warns.
      - Kestra keeps the revisions of a deleted flow. A later run with its file creates it again.
    type: bool
    version_added: 0.2.0
    default: false
  prune_limit:
    description:
      - Maximum number of flows to prune in one run. It is a number, or a share of the flows on the server in these
        namespaces, such as V(20%). If there are more to prune, the module fails before it writes anything.
    type: str
    version_added: 0.2.0
    default: "10"
  owner_labels:
    description: Labels that a flow must have to be pruned. It must have all of them. O(prune=true) needs at least one.
    type: dict
    version_added: 0.2.0
    default:
      managed-by: ansible
  drift:
    description:
      - What to do if a flow that would be updated or pruned has drifted. A flow has drifted if it was edited, disabled
        or enabled on the server, if Kestra can no longer read it, if it is a draft, or if the module has no record that
        it wrote the flow.
      - V(overwrite) updates or prunes the flow. RV(plan) reports the drift. A warning reports it as well, unless it is
        only that there is no record.
      - V(report) does not change the flow. Its action in RV(plan) is V(blocked).
      - V(fail) writes nothing at all.
      - The records are hashes of the texts that the module has written. They are in the key-value store of each
        namespace, in the key C(devorch.orchestration.flows). Without the permission to write it, the module warns and
        writes the flows.
    type: str
    version_added: 0.2.0
    choices: [overwrite, report, fail]
    default: overwrite
  on_failure:
    description:
      - What to do if a flow cannot be written.
      - V(rollback) restores the previous text of all flows that were written, and deletes flows that were created. If
        the server cannot be reached, this is tried for about a minute.
      - V(keep) does not roll back. If the server refuses a flow, the others are still written.
    type: str
    version_added: 0.2.0
    choices: [rollback, keep]
    default: rollback
  task_runners:
    description:
      - Which of the task runners V(process) and V(docker) work on the server. If a flow that differs has a task for the
        other one, the module warns. If the list is empty, this is not checked.
      - A script that names no task runner runs in Docker.
    type: list
    elements: str
    version_added: 0.3.0
    choices: [process, docker]
    default: []
  save_plan:
    description:
      - File to save the plan to, on the host the module runs on. It contains the texts of the flows and has mode 0600.
      - The file is also written in check mode. This changes nothing on the server.
    type: path
    version_added: 0.2.0
  plan:
    description:
      - File with a plan from O(save_plan). The plan is applied exactly as saved. O(src) and O(content) are not used.
        A plan of another server or tenant is refused.
      - If a flow that the plan changes has changed on the server since the plan was saved, the module writes nothing
        and reports all such flows. Another flow that has changed is a warning. A flow that is already as planned is
        left as it is, so that a plan can be applied twice.
      - A file that was changed after it was saved is refused. Only O(plan_key) protects from attackers.
    type: path
    version_added: 0.2.0
  plan_key:
    description:
      - Secret that signs the file of O(save_plan). It has at least 16 characters. If it is set with O(plan), a file
        that was not signed with it is refused.
      - A signed plan does not expire. If the flows that an old plan creates were deleted since, it creates them again.
      - If it is not set, the environment variable E(KESTRA_PLAN_KEY) is used.
    type: str
    version_added: 0.3.0
  concurrency:
    description: Number of concurrent requests, from 1 to 32. Never two for the same flow.
    type: int
    default: 8
  run_timeout:
    description:
      - Seconds that the whole run may take. After that, the module starts no further write. What was written is rolled
        back or kept, depending on O(on_failure). A rollback may take another minute.
    type: int
    version_added: 0.2.0
    default: 1800
  list_unchanged:
    description:
      - Whether the result RV(flows) names unchanged flows as well. They are always counted in RV(summary).
        Of a thousand flows, naming them takes as long as all the rest of a run that changes nothing.
    type: bool
    version_added: 0.2.0
    default: false
  _packed_src:
    description: Path of the archive that the action plugin has packed on the controller. Not for use in a task.
    type: path
attributes:
  check_mode:
    support: full
    details:
      - Sends only requests that change nothing, and returns the same plan. The server still validates all changes.
  diff_mode:
    support: full
  idempotent:
    support: full
requirements:
  - PyYAML
notes:
  - A file with a top-level C(deleted) that is not false is refused, because Kestra would hide the flow. Servers before
    2.0 hide a flow with C(tenantId) too, which is refused for them.
  - A deleted flow is created again. The numbers of its revisions continue.
  - If another client changes a flow between the plan and the write, the module fails and names the flow. Kestra cannot
    write only if nothing has changed. If an edit is replaced in the instant before the write, the module finds it by
    its revision and stores its text again.
seealso:
  - module: devorch.orchestration.kestra_flow
  - module: devorch.orchestration.kestra_export
  - module: devorch.orchestration.kestra_health
"""

EXAMPLES = r"""
- name: Load flows from a directory next to the playbook
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

- name: Report what would change and save the plan
  devorch.orchestration.kestra_flows:
    src: kestra-flows
    prune: true
    save_plan: /srv/flows/plan.json
    username: admin@example.org
    password: "{{ kestra_password }}"
  check_mode: true
  diff: true

- name: Apply the saved plan
  devorch.orchestration.kestra_flows:
    plan: /srv/flows/plan.json
    username: admin@example.org
    password: "{{ kestra_password }}"

- name: Load the same files into production, but fail if a flow was edited there
  devorch.orchestration.kestra_flows:
    src: kestra-flows
    namespace_map:
      company.dev: company.prod
    drift: fail
    username: admin@example.org
    password: "{{ kestra_password }}"

- name: Load a flow from the task itself
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
  description: Number of flows by what was done with them. In check mode, by what would be done.
  returned: always
  type: dict
  contains:
    total:
      description: Flows in the plan.
      type: int
      returned: always
    created:
      description: Flows that did not exist or had been deleted.
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
      description: Flows that were deleted because they have no file.
      type: int
      returned: always
    blocked:
      description: Flows that were not changed because they have drifted.
      type: int
      returned: always
    failed:
      description: Flows that could not be written or rolled back.
      type: int
      returned: always
    skipped:
      description: Flows that were not tried because of an earlier failure.
      type: int
      returned: always
    rolled_back:
      description: Flows that were written and then rolled back.
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
  description: The plan for all flows except unchanged ones, sorted by namespace and id.
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
      description: File of the flow. V(null) for a flow to prune.
      type: str
      returned: always
    revision:
      description: Stored revision, if there is one.
      type: int
      returned: always
    drift:
      description:
        - How the flow has drifted - V(edited), V(disabled), V(enabled), V(unparseable), V(draft) or V(unrecorded).
          V(null) if it has not.
      type: str
      returned: always
    reason:
      description: Why the flow is blocked, if it is.
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
  description:
    - The flows in the plan, sorted by namespace and id. Unchanged flows are in it only if O(list_unchanged=true).
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
      description: File of the flow. V(null) for a flow to prune.
      type: str
      returned: always
    action:
      description:
        - One of V(created), V(updated), V(unchanged), V(pruned), V(blocked), V(failed), V(skipped) and V(rolled_back).
      type: str
      returned: always
    revision:
      description: Stored revision after the run, if there is one. In check mode, the one before a change.
      type: int
      returned: always
    state:
      description:
        - What the server has after the run. V(planned) is the flow as planned. V(previous) is the flow as it was before
          the run. V(other) is what another client wrote during the run. V(unknown) means that the server could not be
          read.
      type: str
      returned: always
    error:
      description: Why the flow could not be written or rolled back.
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
    - file: /srv/site/kestra-flows/default/hello-world.yaml
      line: 7
      message: "Kestra refuses flow default/hello-world: Invalid type: io.kestra.plugin.nope.Nope"
server:
  description: Version and edition that the server reports. Empty if the server was not asked.
  returned: always
  type: dict
  sample: {"version": "2.0.5", "edition": "OSS"}
seconds:
  description: Seconds for each part of the run - reading, planning, validating and writing - and for the whole run.
  returned: always
  type: dict
  sample: {"read": 0.31, "plan": 0.02, "validate": 0.1, "apply": 0.44, "total": 0.9}
diff:
  description: Text of each changed flow before and after.
  returned: in diff mode
  type: list
  elements: dict
  sample:
    - before_header: default/hello-world (revision 3)
      after_header: default/hello-world (/srv/site/kestra-flows/default/hello-world.yaml)
      before: "id: hello-world\n"
      after: "id: hello-world\ndescription: Says hello\n"
msg:
  description: Summary of the result.
  returned: always
  type: str
  sample: 1 created, 1 updated, 1 unchanged
"""

import gc
import json
import re

from ansible.module_utils.basic import AnsibleModule, env_fallback, missing_required_lib
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows.run import Run, run
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows.yaml_nodes import HAS_YAML
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.module import (
    REQUIRED_TOGETHER,
    connection_argument_spec,
    only_for_the_server,
    run_module,
)

SHORTEST_KEY = 16
"""Characters of a key that signs plans; an empty one would let anybody sign."""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **connection_argument_spec(),
            "src": {"type": "list", "elements": "path"},
            "content": {"type": "list", "elements": "str", "no_log": True},
            "remote_src": {"type": "bool", "default": False},
            "ignore_file": {"type": "str", "default": ".kestraignore"},
            "template": {"type": "bool", "default": False},
            "namespace_map": {"type": "dict", "default": {}},
            "namespaces": {"type": "list", "elements": "str", "default": []},
            "prune": {"type": "bool", "default": False},
            "prune_limit": {"type": "str", "default": "10"},
            "owner_labels": {"type": "dict", "default": {"managed-by": "ansible"}},
            "task_runners": {"type": "list", "elements": "str", "choices": ["process", "docker"], "default": []},
            "drift": {"type": "str", "choices": ["overwrite", "report", "fail"], "default": "overwrite"},
            "on_failure": {"type": "str", "choices": ["rollback", "keep"], "default": "rollback"},
            "save_plan": {"type": "path"},
            "plan": {"type": "path"},
            "plan_key": {"type": "str", "no_log": True, "fallback": (env_fallback, ["KESTRA_PLAN_KEY"])},
            "concurrency": {"type": "int", "default": 8},
            "run_timeout": {"type": "int", "default": 1800},
            "list_unchanged": {"type": "bool", "default": False},
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
    given = module.params["content"] is not None
    contents = only_for_the_server(module, "content") if given else []
    state = Run(module._diff, contents, module.params["list_unchanged"])
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
    key = options["plan_key"]
    if key is not None and (options["plan"] or options["save_plan"]) and len(key) < SHORTEST_KEY:
        module.fail_json(msg=f"plan_key has {len(key)} characters; set it to a secret of {SHORTEST_KEY} or more")
    if options["prune"] and not options["owner_labels"]:
        module.fail_json(msg="owner_labels is empty; to prune, name at least one label that the flows carry")
    for name in ("owner_labels", "namespace_map"):
        # As YAML writes them, so that true is not "True".
        texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in options[name].items()}
        options[name] = {str(key): text for key, text in texts.items()}


if __name__ == "__main__":
    main()
