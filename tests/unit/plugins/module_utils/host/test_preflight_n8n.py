"""What the preflight says about n8n's own settings."""

from __future__ import annotations

from typing import Any

import pytest

from .test_preflight import found

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"n8n_proxy_hops": "-1"}, "n8n_proxy_hops: -1 is out of range. Set it to 0 or more."),
    (
        {"n8n_environment": {"N8N_TRUST_PROXY": "true"}},
        "n8n_environment: N8N_TRUST_PROXY is for n8n_proxy_hops to set.",
    ),
    ({"n8n_environment": {"WEBHOOK_URL": "https://x.example"}}, "n8n_environment: n8n ignores WEBHOOK_URL, because"),
]
ACCEPTED: list[dict[str, Any]] = [
    {"n8n_proxy_hops": "2"},
    {"n8n_environment": {"N8N_WEBHOOK_URL": "https://hooks.example.com"}},
    {"n8n_environment": {"WEBHOOK_URL": "https://hooks.example.com"}, "n8n_version": "2.20.1"},
]


@pytest.mark.parametrize(("variables", "problem"), REFUSED)
def test_refused(variables: dict[str, Any], problem: str) -> None:
    (text,) = found(variables)
    assert text.startswith(problem)


@pytest.mark.parametrize("variables", ACCEPTED)
def test_accepted(variables: dict[str, Any]) -> None:
    assert found(variables) == []
