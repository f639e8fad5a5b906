"""What the preflight says about n8n's own settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.devorch.orchestration.plugins.action import preflight as action
from ansible_collections.devorch.orchestration.plugins.module_utils.host.preflight.check import warnings

from .test_preflight import FACTS, HOST, VARIABLES, found

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"n8n_url": "https://example.com/n8n/"}, "n8n_url: has the path /n8n, and n8n is served without a path."),
    ({"n8n_environment": {"N8N_PATH": "/n8n/"}}, "n8n_environment.N8N_PATH: n8n is served without a path."),
    ({"n8n_proxy_hops": "-1"}, "n8n_proxy_hops: -1 is out of range. Set it to 0 or more."),
    (
        {"n8n_environment": {"N8N_TRUST_PROXY": "true"}},
        "n8n_environment.N8N_TRUST_PROXY: n8n has no such variable. Set n8n_proxy_hops.",
    ),
    (
        {"n8n_environment": {"N8N_INSTANCE_OWNER_EMAIL": "a@example.com"}},
        "n8n_environment.N8N_INSTANCE_OWNER_EMAIL: the role manages the owner. Set n8n_owner_email,",
    ),
    (
        {"n8n_owner_email": "admin"},
        "n8n_owner_email: 'admin' is not an e-mail address, and n8n accepts no other login.",
    ),
    ({"n8n_owner_first_name": "two\nlines"}, "n8n_owner_first_name: the value has a line break"),
    ({"n8n_owner_password": ""}, "n8n_owner_password: is empty."),
    ({"n8n_owner_password": "Short1"}, "n8n_owner_password: n8n accepts only 8 to 64 characters with an upper-case"),
    ({"n8n_owner_password": "no-capital-1"}, "n8n_owner_password: n8n accepts only"),
    ({"n8n_owner_password": "No-digit-here"}, "n8n_owner_password: n8n accepts only"),
    ({"n8n_owner_password": "A1" + "ä" * 40}, "n8n_owner_password: it has more than 72 bytes."),
    ({"n8n_environment": {"WEBHOOK_URL": "https://x.example"}}, "n8n_environment.WEBHOOK_URL: n8n ignores it, because"),
]
ACCEPTED: list[dict[str, Any]] = [
    {"n8n_url": "https://n8n.example.com/"},
    {"n8n_proxy_hops": "2"},
    {"n8n_owner_email": ""},
    {"n8n_runners": "internal", "n8n_runners_image": "docker.io/n8nio/Runners"},
    {"n8n_runners": "external", "n8n_runners_image": "docker.io/n8nio/runners", "n8n_runners_version": "2.41.1"},
    {"n8n_owner_email": "O'b+n8n@example.com", "n8n_owner_password": "It's $fine 1\\2"},
    {"n8n_environment": {"N8N_WEBHOOK_URL": "https://hooks.example.com"}},
    {
        "n8n_environment": {"WEBHOOK_URL": "https://hooks.example.com"},
        "n8n_version": "2.20.1",
        "orchestration_upgrade_without_backup": True,
    },
]


@pytest.mark.parametrize(("variables", "problem"), REFUSED)
def test_refused(variables: dict[str, Any], problem: str) -> None:
    (text,) = found(variables)
    assert text.startswith(problem)


@pytest.mark.parametrize("variables", ACCEPTED)
def test_accepted(variables: dict[str, Any]) -> None:
    assert found(variables) == []


ALICE = {"known": True, "email": "alice@example.com", "managed": False}


def test_an_owner_that_may_be_missing_is_reported() -> None:
    down = {"known": False, "email": "", "managed": False}
    for email, warned in (("admin@example.com", True), ("", False)):
        texts = warnings({**VARIABLES, "n8n_owner_email": email}, {**HOST, "n8n_owner": down}, FACTS)
        assert any("whether n8n has an owner is not known" in text for text in texts) == warned


@pytest.mark.parametrize(
    ("owner", "email", "warned"),
    [
        (ALICE, "admin@example.com", True),
        (ALICE, "Alice@example.com", False),
        (ALICE, "", False),
        ({**ALICE, "managed": True}, "admin@example.com", False),
        ({**ALICE, "email": ""}, "admin@example.com", False),
    ],
)
def test_another_owner_is_reported(owner: dict[str, Any], email: str, warned: bool) -> None:
    texts = warnings({**VARIABLES, "n8n_owner_email": email}, {**HOST, "n8n_owner": owner}, FACTS)
    expected = ["n8n_owner_email: n8n belongs to alice@example.com already, so no account was changed."]
    assert [text.partition(" Set ")[0] for text in texts if "n8n" in text] == (expected if warned else [])


def test_certificates_that_are_not_on_the_controller(tmp_path: Path) -> None:
    (tmp_path / "there.pem").write_text("")
    assert [path.exists() for path in action.paths([str(tmp_path / "there.pem"), str(tmp_path / "no.pem")])] == [
        True,
        False,
    ]
    assert action.paths("") == action.paths(None) == []
    (problem,) = found(
        {"orchestration_ca_certificates": ["a.pem", "b.pem"]}, missing_files=["orchestration_ca_certificates"]
    )
    assert problem == "orchestration_ca_certificates: the controller lacks one of a.pem, b.pem. Correct the path."


def test_image_of_the_runners_that_no_registry_has() -> None:
    reference = "docker.io/n8nio/runners:2.41.1"
    given = {"n8n_runners": "external", "n8n_runners_image": "docker.io/n8nio/runners", "n8n_runners_version": "2.41.1"}
    lost = {"missing_images": [reference], "registry_problems": {reference: {"https://registry-1.docker.io": "404"}}}
    (problem,) = found(given, lost)
    assert problem.startswith(f"n8n_runners_version: {reference} is not on the host, and no registry gives it")
    assert found({**given, "n8n_runners": "internal"}, lost) == []
