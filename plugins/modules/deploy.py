#!/usr/bin/python

# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: deploy
short_description: Deploy a service with its files, or roll back to the last known good ones
version_added: 0.3.0
description:
  - Validates the files of a service together, writes them, starts the service, waits until it is healthy, verifies it
    by using it, and commits the files as the last known good ones.
  - If the service does not come up, the last known good files are restored, the service is started with them, and the
    task fails with the reason and the last lines of the log, without secrets.
  - If O(host) shows that nothing differs and the service is healthy, nothing is executed on the managed host.
  - If a run is killed, run it again. It completes the work.
author:
  - devorch maintainers (@devorch)
options:
  service:
    description: Name of the service. The last known good files are in the directory C(rollback/SERVICE) of O(root).
    type: str
    required: true
  type:
    description:
      - V(compose) is a service of the Compose project in O(root). C(compose.yml) is written from the files in
        C(services).
      - V(systemd) are the units O(units).
      - V(docker) is Docker's daemon.
      - V(files) are only written.
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
    description: The files of the service as one set, in the order in which they are written. They belong to root.
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
          - The content. Each file has one of this, O(files[].src), O(files[].template) and
            O(files[].zip).
        type: str
      src:
        description: Path of a file on the controller with the content, looked for as other modules do.
        type: str
      template:
        description: Path of a template on the controller, rendered as M(ansible.builtin.template) does.
        type: str
      zip:
        description:
          - Directories of the controller from which an archive is made, by the path of each in the archive. An empty
            path is the top of the archive.
          - The archive is the same whenever and wherever it is made. C(__pycache__) is left out.
        type: dict
      main:
        description: Function, as C(package.module:function), that runs if Python executes the archive.
        type: str
      interpreter:
        description: Interpreter that makes a program of the archive, such as V(/usr/bin/python3).
        type: str
      mode:
        description: The mode, as octal digits in a string.
        type: str
        default: "0644"
      secret:
        description: Whether the values in the file are secrets, which no diff and no message shows.
        type: str
        choices:
          - none
          - some
          - all
        default: none
      public:
        description:
          - Names in the file whose values are no secrets, for O(files[].secret=all). Diffs show them.
          - C(*) stands for any characters, so that a name is public also in a file that has lost it.
          - A value is masked all the same if its name or the value itself looks like a secret.
        type: list
        elements: str
        default: []
      validate:
        description:
          - Command that checks the file, as a list of arguments in which C(%s) is the path of the new file.
          - The paths of other O(files) in it, and in the contents, stand for their new files as well.
          - In check mode a command that is not on the host yet is passed over.
        type: list
        elements: str
        default: []
  extra_files:
    description: Files that other tasks write, committed and rolled back with the others. They are never shown.
    type: list
    elements: path
    default: []
  preserved_env:
    description:
      - Variables of environment files that keep these values on a rollback, such as a password that the database has
        already. An environment file is one with O(files[].secret=all).
    type: dict
    default: {}
  directories:
    description:
      - Directories to make, by path. Each is a mode as octal digits in a string, or a dictionary of C(mode), C(owner)
        and C(group), of which those that are left out stay as they are.
    type: dict
    default: {}
  depends_on:
    description: Service of the Compose project. If it was restarted under this one, this one is restarted.
    type: str
  wait_timeout:
    description: Seconds within which the service has to become healthy.
    type: int
    default: 600
  units:
    description:
      - Units of systemd with O(type=systemd). They are enabled, and restarted in this order if the files have changed.
    type: list
    elements: str
    default: []
  verify:
    description: How the service is used once it has come up. Each is tried until it is right, or its deadline is over.
    type: list
    elements: dict
    default: []
    suboptions:
      url:
        description: URL that is asked directly, without a proxy. Redirections are not followed.
        type: str
      headers:
        description: Headers of the request to O(verify[].url).
        type: dict
        default: {}
      status:
        description: Statuses that are right.
        type: list
        elements: int
        default: [200]
      validate_certs:
        description: Whether the certificate of O(verify[].url) is checked.
        type: bool
        default: true
      timeout:
        description: Seconds that an answer may take.
        type: float
        default: 5
      command:
        description: Command that ends with code 0 if all is well.
        type: list
        elements: str
        default: []
      kestra:
        description:
          - Kestra as a whole, as M(devorch.orchestration.kestra_health) checks it. A dictionary of C(url),
            C(management_url), C(username) and C(password).
        type: dict
      deadline:
        description: Seconds after which it has failed.
        type: float
        default: 60
  log:
    description:
      - Command that prints the log. By default it is the container's log, or the journal of the units.
    type: list
    elements: str
    default: []
  host:
    description:
      - What M(devorch.orchestration.host_info) has returned since the host was last changed.
      - Leave it out if that is not known. Then the host itself is asked.
    type: dict
    default: {}
  lock:
    description: Path of the lock of M(devorch.orchestration.host_lock), which is renewed if it is there.
    type: path
  _packed:
    description: The contents, and the options that may hold secrets, from the action plugin. Not for use in a task.
    type: str
attributes:
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying target.
    support: full
    details:
      - The new files are validated in a temporary directory.
  diff_mode:
    description: Will return details on what has changed when in C(--diff) mode.
    support: full
    details:
      - Secret values are masked one by one; the diff shows which of them change.
  idempotent:
    description: When run twice in a row outside check mode with the same arguments, the second run changes nothing.
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
  description: What was done and why; or what failed, and what the host is like now.
  returned: always
  type: str
  sample: "kestra was updated: /opt/orchestration/env/kestra.env has another content"
service:
  description: The service.
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
    - What was done, or would be done in check mode. V(create) and V(update) are about files, or about containers and
      units that are not what the files say; V(restart) and V(start) leave those as they are.
  returned: always
  type: str
  sample: update
paths:
  description: The files that were written, and those that were restored.
  returned: always
  type: list
  elements: str
  sample: ["/opt/orchestration/env/kestra.env"]
restarted:
  description: Whether something that had been running was restarted or made anew.
  returned: always
  type: bool
  sample: true
reasons:
  description: What was not as wanted.
  returned: always
  type: list
  elements: str
  sample: ["/opt/orchestration/env/kestra.env has another content"]
seconds:
  description: How long it took on the managed host.
  returned: always
  type: float
  sample: 24.3
"""

import os
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.devorch.orchestration.plugins.module_utils.host import lock
from ansible_collections.devorch.orchestration.plugins.module_utils.host.deploy import (
    Deployment,
    Failed,
    Order,
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
from ansible_collections.devorch.orchestration.plugins.module_utils.host.service_files import FilesError


def deploy(options: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    """Carry the options out and return the result."""
    if options["_packed"] is None:
        raise PlanError("is to be run by the action plugin of the same name, which brings the files")
    contents, secret = unpack(options["_packed"])
    wanted = parse(options, {path: sha256(content) for path, content in contents.items()})
    if options["lock"] and not check_mode:
        lock.renew(Path(options["lock"]))
    host = Host()
    good = last_known_good(Path(wanted.root), wanted.service)
    runtime = runtime_of(wanted, host, secret["verify"], options["log"], good.config_hash)
    order = Order(
        wanted=wanted,
        contents=contents,
        secrecy={spec["path"]: spec["secret"] for spec in options["files"]},
        public={spec["path"]: spec["public"] for spec in options["files"]},
        validators={spec["path"]: spec["validate"] for spec in options["files"]},
        extra_files=options["extra_files"],
        preserved_env={name: str(value) for name, value in secret["preserved_env"].items()},
        secrets=secret_options(secret),
        wait_timeout=options["wait_timeout"],
        check_mode=check_mode,
    )
    return Deployment(order, runtime, host, good).run()


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
    except (PlanError, FilesError, OSError, ValueError) as error:
        module.fail_json(**{**unchanged(service, remote=True), "msg": f"{service}: {error}"})
    module.exit_json(**result)


if __name__ == "__main__":
    main()
