"""What `kestra_namespace` keeps, against the test server's stand-in for the Enterprise edition."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..kestra import Kestra
from . import Case

ENTERPRISE = {"X-Test-Server-Edition": "EE"}
# What the examples leave out.
DEFAULTS = {"headers": ENTERPRISE}


def save(kestra: Kestra, name: str, **properties: Any) -> None:
    """Write a namespace as somebody else would."""
    kestra.call("DELETE", f"/namespaces/{name}", headers=ENTERPRISE)
    answer = kestra.call("POST", "/namespaces", json={"id": name, "deleted": False, **properties}, headers=ENTERPRISE)
    assert answer.status_code == 200, answer.text


def cases(kestra: Kestra, namespace: str, directory: Path) -> Iterator[Case]:
    given = {"namespace": namespace, "headers": ENTERPRISE}

    def there(**properties: Any) -> Any:
        return lambda: save(kestra, namespace, **properties)

    everything = {
        "description": "Grüße",
        "variables": {"a": 1, "b": ["x", {"c": None}]},
        "allowed_namespaces": ["z.y", "a.b"],
        "settings": {"outputsInInternalStorage": True, "concurrency": {"limit": 2, "behavior": "QUEUE"}},
    }

    def gone() -> None:
        kestra.call("DELETE", f"/namespaces/{namespace}", headers=ENTERPRISE)

    yield Case("create", given, gone)
    yield Case("create with everything", {**given, **everything}, gone)
    yield Case("leave alone what is not given", given, changed=False)
    yield Case("update the variables", {**given, "variables": {"a": 2}}, there(variables={"a": 1, "b": 2}))
    yield Case("remove the variables", {**given, "variables": {}}, there(variables={"a": 1}))
    yield Case("update a setting", {**given, "settings": {"storageType": "s3"}}, there(storageType="local"))
    names = {"allowed_namespaces": ["a", "b"]}
    allowed = [{"namespace": "b"}, {"namespace": "a"}]
    yield Case("another order", {**given, **names}, there(allowedNamespaces=allowed), changed=False)
    yield Case("delete", {**given, "state": "absent"}, there())
    yield Case("absent already", {**given, "state": "absent"}, changed=False)


def examples(kestra: Kestra, namespace: str, directory: Path) -> dict[str, Any]:
    """One is there already, to be deleted."""
    save(kestra, "company.outdated")
    return {"kestra_token": "{{ omit }}"}
