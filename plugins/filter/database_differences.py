# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What PostgreSQL has, beside what it should have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

DOCUMENTATION = r"""
name: database_differences
short_description: Compare PostgreSQL's roles and databases with those of the services
version_added: 0.3.0
description:
  - Each service needs one database. Its owner must have the same name, and no other role may connect to it.
  - Returns how the state from M(devorch.orchestration.host_info) differs from this.
author: devorch maintainers (@devorch)
positional: names
options:
  _input:
    description: RV(devorch.orchestration.host_info#module:databases).
    type: dict
    required: true
  names:
    description: The databases that must exist.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Report the differences
  ansible.builtin.debug:
    msg: "{{ host.databases | devorch.orchestration.database_differences(['kestra', 'n8n']) }}"
"""

RETURN = r"""
_value:
  description: One sentence per difference. Empty if there are none.
  type: list
  elements: str
"""


def database_differences(state: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """Return how PostgreSQL differs from one closed database per name with an owner of the same name."""
    if not state.get("reachable"):
        return ["PostgreSQL does not answer"]
    differences = []
    for name in ["postgres", *names]:
        role = state["roles"].get(name)
        if role is None:
            differences.append(f"the role {name} is missing")
            continue
        if role["password"] != "current":  # noqa: S105
            differences.append(f"the password of the role {name} differs")
        admin = name == "postgres"
        if not role["login"] or role["superuser"] != admin:
            differences.append(f"the attributes of the role {name} differ")
        if not admin and (role["createdb"] or role["createrole"]):
            differences.append(f"the role {name} may create databases or roles")
    for name in names:
        database = state["databases"].get(name)
        if database is None:
            differences.append(f"the database {name} is missing")
        elif database["owner"] != name or database["encoding"] != "UTF8":
            differences.append(f"owner or encoding of the database {name} differ")
        elif database["public"]:
            differences.append(f"everybody may connect to the database {name}")
    return differences


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Any]:
        """Return the filters by name."""
        return {"database_differences": database_differences}
