"""Many small files and one huge sparse one: memory is bounded, time is linear, and a second backup is quick."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from tests.sampling import LONG

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


def measured(host: Host, *arguments: str) -> Cost:
    """Run a command to its end, with success."""
    log = host.live / "output"
    started = time.monotonic()
    with log.open("w") as stream:
        program = host.begin(*arguments)
        assert program.stdout and program.stderr
        _pid, status, usage = os.wait4(program.pid, 0)
        program.returncode = os.waitstatus_to_exitcode(status)
        stream.write(program.stdout.read() + program.stderr.read())
    assert program.returncode == 0, log.read_text()
    return Cost(time.monotonic() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


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
