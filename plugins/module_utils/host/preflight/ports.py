# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rules for TCP ports: valid, not equal, not in use by another program."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Set
from dataclasses import dataclass
from typing import Any

from ansible_collections.devorch.orchestration.plugins.module_utils.host.preflight.situation import (
    SERVICES,
    Rule,
    Situation,
)

PROJECT = "orchestration"
SOCKET = "orchestration-sidecar.socket"
WILDCARDS = frozenset(("0.0.0.0", "::", "*", ""))  # noqa: S104 - compared with, never bound
"""Addresses that listen on all of the host's."""


def overlap(some: Set[str], others: Set[str]) -> bool:
    """Return whether one port can't be used on both sets of addresses by two programs."""
    return bool(WILDCARDS & (some | others) or some & others)


@dataclass(frozen=True)
class _Port:
    service: str
    variable: str
    number: int
    addresses: frozenset[str]

    @property
    def valid(self) -> bool:
        return 1 <= self.number <= 65535

    def collides(self, other: _Port) -> bool:
        """Return whether both cannot listen at the same time."""
        if self.number != other.number or not (self.valid and other.valid):
            return False
        # Two of one service are never the same, whatever the addresses: a mistake in any case.
        return self.service == other.service or overlap(self.addresses, other.addresses)


def _address(text: Any) -> str:
    plain = str(text).strip("[]")
    try:
        return str(ipaddress.ip_address(plain))
    except ValueError:
        return plain


def _ports(situation: Situation, service: str) -> Iterator[_Port]:
    addresses: dict[str, list[Any]] = {
        "sidecar_port": situation.items("sidecar_bind_addresses"),
        "kestra_port": [situation.text("kestra_bind_address")],
        "kestra_management_port": ["127.0.0.1"],
        "n8n_port": [situation.text("n8n_bind_address")],
    }
    for variable, listed in addresses.items():
        number = situation.number(variable)
        if variable.startswith(f"{service}_") and number is not None:
            yield _Port(service, variable, number, frozenset(map(_address, listed)))


def _equal_ports(situation: Situation) -> Iterator[str]:
    deployed = situation.deployed()
    ports = [port for service in SERVICES if service in deployed for port in _ports(situation, service)]
    for number, port in enumerate(ports):
        for other in ports[:number]:
            if port.collides(other):
                yield (
                    f"{port.variable}: the same as {other.variable} ({other.number}). Set one of them to another port."
                )


def _held_by_socket(situation: Situation, port: int) -> bool:
    unit = situation.host.get("units", {}).get(SOCKET, {})
    return unit.get("active") == "active" and any(
        re.search(rf":{port}(\s|$)", str(entry)) for entry in unit.get("listen", [])
    )


def held_ports(service: str) -> Rule:
    def rule(situation: Situation) -> Iterator[str]:
        for port in _ports(situation, service):
            if not port.valid:
                yield f"{port.variable}: {port.number} is not a TCP port. Set it to a number from 1 to 65535."
                continue
            listener = situation.host.get("listeners", {}).get(str(port.number))
            if listener is None:
                continue
            if service == "sidecar":
                # It listens on Docker's bridges also.
                free = _held_by_socket(situation, port.number)
            else:
                # Compose moves a port of the project.
                others = set(map(_address, listener.get("addresses", ["*"])))
                free = listener.get("project") == PROJECT or not overlap(port.addresses, others)
            if not free:
                holder = listener.get("container") or listener.get("process") or "another program"
                unit = f" ({listener['unit']})" if listener.get("unit") else ""
                yield (
                    f"{port.variable}: port {port.number} is in use by {holder}{unit}. Stop it, or set {port.variable}"
                    " to a free port."
                )

    return rule


def bind_address(name: str) -> Rule:
    """Return a rule for an address at which Docker publishes a port."""

    def rule(situation: Situation) -> Iterator[str]:
        if not situation.given(name):
            return
        text, known = situation.text(name), situation.host.get("addresses", [])
        try:
            address = ipaddress.ip_address(text[1:-1] if re.fullmatch(r"\[.*:.*]", text) else text)
        except ValueError:
            address = None
        if address is None or "%" in text:
            yield (
                f"{name}: '{text}' is not an IP address. Set an address of the host, such as 127.0.0.1, or 0.0.0.0 for"
                " all of them."
            )
        elif not known or str(address) in known or (address.version == 4 and _anywhere(address)):
            return
        elif address.version == 6 and "::1" not in known:
            yield f"{name}: is {text}, and the host has no IPv6. Set an IPv4 address, such as 127.0.0.1 or 0.0.0.0."
        elif not _anywhere(address):
            yield f"{name}: the host has no address {text}. Set one of {', '.join(known)}, or 0.0.0.0 for all of them."

    return rule


def _anywhere(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    return address.is_unspecified or address.is_loopback


RULES: tuple[Rule, ...] = (_equal_ports,)
