"""What an operator finds on a converged host."""

from __future__ import annotations

import pytest

ROOT = "/opt/orchestration"


@pytest.mark.parametrize("name", ["docker", "orchestration-sidecar", "orchestration-watchdog.timer"])
def test_service_runs_and_is_enabled(host, name):
    service = host.service(name)
    assert service.is_running
    assert service.is_enabled


@pytest.mark.parametrize(
    ("path", "mode"),
    [("", 0o755), ("/secrets", 0o700), ("/env", 0o700), ("/data", 0o700), ("/rollback", 0o700), ("/services", 0o755)],
)
def test_directory(host, path, mode):
    directory = host.file(ROOT + path)
    assert directory.is_directory
    assert (directory.user, directory.mode) == ("root", mode)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        (f"{ROOT}/secrets/*", "root root 600"),
        (f"{ROOT}/env/*", "root root 600"),
        # Kestra does not run as root, and reads its configuration by the group.
        (f"{ROOT}/kestra-config", "root root 750"),
        (f"{ROOT}/kestra-config/*", "root root 640"),
    ],
)
def test_files_with_secrets_are_private(host, pattern, expected):
    listed = host.check_output(f"stat --format '%U %G %a' {pattern}").splitlines()
    assert listed
    assert set(listed) == {expected}
    assert host.group("root").members == []


@pytest.mark.parametrize("port", [8080, 8081, 5678, 8090])
def test_listens_on_loopback(host, port):
    assert host.socket(f"tcp://127.0.0.1:{port}").is_listening
    assert not host.socket(f"tcp://0.0.0.0:{port}").is_listening


def test_logs_rotate(host):
    driver = host.check_output(
        "docker inspect --format '{{.HostConfig.LogConfig.Type}} {{index .HostConfig.LogConfig.Config \"max-size\"}}'"
        " orchestration-kestra-1"
    )
    assert driver == "json-file 10m"


@pytest.mark.parametrize("role", ["kestra", "n8n"])
def test_roles_own_their_database_and_no_other(host, role):
    def query(database):
        return host.run(
            f'cd {ROOT} && PGPASSWORD="$(cat secrets/{role}_database_password)" docker compose exec -T -e PGPASSWORD'
            f" postgres psql -h postgres -U {role} -d {database} -tAc 'select current_user'"
        )

    other = {"kestra": "n8n", "n8n": "kestra"}[role]
    assert query(role).stdout.strip() == role
    refused = query(other)
    assert refused.rc != 0
    assert "permission denied for database" in refused.stderr


def test_n8n_serves_its_page(host):
    page = host.check_output("curl -sS --fail http://127.0.0.1:5678/")
    assert "<title>" in page
    assert "n8n" in page


def test_kestra_asks_for_a_login(host):
    status = "curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:8080/api/v1/main/flows/search"
    assert host.check_output(status) == "401"
