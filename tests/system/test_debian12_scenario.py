"""Debian 12, with Docker from its own apt repository: the role's default, checked against a signed test repository."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

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
def converged12(debian12: Host) -> Run:
    return debian12.molecule("converge", about="about 2 minutes").succeeded()


def test_second_run_changes_nothing(debian12: Host, converged12: Run) -> None:
    debian12.molecule("idempotence", about="about 30 s").succeeded()


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
