"""`kestra_namespace_files` on a live Kestra: what arrives, what is left alone, what is refused."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from ..faults.proxy import Proxy, Rule, status
from ..unit.in_process import call
from ..unit.playbook import Played, play
from .contracts.kestra_namespace_files import ODD, upload, write
from .kestra import Kestra


@pytest.fixture
def namespace() -> str:
    """A namespace of this test's own."""
    return f"test.n{secrets.token_hex(4)}"


def run(kestra: Kestra, directory: Path, namespace: str, *arguments: str, **options: Any) -> dict[str, Any]:
    """Run the module from a playbook in the directory, with its `src` as the source, and return the result."""
    address = {"url": kestra.url, "username": kestra.username, "password": kestra.password}
    module = {"namespace": namespace, "src": "src", **address, **options}
    task = {"name": "Files", "devorch.orchestration.kestra_namespace_files": module, "ignore_errors": True}
    if module.get("remote_src"):
        return call("kestra_namespace_files", module, check="--check" in arguments)
    played: Played = play(directory, [task], *arguments)
    assert kestra.password not in played.output and "Traceback" not in played.output
    return {name: value for name, value in played.last.items() if name != "invocation"}


def stored(kestra: Kestra, namespace: str) -> dict[str, bytes]:
    base = f"/namespaces/{namespace}/files"
    paths = kestra.call("GET", f"{base}/search", params={"q": ""}).json()
    return {path.lstrip("/"): kestra.call("GET", base, params={"path": path}).content for path in paths}


def fill(kestra: Kestra, namespace: str, files: Mapping[str, bytes]) -> None:
    for path, content in files.items():
        upload(kestra, namespace, f"/{path}", content)


def actions(result: Mapping[str, Any]) -> dict[str, str]:
    return {entry["path"]: entry["action"] for entry in result["files"]}


def revisions(kestra: Kestra, namespace: str, path: str) -> int:
    return len(kestra.call("GET", f"/namespaces/{namespace}/files/revisions", params={"path": f"/{path}"}).json())


def test_odd_names_and_contents_arrive_from_the_controller(either: Kestra, tmp_path: Path, namespace: str) -> None:
    big = {"big.bin": secrets.token_bytes(12_000_000)}
    write(tmp_path / "src", ODD | big)
    checked = run(either, tmp_path, namespace, "--check", "--diff")
    assert stored(either, namespace) == {}
    first = run(either, tmp_path, namespace, "--diff")
    assert checked == first and set(actions(first).values()) == {"created"}
    expected = ODD | big
    if either.dialect != "2.0":
        expected = {name.replace(" ", "+"): content for name, content in expected.items()}
    assert stored(either, namespace) == expected
    second = run(either, tmp_path, namespace)
    assert not second["changed"] and second["summary"]["unchanged"] == len(expected)
    assert revisions(either, namespace, "plain.txt") == 1


def test_one_changed_file_is_one_revision(either: Kestra, tmp_path: Path, namespace: str) -> None:
    fill(either, namespace, ODD)
    write(tmp_path / "src", {**ODD, "with blank.txt": b"changed\n"})
    result = run(either, tmp_path, namespace, "--diff")
    assert result["summary"] | {"unchanged": 0} == {
        "total": len(ODD),
        "created": 0,
        "updated": 1,
        "unchanged": 0,
        "pruned": 0,
        "failed": 0,
        "skipped": 0,
        "extra": 0,
    }
    (shown,) = result["diff"]
    assert (shown["before"], shown["after"]) == ("blank\n", "changed\n")
    assert revisions(either, namespace, "with blank.txt") == 2 and revisions(either, namespace, "bytes.bin") == 1


def test_read_on_the_host_into_a_directory_that_is_pruned(either: Kestra, tmp_path: Path, namespace: str) -> None:
    fill(either, namespace, {"d/old/1": b"1", "d/2": b"2", "other/3": b"3", "d2": b"4"})
    write(tmp_path / "elsewhere", {"2": b"2", "new/5": b"5"})
    options = {"src": str(tmp_path / "elsewhere"), "remote_src": True, "dest": "/d/"}
    kept = run(either, tmp_path, namespace, **options)
    assert kept["extra"] == ["d/old/1"] and actions(kept) == {"d/2": "unchanged", "d/new/5": "created"}
    checked = run(either, tmp_path, namespace, "--check", prune=True, **options)
    assert "d/old/1" in stored(either, namespace)
    pruned = run(either, tmp_path, namespace, prune=True, **options)
    assert checked == pruned and actions(pruned)["d/old/1"] == "pruned" and pruned["msg"].endswith("1 pruned")
    assert stored(either, namespace) == {"d/2": b"2", "d/new/5": b"5", "other/3": b"3", "d2": b"4"}
    listed = either.call("GET", f"/namespaces/{namespace}/files/directory", params={"path": "/d"}).json()
    assert sorted(entry["fileName"] for entry in listed) == ["2", "new"]


def test_more_than_the_limit_is_not_pruned(kestra: Kestra, tmp_path: Path, namespace: str) -> None:
    there = {f"f{number}": b"x" for number in range(12)}
    fill(kestra, namespace, there)
    write(tmp_path / "src", {"f0": b"changed"})
    for limit, allowed in (("10", "10"), ("90%", "10"), ("0", "0")):
        result = run(kestra, tmp_path, namespace, prune=True, prune_limit=limit)
        assert result["failed"] and not result["changed"]
        assert f"11 files would be deleted, where prune_limit={limit} allows {allowed}" in result["msg"]
        assert "f1, f10, f11" in result["msg"]
    assert stored(kestra, namespace) == there
    assert run(kestra, tmp_path, namespace, prune=True, prune_limit="11")["summary"]["pruned"] == 11


def test_an_empty_source_does_nothing(kestra: Kestra, tmp_path: Path, namespace: str) -> None:
    fill(kestra, namespace, {"f": b"x"})
    (tmp_path / "src/empty").mkdir(parents=True)
    result = run(kestra, tmp_path, namespace, prune=True)
    assert result["failed"] and "contains no file" in result["msg"]
    write(tmp_path / "src", {".kestraignore": b"*\n", "f": b"x"})
    assert "contains no file" in run(kestra, tmp_path, namespace, prune=True, prune_limit="100%")["msg"]
    assert stored(kestra, namespace) == {"f": b"x"}


def test_everything_that_is_wrong_is_told_at_once(either: Kestra, tmp_path: Path, namespace: str) -> None:
    fill(either, namespace, {"file": b"x", "directory/x": b"x"})
    write(
        tmp_path / "src", {"good": b"x", "file/below": b"x", "directory": b"x", "good.v2": b"x", "_flows/f.yml": b"x"}
    )
    result = run(either, tmp_path, namespace)
    assert result["failed"] and not result["changed"] and len(result["problems"]) == 4
    assert result["msg"].startswith("4 problems with the files; nothing was written:\n")
    for path in ("file/below", "directory", "good.v2", "_flows/f.yml"):
        assert any(problem.startswith(f"{path}: ") for problem in result["problems"])
    (tmp_path / "src/link").symlink_to("/etc/hostname")
    (tmp_path / "src/back\\slash").write_bytes(b"x")
    for remote in (False, True):
        result = run(either, tmp_path, namespace, src=str(tmp_path / "src"), remote_src=remote)
        assert len(result["problems"]) == 6 and "src/link: is a link to /etc/hostname" in result["msg"]
    assert stored(either, namespace) == {"file": b"x", "directory/x": b"x"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"src": "nowhere"}, "was not found on the controller"),
        ({"src": "play.yml"}, "is not a directory"),
        ({"src": "/nowhere", "remote_src": True}, "is not a directory on the managed host"),
        ({"dest": "../up"}, "dest is '../up'"),
        ({"prune_limit": "many"}, "prune_limit is 'many'"),
        ({"concurrency": 0}, "concurrency is 0"),
        ({"namespace": "A/b"}, "namespace 'A/b' is not a namespace"),
        ({"_packed_src": "/etc/passwd"}, "_packed_src is not for use in a task"),
    ],
)
def test_options_are_checked(kestra: Kestra, tmp_path: Path, options: dict[str, Any], message: str) -> None:
    write(tmp_path / "src", {"f": b"x"})
    result = run(kestra, tmp_path, **{"namespace": "test.options", **options})
    assert result["failed"] and message in result["msg"]


def test_many_requests_at_once_into_new_directories(kestra: Kestra, tmp_path: Path, namespace: str) -> None:
    files = {f"n{number % 5}/m/o{number % 7}/f{number}": b"%d" % number for number in range(150)}
    write(tmp_path / "src", files)
    assert run(kestra, tmp_path, namespace, concurrency=16)["summary"]["created"] == 150
    assert stored(kestra, namespace) == files


def test_a_server_that_fails_midway(kestra: Kestra, tmp_path: Path, namespace: str) -> None:
    fill(kestra, namespace, {"old": b"x"})
    write(tmp_path / "src", {f"f{number}": b"x" for number in range(6)})
    with Proxy(kestra.url, rules=[Rule(status(500), method="POST", nth=[3])]) as proxy:
        result = run(kestra, tmp_path, namespace, url=proxy.url, concurrency=1, prune=True, retries=0)
    assert result["failed"] and result["changed"]
    assert actions(result) == {
        "f0": "created",
        "f1": "created",
        "f2": "failed",
        **dict.fromkeys(("f3", "f4", "f5", "old"), "skipped"),
    }
    assert "f2: HTTP 500" in result["msg"] and "kept: f0, f1." in result["msg"]
    assert set(stored(kestra, namespace)) == {"old", "f0", "f1"}
    assert run(kestra, tmp_path, namespace, prune=True)["summary"]["pruned"] == 1


def test_nothing_changed_is_read_in_few_requests(kestra: Kestra, tmp_path: Path, namespace: str) -> None:
    files = {f"d{number % 9}/f{number}": b"%d" % number for number in range(60)}
    fill(kestra, namespace, files)
    write(tmp_path / "src", files)
    with Proxy(kestra.url, read_only=True) as proxy:
        assert not run(kestra, tmp_path, namespace, url=proxy.url)["changed"]
        assert len(proxy.requests) == 3
