# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Routes of jobs: read, wait for and cancel them. The routes of the other resources create them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request

from .. import models
from ..deps import JobPath, ServiceDep, WaitQuery
from ..problems import ApiError

router = APIRouter()


@router.get("/jobs")
async def list_jobs(
    service: ServiceDep,
    state: models.JobState | None = None,
    instance: models.Name | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    before: Annotated[
        str | None, Query(pattern=r"^[0-9a-f]{32}$", description="A job: list those that are older. See `next`.")
    ] = None,
) -> models.JobList:
    """List jobs without their logs, newest first. `next` is the value of `before` for the next page."""
    found = await service.jobs.select(state, instance, limit, before)
    return models.JobList(jobs=found, next=found[-1].id if len(found) == limit else None)


@router.get("/jobs/{job}")
async def read_job(job: JobPath, service: ServiceDep, wait: WaitQuery = 0) -> models.Job:
    """Return a job with its log. With wait, return it as soon as it has ended or the time is over."""
    await service.jobs.wait(job, wait)
    found = await service.jobs.read(job)
    if found is None:
        raise ApiError(404, "job-not-found", f"job {job} does not exist")
    return found


@router.post("/jobs/{job}/cancel")
async def cancel_job(job: JobPath, request: Request, service: ServiceDep) -> models.Job:
    """Cancel a job that has not ended. The multipass daemon may still finish an operation that it started."""
    found = await read_job(job, service)
    request.state.audit.update(kind="cancel", target=found.target, job=job)
    await service.jobs.cancel(job)
    return await read_job(job, service)
