"""The sidecar's jobs while its storage fails: each job's account is true, and nothing runs twice that must not.

500 seeded lives with DEVORCH_LONG=1, otherwise a sample.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.sampling import SEED, sample

from .service import FILES, Service

sys.path.insert(0, str(FILES / "src"))

from multipass_sidecar import jobs as jobs_module
from multipass_sidecar.jobs import Jobs
from multipass_sidecar.multipass import Report
from multipass_sidecar.problems import ApiError
from multipass_sidecar.settings import Settings
from multipass_sidecar.store import QueuedJob, Size, Store


class Flaky(Store):
    """A store whose statements fail by seed: one by one or for a while, before or after they were done."""

    def __init__(self, path: Path, lots: random.Random, rate: float) -> None:
        self.lots = lots
        self.rate = 0.0
        self._outage = 0
        super().__init__(path)
        self.rate = rate

    def execute(self, statement: str, values: Any = ()) -> sqlite3.Cursor:
        """Run a statement, or fail."""
        if self._outage:
            self._outage -= 1
            raise sqlite3.OperationalError("database or disk is full")
        if self.lots.random() < self.rate:
            kind = self.lots.choice(["before", "after", "outage"])
            if kind == "outage":
                self._outage = self.lots.randrange(20)
            # SQLite undoes a transaction that it cannot end.
            if kind == "after" and statement != "COMMIT":
                super().execute(statement, values)
            raise sqlite3.OperationalError("disk I/O error")
        return super().execute(statement, values)


class Host:
    """What jobs really did."""

    def __init__(self, lots: random.Random) -> None:
        self.lots = lots
        self.runs: Counter[str] = Counter()
        self.harm: Counter[str] = Counter()
        self.last: dict[str, str] = {}
        self.store: Store | None = None

    async def work(self, job: QueuedJob, report: Report) -> dict[str, Any]:
        """Do a job: one that may be repeated, or one that must not be."""
        assert self.store
        self.runs[job.id] += 1
        self.last[job.id] = "began"
        report("working", None)
        if job.kind == "restart":
            if job.step:
                self.last[job.id] = "interrupted"
                raise ApiError(503, "interrupted", "it may have run")
            self.last[job.id] = "unrecorded"
            await self.store.step(job, "restart")
            self.harm[job.id] += 1
            self.last[job.id] = "began"
        await asyncio.sleep(self.lots.choice([0, 0, 0.002]))
        if self.lots.random() < 0.2:
            self.last[job.id] = "raised"
            raise ApiError(409, "wrong-state", "no")
        self.last[job.id] = "returned"
        return {"changed": True}


async def none() -> dict[str, Size]:
    """Allow a job."""
    return {}


async def crash(queue: Jobs, store: Store) -> None:
    """End a process in the middle."""
    queue.stop_accepting()
    tasks = [task for _job, task in queue._running.values()] + list(queue._tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    store.close()


async def live(path: Path, lots: random.Random) -> tuple[Host, dict[str, str], list[str]]:
    """Let three processes accept jobs, and a last one without faults end them; return what is stored in the end."""
    host, accepted, refused = Host(lots), [], []
    for life in range(4):
        store = host.store = Flaky(path, lots, 0.0 if life == 3 else lots.choice([0.02, 0.1, 0.3]))
        queue = Jobs(Settings(), store, host.work)
        while True:
            try:
                await queue.start()
                break
            except sqlite3.Error:
                continue
        for number in range(0 if life == 3 else 6):
            kind = lots.choice(["restart", "stop"])
            job = QueuedJob(f"{life}{number}", kind, f"vm-{number % 3}", [f"vm-{number % 3}"], {}, token="t")
            try:
                await queue.submit(job, idempotency=None, fingerprint="", check=none)
            except sqlite3.Error:
                refused.append(job.id)
                continue
            accepted.append(job.id)
            if lots.random() < 0.5:
                await queue.wait(job.id, 0.01)
                with contextlib.suppress(sqlite3.Error):
                    shown = await queue.read(job.id)
                    assert shown
                    assert shown.state in ("queued", "running") or host.last[job.id] != "began", shown
                    assert (shown.state == "succeeded") <= (host.last.get(job.id) == "returned"), shown
        if life == 3:
            for job_id in accepted:
                await queue.wait(job_id, 30)
            ended = {job.id: job.state for job in await queue.select(None, None, 1000, None)}
            kinds = {job.id: (job.error or {}).get("type") for job in await queue.select(None, None, 1000, None)}
            host.last |= {job_id: f"{host.last[job_id]} {kinds[job_id]}" for job_id in accepted}
            await queue.stop(1)
            store.close()
            return host, ended, refused
        if lots.random() < 0.5:
            await queue.stop(lots.choice([0, 0.05]))
            store.close()
        else:
            await crash(queue, store)
    raise AssertionError


@pytest.fixture
def memory() -> Iterator[Path]:
    """A directory in memory if the machine has one: the tests write a lot, and durably."""
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as folder:
        yield Path(folder)


@pytest.mark.parametrize("life", sample(range(500), 50))
def test_each_jobs_account_is_true_whatever_the_storage_does(
    memory: Path, monkeypatch: pytest.MonkeyPatch, life: int
) -> None:
    monkeypatch.setattr(jobs_module, "RETRY_SECONDS", 0.002)
    monkeypatch.setattr(jobs_module, "LAST_SECONDS", 0.02)
    monkeypatch.setattr(jobs_module, "MAX_ATTEMPTS", 100)
    host, ended, refused = asyncio.run(live(memory / "jobs.sqlite", random.Random(f"{SEED} storage {life}")))
    assert not set(refused) & (set(ended) | set(host.runs)), "a refused job is done"
    assert max(host.harm.values(), default=0) <= 1, "what must not run twice did"
    for job_id, state in ended.items():
        expected = {
            "succeeded": {"returned None"},
            "failed": {"raised /problems/wrong-state", "unrecorded /problems/storage"},
            "interrupted": {"interrupted /problems/interrupted"},
        }
        assert host.last[job_id] in expected[state], (job_id, state, host.last[job_id])


def test_a_storage_that_another_program_holds_delays_no_other_request_and_changes_no_outcome(tmp_path: Path) -> None:
    with Service(tmp_path) as sidecar:
        sidecar.world.set(options={"seconds": {"restart": 2}}, dev="Running")
        sidecar.http.get("/health")
        job = sidecar.http.post("/instances/dev/restart").json()["id"]
        while not sidecar.world.calls("restart"):
            time.sleep(0.02)
        other = sqlite3.connect(tmp_path / "state" / "jobs.sqlite", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        until, slowest = time.monotonic() + 8, 0.0
        while time.monotonic() < until:
            began = time.monotonic()
            assert sidecar.http.get("/instances").status_code == 200
            slowest = max(slowest, time.monotonic() - began)
            time.sleep(0.1)
        # A statement waits for five seconds before it fails.
        assert slowest < 3
        other.execute("ROLLBACK")
        other.close()
        found = sidecar.http.get(f"/jobs/{job}", params={"wait": 30}).json()
        assert (found["state"], len(sidecar.world.calls("restart"))) == ("succeeded", 1), found


def test_a_restart_that_may_have_run_is_not_run_again(tmp_path: Path) -> None:
    with Service(tmp_path) as sidecar:
        sidecar.world.set(options={"seconds": {"restart": 3}}, dev="Running")
        job = sidecar.http.post("/instances/dev/restart").json()["id"]
        while not sidecar.world.calls("restart"):
            time.sleep(0.02)
        sidecar.kill()
        sidecar.start()
        found = sidecar.http.get(f"/jobs/{job}", params={"wait": 30}).json()
        assert found["state"] == "interrupted" and "not run twice" in found["error"]["detail"]
        assert len(sidecar.world.calls("restart")) == 1


def test_the_secrets_of_an_ended_job_leave_no_trace(tmp_path: Path) -> None:
    secret = "correct-horse-battery-staple"
    with Service(tmp_path) as sidecar:
        sidecar.world.set(options={"seconds": {"launch": 2}})
        files = tmp_path / "state"

        def traces() -> list[str]:
            return [path.name for path in files.iterdir() if path.is_file() and secret.encode() in path.read_bytes()]

        body = {"name": "dev", "cloud_init": f"#cloud-config\npassword: {secret}\n"}
        job = sidecar.http.post("/instances", json=body).json()["id"]
        assert traces()
        assert sidecar.http.get(f"/jobs/{job}", params={"wait": 30}).json()["state"] == "succeeded"
        assert not traces()


def test_old_jobs_are_removed_while_the_service_runs(memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs_module, "TIDY_SECONDS", 0.02)

    async def check(work: Callable[[QueuedJob, Report], Any]) -> None:
        store = Store(memory / "jobs.sqlite")
        queue = Jobs(Settings(job_days=1), store, work)
        await queue.start()
        for name in ("old", "new"):
            await queue.submit(
                QueuedJob(name, "stop", name, [name], {}, token="t"), idempotency=None, fingerprint="", check=none
            )
            await queue.wait(name, 10)
        with sqlite3.connect(memory / "jobs.sqlite") as other:
            other.execute("UPDATE jobs SET finished = '2020-01-01T00:00:00.000Z' WHERE id = 'old'")
        deadline = time.monotonic() + 10
        while await queue.read("old") and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        assert await queue.read("old") is None and await queue.read("new")
        await queue.stop(1)
        store.close()

    async def work(job: QueuedJob, report: Report) -> dict[str, Any]:
        return {}

    asyncio.run(check(work))


def test_a_database_of_the_former_version_is_read(memory: Path) -> None:
    path = memory / "jobs.sqlite"

    async def check() -> None:
        store = Store(path)
        await store.add(QueuedJob("a", "stop", "dev", ["dev"], {}, token="t"), None, "")
        store.close()
        with sqlite3.connect(path) as other:
            other.execute("ALTER TABLE jobs DROP COLUMN step")
            other.execute("DROP TABLE owners")
        store = Store(path)
        (found,) = await store.unfinished()
        assert (found.id, found.step, found.token) == ("a", "", "t")
        assert await store.owned("t") == {}
        store.close()

    asyncio.run(check())
