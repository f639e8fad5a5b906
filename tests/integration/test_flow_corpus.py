"""The corpus on a live Kestra: what lands is stored byte for byte, and where a file is refused nothing is written."""

from __future__ import annotations

import io
import re
import secrets
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.client import Connection

from .. import corpus
from ..corpus import LOG, Case
from ..faults.proxy import Proxy
from .in_process import load_flows
from .kestra import Kestra

# Kestra needs minutes to validate some of the large ones, which tells nothing more.
LARGEST = 200_000


@pytest.fixture
def namespace() -> str:
    """A namespace of this test's own."""
    return f"corpus.n{secrets.token_hex(4)}"


def load(kestra: Kestra, directory: Path, cases: Sequence[Case], url: str | None = None, **options: Any) -> Any:
    for case in cases:
        (directory / f"{case.name}.yml").write_bytes(case.content)
    connection = Connection(url or kestra.url, kestra.username, kestra.password, timeout=300)
    return load_flows(connection, src=[str(directory)], **options)


def stored(kestra: Kestra, namespace: str) -> dict[str, str]:
    """The texts of a namespace by id."""
    query = {"filters[namespace][EQUALS]": namespace}
    archive = kestra.call("GET", "/flows/export/by-query", params=query)
    assert archive.status_code == 200
    with zipfile.ZipFile(io.BytesIO(archive.content)) as opened:
        return {
            name.removeprefix(f"{namespace}.").removesuffix(".yml"): opened.read(name).decode("utf-8")
            for name in opened.namelist()
        }


def test_what_lands_is_stored_byte_for_byte(either: Kestra, namespace: str, tmp_path: Path) -> None:
    """All at once, so that none disturbs another in the common requests; and nothing is left to do."""
    cases = [case for case in corpus.cases(namespace) if case.lands and len(case.content) <= LARGEST]
    wanted = {flow_id: text for case in cases for flow_id, text in case.flows.items()}
    first = load(either, tmp_path, cases)
    assert not first["failed"], first["msg"]
    assert first["summary"]["created"] == len(wanted) > 120
    for flow_id, text in wanted.items():
        answer = either.call("GET", f"/flows/{namespace}/{flow_id}", params={"source": "true"})
        assert answer.json()["source"] == text, flow_id
    again = load(either, tmp_path, cases)
    assert not again["failed"], again["msg"]
    assert again["summary"]["unchanged"] == len(wanted) and not again["changed"]


def test_what_kestra_refuses_is_named_with_its_line(kestra: Kestra, namespace: str, tmp_path: Path) -> None:
    cases = [case for case in corpus.cases(namespace) if case.refused_by_kestra]
    with Proxy(kestra.url, read_only=True) as proxy:
        result = load(kestra, tmp_path, cases, proxy.url)
    assert result["failed"] and "nothing was written" in result["msg"]
    for case in cases:
        found = [p for p in result["problems"] if p["file"] == f"{tmp_path}/{case.name}.yml"]
        pattern = case.refused or ""
        assert any(re.search(pattern, p["message"]) and p["line"] == case.line for p in found), (case.name, found)
    assert stored(kestra, namespace) == {}


def test_what_is_refused_without_kestra(kestra: Kestra, namespace: str, tmp_path: Path) -> None:
    """One good file among the bad ones is not written either."""
    corpora = [case for case in corpus.cases(namespace) if not case.refused_by_kestra and len(case.content) <= LARGEST]
    cases = [case for case in corpora if not case.lands or case.name == "emoji"]
    with Proxy(kestra.url, read_only=True) as proxy:
        result = load(kestra, tmp_path, cases, proxy.url)
    assert result["failed"] and "nothing was written" in result["msg"]
    named = {Path(problem["file"]).stem for problem in result["problems"]}
    assert named == {case.name for case in cases} - {"emoji"}
    assert stored(kestra, namespace) == {}


@pytest.mark.parametrize("task", ["- x", "-"])
def test_what_validation_passes_and_storing_refuses(task: str, kestra: Kestra, namespace: str, tmp_path: Path) -> None:
    """Kestra's validation is not as strict as its storing; then the other flows are put back."""
    good = f"id: good\nnamespace: {namespace}\ntasks:\n  - id: say\n    type: {LOG}\n    message: hi\n"
    bad = f"id: bad\nnamespace: {namespace}\ntasks:\n  {task}\n"
    cases = [Case(name, text.encode()) for name, text in (("good", good), ("bad", bad))]
    result = load(kestra, tmp_path, cases, concurrency=1)
    assert result["failed"] and f"{namespace}/bad" in result["msg"] and "HTTP 422" in result["msg"]
    assert {flow["state"] for flow in result["flows"]} == {"previous"}
    assert stored(kestra, namespace) == {}
