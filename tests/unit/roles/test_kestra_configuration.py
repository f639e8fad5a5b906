"""The configuration of Kestra that the role writes."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.config_schema import problems

from ..templating import evaluate, variables

WEBHOOKS = "/api/v1/main/executions/webhook/"


def written(**given: Any) -> Any:
    """Return what is in standalone.yml."""
    content = evaluate("{{ _kestra_configuration_file.content }}", variables("common", "kestra") | given)
    return yaml.safe_load(content)


def test_the_configuration_of_the_role_passes_its_own_check() -> None:
    assert problems(written(), variables("common", "kestra")["kestra_version"]) == []


@pytest.mark.parametrize("name", ["#ops@example.com", "&a@example.com", "`x@example.com", "%a@b.c", "*a@b.c", "!a@b.c"])
def test_a_login_that_yaml_reads_otherwise(name: str) -> None:
    configuration = written(kestra_username=name)
    assert configuration["kestra"]["server"]["basic-auth"]["username"] == name
    assert configuration["kestra"]["tasks"]["sdk"]["authentication"]["username"] == name


def test_values_of_variables_are_what_they_are() -> None:
    configuration = written(
        kestra_url="https://k.example.com/ #x", kestra_log_level="OFF", kestra_database_pool_size="12"
    )
    assert configuration["kestra"]["url"] == "https://k.example.com/ #x"
    assert configuration["logger"]["levels"]["io.kestra"] == "OFF"
    assert configuration["datasources"]["postgres"]["maximum-pool-size"] == 12


def test_open_urls_are_joined() -> None:
    """Webhooks stay open."""
    own = {"kestra": {"server": {"basic-auth": {"open-urls": ["/ping", WEBHOOKS]}}}}
    found = written(kestra_config=own)["kestra"]["server"]["basic-auth"]["open-urls"]
    assert sorted(found) == [WEBHOOKS, "/ping"]


def test_plugin_configurations_are_joined() -> None:
    own = {"kestra": {"plugins": {"configurations": [{"type": "b"}]}}}
    found = written(kestra_config=own, kestra_plugin_configurations=[{"type": "a"}])
    assert found["kestra"]["plugins"]["configurations"] == [{"type": "a"}, {"type": "b"}]


def test_tasks_of_kestra_use_the_address_inside_the_container() -> None:
    configuration = written(kestra_url="https://kestra.example.com")
    assert configuration["kestra"]["tasks"]["sdk"]["authentication"] == {
        "url": "http://localhost:8080",
        "username": "admin@example.com",
        "password": "${KESTRA_PASSWORD}",
    }
