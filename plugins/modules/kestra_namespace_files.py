#!/usr/bin/python

# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: kestra_namespace_files
short_description: Manage the files of a Kestra namespace from a directory
version_added: 0.2.0
description:
  - Creates and updates the files of a namespace. Flows read them with C(read('path')), and scripts find them in their
    working directory.
  - Files are compared byte by byte. A file with the same content is not written and gets no new revision.
  - If any file has a problem, the module writes nothing and reports all problems of all files.
  - Files of the namespace that are not in the directory are only deleted with O(prune=true).
author:
  - devorch maintainers (@devorch)
extends_documentation_fragment:
  - devorch.orchestration.kestra
  - devorch.orchestration.kestra.attributes
  - devorch.orchestration.kestra.actiongroup
options:
  namespace:
    description: Namespace of the files. It does not need to have flows.
    type: str
    required: true
  src:
    description:
      - Directory to load. All files are loaded, including hidden files and files in subdirectories. Empty directories
        are ignored.
      - Symbolic links within the directory are followed. A link that leads out of the directory is refused.
      - A relative path is searched for as in M(ansible.builtin.copy), first in the C(files) directory of the role or
        the playbook.
    type: path
    required: true
  remote_src:
    description:
      - Whether O(src) is on the managed host.
      - If V(false), the files are read on the controller and sent to the managed host. The controller does not need
        access to Kestra's port.
    type: bool
    default: false
  dest:
    description: Target directory in the namespace. If empty, it is the top of the namespace.
    type: str
    default: ""
  ignore_file:
    description:
      - Name of a file in O(src). It lists files to ignore, with the patterns of C(.gitignore), and is ignored itself.
        If empty, no file is ignored.
      - If such a file exists, the Python library C(pathspec) is required on the host that has O(src).
    type: str
    default: .kestraignore
  prune:
    description:
      - Whether to delete files below O(dest) that are not in O(src), or that O(ignore_file) lists.
      - Files are deleted only after all writes have succeeded.
    type: bool
    default: false
  prune_limit:
    description:
      - Maximum number of files to delete. It is a number, or a share of the files below O(dest), such as V(20%).
      - If there are more to delete, the module fails before it writes anything.
    type: str
    default: "10"
  concurrency:
    description: Number of concurrent requests, from 1 to 32. Never two for the same file.
    type: int
    default: 8
  _packed_src:
    description: Where the files are that the action plugin read on the controller. Not for use in a task.
    type: path
  _problems:
    description: Problems that the action plugin found in the files. Not for use in a task.
    type: list
    elements: str
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details:
      - For a file that is not text, or longer than 100000 bytes, the diff shows its length and its checksum.
  idempotent:
    support: full
notes:
  - The module reads the files of the namespace to compare them. If there are more than three, it reads them as one
    archive.
  - A name with a backslash is refused, because Kestra would create a directory from it.
  - A name that Kestra needs for a revision of another file is refused, such as C(a.v2) next to C(a).
  - Everything below C(_flows) is refused, because Kestra treats it as flows.
  - If the server fails during the writes, completed writes are not rolled back. RV(files) reports them.
seealso:
  - module: devorch.orchestration.kestra_flows
  - module: devorch.orchestration.kestra_export
"""

EXAMPLES = r"""
- name: Load scripts from a directory next to the playbook
  devorch.orchestration.kestra_namespace_files:
    namespace: company.team
    src: scripts
    url: http://127.0.0.1:8080
    username: admin@example.org
    password: "{{ kestra_password }}"

- name: Ensure that a directory of the namespace equals one on the managed host
  devorch.orchestration.kestra_namespace_files:
    namespace: company.team
    src: "{{ queries }}"
    remote_src: true
    dest: sql/reports
    prune: true
    prune_limit: 20%
    username: admin@example.org
    password: "{{ kestra_password }}"

- name: Report what would change
  devorch.orchestration.kestra_namespace_files:
    namespace: company.team
    src: scripts
    username: admin@example.org
    password: "{{ kestra_password }}"
  check_mode: true
  diff: true
"""

RETURN = r"""
summary:
  description: Number of files by what was done with them. In check mode, by what would be done.
  returned: when the server could be read
  type: dict
  contains:
    total:
      description: Files in the directory.
      type: int
      returned: always
    created:
      description: Files that did not exist.
      type: int
      returned: always
    updated:
      description: Files whose content differed.
      type: int
      returned: always
    unchanged:
      description: Files with the same content.
      type: int
      returned: always
    pruned:
      description: Files that were deleted.
      type: int
      returned: always
    failed:
      description: Files that could not be written or deleted.
      type: int
      returned: always
    skipped:
      description: Files that were not tried because of an earlier failure.
      type: int
      returned: always
    extra:
      description: Files below O(dest) that are not in the directory and were not deleted.
      type: int
      returned: always
  sample: {"total": 3, "created": 1, "updated": 1, "unchanged": 1, "pruned": 0, "failed": 0, "skipped": 0, "extra": 2}
files:
  description: All files of the directory and all deleted files, sorted by path.
  returned: when the server could be read
  type: list
  elements: dict
  contains:
    path:
      description: Path of the file in the namespace.
      type: str
      returned: always
    action:
      description: One of V(created), V(updated), V(unchanged), V(pruned), V(failed) and V(skipped).
      type: str
      returned: always
    size:
      description: Length of the file in bytes. V(null) for a deleted file.
      type: int
      returned: always
    error:
      description: Why the file could not be written or deleted.
      type: str
      returned: always
  sample:
    - path: scripts/load.py
      action: updated
      size: 812
      error: null
extra:
  description: Paths of the files below O(dest) that are not in the directory and were not deleted.
  returned: when the server could be read
  type: list
  elements: str
  sample: [scripts/old.py]
problems:
  description: All problems in the files. If there are any, nothing is written.
  returned: when the files could be read
  type: list
  elements: str
  sample: ["/srv/site/scripts/etc: is a link to /etc, out of the directory"]
server:
  description: Version and edition that the server reports.
  returned: when the server could be read
  type: dict
  sample: {"version": "2.0.5", "edition": "OSS"}
diff:
  description: Content of each changed file before and after.
  returned: when the server could be read
  type: list
  elements: dict
  sample:
    - before_header: scripts/load.py
      after_header: scripts/load.py
      before: "print(1)\n"
      after: "print(2)\n"
msg:
  description: Summary of the result.
  returned: always
  type: str
  sample: 1 created, 1 updated, 1 unchanged, 2 extra
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.devorch.orchestration.plugins.module_utils.ignore_file import IGNORE_FILE
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.client import KestraClient, KestraError
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.kv import ValueProblem, check_namespace
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.module import (
    REQUIRED_TOGETHER,
    connection_argument_spec,
    run_module,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.namespace_files.plan import (
    Content,
    Plan,
    as_result,
    check_dest,
    match,
    most_pruned,
    read_tree,
    target_path,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.namespace_files.sync import (
    NamespaceFiles,
    Outcome,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.module import Failure
from ansible_collections.devorch.orchestration.plugins.module_utils.packed_files import unpack

PLANNED = {"create": "created", "update": "updated", "unchanged": "unchanged", "prune": "pruned"}
ACTIONS = ("created", "updated", "unchanged", "pruned", "failed", "skipped")
DONE = ("created", "updated", "pruned")


def gather(module: AnsibleModule) -> tuple[Sequence[Content], list[str]]:
    """Return the files, of this host or packed by the action plugin, and what is wrong with them."""
    if module.params["remote_src"]:
        directory = Path(module.params["src"])
        if not directory.is_dir():
            raise Failure(f"src {str(directory)!r} is not a directory on the managed host")
        return read_tree(directory, module.params["ignore_file"])
    if module.params["_packed_src"] is None:
        raise Failure(
            "The files were not transferred: with remote_src=false the module runs through its action plugin, in a "
            "playbook or by the ansible command."
        )
    try:
        return unpack(Path(module.params["_packed_src"])), list(module.params["_problems"] or [])
    except (OSError, ValueError) as error:
        raise Failure(f"The packed files are damaged: {error}") from error


def result_of(plan: Plan, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return what the module returns of a plan and what became of it."""
    actions = [outcome.action for outcome in outcomes]
    summary = {"total": sum(item.action != "prune" for item in plan.items)}
    summary.update({action: actions.count(action) for action in ACTIONS})
    summary["extra"] = len(plan.extra)
    return {
        "changed": any(action in DONE for action in actions),
        "summary": summary,
        "files": [as_result(outcome.item, outcome.action, outcome.error) for outcome in outcomes],
        "extra": list(plan.extra),
        "diff": [item.diff() for item in plan.having("create", "update", "prune")],
    }


def summary_text(summary: dict[str, int]) -> str:
    """Return the counts as a sentence."""
    always = ("created", "updated", "unchanged")
    shown = [name for name in (*ACTIONS, "extra") if name in always or summary[name]]
    return ", ".join(f"{summary[name]} {name}" for name in shown)


def refuse(problems: Sequence[str]) -> None:
    """End the run where something is wrong with the files."""
    if problems:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        lines = "\n".join(f"  {problem}" for problem in problems)
        raise Failure(f"{count} with the files; nothing was written:\n{lines}", problems=list(problems))


def run(module: AnsibleModule, client: KestraClient) -> dict[str, Any]:
    """Compare, and unless in check mode, write; return the result."""
    parameters = module.params
    dest: str = parameters["dest"]
    local, problems = gather(module)
    if not local and not problems:
        raise Failure(
            f"src {parameters['src']!r} contains no file, or its ignore file leaves all of them out; nothing was done"
        )

    files = NamespaceFiles(client, parameters["namespace"], parameters["concurrency"])
    try:
        info = client.server_info()
        stored = files.listed()
    except KestraError:
        refuse(problems)
        raise
    wanted, there, refused = match(local, dest, stored, not info.is_2, not info.has_filters)
    refuse([*problems, *refused])
    prefix = target_path(dest, "")
    managed = [path for path in stored if not prefix or path.startswith(f"{prefix}/")]
    plan = files.plan(wanted, there, managed, parameters["prune"])
    server = {"version": info.version, "edition": info.edition}

    most = most_pruned(parameters["prune_limit"], len(managed))
    pruned = plan.having("prune")
    if len(pruned) > most:
        shown = ", ".join(item.path for item in pruned[:10]) + (", ..." if len(pruned) > 10 else "")
        raise Failure(
            f"{len(pruned)} files would be deleted, where prune_limit={parameters['prune_limit']} allows {most}; "
            f"nothing was written. Is src the right directory? If so, raise prune_limit. The files: {shown}"
        )
    if module.check_mode:
        planned = [Outcome(item, PLANNED[item.action]) for item in plan.items]
    else:
        planned = files.apply(plan, stored)
    result = {**result_of(plan, planned), "problems": [], "server": server}
    failed = [outcome for outcome in planned if outcome.error]
    if failed:
        lines = "\n".join(f"  {outcome.item.path}: {outcome.error}" for outcome in failed)
        done = [outcome.item.path for outcome in planned if outcome.action in DONE]
        kept = f"Done before that, and kept: {', '.join(done)}" if done else "Nothing was written"
        raise Failure(f"{len(failed)} files are not as they should be:\n{lines}\n{kept}.", **result)
    return {**result, "msg": summary_text(result["summary"])}


def check(parameters: dict[str, Any]) -> str | None:
    """Return what is wrong with the options, or None."""
    try:
        check_namespace(parameters["namespace"])
    except ValueProblem as problem:
        return f"namespace {problem}"
    try:
        most_pruned(parameters["prune_limit"], 0)
    except ValueError as error:
        return str(error)
    if not 1 <= parameters["concurrency"] <= 32:
        return f"concurrency is {parameters['concurrency']}; it is a number from 1 to 32"
    return check_dest(parameters["dest"])


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **connection_argument_spec(),
            "namespace": {"type": "str", "required": True},
            "src": {"type": "path", "required": True},
            "remote_src": {"type": "bool", "default": False},
            "dest": {"type": "str", "default": ""},
            "ignore_file": {"type": "str", "default": IGNORE_FILE},
            "prune": {"type": "bool", "default": False},
            "prune_limit": {"type": "str", "default": "10"},
            "concurrency": {"type": "int", "default": 8},
            "_packed_src": {"type": "path"},
            "_problems": {"type": "list", "elements": "str"},
        },
        required_together=REQUIRED_TOGETHER,
        supports_check_mode=True,
    )
    problem = check(module.params)
    if problem:
        module.fail_json(msg=problem)
    run_module(module, lambda client: run(module, client), pool_size=module.params["concurrency"])


if __name__ == "__main__":
    main()
