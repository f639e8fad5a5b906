# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Routes of instances, their snapshots, programs and files. Changes are jobs; they are done in `operations`."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncGenerator

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from .. import models
from ..deps import AfterQuery, GuestPathQuery, InstancePath, JobRequestDep, LimitQuery, ServiceDep, SnapshotPath, page
from ..problems import ApiError

router = APIRouter()
log = logging.getLogger("multipass_sidecar")


@router.get("/instances")
async def list_instances(
    service: ServiceDep, limit: LimitQuery = None, after: AfterQuery = None
) -> models.InstanceList:
    """List instances by name."""
    found, following = page(await service.multipass.instances(), lambda item: item.name, after, limit)
    return models.InstanceList(instances=found, next=following)


@router.post("/instances", status_code=202)
async def launch_instance(body: models.Launch, job: JobRequestDep, service: ServiceDep) -> models.Job:
    """Create and start an instance."""
    service.check_sources(body)
    return await job.submit("launch", body.name, [body.name], body.model_dump(mode="json"))


@router.get("/instances/{name}")
async def read_instance(name: InstancePath, service: ServiceDep) -> models.InstanceDetail:
    """Return one instance."""
    return await service.multipass.info(name)


@router.get("/instances/{name}/size")
async def read_size(name: InstancePath, service: ServiceDep) -> models.InstanceSize:
    """Return the configured size of an instance, whether it runs or not."""
    return await service.multipass.size(name)


@router.delete("/instances/{name}", status_code=202)
async def delete_instance(name: InstancePath, job: JobRequestDep) -> models.Job:
    """Delete an instance, its snapshots and its disk permanently."""
    return await job.submit("delete", name, [name])


@router.post("/instances/{name}/start", status_code=202)
async def start_instance(name: InstancePath, job: JobRequestDep) -> models.Job:
    """Start or resume an instance. A running instance is left as it is."""
    return await job.submit("start", name, [name])


@router.post("/instances/{name}/stop", status_code=202)
async def stop_instance(name: InstancePath, job: JobRequestDep, body: models.Stop | None = None) -> models.Job:
    """Shut down an instance. A stopped instance is left as it is."""
    return await job.submit("stop", name, [name], (body or models.Stop()).model_dump(mode="json"))


@router.post("/instances/{name}/restart", status_code=202)
async def restart_instance(name: InstancePath, job: JobRequestDep) -> models.Job:
    """Restart an instance. A stopped instance is started."""
    return await job.submit("restart", name, [name])


@router.post("/instances/{name}/suspend", status_code=202)
async def suspend_instance(name: InstancePath, job: JobRequestDep) -> models.Job:
    """Suspend a running instance."""
    return await job.submit("suspend", name, [name])


@router.post("/instances/{name}/recover", status_code=202)
async def recover_instance(name: InstancePath, job: JobRequestDep) -> models.Job:
    """Recover an instance that was deleted but not purged."""
    return await job.submit("recover", name, [name])


@router.post("/instances/{name}/resize", status_code=202)
async def resize_instance(name: InstancePath, body: models.Resize, job: JobRequestDep) -> models.Job:
    """Change the size of a stopped instance. A disk can only grow."""
    return await job.submit("resize", name, [name], body.model_dump(mode="json"))


@router.post("/instances/{name}/clone", status_code=202)
async def clone_instance(name: InstancePath, body: models.Clone, job: JobRequestDep) -> models.Job:
    """Copy a stopped instance."""
    if body.name == name:
        raise ApiError(409, "instance-exists", f"instance {name} cannot be its own copy; choose another name")
    return await job.submit("clone", name, [name, body.name], body.model_dump(mode="json"))


@router.get("/instances/{name}/snapshots")
async def list_snapshots(name: InstancePath, service: ServiceDep) -> models.SnapshotList:
    """List the snapshots of an instance."""
    return models.SnapshotList(snapshots=await service.multipass.snapshots(name))


@router.post("/instances/{name}/snapshots", status_code=202)
async def take_snapshot(name: InstancePath, job: JobRequestDep, body: models.TakeSnapshot | None = None) -> models.Job:
    """Take a snapshot of a stopped instance."""
    body = body or models.TakeSnapshot()
    # Named here and not by multipass: a job that is resumed must know whether it has taken its snapshot.
    content = body.model_dump(mode="json") | {"name": body.name or f"snapshot-{os.urandom(4).hex()}"}
    return await job.submit("snapshot", name, [name], content, asked=body.model_dump(mode="json"))


@router.post("/instances/{name}/snapshots/{snapshot}/restore", status_code=202)
async def restore_snapshot(name: InstancePath, snapshot: SnapshotPath, job: JobRequestDep) -> models.Job:
    """Restore a stopped instance to a snapshot. Its present state is lost."""
    return await job.submit("restore", name, [name], {"snapshot": snapshot})


@router.delete("/instances/{name}/snapshots/{snapshot}", status_code=202)
async def delete_snapshot(name: InstancePath, snapshot: SnapshotPath, job: JobRequestDep) -> models.Job:
    """Delete a snapshot permanently."""
    return await job.submit("delete-snapshot", name, [name], {"snapshot": snapshot})


@router.post("/instances/{name}/exec")
async def execute(name: InstancePath, body: models.Execute, request: Request, service: ServiceDep) -> models.Executed:
    """Run a program in a running instance and return how it ended.

    This is not a job: if the service stops meanwhile, the effect of the program is unknown.
    """
    if sum(len(part.encode()) for part in body.argv) > models.ARGUMENTS_BYTES:
        raise ApiError(422, "invalid-request", f"body.argv: at most {models.ARGUMENTS_BYTES} bytes are allowed")
    request.state.audit.update(kind="exec", target=name, program=body.argv[0][:200])
    return await service.multipass.execute(name, body)


@router.put(
    "/instances/{name}/files",
    status_code=204,
    openapi_extra={
        "requestBody": {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
    },
)
async def send_file(name: InstancePath, path: GuestPathQuery, request: Request, service: ServiceDep) -> None:
    """Write a file in a running instance. The body is its content."""
    request.state.audit.update(kind="send-file", target=name, file=path)
    await service.multipass.send_file(name, path, request.stream())


class Download(StreamingResponse):
    """An answer from a process, which ends with the answer. A client that takes too long gets only a part."""

    def __init__(self, chunks: AsyncGenerator[bytes], seconds: float) -> None:
        super().__init__(chunks, media_type="application/octet-stream")
        self._chunks = chunks
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer."""
        try:
            async with asyncio.timeout(self._seconds):
                await super().__call__(scope, receive, send)
        except TimeoutError:
            # The server ends the connection, since the answer is not complete.
            log.info("a client took too long for a file")
        finally:
            await self._chunks.aclose()


@router.get(
    "/instances/{name}/files",
    response_class=StreamingResponse,
    responses={200: {"content": {"application/octet-stream": {}}}},
)
async def receive_file(name: InstancePath, path: GuestPathQuery, service: ServiceDep) -> StreamingResponse:
    """Read a file of a running instance."""
    chunks = service.multipass.receive_file(name, path)
    first = await anext(chunks, b"")

    async def content() -> AsyncGenerator[bytes]:
        try:
            yield first
            async for chunk in chunks:
                yield chunk
        finally:
            await chunks.aclose()

    return Download(content(), service.settings.launch_timeout)
