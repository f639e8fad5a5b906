"""What `n8n_api_key` keeps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..n8n import OWNER, N8n
from . import Case

LABEL = "contract"


def cases(n8n: N8n, prefix: str, directory: Path) -> Iterator[Case]:
    """No file, a key that n8n refuses, one that others can read, and one that works."""
    path = directory / "key"
    options = {"email": OWNER, "password": n8n.password, "path": str(path), "label": LABEL}
    yield Case("create", options, lambda: path.unlink(missing_ok=True))
    yield Case("refused", options, lambda: path.write_text("eyJ0.nothing\n") and None)
    yield Case("readable", options, lambda: path.chmod(0o644))
    yield Case("works", options, changed=False)
    yield Case("force", {**options, "force": True}, repeatable=False)


def examples(n8n: N8n, prefix: str, directory: Path) -> dict[str, Any]:
    (directory / "srv").mkdir()
    return {"n8n_owner_password": n8n.password}
