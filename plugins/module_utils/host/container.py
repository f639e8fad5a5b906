# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the state of a container means for a run that waits for it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

RECENT = 60.0
"""Seconds in which a container may not have noticed yet that its dependency was restarted."""

CONFIG_HASH = "com.docker.compose.config-hash"
"""The label at which Compose notes from what it has made a container."""

TOGETHER = 5.0
"""Seconds between two starts that may belong together, as after a reboot."""


@dataclass(frozen=True)
class State:
    """What C(docker inspect) shows of a container; C(started) is in seconds since 1970."""

    status: str
    health: str
    failures: int
    restarts: int
    exit_code: int
    out_of_memory: bool
    error: str
    started: float
    id: str = ""
    image: str = ""
    image_id: str = ""
    config_hash: str = ""

    @classmethod
    def parse(cls, inspected: dict[str, Any]) -> State:
        """Read one element of what C(docker inspect) prints."""
        state, config = inspected["State"], inspected.get("Config") or {}
        health = state.get("Health") or {}
        # Python 3.10 reads neither nine digits of a second nor a Z.
        started = re.sub(r"(\.\d{1,6})\d*", r"\1", state["StartedAt"]).replace("Z", "+00:00")
        match = re.search(r"\.(\d+)", started)
        if match:
            started = started.replace(match[0], f".{match[1]:0<6}")
        return cls(
            status=state["Status"],
            health=health.get("Status", ""),
            failures=int(health.get("FailingStreak", 0)),
            restarts=int(inspected.get("RestartCount", 0)),
            exit_code=int(state.get("ExitCode", 0)),
            out_of_memory=bool(state.get("OOMKilled")),
            error=str(state.get("Error", "")),
            started=datetime.fromisoformat(started).timestamp() if not started.startswith("0001") else 0.0,
            id=str(inspected.get("Id", "")),
            image=str(config.get("Image", "")),
            image_id=str(inspected.get("Image", "")),
            config_hash=str((config.get("Labels") or {}).get(CONFIG_HASH, "")),
        )

    @classmethod
    def seen(cls, entry: Mapping[str, Any] | None) -> State | None:
        """Read one container of what M(devorch.orchestration.host_info) returns; None if there is none."""
        if not entry:
            return None
        return cls(
            status=str(entry.get("status", "")),
            health=str(entry.get("health", "")),
            failures=int(entry.get("failures", 0)),
            restarts=int(entry.get("restarts", 0)),
            exit_code=0,
            out_of_memory=False,
            error="",
            started=float(entry.get("started", 0.0)),
            id=str(entry.get("id", "")),
            image=str(entry.get("image", "")),
            image_id=str(entry.get("image_id", "")),
            config_hash=str(entry.get("config_hash", "")),
        )

    def needs_restart(self, dependency: State | None, now: float) -> bool:
        """Return whether waiting is of no use: it is unhealthy, or its dependency was restarted under it."""
        if self.status != "running":
            return False
        if self.health == "unhealthy":
            return True
        if dependency is None or dependency.started - self.started < TOGETHER:
            return False
        # While it starts, Docker counts no failures.
        return self.failures > 0 or self.health == "starting" or now - dependency.started < RECENT


def verdict(state: State | None, first_restarts: int, limit: int) -> str | None:
    """Return an empty string for a healthy container, a reason for one that won't be, and None for one to wait for."""
    if state is None:
        return "does not exist"
    ended = f"ended with code {state.exit_code}"
    if state.out_of_memory:
        ended += ", killed for lack of memory"
    if state.error:
        ended += f" ({state.error})"
    if state.restarts - first_restarts >= limit:
        return f"does not stay up: Docker restarted it {state.restarts - first_restarts} times, and it last {ended}"
    if state.status in ("exited", "dead"):
        return ended
    if state.status == "created" and state.error:
        return f"was not started: {state.error}"
    if state.status == "running" and state.health in ("healthy", ""):
        return ""
    return "is unhealthy: its health check fails" if state.health == "unhealthy" else None
