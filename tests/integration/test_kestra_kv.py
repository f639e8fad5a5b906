"""`kestra_kv` on a live Kestra: what its engine makes of values, and what a person sees."""

from __future__ import annotations

import re
import secrets
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra import client as kestra_client

from ..unit.in_process import call
from ..unit.playbook import Played, play, play_plainly
from .contracts.kestra_kv import put
from .kestra import Kestra


@pytest.fixture
def namespace() -> str:
    """A namespace of this test's own."""
    return f"test.n{secrets.token_hex(4)}"


def task(kestra: Kestra, namespace: str, key: str, **options: Any) -> dict[str, Any]:
    address = {"url": kestra.url, "username": kestra.username, "password": kestra.password}
    module = {"namespace": namespace, "key": key, **address, **options}
    return {"name": "Key", "devorch.orchestration.kestra_kv": module, "ignore_errors": True}


def run(directory: Path, *tasks: dict[str, Any], arguments: tuple[str, ...] = (), **play_keys: Any) -> Played:
    played = play(directory, list(tasks), *arguments, play_keys=play_keys)
    assert "Traceback" not in played.output
    return played


def keep(kestra: Kestra, namespace: str, key: str, **options: Any) -> dict[str, Any]:
    """Call the module in this process."""
    address = {"url": kestra.url, "username": kestra.username, "password": kestra.password}
    return call("kestra_kv", {"namespace": namespace, "key": key, **address, **options})


def get(kestra: Kestra, namespace: str, key: str) -> dict[str, Any]:
    found: dict[str, Any] = kestra.call("GET", f"/namespaces/{namespace}/kv/{key}").json()
    return found


def test_values_arrive_as_they_are_written_in_a_playbook(either: Kestra, tmp_path: Path, namespace: str) -> None:
    variables = {"number": 42, "text": "042", "mapping": {"a": [1, True, "x"]}, "json_text": '{"b": "☃"}'}
    wanted: dict[str, tuple[Any, str | None, str, Any]] = {
        "quoted": ("42", None, "STRING", "42"),
        "words": ("hello world", None, "STRING", "hello world"),
        "like-a-date": ("2026-01-31", None, "STRING", "2026-01-31"),
        "like-json": ("[1", None, "STRING", "[1"),
        "template-text": ("{{ text }}", None, "STRING", "042"),
        "template-number": ("{{ number + 1 }}", "NUMBER", "NUMBER", 43),
        "template-to-text": ("{{ number | string }}", "STRING", "STRING", "42"),
        "template-mapping": ("{{ mapping }}", "JSON", "JSON", {"a": [1, True, "x"]}),
        "template-json": ("{{ json_text }}", "JSON", "JSON", {"b": "☃"}),
        "template-boolean": ("{{ number == 42 }}", "BOOLEAN", "BOOLEAN", True),
        "day": ("2026-01-31", "DATE", "DATE", "2026-01-31"),
        "moment": ("2026-01-31T09:15:00+01:00", "DATETIME", "DATETIME", "2026-01-31T08:15:00Z"),
    }
    tasks = [
        task(either, namespace, key, value=value, **({"type": kind} if kind else {}))
        for key, (value, kind, _type, _stored) in wanted.items()
    ]
    first = run(tmp_path, *tasks, vars=variables)
    assert [result["changed"] for result in first.results] == [True] * len(wanted), first.output
    for key, (_value, _kind, kind_stored, stored) in wanted.items():
        found = get(either, namespace, key)
        assert (key, found["type"], found["value"]) == (key, kind_stored, stored)
    again = run(tmp_path, *tasks, vars=variables)
    assert [result["changed"] for result in again.results] == [False] * len(wanted), again.output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"value": 1.10, "type": "STRING"}, "value is a number where type is STRING"),
        ({"value": "PT5M"}, "value is a text that Kestra would read as a duration"),
        ({"value": "tomorrow", "type": "DATETIME"}, "value is not a date and time"),
        ({"value": "x", "ttl": "1 hour"}, "ttl is not a duration"),
        ({"value": "x", "description": "☃"}, "description contains the character U+2603"),
        ({"value": "x", "key": "-k"}, "key '-k' must begin with"),
        ({"value": "x", "namespace": "No.Such"}, "namespace 'No.Such' is not a namespace"),
        ({}, "state is present but all of the following are missing: value"),
    ],
)
def test_what_cannot_be_kept_is_refused(kestra: Kestra, options: dict[str, Any], message: str) -> None:
    found = keep(kestra, **{"namespace": "test.refused", "key": "k", **options})
    assert found["failed"] and found["msg"].startswith(message)
    assert kestra.call("GET", "/namespaces/test.refused/kv/k").status_code == 404


def test_only_what_differs_makes_a_revision(either: Kestra, namespace: str) -> None:
    full = {"value": {"a": 1}, "description": "Größe", "ttl": "PT1H"}
    calls: list[dict[str, Any]] = [
        full,
        full,
        {"value": {"a": 1.0, "b": None}},
        {"value": {"a": 1}, "description": "other"},
        {"value": {"a": 2}},
        {"value": {"a": 2}, "ttl": "P1D"},
        {"value": {"a": 2}, "ttl": "never", "description": ""},
    ]
    results = [keep(either, namespace, "k", **options) for options in calls]
    assert [(each["action"], each["revision"]) for each in results] == [
        *(("created", 1), ("unchanged", 1), ("unchanged", 1)),
        *(("updated", 2), ("updated", 3), ("updated", 4), ("updated", 5)),
    ]
    assert results[3]["description"] == results[4]["description"] == "other" and results[6]["description"] == ""
    # A write that does not ask for a time to live takes it away.
    assert results[0]["expiration"] and not results[3]["expiration"] and results[5]["expiration"]
    assert results[3]["diff"]["before"]["ttl"] == "PT3600S" and results[3]["diff"]["after"]["ttl"] == "never"
    assert results[5]["msg"] == f"updated {namespace}/k: ttl"


def test_an_expired_key_is_created_again(either: Kestra, namespace: str) -> None:
    put(either, namespace, "k", '"x"', ttl="PT0S")
    assert [keep(either, namespace, "k", value="x")["action"] for _again in range(2)] == ["created", "unchanged"]


def test_a_sensitive_value_is_nowhere(either: Kestra, tmp_path: Path, namespace: str) -> None:
    put(either, namespace, "k", '"old-s3cret"')
    sensitive = task(either, namespace, "k", value={"token": "new-s3cret"}, sensitive=True)
    refused = task(either, namespace, "k", value='{"token": new-s3cret', type="JSON", sensitive=True)
    played = run(tmp_path, sensitive, sensitive, refused, arguments=("--diff", "-vvv"))
    shown = play_plainly(tmp_path, task(either, namespace, "k", value=["s3cret"], sensitive=True), "--diff", "-vvv")
    assert "s3cret" not in played.output + shown
    assert [result["changed"] for result in played.results] == [True, False, False]
    assert played.results[0]["diff"]["after"]["value"] == "(sensitive, another value)"
    assert played.results[1]["value"] is None
    assert get(either, namespace, "k")["value"] == ["s3cret"]


def test_a_value_is_shown_in_the_diff(kestra: Kestra, tmp_path: Path, namespace: str) -> None:
    put(kestra, namespace, "k", "1")
    shown = play_plainly(tmp_path, task(kestra, namespace, "k", value=2), "--diff", "--check")
    assert re.search(r'^-.*value"?: 1$', shown, re.M) and re.search(r'^\+.*value"?: 2$', shown, re.M)
    assert get(kestra, namespace, "k")["value"] == 1


def test_more_keys_than_a_page_has(kestra: Kestra, namespace: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        put(kestra, namespace, f"k{number}", "1", description=f"d{number}")
    monkeypatch.setattr(kestra_client, "PAGE", 2)
    found = [keep(kestra, namespace, f"k{number}", value=1) for number in range(3)]
    assert [(each["action"], each["description"]) for each in found] == [("unchanged", f"d{n}") for n in range(3)]
