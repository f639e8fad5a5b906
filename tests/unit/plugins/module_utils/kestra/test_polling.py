"""The pauses between attempts, with a clock of our own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.polling import (
    LAST_LOOK,
    LONGEST_INTERVAL,
    Polling,
)


class Http:
    """What the client's session is asked for."""

    def __init__(self) -> None:
        self.limits: list[float] = []

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        self.limits.append(seconds)
        yield


class Client:
    def __init__(self) -> None:
        self.http = Http()


class Clock:
    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def __call__(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        self.now += seconds
        self.pauses.append(seconds)


def test_pauses_grow_and_the_last_attempt_is_when_the_time_is_over() -> None:
    clock, client = Clock(), Client()
    polling = Polling(client, clock, clock.pause)  # type: ignore[arg-type]
    left = list(polling.attempts(60))
    assert client.http.limits == [each + LAST_LOOK for each in left]
    assert left[0] == 60 and left[-1] <= 0 < left[-2]
    assert clock.now == 60 and max(clock.pauses) == LONGEST_INTERVAL
    assert clock.pauses[:-1] == sorted(clock.pauses[:-1])


def test_without_time_there_is_one_attempt() -> None:
    clock = Clock()
    client: Any = Client()
    assert list(Polling(client, clock, clock.pause).attempts(0)) == [0] and clock.pauses == []


def test_an_attempt_that_takes_too_long_is_followed_by_a_last_one() -> None:
    clock = Clock()
    client: Any = Client()
    count = 0
    for _left in Polling(client, clock, clock.pause).attempts(3):
        clock.now += 5
        count += 1
    assert count == 2 and clock.pauses == [0.0]
