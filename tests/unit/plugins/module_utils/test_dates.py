"""Dates as every Python from 3.10 reads them."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path

import pytest
from ansible_collections.devorch.orchestration.plugins.module_utils.dates import UTC, parse, plain

PLUGINS = Path(__file__).parents[4] / "plugins"
# All that fromisoformat of Python 3.10 takes, of what servers write.
OLD = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{6})?)?([+-]\d\d:\d\d)?)?")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-23T09:28:11Z", datetime(2026, 11, 23, 9, 28, 11, tzinfo=UTC)),
        (" 2026-11-23T09:28:11.4z ", datetime(2026, 11, 23, 9, 28, 11, 400000, UTC)),
        ("2026-11-23T09:28:11.123456789Z", datetime(2026, 11, 23, 9, 28, 11, 123456, UTC)),
        ("2026-11-23T09:28+00:00", datetime(2026, 11, 23, 9, 28, tzinfo=UTC)),
        ("2026-11-23T09:28:11.5", datetime(2026, 11, 23, 9, 28, 11, 500000)),
        ("2026-11-23", datetime(2026, 11, 23)),
    ],
)
def test_dates_of_servers(text: str, expected: datetime) -> None:
    assert OLD.fullmatch(plain(text))
    assert parse(text) == expected


def test_no_module_reads_dates_in_another_way() -> None:
    """What Python 3.11 reads, 3.10 may refuse. Pure dates are the same for both; Docker's are made plain there."""
    found = {
        path.relative_to(PLUGINS).as_posix()
        for folder in ("modules", "module_utils")
        for path in (PLUGINS / folder).rglob("*.py")
        if re.search(r"datetime\.fromisoformat|import .*\bUTC\b.*\n", path.read_text())
        and not re.search(r"dates import UTC", path.read_text())
    }
    assert found == {"module_utils/dates.py", "module_utils/host/container.py"}
