#!/usr/bin/python

# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: n8n_api_key
short_description: Ensure an API key of n8n in a file
version_added: 0.3.0
description:
  - Ensures that a file holds an API key that n8n accepts. If the file is missing, or n8n refuses the key in it, the
    module logs in as a user, makes a new key with all rights of that user, and writes it to the file.
  - A key with the same label is deleted then.
  - n8n has no public API for this. The module uses the calls of n8n's page, which are tested with n8n 2.41.
author:
  - devorch maintainers (@devorch)
extends_documentation_fragment:
  - devorch.orchestration.n8n.attributes
options:
  url:
    description:
      - Root URL of n8n, as seen from the host the module runs on, without V(/api).
      - If not set, the value of the environment variable E(N8N_URL) is used.
    type: str
    default: http://127.0.0.1:5678
  email:
    description: E-mail address of the user, such as n8n's owner.
    type: str
    required: true
  password:
    description: Password of the user.
    type: str
    required: true
  label:
    description: Label of the key, as n8n's page shows it.
    type: str
    default: devorch.orchestration
  path:
    description: File of the key, on the host the module runs on. Only its owner can read it.
    type: path
    required: true
  force:
    description: Whether to make a new key although the one in the file works.
    type: bool
    default: false
  validate_certs:
    description:
      - Whether to refuse an HTTPS server whose certificate is not valid.
      - If not set, the value of the environment variable E(N8N_VALIDATE_CERTS) is used.
    type: bool
    default: true
  ca_path:
    description:
      - File or directory with the trusted CA certificates, on the host the module runs on.
      - If not set, the value of the environment variable E(N8N_CA_PATH) is used.
    type: path
  client_cert:
    description:
      - File with the client certificate for mutual TLS, in PEM, on the host the module runs on.
      - If not set, the value of the environment variable E(N8N_CLIENT_CERT) is used.
    type: path
  client_key:
    description:
      - File with the private key of O(client_cert), without a passphrase, on the host the module runs on.
      - If not set, the value of the environment variable E(N8N_CLIENT_KEY) is used.
    type: path
  timeout:
    description:
      - Seconds to wait for a connection (at most 10) and for an answer.
      - If not set, the value of the environment variable E(N8N_TIMEOUT) is used.
    type: int
    default: 30
  retries:
    description:
      - Maximum number of times that a request is repeated if the connection fails or n8n is busy. The pauses grow.
      - If not set, the value of the environment variable E(N8N_RETRIES) is used.
    type: int
    default: 3
requirements:
  - requests
attributes:
  check_mode:
    support: full
    details:
      - Asks n8n whether it accepts the key in the file, and does not log in.
  diff_mode:
    support: none
  idempotent:
    support: partial
    details:
      - With O(force=true), each run makes a new key.
notes:
  - The key is not in the result. M(ansible.builtin.slurp) reads the file.
"""

EXAMPLES = r"""
- name: Ensure an API key for the other modules
  devorch.orchestration.n8n_api_key:
    url: http://127.0.0.1:5678
    email: admin@example.com
    password: "{{ n8n_owner_password }}"
    path: /srv/n8n_api_key
"""

RETURN = r"""
file:
  description: The file of the key.
  returned: success
  type: str
  sample: /srv/n8n_api_key
msg:
  description: Summary of the result.
  returned: always
  type: str
  sample: the key in /srv/n8n_api_key was made
"""

import os
import stat
import tempfile
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.devorch.orchestration.plugins.module_utils.module import Failure
from ansible_collections.devorch.orchestration.plugins.module_utils.n8n.client import N8nClient, N8nConnection
from ansible_collections.devorch.orchestration.plugins.module_utils.n8n.internal import N8nPage
from ansible_collections.devorch.orchestration.plugins.module_utils.n8n.module import (
    connection_argument_spec,
    run_module,
)

PRIVATE = 0o600


def read(path: Path) -> str | None:
    """Return the key in a file, or None."""
    try:
        return path.read_text(encoding="ascii").strip() or None
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(f"path {str(path)!r} cannot be read: {error}") from error


def is_private(path: Path) -> bool:
    """Return whether only its owner can read a file."""
    return stat.S_IMODE(path.stat().st_mode) == PRIVATE


def write(path: Path, key: str) -> None:
    """Write a key to its file at once, or not at all."""
    beside: Path | None = None
    try:
        handle, name = tempfile.mkstemp(prefix=".api-key-", dir=path.parent)
        beside = Path(name)
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(f"{key}\n")
        beside.replace(path)
    except OSError as error:
        if beside is not None:
            beside.unlink(missing_ok=True)
        raise Failure(f"path {str(path)!r} cannot be written: {error.strerror or error}") from error


def run(module: AnsibleModule, connection: N8nConnection) -> dict[str, Any]:
    """Try the key in the file, and make another one if it does not work."""
    options = module.params
    path = Path(options["path"])
    if not path.parent.is_dir():
        raise Failure(f"path {str(path)!r}: its directory does not exist")
    page = N8nPage(connection, [options["password"]])
    try:
        known = read(path)
        works = known is not None and page.key_works(known)
        private = works and is_private(path)
        changed = options["force"] or not works or not private
        if changed and not module.check_mode:
            if works and not options["force"]:
                path.chmod(PRIVATE)
            else:
                page.log_in(options["email"], options["password"])
                write(path, page.make_key(options["label"]))
    finally:
        page.close()
    done = "made" if options["force"] or not works else "closed to others" if not private else "accepted"
    return {"changed": changed, "file": str(path), "msg": f"the key in {path} was {done}"}


def main() -> None:
    connection_options = {name: option for name, option in connection_argument_spec().items() if name != "api_key"}
    module = AnsibleModule(
        argument_spec={
            **connection_options,
            "email": {"type": "str", "required": True},
            "password": {"type": "str", "required": True, "no_log": True},
            "label": {"type": "str", "default": "devorch.orchestration"},
            "path": {"type": "path", "required": True},
            "force": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    module.params["api_key"] = None

    def body(client: N8nClient) -> dict[str, Any]:
        return run(module, client.connection)

    run_module(module, body)


if __name__ == "__main__":
    main()
