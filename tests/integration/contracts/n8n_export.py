"""What `n8n_export` keeps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..n8n import N8n
from ..n8n_patterns import webhook
from . import Case
from .n8n_workflows import store


def cases(n8n: N8n, prefix: str, directory: Path) -> Iterator[Case]:
    """New, other and stale files."""

    def prepare() -> None:
        n8n.clear()
        store(n8n, webhook("One", "p1"))
        store(n8n, webhook("one", "p2"), tag="other")

    def with_files() -> None:
        prepare()
        (directory / "dest").mkdir(exist_ok=True)
        (directory / "dest" / "one.json").write_text("{}")
        (directory / "dest" / "old.json").write_text("{}")

    def current() -> None:
        (directory / "dest" / "old.json").unlink(missing_ok=True)

    options = {"dest": str(directory / "dest")}
    yield Case("create", {"dest": str(directory / "new")}, prepare)
    yield Case("update", options, with_files)
    yield Case("prune", {**options, "prune": True}, with_files)
    yield Case("unchanged", options, current, changed=False)
    yield Case("by-tag", {"dest": str(directory / "tagged"), "tags": ["other"], "pinned_data": False})


def examples(n8n: N8n, prefix: str, directory: Path) -> dict[str, Any]:
    n8n.clear()
    store(n8n, webhook("one", "p1"), live=True)
    return {"backup": str(directory / "backup")}
