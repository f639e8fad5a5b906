# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The environment file of a container."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.devorch.orchestration.plugins.module_utils.environment_file import quoted, text

DOCUMENTATION = r"""
name: environment_file
short_description: Format variables as a container's environment file
version_added: 0.3.0
description:
  - Returns the text of an environment file for Docker Compose, with one variable per line, sorted by name.
  - Values are quoted and escaped. The container receives them byte for byte, even if they have several lines.
  - Booleans are written as V(true) and V(false) in lower case.
author: devorch maintainers (@devorch)
positional: _input
options:
  _input:
    description: The variables, by name. A value is a text, a boolean or a number.
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
    lines = []
    for name, value in sorted(variables.items(), key=lambda item: str(item[0]).lower()):
        try:
            lines.append(f"{name}={quoted(text(value))}")
        except ValueError as error:
            raise AnsibleFilterError(f"environment_file: {name} {error}") from error
    return "\n".join(["# Ansible managed", *lines, ""])


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Any]:
        """Return the filters by name."""
        return {"environment_file": environment_file}
