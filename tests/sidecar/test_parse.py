"""The parsers of multipass' output: 1.14, 1.16, a version with unknown keys, and garbage."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from .service import FILES

sys.path.insert(0, str(FILES / "src"))

from multipass_sidecar import models, parse

RUNNING = {
    "cpu_count": "2",
    "disks": {"sda1": {"total": "5116440064", "used": "1822490112"}},
    "image_hash": "fe6bbc9cf5ba",
    "image_release": "24.04 LTS",
    "ipv4": ["10.68.1.5", "172.17.0.1"],
    "load": [0.03, 0.02, 0],
    "memory": {"total": 1003073536, "used": 187953152},
    "mounts": {
        "/work": {"gid_mappings": ["1000:default"], "source_path": "/srv/work", "uid_mappings": ["1000:default"]}
    },
    "release": "Ubuntu 24.04.2 LTS",
    "snapshot_count": "1",
    "state": "Running",
}
STOPPED: dict[str, Any] = {
    "cpu_count": "",
    "disks": {"sda1": {}},
    "image_hash": "fe6bbc9cf5ba",
    "image_release": "24.04 LTS",
    "ipv4": [],
    "load": [],
    "memory": {},
    "mounts": {},
    "release": "",
    "snapshot_count": "0",
    "state": "Stopped",
}
LISTED = {"ipv4": ["10.68.1.5"], "name": "web", "release": "Ubuntu 24.04 LTS", "state": "Running"}
GONE = {"ipv4": [], "name": "old", "release": "Not Available", "state": "Deleted"}
IMAGE = {"aliases": ["noble", "lts"], "os": "Ubuntu", "release": "24.04 LTS", "remote": "", "version": "20261101"}
ZONE = {"zone": {"available": True, "name": "zone1"}}
VERSIONS = ["1.14", "1.16", "more"]


def dressed(version: str, content: dict[str, Any], **inner: Any) -> str:
    """Return JSON as a version prints it, indented as the C++ program does."""
    more = {"errors": []} if version != "1.14" or "info" in content else {}
    if version == "more":
        more |= {"a-future-key": [1, {"deep": None}]}
    return json.dumps(more | content, indent=4)


@pytest.mark.parametrize("version", VERSIONS)
def test_list(version: str) -> None:
    rows = [LISTED | (ZONE if version == "more" else {}), GONE]
    old, web = parse.listed(dressed(version, {"list": rows}))
    assert web == models.Instance(name="web", state="Running", ipv4=["10.68.1.5"], release="Ubuntu 24.04 LTS")
    assert (old.name, old.state, old.ipv4) == ("old", "Deleted", [])
    assert parse.listed(dressed(version, {"list": []})) == []


@pytest.mark.parametrize("version", VERSIONS)
def test_info_of_one_that_runs(version: str) -> None:
    entry = RUNNING | (ZONE if version == "more" else {})
    if version == "1.14":
        entry = entry | {"snapshot_count": "", "memory": {"total": "1003073536", "used": "187953152"}}
    found = parse.detail(dressed(version, {"info": {"web": entry}}), "web")
    assert found.cpus == 2 and found.load == [0.03, 0.02, 0]
    assert found.memory == models.Usage(used=187953152, total=1003073536)
    assert found.disk == models.Usage(used=1822490112, total=5116440064)
    assert found.snapshots == (None if version == "1.14" else 1)
    assert found.mounts == [models.MountShown(source="/srv/work", target="/work")]


@pytest.mark.parametrize("version", VERSIONS)
def test_info_of_one_that_is_stopped(version: str) -> None:
    found = parse.detail(dressed(version, {"info": {"db": STOPPED}}), "db")
    assert (found.cpus, found.load, found.release) == (None, [], None)
    assert found.memory == found.disk == models.Usage()


@pytest.mark.parametrize("version", VERSIONS)
def test_snapshots(version: str) -> None:
    item = {"children": [], "comment": "", "cpu_count": "1", "disk_space": "4.9GiB", "memory_size": "1.0GiB"}
    item |= {"mounts": {}, "parent": "", "size": "1.2GiB"}
    # As the client shows a time in the locale C and in UTC. As texts, they would be in another order.
    rows = {
        "aaa": item | {"parent": "second", "created": "Mon Nov 30 09:00:00 2026 UTC"},
        "second": item | {"parent": "first", "created": "Sat Nov 28 09:00:00 2026 UTC"},
        "first": item | {"comment": "clean", "created": "Sat Nov 28 09:00:00 2026 UTC"},
        "oldest": item | {"created": "Fri Nov  6 09:00:00 2026 UTC"},
    }
    found = parse.snapshots(dressed(version, {"info": {"db": {"snapshots": rows}}}), "db")
    assert [row.name for row in found] == ["oldest", "first", "second", "aaa"]
    assert [row.parent for row in found] == [None, None, "first", "second"]
    assert (found[0].created, found[1].comment) == ("2026-11-06T09:00:00.000Z", "clean")
    assert parse.snapshots(dressed(version, {"info": {}}), "db") == []


def test_snapshots_whose_parents_are_a_circle_or_whose_time_is_unknown_have_an_order() -> None:
    rows = {"bb": {"parent": "aa"}, "aa": {"parent": "bb", "created": "soon"}}
    found = parse.snapshots(json.dumps({"info": {"db": {"snapshots": rows}}}), "db")
    assert sorted(row.name for row in found) == ["aa", "bb"] and {row.created for row in found} == {None}


def test_an_entry_of_another_kind_that_nobody_asked_for_is_ignored() -> None:
    """As in json_info_mixed_instance_and_snapshot_info_reply of multipass' own tests."""
    text = json.dumps({"errors": [], "info": {"web": RUNNING, "bogus-instance": {"snapshots": {"snap2": {}}}}})
    assert parse.detail(text, "web").state == "Running"
    assert [row.name for row in parse.snapshots(text, "bogus-instance")] == ["snap2"]
    with pytest.raises(parse.ParseError, match=r"info\.bogus-instance\.state"):
        parse.detail(text, "bogus-instance")


@pytest.mark.parametrize("version", VERSIONS)
def test_images_networks_and_versions(version: str) -> None:
    blueprints = {"1.14": "blueprints", "1.16": "blueprints (deprecated)"}.get(version, "recipes")
    (image,) = parse.images(dressed(version, {blueprints: {"docker": IMAGE}, "images": {"24.04": IMAGE}}))
    assert (image.name, image.aliases) == ("24.04", ["noble", "lts"])
    (network,) = parse.networks(dressed(version, {"list": [{"description": "x", "name": "eth0", "type": "ethernet"}]}))
    assert network.name == "eth0"
    assert parse.version(dressed(version, {"multipass": "1.14.1", "multipassd": "1.14.1"})) == ("1.14.1", "1.14.1")
    assert parse.version(dressed(version, {"multipass": "1.14.1+mac"})) == ("1.14.1+mac", None)
    update = {"update": {"title": "1.17", "version": "1.17.0", "url": "https://example.com"}}
    assert parse.version(dressed(version, {"multipass": "1", "multipassd": "1"} | update)) == ("1", "1")


READERS: list[Callable[[str], object]] = [
    parse.listed,
    lambda text: parse.detail(text, "web"),
    lambda text: parse.snapshots(text, "web"),
    parse.images,
    parse.networks,
    parse.version,
]


@pytest.mark.parametrize(
    "text",
    [
        *("", "not JSON", "[]", '"text"', "null", "{}", '{"list": {}}', '{"list": [5]}', '{"list": [{"name": "a1"}]}'),
        *('{"list": [{"name": "", "state": "Running"}]}', '{"info": []}', '{"info": {"web": {"state": 5}}}'),
        *(
            '{"info": {"web": {"state": "Running", "cpu_count": "two"}}}',
            '{"info": {"web": {"state": "R", "load": [NaN]}}}',
        ),
        *('{"info": {"other": {"state": "Running"}}}', '{"images": []}', '{"multipass": null}', "{" * 100000),
        *(
            '{"info": {"web": {"state": "Running", "memory": {"used": -1}}}}',
            '{"list": [{"name": "\\ud800", "state": "x"}]}',
        ),
        *('{"info": {"web": {"state": "Running", "cpu_count": true}}}', "list failed: cannot connect to the socket"),
    ],
    ids=lambda text: text[:60],
)
def test_what_does_not_fit_is_a_parse_error(text: str) -> None:
    failed = 0
    for read in READERS:
        try:
            read(text)
        except parse.ParseError as error:
            assert len(str(error)) < 1000
            failed += 1
    # A network needs only a name, and an instance without snapshots is not in the output.
    assert failed >= len(READERS) - 2


def test_no_version_of_the_list_is_taken_for_another() -> None:
    with pytest.raises(parse.ParseError, match="list: Field required"):
        parse.listed(json.dumps({"errors": [], "info": {"web": {}}}))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["list", "info", "web", "state", "name", "ipv4", "images", "memory", "disks", "cpu_count"])
            | st.text(max_size=3),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(JSON | st.text())
def test_nothing_but_a_parse_error_comes_of_anything(content: Any) -> None:
    text = content if isinstance(content, str) else json.dumps(content)
    for read in READERS:
        try:
            found = read(text)
        except parse.ParseError:
            continue
        assert found is not None


@pytest.mark.parametrize(
    ("text", "size"), [("4.9GiB", 5261334938), ("1.0GiB", 1024**3), ("512.0MiB", 512 * 1024**2), ("5B", 5)]
)
def test_sizes_as_get_prints_them(text: str, size: int) -> None:
    assert parse.human_size(f"{text}\n") == size


@pytest.mark.parametrize("text", ["", "5", "5 apples", "GiB", "-1GiB", "1e9GiB"])
def test_no_size_is_a_parse_error(text: str) -> None:
    with pytest.raises(parse.ParseError):
        parse.human_size(text)


@pytest.mark.parametrize(
    ("line", "text", "percent"),
    [
        ("\x1b[2K\rRetrieving image: 42% -", "Retrieving image: 42%", 42),
        ("Starting web  |", "Starting web", None),
        ("Verifying image /\x08", "Verifying image", None),
        ("", "", None),
        ("999%", "999%", 100),
    ],
)
def test_progress_has_no_spinner(line: str, text: str, percent: int | None) -> None:
    assert parse.progress(line) == (text, percent)
