# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tell whether a Kestra server works, and which part does not.

Kestra's process and its open ports say little: with a refused user name the ports close while the process lives on, and
after PostgreSQL was restarted under it the ports stay open and nothing answers. So every part is asked.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from ansible_collections.devorch.orchestration.plugins.module_utils.kestra_client import (
    Connection,
    Http,
    KestraClient,
    KestraError,
    error_message,
)

UP, DOWN, UNKNOWN = "UP", "DOWN", "UNKNOWN"
REFUSALS = 3
"""How many refusals of the credentials in a row are final. Each costs the server a slow hash."""


@dataclass(frozen=True)
class Health:
    """What one look at a server has shown. The parts are C(UP), C(DOWN) or C(UNKNOWN)."""

    liveness: str = UNKNOWN
    readiness: str = UNKNOWN
    database: str = UNKNOWN
    disk: str = UNKNOWN
    api: str = UNKNOWN
    credentials: str = UNKNOWN
    version: str | None = None
    edition: str | None = None
    reasons: tuple[str, ...] = ()

    @property
    def healthy(self) -> bool:
        return not self.reasons

    def as_result(self) -> dict[str, Any]:
        """Return the module's keys for this look."""
        result = asdict(self)
        result["reasons"] = list(self.reasons)
        return result


@dataclass(frozen=True)
class Waited:
    """The last look, the seconds it took to get there, and how often the server was looked at."""

    health: Health
    seconds: float
    looks: int


def indicators(body: Any) -> dict[str, str]:
    """Return the status of each indicator in the answer of C(/health), by name, nested ones included.

    Kestra 2.x shows them to nobody by default; then the result is empty.
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


class Probe:
    """Looks at one server through its management port and its API."""

    def __init__(self, connection: Connection, management_url: str) -> None:
        # A probe is repeated by whoever waits; repeating inside it would blur the deadline.
        connection = replace(connection, retries=0)
        self.timeout = connection.timeout
        self.client = KestraClient(connection)
        # The management port needs no credentials, so it gets none.
        self.management = Http(replace(connection, url=management_url, username=None, password=None))

    def close(self) -> None:
        self.client.close()
        self.management.close()

    def look(self, timeout: float | None = None) -> Health:
        """Ask every part once; C(timeout) in seconds limits each request."""
        wait = self.timeout if timeout is None else min(timeout, self.timeout)
        health = self._look_at_management(wait)
        if health.readiness != UP:
            return health
        return self._look_at_api(health, wait)

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
            return Health(liveness=liveness, readiness=DOWN, reasons=(f"management port: {_words(error)}",))
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
                reason = f"credentials: {_words(error)}"
                return replace(health, api=UP, credentials=DOWN, reasons=(reason,))
            return replace(health, api=DOWN, reasons=(f"API: {_words(error)}",))
        # The list of flows comes from the database.
        return replace(health, api=UP, credentials=UP, database=UP)


def _words(error: KestraError) -> str:
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
    """Look until everything is up or C(wait_timeout) seconds are over; with 0, look once.

    Refused credentials end the wait early, since waiting does not mend them; a few refusals are allowed for a server
    that is still starting.
    """
    start = clock()
    refusals = 0
    looks = 0
    while True:
        remaining = wait_timeout - (clock() - start)
        health = probe.look(timeout=max(1.0, remaining) if wait_timeout > 0 else None)
        looks += 1
        refusals = refusals + 1 if health.credentials == DOWN else 0
        elapsed = clock() - start
        if health.healthy or refusals >= REFUSALS or elapsed + interval >= wait_timeout:
            return Waited(health, round(elapsed, 1), looks)
        sleep(interval)
