"""What an export does to a directory, without a server."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.export import (
    CONTENT,
    Change,
    Export,
    compare,
    diff,
    flow_names,
    is_safe,
    write,
)


def actions(changes: list[Change]) -> dict[str, str]:
    return {change.path: change.action for change in changes}


def test_names_differ_on_every_file_system() -> None:
    assert flow_names(["b", "a"]) == {"a": "a.yaml", "b": "b.yaml"}
    assert flow_names(["Lower", "lower", "LOWER", "x"]) == {
        "LOWER": "LOWER.yaml",
        "Lower": "Lower~2.yaml",
        "lower": "lower~3.yaml",
        "x": "x.yaml",
    }
    found = [name.lower() for name in flow_names(["A", "a", "AB", "aB"]).values()]
    assert len(set(found)) == len(found)


def test_no_path_of_a_server_leads_out() -> None:
    assert is_safe("a/ü b/.c") and is_safe("..a")
    assert not any(is_safe(path) for path in ("../a", "a/../../b", "/etc/passwd", "a//b", "a/", ".", "a\0b", ""))


def test_written_once_and_then_left_alone(tmp_path: Path) -> None:
    found = Export({"flows/a/x.yaml": b"x\r\n", "files/a/d/y": b"\0", "kv/a.json": b"[]\n"}, ("a",), ())
    changes = compare(found, tmp_path / "new", CONTENT, False, False)
    assert set(actions(changes).values()) == {"created"}
    write(found, tmp_path / "new", changes)
    assert (tmp_path / "new/flows/a/x.yaml").read_bytes() == b"x\r\n"
    assert stat.S_IMODE((tmp_path / "new/kv/a.json").stat().st_mode) == 0o600
    assert sorted(entry.name for entry in (tmp_path / "new").iterdir()) == ["files", "flows", "kv"]
    before = (tmp_path / "new/flows/a/x.yaml").stat()
    again = compare(found, tmp_path / "new", CONTENT, False, True)
    assert set(actions(again).values()) == {"unchanged"}
    assert (tmp_path / "new/flows/a/x.yaml").stat().st_mtime_ns == before.st_mtime_ns


def test_other_content_other_kind_of_file_and_open_keys_are_replaced(tmp_path: Path) -> None:
    files = {"flows/a/x.yaml": b"new", "flows/a/link.yaml": b"same", "kv/a.json": b"[]"}
    (tmp_path / "flows/a").mkdir(parents=True)
    (tmp_path / "kv").mkdir()
    (tmp_path / "flows/a/x.yaml").write_bytes(b"old")
    (tmp_path / "elsewhere").write_bytes(b"same")
    (tmp_path / "flows/a/link.yaml").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "kv/a.json").write_bytes(b"[]")
    (tmp_path / "kv/a.json").chmod(0o644)
    found = Export(files, ("a",), ())
    changes = compare(found, tmp_path, CONTENT, False, False)
    assert set(actions(changes).values()) == {"updated"}
    write(found, tmp_path, changes)
    assert set(actions(compare(found, tmp_path, CONTENT, False, False)).values()) == {"unchanged"}
    assert not (tmp_path / "flows/a/link.yaml").is_symlink() and (tmp_path / "elsewhere").read_bytes() == b"same"


def test_only_what_an_export_may_have_written_is_stale(tmp_path: Path) -> None:
    ours = ["flows/a/old.yaml", "files/a/any/thing", "files/a.b/x", "kv/a.json"]
    below = ["flows/a.c/x.yaml", "kv/a.c.json"]
    others = ["flows/a/README.md", "flows/ab/x.yaml", "files/other/x", "kv/ab.json", "kv/a.txt", "README.md", "flows/x"]
    for path in [*ours, *below, *others]:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(b"")
    nothing = Export({}, ("a", "a.b"), ())
    assert actions(compare(nothing, tmp_path, CONTENT, False, False)) == dict.fromkeys(ours, "stale")
    assert set(actions(compare(nothing, tmp_path, CONTENT, True, False))) == {*ours, *below}
    assert actions(compare(nothing, tmp_path, ["kv"], False, True)) == {"kv/a.json": "removed"}
    write(nothing, tmp_path, compare(nothing, tmp_path, CONTENT, True, True))
    left = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    assert left == sorted(others)
    assert not (tmp_path / "files/a").exists() and (tmp_path / "kv").is_dir()


def test_a_failure_leaves_no_half_of_a_file_and_nothing_beside(tmp_path: Path) -> None:
    (tmp_path / "flows").write_bytes(b"in the way")
    found = Export({"files/a/x": b"x", "flows/a/x.yaml": b"x"}, ("a",), ())
    with pytest.raises(OSError, match="flows"):
        write(found, tmp_path, compare(found, tmp_path, CONTENT, False, False))
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["files", "flows"]


def test_the_diff_names_the_files() -> None:
    changes = [Change("a", "created"), Change("b", "updated"), Change("c", "removed"), Change("d", "unchanged")]
    assert diff([*changes, Change("e", "stale")]) == {"before": "b\nc\n", "after": "a\nb (other content)\n"}
