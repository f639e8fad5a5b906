# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The multipass command line, called safely.

Exit codes are those of multipass' include/multipass/cli/return_codes.h: 0 well, 1 bad command line, 2 the command
failed, 3 the daemon is out of reach, 4 try again, 5 the client's time limit.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import time
from collections.abc import AsyncIterator
from typing import Any
from weakref import WeakValueDictionary

from .models import (
    Health,
    Instance,
    InstanceDetail,
    Launch,
    MultipassHealth,
    instance,
    instance_detail,
)
from .settings import Settings

COMMAND_LINE, FAILED, UNREACHABLE, RETRY, TIMED_OUT = 1, 2, 3, 4, 5
HEALTH_SECONDS = 5.0
"""For how long one look at multipass answers everybody's GET /health, which asks for no token."""

STARTED = {"Running", "Starting", "Restarting"}
STOPPABLE = {"Running", "Starting", "Restarting", "Delayed Shutdown"}


class MultipassError(Exception):
    """A request that multipass did not fulfil: HTTP status, kind (part of the problem type), and what to tell."""

    def __init__(self, status: int, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.detail = detail


def last_words(stderr: str) -> str:
    """Return what multipass says on its error stream in one line, at most 500 characters."""
    return " ".join(stderr.split())[-500:] or "it says nothing"


def failure(verb: str, code: int, stderr: str) -> MultipassError:
    """Return the error that an exit code and the error stream stand for."""
    text = last_words(stderr)
    detail = f"multipass {verb} failed with exit code {code}: {text}"
    lowered = text.lower()
    if code == FAILED and "does not exist" in lowered:
        return MultipassError(404, "instance-not-found", detail)
    if code == FAILED and "already exists" in lowered:
        return MultipassError(409, "instance-exists", detail)
    if code == FAILED and "unable to find an image" in lowered:
        return MultipassError(422, "image-not-found", detail)
    if code == COMMAND_LINE:
        return MultipassError(422, "not-accepted", detail)
    if code == UNREACHABLE:
        return MultipassError(503, "daemon-unreachable", detail)
    if code == RETRY:
        return MultipassError(503, "try-again", detail)
    if code == TIMED_OUT:
        return MultipassError(504, "timeout", f"{detail}. The daemon may still be at work.")
    return MultipassError(502, "command-failed", detail)


class Multipass:
    """Everything the API does with multipass; one object a process."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._slots = asyncio.Semaphore(settings.max_parallel)
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._health_lock = asyncio.Lock()
        self._health: tuple[float, Health] | None = None

    async def list(self) -> list[Instance]:
        """Return all instances, sorted by name."""
        answer = await self._json("list", timeout=self._settings.query_timeout)
        return sorted((instance(str(entry["name"]), entry) for entry in answer["list"]), key=lambda item: item.name)

    async def info(self, name: str) -> InstanceDetail:
        """Return one instance; MultipassError 404 when there is none of that name."""
        answer = await self._json("info", name, timeout=self._settings.query_timeout)
        return instance_detail(name, answer["info"][name])

    async def launch(self, wanted: Launch) -> InstanceDetail:
        """Make and start an instance, and return it; MultipassError 409 when the name is taken."""
        async with self._changing(wanted.name):
            present = await self._find(wanted.name)
            if present is not None:
                more = (
                    " It is deleted but not purged: DELETE it to free the name." if present.state == "Deleted" else ""
                )
                raise MultipassError(409, "instance-exists", f"instance {wanted.name} exists already.{more}")
            limit = self._settings.launch_timeout
            options = [f"--name={wanted.name}", f"--cpus={wanted.cpus}", f"--memory={wanted.memory}"]
            options += [f"--disk={wanted.disk}", f"--timeout={int(limit)}"]
            if wanted.cloud_init is not None:
                # Through standard input: a snap may not read other programs' temporary files.
                options.append("--cloud-init=-")
            # The client gives up first and says so with a code of its own; ours is for a client that hangs.
            await self._run("launch", *options, wanted.image, timeout=limit + 30, stdin=wanted.cloud_init)
            return await self.info(wanted.name)

    async def start(self, name: str) -> InstanceDetail:
        """Start or resume an instance and return it; nothing is done to one that runs."""
        async with self._changing(name):
            present = await self._there(name)
            if present.state in STARTED:
                return present
            limit = self._settings.change_timeout
            await self._run("start", f"--timeout={int(limit)}", name, timeout=limit + 30)
            return await self.info(name)

    async def stop(self, name: str) -> InstanceDetail:
        """Shut an instance down and return it; nothing is done to one that is stopped."""
        async with self._changing(name):
            present = await self._there(name)
            if present.state == "Stopped":
                return present
            if present.state not in STOPPABLE:
                raise MultipassError(409, "wrong-state", f"instance {name} is {present.state} and can't be stopped")
            await self._run("stop", name, timeout=self._settings.change_timeout)
            return await self.info(name)

    async def delete(self, name: str) -> None:
        """Delete an instance and its disk; MultipassError 404 when there is none of that name."""
        async with self._changing(name):
            await self.info(name)
            # Never a bare purge: it would take every deleted instance of the host.
            await self._run("delete", "--purge", name, timeout=self._settings.change_timeout)

    async def health(self) -> Health:
        """Tell whether multipass and its daemon answer. Never raises MultipassError."""
        async with self._health_lock:
            if self._health is None or time.monotonic() - self._health[0] > HEALTH_SECONDS:
                self._health = (time.monotonic(), await self._look())
            return self._health[1]

    async def _look(self) -> Health:
        try:
            answer = await self._json("version", timeout=min(5.0, self._settings.query_timeout))
        except MultipassError as error:
            return Health(status="degraded", multipass=MultipassHealth(reason=error.detail))
        version, daemon = answer.get("multipass"), answer.get("multipassd")
        if not daemon:
            reason = "the client is there, but its daemon does not answer it"
            return Health(status="degraded", multipass=MultipassHealth(version=version, reason=reason))
        return Health(status="ok", multipass=MultipassHealth(version=version, daemon_version=daemon))

    async def _find(self, name: str) -> InstanceDetail | None:
        try:
            return await self.info(name)
        except MultipassError as error:
            if error.status == 404:
                return None
            raise

    async def _there(self, name: str) -> InstanceDetail:
        present = await self.info(name)
        if present.state == "Deleted":
            raise MultipassError(409, "wrong-state", f"instance {name} is deleted; DELETE it to purge it")
        return present

    @contextlib.asynccontextmanager
    async def _changing(self, name: str) -> AsyncIterator[None]:
        """Let one change of an instance in at a time; the others wait."""
        lock = self._locks.setdefault(name, asyncio.Lock())
        async with lock:
            yield

    async def _json(self, verb: str, *arguments: str, timeout: float) -> dict[str, Any]:
        output = await self._run(verb, "--format=json", *arguments, timeout=timeout)
        try:
            answer = json.loads(output)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise MultipassError(502, "bad-output", f"multipass {verb} printed no JSON: {last_words(output)}")
        return answer

    async def _run(self, verb: str, *arguments: str, timeout: float, stdin: str | None = None) -> str:
        """Run multipass and return its standard output; never through a shell.

        timeout counts in seconds from the start of the process. Raise MultipassError on every end but exit code 0.
        """
        async with self._slots:
            try:
                process = await asyncio.create_subprocess_exec(
                    self._settings.multipass,
                    verb,
                    *arguments,
                    stdin=asyncio.subprocess.DEVNULL if stdin is None else asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.PIPE,
                    start_new_session=True,
                )
            except OSError as error:
                problem = f"{self._settings.multipass} can't be run: {error.strerror}"
                detail = f"{problem}. Install multipass, or correct its path."
                raise MultipassError(503, "multipass-missing", detail) from error
            try:
                async with asyncio.timeout(timeout):
                    output, errors = await process.communicate(None if stdin is None else stdin.encode())
            except TimeoutError as error:
                detail = f"multipass {verb} did not end within {timeout:g} s. The daemon may still be at work."
                raise MultipassError(504, "timeout", detail) from error
            finally:
                if process.returncode is None:
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)
                    await process.wait()
        if process.returncode != 0:
            raise failure(verb, process.returncode or 0, errors.decode(errors="replace"))
        return output.decode(errors="replace")
