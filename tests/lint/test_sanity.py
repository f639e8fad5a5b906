"""The collection passes `ansible-test sanity`, built and unpacked as users get it."""

from __future__ import annotations

from collections.abc import Callable

from . import ansible_test_sanity


def test_sanity(say: Callable[[str], None]) -> None:
    say("ansible-test sanity (about 2 minutes on the first run, one later)")
    assert ansible_test_sanity.run() == 0
