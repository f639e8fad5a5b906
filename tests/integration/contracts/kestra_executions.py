"""What `kestra_executions` keeps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..executions import execution_in, make_ready
from ..kestra import Kestra
from . import Case

REPLAY = {"executions": "a replay has an id of its own"}


def cases(kestra: Kestra, namespace: str, directory: Path) -> Iterator[Case]:
    """Yield a case for each thing that is done with many executions."""

    def about(now: str, **options: Any) -> dict[str, Any]:
        """Return the options that find the executions in a state, of which there are two."""
        for _each in range(2):
            execution_in(kestra, namespace, now)
        return {"namespace": namespace, "states": [now], **options}

    yield Case("kill", about("RUNNING", state="killed"))
    yield Case("restart", about("FAILED", state="restarted"), lambda: make_ready(kestra, namespace))
    yield Case("purge the logs", about("SUCCESS", state="purged", flow="greeting", only_logs=True))
    replay = about("SUCCESS", state="replayed", flow="greeting", limit=1)
    yield Case("replay", replay, repeatable=False, volatile=REPLAY)
    yield Case("purge", {"namespace": namespace, "states": ["KILLED"], "state": "purged"})
    yield Case("purge what is older", {"namespace": namespace, "older_than": "P1D", "state": "purged"}, changed=False)


def examples(kestra: Kestra, namespace: str, directory: Path) -> dict[str, Any]:
    """Bring an execution of the examples' namespace; none is as old as those that they look for."""
    execution_in(kestra, "default", "SUCCESS")
    return {"kestra_password": kestra.password}
