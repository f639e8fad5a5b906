# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A value of a dictionary of environment variables, as a program reads it."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.devorch.orchestration.plugins.module_utils.environment_file import text

DOCUMENTATION = r"""
name: environment_text
short_description: Format a value of an environment variable
version_added: 0.3.0
description:
  - Returns the text of a value as programs read it. Booleans are V(true) and V(false) in lower case.
  - Fails if the value is null, a list or a dictionary.
author: devorch maintainers (@devorch)
positional: _input
options:
  _input:
    description: The value.
    type: raw
    required: true
"""

EXAMPLES = r"""
- name: Show the texts of three values
  ansible.builtin.debug:
    msg: "{{ [true, 17, 'text'] | map('devorch.orchestration.environment_text') }}"
"""

RETURN = r"""
_value:
  description: The text of the value.
  type: str
"""


def environment_text(value: Any) -> str:
    """Return the text of a value."""
    try:
        return text(value)
    except ValueError as error:
        raise AnsibleFilterError(f"environment_text: the value {error}") from error


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Any]:
        """Return the filters by name."""
        return {"environment_text": environment_text}
