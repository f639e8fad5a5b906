"""Backups leave the host for real stores. The host is lost, and an empty one gets all of it back from each of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.sampling import sample
from tests.stores import SERVERS, Store, rest

from .host import Host, next_second


@pytest.fixture(scope="module", params=sample([*SERVERS, "append-only"], 1))
def store(images: None, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    directory = tmp_path_factory.mktemp(request.param)
    with ExitStack() as stack:
        if request.param == "append-only":
            yield stack.enter_context(rest(directory, append_only=True))
        else:
            yield stack.enter_context(SERVERS[request.param](directory))


def test_host_is_lost_and_comes_back(store: Store, tmp_path: Path) -> None:
    host = Host(tmp_path).make()
    # Of each kind one is kept, so that the second backup removes the first where that is allowed.
    keep = {"daily": 1, "weekly": 0, "monthly": 0, "upgrade": 1, "manual": 1}
    targets = [entry | {"keep": keep} for entry in (*host.setting("targets"), store.target(host.live / "stores"))]
    host.configure(targets)
    first = host.run("create", "--reason", "manual")["backup"]
    host.change("before the loss")
    next_second()
    # A store that is away for a while gets later what it lacks.
    with store.away():
        made = host.run("create", "--reason", "manual", code=3)
    assert [target["ok"] for target in made["targets"]] == [True, False]
    host.run("copy")
    saved = host.content()
    there = {entry["backup"] for entry in host.run("list", "--target", store.name)["backups"]}
    assert there == ({first, made["backup"]} if store.append_only else {made["backup"]})
    host.lose()
    assert not (host.root / "compose.yml").exists()
    restored = host.run("restore", "--target", store.name)
    assert restored["backup"] == made["backup"]
    assert host.content() == saved
    assert host.left_behind() == []
    # It goes on: the store that is left is not taken for that of another host.
    next_second()
    again = host.run("create", "--reason", "manual")
    assert all(target["ok"] for target in again["targets"]), again
