# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rules for TCP ports: valid, not equal, not in use by another program."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
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
        everywhere = WILDCARDS & (self.addresses | other.addresses)
        return self.service == other.service or bool(everywhere or self.addresses & other.addresses)


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
            ours = (
                _held_by_socket(situation, port.number)
                if service == "sidecar"
                else listener.get("project") == PROJECT  # Compose moves it
            )
            if not ours:
                holder = listener.get("container") or listener.get("process") or "another program"
                unit = f" ({listener['unit']})" if listener.get("unit") else ""
                yield (
                    f"{port.variable}: port {port.number} is in use by {holder}{unit}. Stop it, or set {port.variable}"
                    " to a free port."
                )

    return rule


RULES: tuple[Rule, ...] = (_equal_ports,)
