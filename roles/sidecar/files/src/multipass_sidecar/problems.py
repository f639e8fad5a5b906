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
