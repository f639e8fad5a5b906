"""What `n8n_execution_info` keeps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..n8n import N8n
from ..n8n_patterns import webhook
from . import Case
from .n8n_workflows import store


def cases(n8n: N8n, prefix: str, directory: Path) -> Iterator[Case]:
    """All of a workflow, by status, and one that does not exist."""

    def prepare() -> None:
        store(n8n, webhook("one", "executions"), live=True)
        n8n.answered("executions")

    yield Case("workflow", {"workflow": "one"}, prepare, changed=False)
    yield Case("status", {"status": "success", "limit": 1}, changed=False)
    yield Case("none", {"id": "999999"}, changed=False)


def examples(n8n: N8n, prefix: str, directory: Path) -> dict[str, Any]:
    return {}
