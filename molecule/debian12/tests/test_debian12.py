"""What Docker's own repository and the roles on it leave behind."""

from __future__ import annotations


def test_repository_is_signed_by_the_checked_key(host):
    source = host.file("/etc/apt/sources.list.d/docker.sources")
    assert source.mode == 0o644
    assert "Signed-By: /etc/apt/keyrings/docker.asc" in source.content_string
    assert "[trusted" not in source.content_string


def test_docker_comes_from_it(host):
    policy = host.check_output("apt-cache policy docker-ce docker-compose-plugin")
    assert policy.count("aptrepo/linux/debian bookworm/stable") >= 2
    assert host.package("docker-ce").is_installed


def test_services_answer(host):
    project = "cd /opt/orchestration && docker compose"
    assert "healthy" in host.check_output(f"{project} ps --format '{{{{.Health}}}}' postgres")
    assert host.service("orchestration-sidecar").is_running
