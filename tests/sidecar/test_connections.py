"""The sidecar's connections: who may connect, how many, and for how long without a request.

5,000 idle and 200 slow ones with DEVORCH_LONG=1, otherwise fewer.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import ipaddress
import resource
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.sampling import LONG

from .service import FILES, Service, bearer

sys.path.insert(0, str(FILES / "src"))

from multipass_sidecar import connections, settings
from multipass_sidecar.connections import interface_of, is_near, is_own

IDLE, SLOW, LAUNCHES = (5000, 200, 20) if LONG else (1200, 60, 6)
PER_ADDRESS = 200
ROUTES = """Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t01B1A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
br-0123456789ab\t000012AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
br-lan\t000014AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
eth0\t00B1A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
"""


@pytest.mark.parametrize(
    ("client", "interface", "near"),
    [
        ("172.17.0.5", "docker0", True),
        ("172.18.3.4", "br-0123456789ab", True),
        ("172.20.0.9", "br-lan", False),
        ("192.168.177.2", "eth0", False),
        ("203.0.113.7", "eth0", False),
    ],
)
def test_only_the_networks_of_docker_are_near(client: str, interface: str, near: bool) -> None:
    assert interface_of(ipaddress.IPv4Address(client), ROUTES) == interface
    assert is_near(client, ROUTES, []) is near
    assert is_near(f"::ffff:{client}", ROUTES, []) is near
    assert is_near(client, ROUTES, [interface])


def test_this_host_is_near_and_a_neighbour_in_ipv6_is_not() -> None:
    assert is_near("127.0.0.1", ROUTES, []) and is_near("::1", "Iface\n", [])
    assert not is_near("fe80::1%eth0", ROUTES, []) and not is_near("172.17.0.5", "Iface\n", [])


def test_any_address_of_this_host_is_its_own() -> None:
    """A program of the host may connect from any of them to the address of a bridge."""
    assert is_own("127.0.0.9") and is_own("::ffff:127.0.0.9") and is_own("::1")
    assert not is_own("203.0.113.7") and not is_own("::ffff:203.0.113.7") and not is_own("2001:db8::7")


@pytest.fixture(scope="module")
def files() -> Iterator[None]:
    """Let this process and the service have as many connections as the test needs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = IDLE + SLOW + 1000
    if hard != resource.RLIM_INFINITY and hard < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
    else:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def connect(service: Service, number: int, data: bytes = b"") -> tuple[Any, asyncio.StreamWriter]:
    """Open a connection from one of the addresses of the loopback interface."""
    source = f"127.0.{1 + number // PER_ADDRESS}.1"
    reader, writer = await asyncio.open_connection(service.host, service.port, local_addr=(source, 0))
    writer.write(data)
    return reader, writer


async def trickle(writer: asyncio.StreamWriter, until: float) -> None:
    """Send a byte now and then."""
    with contextlib.suppress(OSError):
        while time.monotonic() < until:
            await asyncio.sleep(1)
            writer.write(b"x")
            await writer.drain()


async def attack(service: Service, names: list[str]) -> tuple[float, int]:
    """Launch instances among idle and slow connections; return how long /health took, and how many were closed."""
    body = b"POST /instances HTTP/1.1\r\nHost: x\r\nAuthorization: %s\r\nContent-Length: 100000\r\n\r\n{"
    body %= bearer()["Authorization"].encode()
    opened = []
    for number in range(IDLE):
        opened.append(await connect(service, number, b"" if number % 2 else b"GET /health HTTP/1.1\r\nHost: x\r\n"))
    until = time.monotonic() + 8
    slow = [
        await connect(service, IDLE + number, body if number % 2 else b"GET /health HTTP/1.1\r\nA: ")
        for number in range(SLOW)
    ]
    trickles = [asyncio.create_task(trickle(writer, until)) for _reader, writer in slow]
    slowest = 0.0
    limits = httpx.Limits(max_connections=LAUNCHES + 5, max_keepalive_connections=0)
    async with httpx.AsyncClient(base_url=service.url, headers=bearer(), timeout=60, limits=limits) as client:
        launches = [asyncio.create_task(client.post("/instances", json={"name": name})) for name in names]
        while time.monotonic() < until:
            began = time.monotonic()
            assert (await client.get("/health")).status_code == 200
            slowest = max(slowest, time.monotonic() - began)
            await asyncio.sleep(0.2)
        for answer in await asyncio.gather(*launches):
            found = await client.get(answer.headers["location"], params={"wait": 60})
            assert found.json()["state"] == "succeeded", found.text
    await asyncio.gather(*trickles)
    closed = 0
    for reader, writer in opened:
        with contextlib.suppress(OSError, TimeoutError):
            closed += await asyncio.wait_for(reader.read(), 0.2 if closed else 10) == b""
        writer.close()
    for _reader, writer in slow:
        writer.close()
    return slowest, closed


@pytest.mark.usefixtures("files")
def test_idle_and_slow_connections_delay_nothing_and_are_closed(tmp_path: Path, say: Any) -> None:
    """The load of the machine varies, so the best of up to three rounds counts."""
    with Service(tmp_path, head_timeout=3, max_parallel=4) as sidecar:
        sidecar.world.set(options={"seconds": {"launch": 1}})
        names: list[str] = []
        for _round in range(3):
            more = [f"vm-{len(names) + number}" for number in range(LAUNCHES)]
            names += more
            slowest, closed = asyncio.run(attack(sidecar, more))
            say(f"{IDLE} idle and {SLOW} slow connections during {LAUNCHES} launches: /health within {slowest:.2f} s")
            assert closed == IDLE
            assert sorted(sidecar.world.made()) == sorted(names)
            if slowest < 1:
                break
        assert slowest < 1
        assert "Too many open files" not in sidecar.log()


def attempt(service: Service, source: str) -> socket.socket:
    """Open a connection without a request."""
    return socket.create_connection((service.host, service.port), timeout=5, source_address=(source, 0))


def ended(connection: socket.socket) -> bool:
    """Return whether the service has ended a connection."""
    connection.settimeout(0.5)
    try:
        return connection.recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True


def test_one_address_has_a_limit_and_the_oldest_that_waits_makes_room(tmp_path: Path) -> None:
    with Service(tmp_path, max_connections_per_address=3, max_connections=5, head_timeout=60) as sidecar:
        mine = [attempt(sidecar, "127.0.0.2") for _ in range(4)]
        assert [ended(one) for one in mine] == [True, False, False, False]
        others = [attempt(sidecar, f"127.0.0.{number}") for number in (3, 4, 5)]
        assert [ended(one) for one in others] == [False] * 3
        assert [ended(one) for one in mine[1:]] == [True, False, False]
        assert sidecar.http.get("/health").status_code == 200
        for one in mine + others:
            one.close()


def test_a_neighbour_of_the_host_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    routes = tmp_path / "route"
    routes.write_text(ROUTES)
    monkeypatch.setattr(connections, "ROUTES", routes)
    limits = connections.Connections(settings.Settings(interfaces=["br-lan"]))
    one: Any = object()
    came = ("127.0.0.1", "172.17.0.5", "172.20.0.9", "192.168.177.2")
    assert [limits.enter(one, client) for client in came] == [True, True, True, False]


def test_a_connection_that_is_used_again_has_a_deadline_for_each_head(tmp_path: Path) -> None:
    with Service(tmp_path, head_timeout=1) as sidecar:
        one = http.client.HTTPConnection(sidecar.host, sidecar.port, timeout=10)
        for _ in range(2):
            one.request("GET", "/health")
            assert one.getresponse().read()
            time.sleep(1.5)
        assert one.sock
        one.sock.sendall(b"GET /health HTTP/1.1\r\n")
        began = time.monotonic()
        with contextlib.suppress(ConnectionError):
            assert one.sock.recv(1) == b""
        assert 0.5 < time.monotonic() - began < 5


def test_a_refused_request_does_not_keep_its_connection(tmp_path: Path) -> None:
    """Its body is never read, and a client without a token may send it for ever."""
    with Service(tmp_path, head_timeout=1) as sidecar:
        one = socket.create_connection((sidecar.host, sidecar.port), timeout=10)
        one.sendall(b"POST /instances HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n")
        assert b"401" in one.recv(20)
        deadline = time.monotonic() + 10
        with contextlib.suppress(ConnectionError):
            while time.monotonic() < deadline:
                one.sendall(b"x")
                time.sleep(0.2)
        assert time.monotonic() < deadline


def test_a_client_that_takes_no_data_frees_its_place(tmp_path: Path) -> None:
    with Service(tmp_path, launch_timeout=3, send_timeout=2) as sidecar:
        sidecar.world.set(dev="Running")
        where = {"path": "/home/ubuntu/large"}
        content = b"x" * 30_000_000
        assert sidecar.http.put("/instances/dev/files", params=where, content=content).status_code == 204
        head = f"Host: x\r\nAuthorization: {bearer()['Authorization']}\r\n\r\n"
        request = f"GET /instances/dev/files?path=/home/ubuntu/large HTTP/1.1\r\n{head}"
        stalled = []
        for _ in range(16):
            one = socket.socket()
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            one.connect((sidecar.host, sidecar.port))
            one.sendall(request.encode())
            stalled.append(one)
        deadline = time.monotonic() + 30
        while sidecar.http.post("/instances/dev/exec", json={"argv": ["true"]}).status_code == 503:
            assert time.monotonic() < deadline
            time.sleep(0.5)
        for one in stalled:
            one.close()
