"""`kestra_flow` and what it cannot do."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

from ..unit.playbook import Played, play
from .contracts.kestra_flows import flow
from .kestra import Kestra


def run(kestra: Kestra, tmp_path: Path, *options: dict[str, Any]) -> Played:
    """Run a task for each set of options."""
    given = {"url": kestra.url, "username": kestra.username, "password": kestra.password}
    tasks = [
        {"name": "Keep", "devorch.orchestration.kestra_flow": {**given, **each}, "ignore_errors": True}
        for each in options
    ]
    played = play(tmp_path, tasks, "--diff")
    assert kestra.password not in played.output and "Traceback" not in played.output
    return played


def test_texts_revisions_and_switches(either: Kestra, tmp_path: Path) -> None:
    namespace = f"test.n{secrets.token_hex(4)}"
    one = {"namespace": namespace, "id": "one"}
    text = flow("one", namespace).rstrip("\n") + "\r\n# Grüße"
    played = run(
        either,
        tmp_path,
        {**one, "content": text},
        {**one, "state": "disabled"},
        {**one, "state": "disabled"},
        {**one, "state": "enabled"},
        {**one, "state": "absent"},
        {**one, "state": "absent"},
        {**one, "revision": 1},
    )
    # The callback that hands the results over has a key "action" of its own.
    assert [(r["msg"].split()[-1], r["flow"]["revision"], r["flow"]["disabled"]) for r in played.results] == [
        ("created", 1, False),
        ("updated", 2, True),
        ("unchanged", 2, True),
        ("updated", 3, False),
        ("deleted", None, None),
        ("unchanged", None, None),
        ("created", 5, False),
    ], played.output
    stored = either.call("GET", f"/flows/{namespace}/one", params={"source": "true"}).json()
    assert stored["source"] == text and not stored["disabled"]
    assert played.results[1]["diff"][0]["after"] == f"{text}\ndisabled: true\n"


def test_what_cannot_be_done_is_a_sentence(either: Kestra, tmp_path: Path) -> None:
    namespace = f"test.n{secrets.token_hex(4)}"
    one = {"namespace": namespace, "id": "one"}
    braces = f"{{id: one, namespace: {namespace}, tasks: [{{id: a, type: io.kestra.plugin.core.log.Log, message: b}}]}}"
    cases: list[tuple[dict[str, Any], str]] = [
        ({**one, "state": "disabled"}, f"Flow {namespace}/one does not exist, so it cannot be disabled."),
        ({**one, "revision": 7}, f"Flow {namespace}/one has no revision 7."),
        ({**one}, "state is present but any of the following are missing: content, revision"),
        ({**one, "content": flow("two", namespace)}, f"is about {namespace}/two and not about {namespace}/one"),
        ({**one, "content": "id: one"}, "namespace is missing"),
        ({**one, "content": flow("one", namespace).replace("log.Log", "log.Nope")}, "Invalid type"),
        ({**one, "content": braces}, ""),
        ({**one, "state": "disabled"}, "has no place for a line of its own"),
        ({**one, "state": "absent", "revision": 1}, "revision goes with state 'present'"),
    ]
    played = run(either, tmp_path, *(options for options, _message in cases))
    for (_options, message), result in zip(cases, played.results, strict=True):
        assert bool(result.get("failed")) is bool(message), result["msg"]
        assert message in result["msg"]
