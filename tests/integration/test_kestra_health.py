"""`kestra_health` on a live Kestra."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.health import host_addresses

from ..unit.playbook import Played, play
from .kestra import Kestra, docker, wait_until


def look(kestra: Kestra, tmp_path: Path, *arguments: str, **options: Any) -> Played:
    options = {
        "url": kestra.url,
        "management_url": kestra.management_url,
        "username": kestra.username,
        "password": kestra.password,
        "wait_timeout": 0,
        **options,
    }
    task = {"name": "Look", "devorch.orchestration.kestra_health": options, "ignore_errors": True}
    played = play(tmp_path, [task], *arguments)
    assert kestra.password not in played.output and "Traceback" not in played.output
    return played


def test_healthy(either: Kestra, tmp_path: Path) -> None:
    real = look(either, tmp_path).last
    checked = look(either, tmp_path, "--check").last
    assert set(real) == set(checked) and not real["changed"]
    for part in ("liveness", "readiness", "database", "api", "credentials"):
        assert real[part] == checked[part] == "UP"
    # 2.x does not tell everybody about its parts.
    assert real["disk"] == checked["disk"] == ("UP" if either.dialect == "1.3" else "UNKNOWN")
    assert real["version"].startswith(either.dialect[:2]) and real["edition"] == "OSS"
    assert real["reasons"] == real["management_exposed"] == []


def test_a_management_port_that_is_open_to_others(kestra: Kestra, tmp_path: Path) -> None:
    """Docker publishes it on loopback; something else stands for a publication on one of the host's addresses."""
    address = host_addresses()[0]
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    port = int(kestra.management_url.rpartition(":")[2])
    with socket.create_server((address, port), family=family):
        found = look(kestra, tmp_path, wait_timeout=60).last
        allowed = look(kestra, tmp_path, management_closed_on=[]).last
    assert found["failed"] and found["attempts"] == 1
    assert found["management_exposed"] == [address]
    assert f"management port: open at {address}, where it should be closed" in found["msg"]
    assert all(found[part] == "UP" for part in ("readiness", "api", "credentials"))
    assert not allowed.get("failed") and allowed["management_exposed"] == []
    named = look(kestra, tmp_path, management_closed_on=["127.0.0.1"]).last
    assert named["failed"] and named["management_exposed"] == ["127.0.0.1"]


def test_refused_credentials(kestra: Kestra, tmp_path: Path) -> None:
    result = look(kestra, tmp_path, password="Wrong1234").last
    assert result["failed"] and result["credentials"] == "DOWN" and result["readiness"] == "UP"
    assert "HTTP 401" in result["msg"]


def test_a_server_that_is_stopped_and_started_again(kestra: Kestra, tmp_path: Path) -> None:
    # With the first version of control groups a busy machine needs more than one attempt.
    name = kestra.container
    wait_until("Docker has frozen it", lambda: docker("pause", name, check=False) == name, 60)
    try:
        hanging = look(kestra, tmp_path, timeout=2).last
    finally:
        docker("unpause", name)
    assert hanging["failed"] and "is open, but nothing answers within 2 seconds" in hanging["msg"]
    assert not look(kestra, tmp_path, wait_timeout=60).last.get("failed")
