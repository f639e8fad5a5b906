# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The address at which a host reaches its own service, for a URL."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

DOCUMENTATION = r"""
name: loopback_for
short_description: Return the address at which a host reaches its own service
version_added: 0.3.0
author:
  - devorch maintainers (@devorch)
description:
  - Converts the address that a service listens on to the address for a URL on the same host.
  - If the service listens on all addresses, this is the loopback address of the same IP version. Other IPv6 addresses
    get the brackets that a URL needs. All other addresses are returned as they are.
options:
  _input:
    description: The address that the service listens on.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Check that Kestra answers on its host
  ansible.builtin.uri:
    url: "http://{{ kestra_bind_address | devorch.orchestration.loopback_for }}:{{ kestra_port }}/"
"""

RETURN = r"""
_value:
  description: The address. IPv6 addresses have brackets.
  type: str
"""


def loopback_for(address: str) -> str:
    """Return the address for a URL of the host's own."""
    text = str(address)
    try:
        parsed = ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return text
    if parsed.version == 4:
        return "127.0.0.1" if parsed.is_unspecified else text
    return "[::1]" if parsed.is_unspecified else f"[{text.strip('[]')}]"


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, Callable[[str], str]]:
        """Return it by its name."""
        return {"loopback_for": loopback_for}
