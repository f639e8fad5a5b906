# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The objects that all requests share. It knows nothing of HTTP routes."""

from __future__ import annotations

from pathlib import Path

from . import models
from .environments import Environments
from .jobs import Jobs
from .limits import InstanceLimits
from .metrics import Metrics
from .multipass import Multipass
from .operations import Operations
from .problems import ApiError
from .settings import Settings
from .store import Store


class Service:
    """The components of the service, one of each per process."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        state = settings.state()
        self.settings = settings
        self.multipass = Multipass(settings)
        self.environments = Environments(state / "environments")
        self.store = Store(state / "jobs.sqlite")
        self.operations = Operations(settings, self.multipass, self.environments, self.store.step, self.check_sources)
        self.jobs = Jobs(settings, self.store, self.operations.work)
        self.limits = InstanceLimits(settings, self.store, self.multipass, self.jobs)
        self.metrics = metrics

    def check_sources(self, launch: models.Launch) -> None:
        """Raise ApiError 403 if a mount or an image file of the host is in no allowed directory."""
        for mount in launch.mounts:
            self._check_source(mount.source, self.settings.mount_sources, "mount_sources")
        if launch.image.startswith("file://"):
            self._check_source(launch.image.removeprefix("file://"), self.settings.image_files, "image_files")

    @staticmethod
    def _check_source(source: str, allowed: list[Path], key: str) -> None:
        # Resolved, so that neither .. nor a symbolic link leads out of an allowed directory.
        path = Path(source).resolve()
        if str(path) != source.rstrip("/") or not any(
            path.is_relative_to(directory.resolve()) for directory in allowed
        ):
            detail = f"{source} is not allowed; use a real path in a directory that the service's {key} lists"
            raise ApiError(403, "not-allowed", detail)
