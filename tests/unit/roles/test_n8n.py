"""What the role n8n makes of its variables: the environment and the Compose files."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.templating import evaluate, variables

GIVEN = {"n8n_database_password": "p", "n8n_encryption_key": "k"}


def known(**more: Any) -> dict[str, Any]:
    """Return the variables of the role, with secrets and what else a run knows."""
    secrets = {"orchestration_secrets": {"secrets": GIVEN}}
    return {**variables("common", "compose_service", "n8n"), **secrets, **more}


def environment(**more: Any) -> dict[str, str]:
    """Return the environment of n8n's container, as texts."""
    return {name: str(value) for name, value in evaluate("{{ _n8n_environment }}", known(**more)).items()}


@pytest.mark.parametrize(
    ("given", "hops"),
    [
        ({}, "0"),
        ({"n8n_url": "https://n8n.example.com"}, "1"),
        ({"n8n_url": "https://n8n.example.com", "n8n_proxy_hops": "2"}, "2"),
        ({"n8n_proxy_hops": 1}, "1"),
    ],
)
def test_proxies_in_front_are_counted(given: dict[str, Any], hops: str) -> None:
    assert environment(**given)["N8N_PROXY_HOPS"] == hops


def test_n8n_listens_without_ipv6() -> None:
    assert environment()["N8N_LISTEN_ADDRESS"] == "0.0.0.0"  # noqa: S104


@pytest.mark.parametrize(
    ("version", "name"),
    [
        ("2.41.1", "N8N_WEBHOOK_URL"),
        ("2.40.7", "N8N_WEBHOOK_URL"),
        ("2.32.0", "N8N_WEBHOOK_URL"),
        ("3.0.0", "N8N_WEBHOOK_URL"),
        ("2.31.4", "WEBHOOK_URL"),
        ("2.9.4", "WEBHOOK_URL"),
        ("1.123.0", "WEBHOOK_URL"),
    ],
)
def test_the_webhook_address_has_the_name_that_this_n8n_reads(version: str, name: str) -> None:
    found = environment(n8n_version=version, n8n_url="https://n8n.example.com")
    assert {key: found[key] for key in found if key.endswith("WEBHOOK_URL")} == {name: "https://n8n.example.com"}
