"""What `kestra_kv` keeps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ..kestra import Kestra
from . import Case

VOLATILE = {
    "revision": "the server counts it when it stores the key",
    "expiration": "it counts from the moment of the write",
}


def put(kestra: Kestra, namespace: str, key: str, body: str, **headers: str) -> None:
    """Write a key as somebody else would."""
    path = f"/namespaces/{namespace}/kv/{key}"
    answer = kestra.call("PUT", path, data=body.encode(), headers={"Content-Type": "text/plain", **headers})
    assert answer.status_code == 200, answer.text


def cases(kestra: Kestra, namespace: str, directory: Path) -> Iterator[Case]:
    """Every type created; everything that can be another one updated; deleted, and not there."""

    def before(key: str, body: str, **headers: str) -> Callable[[], None]:
        return lambda: put(kestra, namespace, key, body, **headers)

    def options(key: str, **more: Any) -> dict[str, Any]:
        return {
            "namespace": namespace,
            "key": key,
            **{name: value for name, value in more.items() if value is not None},
        }

    values: dict[str, tuple[Any, str | None]] = {
        "text": ("hello world", None),
        "looks-like-a-number": ("42", None),
        "number": ("42", "NUMBER"),
        "fraction": (0.1, None),
        "boolean": (True, None),
        "date": ("2026-01-31", "DATE"),
        "datetime": ("2026-01-31T08:15:00+01:00", "DATETIME"),
        "duration": ("P7D", "DURATION"),
        "json": ({"a": [1, None, "ü ☃"], "b": None, "c": {}}, None),
        "text-of-json": ('["a", 1.5]', "JSON"),
    }
    for name, (value, kind) in values.items():
        yield Case(f"create-{name}", options(name, value=value, type=kind), volatile=VOLATILE)
    everything = options("all", value=1, ttl="PT1H", description="Grüße")
    yield Case("create-with-everything", everything, volatile=VOLATILE)
    yield Case("update-value", options("v", value="new"), before("v", '"old"'), volatile=VOLATILE)
    yield Case("update-type", options("t", value="1"), before("t", "1"), volatile=VOLATILE)
    yield Case("update-description", options("d", value=1, description="new"), before("d", "1"), volatile=VOLATILE)
    yield Case("update-ttl", options("l", value=1, ttl="P1D"), before("l", "1", ttl="PT1H"), volatile=VOLATILE)
    yield Case("update-to-never", options("n", value=1, ttl="never"), before("n", "1", ttl="PT1H"), volatile=VOLATILE)
    same = {"description": "kept", "ttl": "P1D"}
    yield Case("unchanged", options("same", value="x", **same), before("same", '"x"', **same), changed=False)
    yield Case("unchanged-when-not-asked", options("q", value="x"), before("q", '"x"', **same), changed=False)
    yield Case("sensitive", options("s", value="secret", sensitive=True), before("s", '"old"'), volatile=VOLATILE)
    yield Case("delete", options("gone", state="absent"), before("gone", "1"))
    yield Case("absent-already", options("never-there", state="absent"), changed=False)


def examples(kestra: Kestra, namespace: str, directory: Path) -> dict[str, Any]:
    """One key is there already, to be deleted."""
    put(kestra, "company.team", "outdated", '"x"')
    return {"kestra_password": kestra.password, "endpoint_token": "t0ken"}
