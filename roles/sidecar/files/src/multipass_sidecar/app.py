# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The application factory: it puts routes, error handlers and authentication together.

What a route does belongs in `routes`, what it needs in `deps`.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from fastapi import FastAPI

from . import __version__, openapi
from .auth import AuthMiddleware
from .errors import add_error_handlers
from .metrics import Metrics
from .routes import environments, host, instances, jobs
from .routes.page import add_page
from .service import Service
from .settings import Settings, Token

STOP_SECONDS = 30
"""How long running jobs may continue after the service was asked to stop."""


def create_app(settings: Settings, tokens: list[Token]) -> FastAPI:
    """Return the API. Every path except GET /health and the page needs a token."""
    metrics = Metrics()

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service = Service(settings, metrics)
        app.state.service = service
        try:
            await service.jobs.start()
            yield
        finally:
            await service.jobs.stop(STOP_SECONDS)
            service.store.close()

    app = FastAPI(
        title="multipass sidecar",
        version=__version__,
        description="Multipass instances and environments over HTTP.",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        redirect_slashes=False,
        servers=[{"url": "/", "description": "the service that this document comes from"}],
    )
    for module, tag in ((host, "host"), (instances, "instances"), (environments, "environments"), (jobs, "jobs")):
        app.include_router(module.router, tags=[tag])
    add_page(app)
    add_error_handlers(app)
    app.add_middleware(AuthMiddleware, settings=settings, tokens=tokens, metrics=metrics)
    app.openapi = lambda: openapi.describe(app)  # type: ignore[method-assign]
    return app
