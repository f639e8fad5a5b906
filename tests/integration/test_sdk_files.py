"""Kestra's Python SDK on the files of a namespace: every call that it has."""

from __future__ import annotations

import io
import secrets
import zipfile

import pytest

from .kestra import Kestra
from .sdk import TENANT, ApiException, client


@pytest.fixture
def namespace() -> str:
    """A namespace of this test's own."""
    return f"test.n{secrets.token_hex(4)}"


def test_files(kestra: Kestra, namespace: str) -> None:
    api = client(kestra).files
    contents = {"/plain.txt": b"text\n", "/d/ü b.bin": bytes(range(256)), "/d/empty": b""}
    for path, content in contents.items():
        api.create_namespace_file(namespace, path, TENANT, content)
    assert api.search_namespace_files(namespace, "", TENANT) == sorted(contents)
    assert {path: api.file_content(namespace, path, TENANT) for path in contents} == contents
    api.create_namespace_file(namespace, "/plain.txt", TENANT, b"second")
    assert [each.revision for each in api.file_revisions(namespace, TENANT, path="/plain.txt")] == [1, 2]
    assert api.file_content(namespace, "/plain.txt", TENANT, revision=1) == b"text\n"
    stats = api.file_metadatas(namespace, TENANT, path="/plain.txt")
    assert (stats.type.value, stats.file_name, stats.size) == ("File", "plain.txt", 6)
    assert 0 < stats.creation_time <= stats.last_modified_time
    with zipfile.ZipFile(io.BytesIO(api.export_namespace_files(namespace, TENANT))) as archive:
        assert archive.read("d/ü b.bin") == contents["/d/ü b.bin"] and len(archive.namelist()) == 3


def test_directories(kestra: Kestra, namespace: str) -> None:
    api = client(kestra).files
    api.create_namespace_directory(namespace, TENANT, path="/made")
    api.create_namespace_file(namespace, "/a/1", TENANT, b"x")
    api.move_file_directory(namespace, "/a", "/b", TENANT)
    listed = {each.file_name: each.type.value for each in api.list_namespace_directory_files(namespace, TENANT)}
    assert listed.items() >= {"made": "Directory", "b": "Directory"}.items()
    below = api.list_namespace_directory_files(namespace, TENANT, path="/b")
    assert [(each.file_name, each.type.value, each.size) for each in below] == [("1", "File", 1)]
    api.delete_file_directory(namespace, "/b", TENANT)
    with pytest.raises(ApiException) as caught:
        api.file_content(namespace, "/b/1", TENANT)
    assert caught.value.status == 404
