"""Namespaces of the Enterprise edition: what differs, what is kept, and what is shown."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.namespaces import (
    different,
    edition_problem,
    settings_problem,
    shown,
    wanted_properties,
)

from ....fake_kestra import PASSWORD, USERNAME, Answer, FakeKestra
from ....in_process import call, printed

PATH = "/api/v1/main/namespaces"
CANARY = "canary-4711-songbird"


def login(server: FakeKestra) -> dict[str, Any]:
    server.edition = "EE"
    return {"url": server.url, "username": USERNAME, "password": PASSWORD, "retries": 0, "namespace": "team"}


def run(server: FakeKestra, *, check: bool = False, **options: Any) -> dict[str, Any]:
    return call("kestra_namespace", {**login(server), **options}, check=check)


@pytest.mark.parametrize(("edition", "refused"), [("OSS", True), ("oss", True), ("EE", False), (None, False)])
def test_editions(edition: str | None, refused: bool) -> None:
    assert (edition_problem(edition) is not None) is refused


@pytest.mark.parametrize(
    ("settings", "is_2", "refused"),
    [
        ({"storageType": "s3"}, True, False),
        ({"pluginDefaults": []}, True, True),
        ({"pluginDefaults": []}, False, False),
        ({"variables": {}}, True, True),
        ({"id": "x"}, False, True),
    ],
)
def test_settings(settings: dict[str, Any], is_2: bool, refused: bool) -> None:
    assert (settings_problem(settings, is_2) is not None) is refused


@pytest.mark.parametrize(
    ("stored", "wanted", "names"),
    [
        ({}, {}, []),
        ({}, {"description": "", "variables": {}, "allowedNamespaces": []}, []),
        ({"description": "a"}, {"description": ""}, ["description"]),
        ({"variables": {"a": 1, "b": 2}}, {"variables": {"a": 1}}, ["variables"]),
        ({"variables": {"a": 1}}, {"variables": {"a": "1"}}, ["variables"]),
        ({"variables": {"a": [{}]}}, {"variables": {"a": [{"b": None}], "c": None}}, []),
        ({}, {"secretReadOnly": False}, ["secretReadOnly"]),
        ({"concurrency": {"limit": 1, "behavior": "QUEUE"}}, {"concurrency": {"limit": 1}}, []),
        ({"concurrency": {"limit": 1}}, {"concurrency": {"limit": 2}}, ["concurrency"]),
        (
            {"allowedNamespaces": [{"namespace": "b"}, {"namespace": "a"}]},
            wanted_properties(None, None, ["a", "b", "a"], {}),
            [],
        ),
    ],
)
def test_what_differs(stored: dict[str, Any], wanted: dict[str, Any], names: list[str]) -> None:
    assert different(stored, wanted) == names


def test_nothing_but_what_has_an_option_is_shown() -> None:
    assert shown(None) is None
    assert shown({"id": "a", "secretConfiguration": {"x": CANARY}}) == {
        "id": "a",
        "description": "",
        "variables": {},
        "allowed_namespaces": [],
    }


@pytest.mark.parametrize("version", ["2.0.5", "1.3.9"])
def test_check_mode_writes_nothing_and_the_second_run_neither(version: str) -> None:
    options = {"description": "x", "variables": {"a": [1]}, "settings": {"storageType": "s3"}}
    with FakeKestra(version) as server:
        checked = run(server, check=True, **options)
        assert server.writes == []
        assert run(server, **options) == checked
        writes = list(server.writes)
        assert run(server, **options)["action"] == run(server)["action"] == "unchanged"
        assert server.writes == writes
        assert run(server, state="absent", description="ignored")["namespace"] is None
        assert server.namespaces == {} and run(server, state="absent")["changed"] is False


def test_a_write_that_had_no_effect_is_a_failure() -> None:
    with FakeKestra() as server:
        server.namespaces["team"] = {"id": "team", "description": "old"}
        stays = Answer(200, {"id": "team", "description": "old"})
        server.prepare(f"GET {PATH}/team", stays, stays)
        result = run(server, description="new")
    assert (result["failed"], result["changed"]) == (True, True) and "another description" in result["msg"]


def test_a_server_without_such_a_tenant_is_not_one_without_the_namespace() -> None:
    with FakeKestra(tenant="other") as server:
        for options in ({"state": "absent"}, {}):
            assert "read the list of flows" in run(server, **options)["msg"]
        assert server.writes == []


def test_settings_are_shown_nowhere_even_if_the_server_repeats_them() -> None:
    settings = {"storageConfiguration": {"key": CANARY}, "concurrency": {"limit": 2}}
    with FakeKestra() as server:
        server.prepare(f"POST {PATH}", Answer(422, {"message": f"I do not like {CANARY}"}))
        refused, taken = (printed("kestra_namespace", {**login(server), "settings": settings}) for _run in range(2))
        assert CANARY not in refused + taken
        assert "I do not like" in refused and "storageConfiguration" in taken
        assert server.namespaces["team"]["storageConfiguration"] == {"key": CANARY}


def test_a_name_that_no_namespace_can_have() -> None:
    with FakeKestra() as server:
        assert "lower-case letters" in run(server, namespace="Team")["msg"] and server.requests == []
