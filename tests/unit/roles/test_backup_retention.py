"""Which backups may go: never the new one, the last verified one, and those of the future."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from orchestration_backup.config import Keep
from orchestration_backup.files import filename_time
from orchestration_backup.retention import plan

NOW = datetime(2026, 6, 17, 3, 0, tzinfo=UTC)  # a Wednesday
KEEP = Keep(daily=7, weekly=5, monthly=12, upgrade=3, manual=3)


def ago(**time: float) -> str:
    return filename_time(NOW - timedelta(**time))


def test_nightly_backups_stay_by_day_week_and_month() -> None:
    reasons = {ago(days=day): "nightly" for day in range(800)}
    found = plan(reasons, KEEP, at=NOW, protected=[])
    kept = sorted(reasons.keys() - set(found.expired), reverse=True)
    assert kept[:7] == [ago(days=day) for day in range(7)]
    assert [backup[:8] for backup in kept[7:11]] == ["20260607", "20260531", "20260524", "20260430"]
    # The newest of each month before.
    assert [backup[:6] for backup in kept[10:]] == [
        *("202604", "202603", "202602", "202601"),
        *("202512", "202511", "202510", "202509", "202508", "202507"),
    ]
    assert found.future == []


def test_many_backups_of_one_hour_do_not_push_out_those_of_the_week() -> None:
    nightly = {ago(days=day): "nightly" for day in range(1, 8)}
    others = {ago(minutes=minute): reason for minute in range(1, 30) for reason in [("upgrade", "manual")[minute % 2]]}
    found = plan(nightly | others, KEEP, at=NOW, protected=[])
    assert not set(found.expired) & nightly.keys()
    assert sorted(others.keys() - set(found.expired)) == sorted(ago(minutes=minute) for minute in range(1, 7))


def test_backups_of_the_future_are_told_and_push_out_none() -> None:
    """A clock that was ahead once must not make each new backup the oldest one."""
    future = {filename_time(NOW + timedelta(days=365 + day)): "nightly" for day in range(20)}
    present = {ago(days=day): "nightly" for day in range(7)}
    found = plan(future | present, KEEP, at=NOW, protected=[ago()])
    assert (found.expired, found.future) == ([], sorted(future))


def test_clock_that_is_a_little_behind_makes_no_future() -> None:
    assert plan({filename_time(NOW + timedelta(hours=2)): "nightly"}, KEEP, at=NOW, protected=[]).future == []


@pytest.mark.parametrize("reason", ["nightly", "upgrade", "manual"])
def test_protected_backups_stay_if_nothing_else_would(reason: str) -> None:
    reasons = {ago(days=day): reason for day in range(10)}
    none = Keep(daily=0, weekly=0, monthly=0, upgrade=0, manual=0)
    found = plan(reasons, none, at=NOW, protected=[ago(), ago(days=9)])
    assert found.expired == [ago(days=day) for day in range(8, 0, -1)]


def test_backup_of_a_reason_that_is_not_known_stays() -> None:
    assert plan({ago(days=900): "weekly-audit"}, KEEP, at=NOW, protected=[]).expired == []
