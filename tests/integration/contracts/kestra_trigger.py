"""What `kestra_trigger` keeps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..executions import NIGHTLY
from ..kestra import Kestra
from . import Case

WEEK = {"start": "2026-11-01T00:00:00Z", "end": "2026-11-07T00:00:00Z"}
SEEN = {"trigger": "it is as it was in check mode, and as it is afterwards in a run"}


def cases(kestra: Kestra, namespace: str, directory: Path) -> Iterator[Case]:
    """Yield a case for each thing that can be done with a trigger, in an order in which one leads to the next."""
    kestra.save_flow(NIGHTLY.format(namespace=namespace))
    name = {"namespace": namespace, "flow": "nightly", "id": "every-night"}
    yield Case("what is so already", {**name, "enabled": True, "unlocked": True}, changed=False)
    yield Case("disable", {**name, "enabled": False}, volatile=SEEN)
    # A trigger that rests does not go on with its backfill, so that it stays where it is.
    yield Case("begin a backfill", {**name, "backfill": WEEK}, volatile=SEEN)
    yield Case("pause the backfill", {**name, "backfill": {"state": "paused"}}, volatile=SEEN)
    yield Case("go on with the backfill", {**name, "backfill": {"state": "running"}}, volatile=SEEN)
    yield Case("remove the backfill", {**name, "backfill": {"state": "absent"}}, volatile=SEEN)
    yield Case("enable", {**name, "enabled": True}, volatile=SEEN)


def examples(kestra: Kestra, namespace: str, directory: Path) -> dict[str, Any]:
    """Bring the flow of the examples."""
    kestra.save_flow(NIGHTLY.format(namespace="default"))
    return {"kestra_password": kestra.password}
