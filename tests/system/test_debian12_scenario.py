"""Debian 12, with Docker from its own apt repository: the role's default, checked against a signed test repository."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ..sampling import LONG
from .conftest import Host, Run


@pytest.fixture(scope="module")
def debian12(images: None, say: Callable[[str], None]) -> Iterator[Host]:
    yield from Host.made("debian12", say)


def test_key_with_another_fingerprint_is_refused(debian12: Host) -> None:
    run = debian12.site({"fingerprint": "0" * 40}, about="about 30 s")
    assert run.code != 0
    text = " ".join(run.output.split())
    assert "docker_repository_key_fingerprint: the key at http://aptrepo/linux/debian/gpg has the fingerprint" in text
    debian12.shell("! ls /etc/apt/keyrings /etc/apt/sources.list.d | grep docker")
    debian12.shell("! command -v dockerd")


@pytest.fixture(scope="module")
def proxy(debian12: Host) -> dict[str, str]:
    """Variables with a proxy on the host that writes down what it is asked; none without DEVORCH_LONG."""
    if not LONG:
        return {}
    debian12.put(Path(__file__).with_name("recording_proxy.py"), "/root/recording_proxy.py")
    debian12.shell("systemd-run --unit=proxy python3 /root/recording_proxy.py 3128 /root/proxy.log")
    address = f"http://{debian12.shell('hostname --ip-address').split()[0]}:3128"
    return {"orchestration_http_proxy": address, "orchestration_https_proxy": address}


@pytest.fixture(scope="module")
def converged12(debian12: Host, proxy: dict[str, str]) -> Run:
    return debian12.site(proxy, about="about 2 minutes").succeeded()


def test_second_run_changes_nothing(debian12: Host, converged12: Run, proxy: dict[str, str]) -> None:
    assert debian12.site(proxy, about="about 30 s").succeeded().recap["changed"] == 0


if LONG:

    def test_all_is_fetched_through_the_proxy_and_no_health_asked_there(debian12: Host, converged12: Run) -> None:
        asked = debian12.shell("cat /root/proxy.log").splitlines()
        # The key and the packages of Docker; images; wheels.
        for part in (
            "http://aptrepo/linux/debian/gpg",
            "docker-ce_",
            "http://registry:5000/v2/library/postgres/",
            "CONNECT ",
        ):
            assert [line for line in asked if part in line], f"{part} is not in {asked[:50]}"
        assert [line for line in asked if "127.0.0.1" in line or "localhost" in line] == []
        address = f"http://{debian12.shell('hostname --ip-address').split()[0]}:3128"
        inside = debian12.shell("docker exec orchestration-postgres-1 env")
        assert f"http_proxy={address}" in inside and "NO_PROXY=localhost,127.0.0.1,::1,postgres" in inside


def test_host_is_as_described(debian12: Host, converged12: Run) -> None:
    debian12.molecule("verify", about="about 10 s").succeeded()


def test_docker_is_removed_after_what_runs_in_it(debian12: Host, converged12: Run) -> None:
    refused = debian12.site({"docker_state": "absent"}, about="about 20 s")
    assert refused.code != 0
    assert "docker_state: services of /opt/orchestration/compose.yml run in Docker" in " ".join(refused.output.split())
    services = dict.fromkeys(["postgres_state", "sidecar_state"], "absent")
    nobody = {"kestra_state": "absent", "n8n_state": "absent"}
    debian12.site(services | nobody, about="about 20 s").succeeded()
    everything = services | nobody | {"docker_state": "absent"}
    debian12.site(everything, about="about 30 s").succeeded()
    debian12.shell("! command -v dockerd")
    assert debian12.shell("ls /opt/orchestration/data") == "postgres"
    assert debian12.site(everything, about="about 20 s").succeeded().recap["changed"] == 0


def test_data_go_when_asked_and_only_with_their_service(debian12: Host, converged12: Run) -> None:
    """After Docker was removed with its data kept."""
    roles = ["docker", "postgres", "sidecar", "kestra", "n8n"]
    purge = {f"{role}_purge_data": True for role in roles}
    refused = debian12.site(purge, about="about 10 s")
    assert refused.code != 0
    assert "docker_purge_data: is true, and docker_state is 'present'" in " ".join(refused.output.split())
    assert debian12.shell("ls /opt/orchestration/data") == "postgres"
    everything = purge | {f"{role}_state": "absent" for role in roles}
    debian12.site(everything, about="about 20 s").succeeded()
    assert debian12.shell("ls -A /opt /var/lib/docker /var/lib/containerd").split() == [
        "/opt:",
        "/var/lib/containerd:",
        "/var/lib/docker:",
    ]
    assert debian12.site(everything, about="about 20 s").succeeded().recap["changed"] == 0
