# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Jobs in SQLite: an accepted job survives any end of the service. It knows nothing of how jobs run."""

from __future__ import annotations

import datetime
import json
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
    UNIQUE (token, idempotency)
);
CREATE INDEX IF NOT EXISTS jobs_state ON jobs (state);
CREATE TABLE IF NOT EXISTS lines (
    job INTEGER NOT NULL REFERENCES jobs (number) ON DELETE CASCADE,
    time TEXT NOT NULL,
    text TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS lines_job ON lines (job);
"""
MAX_LOG_LINES = 500
"""Per job. Later lines are not stored."""


def now() -> str:
    """Return the time in UTC as ISO 8601, with milliseconds."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass
class QueuedJob:
    """A job that has not ended: what to do, and the instances that no other job may change meanwhile."""

    id: str
    kind: str
    target: str
    instances: list[str]
    request: dict[str, Any]
    attempts: int = 0


class Store:
    """The database. Use it from one thread only."""

    def __init__(self, path: Path) -> None:
        # Autocommit: each statement is its own transaction.
        self._database = sqlite3.connect(path, isolation_level=None)
        self._database.row_factory = sqlite3.Row
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
            self._database.execute(f"PRAGMA {pragma}")
        self._database.executescript(SCHEMA)

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def add(self, job: QueuedJob, token: str, idempotency: str | None, fingerprint: str) -> None:
        """Store a new job."""
        self._database.execute(
            "INSERT INTO jobs (id, kind, target, instances, request, state, created, token, idempotency, fingerprint)"
            " VALUES (?, ?, ?, ?, ?, 'queued', ?, ?, ?, ?)",
            (
                *(job.id, job.kind, job.target, json.dumps(job.instances), json.dumps(job.request)),
                *(now(), token, idempotency, fingerprint),
            ),
        )

    def repeated(self, token: str, idempotency: str) -> tuple[str, str] | None:
        """Return the id and the fingerprint of the job that a token's idempotency key created, or None."""
        row = self._database.execute(
            "SELECT id, fingerprint FROM jobs WHERE token = ? AND idempotency = ?", (token, idempotency)
        ).fetchone()
        return (row["id"], row["fingerprint"]) if row else None

    def begin(self, job: QueuedJob) -> None:
        """Record that a job runs."""
        job.attempts += 1
        self._database.execute(
            "UPDATE jobs SET state = 'running', started = coalesce(started, ?), attempts = ? WHERE id = ?",
            (now(), job.attempts, job.id),
        )

    def progress(self, job_id: str, text: str, percent: int | None) -> None:
        """Record the progress of a job."""
        self._database.execute("UPDATE jobs SET text = ?, percent = ? WHERE id = ?", (text, percent, job_id))

    def add_line(self, job_id: str, text: str) -> None:
        """Add a line to a job's log."""
        self._database.execute(
            "INSERT INTO lines SELECT number, ?, ? FROM jobs"
            " WHERE id = ? AND (SELECT count(*) FROM lines WHERE job = number) < ?",
            (now(), text, job_id, MAX_LOG_LINES),
        )

    def end(
        self, job_id: str, state: models.JobState, result: dict[str, Any] | None, error: dict[str, Any] | None = None
    ) -> None:
        """Record how a job ended, and remove its request, which may contain secrets."""
        self._database.execute(
            "UPDATE jobs SET state = ?, result = ?, error = ?, finished = ?, request = '{}', text = ?,"
            " percent = CASE WHEN ? = 'succeeded' THEN 100 ELSE percent END WHERE id = ?",
            (
                *(state, json.dumps(result) if result is not None else None),
                *(json.dumps(error) if error is not None else None, now(), state, state, job_id),
            ),
        )

    def unfinished(self) -> list[QueuedJob]:
        """Return the jobs that have not ended, oldest first."""
        rows = self._database.execute("SELECT * FROM jobs WHERE state IN ('queued', 'running') ORDER BY number")
        return [
            QueuedJob(
                row["id"],
                row["kind"],
                row["target"],
                json.loads(row["instances"]),
                json.loads(row["request"]),
                row["attempts"],
            )
            for row in rows
        ]

    def read(self, job_id: str) -> models.Job | None:
        """Return a job with its log, or None."""
        row = self._database.execute("SELECT * FROM jobs WHERE id = ?", (job_id,)).fetchone()
        if row is None:
            return None
        lines = self._database.execute("SELECT time, text FROM lines WHERE job = ? ORDER BY rowid", (row["number"],))
        return self._job(row, [models.LogLine(time=line["time"], text=line["text"]) for line in lines])

    def select(self, state: str | None, target: str | None, limit: int) -> list[models.Job]:
        """Return jobs without their logs, newest first. `target` is an instance or an environment."""
        rows = self._database.execute(
            "SELECT * FROM jobs WHERE (:state IS NULL OR state = :state) AND (:target IS NULL OR target = :target"
            " OR EXISTS (SELECT 1 FROM json_each(instances) WHERE value = :target)) ORDER BY number DESC LIMIT :limit",
            {"state": state, "target": target, "limit": limit},
        )
        return [self._job(row, []) for row in rows]

    def counts(self) -> dict[tuple[str, str], int]:
        """Return the number of jobs by kind and state."""
        rows = self._database.execute("SELECT kind, state, count(*) AS number FROM jobs GROUP BY kind, state")
        return {(row["kind"], row["state"]): row["number"] for row in rows}

    def remove_old(self, days: int) -> None:
        """Remove jobs that ended more than so many days ago."""
        limit = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=days)
        self._database.execute("DELETE FROM jobs WHERE finished < ?", (limit.isoformat(),))

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
