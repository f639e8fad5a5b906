"""Tables too long for every run: `make test` takes a seeded sample of them, `make test-long` all of them."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from typing import TypeVar

Row = TypeVar("Row")
LONG = os.environ.get("DEVORCH_LONG") == "1"
SEED = os.environ.get("DEVORCH_SEED", "1")


def sample(rows: Sequence[Row], count: int) -> list[Row]:
    """Return that many of the rows in their own order, chosen by DEVORCH_SEED; with DEVORCH_LONG=1 return all."""
    if LONG or count >= len(rows):
        return list(rows)
    chosen = random.Random(SEED).sample(range(len(rows)), count)
    return [rows[index] for index in sorted(chosen)]
