"""One text for equal values."""

from __future__ import annotations

from ansible_collections.devorch.orchestration.plugins.module_utils.n8n.canonical import canonical


def test_the_order_of_keys_does_not_count() -> None:
    assert canonical({"b": [1, "ü"], "a": None}) == canonical({"a": None, "b": [1, "ü"]}) == '{"a":null,"b":[1,"ü"]}'
    assert canonical([1, 2]) != canonical([2, 1])
