"""The time budget of a session, and the order of its tests."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from ... import budget, order
from ...budget import Budget

ROOT = Path(__file__).parents[3]


def test_without_a_budget_everything_runs() -> None:
    assert budget.deadline({}) is None and budget.deadline({budget.MINUTES: ""}) is None
    assert Budget(None).allows("tests/system/test_a.py::test_one", 1e12)


def test_the_budget_counts_from_the_beginning_of_the_session() -> None:
    assert budget.deadline({budget.MINUTES: "1.5", budget.BEGAN: "1000"}) == 1090


@pytest.mark.parametrize(
    ("nodeid", "allowed"),
    [
        ("tests/system/test_a.py::test_one", False),
        ("tests/chaos/test_a.py::test_one[0-kill]", False),
        ("tests/unit/test_a.py::test_one", True),
        ("tests/integration/test_a.py::test_one", True),
        ("tests/sidecar/test_a.py::test_one", True),
        ("tests/lint/test_a.py::test_one", True),
    ],
)
def test_only_long_tests_are_left_out_when_it_is_spent(nodeid: str, allowed: bool) -> None:
    assert Budget(100).allows(nodeid, 100) is allowed
    assert Budget(100).allows(nodeid, 99)


def test_a_file_that_has_begun_goes_on_and_one_that_was_left_out_stays_out() -> None:
    session = Budget(100)
    assert session.allows("tests/system/test_a.py::test_one", 99)
    assert not session.allows("tests/system/test_b.py::test_one", 101)
    assert session.allows("tests/system/test_a.py::test_two", 101)
    assert not session.allows("tests/system/test_b.py::test_two", 99)


@pytest.mark.parametrize("processes", ["0", "2"])
def test_what_is_left_out_is_named_and_nothing_fails(processes: str, tmp_path: Path) -> None:
    fixture = "import pytest\n@pytest.fixture\ndef dear(): assert False, 'made'\n"
    for name in ("system/test_late.py", "chaos/test_later.py", "unit/test_quick.py"):
        file = tmp_path / "tests" / name
        file.parent.mkdir(parents=True)
        need = "" if "quick" in name else "dear"
        file.write_text(f"{fixture}def test_one({need}): pass\ndef test_two({need}): pass\n", "utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\n", "utf-8")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment |= {"PYTHONPATH": str(ROOT), budget.MINUTES: "0", budget.BEGAN: "9e9"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.budget", "-n", processes, "--import-mode=importlib", "tests"],
        cwd=tmp_path,
        env=environment,
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "2 passed, 4 skipped" in done.stdout
    named = done.stdout.partition(f"{budget.REASON} (0 minutes, {budget.MINUTES})")[2]
    assert "tests/system/test_late.py (2 tests)" in named
    assert "tests/chaos/test_later.py (2 tests)" in named
    assert "test_quick" not in named


def test_quick_news_comes_first_then_the_core_then_what_is_long() -> None:
    files = [
        "tests/unit/docs/test_readme.py",
        "tests/system/test_default_scenario.py",
        "tests/system/test_doctor.py",
        "tests/system/test_air_gap.py",
        "tests/chaos/test_chaos.py",
        "tests/chaos/test_nothing_leaked.py",
        "tests/sidecar/test_api.py",
        "tests/system/test_readme_lines.py",
    ]
    assert all((ROOT / file).is_file() for file in (*files, *order.OWN_HOST, *order.LONGEST, order.CORE, order.LAST))
    ranks = [order.rank(f"{file}::test_one") for file in files]
    assert all(one < two for one, two in pairwise(ranks))
    assert order.rank("tests/integration/test_flows.py::test_one") == order.rank("tests/sidecar/test_api.py::test_one")


def test_the_shared_host_and_the_live_servers_belong_to_one_process_each() -> None:
    assert {order.scope(f"tests/{name}.py::test_one") for name in ("system/test_doctor", "chaos/test_chaos")} == {
        "host"
    }
    assert order.scope("tests/integration/test_flows.py::test_one") == "integration"
    alone = "tests/system/test_readme_lines.py"
    assert order.scope(f"{alone}::test_one[a::b]") == alone
