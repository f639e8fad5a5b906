"""What the Docker role sets in the configuration of a host that may have one of its own."""

from __future__ import annotations

import json
from typing import Any

import pytest

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
    ("path", "expected"), [("/etc/apt/sources.list.d/docker.sources", False), ("/etc/apt/sources.list.d/d.list", True)]
)
def test_key_that_another_source_uses_stays(path: str, expected: bool) -> None:
    variables = templating.variables("common", "docker")
    source = {"path": path, "uri": "https://example.com", "signed_by": "/etc/apt/keyrings/docker.asc"}
    variables |= {"orchestration_host": {"apt_sources": [source]}}
    assert templating.evaluate("{{ _docker_key_of_others }}", variables) is expected
