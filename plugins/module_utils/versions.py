# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Versions and the references of images: how they are read, and how they compare."""

from __future__ import annotations

import re
from dataclasses import dataclass

Version = tuple[int, ...]
"""The numbers of a version, (2, 0, 5) for V(v2.0.5-slim)."""

HUB = "docker.io"
REFERENCE = re.compile(
    r"(?:(?P<host>localhost(?::\d+)?|[\w-]+(?:\.[\w-]+)+(?::\d+)?|[\w-]+:\d+|\[[0-9a-fA-F:]+\](?::\d+)?)/)?"
    r"(?P<repository>[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*)"
    r"(?::(?P<tag>\w[\w.-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?",
    re.ASCII,
)
"""Grammar of the "distribution" project, with the one digest algorithm that Docker Hub has."""


@dataclass(frozen=True)
class Image:
    """The parts of an image's reference; C(tag) and C(digest) are empty if it has none."""

    host: str
    repository: str
    tag: str
    digest: str

    @classmethod
    def parse(cls, reference: str) -> Image:
        """Read a reference; raise ValueError if it is malformed."""
        match = REFERENCE.fullmatch(reference)
        if not match:
            raise ValueError(
                f"'{reference}' is not a valid image reference (host/name:tag@sha256: and 64 hexadecimal digits)"
            )
        host, repository = match["host"] or HUB, match["repository"]
        if host == HUB and "/" not in repository:
            repository = f"library/{repository}"
        return cls(host, repository, match["tag"] or "", match["digest"] or "")

    @property
    def name(self) -> str:
        """The last part of the repository, which is the same in every mirror."""
        return self.repository.rpartition("/")[2]

    @property
    def version(self) -> Version:
        """The numbers of the tag."""
        return numbers(self.tag)


def numbers(version: str) -> Version:
    """Return the numbers of a version, (2, 0, 5) for v2.0.5-slim; an empty tuple if it has none."""
    match = re.match(r"v?([0-9]+(?:\.[0-9]+)*)", version)
    return tuple(int(number) for number in match[1].split(".")) if match else ()


def tag(reference: str) -> str:
    """Return the tag of an image, also of a malformed reference; an empty string if it has none."""
    return reference.partition("@")[0].rpartition("/")[2].partition(":")[2]


def below(version: Version, limit: Version) -> bool:
    """Return whether a version is older, as far as both are known: 17 is not older than 17.2."""
    shared = min(len(version), len(limit))
    return version[:shared] < limit[:shared]


def other_major(before: str, after: str) -> bool:
    """Return whether two versions, such as v1.3.9 and v2.0.5, are known to be of different major versions."""
    old, new = numbers(before), numbers(after)
    return bool(old and new) and old[0] != new[0]


def another_major(present: str, wanted: str) -> bool:
    """Return whether two references are of one image in two major versions.

    A tag without a version, such as V(latest), could be any; a different image is not another version of the first.
    """
    try:
        old, new = Image.parse(present), Image.parse(wanted)
    except ValueError:
        return False
    return old.name == new.name and other_major(old.tag, new.tag)


def another_minor(present: str, wanted: str) -> bool:
    """Return whether two references are of one image in two versions within a major one."""
    try:
        old, new = Image.parse(present), Image.parse(wanted)
    except ValueError:
        return False
    known = bool(old.version and new.version) and old.name == new.name
    return known and old.version != new.version and old.version[0] == new.version[0]
