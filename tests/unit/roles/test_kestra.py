"""What Kestra is given at run time: secrets, limits, how scripts run, and for how long its data are kept."""

from __future__ import annotations

import base64
from typing import Any

import yaml

from ..templating import ROOT, evaluate, load, variables

SECRETS = {
    name: f"value-of-{name}"
    for name in (
        "kestra_database_password",
        "kestra_encryption_key",
        "kestra_password",
        "kestra_sidecar_token",
        "kestra_webhook_key",
        "sidecar_token",
    )
}


def given(**more: Any) -> dict[str, Any]:
    """Return the variables of the role on a host that has its secrets."""
    return variables("common", "sidecar", "kestra") | {"orchestration_secrets": {"secrets": SECRETS}} | more


def test_webhook_keys_are_secrets_of_the_host() -> None:
    """A key that stands in a repository opens every host that was made from it."""
    environment = evaluate(load("roles/kestra/vars/main.yml")["_kestra_environment"], given())
    key = base64.b64decode(environment["SECRET_WEBHOOK_KEY"]).decode()
    assert key == SECRETS["kestra_webhook_key"]
    keys = [
        trigger["key"]
        for path in ROOT.glob("kestra-flows/*/*.yaml")
        for trigger in yaml.safe_load(path.read_text("utf-8")).get("triggers", [])
        if "key" in trigger
    ]
    assert keys and set(keys) == {"{{ secret('WEBHOOK_KEY') }}"}
    assert "kestra_webhook_key" in evaluate("{{ kestra_profile.secrets }}", given())


def test_kestra_has_a_token_of_its_own_that_cannot_administer_the_sidecar() -> None:
    environment = evaluate(load("roles/kestra/vars/main.yml")["_kestra_environment"], given())
    token = base64.b64decode(environment["SECRET_SIDECAR_TOKEN"]).decode()
    assert token == SECRETS["kestra_sidecar_token"]
    assert SECRETS["sidecar_token"] not in str(environment.values())
    scopes = {
        digest: scope
        for _name, scope, digest in (
            line.split() for line in evaluate("{{ _sidecar_tokens }}", given()).strip().splitlines()
        )
    }
    assert scopes[evaluate("{{ token | hash('sha256') }}", {"token": token})] == "operate"
    for role in ("kestra", "sidecar"):
        assert "kestra_sidecar_token" in evaluate(f"{{{{ {role}_profile.secrets }}}}", given()), role


def test_the_key_of_webhooks_is_renewed_on_demand_only() -> None:
    (play,) = load("playbooks/rotate_secrets.yml")
    renewed = play["vars"] | {"orchestration_present_profiles": [{"secrets": {name: {} for name in SECRETS}}]}
    wanted = evaluate("{{ rotate_secrets_wanted }}", renewed)
    assert "kestra_webhook_key" not in wanted and {"kestra_sidecar_token", "sidecar_token"} <= set(wanted)
    assert "kestra_webhook_key" in evaluate("{{ rotate_secrets_all }}", renewed)
