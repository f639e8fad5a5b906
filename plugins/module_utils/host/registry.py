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
from ansible_collections.devorch.orchestration.plugins.module_utils.versions import Image

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
        """Read the reference of an image; raise ValueError if it is malformed."""
        found = Image.parse(image)
        return cls(found.repository, found.digest or found.tag or "latest")


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
    """Return why a registry does not give an image; an empty string if it does or only Docker's login decides.

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
