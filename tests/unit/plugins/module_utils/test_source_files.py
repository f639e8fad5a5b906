"""Which files are read from a directory; the details are in kestra/flows/test_source.py, whose files they are."""

from __future__ import annotations

from pathlib import Path

from ansible_collections.devorch.orchestration.plugins.module_utils.source_files import read_all


def test_the_suffix_decides(tmp_path: Path) -> None:
    for name in ("a.json", "b.yml", ".c.json"):
        (tmp_path / name).write_text("{}")
    sources, problems = read_all([tmp_path], "", (".json",))
    assert [Path(source.path).name for source in sources] == ["a.json"] and problems == []
    sources, problems = read_all([tmp_path], "", (".txt", ".text"))
    assert sources == [] and [str(problem) for problem in problems] == [
        f"{tmp_path}: no *.txt or *.text file below this directory"
    ]
