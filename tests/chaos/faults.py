"""What goes wrong while a playbook changes a host, each by lot.

The machine's clock is not moved, since containers share it with everything else here: files get other dates instead,
which is all that a moved clock means to the collection (its locks count from the host's start).
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..system.conftest import PRINTED, ROOT, Host, Run
from ..system.data import ROOT as KEPT

CHANGES: list[dict[str, Any]] = [
    {"orchestration_log_max_file": 4},
    {"postgres_max_connections": 90},
    {"sidecar_query_timeout": 31},
    {"kestra_log_level": "WARN"},
    {"kestra_worker_threads": 4},
    {"kestra_envs": {"chaos": "true"}},
    {"n8n_task_timeout": 200},
    {"n8n_timezone": "Europe/Berlin"},
    {"orchestration_log_max_size": "9m", "n8n_execution_max_age": 300, "kestra_database_pool_size": 9},
]
"""Valid changes, from which one is drawn for each run."""


class Playing:
    """A run of site.yml in the background."""

    def __init__(self, host: Host, directory: Path, variables: dict[str, Any], name: str = "first") -> None:
        self.host = host
        place = directory / name
        place.mkdir()
        self.inventory = str(host.inventory({host.name: variables}, place))
        self.output = place / "output"
        with self.output.open("w") as stream:
            self.process = subprocess.Popen(
                ["ansible-playbook", "playbooks/site.yml", "--inventory", self.inventory, "--diff"],
                cwd=ROOT,
                stdout=stream,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def end(self, limit: int = 1500) -> Run:
        """Wait for it and return what it printed."""
        code = self.process.wait(limit)
        run = Run(self.host.name, "site.yml", code, self.output.read_text("utf-8", errors="replace"))
        PRINTED.append(run)
        return run

    def clear(self) -> None:
        """End the workers that a killed controller has left: they name this run's inventory, as nothing else does."""
        for file in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                if self.inventory in os.fsdecode(file.read_bytes()):
                    os.kill(int(file.parent.name), signal.SIGKILL)


@dataclass
class Stage:
    """What a fault may use: the host, a lot, the change to apply, and how long a run usually takes, in seconds."""

    host: Host
    lot: random.Random
    change: dict[str, Any]
    usual: float
    directory: Path
    playing: list[Playing] = field(default_factory=list)

    def play(self, change: dict[str, Any] | None = None, name: str = "first") -> Playing:
        self.playing.append(Playing(self.host, self.directory, self.change if change is None else change, name))
        return self.playing[-1]

    def wait(self) -> float:
        """Wait for a moment of the run; return it."""
        moment = self.lot.uniform(0, self.usual)
        time.sleep(moment)
        return moment


def controller_killed(stage: Stage) -> str:
    """Kill ansible-playbook; its worker goes on with its task, or is killed as well."""
    playing = stage.play()
    moment = stage.wait()
    whole = stage.lot.random() < 0.5
    if playing.process.poll() is None:
        (os.killpg if whole else os.kill)(playing.process.pid, signal.SIGKILL)
    playing.end()
    return f"killed {'with its workers ' if whole else ''}after {moment:.0f} s"


def container_killed(stage: Stage) -> str:
    playing = stage.play()
    moment = stage.wait()
    name = stage.lot.choice(["postgres", "kestra", "n8n"])
    stage.host.shell(f"docker kill orchestration-{name}-1", check=False)
    run = playing.end()
    return f"{name} killed after {moment:.0f} s, the run ended with {run.code}"


def postgres_stopped(stage: Stage) -> str:
    seconds = stage.lot.randint(30, 150)
    stage.host.shell("docker stop orchestration-postgres-1")
    playing = stage.play() if stage.lot.random() < 0.5 else None
    time.sleep(seconds)
    return f"PostgreSQL stopped for {seconds} s" + (f", the run ended with {playing.end().code}" if playing else "")


def disk_full(stage: Stage) -> str:
    """Move the data to a file system of their size, fill it, and run; then give the space back."""
    host, data, small = stage.host, f"{KEPT}/data", "/run/small"
    stop = f"docker compose --project-directory {KEPT} stop --timeout 60"
    host.shell(
        f"{stop} && mkdir {small} && size=$(($(du -sk {data} | cut -f1) + 65536))"
        f" && mount -t tmpfs -o size=${{size}}k,mode=0700 small {small} && cp -a {data}/. {small}/"
        f" && mount --bind {small} {data}"
    )
    try:
        host.shell(f"docker compose --project-directory {KEPT} start; cat /dev/zero > {data}/filler", check=False)
        run = stage.play().end()
    finally:
        host.shell(
            f"rm {data}/filler; {stop}; umount {data} && find {data} -mindepth 1 -delete && cp -a {small}/. {data}/"
            f" && umount {small} && rmdir {small}"
        )
    return f"data volume full, the run ended with {run.code}"


def registry_away(stage: Stage) -> str:
    host = stage.host
    address = host.shell("getent hosts registry | cut -d' ' -f1")
    host.shell(f"ip route add blackhole {address}")
    try:
        run = stage.play().end()
    finally:
        host.shell(f"ip route del blackhole {address}")
    return f"registry away, the run ended with {run.code}"


def dates_moved(stage: Stage) -> str:
    playing = stage.play()
    moment = stage.wait()
    date = stage.lot.choice(["2035-01-01", "2001-01-01"])
    stage.host.shell(
        f"find /run/orchestration.lock {KEPT} /etc/docker/daemon.json /var/lib/apt/periodic /var/lib/apt/lists"
        f" -path {KEPT}/data -prune -o -exec touch --date {date} {{}} + 2>/dev/null || true"
    )
    run = playing.end()
    return f"dates of all files set to {date} after {moment:.0f} s, the run ended with {run.code}"


def host_restarted(stage: Stage) -> str:
    playing = stage.play()
    moment = stage.wait()
    stage.host.run("docker", "restart", stage.host.name, about="about 20 s").succeeded()
    run = playing.end()
    stage.host.wait("the host has started again", stage.host.up, 180)
    return f"host restarted after {moment:.0f} s, the run ended with {run.code}"


def two_controllers(stage: Stage) -> str:
    first = stage.play()
    time.sleep(stage.lot.uniform(0, stage.usual / 2))
    second = stage.play(stage.lot.choice(CHANGES), "second")
    codes = sorted([first.end().code, second.end().code])
    texts = [" ".join(playing.output.read_text("utf-8").split()) for playing in (first, second)]
    refused = ["has been working on this host for" in text for text in texts]
    assert codes[0] == 0, texts
    assert codes[1] == 0 or sum(refused) == 1, texts
    return f"two controllers, {'one was refused' if any(refused) else 'one after the other'}"


FAULTS: list[Callable[[Stage], str]] = [
    controller_killed,
    container_killed,
    two_controllers,
    host_restarted,
    postgres_stopped,
    controller_killed,
    registry_away,
    dates_moved,
    disk_full,
    controller_killed,
]
"""The kinds of faults, the most likely one more than once; each run has the one of its seed."""
