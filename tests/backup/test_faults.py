"""Full disks, stores that are away, hang or lie, and a clock that is ahead: told, and nothing is lost."""

from __future__ import annotations

import json
import os
import random
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.sampling import SEED, sample

from .host import Host, next_second

CLOCK = str(Path(__file__).with_name("clock"))
MIB = 1024**2


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Host:
    """A host with two stores and two backups in each."""
    host = Host(tmp_path_factory.mktemp("host")).make(stores=("local", "second"))
    host.change("first")
    # Enough for packs of their own.
    (host.root / "data/kestra/large").write_bytes(random.Random(SEED).randbytes(3 * MIB))
    host.run("create")
    host.cheapen()
    next_second()
    host.change("second")
    host.run("create")
    assert host.left_behind() == []
    host.keep_base()
    return host


@pytest.fixture
def host(base: Host) -> Host:
    base.go_back()
    next_second()
    return base


def largest(store: Path, kind: str) -> Path:
    return max((path for path in (store / kind).rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)


def spoil(path: Path, change: Callable[[bytearray], None]) -> None:
    data = bytearray(path.read_bytes())
    change(data)
    path.chmod(0o600)
    path.write_bytes(data)


def flip(kind: str) -> Callable[[Path], None]:
    def apply(store: Path) -> None:
        spoil(largest(store, kind), lambda data: data.__setitem__(len(data) // 2, data[len(data) // 2] ^ 1))

    return apply


def cut(kind: str) -> Callable[[Path], None]:
    return lambda store: os.truncate(largest(store, kind), largest(store, kind).stat().st_size // 2)


def lose(kind: str) -> Callable[[Path], None]:
    return lambda store: largest(store, kind).unlink()


def lose_all(kind: str) -> Callable[[Path], None]:
    def apply(store: Path) -> None:
        for path in (store / kind).rglob("*"):
            if path.is_file():
                path.unlink()

    return apply


def empty(kind: str) -> Callable[[Path], None]:
    return lambda store: os.truncate(largest(store, kind), 0)


def whole(store: Path) -> None:
    shutil.rmtree(store)


def config_lost(store: Path) -> None:
    (store / "config").unlink()


LIES: list[tuple[str, Callable[[Path], None]]] = [
    *(
        (f"{name} {kind}", lie(kind))
        for kind in ("data", "index", "snapshots")
        for name, lie in (
            ("flip in", flip),
            ("cut", cut),
            ("lose", lose),
            ("empty", empty),
        )
    ),
    ("lose all data", lose_all("data")),
    ("lose all keys", lose_all("keys")),
    ("config lost", config_lost),
    ("all lost", whole),
]
# What only reading all data shows.
HIDDEN = {"flip in data"}
# A snapshot that is not there was perhaps removed: nobody can know, but the next copy brings it back.
GONE = {"lose snapshots"}


@pytest.mark.parametrize(("name", "lie"), sample(LIES, 1), ids=lambda value: value if isinstance(value, str) else "")
def test_second_store_lies(host: Host, name: str, lie: Callable[[Path], None]) -> None:
    good = host.complete("local")
    present = host.content()
    lie(host.store("second"))
    # Told by name.
    if name not in GONE:
        found = host.run("check", "--target", "second", "--read-data", code=1)
        assert "second" in found["errors"]
    # The first store goes on, and nothing of it is lost.
    host.change("third")
    made = host.run("create", code=0 if name in HIDDEN | GONE else 3)
    results = {target["name"]: target for target in made["targets"]}
    assert results["local"]["ok"]
    assert results["second"]["ok"] == (name in HIDDEN | GONE), results
    assert host.left_behind() == []
    assert good | {made["backup"]} == host.complete("local")
    assert host.restic("local", "check", "--read-data").returncode == 0
    # A restore from the store that lies is right, or changes nothing.
    changed = host.content()
    program = host.begin("restore", max(good), "--target", "second")
    output, errors = program.communicate(timeout=120)
    assert host.content() == (present if program.returncode == 0 else changed), output + errors
    assert host.left_behind() == []
    host.run("restore", max(good))
    assert host.content() == present


@pytest.mark.parametrize(("name", "lie"), sample(LIES, 1), ids=lambda value: value if isinstance(value, str) else "")
def test_first_store_lies(host: Host, name: str, lie: Callable[[Path], None]) -> None:
    good, present = host.complete("second"), host.content()
    lie(host.store("local"))
    host.change("third")
    program = host.begin("create")
    output, errors = program.communicate(timeout=120)
    assert program.returncode in ((0, 1, 3) if name in HIDDEN | GONE else (1, 3)), output + errors
    assert host.left_behind() == []
    # The other store has what it had, and it is enough.
    assert good <= host.complete("second")
    assert host.restic("second", "check", "--read-data").returncode == 0
    host.run("restore", max(good), "--target", "second")
    assert host.content() == present
    assert host.left_behind() == []


def remote(host: Host, location: str) -> None:
    """Let the second store be somewhere else."""
    (host.live / "second.repository").write_text(location)


def test_store_is_away(host: Host) -> None:
    location = (host.live / "second.repository").read_text()
    good = host.complete("second")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        remote(host, f"rest:http://user:pass%20word@127.0.0.1:{closed.getsockname()[1]}/second")
        made = host.run("create", code=3)
    results = {target["name"]: target for target in made["targets"]}
    assert results["local"]["ok"] and not results["second"]["ok"]
    # It is perhaps not lost.
    assert "reachable" in results["second"]["error"], results
    assert "pass%20word" not in json.dumps(made)
    assert host.left_behind() == []
    # As soon as it is back, it gets what it lacks.
    remote(host, location)
    host.run("copy")
    assert good | {made["backup"]} <= host.complete("second")


@contextmanager
def small_disk(host: Host, size: int) -> Iterator[Path]:
    """Put the whole host on a file system of this size; the file that is yielded fills it."""
    kept = host.directory / "kept"
    shutil.rmtree(kept, ignore_errors=True)
    host.live.rename(kept)
    host.live.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "small", host.live], check=True)
    try:
        subprocess.run(["cp", "-a", f"{kept}/.", host.live], check=True)
        yield host.live / "filler"
    finally:
        subprocess.run(["umount", "--lazy", host.live], check=True)


def fill(path: Path, left: int) -> None:
    """Leave so many bytes free."""
    status = os.statvfs(path.parent)
    with path.open("wb") as stream:
        os.posix_fallocate(stream.fileno(), 0, max(4096, status.f_bavail * status.f_frsize - left))


ROOM = [0, 4096, 16384, 65536, 131072, 262144, 524288, MIB, 2 * MIB, 3 * MIB, 4 * MIB, 6 * MIB]


@pytest.mark.parametrize(
    ("command", "left"), sample([(command, left) for command in ("create", "restore", "verify") for left in ROOM], 2)
)
def test_full_disk(host: Host, command: str, left: int) -> None:
    with small_disk(host, 64 * MIB) as filler:
        good, saved = host.complete("local"), host.content()
        # Without this, too little changes for a disk to become full.
        (host.root / "data/kestra/large").write_bytes(random.Random(left).randbytes(3 * MIB))
        host.change("third")
        present = host.content()
        fill(filler, left)
        program = host.begin(command)
        output, errors = program.communicate(timeout=120)
        if program.returncode not in (0, 3):
            assert "space" in errors, errors
        filler.unlink()
        if command != "restore" or program.returncode != 0:
            assert host.content() == present, output + errors
        assert good <= host.complete("local")
        next_second()
        if command == "restore":
            host.run("restore", max(good))
            assert host.content() == saved
        else:
            host.run(command)
        assert host.left_behind() == []
        host.check_stores()
        assert good <= host.complete("local") & host.complete("second")


def test_clock_ahead_by_a_year(host: Host) -> None:
    good = host.complete("local")
    ahead = host.run("create", "--reason", "nightly", PYTHONPATH=CLOCK, DEVORCH_CLOCK_AHEAD="365")["backup"]
    assert ahead > max(good)
    host.change("after the clock was set right")
    present = host.content()
    next_second()
    made = host.run("create", "--reason", "nightly")
    # Told, in each store, and the new one has the time of today.
    assert [target["future"] for target in made["targets"]] == [[ahead], [ahead]]
    assert made["backup"] < ahead
    for name in ("local", "second"):
        assert {*good, ahead, made["backup"]} == host.complete(name)
    # The newest is that of today.
    host.change("changed")
    assert host.run("restore")["backup"] == made["backup"]
    assert host.content() == present
    assert host.run("restore", ahead)["backup"] == ahead
    assert host.left_behind() == []
