# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A client of the multipass sidecar's API.

Work that takes long is a job there: a request starts it, and the client asks for it until it has ended. Every request
that changes something carries its own Idempotency-Key, so that it may be sent again after a broken connection
without a second job.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ansible_collections.devorch.orchestration.plugins.module_utils.http_session import (
    HttpSession,
    ParamValue,
    ServiceError,
    address_problem,
    error_message,
    token_problem,
)

if TYPE_CHECKING:
    import requests

ENDED = ("succeeded", "failed", "cancelled", "interrupted")
# Seconds. A request for a job waits for its end, so the pause only counts if that is cut short.
LONGEST_LOOK = 20
PAUSE = 0.2
LAST_LOOK = 1.0
LAST_LINES = 3


@dataclass(frozen=True)
class SidecarConnection:
    """How to reach a sidecar.

    C(timeout) is in seconds and counts for connecting and for each wait for data. A request is repeated C(retries)
    times, with pauses of C(backoff) seconds, twice that, and so on. ValueError for a url that cannot be one.
    """

    url: str
    token: str | None = None
    validate_certs: bool = True
    ca_path: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    timeout: float = 30
    retries: int = 3
    backoff: float = 0.5

    def __post_init__(self) -> None:
        problem = address_problem(self.url, "http://127.0.0.1:8090", "token") or token_problem(self.token)
        if problem:
            raise ValueError(problem)


class SidecarError(ServiceError):
    """A call to the sidecar, or a job of it, that failed."""


class Http(HttpSession):
    """A session with the sidecar's token."""

    service = "the sidecar"
    api = "the sidecar's API"
    error = SidecarError
    repeatable = frozenset(("GET", "PUT", "POST", "DELETE"))

    def __init__(self, connection: SidecarConnection) -> None:
        super().__init__(connection, (connection.token,))
        if connection.token:
            self.bear(connection.token)


class Sidecar:
    """The API, as far as modules and the inventory need it. Every method raises SidecarError where it fails.

    C(wait_timeout) is how many seconds one job may take.
    """

    def __init__(self, connection: SidecarConnection, wait_timeout: float = 1800) -> None:
        self.connection = connection
        self.wait_timeout = wait_timeout
        self.http = Http(connection)

    @property
    def whole_messages(self) -> list[str]:
        """What the server said, where a message has less of it."""
        return self.http.whole_messages

    def close(self) -> None:
        self.http.close()

    def request(
        self,
        method: str,
        path: Sequence[str],
        doing: str,
        *,
        expected: Sequence[int] = (200,),
        params: Mapping[str, ParamValue] | None = None,
        content: Any = None,
    ) -> requests.Response:
        """Send a request, with C(content) as JSON; return the answer if its status is an expected one."""
        headers = {"Accept": "application/json"}
        body = None
        if content is not None:
            body = json.dumps(content).encode("utf-8")
            headers["Content-Type"] = "application/json"
        if method in ("POST", "DELETE"):
            headers["Idempotency-Key"] = str(uuid.uuid4())
        address = "/" + "/".join(quote(segment, safe="") for segment in path)
        response = self.http.send(method, address, doing, params=params, body=body, headers=headers)
        return self.http.expect(response, doing, expected, self._hint)

    def _hint(self, status: int) -> str | None:
        if status == 401:
            return "Check token." if self.connection.token else "Set token."
        return {
            404: "Check the name, and that url is the root of the sidecar.",
            403: "Use a token with that scope; the role makes them from sidecar_tokens.",
            429: "Ask less often, or raise retries.",
            503: "GET /health of the sidecar shows whether multipass works.",
            504: "multipass may still be working. Check the instance before you try again.",
        }.get(status)

    def object(self, response: requests.Response, doing: str) -> dict[str, Any]:
        """Return the JSON object of an answer."""
        try:
            value = response.json()
        except ValueError:
            value = None
        if isinstance(value, dict):
            return value
        raise SidecarError(
            doing,
            f"the answer is {error_message(response, self.http.api)[:200]!r}, where a JSON object was expected",
            kind="answer",
            status=response.status_code,
            hint="Something else than the sidecar answers at url.",
        )

    def _read(self, path: Sequence[str], doing: str) -> dict[str, Any] | None:
        """Return what is at a path, or None where there is nothing."""
        response = self.request("GET", path, doing, expected=(200, 404))
        if response.status_code == 200:
            return self.object(response, doing)
        if "problem+json" not in response.headers.get("Content-Type", ""):
            raise SidecarError(doing, self.http.message_of(response), status=404, hint=self._hint(404))
        return None

    def _listed(self, name: str, path: Sequence[str], doing: str) -> list[dict[str, Any]]:
        found = self.object(self.request("GET", path, doing), doing).get(name)
        if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
            raise SidecarError(doing, f"the answer contains no list of {name}", kind="answer")
        return found

    def instances(self) -> list[dict[str, Any]]:
        """Return all instances, as the list shows them."""
        return self._listed("instances", ["instances"], "list the instances")

    def instance(self, name: str) -> dict[str, Any] | None:
        """Return an instance with its details, or None."""
        return self._read(["instances", name], f"read instance {name}")

    def size(self, name: str) -> dict[str, Any]:
        """Return the size that an instance is set to: C(cpus), and C(memory) and C(disk) in bytes."""
        doing = f"read the size of instance {name}"
        return self.object(self.request("GET", ["instances", name, "size"], doing), doing)

    def snapshots(self, name: str) -> list[dict[str, Any]]:
        """Return the snapshots of an instance."""
        return self._listed("snapshots", ["instances", name, "snapshots"], f"list the snapshots of instance {name}")

    def environments(self) -> list[dict[str, Any]]:
        """Return all environments with their states."""
        return self._listed("environments", ["environments"], "list the environments")

    def environment(self, name: str) -> dict[str, Any] | None:
        """Return an environment with its state, or None."""
        return self._read(["environments", name], f"read environment {name}")

    def define(self, name: str, definition: dict[str, Any]) -> dict[str, Any]:
        """Write the definition of an environment, and return its state."""
        doing = f"define environment {name}"
        answer = self.request("PUT", ["environments", name], doing, expected=(200, 201), content=definition)
        return self.object(answer, doing)

    def change(
        self,
        method: str,
        path: Sequence[str],
        doing: str,
        content: Any = None,
        params: Mapping[str, ParamValue] | None = None,
    ) -> dict[str, Any] | None:
        """Start something; return its job, or None where it was done at once."""
        if method == "POST" and content is None:
            content = {}
        answer = self.request(method, path, doing, expected=(200, 202, 204), params=params, content=content)
        if answer.status_code == 204:
            return None
        job = self.object(answer, doing)
        if not isinstance(job.get("id"), str) or not isinstance(job.get("state"), str):
            raise SidecarError(doing, "the answer is not a job", kind="answer", status=answer.status_code)
        return job

    def wait(self, job: dict[str, Any], doing: str) -> dict[str, Any]:
        """Wait for the end of a job and return its result; SidecarError where it failed or takes too long."""
        deadline = time.monotonic() + self.wait_timeout
        longest = min(LONGEST_LOOK, int(self.connection.timeout) // 2)
        while job["state"] not in ENDED:
            left = deadline - time.monotonic()
            if left <= 0:
                raise SidecarError(
                    doing,
                    f"job {job['id']} is still {job['state']} after {self.wait_timeout:g} seconds",
                    kind="deadline",
                    hint="It continues. Raise wait_timeout, or read the job's log at the sidecar's /jobs.",
                )
            reading, begun = f"{doing}: read job {job['id']}", time.monotonic()
            params = {"wait": min(longest, int(left))}
            # An answer that is due at the end of the time still comes.
            with self.http.within(left + LAST_LOOK):
                job = self.object(self.request("GET", ["jobs", job["id"]], reading, params=params), reading)
            if not isinstance(job.get("state"), str):
                raise SidecarError(reading, "the answer is not a job", kind="answer")
            if job["state"] not in ENDED and time.monotonic() - begun < PAUSE:
                time.sleep(PAUSE)
        if job["state"] != "succeeded":
            raise self._failed(job, doing)
        result = job.get("result")
        return result if isinstance(result, dict) else {}

    def _failed(self, job: dict[str, Any], doing: str) -> SidecarError:
        problem = job.get("error") if isinstance(job.get("error"), dict) else None
        status = problem.get("status") if problem else None
        text = str(problem["detail"]) if problem and problem.get("detail") else ""
        if not text:
            lines = [str(line.get("text")) for line in job.get("log") or [] if isinstance(line, dict)]
            text = "; ".join([f"job {job['id']} was {job['state']}", *lines[-LAST_LINES:]])
        if job["state"] == "interrupted":
            hint: str | None = "The sidecar was restarted in the meantime. Check the instance, and run the task again."
        else:
            hint = self._hint(status) if isinstance(status, int) else None
        known = status if isinstance(status, int) else None
        return SidecarError(doing, self.http.scrub(text), kind="job", status=known, hint=hint)
