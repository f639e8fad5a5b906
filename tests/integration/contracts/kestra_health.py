"""What `kestra_health` keeps: it changes nothing, whatever it finds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..kestra import Kestra
from . import Case

TIMES = {"ready_within": "how long the checks took", "attempts": "how often it had to check"}


def cases(kestra: Kestra, namespace: str, directory: Path) -> Iterator[Case]:
    """Yield a look at a healthy server, with the ways to say where the management port must be closed."""
    management = {"management_url": kestra.management_url, "wait_timeout": 30}
    yield Case("healthy", management, changed=False, volatile=TIMES)
    yield Case("no address to try", {**management, "management_closed_on": []}, changed=False, volatile=TIMES)
    yield Case(
        "an address that is closed",
        {**management, "management_closed_on": ["127.0.0.2"]},
        changed=False,
        volatile=TIMES,
    )


def examples(kestra: Kestra, namespace: str, directory: Path) -> dict[str, Any]:
    """Nothing has to be there for a look."""
    return {"kestra_password": kestra.password}
