"""What Kestra would pass over in its configuration without a word."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.devorch.orchestration.plugins.filter.kestra_config_problems import kestra_config_problems
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.config_schema import (
    FIXED,
    kebab,
    not_backed_up,
    problems,
)

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
        ({"kestra": {"worker": {"maxNumThreads": 1}}}, "kestra.worker.maxNumThreads: Kestra 2.0 does not bind this"),
        (
            {"kestra": {"jdbc": {"queue": {"cleaner": {"initialDelay": "1h"}}}}},
            "kestra.jdbc.queue.cleaner.initialDelay: Kestra 2.0 does not bind this spelling. Write initial-delay",
        ),
        ({"micronaut": {"server": {"maxRequestSize": 1}}}, "micronaut.server.maxRequestSize: Kestra 2.0 does not"),
        ({"micronaut": {"http": {"clientName": {}}}}, "micronaut.http.clientName: Kestra 2.0 does not bind"),
        ({"kestra": {"server": None}}, "kestra.server: must be a dictionary with"),
        ({"datasources": {"mysql": {}}}, "datasources.mysql: Kestra has no such key in datasources."),
        ({"endpoints": {"all": None}}, "endpoints.all: must be a dictionary with"),
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
        {"kestra": {"storage": {"type": "local", "s3": {"access-key": "x", "region": "y"}}}},
        {"kestra": {"variables": {"globals": {"camelCase": {"innerCase": 1}}}}},
        {"micronaut": {"server": {"port": 8080, "idle-timeout": "1h"}}, "logger": {"levels": {"a.B": "INFO"}}},
        {"micronaut": {"http": {"services": {"myService": {"url": "x"}}}}, "jackson": {"serialization": {"aB": 1}}},
        {"kestra": {"metrics": {"tags": {"teamName": "x"}, "shared-service-instance-metrics": True}}},
        {"kestra": {"metric": {"queue": {"lag": {"enabled": True}}}}},
        {"kestra": {"grpc": {"max-inbound-message-size": 1, "channel": {"retry": {"max-attempts": 3}}}}},
        {"datasources": {"postgres": {"url": "jdbc:postgresql://postgres:5432/kestra?a=b", "username": "kestra"}}},
        {"kestra": {"server": {"basic-auth": {"enabled": True, "open-urls": ["/ping"]}}}},
        {"kestra": {"server": {"basic-auth": {"username": "a@example.com", "password": "${KESTRA_PASSWORD}"}}}},
    ],
)
def test_no_problem(configuration: Any) -> None:
    assert problems(configuration, "v2.0.5") == []


def test_old_spelling_passes_on_the_old_version() -> None:
    configuration = {"kestra": {"server": {"basicAuth": {"username": "a"}}}}
    assert problems(configuration, "v1.3.4") == []
    assert problems({"kestra": {"worker": {"maxNumThreads": 1}}}, "v1.3.4") == []
    (problem,) = problems({"micronaut": {"server": {"contextPath": "/a"}}}, "v1.3.4")
    assert problem.startswith("micronaut.server.context-path: is not supported")
    assert problems(configuration, "latest") != []


def nested(path: str, value: Any) -> dict[str, Any]:
    for part in reversed(path.split(".")):
        value = {part: value}
    return value  # type: ignore[no-any-return]


REFUSED = [
    ("micronaut.server.port", 9, "must be 8080"),
    ("endpoints.all.port", 9, "must be 8081"),
    ("micronaut.server.host", "127.0.0.1", "Set kestra_bind_address"),
    ("micronaut.server.context-path", "/kestra", "is not supported, because health checks, modules and links have no"),
    ("micronaut.server.ssl.enabled", True, "must be false"),
    ("micronaut.ssl.enabled", "true", "must be false"),
    ("endpoints.all.path", "/manage", "is not supported, because the health check asks for /health"),
    ("endpoints.all.enabled", False, "must be true"),
    ("endpoints.all.sensitive", True, "is not supported"),
    ("endpoints.all.basic-auth", {"username": "a"}, "is not supported, because the health check has no login"),
    ("endpoints.health.enabled", False, "must be true, because the health check needs it"),
    ("endpoints.health.sensitive", True, "is not supported"),
    ("kestra.server.basic-auth.enabled", False, "must be true, because Kestra does not run without a login"),
    ("kestra.server.basic-auth.username", "a@example.com", "Set kestra_username"),
    ("kestra.server.basic-auth.password", "Hunter222", "Set kestra_password"),
    ("kestra.server.basic-auth.email", "a@example.com", "is called username. Set kestra_username"),
    ("datasources.postgres.url", "jdbc:postgresql://db.example.com/kestra", "must be the database of this host"),
    (
        "datasources.postgres.jdbc-url",
        "jdbc:postgresql://db.example.com/kestra",
        "is another name of url, which must be",
    ),
    ("datasources.postgres", None, "must be a dictionary. It must be the database of this host"),
    ("datasources.postgres.username", "other", "must be kestra"),
    ("datasources.postgres.password", "hunter2", "Set kestra_database_password"),
    ("kestra.repository.type", "h2", "must be postgres"),
    ("kestra.queue.type", "memory", "must be postgres"),
    ("kestra.storage.type", "minio", "must be local, because the backup has nothing else. If you back it up yourself,"),
    ("kestra.storage.local.base-path", "/app/storage", "must be /app/data"),
    ("kestra.encryption.secret-key", "hunter2", "Set kestra_encryption_key"),
    ("kestra.secret.encoding", "raw", "must be base64"),
    ("kestra.variables.env-vars-prefix", "KESTRA_", "must be ENV_"),
    ("kestra.configurations.delete-files-on-start", True, "must be false"),
    ("micronaut.io.watch.enabled", True, "must be false"),
]


@pytest.mark.parametrize(("path", "value", "expected"), REFUSED)
def test_what_the_rest_relies_on(path: str, value: Any, expected: str) -> None:
    (problem,) = problems(nested(path, value), "v2.0.5", own=True)
    assert problem.startswith(f"{path}: ") and expected in problem
    assert "hunter" not in problem.lower()
    assert problems(nested(path, value), "v2.0.5", [path], own=True) == []


def test_every_fixed_key_is_tried() -> None:
    assert {path for path, _value, _expected in REFUSED} == {key.path for key in FIXED}


def test_a_dot_in_a_name_does_not_hide_a_key() -> None:
    (problem,) = problems({"micronaut": {"server.ssl": {"enabled": True}}}, "v2.0.5")
    assert problem.startswith("micronaut.server.ssl.enabled: must be false")


def test_value_that_removes_a_key_of_the_template() -> None:
    (problem,) = problems(nested("kestra.storage.type", None), "v2.0.5")
    assert problem.startswith("kestra.storage.type: must be local")


def test_what_is_allowed_and_not_backed_up() -> None:
    configuration = {"kestra": {"storage": {"type": "s3"}, "queue": {"type": "postgres"}}}
    assert not_backed_up(configuration, ["kestra.storage"]) == ["kestra.storage.type"]
    assert not_backed_up(configuration, []) == []


# As the vendor's Compose file has them: of 0.20, and of 1.3.
VENDOR = """
datasources:
  postgres:
    url: jdbc:postgresql://postgres:5432/kestra
    driverClassName: org.postgresql.Driver
    username: kestra
    password: k3str4
kestra:
  server:
    basicAuth: {enabled: false, username: "admin@kestra.io", password: kestra}
  repository: {type: postgres}
  storage: {type: local, local: {basePath: "/app/storage"}}
  queue: {type: postgres}
  tasks: {tmpDir: {path: /tmp/kestra-wd/tmp}}
  url: http://localhost:8080/
"""
VENDOR_NEW = VENDOR.replace("basicAuth", "basic-auth").replace("basePath", "base-path").replace("tmpDir", "tmp-dir")


@pytest.mark.parametrize(
    ("text", "version", "expected"),
    [
        (
            VENDOR,
            "v2.0.5",
            [
                "datasources.postgres.driverClassName",
                "kestra.server.basicAuth",
                "kestra.storage.local.basePath",
                "kestra.tasks.tmpDir",
                "datasources.postgres.password",
            ],
        ),
        (
            VENDOR_NEW.replace("driverClassName", "driver-class-name"),
            "v2.0.5",
            [
                "kestra.server.basic-auth.enabled",
                "kestra.server.basic-auth.username",
                "kestra.server.basic-auth.password",
                "datasources.postgres.password",
                "kestra.storage.local.base-path",
            ],
        ),
    ],
)
def test_the_vendors_own_file_is_understood_line_by_line(text: str, version: str, expected: list[str]) -> None:
    listed = problems(text, version, own=True)
    assert [problem.partition(":")[0] for problem in listed] == expected
    assert not [problem for problem in listed if "no such key" in problem]


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
