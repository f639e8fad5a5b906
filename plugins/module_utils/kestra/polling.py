# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Read something of a server again and again, until it is as wanted or the time is over."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.client import KestraClient

FIRST_INTERVAL = 0.2
LONGEST_INTERVAL = 5.0
# Seconds that a look may take after the time is over.
LAST_LOOK = 1.5
# Seconds of a look behind even that.
SHORTEST_LOOK = 0.1


class Polling:
    """A part of the API whose state is waited for. C(clock) and C(pause) are in seconds."""

    def __init__(
        self,
        client: KestraClient,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self.client = client
        self.clock = clock
        self.pause = pause

    def attempts(self, seconds: float) -> Iterator[float]:
        """Yield the seconds that are left before each attempt, with pauses between the attempts that grow.

        There is always one attempt. The last one is that with no time left. All requests have ended C(LAST_LOOK)
        seconds after the time is over.
        """
        end = self.clock() + seconds
        interval = FIRST_INTERVAL
        while True:
            left = end - self.clock()
            with self.client.http.within(max(left + LAST_LOOK, SHORTEST_LOOK)):
                yield left
            if left <= 0:
                return
            self.pause(max(0.0, min(interval, end - self.clock())))
            interval = min(interval * 1.5, LONGEST_INTERVAL)
