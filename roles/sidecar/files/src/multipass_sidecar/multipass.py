# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The multipass command line, called safely.

Exit codes are those of multipass' include/multipass/cli/return_codes.h: 0 well, 1 bad command line, 2 the command
failed, 3 the daemon is out of reach, 4 try again, 5 the client's time limit. exec ends with the code of the program
in the instance instead.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import re
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

from . import models, parse
from .problems import ApiError
from .settings import Settings

COMMAND_LINE, FAILED, UNREACHABLE, RETRY, TIMED_OUT = 1, 2, 3, 4, 5
HEALTH_SECONDS = 5.0
"""For how long one look at multipass answers everybody's GET /health, which asks for no token."""
QUESTIONS = 4
"""How many questions may be asked at once, apart from the changes that run."""
SESSIONS = 16
"""How many programs and transfers may run in instances at once."""
LARGEST_ANSWER = 16 * models.MIB
LARGEST_STREAM = models.MIB
CHUNK = 65536
LAST_SECONDS = 5
"""For what is left of a process that was killed."""
JOB_VARIABLE = "MULTIPASS_SIDECAR_JOB"
"""In the environment of a job's commands, by which a new process of the service finds those of the former."""
OWN_VARIABLES = ("NOTIFY_SOCKET", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "CREDENTIALS_DIRECTORY")
Value = TypeVar("Value")
Say = Callable[[str, int | None], None]


def last_words(stderr: str) -> str:
    """Return what multipass says on its error stream in one line, at most 500 characters."""
    return " ".join(parse.ANSI.sub("", stderr).split())[-500:] or "it says nothing"


KINDS: list[tuple[str, int, str]] = [
    (r"does not exist|no such snapshot|no snapshot", 404, "instance-not-found"),
    (r"already exists|being prepared", 409, "instance-exists"),
    (r"unable to find an image|no image", 422, "image-not-found"),
    (r"can only be expanded|cannot shrink", 409, "disk-can-not-shrink"),
    (
        r"is deleted|is not running|is not stopped|must be stopped|must be running|is suspended|not in a .*state"
        r"|instance .* is (running|starting|suspending)|has children",
        409,
        "wrong-state",
    ),
]


def failure(verb: str, code: int, stderr: str) -> ApiError:
    """Return the error that an exit code and the error stream stand for."""
    text = last_words(stderr)
    detail = f"multipass {verb} failed with exit code {code}: {text}"
    if code == FAILED:
        for pattern, status, kind in KINDS:
            if re.search(pattern, text, re.IGNORECASE):
                return ApiError(status, kind, detail)
    if code == COMMAND_LINE:
        return ApiError(422, "not-accepted", detail)
    if code == UNREACHABLE:
        return ApiError(503, "daemon-unreachable", detail)
    if code == RETRY:
        return ApiError(503, "try-again", detail)
    if code == TIMED_OUT:
        return ApiError(504, "timeout", f"{detail}. The daemon may still be at work.")
    return ApiError(503, "command-failed", detail)


def stdin_of(text: str) -> int:
    """Return the reading end of a pipe that holds all of a text, so that no reader ever sees a part of it."""
    reading, writing = os.pipe()
    try:
        with contextlib.suppress(OSError):
            fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 2 * models.CLOUD_INIT_BYTES)
        os.set_blocking(writing, False)
        data = text.encode()
        while data:
            data = data[os.write(writing, data) :]
    except OSError:
        os.close(reading)
        raise
    finally:
        os.close(writing)
    return reading


def kill(process: asyncio.subprocess.Process) -> None:
    """End a process and its children at once."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def there_is(value: Value | None) -> Value:
    """Return what is not None: a stream that was asked for, a row that was just written."""
    if value is None:
        raise AssertionError("a value that must be there is not")
    return value


class Shared:
    """One call for all who ask the same at the same time or shortly after."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._calls: dict[object, tuple[float, asyncio.Task[Any]]] = {}

    def forget(self) -> None:
        """Let everybody who asks from now on get an answer that is new."""
        self._calls.clear()

    async def get(self, key: object, make: Callable[[], Awaitable[Value]]) -> Value:
        """Return the answer of a call that runs or ended lately, or of a new one."""
        now = time.monotonic()
        made, call = self._calls.get(key, (0.0, None))
        if call is None or (call.done() and (now - made > self._seconds or call.cancelled() or call.exception())):
            if len(self._calls) > 256:
                self._calls = {name: pair for name, pair in self._calls.items() if now - pair[0] <= self._seconds}

            async def run() -> Value:
                return await make()

            call = asyncio.create_task(run())
            self._calls[key] = (now, call)
        # One reader's end must not be the end of the others' call.
        answer: Value = await asyncio.shield(call)
        return answer


class Multipass:
    """Everything the service asks of multipass; one object a process."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._questions = asyncio.Semaphore(QUESTIONS)
        self._changes = asyncio.Semaphore(settings.max_parallel)
        self._sessions = 0
        self._shared = Shared(settings.fresh)
        self._health_lock = asyncio.Lock()
        self._health: tuple[float, models.Health] | None = None

    def forget(self) -> None:
        """Let everybody who asks from now on get an answer that is new."""
        self._shared.forget()

    async def instances(self) -> list[models.Instance]:
        """Return all instances, sorted by name."""
        return await self._shared.get("list", lambda: self._ask(parse.listed, "list"))

    async def find(self, name: str) -> models.Instance | None:
        """Return an instance as the list shows it, or None."""
        return next((item for item in await self.instances() if item.name == name), None)

    async def there(self, name: str) -> models.Instance:
        """Return an instance as the list shows it; ApiError 404 when there is none of that name."""
        found = await self.find(name)
        if found is None:
            raise ApiError(404, "instance-not-found", f'instance "{name}" does not exist')
        return found

    async def info(self, name: str) -> models.InstanceDetail:
        """Return one instance; ApiError 404 when there is none of that name."""
        read: Callable[[str], models.InstanceDetail] = lambda text: parse.detail(text, name)  # noqa: E731
        return await self._shared.get(("info", name), lambda: self._ask(read, "info", name))

    async def snapshots(self, name: str) -> list[models.Snapshot]:
        """Return the snapshots of an instance; ApiError 404 when there is none of that name."""
        await self.there(name)
        read: Callable[[str], list[models.Snapshot]] = lambda text: parse.snapshots(text, name)  # noqa: E731
        return await self._shared.get(("snapshots", name), lambda: self._ask(read, "info", "--snapshots", name))

    async def images(self, query: str | None) -> list[models.ImageShown]:
        """Return the images that can be launched."""
        more = [] if query is None else [query]
        return await self._shared.get(("find", query), lambda: self._ask(parse.images, "find", *more))

    async def networks(self) -> list[models.NetworkShown]:
        """Return the host's networks."""
        return await self._shared.get("networks", lambda: self._ask(parse.networks, "networks"))

    async def version(self) -> tuple[str, str | None]:
        """Return the versions of the client and of the daemon."""
        return await self._shared.get("version", lambda: self._ask(parse.version, "version"))

    async def get(self, key: str) -> str:
        """Return a setting of multipass."""

        async def read() -> str:
            async with self._questions:
                return (await self._run("get", key, timeout=self._settings.query_timeout)).strip()

        return await self._shared.get(("get", key), read)

    async def size(self, name: str) -> models.InstanceSize:
        """Return the size that an instance is set to; ApiError 404 when there is none of that name."""
        await self.there(name)
        cpus, memory, disk = await asyncio.gather(
            *(self.get(f"local.{name}.{key}") for key in ("cpus", "memory", "disk"))
        )
        try:
            return models.InstanceSize(cpus=int(cpus), memory=parse.human_size(memory), disk=parse.human_size(disk))
        except (ValueError, parse.ParseError) as error:
            raise ApiError(503, "bad-output", f"multipass get printed no size: {error}") from error

    async def health(self) -> models.Health:
        """Tell whether multipass and its daemon answer. Never raises ApiError."""
        async with self._health_lock:
            if self._health is None or time.monotonic() - self._health[0] > HEALTH_SECONDS:
                self._health = (time.monotonic(), await self._look())
            return self._health[1]

    async def _look(self) -> models.Health:
        limit = min(5.0, self._settings.query_timeout)
        try:
            version, daemon = await self._ask(parse.version, "version", timeout=limit)
        except ApiError as error:
            return models.Health(status="degraded", multipass=models.MultipassHealth(reason=error.detail))
        if not daemon:
            reason = "the client is there, but its daemon does not answer it"
            return models.Health(status="degraded", multipass=models.MultipassHealth(version=version, reason=reason))
        return models.Health(status="ok", multipass=models.MultipassHealth(version=version, daemon_version=daemon))

    async def change(
        self, job: str, say: Say, verb: str, *arguments: str, timeout: float, stdin: str | None = None
    ) -> None:
        """Run a command that changes something, for a job; its progress is said on the way.

        timeout counts in seconds from the start of the command. Raise ApiError on every end but exit code 0.
        """
        async with self._changes:
            try:
                await self._run(verb, *arguments, timeout=timeout, stdin=stdin, job=job, say=say)
            finally:
                self.forget()

    async def _ask(
        self, read: Callable[[str], Value], verb: str, *arguments: str, timeout: float | None = None
    ) -> Value:
        async with self._questions:
            text = await self._run(
                verb, "--format=json", *arguments, timeout=self._settings.query_timeout if timeout is None else timeout
            )
        try:
            return read(text)
        except parse.ParseError as error:
            raise ApiError(503, "bad-output", f"multipass {verb} printed {error}") from error

    @contextlib.asynccontextmanager
    async def _process(self, *command: str, job: str = "", **streams: Any) -> AsyncIterator[asyncio.subprocess.Process]:
        """Start multipass, never through a shell, and see to it that it and its children have ended afterwards."""
        environment = {name: value for name, value in os.environ.items() if name not in OWN_VARIABLES}
        if job:
            environment[JOB_VARIABLE] = job
        pipe = asyncio.subprocess.PIPE
        streams = {"stdin": asyncio.subprocess.DEVNULL, "stdout": pipe, "stderr": pipe} | streams
        try:
            process = await asyncio.create_subprocess_exec(
                self._settings.multipass, *command, start_new_session=True, env=environment, **streams
            )
        except OSError as error:
            problem = f"{self._settings.multipass} can't be run: {error.strerror}"
            detail = f"{problem}. Install multipass, or correct its path."
            raise ApiError(503, "multipass-missing", detail) from error
        try:
            yield process
        finally:
            if process.returncode is None:
                kill(process)
                # asyncio sees the end of a process only when its pipes have been read to theirs.
                rest = [drain(stream, 0) for stream in (process.stdout, process.stderr) if stream]
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(asyncio.gather(process.wait(), *rest), LAST_SECONDS)

    async def _run(
        self,
        verb: str,
        *arguments: str,
        timeout: float,
        stdin: str | None = None,
        job: str = "",
        say: Say | None = None,
    ) -> str:
        """Run multipass and return its standard output."""
        reading = None if stdin is None else stdin_of(stdin)
        try:
            streams = {} if reading is None else {"stdin": reading}
            async with self._process(verb, *arguments, job=job, **streams) as process:
                try:
                    async with asyncio.timeout(timeout):
                        (output, more), (errors, _cut), _done = await asyncio.gather(
                            drain(there_is(process.stdout), LARGEST_ANSWER, say, stop=lambda: kill(process)),
                            drain(there_is(process.stderr), CHUNK),
                            process.wait(),
                        )
                except TimeoutError as error:
                    detail = f"multipass {verb} did not end within {timeout:g} s. The daemon may still be at work."
                    raise ApiError(504, "timeout", detail) from error
        finally:
            if reading is not None:
                os.close(reading)
        if more:
            raise ApiError(503, "bad-output", f"multipass {verb} printed more than {LARGEST_ANSWER} bytes")
        if process.returncode != 0:
            raise failure(verb, process.returncode or 0, errors.decode(errors="replace"))
        return output.decode(errors="replace")

    @contextlib.contextmanager
    def _session(self) -> Any:
        if self._sessions >= SESSIONS:
            raise ApiError(503, "busy", f"{SESSIONS} programs and transfers run already; try again")
        self._sessions += 1
        try:
            yield
        finally:
            self._sessions -= 1

    async def _running(self, name: str) -> None:
        """Raise ApiError unless an instance runs: the client would start it without being asked to."""
        found = await self.there(name)
        if found.state != "Running":
            raise ApiError(409, "wrong-state", f"instance {name} is {found.state}; start it first")

    async def execute(self, name: str, wanted: models.Execute) -> models.Executed:
        """Run a program in an instance."""
        await self._running(name)
        where = (
            "--no-map-working-directory"
            if wanted.working_directory is None
            else f"--working-directory={wanted.working_directory}"
        )
        with self._session():
            timed_out = False
            async with self._process("exec", where, name, "--", *wanted.argv) as process:
                kept = [bytearray(), bytearray()]
                readers = asyncio.gather(
                    drain(there_is(process.stdout), LARGEST_STREAM, kept=kept[0]),
                    drain(there_is(process.stderr), LARGEST_STREAM, kept=kept[1]),
                )
                try:
                    async with asyncio.timeout(wanted.timeout):
                        (_output, first), (_errors, second) = await readers
                        await process.wait()
                    truncated = first or second
                except TimeoutError:
                    timed_out, truncated = True, any(len(part) >= LARGEST_STREAM for part in kept)
        code = process.returncode
        output, errors = (bytes(part).decode(errors="replace") for part in kept)
        # The program's code and the client's can't be told apart by themselves; the client's words say whose it is.
        if (
            not timed_out
            and code in (1, 2, 3, 5, 255)
            and not output
            and errors.startswith(("exec failed: ", "error: "))
        ):
            raise failure("exec", code, errors)
        return models.Executed(
            exit_code=None if timed_out else code,
            stdout=output,
            stderr=errors,
            truncated=truncated,
            timed_out=timed_out,
        )

    async def send_file(self, name: str, path: str, chunks: AsyncIterator[bytes]) -> None:
        """Write a file in an instance from a stream."""
        await self._running(name)
        with self._session():
            async with self._process("transfer", "-", f"{name}:{path}", stdin=asyncio.subprocess.PIPE) as process:
                entrance = there_is(process.stdin)
                ended = asyncio.create_task(drain(there_is(process.stderr), CHUNK))
                output = asyncio.create_task(drain(there_is(process.stdout), CHUNK))
                try:
                    async with asyncio.timeout(self._settings.launch_timeout):
                        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                            async for chunk in chunks:
                                entrance.write(chunk)
                                await entrance.drain()
                            entrance.close()
                        errors, _cut = await ended
                        await output
                        await process.wait()
                except TimeoutError as error:
                    raise ApiError(
                        504, "timeout", "the transfer did not end in time; the file is not complete"
                    ) from error
                finally:
                    await end(ended, output)
        if process.returncode != 0:
            raise transfer_failure(process.returncode or 0, errors)

    async def receive_file(self, name: str, path: str) -> AsyncIterator[bytes]:
        """Read a file of an instance as a stream; what is wrong from the beginning is raised at the first piece."""
        await self._running(name)
        with self._session():
            async with self._process("transfer", f"{name}:{path}", "-") as process:
                exit_ = there_is(process.stdout)
                ended = asyncio.create_task(drain(there_is(process.stderr), CHUNK))
                deadline = time.monotonic() + self._settings.launch_timeout
                try:
                    # Not asyncio.timeout: a generator may be continued by another task than the one that began it.
                    while chunk := await asyncio.wait_for(exit_.read(CHUNK), deadline - time.monotonic()):
                        yield chunk
                    errors, _cut = await asyncio.wait_for(ended, max(1.0, deadline - time.monotonic()))
                    await asyncio.wait_for(process.wait(), max(1.0, deadline - time.monotonic()))
                except TimeoutError as error:
                    raise ApiError(504, "timeout", "the transfer did not end in time") from error
                finally:
                    await end(ended)
        if process.returncode != 0:
            raise transfer_failure(process.returncode or 0, errors)


async def end(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks and return when they have ended."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def transfer_failure(code: int, errors: bytes) -> ApiError:
    """Return the error that the end of a transfer stands for; most are the path's."""
    found = failure("transfer", code, errors.decode(errors="replace"))
    if code in (COMMAND_LINE, FAILED) and found.kind in ("command-failed", "not-accepted"):
        return ApiError(409, "transfer-failed", found.detail)
    return found


async def drain(
    stream: asyncio.StreamReader,
    most: int,
    say: Say | None = None,
    *,
    stop: Callable[[], None] | None = None,
    kept: bytearray | None = None,
) -> tuple[bytes, bool]:
    """Read a stream to its end and return its beginning, up to so many bytes, and whether there was more.

    stop is called as soon as there is more. Lines are said as they come.
    """
    kept = bytearray() if kept is None else kept
    more, line = False, ""
    while chunk := await stream.read(CHUNK):
        room = most - len(kept)
        kept += chunk[:room]
        if len(chunk) > room:
            if stop and not more:
                stop()
            more = True
        # Reading what is there already lets nobody else run.
        await asyncio.sleep(0)
        if say:
            *lines, line = re.split(r"[\r\n]", (line + chunk.decode(errors="replace"))[-CHUNK:])
            for text, percent in map(parse.progress, [*lines, line]):
                if text:
                    say(text, percent)
    return bytes(kept), more


def leftovers(job: str) -> list[int]:
    """Return the ids of processes that a former process of the service started for a job."""
    wanted = f"{JOB_VARIABLE}={job}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if wanted in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
    return found
