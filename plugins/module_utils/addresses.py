# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The IP addresses of a host, as its kernel shows them."""

from __future__ import annotations

import ipaddress
from pathlib import Path


def own_addresses(proc: Path = Path("/proc/net")) -> list[str]:
    """Return the IP addresses of this host, in the order of the kernel's tables; empty if the kernel shows none."""
    found: list[str] = []
    for line in _lines(proc / "fib_trie"):
        words = line.split()
        if words[:1] == ["|--"]:
            candidate = words[1]
        elif words == ["/32", "host", "LOCAL"]:
            found.append(candidate)
    for line in _lines(proc / "if_inet6"):
        found.append(str(ipaddress.IPv6Address(bytes.fromhex(line.split()[0]))))
    return list(dict.fromkeys(found))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text("ascii").splitlines()
    except OSError:
        return []
