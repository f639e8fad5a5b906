# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The job queue: in order, one job at a time per instance, a limited number at once, resumed after a restart.

What a job does is in `operations`, how it is stored in `store`.
"""

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
from .multipass import Report, leftover_processes
from .problems import UNEXPECTED, ApiError, details
from .settings import Settings
from .store import QueuedJob, Store

MAX_ATTEMPTS = 3
"""After so many ends of the service during a job, the job is not tried again."""
PROGRESS_SECONDS = 0.5
"""Between two writes of a percentage."""
log = logging.getLogger("multipass_sidecar")
Work = Callable[[QueuedJob, Report], Awaitable[dict[str, Any]]]


class Jobs:
    """The queued and the running jobs; one object per process."""

    def __init__(self, settings: Settings, store: Store, work: Work) -> None:
        self._settings = settings
        self._store = store
        self._work = work
        self._queue: list[QueuedJob] = []
        self._running: dict[str, tuple[QueuedJob, asyncio.Task[None]]] = {}
        self._ended: dict[str, asyncio.Event] = {}
        self._cancelled: set[str] = set()
        self._stopping = asyncio.Event()

    def start(self) -> None:
        """Resume the jobs that an earlier process of the service did not finish."""
        self._store.remove_old(self._settings.job_days)
        for job in self._store.unfinished():
            self._ended[job.id] = asyncio.Event()
            self._queue.append(job)
        self._dispatch()

    def stop_accepting(self) -> None:
        """Leave queued jobs to the next process, and end every wait for a job."""
        self._stopping.set()

    async def stop(self, seconds: float) -> None:
        """Wait so many seconds for running jobs to end, and leave the rest to the next process."""
        self.stop_accepting()
        tasks = [task for _job, task in self._running.values()]
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def stopping(self) -> bool:
        """Whether the service is stopping."""
        return self._stopping.is_set()

    def pending(self, instance: str) -> list[QueuedJob]:
        """Return the jobs on an instance that have not ended."""
        jobs = [job for job, _task in self._running.values()] + self._queue
        return [job for job in jobs if instance in job.instances]

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
        """Accept a job and return its id. The job is stored before this returns."""
        if self.stopping:
            raise ApiError(503, "stopping", "the service is stopping; send the request again")
        if len(self._queue) >= self._settings.max_queue:
            raise ApiError(503, "queue-full", f"{len(self._queue)} jobs are waiting; send the request again later")
        job = QueuedJob(uuid.uuid4().hex, kind, target, instances, request)
        self._store.add(job, token, idempotency, fingerprint)
        self._ended[job.id] = asyncio.Event()
        self._queue.append(job)
        self._dispatch()
        return job.id

    async def wait(self, job_id: str, seconds: float) -> None:
        """Return when a job has ended, the service stops, or so many seconds are over."""
        ended = self._ended.get(job_id)
        if ended is None or not seconds:
            return
        waits = [asyncio.create_task(event.wait()) for event in (ended, self._stopping)]
        try:
            await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waits:
                task.cancel()

    async def cancel(self, job_id: str) -> None:
        """Cancel a job; raise ApiError 409 if it has ended.

        The multipass daemon may still finish an operation that it started.
        """
        queued = next((job for job in self._queue if job.id == job_id), None)
        if queued is not None and not queued.attempts:
            self._queue.remove(queued)
            self._finish(queued, "cancelled", None)
            self._dispatch()
        elif job_id in self._running:
            self._cancelled.add(job_id)
            _job, task = self._running[job_id]
            task.cancel()
            await asyncio.wait([task], timeout=10)
        else:
            raise ApiError(409, "job-ended", f"job {job_id} has already ended, or waits to be resumed")

    def _dispatch(self) -> None:
        """Start the oldest jobs whose instances no older job uses."""
        busy = {name for job, _task in self._running.values() for name in job.instances}
        for job in list(self._queue):
            if self.stopping or len(self._running) >= self._settings.max_parallel:
                return
            if busy.isdisjoint(job.instances):
                self._queue.remove(job)
                self._running[job.id] = (job, asyncio.create_task(self._run(job)))
            busy.update(job.instances)

    async def _run(self, job: QueuedJob) -> None:
        try:
            try:
                result = await self._attempt(job)
            except ApiError as error:
                problem = details(f"/jobs/{job.id}", error.status, error.kind, error.detail)
                self._store.add_line(job.id, error.detail)
                self._finish(job, "interrupted" if error.kind == "interrupted" else "failed", None, problem)
            else:
                self._finish(job, "succeeded", result)
        except asyncio.CancelledError:
            if job.id not in self._cancelled:
                raise
            self._store.add_line(
                job.id, "Cancelled. The multipass daemon may still finish an operation that it started."
            )
            self._finish(job, "cancelled", None)
        except Exception as error:
            log.error("unexpected error", exc_info=error)
            self._finish(job, "failed", None, details(f"/jobs/{job.id}", 500, "internal-error", UNEXPECTED))
        finally:
            self._cancelled.discard(job.id)
            del self._running[job.id]
            self._dispatch()

    async def _attempt(self, job: QueuedJob) -> dict[str, Any]:
        if job.attempts >= MAX_ATTEMPTS:
            ends = f"the service ended {job.attempts} times during this job"
            raise ApiError(503, "interrupted", f"{ends}; check {job.target}, then send the request again")
        self._store.begin(job)
        if job.attempts > 1:
            self._store.add_line(job.id, "The service was restarted during this job. The job is resumed.")
            await self._wait_for_leftovers(job.id)
        last: tuple[str, float] = ("", 0.0)

        def report(text: str, percent: int | None) -> None:
            nonlocal last
            headline = text.split("%")[0].rstrip("0123456789 ") if percent is not None else text
            if headline != last[0]:
                self._store.add_line(job.id, text)
            elif time.monotonic() - last[1] < PROGRESS_SECONDS:
                return
            last = (headline, time.monotonic())
            self._store.progress(job.id, text, percent)

        return await self._work(job, report)

    async def _wait_for_leftovers(self, job_id: str) -> None:
        """Wait for the commands that an earlier process started for a job; kill those that take too long."""
        deadline = time.monotonic() + self._settings.launch_timeout
        while processes := await asyncio.to_thread(leftover_processes, job_id):
            if time.monotonic() > deadline:
                for process in processes:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(process, signal.SIGKILL)
            await asyncio.sleep(0.2)

    def _finish(
        self,
        job: QueuedJob,
        state: models.JobState,
        result: dict[str, Any] | None,
        error: dict[str, Any] | None = None,
    ) -> None:
        self._store.end(job.id, state, result, error)
        self._ended.pop(job.id).set()
        fields = {"event": "job", "job": job.id, "kind": job.kind, "target": job.target, "state": state}
        log.info("job", extra={"fields": fields | ({"detail": error["detail"]} if error else {})})
