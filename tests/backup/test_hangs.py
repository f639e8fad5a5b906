"""A store that accepts connections and never answers holds nothing up for longer than the program's limit."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .host import Host, next_second

HANG_LIMIT = 900


@contextmanager
def hanging() -> Iterator[int]:
    """A server that accepts connections and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(100)
        yield server.getsockname()[1]


@pytest.mark.parametrize("command", ["create", "list"])
def test_store_hangs(command: str, tmp_path: Path) -> None:
    host = Host(tmp_path).make(stores=("local", "second"))
    host.run("create")
    next_second()
    with hanging() as port:
        (host.live / "second.repository").write_text(f"rest:http://127.0.0.1:{port}/second")
        program = host.begin(command)
        try:
            output, errors = program.communicate(timeout=HANG_LIMIT)
        except subprocess.TimeoutExpired:
            program.kill()
            raise
    assert "second" in output + errors
    if command == "create":
        assert program.returncode == 3, output + errors
        assert json.loads(output)["backup"] in host.complete("local")
    assert host.left_behind() == []
