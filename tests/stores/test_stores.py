"""The stores are real: restic makes a repository in each, fills, checks, reads and copies it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from . import SERVERS, Client, Store, require_programs, rest


@pytest.fixture(scope="module", autouse=True)
def programs(images: None) -> None:
    """Everything that the stores are made of."""
    require_programs()


@pytest.fixture(scope="module", params=SERVERS)
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with SERVERS[request.param](tmp_path_factory.mktemp(request.param)) as started:
        yield started


def fill(directory: Path) -> dict[str, bytes]:
    content = {f"file {number}": os.urandom(10_000 * number) for number in range(5)}
    directory.mkdir()
    for name, data in content.items():
        (directory / name).write_bytes(data)
    return content


def restored(client: Client, snapshot: str, target: Path) -> dict[str, bytes]:
    client.run("restore", snapshot, "--target", str(target))
    return {path.name: path.read_bytes() for path in target.rglob("*") if path.is_file()}


def test_restic_works_with_the_store(store: Store, tmp_path: Path) -> None:
    content = fill(tmp_path / "source")
    local = Client(tmp_path / "local", repository=str(tmp_path / "local" / "repository-files"))
    local.run("init")
    local.run("backup", str(tmp_path / "source"), "--tag", "copied")
    client = Client(tmp_path / "client", store)
    client.run("init", "--copy-chunker-params", source=local)
    client.run("backup", str(tmp_path / "source"), "--tag", "direct")
    client.run("copy", source=local)
    client.run("check", "--read-data")
    found = json.loads(client.run("snapshots", "--json").stdout)
    assert {snapshot["tags"][0] for snapshot in found} == {"direct", "copied"}
    for snapshot in found:
        assert restored(client, snapshot["id"], tmp_path / snapshot["tags"][0]) == content
    # The files are where the test can spoil them.
    assert (store.directory / "config").is_file() and any((store.directory / "data").rglob("*"))
    # Without the credentials nobody gets in.
    client.store = Store(store.name, store.container, store.directory, store.repository.replace("backup:", "backup:x"))
    assert client.run("snapshots", check=False).returncode != 0


def test_append_only_store_refuses_to_forget(tmp_path: Path) -> None:
    fill(tmp_path / "source")
    with rest(tmp_path / "rest", append_only=True) as store:
        client = Client(tmp_path / "client", store)
        client.run("init")
        client.run("backup", str(tmp_path / "source"))
        (snapshot,) = json.loads(client.run("snapshots", "--json").stdout)
        client.run("forget", snapshot["id"], check=False)
        assert json.loads(client.run("snapshots", "--json").stdout) == [snapshot]
        client.run("check", "--read-data")
