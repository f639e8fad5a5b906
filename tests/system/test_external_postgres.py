"""A host whose databases are on another machine, over TLS with an authority of its own."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from .conftest import ROOT, Host
from .data import kestra, secrets

CONTAINER = "devorch-database"
# Docker does not forward names without a dot from containers to the DNS of the host.
ADDRESS = "db.example.com"
PASSWORD = "of-the-administrator"
VERSION = yaml.safe_load((ROOT / "roles" / "postgres" / "defaults" / "main.yml").read_text("utf-8"))["postgres_version"]


def run(*command: str) -> str:
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE).stdout.strip()


def certificates(directory: Path) -> None:
    """Write an authority (ca.pem), and a certificate for the name of the database (server.pem, server.key)."""
    (directory / "name").write_text(f"subjectAltName=DNS:{ADDRESS}\n")
    new = ["openssl", "req", "-nodes", "-newkey", "rsa:2048"]
    run(
        *new,
        "-x509",
        "-days",
        "2",
        "-subj",
        "/CN=authority",
        "-keyout",
        f"{directory}/ca.key",
        "-out",
        f"{directory}/ca.pem",
    )
    run(*new, "-subj", f"/CN={ADDRESS}", "-keyout", f"{directory}/server.key", "-out", f"{directory}/server.csr")
    authority = ["-CA", f"{directory}/ca.pem", "-CAkey", f"{directory}/ca.key", "-CAcreateserial", "-days", "2"]
    request = ["-in", f"{directory}/server.csr", "-extfile", f"{directory}/name"]
    run("openssl", "x509", "-req", *request, *authority, "-out", f"{directory}/server.pem")


@pytest.fixture(scope="module")
def elsewhere(images: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """A PostgreSQL in the network of the test hosts that accepts nothing but TLS."""
    directory = tmp_path_factory.mktemp("certificates")
    certificates(directory)
    labels = ["--label", "devorch.test=1", "--network", "devorch-test", "--network-alias", ADDRESS]
    login = ["--env", f"POSTGRES_PASSWORD={PASSWORD}", "--env", "POSTGRES_USER=provisioner"]
    run("docker", "rm", "--force", "--volumes", CONTAINER)
    run("docker", "run", "--detach", "--name", CONTAINER, *labels, *login, f"postgres:{VERSION}")
    ready = "until psql -h 127.0.0.1 -U provisioner -tAc 'select 1' >/dev/null 2>&1; do sleep 0.2; done"
    run("docker", "exec", "--env", f"PGPASSWORD={PASSWORD}", CONTAINER, "timeout", "60", "sh", "-c", ready)
    for name in ("server.pem", "server.key"):
        run("docker", "cp", str(directory / name), f"{CONTAINER}:/var/lib/postgresql/{name}")
    script = (
        "cd /var/lib/postgresql && chown postgres server.* && chmod 600 server.key"
        " && sed -i 's/^host /hostssl /' $PGDATA/pg_hba.conf"
        " && printf \"ssl = on\\nssl_cert_file = '$PWD/server.pem'\\nssl_key_file = '$PWD/server.key'\\n\""
        " >> $PGDATA/postgresql.conf"
    )
    run("docker", "exec", "--user", "root", CONTAINER, "sh", "-c", script)
    run("docker", "restart", CONTAINER)
    run("docker", "exec", "--env", f"PGPASSWORD={PASSWORD}", CONTAINER, "timeout", "60", "sh", "-c", ready)
    yield {"host": ADDRESS, "ca": str(directory / "ca.pem"), "user": "provisioner", "password": PASSWORD}
    run("docker", "rm", "--force", "--volumes", CONTAINER)


@pytest.fixture(scope="module")
def bare(elsewhere: dict[str, Any], say: Any) -> Iterator[Host]:
    """A host without Docker."""
    yield from Host.made("default", say)


def sql(database: str, query: str) -> str:
    return run("docker", "exec", CONTAINER, "psql", "-U", "provisioner", "-d", database, "-tAc", query)


def test_services_use_it_over_tls_and_leave_it_to_its_owner(bare: Host, elsewhere: dict[str, Any]) -> None:
    variables: dict[str, Any] = {"postgres_external": elsewhere}
    refused = bare.site(variables, about="about 20 s")
    assert refused.code != 0 and "backup_state" in refused.output
    bare.shell("! command -v dockerd; ! test -e /opt/orchestration")

    variables["backup_state"] = "absent"
    bare.site(variables, about="about 4 minutes").succeeded()
    assert {name: bare.health(name) for name in ("kestra", "n8n")} == {"kestra": "healthy", "n8n": "healthy"}
    assert "postgres" not in bare.shell("docker ps --all --format '{{.Names}}'")
    assert kestra(bare, "/api/v1/main/flows/search")["total"] == 3
    assert int(sql("n8n", 'select count(*) from "user"')) == 1
    encrypted = (
        "select count(*), bool_and(ssl) from pg_stat_ssl join pg_stat_activity using (pid)"
        " where usename in ('kestra', 'n8n')"
    )
    count, ssl = sql("postgres", encrypted).split("|")
    assert int(count) >= 2 and ssl == "t"
    assert bare.site(variables, about="about 20 s").succeeded().recap["changed"] == 0

    # The administrator's login is not needed any more, and is on the host nowhere.
    alone = {name: value for name, value in elsewhere.items() if name not in ("user", "password")}
    later = {"postgres_external": alone, "backup_state": "absent"}
    assert bare.site(later, about="about 20 s").succeeded().recap["changed"] == 0
    assert bare.shell(f"grep -rlF {PASSWORD} /opt/orchestration /etc || true") == ""

    for playbook in ("backup", "verify_backup"):
        assert bare.playbook(playbook, later, about="about 10 s").code != 0
    doctor = bare.playbook("doctor", later, about="about 20 s").succeeded()
    assert "makes no backup" in " ".join(doctor.output.split())

    before = secrets(bare)
    renewed = {**variables, "rotate_secrets": ["kestra_database_password"]}
    bare.playbook("rotate_secrets", renewed, about="about a minute").succeeded()
    after = secrets(bare)
    assert {name for name in before if before[name] != after[name]} == {"kestra_database_password"}
    assert kestra(bare, "/api/v1/main/flows/search")["total"] == 3

    purged = {**later, "kestra_state": "absent", "kestra_purge_data": True}
    bare.site(purged, about="about a minute").succeeded()
    assert sql("postgres", "select count(*) from pg_database where datname in ('kestra', 'n8n')") == "2"
    bare.site(later, about="about 2 minutes").succeeded()
    assert kestra(bare, "/api/v1/main/flows/search")["total"] == 3


def test_another_server_is_refused(bare: Host, elsewhere: dict[str, Any]) -> None:
    """Its databases would be empty."""
    run = bare.site(
        {"postgres_external": elsewhere | {"host": "other.example.com"}, "backup_state": "absent"}, about="10 s"
    )
    assert run.code != 0 and "versions/postgres" in run.output
    run = bare.site({}, about="about 10 s")
    assert run.code != 0 and "versions/postgres" in run.output
