# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The middleware in front of all routes: token, scope, rate and size of a request; the request log and the audit log.

It decides by method and path only. It reads no content of a body and knows no route's parameters.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import re
import socket
import time

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from . import problems
from .metrics import Metrics
from .settings import Settings, Token, TokenScope, find_token

PUBLIC = {(method, path) for method in ("GET", "HEAD") for path in ("/health", "/", "/page.css", "/page.js")}
PROBLEM = re.compile(r"/problems/[a-z-]+")
ADMIN = re.compile(r"/instances/[^/]*/(exec|snapshots/[^/]*/restore)")
FILES = re.compile(r"/instances/[^/]*/files")
MAX_BODY = 4 * 1024**2
"""Bytes. The definition of an environment may contain many cloud-init texts."""
BODY_SECONDS = 30
"""How long to wait for each piece of a body."""
WHOLE_BODY_SECONDS = 60
"""How long to wait for all of a body that is not a file."""
BURST_SECONDS = 4
REFUSALS_PER_SECOND = 10.0
"""How many requests without a valid token are refused with 401, per address. More are refused with 429."""
log = logging.getLogger("multipass_sidecar")
audit = logging.getLogger("multipass_sidecar.audit")


def needed_scope(method: str, path: str) -> TokenScope:
    """Return the scope that a request needs. A request that is not known to need less needs admin."""
    if FILES.fullmatch(path):
        return "admin"
    if method in ("GET", "HEAD", "OPTIONS"):
        return "read"
    return "operate" if method == "POST" and not ADMIN.fullmatch(path) else "admin"


def is_own_name(host: str, names: list[str]) -> bool:
    """Return whether a Host header may mean this service: an address, a local name, or a configured one."""
    name = host.rpartition(":")[0] if re.search(r":\d*$", host) else host
    name = name.strip("[]").rstrip(".").lower()
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(name)
        return True
    if "." not in name or name.endswith((".localhost", ".internal")):
        return True
    return name in {socket.gethostname().lower(), *map(str.lower, names)}


class RateLimiter:
    """A token bucket per key. Its size is BURST_SECONDS at the rate, which is per second."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._capacity = max(1.0, rate * BURST_SECONDS)
        self._levels: dict[str, tuple[float, float]] = {}

    def take(self, key: str, now: float) -> float:
        """Take one and return 0; if the bucket is empty, return the seconds until there is one."""
        if len(self._levels) > 10000:
            full = self._capacity / self._rate
            self._levels = {name: level for name, level in self._levels.items() if now - level[1] < full}
        level, since = self._levels.get(key, (self._capacity, now))
        level = min(self._capacity, level + (now - since) * self._rate)
        self._levels[key] = (max(0.0, level - 1) if level >= 1 else level, now)
        return 0 if level >= 1 else (1 - level) / self._rate


class AuthMiddleware:
    """Refuse a request that is not allowed before any of its body is read."""

    def __init__(self, app: ASGIApp, settings: Settings, tokens: list[Token], metrics: Metrics) -> None:
        self._app = app
        self._settings = settings
        self._tokens = tokens
        self._metrics = metrics
        self._requests = RateLimiter(settings.rate_limit)
        self._refusals = RateLimiter(REFUSALS_PER_SECOND)

    def _refusal(self, scope: Scope, token: Token | None) -> problems.ApiError | None:
        """Return why a request is refused, or None."""
        method, path, now = scope["method"], scope["path"], time.monotonic()
        host = next((value for name, value in scope["headers"] if name == b"host"), b"").decode("latin-1")
        # A browser that was led here under another name has no token, which is for the page's own name only.
        if token is None and not is_own_name(host, self._settings.host_names):
            detail = "the service is not known by the name in the header Host; use its address, or add it to host_names"
            return problems.ApiError(421, "unknown-host", detail)
        if (method, path) in PUBLIC or (method in ("GET", "HEAD") and PROBLEM.fullmatch(path)):
            return None
        if token is None:
            wait = self._refusals.take(scope["client"][0] if scope.get("client") else "", now)
            if wait:
                detail = "too many requests without a valid token; send a valid token"
                return problems.ApiError(429, "too-many-requests", detail, Retry_After=str(int(wait) + 1))
            detail = "the header 'Authorization: Bearer <token>' is missing or its token is wrong"
            return problems.ApiError(401, "unauthenticated", detail, WWW_Authenticate="Bearer")
        wait = self._requests.take(token.name, now)
        if wait:
            limit = f"more than {self._settings.rate_limit:g} requests per second"
            detail = f"token {token.name}: {limit}; send fewer requests, or raise rate_limit"
            return problems.ApiError(429, "too-many-requests", detail, Retry_After=str(int(wait) + 1))
        needed = needed_scope(method, path)
        if not token.allows(needed):
            detail = f"token {token.name} has the scope {token.scope}, but this request needs {needed}"
            return problems.ApiError(403, "scope-missing", detail)
        return None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.monotonic()
        status, size, complete, closed = 0, 0, False, False
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        inner: Scope = scope
        credentials = next((value for name, value in headers if name == b"authorization"), b"")
        token = find_token(self._tokens, credentials[7:]) if credentials[:7].lower() == b"bearer " else None
        refusal = self._refusal(scope, token)
        sends_file = scope["method"] == "PUT" and FILES.fullmatch(scope["path"])
        limit = self._settings.max_file if sends_file else MAX_BODY
        length = next((value for name, value in headers if name == b"content-length"), b"0")
        too_large = f"the body is larger than {limit} bytes"
        if refusal is None and length.isdigit() and int(length) > limit:
            refusal = problems.ApiError(413, "too-large", too_large)

        async def watched_send(message: Message) -> None:
            nonlocal status, closed
            if message["type"] == "http.response.start":
                status = message["status"]
                message.setdefault("headers", []).append((b"x-content-type-options", b"nosniff"))
                if (scope["method"], scope["path"]) not in PUBLIC:
                    message["headers"].append((b"cache-control", b"no-store"))
            if closed:
                return
            try:
                await send(message)
            except Exception as error:
                # The server refused the rest of the request and closed the connection, so no client reads an answer.
                closed = True
                log.info("answer not sent", extra={"fields": {"reason": str(error)}})

        async def limited_receive() -> Message:
            nonlocal size, complete
            if complete:
                return await receive()
            rest = BODY_SECONDS if sends_file else min(BODY_SECONDS, started + WHOLE_BODY_SECONDS - time.monotonic())
            try:
                message = await asyncio.wait_for(receive(), rest)
            except TimeoutError:
                detail = f"the body did not arrive in time (a piece in {BODY_SECONDS} s, all in {WHOLE_BODY_SECONDS} s)"
                raise HTTPException(408, detail) from None
            if message["type"] == "http.disconnect":
                raise HTTPException(400, "the connection was closed before the end of the body")
            size += len(message.get("body", b""))
            complete = not message.get("more_body", False)
            if size > limit:
                raise HTTPException(413, too_large)
            return message

        scope.setdefault("state", {}).update(token=token, audit={})
        if scope["method"] == "HEAD":
            # The server leaves out the body.
            inner = {**scope, "method": "GET"}
        try:
            if refusal is None:
                await self._app(inner, limited_receive, watched_send)
            else:
                answer = problems.answer(scope["path"], refusal.status, refusal.kind, refusal.detail)
                answer.headers.update(refusal.headers)
                await answer(scope, receive, watched_send)
        finally:
            fields = {
                "client": scope["client"][0] if scope.get("client") else None,
                "token": token.name if token else None,
                "method": scope["method"],
                "path": scope["path"],
                "status": status,
                "milliseconds": round((time.monotonic() - started) * 1000),
            }
            # A stranger that sends many requests fills no log.
            if token is not None or status != 429:
                log.info("request", extra={"fields": fields})
            if scope["method"] not in ("GET", "HEAD", "OPTIONS"):
                audit.info("audit", extra={"fields": fields | scope["state"]["audit"]})
            self._metrics.request(scope["method"], status, time.monotonic() - started)
