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
  - Creates and updates flows of a Kestra server from the YAML files of a directory, or from one file.
  - The text of a file is stored as it is, byte for byte, and compared as text. A flow with the same text is left alone,
    so that no revision is made.
  - Everything that is wrong with any of the files is reported in one run, with file and line, and then nothing is
    written. The server validates what would change before the first write.
  - Flows of the server that have no file are left alone.
author:
  - devorch maintainers (@devorch)
extends_documentation_fragment:
  - devorch.orchestration.kestra
  - devorch.orchestration.kestra.attributes
  - devorch.orchestration.kestra.actiongroup
options:
  src:
    description:
      - A directory, of which every C(*.yml) and C(*.yaml) file is loaded with those of the directories below it, or one
        file. Hidden files and directories are left out.
      - Each file holds one flow. Its C(namespace) counts, not the directory it lies in.
      - A relative path is looked up as for M(ansible.builtin.copy), in the C(files) directory of the role or the
        playbook first.
    type: path
    required: true
  remote_src:
    description:
      - Whether O(src) is on the managed host.
      - If V(false), the files are read on the controller and handed to the module, so that Kestra's port need not be
        reachable from there.
    type: bool
    default: false
  concurrency:
    description: How many requests are in flight at the same time, from 1 to 32. Never two for the same flow.
    type: int
    default: 8
  _sources:
    description: What the action plugin read on the controller. Not for use in a task.
    type: list
    elements: dict
    suboptions:
      path:
        description: Path of the file on the controller.
        type: str
        required: true
      content:
        description: Content of the file in Base64.
        type: str
      problem:
        description: Why the file has no content.
        type: str
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
  - When the server fails in the middle of the writes, those that were done stay. The result tells which.
  - A flow that was deleted is created again. Its revisions go on counting.
seealso:
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

- name: Show what would change
  devorch.orchestration.kestra_flows:
    src: kestra-flows
    username: admin@example.org
    password: "{{ kestra_password }}"
  check_mode: true
  diff: true
"""

RETURN = r"""
summary:
  description: How many flows the files hold, and what was done with them (in check mode, what would be done).
  returned: always
  type: dict
  contains:
    total:
      description: Flows in the files.
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
    failed:
      description: Flows that could not be written.
      type: int
      returned: always
    skipped:
      description: Flows that were not tried, since the server failed before.
      type: int
      returned: always
  sample: {"total": 3, "created": 1, "updated": 1, "unchanged": 1, "failed": 0, "skipped": 0}
flows:
  description: Every flow of the files, sorted by namespace and id.
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
      description: The file it comes from.
      type: str
      returned: always
    action:
      description: One of V(created), V(updated), V(unchanged), V(failed) and V(skipped).
      type: str
      returned: always
    revision:
      description: The revision that is stored in the end. In check mode the one stored now, if there is one.
      type: int
      returned: always
    error:
      description: Why it could not be written, if so.
      type: str
      returned: always
  sample:
    - namespace: default
      id: hello-world
      file: /srv/site/kestra-flows/default/hello-world.yaml
      action: updated
      revision: 4
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
diff:
  description: The text of each flow that changes, before and after.
  returned: always
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

import base64
import binascii
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.devorch.orchestration.plugins.module_utils.flow_plan import (
    HAS_YAML,
    Plan,
    Problem,
    Source,
    make_plan,
    parse_sources,
    read_sources,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.flow_sync import FlowSync, Outcome
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra_client import KestraClient, KestraError
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra_module import (
    REQUIRED_TOGETHER,
    connection_argument_spec,
    connection_from,
)

PLANNED = {"create": "created", "update": "updated", "unchanged": "unchanged"}
ACTIONS = ("created", "updated", "unchanged", "failed", "skipped")


@dataclass
class Run:
    """What is known so far; every way out of the module returns the same keys."""

    plan: Plan = field(default_factory=Plan)
    outcomes: list[Outcome] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    server: dict[str, Any] = field(default_factory=dict)
    written: bool = False

    def result(self, msg: str) -> dict[str, Any]:
        """Return the module's result, apart from whether it failed."""
        outcomes = self.outcomes or [
            Outcome(item, PLANNED[item.action], item.stored.revision if item.stored else None)
            for item in self.plan.items
        ]
        summary = {action: sum(outcome.action == action for outcome in outcomes) for action in ACTIONS}
        return {
            "msg": msg,
            "changed": self.written,
            "summary": {"total": len(outcomes), **summary},
            "flows": [
                {
                    "namespace": outcome.item.flow.namespace,
                    "id": outcome.item.flow.id,
                    "file": outcome.item.flow.file,
                    "action": outcome.action,
                    "revision": outcome.revision,
                    "error": outcome.error,
                }
                for outcome in outcomes
            ],
            "problems": [problem.as_result() for problem in self.problems],
            "server": self.server,
            "diff": self.plan.diff(),
        }

    def words(self) -> str:
        """Return the counts as a sentence."""
        summary = self.result("")["summary"]
        counts = [f"{summary[action]} {action}" for action in ACTIONS if action in PLANNED.values() or summary[action]]
        return ", ".join(counts)


def gather(module: AnsibleModule) -> tuple[list[Source], list[Problem]]:
    """Return the files, read here or handed over by the action plugin."""
    if module.params["remote_src"]:
        try:
            return read_sources(Path(module.params["src"]))
        except OSError:
            return [], [Problem(module.params["src"], None, "does not exist on the managed host")]
    handed = module.params["_sources"]
    if handed is None:
        module.fail_json(
            msg="The files were not handed over: with remote_src=false the module runs through its action plugin, in a "
            "playbook or by the ansible command."
        )
    problems = [Problem(entry["path"], None, entry["problem"]) for entry in handed if entry["problem"]]
    try:
        return [
            Source(entry["path"], base64.b64decode(entry["content"] or "", validate=True))
            for entry in handed
            if not entry["problem"]
        ], problems
    except binascii.Error as error:
        module.fail_json(msg=f"The files were handed over damaged: {error}")
        raise


def describe(problems: list[Problem], what: str) -> str:
    """Return the message for files that cannot be loaded, one problem a line."""
    lines = "\n".join(f"  {problem}" for problem in problems)
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    return f"{count} {what}; nothing was written:\n{lines}"


def run(module: AnsibleModule, client: KestraClient, state: Run) -> str:
    """Do everything; return the closing words, or raise KestraError. Fills C(state) on the way."""
    sources, state.problems = gather(module)
    flows, found = parse_sources(sources)
    state.problems += found
    if state.problems:
        module.fail_json(**state.result(describe(state.problems, "in the flow files")))

    info = client.server_info()
    state.server = {"version": info.version, "edition": info.edition}
    sync = FlowSync(client, module.params["concurrency"])
    state.plan = make_plan(flows, sync.read(flows))

    state.problems, warnings = sync.validate(state.plan.to_validate)
    for warning in warnings:
        module.warn(warning)
    if state.problems:
        module.fail_json(**state.result(describe(state.problems, "found by Kestra")))

    for item in state.plan.items:
        if item.action == "unchanged" and item.stored and item.stored.broken:
            module.warn(f"{item.flow.file}: Kestra cannot read the flow it has stored: {item.stored.broken}")
    state.written = bool(state.plan.changes)
    if module.check_mode:
        return state.words()

    state.written = False
    state.outcomes = sync.apply(state.plan)
    state.written = any(outcome.action in ("created", "updated") for outcome in state.outcomes)
    for outcome in state.outcomes:
        if outcome.warning:
            module.warn(outcome.warning)
    failed = [outcome for outcome in state.outcomes if outcome.error]
    if failed:
        lines = "\n".join(
            f"  {outcome.item.flow.name} ({outcome.item.flow.file}): {outcome.error}" for outcome in failed
        )
        written = [o.item.flow.name for o in state.outcomes if o.action in ("created", "updated")]
        kept = f"Written before that, and kept: {', '.join(written)}" if written else "Nothing was written"
        module.fail_json(**state.result(f"{len(failed)} flows could not be written:\n{lines}\n{kept}."))
    return state.words()


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **connection_argument_spec(),
            "src": {"type": "path", "required": True},
            "remote_src": {"type": "bool", "default": False},
            "concurrency": {"type": "int", "default": 8},
            "_sources": {
                "type": "list",
                "elements": "dict",
                "options": {
                    "path": {"type": "str", "required": True},
                    # Not secret; this keeps the files out of the arguments shown by -vvv.
                    "content": {"type": "str", "no_log": True},
                    "problem": {"type": "str"},
                },
            },
        },
        required_together=REQUIRED_TOGETHER,
        supports_check_mode=True,
    )
    if not HAS_YAML:
        module.fail_json(msg=missing_required_lib("PyYAML"))
    if not 1 <= module.params["concurrency"] <= 32:
        module.fail_json(msg=f"concurrency is {module.params['concurrency']}; it is a number from 1 to 32")
    connection = connection_from(module)
    state = Run()
    client = KestraClient(connection, pool_size=module.params["concurrency"])
    try:
        words = run(module, client, state)
    except KestraError as error:
        module.fail_json(**state.result(str(error)))
    except Exception as error:
        module.fail_json(
            **state.result(f"Unexpected {type(error).__name__}: {error}"), exception=traceback.format_exc()
        )
    finally:
        client.close()
    module.exit_json(**state.result(words))


if __name__ == "__main__":
    main()
