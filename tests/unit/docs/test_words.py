"""The words of CONTRIBUTING.md: marker words that make a text hard to read are found, wherever people read it."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

ROOT = next(path for path in Path(__file__).parents if (path / "galaxy.yml").is_file())

WORDS: Mapping[str, str] = {
    r"\b(?:told|tells?|telling)\b(?! \w+ apart\b)": "report, show, list",
    r"\bstands\b(?! for\b)": "is",
    r"\bways? out\b": "how to fix it",
    r"(?<!there )\b(?:is|are|was|were) no\b(?! longer\b)": "is not a",
    r"\b(?:un)?(?:fr(?:ee|o)z(?:e[sn]?|ing)|thaw(?:s|ed|ing)?)\b": "pause, unpause",
    r"\bthe site\b(?!\.yml)": "the inventory",
    r"\bformer\b": "previous, last known good",
    r"\bbesides\b": "also",
    r"\bperhaps\b": "may",
    r"\b(?:nobody|somebody)\b": "the user, the process, nothing",
    r"\bma(?:de|kes?|king) up for schedules\b": "backfill",
    r"\b(?:comes?|came|coming) up\b": "start, become healthy",
    r"\b(?:goes|go|going|went) on\b": "continue",
    r"\bhand(?:s|ed|ing)?[ -]over\b|\bhandovers?\b": "transfer, packed files",
    r"\blet(?:s|ting)? (?:\w+ )?go\b": "release",
}
VERBS: Mapping[str, str] = {
    r"^(?:Keep|Look|Say|Hold|Let|Bring|Have)\b": "Ensure, Check, Report, Manage, Gather information about",
}

# Where a word is right: a file, a part of the text around it, and why.
EXCEPTIONS: Mapping[tuple[str, str], str] = {
    ("CONTRIBUTING.md", "tell, told"): "the list of the words",
    ("CONTRIBUTING.md", "stands, is no"): "the list of the words",
    ("CONTRIBUTING.md", "way out"): "the list of the words",
    ("CONTRIBUTING.md", "make up for schedules"): "the list of the words",
    ("CONTRIBUTING.md", "freeze, thaw, frozen"): "the list of the words",
    ("CONTRIBUTING.md", "the site"): "the list of the words",
    ("CONTRIBUTING.md", "former"): "the list of the words",
    ("CONTRIBUTING.md", "besides"): "the list of the words",
    ("CONTRIBUTING.md", "let go"): "the list of the words",
    ("CONTRIBUTING.md", "come up"): "the list of the words",
    ("CONTRIBUTING.md", "go on"): "the list of the words",
    ("CONTRIBUTING.md", "hand over"): "the list of the words",
    ("CONTRIBUTING.md", "somebody, nobody"): "the list of the words",
    ("roles/backup/vars/main.yml", "former_names: {former: rollback}"): "a directory in older archives",
    ("roles/backup/templates/orchestration-backup.service.j2", "}} thaw"): "a command",
    ("roles/postgres/templates/orchestration-watchdog.sh.j2", '" thaw'): "a command",
    ("changelogs/fragments/rollback-directory.yml", "``former/``"): "the old name of the directory",
    ("changelogs/fragments/kestra-flows-state.yml", "``former``"): "the old name of the state",
}

Extractor = Callable[[str], Iterator[str]]


def markdown(text: str) -> Iterator[str]:
    """Return the paragraphs and the rows of tables, without code."""
    prose = re.sub(r"^ *```.*?^ *```", "\n\n", text, flags=re.MULTILINE | re.DOTALL)
    yield from re.split(r"\n\s*\n|\n(?=\|)", re.sub(r"`[^`\n]*`", "``", prose))


def lines(text: str) -> Iterator[str]:
    """Return the whole text of a YAML file, with sentences that continue in the next line or comment as one."""
    yield text


def python(text: str) -> Iterator[str]:
    """Return the texts and the comments of a Python file: documentation, messages, docstrings, but not single words."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield re.sub(r"C\([^)]*\)", "C()", node.value)
    comments: list[str] = []
    previous = 0
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            if comments and token.start[0] > previous + 1:
                yield "\n".join(comments)
                comments.clear()
            comments.append(token.string)
            previous = token.start[0]
    yield "\n".join(comments)


def names(text: str) -> Iterator[str]:
    """Return the names of plays and tasks, also of those in examples."""
    for name in re.findall(r"^ *(?:- )?name: (.+)$", text, re.MULTILINE):
        yield name.strip("\"'")


def short_descriptions(text: str) -> Iterator[str]:
    """Return what the documentation of plugins and roles says in one line."""
    for name in re.findall(r"^ *short_description: (.+)$", text, re.MULTILINE):
        yield name.strip("\"'")


PAGES = ("*.md", "docs/**/*.md", "tests/**/*.md", "roles/*/README.md", ".github/**/*.md")
YAML = (
    *("roles/**/*.yml", "playbooks/*.yml", "inventories/**/*.yml", "meta/*.yml", "docs/**/*.yml", "galaxy.yml"),
    *("changelogs/**/*.yml", "changelogs/changelog.yaml", "kestra-flows/**/*.yaml", ".github/**/*.yml"),
)
PLUGINS = ("plugins/**/*.py",)
PROGRAMS = ("roles/*/files/**/*.py",)
TEMPLATES = ("templates/**/*.j2", "roles/*/templates/*.j2", "roles/*/files/**/*.html", "roles/*/files/**/*.js")

# What is read, how texts are found in it, and which words are not in them.
CHECKED: list[tuple[tuple[str, ...], Extractor, Mapping[str, str]]] = [
    (PAGES, markdown, WORDS),
    (YAML, lines, WORDS),
    (PLUGINS, python, WORDS),
    (PROGRAMS, python, WORDS),
    (TEMPLATES, lines, WORDS),
    ((*PAGES, *YAML, *PLUGINS), names, VERBS),
    ((*YAML, *PLUGINS), short_descriptions, VERBS),
]


def files(patterns: tuple[str, ...]) -> list[Path]:
    found = {path for pattern in patterns for path in ROOT.glob(pattern) if path.is_file()}
    return sorted(path for path in found if "__pycache__" not in path.parts)


def found(texts: Iterator[str], words: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Return each marker word with some of the text around it, and what to write instead."""
    for text in texts:
        flat = re.sub(r"\s*\n[\s#]*", " ", text).strip()
        for word, instead in words.items():
            for match in re.finditer(word, flat, re.IGNORECASE if words is WORDS else 0):
                yield flat[max(match.start() - 40, 0) : match.end() + 40], instead


def is_exception(path: str, text: str) -> bool:
    return any(path == file and part in text for file, part in EXCEPTIONS)


CASES = [
    pytest.param(path, extractor, words, id=f"{path.relative_to(ROOT)}-{extractor.__name__}")
    for patterns, extractor, words in CHECKED
    for path in files(patterns)
]


@pytest.mark.parametrize(("path", "extractor", "words"), CASES)
def test_texts_have_no_marker_words(path: Path, extractor: Extractor, words: Mapping[str, str]) -> None:
    name = str(path.relative_to(ROOT))
    hits = [
        f"...{text}... Write: {instead}"
        for text, instead in found(extractor(path.read_text(encoding="utf-8")), words)
        if not is_exception(name, text)
    ]
    assert not hits, "\n".join(hits)


@pytest.mark.parametrize(("file", "part"), EXCEPTIONS)
def test_exceptions_are_still_needed(file: str, part: str) -> None:
    hits = [
        text
        for patterns, extractor, words in CHECKED
        if ROOT / file in files(patterns)
        for text, _instead in found(extractor((ROOT / file).read_text(encoding="utf-8")), words)
    ]
    assert any(part in text for text in hits)


@pytest.mark.parametrize(
    ("extractor", "text", "count"),
    [
        (markdown, "The way\nout is told.\n\n```\ntold\n```\n`told` and former", 3),
        (markdown, "| a | is no file |\n| b | is no longer there |\n| There is no file |", 1),
        (lines, "# nobody\n# tells\nfail_msg: the site\n# see site.yml and the site.yml", 3),
        (python, '"""Freeze it."""\nx = f"{y} is\\nno file"\nz = "former"\n# the way\n# out\n', 3),
        (python, "from dataclasses import dataclass\n\n\n@dataclass(frozen=True)\nclass Former:\n    perhaps = 1\n", 0),
        (lines, "stand-in, informer, storefront, told them apart, stands for all", 0),
    ],
)
def test_words_are_found(extractor: Extractor, text: str, count: int) -> None:
    assert len(list(found(extractor(text), WORDS))) == count


@pytest.mark.parametrize(
    ("extractor", "text", "count"),
    [
        (names, "- name: Keep the file\n  block:\n    - name: 'Look at it'\n    - name: Ensure it", 2),
        (names, "- name: Keeper of files", 0),
        (short_descriptions, "short_description: Keep it\nshort_description: Manage it", 1),
    ],
)
def test_verbs_are_found(extractor: Extractor, text: str, count: int) -> None:
    assert len(list(found(extractor(text), VERBS))) == count
