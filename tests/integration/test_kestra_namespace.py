"""`kestra_namespace` on the test server: the open-source edition refuses it, a stand-in for the other one takes it."""

from __future__ import annotations

import secrets
from typing import Any

import pytest

from ..unit.in_process import call
from .contracts.kestra_namespace import ENTERPRISE, save
from .kestra import Kestra


@pytest.fixture
def namespace() -> str:
    return f"test.n{secrets.token_hex(4)}"


def keep(kestra: Kestra, namespace: str, **options: Any) -> dict[str, Any]:
    address = {"url": kestra.url, "username": kestra.username, "password": kestra.password}
    return call("kestra_namespace", {"namespace": namespace, **address, **options})


def test_the_open_source_edition_is_refused_by_a_clear_message(either: Kestra, namespace: str) -> None:
    for options in ({"description": "x"}, {"state": "absent"}):
        result = keep(either, namespace, **options)
        assert result["failed"] and "This Kestra is the open-source edition" in result["msg"]


def test_what_is_not_given_stays(either: Kestra, namespace: str) -> None:
    save(either, namespace, description="kept", variables={"a": 1}, storageType="local")
    result = keep(either, namespace, variables={"a": 2}, headers=ENTERPRISE)
    assert (result["action"], result["properties"]) == ("updated", ["variables"])
    stored = either.call("GET", f"/namespaces/{namespace}", headers=ENTERPRISE).json()
    assert stored == {
        "id": namespace,
        "deleted": False,
        "description": "kept",
        "variables": {"a": 2},
        "storageType": "local",
    }


def test_the_defaults_of_plugins_are_for_servers_before_2(either: Kestra, namespace: str) -> None:
    settings = {"pluginDefaults": [{"type": "io.kestra.plugin.core.log.Log", "values": {"level": "WARN"}}]}
    result = keep(either, namespace, settings=settings, headers=ENTERPRISE)
    assert result["failed"] is (either.dialect == "2.0")
    assert ("removed in Kestra 2.0" in result["msg"]) is (either.dialect == "2.0")


def test_a_setting_that_the_server_does_not_know_is_its_refusal(either: Kestra, namespace: str) -> None:
    result = keep(either, namespace, settings={"storagetype": "s3"}, headers=ENTERPRISE)
    assert result["failed"] and "Unrecognized field [storagetype]" in result["msg"]
