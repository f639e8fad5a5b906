"""What `n8n_workflow_info` keeps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..n8n import N8n
from ..n8n_patterns import webhook
from . import Case
from .n8n_workflows import store


def cases(n8n: N8n, prefix: str, directory: Path) -> Iterator[Case]:
    """All, and each filter."""

    def prepare() -> None:
        n8n.clear()
        store(n8n, webhook("one", "p1"), live=True)
        store(n8n, webhook("two", "p2"), tag="other")

    for number, options in enumerate(
        ({}, {"name": "one"}, {"tags": ["other"]}, {"published": True}, {"archived": True}, {"content": True})
    ):
        yield Case("-".join(options) or "all", options, prepare if number == 0 else lambda: None, changed=False)


def examples(n8n: N8n, prefix: str, directory: Path) -> dict[str, Any]:
    return {}
