# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  url:
    description:
      - Root URL of the multipass sidecar, as seen from the host the module runs on.
      - If not set, the value of the environment variable E(SIDECAR_URL) is used.
    type: str
    default: http://127.0.0.1:8090
  token:
    description:
      - Token of the sidecar. The role C(sidecar) stores one in C(secrets/sidecar_token) on the orchestration host.
      - If not set, the value of the environment variable E(SIDECAR_TOKEN) is used.
    type: str
  validate_certs:
    description:
      - Whether to refuse an HTTPS server whose certificate is not valid.
      - If not set, the value of the environment variable E(SIDECAR_VALIDATE_CERTS) is used.
    type: bool
    default: true
  ca_path:
    description:
      - File or directory with the trusted CA certificates, on the host the module runs on.
      - If not set, the value of the environment variable E(SIDECAR_CA_PATH) is used, then the authorities of the Python
        library requests. If that was installed with pip, they are those of certifi, and else those of the system.
    type: path
  timeout:
    description:
      - Seconds to wait for a connection (at most 10) and for an answer.
      - If not set, the value of the environment variable E(SIDECAR_TIMEOUT) is used.
    type: int
    default: 30
  retries:
    description:
      - Maximum number of times that a request is repeated if the connection fails or the sidecar is busy. The pauses
        grow.
      - A repeated request has no second effect, because the sidecar recognizes it by a key in its header.
      - If not set, the value of the environment variable E(SIDECAR_RETRIES) is used.
    type: int
    default: 3
requirements:
  - requests
notes:
  - The environment variables are read on the host the module runs on.
  - The proxies of the environment are not used for a server on the loopback interface.
"""

    WAIT = r"""
options:
  wait_timeout:
    description:
      - Seconds to wait for one job of the sidecar. After that the task fails, and the job continues.
      - O(timeout) limits each request.
    type: int
    default: 1800
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
    description: Use C(group/devorch.orchestration.sidecar) in C(module_defaults) to set the connection options once.
    support: full
    membership:
      - devorch.orchestration.sidecar
"""
