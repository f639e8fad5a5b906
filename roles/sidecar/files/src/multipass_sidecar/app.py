# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The HTTP API. Errors are problem details (RFC 9457)."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.resources
import logging
import os
import platform
import shutil
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path as FilePath
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Header, Query, Request, Response
from fastapi import Path as PathParameter
from fastapi.exceptions import RequestValidationError
from fastapi.responses import StreamingResponse
from starlette.exceptions import HTTPException

from . import __version__, environments, models, problems
from .gate import Gate, needed_scope
from .jobs import Jobs
from .metrics import Metrics
from .multipass import Multipass, there_is
from .operations import Operations
from .problems import ApiError
from .settings import Settings, Token
from .store import Store

STOP_SECONDS = 30
"""How long running jobs may take to end once the service is told to stop."""
PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
PAGE_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript"}
log = logging.getLogger("multipass_sidecar")


class Service:
    """The parts of the service, together."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        state = settings.state()
        self.settings = settings
        self.multipass = Multipass(settings)
        self.environments = environments.Environments(state / "environments")
        self.operations = Operations(settings, self.multipass, self.environments)
        self.store = Store(state / "jobs.sqlite")
        self.jobs = Jobs(settings, self.store, self.operations.work)
        self.metrics = metrics

    def check_sources(self, wanted: models.Launch) -> None:
        """Raise ApiError 403 for a mount or an image file of the host that is on no allow list."""
        for mount in wanted.mounts:
            self._check_source(mount.source, self.settings.mount_sources, "mount_sources")
        if wanted.image.startswith("file://"):
            self._check_source(wanted.image.removeprefix("file://"), self.settings.image_files, "image_files")

    @staticmethod
    def _check_source(source: str, allowed: list[FilePath], key: str) -> None:
        # Resolved: neither .. nor a symbolic link leads out of what is allowed.
        path = FilePath(source).resolve()
        if str(path) != source.rstrip("/") or not any(
            path.is_relative_to(directory.resolve()) for directory in allowed
        ):
            detail = f"{source} is in no directory of the service's {key}, or not by its real path."
            raise ApiError(403, "not-allowed", detail)


def service_of(request: Request) -> Service:
    """Return the application's one service."""
    service: Service = request.app.state.service
    return service


def on_api_error(request: Request, error: ApiError) -> Response:
    """Answer what was not done."""
    answer = problems.answer(request.url.path, error.status, error.kind, error.detail)
    answer.headers.update(error.headers)
    return answer


def on_invalid(request: Request, error: RequestValidationError) -> Response:
    """Answer a request that does not fit the API, naming each field."""
    errors = [{"field": ".".join(map(str, item["loc"])), "detail": item["msg"]} for item in error.errors()]
    detail = "; ".join(f"{item['field']}: {item['detail']}" for item in errors[:5])
    return problems.answer(request.url.path, 422, "invalid-request", detail, errors=errors[:50])


def on_http_error(request: Request, error: HTTPException) -> Response:
    """Answer an unknown path or method, or a body that is too large or no JSON."""
    answer = problems.answer(request.url.path, error.status_code, "http", str(error.detail))
    answer.headers.update(error.headers or {})
    return answer


def on_storage_error(request: Request, error: sqlite3.Error) -> Response:
    """Answer that jobs can't be kept: without that none is begun."""
    log.error("storage error", exc_info=error)
    return on_api_error(request, ApiError(503, "storage", f"the state directory can't be used: {error}"))


def on_bug(request: Request, error: Exception) -> Response:
    """Answer what should not happen; the log has the traceback, the client does not."""
    log.error("unexpected error", exc_info=error)
    return problems.answer(request.url.path, 500, "internal-error", "Unexpected error; the service's log says more.")


Parts = Annotated[Service, Depends(service_of)]
ByName = Annotated[models.Name, PathParameter(examples=["web-1"])]
BySnapshot = Annotated[models.Name, PathParameter(examples=["before-upgrade"])]
ByJob = Annotated[str, PathParameter(pattern=r"^[0-9a-f]{32}$")]
InGuest = Annotated[models.GuestPath, Query(alias="path", examples=["/home/ubuntu/report.txt"])]
Wait = Annotated[int, Query(alias="wait", ge=0, le=600, description="Seconds to wait for the job's end.")]
Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        pattern=r"^[ -~]{1,200}$",
        description="A repeated request with the same key returns the first one's job.",
    ),
]


class Asked:
    """A request for a job: who asks, and whether the same was asked before."""

    def __init__(self, request: Request, response: Response, parts: Parts, wait: Wait = 0, key: Key = None) -> None:
        self._request = request
        self._response = response
        self._parts = parts
        self._wait = wait
        self._key = key
        self._token: Token = request.state.token

    async def job(
        self, kind: str, target: str, instances: list[str], wanted: dict[str, Any] | None = None, *, check: bool = True
    ) -> models.Job:
        """Make a job, or find the one that the same request made before; wait for its end if that is asked for."""
        parts, digest = self._parts, hashlib.sha256()
        for part in (self._request.method, self._request.url.path, self._query(), await self._request.body()):
            digest.update((part.encode() if isinstance(part, str) else part) + b"\0")
        found = parts.store.repeated(self._token.name, self._key) if self._key else None
        if found is None:
            if check and not self._pending(kind, target, instances):
                await parts.operations.check(kind, target, wanted or {})
            # Nothing is awaited between this look and the new job: of two requests with one key, one makes it.
            found = parts.store.repeated(self._token.name, self._key) if self._key else None
        if found is None:
            self._pending(kind, target, instances)
            job = parts.jobs.submit(
                *(kind, target, instances, wanted or {}),
                token=self._token.name,
                idempotency=self._key,
                fingerprint=digest.hexdigest(),
            )
        else:
            job, fingerprint = found
            if fingerprint != digest.hexdigest():
                raise ApiError(422, "key-reused", "The Idempotency-Key was used for another request.")
        self._request.state.audit.update(job=job, kind=kind, target=target, repeated=found is not None)
        await parts.jobs.wait(job, self._wait)
        shown = there_is(parts.store.read(job))
        self._response.status_code = 200 if self._wait and shown.state in models.ENDED else 202
        self._response.headers["Location"] = f"/jobs/{job}"
        return shown

    def _query(self) -> str:
        pairs = [f"{name}={value}" for name, value in self._request.query_params.multi_items() if name != "wait"]
        return "&".join(pairs)

    def _pending(self, kind: str, target: str, instances: list[str]) -> bool:
        """Tell whether a job that has not ended decides over what can be done; ApiError 409 for a second launch."""
        pending = [order for name in instances for order in self._parts.jobs.pending(name)]
        taking = [order for order in pending if order.kind == "launch" and order.target == target]
        if kind == "launch" and taking:
            raise ApiError(409, "instance-exists", f"instance {target} is being launched by job {taking[0].id}")
        return bool(pending)


Ask = Annotated[Asked, Depends()]
router = APIRouter()


@router.get("/health")
async def health(parts: Parts) -> models.Health:
    """Tell whether the API and multipass work. Always 200: the API does, since it answers. Needs no token."""
    return await parts.multipass.health()


@router.get("/version")
async def version(parts: Parts) -> models.Version:
    """Tell the versions of the service and, where it answers, of multipass."""
    found = (await parts.multipass.health()).multipass
    return models.Version(service=__version__, multipass=found.version, daemon=found.daemon_version)


@router.get("/host")
async def host(parts: Parts) -> models.Host:
    """Describe the machine that the instances run on."""
    memory = {
        name.rstrip(":"): int(value) * 1024
        for name, value, *_unit in map(str.split, FilePath("/proc/meminfo").read_text("ascii").splitlines())
    }
    disk = shutil.disk_usage(parts.settings.state())
    driver = None
    with contextlib.suppress(ApiError):
        driver = await parts.multipass.get("local.driver")
    return models.Host(
        name=platform.node(),
        kernel=platform.release(),
        cpus=os.cpu_count() or 1,
        load=list(os.getloadavg()),
        memory=models.Usage(used=memory["MemTotal"] - memory["MemAvailable"], total=memory["MemTotal"]),
        disk=models.Usage(used=disk.used, total=disk.total),
        driver=driver,
    )


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def metrics(parts: Parts) -> Response:
    """Return metrics for Prometheus."""
    found: list[models.Instance] = []
    seen = await parts.multipass.health()
    with contextlib.suppress(ApiError):
        found = await parts.multipass.instances()
    text = parts.metrics.text(seen, found, parts.store.counts(), len(parts.environments.names()))
    return Response(text, media_type="text/plain; version=0.0.4")


@router.get("/images")
async def images(
    parts: Parts, query: Annotated[models.Query | None, Query(examples=["24.04"])] = None
) -> models.ImageList:
    """List the images that can be launched, or those that fit a query."""
    return models.ImageList(images=await parts.multipass.images(query))


@router.get("/networks")
async def networks(parts: Parts) -> models.NetworkList:
    """List the host's networks that an instance can be attached to."""
    return models.NetworkList(networks=await parts.multipass.networks())


@router.get("/instances")
async def list_instances(parts: Parts) -> models.InstanceList:
    """List all instances."""
    return models.InstanceList(instances=await parts.multipass.instances())


@router.post("/instances", status_code=202)
async def launch_instance(wanted: models.Launch, ask: Ask, parts: Parts) -> models.Job:
    """Make and start an instance."""
    parts.check_sources(wanted)
    return await ask.job("launch", wanted.name, [wanted.name], wanted.model_dump(mode="json"))


@router.get("/instances/{name}")
async def read_instance(name: ByName, parts: Parts) -> models.InstanceDetail:
    """Show one instance."""
    return await parts.multipass.info(name)


@router.get("/instances/{name}/size")
async def read_size(name: ByName, parts: Parts) -> models.InstanceSize:
    """Show the size that an instance is set to, whether it runs or not."""
    return await parts.multipass.size(name)


@router.delete("/instances/{name}", status_code=202)
async def delete_instance(name: ByName, ask: Ask) -> models.Job:
    """Delete an instance, its snapshots and its disk for good."""
    return await ask.job("delete", name, [name])


@router.post("/instances/{name}/start", status_code=202)
async def start_instance(name: ByName, ask: Ask) -> models.Job:
    """Start or resume an instance; nothing is done to one that runs."""
    return await ask.job("start", name, [name])


@router.post("/instances/{name}/stop", status_code=202)
async def stop_instance(name: ByName, ask: Ask, wanted: models.Stop | None = None) -> models.Job:
    """Shut an instance down; nothing is done to one that is stopped."""
    return await ask.job("stop", name, [name], (wanted or models.Stop()).model_dump(mode="json"))


@router.post("/instances/{name}/restart", status_code=202)
async def restart_instance(name: ByName, ask: Ask) -> models.Job:
    """Restart an instance; one that is stopped is started."""
    return await ask.job("restart", name, [name])


@router.post("/instances/{name}/suspend", status_code=202)
async def suspend_instance(name: ByName, ask: Ask) -> models.Job:
    """Suspend an instance that runs."""
    return await ask.job("suspend", name, [name])


@router.post("/instances/{name}/recover", status_code=202)
async def recover_instance(name: ByName, ask: Ask) -> models.Job:
    """Take back an instance that was deleted but not purged."""
    return await ask.job("recover", name, [name])


@router.post("/instances/{name}/resize", status_code=202)
async def resize_instance(name: ByName, wanted: models.Resize, ask: Ask) -> models.Job:
    """Change the size of a stopped instance; a disk can only grow."""
    return await ask.job("resize", name, [name], wanted.model_dump(mode="json"))


@router.post("/instances/{name}/clone", status_code=202)
async def clone_instance(name: ByName, wanted: models.Clone, ask: Ask) -> models.Job:
    """Copy a stopped instance."""
    if wanted.name == name:
        raise ApiError(409, "instance-exists", f"instance {name} can't be its own copy")
    return await ask.job("clone", name, [name, wanted.name], wanted.model_dump(mode="json"))


@router.get("/instances/{name}/snapshots")
async def list_snapshots(name: ByName, parts: Parts) -> models.SnapshotList:
    """List an instance's snapshots."""
    return models.SnapshotList(snapshots=await parts.multipass.snapshots(name))


@router.post("/instances/{name}/snapshots", status_code=202)
async def take_snapshot(name: ByName, ask: Ask, wanted: models.TakeSnapshot | None = None) -> models.Job:
    """Take a snapshot of a stopped instance."""
    wanted = wanted or models.TakeSnapshot()
    # Named here, not by multipass: a job that is taken up again must know whether it has made it.
    request = wanted.model_dump(mode="json") | {"name": wanted.name or f"snapshot-{os.urandom(4).hex()}"}
    return await ask.job("snapshot", name, [name], request)


@router.post("/instances/{name}/snapshots/{snapshot}/restore", status_code=202)
async def restore_snapshot(name: ByName, snapshot: BySnapshot, ask: Ask) -> models.Job:
    """Set a stopped instance back to a snapshot; what it is now is lost."""
    return await ask.job("restore", name, [name], {"snapshot": snapshot})


@router.delete("/instances/{name}/snapshots/{snapshot}", status_code=202)
async def delete_snapshot(name: ByName, snapshot: BySnapshot, ask: Ask) -> models.Job:
    """Delete a snapshot for good."""
    return await ask.job("delete-snapshot", name, [name], {"snapshot": snapshot})


@router.post("/instances/{name}/exec")
async def execute(name: ByName, wanted: models.Execute, request: Request, parts: Parts) -> models.Executed:
    """Run a program in an instance that runs, and return how it ended. Not a job: what it did can't be known after."""
    if sum(len(part.encode()) for part in wanted.argv) > models.ARGUMENTS_BYTES:
        raise ApiError(422, "invalid-request", f"body.argv: more than {models.ARGUMENTS_BYTES} bytes are not allowed")
    request.state.audit.update(kind="exec", target=name, program=wanted.argv[0][:200])
    return await parts.multipass.execute(name, wanted)


@router.put(
    "/instances/{name}/files",
    status_code=204,
    openapi_extra={
        "requestBody": {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
    },
)
async def send_file(name: ByName, path: InGuest, request: Request, parts: Parts) -> None:
    """Write a file in an instance that runs; the body is its content."""
    request.state.audit.update(kind="send-file", target=name, file=path)
    await parts.multipass.send_file(name, path, request.stream())


@router.get(
    "/instances/{name}/files",
    response_class=StreamingResponse,
    responses={200: {"content": {"application/octet-stream": {}}}},
)
async def receive_file(name: ByName, path: InGuest, parts: Parts) -> StreamingResponse:
    """Read a file of an instance that runs."""
    chunks = parts.multipass.receive_file(name, path)
    first = await anext(chunks, b"")

    async def content() -> AsyncIterator[bytes]:
        yield first
        async for chunk in chunks:
            yield chunk

    return StreamingResponse(content(), media_type="application/octet-stream")


def shown(status: models.EnvironmentStatus, request: Request) -> models.EnvironmentStatus:
    """Return an environment without what only the scope admin may see: cloud-init may hold secrets."""
    token: Token = request.state.token
    if not token.allows("admin"):
        for instance in status.definition.instances:
            instance.cloud_init = None
    return status


@router.get("/environments")
async def list_environments(request: Request, parts: Parts) -> models.EnvironmentList:
    """List all environments."""
    names = parts.environments.names()
    found = await parts.multipass.instances() if names else []
    listed = [environments.status(name, parts.environments.read(name), found) for name in names]
    return models.EnvironmentList(environments=[shown(status, request) for status in listed])


@router.get("/environments/{name}")
async def read_environment(name: ByName, request: Request, parts: Parts) -> models.EnvironmentStatus:
    """Show an environment."""
    definition = parts.environments.read(name)
    return shown(environments.status(name, definition, await parts.multipass.instances()), request)


@router.put("/environments/{name}", responses={201: {"model": models.EnvironmentStatus}})
async def define_environment(
    name: ByName, wanted: models.Environment, request: Request, response: Response, parts: Parts
) -> models.EnvironmentStatus:
    """Define an environment, or define it anew; its instances are left as they are."""
    names = [instance.name for instance in wanted.instances]
    if len(set(names)) < len(names):
        raise ApiError(422, "invalid-request", "body.instances: each name may be there once only")
    for instance in wanted.instances:
        parts.check_sources(instance)
    request.state.audit.update(kind="define-environment", target=name)
    found = await parts.multipass.instances()
    response.status_code = 201 if parts.environments.write(name, wanted) else 200
    return shown(environments.status(name, wanted, found), request)


@router.delete("/environments/{name}", status_code=204, responses={202: {"model": models.Job}}, response_model=None)
async def delete_environment(
    name: ByName, ask: Ask, request: Request, parts: Parts, purge: Annotated[bool, Query()] = False
) -> models.Job | Response:
    """Drop the definition of an environment; with purge, delete its instances before, which is a job."""
    if not purge:
        request.state.audit.update(kind="delete-environment", target=name)
        parts.environments.delete(name)
        return Response(status_code=204)
    return await environment_job("delete-environment", name, ask, parts)


@router.post("/environments/{name}/start", status_code=202)
async def start_environment(name: ByName, ask: Ask, parts: Parts) -> models.Job:
    """Launch an environment's instances that are not there, and start those that do not run."""
    return await environment_job("start-environment", name, ask, parts)


@router.post("/environments/{name}/stop", status_code=202)
async def stop_environment(name: ByName, ask: Ask, parts: Parts) -> models.Job:
    """Stop an environment's instances that run."""
    return await environment_job("stop-environment", name, ask, parts)


async def environment_job(kind: str, name: str, ask: Asked, parts: Service) -> models.Job:
    """Make a job on all instances of an environment, with the definition as it is now."""
    definition = parts.environments.read(name)
    instances = [instance.name for instance in definition.instances]
    if kind == "start-environment":
        # The lists of what is allowed may be shorter than when it was defined.
        for instance in definition.instances:
            parts.check_sources(instance)
    return await ask.job(kind, name, instances, definition.model_dump(mode="json"), check=False)


@router.get("/jobs")
async def list_jobs(
    parts: Parts,
    state: models.JobState | None = None,
    instance: models.Name | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> models.JobList:
    """List jobs without their logs, the newest first."""
    return models.JobList(jobs=parts.store.select(state, instance, limit))


@router.get("/jobs/{job}")
async def read_job(job: ByJob, parts: Parts, wait: Wait = 0) -> models.Job:
    """Show a job with its log; with wait, as soon as it has ended or that time is over."""
    await parts.jobs.wait(job, wait)
    found = parts.store.read(job)
    if found is None:
        raise ApiError(404, "job-not-found", f"job {job} does not exist")
    return found


@router.post("/jobs/{job}/cancel")
async def cancel_job(job: ByJob, request: Request, parts: Parts) -> models.Job:
    """Cancel a job that has not ended. What multipass' daemon has begun, it may go on with."""
    found = await read_job(job, parts)
    request.state.audit.update(kind="cancel", target=found.target, job=job)
    await parts.jobs.cancel(job)
    return await read_job(job, parts)


def page_files() -> dict[str, tuple[bytes, str]]:
    """Return the page's files by path: content and media type."""
    folder = importlib.resources.files(__package__) / "page"
    found = {}
    for name in ("page.html", "page.css", "page.js"):
        path = "/" if name == "page.html" else f"/{name}"
        found[path] = ((folder / name).read_bytes(), PAGE_TYPES[name.rpartition(".")[2]])
    return found


def page(content: bytes, kind: str) -> Callable[[Request], Awaitable[Response]]:
    """Return what answers with a file of the page."""

    async def send(request: Request) -> Response:
        return Response(content, media_type=kind, headers=PAGE_HEADERS)

    return send


def describe(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document: errors are problems everywhere, and each operation tells the scope that it needs."""
    if app.openapi_schema:
        return app.openapi_schema
    document = FastAPI.openapi(app)
    document["components"]["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer"}}
    schemas = document["components"]["schemas"]
    schemas["Problem"] = models.Problem.model_json_schema()
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    failed = {"content": {problems.PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}}}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            answers = operation["responses"]
            answers.pop("422", None)
            if path == "/health":
                operation["security"] = []
                continue
            scope = needed_scope(method.upper(), path)
            operation["security"] = [{"bearer": []}]
            operation["description"] = f"{operation.get('description', '')}\n\nNeeds the scope {scope}.".strip()
            for status in ("400", "401", "403", "404", "405", "408", "409", "413", "422", "429", "503", "504"):
                answers.setdefault(status, {"description": "Problem", **failed})
            if "202" in answers and method != "get":
                answers.setdefault("200", answers["202"] | {"description": "The job has ended."})
    app.openapi_schema = document
    return document


def create_app(settings: Settings, tokens: list[Token]) -> FastAPI:
    """Return the API, which asks for a token on every path but GET /health and the page."""

    counted = Metrics()

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service = Service(settings, counted)
        app.state.service = service
        service.jobs.start()
        try:
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
    )
    app.include_router(router)
    for path, (content, media) in page_files().items():
        app.add_route(path, page(content, media), include_in_schema=False)
    app.openapi = lambda: describe(app)  # type: ignore[method-assign]
    for kind, handler in (
        (ApiError, on_api_error),
        (RequestValidationError, on_invalid),
        (HTTPException, on_http_error),
        (sqlite3.Error, on_storage_error),
        (Exception, on_bug),
    ):
        app.add_exception_handler(kind, handler)  # type: ignore[arg-type]
    app.add_middleware(Gate, settings=settings, tokens=tokens, metrics=counted)
    return app
