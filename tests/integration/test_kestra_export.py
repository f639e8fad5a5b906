"""`kestra_export` on a live Kestra, and the way back."""

from __future__ import annotations

import json
import secrets
import stat
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.client import Connection
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows.record import RECORD_KEY

from .. import corpus
from ..faults.proxy import Proxy
from ..unit.in_process import call
from ..unit.playbook import play
from .contracts.kestra_export import fill, flow
from .contracts.kestra_kv import put
from .contracts.kestra_namespace_files import ODD
from .in_process import load_flows
from .kestra import Kestra

# Bytes. Kestra takes long to validate larger flows.
SMALL = 20_000


@pytest.fixture
def namespace() -> str:
    """A namespace of this test's own."""
    return f"test.n{secrets.token_hex(4)}"


def task(kestra: Kestra, module: str, **options: Any) -> dict[str, Any]:
    address = {"url": kestra.url, "username": kestra.username, "password": kestra.password}
    return {"name": "Run", f"devorch.orchestration.{module}": {**address, **options}, "ignore_errors": True}


def run(kestra: Kestra, directory: Path, *, check: bool = False, **options: Any) -> dict[str, Any]:
    options = {"dest": str(directory / "out"), **options}
    address = {"url": kestra.url, "username": kestra.username, "password": kestra.password}
    return call("kestra_export", {**address, **options}, check=check)


def contents(directory: Path) -> dict[str, bytes]:
    return {p.relative_to(directory).as_posix(): p.read_bytes() for p in directory.rglob("*") if p.is_file()}


def test_everything_is_written_once(either: Kestra, tmp_path: Path, namespace: str) -> None:
    fill(either, namespace)
    put(either, namespace, RECORD_KEY, '{"a": 1}')
    checked = run(either, tmp_path, check=True, namespaces=[namespace])
    assert not (tmp_path / "out").exists()
    first = run(either, tmp_path, namespaces=[namespace])
    assert checked == first and first["summary"]["created"] == len(ODD) + 3
    found = contents(tmp_path / "out")
    assert found[f"flows/{namespace}/Lower.yaml"].decode() == flow("Lower", namespace, "other")
    assert found[f"flows/{namespace}/lower~2.yaml"].decode() == flow("lower", namespace)
    prefix = f"files/{namespace}/"
    files = {path.removeprefix(prefix): content for path, content in found.items() if path.startswith(prefix)}
    blank = " " if either.dialect == "2.0" else "+"
    assert files == {path.replace(" ", blank): content for path, content in ODD.items()}
    keys = json.loads(found[f"kv/{namespace}.json"])
    assert [(entry["key"], entry["type"], entry["value"], entry["description"]) for entry in keys] == [
        ("day", "DATE", "2026-01-31", None),
        ("json", "JSON", {"a": [1, True], "ü": "☃"}, None),
        ("number", "NUMBER", 42, None),
        ("text", "STRING", "42", "Größe"),
    ]
    assert keys[3]["expiration"] and not keys[0]["expiration"]
    assert stat.S_IMODE((tmp_path / f"out/kv/{namespace}.json").stat().st_mode) == 0o600
    assert f"flows/{namespace}/Lower.yaml\n" in first["diff"]["after"]

    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    again = run(either, tmp_path, namespaces=[namespace])
    assert not again["changed"] and again["summary"]["unchanged"] == len(found)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == times


def test_what_was_exported_is_what_the_other_modules_find(either: Kestra, tmp_path: Path, namespace: str) -> None:
    fill(either, namespace)
    fill(either, f"{namespace}.below")
    exported = run(either, tmp_path, namespaces=[namespace], below=True)
    assert exported["namespaces"] == [namespace, f"{namespace}.below"]
    out = tmp_path / "out"
    with Proxy(either.url, read_only=True) as proxy:
        back = [
            task(either, "kestra_flows", src=str(out / "flows"), remote_src=True, url=proxy.url),
            *(
                task(
                    either,
                    "kestra_namespace_files",
                    namespace=name,
                    src=str(out / "files" / name),
                    remote_src=True,
                    prune=True,
                    url=proxy.url,
                )
                for name in exported["namespaces"]
            ),
        ]
        flows, *files = play(tmp_path, back, "--check").results
    assert not flows["changed"] and flows["summary"]["unchanged"] == 4
    assert [(each["changed"], each["summary"]["unchanged"]) for each in files] == [(False, len(ODD))] * 2


def test_keys_come_back_by_the_module_for_keys(either: Kestra, tmp_path: Path, namespace: str) -> None:
    for key, body in {"n": "1.5", "s": '"1.5"', "b": "false", "d": "P1DT2H", "m": "2026-01-31T08:15:00.5Z"}.items():
        put(either, namespace, key, body)
    run(either, tmp_path, namespaces=[namespace], content=["kv"])
    keys = json.loads((tmp_path / f"out/kv/{namespace}.json").read_text())
    back = [
        task(either, "kestra_kv", namespace=namespace, key=each["key"], type=each["type"], value=each["value"])
        for each in keys
    ]
    results = play(tmp_path, back, "--check").results
    assert [result["changed"] for result in results] == [False] * 5, results


def test_changes_are_followed_and_stale_files_removed_on_demand(either: Kestra, tmp_path: Path, namespace: str) -> None:
    fill(either, namespace)
    run(either, tmp_path, namespaces=[namespace])
    (tmp_path / "out/README.md").write_text("mine")
    either.save_flow(flow("Lower", namespace, "changed"))
    assert either.call("DELETE", f"/flows/{namespace}/lower").status_code == 204
    for path in ("/deep", "/plain.txt"):
        either.call("DELETE", f"/namespaces/{namespace}/files", params={"path": path})
    either.call("DELETE", f"/namespaces/{namespace}/kv", json={"keys": ["text", "number", "day", "json"]})
    kept = run(either, tmp_path, namespaces=[namespace])
    assert (kept["summary"]["updated"], kept["summary"]["stale"]) == (1, 5)
    removed = run(either, tmp_path, namespaces=[namespace], prune=True)
    assert removed["changed"] and removed["summary"]["removed"] == 5
    found = contents(tmp_path / "out")
    assert len(found) == len(ODD) - 3 + 2 and found["README.md"] == b"mine"
    assert b"message: changed" in found[f"flows/{namespace}/Lower.yaml"]
    assert not (tmp_path / f"out/files/{namespace}/deep").exists()


def test_what_cannot_be_done_is_told(kestra: Kestra, tmp_path: Path, namespace: str) -> None:
    fill(kestra, namespace)
    (tmp_path / "file").write_text("x")
    result = run(kestra, tmp_path, namespaces=[namespace], dest=str(tmp_path / "file"))
    assert result["failed"] and "is not a directory" in result["msg"]
    (tmp_path / "out").mkdir()
    (tmp_path / "out/flows").write_text("in the way")
    result = run(kestra, tmp_path, namespaces=[namespace])
    assert result["failed"] and "Could not write the export" in result["msg"] and "flows" in result["msg"]
    assert run(kestra, tmp_path, namespaces=["../up"])["msg"].startswith("namespaces: '../up' is not a namespace")
    assert run(kestra, tmp_path, namespaces=[])["failed"]
    # Called in this process, a module's warnings go where those of Ansible go.
    options = {"namespaces": [f"{namespace}.nothing"], "dest": str(tmp_path / "none")}
    played = play(tmp_path, [task(kestra, "kestra_export", **options)])
    assert f"namespace {namespace}.nothing has nothing to export" in played.output
    assert not played.last["changed"] and not (tmp_path / "none").exists()


def test_what_is_loaded_from_an_export_is_exported_as_the_same_bytes(
    either: Kestra, tmp_path: Path, namespace: str
) -> None:
    """Flows of every kind of the corpus, in two namespaces of a server that has none of them any more."""
    connection = Connection(either.url, either.username, either.password, timeout=300)
    total = 0
    for part in ("one", "two"):
        (tmp_path / part).mkdir()
        for case in corpus.cases(f"{namespace}.{part}"):
            if case.lands and len(case.content) <= SMALL:
                (tmp_path / part / f"{case.name}.yml").write_bytes(case.content)
                total += len(case.flows)
        loaded = load_flows(connection, src=[str(tmp_path / part)])
        assert not loaded["failed"], loaded["msg"]
    assert total > 200
    options = {"namespaces": [namespace], "below": True, "content": ["flows"], "timeout": 300}
    first = run(either, tmp_path, **options)
    assert first["summary"]["created"] == total, first["msg"]
    for part in ("one", "two"):
        query = {"filters[namespace][EQUALS]": f"{namespace}.{part}"}
        assert either.call("DELETE", "/flows/delete/by-query", params=query).status_code in (200, 202)
    gone = run(either, tmp_path, **options, dest=str(tmp_path / "empty"), check=True)
    assert gone["summary"]["created"] == 0
    back = load_flows(connection, src=[str(tmp_path / "out" / "flows")])
    assert not back["failed"] and back["summary"]["created"] == total, back["msg"]
    again = run(either, tmp_path, **options, dest=str(tmp_path / "again"))
    assert not again["failed"] and contents(tmp_path / "again") == contents(tmp_path / "out")
