"""How services and playbooks use a PostgreSQL that is not on the host, or leave it alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.devorch.orchestration.plugins.module_utils.host import scram

from ..playbook import play
from ..templating import ROOT, evaluate, find, holds, load, reached, tasks, variables

USER = "community.postgresql.postgresql_user"
ROLES = ("common", "docker", "postgres", "sidecar", "kestra", "n8n", "backup", "upgrade")
SECRETS = {name: f"value-of-{name}" for name in ("kestra_database_password", "n8n_database_password")}
SECRETS |= dict.fromkeys(("n8n_encryption_key", "n8n_owner_password_hash"), "x")
SECRETS |= {f"kestra_{name}": "x" for name in ("password", "encryption_key", "sidecar_token", "webhook_key")}
FOUND: dict[str, Any] = {"files": {}, "containers": {}, "versions": {}, "docker": {"engine": "29.1"}, "packages": {}}
FOUND |= {"databases": {"reachable": False}, "marked_root": ""}
SERVER = {"host": "db.example.com"}
LOGIN = {"user": "admin", "password": "hunter2"}


def given(server: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """Return the variables of a play with all roles."""
    found = {"orchestration_host": FOUND, "orchestration_secrets": {"secrets": SECRETS}, "ansible_managed": ""}
    return variables(*ROLES) | found | {"postgres_external": server or {}} | more


@pytest.fixture
def authority(tmp_path: Path) -> str:
    """Return the path of a file with a certificate."""
    path = tmp_path / "ca.pem"
    path.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    return str(path)


def urls(server: dict[str, Any]) -> str:
    """Return the address of the database in Kestra's configuration."""
    text = (ROOT / "templates/kestra/standalone.yml.j2").read_text("utf-8")
    found: str = yaml.safe_load(evaluate(text, given(server)))["datasources"]["postgres"]["url"]
    return found


def test_kestra_connects_as_postgres_external_says(authority: str) -> None:
    assert urls({}) == "jdbc:postgresql://postgres:5432/kestra"
    begin = "jdbc:postgresql://db.example.com:5432/kestra?sslmode="
    assert urls(SERVER) == f"{begin}verify-full&sslfactory=org.postgresql.ssl.DefaultJavaSSLFactory"
    private = SERVER | {"ca": authority, "sslmode": "verify-ca"}
    assert urls(private) == f"{begin}verify-ca&sslrootcert=/app/kestra-config/postgres-ca.pem"
    assert urls(SERVER | {"sslmode": "require", "port": "6432"}) == f"{begin}require".replace("5432", "6432")
    assert urls({"host": "2001:db8::1", "sslmode": "disable"}).startswith(
        "jdbc:postgresql://[2001:db8::1]:5432/kestra?"
    )
    (file,) = [file for file in evaluate("{{ _kestra_files }}", given(private)) if file["path"].endswith(".pem")]
    assert file["path"] == "/opt/orchestration/kestra-config/postgres-ca.pem"
    assert file["content"] == Path(authority).read_text()
    # Kestra's user reads it by the group root, and the doctor allows nobody else.
    assert file["mode"] == "0640"
    assert len(evaluate("{{ _kestra_files }}", given(SERVER))) == 1


def test_a_private_key_beside_the_authority_stays_on_the_controller(authority: str) -> None:
    path = Path(authority)
    certificate = path.read_text()
    path.write_text(f"-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n{certificate}")
    assert evaluate("{{ orchestration_database_ca }}", given(SERVER | {"ca": authority})) == certificate


def n8n(server: dict[str, Any], **more: Any) -> dict[str, Any]:
    environment = evaluate("{{ _n8n_environment }}", given(server, **more))
    return {name: value for name, value in environment.items() if name.startswith("DB_POSTGRESDB_")}


def test_n8n_connects_as_postgres_external_says(authority: str) -> None:
    own = n8n({})
    assert (own["DB_POSTGRESDB_HOST"], own["DB_POSTGRESDB_PORT"]) == ("postgres", "5432")
    assert not [name for name in own if "SSL" in name]
    found = n8n(SERVER | {"port": 6432, "ca": authority})
    assert (found["DB_POSTGRESDB_HOST"], found["DB_POSTGRESDB_PORT"]) == ("db.example.com", "6432")
    assert found["DB_POSTGRESDB_SSL_ENABLED"] == found["DB_POSTGRESDB_SSL_REJECT_UNAUTHORIZED"] == "true"
    assert found["DB_POSTGRESDB_SSL_CA"] == Path(authority).read_text()
    assert "DB_POSTGRESDB_SSL_CA" not in n8n(SERVER)
    open_mode = n8n(SERVER | {"sslmode": "require"})
    assert open_mode["DB_POSTGRESDB_SSL_ENABLED"] == "true"
    assert open_mode["DB_POSTGRESDB_SSL_REJECT_UNAUTHORIZED"] == "false"
    assert n8n(SERVER | {"sslmode": "disable"})["DB_POSTGRESDB_SSL_ENABLED"] == "false"


@pytest.mark.parametrize(("server", "waits"), [({}, True), (SERVER, False)])
def test_containers_wait_only_for_a_postgres_of_the_host(server: dict[str, Any], waits: bool) -> None:
    for name in ("kestra", "n8n"):
        text = (ROOT / "templates" / name / "compose.yml.j2").read_text("utf-8")
        known = given(server, kestra_stop_timeout=330, _kestra_configuration_file={"content": ""})
        service = yaml.safe_load(evaluate(text, known))["services"][name]
        assert ("depends_on" in service) is waits, name
    text = (ROOT / "templates/kestra/compose.yml.j2").read_text("utf-8")
    known |= {"kestra_task_runner": "dind"}
    assert ("postgres" in yaml.safe_load(evaluate(text, known))["services"]["kestra"]["depends_on"]) is waits
    waiting = find("roles/kestra/tasks/present.yml", "vars")["devorch.orchestration.deploy"]["depends_on"]
    assert (evaluate(waiting, known | {"omit": "nothing"}) == "postgres") is waits


@pytest.mark.parametrize(("server", "own"), [({}, True), (SERVER, False)])
def test_the_host_gets_a_postgres_only_if_there_is_no_other(server: dict[str, Any], own: bool) -> None:
    ran = {
        str(task.get("ansible.builtin.include_tasks") or task["devorch.orchestration.deploy"]["service"])
        for task in load("roles/postgres/tasks/present.yml")
        if holds(task.get("when", []), given(server))
    }
    assert ran == ({"postgres", "databases.yml", "watchdog"} if own else {"external.yml", "watchdog"})
    profile = evaluate("{{ postgres_profile }}", given(server))
    assert bool(profile["image"]) is own
    assert ("postgres_password" in profile["secrets"]) is own
    assert SECRETS.keys() & profile["secrets"].keys() == {"kestra_database_password", "n8n_database_password"}
    for name in ("_upgrade_wanted_images", "orchestration_images"):
        assert ("postgres" in str(evaluate(f"{{{{ {name} }}}}", given(server)))) is own, name


def test_a_postgres_of_the_host_is_removed_after_the_services_have_left_it() -> None:
    compose = {"files": {"/opt/orchestration/services/postgres.yml": {}}}
    known = given(SERVER, orchestration_host=FOUND | compose)
    assert evaluate("{{ orchestration_left_services }}", known) == ["postgres"]
    assert evaluate("{{ orchestration_left_services }}", given(SERVER)) == []
    assert evaluate("{{ orchestration_left_services }}", given({}, orchestration_host=FOUND | compose)) == []
    steps = [str(task) for task in tasks(load("playbooks/site.yml")) if "block" not in task]
    (removal,) = [number for number, text in enumerate(steps) if "orchestration_left_services" in text]
    assert removal > max(number for number, text in enumerate(steps) if "'present'" in text)


@pytest.mark.parametrize(
    ("existing", "record", "passes"),
    [
        ([], "", True),
        # Another host has it: its services would be logged out, and ours would run on its data.
        (["kestra"], "", False),
        (["kestra", "n8n"], "external other.example.com:5432", False),
        # This host made them, and renews the password.
        (["kestra", "n8n"], "external db.example.com:5432\n", True),
        # The owner of this one logs in.
        (["n8n"], "", True),
    ],
)
def test_databases_of_another_host_are_not_taken_over(existing: list[str], record: str, passes: bool) -> None:
    (check,) = [task for task in load("roles/postgres/tasks/external_databases.yml") if "taken over" in task["name"]]
    logins = [{"item": "kestra", "msg": "no"}, {"item": "n8n", "query_result": [{"claimed": False}]}]
    known = given(
        SERVER | LOGIN,
        orchestration_host=FOUND | {"versions": {"postgres": record}},
        _postgres_logins={"results": logins},
        _postgres_administrator={"query_result": [{"rolsuper": True, "existing": existing}]},
    )
    assert holds(check["ansible.builtin.assert"]["that"], known) is passes
    message = evaluate(check["ansible.builtin.assert"]["fail_msg"], known)
    assert passes or ("kestra exists on db.example.com:5432" in message and "set kestra_database_password" in message)


@pytest.mark.parametrize(("state", "purged"), [("present", False), ("absent", True)])
def test_a_moved_database_keeps_its_passwords(state: str, purged: bool) -> None:
    """The container that is left is removed with the data of old, and the passwords are in use elsewhere."""
    steps = load("roles/postgres/tasks/remove.yml")
    known = given(SERVER, postgres_state=state, postgres_purge_data=True)
    (removal,) = [task for task in steps if "compose_service_purge" in task.get("vars", {})]
    assert evaluate(removal["vars"]["compose_service_purge"], known) is purged
    (marker,) = [task for task in steps if "marker" in task["name"]]
    assert holds(marker["when"], known) is purged


@pytest.mark.parametrize(("check", "copied", "looks"), [(True, True, False), (True, False, True), (False, True, True)])
def test_check_mode_does_not_log_in_with_an_authority_that_is_not_there(check: bool, copied: bool, looks: bool) -> None:
    (block,) = [task for task in load("roles/postgres/tasks/external.yml") if "block" in task]
    assert holds(block["when"], given(ansible_check_mode=check, _postgres_ca_copied={"changed": copied})) is looks


@pytest.mark.parametrize("role", ["kestra", "n8n"])
def test_nothing_is_dropped_on_an_external_postgres(role: str) -> None:
    (task,) = [task for task in load(f"roles/{role}/tasks/remove.yml") if "postgres_database" in str(task)]
    assert holds(task["when"], given({}, **{f"{role}_purge_data": True}))
    assert not holds(task["when"], given(SERVER, **{f"{role}_purge_data": True}))


@pytest.mark.parametrize("role", ["kestra", "n8n"])
def test_a_purge_keeps_what_an_external_database_needs(role: str) -> None:
    (removal,) = [task for task in load(f"roles/{role}/tasks/remove.yml") if "compose_service_purge" in str(task)]
    needed = {f"secrets/{role}_database_password", f"secrets/{role}_encryption_key"}
    for server, purged in (({}, needed), (SERVER, set())):
        assert needed & set(evaluate(removal["vars"]["compose_service_data"], given(server))) == purged


def test_passwords_on_an_external_postgres_are_renewed_only_by_a_role_that_may() -> None:
    content = load("playbooks/rotate_secrets.yml")[-1]
    passwords = {"kestra_database_password", "n8n_database_password"}

    def renewed(server: dict[str, Any]) -> set[str]:
        return passwords & set(evaluate("{{ rotate_secrets_all }}", content["vars"] | given(server)))

    assert renewed({}) == passwords == renewed(SERVER | LOGIN)
    assert renewed(SERVER) == set()


@pytest.mark.parametrize("entry", ["create", "restore", "verify"])
def test_no_archive_is_made_of_a_host_without_its_databases(tmp_path: Path, entry: str) -> None:
    role = {"name": "devorch.orchestration.backup", "tasks_from": entry}
    extra = {
        "orchestration_root": str(tmp_path),
        "postgres_external": SERVER,
        "orchestration_lock": str(tmp_path / "l"),
    }
    played = play(tmp_path, [{"ansible.builtin.include_role": role, "vars": extra}])
    assert played.returncode != 0
    assert "postgres_external: the databases are on db.example.com:5432, and the backups" in played.last["msg"]
    assert not (tmp_path / "l").exists()


def test_an_upgrade_without_a_backup_is_left_to_site() -> None:
    (task,) = [task for task in load("roles/upgrade/tasks/main.yml") if "ansible.builtin.include_tasks" in task]
    image = {"kestra": "docker.io/kestra/kestra:v2.0.4"}
    for server, runs in (({}, True), (SERVER, False)):
        known = given(server, orchestration_host=FOUND | {"versions": image})
        assert holds(task["when"], known) is runs
        site = load("playbooks/upgrade.yml")[-1]
        assert evaluate(site["vars"]["orchestration_upgrade"], known) is not runs


@pytest.mark.parametrize(
    ("owner", "managed"), [(None, False), ("", True), ("admin@example.com", True), ("other@example.com", False)]
)
def test_an_owner_of_n8n_in_an_external_database_is_left_alone(owner: str | None, managed: bool) -> None:
    """host_info does not see that database: what it says about an empty host holds for its own PostgreSQL only."""
    nobody = {"n8n_owner": {"known": True, "email": "", "managed": False}}
    asked = {} if owner is None else {"postgres_n8n_owner": owner}
    known = given(SERVER, orchestration_host=FOUND | nobody, **asked)
    assert evaluate("{{ _n8n_owner_managed }}", known) is managed
    assert ("N8N_INSTANCE_OWNER_EMAIL" in evaluate("{{ _n8n_environment }}", known)) is managed


def test_only_the_databases_of_services_that_are_there_are_needed() -> None:
    for states, names in (({}, ["kestra", "n8n"]), ({"n8n_state": "absent"}, ["kestra"])):
        assert evaluate("{{ postgres_external_databases }}", given(SERVER, **states)) == names


def test_every_connection_has_the_mode_and_the_authority(authority: str) -> None:
    connections = [
        task[module]
        for path in ("external", "external_login", "external_databases")
        for task in tasks(load(f"roles/postgres/tasks/{path}.yml"))
        for module in task
        if module.startswith("community.postgresql.")
    ]
    assert len(connections) == 7
    for options in connections:
        for server, mode, ca in (
            (SERVER, "verify-full", "/etc/ssl/certs/ca-certificates.crt"),
            (SERVER | {"ca": authority}, "verify-full", "/opt/orchestration/postgres-ca.pem"),
            (SERVER | {"sslmode": "require"}, "require", "nothing"),
        ):
            known = given(server, omit="nothing")
            assert evaluate(options["ssl_mode"], known) == mode
            assert evaluate(options["ca_cert"], known) == ca
            assert evaluate(options["login_host"], known) == "db.example.com"
    direct = evaluate("{{ postgres_external_connection }}", given(SERVER | {"ca": authority} | LOGIN))
    assert direct == {
        "host": "db.example.com",
        "port": 5432,
        "sslmode": "verify-full",
        "sslrootcert": "/opt/orchestration/postgres-ca.pem",
    }


@pytest.mark.parametrize("path", ["external_databases", "databases"])
def test_a_server_gets_no_password_that_it_could_log(path: str) -> None:
    (task,) = [
        task[USER]
        for task in tasks(load(f"roles/postgres/tasks/{path}.yml"))
        if USER in task and "password" in task[USER]
    ]
    stored = SECRETS | {"postgres_password": "value-of-postgres_password"}
    for role, name in (("n8n", "n8n_database_password"), ("postgres", "postgres_password")):
        if role == "n8n" or path == "databases":
            sent = evaluate(task["password"], given(SERVER, item=role, orchestration_secrets={"secrets": stored}))
            assert scram.compare(sent, stored[name]) == "current" and stored[name] not in sent


def test_status_and_doctor_say_that_it_is_external() -> None:
    text = "".join(str(task.get("ansible.builtin.debug", "")) for task in reached("playbooks/status.yml"))
    assert "postgres_external" in text and "orchestration_database_name" in text
    asked = find("playbooks/doctor.yml", "devorch.orchestration.doctor_info")["devorch.orchestration.doctor_info"]
    assert evaluate(asked["database_server"], given(SERVER))["host"] == "db.example.com"
    assert evaluate(asked["database_server"], given()) == {}
