"""After any fault one more run of site.yml converges, and nothing is lost: `make chaos` runs 60 of them."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ..sampling import LONG, SEED
from ..system.conftest import Host, Run
from ..system.data import answers, configuration, data, leftovers, seed
from .faults import CHANGES, FAULTS, Playing, Stage

RUNS = int(os.environ.get("DEVORCH_CHAOS_RUNS", "60" if LONG else "1"))
FIRST = int(SEED)
SEEDS = range(FIRST, FIRST + RUNS)


@pytest.fixture(scope="module")
def kept(host: Host, converged: Run) -> dict[str, Any]:
    """What the host holds, which has to be there after each run."""
    seed(host)
    host.wait("every service answers", lambda: answers(host), 300)
    return data(host)


@pytest.fixture(scope="module")
def usual(host: Host, kept: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> float:
    """The seconds that a run without a change takes, and with it the host as the inventory wants it."""
    begin = time.monotonic()
    Playing(host, tmp_path_factory.mktemp("usual"), {}).end().succeeded()
    return time.monotonic() - begin


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("number", SEEDS)
def test_next_run_converges_and_nothing_is_lost(
    number: int, host: Host, kept: dict[str, Any], usual: float, tmp_path: Path, say: Callable[[str], None]
) -> None:
    lot = random.Random(number)
    fault = FAULTS[(number - 1) % len(FAULTS)]
    change = lot.choice(CHANGES)
    wanted = configuration(host)
    say(f"seed {number}: {fault.__name__} while {change} is applied")
    stage = Stage(host, lot, change, usual, tmp_path)
    done = fault(stage)
    say(f"seed {number}: {done}")
    # Docker's restart policy brings the containers back after a reboot; whoever comes next waits for no more than that.
    host.wait("Docker answers", host.up, 180)
    run = stage.play({}, "next").end()
    for playing in stage.playing:
        playing.clear()
    assert run.code == 0, f"seed {number}: {done}\n{run.output[-6000:]}"
    host.wait("every service answers", lambda: answers(host), 300)
    assert data(host) == kept, f"seed {number}: {done}"
    assert configuration(host) == wanted, f"seed {number}: {done}"
    assert leftovers(host) == "", f"seed {number}: {done}"
