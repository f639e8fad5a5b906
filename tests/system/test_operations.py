"""Day two on the host of the default scenario: backup, verification and restore, item by item."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from ..sampling import LONG, sample
from .conftest import ROOT as COLLECTION
from .conftest import Host, Run

N8N_DEFAULTS = COLLECTION / "roles/n8n/defaults/main.yml"
ROOT = "/opt/orchestration"
API = "http://127.0.0.1:8080/api/v1/main"
STATUS = "docker inspect --format '{{json .State.Status}}'"
ENVIRONMENT = f"{ROOT}/sidecar-data/environments/kept.json"
AS_SIDECAR = "setpriv --reuid=orchestration-sidecar --regid=orchestration-sidecar --clear-groups"
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
# The parts that take minutes.
PARTS = sample(["restore", "upgrade", "secrets"], 1)
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
    """Put a flow, an execution, a key, a file, workflows, credentials and an environment on the host."""
    host.shell(f"{AS_SIDECAR} sh -c 'cat > {ENVIRONMENT}'", given=json.dumps({"instances": [{"name": "kept"}]}))
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
        "environment": host.shell(f"{AS_SIDECAR} cat {ENVIRONMENT}"),
        "secrets": host.shell(f"cd {ROOT}/secrets && sha256sum *"),
    }


def decrypted(host: Host) -> dict[str, Any]:
    """Return n8n's credentials as the key in secrets/ opens them; n8n keeps them in OpenSSL's format."""
    decrypt = f"openssl enc -d -aes-256-cbc -md md5 -a -A -pass file:{ROOT}/secrets/n8n_encryption_key 2>/dev/null"
    stored = rows(host, "SELECT json_object_agg(id, data) FROM credentials_entity")
    return {name: json.loads(host.shell(f"echo {data} | {decrypt}")) for name, data in stored.items()}


def wipe(host: Host) -> None:
    """Remove everything of ours; the images stay, which saves minutes."""
    host.shell(
        f"cd {ROOT} && docker compose down; systemctl disable --now orchestration-backup.timer"
        " orchestration-watchdog.timer orchestration-shutdown.service orchestration-sidecar.socket"
        " orchestration-sidecar.service;"
        f" rm -rf {ROOT} /etc/systemd/system/orchestration-*; systemctl daemon-reload"
    )


@pytest.fixture(scope="module")
def seeded(host: Host, converged: Run) -> dict[str, Any]:
    seed(host)
    found = state(host)
    assert found["source"] == FLOW
    assert len(found["executions"]) == 1 and len(found["workflows"]) == len(found["credentials"]) == 2
    return found


OFFSITE = {"backup_targets": [{"name": "offsite", "repository": "/srv/offsite"}]}


def last(host: Host) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(host.shell(f"cat {ROOT}/backups/last.json"))
    return found


@pytest.fixture(scope="module")
def store(host: Host, seeded: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the local store on the controller. Its backup is in a second store as well."""
    directory = tmp_path_factory.mktemp("stores")
    how = OFFSITE | {"backup_pause": True, "backup_fetch": str(directory)}
    host.playbook("backup", how, about="about 40 s").succeeded()
    return directory / host.name


@pytest.fixture(scope="module")
def keys(host: Host, store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The keys of the host as variables, as export_keys.yml writes them for the owner of an age key."""
    directory = tmp_path_factory.mktemp("keys")
    identity = host.shell("age-keygen 2>/dev/null")
    public = identity.split("public key: ")[1].splitlines()[0]
    variables = {"export_keys_recipients": [public], "export_keys_directory": str(directory)}
    run = host.playbook("export_keys", variables, about="about 10 s").succeeded()
    assert run.recap["changed"] == 1
    encrypted = directory / f"{host.name}.keys.age"
    put(host, "/run/key.txt", identity)
    text = host.shell("age --decrypt --identity /run/key.txt; rm /run/key.txt", given=encrypted.read_text("utf-8"))
    path = directory / "keys.json"
    path.touch(0o600)
    path.write_text(text, encoding="utf-8")
    return path


def test_backup_is_encrypted_private_and_in_each_store(host: Host, store: Path) -> None:
    marker = last(host)
    assert marker["verified"] is None and marker["incomplete"] == []
    assert [(target["name"], target["ok"]) for target in marker["targets"]] == [("local", True), ("offsite", True)]
    assert host.shell(f"stat -c '%U %a' {ROOT}/backups {ROOT}/backups/repository") == "root 700\nroot 700"
    listed = "find . -type f ! -path './locks/*' -exec sha256sum {} + | sort"
    copied = subprocess.run(["sh", "-c", listed], cwd=store, capture_output=True, text=True, check=True).stdout.strip()
    assert host.shell(f"cd {ROOT}/backups/repository && {listed}") == copied
    # What n8n has in plain text, and the secrets.
    for word in ("first", host.shell(f"cat {ROOT}/secrets/n8n_encryption_key")):
        assert not [path for path in store.rglob("*") if path.is_file() and word.encode() in path.read_bytes()]
    host.wait("Kestra is healthy again", lambda: host.health("kestra") == "healthy", 60)


def test_a_second_backup_fetches_only_what_is_new(host: Host, store: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in store.rglob("*") if path.is_file()}
    host.playbook("backup", OFFSITE | {"backup_fetch": str(store.parent)}, about="about 40 s").succeeded()
    after = {path: path.stat().st_mtime_ns for path in store.rglob("*") if path.is_file()}
    assert before.items() <= after.items() and len(after) > len(before)


def test_exported_keys_are_variables_that_only_the_owner_reads(host: Host, keys: Path) -> None:
    found = json.loads(keys.read_text("utf-8"))
    assert set(found) == {"backup_password", "n8n_encryption_key", "kestra_encryption_key"}
    for name, value in found.items():
        assert host.shell(f"cat {ROOT}/secrets/{name}") == value
    assert b"age-encryption.org" not in keys.read_bytes()
    (encrypted,) = keys.parent.glob("*.age")
    assert encrypted.read_text("utf-8").startswith("-----BEGIN AGE ENCRYPTED FILE-----")


def test_timer_runs_the_same_program(host: Host, store: Path) -> None:
    assert host.shell("systemctl is-enabled orchestration-backup.timer") == "enabled"
    before = last(host)
    # As a playbook of another controller holds the host.
    lock = {"run": {"owner": "ops@ci", "controller": "ci", "process": "1-1"}, "taken": 1, "renewed": "now"}
    host.shell(
        "sed \"s/.now./$(cut -d' ' -f1 /proc/uptime)/\" > /run/orchestration.lock"
        " && systemctl start --no-block orchestration-backup.service",
        given=json.dumps(lock),
    )
    journal = "journalctl --no-pager --unit orchestration-backup.service"
    words = "waiting: a playbook of ops@ci is changing this host"
    host.wait("the backup waits for the playbook", lambda: words in host.shell(journal), 30)
    assert last(host) == before
    host.shell("rm /run/orchestration.lock")
    host.wait("the backup is made", lambda: last(host)["finished"] > before["finished"], 120)
    assert last(host)["reason"] == "nightly"


def test_a_killed_backup_leaves_nothing_paused(host: Host, store: Path) -> None:
    """The watchdog ends the pause, whatever has killed the backup."""
    host.wait(
        "no backup runs", lambda: "inactive" in host.shell("systemctl is-active orchestration-backup", False), 120
    )
    host.shell(
        f"cd {ROOT} && docker compose pause n8n && printf '%s' '{{\"services\": [\"n8n\"]}}' > backups/paused.json"
    )
    host.wait("n8n goes on", lambda: '"running"' in host.shell(f"{STATUS} orchestration-n8n-1"), 90)
    # Docker calls a paused container unhealthy, and asks n8n every two minutes.
    host.wait("n8n is healthy again", lambda: host.health("n8n") == "healthy", 240)
    # The record goes last.
    host.wait("the pause is over", lambda: "over" in host.shell(f"test -e {ROOT}/backups/paused.json || echo over"), 90)


def test_verification_counts_what_is_in_the_backup(host: Host, store: Path, seeded: dict[str, Any]) -> None:
    before = host.shell("docker ps --all --format '{{.ID}}'; docker network ls --quiet")
    how = OFFSITE | {"backup_target": "offsite"}
    run = host.playbook("verify_backup", how, about="about a minute").succeeded()
    found = last(host)
    assert found["verified"] >= found["finished"]
    assert found["counts"]["flows"] == len(seeded["flows"])
    assert found["counts"]["executions"] >= len(seeded["executions"])
    assert (found["counts"]["workflows"], found["counts"]["credentials"], found["counts"]["decrypted"]) == (2, 2, 2)
    assert host.shell("docker ps --all --format '{{.ID}}'; docker network ls --quiet") == before
    assert "plain-one" not in run.output


def test_damaged_store_leaves_the_host_alone(host: Host, store: Path) -> None:
    host.shell("file=$(find /srv/offsite/data -type f | sort | head -n 1); chmod u+w $file; truncate --size=-100 $file")
    started = host.shell("docker inspect --format '{{.State.StartedAt}}' $(docker ps --quiet)")
    run = host.playbook("restore", OFFSITE | {"backup_target": "offsite"}, about="about 20 s")
    assert run.code != 0 and "offsite: " in run.output
    assert host.shell("docker inspect --format '{{.State.StartedAt}}' $(docker ps --quiet)") == started


if "restore" in PARTS:

    def test_restore_on_a_new_host_brings_back_every_item(
        host: Host, store: Path, keys: Path, seeded: dict[str, Any]
    ) -> None:
        if LONG:
            host.molecule("destroy", about="seconds").succeeded()
            host.molecule("create", about="seconds").succeeded()
        else:
            wipe(host)
        known = ["--extra-vars", f"@{keys}"]
        host.playbook("restore", {"backup_upload": str(store)}, *known, about="about 3 minutes").succeeded()
        assert state(host) == seeded
        assert decrypted(host) == {one["id"]: one["data"] for one in CREDENTIALS}
        again = host.playbook("site", {}, about="about a minute").succeeded()
        assert again.recap["changed"] == 0


UPGRADES = [
    # What is upgraded, the tag that runs before where it is not the role's, the wanted tag, whether it becomes healthy.
    ("kestra", "", "v2.0.99", False),
    ("kestra", "", "v2.0.99", True),
    ("kestra", "v1.3.9", "v2.0.5", True),
    ("kestra", "v1.3.9", "v2.0.99", False),
    ("n8n", "", "2.99.0", False),
    ("n8n", "", "2.99.0", True),
]


# How a test gets to a version from which upgrade.yml is to start: site.yml refuses the way there.
OTHER_MAJOR = {"orchestration_upgrade": True}


def tagged(host: Host, service: str, version: str, healthy: bool) -> None:
    """Have an image of this tag on the host: that of the service, or one that never becomes healthy."""
    running = host.shell(f"docker inspect --format '{{{{.Config.Image}}}}' orchestration-{service}-1")
    image = running.rpartition(":")[0] + f":{version}"
    change = 'ENTRYPOINT ["sleep", "infinity"]' if not healthy else f"LABEL version={version}"
    if version.startswith("v1.3"):
        change = "ENV TEST_SERVER_DIALECT=1.3"
    host.shell(
        f"id=$(docker create {running}) && docker commit --change {shlex.quote(change)} $id {image} && docker rm $id"
    )


def running(host: Host, service: str) -> str:
    image = host.shell(f"docker inspect --format '{{{{.Config.Image}}}}' orchestration-{service}-1")
    return image.rpartition(":")[2]


if "upgrade" in PARTS:

    @pytest.mark.parametrize(("service", "before", "after", "healthy"), sample(UPGRADES, 1))
    def test_upgrade_keeps_all_data_or_returns(
        host: Host, seeded: dict[str, Any], service: str, before: str, after: str, healthy: bool
    ) -> None:
        own = state(host)
        if before:
            tagged(host, service, before, healthy=True)
            former = {f"{service}_version": before, **OTHER_MAJOR}
            host.playbook("site", former, about="about a minute").succeeded()
        old, found = running(host, service), state(host)
        if after not in host.shell("docker images"):
            tagged(host, service, after, healthy)
        variables = {f"{service}_version": after, "orchestration_start_timeout": 300 if healthy else 30}
        plan = host.playbook("upgrade", variables, "--check", about="about 20 s").succeeded()
        assert f"{service}: docker.io/" in plan.output and "a rollback restores the backup" in " ".join(
            plan.output.split()
        )
        assert running(host, service) == old
        assert "The flows are not checked" not in plan.output
        run = host.playbook("upgrade", variables, about="about 3 minutes")
        if healthy:
            run.succeeded()
            assert running(host, service) == after
            assert host.playbook("upgrade", variables, about="about a minute").succeeded().recap["changed"] == 0
        else:
            assert run.code != 0
            assert "The upgrade failed; the old versions run again with the data from before it" in run.output
            assert f"{service} does not work" in run.output
            assert running(host, service) == old
            assert state(host) == found
        # The next one starts from the role's own version again, in whose way of answering the data are compared.
        host.playbook("site", OTHER_MAJOR, about="about a minute").succeeded()
        # Docker keeps it where it is the role's own version, which runs; any other one that stays fails the next row.
        host.shell(f"docker image rm $(docker images --quiet --filter reference='*/*:{after}') || true")
        assert state(host) == own
        assert decrypted(host) == {one["id"]: one["data"] for one in CREDENTIALS}


@pytest.mark.parametrize(
    ("variables", "message"),
    sample(
        [
            ({"kestra_version": "v1.3.9"}, "older than what runs"),
            ({"kestra_version": "latest"}, "kestra_version: 'latest' is not a full version"),
            ({"kestra_version": "v4.0.0"}, "major versions are not skipped"),
        ],
        1,
    ),
)
def test_forbidden_step_is_refused(host: Host, seeded: dict[str, Any], variables: dict[str, str], message: str) -> None:
    tagged(host, "kestra", variables["kestra_version"], healthy=True)
    run = host.playbook("upgrade", variables, about="about 20 s")
    assert run.code != 0 and run.recap["changed"] == 0
    assert message in " ".join(run.output.split())


def test_site_refuses_another_major_version_for_which_upgrade_makes_a_backup(
    host: Host, seeded: dict[str, Any]
) -> None:
    for service, other in (("kestra", "v1.3.9"), ("n8n", "3.0.0")):
        tagged(host, service, other, healthy=True)
        run = host.playbook("site", {f"{service}_version": other}, about="about 20 s")
        host.shell(f"docker image rm $(docker images --quiet --filter reference='*/*:{other}')")
        assert run.code != 0 and run.recap["changed"] == 0
        assert f"{service}_version: docker.io/" in run.output and "or run upgrade.yml" in " ".join(run.output.split())
    assert state(host) == seeded


if "secrets" in PARTS:

    def test_secrets_are_renewed(host: Host, seeded: dict[str, Any]) -> None:
        def secrets() -> dict[str, str]:
            names = host.shell(f"ls -A {ROOT}/secrets").split()
            return {name: host.shell(f"cat {ROOT}/secrets/{name}") for name in names}

        before, found = secrets(), state(host)
        run = host.playbook("rotate_secrets", {}, "-vvv", "--diff", about="about 2 minutes").succeeded()
        after = secrets()
        kept = {"n8n_encryption_key", "kestra_encryption_key"}
        assert before.keys() == after.keys()
        assert {name for name in before if before[name] == after[name]} == kept
        assert not [name for name, value in (before | after).items() if value in run.output]
        now = state(host)
        assert {name: now[name] for name in now if name != "secrets"} == {
            name: found[name] for name in found if name != "secrets"
        }
        assert host.playbook("site", {}, about="about a minute").succeeded().recap["changed"] == 0
        refused = host.playbook("rotate_secrets", {"rotate_secrets": ["n8n_encryption_key"]}, about="about 10 s")
        assert refused.code != 0 and "n8n_encryption_key can't be renewed" in " ".join(refused.output.split())


if LONG:
    FORMER = {"postgres_version": "16", "n8n_version": "2.40.7"}

    @pytest.fixture(scope="module")
    def former(host: Host, converged: Run) -> dict[str, Any]:
        """The host made anew with the versions before."""
        for image in ("postgres:16", f"n8n:{FORMER['n8n_version']}"):
            for step in ("build", "registry"):
                host.run(sys.executable, "tests/images/cli.py", step, image, about="up to 6 minutes").succeeded()
        wipe(host)
        host.playbook("site", FORMER, about="about 3 minutes").succeeded()
        seed(host)
        return state(host)

    def test_postgres_16_returns_from_a_17_that_never_becomes_healthy(host: Host, former: dict[str, Any]) -> None:
        tagged(host, "postgres", "17.99", healthy=False)
        run = host.playbook("upgrade", FORMER | {"postgres_version": "17.99"}, about="about 5 minutes")
        assert run.code != 0 and "the old versions run again with the data from before it" in run.output
        assert host.shell(f"cat {ROOT}/data/postgres/pgdata/PG_VERSION; ls {ROOT}/data") == "16\nkestra\nn8n\npostgres"
        assert state(host) == former

    def test_postgres_16_to_17_keeps_all_data_and_the_old_cluster(host: Host, former: dict[str, Any]) -> None:
        before = {"n8n_version": FORMER["n8n_version"]}
        refused = host.playbook("site", before, about="about 20 s")
        assert refused.code != 0 and "or run upgrade.yml" in " ".join(refused.output.split())
        run = host.playbook("upgrade", before, about="about 4 minutes").succeeded()
        assert "the databases are dumped and loaded" in " ".join(run.output.split())
        assert host.shell(f"cat {ROOT}/data/postgres/pgdata/PG_VERSION") == "17"
        assert host.shell(f"cat {ROOT}/data/postgres-16.*/pgdata/PG_VERSION") == "16"
        assert state(host) == former
        assert decrypted(host) == {one["id"]: one["data"] for one in CREDENTIALS}

    def test_n8n_of_the_minor_version_before_keeps_its_workflows_and_credentials(
        host: Host, former: dict[str, Any]
    ) -> None:
        """After PostgreSQL was upgraded."""
        assert running(host, "n8n") == FORMER["n8n_version"]
        migrations = int(rows(host, "SELECT count(*) FROM migrations"))
        host.playbook("upgrade", {}, about="about 3 minutes").succeeded()
        assert running(host, "n8n") == yaml.safe_load(N8N_DEFAULTS.read_text("utf-8"))["n8n_version"]
        assert int(rows(host, "SELECT count(*) FROM migrations")) >= migrations
        now = state(host)
        for table in ("workflows", "credentials"):
            # A migration may add columns.
            kept = [{name: row[name] for name in old} for old, row in zip(former[table], now[table], strict=True)]
            assert kept == former[table]
        assert decrypted(host) == {one["id"]: one["data"] for one in CREDENTIALS}
