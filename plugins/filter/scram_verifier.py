# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What PostgreSQL stores of a password, so that the password itself is not sent."""

from __future__ import annotations

from collections.abc import Callable

from ansible_collections.devorch.orchestration.plugins.module_utils.host.scram import verifier_of

DOCUMENTATION = r"""
name: scram_verifier
short_description: Return the SCRAM-SHA-256 verifier of a password
version_added: 0.3.0
author:
  - devorch maintainers (@devorch)
description:
  - Converts a password to the text that PostgreSQL stores to check it.
  - A server that gets this text instead of the password has no password in its log and in its list of activities.
  - The salt is random, so each call returns another text. A server shows the salt to anybody who names the role.
options:
  _input:
    description: The password.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Ensure the owner of a database
  community.postgresql.postgresql_user:
    name: kestra
    password: "{{ kestra_database_password | devorch.orchestration.scram_verifier }}"
"""

RETURN = r"""
_value:
  description: The verifier.
  type: str
"""


def scram_verifier(password: str) -> str:
    """Return a verifier of a password."""
    return verifier_of(str(password))


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, Callable[[str], str]]:
        """Return it by its name."""
        return {"scram_verifier": scram_verifier}
