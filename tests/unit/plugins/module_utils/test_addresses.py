"""The IP addresses of a host, from the tables of the kernel."""

from __future__ import annotations

from pathlib import Path

from ansible_collections.devorch.orchestration.plugins.module_utils.addresses import own_addresses

FIB = """\
Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     |-- 10.0.0.5
        /32 host LOCAL
     |-- 10.0.0.255
        /32 link BROADCAST
Local:
     |-- 127.0.0.1
        /32 host LOCAL
     |-- 10.0.0.5
        /32 host LOCAL
"""
INET6 = "00000000000000000000000000000001 01 80 10 80       lo\n20010db8000000000000000000000005 02 40 00 80     eth0\n"


def test_each_address_is_there_once(tmp_path: Path) -> None:
    (tmp_path / "fib_trie").write_text(FIB)
    assert own_addresses(tmp_path) == ["10.0.0.5", "127.0.0.1"]
    (tmp_path / "if_inet6").write_text(INET6)
    assert own_addresses(tmp_path) == ["10.0.0.5", "127.0.0.1", "::1", "2001:db8::5"]


def test_kernel_that_shows_no_tables(tmp_path: Path) -> None:
    assert own_addresses(tmp_path) == []


def test_this_host_has_a_loopback_address() -> None:
    assert "127.0.0.1" in own_addresses()
