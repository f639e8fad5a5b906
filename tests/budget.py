"""A time budget for a whole session: DEVORCH_TIME_BUDGET, in minutes.

A file of the long tests that has not begun when the budget is spent is not begun. Its tests are skipped and the file is
named at the end; the exit code is that of the tests that ran.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Mapping

import pytest

MINUTES = "DEVORCH_TIME_BUDGET"
# Every process of xdist counts from the moment in which the first one began.
BEGAN = "DEVORCH_TIME_BEGAN"
LONG = ("tests/system/", "tests/chaos/")
REASON = "not run for lack of time"


def deadline(environment: Mapping[str, str]) -> float | None:
    """Return the time of the clock at which the budget is spent; None where there is no budget."""
    minutes = environment.get(MINUTES)
    return float(environment[BEGAN]) + float(minutes) * 60 if minutes else None


class Budget:
    """Decides once for each file of the long tests whether it may begin."""

    def __init__(self, deadline: float | None) -> None:
        self.deadline = deadline
        self.begun: dict[str, bool] = {}

    def allows(self, nodeid: str, now: float) -> bool:
        """Tell whether a test may run: its file is short, has begun, or begins in time."""
        file = nodeid.partition("::")[0]
        if self.deadline is None or not file.startswith(LONG):
            return True
        return self.begun.setdefault(file, now < self.deadline)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Skip a test before any fixture of it is made."""
        if not self.allows(item.nodeid, time.time()):
            pytest.skip(REASON)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Name what was left out."""
        skipped = terminalreporter.getreports("skipped")
        files = Counter(report.nodeid.partition("::")[0] for report in skipped if REASON in str(report.longrepr))
        if not files:
            return
        terminalreporter.section(f"{REASON} ({os.environ[MINUTES]} minutes, {MINUTES})")
        for file, count in files.items():
            terminalreporter.line(f"{file} ({count} {'test' if count == 1 else 'tests'})")


def pytest_configure(config: pytest.Config) -> None:
    """Begin to count, in the first process, and watch the budget in all of them."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        os.environ[BEGAN] = str(time.time())
    config.pluginmanager.register(Budget(deadline(os.environ)), "devorch-budget")
