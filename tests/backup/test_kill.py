"""The program is killed with SIGKILL at seeded moments. The next command puts everything right, and nothing is lost."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.sampling import SEED, sample

from .host import KEEP, Host, next_second

KILLING = str(Path(__file__).with_name("killing"))
EACH = 12
SAMPLE = 3
# How far into the run the moments begin: a run that forgets does so at its end.
COMMANDS: dict[str, tuple[tuple[str, ...], float]] = {
    "create": (("create",), 0.0),
    "copy": (("copy",), 0.0),
    "forget": (("create",), 0.6),
    "restore": (("restore",), 0.0),
    "verify": (("verify",), 0.0),
}


@dataclass(frozen=True)
class Moment:
    """When the program is killed: at one of the lines that it executes, or at a time."""

    command: str
    number: int
    by_line: bool
    fraction: float
    """Of all lines, or of the time of a run that is not killed."""
    group: bool
    """Whether all that it started is killed too, as systemd does."""
    thaw: bool
    """Whether the unit's thaw runs before the next command."""

    def __str__(self) -> str:
        return f"{self.command}-{self.number}-{'line' if self.by_line else 'time'}-{self.fraction:.2f}"


def moments() -> list[Moment]:
    """Return the moments of this seed, for each command in turn."""
    chance = random.Random(SEED)
    found = []
    for number in range(EACH):
        for command, (_arguments, first) in COMMANDS.items():
            fraction = first + (1 - first) * chance.random()
            by_line = number % 3 != 2
            found.append(Moment(command, number, by_line, fraction, chance.random() < 0.5, chance.random() < 0.5))
    return found


class Prepared:
    """A host with two stores and three backups, one of which the second store lacks."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.host = directory, Host(directory)
        host = self.host.make(stores=("local", "second"), keep=KEEP)
        for text in ("first", "second backup"):
            host.change(text)
            host.run("create", "--reason", "manual")
            if text == "first":
                host.cheapen()
            next_second()
        both = host.setting("targets")
        host.configure(both[:1])
        host.change("third backup")
        self.backup = host.run("create", "--reason", "manual")["backup"]
        host.configure(both)
        self.saved = host.content()
        host.change("not in a backup yet")
        self.present = host.content()
        assert host.left_behind() == []
        host.keep_base()
        self.good = {name: host.complete(name) for name in ("local", "second")}
        assert {name: len(found) for name, found in self.good.items()} == {"local": 3, "second": 2}
        self.costs: dict[str, tuple[float, int]] = {}

    def go_back(self, command: str) -> None:
        """Put everything back. A run that forgets has something to forget in each store."""
        self.host.go_back()
        if command == "forget":
            keep = KEEP | {"manual": 3}
            self.host.configure([target | {"keep": keep} for target in self.host.setting("targets")])

    def arguments(self, command: str) -> tuple[str, ...]:
        """Return the arguments of a command."""
        found = COMMANDS[command][0]
        return (*found, "--reason", "manual") if found == ("create",) else found

    def cost(self, command: str) -> tuple[float, int]:
        """Return the seconds and the lines of a run that is not killed."""
        if command not in self.costs:
            self.go_back(command)
            counted = self.directory / "lines"
            started = time.monotonic()
            self.host.run(*self.arguments(command), PYTHONPATH=KILLING, DEVORCH_KILL_COUNT=str(counted))
            self.costs[command] = (time.monotonic() - started, int(counted.read_text()))
            assert self.host.left_behind() == []
        return self.costs[command]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return Prepared(tmp_path_factory.mktemp("host"))


def run_and_kill(base: Prepared, moment: Moment) -> None:
    """Run the command and kill it."""
    seconds, lines = base.cost(moment.command)
    base.go_back(moment.command)
    more: dict[str, str] = {}
    if moment.by_line:
        more = {"PYTHONPATH": KILLING, "DEVORCH_KILL_LINE": str(1 + int(moment.fraction * lines))}
    program = base.host.begin(*base.arguments(moment.command), **more)
    try:
        program.communicate(timeout=120 if moment.by_line else moment.fraction * seconds)
    except subprocess.TimeoutExpired:
        program.kill()
    if moment.group and program.returncode != 0:
        # What is left of the group; it may be empty.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(program.pid, signal.SIGKILL)
    program.communicate(timeout=30)


@pytest.mark.parametrize("moment", sample(moments(), SAMPLE), ids=str)
def test_kill(moment: Moment, base: Prepared) -> None:
    host = base.host
    run_and_kill(base, moment)
    if moment.thaw:
        host.run("thaw")
        assert [problem for problem in host.left_behind() if "paused" in problem] == []
    # No backup is lost, whatever the moment is: a run that forgets removes only what its rules say.
    check_good(host, base, moment)
    next_second()
    if moment.command == "restore":
        host.run("recover")
        # The whole state is the former one, or that of the backup.
        assert host.content() in (base.present, base.saved)
    made = host.run("create", "--reason", "manual")
    assert host.left_behind() == []
    assert all(target["ok"] for target in made["targets"]), made
    check_good(host, base, moment)
    host.check_stores()
    for name in base.good:
        assert made["backup"] in host.complete(name)
    # The backup that was good before is good now, to its last file.
    if moment.command != "forget":
        host.run("restore", base.backup)
        assert host.content() == base.saved
        assert host.left_behind() == []


def check_good(host: Host, base: Prepared, moment: Moment) -> None:
    """See that the backups of before are there, except for those that had to go."""
    for name, good in base.good.items():
        here = host.complete(name)
        if moment.command != "forget":
            assert good <= here, name
        else:
            every: Any = sorted(here | good | base.good["local"])
            assert set(every[-3:]) & good <= here, name
            # Until a new backup is there, nothing goes.
            assert len(here) >= len(good), name
