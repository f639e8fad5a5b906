"""What `kestra_execution_info` keeps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..executions import execution_in
from ..kestra import Kestra
from . import Case


def cases(kestra: Kestra, namespace: str, directory: Path) -> Iterator[Case]:
    """Yield a case for each way to ask."""
    failed = execution_in(kestra, namespace, "FAILED")
    yield Case("one by its id", {"id": failed, "logs": True, "outputs": True}, changed=False)
    yield Case("a search", {"namespace": namespace, "states": ["FAILED"], "limit": 5}, changed=False)


def examples(kestra: Kestra, namespace: str, directory: Path) -> dict[str, Any]:
    """Bring an execution that succeeded, and one that failed."""
    execution_in(kestra, "default", "FAILED")
    return {"execution_id": execution_in(kestra, namespace, "SUCCESS"), "kestra_password": kestra.password}
