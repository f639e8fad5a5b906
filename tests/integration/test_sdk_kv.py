"""Kestra's Python SDK on the key-value store and the namespaces: every call that it has for what the server has."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime

import pytest

from .contracts.kestra_namespace import ENTERPRISE
from .kestra import Kestra
from .sdk import TENANT, ApiException, client, where

# After .sdk, which keeps the SDK's warnings away.
from kestrapy.models.api_autocomplete import ApiAutocomplete  # isort: skip
from kestrapy.models.kv_controller_api_delete_bulk_request import KVControllerApiDeleteBulkRequest  # isort: skip
from kestrapy.models.namespace import Namespace  # isort: skip


@pytest.fixture
def namespace() -> str:
    """A namespace of this test's own."""
    return f"test.n{secrets.token_hex(4)}"


@pytest.mark.parametrize(
    ("body", "kind", "value"),
    [
        ('"text"', "STRING", "text"),
        ("42", "NUMBER", 42),
        ("true", "BOOLEAN", True),
        ("2026-01-31", "DATE", "2026-01-31"),
        ("2026-01-31T08:15:00Z", "DATETIME", "2026-01-31T08:15:00Z"),
        ("PT15M", "DURATION", "PT15M"),
        ('{"a": [1, true]}', "JSON", {"a": [1, True]}),
    ],
)
def test_a_key_of_each_type(kestra: Kestra, namespace: str, body: str, kind: str, value: object) -> None:
    api = client(kestra).kv
    api.set_key_value(namespace, "k", TENANT, body)
    found = api.key_value(namespace, "k", TENANT)
    assert (found.type.value, found.value, found.revision) == (kind, value, 1)
    assert isinstance(found.updated, datetime) and abs((datetime.now(UTC) - found.updated).total_seconds()) < 600


def test_lists_and_deletes(kestra: Kestra, namespace: str) -> None:
    api = client(kestra).kv
    for key in ("a", "b", "c"):
        api.set_key_value(namespace, key, TENANT, "1")
    filters = [where("namespace", "EQUALS", namespace)]
    page = api.list_all_keys(TENANT, page=2, size=2, sort=["key:asc"], filters=filters)
    assert (page.total, [(entry.namespace, entry.key, entry.revision) for entry in page.results]) == (
        3,
        [(namespace, "c", 1)],
    )
    assert page.results[0].creation_date <= page.results[0].update_date and page.results[0].expiration_date is None
    inherited = api.list_keys_with_inheritance(f"{namespace}.below", TENANT)
    assert [entry.key for entry in inherited if entry.namespace == namespace] == ["a", "b", "c"]
    assert api.delete_key_value(namespace, "a", TENANT) is True
    assert api.delete_key_value(namespace, "a", TENANT) is False
    deleted = api.delete_key_values(namespace, TENANT, KVControllerApiDeleteBulkRequest(keys=["a", "b"]))
    assert deleted.keys == ["b"]
    with pytest.raises(ApiException) as caught:
        api.key_value(namespace, "a", TENANT)
    assert caught.value.status == 404


def test_namespaces(kestra: Kestra, namespace: str) -> None:
    sdk = client(kestra)
    sdk.kv.set_key_value(f"{namespace}.kv", "k", TENANT, "1")
    page = sdk.namespaces.search_namespaces(TENANT, page=1, size=10, filters=[where("q", "EQUALS", namespace)])
    assert (page.total, [entry.id for entry in page.results]) == (2, [namespace, f"{namespace}.kv"])
    existing = sdk.namespaces.search_namespaces(TENANT, existing=True, filters=[where("q", "EQUALS", namespace)])
    assert [entry.id for entry in existing.results] == [f"{namespace}.kv"]
    assert sdk.namespaces.namespace(namespace, TENANT).id == namespace
    completed = sdk.namespaces.autocomplete_namespaces(TENANT, ApiAutocomplete(q=namespace, ids=["other"]))
    assert completed == ["other", namespace, f"{namespace}.kv"]


def test_namespaces_of_the_enterprise_edition(kestra: Kestra, namespace: str) -> None:
    """A stand-in, which the test server has for requests with its header."""
    sdk = client(kestra)
    sdk._session.headers.update(ENTERPRISE)
    wanted = Namespace(id=namespace, deleted=False, description="x", variables={"a": {"b": 1}})
    assert sdk.namespaces.create_namespace(TENANT, wanted).variables == {"a": {"b": 1}}
    wanted.description = "y"
    assert sdk.namespaces.update_namespace(namespace, TENANT, wanted).description == "y"
    assert sdk.namespaces.namespace(namespace, TENANT).description == "y"
    sdk.namespaces.delete_namespace(namespace, TENANT)
    with pytest.raises(ApiException) as caught:
        sdk.namespaces.namespace(namespace, TENANT)
    assert caught.value.status == 404
