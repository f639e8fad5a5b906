"""What the tests of the backup program need of this machine."""

from __future__ import annotations

import pytest

from tests.sampling import LONG
from tests.stores import require_programs

# It takes as long as the program waits.
collect_ignore = [] if LONG else ["test_hangs.py"]


@pytest.fixture(scope="session", autouse=True)
def programs() -> None:
    """The programs that the tests and the program call."""
    require_programs()
