# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Problem details (RFC 9457), the form of every error of the API."""

from __future__ import annotations

import http
import json
from typing import Any

from starlette.responses import Response

PROBLEM = "application/problem+json"
UNEXPECTED = "unexpected error; see the service's log"


KINDS = {
    "bad-output": "multipass printed something that the service cannot read. Its version may be too new.",
    "busy": "As many programs and transfers run in instances as the service allows. Try again later.",
    "changed": "The definition is not the one that the request is for. Read it again, and then send the request again.",
    "command-failed": "multipass failed. The detail has its message.",
    "daemon-unreachable": "The daemon of multipass does not answer.",
    "disk-can-not-shrink": "A disk can only grow.",
    "environment-busy": "A job of the environment has not ended.",
    "environment-not-found": "No environment has this name.",
    "environment-unreadable": "The definition cannot be read. Define the environment again.",
    "exec-unknown": "The connection to the instance ended before the program. Whether the program ran is unknown.",
    "file-not-found": "The file, or the directory for it, does not exist in the instance.",
    "http": "The request does not fit HTTP or the API. The title has the reason.",
    "image-not-found": "multipass has no such image.",
    "instance-exists": "An instance has this name, or will have it soon.",
    "instance-not-found": "No instance has this name.",
    "internal-error": "An error of the service. Its log has more.",
    "interrupted": "The service ended during the job. What it has done is unknown.",
    "invalid-request": "A value of the request is wrong or missing. `errors` has each one.",
    "job-ended": "The job has ended and cannot be cancelled.",
    "job-not-found": "No job has this id, or it was removed because of its age.",
    "key-reused": "The Idempotency-Key belongs to another request.",
    "limit-reached": "The instances of the token would take more than its limit.",
    "multipass-missing": "multipass cannot be run on the host.",
    "not-accepted": "multipass refused a value of the request.",
    "not-allowed": "The path of the host is not in an allowed directory.",
    "not-authenticated": "multipass does not know the user of the service.",
    "queue-full": "Too many jobs wait.",
    "scope-missing": "The token's scope does not allow the request.",
    "snapshot-exists": "A snapshot of the instance has this name.",
    "snapshot-not-found": "The instance has no snapshot of this name.",
    "stopping": "The service is about to stop.",
    "storage": "The service cannot store jobs or definitions. The disk may be full.",
    "timeout": "multipass took too long. It may still be working.",
    "too-large": "The body is too large.",
    "too-large-for-host": "The instance would be larger than the host, or than the service allows.",
    "too-many-requests": "Too many requests. Retry-After has the seconds to wait.",
    "transfer-failed": "A file could not be transferred.",
    "try-again": "multipass is busy.",
    "unauthenticated": "The token is missing or wrong.",
    "unknown-host": "The header Host names another service.",
    "wrong-state": "The state of the instance does not allow the request.",
}
"""Each problem type, and what it means."""


class ApiError(Exception):
    """A request that was not fulfilled.

    `status` is the HTTP status, `kind` the last part of the problem type, `detail` the message for the client, and
    `headers` are further response headers, with _ for -.
    """

    def __init__(self, status: int, kind: str, detail: str, **headers: str) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.detail = detail
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}
        if status == 503:
            self.headers.setdefault("Retry-After", "5")


def details(path: str, status: int, kind: str, detail: str, **more: Any) -> dict[str, Any]:
    """Return problem details. The type is a reference relative to the API, as RFC 9457 section 3.1.1 allows."""
    return {
        "type": f"/problems/{kind}",
        "title": http.HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "instance": path,
        **more,
    }


def answer(path: str, status: int, kind: str, detail: str, **more: Any) -> Response:
    """Return problem details as a response, in ASCII: a detail may quote text that cannot be encoded."""
    body = json.dumps(details(path, status, kind, detail, **more))
    return Response(body, status, media_type=PROBLEM)
