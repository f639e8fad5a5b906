# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Routes of environments: named sets of instances."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from .. import environments, models
from ..deps import InstancePath, JobRequest, JobRequestDep, ServiceDep
from ..problems import ApiError
from ..service import Service
from ..settings import Token

router = APIRouter()


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
async def list_environments(request: Request, service: ServiceDep) -> models.EnvironmentList:
    """List all environments."""
    names = service.environments.names()
    found = await service.multipass.instances() if names else []
    listed = [environments.status(name, service.environments.read(name), found) for name in names]
    return models.EnvironmentList(environments=[redacted(status, request) for status in listed])


@router.get("/environments/{name}")
async def read_environment(name: InstancePath, request: Request, service: ServiceDep) -> models.EnvironmentStatus:
    """Return an environment."""
    definition = service.environments.read(name)
    return redacted(environments.status(name, definition, await service.multipass.instances()), request)


@router.put("/environments/{name}", responses={201: {"model": models.EnvironmentStatus}})
async def define_environment(
    name: InstancePath, body: models.Environment, request: Request, response: Response, service: ServiceDep
) -> models.EnvironmentStatus:
    """Define an environment or replace its definition. Its instances are left as they are."""
    names = [instance.name for instance in body.instances]
    if len(set(names)) < len(names):
        raise ApiError(422, "invalid-request", "body.instances: a name is repeated; use each name once")
    for instance in body.instances:
        service.check_sources(instance)
    request.state.audit.update(kind="define-environment", target=name)
    found = await service.multipass.instances()
    response.status_code = 201 if service.environments.write(name, body) else 200
    return redacted(environments.status(name, body, found), request)


@router.delete("/environments/{name}", status_code=204, responses={202: {"model": models.Job}}, response_model=None)
async def delete_environment(
    name: InstancePath,
    job: JobRequestDep,
    request: Request,
    service: ServiceDep,
    purge: Annotated[bool, Query()] = False,
) -> models.Job | Response:
    """Delete the definition of an environment. With purge, a job deletes its instances first."""
    if not purge:
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
