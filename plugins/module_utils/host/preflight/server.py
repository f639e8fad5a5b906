# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rules for the server itself: distribution, memory, disk, paths, proxies."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from ansible_collections.devorch.orchestration.plugins.module_utils.host.preflight.situation import (
    ABSOLUTE,
    IN_DOCKER,
    MIB,
    SERVICES,
    Rule,
    Situation,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.host.preflight.values import either, listed

DISTRIBUTIONS: Mapping[str, Sequence[str]] = {"Debian": ("12", "13"), "Ubuntu": ("24.04", "26.04")}
"""What is supported: major versions of Debian, and releases of Ubuntu."""
SMALLEST_DISK = 1000
"""MiB that a run needs on a host that has its services: files, logs and a new container."""
PROXY = re.compile(r"(http://[^/@\s]+/?)?")


def supported() -> str:
    """Return the distributions and releases that are supported."""
    return ", or ".join(f"{name} {either(releases)}" for name, releases in DISTRIBUTIONS.items())


def _distribution(situation: Situation) -> Iterator[str]:
    if not situation.deployed():
        return
    name = situation.facts.get("distribution")
    if not name:
        yield "ansible_facts: the distribution of the host is unknown. Let the play gather facts."
    elif situation.release not in DISTRIBUTIONS.get(str(name), ()):
        version = situation.facts.get("distribution_version", "")
        yield f"{name} {version} is not supported. Use {supported()}."


def _memory(situation: Situation) -> Iterator[str]:
    found, needed = situation.host.get("memory_bytes"), situation.number("orchestration_minimum_memory")
    wanted = situation.installs and situation.deployed()
    if wanted and found is not None and needed is not None and found < needed * MIB:
        yield (
            f"orchestration_minimum_memory: the host has {found // MIB} MiB of memory and needs {needed} MiB. Give it"
            " more, or lower orchestration_minimum_memory and kestra_java_opts."
        )


def _first(situation: Situation) -> bool:
    """Return whether the run installs Docker, or downloads the image of a service that never ran on this host."""
    deployed, host = situation.deployed(), situation.host
    if "docker" in deployed and host.get("docker", {}).get("engine") == "":
        return True
    missing, ran = host.get("missing_images", ()), host.get("versions", {})
    return any(situation.image(name) in missing for name in IN_DOCKER if name in deployed and name not in ran)


def _disk(situation: Situation) -> Iterator[str]:
    found, needed = situation.host.get("disk_free_bytes"), situation.number("orchestration_minimum_disk")
    if not (situation.installs and situation.deployed()) or found is None or needed is None:
        return
    first = _first(situation)
    if not first:
        # A run that removes a service may be the one that frees space.
        removes = len(situation.deployed()) < len(situation.services)
        needed = 0 if removes else min(needed, SMALLEST_DISK)
    if found < needed * MIB:
        # The data of a host that has some stay where they are.
        elsewhere = ", or set orchestration_root to a directory on a larger disk" if _is_empty(situation) else ""
        yield (
            f"orchestration_minimum_disk: {situation.root} has {found // MIB} MiB of free space and needs {needed}"
            f" MiB. Free some{elsewhere}."
        )


def _is_empty(situation: Situation) -> bool:
    host = situation.host
    return not (host.get("versions") or host.get("postgres_major") or host.get("marked_root"))


def _other_root(situation: Situation) -> Iterator[str]:
    for directory in situation.host.get("other_roots", ()) if situation.deployed() else ():
        yield (
            f"orchestration_root: is {situation.root}, and the services of this host are in {directory}. In another"
            f" directory they would start without their data. Set orchestration_root to {directory}, or move them as"
            " docs/host.md says."
        )


def _missing_data(situation: Situation) -> Iterator[str]:
    host, root = situation.host, situation.root
    if not situation.deployed() or host.get("interrupted_restore") or host.get("other_roots"):
        return
    missing = []
    ran = host.get("marked_root") or host.get("services", {}).get("postgres", {}).get("committed")
    here = "postgres" in situation.deployed() and not situation.external
    if ran and here and not host.get("postgres_major", "unknown"):
        missing.append(f"{root}/data/postgres/pgdata")
    # A service's directory is made before its first start.
    missing += [
        f"{root}/data/{service}"
        for service in ("kestra", "n8n")
        if service in host.get("versions", {}) and root in host.get("files", {}) and service in situation.deployed()
        if f"{root}/data/{service}" not in host["files"]
    ]
    if missing:
        yield (
            f"orchestration_root: data of this host are missing ({', '.join(missing)}). Mount the disk that has them,"
            " or restore a backup with restore.yml. If they are not needed any more, remove"
            f" {root}/versions, {root}/rollback and /etc/orchestration.json."
        )


def _missing_keys(situation: Situation) -> Iterator[str]:
    """A new key would be generated, and what the service has encrypted with the old one would be lost."""
    stored = situation.host.get("secrets")
    if stored is None or situation.host.get("interrupted_restore"):
        return
    for service in ("kestra", "n8n"):
        name = f"{service}_encryption_key"
        if service not in situation.deployed() or service not in situation.host.get("versions", {}):
            continue
        if name not in stored and not situation.text(name):
            yield (
                f"{name}: {situation.root}/secrets/{name} is missing, and {service} has data encrypted with it."
                f" Restore the file from a backup, or set {name} to its value. If the data are not needed any more,"
                f" remove them with {service}_state: absent and {service}_purge_data: true."
            )


def _root(situation: Situation) -> Iterator[str]:
    root = situation.text("orchestration_root", "/opt/orchestration")
    if not ABSOLUTE.fullmatch(root) or not root.strip("/"):
        yield f"orchestration_root: '{root}' is not an absolute path. Set it to one such as /opt/orchestration."


def _proxies(situation: Situation) -> Iterator[str]:
    for name in ("orchestration_http_proxy", "orchestration_https_proxy"):
        if not PROXY.fullmatch(situation.text(name)):
            # The value may hold a password.
            yield (
                f"{name}: the value is not an address like http://proxy.example.com:3128. Set it to one, without a user"
                " name and a password, which others could read in files of the host."
            )


def _no_proxy(situation: Situation) -> Iterator[str]:
    proxied = situation.text("orchestration_http_proxy") or situation.text("orchestration_https_proxy")
    ranges = [str(item) for item in situation.items("orchestration_no_proxy") if "/" in str(item)]
    if proxied and ranges and {"kestra", "n8n"} & set(situation.deployed()):
        yield (
            f"orchestration_no_proxy: Kestra and n8n do not read ranges of addresses ({listed(ranges)}), and use the"
            " proxy for them. Name hosts, or domains such as .example.com, as well."
        )


def _bundle(situation: Situation) -> Iterator[str]:
    name = "orchestration_bundle"
    if not situation.flag("orchestration_offline"):
        return
    if not situation.text(name):
        yield (
            f"{name}: is empty, and orchestration_offline is true. Set {name} to the archive that playbooks/bundle.yml"
            " has made."
        )
    elif name in situation.missing_files:
        yield (
            f"{name}: the controller has no file {situation.text(name)}. Make it with playbooks/bundle.yml, or correct"
            " the path."
        )


def _certificates(situation: Situation) -> Iterator[str]:
    name = "orchestration_ca_certificates"
    if name in situation.missing_files:
        yield f"{name}: the controller lacks one of {', '.join(map(str, situation.items(name)))}. Correct the path."


def _purge(situation: Situation) -> Iterator[str]:
    for service in SERVICES:
        name = f"{service}_purge_data"
        if service in situation.services and situation.present(service) and situation.flag(name):
            yield (
                f"{name}: is true, and {service}_state is 'present'. Set {service}_state to 'absent' to remove the"
                f" data, or leave {name} out."
            )


RULES: tuple[Rule, ...] = (
    _root,
    _other_root,
    _missing_data,
    _missing_keys,
    _distribution,
    _memory,
    _disk,
    _proxies,
    _bundle,
    _certificates,
    _purge,
)
WARNINGS: tuple[Rule, ...] = (_no_proxy,)
