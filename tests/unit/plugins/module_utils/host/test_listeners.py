"""What `host_info` reads from /proc and from `docker ps`."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from ansible_collections.devorch.orchestration.plugins.module_utils.host import listeners as host


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0100007F:1F90", ("127.0.0.1", 8080)),
        ("00000000:0050", ("0.0.0.0", 80)),  # noqa: S104
        ("00000000000000000000000001000000:1F91", ("::1", 8081)),
        ("0000000000000000FFFF00000100007F:1F91", ("127.0.0.1", 8081)),
    ],
)
def test_addresses(text: str, expected: tuple[str, int]) -> None:
    assert host.parse_address(text) == expected


@pytest.mark.parametrize(
    ("ports", "expected"),
    [
        ("", set()),
        ("5432/tcp", set()),
        ("127.0.0.1:8080-8081->8080-8081/tcp", {8080, 8081}),
        ("0.0.0.0:80->8080/tcp, [::]:80->8080/tcp, 9090/tcp", {80}),
        (":::5678->5678/tcp", {5678}),
    ],
)
def test_published_ports(ports: str, expected: set[int]) -> None:
    assert host.parse_published(ports) == expected


def test_own_listener_is_found() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        found = [entry for entry in host.parse_listening(Path("/proc/net/tcp").read_text()) if entry.port == port]
        assert [entry.address for entry in found] == ["127.0.0.1"]
        name, _unit = host.socket_owners()[found[0].inode]
        assert name == Path(f"/proc/{os.getpid()}/comm").read_text().strip()
    assert port not in {entry.port for entry in host.parse_listening(Path("/proc/net/tcp").read_text())}


def test_process_may_have_any_name(tmp_path: Path) -> None:
    for number, name in (("7", b"caf\xc3\n"), ("8", b"plain\n")):
        process = tmp_path / number
        (process / "fd").mkdir(parents=True)
        (process / "fd" / "3").symlink_to(f"socket:[{number}]")
        (process / "comm").write_bytes(name)
        (process / "cgroup").write_bytes(b"0::/system.slice/a\xff.service\n")
    assert host.socket_owners(tmp_path) == {
        "7": ("caf\N{REPLACEMENT CHARACTER}", "a\N{REPLACEMENT CHARACTER}.service"),
        "8": ("plain", "a\N{REPLACEMENT CHARACTER}.service"),
    }


def test_memory() -> None:
    assert host.memory_total("MemFree: 1 kB\nMemTotal:        2048 kB\n") == 2048 * 1024


def test_nearest_existing(tmp_path: Path) -> None:
    assert host.nearest_existing(tmp_path / "a" / "b") == tmp_path
