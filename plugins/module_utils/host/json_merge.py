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
    wanted: Mapping[str, Any],
    present: Mapping[str, Any],
    before: Mapping[str, Any],
    below: str = "",
    replaced: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the keys of the file: the wanted ones, and the present ones that the last run did not set as they are.

    The object in the key C(below) is merged in the same way, if the file has one. A key that is no longer wanted gets
    its value in C(replaced) back.
    """
    replaced = replaced or {}
    if below in wanted and isinstance(present.get(below), dict):
        inner = merge(wanted[below], present[below], before.get(below, {}), replaced=replaced.get(below))
        wanted, before = {**wanted, below: inner}, {**before, below: inner}
    gone = {key for key, value in before.items() if key not in wanted and present.get(key) == value}
    kept = {
        key: replaced[key] if key in gone else value
        for key, value in present.items()
        if key not in gone or key in replaced
    }
    return {**kept, **wanted}


def merged(
    path: Path,
    wanted: bytes,
    present: bytes | None,
    before: Mapping[str, Any],
    below: str = "",
    replaced: Mapping[str, Any] | None = None,
) -> bytes:
    """Return the content of the file; what is there stays byte for byte if it says the same."""
    if present is None:
        return wanted
    found = parse(path, present)
    result = merge(parse(path, wanted), found, before, below, replaced)
    # The order stays, so that a diff shows the changed keys only.
    in_order = list(found) == sorted(found)
    return present if result == found else f"{json.dumps(result, indent=4, sort_keys=in_order)}\n".encode()


def replaced_values(
    wanted: Mapping[str, Any],
    present: Mapping[str, Any],
    before: Mapping[str, Any],
    below: str = "",
    known: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the host's own values of our keys: the known ones, and those of keys that become ours now, equal or not.

    A value stays known once its key is no longer wanted. It counts for keys of the last run only, and a run that takes
    a key over again knows it anew. So a run that is killed between two files loses none.
    """
    known = known or {}
    found = {key: value for key, value in known.items() if key in before or key not in wanted}
    for key, value in wanted.items():
        if key == below and isinstance(present.get(key), dict):
            found[key] = replaced_values(value, present[key], before.get(key, {}), known=known.get(key))
        elif key in present and key not in before:
            found[key] = present[key]
    return {key: value for key, value in found.items() if key != below or value}


def set_before(path: Path, record: Path, good: LastKnownGood) -> dict[str, Any]:
    """Return the keys that the last run has set; a version without a record wrote the whole file."""
    noted = read(record)
    if noted is None and path in good.paths():
        noted = good.files()[path]
    return parse(record, noted.content) if noted else {}


def own(path: Path, record: Path, good: LastKnownGood) -> dict[str, Any]:
    """Return the keys that are the host's, also those that ours replace, and mask secrets in their values.

    Raise FilesError if the file can't be read.
    """
    file = read(path)
    found = parse(path, file.content) if file else {}
    ours = set_before(path, record, good)
    kept = {key: value for key, value in good.replaced(path).items() if key in ours}
    kept |= {key: value for key, value in found.items() if key not in ours}
    text = json.dumps(kept, indent=4)
    try:
        return dict(json.loads(mask(text, secret_values(text))))
    except ValueError:
        return dict.fromkeys(kept, MASK)
