"""What `n8n_credentials` keeps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ...unit.in_process import call
from ..n8n import N8n
from . import Case

VOLATILE = {"credentials": "only n8n gives new credentials their id"}


def header(name: str, value: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": "httpHeaderAuth", "data": {"name": "X-Token", "value": value}, **more}


def ensure(n8n: N8n, *wanted: dict[str, Any]) -> None:
    """Let the module itself write them, which leaves its record."""
    options = {"credentials": list(wanted), "url": n8n.url, "api_key": n8n.api_key}
    result = call("n8n_credentials", options)
    assert not result["failed"], result["msg"]


def cases(n8n: N8n, prefix: str, directory: Path) -> Iterator[Case]:
    """Created, with other values, as they are, deleted, and not there."""

    def case(
        name: str,
        wanted: list[dict[str, Any]],
        there: Callable[[], Any] = lambda: None,
        changed: bool = True,
        **more: Any,
    ) -> Case:
        def prepare() -> None:
            n8n.clear()
            there()

        return Case(name, {"credentials": wanted, **more}, prepare, changed, volatile=VOLATILE)

    one, other = header("First", "secret"), header("First", "other")
    yield case("create", [one, {"name": "Bearer", "type": "httpBearerAuth", "data": {"token": "secret"}}])
    yield case("create-with-id", [header("Chosen", "secret", id="chosen-id-1")])
    yield case("update", [other], lambda: ensure(n8n, one))
    yield case("unchanged", [one], lambda: ensure(n8n, one), changed=False)
    yield case("made-by-hand", [one], lambda: n8n.api("POST", "/credentials", other))
    absent = {"name": "First", "type": "httpHeaderAuth"}
    yield case("delete", [absent], lambda: ensure(n8n, one), state="absent")
    yield case("absent-already", [absent], changed=False, state="absent")
    yield case("other-key", [one], lambda: ensure(n8n, one), hash_key="another key")


def examples(n8n: N8n, prefix: str, directory: Path) -> dict[str, Any]:
    n8n.clear()
    return {"webhook_token": "w3bhook", "sidecar_token": "s1decar"}
