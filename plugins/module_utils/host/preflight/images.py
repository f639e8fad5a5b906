# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rules for images: the reference, whether a registry has it, another major version."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from ansible_collections.devorch.orchestration.plugins.module_utils.host.preflight.situation import (
    DATABASE_USERS,
    Rule,
    Situation,
    data_major,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.versions import Image, another_major, numbers


def registries(reference: str, mirrors: Sequence[str] = (), insecure: Sequence[str] = ()) -> list[str]:
    """Return the addresses of the registries that Docker asks for an image, in its order."""
    try:
        host = Image.parse(reference).host
    except ValueError:
        return []
    if host == "docker.io":
        return [*mirrors, "https://registry-1.docker.io"]
    return [f"{'http' if host in insecure else 'https'}://{host}"]


def _malformed(situation: Situation, service: str) -> str:
    """Return the variable that makes a reference malformed."""
    if not re.fullmatch(r"\w[\w.-]{0,127}", situation.text(f"{service}_version"), re.ASCII):
        return f"{service}_version"
    try:
        Image.parse(f"{situation.text(f'{service}_image')}:1")
    except ValueError:
        return f"{service}_image"
    return f"{service}_digest"


def image(service: str) -> Rule:
    def rule(situation: Situation) -> Iterator[str]:
        reference = situation.image(service)
        if not reference:
            return
        try:
            Image.parse(reference)
        except ValueError as error:
            yield f"{_malformed(situation, service)}: {error}. Correct the variable."
            return
        reasons = situation.host.get("registry_problems", {}).get(reference, {})
        asked = registries(
            reference, situation.items("docker_registry_mirrors"), situation.items("docker_insecure_registries")
        )
        missing = reference in situation.host.get("missing_images", ())
        if missing and not situation.flag("orchestration_offline") and len(reasons) >= len(asked):
            listed = "; ".join(f"{registry}: {reason}" for registry, reason in reasons.items())
            yield (
                f"{service}_version: {reference} is not on the host, and no registry gives it ({listed}). Correct"
                f" {service}_version or {service}_digest, or set orchestration_registry or docker_registry_mirrors to a"
                " registry that the host can reach."
            )
        present = str(situation.host.get("versions", {}).get(service, "")).strip()
        known = service == "postgres" and data_major(situation)  # the data themselves are asked
        if not situation.upgrade and not known and another_major(present, reference):
            yield (
                f"{service}_version: {present} has run on the data of this host, and {reference} is another major"
                " version. A newer one changes the data when it starts, and only a backup brings them back; an older"
                f" one cannot open them. Set {service}_version back, or run upgrade.yml, which makes a backup and"
                " returns to it if the new version does not start."
            )

    return rule


def _unpinned(situation: Situation) -> Iterator[str]:
    for service in DATABASE_USERS:
        version = situation.text(f"{service}_version")
        if service in situation.deployed() and version and not numbers(version):
            yield (
                f"{service}_version: '{version}' does not name a version, so upgrade.yml cannot compare it and the"
                " image may change without notice. Set a version."
            )


WARNINGS: tuple[Rule, ...] = (_unpinned,)
