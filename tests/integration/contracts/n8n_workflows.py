"""What `n8n_workflows` keeps."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ..n8n import N8n
from ..n8n_patterns import PATTERNS, callee, caller, credentials, webhook
from . import Case

VOLATILE = {
    "workflows": "only n8n gives a new workflow its id",
    "seconds": "it is another run",
}


def write(directory: Path, *workflows: dict[str, Any]) -> None:
    """Make these the only workflow files of a directory."""
    directory.mkdir(parents=True, exist_ok=True)
    for file in directory.glob("*.json"):
        file.unlink()
    for workflow in workflows:
        (directory / f"{workflow['name']}.json").write_text(json.dumps(workflow), encoding="utf-8")


def store(n8n: N8n, workflow: dict[str, Any], live: bool = False, tag: str | None = "managed-by-ansible") -> str:
    """Store a workflow as another client would; return its id."""
    sent = {key: workflow[key] for key in ("name", "nodes", "connections", "settings", "pinData") if key in workflow}
    workflow_id: str = n8n.api("POST", "/workflows", sent)["id"]
    if tag:
        tags = {one["name"]: one["id"] for one in n8n.api("GET", "/tags", limit=250)["data"]}
        tag_id = tags.get(tag) or n8n.api("POST", "/tags", {"name": tag})["id"]
        n8n.api("PUT", f"/workflows/{workflow_id}/tags", [{"id": tag_id}])
    if live:
        n8n.api("POST", f"/workflows/{workflow_id}/activate", {})
    return workflow_id


def cases(n8n: N8n, prefix: str, directory: Path) -> Iterator[Case]:
    """Each thing that can become of a workflow."""

    def case(
        name: str,
        files: list[dict[str, Any]],
        there: Callable[[], Any] = lambda: None,
        changed: bool = True,
        **options: Any,
    ) -> Case:
        place = directory / name

        def prepare() -> None:
            n8n.clear()
            credentials(n8n)
            there()
            write(place, *files)

        return Case(name, {"src": [str(place)], "remote_src": True, **options}, prepare, changed, volatile=VOLATILE)

    old, new = webhook("one", "p1", "old"), webhook("one", "p1", "new")
    live = {**new, "active": True}
    yield case("create", [old])
    yield case("create-published", [live])
    yield case("create-every-pattern", PATTERNS)
    yield case("create-callee-and-caller", [caller("a-caller", "z-callee"), callee("z-callee")])
    yield case("update-draft", [new], lambda: store(n8n, old))
    yield case("update-published", [live], lambda: store(n8n, old, live=True))
    yield case("update-only-the-draft", [new], lambda: store(n8n, old, live=True), publish="never")
    yield case("publish", [live], lambda: store(n8n, new))
    yield case("unpublish", [{**new, "active": False}], lambda: store(n8n, new, live=True))
    yield case("adopt", [new], lambda: store(n8n, new, tag=None))
    yield case("tags", [{**new, "tags": ["x"]}], lambda: store(n8n, new))
    yield case("unchanged", [new], lambda: store(n8n, new), changed=False)
    yield case("unchanged-and-published", [live], lambda: store(n8n, new, live=True), changed=False)
    yield case("keep", [live], lambda: store(n8n, new), changed=False, publish="keep")
    gone = webhook("gone", "p2")
    yield case("prune", [new], lambda: (store(n8n, new), store(n8n, gone, live=True)), prune=True)
    yield case("stale", [new], lambda: (store(n8n, new), store(n8n, gone)), changed=False)

    def crossed() -> None:
        store(n8n, webhook("one", "p1"), live=True)
        store(n8n, webhook("two", "p2"), live=True)

    swapped = [{**webhook("one", "p2"), "active": True}, {**webhook("two", "p3"), "active": True}]
    yield case("path-taken-over", swapped, crossed)
    yield case("drift-report", [new], lambda: store(n8n, old), changed=False, drift="report")


def examples(n8n: N8n, prefix: str, directory: Path) -> dict[str, Any]:
    """One workflow in a directory beside the playbook; nothing in n8n."""
    n8n.clear()
    write(directory / "n8n-workflows", {**webhook("one", "p1"), "active": True})
    return {}
