# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Check whether a Kestra server works, and which part does not.

Kestra's process and its open ports say little: with a refused user name the ports close while the process lives on, and
after PostgreSQL was restarted under it the ports stay open and nothing answers. So every part is asked.
"""

from __future__ import annotations

import ipaddress
import json
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.devorch.orchestration.plugins.module_utils.addresses import own_addresses
from ansible_collections.devorch.orchestration.plugins.module_utils.http_session import error_message, port_of
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.client import (
    Connection,
    Http,
    KestraClient,
    KestraError,
)

UP, DOWN, UNKNOWN = "UP", "DOWN", "UNKNOWN"
CONNECT_TIMEOUT = 2.0
"""How many seconds an address has to accept a connection; one of this host does so at once."""
REFUSALS = 3
"""How many refusals of the credentials in a row are final. Each costs the server a slow hash."""


@dataclass(frozen=True)
class Health:
    """What one check of a server has shown. The parts are C(UP), C(DOWN) or C(UNKNOWN)."""

    liveness: str = UNKNOWN
    readiness: str = UNKNOWN
    database: str = UNKNOWN
    disk: str = UNKNOWN
    api: str = UNKNOWN
    credentials: str = UNKNOWN
    version: str | None = None
    edition: str | None = None
    reasons: tuple[str, ...] = ()
    management_exposed: tuple[str, ...] = ()
    """The addresses at which the management port should be closed and is open."""

    @property
    def healthy(self) -> bool:
        return not self.reasons

    @property
    def only_exposed(self) -> bool:
        """Whether Kestra works, and nothing but its open management port is wrong."""
        return bool(self.management_exposed) and len(self.reasons) == 1

    def as_result(self) -> dict[str, Any]:
        """Return the module's keys for this check."""
        result = asdict(self)
        result["reasons"] = list(self.reasons)
        result["management_exposed"] = list(self.management_exposed)
        return result


@dataclass(frozen=True)
class Waited:
    """The last check, the seconds until then, and how often the server was checked."""

    health: Health
    seconds: float
    checks: int


def indicators(body: Any) -> dict[str, str]:
    """Return the status of each indicator in the answer of C(/health), by name, nested ones included.

    Kestra 2.x hides them by default; then the result is empty.
    """
    found: dict[str, str] = {}
    details = body.get("details") if isinstance(body, dict) else None
    if not isinstance(details, dict):
        return found
    for name, value in details.items():
        if isinstance(value, dict) and "status" in value:
            found[str(name)] = str(value["status"]).upper()
            found.update(indicators(value))
    return found


def host_addresses(proc: Path = Path("/proc/net")) -> list[str]:
    """Return the addresses of this host that others may reach, in the order of the kernel's tables.

    Loopback and link-local addresses are left out. Where the kernel shows no such tables, the result is empty.
    """
    return [address for address in own_addresses(proc) if not _stays_here(ipaddress.ip_address(address))]


def _stays_here(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    return address.is_loopback or address.is_link_local


def is_on_this_host(url: str) -> bool:
    """Return whether a URL names this host by a loopback address."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def accepts(address: str, port: int, timeout: float = CONNECT_TIMEOUT) -> bool:
    """Return whether a program accepts a connection at an address."""
    try:
        with socket.create_connection((address, port), timeout):
            return True
    except OSError:
        return False


class Probe:
    """Checks one server through its management port and its API.

    The management port must not be open at C(closed_addresses).
    """

    def __init__(self, connection: Connection, management_url: str, closed_addresses: Sequence[str] = ()) -> None:
        # A probe is repeated by whoever waits; repeating inside it would blur the deadline.
        connection = replace(connection, retries=0)
        self.timeout = connection.timeout
        self.client = KestraClient(connection)
        # The management port needs no credentials, so it gets none.
        anonymous = replace(connection, username=None, password=None, token=None, headers={})
        self.management = Http(replace(anonymous, url=management_url))
        self.management_port = port_of(management_url)
        self.closed_addresses = closed_addresses

    def close(self) -> None:
        self.client.close()
        self.management.close()

    def check(self, timeout: float | None = None) -> Health:
        """Ask every part once; C(timeout) in seconds limits all of it."""
        if timeout is None:
            return self._check(self.timeout)
        with self.client.http.within(timeout), self.management.within(timeout):
            return self._check(min(timeout, self.timeout))

    def _check(self, wait: float) -> Health:
        health = self._look_at_management(wait)
        if health.readiness == UP:
            health = self._look_at_api(health, wait)
        return self._look_from_outside(health, wait)

    def _look_from_outside(self, health: Health, wait: float) -> Health:
        if UP not in (health.liveness, health.readiness):
            return health
        within = min(wait, CONNECT_TIMEOUT)
        exposed = tuple(found for found in self.closed_addresses if accepts(found, self.management_port, within))
        if not exposed:
            return health
        reason = (
            f"management port: open at {', '.join(exposed)}, where it should be closed, since it asks for no password. "
            "Publish it on loopback alone, or allow it with management_closed_on"
        )
        return replace(health, management_exposed=exposed, reasons=(*health.reasons, reason))

    def _look_at_management(self, wait: float) -> Health:
        """Ask for readiness first: where it is reached, liveness and the indicators are worth asking for."""
        doing = "reach Kestra's management port"
        try:
            ready = self._status("/health/readiness", doing, wait)
            whole = self._status("/health", doing, wait)
            if ready is None:
                ready = whole
            if ready is None or whole is None:
                return Health(
                    liveness=UNKNOWN,
                    readiness=UNKNOWN,
                    reasons=(f"nothing at {self.management.base}/health: is management_url right?",),
                )
            alive = self._status("/health/liveness", doing, wait)
        except KestraError as error:
            liveness = DOWN if error.kind in ("refused", "closed", "no-answer") else UNKNOWN
            return Health(liveness=liveness, readiness=DOWN, reasons=(f"management port: {_error_text(error)}",))
        parts = {**ready[1], **whole[1]}
        reasons: list[str] = []
        for path, (status, found, message) in (("/health/readiness", ready), ("/health", whole)):
            if status >= 400:
                failing = sorted(name for name, value in found.items() if value not in (UP, UNKNOWN))
                detail = f"failing: {', '.join(failing)}" if failing else message
                reasons.append(f"management port: {path} answers HTTP {status}, {detail}")
        database = _part(parts, "jdbc", "database")
        disk = _part(parts, "disk")
        return Health(
            # Kestra says UNKNOWN for liveness where no indicator is registered for it; the answer itself is the sign.
            liveness=UNKNOWN if alive is None else UP if alive[0] < 400 else DOWN,
            readiness=DOWN if reasons else UP,
            database=database,
            disk=disk,
            reasons=tuple(dict.fromkeys(reasons)),
        )

    def _status(self, path: str, doing: str, wait: float) -> tuple[int, dict[str, str], str] | None:
        """Return the HTTP status, the indicators and the message at a path, or None where there is nothing."""
        response = self.management.send("GET", path, doing, headers={"Accept": "application/json"}, timeout=wait)
        if response.status_code == 404:
            return None
        try:
            body = json.loads(response.text)
        except ValueError:
            body = None
        status = body.get("status") if isinstance(body, dict) else None
        message = f"status {status}, without saying which part fails" if status else error_message(response)
        return response.status_code, indicators(body), message

    def _look_at_api(self, health: Health, wait: float) -> Health:
        try:
            info = self.client.server_info(timeout=wait)
            health = replace(health, version=info.version, edition=info.edition)
            self.client.check_credentials(timeout=wait)
        except KestraError as error:
            if error.status == 401:
                reason = f"credentials: {_error_text(error)}"
                return replace(health, api=UP, credentials=DOWN, reasons=(reason,))
            return replace(health, api=DOWN, reasons=(f"API: {_error_text(error)}",))
        # The list of flows comes from the database.
        return replace(health, api=UP, credentials=UP, database=UP)


def _error_text(error: KestraError) -> str:
    return f"{error.reason.rstrip('. ')}. {error.hint}" if error.hint else error.reason


def _part(parts: dict[str, str], *names: str) -> str:
    """Return the worst status of the indicators whose names begin with one of these."""
    found = [status for name, status in parts.items() if name.lower().startswith(names)]
    if not found:
        return UNKNOWN
    return UP if all(status == UP for status in found) else DOWN


def wait_until_healthy(
    probe: Probe,
    wait_timeout: float,
    interval: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Waited:
    """Check until everything is up or C(wait_timeout) seconds are over; with 0, check once.

    Refused credentials end the wait early, since waiting does not mend them; a few refusals are allowed for a server
    that is still starting. A management port that is open to others ends it as well, once the rest is up.
    """
    start = clock()
    refusals = 0
    checks = 0
    while True:
        remaining = wait_timeout - (clock() - start)
        health = probe.check(timeout=max(1.0, remaining) if wait_timeout > 0 else None)
        checks += 1
        refusals = refusals + 1 if health.credentials == DOWN else 0
        elapsed = clock() - start
        settled = health.healthy or health.only_exposed or refusals >= REFUSALS
        if settled or elapsed + interval >= wait_timeout:
            return Waited(health, round(elapsed, 1), checks)
        sleep(interval)
