# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a registry has an image, without pulling it."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.parse
from dataclasses import dataclass

from ansible.module_utils.urls import open_url

REFERENCE = re.compile(
    r"(?:(?P<host>localhost(?::\d+)?|[\w-]+(?:\.[\w-]+)+(?::\d+)?|[\w-]+:\d+|\[[0-9a-fA-F:]+\](?::\d+)?)/)?"
    r"(?P<repository>[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*)"
    r"(?::(?P<tag>\w[\w.-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)
"""Grammar of the "distribution" project, with the one digest algorithm that Docker Hub has."""
MANIFESTS = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)
CHALLENGE = re.compile(r'(\w+)="([^"]*)"')
TIMEOUT = 10
"""Seconds for one answer."""


@dataclass(frozen=True)
class Reference:
    """An image's name as registries know it: C(version) is its digest, or else its tag."""

    repository: str
    version: str

    @classmethod
    def parse(cls, image: str) -> Reference:
        """Read the name of an image; raise ValueError where it is none."""
        match = REFERENCE.fullmatch(image)
        if not match:
            raise ValueError(f"'{image}' is no name of an image (host/name:tag@sha256: and 64 hexadecimal digits)")
        repository = match["repository"]
        if match["host"] in (None, "docker.io") and "/" not in repository:
            repository = f"library/{repository}"
        return cls(repository, match["digest"] or match["tag"] or "latest")


def token(challenge: str) -> str:
    """Return a token for everybody from the address that a registry names, or an empty string."""
    fields = dict(CHALLENGE.findall(challenge))
    if not challenge.lower().startswith("bearer") or "realm" not in fields:
        return ""
    query = urllib.parse.urlencode({key: fields[key] for key in ("service", "scope") if key in fields})
    try:
        answer = json.loads(open_url(f"{fields['realm']}?{query}", timeout=TIMEOUT).read())
    except (OSError, ValueError):
        return ""
    return str(answer.get("token") or answer.get("access_token") or "")


def problem(address: str, image: Reference) -> str:
    """Return why a registry does not give an image, or an empty string where it does or only Docker's login can tell.

    The address is a host name (C(https) is meant) or begins with C(http://) or C(https://).
    """
    base = address if "://" in address else f"https://{address}"
    url = f"{base.rstrip('/')}/v2/{image.repository}/manifests/{image.version}"
    headers = {"Accept": MANIFESTS}
    for attempt in range(2):
        try:
            open_url(url, method="HEAD", headers=headers, timeout=TIMEOUT)
        except urllib.error.HTTPError as error:
            if error.code == 401 and attempt == 0:
                found = token(error.headers.get("WWW-Authenticate", ""))
                if found:
                    headers["Authorization"] = f"Bearer {found}"
                    continue
            if error.code in (401, 403):
                return ""
            if error.code == 404:
                return f"has no {image.repository} {image.version}"
            return f"HTTP status {error.code}"
        except (OSError, ValueError) as error:
            return str(getattr(error, "reason", error))
        return ""
    return ""


def problems(image: str, addresses: list[str]) -> dict[str, str]:
    """Return the reason for each registry that does not give an image, in order, up to the first that does."""
    found: dict[str, str] = {}
    try:
        reference = Reference.parse(image)
    except ValueError as error:
        return dict.fromkeys(addresses, str(error))
    for address in addresses:
        reason = problem(address, reference)
        if not reason:
            break
        found[address] = reason
    return found
