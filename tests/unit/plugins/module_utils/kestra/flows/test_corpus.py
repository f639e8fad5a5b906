"""Every file of the corpus, and every thing that a file system can put in a file's place, without a server."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows.source import parse_sources
from ansible_collections.devorch.orchestration.plugins.module_utils.source_files import (
    Source,
    read_sources,
)

from ...... import corpus
from ......corpus import Case, measure

NAMESPACE = "corpus.unit"
CASES = corpus.cases(NAMESPACE)
MOST_SECONDS = 2
MOST_KILOBYTES = 100 * 1024


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What the program says about every file, by the name of the case."""
    directory = tmp_path_factory.mktemp("corpus")
    paths = {case.name: directory / f"{case.name}.yml" for case in CASES}
    for case in CASES:
        paths[case.name].write_bytes(case.content)
    listed = directory / "list"
    listed.write_bytes(b"\0".join(os.fsencode(path) for path in paths.values()))
    done = subprocess.run(
        [sys.executable, measure.__file__, str(listed)],
        env={**os.environ, "PYTHONPATH": os.environ["ANSIBLE_COLLECTIONS_PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    return {Path(answer["path"]).stem: answer for answer in answers}


def test_the_corpus_is_large_and_its_names_are_unique() -> None:
    assert len(CASES) >= 150 and len({case.name for case in CASES}) == len(CASES)
    flows = [name for case in CASES for name in case.flows]
    assert len(set(flows)) == len(flows)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_file_lands_or_is_refused_by_name(case: Case, measured: dict[str, dict[str, Any]]) -> None:
    answer = measured[case.name]
    assert "traceback" not in answer, answer["traceback"]
    assert "ended" not in answer, answer
    assert answer["seconds"] < MOST_SECONDS and answer["kilobytes"] < MOST_KILOBYTES
    assert answer["flows"] == [[NAMESPACE, name, text] for name, text in case.flows.items()]
    if case.refused is None or case.refused_by_kestra:
        assert answer["problems"] == []
        return
    assert answer["problems"]
    assert all(problem["file"] == answer["path"] for problem in answer["problems"])
    matching = [p for p in answer["problems"] if re.search(case.refused, p["message"]) and p["line"] == case.line]
    assert matching, answer["problems"]
    assert all(len(problem["message"]) < 1000 or case.name == "id-of-100000" for problem in answer["problems"])


def test_the_measure_sees_time_memory_and_tracebacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What finds nothing has to be able to find something."""
    program = tmp_path / "wasteful.py"
    program.write_text(
        "import sys\nfrom tests.corpus import measure\n"
        "def work(path):\n"
        "    if path.name == 'memory': kept = bytes(200_000_000); return {'kept': len(kept.replace(b'\\0', b'a'))}\n"
        "    if path.name == 'time': return {'sum': sum(range(200_000_000))}\n"
        "    raise ValueError('seen')\n"
        "measure.work = work\nmeasure.MOST_SECONDS = 1\nmeasure.main()\n",
        encoding="utf-8",
    )
    listed = tmp_path / "list"
    listed.write_bytes(b"memory\0time\0fault")
    root = Path(__file__).parents[6]
    done = subprocess.run(
        [sys.executable, str(program), str(listed)],
        env={**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{os.environ['ANSIBLE_COLLECTIONS_PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    memory, time, fault = (json.loads(line) for line in done.stdout.splitlines())
    assert memory["kilobytes"] > MOST_KILOBYTES
    assert time["ended"] in ("SIGXCPU", "SIGKILL") and time["seconds"] > 0.5
    assert "ValueError: seen" in fault["traceback"]


def test_all_of_the_corpus_in_one_directory(tmp_path: Path) -> None:
    """No file disturbs another: the same flows and the same problems as one by one."""
    for case in CASES:
        (tmp_path / f"{case.name}.yml").write_bytes(case.content)
    sources, problems = read_sources(tmp_path)
    flows, found = parse_sources(sources)
    texts = {name: text for case in CASES for name, text in case.flows.items()}
    assert {flow.id: flow.text for flow in flows} == texts
    bad = {f"{tmp_path}/{case.name}.yml" for case in CASES if not case.lands and not case.refused_by_kestra}
    assert {problem.file for problem in problems + found} == bad


FLOW = f"id: a\nnamespace: {NAMESPACE}\ntasks: []\n"


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """A directory with one good flow in it."""
    directory = tmp_path / "flows"
    directory.mkdir()
    (directory / "a.yml").write_text(FLOW, encoding="utf-8")
    return directory


def told(top: Path) -> tuple[list[str], dict[str, str]]:
    """Read a directory; return the files that were read and the problems by file, both relative to it."""
    sources, problems = read_sources(top)
    return (
        [os.path.relpath(source.path, top) for source in sources],
        {os.path.relpath(problem.file, top): problem.message for problem in problems},
    )


def test_links_inside_are_followed(top: Path) -> None:
    (top / "link.yml").symlink_to("a.yml")
    (top / "directory").mkdir()
    (top / "directory" / "b.yml").write_text(FLOW, encoding="utf-8")
    (top / "other").symlink_to("directory")
    read, problems = told(top)
    assert problems == {} and "link.yml" in read
    assert len([name for name in read if name.endswith("b.yml")]) == 1


def test_links_out_of_the_tree_are_refused(top: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.yml").write_text(FLOW, encoding="utf-8")
    (top / "file.yml").symlink_to(outside / "secret.yml")
    (top / "relative.yml").symlink_to("../outside/secret.yml")
    (top / "passwd.yml").symlink_to("/etc/passwd")
    (top / "directory").symlink_to(outside)
    (top / "whole.yml").symlink_to("/")
    (top / "over-another.yml").symlink_to("file.yml")
    (tmp_path / "flows-beside").mkdir()
    (top / "beside").symlink_to(tmp_path / "flows-beside")
    read, problems = told(top)
    assert read == ["a.yml"]
    names = {"file.yml", "relative.yml", "passwd.yml", "directory", "whole.yml", "over-another.yml", "beside"}
    assert set(problems) == names
    assert all("leads out of" in message for message in problems.values())


def test_links_in_circles(top: Path) -> None:
    (top / "up").symlink_to(".")
    (top / "self.yml").symlink_to("self.yml")
    (top / "one.yml").symlink_to("two.yml")
    (top / "two.yml").symlink_to("one.yml")
    (top / "nothing.yml").symlink_to("missing.yml")
    (top / "deep").mkdir()
    (top / "deep" / "up").symlink_to("../deep")
    read, problems = told(top)
    assert read == ["a.yml"]
    assert set(problems) == {"self.yml", "one.yml", "two.yml", "nothing.yml"}
    assert all("cannot be read" in message for message in problems.values())


def test_what_is_no_file_is_refused_and_never_waited_for(top: Path) -> None:
    os.mkfifo(top / "pipe.yml")
    (top / "directory.yml").mkdir()
    (top / "directory.yml" / "b.yml").write_text(FLOW, encoding="utf-8")
    (top / "device.yml").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(top / "socket.yml"))
        read, problems = told(top)
    assert read == ["a.yml", "directory.yml/b.yml"]
    assert set(problems) == {"pipe.yml", "device.yml", "socket.yml"}
    assert "is not a regular file" in problems["pipe.yml"]
    sources, alone = read_sources(top / "pipe.yml")
    assert sources == [] and "is not a regular file" in alone[0].message


def test_a_file_that_nobody_may_read(top: Path) -> None:
    """Where root runs the tests, who may read everything, a user without rights does."""
    (top / "closed.yml").write_text(FLOW, encoding="utf-8")
    (top / "closed.yml").chmod(0)
    nobody = 65534
    for directory in (top, *top.parents):
        if Path(tempfile.gettempdir()) in directory.parents:
            directory.chmod(0o755)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        answer: Any = None
        try:
            if os.getuid() == 0:
                os.setgroups([])
                os.setuid(nobody)
            answer = told(top)
        finally:
            os.write(writing, json.dumps(answer).encode())
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        read, problems = json.loads(pipe.read())
    os.waitpid(child, 0)
    assert read == ["a.yml"]
    assert problems == {"closed.yml": "cannot be read: Permission denied"}


def test_files_that_vanish_or_change_while_they_are_read(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("b.yml", "c.yml", "d.yml"):
        (top / name).write_text(FLOW, encoding="utf-8")
    opened = os.open

    def late(path: Any, *arguments: Any, **options: Any) -> int:
        """Something else works on the directory just before each file is opened."""
        name = Path(path).name
        if name == "b.yml":
            Path(path).unlink()
        elif name == "c.yml":
            Path(path).unlink()
            Path(path).mkdir()
        elif name == "d.yml":
            Path(path).unlink()
            os.mkfifo(path)
        return opened(path, *arguments, **options)

    monkeypatch.setattr(os, "open", late)
    read, problems = told(top)
    assert read == ["a.yml"]
    assert set(problems) == {"b.yml", "c.yml", "d.yml"}
    assert problems["b.yml"] == "cannot be read: No such file or directory"


def odd_names() -> Iterator[bytes]:
    yield from (
        b"a\nb.yml",
        b"a\rb.yml",
        b"a\tb.yml",
        b" .yml",
        b"-rf.yml",
        b"$(id).yml",
        b"{{ x }}.yml",
        b"a,b.yml",
        b"a'b\".yml",
        b"a\\b.yml",
        b"\xff\xfe.yml",
        "Grüße ☃ 🎉.yml".encode(),
        b"e\xcc\x81.yml",
        b"\x1b[31m.yml",
        b"x" * 240 + b".yml",
        b"..yml.yml",
        b"a.YAML.yaml",
        b"con.yml",
    )


@pytest.mark.parametrize("name", list(odd_names()), ids=repr)
def test_odd_names_of_files_are_read_and_named(name: bytes, top: Path) -> None:
    file = top / os.fsdecode(name)
    file.write_bytes(b"id: odd\nnamespace: x\nid: [\n")
    path = os.fsencode(file)
    sources, problems = read_sources(top)
    if name.startswith(b"."):
        assert len(sources) == 1
        return
    assert [os.fsencode(source.path) for source in sources if not source.path.endswith("/a.yml")] == [path]
    flows, found = parse_sources(sources)
    assert problems == [] and [flow.id for flow in flows] == ["a"]
    assert [os.fsencode(problem.file) for problem in found] == [path]
    json.dumps([problem.as_result() for problem in found]).encode("ascii")


def test_what_is_left_out(top: Path) -> None:
    for name in (".hidden.yml", "a.YML", "a.txt", "yml", "a.yml.swp", "a.yml~", ".yml"):
        (top / name).write_text("nothing: [", encoding="utf-8")
    (top / ".git").mkdir()
    (top / ".git" / "x.yml").write_text("nothing: [", encoding="utf-8")
    assert told(top) == (["a.yml"], {})


def test_a_directory_without_flows_and_one_that_is_missing(tmp_path: Path) -> None:
    _sources, (problem,) = read_sources(tmp_path)
    assert problem.file == str(tmp_path) and "no *.yml or *.yaml file" in problem.message
    with pytest.raises(FileNotFoundError):
        read_sources(tmp_path / "missing")


def test_deep_directories(top: Path) -> None:
    deep = top.joinpath(*["d" * 20] * 60)
    deep.mkdir(parents=True)
    (deep / "b.yml").write_text(FLOW, encoding="utf-8")
    read, problems = told(top)
    assert len(read) == 2 and problems == {}


def test_a_text_that_the_fast_parser_is_missing_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyYAML can be built without libyaml; the files are then parsed more slowly, and refused all the same."""
    monkeypatch.delattr(yaml, "CSafeLoader", raising=False)
    refused = 0
    for case in CASES:
        if len(case.content) > 3_000:
            continue
        flows, problems = parse_sources([Source(case.name, case.content)])
        taken = {flow.id: flow.text for flow in flows}
        assert taken == ({} if problems else case.flows), case.name
        assert problems or case.lands or case.refused_by_kestra, case.name
        # It is stricter about tabs.
        refused += bool(problems) and case.lands
    assert refused < 10
