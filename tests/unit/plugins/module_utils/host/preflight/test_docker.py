"""What the preflight says about a host that has a Docker of its own."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from ansible_collections.devorch.orchestration.plugins.module_utils.host.preflight import docker, images
from ansible_collections.devorch.orchestration.plugins.module_utils.host.preflight.situation import Situation

URL = "https://download.docker.com/linux/debian"
SETTINGS = {"live-restore": True, "log-driver": "json-file"}
OTHERS = {"containers": [], "running": [], "volumes": [], "networks": []}
DOCKER = {
    "swarm": "inactive",
    "live_restore": False,
    "data_root": "/var/lib/docker",
    "proxy": False,
    "pools": [],
    "own": {},
    "problem": "",
    "others": OTHERS,
    "networks": {"bridge": ["172.17.0.0/16"], "orchestration_default": ["172.18.0.0/16", "fd00::/64"]},
}
VARIABLES = {
    "docker_package_source": "docker",
    "docker_repository_url": URL,
    "docker_restart_allowed": False,
    "docker_daemon_config": {},
    "sidecar_allowed_networks": ["127.0.0.0/8", "::1/128", "172.16.0.0/12", "192.168.0.0/16"],
}


ABSENT = {f"{service}_state": "absent" for service in ("docker", "postgres", "kestra", "n8n")}


def text(settings: dict[str, Any]) -> str:
    return json.dumps(settings, indent=4) + "\n"


def host(others: dict[str, Any] | None = None, look: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """Return a host whose Docker was deployed with the settings."""
    found: dict[str, Any] = {
        "docker": {"engine": "29.0.0", "compose": "2.40.0"},
        "packages": {"docker-ce": "29"},
        "files": {
            "/etc/docker/daemon.json": {"type": "file"},
            "/opt/orchestration/docker/daemon.json": {
                "type": "file",
                "sha256": hashlib.sha256(text(SETTINGS).encode()).hexdigest(),
            },
        },
        "services": {"docker": {"committed": "abc", "differing": []}},
        "containers": {},
    }
    look = {**DOCKER, "others": {**OTHERS, **(others or {})}, **(look or {})}
    return {**found, "docker_host": look, **more}


def situation(variables: dict[str, Any], seen: dict[str, Any], settings: dict[str, Any] | None = None) -> Situation:
    given = dict(variables.get("docker_daemon_config", {}))
    rendered = {"docker_daemon_config": text({**(SETTINGS if settings is None else settings), **given})}
    return Situation({**VARIABLES, **variables}, seen, {"distribution": "Debian"}, rendered=rendered)


def refused(variables: dict[str, Any], seen: dict[str, Any], settings: dict[str, Any] | None = None) -> list[str]:
    asked = situation(variables, seen, settings)
    rules = docker.DEPLOYMENT if asked.present("docker") else docker.REMOVAL
    return [problem for rule in rules for problem in rule(asked)]


def warned(variables: dict[str, Any], seen: dict[str, Any]) -> list[str]:
    return [warning for rule in docker.WARNINGS for warning in rule(situation(variables, seen))]


LIST = {"path": "/etc/apt/sources.list.d/docker.list", "uri": URL, "signed_by": "/etc/apt/keyrings/docker.gpg"}
LOGIN = {"username": "me", "password": "swordfish"}
UNKNOWN = {"services": {"docker": {"committed": "", "differing": []}}}
MIRRORS = {**SETTINGS, "registry-mirrors": ["https://a.example.com"]}


@pytest.mark.parametrize(
    ("variables", "seen", "settings", "message"),
    [
        ({}, host(apt_sources=[LIST]), None, f"docker_package_source: {LIST['path']} has {URL} with the key '/etc/apt"),
        (
            {},
            host(apt_sources=[{**LIST, "signed_by": ""}]),
            None,
            f"docker_package_source: {LIST['path']} has {URL} with no key",
        ),
        ({}, host(files={"/snap/bin/docker": {"type": "link"}}), None, "docker_state: the host has Docker as a snap"),
        ({}, host(packages={"podman-docker": "5"}), None, "docker_state: the package podman-docker is installed"),
        (
            {},
            host(files={"/etc/docker/daemon.json": {"type": "link"}}),
            None,
            "docker_daemon_config: /etc/docker/daemon.json is a link.",
        ),
        (
            {},
            host(look={"problem": "/etc/docker/daemon.json: is not JSON"}),
            None,
            "docker_daemon_config: /etc/docker/daemon.json: is",
        ),
        (
            {},
            host(look={"own": {"registry-mirrors": ["https://b.example.com"]}}),
            MIRRORS,
            "docker_daemon_config: /etc/docker/daemon.json of the host has registry-mirrors, and docker_registry",
        ),
        (
            {"docker_daemon_config": {"data-root": "/srv/docker"}},
            host({"volumes": ["data"]}),
            None,
            "docker_daemon_config: data-root is /srv/docker, and Docker has its data in /var/lib/docker, with data.",
        ),
        (
            {"docker_daemon_config": {"data-root": "/srv/docker"}},
            host(containers={"kestra": {"name": "orchestration-kestra-1"}}),
            None,
            "docker_daemon_config: data-root is /srv/docker, and Docker has its data in /var/lib/docker, with orch",
        ),
        (
            {"docker_daemon_config": {"live-restore": True}},
            host(look={"swarm": "active"}),
            None,
            "docker_daemon_config: live-restore is true, and the host is a node of a swarm",
        ),
        (
            {},
            host({"running": ["web"]}, **UNKNOWN),
            None,
            "docker_restart_allowed: Docker is restarted for /etc/docker/daemon",
        ),
        (
            {},
            host({"running": ["web"]}),
            MIRRORS,
            "docker_restart_allowed: Docker is restarted for /etc/docker/daemon.json",
        ),
        (
            {},
            host({"running": list("abcdef")}, {"live_restore": True}, packages={"docker.io": "27"}),
            None,
            "docker_restart_allowed: the package docker.io is replaced, which stops a, b, c, d, e and 1 more.",
        ),
        (
            {"docker_package_source": "distribution"},
            host({"running": ["web"]}, {"live_restore": True}),
            None,
            "docker_restart_allowed: the package docker-ce is replaced",
        ),
        (
            {},
            host(look={"networks": {"bridge": ["10.9.0.0/24"]}}),
            None,
            "sidecar_allowed_networks: Docker has containers in 10.9.0.0/24, which is not among them.",
        ),
        (
            {},
            host(look={"pools": ["10.202.0.0/16"]}),
            None,
            "sidecar_allowed_networks: Docker has containers in 10.202.0.0/16",
        ),
        (
            {"docker_daemon_config": {"bip": "10.201.0.1/24"}},
            host(look={"own": {"default-address-pools": [{"base": "10.202.0.0/16", "size": 24}]}}),
            None,
            "sidecar_allowed_networks: Docker has containers in 10.201.0.0/24 and 10.202.0.0/16",
        ),
        # removal
        (
            {"docker_state": "absent"},
            host({"containers": ["web"]}),
            None,
            "docker_state: Docker has containers of others: web.",
        ),
        (
            {"docker_state": "absent"},
            host(look={"swarm": "active"}),
            None,
            "docker_state: the host is a node of a swarm.",
        ),
        (
            {"docker_state": "absent", "docker_purge_data": True},
            host({"networks": ["front"]}),
            None,
            "docker_purge_data: Docker has networks of others: front.",
        ),
        (
            {"docker_state": "absent", "docker_purge_data": "yes"},
            host({"volumes": ["data"]}, docker={"engine": ""}),
            None,
            "docker_purge_data: Docker has volumes of others: data. Save what they hold and remove them, or leave",
        ),
    ],
)
def test_refused(
    variables: dict[str, Any], seen: dict[str, Any], settings: dict[str, Any] | None, message: str
) -> None:
    (problem,) = refused({**(ABSENT if variables.get("docker_state") else {}), **variables}, seen, settings)
    assert problem.startswith(message)


@pytest.mark.parametrize(
    ("variables", "seen", "settings"),
    [
        ({}, host(), None),
        ({}, {}, None),
        ({}, host(apt_sources=[{**LIST, "path": docker.SOURCES, "signed_by": docker.KEYRING}]), None),
        ({}, host(apt_sources=[{**LIST, "signed_by": docker.KEYRING}]), None),
        ({}, host(apt_sources=[{**LIST, "uri": "https://other.example.com"}]), None),
        ({"docker_package_source": "distribution"}, host(apt_sources=[LIST], packages={"docker.io": "27"}), None),
        ({"orchestration_offline": True}, host(apt_sources=[LIST]), None),
        # the keys of the host stay, and its value may be the wanted one
        ({}, host(look={"own": {"mtu": 1400, "data-root": "/srv"}, "data_root": "/srv"}), None),
        ({}, host(look={"own": {"registry-mirrors": ["https://a.example.com"]}}), MIRRORS),
        (
            {"docker_daemon_config": {"registry-mirrors": ["https://c.example.com"]}},
            host(look={"own": {"registry-mirrors": ["https://b.example.com"]}}),
            MIRRORS,
        ),
        ({"docker_daemon_config": {"data-root": "/srv"}}, host(), None),
        ({"docker_daemon_config": {"data-root": "/srv/"}}, host({"volumes": ["x"]}, {"data_root": "/srv"}), None),
        ({"docker_daemon_config": {"live-restore": False}}, host(look={"swarm": "active"}), None),
        # nothing is restarted, nothing stops, or it may
        ({}, host({"running": ["web"]}), None),
        ({}, host({"running": ["web"]}, {"live_restore": True}), MIRRORS),
        ({"docker_restart_allowed": "true"}, host({"running": ["web"]}, **UNKNOWN), None),
        ({}, host({"containers": ["web"]}, **UNKNOWN), None),
        # networks that need not reach the sidecar, or may
        ({"sidecar_state": "absent"}, host(look={"pools": ["10.202.0.0/16"]}), None),
        ({"kestra_state": "absent", "n8n_state": "absent"}, host(look={"pools": ["10.202.0.0/16"]}), None),
        ({"sidecar_allowed_networks": ["any"]}, host(look={"pools": ["10.202.0.0/16"]}), None),
        (
            {"docker_daemon_config": {"bip": "172.30.0.1/24"}},
            host(look={"networks": {"bridge": ["10.9.0.0/24"]}}),
            None,
        ),
        # removal
        (ABSENT, host({"networks": ["front"], "volumes": ["data"]}), None),
        (ABSENT, host({"containers": ["web"]}, docker={"engine": ""}), None),
        ({**ABSENT, "docker_purge_data": True}, host(), None),
    ],
)
def test_passed(variables: dict[str, Any], seen: dict[str, Any], settings: dict[str, Any] | None) -> None:
    assert refused(variables, seen, settings) == []


def test_warned() -> None:
    own = {"live-restore": False, "log-driver": "journald", "mtu": 1400}
    kept = warned({}, host(look={"own": own}))
    assert [text.partition(", which stays")[0].rpartition(" ")[2] for text in kept] == ["live-restore", "log-driver"]
    assert warned({"docker_daemon_config": own}, host(look={"own": own})) == []
    (replaced,) = warned({}, host(packages={"docker.io": "27"}))
    assert replaced.startswith("docker_package_source: apt replaces the package docker.io by docker-ce")
    assert "'distribution' to keep it" in replaced
    assert warned(ABSENT, host(packages={"docker.io": "27"}, look={"own": own})) == []


IMAGE = "docker.io/n8nio/n8n:2.41.1"
HUB = "https://registry-1.docker.io"


@pytest.mark.parametrize(
    ("reasons", "proxy", "outcome"),
    [
        ({HUB: "has no n8nio/n8n 2.41.1"}, False, "refused"),
        ({HUB: "no route to host"}, False, "refused"),
        ({HUB: "no route to host"}, True, "warned"),
        ({HUB: "HTTP status 429"}, False, "warned"),
        ({HUB: "HTTP status 401"}, False, "warned"),
        ({HUB: "TLS: certificate verify failed"}, False, "warned"),
        ({}, False, "passed"),
    ],
)
@pytest.mark.parametrize("mirror", ["", "no route to host", "has no n8nio/n8n 2.41.1"])
def test_registry(reasons: dict[str, str], proxy: bool, outcome: str, mirror: str) -> None:
    """A mirror that does not have the image is no reason to refuse it, as long as another registry may."""
    if mirror:
        reasons = {"http://mirror": mirror, **reasons}
        outcome = "warned" if outcome == "passed" else outcome
    seen = {"missing_images": [IMAGE], "registry_problems": {IMAGE: reasons}, "docker_host": {"proxy": proxy}}
    variables = {"n8n_image": "docker.io/n8nio/n8n", "n8n_version": "2.41.1"}
    asked = Situation({**variables, "docker_registry_mirrors": ["http://mirror"] if mirror else []}, seen)
    problems = list(images.image("n8n")(asked))
    warnings = [text for rule in images.WARNINGS for text in rule(asked)]
    assert (len(problems), len(warnings)) == {"refused": (1, 0), "warned": (0, 1), "passed": (0, 0)}[outcome]
    assert all("docker_registry_auth" in text for text in warnings)
    there = Situation(asked.variables, {**seen, "missing_images": []})
    assert not [*images.image("n8n")(there), *(text for rule in images.WARNINGS for text in rule(there))]


@pytest.mark.parametrize(
    ("logins", "problem"),
    [
        ({"docker.io": {"username": "me", "password": 'p:%"$'}, "r.example.com:5000": LOGIN}, ""),
        ({"https://r.example.com": LOGIN}, "'https://r.example.com' is not a registry"),
        ({"r.example.com/team": LOGIN}, "'r.example.com/team' is not a registry"),
        ({"r.example.com": {"username": "me"}}, "r.example.com does not have a username and a password"),
        ({"r.example.com": "me:swordfish"}, "r.example.com does not have a username and a password"),
        ({"r.example.com": {**LOGIN, "password": ""}}, "r.example.com does not have a username and a password"),
        ({"r.example.com": {**LOGIN, "username": "a:b"}}, "the username of r.example.com has a colon"),
    ],
)
def test_logins_of_registries(logins: dict[str, Any], problem: str) -> None:
    found = refused({"docker_registry_auth": logins}, host())
    assert [text.startswith(f"docker_registry_auth: {problem}") for text in found] == ([True] if problem else [])
    assert "swordfish" not in str(found)
