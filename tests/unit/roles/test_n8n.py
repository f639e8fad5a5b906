"""What the role n8n makes of its variables: the environment and the Compose files."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.devorch.orchestration.plugins.module_utils.host.service_files import shown

from tests.unit.templating import evaluate, find, load, variables

GIVEN = {"n8n_database_password": "p", "n8n_encryption_key": "k", "n8n_owner_password_hash": "$2b$10$hash"}


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


UNCLAIMED = {"known": True, "email": "", "managed": False}
ALICE = {**UNCLAIMED, "email": "alice@example.com"}


@pytest.mark.parametrize(
    ("owner", "email", "managed"),
    [
        (UNCLAIMED, "ops@example.com", True),
        (UNCLAIMED, "", False),
        (ALICE, "ops@example.com", False),
        (ALICE, "Alice@example.com", True),
        # The role made the account, and may give it another address.
        ({**ALICE, "managed": True}, "ops@example.com", True),
        ({**ALICE, "managed": True}, "", False),
        # PostgreSQL does not answer: n8n may belong to a user.
        ({**UNCLAIMED, "known": False}, "ops@example.com", False),
        ({**UNCLAIMED, "known": False, "managed": True}, "ops@example.com", True),
    ],
)
def test_the_owner_is_made_unless_n8n_belongs_to_another(owner: dict[str, Any], email: str, managed: bool) -> None:
    given = {"n8n_owner_email": email, "orchestration_host": {"n8n_owner": owner}}
    found = {name: value for name, value in environment(**given).items() if "OWNER" in name}
    expected = {
        "N8N_INSTANCE_OWNER_MANAGED_BY_ENV": "true",
        "N8N_INSTANCE_OWNER_EMAIL": email,
        "N8N_INSTANCE_OWNER_FIRST_NAME": "Orchestration",
        "N8N_INSTANCE_OWNER_LAST_NAME": "Owner",
        "N8N_INSTANCE_OWNER_PASSWORD_HASH": "$2b$10$hash",
    }
    assert found == (expected if managed else {})
    secrets = evaluate("{{ n8n_profile.secrets }}", known(**given))
    assert ("n8n_owner_password" in secrets, "n8n_owner_password_hash" in secrets) == (managed, managed)


def test_the_hash_of_the_password_is_no_public_value() -> None:
    public = find("roles/n8n/tasks/present.yml", "devorch.orchestration.deploy")["vars"]["compose_service_public_names"]
    text = "N8N_INSTANCE_OWNER_PASSWORD_HASH='$2b$10$one'\nN8N_PROXY_HOPS='1'\n"
    before, after = shown(text.encode(), text.replace("one", "two").encode(), True, public)
    assert "$2b$" not in before + after and "N8N_PROXY_HOPS='1'" in after


def test_a_removal_with_data_leaves_no_password() -> None:
    data = load("roles/n8n/tasks/remove.yml")[0]["vars"]
    secrets = evaluate("{{ n8n_profile.secrets }}", known())
    assert {f"secrets/{name}" for name in secrets} <= set(data["compose_service_data"])
