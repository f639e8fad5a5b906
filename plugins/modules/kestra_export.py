#!/usr/bin/python

# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: kestra_export
short_description: Export flows, files and keys of Kestra namespaces to a directory
version_added: 0.2.0
description:
  - Writes flows, namespace files and keys to a directory on the host the module runs on.
  - Flows are in C(flows/<namespace>/<id>.yaml), byte for byte as Kestra stores them.
    M(devorch.orchestration.kestra_flows) can load them from C(flows). If two ids of a namespace differ only in case,
    the file name of the second has the suffix C(~2).
  - Files are in C(files/<namespace>/). M(devorch.orchestration.kestra_namespace_files) can load them.
  - Keys are in C(kv/<namespace>.json), a list of dictionaries with C(key), C(type), C(value), C(description) and
    C(expiration). Only the owner can read this file.
  - A file that already has the right content is not written.
author:
  - devorch maintainers (@devorch)
extends_documentation_fragment:
  - devorch.orchestration.kestra
  - devorch.orchestration.kestra.attributes
  - devorch.orchestration.kestra.actiongroup
options:
  namespaces:
    description: Namespaces to export.
    type: list
    elements: str
    required: true
  below:
    description:
      - Whether to also export the namespaces below O(namespaces) that the server lists.
      - Some servers list only namespaces with flows. Add a namespace that has only files or keys to O(namespaces).
    type: bool
    default: false
  content:
    description: What to export.
    type: list
    elements: str
    choices: [flows, files, kv]
    default: [flows, files, kv]
  dest:
    description: Directory of the export. It is created if it does not exist.
    type: path
    required: true
  prune:
    description:
      - Whether to remove files of an earlier export that Kestra no longer has.
      - For the exported namespaces and kinds of content, these are C(*.yaml) files in C(flows/<namespace>), all files
        in C(files/<namespace>), and C(kv/<namespace>.json). Do not put your own files there.
    type: bool
    default: false
  concurrency:
    description: Number of concurrent requests, from 1 to 32.
    type: int
    default: 8
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
  - The module changes nothing in Kestra.
  - Every file is first written under a temporary name and then renamed. A file is never incomplete.
  - The key with the records of M(devorch.orchestration.kestra_flows) is not exported.
seealso:
  - module: devorch.orchestration.kestra_flows
  - module: devorch.orchestration.kestra_namespace_files
  - module: devorch.orchestration.kestra_kv
"""

EXAMPLES = r"""
- name: Export a namespace and the namespaces below it
  devorch.orchestration.kestra_export:
    namespaces: [company]
    below: true
    dest: "{{ backup }}"
    prune: true
    url: http://127.0.0.1:8080
    username: admin@example.org
    password: "{{ kestra_password }}"

- name: Export only flows
  devorch.orchestration.kestra_export:
    namespaces: [company.team, company.other]
    content: [flows]
    dest: "{{ backup }}/only-flows"
    username: admin@example.org
    password: "{{ kestra_password }}"

- name: Load the exported flows
  devorch.orchestration.kestra_flows:
    src: "{{ backup }}/flows"
    remote_src: true
    username: admin@example.org
    password: "{{ kestra_password }}"
"""

RETURN = r"""
summary:
  description: Number of files by what was done with them. In check mode, by what would be done.
  returned: success
  type: dict
  contains:
    total:
      description: Files in the export.
      type: int
      returned: always
    created:
      description: Files that were missing.
      type: int
      returned: always
    updated:
      description: Files whose content differed, and files with keys that other users could read.
      type: int
      returned: always
    unchanged:
      description: Files that were already right.
      type: int
      returned: always
    removed:
      description: Files that Kestra no longer has and that were removed.
      type: int
      returned: always
    stale:
      description: Files that Kestra no longer has and that were not removed, because O(prune=false).
      type: int
      returned: always
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
    - path: flows/company.team/hello-world.yaml
      action: created
namespaces:
  description: The namespaces that were exported.
  returned: success
  type: list
  elements: str
  sample: [company, company.team]
diff:
  description: The names of the files that change.
  returned: success
  type: dict
  sample:
    before: ""
    after: "flows/company.team/hello-world.yaml\n"
msg:
  description: Summary of the result.
  returned: always
  type: str
  sample: 2 created, 1 updated, 9 unchanged, 1 stale
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.client import KestraClient
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.export import (
    ACTIONS,
    CONTENT,
    Reader,
    compare,
    diff,
    write,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows.yaml_nodes import HAS_YAML
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.kv import ValueProblem, check_namespace
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.module import (
    REQUIRED_TOGETHER,
    connection_argument_spec,
    run_module,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.module import Failure


def run(module: AnsibleModule, client: KestraClient) -> dict[str, Any]:
    """Read, compare, and unless in check mode, write; return the result."""
    parameters = module.params
    directory = Path(parameters["dest"])
    if directory.exists() and not directory.is_dir():
        raise Failure(f"dest {str(directory)!r} is not a directory")
    reader = Reader(client, parameters["concurrency"])
    namespaces = sorted(set(parameters["namespaces"]))
    if parameters["below"]:
        namespaces = reader.below(namespaces)
    export = reader.read(namespaces, parameters["content"])
    for namespace in export.empty:
        if namespace in parameters["namespaces"] and not parameters["below"]:
            module.warn(f"namespace {namespace} has nothing to export")
    try:
        changes = compare(export, directory, parameters["content"], parameters["below"], parameters["prune"])
        if not module.check_mode and any(change.action in ("created", "updated", "removed") for change in changes):
            write(export, directory, changes)
    except OSError as error:
        where = error.filename2 or error.filename or directory
        raise Failure(
            f"Could not write the export: {where}: {error.strerror or error}. Files that were renamed before stay.",
            # Some may have been.
            changed=not module.check_mode,
        ) from error
    actions = [change.action for change in changes]
    summary: dict[str, int] = {"total": len(export.files)}
    summary.update({action: actions.count(action) for action in ACTIONS})
    shown = [f"{summary[name]} {name}" for name in ACTIONS if name in ACTIONS[:3] or summary[name]]
    return {
        "changed": any(summary[action] for action in ("created", "updated", "removed")),
        "msg": ", ".join(shown),
        "summary": summary,
        "files": [{"path": change.path, "action": change.action} for change in changes],
        "namespaces": list(export.namespaces),
        "diff": diff(changes),
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **connection_argument_spec(),
            "namespaces": {"type": "list", "elements": "str", "required": True},
            "below": {"type": "bool", "default": False},
            "content": {"type": "list", "elements": "str", "choices": list(CONTENT), "default": list(CONTENT)},
            "dest": {"type": "path", "required": True},
            "prune": {"type": "bool", "default": False},
            "concurrency": {"type": "int", "default": 8},
        },
        required_together=REQUIRED_TOGETHER,
        supports_check_mode=True,
    )
    if not HAS_YAML:
        module.fail_json(msg=missing_required_lib("PyYAML"))
    if not module.params["namespaces"]:
        module.fail_json(msg="namespaces is empty; it names what to export")
    if not 1 <= module.params["concurrency"] <= 32:
        module.fail_json(msg=f"concurrency is {module.params['concurrency']}; it is a number from 1 to 32")
    for namespace in module.params["namespaces"]:
        try:
            check_namespace(namespace)
        except ValueProblem as problem:
            module.fail_json(msg=f"namespaces: {problem}")
    run_module(module, lambda client: run(module, client), pool_size=module.params["concurrency"])


if __name__ == "__main__":
    main()
