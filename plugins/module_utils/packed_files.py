# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One file that carries many, from the controller to the module: the contents one behind the other, then a JSON list
of names and lengths, then where that list begins. Reading one content is one read of the disk."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_END = struct.Struct(">Q")


def pack(entries: Iterable[tuple[str, bytes]], target: Path) -> None:
    """Write the contents and their names to a file, one at a time, so that they need not all be in memory."""
    index: list[tuple[str, int]] = []
    with target.open("wb") as file:
        for name, content in entries:
            file.write(content)
            index.append((name, len(content)))
        start = file.tell()
        file.write(json.dumps(index).encode("ascii"))
        file.write(_END.pack(start))


@dataclass(frozen=True)
class PackedFile:
    """A content in a packed file; read when it is asked for."""

    name: str
    size: int
    file: Path
    start: int

    def read(self) -> bytes:
        """Return the content. Safe to call from several threads."""
        with self.file.open("rb") as file:
            file.seek(self.start)
            return self._whole(file.read(self.size))

    def of(self, packed: bytes) -> bytes:
        """Return the content, from the bytes of the whole packed file."""
        return self._whole(packed[self.start : self.start + self.size])

    def _whole(self, content: bytes) -> bytes:
        if len(content) != self.size:
            raise ValueError(f"{self.file} ends before {self.name} does")
        return content


def unpack(file: Path) -> list[PackedFile]:
    """Return the contents of a packed file, in the order of packing; raise ValueError if it is damaged."""
    damaged = ValueError(f"{file} is not what was packed")
    content_size = file.stat().st_size - _END.size
    if content_size < 0:
        raise damaged
    with file.open("rb") as opened:
        opened.seek(content_size)
        (begin,) = _END.unpack(opened.read(_END.size))
        if begin > content_size:
            raise damaged
        opened.seek(begin)
        try:
            index: list[tuple[str, int]] = json.loads(opened.read(content_size - begin))
        except ValueError as error:
            raise damaged from error
    files: list[PackedFile] = []
    start = 0
    for name, length in index:
        files.append(PackedFile(name, length, file, start))
        start += length
    if start != begin:
        raise damaged
    return files
