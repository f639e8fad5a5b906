"""What an upgrade plans, and what the vendors forbid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.devorch.orchestration.plugins.filter.upgrade_plan import FilterModule

ROLE = Path(__file__).parents[4] / "roles" / "upgrade"
RULES = yaml.safe_load((ROLE / "vars" / "main.yml").read_text("utf-8"))["_upgrade_rules"]
upgrade_plan = FilterModule().filters()["upgrade_plan"]


def plan(service: str, before: str, after: str) -> dict[str, Any]:
    (step,) = upgrade_plan(
        {service: f"docker.io/x/{service}:{before}"}, {service: f"docker.io/x/{service}:{after}"}, RULES
    )
    return dict(step)


@pytest.mark.parametrize(
    ("service", "before", "after", "kind", "note"),
    [
        ("kestra", "v2.0.4", "v2.0.5", "minor", "a rollback restores the backup"),
        ("kestra", "v1.3.9", "v2.0.5", "major", "a rollback restores the backup"),
        ("kestra", "v1.2.0", "v1.3.2-slim", "minor", "a rollback restores the backup"),
        ("kestra", "v1.0.0", "v1.0.40", "minor", "a rollback restores the backup"),
        ("n8n", "2.40.7", "2.41.1", "minor", "a rollback restores the backup"),
        ("n8n", "1.123.0", "2.41.1", "major", "a rollback restores the backup"),
        ("postgres", "17.2", "17.4", "minor", ""),
        ("postgres", "17", "17.4", "minor", ""),
        ("postgres", "16", "17", "dump", "stay in data/postgres-16"),
        ("postgres", "14.2", "17.1", "dump", "stay in data/postgres-14"),
    ],
)
def test_steps(service: str, before: str, after: str, kind: str, note: str) -> None:
    step = plan(service, before, after)
    assert (step["kind"], step["refused"]) == (kind, "")
    assert note in step["note"]


@pytest.mark.parametrize(
    ("service", "before", "after", "reason"),
    [
        ("kestra", "v2.0.5", "v2.0.4", "older than what runs"),
        ("kestra", "v2.0.5", "v1.3.9", "older than what runs"),
        ("kestra", "v1.0.12", "v2.0.5", "2.0 is reached from 1.3 only"),
        ("kestra", "v1.0.40", "v1.3.20", "needs 'migrate metadata kv' and 'migrate metadata nsfiles' while kestra is"),
        (
            "kestra",
            "v1.1.3",
            "v1.3.20",
            "run site.yml with orchestration_upgrade_without_backup. See https://kestra.io",
        ),
        ("kestra", "v0.24.0", "v2.0.5", "Upgrade to 1 first"),
        ("kestra", "v0.24.0", "v1.3.0", "which upgrade.yml does not run. Upgrade it as the vendor says"),
        ("kestra", "latest", "v2.0.5", "the tag 'latest' is not a version"),
        ("kestra", "v2.0.5", "latest", "Pin kestra_version"),
        ("n8n", "0.236.0", "2.41.1", "Upgrade to 1 first"),
        ("n8n", "2.41.1", "2.40.7", "Restore a backup instead. See https://docs.n8n.io"),
        ("postgres", "17.4", "16", "older than what runs"),
        ("postgres", "17.4", "17.2", "older than what runs"),
    ],
)
def test_refused(service: str, before: str, after: str, reason: str) -> None:
    assert reason in plan(service, before, after)["refused"]


def test_what_stays_is_no_step() -> None:
    images = {"kestra": "kestra/kestra:v2.0.5", "n8n": "n8nio/n8n:2.41.1"}
    assert upgrade_plan(images, images | {"postgres": "postgres:17"}, RULES) == []


def test_other_registry_of_the_same_version_is_a_step() -> None:
    (step,) = upgrade_plan({"n8n": "n8nio/n8n:2.41.1"}, {"n8n": "mirror:5000/n8nio/n8n:2.41.1"}, RULES)
    assert (step["kind"], step["refused"]) == ("minor", "")


def test_service_without_rules_is_an_error() -> None:
    with pytest.raises(AnsibleFilterError, match="no rules for other"):
        upgrade_plan({}, {"other": "other:1"}, RULES)


def test_every_rule_names_its_source() -> None:
    assert all(rules["source"].startswith("https://") for rules in RULES.values())
