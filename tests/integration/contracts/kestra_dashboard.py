"""What `kestra_dashboard` keeps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..kestra import Kestra
from . import Case

YAML = {"Content-Type": "application/x-yaml"}


def dashboard(identifier: str, title: str = "Errors") -> str:
    """Return the text of a dashboard with one chart."""
    return (
        f"# kept: ü ☃\nid: {identifier}\ntitle: {title}\ntimeWindow:\n  default: P7D\ncharts:\n  - id: states\n"
        "    type: io.kestra.plugin.core.dashboard.chart.Pie\n    data:\n"
        "      type: io.kestra.plugin.core.dashboard.data.Executions\n"
        "      columns:\n        state:\n          field: STATE\n        total:\n          agg: COUNT\n"
    )


def save(kestra: Kestra, identifier: str, text: str | None) -> None:
    """Write a dashboard as somebody else would, or delete it."""
    kestra.call("DELETE", f"/dashboards/{identifier}")
    if text is not None:
        answer = kestra.call("POST", "/dashboards", data=text.encode(), headers=YAML)
        assert answer.status_code == 200, answer.text


def cases(kestra: Kestra, namespace: str, directory: Path) -> Iterator[Case]:
    name = namespace.replace(".", "-")
    text = dashboard(name)
    present = {"id": name, "content": text}
    yield Case("create", present, lambda: save(kestra, name, None))
    yield Case("update", present, lambda: save(kestra, name, dashboard(name, "by hand")))
    yield Case("leave alone", present, lambda: save(kestra, name, text), changed=False)
    yield Case("without a line break", {**present, "content": text.rstrip()}, changed=False)
    yield Case("delete", {"id": name, "state": "absent"})
    yield Case("absent already", {"id": name, "state": "absent"}, changed=False)


def examples(kestra: Kestra, namespace: str, directory: Path) -> dict[str, Any]:
    """One is there already, to be deleted."""
    save(kestra, "outdated", dashboard("outdated"))
    (directory / "errors.yaml").write_text(dashboard("errors"), encoding="utf-8")
    return {"kestra_password": kestra.password}
