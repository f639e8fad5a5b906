"""Finding flows, without a server."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows.info import Found, Query, as_result

QUERY = Query("company", True, None, "hello", {"team": "ops"})


def test_queries_of_both_kinds_of_servers() -> None:
    assert QUERY.params(has_filters=True) == {
        "filters[namespace][PREFIX]": "company",
        "filters[q][EQUALS]": "hello",
        "filters[labels][EQUALS][team]": "ops",
    }
    assert QUERY.params(has_filters=False) == {"namespace": "company", "q": "hello", "labels": ["team:ops"]}
    assert Query("company").params(has_filters=True) == {"filters[namespace][EQUALS]": "company"}
    assert Query().params(has_filters=True) == Query().params(has_filters=False) == {}


@pytest.mark.parametrize(
    ("namespace", "below", "fits"),
    [
        ("company", False, True),
        ("company", True, True),
        ("company.a", True, True),
        ("company.a", False, False),
        ("companyish", True, False),
        ("other", True, False),
    ],
)
def test_what_fits(namespace: str, below: bool, fits: bool) -> None:
    raw: dict[str, Any] = {"namespace": namespace, "labels": [{"key": "team", "value": "ops"}]}
    assert Query("company", below).matches(raw) is fits
    assert Query(labels={"team": "ops"}).matches(raw) and not Query(labels={"team": "dev"}).matches(raw)


def test_results_of_both_dialects() -> None:
    raw = {"namespace": "a", "id": "b", "revision": 3, "labels": [], "exception": "gone", "tasks": [], "source": "s"}
    state = {"triggerId": "t", "nextExecutionDate": "tomorrow", "date": "today"}
    last_old = {"id": "x", "state": {"current": "FAILED", "startDate": "now"}}
    last_new = {"id": "x", "status": "FAILED", "startDate": "now"}
    for last in (last_old, last_new):
        result = as_result(Found(raw, [{"revision": 1, "deleted": True, "source": "s"}], [state], last), source=False)
        assert result["problem"] == "gone" and "source" not in result
        assert result["last_execution"] == {"id": "x", "state": "FAILED", "start_date": "now"}
        assert result["revisions"] == [{"revision": 1, "updated": None, "deleted": True, "disabled": False}]
        assert result["triggers"][0]["id"] == "t" and result["triggers"][0]["next_date"] == "tomorrow"
    plain = as_result(Found(raw), source=True)
    assert plain["source"] == "s" and "revisions" not in plain and "triggers" not in plain
