# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rules for the sidecar."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from ansible_collections.devorch.orchestration.plugins.module_utils.host.preflight.ports import held_ports
from ansible_collections.devorch.orchestration.plugins.module_utils.host.preflight.situation import Rule, Situation
from ansible_collections.devorch.orchestration.plugins.module_utils.host.preflight.values import (
    absolute,
    addresses,
    listed,
    ranges,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.versions import numbers

SNAPD = "/run/snapd.socket"
SIDECAR_PYTHON = (3, 11)
NUMBER = re.compile("[0-9]{1,9}")
SIZE = re.compile("[1-9][0-9]{0,9}[MG]")


def _sidecar_addresses(situation: Situation) -> Iterator[str]:
    name = "sidecar_bind_addresses"
    if not situation.given(name):
        return
    addresses = [str(address) for address in situation.items(name)]
    if not addresses:
        yield f"{name}: is empty. Keep 127.0.0.1, which the health check of the role needs."
    for address in addresses:
        if not re.fullmatch(r"127[.][0-9]+[.][0-9]+[.][0-9]+|::1", address):
            yield (
                f"{name}: '{address}' is not of the loopback interface. Whoever reaches the API and has the token owns"
                " the virtual machines of the host. Use 127.0.0.1, and sidecar_docker_bridges for containers."
            )


def _sidecar_paths(situation: Situation) -> Iterator[str]:
    names = ("sidecar_multipass_path", "sidecar_home")
    for name in names:
        if situation.given(name) and not situation.text(name):
            yield f"{name}: is empty. Set an absolute path."
    yield from absolute(*names, "sidecar_tls_certificate", "sidecar_tls_key", "sidecar_wheels")(situation)
    for name in ("sidecar_mount_sources", "sidecar_image_files"):
        for path in situation.items(name):
            if not str(path).startswith("/"):
                yield f"{name}: '{path}' is not an absolute path. Set one that begins with /."
    if bool(situation.text("sidecar_tls_certificate")) != bool(situation.text("sidecar_tls_key")):
        yield (
            "sidecar_tls_certificate, sidecar_tls_key: one is set and the other is not. Set both, or leave both empty."
        )


def _sidecar_tokens(situation: Situation) -> Iterator[str]:
    tokens = [token for token in situation.items("sidecar_tokens") if isinstance(token, Mapping)]
    names = [str(token.get("name", "")) for token in tokens]
    for name in names:
        if not re.fullmatch("[a-z][a-z0-9_]{0,40}", name):
            yield (
                f"sidecar_tokens: '{name}' is not a name of a token. Use lower-case letters, digits and underscores,"
                " with a letter first."
            )
    if len({"admin", "kestra", *names}) != len(names) + 2:
        yield (
            "sidecar_tokens: a name occurs twice. Use each name once; 'admin' is the name of sidecar_token, and"
            " 'kestra' that of kestra_sidecar_token."
        )
    for name in ("sidecar_token", "kestra_sidecar_token"):
        if situation.given(name) and not re.fullmatch("[!-~]{32,}", situation.text(name)):
            yield (
                f"{name}: needs at least 32 characters of ASCII, without spaces. Set a longer one ('openssl rand -hex"
                " 32'), or leave it out to have one generated."
            )


def _sidecar_limits(situation: Situation) -> Iterator[str]:
    for name in ("sidecar_max_memory", "sidecar_max_disk"):
        if situation.text(name) and not SIZE.fullmatch(situation.text(name)):
            yield f"{name}: '{situation.text(name)}' is not a size. Set a whole number with M or G."
    tokens = [str(token.get("name")) for token in situation.items("sidecar_tokens") if isinstance(token, Mapping)]
    for token, values in situation.mapping("sidecar_limits").items():
        if token not in ("admin", "kestra", *tokens):
            yield f"sidecar_limits: there is no token '{token}'. Use admin, kestra or a name of sidecar_tokens."
        for key, value in values.items() if isinstance(values, Mapping) else [("", values)]:
            wanted = {"instances": NUMBER, "cpus": NUMBER, "memory": SIZE, "disk": SIZE}.get(str(key))
            if wanted is None or isinstance(value, bool) or not wanted.fullmatch(str(value)):
                yield (
                    f"sidecar_limits: {token}: '{key}: {value}' is not a limit. Set instances and cpus to numbers, and"
                    " memory and disk to numbers with M or G."
                )


def _sidecar_host(situation: Situation) -> Iterator[str]:
    python = situation.host.get("python")
    if python is not None and numbers(str(python)) < SIDECAR_PYTHON:
        found = f"is Python {python}" if python else "is missing or does not start"
        yield (
            f"sidecar_python: {situation.text('sidecar_python')} {found}, and the sidecar needs Python 3.11. Install a"
            " newer one and set sidecar_python to its path, or set sidecar_state to 'absent'."
        )
    groups = situation.host.get("groups")
    unknown = [str(name) for name in situation.items("sidecar_groups") if groups is not None and name not in groups]
    if unknown:
        yield (
            f"sidecar_groups: the host has no group {listed(unknown)}. Set sidecar_groups to the group that multipass"
            " lets in, or to []."
        )


def _sidecar_removal(situation: Situation) -> Iterator[str]:
    if situation.flag("sidecar_purge_data") and situation.present("kestra"):
        yield (
            "sidecar_purge_data: Kestra's flows use the token as well. Set kestra_state to 'absent', or leave"
            " sidecar_purge_data out."
        )


def _multipass(situation: Situation) -> Iterator[str]:
    path, files = situation.text("sidecar_multipass_path"), situation.host.get("files", {})
    wanted = "sidecar" in situation.deployed() and situation.flag("sidecar_multipass_install")
    if wanted and path.startswith("/snap/") and path not in files and SNAPD not in files:
        yield (
            f"sidecar_multipass_install: the host has no snapd, so multipass is not installed. Until it is at {path},"
            " the sidecar answers that it is missing. Set sidecar_multipass_install to false if that is intended."
        )


DEPLOYMENT: tuple[Rule, ...] = (
    held_ports("sidecar"),
    _sidecar_addresses,
    _sidecar_paths,
    _sidecar_limits,
    addresses("sidecar_pip_index_url"),
    ranges(
        ("sidecar_query_timeout", 1, 3600),
        ("sidecar_change_timeout", 1, 3600),
        ("sidecar_launch_timeout", 1, 14400),
        ("sidecar_max_parallel", 1, 64),
        ("sidecar_max_cpus", 0, 4096),
        ("sidecar_max_queue", 1, 10000),
        ("sidecar_job_days", 1, 3650),
        ("sidecar_rate_limit", 1, 100000),
    ),
    _sidecar_tokens,
    _sidecar_host,
)
REMOVAL: tuple[Rule, ...] = (_sidecar_removal,)
WARNINGS: tuple[Rule, ...] = (_multipass,)
