# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How large an instance may be, and how much the instances of one token may take together."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from . import models
from .jobs import Jobs
from .multipass import Multipass
from .problems import ApiError
from .settings import Limits, Settings
from .store import Size, Store

DISKS = ("/", "/var/snap/multipass", "/var/lib/multipass", "/home")
"""Where multipass may keep disks."""


def host_size() -> Size:
    """Return the size of this host. Its disk is its largest file system that may hold disks of instances."""
    memory = next(
        int(line.split()[1]) * 1024
        for line in Path("/proc/meminfo").read_text("ascii").splitlines()
        if line.startswith("MemTotal:")
    )
    disk = max(shutil.disk_usage(path).total for path in DISKS if Path(path).exists())
    return Size(os.cpu_count() or 1, memory, disk)


def size_of(launch: models.Launch) -> Size:
    """Return what an instance takes."""
    return Size(launch.cpus, models.size_in_bytes(launch.memory), models.size_in_bytes(launch.disk))


class InstanceLimits:
    """The limits of all tokens."""

    def __init__(self, settings: Settings, store: Store, multipass: Multipass, jobs: Jobs) -> None:
        self._settings = settings
        self._store = store
        self._multipass = multipass
        self._jobs = jobs

    def check_size(self, size: Size) -> None:
        """Raise ApiError 422 for an instance that is larger than the host, or than the configuration allows."""
        host = host_size()
        settings = self._settings
        for key, value, limit in (
            ("cpus", size.cpus, settings.max_cpus or host.cpus),
            ("memory", size.memory, settings.max_memory or host.memory),
            ("disk", size.disk, settings.max_disk or host.disk),
        ):
            if value > limit:
                detail = f"{key}: {value} is more than an instance may have on this host ({limit}); ask for less"
                raise ApiError(422, "too-large-for-host", detail)

    async def check(self, token: str, kind: str, target: str, body: dict[str, Any]) -> dict[str, Size]:
        """Raise ApiError if a job asks for too much; return the instances that its token will own, with their sizes."""
        if kind == "launch":
            wanted = {target: size_of(models.Launch.model_validate(body))}
        elif kind == "start-environment":
            launches = models.Environment.model_validate(body).instances
            present = {item.name for item in await self._multipass.instances()}
            wanted = {launch.name: size_of(launch) for launch in launches if launch.name not in present}
        elif kind == "clone":
            source = await self._store.owner(target)
            wanted = {body["name"]: source[1] if source else await self._size(target)}
        elif kind == "resize":
            return await self._check_resize(target, models.Resize.model_validate(body))
        else:
            return {}
        if kind != "clone":
            for size in wanted.values():
                self.check_size(size)
        await self._check_sum(token, wanted)
        return wanted

    async def _size(self, name: str) -> Size:
        found = await self._multipass.size(name)
        return Size(found.cpus, found.memory, found.disk)

    async def _check_resize(self, target: str, request: models.Resize) -> dict[str, Size]:
        owned = await self._store.owner(target)
        size = owned[1] if owned else Size(0, 0, 0)
        size = Size(
            request.cpus or size.cpus,
            models.size_in_bytes(request.memory) if request.memory else size.memory,
            models.size_in_bytes(request.disk) if request.disk else size.disk,
        )
        self.check_size(size)
        if owned is None:
            return {}
        await self._check_sum(owned[0], {target: size})
        await self._store.own(target, owned[0], size)
        return {}

    async def _check_sum(self, token: str, wanted: dict[str, Size]) -> None:
        limits = self._settings.limits.get(token, Limits())
        if limits == Limits():
            return
        present = {item.name for item in await self._multipass.instances()}
        present |= {name for job in self._jobs.unfinished() for name in job.instances}
        owned = {name: size for name, size in (await self._store.owned(token)).items() if name in present} | wanted
        for key, limit, used in (
            ("instances", limits.instances, len(owned)),
            ("cpus", limits.cpus, sum(size.cpus for size in owned.values())),
            ("memory", limits.memory, sum(size.memory for size in owned.values())),
            ("disk", limits.disk, sum(size.disk for size in owned.values())),
        ):
            if limit is not None and used > limit:
                detail = f"token {token}: its instances would have {used} {key}, but its limit is {limit}"
                raise ApiError(403, "limit-reached", f"{detail}; delete instances, or raise the limit")
