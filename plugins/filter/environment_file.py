# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The environment file of a container."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

DOCUMENTATION = r"""
name: environment_file
short_description: Format variables as a container's environment file
version_added: 0.3.0
description:
  - Returns the text of an environment file for Docker Compose, with one variable per line, sorted by name.
  - Values are quoted. Compose uses them as they are.
author: devorch maintainers (@devorch)
positional: _input
options:
  _input:
    description: The variables, by name. A value must not contain a single quote or a line break.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Write an environment file
  ansible.builtin.copy:
    content: "{{ {'TZ': 'UTC'} | devorch.orchestration.environment_file }}"
    dest: /opt/orchestration/env/application.env
    mode: "0600"
"""

RETURN = r"""
_value:
  description: The text of the file.
  type: str
"""


def environment_file(variables: Mapping[str, Any]) -> str:
    """Return the text of an environment file."""
    if not isinstance(variables, Mapping):
        raise AnsibleFilterError("environment_file: the input is not a dictionary of variables")
    lines = [f"{name}='{value}'" for name, value in sorted(variables.items(), key=lambda item: str(item[0]).lower())]
    return "\n".join(["# Ansible managed", *lines, ""])


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Any]:
        """Return the filters by name."""
        return {"environment_file": environment_file}
