"""What the tests of the backup program need of this machine."""

from __future__ import annotations

import pytest

from tests.stores import require_programs


@pytest.fixture(scope="session", autouse=True)
def programs() -> None:
    """The programs that the tests and the program call."""
    require_programs()
