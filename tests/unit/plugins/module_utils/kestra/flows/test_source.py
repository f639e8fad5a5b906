"""Reading flow files, without a server."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows import locate, yaml_nodes
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows import source as flow_source
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows.source import Flow
from ansible_collections.devorch.orchestration.plugins.module_utils.source_files import (
    LARGEST,
    Problem,
    Source,
    read_all,
    read_sources,
)

from .flow_constructs import ODD_NAMES

GOOD = "id: good\nnamespace: team.one\ntasks:\n  - id: say\n    type: io.kestra.plugin.core.log.Log\n    message: hi\n"

BAD = {
    "syntax": (b"id: a\nnamespace: b\ntasks: [\n  - {\n", 4, "YAML syntax"),
    "tab": (b"id: a\n\tnamespace: b\n", 2, "YAML syntax"),
    "bad alias": (b"id: a\nnamespace: b\nlabels: *nothing\n", 3, "YAML syntax"),
    "too deep": (b"id: a\nnamespace: b\nlabels: " + b"[" * 5000, 3, "nested more than 200 levels"),
    "control character": (b"id: a\nnamespace: b\ndescription: x\x01\n", 3, "U+0001"),
    "not UTF-8": ("id: a\nnamespace: b\ndescription: Grüße\n".encode("latin-1"), 3, "not UTF-8"),
    "UTF-16": ("id: a\nnamespace: b\n".encode("utf-16"), 1, "not UTF-8"),
    "empty": (b"", None, "is empty"),
    "only a comment": (b"# nothing yet\n", None, "is empty"),
    "only a marker": (b"---\n", None, "is empty"),
    "list": (b"- id: a\n", 1, "not a mapping"),
    "text": (b"hello\n", 1, "not a mapping"),
    "no id": (b"namespace: b\ntasks: []\n", None, "id is missing"),
    "no namespace": (b"id: a\ntasks: []\n", None, "namespace is missing"),
    "empty id": (b"namespace: b\nid:\n", 2, "id is empty"),
    "quoted empty id": (b'namespace: b\nid: ""\n', 2, "id is empty"),
    "null id": (b"namespace: b\nid: ~\n", 2, "id is empty"),
    "id is a list": (b"namespace: b\nid: [a]\n", 2, "id is not a text"),
    "bad id": (b"namespace: b\nid: a b\n", 2, "does not match"),
    "id ends badly": (b'namespace: b\nid: "a\\n"\n', 2, "does not match"),
    "bad namespace": (b"id: a\nnamespace: Team\n", 2, "does not match"),
    "long id": (b"namespace: b\nid: " + b"a" * 101 + b"\n", 2, "101 characters"),
    "long namespace": (b"id: a\nnamespace: " + b"a" * 151 + b"\n", 2, "151 characters"),
    "float id": (b"namespace: b\nid: 1.10\n", 2, 'put it in quotes: id: "1.10"'),
    "hexadecimal id": (b"namespace: b\nid: 0x1F\n", 2, "put it in quotes"),
    "octal id": (b"namespace: b\nid: 017\n", 2, "put it in quotes"),
    "switch id": (b"namespace: b\nid: on\n", 2, 'put it in quotes: id: "on"'),
    "affirmative namespace": (b"id: a\nnamespace: yes\n", 2, "put it in quotes"),
    "boolean id": (b"namespace: b\nid: True\n", 2, "put it in quotes"),
    "duplicate key": (
        b"id: a\nnamespace: b\ntasks:\n  - id: x\n    type: t\n    type: u\n",
        6,
        "'type' is given twice",
    ),
    "duplicate top-level key": (b"id: a\nnamespace: b\nid: c\n", 3, "'id' is given twice, first in line 1"),
    "bad second document": (b"id: a\nnamespace: b\n---\nid: c d\nnamespace: b\n", 4, "does not match"),
    "the same flow twice": (b"id: a\nnamespace: b\n---\nid: a\nnamespace: b\n", 4, "is already in 0.yml:1"),
    "more than Kestra takes": (b"id: a\nnamespace: b\n# " + b"x" * LARGEST, None, "at the most"),
    "deleted": (b"id: a\nnamespace: b\ndeleted: true\n", 3, "deleted is not false"),
    "quoted deleted": (b'id: a\nnamespace: b\n"deleted": yes\n', 3, "deleted is not false"),
    "conflict": (b"id: a\nnamespace: b\n<<<<<<< HEAD\ntasks: []\n=======\n>>>>>>> b\n", 3, "Git left the marker"),
    "NUL": (b'id: a\nnamespace: b\ndescription: "x\\0y"\n', 3, "NUL, which Kestra's database does not take"),
    "no flow": (b"services:\n  web: {image: nginx}\n", None, "so it is not a flow"),
}


def flows_of(*contents: bytes) -> tuple[list[Flow], list[Problem]]:
    return flow_source.parse_sources([Source(f"{n}.yml", content) for n, content in enumerate(contents)])


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_named_with_their_line(name: str) -> None:
    content, line, message = BAD[name]
    flows, problems = flows_of(content)
    assert flows == []
    assert [(p.file, p.line) for p in problems] == [("0.yml", line)]
    assert message in str(problems[0])


def test_all_problems_of_all_files_in_one_run() -> None:
    contents = [content for content, _line, _message in BAD.values()]
    flows, problems = flow_source.parse_sources(
        [Source(name, content) for name, content in zip(BAD, contents, strict=True)] + [Source("good", GOOD.encode())]
    )
    assert [flow.name for flow in flows] == ["team.one/good"]
    reported = [problem.file for problem in problems]
    assert [name for name in BAD if name not in reported] == []


def test_several_problems_of_one_file_are_sorted_by_line() -> None:
    _flows, problems = flows_of(b"deleted: true\nid: a b\nnamespace: B\n")
    assert [problem.line for problem in problems] == [1, 2, 3]


@pytest.mark.parametrize(
    "line",
    [
        *("deleted: false", "deleted: no", "deleted: null", "draft: false", "draft: true", "revision: 7"),
        *("source: x", "tenantId: main", 'description: "\\\\0"'),
    ],
)
def test_what_exports_hold_is_taken(line: str) -> None:
    flows, problems = flows_of(f"id: a\nnamespace: b\n{line}\n".encode())
    assert problems == [] and flows[0].text.endswith(f"{line}\n")


@pytest.mark.parametrize(("value", "odd"), ODD_NAMES)
def test_names_that_the_engine_reads_otherwise_are_refused_and_no_others(value: str, odd: bool) -> None:
    """tests/integration/test_flow_rules.py asks the engine."""
    _flows, problems = flows_of(f"id: {value}\nnamespace: b\n".encode())
    assert bool(problems) is odd
    assert not odd or "put it in quotes" in str(problems[0])


def test_duplicates_name_both_files() -> None:
    flows, problems = flows_of(GOOD.encode(), b"# the same\n" + GOOD.encode())
    assert len(flows) == 1
    assert str(problems[0]) == "1.yml:2: flow team.one/good is already in 0.yml:1; a flow has one file"


def test_same_id_in_two_namespaces_is_no_duplicate() -> None:
    flows, problems = flows_of(b"id: a\nnamespace: b\n", b"id: a\nnamespace: b.c\n", b"id: A\nnamespace: b\n")
    assert problems == [] and len(flows) == 3


def test_a_duplicate_of_a_bad_file_is_reported_too() -> None:
    _flows, problems = flows_of(b"id: a\nnamespace: b\ndeleted: true\n", b"id: a\nnamespace: b\n")
    assert [problem.file for problem in problems] == ["0.yml", "1.yml"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("true", "true"),
        ("y", "y"),
        ("one", "one"),
        ('"on"', "on"),
        ("'yes'", "yes"),
        ("123", "123"),
        ('"1.10"', "1.10"),
        ("'0x1F'", "0x1F"),
        ("2026-01-02", "2026-01-02"),
        ("1.2.3", "1.2.3"),
        ("!!str 1.10", "1.10"),
        ("null-and-void", "null-and-void"),
    ],
)
def test_ids_that_yaml_1_1_would_not_read_as_text(value: str, expected: str) -> None:
    flows, problems = flows_of(f"id: {value}\nnamespace: b\n".encode())
    assert problems == []
    assert flows[0].id == expected


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        GOOD.rstrip("\n"),
        GOOD + "\n\n",
        "\ufeff" + GOOD,
        GOOD.replace("\n", "\r\n"),
        "# comment\n---\n" + GOOD,
        GOOD + "...\n",
        "%YAML 1.1\n---\n" + GOOD,
        GOOD.replace("hi", "Grüße ☃ 🎉"),
        GOOD + "description: |\n  a\n  ---\n  b\n",
        GOOD + "labels: &l {a: b}\nvariables: *l\n",
        GOOD + "on: yes\nx: 0777\ny: 1_000\n",
        "id: " + "a" * 100 + "\nnamespace: b\n",
    ],
)
def test_the_text_is_kept_as_it_is(text: str) -> None:
    flows, problems = flows_of(text.encode("utf-8"))
    assert problems == []
    assert flows[0].text == text


def test_reading_a_directory(tmp_path: Path) -> None:
    for name in ("b/z.yml", "b/a.yaml", "a.yml", "c/.hidden.yml", ".git/x.yml", "readme.md", "d/e/f.yml"):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(GOOD, encoding="utf-8")
    (tmp_path / "d" / "loop").symlink_to(tmp_path)
    (tmp_path / "link.yml").symlink_to(tmp_path / "readme.md")
    (tmp_path / "dangling.yml").symlink_to(tmp_path / "nothing")
    sources, problems = read_sources(tmp_path)
    assert [os.path.relpath(s.path, tmp_path) for s in sources] == [
        "a.yml",
        "b/a.yaml",
        "b/z.yml",
        "d/e/f.yml",
        "link.yml",
    ]
    assert [str(problem) for problem in problems] == [
        f"{tmp_path}/dangling.yml: cannot be read: No such file or directory"
    ]


def test_paths_that_overlap_are_read_once(tmp_path: Path) -> None:
    for name in ("a.yml", "sub/b.yml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x", encoding="utf-8")
    (tmp_path / "gone.yml").symlink_to("nowhere")
    paths = [tmp_path, tmp_path / "sub", tmp_path / "sub/../a.yml", tmp_path]
    sources, problems = read_all(paths, "")
    assert [Path(source.path).name for source in sources] == ["a.yml", "b.yml"] and len(problems) == 1


def test_reading_one_file_of_any_name(tmp_path: Path) -> None:
    (tmp_path / "flow.txt").write_bytes(b"x")
    assert read_sources(tmp_path / "flow.txt")[0] == [Source(str(tmp_path / "flow.txt"), b"x")]


def test_a_directory_without_flows_is_a_problem(tmp_path: Path) -> None:
    sources, problems = read_sources(tmp_path)
    assert sources == []
    assert "no *.yml or *.yaml file" in str(problems[0])
    with pytest.raises(FileNotFoundError):
        read_sources(tmp_path / "missing")


PLACES = """id: x
namespace: b
inputs:
  - id: name
    type: STRING
tasks:
  - id: first
    type: io.Nope
    message: a
  - id: group
    type: io.Group
    tasks:
      - id: inner
        type: io.Log
        mesage: b
  - id: first
    type: io.Log
  - id: typeless
triggers: []
"""


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ("Illegal flow yaml: Duplicate field 'id' at [Source: (StringReader); line: 2, column: 3]", 2),
        ("while scanning, in 'reader', line 6, column 14: found end, in 'reader', line 9, column 1", 9),
        ("Invalid type: io.Nope", 8),
        ("Invalid type: io.Elsewhere", None),
        ("Invalid type: <null>", 18),
        ('Unrecognized field "mesage" (class io.Log), not marked as ignorable', 15),
        (": Invalid Flow: Duplicate task id with name [first]", 16),
        (": Invalid Flow: Duplicate task id with name [elsewhere]", None),
        ("tasks: must not be empty", 6),
        ("tasks[1].tasks[0].message: must not be null", 13),
        ("tasks[inner].message: must not be null", 6),
        ("tasks[group].type: is odd", 11),
        ("inner.message: must not be null", 13),
        ("inputs[name].type: is odd", 5),
        ("elsewhere.message: must not be null", None),
        ("something without a place", None),
    ],
)
def test_lines_of_messages(message: str, line: int | None) -> None:
    assert locate.locate(PLACES, message) == line
    assert locate.locate("\ufeff" + PLACES.replace("\n", "\r\n"), message) == line


def test_lines_of_a_text_that_is_no_yaml() -> None:
    assert locate.locate("[", "tasks: must not be empty") is None
    assert locate.locate("", "tasks: must not be empty") is None


SEVERAL = """# Two flows and a license
%YAML 1.1
---
id: one
namespace: a
...
---  # the second
id: two
namespace: a
description: |
  ---
---
--- {id: three, namespace: b}
---
# nothing more
"""


def test_several_documents_are_several_flows() -> None:
    flows, problems = flows_of(SEVERAL.encode())
    assert problems == []
    assert [(flow.name, flow.first_line, flow.text) for flow in flows] == [
        ("a/one", 1, "# Two flows and a license\n%YAML 1.1\n---\nid: one\nnamespace: a\n...\n"),
        ("a/two", 8, "id: two\nnamespace: a\ndescription: |\n  ---\n"),
        ("b/three", 13, "--- {id: three, namespace: b}\n"),
    ]
    again = [flows_of(flow.text.encode())[0][0] for flow in flows]
    assert [flow.key for flow in again] == [flow.key for flow in flows]
    assert str(flows[1].problem("bad", about="description: is odd")) == "0.yml:10: bad"


def test_documents_with_a_byte_order_mark() -> None:
    flows, problems = flows_of("\ufeffid: a\nnamespace: c\n# ä\n---\nid: b\nnamespace: c\n".encode())
    assert [flow.text for flow in flows] == ["\ufeffid: a\nnamespace: c\n# ä\n", "id: b\nnamespace: c\n"]
    assert problems == []


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("company.dev", "company.prod"),
        ("company.dev.team", "company.prod.team"),
        ("company.devel", "company.devel"),
        ('"company.dev"  # c', '"company.prod"  # c'),
        ("'company.dev.x'", "'company.prod.x'"),
        ("company.dev.special", "elsewhere"),
        ("numbers", '"1.10"'),
        ("nothing", '"null"'),
    ],
)
def test_namespaces_are_renamed_in_their_line_alone(written: str, expected: str) -> None:
    text = f"\ufeff# ünïcode, company.dev\nid: a\nnamespace: {written}\nvariables: {{namespace: company.dev}}\n"
    names = {"company.dev": "company.prod", "company.dev.special": "elsewhere", "numbers": "1.10", "nothing": "null"}
    (flow,), problems = flow_source.parse_sources([Source("f.yml", text.encode("utf-8"))], names)
    assert problems == []
    assert flow.text == text.replace(f"namespace: {written}\n", f"namespace: {expected}\n", 1)


@pytest.mark.parametrize("written", ["&n dev", "!!str dev", "*x", ">-\n  dev"])
def test_namespaces_that_cannot_be_renamed_are_named(written: str) -> None:
    text = f"id: a\nlabels: {{l: &x dev}}\nnamespace: {written}\n"
    flows, problems = flow_source.parse_sources([Source("f.yml", text.encode())], {"dev": "prod"})
    assert flows == [] and "namespace_map cannot rename" in str(problems[0])


def test_renaming_to_what_is_no_namespace_is_a_problem() -> None:
    _flows, problems = flow_source.parse_sources([Source("f.yml", GOOD.encode())], {"team": "Team"})
    assert str(problems[0]).startswith("f.yml:2: after namespace_map, namespace 'Team.one' does not match")


def test_a_stored_text_needs_no_parsing() -> None:
    several = GOOD + "---\nid: second\nnamespace: team.one\n"
    flow = ("team.one", "good", GOOD)
    known = {GOOD.encode(): [flow], b"[": [("x", "y", "[")], several.encode(): [flow]}
    flows, problems = flow_source.parse_sources([Source("a", GOOD.encode()), Source("b", b"[")], None, known)
    assert [flow.name for flow in flows] == ["team.one/good", "x/y"] and problems == []
    # Kestra stores both documents as the text of the first flow where it is sent them at once.
    flows, problems = flow_source.parse_sources([Source("c", several.encode())], None, known)
    assert [flow.name for flow in flows] == ["team.one/good", "team.one/second"] and problems == []
    assert flows[0].text == GOOD


def test_namespaces_are_guessed() -> None:
    texts = ["id: a\nnamespace: b.c # d\n", "\"namespace\" : 'e'\n", "x:\n  namespace: f\n", "namespace: G\n"]
    assert flow_source.guess_namespaces([Source("", text.encode()) for text in texts]) == {"b.c", "e"}


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("labels: {a: b, c: d}\n", {"a": "b", "c": "d"}),
        ("labels:\n  - {key: a, value: b}\n  - key: c\n    value: d\n", {"a": "b", "c": "d"}),
        ("labels: text\n", {}),
        ("id: a\n", {}),
        ("[", {}),
        ("tasks:\n  - labels: {a: b}\n", {}),
    ],
)
def test_labels(text: str, labels: dict[str, str]) -> None:
    assert yaml_nodes.labels_of(text) == labels


def test_what_leads_out_of_a_directory_or_is_no_file_is_refused(tmp_path: Path) -> None:
    inside = tmp_path / "flows"
    (inside / "real").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "o.yml").write_text(GOOD, encoding="utf-8")
    (inside / "real" / "a.yml").write_text(GOOD, encoding="utf-8")
    (inside / "alias.yml").symlink_to("real/a.yml")
    (inside / "file.yml").symlink_to(tmp_path / "outside" / "o.yml")
    (inside / "directory").symlink_to(tmp_path / "outside")
    os.mkfifo(inside / "pipe.yml")
    sources, problems = read_sources(inside)
    assert [os.path.relpath(s.path, inside) for s in sources] == ["alias.yml", "real/a.yml"]
    assert [os.path.relpath(p.file, inside) for p in problems] == ["directory", "file.yml", "pipe.yml"]
    assert "leads out of" in problems[0].message and "not a regular file" in problems[2].message


def test_an_ignore_file_leaves_files_out(tmp_path: Path) -> None:
    for name in ("a.yml", "b.yml", "drafts/c.yml", "keep/drafts.yml"):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(GOOD, encoding="utf-8")
    (tmp_path / ".kestraignore").write_text("drafts/\nb.*\n", encoding="utf-8")
    sources, problems = read_all([tmp_path], ".kestraignore")
    assert [os.path.relpath(s.path, tmp_path) for s in sources] == ["a.yml", "keep/drafts.yml"] and problems == []
    assert len(read_all([tmp_path], "")[0]) == 4
    assert "does not exist" in str(read_all([tmp_path / "no"], "")[1][0])
