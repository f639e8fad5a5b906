"""What the Docker role sets in the configuration of a host that may have one of its own."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
import yaml

from .. import templating

LOG = {"log-driver": "json-file", "log-opts": {"max-file": "5", "max-size": "10m"}}


@pytest.mark.parametrize(
    ("own", "swarm", "given", "expected"),
    [
        ({}, "", {}, {"live-restore": True, **LOG}),
        ({}, "inactive", {}, {"live-restore": True, **LOG}),
        ({}, "active", {}, LOG),
        ({"data-root": "/srv", "mtu": 1400}, "", {}, {"live-restore": True, **LOG}),
        ({"live-restore": False, "log-driver": "journald"}, "", {}, {}),
        ({"log-opts": {"labels": "a"}}, "", {}, {"live-restore": True}),
        ({}, "", {"log-driver": "journald"}, {"live-restore": True, "log-driver": "journald"}),
        (
            {"log-driver": "journald"},
            "",
            {"log-driver": "local", "data-root": "/srv"},
            {"live-restore": True, "log-driver": "local", "data-root": "/srv"},
        ),
    ],
)
def test_keys_of_the_host_stay(
    own: dict[str, Any], swarm: str, given: dict[str, Any], expected: dict[str, Any]
) -> None:
    variables = templating.variables("common", "docker")
    look = {"docker_host": {"own": own, "swarm": swarm, "data_root": "/srv"}, "files": {}, "packages": {}}
    variables |= {"orchestration_host": look, "docker_daemon_config": given, "ansible_facts": {}}
    assert json.loads(templating.evaluate("{{ docker_daemon_content }}", variables)) == expected
    assert templating.evaluate("{{ _docker_data_directories }}", variables)[0] == "/srv"


@pytest.mark.parametrize(
    ("own", "given", "expected"),
    [
        ({}, None, {"driver": "json-file", "options": LOG["log-opts"]}),
        ({}, {"log-driver": "local"}, {"driver": "local", "options": LOG["log-opts"]}),
        (
            {},
            {"log-opts": {"max-size": "1g", "env": "A"}},
            {"driver": "json-file", "options": {"max-file": "5", "max-size": "1g"}},
        ),
        ({}, {"log-driver": "splunk", "log-opts": {"splunk-token": "secret"}}, {"driver": "splunk"}),
        ({"log-driver": "journald"}, {}, {"driver": "journald"}),
        ({"log-opts": {"max-size": "3m"}}, {}, {"driver": "json-file", "options": {"max-size": "3m"}}),
        ({"log-driver": "journald"}, {"log-driver": "local"}, {"driver": "local"}),
        ({"mtu": 1400}, {}, {"driver": "json-file", "options": LOG["log-opts"]}),
    ],
)
@pytest.mark.parametrize("template", ["postgres/compose", "kestra/compose", "n8n/compose", "n8n/runners"])
def test_every_container_has_the_driver_and_the_limits_of_its_log(
    template: str, own: dict[str, Any], given: dict[str, Any] | None, expected: dict[str, Any]
) -> None:
    variables = templating.variables("common") | {"orchestration_host": {"docker_host": {"own": own}}}
    variables |= {} if given is None else {"docker_daemon_config": given}
    lines = (templating.ROOT / f"templates/{template}.yml.j2").read_text().splitlines()
    logs = [line for line in lines if line.startswith("    logging: ")]
    assert len(logs) == sum(line.startswith("    image: ") for line in lines)
    for line in logs:
        assert yaml.safe_load(templating.evaluate(line, variables)) == {"logging": expected}


@pytest.mark.parametrize(
    ("path", "expected"), [("/etc/apt/sources.list.d/docker.sources", False), ("/etc/apt/sources.list.d/d.list", True)]
)
def test_key_that_another_source_uses_stays(path: str, expected: bool) -> None:
    variables = templating.variables("common", "docker")
    source = {"path": path, "uri": "https://example.com", "signed_by": "/etc/apt/keyrings/docker.asc"}
    variables |= {"orchestration_host": {"apt_sources": [source]}}
    assert templating.evaluate("{{ _docker_key_of_others }}", variables) is expected


def test_logins_of_registries_as_docker_keeps_them() -> None:
    variables = templating.variables("common", "docker")
    logins = {
        "r.example.com:5000": {"username": "me", "password": 'p:%"$ {{ no }}'},
        "docker.io": {"username": "you", "password": "word"},
    }
    (file,) = templating.evaluate(variables["_docker_login_files"], variables | {"docker_registry_auth": logins})
    found = {
        name: base64.b64decode(each["auth"]).decode() for name, each in json.loads(file["content"])["auths"].items()
    }
    assert found == {"https://index.docker.io/v1/": "you:word", "r.example.com:5000": 'me:p:%"$ {{ no }}'}
    assert file["mode"] == "0600" and file["secret"] == "all"
    none = templating.evaluate(variables["_docker_login_files"], variables)
    assert json.loads(none[0]["content"]) == {"auths": {}}


@pytest.mark.parametrize(
    ("logins", "files", "expected"),
    [({}, {}, False), ({"a": {}}, {}, True), ({}, {"/opt/orchestration/docker/config.json": {}}, True)],
)
def test_logins_take_a_task_only_if_there_are_or_were_some(
    logins: dict[str, Any], files: dict[str, Any], expected: bool
) -> None:
    variables = templating.variables("common", "docker")
    variables |= {"docker_registry_auth": logins, "orchestration_host": {"files": files}}
    (task,) = [
        task
        for task in templating.tasks(templating.load("roles/docker/tasks/present.yml"))
        if task.get("ansible.builtin.include_tasks") == "logins.yml"
    ]
    assert templating.holds(task["when"], variables) is expected
