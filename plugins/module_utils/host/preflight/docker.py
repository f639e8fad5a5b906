# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rules for Docker."""

from __future__ import annotations

from collections.abc import Iterator

from ansible_collections.devorch.orchestration.plugins.module_utils.host.preflight.situation import (
    IN_DOCKER,
    TITLES,
    Rule,
    Situation,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.host.preflight.values import listed


def _docker_source(situation: Situation) -> Iterator[str]:
    old = situation.facts.get("distribution") == "Debian" and situation.release == "12"
    if old and situation.text("docker_package_source") == "distribution":
        yield (
            "docker_package_source: Debian 12 has no package of Compose v2. Set docker_package_source to 'docker', or"
            " use Debian 13."
        )


def _docker_removal(situation: Situation) -> Iterator[str]:
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


DEPLOYMENT: tuple[Rule, ...] = (_docker_source,)
REMOVAL: tuple[Rule, ...] = (_docker_removal,)
