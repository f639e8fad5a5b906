"""Shared by the tests of the sidecar's service."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .service import Service


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the tests of a module in one process, because they share a process of the service."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.xdist_group(f"sidecar-{item.path.stem}"))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One process for a whole module. Readers always get a new answer of multipass."""
    with Service(tmp_path_factory.mktemp("sidecar"), fresh=0) as service:
        yield service


@pytest.fixture
def sidecar(shared: Service) -> Service:
    """The process, with a multipass that has no instances."""
    shared.world.set()
    return shared
