"""The contract of `multipass_instance_info`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...sidecar.service import Service
from . import Case


def cases(sidecar: Service, name: str, directory: Path) -> Iterator[Case]:
    """Everything, a choice, one, and none."""

    def prepare() -> None:
        sidecar.world.set(**{name: "Running", "other": "Stopped", "gone": "Deleted"})

    everything = {"size": True, "snapshots": True}
    yield Case("list", everything, prepare, changed=False)
    yield Case("a state", {"states": ["Stopped", "Suspended"]}, changed=False)
    yield Case("one", {"name": name, **everything}, changed=False)
    yield Case("find nothing", {"name": "nobody", **everything}, changed=False)


def examples(sidecar: Service, name: str, directory: Path) -> dict[str, Any]:
    """Two instances are there."""
    sidecar.world.set(**{"web-1": "Running", "db": "Stopped"})
    return {}
