# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What jobs do. Each can be done again after an end of the service midway, and ends with what was asked for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from . import environments, models, parse
from .multipass import Multipass, Say
from .problems import ApiError
from .settings import Settings
from .store import Order

STARTED = {"Running", "Starting", "Restarting"}
STOPPABLE = {"Running", "Starting", "Restarting", "Delayed Shutdown"}
SETTLING = {"Starting", "Restarting", "Suspending"}
KINDS = (
    *("launch", "start", "stop", "restart", "suspend", "recover", "resize", "clone", "delete"),
    *("snapshot", "restore", "delete-snapshot", "start-environment", "stop-environment", "delete-environment"),
)


def wrong_state(name: str, state: str, wanted: str) -> ApiError:
    """Return the error for an instance that is in no state for what is wanted."""
    more = {"Deleted": "; recover it, or DELETE it to purge it", "Suspended": "; start it, or stop it with force"}
    return ApiError(409, "wrong-state", f"instance {name} is {state} and can't be {wanted}{more.get(state, '')}")


class Operations:
    """The kinds of job."""

    def __init__(self, settings: Settings, multipass: Multipass, kept: environments.Environments) -> None:
        self._settings = settings
        self._multipass = multipass
        self._environments = kept

    async def work(self, order: Order, say: Say) -> dict[str, Any]:
        """Do a job and return its result."""
        if order.attempts > 1:
            # What its former attempt was still doing was waited for; a look from before that does not show it.
            self._multipass.forget()
        kind = order.kind.replace("-", "_")
        method: Callable[[Order, Say], Awaitable[dict[str, Any]]] = getattr(self, f"_{kind}")
        return await method(order, say)

    async def check(self, kind: str, name: str, request: dict[str, Any]) -> None:
        """Raise the ApiError that a job would end with, as far as it can be known before."""
        found = await self._multipass.find(name)
        if kind == "launch":
            if found is not None:
                raise self._taken(found)
            return
        if found is None:
            raise ApiError(404, "instance-not-found", f'instance "{name}" does not exist')
        state = found.state
        if kind == "clone":
            other = await self._multipass.find(request["name"])
            if other is not None:
                raise self._taken(other)
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
    def _taken(found: models.Instance) -> ApiError:
        more = " It is deleted but not purged: DELETE it to free the name." if found.state == "Deleted" else ""
        return ApiError(409, "instance-exists", f"instance {found.name} exists already.{more}")

    async def _result(self, name: str, changed: bool) -> dict[str, Any]:
        detail = await self._multipass.info(name)
        return {"changed": changed, "instance": detail.model_dump(mode="json")}

    async def _call(self, order: Order, say: Say, verb: str, *arguments: str, stdin: str | None = None) -> None:
        """Run a command that has a time limit of its own, or ours."""
        limit = self._settings.launch_timeout if verb in ("launch", "clone") else self._settings.change_timeout
        if verb in ("launch", "start", "restart"):
            # The client gives up first and says so with a code of its own; ours is for a client that hangs.
            arguments = (f"--timeout={max(1, int(limit))}", *arguments)
            limit += 30
        await self._multipass.change(order.id, say, verb, *arguments, timeout=limit, stdin=stdin)

    async def _settled(self, name: str, limit: float) -> models.Instance | None:
        """Return an instance as soon as it is in a state of rest; None when there is none."""
        deadline = time.monotonic() + limit
        while True:
            found = await self._multipass.find(name)
            if found is None or found.state not in SETTLING:
                return found
            if time.monotonic() > deadline:
                raise ApiError(504, "timeout", f"instance {name} is {found.state} after {limit:g} s")
            await asyncio.sleep(1)

    async def _launch(self, order: Order, say: Say) -> dict[str, Any]:
        wanted = models.Launch.model_validate(order.request)
        return await self._result(wanted.name, await self._launch_one(order, say, wanted))

    async def _launch_one(self, order: Order, say: Say, wanted: models.Launch) -> bool:
        """Make an instance, or take the one that an earlier attempt of this job made; return whether it is new."""
        if order.attempts > 1:
            found = await self._adopt(wanted.name, say, patience=0)
            if found:
                return True
        elif (found_ := await self._multipass.find(wanted.name)) is not None:
            raise self._taken(found_)
        options = [f"--name={wanted.name}", f"--cpus={wanted.cpus}", f"--memory={wanted.memory}"]
        options.append(f"--disk={wanted.disk}")
        for network in wanted.networks:
            mac = f",mac={network.mac}" if network.mac else ""
            options.append(f"--network=name={network.name},mode={network.mode}{mac}")
        options += [f"--mount={mount.source}:{mount.target}" for mount in wanted.mounts]
        if wanted.cloud_init is not None:
            # Through standard input: a snap may not read other programs' temporary files.
            options.append("--cloud-init=-")
        try:
            await self._call(order, say, "launch", *options, wanted.image, stdin=wanted.cloud_init)
        except ApiError as error:
            # The daemon goes on with a launch whose client was ended with the service.
            if order.attempts > 1 and error.kind == "instance-exists":
                if not await self._adopt(wanted.name, say, patience=self._settings.launch_timeout):
                    raise
            else:
                raise
        return True

    async def _adopt(self, name: str, say: Say, patience: float) -> bool:
        """Wait for the instance that an earlier attempt began; return whether it is there."""
        deadline = time.monotonic() + patience
        while True:
            found = await self._settled(name, self._settings.launch_timeout)
            if found is not None:
                say(f"{name} was launched before the service was started again", None)
                if found.state != "Running":
                    raise wrong_state(name, found.state, "taken for launched")
                return True
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(1)

    async def _start(self, order: Order, say: Say) -> dict[str, Any]:
        return await self._result(order.target, await self._start_one(order, say, order.target))

    async def _start_one(self, order: Order, say: Say, name: str) -> bool:
        found = await self._multipass.there(name)
        if found.state == "Deleted":
            raise wrong_state(name, found.state, "started")
        if found.state in STARTED:
            await self._settled(name, self._settings.change_timeout)
            return False
        await self._call(order, say, "start", name)
        return True

    async def _stop(self, order: Order, say: Say) -> dict[str, Any]:
        wanted = models.Stop.model_validate(order.request)
        return await self._result(order.target, await self._stop_one(order, say, order.target, wanted))

    async def _stop_one(self, order: Order, say: Say, name: str, wanted: models.Stop) -> bool:
        found = await self._multipass.there(name)
        if found.state == "Stopped":
            return False
        if self._stop_refused(found.state, wanted.force):
            raise wrong_state(name, found.state, "stopped")
        if wanted.delay_minutes and found.state == "Delayed Shutdown" and order.attempts > 1:
            return True
        options = ["--force"] if wanted.force else []
        options += [f"--time={wanted.delay_minutes}"] if wanted.delay_minutes else []
        await self._call(order, say, "stop", *options, name)
        return True

    async def _restart(self, order: Order, say: Say) -> dict[str, Any]:
        found = await self._multipass.there(order.target)
        if found.state == "Deleted":
            raise wrong_state(order.target, found.state, "restarted")
        await self._call(order, say, "restart" if found.state in STARTED else "start", order.target)
        return await self._result(order.target, True)

    async def _suspend(self, order: Order, say: Say) -> dict[str, Any]:
        found = await self._multipass.there(order.target)
        if found.state not in ("Running", "Suspended"):
            raise wrong_state(order.target, found.state, "suspended")
        if found.state == "Running":
            await self._call(order, say, "suspend", order.target)
        return await self._result(order.target, found.state == "Running")

    async def _recover(self, order: Order, say: Say) -> dict[str, Any]:
        found = await self._multipass.there(order.target)
        if found.state == "Deleted":
            await self._call(order, say, "recover", order.target)
        return await self._result(order.target, found.state == "Deleted")

    async def _resize(self, order: Order, say: Say) -> dict[str, Any]:
        wanted = models.Resize.model_validate(order.request)
        found = await self._multipass.there(order.target)
        if found.state != "Stopped":
            raise wrong_state(order.target, found.state, "resized")
        size = await self._multipass.size(order.target)
        changes = []
        if wanted.cpus is not None and wanted.cpus != size.cpus:
            changes.append(f"cpus={wanted.cpus}")
        for key, text, present in (("memory", wanted.memory, size.memory), ("disk", wanted.disk, size.disk)):
            if text is None or parse.as_human(models.size_in_bytes(text)) == parse.as_human(present):
                continue
            if key == "disk" and models.size_in_bytes(text) < present:
                detail = f"the disk of {order.target} has {parse.as_human(present)} and can only grow, not to {text}"
                raise ApiError(409, "disk-can-not-shrink", detail)
            changes.append(f"{key}={text}")
        # The disk first: it is what may be refused.
        for change in sorted(changes, key=lambda change: not change.startswith("disk")):
            await self._call(order, say, "set", f"local.{order.target}.{change}")
        return await self._result(order.target, bool(changes))

    async def _clone(self, order: Order, say: Say) -> dict[str, Any]:
        wanted = models.Clone.model_validate(order.request)
        found = await self._multipass.there(order.target)
        copy = await self._multipass.find(wanted.name)
        if copy is not None and order.attempts < 2:
            raise self._taken(copy)
        if copy is None:
            if found.state != "Stopped":
                raise wrong_state(order.target, found.state, "cloned")
            await self._call(order, say, "clone", f"--name={wanted.name}", order.target)
        return await self._result(wanted.name, True)

    async def _delete(self, order: Order, say: Say) -> dict[str, Any]:
        await self._delete_one(order, say, order.target)
        return {"changed": True, "instance": None}

    async def _delete_one(self, order: Order, say: Say, name: str) -> bool:
        if await self._multipass.find(name) is None:
            if order.attempts > 1:
                return True
            raise ApiError(404, "instance-not-found", f'instance "{name}" does not exist')
        # Never a bare purge: it would take every deleted instance of the host.
        await self._call(order, say, "delete", "--purge", name)
        return True

    async def _snapshot(self, order: Order, say: Say) -> dict[str, Any]:
        wanted = models.TakeSnapshot.model_validate(order.request)
        present = [item.name for item in await self._multipass.snapshots(order.target)]
        if wanted.name in present and order.attempts < 2:
            raise ApiError(409, "snapshot-exists", f"instance {order.target} has a snapshot {wanted.name} already")
        if wanted.name not in present:
            found = await self._multipass.there(order.target)
            if found.state != "Stopped":
                raise wrong_state(order.target, found.state, "snapshotted")
            comment = [f"--comment={wanted.comment}"] if wanted.comment else []
            await self._call(order, say, "snapshot", f"--name={wanted.name}", *comment, order.target)
        return await self._result(order.target, True) | {"snapshot": wanted.name}

    async def _restore(self, order: Order, say: Say) -> dict[str, Any]:
        await self._snapshot_there(order.target, order.request["snapshot"])
        found = await self._multipass.there(order.target)
        if found.state != "Stopped":
            raise wrong_state(order.target, found.state, "restored")
        await self._call(order, say, "restore", "--destructive", f"{order.target}.{order.request['snapshot']}")
        return await self._result(order.target, True)

    async def _delete_snapshot(self, order: Order, say: Say) -> dict[str, Any]:
        try:
            await self._snapshot_there(order.target, order.request["snapshot"])
        except ApiError:
            if order.attempts < 2:
                raise
        else:
            await self._call(order, say, "delete", "--purge", f"{order.target}.{order.request['snapshot']}")
        return await self._result(order.target, True)

    async def _snapshot_there(self, name: str, snapshot: str) -> None:
        if snapshot not in [item.name for item in await self._multipass.snapshots(name)]:
            raise ApiError(404, "snapshot-not-found", f"instance {name} has no snapshot {snapshot}")

    async def _start_environment(self, order: Order, say: Say) -> dict[str, Any]:
        definition = models.Environment.model_validate(order.request)

        async def bring_up(wanted: models.Launch) -> bool:
            found = await self._multipass.find(wanted.name)
            if found is not None:
                return await self._start_one(order, say, wanted.name)
            return await self._launch_one(order, say, wanted)

        return await self._each(order, say, definition, bring_up)

    async def _stop_environment(self, order: Order, say: Say) -> dict[str, Any]:
        definition = models.Environment.model_validate(order.request)

        async def bring_down(wanted: models.Launch) -> bool:
            found = await self._multipass.find(wanted.name)
            if found is None or found.state in ("Deleted", "Suspended"):
                return False
            return await self._stop_one(order, say, wanted.name, models.Stop())

        return await self._each(order, say, definition, bring_down)

    async def _delete_environment(self, order: Order, say: Say) -> dict[str, Any]:
        definition = models.Environment.model_validate(order.request)

        async def remove(wanted: models.Launch) -> bool:
            if await self._multipass.find(wanted.name) is None:
                return False
            return await self._delete_one(order, say, wanted.name)

        result = await self._each(order, say, definition, remove)
        try:
            self._environments.delete(order.target)
        except ApiError:
            if order.attempts < 2:
                raise
        return result | {"changed": True}

    async def _each(
        self,
        order: Order,
        say: Say,
        definition: models.Environment,
        work: Callable[[models.Launch], Awaitable[bool]],
    ) -> dict[str, Any]:
        """Do something with each instance of an environment; all are tried before a failure is told."""
        total, done = len(definition.instances), 0

        async def one(wanted: models.Launch) -> bool:
            nonlocal done
            changed = await work(wanted)
            done += 1
            say(f"{wanted.name}: {'done' if changed else 'nothing to do'} ({done} of {total})", None)
            return changed

        ends = await asyncio.gather(*map(one, definition.instances), return_exceptions=True)
        for end in ends:
            if isinstance(end, BaseException) and not isinstance(end, ApiError):
                raise end
        failures = [
            (wanted.name, end)
            for wanted, end in zip(definition.instances, ends, strict=True)
            if isinstance(end, ApiError)
        ]
        if failures:
            told = "; ".join(f"{name}: {error.detail}" for name, error in failures)
            raise ApiError(failures[0][1].status, failures[0][1].kind, f"{len(failures)} of {total} failed. {told}")
        status = environments.status(order.target, definition, await self._multipass.instances())
        shown = status.model_dump(mode="json")
        for instance in shown["definition"]["instances"]:
            # A job is shown to every scope.
            instance["cloud_init"] = None
        return shown | {"changed": any(ends)}
