"""The small filters that the roles use: environment files, registries of an image, differences of databases."""

from __future__ import annotations

import copy
import datetime
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.devorch.orchestration.plugins.filter.database_differences import database_differences
from ansible_collections.devorch.orchestration.plugins.filter.duration_seconds import duration_seconds
from ansible_collections.devorch.orchestration.plugins.filter.environment_file import environment_file
from ansible_collections.devorch.orchestration.plugins.filter.environment_text import environment_text
from ansible_collections.devorch.orchestration.plugins.filter.image_registries import FilterModule
from ansible_collections.devorch.orchestration.plugins.module_utils.environment_file import parse


def test_environment_file_is_sorted_and_quoted() -> None:
    assert environment_file({"b": 1, "A": "x y", "_c": "$"}) == "# Ansible managed\n_c='$'\nA='x y'\nb='1'\n"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (True, "true"),
        (False, "false"),
        (0, "0"),
        (17, "17"),
        (1.5, "1.5"),
        ("True", "True"),
        ("", ""),
        (datetime.date(2026, 1, 31), "2026-01-31"),
    ],
)
def test_environment_values_are_as_programs_read_them(value: Any, expected: str) -> None:
    assert environment_text(value) == expected
    assert environment_file({"A": value}) == f"# Ansible managed\nA='{expected}'\n"


@pytest.mark.parametrize(
    ("value", "written"),
    [
        # What Compose 2.26 and 5 were seen to read back.
        ("  ${x} $y $$z %d # \t", "'  ${x} $y $$z %d # \t'"),
        ('{"a": "b"}', """'{"a": "b"}'"""),
        ("it's", '"it\'s"'),
        ("back\\", r'"back\\"'),
        ("a\nb\r\n", r'"a\nb\r\n"'),
        (r"it's ${x} $$ \n \'", "\"it's \\${x} \\$\\$ \\\\n \\\\'\""),
        ("\\\"\\'", '"\\\\\\"\\\\\'"'),
    ],
)
def test_environment_file_has_one_line_per_value(value: str, written: str) -> None:
    content = environment_file({"A": value})
    assert content == f"# Ansible managed\nA={written}\n"
    assert parse(content) == {"A": value}


@pytest.mark.parametrize("value", [None, ["a"], {"a": "b"}, datetime.datetime(2026, 1, 31), "a\0b"])
def test_environment_values_that_are_no_text(value: Any) -> None:
    with pytest.raises(AnsibleFilterError, match="environment_file: A "):
        environment_file({"A": value})
    with pytest.raises(AnsibleFilterError, match="environment_text: the value "):
        environment_text(value)


@pytest.mark.parametrize("value", ["a\x0bb\x0cc", "a\x85b\u2028c", "é ü 漢", "\x01\x7f'"])
def test_environment_file_can_be_read_back(value: str) -> None:
    variables = {"A": value, "B": f"'{value}"}
    assert parse(environment_file(variables)) == variables


def test_environment_file_wants_a_dictionary() -> None:
    with pytest.raises(AnsibleFilterError):
        environment_file(["A"])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("image", "registries"),
    [
        ("docker.io/library/postgres:17", ["http://mirror:5000", "https://registry-1.docker.io"]),
        ("library/postgres:17", ["http://mirror:5000", "https://registry-1.docker.io"]),
        ("postgres:17", ["http://mirror:5000", "https://registry-1.docker.io"]),
        ("registry.example.com/a/b:1", ["https://registry.example.com"]),
        ("localhost/a:1", ["https://localhost"]),
        ("plain:5000/a:1", ["http://plain:5000"]),
    ],
)
def test_image_registries(image: str, registries: list[str]) -> None:
    image_registries = FilterModule().filters()["image_registries"]
    assert image_registries(image, ["http://mirror:5000"], ["plain:5000"]) == registries


ROLE = {"superuser": False, "createdb": False, "createrole": False, "login": True, "password": "current"}
STATE: dict[str, Any] = {
    "reachable": True,
    "roles": {"postgres": ROLE | {"superuser": True, "createdb": True, "createrole": True}, "n8n": ROLE},
    "databases": {"n8n": {"owner": "n8n", "encoding": "UTF8", "public": False}},
}


def test_databases_as_wanted() -> None:
    assert database_differences(STATE, ["n8n"]) == []


def test_databases_that_cannot_be_read() -> None:
    assert database_differences({"reachable": False}, ["n8n"]) == ["PostgreSQL does not answer"]


@pytest.mark.parametrize(
    ("part", "name", "key", "value", "words"),
    [
        ("roles", "n8n", "password", "other", "password"),
        ("roles", "n8n", "password", "unknown", "password"),
        ("roles", "n8n", "superuser", True, "attributes"),
        ("roles", "n8n", "login", False, "attributes"),
        ("roles", "postgres", "superuser", False, "attributes"),
        ("roles", "n8n", "createdb", True, "may create"),
        ("databases", "n8n", "owner", "postgres", "owner"),
        ("databases", "n8n", "public", True, "everybody"),
    ],
)
def test_database_that_differs(part: str, name: str, key: str, value: Any, words: str) -> None:
    state = copy.deepcopy(STATE)
    state[part][name][key] = value
    (difference,) = database_differences(state, ["n8n"])
    assert words in difference


def test_missing_role_and_database() -> None:
    assert database_differences(STATE, ["n8n", "kestra"]) == [
        "the role kestra is missing",
        "the database kestra is missing",
    ]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5m", 300), ("1h30m", 5400), ("500ms", 1), ("2d", 172800), ("PT5M", 300), ("P1DT1.5S", 86402), ("45S", 45)],
)
def test_duration(text: str, seconds: int) -> None:
    assert duration_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "5", "P", "PT", "5m "[:2] + "x"])
def test_duration_that_is_none(text: str) -> None:
    with pytest.raises(AnsibleFilterError, match="is not a duration"):
        duration_seconds(text)
