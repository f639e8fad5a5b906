# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What jobs do. Each operation can be repeated after the service ended in the middle, with the same result.

It knows nothing of the queue: `jobs` decides when an operation runs.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any

from . import environments, models
from .multipass import Multipass, Report
from .problems import ApiError
from .settings import Settings
from .store import QueuedJob

STARTED = {"Running", "Starting", "Restarting"}
STOPPABLE = {"Running", "Starting", "Restarting", "Delayed Shutdown"}
SETTLING = {"Starting", "Restarting", "Suspending"}
TIMED_OUT = re.compile("timed out|time-?out", re.IGNORECASE)
"""In what multipass prints if the instance is there, but not as soon as it expects."""
KINDS = (
    *("launch", "start", "stop", "restart", "suspend", "recover", "resize", "clone", "delete"),
    *("snapshot", "restore", "delete-snapshot", "start-environment", "stop-environment", "delete-environment"),
)


def wrong_state(name: str, state: str, change: str) -> ApiError:
    """Return the error for an instance whose state does not allow a change, such as "stopped"."""
    more = {"Deleted": "; recover it, or DELETE it to purge it", "Suspended": "; start it, or stop it with force"}
    return ApiError(409, "wrong-state", f"instance {name} is {state} and cannot be {change}{more.get(state, '')}")


class Operations:
    """The operations, one per kind of job."""

    def __init__(
        self,
        settings: Settings,
        multipass: Multipass,
        definitions: environments.Environments,
        remember: Callable[[QueuedJob, str], Awaitable[None]],
        check_sources: Callable[[models.Launch], None],
    ) -> None:
        self._settings = settings
        self._multipass = multipass
        self._environments = definitions
        self._remember = remember
        self._check_sources = check_sources

    async def work(self, job: QueuedJob, report: Report) -> dict[str, Any]:
        """Do the work of a job and return its result."""
        if job.attempts > 1:
            # The commands of the earlier attempt have ended since; a shared answer from before does not show that.
            self._multipass.invalidate()
        kind = job.kind.replace("-", "_")
        method: Callable[[QueuedJob, Report], Awaitable[dict[str, Any]]] = getattr(self, f"_{kind}")
        return await method(job, report)

    async def check(self, kind: str, name: str, request: dict[str, Any]) -> None:
        """Raise the ApiError that a job would end with, as far as it is known beforehand."""
        found = await self._multipass.find(name)
        if kind == "launch":
            if found is not None:
                raise self._name_taken(found)
            return
        if found is None:
            raise ApiError(404, "instance-not-found", f'instance "{name}" does not exist')
        state = found.state
        if kind == "clone":
            other = await self._multipass.find(request["name"])
            if other is not None:
                raise self._name_taken(other)
        refused = {
            "start": state == "Deleted",
            "restart": state == "Deleted",
            "stop": self._stop_refused(state, bool(request.get("force"))),
            "suspend": state not in ("Running", "Suspended"),
            "resize": state != "Stopped",
            "clone": state != "Stopped",
            "snapshot": state != "Stopped",
            "restore": state != "Stopped",
        }
        if refused.get(kind):
            verbs = {"stop": "stopped", "clone": "cloned", "snapshot": "snapshotted", "restore": "restored"}
            raise wrong_state(name, state, verbs.get(kind, f"{kind}{'d' if kind.endswith('e') else 'ed'}"))

    @staticmethod
    def _stop_refused(state: str, force: bool) -> bool:
        if state == "Stopped":
            return False
        return state == "Deleted" if force else state not in STOPPABLE

    @staticmethod
    def _name_taken(found: models.Instance) -> ApiError:
        more = " and is deleted but not purged; DELETE it to free the name" if found.state == "Deleted" else ""
        return ApiError(409, "instance-exists", f"instance {found.name} already exists{more}")

    async def _result(self, name: str, changed: bool) -> dict[str, Any]:
        detail = await self._multipass.info(name)
        return {"changed": changed, "instance": detail.model_dump(mode="json")}

    async def _call(self, job: QueuedJob, report: Report, verb: str, *arguments: str, stdin: str | None = None) -> None:
        """Run a command with its time limit from the settings."""
        limit = self._settings.launch_timeout if verb in ("launch", "clone") else self._settings.change_timeout
        if verb in ("launch", "start", "restart"):
            # The client gives up first, with its own exit code; the longer limit is for a client that hangs.
            arguments = (f"--timeout={max(1, int(limit))}", *arguments)
            limit += 30
        await self._multipass.change(job.id, report, verb, *arguments, timeout=limit, stdin=stdin)

    async def _settled(self, name: str, limit: float) -> models.Instance | None:
        """Return an instance as soon as its state does not change any more; None if it does not exist."""
        deadline = time.monotonic() + limit
        while True:
            found = await self._multipass.find(name)
            if found is None or found.state not in SETTLING:
                return found
            if time.monotonic() > deadline:
                raise ApiError(504, "timeout", f"instance {name} is still {found.state} after {limit:g} s")
            await asyncio.sleep(1)

    async def _launch(self, job: QueuedJob, report: Report) -> dict[str, Any]:
        launch = models.Launch.model_validate(job.request)
        return await self._result(launch.name, await self._launch_one(job, report, launch))

    async def _launch_one(self, job: QueuedJob, report: Report, launch: models.Launch) -> bool:
        """Launch an instance, or adopt that of an earlier attempt of this job; return whether it is new."""
        if job.attempts > 1:
            if await self._adopt(launch.name, report, patience=0):
                return True
        elif (found := await self._multipass.find(launch.name)) is not None:
            raise self._name_taken(found)
        # Again, because what a path leads to may have changed since the request.
        self._check_sources(launch)
        options = [f"--name={launch.name}", f"--cpus={launch.cpus}", f"--memory={launch.memory}"]
        options.append(f"--disk={launch.disk}")
        for network in launch.networks:
            mac = f",mac={network.mac}" if network.mac else ""
            options.append(f"--network=name={network.name},mode={network.mode}{mac}")
        options += [f"--mount={mount.source}:{mount.target}" for mount in launch.mounts]
        if launch.cloud_init is not None:
            # On standard input, because a snap cannot read the temporary files of other programs.
            options.append("--cloud-init=-")
        try:
            await self._call(job, report, "launch", *options, launch.image, stdin=launch.cloud_init)
        except ApiError as error:
            # The daemon continues a launch whose client ended with the service.
            if job.attempts > 1 and error.kind == "instance-exists":
                if not await self._adopt(launch.name, report, patience=self._settings.launch_timeout):
                    raise
            elif error.kind == "timeout" or TIMED_OUT.search(error.detail):
                await self._adopt_late(launch.name, report, error)
            else:
                raise
        return True

    async def _adopt_late(self, name: str, report: Report, error: ApiError) -> None:
        """Accept an instance whose launch took longer than the client waits; raise the error if it does not run."""
        found = await self._settled(name, self._settings.change_timeout)
        if found is None:
            raise error
        if found.state != "Running":
            more = f"instance {name} is there and is {found.state}: start it, or DELETE it and launch it again"
            raise ApiError(error.status, error.kind, f"{error.detail}; {more}")
        report(f"{name} runs, but its launch took longer than multipass waits", None)

    async def _adopt(self, name: str, report: Report, patience: float) -> bool:
        """Wait for the instance of an earlier attempt, for `patience` seconds; return whether it exists."""
        deadline = time.monotonic() + patience
        while True:
            found = await self._settled(name, self._settings.launch_timeout)
            if found is not None:
                report(f"{name} was launched before the service restarted", None)
                if found.state != "Running":
                    raise wrong_state(name, found.state, "accepted as launched")
                return True
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(1)

    async def _start(self, job: QueuedJob, report: Report) -> dict[str, Any]:
        return await self._result(job.target, await self._start_one(job, report, job.target))

    async def _start_one(self, job: QueuedJob, report: Report, name: str) -> bool:
        found = await self._multipass.require(name)
        if found.state == "Deleted":
            raise wrong_state(name, found.state, "started")
        if found.state in STARTED:
            await self._settled(name, self._settings.change_timeout)
            return False
        await self._call(job, report, "start", name)
        return True

    async def _stop(self, job: QueuedJob, report: Report) -> dict[str, Any]:
        request = models.Stop.model_validate(job.request)
        return await self._result(job.target, await self._stop_one(job, report, job.target, request))

    async def _stop_one(self, job: QueuedJob, report: Report, name: str, request: models.Stop) -> bool:
        found = await self._multipass.require(name)
        if found.state == "Stopped":
            return False
        if self._stop_refused(found.state, request.force):
            raise wrong_state(name, found.state, "stopped")
        if request.delay_minutes and found.state == "Delayed Shutdown" and job.attempts > 1:
            return True
        options = ["--force"] if request.force else []
        options += [f"--time={request.delay_minutes}"] if request.delay_minutes else []
        await self._call(job, report, "stop", *options, name)
        return True

    async def _once(self, job: QueuedJob, report: Report, verb: str, *arguments: str) -> None:
        """Run a command whose second run would do harm; raise ApiError if an earlier attempt has begun it."""
        if job.step == verb:
            detail = f"the service ended while multipass {verb} ran, and it is not run twice"
            raise ApiError(503, "interrupted", f"{detail}; check {job.target}, then send the request again if needed")
        await self._remember(job, verb)
        await self._call(job, report, verb, *arguments)

    async def _restart(self, job: QueuedJob, report: Report) -> dict[str, Any]:
        found = await self._multipass.require(job.target)
        if found.state == "Deleted":
            raise wrong_state(job.target, found.state, "restarted")
        if job.step == "start" or (found.state not in STARTED and not job.step):
            await self._remember(job, "start")
            await self._start_one(job, report, job.target)
        else:
            await self._once(job, report, "restart", job.target)
        return await self._result(job.target, True)

    async def _suspend(self, job: QueuedJob, report: Report) -> dict[str, Any]:
        found = await self._multipass.require(job.target)
        if found.state not in ("Running", "Suspended"):
            raise wrong_state(job.target, found.state, "suspended")
        if found.state == "Running":
            await self._call(job, report, "suspend", job.target)
        return await self._result(job.target, found.state == "Running")

    async def _recover(self, job: QueuedJob, report: Report) -> dict[str, Any]:
        found = await self._multipass.require(job.target)
        if found.state == "Deleted":
            await self._call(job, report, "recover", job.target)
        return await self._result(job.target, found.state == "Deleted")

    async def _resize(self, job: QueuedJob, report: Report) -> dict[str, Any]:
        request = models.Resize.model_validate(job.request)
        found = await self._multipass.require(job.target)
        if found.state != "Stopped":
            raise wrong_state(job.target, found.state, "resized")
        size = await self._multipass.size(job.target)
        changes = []
        if request.cpus is not None and request.cpus != size.cpus:
            changes.append(f"cpus={request.cpus}")
        # multipass shows a size to a tenth of its unit only, so it decides whether a size is another one.
        wanted = {"memory": request.memory, "disk": request.disk}
        sizes = [f"{key}={text}" for key, text in wanted.items() if text is not None]
        # The disk first, because multipass may refuse it.
        for change in sorted(changes + sizes, key=lambda change: not change.startswith("disk")):
            await self._call(job, report, "set", f"local.{job.target}.{change}")
        other = [
            key for key, text in wanted.items() if text is not None and models.size_in_bytes(text) != getattr(size, key)
        ]
        return await self._result(job.target, bool(changes or other))

    async def _clone(self, job: QueuedJob, report: Report) -> dict[str, Any]:
        request = models.Clone.model_validate(job.request)
        found = await self._multipass.require(job.target)
        copy = await self._multipass.find(request.name)
        if copy is not None and job.attempts < 2:
            raise self._name_taken(copy)
        if copy is None:
            if found.state != "Stopped":
                raise wrong_state(job.target, found.state, "cloned")
            await self._call(job, report, "clone", f"--name={request.name}", job.target)
        return await self._result(request.name, True)

    async def _delete(self, job: QueuedJob, report: Report) -> dict[str, Any]:
        await self._delete_one(job, report, job.target)
        return {"changed": True, "instance": None}

    async def _delete_one(self, job: QueuedJob, report: Report, name: str) -> bool:
        if await self._multipass.find(name) is None:
            if job.attempts > 1:
                return True
            raise ApiError(404, "instance-not-found", f'instance "{name}" does not exist')
        # Never `multipass purge`: it would remove every deleted instance of the host.
        await self._call(job, report, "delete", "--purge", name)
        return True

    async def _snapshot(self, job: QueuedJob, report: Report) -> dict[str, Any]:
        request = models.TakeSnapshot.model_validate(job.request)
        present = [item.name for item in await self._multipass.snapshots(job.target)]
        if request.name in present and job.attempts < 2:
            raise ApiError(409, "snapshot-exists", f"instance {job.target} already has a snapshot {request.name}")
        if request.name not in present:
            found = await self._multipass.require(job.target)
            if found.state != "Stopped":
                raise wrong_state(job.target, found.state, "snapshotted")
            comment = [f"--comment={request.comment}"] if request.comment else []
            await self._call(job, report, "snapshot", f"--name={request.name}", *comment, job.target)
        return await self._result(job.target, True) | {"snapshot": request.name}

    async def _restore(self, job: QueuedJob, report: Report) -> dict[str, Any]:
        await self._require_snapshot(job.target, job.request["snapshot"])
        found = await self._multipass.require(job.target)
        if found.state != "Stopped":
            raise wrong_state(job.target, found.state, "restored")
        await self._once(job, report, "restore", "--destructive", f"{job.target}.{job.request['snapshot']}")
        return await self._result(job.target, True)

    async def _delete_snapshot(self, job: QueuedJob, report: Report) -> dict[str, Any]:
        try:
            await self._require_snapshot(job.target, job.request["snapshot"])
        except ApiError:
            if job.attempts < 2:
                raise
        else:
            await self._call(job, report, "delete", "--purge", f"{job.target}.{job.request['snapshot']}")
        return await self._result(job.target, True)

    async def _require_snapshot(self, name: str, snapshot: str) -> None:
        if snapshot not in [item.name for item in await self._multipass.snapshots(name)]:
            raise ApiError(404, "snapshot-not-found", f"instance {name} has no snapshot {snapshot}")

    async def _start_environment(self, job: QueuedJob, report: Report) -> dict[str, Any]:
        definition = models.Environment.model_validate(job.request)

        async def start_one(launch: models.Launch) -> bool:
            found = await self._multipass.find(launch.name)
            if found is not None:
                return await self._start_one(job, report, launch.name)
            return await self._launch_one(job, report, launch)

        return await self._each(job, report, definition, start_one)

    async def _stop_environment(self, job: QueuedJob, report: Report) -> dict[str, Any]:
        definition = models.Environment.model_validate(job.request)

        async def stop_one(launch: models.Launch) -> bool:
            found = await self._multipass.find(launch.name)
            if found is None or found.state in ("Deleted", "Suspended"):
                return False
            return await self._stop_one(job, report, launch.name, models.Stop())

        return await self._each(job, report, definition, stop_one)

    async def _delete_environment(self, job: QueuedJob, report: Report) -> dict[str, Any]:
        definition = models.Environment.model_validate(job.request)

        async def delete_one(launch: models.Launch) -> bool:
            if await self._multipass.find(launch.name) is None:
                return False
            return await self._delete_one(job, report, launch.name)

        result = await self._each(job, report, definition, delete_one)
        try:
            self._environments.delete(job.target)
        except ApiError:
            if job.attempts < 2:
                raise
        return result | {"changed": True}

    async def _each(
        self,
        job: QueuedJob,
        report: Report,
        definition: models.Environment,
        work: Callable[[models.Launch], Awaitable[bool]],
    ) -> dict[str, Any]:
        """Change each instance of an environment. All are tried before a failure is raised."""
        total, done = len(definition.instances), 0

        async def one(launch: models.Launch) -> bool:
            nonlocal done
            changed = await work(launch)
            done += 1
            report(f"{launch.name}: {'done' if changed else 'nothing to do'} ({done} of {total})", None)
            return changed

        ends = await asyncio.gather(*map(one, definition.instances), return_exceptions=True)
        for end in ends:
            if isinstance(end, BaseException) and not isinstance(end, ApiError):
                raise end
        failures = [
            (launch.name, end)
            for launch, end in zip(definition.instances, ends, strict=True)
            if isinstance(end, ApiError)
        ]
        if failures:
            reasons = "; ".join(f"{name}: {error.detail}" for name, error in failures)
            raise ApiError(failures[0][1].status, failures[0][1].kind, f"{len(failures)} of {total} failed. {reasons}")
        status = environments.status(job.target, definition, await self._multipass.instances())
        result = status.model_dump(mode="json")
        for instance in result["definition"]["instances"]:
            # Every scope may read a job.
            instance["cloud_init"] = None
        return result | {"changed": any(ends)}
