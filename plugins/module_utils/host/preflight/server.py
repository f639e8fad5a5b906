# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rules for the server itself: distribution, memory, disk, paths, proxies."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from ansible_collections.devorch.orchestration.plugins.module_utils.host.preflight.situation import (
    ABSOLUTE,
    MIB,
    SERVICES,
    Rule,
    Situation,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.host.preflight.values import either

DISTRIBUTIONS: Mapping[str, Sequence[str]] = {"Debian": ("12", "13"), "Ubuntu": ("24.04", "26.04")}
"""What is supported: major versions of Debian, and releases of Ubuntu."""
PROXY = re.compile(r"(http://[^/@\s]+/?)?")


def _distribution(situation: Situation) -> Iterator[str]:
    if not situation.deployed():
        return
    name = situation.facts.get("distribution")
    if not name:
        yield "ansible_facts: the distribution of the host is unknown. Let the play gather facts."
    elif situation.release not in DISTRIBUTIONS.get(str(name), ()):
        supported = [f"{supported} {either(releases)}" for supported, releases in DISTRIBUTIONS.items()]
        version = situation.facts.get("distribution_version", "")
        yield f"{name} {version} is not supported. Use {', or '.join(supported)}."


def _memory(situation: Situation) -> Iterator[str]:
    found, needed = situation.host.get("memory_bytes"), situation.number("orchestration_minimum_memory")
    if situation.deployed() and found is not None and needed is not None and found < needed * MIB:
        yield (
            f"orchestration_minimum_memory: the host has {found // MIB} MiB of memory and needs {needed} MiB. Give it"
            " more, or lower orchestration_minimum_memory and kestra_java_opts."
        )


def _disk(situation: Situation) -> Iterator[str]:
    found, needed = situation.host.get("disk_free_bytes"), situation.number("orchestration_minimum_disk")
    if situation.deployed() and found is not None and needed is not None and found < needed * MIB:
        yield (
            f"orchestration_minimum_disk: {situation.root} has {found // MIB} MiB of free space and needs {needed}"
            " MiB. Free some, or set orchestration_root to a directory on a larger disk."
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


RULES: tuple[Rule, ...] = (_root, _distribution, _memory, _disk, _proxies, _bundle, _certificates, _purge)
