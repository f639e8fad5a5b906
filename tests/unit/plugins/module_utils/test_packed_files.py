"""One file carries many contents from the controller to a module."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.devorch.orchestration.plugins.module_utils.packed_files import pack, unpack

ENTRIES = [("a/ü b.txt", b"text\n"), ("empty", b""), ("not UTF-8 \udcff", bytes(range(256)) * 300), ("z", b"\0")]


def test_gives_back_what_was_packed(tmp_path: Path) -> None:
    pack(iter(ENTRIES), tmp_path / "packed")
    files = unpack(tmp_path / "packed")
    assert [(each.name, each.read()) for each in files] == ENTRIES
    packed = (tmp_path / "packed").read_bytes()
    assert [(each.name, each.of(packed)) for each in files] == ENTRIES
    assert [each.size for each in files] == [len(content) for _name, content in ENTRIES]
    assert files[3].read() == b"\0" and files[0].read() == b"text\n"


def test_nothing_is_packed_as_well(tmp_path: Path) -> None:
    pack([], tmp_path / "packed")
    assert unpack(tmp_path / "packed") == []


@pytest.mark.parametrize("cut", [1, 8, 30, 10_000])
def test_a_damaged_file_is_refused(tmp_path: Path, cut: int) -> None:
    pack(ENTRIES, tmp_path / "packed")
    whole = (tmp_path / "packed").read_bytes()
    (tmp_path / "packed").write_bytes(whole[:-cut])
    with pytest.raises(ValueError, match="is not what was packed"):
        unpack(tmp_path / "packed")
    (tmp_path / "packed").write_bytes(whole[cut:])
    with pytest.raises(ValueError, match="is not what was packed"):
        unpack(tmp_path / "packed")


def test_a_file_that_shrinks_meanwhile_is_told(tmp_path: Path) -> None:
    pack(ENTRIES, tmp_path / "packed")
    files = unpack(tmp_path / "packed")
    (tmp_path / "packed").write_bytes(b"te")
    with pytest.raises(ValueError, match=r"ends before a/ü b\.txt does"):
        files[0].read()
    with pytest.raises(ValueError, match=r"ends before a/ü b\.txt does"):
        files[0].of(b"te")
