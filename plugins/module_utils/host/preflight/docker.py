# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rules for Docker, on a host that may have one of its own."""

from __future__ import annotations

import hashlib
import ipaddress
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.devorch.orchestration.plugins.module_utils.host.preflight.situation import (
    DATABASE_USERS,
    IN_DOCKER,
    TITLES,
    Rule,
    Situation,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.host.preflight.values import addresses, listed

CONFIGURATION = "/etc/docker/daemon.json"
SOURCES, KEYRING = "/etc/apt/sources.list.d/docker.sources", "/etc/apt/keyrings/docker.asc"
ENGINES: Mapping[str, str] = {"docker": "docker-ce", "distribution": "docker.io"}
REGISTRY = re.compile(r"[A-Za-z0-9.-]+(:[0-9]+)?", re.ASCII)
SET_BY: Mapping[str, str] = {
    "registry-mirrors": "docker_registry_mirrors",
    "insecure-registries": "docker_insecure_registries",
    "proxies": "orchestration_http_proxy or orchestration_https_proxy",
}
"""The variables that set keys of the configuration."""
DEFAULTS: Mapping[str, Any] = {"live-restore": True, "log-driver": "json-file", "log-opts": None}
"""Keys of the configuration that are set unless the host has them."""
LOG_LIMITS: Mapping[str, tuple[str, str]] = {
    "orchestration_log_max_size": ("max-size", "10m"),
    "orchestration_log_max_file": ("max-file", "5"),
}
"""The options of the log that variables set, and the defaults of these."""


def _found(situation: Situation) -> Mapping[str, Any]:
    found = situation.host.get("docker_host")
    return found if isinstance(found, Mapping) else {}


def _others(situation: Situation, kind: str) -> list[str]:
    return [str(name) for name in _found(situation).get("others", {}).get(kind, ())]


def _own(situation: Situation) -> Mapping[str, Any]:
    own: Mapping[str, Any] = _found(situation).get("own", {})
    return own


def _wanted(situation: Situation) -> Mapping[str, Any]:
    """Return the keys of the configuration that the run sets."""
    try:
        wanted = json.loads(situation.rendered.get("docker_daemon_config", ""))
    except ValueError:
        return {}
    return wanted if isinstance(wanted, Mapping) else {}


def _source(situation: Situation) -> Iterator[str]:
    old = situation.facts.get("distribution") == "Debian" and situation.release == "12"
    if old and situation.text("docker_package_source") == "distribution":
        yield (
            "docker_package_source: Debian 12 has no package of Compose v2. Set docker_package_source to 'docker', or"
            " use Debian 13."
        )


def _apt(situation: Situation) -> Iterator[str]:
    if situation.text("docker_package_source") != "docker" or situation.flag("orchestration_offline"):
        return
    url = situation.text("docker_repository_url").rstrip("/")
    for source in situation.host.get("apt_sources", ()):
        if source["uri"] == url and source["path"] != SOURCES and source["signed_by"] != KEYRING:
            key = f"the key '{source['signed_by']}'" if source["signed_by"] else "no key"
            yield (
                f"docker_package_source: {source['path']} has {url} with {key}, and the role writes {SOURCES} with"
                f" {KEYRING}. apt refuses to work with both. Remove {url} from {source['path']}."
            )


def _programs(situation: Situation) -> Iterator[str]:
    if "/snap/bin/docker" in situation.host.get("files", {}):
        yield (
            "docker_state: the host has Docker as a snap, which would run beside the one of the role. Save what its"
            " containers and volumes hold, and remove it with 'snap remove docker'."
        )
    if "podman-docker" in situation.host.get("packages", {}):
        yield (
            "docker_state: the package podman-docker is installed, so the command docker is Podman. Remove the package;"
            " the containers of Podman stay."
        )


def _replaced_engine(situation: Situation) -> str:
    """Return the package of the engine that apt would remove; an empty string if there is none."""
    packages, wanted = situation.host.get("packages", {}), ENGINES.get(situation.text("docker_package_source"), "")
    others = [name for name in ENGINES.values() if name != wanted and name in packages]
    return others[0] if others and wanted not in packages else ""


def _configuration(situation: Situation) -> Iterator[str]:
    entry = situation.host.get("files", {}).get(CONFIGURATION, {"type": "file"})
    problem = _found(situation).get("problem")
    if entry["type"] != "file":
        yield f"docker_daemon_config: {CONFIGURATION} is a {entry['type']}. Put a file there, or remove it."
    elif problem:
        yield f"docker_daemon_config: {problem}."
    own, given = _own(situation), situation.mapping("docker_daemon_config")
    for key, value in _wanted(situation).items():
        if key in own and key not in given and own[key] != value:
            yield (
                f"docker_daemon_config: {CONFIGURATION} of the host has {key}, and {SET_BY.get(key, 'the role')} sets"
                f" it to another value. Put {key} with the value that is meant into docker_daemon_config."
            )


def _data_root(situation: Situation) -> Iterator[str]:
    present = str(_found(situation).get("data_root", "")).rstrip("/")
    wanted = str(_wanted(situation).get("data-root", present)).rstrip("/")
    kept = [*_others(situation, "containers"), *_others(situation, "volumes")]
    kept += [str(container["name"]) for container in situation.host.get("containers", {}).values()]
    if present and wanted != present and kept:
        yield (
            f"docker_daemon_config: data-root is {wanted}, and Docker has its data in {present}, with {_some(kept)}."
            f" Docker would not see them any more. Stop Docker, move the directory, set data-root in {CONFIGURATION},"
            " start Docker and run again; or leave data-root out."
        )


def _swarm(situation: Situation) -> Iterator[str]:
    swarm = str(_found(situation).get("swarm", ""))
    wanted = {**_own(situation), **situation.mapping("docker_daemon_config")}
    if swarm not in ("", "inactive") and wanted.get("live-restore") is True:
        yield (
            "docker_daemon_config: live-restore is true, and the host is a node of a swarm, on which Docker does not"
            " start with it. Set live-restore to false, or leave it out."
        )


def _restart(situation: Situation) -> Iterator[str]:
    running = _others(situation, "running")
    if not running or situation.flag("docker_restart_allowed"):
        return
    engine = _replaced_engine(situation)
    if engine:
        reason = f"the package {engine} is replaced"
    elif _restarts(situation) and not _found(situation).get("live_restore"):
        reason = f"Docker is restarted for {CONFIGURATION}"
    else:
        return
    yield (
        f"docker_restart_allowed: {reason}, which stops {_some(running)}. Others run them. Docker starts those with a"
        " restart policy again. Set docker_restart_allowed to true if they may stop."
    )


def _restarts(situation: Situation) -> bool:
    """Return whether the run changes Docker's configuration, or completes a change."""
    rendered = situation.rendered.get("docker_daemon_config")
    if rendered is None:
        return False
    files, service = situation.host.get("files", {}), situation.host.get("services", {}).get("docker", {})
    digest = hashlib.sha256(f"{rendered.rstrip()}\n".encode()).hexdigest()
    same = files.get(f"{situation.root}/docker/daemon.json", {}).get("sha256") == digest
    return not same or not service.get("committed") or bool(service.get("differing"))


def _networks(situation: Situation) -> Iterator[str]:
    name = "sidecar_allowed_networks"
    users = [service for service in DATABASE_USERS if service in situation.deployed()]
    if "sidecar" not in situation.deployed() or not users or not situation.given(name):
        return
    allowed = [network for text in situation.items(name) if (network := _network(text))]
    if len(allowed) < len(situation.items(name)):
        # Words such as "any" and "localhost" are for systemd to judge.
        return
    configured = {**_own(situation), **_wanted(situation)}
    pools = configured.get("default-address-pools")
    bases = [pool.get("base") for pool in pools if isinstance(pool, Mapping)] if isinstance(pools, list) else []
    found = _found(situation)
    # The bridge takes the configured network when Docker is restarted.
    present = {**found.get("networks", {}), **({"bridge": [configured["bip"]]} if configured.get("bip") else {})}
    asked = [*present.values(), bases, found.get("pools", ())]
    networks = [network for texts in asked for text in texts if text and (network := _network(text))]
    missing = [
        str(network)
        for network in dict.fromkeys(networks)
        if isinstance(network, ipaddress.IPv4Network)
        and not any(network.subnet_of(each) for each in allowed if isinstance(each, ipaddress.IPv4Network))
    ]
    if missing:
        yield (
            f"{name}: Docker has containers in {listed(missing)}, which is not among them. From there"
            f" {listed([TITLES[user] for user in users])} cannot reach the sidecar. Add {listed(missing)}."
        )


def _network(text: Any) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(str(text), strict=False)
    except ValueError:
        return None


def _some(names: Sequence[str]) -> str:
    return listed(names) if len(names) <= 5 else f"{', '.join(names[:5])} and {len(names) - 5} more"


def _logins(situation: Situation) -> Iterator[str]:
    name = "docker_registry_auth"
    for registry, login in situation.mapping(name).items():
        if not REGISTRY.fullmatch(str(registry)):
            yield f"{name}: '{registry}' is not a registry. Set a host, with a port if it has one, and without a path."
        keys = ("username", "password")
        whole = isinstance(login, Mapping) and set(login) == set(keys)
        if not whole or not all(isinstance(login[key], str) and login[key] for key in keys):
            yield f"{name}: {registry} does not have a username and a password. Set both, as texts."
        elif ":" in login["username"]:
            yield f"{name}: the username of {registry} has a colon, which Docker cannot keep. Use another user."


def _removal(situation: Situation) -> Iterator[str]:
    compose = f"{situation.root}/compose.yml"
    needed = [service for service in situation.deployed() if service in IN_DOCKER]
    if compose in situation.host.get("files", {}):
        yield (
            f"docker_state: services of {compose} run in Docker. Set kestra_state, n8n_state and postgres_state to"
            " 'absent' and run the playbook, and set docker_state to 'absent' after that."
        )
    elif needed:
        yield (
            f"docker_state: {listed([TITLES[service] for service in needed])} run in Docker. Set docker_state to"
            f" 'present', or {listed([f'{service}_state' for service in needed])} to 'absent' as well."
        )


def _removal_of_others(situation: Situation) -> Iterator[str]:
    purge, removed = situation.flag("docker_purge_data"), bool(situation.host.get("docker", {}).get("engine"))
    # What is stored stays without the purge.
    for kind in ("containers", "networks", "volumes") if purge else ("containers",) if removed else ():
        names = _others(situation, kind)
        if names:
            yield (
                f"{'docker_purge_data' if purge else 'docker_state'}: Docker has {kind} of others: {_some(names)}. Save"
                f" what they hold and remove them, or leave {'docker_purge_data out' if purge else 'Docker present'}."
            )
    if str(_found(situation).get("swarm", "")) not in ("", "inactive"):
        yield "docker_state: the host is a node of a swarm. Leave it with 'docker swarm leave', or keep Docker present."


def _kept(situation: Situation) -> Iterator[str]:
    if "docker" not in situation.deployed():
        return
    own, given = _own(situation), situation.mapping("docker_daemon_config")
    for key, value in DEFAULTS.items():
        if key in own and key not in given and own[key] != value:
            yield (
                f"docker_daemon_config: {CONFIGURATION} of the host has {key}, which stays. Put {key} into"
                " docker_daemon_config to change it."
            )
    engine = _replaced_engine(situation)
    if engine:
        sources = {package: source for source, package in ENGINES.items()}
        yield (
            f"docker_package_source: apt replaces the package {engine} by"
            f" {ENGINES[situation.text('docker_package_source')]}, which restarts Docker. Set docker_package_source to"
            f" '{sources[engine]}' to keep it."
        )


def _log(situation: Situation) -> Iterator[str]:
    """Warn of a limit of the logs that something else decides, if it is not the default."""
    if "docker" not in situation.deployed():
        return
    own, given = _own(situation), situation.mapping("docker_daemon_config")
    of_the_host = bool({"log-driver", "log-opts"} & own.keys())
    driver = str({**(own if of_the_host else {}), **given}.get("log-driver", "json-file"))
    for name, (key, default) in LOG_LIMITS.items():
        wanted = situation.text(name, default)
        if wanted == default:
            continue
        options = [each.get("log-opts") for each in (given, own)]
        values = [str(each[key]) for each in options if isinstance(each, Mapping) and key in each]
        if values[:1] == [wanted]:
            continue
        reason = ""
        if driver not in ("json-file", "local"):
            reason = f"the log driver is {driver}"
        elif values and isinstance(given.get("log-opts"), Mapping) and key in given["log-opts"]:
            reason = f"docker_daemon_config sets {key}"
        elif of_the_host:
            reason = f"{CONFIGURATION} of the host has its own log settings, which stay"
        if reason:
            yield (
                f"{name}: has no effect, because {reason}. Set log-driver and log-opts in docker_daemon_config, or"
                f" leave {name} out."
            )


DEPLOYMENT: tuple[Rule, ...] = (
    _source,
    addresses("docker_repository_url", "docker_repository_key_url", "docker_registry_mirrors"),
    _apt,
    _programs,
    _configuration,
    _data_root,
    _swarm,
    _restart,
    _networks,
    _logins,
)
REMOVAL: tuple[Rule, ...] = (_removal, _removal_of_others)
WARNINGS: tuple[Rule, ...] = (_kept, _log)
