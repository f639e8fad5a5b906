"""Shared by the tests of the sidecar's service."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .service import Service


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One process for a whole module; readers get what multipass says now."""
    with Service(tmp_path_factory.mktemp("sidecar"), fresh=0) as service:
        yield service


@pytest.fixture
def sidecar(shared: Service) -> Service:
    """The process, over a multipass that has no instances."""
    shared.world.set()
    return shared
