# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a Linux host has and what listens on it, read from /proc and Docker."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path

LISTEN = "0A"
"""State of a listening socket in /proc/net/tcp (Linux, include/net/tcp_states.h)."""

PUBLISHED = re.compile(r"(?P<address>[0-9a-fA-F.:\[\]*]+):(?P<first>\d+)(?:-(?P<last>\d+))?->")


@dataclass(frozen=True)
class Socket:
    """A listening TCP socket: its local address, port and inode."""

    address: str
    port: int
    inode: str


def parse_address(text: str) -> tuple[str, int]:
    """Return address and port of a C(local_address) of /proc/net/tcp or tcp6 (hexadecimal, 32 bits little endian)."""
    host, port = text.split(":")
    words = [bytes.fromhex(host[i : i + 8])[::-1] for i in range(0, len(host), 8)]
    address = ipaddress.ip_address(b"".join(words))
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return str(address), int(port, 16)


def parse_listening(table: str) -> list[Socket]:
    """Return the listening sockets in the text of /proc/net/tcp or /proc/net/tcp6."""
    sockets = []
    for line in table.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 9 and fields[3] == LISTEN:
            address, port = parse_address(fields[1])
            sockets.append(Socket(address, port, fields[9]))
    return sockets


def parse_published(ports: str) -> set[int]:
    """Return the host ports in the C(Ports) column of C(docker ps), as in V(127.0.0.1:8080-8081->8080-8081/tcp)."""
    found: set[int] = set()
    for match in PUBLISHED.finditer(ports):
        first = int(match["first"])
        found.update(range(first, int(match["last"] or first) + 1))
    return found


def socket_inodes(descriptors: Path) -> list[str]:
    """Return the inodes of the sockets among a process's open files."""
    inodes = []
    for entry in descriptors.iterdir():
        try:
            link = str(entry.readlink())
        except OSError:
            continue  # closed since
        if link.startswith("socket:["):
            inodes.append(link.removeprefix("socket:[").removesuffix("]"))
    return inodes


def socket_owners(proc: Path = Path("/proc")) -> dict[str, tuple[str, str]]:
    """Return command name and systemd unit (empty where there is none) by socket inode, of every visible process."""
    owners: dict[str, tuple[str, str]] = {}
    for process in proc.iterdir():
        if not process.name.isdigit():
            continue
        try:
            inodes = socket_inodes(process / "fd")
            if not inodes:
                continue
            # Any user may give a process a name that is not UTF-8. The kernel may cut one within a letter.
            name, groups = ((process / file).read_text("utf-8", errors="replace") for file in ("comm", "cgroup"))
        except OSError:
            continue  # ended since
        for inode in inodes:
            # systemd keeps a copy of each socket it activates: the service's own process says more.
            if inode not in owners or owners[inode][0] == "systemd":
                units = re.findall(r"([^/\n]+\.(?:service|scope))", groups)
                owners[inode] = (name.strip(), units[-1] if units else "")
    return owners


def memory_total(meminfo: str) -> int:
    """Return the bytes of memory in the text of /proc/meminfo."""
    match = re.search(r"^MemTotal:\s+(\d+) kB$", meminfo, re.MULTILINE)
    return int(match[1]) * 1024 if match else 0


def nearest_existing(path: Path) -> Path:
    """Return the path itself or its closest parent that exists."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return path
