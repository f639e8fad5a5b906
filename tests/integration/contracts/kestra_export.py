"""What `kestra_export` keeps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ..kestra import Kestra
from . import Case
from .kestra_kv import put
from .kestra_namespace_files import ODD, upload, write

LOG = "io.kestra.plugin.core.log.Log"


def flow(name: str, namespace: str, message: str = "hello") -> str:
    """Return a flow's source, with what a careless reader would change."""
    return (
        f"# Grüße\r\nid: {name}\nnamespace: {namespace}  # kept\n\ntasks:\n"
        f"  - id: say\n    type: {LOG}\n    message: {message}  \n\n"
    )


def fill(kestra: Kestra, namespace: str) -> None:
    """Put two flows, files, and a key of each kind into a namespace."""
    kestra.save_flow(flow("lower", namespace))
    kestra.save_flow(flow("Lower", namespace, "other"))
    for path, content in ODD.items():
        upload(kestra, namespace, f"/{path}", content)
    put(kestra, namespace, "text", '"42"', description="Größe", ttl="P1D")
    for key, body in {"number": "42", "day": "2026-01-31", "json": '{"a": [1, true], "ü": "☃"}'}.items():
        put(kestra, namespace, key, body)


def cases(kestra: Kestra, namespace: str, directory: Path) -> Iterator[Case]:
    """Each case has namespaces and a directory of its own."""

    def options(name: str, **more: Any) -> dict[str, Any]:
        return {"namespaces": [f"{namespace}.{name}"], "dest": str(directory / name), **more}

    def filled(name: str, *others: str) -> Callable[[], None]:
        def prepare() -> None:
            for each in (name, *others):
                fill(kestra, f"{namespace}.{each}")

        return prepare

    yield Case("everything", options("everything"), filled("everything"))
    yield Case("below", options("below", below=True), filled("below", "below.one", "below.two", "belowzero"))
    yield Case("flows-alone", options("flows", content=["flows"]), filled("flows"))
    yield Case("nothing", options("nothing"), changed=False)

    def stale(name: str) -> Callable[[], None]:
        def prepare() -> None:
            fill(kestra, f"{namespace}.{name}")
            there = f"{namespace}.{name}"
            old = {f"flows/{there}/old.yaml": b"x", f"files/{there}/a/b": b"x", "flows/other/kept.yaml": b"x"}
            write(directory / name, {**old, f"flows/{there}/README.md": b"x"})

        return prepare

    yield Case("stale", options("stale"), stale("stale"))
    yield Case("prune", options("prune", prune=True), stale("prune"))


def examples(kestra: Kestra, namespace: str, directory: Path) -> dict[str, Any]:
    """A namespace with something in it, and one with a flow."""
    fill(kestra, "company.team")
    kestra.save_flow(flow("alone", "company.other"))
    return {"kestra_password": kestra.password, "backup": str(directory / "backup")}
