"""Custom dashboards: the text, and a server that misbehaves."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.dashboards import id_problem, text_problems

from ....fake_kestra import PASSWORD, USERNAME, Answer, FakeKestra
from ....in_process import call

TEXT = "id: one\ntitle: One\n"
PATH = "/api/v1/main/dashboards"


def run(server: FakeKestra, *, check: bool = False, **options: Any) -> dict[str, Any]:
    login = {"url": server.url, "username": USERNAME, "password": PASSWORD, "retries": 0}
    return call("kestra_dashboard", {**login, "id": "one", **options}, check=check)


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        (TEXT, []),
        ("---\n# c\n" + TEXT, []),
        ('"id": "one"\n', []),
        ("id: two\n", ["line 1: it has id two, and the task has one"]),
        ("title: x\nid: [one]\n", ["line 2: it has an id of another type, and the task has one"]),
        ("title: x\n", ["it has no id; add the line 'id: one'"]),
        ("id: one\nid: one\n", ["line 2: key 'id' is given twice, first in line 1"]),
        ("id: one\n---\nid: one\n", ["it is not one YAML mapping with id, title and charts"]),
        ("", ["it is not one YAML mapping with id, title and charts"]),
        ("- id: one\n", ["it is not one YAML mapping with id, title and charts"]),
    ],
)
def test_the_text_of_a_dashboard(text: str, problems: list[str]) -> None:
    assert text_problems(text, "one") == problems


def test_a_text_that_is_no_yaml_is_told_with_its_line() -> None:
    (problem,) = text_problems("id: one\ntitle: [\n", "one")
    assert problem.startswith("line 3: YAML syntax:")


@pytest.mark.parametrize(("name", "good"), [("a.B-c_1", True), ("", False), ("a/b", False), ("settings", False)])
def test_ids(name: str, good: bool) -> None:
    assert (id_problem(name) is None) is good


def test_nothing_is_written_in_check_mode_or_if_nothing_changes() -> None:
    with FakeKestra() as server:
        assert run(server, content=TEXT, check=True)["action"] == "created"
        assert server.writes == []
        assert run(server, content=TEXT)["action"] == "created"
        writes = list(server.writes)
        for text in (TEXT, TEXT.rstrip(), TEXT + "\n"):
            assert run(server, content=text)["changed"] is False
        assert server.writes == writes
        assert run(server, state="absent", check=True)["diff"][0]["after"] == ""
        assert server.writes == writes


def test_what_the_server_would_refuse_is_not_sent() -> None:
    with FakeKestra() as server:
        for check in (True, False):
            result = run(server, content="id: one\ntitle: odd\n", check=check)
            assert result["problems"] == ["Kestra says: charts: are odd"]
        assert server.writes == []


def test_what_is_read_back_is_compared() -> None:
    with FakeKestra() as server:
        server.prepare(f"GET {PATH}/one", Answer(404), Answer(200, {"id": "one", "sourceCode": "id: one\ntitle: B\n"}))
        result = run(server, content=TEXT)
    assert (result["failed"], result["changed"]) == (True, True) and "another text" in result["msg"]


def test_a_server_that_knows_no_dashboards_is_not_one_that_has_none() -> None:
    with FakeKestra() as server:
        for state in ({"state": "absent"}, {"content": TEXT}):
            server.prepare(f"GET {PATH}", Answer(404), Answer(404, {"message": "Page Not Found"}))
            result = run(server, **state)
            assert result["failed"] and "Could not list the dashboards: HTTP 404" in result["msg"]


def test_an_answer_that_is_no_dashboard() -> None:
    with FakeKestra() as server:
        server.prepare(f"GET {PATH}/one", Answer(200, {"id": "one"}))
        assert "not a dashboard" in run(server, content=TEXT)["msg"]


def test_options_that_go_together() -> None:
    with FakeKestra() as server:
        assert "goes with state 'present'" in run(server, content=TEXT, state="absent")["msg"]
        assert "Kestra's own" in run(server, id="validate", state="absent")["msg"]
        assert run(server, content="title: x\n")["problems"]
        assert server.requests == []
