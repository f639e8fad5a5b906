# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What Kestra would not understand in its configuration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.config_schema import problems

DOCUMENTATION = r"""
name: kestra_config_problems
short_description: Find problems in Kestra's configuration
version_added: 0.3.0
author:
  - devorch maintainers (@devorch)
description:
  - Finds keys that Kestra does not know or does not use, values of the wrong type, and invalid YAML.
  - Kestra itself would start with such a configuration and ignore unknown keys.
positional: version, allowed
options:
  _input:
    description: The configuration, as YAML or as a dictionary.
    type: raw
    required: true
  version:
    description: Version of Kestra. Before 2.0, keys in camelCase are accepted.
    type: str
    default: ""
  allowed:
    description: Keys to accept without a check, as paths with dots, such as V(kestra.new.key).
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Check a configuration
  ansible.builtin.assert:
    that: problems | length == 0
    fail_msg: "{{ problems | join('; ') }}"
  vars:
    problems: "{{ {'kestra': {'url': 'http://localhost'}} | devorch.orchestration.kestra_config_problems('v2.0.5') }}"
"""

RETURN = r"""
_value:
  description: One sentence per problem. It contains no value from the configuration.
  type: list
  elements: str
"""


def kestra_config_problems(configuration: Any, version: str = "", allowed: Sequence[str] = ()) -> list[str]:
    """Return the problems of a configuration, given as YAML or read already."""
    return problems(configuration, str(version), allowed)


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return it by its name."""
        return {"kestra_config_problems": kestra_config_problems}
