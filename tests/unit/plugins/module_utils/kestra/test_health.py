"""What `kestra_health` says about servers that are well, starting, hanging, half dead or gone."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.client import Connection
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.health import (
    Health,
    Probe,
    accepts,
    host_addresses,
    indicators,
    is_on_this_host,
    wait_until_healthy,
)

from ....fake_kestra import PASSWORD, USERNAME, Answer, FakeKestra

DETAILS = {
    "name": "kestra",
    "status": "DOWN",
    "details": {
        "compositeDiscoveryClient()": {"name": "kestra", "status": "UP", "details": {"services": {}}},
        "diskSpace": {"name": "kestra", "status": "UP", "details": {"free": 1}},
        "jdbc": {
            "name": "kestra",
            "status": "DOWN",
            "details": {"jdbc:postgresql://postgres:5432/kestra": {"name": "kestra", "status": "DOWN"}},
        },
    },
}


@pytest.fixture
def server() -> Iterator[FakeKestra]:
    with FakeKestra() as fake:
        yield fake


def check(
    url: str,
    management_url: str | None = None,
    password: str = PASSWORD,
    timeout: float = 1,
    closed_addresses: tuple[str, ...] = (),
) -> Health:
    probe = Probe(Connection(url, USERNAME, password, timeout=timeout), management_url or url, closed_addresses)
    try:
        return probe.check()
    finally:
        probe.close()


def closed_port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


def test_healthy(server: FakeKestra) -> None:
    health = check(server.url)
    assert health == Health("UP", "UP", "UP", "UNKNOWN", "UP", "UP", "2.0.5", "OSS")
    assert health.healthy
    management = [r for r in server.requests if "/health" in r]
    assert len(management) == 3


def test_credentials_are_not_sent_to_the_management_port(server: FakeKestra) -> None:
    with FakeKestra() as management:
        check(server.url, management.url)
        assert management.authorizations == {None}


def test_details_are_read_where_they_are_shown(server: FakeKestra) -> None:
    body = {**DETAILS, "status": "UP"}
    body["details"] = {**DETAILS["details"], "jdbc": {"status": "UP"}}  # type: ignore[dict-item]
    server.health["/health"] = Answer(200, body)
    assert check(server.url).disk == "UP"


def test_a_failing_database(server: FakeKestra) -> None:
    server.health["/health"] = server.health["/health/readiness"] = Answer(503, DETAILS)
    health = check(server.url)
    assert (health.liveness, health.readiness, health.database, health.disk) == ("UP", "DOWN", "DOWN", "UP")
    assert "/health/readiness answers HTTP 503, failing: jdbc" in health.reasons[0]


def test_failing_without_details(server: FakeKestra) -> None:
    server.health["/health/readiness"] = Answer(503, {"name": "kestra", "status": "DOWN"})
    health = check(server.url)
    assert health.reasons == (
        "management port: /health/readiness answers HTTP 503, status DOWN, without saying which part fails",
    )
    server.health["/health/readiness"] = Answer(500, {"message": "Failed to obtain JDBC Connection"})
    assert "Failed to obtain JDBC Connection" in check(server.url).reasons[0]


def test_a_server_without_readiness(server: FakeKestra) -> None:
    del server.health["/health/readiness"]
    server.prepare("GET /health/readiness", Answer(404, {"message": "Not Found"}))
    assert check(server.url).healthy


def test_something_else_on_the_management_port(server: FakeKestra) -> None:
    server.health.clear()
    server.prepare("GET /health", Answer(404), Answer(404))
    assert "is management_url right?" in check(server.url).reasons[0]


def test_management_port_closed(server: FakeKestra) -> None:
    health = check(server.url, closed_port())
    assert (health.liveness, health.readiness) == ("DOWN", "DOWN")
    assert "management port: connection refused" in health.reasons[0]


def test_management_port_open_and_silent(server: FakeKestra) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        health = check(server.url, f"http://127.0.0.1:{silent.getsockname()[1]}", timeout=0.3)
    assert "is open, but nothing answers" in health.reasons[0]
    assert "PostgreSQL was restarted" in health.reasons[0]


def test_api_closed_while_management_is_ready(server: FakeKestra) -> None:
    health = check(closed_port(), server.url)
    assert (health.readiness, health.api, health.credentials) == ("UP", "DOWN", "UNKNOWN")
    assert "API: connection refused" in health.reasons[0]


def test_refused_credentials(server: FakeKestra) -> None:
    health = check(server.url, password="wrong")
    assert (health.readiness, health.api, health.credentials) == ("UP", "UP", "DOWN")
    assert health.reasons[0].startswith("credentials: HTTP 401")


def test_indicators_of_odd_bodies() -> None:
    assert indicators(None) == indicators([]) == indicators({"details": []}) == indicators({"details": {"a": 1}}) == {}


# What a host with one interface and Docker has: addresses and networks, each in both of the kernel's tables.
FIB_TRIE = """\
Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 127.0.0.0/8 2 0 2
           |-- 127.0.0.0
              /8 host LOCAL
           |-- 127.0.0.1
              /32 host LOCAL
     +-- 172.17.0.0/31 1 0 0
        |-- 172.17.0.0
           /16 link UNICAST
        |-- 172.17.0.1
           /32 host LOCAL
     |-- 172.17.255.255
        /32 link BROADCAST
     |-- 192.0.2.10
        /32 host LOCAL
Local:
     |-- 192.0.2.10
        /32 host LOCAL
     |-- 169.254.3.4
        /32 host LOCAL
"""
IF_INET6 = """\
00000000000000000000000000000001 01 80 10 80       lo
20010db8000000000000000000000010 02 40 00 80     eth0
fe8000000000000000fc00fffe000001 02 40 20 80     eth0
"""


def test_addresses_of_the_host(tmp_path: Path) -> None:
    assert host_addresses(tmp_path) == []
    (tmp_path / "fib_trie").write_text(FIB_TRIE)
    assert host_addresses(tmp_path) == ["172.17.0.1", "192.0.2.10"]
    (tmp_path / "if_inet6").write_text(IF_INET6)
    assert host_addresses(tmp_path) == ["172.17.0.1", "192.0.2.10", "2001:db8::10"]


def test_which_urls_name_this_host() -> None:
    here = ("http://localhost:8081", "http://127.0.0.1:8081", "http://127.1.2.3", "https://[::1]:8081")
    assert all(is_on_this_host(url) for url in here)
    assert not any(is_on_this_host(url) for url in ("http://kestra:8081", "http://192.0.2.10:8081", "nonsense"))


def test_accepting_is_more_than_being_there() -> None:
    with socket.create_server(("127.0.0.2", 0)) as listening:
        port = listening.getsockname()[1]
        assert accepts("127.0.0.2", port)
        assert not accepts("127.0.0.3", port)
    assert not accepts("127.0.0.2", port)
    assert not accepts("no-such-host.invalid", port)


def test_an_open_management_port(server: FakeKestra) -> None:
    """The addresses stand for those of a host; 127.0.0.2 is open there, 127.0.0.3 is closed."""
    port = int(server.url.rpartition(":")[2])
    with socket.create_server(("127.0.0.2", port)):
        health = check(server.url, closed_addresses=("127.0.0.2", "127.0.0.3"))
    assert health.management_exposed == ("127.0.0.2",)
    assert health.reasons == (
        "management port: open at 127.0.0.2, where it should be closed, since it asks for no password. Publish it on "
        "loopback alone, or allow it with management_closed_on",
    )
    assert (health.readiness, health.credentials, health.only_exposed) == ("UP", "UP", True)
    assert check(server.url, closed_addresses=("127.0.0.2", "127.0.0.3")).healthy


def test_an_open_management_port_of_a_server_that_is_not_ready(server: FakeKestra) -> None:
    server.health["/health"] = server.health["/health/readiness"] = Answer(503, DETAILS)
    health = check(server.url, closed_addresses=("127.0.0.1",))
    assert health.management_exposed == ("127.0.0.1",)
    assert len(health.reasons) == 3 and not health.only_exposed


def test_addresses_are_not_tried_while_the_server_is_down() -> None:
    """Something else may listen there meanwhile."""
    closed = closed_port()
    with socket.create_server(("127.0.0.2", int(closed.rpartition(":")[2]))):
        assert check(closed, closed, closed_addresses=("127.0.0.2",)).management_exposed == ()


class Scripted(Probe):
    """A probe whose looks are given, on a clock that only sleeping and looking move."""

    def __init__(self, *looks: Health, seconds: float = 0) -> None:
        self.looks = list(looks)
        self.seconds = seconds
        self.now = 100.0
        self.timeouts: list[float | None] = []

    def check(self, timeout: float | None = None) -> Health:
        self.timeouts.append(timeout)
        self.now += self.seconds
        return self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]

    def wait(self, wait_timeout: float, interval: float = 2) -> tuple[Health, float, int]:
        def sleep(seconds: float) -> None:
            self.now += seconds

        waited = wait_until_healthy(self, wait_timeout, interval, clock=lambda: self.now, sleep=sleep)
        return waited.health, waited.seconds, waited.checks


DOWN = Health(reasons=("down",))
EXPOSED = Health(reasons=("open",), management_exposed=("192.0.2.10",))
REFUSED = Health(credentials="DOWN", reasons=("401",))


def test_waiting_until_it_is_up() -> None:
    assert Scripted(DOWN, DOWN, Health()).wait(60) == (Health(), 4.0, 3)


def test_the_deadline_holds() -> None:
    health, seconds, looks = Scripted(DOWN).wait(9)
    assert health == DOWN and seconds <= 9 and looks == 5


def test_a_look_never_outlasts_the_deadline() -> None:
    probe = Scripted(DOWN, seconds=3)
    probe.wait(10)
    assert probe.timeouts == [10, 5]


def test_without_waiting_there_is_one_look_with_its_own_timeout() -> None:
    probe = Scripted(DOWN)
    assert probe.wait(0) == (DOWN, 0.0, 1)
    assert probe.timeouts == [None]


def test_refused_credentials_end_the_wait() -> None:
    assert Scripted(REFUSED).wait(600)[2] == 3
    assert Scripted(REFUSED, DOWN, REFUSED, REFUSED, Health()).wait(600)[0] == Health()


def test_an_open_management_port_ends_the_wait_once_the_rest_is_up() -> None:
    starting = Health(reasons=("down", "open"), management_exposed=("192.0.2.10",))
    assert Scripted(starting, starting, EXPOSED).wait(600) == (EXPOSED, 4.0, 3)
