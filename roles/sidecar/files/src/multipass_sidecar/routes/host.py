# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Routes about the host, multipass and the service itself. They only read."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Query, Response
from fastapi import Path as FromPath

from .. import __version__, models, problems
from ..deps import ServiceDep
from ..problems import ApiError

router = APIRouter()


@router.get("/health")
async def health(service: ServiceDep) -> models.Health:
    """Report whether multipass works. The status is always 200, because the API itself answers. Needs no token."""
    return await service.multipass.health()


@router.get("/problems/{kind}")
async def problem(kind: Annotated[str, FromPath(pattern=r"^[a-z-]{1,60}$")]) -> models.ProblemType:
    """Explain a problem type. Needs no token."""
    if kind not in problems.KINDS:
        raise ApiError(404, "http", "there is no such problem type")
    return models.ProblemType(type=f"/problems/{kind}", description=problems.KINDS[kind])


@router.get("/version")
async def version(service: ServiceDep) -> models.Version:
    """Return the version of the service and, if multipass answers, of multipass."""
    found = (await service.multipass.health()).multipass
    return models.Version(service=__version__, multipass=found.version, daemon=found.daemon_version)


@router.get("/host")
async def host(service: ServiceDep) -> models.Host:
    """Describe the machine that the instances run on."""
    memory = {
        name.rstrip(":"): int(value) * 1024
        for name, value, *_unit in map(str.split, Path("/proc/meminfo").read_text("ascii").splitlines())
    }
    disk = shutil.disk_usage(service.settings.state())
    driver = None
    with contextlib.suppress(ApiError):
        driver = await service.multipass.get("local.driver")
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
async def metrics(service: ServiceDep) -> Response:
    """Return metrics for Prometheus."""
    instances: list[models.Instance] = []
    health = await service.multipass.health()
    with contextlib.suppress(ApiError):
        instances = await service.multipass.instances()
    counts = await service.store.counts()
    text = service.metrics.text(health, instances, counts, len(service.environments.names()))
    return Response(text, media_type="text/plain; version=0.0.4")


@router.get("/images")
async def images(
    service: ServiceDep, query: Annotated[models.Query | None, Query(examples=["24.04"])] = None
) -> models.ImageList:
    """List the images that can be launched. With a query, list those that match it."""
    return models.ImageList(images=await service.multipass.images(query))


@router.get("/networks")
async def networks(service: ServiceDep) -> models.NetworkList:
    """List the host's networks that an instance can be attached to."""
    return models.NetworkList(networks=await service.multipass.networks())
