"""Sizes of memory, as Docker and Java read them."""

from __future__ import annotations

import pytest
from ansible_collections.devorch.orchestration.plugins.module_utils.host.preflight import limits

MIB = 1024 * 1024


@pytest.mark.parametrize(
    ("text", "expected"),
    [("512m", 512 * MIB), ("2g", 2048 * MIB), ("2GB", 2048 * MIB), ("1024", 1024), ("8k", 8192), ("1.5g", 1536 * MIB)]
    + [("2 g", 2048 * MIB), ("2t", 2048 * 1024 * MIB)]
    + [
        (text, -1)
        for text in (
            "",
            "2  g",
            "1.5.1g",
            "-1g",
            "g",
            "2x",
            "9" * 400,
            "9" * 5000 + "g",
            "9e3g",
            "9223372036854775808",
            "\uff12g",
        )
    ],
)
def test_size(text: str, expected: int) -> None:
    assert limits.size(text) == expected


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("-Xms512m -Xmx1g", ("-Xmx1g", 1024 * MIB)),
        ("-Xmx1g -Xmx4g", ("-Xmx4g", 4096 * MIB)),
        ("-Xmx1048576", ("-Xmx1048576", MIB)),
        ("-Xmx1t", ("-Xmx1t", 1024 * 1024 * MIB)),
        (f"-Xmx{'9' * 5000}g", (f"-Xmx{'9' * 5000}g", 1 << 63)),
        ("-Dx=-Xmx1g", ("", 0)),
        ("", ("", 0)),
    ],
)
def test_heap(options: str, expected: tuple[str, int]) -> None:
    assert limits.heap(options) == expected
