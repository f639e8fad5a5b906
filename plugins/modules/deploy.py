#!/usr/bin/python

# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: deploy
short_description: Deploy a service with its files, or roll back to the last known good files
version_added: 0.3.0
description:
  - Validates the files of a service together and writes them. Starts the service and waits until it is healthy.
    Verifies the service by using it. Then commits the files as the last known good ones.
  - If the service does not become healthy, or a check of O(verify) fails, the module restores the last known good files
    and starts the service with them. The task then fails with the reason and the last lines of the log, without
    secrets.
  - A service that was never healthy on this host has no last known good files. Its new files stay. With
    O(type=docker), the files from before the run are restored instead.
  - If O(host) shows that nothing differs and the service is healthy, nothing is executed on the managed host.
  - If a run is killed, run it again. It completes the remaining work.
author:
  - devorch maintainers (@devorch)
options:
  service:
    description: Name of the service. The last known good files are in the directory C(rollback/SERVICE) of O(root).
    type: str
    required: true
  type:
    description:
      - V(compose) is a service of the Compose project in O(root). The module writes C(compose.yml) from the files in
        the directory C(services).
      - V(systemd) is a service that consists of the systemd units O(units).
      - V(docker) is Docker's daemon.
      - V(files) is a set of files. They are written, and nothing is started.
    type: str
    choices:
      - compose
      - systemd
      - docker
      - files
    required: true
  root:
    description: Directory of the orchestration host.
    type: path
    default: /opt/orchestration
  project:
    description: Name of the Compose project.
    type: str
    default: orchestration
  files:
    description: The files of the service, written as one set in this order. Their owner is root.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description: Path of the file on the managed host.
        type: path
        required: true
      content:
        description:
          - The content, as text.
          - Each file has exactly one of O(files[].content), O(files[].src), O(files[].template) and O(files[].zip).
        type: str
      src:
        description:
          - Path of a file on the controller with the content. A relative path is searched for as in
            M(ansible.builtin.copy).
        type: str
      template:
        description: Path of a template on the controller, rendered as M(ansible.builtin.template) does.
        type: str
      zip:
        description:
          - Directories and files of the controller to put into a ZIP archive. Each value is the path on the controller.
            Its key is the path in the archive. For a directory, an empty key is the top of the archive.
          - The same files always give the same archive. C(__pycache__) is left out.
        type: dict
      main:
        description:
          - Function that Python calls when it executes the archive of O(files[].zip), as C(package.module:function).
        type: str
      interpreter:
        description:
          - Interpreter in the first line of the archive of O(files[].zip), such as V(/usr/bin/python3). It makes the
            archive a program.
        type: str
      mode:
        description: Mode of the file, as octal digits in a string.
        type: str
        default: "0644"
      secret:
        description:
          - Which values in the file are secrets. With V(some), these are the values that look like secrets or have a
            name that does.
          - No diff and no message shows a secret.
        type: str
        choices:
          - none
          - some
          - all
        default: none
      public:
        description:
          - Names in the file whose values are not secrets, for O(files[].secret=all). Diffs show these values.
          - C(*) matches any characters. A pattern also covers names that the new file no longer has.
          - A value is still masked if its name or the value itself looks like a secret.
        type: list
        elements: str
        default: []
      validate:
        description:
          - Command that checks the file, as a list of arguments. C(%s) is replaced by the path of the new file.
          - The paths of other O(files), in the command and in the contents, are replaced by those of their new files.
          - In check mode the validation is skipped if the command is not on the host yet.
        type: list
        elements: str
        default: []
      merge_record:
        description:
          - Path of a record, if the file is JSON and may also have keys of others. The content is then a JSON object.
            A key of the content replaces the same key of the file. All other keys stay.
          - The mode of the file stays as well, unless O(files[].mode) is V(0600).
          - The record has the keys that the last run has set. If such a key is no longer in the content and still has
            the value that was set, it is removed from the file. If it had another value before this collection set it,
            it gets this value back.
        type: path
      merge_below:
        description:
          - Key of a file with O(files[].merge_record). The value of the key is an object, which is merged in the same
            way and not replaced.
        type: str
        default: ""
  extra_files:
    description: Files that other tasks write. They are committed and rolled back with O(files), and never shown.
    type: list
    elements: path
    default: []
  preserved_env:
    description:
      - Variables that keep these values in a rollback of an environment file, such as a password that the database
        already uses. An environment file is a file with O(files[].secret=all).
    type: dict
    default: {}
  directories:
    description:
      - Directories to create, by path. Each value is a mode as octal digits in a string, or a dictionary of C(mode),
        C(owner), C(group) and C(recurse). An attribute that is left out is not changed.
      - With C(recurse), everything below the directory gets its owner and group before the service starts with changed
        files or directories. If anything there has another owner, the service is stopped first.
    type: dict
    default: {}
  depends_on:
    description: Service of the Compose project that O(service) needs. If it was restarted, O(service) is restarted too.
    type: str
  wait_timeout:
    description: Seconds to wait until the service is healthy. If it is not healthy by then, the deployment fails.
    type: int
    default: 600
  units:
    description:
      - Units for O(type=systemd). They are enabled, and restarted in this order if the files have changed.
    type: list
    elements: str
    default: []
  verify:
    description:
      - Checks that use the healthy service. Each has O(verify[].url), O(verify[].command) or O(verify[].kestra).
      - A check is repeated until it succeeds or its deadline has passed.
    type: list
    elements: dict
    default: []
    suboptions:
      url:
        description: URL to request, without a proxy. Redirects are not followed.
        type: str
      headers:
        description: Headers of the request to O(verify[].url).
        type: dict
        default: {}
      status:
        description: HTTP statuses that count as success.
        type: list
        elements: int
        default: [200]
      validate_certs:
        description: Whether to check the certificate of O(verify[].url).
        type: bool
        default: true
      timeout:
        description: Seconds to wait for one answer.
        type: float
        default: 5
      command:
        description: Command that succeeds if it exits with code 0.
        type: list
        elements: str
        default: []
      kestra:
        description:
          - Check Kestra as M(devorch.orchestration.kestra_health) does. A dictionary of C(url), C(management_url),
            C(username) and C(password).
        type: dict
      deadline:
        description: Seconds after which the check has failed.
        type: float
        default: 60
  log:
    description:
      - Command that prints the log, as a list of arguments. If not set, the log is that of the container, or the
        journal of the units.
    type: list
    elements: str
    default: []
  host:
    description:
      - Result of M(devorch.orchestration.host_info). It must be newer than the last change of the host.
      - If not set, the module reads the state of the host itself.
    type: dict
    default: {}
  lock:
    description:
      - Path of the lock of M(devorch.orchestration.host_lock), which is renewed.
      - If this run does not hold the lock, the module fails and changes nothing. Another run may have taken the lock
        over.
    type: path
  _packed:
    description: Packed contents and secret options from the action plugin. Not for use in a task.
    type: str
attributes:
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying the target.
    support: full
    details:
      - The new files are validated in a temporary directory.
  diff_mode:
    description: Returns details on what has changed, or would change in C(check_mode), when in diff mode.
    support: full
    details:
      - Each secret value is masked. The diff shows which of them change.
  idempotent:
    description: A second run with the same arguments changes nothing and reports C(changed=false).
    support: full
seealso:
  - module: devorch.orchestration.host_info
  - module: devorch.orchestration.host_lock
"""

EXAMPLES = r"""
- name: Deploy an application
  devorch.orchestration.deploy:
    service: application
    type: files
    root: /opt/orchestration
    files:
      - path: /opt/orchestration/application.env
        content: |
          PASSWORD='changed'
        mode: "0600"
        secret: all
      - path: /opt/orchestration/application.json
        content: "{{ {'port': 8080} | to_nice_json }}\n"
        validate: ["python3", "-m", "json.tool", "%s"]
    verify:
      - command: ["true"]
"""

RETURN = r"""
msg:
  description: What was done and why. On failure, what failed and in which state the host is now.
  returned: always
  type: str
  sample: "kestra was updated: /opt/orchestration/env/kestra.env has another content"
service:
  description: Name of the service.
  returned: always
  type: str
  sample: kestra
remote:
  description: Whether anything was executed on the managed host.
  returned: always
  type: bool
  sample: true
action:
  description:
    - What was done, or would be done in check mode. One of V(none), V(create), V(update), V(restart), V(start) and
      V(rollback).
    - With V(create) and V(update), files were written, or containers or units that differed from the files were
      changed. With V(restart) and V(start), containers and units already matched the files.
  returned: always
  type: str
  sample: update
paths:
  description: Paths of the files that were written or restored.
  returned: always
  type: list
  elements: str
  sample: ["/opt/orchestration/env/kestra.env"]
restarted:
  description: Whether something that was running was restarted or created again.
  returned: always
  type: bool
  sample: true
reasons:
  description: What differed from the options.
  returned: always
  type: list
  elements: str
  sample: ["/opt/orchestration/env/kestra.env has another content"]
seconds:
  description: Seconds that the module took on the managed host.
  returned: always
  type: float
  sample: 24.3
"""

import os
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.devorch.orchestration.plugins.module_utils.host import json_merge, lock
from ansible_collections.devorch.orchestration.plugins.module_utils.host.deploy import (
    Deployment,
    DeployRequest,
    Failed,
    last_known_good,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.host.deploy_plan import (
    PlanError,
    argument_spec,
    parse,
    secret_options,
    sha256,
    unchanged,
    unpack,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.host.runtimes import Host, runtime_of
from ansible_collections.devorch.orchestration.plugins.module_utils.host.service_files import (
    FilesError,
    LastKnownGood,
    read,
)


def deploy(options: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    """Carry the options out and return the result."""
    if options["_packed"] is None:
        raise PlanError("is to be run by the action plugin of the same name, which brings the files")
    contents, secret = unpack(options["_packed"])
    if options["lock"] and not check_mode:
        lock.renew(Path(options["lock"]), lock.PlaybookRun(**secret["run"]))
    paths = [Path(spec["path"]) for spec in options["files"]]
    good = last_known_good(Path(options["root"]), options["service"], paths)
    replaced = merge_files(options["files"], contents, good)
    digests = {path: sha256(content) for path, content in contents.items()}
    wanted = parse(options, digests, secret["companions"])
    host = Host()
    runtime = runtime_of(wanted, host, secret["verify"], options["log"], good.config_hash)
    order = DeployRequest(
        wanted=wanted,
        contents=contents,
        secrecy={spec["path"]: spec["secret"] for spec in options["files"]},
        public={spec["path"]: spec["public"] for spec in options["files"]},
        validators={spec["path"]: spec["validate"] for spec in options["files"]},
        merge_records={spec["path"]: spec["merge_record"] for spec in options["files"] if spec["merge_record"]},
        merge_below={spec["path"]: spec["merge_below"] for spec in options["files"]},
        replaced=replaced,
        extra_files=options["extra_files"],
        preserved_env={name: str(value) for name, value in secret["preserved_env"].items()},
        secrets=secret_options(secret),
        wait_timeout=options["wait_timeout"],
        check_mode=check_mode,
    )
    return Deployment(order, runtime, host, good).run()


def merge_files(
    files: list[dict[str, Any]], contents: dict[str, bytes], good: LastKnownGood
) -> dict[str, dict[str, Any]]:
    """Put the content of each file that is merged in place of its keys; the file that is there keeps its mode.

    Return the values of the host that are replaced, by path.
    """
    replaced = {}
    for spec in files:
        if not spec["merge_record"]:
            continue
        path, record, below = Path(spec["path"]), Path(spec["merge_record"]), spec["merge_below"]
        present = read(path)
        before, known = json_merge.set_before(path, record, good), good.replaced(path)
        wanted = json_merge.parse(path, contents[spec["path"]])
        found = json_merge.parse(path, present.content) if present else {}
        replaced[spec["path"]] = json_merge.replaced_values(wanted, found, before, below, known)
        contents[spec["path"]] = json_merge.merged(
            path, contents[spec["path"]], present.content if present else None, before, below, known
        )
        if present and spec["mode"] != "0600":
            spec["mode"] = f"{present.mode:04o}"
    return replaced


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={**argument_spec(), "_packed": {"type": "str", "no_log": True}}, supports_check_mode=True
    )
    os.umask(0o022)
    service = module.params["service"]
    try:
        result = deploy(module.params, module.check_mode)
    except Failed as failure:
        module.fail_json(msg=str(failure), **{key: value for key, value in failure.result.items() if key != "msg"})
    except (PlanError, FilesError, lock.LostError, OSError, ValueError) as error:
        module.fail_json(**{**unchanged(service, remote=True), "msg": f"{service}: {error}"})
    module.exit_json(**result)


if __name__ == "__main__":
    main()
