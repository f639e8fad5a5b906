# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The limits of connections: who may connect, how many at once, and how long for the head of a request.

uvicorn serves the connections; it has no such limits itself. The kernel ends one whose client takes no data.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
from collections import Counter
from pathlib import Path
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from .settings import Settings

DOCKER = re.compile(r"docker0|docker_gwbridge|br-[0-9a-f]{12}")
"""The names that Docker gives to its bridges."""
ROUTES = Path("/proc/net/route")


def interface_of(address: ipaddress.IPv4Address, routes: str) -> str:
    """Return the interface that packets to an address leave by, from the text of /proc/net/route, or an empty text."""
    best = (-1, "")
    for line in routes.splitlines()[1:]:
        name, destination, _gateway, _flags, _count, _use, _metric, mask, *_rest = line.split()
        network, bits = (int.from_bytes(bytes.fromhex(text), "little") for text in (destination, mask))
        if int(address) & bits == network and bits.bit_count() > best[0]:
            best = (bits.bit_count(), name)
    return best[1]


def is_near(client: str, routes: str, interfaces: list[str]) -> bool:
    """Return whether a client is on this host or in a network of Docker.

    Linux accepts a packet for the address of a bridge on each interface, so a neighbour of the host can connect to it.
    """
    address = ipaddress.ip_address(client.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is None:
            return address.is_loopback
        address = address.ipv4_mapped
    if address.is_loopback:
        return True
    interface = interface_of(address, routes)
    return interface in interfaces or bool(DOCKER.fullmatch(interface))


def is_own(client: str) -> bool:
    """Return whether an address is one of this host's, as nothing else can be bound to."""
    family = socket.AF_INET6 if ":" in client else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((client, 0))
        except OSError:
            return False
    return True


class Connections:
    """The open connections; one object per process."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._addresses: Counter[str] = Counter()
        # Those without a request, oldest first. A dict is an ordered set.
        self._waiting: dict[Connection, None] = {}

    def enter(self, connection: Connection, client: str) -> bool:
        """Count a connection; return whether it may stay."""
        if not is_near(client, ROUTES.read_text("ascii"), self._settings.interfaces) and not is_own(client):
            return False
        full = self._addresses.total() >= self._settings.max_connections
        many = self._addresses[client] >= self._settings.max_connections_per_address
        if full or many:
            # Programs of the host share an address, so that none of them can keep out the others for ever.
            oldest = next((one for one in self._waiting if not many or one.client_address == client), None)
            if oldest is None:
                return False
            oldest.abort()
        self._addresses[client] += 1
        return True

    def leave(self, connection: Connection, client: str) -> None:
        """Forget a connection."""
        self._waiting.pop(connection, None)
        self._addresses[client] -= 1
        if not self._addresses[client]:
            del self._addresses[client]

    def wait(self, connection: Connection, waits: bool) -> None:
        """Record whether a connection waits for a request."""
        if waits:
            self._waiting.setdefault(connection)
        else:
            self._waiting.pop(connection, None)

    def protocol(self) -> type[Connection]:
        """Return the class that uvicorn makes its connections of."""
        return type("Connection", (Connection,), {"limits": self, "head_seconds": self._settings.head_timeout})


class Connection(H11Protocol):
    """uvicorn's connection, with a deadline for the head of each request."""

    limits: Connections
    head_seconds: float
    client_address = ""
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Accept a connection, or end it."""
        super().connection_made(transport)
        client = self.client[0] if self.client else ""
        if client:
            if not self.limits.enter(self, client):
                transport.abort()
                return
            self.client_address = client
        self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._disarm()
        if self.client_address:
            self.limits.leave(self, self.client_address)
            self.client_address = ""
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read a part of a request."""
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._disarm()
        else:
            # The head of a request, or the body of one that was refused before it was read.
            self._arm()

    def on_response_complete(self) -> None:
        """Wait for the next request. uvicorn ends a connection that sends none at all."""
        super().on_response_complete()
        if self.cycle.response_complete:
            self.limits.wait(self, True)

    def abort(self) -> None:
        """End the connection at once."""
        self.limits.wait(self, False)
        self.transport.abort()

    def _arm(self) -> None:
        self.limits.wait(self, True)
        if self._deadline is None:
            self._deadline = self.loop.call_later(self.head_seconds, self.abort)

    def _disarm(self) -> None:
        self.limits.wait(self, False)
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def limit_sends(listening: socket.socket, seconds: int) -> None:
    """Make the kernel end each connection whose client takes no data, also after the program closed it."""
    if listening.family in (socket.AF_INET, socket.AF_INET6):
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, seconds * 1000)
