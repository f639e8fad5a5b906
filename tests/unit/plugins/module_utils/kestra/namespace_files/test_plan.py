"""Reading a directory and planning what becomes of a namespace's files, without a server."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.devorch.orchestration.plugins.module_utils.ignore_file import IGNORE_FILE
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.namespace_files.plan import (
    Item,
    Plan,
    check_dest,
    match,
    most_pruned,
    new_directories,
    read_tree,
    target_path,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.packed_files import pack

from .....fake_kestra import PASSWORD, USERNAME, Answer, FakeKestra
from .....in_process import call


@dataclass
class Text:
    """A content in memory."""

    name: str
    content: bytes = b""

    @property
    def size(self) -> int:
        return len(self.content)

    def read(self) -> bytes:
        return self.content


def names(directory: Path, ignore_file: str = IGNORE_FILE) -> tuple[list[str], list[str]]:
    files, problems = read_tree(directory, ignore_file)
    return [file.name for file in files], [problem.replace(str(directory), "SRC") for problem in problems]


def make(directory: Path, *files: str) -> Path:
    for name in files:
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(name.encode())
    return directory


def test_every_file_counts_and_empty_directories_do_not(tmp_path: Path) -> None:
    make(tmp_path, "b", ".hidden", "d/.git/x", "d/ü ☃", "a.zip", "big")
    (tmp_path / "empty").mkdir()
    assert names(tmp_path) == ([".hidden", "a.zip", "b", "big", "d/.git/x", "d/ü ☃"], [])
    files, _problems = read_tree(tmp_path, IGNORE_FILE)
    assert [(file.size, file.read()) for file in files if file.name == "b"] == [(1, b"b")]


def test_the_ignore_file_counts_for_files_and_whole_directories(tmp_path: Path) -> None:
    make(tmp_path, "a.py", "a.pyc", "build/x", "d/build/y", "d/a.py")
    (tmp_path / "build/loop").symlink_to(tmp_path)
    (tmp_path / IGNORE_FILE).write_text("*.pyc\nbuild/\n")
    assert names(tmp_path) == (["a.py", "d/a.py"], [])
    assert IGNORE_FILE in names(tmp_path, "")[0]
    (tmp_path / IGNORE_FILE).write_text("!\n")
    assert names(tmp_path) == ([], [f"SRC/{IGNORE_FILE}:1: '!' is not a pattern: Invalid git pattern: '!'"])


def test_links_are_followed_within_the_directory_alone(tmp_path: Path) -> None:
    outside = make(tmp_path / "outside", "secret")
    source = make(tmp_path / "src", "d/file")
    (source / "again").symlink_to("d")
    (source / "alias").symlink_to("d/file")
    assert names(source) == (["again/file", "alias", "d/file"], [])
    (source / "broken").symlink_to("nowhere")
    (source / "loop").symlink_to(".")
    (source / "d" / "up").symlink_to("..")
    (source / "out").symlink_to(outside)
    (source / "out-file").symlink_to(outside / "secret")
    (source / "sly").symlink_to("../src-other")
    make(tmp_path / "src-other", "secret")
    found, problems = names(source)
    assert found == ["again/file", "alias", "d/file"]
    assert [problem.replace(str(tmp_path), "TMP") for problem in problems] == [
        "SRC/again/up: is a link to SRC, a directory that it lies in",
        "SRC/broken: is a link to SRC/nowhere, which does not exist",
        "SRC/d/up: is a link to SRC, a directory that it lies in",
        "SRC/loop: is a link to SRC, a directory that it lies in",
        "SRC/out: is a link to TMP/outside, out of the directory",
        "SRC/out-file: is a link to TMP/outside/secret, out of the directory",
        "SRC/sly: is a link to SRC-other, out of the directory",
    ]


def test_what_kestra_could_not_keep_is_refused_by_name(tmp_path: Path) -> None:
    make(tmp_path, "good", "back\\slash")
    (Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))).write_bytes(b"")
    os.mkfifo(tmp_path / "pipe")
    assert names(tmp_path) == (
        ["good"],
        [
            "SRC/back\\slash: has a backslash in its name, which Kestra takes for a directory",
            "SRC/pipe: is not a regular file",
            "SRC/\\xff: has a name that is not UTF-8",
        ],
    )


def test_the_path_in_the_namespace(tmp_path: Path) -> None:
    assert target_path("", "a/b") == "a/b"
    assert target_path("/x//y/", "a") == "x/y/a"
    assert check_dest("a b/ü") is None
    for dest in ("..", "a/../b", "a\\b", "./a", "_flows", "/_flows/x"):
        assert check_dest(dest) is not None


@pytest.mark.parametrize(
    ("wanted", "stored", "blank_is_plus", "there", "problem"),
    [
        (["a", "b"], ["b", "c"], False, {"b": "b"}, None),
        (["a b"], ["a+b"], True, {"a b": "a+b"}, None),
        (["a b"], ["a+b"], False, {}, None),
        (["a b"], ["a+b", "a b"], True, {"a b": "a b"}, None),
        (["a b", "a+b"], [], True, {}, "a b: this server may store it as a+b"),
        (["_flows/x"], [], False, {}, "_flows/x: Kestra takes what is below _flows for flows"),
        (["a/_flows/x"], [], False, {}, None),
        (["x.v2", "x"], [], False, {}, "x.v2: Kestra keeps revision 2 of x under this name"),
        (["x.v10"], ["x"], False, {}, "x.v10: Kestra keeps revision 10 of x"),
        (["x.v1", "x"], [], False, {}, None),
        (["x.v2"], [], False, {}, None),
        (["a"], ["a/b/c"], False, {}, "a: the server has a directory of this name"),
        (["a/b/c"], ["a/b"], False, {}, "a/b/c: the server has a file a/b"),
    ],
)
def test_files_meet_those_of_the_server(
    wanted: list[str], stored: list[str], blank_is_plus: bool, there: dict[str, str], problem: str | None
) -> None:
    _files, found, problems = match([Text(name) for name in wanted], "", stored, blank_is_plus)
    assert found == there
    assert len(problems) == (1 if problem else 0) and (problem or "") in "".join(problems)


def test_names_that_an_old_server_cannot_keep_are_refused() -> None:
    files = [Text(name) for name in ("a#1", "b%20", "c?", "d&e f", "ü")]
    assert match(files, "", [], blank_is_plus=False)[2] == []
    problems = match(files, "", [], blank_is_plus=True, cuts_names=True)[2]
    assert [problem.split(":")[0] for problem in problems] == ["a#1", "b%20", "c?"]
    assert "this server cannot keep a name with #; rename the file" in problems[0]


def test_new_directories_are_made_by_one_request_each() -> None:
    items = [Item(path, "create", Text(path)) for path in ("a", "old/x", "n/m/1", "n/m/2", "n/3", "k/1", "old/y/1")]
    openers, rest = new_directories(items, ["old/z"])
    assert [item.path for item in openers] == ["n/m/1", "k/1", "old/y/1"]
    assert [item.path for item in rest] == ["a", "old/x", "n/m/2", "n/3"]


def test_how_much_may_be_pruned() -> None:
    assert most_pruned("10", 3) == 10 and most_pruned("0", 3) == 0
    assert most_pruned("20%", 9) == 1 and most_pruned("100%", 9) == 9 and most_pruned(" 50% ", 4) == 2
    for limit in ("", "-1", "101%", "ten", "1.5"):
        with pytest.raises(ValueError, match="prune_limit"):
            most_pruned(limit, 1)


def test_the_diff_shows_texts_and_describes_the_rest() -> None:
    shown = Item("a", "update", Text("a", b"new\n"), "a", b"old\n").diff()
    assert (shown["before"], shown["after"]) == ("old\n", "new\n")
    created = Item("a", "create", Text("a", b"\0")).diff()
    assert created["before"] == "" and created["before_header"] == "a (missing)"
    assert created["after"].startswith("(1 bytes, SHA-256 6e340b9cffb37a98")
    assert Item("a", "prune", None, "a", b"old").diff()["after"] == ""
    assert "SHA-256" in Item("a", "create", Text("a", b"x" * 100_001)).diff()["after"]
    emptied = Item("a", "update", Text("a", b""), "a", "ü".encode("latin-1")).diff()
    assert "SHA-256" in emptied["before"] and emptied["after"] == ""
    assert Plan((Item("a", "unchanged"), Item("b", "prune"))).having("prune") == (Item("b", "prune"),)


@pytest.mark.parametrize("remote", [True, False])
@pytest.mark.parametrize("answers", [True, False])
def test_the_names_that_are_wrong_here_and_on_the_server_are_one_message(
    remote: bool, answers: bool, tmp_path: Path
) -> None:
    source = tmp_path / "src"
    source.mkdir()
    for name in ("good", "back\\slash", "a#b", "c%d"):
        (source / name).write_text("x")
    with FakeKestra(version="0.21.0") as server:
        listing = Answer(200, []) if answers else Answer(500, {"message": "broken"})
        server.prepare("GET /api/v1/main/namespaces/team/files/search", listing)
        options: dict[str, Any] = {"namespace": "team", "src": str(source), "remote_src": remote}
        if not remote:
            # As the action plugin does it.
            files, problems = read_tree(source, IGNORE_FILE)
            pack(((file.name, file.read()) for file in files), tmp_path / "packed")
            options |= {"_packed_src": str(tmp_path / "packed"), "_problems": problems}
        login = {"url": server.url, "username": USERNAME, "password": PASSWORD, "retries": 0}
        result = call("kestra_namespace_files", {**login, **options})
        assert server.writes == []
    refused = [problem.removeprefix(f"{source}/").split(":")[0] for problem in result["problems"]]
    assert result["failed"] and refused == ["back\\slash", *(["a#b", "c%d"] if answers else [])]
