# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The job queue: in order, one job at a time per instance, a limited number at once, resumed after a restart.

What a job does is in `operations`, how it is stored in `store`. If the storage fails, an outcome is kept and written
later, a log line is lost, and no job begins.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sqlite3
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from . import models
from .multipass import Report, leftover_processes
from .problems import UNEXPECTED, ApiError, details
from .settings import Settings
from .store import Outcome, QueuedJob, Size, Store

MAX_ATTEMPTS = 3
"""After so many ends of the service during a job, the job is not tried again."""
PROGRESS_SECONDS = 0.5
"""Between two writes of a percentage."""
RETRY_SECONDS = 0.5
"""Between two tries to write to a storage that fails."""
TIDY_SECONDS = 3600
LAST_SECONDS = 5
"""How long the end of the service tries to write outcomes."""
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
        self._accepting = asyncio.Lock()
        # What the storage has not taken yet, in order: how jobs ended, and None for jobs that were not accepted.
        self._unwritten: dict[str, Outcome | None] = {}
        self._flushing = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._retrying = False

    async def start(self) -> None:
        """Resume the jobs that an earlier process of the service did not finish."""
        await self._store.remove_old(self._settings.job_days)
        for job in await self._store.unfinished():
            self._ended[job.id] = asyncio.Event()
            self._queue.append(job)
        self._dispatch()
        self._background(self._tidy())

    def _background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _tidy(self) -> None:
        while True:
            await asyncio.sleep(TIDY_SECONDS)
            try:
                await self._store.remove_old(self._settings.job_days)
            except sqlite3.Error as error:
                log.warning("old jobs are not removed: %s", error)

    async def _flush(self) -> None:
        """Write what the storage has not taken yet; raise sqlite3.Error if it still does not."""
        async with self._flushing:
            for job_id, outcome in list(self._unwritten.items()):
                if outcome is None:
                    await self._store.forget(job_id)
                else:
                    await self._store.end(job_id, outcome)
                del self._unwritten[job_id]

    async def _retry(self) -> None:
        while self._unwritten:
            await asyncio.sleep(RETRY_SECONDS)
            with contextlib.suppress(sqlite3.Error):
                await self._flush()
        self._retrying = False

    def _retry_later(self, error: sqlite3.Error) -> None:
        log.warning("the storage fails, which is tried again: %s", error)
        if not self._retrying:
            self._retrying = True
            self._background(self._retry())

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
        deadline = time.monotonic() + LAST_SECONDS
        while self._unwritten and time.monotonic() < deadline:
            try:
                await self._flush()
            except sqlite3.Error:
                await asyncio.sleep(RETRY_SECONDS)
        for job_id in self._unwritten:
            log.error("the outcome of a job is lost", extra={"fields": {"job": job_id}})
        for background in list(self._tasks):
            background.cancel()

    @property
    def stopping(self) -> bool:
        """Whether the service is stopping."""
        return self._stopping.is_set()

    def pending(self, instance: str) -> list[QueuedJob]:
        """Return the jobs on an instance that have not ended."""
        return [job for job in self.unfinished() if instance in job.instances]

    def unfinished(self) -> list[QueuedJob]:
        """Return the jobs that have not ended."""
        return [job for job, _task in self._running.values()] + self._queue

    async def submit(
        self,
        job: QueuedJob,
        *,
        idempotency: str | None,
        fingerprint: str,
        check: Callable[[], Awaitable[dict[str, Size]]],
    ) -> tuple[str, str]:
        """Accept a job, or find the one of the same key; return its id and its fingerprint.

        The job is stored before this returns. `check` may refuse it, and returns the instances that its token will own.
        """
        # One at a time: of two requests with one key, one creates the job.
        async with self._accepting:
            if idempotency and (found := await self._store.repeated(job.token, idempotency)):
                return found
            owned = await check()
            if self.stopping:
                raise ApiError(503, "stopping", "the service is stopping; send the request again")
            if len(self._queue) >= self._settings.max_queue:
                raise ApiError(503, "queue-full", f"{len(self._queue)} jobs are waiting; send the request again later")
            # No job is accepted before the outcomes of earlier ones are safe: it may build on them.
            await self._flush()
            try:
                await self._store.add(job, idempotency, fingerprint, owned)
            except sqlite3.Error as error:
                # It may be there all the same.
                self._unwritten[job.id] = None
                self._retry_later(error)
                raise
            self._ended[job.id] = asyncio.Event()
            self._queue.append(job)
            self._dispatch()
            return job.id, fingerprint

    def _current(self, found: models.Job) -> models.Job:
        """Return a job as it is, even if the storage has not taken its outcome yet."""
        outcome = self._unwritten.get(found.id)
        if outcome is None:
            return found
        more = {"result": outcome.result, "error": outcome.error, "finished": outcome.finished}
        progress = models.Progress(
            text=outcome.state, percent=100 if outcome.state == "succeeded" else found.progress.percent
        )
        return found.model_copy(update={"state": outcome.state, "progress": progress, **more})

    async def read(self, job_id: str) -> models.Job | None:
        """Return a job with its log, or None."""
        try:
            found = await self._store.read(job_id)
        except sqlite3.Error:
            # A job of this process is known without the storage; its client must not take it for refused.
            if job_id in self._running:
                return self._running[job_id][0].shown("running")
            queued = next((job for job in self._queue if job.id == job_id), None)
            if queued is None:
                raise
            return queued.shown("queued")
        return self._current(found) if found else None

    async def select(self, state: str | None, target: str | None, limit: int, before: str | None) -> list[models.Job]:
        """Return jobs without their logs, newest first."""
        found = [self._current(job) for job in await self._store.select(state, target, limit, before)]
        return [job for job in found if state in (None, job.state)]

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
            await self._finish(queued, Outcome("cancelled"))
            self._dispatch()
        elif job_id in self._running and job_id not in self._unwritten:
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
            await self._finish(job, await self._outcome(job))
        finally:
            self._cancelled.discard(job.id)
            del self._running[job.id]
            self._dispatch()

    async def _outcome(self, job: QueuedJob) -> Outcome:
        """Do the work of a job and return how it ended."""

        def failed(state: models.JobState, status: int, kind: str, detail: str) -> Outcome:
            return Outcome(state, None, details(f"/jobs/{job.id}", status, kind, detail))

        try:
            return Outcome("succeeded", await self._attempt(job))
        except ApiError as error:
            self._store.add_line(job.id, error.detail)
            state: models.JobState = "interrupted" if error.kind == "interrupted" else "failed"
            return failed(state, error.status, error.kind, error.detail)
        except asyncio.CancelledError:
            if job.id not in self._cancelled:
                raise
            self._store.add_line(
                job.id, "Cancelled. The multipass daemon may still finish an operation that it started."
            )
            return Outcome("cancelled")
        except sqlite3.Error as error:
            return failed("failed", 503, "storage", f"the state directory cannot be used: {error}")
        except Exception as error:
            log.error("unexpected error", exc_info=error)
            return failed("failed", 500, "internal-error", UNEXPECTED)

    async def _begin(self, job: QueuedJob) -> None:
        """Record that a job runs. It waits until the storage takes that, since nothing may run unrecorded."""
        while True:
            try:
                await self._flush()
                await self._store.begin(job)
                return
            except sqlite3.Error as error:
                if self.stopping:
                    raise asyncio.CancelledError from error
                log.warning("a job waits for the storage: %s", error)
                await asyncio.sleep(RETRY_SECONDS)

    async def _attempt(self, job: QueuedJob) -> dict[str, Any]:
        if job.attempts >= MAX_ATTEMPTS:
            ends = f"the service ended {job.attempts} times during this job"
            raise ApiError(503, "interrupted", f"{ends}; check {job.target}, then send the request again")
        await self._begin(job)
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

    async def _finish(self, job: QueuedJob, outcome: Outcome) -> None:
        self._unwritten[job.id] = outcome
        try:
            await self._flush()
        except sqlite3.Error as error:
            self._retry_later(error)
        self._ended.pop(job.id).set()
        fields = {"event": "job", "job": job.id, "kind": job.kind, "target": job.target, "state": outcome.state}
        more = {"detail": outcome.error["detail"]} if outcome.error else {}
        log.info("job", extra={"fields": fields | more})
