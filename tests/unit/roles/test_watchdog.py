"""The watchdog's script, with a stand-in for Docker: when it restarts containers, and how little it does otherwise."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from pathlib import Path

import pytest
from jinja2 import Environment, StrictUndefined

TEMPLATES = Path(__file__).parents[3] / "roles" / "postgres" / "templates"
# Each answer is a file. One that begins with ! is an error. The answers of `start` are used one by one.
DOCKER = r"""#!/bin/sh
echo "$*" >>"$STATE/calls"
case "$*" in
*FailingStreak*) answer=streak ;;
*State.Health*) answer=postgres ;;
*.Name*) echo /name-of-"$4"; exit 0 ;;
*) answer=$1 ;;
esac
case $1 in
start)
  line=$(head -n 1 "$STATE/start")
  sed -i 1d "$STATE/start"
  ;;
*) line=$(cat "$STATE/$answer") ;;
esac
case $line in
!*) echo "$line" >&2; exit 1 ;;
esac
[ -z "$line" ] || echo "$line"
"""


def render(name: str, folder: Path, database: dict[str, object] | None = None) -> str:
    """Return a template as Ansible renders it."""
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, keep_trailing_newline=True)  # noqa: S701
    return environment.from_string((TEMPLATES / name).read_text("utf-8")).render(
        ansible_managed="Ansible managed",
        orchestration_root="/opt/orchestration",
        orchestration_project="orchestration",
        orchestration_external_database=bool(database),
        orchestration_database=database or {},
        orchestration_lock=str(folder / "run" / "orchestration.lock"),
        orchestration_backup_pause=str(folder / "paused.json"),
        orchestration_backup_lock=str(folder / "run" / "backup.lock"),
    )


class Host:
    """A host on which nothing is unhealthy, with its lock and a record of the calls of Docker."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lock = folder / "run" / "orchestration.lock"
        self.lock.parent.mkdir()
        self.write("docker", DOCKER)
        self.write("sleep", '#!/bin/sh\necho "$1" >>"$STATE/pauses"\n')
        self.write("watchdog", render("orchestration-watchdog.sh.j2", folder))
        self.answer(ps="", postgres="healthy", restart="", streak="2")

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.write_text(text)
        path.chmod(0o755)

    def answer(self, **answers: str) -> None:
        """Set the answers of Docker."""
        for name, text in answers.items():
            (self.folder / name).write_text(f"{text}\n")

    def run(self) -> subprocess.CompletedProcess[str]:
        """Run the watchdog once."""
        environment = os.environ | {"PATH": f"{self.folder}:{os.environ['PATH']}", "STATE": str(self.folder)}
        command = [str(self.folder / "watchdog")]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)

    def calls(self, verb: str = "") -> list[str]:
        """Return the calls of Docker that begin with a word."""
        return [line for line in (self.folder / "calls").read_text().splitlines() if line.startswith(verb)]


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


@pytest.mark.parametrize("held", [False, True])
def test_docker_is_called_only_once_if_nothing_is_unhealthy(host: Host, held: bool) -> None:
    if held:
        host.lock.touch()
    result = host.run()
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert host.calls() == [
        "ps --quiet --filter health=unhealthy --filter label=com.docker.compose.project=orchestration"
        " --filter label=orchestration.restart-when-unhealthy=true"
    ]


def test_unhealthy_containers_are_restarted(host: Host) -> None:
    host.answer(ps="one\ntwo")
    result = host.run()
    assert result.returncode == 0 and result.stderr == ""
    assert result.stdout.splitlines() == [f"restarting the unhealthy container /name-of-{id}" for id in ("one", "two")]
    assert host.calls("restart") == ["restart --time 30 one", "restart --time 30 two"]
    assert host.calls("start") == []


def test_a_container_that_was_paused_is_not_restarted(host: Host) -> None:
    """Docker calls it unhealthy until its next check, which may be two minutes later."""
    host.answer(ps="one", streak="0")
    assert host.run().returncode == 0
    assert host.calls("restart") == []


@pytest.mark.parametrize(("minutes", "restarts"), [(0, 0), (14, 0), (16, 1)])
def test_watchdog_does_nothing_while_a_playbook_renews_the_host_lock(host: Host, minutes: int, restarts: int) -> None:
    host.answer(ps="one")
    host.lock.touch()
    os.utime(host.lock, (0, time.time() - minutes * 60))
    result = host.run()
    assert (result.returncode, result.stderr) == (0, "")
    assert len(host.calls("restart")) == restarts
    assert restarts or len(host.calls()) == 1


@pytest.mark.parametrize("health", ["unhealthy", "starting", "", "! No such container"])
def test_nothing_is_restarted_while_postgres_is_not_healthy(host: Host, health: str) -> None:
    host.answer(ps="one", postgres=health)
    result = host.run()
    assert (result.returncode, result.stdout) == (0, "")
    assert len(host.calls()) == 2 and host.calls("restart") == []


@pytest.mark.parametrize("answers", [True, False])
def test_nothing_is_restarted_while_an_external_postgres_does_not_answer(host: Host, answers: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        if not answers:
            server.close()
        database: dict[str, object] = {"host": "127.0.0.1", "port": port}
        host.write("watchdog", render("orchestration-watchdog.sh.j2", host.folder, database))
        host.answer(ps="one", postgres="! No such container")
        result = host.run()
    assert (result.returncode, result.stderr) == (0, "")
    assert len(host.calls("restart")) == answers


def test_watchdog_succeeds_if_docker_does_not_answer(host: Host) -> None:
    host.answer(ps="! Cannot connect to the Docker daemon")
    assert host.run().returncode == 0
    assert len(host.calls()) == 1


@pytest.mark.parametrize(
    ("starts", "pauses", "code"),
    [("one", "5", 0), ("! no\n! no\none", "5 10 20", 0), ("! no\n! no\n! no\n! no", "5 10 20 30", 1)],
)
def test_container_is_started_if_a_failed_restart_stopped_it(host: Host, starts: str, pauses: str, code: int) -> None:
    host.answer(ps="one\ntwo", restart="! no", start=f"{starts}\ntwo" if not code else starts)
    if code:
        host.answer(ps="one")
    assert host.run().returncode == code
    assert (host.folder / "pauses").read_text().split()[: len(pauses.split())] == pauses.split()
    assert host.calls("start")[0] == "start one"
    assert len(host.calls("start")) == len(pauses.split()) + (not code)


def test_unit_runs_the_script_and_is_quiet_when_idle(tmp_path: Path) -> None:
    unit = render("orchestration-watchdog.service.j2", tmp_path).splitlines()
    assert {"ExecStart=/opt/orchestration/bin/orchestration-watchdog", "LogLevelMax=notice"} <= set(unit)
    assert "OnUnitInactiveSec=30s" in render("orchestration-watchdog.timer.j2", tmp_path).splitlines()
