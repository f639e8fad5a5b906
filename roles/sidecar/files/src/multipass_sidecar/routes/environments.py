# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Routes of environments: named sets of instances."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response

from .. import environments, models
from ..deps import AfterQuery, InstancePath, JobRequest, JobRequestDep, LimitQuery, ServiceDep, page
from ..problems import ApiError
from ..service import Service
from ..settings import Token

router = APIRouter()
IfMatch = Annotated[str | None, Header(max_length=1000, description="Only if the definition has this entity tag.")]


def redacted(status: models.EnvironmentStatus, request: Request) -> models.EnvironmentStatus:
    """Return an environment without what needs the scope admin: cloud-init may contain secrets."""
    token: Token = request.state.token
    if not token.allows("admin"):
        for instance in status.definition.instances:
            instance.cloud_init = None
    return status


async def submit_job(kind: str, name: str, job: JobRequest, service: Service) -> models.Job:
    """Create a job on all instances of an environment, with its present definition."""
    definition = service.environments.read(name)
    instances = [instance.name for instance in definition.instances]
    if kind == "start-environment":
        # The allow lists may be shorter than when the environment was defined.
        for instance in definition.instances:
            service.check_sources(instance)
    return await job.submit(kind, name, instances, definition.model_dump(mode="json"), check=False)


@router.get("/environments")
async def list_environments(
    request: Request, service: ServiceDep, limit: LimitQuery = None, after: AfterQuery = None
) -> models.EnvironmentList:
    """List environments by name."""
    names, following = page(service.environments.names(), str, after, limit)
    found = await service.multipass.instances() if names else []
    listed = [environments.status(name, service.environments.read(name), found) for name in names]
    return models.EnvironmentList(environments=[redacted(status, request) for status in listed], next=following)


@router.get("/environments/{name}")
async def read_environment(
    name: InstancePath, request: Request, response: Response, service: ServiceDep
) -> models.EnvironmentStatus:
    """Return an environment. The entity tag (ETag) is that of its definition."""
    definition = service.environments.read(name)
    response.headers["ETag"] = environments.etag(definition)
    return redacted(environments.status(name, definition, await service.multipass.instances()), request)


@router.put("/environments/{name}", responses={201: {"model": models.EnvironmentStatus}})
async def define_environment(
    name: InstancePath,
    body: models.Environment,
    request: Request,
    response: Response,
    service: ServiceDep,
    if_match: IfMatch = None,
    if_none_match: Annotated[str | None, Header(pattern=r"^\*$", description="`*`: only define a new one.")] = None,
) -> models.EnvironmentStatus:
    """Define an environment or replace its definition. Its instances are left as they are."""
    names = [instance.name for instance in body.instances]
    if len(set(names)) < len(names):
        raise ApiError(422, "invalid-request", "body.instances: a name is repeated; use each name once")
    for instance in body.instances:
        service.check_sources(instance)
    request.state.audit.update(kind="define-environment", target=name)
    found = await service.multipass.instances()
    # Nothing is awaited between this check and the new definition.
    service.environments.check_match(name, if_match, absent=if_none_match is not None)
    response.status_code = 201 if service.environments.write(name, body) else 200
    response.headers["ETag"] = environments.etag(body)
    if response.status_code == 201:
        response.headers["Location"] = f"/environments/{name}"
    return redacted(environments.status(name, body, found), request)


@router.delete("/environments/{name}", status_code=204, responses={202: {"model": models.Job}}, response_model=None)
async def delete_environment(
    name: InstancePath,
    job: JobRequestDep,
    request: Request,
    service: ServiceDep,
    purge: Annotated[bool, Query()] = False,
    if_match: IfMatch = None,
) -> models.Job | Response:
    """Delete the definition of an environment. With purge, a job deletes its instances first."""
    service.environments.check_match(name, if_match)
    if not purge:
        busy = [
            item for item in service.jobs.unfinished() if item.kind.endswith("-environment") and item.target == name
        ]
        if busy:
            detail = f"environment {name} is in use by job {busy[0].id}; wait for its end, or cancel it"
            raise ApiError(409, "environment-busy", detail)
        request.state.audit.update(kind="delete-environment", target=name)
        service.environments.delete(name)
        return Response(status_code=204)
    return await submit_job("delete-environment", name, job, service)


@router.post("/environments/{name}/start", status_code=202)
async def start_environment(name: InstancePath, job: JobRequestDep, service: ServiceDep) -> models.Job:
    """Launch the instances of an environment that do not exist, and start those that do not run."""
    return await submit_job("start-environment", name, job, service)


@router.post("/environments/{name}/stop", status_code=202)
async def stop_environment(name: InstancePath, job: JobRequestDep, service: ServiceDep) -> models.Job:
    """Stop the running instances of an environment."""
    return await submit_job("stop-environment", name, job, service)
