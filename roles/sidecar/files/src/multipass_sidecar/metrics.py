# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Metrics for Prometheus. They are counted here and read nowhere else in the service."""

from __future__ import annotations

from collections import Counter as Counts
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from . import models

METHODS = {"GET", "POST", "PUT", "DELETE"}


class Metrics:
    """The metrics of the service."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()

        def gauge(name: str, text: str, labels: Iterable[str] = ()) -> Gauge:
            return Gauge(f"multipass_sidecar_{name}", text, labels, registry=self._registry)

        self._requests = Counter(
            "multipass_sidecar_requests",
            "Requests by method and status.",
            ("method", "status"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "multipass_sidecar_request_seconds", "Duration of requests.", ("method",), registry=self._registry
        )
        self._up = gauge("multipass_up", "Whether multipass and its daemon answer.")
        self._instances = gauge("instances", "Instances by state.", ("state",))
        self._jobs = gauge("jobs", "Stored jobs by kind and state.", ("kind", "state"))
        self._environments = gauge("environments", "Defined environments.")

    def request(self, method: str, status: int, seconds: float) -> None:
        """Count a request."""
        label = method if method in METHODS else "other"
        self._requests.labels(label, str(status)).inc()
        self._seconds.labels(label).observe(seconds)

    def text(
        self,
        health: models.Health,
        instances: list[models.Instance],
        jobs: dict[tuple[str, str], int],
        environments: int,
    ) -> bytes:
        """Return all metrics in the text format of Prometheus."""
        self._up.set(health.status == "ok")
        self._environments.set(environments)
        self._instances.clear()
        for state, number in Counts(item.state for item in instances).items():
            self._instances.labels(state).set(number)
        self._jobs.clear()
        for (kind, state), number in jobs.items():
            self._jobs.labels(kind, state).set(number)
        return generate_latest(self._registry)
