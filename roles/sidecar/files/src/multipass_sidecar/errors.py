# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Exception handlers: every error of the API becomes problem details (RFC 9457)."""

from __future__ import annotations

import logging
import sqlite3

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from . import problems
from .problems import ApiError

log = logging.getLogger("multipass_sidecar")


def on_api_error(request: Request, error: ApiError) -> Response:
    """Report a request that was not fulfilled."""
    answer = problems.answer(request.url.path, error.status, error.kind, error.detail)
    answer.headers.update(error.headers)
    return answer


def on_invalid(request: Request, error: RequestValidationError) -> Response:
    """Report a request that does not fit the API, with the name of each wrong field."""
    errors = [{"field": ".".join(map(str, item["loc"])), "detail": item["msg"]} for item in error.errors()]
    detail = "; ".join(f"{item['field']}: {item['detail']}" for item in errors[:5])
    return problems.answer(request.url.path, 422, "invalid-request", detail, errors=errors[:50])


def on_http_error(request: Request, error: HTTPException) -> Response:
    """Report an unknown path or method, or a body that is too large or not JSON."""
    answer = problems.answer(request.url.path, error.status_code, "http", str(error.detail))
    answer.headers.update(error.headers or {})
    return answer


def on_storage_error(request: Request, error: sqlite3.Error) -> Response:
    """Report that jobs cannot be stored. Without that, no job is started."""
    log.error("storage error", exc_info=error)
    return on_api_error(request, ApiError(503, "storage", f"the state directory cannot be used: {error}"))


def on_unhandled(request: Request, error: Exception) -> Response:
    """Report an unexpected error. The log has the traceback; the client does not get it."""
    log.error("unexpected error", exc_info=error)
    return problems.answer(request.url.path, 500, "internal-error", problems.UNEXPECTED)


def add_error_handlers(app: FastAPI) -> None:
    """Register the handlers of this module."""
    for kind, handler in (
        (ApiError, on_api_error),
        (RequestValidationError, on_invalid),
        (HTTPException, on_http_error),
        (sqlite3.Error, on_storage_error),
        (Exception, on_unhandled),
    ):
        app.add_exception_handler(kind, handler)  # type: ignore[arg-type]
