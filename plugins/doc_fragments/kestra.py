# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  url:
    description:
      - Root URL of the Kestra server, as seen from the host the module runs on, without V(/ui) or V(/api).
      - If not set, the value of the environment variable E(KESTRA_URL) is used.
    type: str
    default: http://127.0.0.1:8080
  username:
    description:
      - User of Kestra's basic authentication, an e-mail address. It is case-sensitive.
      - If not set, the value of the environment variable E(KESTRA_USERNAME) is used.
    type: str
  password:
    description:
      - Password of O(username).
      - If not set, the value of the environment variable E(KESTRA_PASSWORD) is used.
    type: str
  tenant:
    description:
      - Tenant of the flows. An open-source server has only V(main).
      - Set it to an empty string for servers before 0.23, which have no tenants.
      - If not set, the value of the environment variable E(KESTRA_TENANT) is used.
    type: str
    default: main
  validate_certs:
    description:
      - Whether to refuse an HTTPS server whose certificate is not valid.
      - If not set, the value of the environment variable E(KESTRA_VALIDATE_CERTS) is used.
    type: bool
    default: true
  ca_path:
    description:
      - File or directory with the trusted CA certificates, on the host the module runs on.
      - If not set, the value of the environment variable E(KESTRA_CA_PATH) is used, then the system's CA certificates.
    type: path
  timeout:
    description:
      - Seconds to wait for a connection (at most 10) and for an answer.
      - If not set, the value of the environment variable E(KESTRA_TIMEOUT) is used.
    type: int
    default: 30
  retries:
    description:
      - Maximum number of times that a request is repeated if the connection fails or the server is busy. The pauses
        grow.
      - Only requests that are safe to repeat are repeated.
      - If not set, the value of the environment variable E(KESTRA_RETRIES) is used.
    type: int
    default: 3
requirements:
  - requests
notes:
  - The environment variables are read on the host the module runs on.
  - The proxies of the environment are not used for a server on the loopback interface.
"""

    ATTRIBUTES = r"""
attributes:
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying the target.
  diff_mode:
    description: Returns details on what has changed, or would change in C(check_mode), when in diff mode.
  idempotent:
    description: A second run with the same arguments changes nothing and reports C(changed=false).
"""

    ACTIONGROUP = r"""
attributes:
  action_group:
    description: Use C(group/devorch.orchestration.kestra) in C(module_defaults) to set the connection options once.
    support: full
    membership:
      - devorch.orchestration.kestra
"""
