"""Python reads this file when it starts: DEVORCH_CLOCK_AHEAD sets the clock ahead by so many days."""

from __future__ import annotations

import datetime
import os
import time

ahead = int(os.environ.pop("DEVORCH_CLOCK_AHEAD", "0")) * 86400
if ahead:
    true_time, true_datetime = time.time, datetime.datetime

    class Datetime(true_datetime):
        """The class of datetime with a wrong clock."""

        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> datetime.datetime:
            return true_datetime.fromtimestamp(time.time(), tz)

    time.time = lambda: true_time() + ahead
    datetime.datetime = Datetime  # type: ignore[misc]
