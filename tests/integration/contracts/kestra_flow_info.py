"""The contract of `kestra_flow_info`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..kestra import Kestra
from . import Case
from .kestra_flows import flow


def cases(kestra: Kestra, namespace: str, directory: Path) -> Iterator[Case]:
    def prepare() -> None:
        kestra.save_flow(flow("one", namespace))

    everything = {"source": True, "revisions": True, "activity": True, "dependencies": True, "target_version": "2.0"}
    yield Case("read one", {"namespace": namespace, "id": "one", **everything}, prepare, changed=False)
    yield Case("search", {"namespace": namespace, "below": True, "labels": {"managed-by": "ansible"}}, changed=False)
    yield Case("find nothing", {"namespace": namespace, "id": "two", **everything}, changed=False)


def examples(kestra: Kestra, namespace: str, directory: Path) -> dict[str, Any]:
    kestra.save_flow(flow("greeting", "company.team"))
    return {"kestra_password": kestra.password}
