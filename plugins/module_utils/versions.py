# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Versions of images, and which of them are of another major version."""

from __future__ import annotations

import re


def numbers(text: str) -> tuple[int, ...]:
    """Return the numbers of a version, (2, 0, 5) for v2.0.5-slim; none for one like C(latest)."""
    match = re.match(r"v?(\d+(?:\.\d+)*)", text)
    return tuple(int(number) for number in match[1].split(".")) if match else ()


def split_reference(image: str) -> tuple[str, str, str]:
    """Return name, tag and digest of an image; what it does not have is empty."""
    reference, _at, digest = image.partition("@")
    directory, slash, base = reference.rpartition("/")
    base, _colon, tag = base.partition(":")
    return f"{directory}{slash}{base}", tag, digest


def other_major(before: str, after: str) -> bool:
    """Return whether two versions, such as v1.3.9 and v2.0.5, are known to be of different major versions."""
    old, new = numbers(before), numbers(after)
    return bool(old and new) and old[0] != new[0]
