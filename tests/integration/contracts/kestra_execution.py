"""What `kestra_execution` keeps."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from ..executions import GREETING, execution_in, make_ready
from ..kestra import Kestra
from . import Case

NEW = {"execution": "a new execution has an id, dates and a state of its own"}
ENDED = {**NEW, "outputs": "only a run has outputs", "msg": "it names the execution"}
LATER = {"execution": "its state and dates after the change", "msg": "it names what was reached"}


def cases(kestra: Kestra, namespace: str, directory: Path) -> Iterator[Case]:
    """Yield a case for each state that an execution can be brought to."""
    kestra.save_flow(GREETING.format(namespace=namespace))
    letter = directory / "letter.txt"
    letter.write_text("Dear ☃\n", encoding="utf-8")
    flow = {"namespace": namespace, "flow": "greeting"}
    yield Case(
        "start with inputs, a file and labels",
        {**flow, "inputs": {"who": "Wörld", "count": 3}, "files": {"letter": str(letter)}, "labels": {"a": "b"}},
        repeatable=False,
        volatile=ENDED,
    )
    yield Case("start and do not wait", {**flow, "wait": False}, repeatable=False, volatile=ENDED)
    yield Case("start once", {**flow, "labels": {"release": secrets.token_hex(4)}, "once": True}, volatile=ENDED)

    def about(now: str, **options: Any) -> dict[str, Any]:
        return {"id": execution_in(kestra, namespace, now), **options}

    yield Case("kill", about("RUNNING", state="killed"), volatile=LATER)
    yield Case("kill what has ended", about("SUCCESS", state="killed"), changed=False)
    yield Case("pause", about("RUNNING", state="paused"), volatile=LATER)
    yield Case("resume", about("PAUSED", state="resumed", inputs={"why": "because"}), volatile=ENDED)
    yield Case("resume what is not paused", about("SUCCESS", state="resumed"), changed=False)
    yield Case("restart what succeeded", about("SUCCESS", state="restarted"), changed=False)
    yield Case("replay", about("SUCCESS", state="replayed"), repeatable=False, volatile=ENDED)
    yield Case("label", about("SUCCESS", state="labeled", labels={"checked": True}))
    yield Case("delete", about("SUCCESS", state="absent"))
    failed = about("FAILED", state="restarted")
    yield Case("restart", failed, partial(make_ready, kestra, namespace), volatile=ENDED)


def examples(kestra: Kestra, namespace: str, directory: Path) -> dict[str, Any]:
    """Bring the flows of the examples, and the file that one of them sends."""
    kestra.save_flow(GREETING.format(namespace="default"))
    kestra.save_flow(
        GREETING.format(namespace="default").replace("greeting\n", "migrate\n", 1).replace("letter", "script")
    )
    script = directory / "migration.sql"
    script.write_text("select 1;\n", encoding="utf-8")
    return {"migration_script": str(script), "kestra_password": kestra.password}
