"""The contract of `kestra_flow`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..kestra import Kestra
from . import Case
from .kestra_flows import flow

REVISION = {"flow": "revisions are counted by the server"}


def cases(kestra: Kestra, namespace: str, directory: Path) -> Iterator[Case]:
    one = {"namespace": namespace, "id": "one"}

    def again() -> None:
        kestra.save_flow(flow("one", namespace, "by hand"))

    yield Case("create", {**one, "content": flow("one", namespace)}, volatile=REVISION)
    yield Case("update", {**one, "content": flow("one", namespace, "goodbye")}, volatile=REVISION)
    yield Case("leave alone", {**one, "content": flow("one", namespace, "goodbye")}, changed=False)
    yield Case("disable", {**one, "state": "disabled"}, volatile=REVISION)
    yield Case("enable", {**one, "state": "enabled"}, volatile=REVISION)
    yield Case("bring a revision back", {**one, "revision": 1}, again, volatile=REVISION)
    yield Case("delete", {**one, "state": "absent"})
    yield Case("bring a deleted flow back", {**one, "revision": 2}, volatile=REVISION)


def examples(kestra: Kestra, namespace: str, directory: Path) -> dict[str, Any]:
    (directory / "greeting.yaml").write_text(flow("greeting", "company.team"), encoding="utf-8")
    return {"kestra_password": kestra.password}
