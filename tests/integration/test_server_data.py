"""The test server's keys, namespace files and namespaces: what Kestra was seen to do, and where 2.0 differs.

Numbers of sections are those of the notes on a real server of 0.21, whose bodies 1.3 still has.
"""

from __future__ import annotations

import io
import secrets
import zipfile
from typing import Any

import pytest
import requests

from .kestra import Kestra

TEXT = {"Content-Type": "text/plain"}
LOG = "{id: say, type: io.kestra.plugin.core.log.Log, message: hello}"


@pytest.fixture
def namespace() -> str:
    """A namespace of this test's own."""
    return f"test.n{secrets.token_hex(4)}"


def put(kestra: Kestra, namespace: str, key: str, body: str, **headers: str) -> requests.Response:
    return kestra.call("PUT", f"/namespaces/{namespace}/kv/{key}", data=body.encode(), headers={**TEXT, **headers})


def get(kestra: Kestra, namespace: str, key: str) -> requests.Response:
    return kestra.call("GET", f"/namespaces/{namespace}/kv/{key}")


def upload(
    kestra: Kestra, namespace: str, path: str, content: bytes = b"x", name: str = "content"
) -> requests.Response:
    return kestra.call(
        "POST", f"/namespaces/{namespace}/files", params={"path": path}, files={"fileContent": (name, content)}
    )


def read(kestra: Kestra, namespace: str, path: str, **query: Any) -> requests.Response:
    return kestra.call("GET", f"/namespaces/{namespace}/files", params={"path": path, **query})


def paths(kestra: Kestra, namespace: str, q: str = "") -> list[str]:
    found: list[str] = kestra.call("GET", f"/namespaces/{namespace}/files/search", params={"q": q}).json()
    return found


# --- keys, 3.11 ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "kind", "value"),
    [
        ('"v1"', "STRING", "v1"),
        ("v1", "STRING", "v1"),
        ("hello world", "STRING", "hello"),
        ("42", "NUMBER", 42),
        ("true", "BOOLEAN", True),
        ('{"a":[1,true]}', "JSON", {"a": [1, True]}),
        ("2024-01-02T03:04:05Z", "DATETIME", "2024-01-02T03:04:05Z"),
        ("2025-10-13", "DATE", "2025-10-13"),
        ("PT15M", "DURATION", "PT15M"),
        ('"PT15M"', "DURATION", "PT15M"),
    ],
)
def test_a_body_is_read_as_ion_and_its_first_word_kept(
    either: Kestra, namespace: str, body: str, kind: str, value: Any
) -> None:
    answer = put(either, namespace, "k", body)
    assert (answer.status_code, answer.content) == (200, b"")
    found = get(either, namespace, "k").json()
    assert (found["type"], found["value"]) == (kind, value)
    assert ("revision" in found) is (either.dialect == "2.0")


def test_what_is_no_ion_is_text_in_2_0_and_refused_before(either: Kestra, namespace: str) -> None:
    answer = put(either, namespace, "k", '{"a":')
    if either.dialect == "2.0":
        assert get(either, namespace, "k").json()["value"] == '{"a":'
    else:
        assert answer.status_code == 422 and 'Invalid JSON value for: {\\"a\\":' in answer.text
        assert get(either, namespace, "k").status_code == 404


def test_a_null_in_a_mapping_is_left_out_of_the_answer(either: Kestra, namespace: str) -> None:
    put(either, namespace, "k", '{"a": null, "b": [null]}')
    assert get(either, namespace, "k").json()["value"] == {"b": [None]}


def test_keys_and_content_types_are_checked(either: Kestra, namespace: str) -> None:
    answer = put(either, namespace, "-k", "1")
    assert answer.status_code == 422 and "Key must start with an alphanumeric character" in answer.text
    answer = either.call("PUT", f"/namespaces/{namespace}/kv/k", data={"a": "b"})
    assert answer.status_code == 415


def test_deleting_tells_whether_the_key_was_there(either: Kestra, namespace: str) -> None:
    put(either, namespace, "k", "1")
    path = f"/namespaces/{namespace}/kv/k"
    assert [either.call("DELETE", path).json() for _again in range(2)] == [True, False]
    missing = get(either, namespace, "k")
    assert missing.status_code == 404 and f"No value found for key 'k' in namespace '{namespace}'" in missing.text
    put(either, namespace, "a", "1")
    bulk = either.call("DELETE", f"/namespaces/{namespace}/kv", json={"keys": ["a", "k"]})
    assert bulk.json() == {"keys": ["a"]}


def test_an_expired_key_is_gone(either: Kestra, namespace: str) -> None:
    assert put(either, namespace, "k", "1", ttl="PT0S").status_code == 200
    answer = get(either, namespace, "k")
    assert answer.status_code == 410 and "The requested value has expired" in answer.text
    assert get(either, namespace, "k").status_code == 404


def test_the_list_of_keys_has_dates_and_no_values(either: Kestra, namespace: str) -> None:
    put(either, namespace, "a", "1", ttl="PT1H", description="first")
    put(either, namespace, "a", "2", ttl="PT1H", description="second")
    put(either, namespace, "b", "1")
    put(either, f"{namespace}.below", "c", "1")
    put(either, namespace, "expired", "1", ttl="PT0S")
    if either.dialect == "2.0":
        query = {"filters[namespace][EQUALS]": namespace, "size": 1, "page": 1, "sort": "key:asc"}
        first = either.call("GET", "/kv", params=query).json()
        assert (first["total"], [entry["key"] for entry in first["results"]]) == (2, ["a"])
        listed = first["results"] + either.call("GET", "/kv", params=query | {"page": 2}).json()["results"]
        assert either.call("GET", f"/namespaces/{namespace}/kv").status_code == 405
    else:
        listed = sorted(either.call("GET", f"/namespaces/{namespace}/kv").json(), key=lambda entry: entry["key"])
        assert either.call("GET", "/kv").status_code == 404
    assert [(entry["key"], entry["revision"], entry.get("description")) for entry in listed] == [
        ("a", 2, "second"),
        ("b", 1, None),
    ]
    assert "value" not in listed[0] and listed[0]["expirationDate"] > listed[0]["updateDate"]
    assert "expirationDate" not in listed[1]


def test_keys_of_the_namespaces_above(either: Kestra, namespace: str) -> None:
    for level in ("", ".one", ".one.two"):
        put(either, f"{namespace}{level}", f"k{level}", "1")
    found = either.call("GET", f"/namespaces/{namespace}.one.two/kv/inheritance").json()
    assert [entry["key"] for entry in found if entry["namespace"].startswith(namespace)] == ["k.one", "k"]


# --- files, 3.12 ---------------------------------------------------------------------------------------------------


def test_a_file_comes_back_byte_for_byte(either: Kestra, namespace: str) -> None:
    content = bytes(range(256)) * 100
    answer = upload(either, namespace, "/scripts/f.bin", content)
    assert (answer.status_code, answer.content) == (200, b"")
    found = read(either, namespace, "/scripts/f.bin")
    assert found.content == content and found.headers["Content-Type"] == "application/octet-stream"
    assert "max-age" in found.headers["Cache-Control"]
    upload(either, namespace, "rel.txt")
    assert paths(either, namespace) == ["/rel.txt", "/scripts/f.bin"]
    assert paths(either, namespace, "rel") == ["/rel.txt"]
    stats = either.call("GET", f"/namespaces/{namespace}/files/stats", params={"path": "/scripts/f.bin"}).json()
    assert (stats["type"], stats["fileName"], stats["size"]) == ("File", "f.bin", 25600)


def test_every_upload_is_a_revision(either: Kestra, namespace: str) -> None:
    for content in (b"first", b"second", b"second"):
        upload(either, namespace, "/f", content)
    listed = either.call("GET", f"/namespaces/{namespace}/files/revisions", params={"path": "/f"}).json()
    assert listed == [{"revision": 1}, {"revision": 2}, {"revision": 3}]
    assert read(either, namespace, "/f", revision=1).content == b"first"
    assert read(either, namespace, "/f").content == b"second"


def test_a_blank_is_a_plus_before_2_0(either: Kestra, namespace: str) -> None:
    upload(either, namespace, "/a b.txt", b"blank")
    assert paths(either, namespace) == (["/a b.txt"] if either.dialect == "2.0" else ["/a+b.txt"])
    assert read(either, namespace, "/a b.txt").content == b"blank"


def test_an_archive_is_unpacked_at_the_root(either: Kestra, namespace: str) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("d/inside.txt", "x")
        archive.writestr("_flows/f.yml", f"id: f\nnamespace: elsewhere\ntasks: [{LOG}]\n")
    upload(either, namespace, "/kept/archive.zip", content.getvalue())
    upload(either, namespace, "/lost/archive.zip", content.getvalue(), name="Archive.ZIP")
    assert paths(either, namespace) == ["/d/inside.txt", "/kept/archive.zip"]
    flow = either.call("GET", f"/flows/{namespace}/f", params={"source": "true"}).json()
    assert f"namespace: {namespace}\n" in flow["source"]
    exported = either.call("GET", f"/namespaces/{namespace}/files/export")
    assert f'filename="{namespace}_files.zip"' in exported.headers["Content-Disposition"]
    with zipfile.ZipFile(io.BytesIO(exported.content)) as archive:
        assert sorted(archive.namelist()) == ["_flows/f.yml", "d/inside.txt", "kept/archive.zip"]
        assert archive.read("kept/archive.zip") == content.getvalue()


def test_flows_are_no_files(either: Kestra, namespace: str) -> None:
    source = f"id: g\nnamespace: elsewhere\ntasks: [{LOG}]\n"
    assert upload(either, namespace, "/_flows/g.yml", source.encode()).status_code == 200
    assert either.call("GET", f"/flows/{namespace}/g").status_code == 200
    assert paths(either, namespace) == []
    assert read(either, namespace, "/_flows/g.yml").status_code == 422


def test_deleting_takes_empty_directories_and_never_misses(either: Kestra, namespace: str) -> None:
    for path in ("/a/b/c/1", "/a/2", "/d/e/3", "/d/4"):
        upload(either, namespace, path)

    def delete(path: str) -> int:
        return either.call("DELETE", f"/namespaces/{namespace}/files", params={"path": path}).status_code

    def directory(path: str) -> list[str]:
        listed = either.call("GET", f"/namespaces/{namespace}/files/directory", params={"path": path}).json()
        return sorted(entry["fileName"] for entry in listed)

    assert [delete("/a/b/c/1"), delete("/a/b/c/1"), delete("/nope")] == [200, 200, 200]
    assert directory("/a") == ["2"]
    assert delete("/d") == 200 and directory("/") == ["a"]
    missing = read(either, namespace, "/d/4")
    assert missing.status_code == 404 and "/d/4" in missing.text


def test_directories_and_moves(either: Kestra, namespace: str) -> None:
    base = f"/namespaces/{namespace}/files"
    assert either.call("POST", f"{base}/directory", params={"path": "/empty"}).status_code == 200
    upload(either, namespace, "/a/1", b"moved")
    assert either.call("PUT", base, params={"from": "/a", "to": "/b"}).status_code == 200
    assert paths(either, namespace) == ["/b/1"] and read(either, namespace, "/b/1").content == b"moved"
    listed = {entry["fileName"]: entry["type"] for entry in either.call("GET", f"{base}/directory").json()}
    assert listed["empty"] == listed["b"] == "Directory"


@pytest.mark.parametrize("path", ["/../up", "/a/../b", "\\..\\up"])
def test_no_path_leads_out(either: Kestra, namespace: str, path: str) -> None:
    answer = upload(either, namespace, path)
    assert answer.status_code == 422
    assert "File should be accessed with their full path and not using relative '..' path." in answer.text


def test_a_path_is_a_file_or_a_directory(kestra: Kestra, namespace: str) -> None:
    upload(kestra, namespace, "/a/b")
    assert upload(kestra, namespace, "/a").status_code == 409
    assert upload(kestra, namespace, "/a/b/c").status_code == 409


# --- namespaces ----------------------------------------------------------------------------------------------------


def test_a_namespace_exists_by_what_is_in_it(either: Kestra, namespace: str) -> None:
    either.save_flow(f"id: f\nnamespace: {namespace}.flows.below\ntasks: [{LOG}]\n")
    put(either, f"{namespace}.kv", "k", "1")
    upload(either, f"{namespace}.files", "/f")

    def search(**query: Any) -> list[str]:
        answer = either.call("GET", "/namespaces/search", params={"q": namespace, "size": 10, **query}).json()
        assert answer["total"] >= len(answer["results"])
        return [entry["id"] for entry in answer["results"]]

    inside = [f"{namespace}.files", f"{namespace}.flows.below", f"{namespace}.kv"]
    assert search(existing="true") == inside
    everything = sorted([namespace, f"{namespace}.flows", *inside])
    assert search() == everything
    assert search(size=2) + search(size=2, page=2) + search(size=2, page=3) == everything
    assert either.call("GET", f"/namespaces/{namespace}.nothing").json()["id"] == f"{namespace}.nothing"
    completed = either.call("POST", "/namespaces/autocomplete", json={"q": f"{namespace}.k", "ids": ["other"]}).json()
    assert completed == ["other", f"{namespace}.kv"]
