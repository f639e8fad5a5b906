"""How versions and references of images are read and compared."""

from __future__ import annotations

import pytest
from ansible_collections.devorch.orchestration.plugins.module_utils.versions import (
    Image,
    another_major,
    another_minor,
    below,
    numbers,
    tag,
)

DIGEST = "sha256:" + "ab" * 32


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("postgres", Image("docker.io", "library/postgres", "", "")),
        ("n8nio/n8n:2.41.1", Image("docker.io", "n8nio/n8n", "2.41.1", "")),
        (f"docker.io/library/postgres:17@{DIGEST}", Image("docker.io", "library/postgres", "17", DIGEST)),
        ("registry.example.com/mirror/kestra:v2", Image("registry.example.com", "mirror/kestra", "v2", "")),
        ("127.0.0.1:5000/kestra:v2", Image("127.0.0.1:5000", "kestra", "v2", "")),
        ("localhost/kestra:v2", Image("localhost", "kestra", "v2", "")),
        ("[::1]:5000/kestra:v2", Image("[::1]:5000", "kestra", "v2", "")),
    ],
)
def test_references(reference: str, expected: Image) -> None:
    assert Image.parse(reference) == expected


@pytest.mark.parametrize("reference", ["", "Postgres:17", "postgres:", "postgres:17@sha256:ab", "a b:1", "a//b:1"])
def test_malformed_references(reference: str) -> None:
    with pytest.raises(ValueError, match="is not a valid image reference"):
        Image.parse(reference)


@pytest.mark.parametrize(
    ("version", "expected"),
    [("v2.0.5-slim", (2, 0, 5)), ("17", (17,)), ("17.2", (17, 2)), ("latest", ()), ("", ()), ("2.0.", (2, 0))],
)
def test_numbers(version: str, expected: tuple[int, ...]) -> None:
    assert numbers(version) == expected


@pytest.mark.parametrize(
    ("reference", "expected"),
    [("a/b:1", "1"), (f"a:5000/b:1@{DIGEST}", "1"), ("a:5000/b", ""), ("", ""), ("a/b:", "")],
)
def test_tag(reference: str, expected: str) -> None:
    assert tag(reference) == expected


@pytest.mark.parametrize(
    ("version", "limit", "expected"),
    [((1, 9), (2,), True), ((17,), (17, 2), False), ((17, 2), (17,), False), ((2, 0), (2, 1), True), ((), (1,), False)],
)
def test_below(version: tuple[int, ...], limit: tuple[int, ...], expected: bool) -> None:
    assert below(version, limit) is expected


@pytest.mark.parametrize(
    ("present", "wanted", "expected"),
    [
        ("docker.io/kestra/kestra:v1.3.9", "docker.io/kestra/kestra:v2.0.5", True),
        ("docker.io/kestra/kestra:v2.0.5", "registry.example.com:5000/kestra/kestra:v1.3.9", True),
        ("docker.io/n8nio/n8n:2.41.1@sha256:" + 64 * "0", "docker.io/n8nio/n8n:20.1.0", True),
        ("docker.io/library/postgres:17", "docker.io/library/postgres:16", True),
        ("docker.io/kestra/kestra:v2.0.4", "registry.example.com:5000/kestra/kestra:v2.1.0-slim", False),
        ("docker.io/kestra/kestra:latest", "docker.io/kestra/kestra:v2.0.5", False),
        ("docker.io/kestra/kestra:v2.0.5", "docker.io/kestra/kestra:latest", False),
        ("docker.io/kestra/kestra:v2.0.5", "docker.io/library/postgres:17.2", False),
        ("", "docker.io/kestra/kestra:v2.0.5", False),
    ],
)
def test_another_major(present: str, wanted: str, expected: bool) -> None:
    assert another_major(present, wanted) is expected


@pytest.mark.parametrize(
    ("present", "wanted", "expected"),
    [
        ("docker.io/kestra/kestra:v2.0.4", "mirror:5000/kestra/kestra:v2.0.5", True),
        ("docker.io/kestra/kestra:v2.0.5", "docker.io/kestra/kestra:v2.0.5-slim", False),
        ("docker.io/kestra/kestra:v1.3.9", "docker.io/kestra/kestra:v2.0.5", False),
        ("docker.io/kestra/kestra:latest", "docker.io/kestra/kestra:v2.0.5", False),
        ("docker.io/kestra/kestra:v2.0.4", "docker.io/me/flows:v2.0.5", False),
        ("", "docker.io/kestra/kestra:v2.0.5", False),
    ],
)
def test_another_minor(present: str, wanted: str, expected: bool) -> None:
    assert another_minor(present, wanted) is expected
