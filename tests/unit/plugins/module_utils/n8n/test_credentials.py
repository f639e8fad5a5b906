"""What is done with credentials, and what is wrong with their fields."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.devorch.orchestration.plugins.module_utils.n8n.credentials import (
    Wanted,
    make_plan,
    name_problems,
    schema_problems,
)

SCHEMA = {
    "properties": {"host": {"type": "string"}, "port": {"type": "number"}, "ssl": {"type": "string", "enum": ["a"]}},
    "required": ["host"],
}


def wanted(name: str = "First", **data: Any) -> Wanted:
    return Wanted(name, "postgres", data or {"host": "h"})


def test_a_schema_is_kept() -> None:
    assert schema_problems(wanted(host="h", port=1, ssl="a"), SCHEMA) == []
    assert "no type of credentials 'postgres'" in schema_problems(wanted(), None)[0]
    wrong = schema_problems(wanted(port="secret", other="secret", ssl="secret"), SCHEMA)
    assert [problem.partition(": ")[2] for problem in wrong] == [
        "the type postgres has no field 'other'. It has host, port, ssl.",
        "the type postgres needs the field 'host'. Set it.",
        "the field 'port' is not a number. Give it as one.",
        "the field 'ssl' has another value than a. Set it to one of them.",
    ]
    assert "secret" not in " ".join(wrong)
    assert schema_problems(wanted(host="h", port=True), SCHEMA) != []


def test_names() -> None:
    assert "2 characters" in name_problems([wanted("ab")])[0]
    assert "given twice" in name_problems([wanted(), wanted()])[0]


def test_only_other_values_are_written() -> None:
    one = wanted()
    stored = [{"id": "7", "name": "First", "type": "postgres"}]

    def action(records: dict[str, tuple[str, str]], present: bool = True, there: Any = stored) -> str:
        items, problems = make_plan([one], there, records, "key", present)
        assert problems == []
        return items[0].action

    assert action({"7": (one.digest("key"), "")}) == "unchanged"
    assert action({"7": (one.digest("other key"), "")}) == "update"
    assert action({"7": (wanted(host="other").digest("key"), "")}) == "update"
    assert action({}) == "update" and action({}, there=[]) == "create"
    assert action({}, present=False) == "delete" and action({}, present=False, there=[]) == "absent"


def test_an_ambiguous_name_needs_an_id() -> None:
    stored = [{"id": number, "name": "First", "type": "postgres"} for number in ("7", "8")]
    _items, problems = make_plan([wanted()], stored, {}, "key", True)
    assert "n8n has 2 of the type postgres with this name (7, 8)" in problems[0]
    items, problems = make_plan([Wanted("First", "postgres", {}, "8")], stored, {}, "key", True)
    assert problems == [] and items[0].id == "8"


@pytest.mark.parametrize("present", [True, False])
@pytest.mark.parametrize("kind", ["postgres", "smtp"])
def test_an_id_means_no_credentials_of_another_name(kind: str, present: bool) -> None:
    """Their values cannot be read, and so not be put back."""
    stored = [{"id": "8", "name": "First", "type": "postgres"}]
    items, problems = make_plan([Wanted("Other", kind, {}, "8")], stored, {}, "key", present)
    assert items == [] and "the id 8 is that of 'First' of the type postgres in n8n" in problems[0]


def test_values_are_not_in_the_text_of_an_object() -> None:
    assert "canary" not in repr(wanted(host="canary"))
