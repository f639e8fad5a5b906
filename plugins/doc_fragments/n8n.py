# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  url:
    description:
      - Root URL of n8n, as seen from the host the module runs on, without V(/api).
      - If not set, the value of the environment variable E(N8N_URL) is used.
    type: str
    default: http://127.0.0.1:5678
  api_key:
    description:
      - API key of a user of n8n.
      - If not set, the value of the environment variable E(N8N_API_KEY) is used.
    type: str
  client_cert:
    description:
      - File with the client certificate for mutual TLS, in PEM, on the host the module runs on.
      - It can hold the key too.
      - If not set, the value of the environment variable E(N8N_CLIENT_CERT) is used.
    type: path
  client_key:
    description:
      - File with the private key of O(client_cert), without a passphrase, on the host the module runs on.
      - If not set, the value of the environment variable E(N8N_CLIENT_KEY) is used.
    type: path
  validate_certs:
    description:
      - Whether to refuse an HTTPS server whose certificate is not valid.
      - If not set, the value of the environment variable E(N8N_VALIDATE_CERTS) is used.
    type: bool
    default: true
  ca_path:
    description:
      - File or directory with the trusted CA certificates, on the host the module runs on.
      - If not set, the value of the environment variable E(N8N_CA_PATH) is used, then the authorities of the Python
        library requests. If that was installed with pip, they are those of certifi, and else those of the system.
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
      - Only requests that are safe to repeat are repeated.
      - If not set, the value of the environment variable E(N8N_RETRIES) is used.
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
  action_group:
    description: Use C(group/devorch.orchestration.n8n) in C(module_defaults) to set the connection options once.
    support: full
    membership:
      - devorch.orchestration.n8n
"""
