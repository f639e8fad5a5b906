"""Kestra's Python SDK on dashboards: every call that it has for what the server has."""

from __future__ import annotations

import pytest

from .contracts.kestra_dashboard import dashboard
from .kestra import Kestra
from .sdk import TENANT, ApiException, client


def test_dashboards(kestra: Kestra) -> None:
    api = client(kestra).dashboards
    text = dashboard("sdk")
    assert api.create_dashboard(TENANT, text)["sourceCode"] == text
    assert api.dashboard("sdk", TENANT)["title"] == "Errors"
    other = dashboard("sdk", "Others")
    assert api.update_dashboard("sdk", TENANT, other)["sourceCode"] == other
    found = api.search_dashboards(TENANT, page=1, size=10, q="others", sort=["title:asc"])
    assert [each["id"] for each in found["results"]] == ["sdk"]
    assert api.validate_dashboard(TENANT, text).constraints is None
    assert "title" in api.validate_dashboard(TENANT, "id: sdk\n").constraints
    api.delete_dashboard("sdk", TENANT)
    with pytest.raises(ApiException):
        api.dashboard("sdk", TENANT)
