"""The ignore file leaves out what git would leave out."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.devorch.orchestration.plugins.module_utils.ignore_file import IGNORE_FILE, IgnoreProblem, load

from ....sampling import sample


def test_nothing_is_left_out_without_an_ignore_file(tmp_path: Path) -> None:
    ignored = load(tmp_path)
    assert not ignored("a") and not ignored(IGNORE_FILE)


def test_patterns_are_those_of_git(tmp_path: Path) -> None:
    lines = ["\ufeff# generated", "*.pyc", "!keep.pyc", "build/", "/top.txt", "a/**/z", "with blank.txt", "ü*", ""]
    (tmp_path / IGNORE_FILE).write_text("\r\n".join(lines), encoding="utf-8")
    ignored = load(tmp_path)
    left_out = ["x.pyc", "d/x.pyc", "build/", "d/build/x/y", "top.txt", "a/z", "a/b/c/z", "with blank.txt", "d/übung"]
    assert [path for path in left_out if not ignored(path)] == []
    assert [path for path in ["keep.pyc", "build", "d/top.txt", "z", "blank.txt", "# generated"] if ignored(path)] == []


def test_the_ignore_file_itself_is_left_out_at_the_top_alone(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("*.md\n")
    ignored = load(tmp_path, "other")
    assert ignored("other") and not ignored("d/other") and not ignored(IGNORE_FILE)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"fine\n!\n", r"\.kestraignore:2: '!' is not a pattern"),
        (b"fine\n!/\n", r"\.kestraignore:2: '!/' is not a pattern"),
        (b"\xff\n", r"\.kestraignore: is not UTF-8"),
    ],
)
def test_a_bad_ignore_file_is_a_problem(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / IGNORE_FILE).write_bytes(content)
    with pytest.raises(IgnoreProblem, match=message):
        load(tmp_path)


def test_the_library_is_needed_for_an_ignore_file_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pathspec", None)
    assert not load(tmp_path)("a")
    (tmp_path / IGNORE_FILE).write_text("a\n")
    with pytest.raises(IgnoreProblem, match="pathspec is needed"):
        load(tmp_path)


def test_the_library_is_not_loaded_without_an_ignore_file() -> None:
    """It would be a tenth of the time that the module needs to start."""
    module = "ansible_collections.devorch.orchestration.plugins.modules.kestra_flows"
    script = f"import sys, {module}; print('pathspec' in sys.modules)"
    environment = os.environ | {"PYTHONPATH": os.environ["ANSIBLE_COLLECTIONS_PATH"]}
    result = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert result.stdout == "False\n"


ATOMS = ("a", "b", "*", "**", "?", "c.yml", "*.yml", "d*", "[ab]", "[!a]", "b[!a]", "a*", "[a-c]", "\\a", "#a")
PATHS = [
    f"{d}{name}" for d in ("", "a/", "b/", "a/b/", "a/b/a/", "b/a/") for name in ("c.yml", "d.yml", "ab.yml", "#a")
]
SETS = 2000


def patterns(seed: int) -> list[str]:
    """Return the lines of an ignore file."""
    dice = random.Random(seed)

    def pattern() -> str:
        inner = "/".join(dice.choice(ATOMS) for _ in range(dice.randint(1, 3)))
        begin, end = dice.choice(["", "", "", "!", "/", "!/"]), dice.choice(["", "", "", "/", " "])
        return f"{begin}{inner}{end}"

    return [pattern() for _ in range(dice.randint(1, 5))]


def test_the_same_is_left_out_as_by_git(tmp_path: Path) -> None:
    """In one question to Git: every set of patterns is the ignore file of a directory of its own."""
    seeds = sample(range(SETS), 200)
    ours, asked = set(), []
    for seed in seeds:
        top = tmp_path / str(seed)
        top.mkdir()
        text = "\n".join(line for line in patterns(seed) if line.strip() != "!") + "\n"
        (top / ".gitignore").write_text(text, encoding="utf-8")
        left_out = load(top, ".gitignore")
        asked += [f"{seed}/{path}" for path in PATHS]
        ours |= {f"{seed}/{path}" for path in PATHS if left_out(path)}
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    ask = ["git", "-C", str(tmp_path), "check-ignore", "--no-index", "--stdin", "-z"]
    answer = subprocess.run(ask, input="\0".join(asked), capture_output=True, text=True, check=True)
    theirs = set(filter(None, answer.stdout.split("\0")))
    different = {path.split("/")[0]: (path, path in ours) for path in ours ^ theirs}
    assert {seed: (patterns(int(seed)), *found) for seed, found in different.items()} == {}
    assert 100 < len(theirs) < len(asked)
