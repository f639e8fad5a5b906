# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The only module that runs the multipass command line. It knows nothing of jobs beyond their id.

The exit codes are those of multipass' include/multipass/cli/return_codes.h: 0 success, 1 bad command line, 2 the
command failed, 3 the daemon is unreachable, 4 try again, 5 the client's time limit. `exec` returns the exit code of
the program in the instance instead.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import re
import secrets
import signal
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

from . import models, parse
from .problems import ApiError
from .settings import Settings

COMMAND_LINE, FAILED, UNREACHABLE, RETRY, TIMED_OUT = 1, 2, 3, 4, 5
HEALTH_SECONDS = 5.0
"""How long one check answers every GET /health, which needs no token."""
OLD_HEALTH_SECONDS = 30.0
PATIENCE_SECONDS = 0.5
"""How long a request waits for a new check if there is an old one."""
MAX_QUERIES = 4
"""How many queries may run at once, in addition to running changes."""
MAX_SESSIONS = 16
"""How many programs and transfers may run in instances at once."""
MAX_OUTPUT = 16 * models.MIB
MAX_STREAM = models.MIB
CHUNK = 65536
KILL_SECONDS = 5
"""How long to wait for a process that was killed."""
JOB_VARIABLE = "MULTIPASS_SIDECAR_JOB"
"""Set in the environment of a job's commands, so that a new process of the service finds those of an earlier one."""
OWN_VARIABLES = ("NOTIFY_SOCKET", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "CREDENTIALS_DIRECTORY")
LOCALE = {"LC_ALL": "C.UTF-8", "TZ": "UTC"}
"""The client shows times in the locale and the time zone of its user."""
RUN = (
    'mark=$1; cd -- "$2" || { printf "\\n%s cd\\n" "$mark" >&2; exit 1; }; shift 2;'
    ' (exec "$@"); code=$?; printf "\\n%s %d\\n" "$mark" "$code" >&2; exit "$code"'
)
"""How a program runs in an instance. Its arguments are only passed on, and the last line of the error output has its
exit code, which is not the client's. The client itself would put a directory and sudo into a command line of a shell.
"""
MARK_BYTES = 64
Value = TypeVar("Value")
Report = Callable[[str, int | None], None]


def error_text(stderr: str) -> str:
    """Return the error output of multipass in one line, at most 500 characters."""
    return " ".join(parse.ANSI.sub("", stderr).split())[-500:] or "no error message"


NOT_AUTHENTICATED = re.compile("not authenticated", re.IGNORECASE)
AUTHENTICATE = (
    "as root, run 'multipass set local.passphrase', and then 'multipass authenticate' as the user of this service, with"
    " the same passphrase"
)
"""What helps if another user was the first one to use multipass."""
KINDS: list[tuple[str, int, str]] = [
    (r"no such snapshot", 404, "snapshot-not-found"),
    (r"snapshot already exists", 409, "snapshot-exists"),
    (r"disk can only be expanded", 409, "disk-can-not-shrink"),
    (
        r"unable to find an? images?|unable to find images|too many images matching|image .* is not supported"
        r"|image .* not found|is not a supported alias|remote [\"'].*[\"'] is (unknown|not found)"
        r"|unsupported remote|no image",
        422,
        "image-not-found",
    ),
    (
        r"custom image .* does not exist|source path .* does not exist|invalid setting|invalid \w+ size"
        r"|invalid (instance|snapshot) name|invalid network options|requested disk .* below minimum"
        r"|automatic network configuration not available",
        422,
        "not-accepted",
    ),
    (r"instance [\"'].*[\"'] does not exist|reason: no such instance", 404, "instance-not-found"),
    (
        r"reason: instance|can only (clone|take snapshots of|restore snapshots of)|please stop instance"
        r"|cannot (shut down|start|suspend|restart|stop)\b|cannot delete snapshots of deleted instances"
        r"|in an unknown state|instance [\"'].*[\"'] is (deleted|not running|not stopped|suspended)|has children",
        409,
        "wrong-state",
    ),
    (r"already exists|is being prepared", 409, "instance-exists"),
]
"""What multipass 1.13 to 1.16 prints with exit code 2; tests/sidecar/messages.py has the whole texts."""


def failure(verb: str, code: int, stderr: str) -> ApiError:
    """Return the error for an exit code and the error output."""
    text = error_text(stderr)
    detail = f"multipass {verb} failed with exit code {code}: {text}"
    if NOT_AUTHENTICATED.search(text):
        return ApiError(503, "not-authenticated", f"{detail}; {AUTHENTICATE}")
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
        return ApiError(504, "timeout", f"{detail}; the daemon may still be working")
    return ApiError(503, "command-failed", detail)


def stdin_of(text: str) -> int:
    """Return the read end of a pipe that contains the whole text, so that no reader sees only a part of it."""
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
    """Kill a process and its children."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def not_none(value: Value | None) -> Value:
    """Return a value that cannot be None, such as a stream that was requested or a row that was just written."""
    if value is None:
        raise AssertionError("unexpected None")
    return value


class SharedCalls:
    """One call for all readers that need the same answer at the same time or shortly after."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._calls: dict[object, tuple[float, asyncio.Task[Any]]] = {}

    def invalidate(self) -> None:
        """Make every later reader get a new answer."""
        self._calls.clear()

    async def get(self, key: object, make: Callable[[], Awaitable[Value]]) -> Value:
        """Return the answer of a call that runs or has just ended, or of a new call."""
        now = time.monotonic()
        made, call = self._calls.get(key, (0.0, None))
        if call is None or (call.done() and (now - made > self._seconds or call.cancelled() or call.exception())):
            if len(self._calls) > 256:
                self._calls = {name: pair for name, pair in self._calls.items() if now - pair[0] <= self._seconds}

            async def run() -> Value:
                return await make()

            call = asyncio.create_task(run())
            self._calls[key] = (now, call)
        # A reader that is cancelled must not cancel the call of the others.
        answer: Value = await asyncio.shield(call)
        return answer


class Multipass:
    """All calls of multipass; one object per process."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._queries = asyncio.Semaphore(MAX_QUERIES)
        self._changes = asyncio.Semaphore(settings.max_parallel)
        self._sessions = 0
        self._shared = SharedCalls(settings.fresh)
        self._health_check: asyncio.Task[None] | None = None
        self._health: tuple[float, models.Health] | None = None

    def invalidate(self) -> None:
        """Make every later reader get a new answer."""
        self._shared.invalidate()

    async def instances(self) -> list[models.Instance]:
        """Return all instances, sorted by name."""
        return await self._shared.get("list", lambda: self._query(parse.listed, "list"))

    async def find(self, name: str) -> models.Instance | None:
        """Return an instance as `list` shows it, or None."""
        return next((item for item in await self.instances() if item.name == name), None)

    async def require(self, name: str) -> models.Instance:
        """Return an instance as `list` shows it; raise ApiError 404 if it does not exist."""
        found = await self.find(name)
        if found is None:
            raise ApiError(404, "instance-not-found", f'instance "{name}" does not exist')
        return found

    async def info(self, name: str) -> models.InstanceDetail:
        """Return one instance; raise ApiError 404 if it does not exist."""
        read: Callable[[str], models.InstanceDetail] = lambda text: parse.detail(text, name)  # noqa: E731
        return await self._shared.get(("info", name), lambda: self._query(read, "info", name))

    async def snapshots(self, name: str) -> list[models.Snapshot]:
        """Return the snapshots of an instance; raise ApiError 404 if it does not exist."""
        await self.require(name)
        read: Callable[[str], list[models.Snapshot]] = lambda text: parse.snapshots(text, name)  # noqa: E731
        return await self._shared.get(("snapshots", name), lambda: self._query(read, "info", "--snapshots", name))

    async def images(self, query: str | None) -> list[models.ImageShown]:
        """Return the images that can be launched, or those that match a query."""
        more = [] if query is None else [query]
        return await self._shared.get(("find", query), lambda: self._query(parse.images, "find", *more))

    async def networks(self) -> list[models.NetworkShown]:
        """Return the host's networks."""
        return await self._shared.get("networks", lambda: self._query(parse.networks, "networks"))

    async def version(self) -> tuple[str, str | None]:
        """Return the versions of the client and of the daemon."""
        return await self._shared.get("version", lambda: self._query(parse.version, "version"))

    async def get(self, key: str) -> str:
        """Return a setting of multipass."""

        async def read() -> str:
            async with self._queries:
                return (await self._run("get", key, timeout=self._settings.query_timeout)).strip()

        return await self._shared.get(("get", key), read)

    async def size(self, name: str) -> models.InstanceSize:
        """Return the configured size of an instance; raise ApiError 404 if it does not exist."""
        await self.require(name)
        cpus, memory, disk = await asyncio.gather(
            *(self.get(f"local.{name}.{key}") for key in ("cpus", "memory", "disk"))
        )
        try:
            return models.InstanceSize(cpus=int(cpus), memory=parse.human_size(memory), disk=parse.human_size(disk))
        except (ValueError, parse.ParseError) as error:
            raise ApiError(503, "bad-output", f"multipass get did not print a size: {error}") from error

    async def health(self) -> models.Health:
        """Return whether multipass and its daemon answer. Never raises ApiError."""
        if self._health is None or time.monotonic() - self._health[0] > HEALTH_SECONDS:
            if self._health_check is None or self._health_check.done():
                self._health_check = asyncio.create_task(self._renew_health())
            # A multipass that takes long does not hold up who asks, as long as the last answer is not too old.
            old = self._health is not None and time.monotonic() - self._health[0] < OLD_HEALTH_SECONDS
            await asyncio.wait([self._health_check], timeout=PATIENCE_SECONDS if old else None)
        return not_none(self._health)[1]

    async def _renew_health(self) -> None:
        found = await self._check_health()
        self._health = (time.monotonic(), found)

    async def _check_health(self) -> models.Health:
        limit = min(5.0, self._settings.query_timeout)
        try:
            version, daemon = await self._query(parse.version, "version", timeout=limit)
        except ApiError as error:
            return models.Health(status="degraded", multipass=models.MultipassHealth(reason=error.detail))
        if not daemon:
            reason = "the multipass client works, but its daemon does not answer"
            return models.Health(status="degraded", multipass=models.MultipassHealth(version=version, reason=reason))
        return models.Health(status="ok", multipass=models.MultipassHealth(version=version, daemon_version=daemon))

    async def change(
        self, job_id: str, report: Report, verb: str, *arguments: str, timeout: float, stdin: str | None = None
    ) -> None:
        """Run a command that changes something, for a job, and report its progress.

        `timeout` is in seconds from the start of the command. Raise ApiError unless the exit code is 0.
        """
        async with self._changes:
            try:
                await self._run(verb, *arguments, timeout=timeout, stdin=stdin, job_id=job_id, report=report)
            finally:
                self.invalidate()

    async def _query(
        self, read: Callable[[str], Value], verb: str, *arguments: str, timeout: float | None = None
    ) -> Value:
        async with self._queries:
            text = await self._run(
                verb, "--format=json", *arguments, timeout=self._settings.query_timeout if timeout is None else timeout
            )
        try:
            return read(text)
        except parse.ParseError as error:
            raise ApiError(503, "bad-output", f"multipass {verb} printed {error}") from error

    @contextlib.asynccontextmanager
    async def _process(
        self, *command: str, job_id: str = "", **streams: Any
    ) -> AsyncIterator[asyncio.subprocess.Process]:
        """Start multipass, never through a shell. At the end, kill it and its children if they still run."""
        environment = {name: value for name, value in os.environ.items() if name not in OWN_VARIABLES} | LOCALE
        if job_id:
            environment[JOB_VARIABLE] = job_id
        pipe = asyncio.subprocess.PIPE
        streams = {"stdin": asyncio.subprocess.DEVNULL, "stdout": pipe, "stderr": pipe} | streams
        try:
            process = await asyncio.create_subprocess_exec(
                self._settings.multipass, *command, start_new_session=True, env=environment, **streams
            )
        except OSError as error:
            problem = f"{self._settings.multipass} cannot be run: {error.strerror}"
            detail = f"{problem}; install multipass, or correct its path"
            raise ApiError(503, "multipass-missing", detail) from error
        try:
            yield process
        finally:
            if process.returncode is None:
                kill(process)
                # asyncio sees the end of a process only after its pipes were read to their end.
                rest = [drain(stream, 0) for stream in (process.stdout, process.stderr) if stream]
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(asyncio.gather(process.wait(), *rest), KILL_SECONDS)

    async def _run(
        self,
        verb: str,
        *arguments: str,
        timeout: float,
        stdin: str | None = None,
        job_id: str = "",
        report: Report | None = None,
    ) -> str:
        """Run multipass and return its standard output."""
        reading = None if stdin is None else stdin_of(stdin)
        try:
            streams = {} if reading is None else {"stdin": reading}
            async with self._process(verb, *arguments, job_id=job_id, **streams) as process:
                try:
                    async with asyncio.timeout(timeout):
                        (output, more), (errors, _cut), _done = await asyncio.gather(
                            drain(not_none(process.stdout), MAX_OUTPUT, report, stop=lambda: kill(process)),
                            drain(not_none(process.stderr), CHUNK),
                            process.wait(),
                        )
                except TimeoutError as error:
                    detail = f"multipass {verb} did not end within {timeout:g} s; the daemon may still be working"
                    raise ApiError(504, "timeout", detail) from error
        finally:
            if reading is not None:
                os.close(reading)
        if more:
            raise ApiError(503, "bad-output", f"multipass {verb} printed more than {MAX_OUTPUT} bytes")
        if process.returncode != 0:
            raise failure(verb, process.returncode or 0, errors.decode(errors="replace"))
        return output.decode(errors="replace")

    @contextlib.contextmanager
    def _session(self) -> Any:
        if self._sessions >= MAX_SESSIONS:
            raise ApiError(503, "busy", f"{MAX_SESSIONS} programs and transfers are running; try again later")
        self._sessions += 1
        try:
            yield
        finally:
            self._sessions -= 1

    async def _require_running(self, name: str) -> None:
        """Raise ApiError unless an instance runs; multipass itself would start it."""
        found = await self.require(name)
        if found.state != "Running":
            raise ApiError(409, "wrong-state", f"instance {name} is {found.state}; start it first")

    def _late(self) -> str:
        return f"the transfer did not end within {self._settings.launch_timeout:g} s"

    async def execute(self, name: str, request: models.Execute) -> models.Executed:
        """Run a program in an instance."""
        await self._require_running(name)
        mark = secrets.token_hex(16)
        command = ["sh", "-c", RUN, "sh", mark, request.working_directory or ".", *request.argv]
        with self._session():
            timed_out = False
            async with self._process("exec", "--no-map-working-directory", name, "--", *command) as process:
                streams = [bytearray(), bytearray()]
                tail = bytearray()
                readers = asyncio.gather(
                    drain(not_none(process.stdout), MAX_STREAM, into=streams[0]),
                    drain(not_none(process.stderr), MAX_STREAM + MARK_BYTES, into=streams[1], tail=tail),
                )
                try:
                    async with asyncio.timeout(request.timeout):
                        (_output, first), (_errors, second) = await readers
                        await process.wait()
                    truncated = first or second
                except TimeoutError:
                    timed_out, truncated = True, any(len(part) >= MAX_STREAM for part in streams)
        pattern = re.compile(rb"\n%s (cd|\d+)\n" % mark.encode())
        found = pattern.search(bytes(tail))
        output, errors = bytes(streams[0]), pattern.sub(b"", bytes(streams[1]))
        truncated = truncated or len(errors) > MAX_STREAM
        if not timed_out:
            if found is None:
                raise exec_failure(process.returncode or 0, errors)
            if found[1] == b"cd":
                detail = f"working_directory: the user of the instance cannot use {request.working_directory}; check it"
                raise ApiError(422, "not-accepted", detail)
        return models.Executed(
            exit_code=None if timed_out or found is None else int(found[1]),
            stdout=output.decode(errors="replace"),
            stderr=errors[:MAX_STREAM].decode(errors="replace"),
            truncated=truncated,
            timed_out=timed_out,
        )

    async def send_file(self, name: str, path: str, chunks: AsyncIterator[bytes]) -> None:
        """Write a file in an instance from a stream."""
        await self._require_running(name)
        with self._session():
            async with self._process("transfer", "-", f"{name}:{path}", stdin=asyncio.subprocess.PIPE) as process:
                stdin = not_none(process.stdin)
                ended = asyncio.create_task(drain(not_none(process.stderr), CHUNK))
                output = asyncio.create_task(drain(not_none(process.stdout), CHUNK))
                try:
                    async with asyncio.timeout(self._settings.launch_timeout):
                        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                            async for chunk in chunks:
                                stdin.write(chunk)
                                await stdin.drain()
                            stdin.close()
                        errors, _cut = await ended
                        await output
                        await process.wait()
                except TimeoutError as error:
                    raise ApiError(504, "timeout", f"{self._late()}; the file is incomplete") from error
                finally:
                    await cancel(ended, output)
        if process.returncode != 0:
            raise transfer_failure(process.returncode or 0, errors)

    async def receive_file(self, name: str, path: str) -> AsyncGenerator[bytes]:
        """Read a file of an instance as a stream. An error at the beginning is raised with the first piece."""
        await self._require_running(name)
        with self._session():
            async with self._process("transfer", f"{name}:{path}", "-") as process:
                stdout = not_none(process.stdout)
                ended = asyncio.create_task(drain(not_none(process.stderr), CHUNK))
                deadline = time.monotonic() + self._settings.launch_timeout
                try:
                    # Not asyncio.timeout: another task may continue the generator.
                    while chunk := await asyncio.wait_for(stdout.read(CHUNK), deadline - time.monotonic()):
                        yield chunk
                    errors, _cut = await asyncio.wait_for(ended, max(1.0, deadline - time.monotonic()))
                    await asyncio.wait_for(process.wait(), max(1.0, deadline - time.monotonic()))
                except TimeoutError as error:
                    raise ApiError(504, "timeout", self._late()) from error
                finally:
                    await cancel(ended)
        if process.returncode != 0:
            raise transfer_failure(process.returncode or 0, errors)


async def cancel(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks and wait for their end."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def exec_failure(code: int, errors: bytes) -> ApiError:
    """Return the error for a client that ended without the exit code of the program."""
    text = errors.decode(errors="replace")
    if text.startswith(("exec failed: ", "error: ")):
        found = failure("exec", code, text)
        if found.kind != "command-failed":
            return found
    detail = f"multipass exec ended with exit code {code} and without that of the program: {error_text(text)}"
    return ApiError(503, "exec-unknown", f"{detail}; whether the program ran is unknown")


def transfer_failure(code: int, errors: bytes) -> ApiError:
    """Return the error for a failed transfer. Most are caused by the path."""
    found = failure("transfer", code, errors.decode(errors="replace"))
    if code in (COMMAND_LINE, FAILED) and "no such file" in found.detail.lower():
        return ApiError(404, "file-not-found", found.detail)
    if code in (COMMAND_LINE, FAILED) and found.kind in ("command-failed", "not-accepted"):
        return ApiError(409, "transfer-failed", found.detail)
    return found


async def drain(
    stream: asyncio.StreamReader,
    limit: int,
    report: Report | None = None,
    *,
    stop: Callable[[], None] | None = None,
    into: bytearray | None = None,
    tail: bytearray | None = None,
) -> tuple[bytes, bool]:
    """Read a stream to its end; return its first `limit` bytes, and whether there were more.

    `stop` is called as soon as there are more. Each line is reported when it arrives. `tail` gets the last bytes.
    """
    kept = bytearray() if into is None else into
    more, line = False, ""
    while chunk := await stream.read(CHUNK):
        room = limit - len(kept)
        kept += chunk[:room]
        if tail is not None:
            tail[:] = (tail + chunk)[-CHUNK:]
        if len(chunk) > room:
            if stop and not more:
                stop()
            more = True
        # Reading buffered data does not yield to other tasks.
        await asyncio.sleep(0)
        if report:
            *lines, line = re.split(r"[\r\n]", (line + chunk.decode(errors="replace"))[-CHUNK:])
            for text, percent in map(parse.progress, [*lines, line]):
                if text:
                    report(text, percent)
    return bytes(kept), more


def leftover_processes(job_id: str) -> list[int]:
    """Return the ids of processes that an earlier process of the service started for a job."""
    marker = f"{JOB_VARIABLE}={job_id}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if marker in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
    return found
