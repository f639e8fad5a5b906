# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What every request passes: token, scope, rate, size; and what is kept of it: a line in the log, one in the audit."""

from __future__ import annotations

import asyncio
import logging
import re
import time

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from . import problems
from .metrics import Metrics
from .settings import Settings, Token, TokenScope, find_token

OPEN = {("GET", path) for path in ("/health", "/", "/page.css", "/page.js")}
ADMIN = re.compile(r"/instances/[^/]*/(exec|snapshots/[^/]*/restore)")
FILES = re.compile(r"/instances/[^/]*/files")
LARGEST_BODY = 4 * 1024**2
"""Bytes; an environment may hold many cloud-inits."""
BODY_SECONDS = 30
"""Within which each piece of a body must come."""
BURST_SECONDS = 4
STRANGERS = 10.0
"""Refusals a second for one address; more are not even looked at."""
log = logging.getLogger("multipass_sidecar")
audit = logging.getLogger("multipass_sidecar.audit")


def needed_scope(method: str, path: str) -> TokenScope:
    """Return the scope that a request needs; what is not known to need less needs admin."""
    if FILES.fullmatch(path):
        return "admin"
    if method in ("GET", "HEAD", "OPTIONS"):
        return "read"
    return "operate" if method == "POST" and not ADMIN.fullmatch(path) else "admin"


class Buckets:
    """Token buckets: so many a second, BURST_SECONDS' worth at once."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._most = max(1.0, rate * BURST_SECONDS)
        self._levels: dict[str, tuple[float, float]] = {}

    def take(self, key: str, now: float) -> float:
        """Take one; return 0, or the seconds after which there will be one."""
        if len(self._levels) > 10000:
            full = self._most / self._rate
            self._levels = {name: level for name, level in self._levels.items() if now - level[1] < full}
        level, since = self._levels.get(key, (self._most, now))
        level = min(self._most, level + (now - since) * self._rate)
        self._levels[key] = (max(0.0, level - 1) if level >= 1 else level, now)
        return 0 if level >= 1 else (1 - level) / self._rate


class Gate:
    """Let in who may, before a byte of the body is read."""

    def __init__(self, app: ASGIApp, settings: Settings, tokens: list[Token], metrics: Metrics) -> None:
        self._app = app
        self._settings = settings
        self._tokens = tokens
        self._metrics = metrics
        self._rate = Buckets(settings.rate_limit)
        self._strangers = Buckets(STRANGERS)

    def _refusal(self, scope: Scope, token: Token | None) -> problems.ApiError | None:
        """Return why a request is not let in, or None."""
        method, path, now = scope["method"], scope["path"], time.monotonic()
        if (method, path) in OPEN:
            return None
        if token is None:
            wait = self._strangers.take(scope["client"][0] if scope.get("client") else "", now)
            if wait:
                detail = "Too many requests without a valid token."
                return problems.ApiError(429, "too-many-requests", detail, Retry_After=str(int(wait) + 1))
            detail = "The header 'Authorization: Bearer <token>' is missing or its token is wrong."
            return problems.ApiError(401, "unauthenticated", detail, WWW_Authenticate="Bearer")
        wait = self._rate.take(token.name, now)
        if wait:
            detail = f"More than {self._settings.rate_limit:g} requests a second with the token {token.name}."
            return problems.ApiError(429, "too-many-requests", detail, Retry_After=str(int(wait) + 1))
        needed = needed_scope(method, path)
        if not token.allows(needed):
            detail = f"The token {token.name} has the scope {token.scope}, and this needs {needed}."
            return problems.ApiError(403, "scope-missing", detail)
        return None

    def _most(self, scope: Scope) -> int:
        sends_file = scope["method"] == "PUT" and FILES.fullmatch(scope["path"])
        return self._settings.max_file if sends_file else LARGEST_BODY

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.monotonic()
        status, read, complete, gone = 0, 0, False, False
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        given = next((value for name, value in headers if name == b"authorization"), b"")
        token = find_token(self._tokens, given[7:]) if given.startswith(b"Bearer ") else None
        refusal = self._refusal(scope, token)
        most = self._most(scope)
        length = next((value for name, value in headers if name == b"content-length"), b"0")
        too_large = f"The body is larger than {most} bytes."
        if refusal is None and length.isdigit() and int(length) > most:
            refusal = problems.ApiError(413, "too-large", too_large)

        async def watch(message: Message) -> None:
            nonlocal status, gone
            if message["type"] == "http.response.start":
                status = message["status"]
                message.setdefault("headers", []).append((b"x-content-type-options", b"nosniff"))
                if (scope["method"], scope["path"]) not in OPEN:
                    message["headers"].append((b"cache-control", b"no-store"))
            if gone:
                return
            try:
                await send(message)
            except Exception as error:
                # The server has refused the rest of the request and closed the connection: nobody reads an answer.
                gone = True
                log.info("answer not sent", extra={"fields": {"reason": str(error)}})

        async def limited() -> Message:
            nonlocal read, complete
            if complete:
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), BODY_SECONDS)
            except TimeoutError:
                raise HTTPException(408, f"No piece of the body came for {BODY_SECONDS} s.") from None
            if message["type"] == "http.disconnect":
                raise HTTPException(400, "The body ended before its end.")
            read += len(message.get("body", b""))
            complete = not message.get("more_body", False)
            if read > most:
                raise HTTPException(413, too_large)
            return message

        scope.setdefault("state", {}).update(token=token, audit={})
        try:
            if refusal is None:
                await self._app(scope, limited, watch)
            else:
                answer = problems.answer(scope["path"], refusal.status, refusal.kind, refusal.detail)
                answer.headers.update(refusal.headers)
                await answer(scope, receive, watch)
        finally:
            fields = {
                "client": scope["client"][0] if scope.get("client") else None,
                "token": token.name if token else None,
                "method": scope["method"],
                "path": scope["path"],
                "status": status,
                "milliseconds": round((time.monotonic() - started) * 1000),
            }
            log.info("request", extra={"fields": fields})
            if scope["method"] not in ("GET", "HEAD", "OPTIONS"):
                audit.info("audit", extra={"fields": fields | scope["state"]["audit"]})
            self._metrics.request(scope["method"], status, time.monotonic() - started)
