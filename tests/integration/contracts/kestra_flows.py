"""The contract of `kestra_flows`."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..kestra import Kestra
from . import Case

LOG = "io.kestra.plugin.core.log.Log"
MEASURED = "how long it took"
REVISIONS = "revisions are counted by the server"


def flow(name: str, namespace: str, message: str = "hello") -> str:
    """Return the text of a flow that the module may prune."""
    labels = "labels: {managed-by: ansible}"
    return f"id: {name}\nnamespace: {namespace}\n{labels}\ntasks:\n  - {{id: say, type: {LOG}, message: {message}}}\n"


def write(directory: Path, *texts: str) -> None:
    """Make the directory hold these flows and no others."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    for number, text in enumerate(texts):
        (directory / f"{number}.yaml").write_text(text, encoding="utf-8")


def cases(kestra: Kestra, namespace: str, directory: Path) -> Iterator[Case]:
    source = directory / "flows"
    volatile = {"seconds": MEASURED, "flows": REVISIONS}

    def first() -> None:
        write(source, flow("a", namespace), flow("b", f"{namespace}.below"), flow("c", namespace))

    yield Case("load", {"src": "flows", "drift": "fail"}, first, volatile=volatile)

    def changed() -> None:
        write(source, flow("a", namespace, "goodbye"), flow("b", f"{namespace}.below"), flow("d", namespace))

    options = {"src": "flows", "prune": True, "prune_limit": "50%", "drift": "report"}
    yield Case("create, update and prune", options, changed, volatile=volatile)

    def edited() -> None:
        kestra.save_flow(flow("a", namespace, "edited"))

    yield Case("leave what drifted", {**options}, edited, changed=False, volatile={"seconds": MEASURED})
    yield Case("overwrite what drifted", {"src": "flows"}, volatile=volatile)
    renamed = {"src": "flows", "namespace_map": {namespace: f"{namespace}.prod"}}
    yield Case("promote", renamed, volatile=volatile)
    text = flow("inline", namespace, "<[ 1 + 1 ]>")
    yield Case("inline", {"content": [text], "template": True}, volatile=volatile)
    nothing: dict[str, str] = {"seconds": MEASURED}
    yield Case("nothing to do", {"src": "flows"}, changed=False, volatile=nothing)


def examples(kestra: Kestra, namespace: str, directory: Path) -> dict[str, Any]:
    write(directory / "kestra-flows", flow("one", f"company.dev.{namespace}"), flow("two", f"company.dev.{namespace}"))
    on_host = directory / "srv" / "flows"
    on_host.mkdir(parents=True)
    (on_host / "hello-world.yaml").write_text(flow("hello-world", namespace), encoding="utf-8")
    return {"kestra_password": kestra.password}
