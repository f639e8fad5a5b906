"""Day two on the host of the default scenario: backup, verification and restore, item by item."""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ..sampling import LONG
from .conftest import Host, Run

ROOT = "/opt/orchestration"
API = "http://127.0.0.1:8080/api/v1/main"
FLOW = """\
id: kept
namespace: company.team
tasks:
  - id: log
    type: io.kestra.plugin.core.log.Log
    message: "{{ kv('number') }}"
"""
CREDENTIALS = [
    {"id": "one", "name": "first", "type": "httpBasicAuth", "data": {"user": "u", "password": "plain-one"}},
    {"id": "two", "name": "second", "type": "httpHeaderAuth", "data": {"name": "X-Token", "value": "plain-two"}},
]
NODE = {"id": "n", "name": "Start", "type": "n8n-nodes-base.manualTrigger", "typeVersion": 1, "position": [0, 0]}
WORKFLOWS = [
    {"id": "w1", "name": "first", "active": False, "nodes": [NODE | {"parameters": {}}], "connections": {}},
    {"id": "w2", "name": "second", "active": False, "nodes": [], "connections": {}},
]


def curl(host: Host, path: str, *options: str) -> str:
    login = f'printf "user = admin@example.com:%s" "$(cat {ROOT}/secrets/kestra_password)"'
    return host.shell(f"{login} | curl -sS --fail -K - {shlex.join(options)} {shlex.quote(API + path)}")


def put(host: Host, path: str, content: str) -> None:
    command = ["docker", "exec", "-i", host.name, "sh", "-c", f"cat > {path}"]
    subprocess.run(command, input=content, text=True, check=True)


def n8n(host: Host, *arguments: str) -> str:
    """Run n8n's own command in its container; files are in /tmp there."""
    return host.shell(f"cd {ROOT} && docker compose exec -T n8n n8n {shlex.join(arguments)}")


def rows(host: Host, query: str) -> Any:
    """Ask n8n's database for JSON."""
    psql = f"cd {ROOT} && docker compose exec -T postgres psql -XqAt -U postgres -d n8n -c"
    return json.loads(host.shell(f"{psql} {shlex.quote(query)}"))


def seed(host: Host) -> None:
    """Put a flow, an execution, a key, a file, workflows and credentials on the host."""
    put(host, "/root/flow.yml", FLOW)
    curl(host, "/flows", "-H", "Content-Type: application/x-yaml", "--data-binary", "@/root/flow.yml")
    curl(host, "/namespaces/company.team/kv/number", "-X", "PUT", "-H", "Content-Type: text/plain", "--data", "42")
    curl(host, "/namespaces/company.team/files?path=/notes.yml", "-F", "fileContent=@/root/flow.yml")
    curl(host, "/executions/company.team/kept?wait=true", "-X", "POST")
    for kind, items in (("credentials", CREDENTIALS), ("workflow", WORKFLOWS)):
        put(host, f"/root/{kind}.json", json.dumps(items))
        host.shell(f"cd {ROOT} && docker compose cp /root/{kind}.json n8n:/tmp/{kind}.json")
        n8n(host, f"import:{kind}", f"--input=/tmp/{kind}.json")


def state(host: Host) -> dict[str, Any]:
    """Return everything that a backup has to bring back, without what needs n8n's key."""
    flows = json.loads(curl(host, "/flows/search?size=100"))["results"]
    executions = json.loads(curl(host, "/executions/search?size=100"))["results"]
    return {
        "flows": sorted((flow["namespace"], flow["id"], flow["revision"]) for flow in flows),
        "source": json.loads(curl(host, "/flows/company.team/kept?source=true"))["source"],
        "executions": {one["id"]: one for one in executions if one["namespace"] == "company.team"},
        "key": json.loads(curl(host, "/namespaces/company.team/kv/number")),
        "file": curl(host, "/namespaces/company.team/files?path=/notes.yml"),
        "workflows": rows(host, "SELECT json_agg(t ORDER BY id) FROM workflow_entity t"),
        "credentials": rows(host, "SELECT json_agg(t ORDER BY id) FROM credentials_entity t"),
        "secrets": host.shell(f"cd {ROOT}/secrets && sha256sum *"),
    }


def decrypted(host: Host) -> dict[str, Any]:
    """Return n8n's credentials as its key opens them."""
    found = json.loads(n8n(host, "export:credentials", "--all", "--decrypted").splitlines()[-1])
    return {one["id"]: one["data"] for one in found}


@pytest.fixture(scope="module")
def seeded(host: Host, converged: Run) -> dict[str, Any]:
    seed(host)
    found = state(host)
    assert found["source"] == FLOW
    assert len(found["executions"]) == 1 and len(found["workflows"]) == len(found["credentials"]) == 2
    return found


@pytest.fixture(scope="module")
def key(host: Host, converged: Run, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """The public key, and the file with the private key, of age."""
    host.shell("apt-get -qq update && apt-get install -qq --yes age >/dev/null")
    path = tmp_path_factory.mktemp("age") / "identity"
    path.touch(0o600)
    path.write_text(host.shell("age-keygen 2>/dev/null"), encoding="utf-8")
    return path.read_text("utf-8").split("public key: ")[1].splitlines()[0], path


def last(host: Host) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(host.shell(f"cat {ROOT}/backups/last.json"))
    return found


@pytest.fixture(scope="module")
def archive(
    host: Host, seeded: dict[str, Any], key: tuple[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """An encrypted archive, fetched to the controller."""
    directory = tmp_path_factory.mktemp("archives")
    how = {"backup_encryption": "age", "backup_recipients": [key[0]], "backup_pause": True}
    host.playbook("backup", how | {"backup_fetch": str(directory)}, about="about 40 s").succeeded()
    (path,) = directory.iterdir()
    return path


def test_backup_is_encrypted_private_and_remembered(host: Host, archive: Path) -> None:
    marker = last(host)
    assert Path(marker["archive"]).name == archive.name and marker["verified"] is None
    assert host.shell(f"stat -c '%U %a' {marker['archive']} {ROOT}/backups") == "root 600\nroot 700"
    assert archive.read_bytes().startswith(b"age-encryption.org")
    assert host.shell(f"sha256sum < {marker['archive']}").split()[0] == marker["sha256"]
    host.wait("Kestra is healthy again", lambda: host.health("kestra") == "healthy", 60)


def test_timer_runs_the_same_program(host: Host, archive: Path) -> None:
    assert host.shell("systemctl is-enabled orchestration-backup.timer") == "enabled"
    before = last(host)
    host.shell("systemctl start orchestration-backup.service")
    assert last(host)["finished"] > before["finished"]


def test_damaged_archive_leaves_the_host_alone(
    host: Host, archive: Path, key: tuple[str, Path], tmp_path: Path
) -> None:
    damaged = tmp_path / archive.name.replace("orchestration-", "orchestration-damaged-")
    damaged.write_bytes(archive.read_bytes()[:-100])
    started = host.shell("docker inspect --format '{{.State.StartedAt}}' $(docker ps --quiet)")
    run = host.playbook("restore", {"backup_upload": str(damaged), "backup_identity": str(key[1])}, about="about 20 s")
    assert run.code != 0
    assert "age cannot decrypt it" in run.output
    assert host.shell("docker inspect --format '{{.State.StartedAt}}' $(docker ps --quiet)") == started
    host.shell("! ls /run/orchestration-backup.identity")


def test_verification_counts_what_is_in_the_archive(
    host: Host, archive: Path, seeded: dict[str, Any], key: tuple[str, Path]
) -> None:
    before = host.shell("docker ps --all --format '{{.ID}}'; docker network ls --quiet")
    run = host.playbook("verify_backup", {"backup_identity": str(key[1])}, about="about a minute").succeeded()
    found = last(host)
    assert found["verified"] >= found["finished"]
    assert found["counts"]["flows"] == len(seeded["flows"])
    assert found["counts"]["executions"] >= len(seeded["executions"])
    assert (found["counts"]["workflows"], found["counts"]["credentials"], found["counts"]["decrypted"]) == (2, 2, 2)
    assert host.shell("docker ps --all --format '{{.ID}}'; docker network ls --quiet") == before
    assert "plain-one" not in run.output


def test_restore_on_a_new_host_brings_back_every_item(
    host: Host, archive: Path, seeded: dict[str, Any], key: tuple[str, Path]
) -> None:
    if LONG:
        host.molecule("destroy", about="seconds").succeeded()
        host.molecule("create", about="seconds").succeeded()
    else:
        # Everything of ours; the images stay, which saves minutes.
        host.shell(
            f"cd {ROOT} && docker compose down; systemctl disable --now orchestration-backup.timer"
            " orchestration-watchdog.timer orchestration-sidecar.socket orchestration-sidecar.service;"
            f" rm -rf {ROOT} /etc/systemd/system/orchestration-*; systemctl daemon-reload"
        )
    variables = {"backup_upload": str(archive), "backup_identity": str(key[1])}
    host.playbook("restore", variables, about="about 3 minutes").succeeded()
    assert state(host) == seeded
    assert decrypted(host) == {one["id"]: one["data"] for one in CREDENTIALS}
    again = host.playbook("site", {}, about="about a minute").succeeded()
    assert again.recap["changed"] == 0
