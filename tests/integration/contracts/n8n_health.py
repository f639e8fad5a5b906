"""What `n8n_health` keeps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..n8n import N8n
from . import Case


def cases(n8n: N8n, prefix: str, directory: Path) -> Iterator[Case]:
    """An n8n that is ready."""
    yield Case("ready", {"wait_timeout": 5}, changed=False)


def examples(n8n: N8n, prefix: str, directory: Path) -> dict[str, Any]:
    return {}
