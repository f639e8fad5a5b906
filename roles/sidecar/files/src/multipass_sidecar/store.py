# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Jobs in SQLite: an accepted job survives any end of the service. It knows nothing of how jobs run.

The database is used by one thread of its own, so that a slow disk or a lock does not hold up the API.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import json
import logging
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from . import models

SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    target TEXT NOT NULL,
    instances TEXT NOT NULL,
    request TEXT NOT NULL,
    state TEXT NOT NULL,
    text TEXT NOT NULL DEFAULT '',
    percent INTEGER,
    result TEXT,
    error TEXT,
    created TEXT NOT NULL,
    started TEXT,
    finished TEXT,
    token TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    idempotency TEXT,
    fingerprint TEXT,
    step TEXT NOT NULL DEFAULT '',
    UNIQUE (token, idempotency)
);
CREATE INDEX IF NOT EXISTS jobs_state ON jobs (state);
CREATE INDEX IF NOT EXISTS jobs_finished ON jobs (finished);
CREATE TABLE IF NOT EXISTS lines (
    job INTEGER NOT NULL REFERENCES jobs (number) ON DELETE CASCADE,
    time TEXT NOT NULL,
    text TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS lines_job ON lines (job);
CREATE TABLE IF NOT EXISTS owners (
    instance TEXT PRIMARY KEY,
    token TEXT NOT NULL,
    cpus INTEGER NOT NULL,
    memory INTEGER NOT NULL,
    disk INTEGER NOT NULL
);
"""
MAX_LOG_LINES = 500
"""Per job. Later lines are not stored."""
MAX_NOTES = 1000
"""How many notes may wait for the database. Further ones are dropped."""
Value = TypeVar("Value")
log = logging.getLogger("multipass_sidecar")


def now() -> str:
    """Return the time in UTC as ISO 8601, with milliseconds."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass
class Size:
    """What an instance takes of its token's limits."""

    cpus: int
    memory: int
    disk: int


@dataclass
class QueuedJob:
    """A job that has not ended: what to do, and the instances that no other job may change meanwhile."""

    id: str
    kind: str
    target: str
    instances: list[str]
    request: dict[str, Any]
    attempts: int = 0
    step: str = ""
    """The command that must not run twice and that an attempt of this job has begun, or an empty text."""
    token: str = ""
    created: str = field(default_factory=now)

    def shown(self, state: models.JobState) -> models.Job:
        """Return the job as the API shows it if the database cannot be read."""
        return models.Job(
            id=self.id,
            kind=self.kind,
            target=self.target,
            state=state,
            progress=models.Progress(text="", percent=None),
            log=[],
            result=None,
            error=None,
            created=self.created,
            started=None,
            finished=None,
            token=self.token,
        )


@dataclass
class Outcome:
    """How a job ended."""

    state: models.JobState
    result: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    finished: str = field(default_factory=now)


class Store:
    """The database. Its methods are coroutines; a write that was begun is done even if its caller is cancelled."""

    def __init__(self, path: Path) -> None:
        self._thread = ThreadPoolExecutor(1, "store")
        self._notes = 0
        self._database = self._thread.submit(self._open, path).result()

    @staticmethod
    def _open(path: Path) -> sqlite3.Connection:
        # Autocommit: each statement is its own transaction.
        database = sqlite3.connect(path, isolation_level=None)
        database.row_factory = sqlite3.Row
        # Requests may hold secrets, so what is removed is overwritten.
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "secure_delete = ON"):
            database.execute(f"PRAGMA {pragma}")
        database.executescript(SCHEMA)
        if "step" not in {row["name"] for row in database.execute("PRAGMA table_info(jobs)")}:
            database.execute("ALTER TABLE jobs ADD COLUMN step TEXT NOT NULL DEFAULT ''")
        return database

    def execute(self, statement: str, values: Any = ()) -> sqlite3.Cursor:
        """Run a statement, in the thread of the database."""
        return self._database.execute(statement, values)

    async def _do(self, work: Callable[[], Value]) -> Value:
        return await asyncio.shield(asyncio.wrap_future(self._thread.submit(work)))

    def _note(self, statement: str, values: Any) -> None:
        """Run a statement some time, unless that fails: what it writes is worth no wait and no failure."""
        if self._notes >= MAX_NOTES:
            return
        self._notes += 1

        def done(future: Future[Any]) -> None:
            self._notes -= 1
            if error := future.exception():
                log.warning("not stored: %s", error)

        self._thread.submit(self.execute, statement, values).add_done_callback(done)

    def close(self) -> None:
        """Close the database."""
        self._thread.submit(self._database.close).result()
        self._thread.shutdown()

    async def add(
        self, job: QueuedJob, idempotency: str | None, fingerprint: str, owned: dict[str, Size] | None = None
    ) -> None:
        """Store a new job, and the instances that its token will own."""
        values = (
            *(job.id, job.kind, job.target, json.dumps(job.instances), json.dumps(job.request)),
            *(job.created, job.token, idempotency, fingerprint),
        )

        def work() -> None:
            with self._transaction():
                self.execute(
                    "INSERT INTO jobs (id, kind, target, instances, request, state, created, token, idempotency,"
                    " fingerprint) VALUES (?, ?, ?, ?, ?, 'queued', ?, ?, ?, ?)",
                    values,
                )
                for name, size in (owned or {}).items():
                    self.execute(
                        "INSERT OR REPLACE INTO owners VALUES (?, ?, ?, ?, ?)",
                        (name, job.token, size.cpus, size.memory, size.disk),
                    )

        await self._do(work)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            self.execute("BEGIN IMMEDIATE")
            yield
            self.execute("COMMIT")
        except BaseException:
            if self._database.in_transaction:
                self._database.rollback()
            raise

    async def forget(self, job_id: str) -> None:
        """Remove a job that was not accepted after all."""
        await self._do(lambda: self.execute("DELETE FROM jobs WHERE id = ?", (job_id,)))

    async def owned(self, token: str) -> dict[str, Size]:
        """Return the instances that a token's jobs have made, whether they still exist or not."""
        statement = "SELECT instance, cpus, memory, disk FROM owners WHERE token = ?"
        rows = await self._do(lambda: self.execute(statement, (token,)).fetchall())
        return {row["instance"]: Size(row["cpus"], row["memory"], row["disk"]) for row in rows}

    async def owner(self, instance: str) -> tuple[str, Size] | None:
        """Return the token whose job made an instance, and the size that it counts with."""
        statement = "SELECT token, cpus, memory, disk FROM owners WHERE instance = ?"
        row = await self._do(lambda: self.execute(statement, (instance,)).fetchone())
        return (row["token"], Size(row["cpus"], row["memory"], row["disk"])) if row else None

    async def own(self, instance: str, token: str, size: Size) -> None:
        """Record the size that an instance counts with."""
        values = (instance, token, size.cpus, size.memory, size.disk)
        await self._do(lambda: self.execute("INSERT OR REPLACE INTO owners VALUES (?, ?, ?, ?, ?)", values))

    async def repeated(self, token: str, idempotency: str) -> tuple[str, str] | None:
        """Return the id and the fingerprint of the job that a token's idempotency key created, or None."""
        statement = "SELECT id, fingerprint FROM jobs WHERE token = ? AND idempotency = ?"
        row = await self._do(lambda: self.execute(statement, (token, idempotency)).fetchone())
        return (row["id"], row["fingerprint"]) if row else None

    async def begin(self, job: QueuedJob) -> None:
        """Record that a job runs."""
        values = (now(), job.attempts + 1, job.id)
        statement = "UPDATE jobs SET state = 'running', started = coalesce(started, ?), attempts = ? WHERE id = ?"
        await self._do(lambda: self.execute(statement, values))
        job.attempts += 1

    async def step(self, job: QueuedJob, text: str) -> None:
        """Record that a job is about to run a command that must not run twice."""
        await self._do(lambda: self.execute("UPDATE jobs SET step = ? WHERE id = ?", (text, job.id)))
        job.step = text

    def progress(self, job_id: str, text: str, percent: int | None) -> None:
        """Record the progress of a job, if the database can be used."""
        self._note("UPDATE jobs SET text = ?, percent = ? WHERE id = ?", (text, percent, job_id))

    def add_line(self, job_id: str, text: str) -> None:
        """Add a line to a job's log, if the database can be used."""
        self._note(
            "INSERT INTO lines SELECT number, ?, ? FROM jobs"
            " WHERE id = ? AND (SELECT count(*) FROM lines WHERE job = number) < ?",
            (now(), text, job_id, MAX_LOG_LINES),
        )

    async def end(self, job_id: str, outcome: Outcome) -> None:
        """Record how a job ended, and remove its request, which may contain secrets."""
        state, result, error = outcome.state, outcome.result, outcome.error
        values = (
            *(state, json.dumps(result) if result is not None else None),
            *(json.dumps(error) if error is not None else None, outcome.finished, state, state, job_id),
        )

        def work() -> None:
            self.execute(
                "UPDATE jobs SET state = ?, result = ?, error = ?, finished = ?, request = '{}', text = ?,"
                " percent = CASE WHEN ? = 'succeeded' THEN 100 ELSE percent END WHERE id = ?",
                values,
            )
            # The log of SQLite still has the request. The next end of a job tries again.
            with contextlib.suppress(sqlite3.Error):
                self.execute("PRAGMA wal_checkpoint(TRUNCATE)")

        await self._do(work)

    async def unfinished(self) -> list[QueuedJob]:
        """Return the jobs that have not ended, oldest first."""
        statement = "SELECT * FROM jobs WHERE state IN ('queued', 'running') ORDER BY number"
        return [
            QueuedJob(
                row["id"],
                row["kind"],
                row["target"],
                json.loads(row["instances"]),
                json.loads(row["request"]),
                row["attempts"],
                row["step"],
                row["token"],
                row["created"],
            )
            for row in await self._do(lambda: self.execute(statement).fetchall())
        ]

    async def read(self, job_id: str) -> models.Job | None:
        """Return a job with its log, or None."""

        def work() -> models.Job | None:
            row = self.execute("SELECT * FROM jobs WHERE id = ?", (job_id,)).fetchone()
            if row is None:
                return None
            lines = self.execute("SELECT time, text FROM lines WHERE job = ? ORDER BY rowid", (row["number"],))
            return self._job(row, [models.LogLine(time=line["time"], text=line["text"]) for line in lines])

        return await self._do(work)

    async def select(
        self, state: str | None, target: str | None, limit: int, before: str | None = None
    ) -> list[models.Job]:
        """Return jobs without their logs, newest first, from the one after `before` on.

        `target` is an instance or an environment.
        """
        statement = (
            "SELECT * FROM jobs WHERE (:state IS NULL OR state = :state) AND (:target IS NULL OR target = :target"
            " OR EXISTS (SELECT 1 FROM json_each(instances) WHERE value = :target))"
            " AND (:before IS NULL OR number < (SELECT number FROM jobs WHERE id = :before))"
            " ORDER BY number DESC LIMIT :limit"
        )
        values = {"state": state, "target": target, "limit": limit, "before": before}
        return await self._do(lambda: [self._job(row, []) for row in self.execute(statement, values)])

    async def counts(self) -> dict[tuple[str, str], int]:
        """Return the number of jobs by kind and state."""
        statement = "SELECT kind, state, count(*) AS number FROM jobs GROUP BY kind, state"
        rows = await self._do(lambda: self.execute(statement).fetchall())
        return {(row["kind"], row["state"]): row["number"] for row in rows}

    async def remove_old(self, days: int) -> None:
        """Remove jobs that ended more than so many days ago."""
        limit = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=days)
        await self._do(lambda: self.execute("DELETE FROM jobs WHERE finished < ?", (limit.isoformat(),)))

    @staticmethod
    def _job(row: sqlite3.Row, lines: list[models.LogLine]) -> models.Job:
        return models.Job(
            id=row["id"],
            kind=row["kind"],
            target=row["target"],
            state=row["state"],
            progress=models.Progress(text=row["text"], percent=row["percent"]),
            log=lines,
            result=json.loads(row["result"]) if row["result"] else None,
            error=json.loads(row["error"]) if row["error"] else None,
            created=row["created"],
            started=row["started"],
            finished=row["finished"],
            token=row["token"],
        )
