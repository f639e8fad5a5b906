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
      - If not set, the value of the environment variable E(KESTRA_URL) or E(KESTRACTL_HOST) is used.
    type: str
    default: http://127.0.0.1:8080
  username:
    description:
      - User of Kestra's basic authentication, an e-mail address. It is case-sensitive.
      - If not set, the value of the environment variable E(KESTRA_USERNAME) or E(KESTRACTL_USERNAME) is used.
    type: str
  password:
    description:
      - Password of O(username).
      - If not set, the value of the environment variable E(KESTRA_PASSWORD) or E(KESTRACTL_PASSWORD) is used.
    type: str
  token:
    description:
      - API token of a user or a service account of the Enterprise edition, instead of O(username).
      - If not set, the value of the environment variable E(KESTRA_TOKEN) or E(KESTRACTL_TOKEN) is used.
      - A login of the task wins over one of the environment. In the environment, the token wins over the user.
    type: str
  headers:
    description:
      - Headers to send with every request, for example for a gateway in front of Kestra.
      - They are kept out of the log and the result. Values of less than 6 characters are not masked in messages.
    type: dict
    default: {}
  client_cert:
    description:
      - File with the client certificate for mutual TLS, in PEM, on the host the module runs on.
      - It can hold the key too.
      - If not set, the value of the environment variable E(KESTRA_CLIENT_CERT) is used.
    type: path
  client_key:
    description:
      - File with the private key of O(client_cert), without a passphrase, on the host the module runs on.
      - If not set, the value of the environment variable E(KESTRA_CLIENT_KEY) is used.
    type: path
  tenant:
    description:
      - Tenant of the flows. An open-source server has only V(main).
      - Set it to an empty string for servers before 0.23, which have no tenants.
      - If not set, the value of the environment variable E(KESTRA_TENANT) or E(KESTRACTL_TENANT) is used.
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
      - If not set, the value of the environment variable E(KESTRA_CA_PATH) is used, then the authorities of the Python
        library requests. If that was installed with pip, they are those of certifi, and else those of the system.
    type: path
  timeout:
    description:
      - Seconds to wait for a connection (at most 10) and for an answer. An answer of more than 1 MiB may take that time
        for each MiB.
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
  - C(.netrc) is not used. E(REQUESTS_CA_BUNDLE) and E(CURL_CA_BUNDLE) are used if O(ca_path) is not set.
  - For a server on the loopback interface neither these two nor the proxies of the environment are used. An authority
    of its own needs O(ca_path).
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
