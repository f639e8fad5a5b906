# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rules for images: the reference, whether a registry has it, another major version."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from ansible_collections.devorch.orchestration.plugins.module_utils.host.preflight.situation import (
    EXTERNAL_RECORD,
    IN_DOCKER,
    Rule,
    Situation,
    data_major,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.versions import Image, another_major, another_minor

FULL_VERSION = re.compile(r"v?[0-9]+\.[0-9]+\.[0-9]+(?:[-.][\w.-]+)?", re.ASCII)
"""A tag of one version, such as V(v2.0.5-slim). V(2.0) and V(latest) move from one to the next."""

UNDECIDED = ("HTTP status", "TLS")
"""How the reasons of a registry begin that leave open whether Docker gets the image."""


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
        reasons = _reasons(situation, reference)
        if reasons and _is_away(situation, reference, reasons):
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


def _reasons(situation: Situation, reference: str) -> Mapping[str, str]:
    """Return why registries do not give an image that the host does not have."""
    missing = reference in situation.host.get("missing_images", ())
    found: Mapping[str, str] = situation.host.get("registry_problems", {}).get(reference, {})
    return found if missing and not situation.flag("orchestration_offline") else {}


def _is_away(situation: Situation, reference: str, reasons: Mapping[str, str]) -> bool:
    """Return whether Docker cannot get an image for these reasons."""
    mirrors, insecure = situation.items("docker_registry_mirrors"), situation.items("docker_insecure_registries")
    if len(reasons) < len(registries(reference, mirrors, insecure)):
        return False
    # Docker may have a login, a proxy of its own, or another view of certificates. What does not exist is another case.
    proxy = bool(situation.host.get("docker_host", {}).get("proxy"))
    return all(
        reason.startswith("has no ") or not (proxy or reason.startswith(UNDECIDED)) for reason in reasons.values()
    )


def _undecided(situation: Situation) -> Iterator[str]:
    for service in IN_DOCKER:
        reference = situation.image(service) if service in situation.deployed() else ""
        reasons = _reasons(situation, reference)
        if reasons and not _is_away(situation, reference, reasons):
            listed = "; ".join(f"{registry}: {reason}" for registry, reason in reasons.items())
            yield (
                f"{service}_version: whether every registry gives {reference} is not known ({listed}). If the pull"
                " fails, set docker_registry_auth if the registry wants a login or has a limit of requests,"
                " put a private authority into /etc/docker/certs.d, or correct docker_registry_mirrors."
            )


def present_image(situation: Situation, service: str) -> str:
    """Return the image that last ran on the data of a service, an empty string if none is known."""
    record = str(situation.host.get("versions", {}).get(service, "")).strip()
    return "" if record.startswith(EXTERNAL_RECORD) else record


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


WARNINGS: tuple[Rule, ...] = (_undecided,)
