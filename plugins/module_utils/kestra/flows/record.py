# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What was written from files, to distinguish an edit on the server from an edit of the files.

The record of a namespace is an entry of its key-value store: hashes of the texts that each flow was given last. It is
written before the flows are, with the text that is there and the text to come, so that a run that breaks off leaves no
flow that seems to be edited on the server.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

RECORD_KEY = "devorch.orchestration.flows"
RECORD_DESCRIPTION = "Hashes of the texts that devorch.orchestration.kestra_flows has written"
_DIGITS = 16


def sha256(text: str) -> str:
    """Return the SHA-256 of a text's UTF-8 bytes, in hexadecimal."""
    return hashlib.sha256(text.encode("utf-8", errors="surrogateescape")).hexdigest()


def _hash(text: str) -> str:
    return sha256(text)[:_DIGITS]


@dataclass(frozen=True)
class Record:
    """For each flow of a namespace, by id, the hashes of the texts that it was given."""

    hashes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def knows(self, flow_id: str, text: str) -> bool | None:
        """Whether this is a text that the flow was given; None where nothing is known about the flow."""
        known = self.hashes.get(flow_id)
        return None if known is None else _hash(text) in known

    def with_changes(self, changes: Iterable[tuple[str, str | None, str | None]]) -> Record:
        """Return the record that fits before and after these changes of flows: id, text before, text after.

        A previous text that another client wrote does not become one of ours.
        """
        hashes = dict(self.hashes)
        for flow_id, before, after in changes:
            ours = before is not None and self.knows(flow_id, before)
            texts = ([before] if ours else []) + [after]
            kept = tuple(_hash(text) for text in texts if text is not None)
            if kept:
                hashes[flow_id] = kept
            else:
                hashes.pop(flow_id, None)
        return Record(hashes)

    def as_value(self) -> dict[str, list[str]]:
        """Return the record as it is stored."""
        return {flow_id: list(known) for flow_id, known in sorted(self.hashes.items())}

    @staticmethod
    def from_value(value: Any) -> Record:
        """Read a stored record; what is none is an empty one."""
        if not isinstance(value, dict):
            return Record()
        return Record(
            {
                str(flow_id): tuple(str(one) for one in known)
                for flow_id, known in value.items()
                if isinstance(known, list)
            }
        )
