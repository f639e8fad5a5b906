"""Reading flow files and planning, without a server."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.devorch.orchestration.plugins.module_utils import flow_plan
from ansible_collections.devorch.orchestration.plugins.module_utils.flow_plan import Flow, Source, Stored

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
    "two documents": (b"id: a\nnamespace: b\n---\nid: c\nnamespace: b\n", 3, "holds 2 documents"),
    "empty second document": (b"id: a\nnamespace: b\n---\n", 3, "holds 2 documents"),
    "revision": (b"id: a\nnamespace: b\nrevision: 3\n", 3, "'revision' is refused"),
    "quoted revision": (b'id: a\nnamespace: b\n"revision": 3\n', 3, "'revision' is refused"),
    "deleted": (b"id: a\nnamespace: b\ndeleted: true\n", 3, "'deleted' is refused"),
    "tenantId": (b"tenantId: x\nid: a\nnamespace: b\n", 1, "'tenantId' is refused"),
    "draft": (b"id: a\nnamespace: b\ndraft: true\n", 3, "'draft' is refused"),
    "source": (b"id: a\nnamespace: b\nsource: x\n", 3, "'source' is refused"),
    "updated": (b"id: a\nnamespace: b\nupdated: x\n", 3, "'updated' is refused"),
}


def flows_of(*contents: bytes) -> tuple[list[Flow], list[flow_plan.Problem]]:
    return flow_plan.parse_sources([Source(f"{n}.yml", content) for n, content in enumerate(contents)])


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_named_with_their_line(name: str) -> None:
    content, line, message = BAD[name]
    flows, problems = flows_of(content)
    assert flows == []
    assert [(p.file, p.line) for p in problems] == [("0.yml", line)]
    assert message in str(problems[0])


def test_all_problems_of_all_files_in_one_run() -> None:
    contents = [content for content, _line, _message in BAD.values()]
    flows, problems = flow_plan.parse_sources(
        [Source(name, content) for name, content in zip(BAD, contents, strict=True)] + [Source("good", GOOD.encode())]
    )
    assert [flow.name for flow in flows] == ["team.one/good"]
    reported = [problem.file for problem in problems]
    assert [name for name in BAD if name not in reported] == []


def test_several_problems_of_one_file_are_sorted_by_line() -> None:
    _flows, problems = flows_of(b"deleted: true\nid: a b\nrevision: 1\nnamespace: B\n")
    assert [problem.line for problem in problems] == [1, 2, 3, 4]


def test_duplicates_name_both_files() -> None:
    flows, problems = flows_of(GOOD.encode(), b"# the same\n" + GOOD.encode())
    assert len(flows) == 1
    assert str(problems[0]) == "1.yml:2: flow team.one/good is already in 0.yml:1; a flow has one file"


def test_same_id_in_two_namespaces_is_no_duplicate() -> None:
    flows, problems = flows_of(b"id: a\nnamespace: b\n", b"id: a\nnamespace: b.c\n", b"id: A\nnamespace: b\n")
    assert problems == [] and len(flows) == 3


def test_a_duplicate_of_a_bad_file_is_reported_too() -> None:
    _flows, problems = flows_of(b"id: a\nnamespace: b\nrevision: 1\n", b"id: a\nnamespace: b\n")
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
    sources, problems = flow_plan.read_sources(tmp_path)
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


def test_reading_one_file_of_any_name(tmp_path: Path) -> None:
    (tmp_path / "flow.txt").write_bytes(b"x")
    assert flow_plan.read_sources(tmp_path / "flow.txt")[0] == [Source(str(tmp_path / "flow.txt"), b"x")]


def test_a_directory_without_flows_is_a_problem(tmp_path: Path) -> None:
    sources, problems = flow_plan.read_sources(tmp_path)
    assert sources == []
    assert "no *.yml or *.yaml file" in str(problems[0])
    with pytest.raises(FileNotFoundError):
        flow_plan.read_sources(tmp_path / "missing")


def plan(text: str, stored: Stored | None) -> flow_plan.Item:
    flow = Flow("team.one", "good", "good.yml", text)
    return flow_plan.make_plan([flow], {stored.key: stored} if stored else {}).items[0]


def stored(text: str, **fields: object) -> Stored:
    return Stored("team.one", "good", text, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("before", "action"),
    [
        (None, "create"),
        (stored(GOOD), "unchanged"),
        (stored(GOOD + "\n"), "update"),
        (stored(GOOD.rstrip("\n")), "update"),
        (stored("\ufeff" + GOOD), "update"),
        (stored(GOOD.replace("\n", "\r\n")), "update"),
        (stored(GOOD + "# comment\n"), "update"),
        (stored(GOOD, draft=True), "update"),
        (stored(GOOD, broken="unknown type"), "unchanged"),
    ],
)
def test_actions(before: Stored | None, action: str) -> None:
    item = plan(GOOD, before)
    assert item.action == action
    assert item.to_validate is (action != "unchanged" or (before is not None and before.broken is not None))


def test_the_plan_is_sorted_counted_and_shown() -> None:
    flows = [Flow("b", "x", "1.yml", "new"), Flow("a", "z", "2.yml", "same"), Flow("a", "b", "3.yml", "new")]
    known = {("a", "z"): Stored("a", "z", "same", 4), ("a", "b"): Stored("a", "b", "old", 7)}
    made = flow_plan.make_plan(flows, known)
    assert [(item.flow.name, item.action) for item in made.items] == [
        ("a/b", "update"),
        ("a/z", "unchanged"),
        ("b/x", "create"),
    ]
    assert (made.count("create"), made.count("update"), made.count("unchanged")) == (1, 1, 1)
    assert made.diff() == [
        {"before_header": "a/b (revision 7)", "after_header": "a/b (3.yml)", "before": "old", "after": "new"},
        {"before_header": "b/x (missing)", "after_header": "b/x (1.yml)", "before": "", "after": "new"},
    ]


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("id: a\n", "id: a\n"),
        ("\ufeffid: a\n", "id: a\n"),
        ("---\nid: a\n", "   \nid: a\n"),
        ("# c\n--- # d\nid: a\n", "# c\n    # d\nid: a\n"),
        ("---\r\nid: a\r\n", "   \r\nid: a\r\n"),
        ("%YAML 1.1\n---\nid: a\n", "#YAML 1.1\n   \nid: a\n"),
        ("id: a\nd: |\n  ---\n", "id: a\nd: |\n  ---\n"),
        ("id: a---\n", "id: a---\n"),
    ],
)
def test_what_is_sent_for_validation(text: str, sent: str) -> None:
    assert flow_plan.validation_text(text) == sent
    assert sent.count("\n") == text.count("\n")


def test_validation_takes_few_requests() -> None:
    assert flow_plan.validation_batches([]) == []
    batches = flow_plan.validation_batches(["x"] * 250)
    assert [len(batch) for batch in batches] == [100, 100, 50]
    assert [index for batch in batches for index, _text in batch] == list(range(250))
    assert [len(batch) for batch in flow_plan.validation_batches(["ü" * 300_000] * 3)] == [1, 1, 1]
    assert [len(batch) for batch in flow_plan.validation_batches(["a", "---\n---\n", "b"])] == [2, 1]


@pytest.mark.parametrize(
    ("constraints", "expected"),
    [
        ("", []),
        ("tasks: must not be empty\n", ["tasks: must not be empty"]),
        (
            "id: must not be blank\nid: must not be null\nid: must not be null\n",
            ["id: must not be blank", "id: must not be null"],
        ),
        (
            "Illegal flow yaml: Duplicate field 'id'\n at [Source: (StringReader); line: 2, column: 3]",
            ["Illegal flow yaml: Duplicate field 'id' at [Source: (StringReader); line: 2, column: 3]"],
        ),
        ("Invalid type: io.Nope", ["Invalid type: io.Nope"]),
        ("Validation error: tasks[x].value: must not be null\n", ["tasks[x].value: must not be null"]),
    ],
)
def test_single_messages(constraints: str, expected: list[str]) -> None:
    assert flow_plan.violations(constraints) == expected


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
    assert flow_plan.locate(PLACES, message) == line
    assert flow_plan.locate("\ufeff" + PLACES.replace("\n", "\r\n"), message) == line


def test_lines_of_a_text_that_is_no_yaml() -> None:
    assert flow_plan.locate("[", "tasks: must not be empty") is None
    assert flow_plan.locate("", "tasks: must not be empty") is None


def test_files_of_an_archive_whose_names_say_too_little() -> None:
    one, two = b"id: c.d\nnamespace: a.b\n", b"id: d\nnamespace: a.b.c\n"
    keys = [("a.b", "c.d"), ("a.b.c", "d"), ("plain", "flow")]
    entries = {"a.b.c.d.yml": one, "a.b.c-d.yml": two, "plain-flow.yml": b"not: parsed\xff", "other.yml": b"["}
    found = flow_plan.exported_sources(entries, keys)
    assert found[("a.b", "c.d")] == one.decode()
    assert found[("a.b.c", "d")] == two.decode()
    assert found[("plain", "flow")].startswith("not: parsed")
    assert len(found) == 3
