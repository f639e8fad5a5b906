# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The stores of backups."""

from __future__ import annotations

from typing import Any

from ansible_collections.devorch.orchestration.plugins.module_utils.host.repository import stores

DOCUMENTATION = r"""
name: backup_stores
short_description: List the stores of backups with their files
version_added: 0.3.0
description:
  - Returns for each store of C(backup_targets) what the backup program has to know about it, and the contents of its
    secret files. The first is the local store.
author: devorch maintainers (@devorch)
positional: directory, root, keep, proxies
options:
  _input:
    description: The stores, as the variable C(backup_targets) names them.
    type: list
    elements: dict
    required: true
  directory:
    description: Directory of the local store, unless the list has a store with the name V(local).
    type: str
    required: true
  root:
    description: Directory of the orchestration host.
    type: str
    required: true
  keep:
    description: How many backups are kept, for stores that do not say so themselves.
    type: dict
    required: true
  proxies:
    description: Proxies as environment variables, for stores on the web.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Report the names of the stores
  ansible.builtin.debug:
    msg: >-
      {{ backup_targets | devorch.orchestration.backup_stores('/srv/backups', '/opt/orchestration', {'daily': 7})
         | map(attribute='config.name') | list }}
"""

RETURN = r"""
_value:
  description:
    - The stores. C(config) is for the backup program. C(secrets) has the contents of the secret files by name, and
      C(files) those of the other files by path. C(path) is the directory of a store on the host. C(packages) are what
      the store needs on the host.
  type: list
  elements: dict
"""


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Any]:
        """Return the filters by name."""
        return {"backup_stores": stores}
