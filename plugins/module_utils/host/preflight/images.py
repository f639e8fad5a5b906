# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rules for images: the reference, whether a registry has it, another major version."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from ansible_collections.devorch.orchestration.plugins.module_utils.host.preflight.situation import (
    Rule,
    Situation,
    data_major,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.versions import Image, another_major, another_minor

FULL_VERSION = re.compile(r"v?[0-9]+\.[0-9]+\.[0-9]+(?:[-.][\w.-]+)?", re.ASCII)
"""A tag of one version, such as V(v2.0.5-slim). V(2.0) and V(latest) move from one to the next."""


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
        present = present_image(situation, service)
        known = service == "postgres" and data_major(situation)  # the data themselves are asked
        if not situation.upgrade and not known and another_major(present, reference):
            yield (
                f"{service}_version: {present} has run on the data of this host, and {reference} is another major"
                " version. A newer one changes the data when it starts, and only a backup brings them back; an older"
                f" one cannot open them. Set {service}_version back, or run upgrade.yml, which makes a backup and"
                " returns to it if the new version does not start."
            )

    return rule


def present_image(situation: Situation, service: str) -> str:
    """Return the image that last ran on the data of a service, an empty string if none is known."""
    return str(situation.host.get("versions", {}).get(service, "")).strip()


def _is_malformed(reference: str) -> bool:
    try:
        Image.parse(reference)
    except ValueError:
        return True
    return False


def pinned(service: str, example: str) -> Rule:
    """Return a rule for a service that changes its data when it starts in another version."""

    def rule(situation: Situation) -> Iterator[str]:
        version, variable = situation.text(f"{service}_version"), f"{service}_version"
        reference, present = situation.image(service), present_image(situation, service)
        if not version or _is_malformed(reference):
            return
        if not FULL_VERSION.fullmatch(version):
            yield (
                f"{variable}: '{version}' is not a full version, so the image may change without a backup. Set a"
                f" version such as {example}."
            )
        elif another_minor(present, reference) and not (
            situation.upgrade or situation.flag("orchestration_upgrade_without_backup")
        ):
            yield (
                f"{variable}: {present} has run on the data of this host, and {reference} changes them when it starts."
                f" Set {variable} back, or run upgrade.yml, which makes a backup and returns to it if the new version"
                " does not start. If you have a backup, set orchestration_upgrade_without_backup to true."
            )

    return rule
