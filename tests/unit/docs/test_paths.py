"""Paths of the repository in the documentation exist."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = next(path for path in Path(__file__).parents if (path / "galaxy.yml").is_file())
# Without what the tests write themselves.
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("tests/**/*.md"), *ROOT.glob(".github/**/*.md")]
TOP = "|".join(
    re.escape(name)
    for name in sorted(
        {
            line.partition("/")[0]
            for line in subprocess.run(
                ["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True
            ).stdout.splitlines()
        }
    )
)
# A path from the top of the repository: a file of the top level, or something below a directory of it.
PATH = re.compile(rf"(?:{TOP})(?:/[\w./*-]*)?")
# In the reader's own checkout or repository.
ELSEWHERE = {"inventories/production", ".github/workflows/flows.yml"}


def paths(text: str) -> set[str]:
    """Return the paths in backticks that begin with a name of the top level."""
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))
    return {span for span in spans if PATH.fullmatch(span)} - ELSEWHERE


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_paths_in_backticks_exist(page: Path) -> None:
    found = paths(page.read_text(encoding="utf-8"))
    assert [path for path in sorted(found) if not list(ROOT.glob(path.rstrip("/")))] == []


def test_paths_are_recognised() -> None:
    text = "`roles/x/tasks/no.yml`, `plugins/*/deploy.py` and `README.md`, not `a b` or `http://x/roles`\n```\n`roles/y`\n```\n"
    assert paths(text) == {"roles/x/tasks/no.yml", "plugins/*/deploy.py", "README.md"}
