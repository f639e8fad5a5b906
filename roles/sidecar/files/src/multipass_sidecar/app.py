# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The HTTP API. Errors are problem details (RFC 9457)."""

from __future__ import annotations

import hmac
import http
import logging
import time
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi import Path as PathParameter
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .models import Health, InstanceDetail, InstanceList, Launch, Name
from .multipass import Multipass, MultipassError
from .settings import Settings

PROBLEM = "application/problem+json"
OPEN = ("GET", "/health")
log = logging.getLogger("multipass_sidecar")


def problem(path: str, status: int, kind: str, detail: str, **more: Any) -> JSONResponse:
    """Return problem details; the type is a reference relative to the API, as RFC 9457 section 3.1.1 allows."""
    body = {
        "type": f"/problems/{kind}",
        "title": http.HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "instance": path,
        **more,
    }
    return JSONResponse(body, status, media_type=PROBLEM)


class Gate:
    """Ask for the token before a byte of the body is read, and log each request in one line."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._expected = f"Bearer {token}".encode()

    def _allowed(self, scope: Scope) -> bool:
        if (scope["method"], scope["path"]) == OPEN:
            return True
        given = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        return hmac.compare_digest(given, self._expected)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.monotonic()
        status = 0

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            if self._allowed(scope):
                await self._app(scope, receive, watch)
            else:
                detail = "The header 'Authorization: Bearer <token>' is missing or its token is wrong."
                refusal = problem(scope["path"], 401, "unauthenticated", detail)
                refusal.headers["WWW-Authenticate"] = "Bearer"
                await refusal(scope, receive, watch)
        finally:
            log.info(
                "request",
                extra={
                    "fields": {
                        "client": scope["client"][0] if scope.get("client") else None,
                        "method": scope["method"],
                        "path": scope["path"],
                        "status": status,
                        "milliseconds": round((time.monotonic() - started) * 1000),
                    }
                },
            )


def on_multipass_error(request: Request, error: MultipassError) -> Response:
    """Answer what multipass did not do."""
    return problem(request.url.path, error.status, error.kind, error.detail)


def on_invalid(request: Request, error: RequestValidationError) -> Response:
    """Answer a request that does not fit the API, naming each field."""
    errors = [{"field": ".".join(map(str, item["loc"])), "detail": item["msg"]} for item in error.errors()]
    detail = "; ".join(f"{item['field']}: {item['detail']}" for item in errors)
    return problem(request.url.path, 422, "invalid-request", detail, errors=errors)


def on_http_error(request: Request, error: HTTPException) -> Response:
    """Answer an unknown path or method."""
    answer = problem(request.url.path, error.status_code, "http", str(error.detail))
    answer.headers.update(error.headers or {})
    return answer


def on_bug(request: Request, error: Exception) -> Response:
    """Answer what should not happen; the log has the traceback, the client does not."""
    log.error("unexpected error", exc_info=error)
    return problem(request.url.path, 500, "internal-error", "Unexpected error; the service's log says more.")


def client_of(request: Request) -> Multipass:
    """Return the application's one client of multipass."""
    client: Multipass = request.app.state.multipass
    return client


Client = Annotated[Multipass, Depends(client_of)]
ByName = Annotated[Name, PathParameter()]
router = APIRouter()


@router.get("/health")
async def health(client: Client) -> Health:
    """Tell whether the API and multipass work. Always 200: the API does, since it answers."""
    return await client.health()


@router.get("/instances")
async def list_instances(client: Client) -> InstanceList:
    """List all instances."""
    return InstanceList(instances=await client.list())


@router.get("/instances/{name}")
async def read_instance(name: ByName, client: Client) -> InstanceDetail:
    """Show one instance."""
    return await client.info(name)


@router.post("/instances", status_code=201)
async def launch_instance(wanted: Launch, client: Client) -> InstanceDetail:
    """Make and start an instance; the answer comes when it runs."""
    return await client.launch(wanted)


@router.post("/instances/{name}/start")
async def start_instance(name: ByName, client: Client) -> InstanceDetail:
    """Start an instance; nothing is done to one that runs."""
    return await client.start(name)


@router.post("/instances/{name}/stop")
async def stop_instance(name: ByName, client: Client) -> InstanceDetail:
    """Stop an instance; nothing is done to one that is stopped."""
    return await client.stop(name)


@router.delete("/instances/{name}", status_code=204)
async def delete_instance(name: ByName, client: Client) -> None:
    """Delete an instance and its disk for good."""
    await client.delete(name)


def create_app(settings: Settings, token: str) -> FastAPI:
    """Return the API, which asks for the token on every path but GET /health."""
    app = FastAPI(title="multipass sidecar", version="1", docs_url=None, redoc_url=None)
    app.state.multipass = Multipass(settings)
    app.include_router(router)
    app.add_exception_handler(MultipassError, on_multipass_error)  # type: ignore[arg-type]
    app.add_exception_handler(RequestValidationError, on_invalid)  # type: ignore[arg-type]
    app.add_exception_handler(HTTPException, on_http_error)  # type: ignore[arg-type]
    app.add_exception_handler(Exception, on_bug)
    app.add_middleware(Gate, token=token)
    return app
