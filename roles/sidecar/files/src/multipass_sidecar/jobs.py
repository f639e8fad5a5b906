# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The work on jobs: in order, one at a time for each instance, so many at once, taken up again after a restart."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from . import models
from .multipass import Say, leftovers
from .problems import ApiError, details
from .settings import Settings
from .store import Order, Store

MOST_ATTEMPTS = 3
"""A job that the service dies over again and again is given up."""
PROGRESS_SECONDS = 0.5
"""Between two writes of a percentage."""
log = logging.getLogger("multipass_sidecar")
Work = Callable[[Order, Say], Awaitable[dict[str, Any]]]


class Jobs:
    """The queue of jobs and those that run; one object a process."""

    def __init__(self, settings: Settings, store: Store, work: Work) -> None:
        self._settings = settings
        self._store = store
        self._work = work
        self._queue: list[Order] = []
        self._running: dict[str, tuple[Order, asyncio.Task[None]]] = {}
        self._ended: dict[str, asyncio.Event] = {}
        self._cancelled: set[str] = set()
        self._stopping = asyncio.Event()

    def start(self) -> None:
        """Take up what a former process of the service left."""
        self._store.tidy(self._settings.job_days)
        for order in self._store.orders():
            self._ended[order.id] = asyncio.Event()
            self._queue.append(order)
        self._dispatch()

    def begin_no_more(self) -> None:
        """Leave what waits to the next process, and let nobody wait any longer."""
        self._stopping.set()

    async def stop(self, seconds: float) -> None:
        """Give what runs so many seconds to end, and leave the rest to the next process."""
        self.begin_no_more()
        tasks = [task for _order, task in self._running.values()]
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def stopping(self) -> bool:
        """Whether the service ends."""
        return self._stopping.is_set()

    def pending(self, instance: str) -> list[Order]:
        """Return the jobs on an instance that have not ended."""
        orders = [order for order, _task in self._running.values()] + self._queue
        return [order for order in orders if instance in order.instances]

    def counts(self) -> tuple[int, int]:
        """Return how many jobs wait and how many run."""
        return len(self._queue), len(self._running)

    def submit(
        self,
        kind: str,
        target: str,
        instances: list[str],
        request: dict[str, Any],
        *,
        token: str,
        idempotency: str | None,
        fingerprint: str,
    ) -> str:
        """Accept a job and return its id; it is kept before this returns."""
        if self.stopping:
            raise ApiError(503, "stopping", "the service ends; send the request again")
        if len(self._queue) >= self._settings.max_queue:
            raise ApiError(503, "queue-full", f"{len(self._queue)} jobs wait already; send the request again later")
        order = Order(uuid.uuid4().hex, kind, target, instances, request)
        self._store.add(order, token, idempotency, fingerprint)
        self._ended[order.id] = asyncio.Event()
        self._queue.append(order)
        self._dispatch()
        return order.id

    async def wait(self, job: str, seconds: float) -> None:
        """Return when a job has ended, the service ends, or so many seconds are over."""
        ended = self._ended.get(job)
        if ended is None or not seconds:
            return
        waits = [asyncio.create_task(event.wait()) for event in (ended, self._stopping)]
        try:
            await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waits:
                task.cancel()

    async def cancel(self, job: str) -> None:
        """End a job; what multipass' daemon has begun, it may go on with. ApiError 409 when it has ended already."""
        queued = next((order for order in self._queue if order.id == job), None)
        if queued is not None and not queued.attempts:
            self._queue.remove(queued)
            self._finish(queued, "cancelled", None)
            self._dispatch()
        elif job in self._running:
            self._cancelled.add(job)
            _order, task = self._running[job]
            task.cancel()
            await asyncio.wait([task], timeout=10)
        else:
            raise ApiError(409, "job-ended", f"job {job} has ended already, or waits to be taken up")

    def _dispatch(self) -> None:
        """Begin the oldest jobs whose instances no older job has."""
        taken = {name for order, _task in self._running.values() for name in order.instances}
        for order in list(self._queue):
            if self.stopping or len(self._running) >= self._settings.max_parallel:
                return
            if taken.isdisjoint(order.instances):
                self._queue.remove(order)
                self._running[order.id] = (order, asyncio.create_task(self._run(order)))
            taken.update(order.instances)

    async def _run(self, order: Order) -> None:
        try:
            try:
                result = await self._attempt(order)
            except ApiError as error:
                problem = details(f"/jobs/{order.id}", error.status, error.kind, error.detail)
                self._store.line(order.id, error.detail)
                self._finish(order, "interrupted" if error.kind == "interrupted" else "failed", None, problem)
            else:
                self._finish(order, "succeeded", result)
        except asyncio.CancelledError:
            if order.id not in self._cancelled:
                raise
            self._store.line(order.id, "Cancelled. What multipass' daemon had begun, it may go on with.")
            self._finish(order, "cancelled", None)
        except Exception as error:
            log.error("unexpected error", exc_info=error)
            detail = "Unexpected error; the service's log says more."
            self._finish(order, "failed", None, details(f"/jobs/{order.id}", 500, "internal-error", detail))
        finally:
            self._cancelled.discard(order.id)
            del self._running[order.id]
            self._dispatch()

    async def _attempt(self, order: Order) -> dict[str, Any]:
        if order.attempts >= MOST_ATTEMPTS:
            detail = f"the service ended {order.attempts} times during this job; look at {order.target} and ask again"
            raise ApiError(503, "interrupted", detail)
        self._store.begin(order)
        if order.attempts > 1:
            self._store.line(order.id, "The service was started again during this job, which is taken up.")
            await self._outlive(order.id)
        shown: tuple[str, float] = ("", 0.0)

        def say(text: str, percent: int | None) -> None:
            nonlocal shown
            headline = text.split("%")[0].rstrip("0123456789 ") if percent is not None else text
            if headline != shown[0]:
                self._store.line(order.id, text)
            elif time.monotonic() - shown[1] < PROGRESS_SECONDS:
                return
            shown = (headline, time.monotonic())
            self._store.progress(order.id, text, percent)

        return await self._work(order, say)

    async def _outlive(self, job: str) -> None:
        """Wait for the commands that the former process started for a job; end those that take too long."""
        deadline = time.monotonic() + self._settings.launch_timeout
        while left := await asyncio.to_thread(leftovers, job):
            if time.monotonic() > deadline:
                for process in left:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(process, signal.SIGKILL)
            await asyncio.sleep(0.2)

    def _finish(
        self,
        order: Order,
        state: models.JobState,
        result: dict[str, Any] | None,
        error: dict[str, Any] | None = None,
    ) -> None:
        self._store.end(order.id, state, result, error)
        self._ended.pop(order.id).set()
        fields = {"event": "job", "job": order.id, "kind": order.kind, "target": order.target, "state": state}
        log.info("job", extra={"fields": fields | ({"detail": error["detail"]} if error else {})})
