# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a registry has an image, without pulling it."""

from __future__ import annotations

import contextlib
import json
import re
import ssl
import tempfile
import urllib.error
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

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

CERTIFICATES = Path("/etc/docker/certs.d")
"""Where Docker looks for what a registry needs: its authorities, and the client's own certificate."""

STATUS, TLS = "HTTP status", "TLS"
"""How the reasons begin that leave open whether Docker gets the image."""


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


@contextlib.contextmanager
def certificates(host: str) -> Iterator[dict[str, str]]:
    """Give the options with which a registry is asked as Docker does, for the time of the block."""
    directory = CERTIFICATES / host
    authorities, own = sorted(directory.glob("*.crt")), sorted(directory.glob("*.cert"))
    options: dict[str, str] = {}
    if own and own[0].with_suffix(".key").exists():
        options = {"client_cert": str(own[0]), "client_key": str(own[0].with_suffix(".key"))}
    with tempfile.NamedTemporaryFile(suffix=".pem") as bundle:
        if authorities:
            usual = [Path(path) for path in (ssl.get_default_verify_paths().cafile,) if path]
            for path in [*authorities, *usual]:
                with contextlib.suppress(OSError):
                    bundle.write(path.read_bytes() + b"\n")
            bundle.flush()
            options["ca_path"] = bundle.name
        yield options


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
    """Return why a registry does not give an image; an empty string if it does.

    The address is a host name (C(https) is meant) or begins with C(http://) or C(https://). If the reason begins with
    C(STATUS) or C(TLS), Docker may get the image in spite of it, for example because it has a login.
    """
    base = address if "://" in address else f"https://{address}"
    url = f"{base.rstrip('/')}/v2/{image.repository}/manifests/{image.version}"
    headers = {"Accept": MANIFESTS}
    with certificates(urllib.parse.urlsplit(base).netloc) as options:
        for attempt in range(2):
            try:
                open_url(url, method="HEAD", headers=headers, timeout=TIMEOUT, **options)
            except urllib.error.HTTPError as error:
                found = token(error.headers.get("WWW-Authenticate", "")) if error.code == 401 and not attempt else ""
                if found:
                    headers["Authorization"] = f"Bearer {found}"
                    continue
                if error.code == 404:
                    return f"has no {image.repository} {image.version}"
                return f"{STATUS} {error.code}"
            except (OSError, ValueError) as error:
                reason = getattr(error, "reason", error)
                return f"{TLS}: {reason}" if _is_tls(reason) else str(reason)
            return ""
    return ""


def _is_tls(reason: object) -> bool:
    return isinstance(reason, ssl.SSLError) or bool(re.search(r"certificate|\bssl\b", str(reason), re.IGNORECASE))


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
