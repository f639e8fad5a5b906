"""The address at which a host reaches its own service."""

from __future__ import annotations

import pytest
from ansible_collections.devorch.orchestration.plugins.filter.loopback_for import FilterModule

loopback_for = FilterModule().filters()["loopback_for"]


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("0.0.0.0", "127.0.0.1"),  # noqa: S104
        ("127.0.0.1", "127.0.0.1"),
        ("192.0.2.7", "192.0.2.7"),
        ("::", "[::1]"),
        ("[::]", "[::1]"),
        ("::1", "[::1]"),
        ("[::1]", "[::1]"),
        ("2001:db8::7", "[2001:db8::7]"),
        ("localhost", "localhost"),
    ],
)
def test_address(address: str, expected: str) -> None:
    assert loopback_for(address) == expected
