# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A JSON file that the host shares with this collection: our keys are merged over its own ones.

A second file, the record, has the keys that the last run has set, so that a later run knows whose a key is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.devorch.orchestration.plugins.module_utils.host.service_files import (
    MASK,
    FilesError,
    LastKnownGood,
    mask,
    read,
    secret_values,
)


def parse(path: Path, content: bytes) -> dict[str, Any]:
    """Return the keys of a JSON file, none if it is empty; raise FilesError if it has something else."""
    try:
        found = json.loads(content.decode() or "{}")
    except ValueError as error:
        raise FilesError(f"{path}: is not JSON ({error}). Correct it, or remove it") from error
    if not isinstance(found, dict):
        raise FilesError(f"{path}: is not a JSON object. Correct it, or remove it")
    return found


def merge(
    wanted: Mapping[str, Any], present: Mapping[str, Any], before: Mapping[str, Any], below: str = ""
) -> dict[str, Any]:
    """Return the keys of the file: the wanted ones, and the present ones that the last run did not set as they are.

    The object in the key C(below) is merged in the same way, if the file has one.
    """
    if below in wanted and isinstance(present.get(below), dict):
        inner = merge(wanted[below], present[below], before.get(below, {}))
        wanted, before = {**wanted, below: inner}, {**before, below: inner}
    gone = {key for key, value in before.items() if key not in wanted and present.get(key) == value}
    return {**{key: value for key, value in present.items() if key not in gone}, **wanted}


def merged(path: Path, wanted: bytes, present: bytes | None, before: Mapping[str, Any], below: str = "") -> bytes:
    """Return the content of the file; what is there stays byte for byte if it says the same."""
    if present is None:
        return wanted
    found = parse(path, present)
    result = merge(parse(path, wanted), found, before, below)
    # The order stays, so that a diff shows the changed keys only.
    in_order = list(found) == sorted(found)
    return present if result == found else f"{json.dumps(result, indent=4, sort_keys=in_order)}\n".encode()


def set_before(path: Path, record: Path, good: LastKnownGood) -> dict[str, Any]:
    """Return the keys that the last run has set; a version without a record wrote the whole file."""
    noted = read(record)
    if noted is None and path in good.paths():
        noted = good.files()[path]
    return parse(record, noted.content) if noted else {}


def own(path: Path, record: Path, good: LastKnownGood) -> dict[str, Any]:
    """Return the keys that are the host's, and mask secrets in their values; raise FilesError."""
    file = read(path)
    found = parse(path, file.content) if file else {}
    ours = set_before(path, record, good)
    kept = {key: value for key, value in found.items() if key not in ours}
    text = json.dumps(kept, indent=4)
    try:
        return dict(json.loads(mask(text, secret_values(text))))
    except ValueError:
        return dict.fromkeys(kept, MASK)
