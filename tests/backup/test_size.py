"""Many small files and one huge sparse one: memory is bounded, time is linear, and a second backup is quick."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tests.sampling import LONG
from tests.unit.roles.backup_program import PROGRAM

from .host import Host, next_second

FILES = 100_000 if LONG else 2_000
SPARSE = 20 * 1024**3 if LONG else 64 * 1024**2
MEMORY = 256 * 10**6
# A part of the files, to compare with.
PART = 4
# CPU time of all of them, in that of the part: linear is four.
LINEAR = 1.5 * PART
FASTER = 10


@dataclass
class Cost:
    """What a command took, together with all that it started."""

    seconds: float
    cpu: float
    memory: int
    """Of the largest process."""


# What a process has used is counted from its parent's size on, and that of the tests may be larger than all of it.
MEASURE = """
import json, resource, subprocess, sys
code = subprocess.call(sys.argv[2:])
used = resource.getrusage(resource.RUSAGE_CHILDREN)
json.dump([code, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024], open(sys.argv[1], "w"))
"""


def measured(host: Host, *arguments: str) -> Cost:
    """Run a command to its end, with success."""
    found = host.live / "used"
    command = [sys.executable, "-c", MEASURE, str(found), sys.executable, str(PROGRAM), "--config", str(host.config)]
    started = time.monotonic()
    program = subprocess.run([*command, *arguments], env=host.environment(), capture_output=True, text=True, check=True)
    seconds = time.monotonic() - started
    code, cpu, memory = json.loads(found.read_text())
    assert code == 0, program.stdout + program.stderr
    return Cost(seconds, cpu, memory)


def fill(directory: Path, count: int) -> None:
    for number in range(count):
        if number % 1000 == 0:
            (directory / str(number // 1000)).mkdir(parents=True, exist_ok=True)
        (directory / str(number // 1000) / str(number)).write_text(f"file {number}")


def test_part_and_whole(tmp_path: Path) -> None:
    costs: dict[str, list[Cost]] = {}
    # A part to compare with only where the difference is larger than what each run costs.
    for name, count in (*([("part", FILES // PART)] if LONG else []), ("whole", FILES)):
        host = Host(tmp_path / name).make()
        fill(host.root / "data/kestra/many", count)
        if name == "whole":
            with (host.root / "data/kestra/sparse").open("wb") as stream:
                stream.write(b"begin")
                stream.truncate(SPARSE)
        commands = [("create",), ("create",), ("check", "--read-data"), ("verify",), ("restore",)]
        costs[name] = []
        for command in commands:
            costs[name].append(measured(host, *command))
            print(name, count, command, costs[name][-1])
            next_second()
        assert host.left_behind() == []
        assert sum(1 for _ in (host.root / "data/kestra/many").rglob("*")) == count + -(-count // 1000)
    sparse = (host.root / "data/kestra/sparse").stat()
    assert sparse.st_size == SPARSE and sparse.st_blocks * 512 < SPARSE // 50
    assert max(cost.memory for cost in costs["whole"]) < MEMORY
    first, second = costs["whole"][:2]
    if LONG:
        assert second.seconds * FASTER < first.seconds
        # Without the sparse file, of which the part has none.
        for part, whole in zip(costs["part"][1:3], costs["whole"][1:3], strict=True):
            assert whole.cpu < LINEAR * part.cpu
