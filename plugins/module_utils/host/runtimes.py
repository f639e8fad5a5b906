# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How services of each type are started, watched and asked on a host."""

from __future__ import annotations

import http.client
import json
import os
import re
import shlex
import ssl
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.devorch.orchestration.plugins.module_utils.host.container import State, verdict
from ansible_collections.devorch.orchestration.plugins.module_utils.host.deploy_plan import (
    COMPOSE,
    DOCKER,
    ENABLED,
    NONE,
    START,
    SYSTEMD,
    Need,
    Unit,
    WantedService,
    compose_file,
    compose_project,
    container_needs,
    docker_problem,
    unit_needs,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.host.hints import OTHER_LOGIN
from ansible_collections.devorch.orchestration.plugins.module_utils.host.service_files import File
from ansible_collections.devorch.orchestration.plugins.module_utils.http_session import REQUESTS_IMPORT_ERROR
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.client import Connection
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.health import (
    DOWN,
    Probe,
    host_addresses,
    is_on_this_host,
    wait_until_healthy,
)

# pylint: disable=ansible-bad-function ; AnsibleModule.run_command has no time limit.

ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
PROGRESS = re.compile(
    r"((Container|Network|Volume|Image) \S+|[\w.-]+) +(Creat|Recreat|Start|Stopp|Remov|Runn|Wait|Health|Pull)\w+"
)
TOO_MANY = re.compile(r"toomanyrequests|too many requests|\b429\b", re.IGNORECASE)
LIMITED = (
    "The registry has a limit of requests. Set docker_registry_auth to a login, or docker_registry_mirrors to a mirror,"
    " or try again later."
)
LOG_LINES = 30
LONGEST_ANSWER = 200

# Seconds.
INTERVAL = 1.0
LOOK = 60.0
STOP = 30
DOCKER_ANSWERS = 60.0
KESTRA_INTERVAL = 2.0

RESTARTS = 3
"""How many restarts by Docker or systemd mean that a service does not stay up."""

STARTS = 10
MISSING, TOO_LATE = 127, 124


class DeployError(Exception):
    """A service that can't be started, or a host that can't be asked; the message says why."""


@dataclass(frozen=True)
class Finished:
    """A command that has ended."""

    code: int
    output: str
    errors: str

    @property
    def said(self) -> str:
        """What it has printed, the errors first."""
        return f"{self.errors.strip()}\n{self.output.strip()}".strip()


class Host:
    """Runs commands, and knows the time."""

    def run(self, command: Sequence[str], timeout: float | None = None, *, merged: bool = False) -> Finished:
        """Run a command; C(merged) keeps the order of output and errors. A missing program ends with code 127."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("COMPOSE_")}
        environment |= {"NO_COLOR": "1", "LC_ALL": "C.UTF-8"}
        try:
            ended = subprocess.run(  # noqa: S603 - a list, without a shell
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT if merged else subprocess.PIPE,
                timeout=timeout,
                check=False,
                env=environment,
            )
        except subprocess.TimeoutExpired:
            return Finished(TOO_LATE, "", f"{command[0]} gave no answer within {timeout:g} s")
        except OSError as error:
            return Finished(MISSING, "", f"{command[0]}: {error.strerror}")
        output, errors = (
            ESCAPES.sub("", (part or b"").decode(errors="replace")) for part in (ended.stdout, ended.stderr)
        )
        return Finished(ended.returncode, output, errors)

    def monotonic(self) -> float:
        """Return seconds since some moment."""
        return time.monotonic()

    def time(self) -> float:
        """Return seconds since 1970."""
        return time.time()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


@dataclass(frozen=True)
class Started:
    """What a start has done: whether it changed anything, and whether what it started had been running before."""

    changed: bool = False
    restarted: bool = False


@dataclass
class Files:
    """Nothing but files, which their readers read by themselves; and what the other types have in common."""

    wanted: WantedService
    host: Host = field(default_factory=Host)
    checks: Sequence[Mapping[str, Any]] = ()
    log_command: Sequence[str] = ()
    committed_hash: str = ""
    waiting: str = field(default="", init=False)
    """Why it was not well yet when it was last looked at."""

    begun: float | None = field(default=None, init=False)
    """When it was started by this run, in seconds since 1970."""

    restarts: dict[str, int] = field(default_factory=dict, init=False)
    """How often what belongs to it had been restarted by others than this run, when it was first looked at."""

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.wanted.service

    @property
    def well(self) -> str:
        """What messages say about it if it is well; an empty string if there is nothing that runs."""
        return ""

    @property
    def more(self) -> str:
        """How a person sees more of its log."""
        return ""

    @property
    def shared(self) -> bool:
        """Whether others use it too. Then it must run again even if it never ran with files of this collection."""
        return False

    def differs(self) -> list[Need]:
        """Return what is to be done about what runs, apart from the files; changes nothing."""
        return []

    def derived(self, after: Iterable[Path], gone: Iterable[Path] = ()) -> dict[Path, File]:
        """Return files that follow from those of all services, once these are there and those are gone."""
        del after, gone
        return {}

    def start(self, changed: bool) -> Started:
        """Have it run with the files on the host, which have C(changed) or not; raise DeployError if that fails."""
        del changed
        return Started()

    def restored(self) -> None:
        """Note that the files on the host are no longer the wanted ones."""

    def stop(self) -> None:
        """Stop it until the next start; raise DeployError if that fails."""

    def wait(self, timeout: float) -> str:
        """Wait until it is well; return an empty string, or why it is not, before the time is over if it can't be."""
        begin = self.host.monotonic()
        while True:
            found = self.evaluate()
            if found is not None:
                return found
            if self.host.monotonic() - begin > timeout:
                return f"{self.waiting} after {timeout:g} s"
            self.host.sleep(INTERVAL)

    def evaluate(self) -> str | None:
        """Return an empty string if it is well, why it will never be, or None if that is open."""
        return ""

    def verify(self) -> str:
        """Use it; return an empty string, or what failed, before the time is over if it has ended."""
        return next((problem for check in self.checks if (problem := verified(check, self.host, self.evaluate))), "")

    def config_hash(self) -> str:
        """Return Compose's hash of the configuration of the container; an empty string if there is none."""
        return ""

    def log(self) -> str:
        """Return its last log lines."""
        command = self.log_command or self._usual_log()
        lines = self.host.run(command, LOOK, merged=True).output.strip().splitlines() if command else []
        return "\n".join(lines[-LOG_LINES:])

    def _usual_log(self) -> list[str]:
        return []


class Compose(Files):
    """A service of the Compose project."""

    @property
    def name(self) -> str:
        return self.wanted.container()

    @property
    def well(self) -> str:
        return "is healthy"

    @property
    def more(self) -> str:
        return f"docker compose logs {self.wanted.service} in {self.wanted.root}"

    def differs(self) -> list[Need]:
        needs = []
        for service in self._services():
            own = service == self.wanted.service
            try:
                state, dependency = self._state(service), self._dependency() if own else None
            except DeployError as error:
                return [Need(str(error), START)]
            image_id = self._image_id(state.image) if state else ""
            config_hash = self.committed_hash if own else ""
            name = self.wanted.container(service)
            needs += container_needs(name, state, dependency, self.host.time(), config_hash, image_id)
        return needs

    def derived(self, after: Iterable[Path], gone: Iterable[Path] = ()) -> dict[Path, File]:
        directory = Path(self.wanted.root) / "services"
        paths = {*directory.glob("*.yml"), *(path for path in after if path.parent == directory)} - set(gone)
        text = compose_project(self.wanted.project, (path.name for path in paths if path.suffix == ".yml"))
        return {Path(compose_file(self.wanted.root)): File(text.encode(), 0o644)}

    def start(self, changed: bool) -> Started:
        services = self._services()
        before = {service: self._state(service) for service in services}
        self.restarts.clear()
        # Compose starts nothing that needs an unhealthy container.
        for service in self.wanted.companions:
            self._restart_if_needed(service)
        command = ["up", "--detach", "--no-color", "--quiet-pull", *services]
        ended = self.host.run(["docker", "compose", "--project-directory", str(self.wanted.root), *command])
        if ended.code != 0:
            raise DeployError(f"docker compose up failed: {compose_error(ended)}")
        self._restart_if_needed(self.wanted.service, self._dependency())
        after = {service: self._state(service) for service in services}
        others = [service for service in services if not _same(before[service], after[service])]
        ran = [state for service in others if (state := before[service]) and state.status == "running"]
        return Started(bool(others), bool(ran))

    def restored(self) -> None:
        # The other file may lack them, and starts those that its service needs.
        self.wanted = replace(self.wanted, companions=())

    def stop(self) -> None:
        for service in self._services():
            name = self.wanted.container(service)
            ended = self.host.run(["docker", "stop", name])
            if ended.code != 0 and self._state(service) is not None:
                raise DeployError(f"{name}: Docker does not stop it: {ended.errors.strip()}")

    def evaluate(self) -> str | None:
        self.waiting = ""
        for service in self._services():
            state, name = self._state(service), self.wanted.container(service)
            first = self.restarts.setdefault(name, state.restarts) if state else 0
            found = verdict(state, first, RESTARTS)
            if found:
                return f"{name} {found}"
            if found is None:
                self.waiting = self.waiting or f"{name} is not healthy"
        return None if self.waiting else ""

    def config_hash(self) -> str:
        try:
            state = self._state()
        except DeployError:
            return ""
        return state.config_hash if state else ""

    def _usual_log(self) -> list[str]:
        return ["docker", "logs", "--tail", str(LOG_LINES), self.name]

    def _services(self) -> tuple[str, ...]:
        return self.wanted.service, *self.wanted.companions

    def _state(self, service: str = "") -> State | None:
        name = self.wanted.container(service)
        ended = self.host.run(["docker", "inspect", "--type", "container", name], LOOK)
        if ended.code == 0:
            return State.parse(json.loads(ended.output)[0])
        if not re.search("no such (container|object)", ended.errors, re.IGNORECASE):
            raise DeployError(f"{name}: Docker does not report its state: {ended.errors.strip()}")
        return None

    def _dependency(self) -> State | None:
        return self._state(self.wanted.depends_on) if self.wanted.depends_on else None

    def _image_id(self, reference: str) -> str:
        ended = self.host.run(["docker", "image", "inspect", "--format", "{{.Id}}", reference], LOOK)
        return ended.output.strip() if ended.code == 0 else ""

    def _restart_if_needed(self, service: str, dependency: State | None = None) -> None:
        """Restart a container if waiting is of no use; start it if Docker has stopped it and gone no further."""
        state, name = self._state(service), self.wanted.container(service)
        if not (state and state.needs_restart(dependency, self.host.time())):
            return
        ended = self.host.run(["docker", "restart", "--time", str(STOP), name])
        for _attempt in range(STARTS):
            if ended.code == 0:
                return
            self.host.sleep(INTERVAL)
            ended = self.host.run(["docker", "start", name])
        if ended.code != 0:
            raise DeployError(f"{name}: Docker does not restart it: {ended.errors.strip()}")


def _same(before: State | None, after: State | None) -> bool:
    """Return whether a container was neither made anew nor started again."""
    return before is not None and after is not None and (before.id, before.started) == (after.id, after.started)


class Systemd(Files):
    """Units of systemd."""

    @property
    def well(self) -> str:
        return "runs"

    @property
    def more(self) -> str:
        return shlex.join(["journalctl", *self._log_of()])

    def differs(self) -> list[Need]:
        return unit_needs(self.wanted.units, {name: unit for name, (unit, _more) in self._units().items()})

    def start(self, changed: bool) -> Started:
        self.begun = self.host.time()
        self.restarts.clear()
        # Units that were written a moment ago are unknown until then.
        if changed:
            self._systemctl("daemon-reload")
        units = self._units()
        active = [name for name in self.wanted.units if units[name][0].active == "active"]
        idle = [name for name in self.wanted.units if name not in active]
        disabled = [name for name in self.wanted.units if units[name][0].enabled not in ENABLED]
        if disabled:
            self._systemctl("enable", *disabled)
        if changed or idle:
            # What failed too often is not started any more. A unit that is not loaded makes this one fail.
            self.host.run(["systemctl", "reset-failed", *self.wanted.units], LOOK)
        for name in self.wanted.units if changed else idle:
            self._systemctl("restart" if changed else "start", name)
        return Started(bool(changed or idle or disabled), bool(changed and active))

    def evaluate(self) -> str | None:
        self.waiting = ""
        for name, (unit, more) in self._units().items():
            restarts = int(more.get("NRestarts") or 0)
            again = restarts - self.restarts.setdefault(name, restarts)
            if again >= RESTARTS:
                return f"{name} does not stay up: systemd restarted it {again} times"
            if unit.active in ("failed", "inactive"):
                return f"{name} is {unit.active} ({more.get('Result') or 'for no known reason'})"
            if unit.active != "active":
                self.waiting = f"{name} is {unit.active or 'not there'}"
        return None if self.waiting else ""

    def _usual_log(self) -> list[str]:
        since = [f"--since=@{int(self.begun)}"] if self.begun else []
        return ["journalctl", *self._log_of(), *since, "--lines", str(LOG_LINES), "--no-pager", "--output", "cat"]

    def _log_of(self) -> list[str]:
        return [part for name in self.wanted.units for part in ("--unit", name)]

    def _units(self) -> dict[str, tuple[Unit, dict[str, str]]]:
        """Return the units by name, each with what else systemd says about it."""
        found: dict[str, tuple[Unit, dict[str, str]]] = {name: (Unit(), {}) for name in self.wanted.units}
        properties = "--property=LoadState,ActiveState,UnitFileState,NRestarts,Result"
        ended = self.host.run(["systemctl", "show", properties, *self.wanted.units], LOOK)
        blocks = ended.output.strip().split("\n\n") if ended.code == 0 else []
        for name, block in zip(self.wanted.units, blocks, strict=False):
            values = {key: value for key, _sign, value in (line.partition("=") for line in block.splitlines())}
            states = (values.get(key, "") for key in ("LoadState", "ActiveState", "UnitFileState"))
            found[name] = Unit(*states), values
        return found

    def _systemctl(self, *arguments: str) -> None:
        ended = self.host.run(["systemctl", *arguments])
        if ended.code != 0:
            raise DeployError(f"systemctl {' '.join(arguments)} failed: {ended.said}")


class Docker(Systemd):
    """Docker's daemon."""

    @property
    def shared(self) -> bool:
        return True

    def differs(self) -> list[Need]:
        problem = self._problem()
        return [*super().differs(), *([Need(problem, NONE)] if problem else [])]

    def wait(self, timeout: float) -> str:
        del timeout
        deadline = self.host.monotonic() + DOCKER_ANSWERS
        while True:
            problem = self._problem()
            if not problem or self.host.monotonic() > deadline:
                return problem
            self.host.sleep(INTERVAL)

    def _log_of(self) -> list[str]:
        return ["--unit", "docker"]

    def _problem(self) -> str:
        engine = self._ask("version", "--format", "{{.Server.Version}}")
        return docker_problem(engine, self._ask("compose", "version", "--short"))

    def _ask(self, *arguments: str) -> str:
        ended = self.host.run(["docker", *arguments], LOOK)
        return ended.output.strip() if ended.code == 0 else ""


RUNTIMES: dict[str, type[Files]] = {COMPOSE: Compose, SYSTEMD: Systemd, DOCKER: Docker}


def runtime_of(
    wanted: WantedService,
    host: Host,
    checks: Sequence[Mapping[str, Any]] = (),
    log_command: Sequence[str] = (),
    committed_hash: str = "",
) -> Files:
    """Return the runtime of a service's type."""
    return RUNTIMES.get(wanted.type, Files)(wanted, host, checks, log_command, committed_hash)


def compose_error(ended: Finished) -> str:
    """Return what Compose says about a failure, without the lines about what went well before."""
    lines = [line.strip() for line in ended.said.splitlines() if line.strip()]
    found = "\n".join([line for line in lines if not PROGRESS.fullmatch(line)][-LOG_LINES:] or lines[-LOG_LINES:])
    return f"{found}\n{LIMITED}" if TOO_MANY.search(found) else found


def verified(check: Mapping[str, Any], host: Host, evaluate: Callable[[], str | None] = lambda: "") -> str:
    """Ask until the answer is right or the check's deadline is over; return an empty string, or what is wrong.

    C(evaluate) returns why what is asked will never answer, as soon as that is so.
    """
    seconds = float(check.get("deadline", LOOK))
    if check.get("kestra"):
        return _kestra(check["kestra"], seconds, host, evaluate)
    ask: Callable[[Mapping[str, Any], float, Host], str] = _command if check.get("command") else _url
    deadline = host.monotonic() + seconds
    while True:
        problem = ask(check, max(INTERVAL, deadline - host.monotonic()), host)
        if not problem:
            return ""
        ended = evaluate()
        if ended:
            return f"{problem}; {ended}"
        if host.monotonic() + INTERVAL > deadline:
            return problem
        host.sleep(INTERVAL)


def _command(check: Mapping[str, Any], limit: float, host: Host) -> str:
    ended = host.run(check["command"], limit)
    return f"{shlex.join(check['command'])} ended with code {ended.code}: {ended.said}" if ended.code else ""


def _url(check: Mapping[str, Any], limit: float, host: Host) -> str:
    """Ask at a URL, directly, and follow nothing."""
    del host
    url, accepted = str(check["url"]), [int(status) for status in check.get("status") or [200]]
    parts = urlsplit(url)
    timeout = min(float(check.get("timeout") or 5), limit)
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        context = ssl.create_default_context()
        if not check.get("validate_certs", True):
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        connection = http.client.HTTPSConnection(parts.hostname or "", parts.port, timeout=timeout, context=context)
    else:
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout)
    try:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request(
            "GET", target, headers={name: str(value) for name, value in (check.get("headers") or {}).items()}
        )
        response = connection.getresponse()
        body = response.read(LONGEST_ANSWER).decode(errors="replace").strip()
    except (OSError, http.client.HTTPException, ValueError) as error:
        return f"{url}: {error or type(error).__name__}"
    finally:
        connection.close()
    if response.status in accepted:
        return ""
    wanted = " or ".join(str(status) for status in accepted)
    return f"{url}: answers HTTP {response.status} instead of {wanted}{f': {body}' if body else ''}"


def _kestra(options: Mapping[str, Any], seconds: float, host: Host, evaluate: Callable[[], str | None]) -> str:
    if REQUESTS_IMPORT_ERROR is not None:
        return "Kestra can't be asked: the host's Python lacks requests. Install python3-requests"
    url, management_url = str(options["url"]), str(options["management_url"])

    def sleep(pause: float) -> None:
        host.sleep(pause)
        ended = evaluate()
        if ended:
            raise DeployError(f"Kestra at {url} does not answer; {ended}")

    closed_on = host_addresses() if is_on_this_host(management_url) else []
    probe = Probe(Connection(url, options.get("username"), options.get("password")), management_url, closed_on)
    try:
        waited = wait_until_healthy(probe, seconds, KESTRA_INTERVAL, sleep=sleep)
    except DeployError as error:
        return str(error)
    finally:
        probe.close()
    if waited.health.healthy:
        return ""
    reasons = [*waited.health.reasons, *([OTHER_LOGIN] if waited.health.credentials == DOWN else [])]
    return f"Kestra at {url} is not healthy after {waited.seconds:g} seconds: {'; '.join(reasons)}"
