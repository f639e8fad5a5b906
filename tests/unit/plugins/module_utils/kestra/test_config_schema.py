"""What Kestra would pass over in its configuration without a word."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.devorch.orchestration.plugins.filter.kestra_config_problems import kestra_config_problems
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.config_schema import kebab, problems

ROOT = Path(__file__).parents[5]


@pytest.mark.parametrize(
    ("configuration", "expected"),
    [
        (
            {"kestra": {"server": {"basicAuth": {}}}},
            "kestra.server.basicAuth: Kestra 2.0 does not bind this spelling. Write basic-auth",
        ),
        ({"kestra": {"tasks": {"tmpDir": {}}}}, "kestra.tasks.tmpDir: Kestra 2.0 does not bind this spelling."),
        ({"kestra": {"server": {"livenes": {}}}}, "has no such key in kestra.server. Is liveness meant?"),
        ({"kestar": {}}, "kestar: Kestra has no such key at the top. Is kestra meant?"),
        ({"kestra": {"zzz": 1}}, "put kestra.zzz into kestra_config_allowed"),
        ({"kestra": {"server": "x"}}, "kestra.server: must be a dictionary with basic-auth,"),
        ({"kestra": {"url": ["a"]}}, "kestra.url: must be a single value"),
        ({"kestra": {"plugins": {"configurations": {}}}}, "kestra.plugins.configurations: must be a list"),
        ({"kestra": {"server": {"liveness": {"interval": "soon"}}}}, "interval: must be a duration such as 30s"),
        ({"kestra": {"kv": {"purge-expired": {"enabled": "maybe"}}}}, "enabled: must be true or false"),
        ({"kestra": {"variables": {"cache-size": "big"}}}, "cache-size: must be a whole number"),
        ({"kestra": {"retries": {"multiplier": "x"}}}, "multiplier: must be a number"),
        ({"kestra": {"queue": {"type": "rabbit"}}}, "kestra.queue.type: is one of postgres, mysql,"),
        ({"micronaut": {"server": {"port": 9}}}, "micronaut.server.port: must be 8080"),
        ({"endpoints": {"all": {"port": 9}}}, "endpoints.all.port: must be 8081"),
        (["a"], "the configuration is not a dictionary"),
    ],
)
def test_problem(configuration: Any, expected: str) -> None:
    found = problems(configuration, "v2.0.5")
    assert len(found) == 1
    assert expected in found[0]


@pytest.mark.parametrize(
    "configuration",
    [
        {},
        {"kestra": {"server": {"liveness": {"interval": "PT5S", "timeout": "1m30s", "initial-delay": None}}}},
        {"kestra": {"server": {"liveness": {"interval": "${INTERVAL:5s}"}}}},
        {"kestra": {"storage": {"type": "s3", "s3": {"access-key": "x", "region": "y"}}}},
        {"kestra": {"variables": {"globals": {"camelCase": 1}}}},
        {"micronaut": {"server": {"port": 8080, "contextPath": "x"}}, "logger": {"levels": {"a.B": "INFO"}}},
    ],
)
def test_no_problem(configuration: Any) -> None:
    assert problems(configuration, "v2.0.5") == []


def test_old_spelling_passes_on_the_old_version() -> None:
    configuration = {"kestra": {"server": {"basicAuth": {"username": "a"}}}}
    assert problems(configuration, "v1.3.4") == []
    assert problems(configuration, "latest") != []


def test_what_the_site_allows_passes() -> None:
    assert problems({"kestra": {"new": {"key": 1}}}, "", ["kestra.new"]) == []


def test_yaml_that_cannot_be_read_is_told_with_its_line() -> None:
    (found,) = kestra_config_problems("kestra:\n  url: [\n")
    assert found.startswith("the configuration is not valid YAML (line 3):")
    assert kestra_config_problems("kestra: {url: x}") == []
    assert kestra_config_problems("kestra: \x00") == [
        "the configuration is not valid YAML: special characters are not allowed"
    ]


@pytest.mark.parametrize(("name", "expected"), [("basicAuth", "basic-auth"), ("tmp_dir", "tmp-dir"), ("url", "url")])
def test_kebab(name: str, expected: str) -> None:
    assert kebab(name) == expected


def test_value_is_never_told() -> None:
    assert "hunter" not in " ".join(problems({"kestra": {"kv": {"purge-expired": {"enabled": "hunter2"}}}}))
