"""Python reads this file when it starts: DEVORCH_CLOCK_AHEAD sets the clock ahead by so many days."""

from __future__ import annotations

import datetime
import os
import time

ahead = int(os.environ.pop("DEVORCH_CLOCK_AHEAD", "0")) * 86400
true_time = time.time


class Datetime(datetime.datetime):
    """The class of datetime with a wrong clock."""

    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> Datetime:
        """Return the wrong time."""
        return cls.fromtimestamp(true_time() + ahead, tz)


if ahead:
    time.time = lambda: true_time() + ahead
    datetime.datetime = Datetime  # type: ignore[misc]
