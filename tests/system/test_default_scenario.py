"""The main job on a real systemd host: what site.yml refuses, does, leaves alone and survives."""

from __future__ import annotations

import base64
import json
import os
import re
from typing import Any

import pytest
from ansible_collections.devorch.orchestration.plugins.filter.environment_file import environment_file

from tests.sampling import LONG

from .check_page import PLAYBOOKS, check_page
from .conftest import ROOT, Host, Run
from .data import CANARIES, WEBHOOK, leaks, secrets

SERVICES = ("postgres", "kestra", "n8n")
TOUCHED = (
    "ls -d /opt/orchestration /etc/docker /etc/systemd/system/orchestration-* 2>/dev/null; command -v dockerd || true"
)


def test_check_mode_on_the_empty_host_fails_nowhere_and_changes_nothing(
    host: Host, empty_checks: dict[str, Run]
) -> None:
    run = empty_checks["site"]
    assert [name for name, run in empty_checks.items() if run.recap["failed"]] == []
    assert re.search(r"A real run would install\s[^.]*docker[.]io", run.output)
    assert host.shell(TOUCHED) == ""


READ_BACK = "/tmp/devorch-environment"
REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("user", {"kestra_username": "admin"}, "kestra_username: 'admin' is not an e-mail address"),
    ("empty", {"kestra_password": ""}, "kestra_password: empty or too weak"),
    ("weak", {"kestra_password": "password"}, "kestra_password: empty or too weak"),
    ("lines", {"n8n_database_password": "a\nb"}, "n8n_database_password: the value has a line break"),
    ("placeholder", {"kestra_database_password": "a${b}"}, "kestra_database_password: the value holds ${"),
    ("key", {"n8n_encryption_key": "short"}, "n8n_encryption_key: shorter than 16 characters"),
    ("memory", {"orchestration_minimum_memory": 99999999}, "orchestration_minimum_memory: the host has"),
    ("disk", {"orchestration_minimum_disk": 999999999}, "orchestration_minimum_disk: /opt/orchestration has"),
    ("registry", {"orchestration_registry": "127.0.0.1:9/mirror"}, "no registry gives it"),
    ("major", {"postgres_version": "18"}, "postgres_version: 18 is not supported"),
    ("type", {"kestra_port": "http"}, "kestra_port"),
    ("same-port", {"kestra_management_port": 8080}, "kestra_management_port: the same as kestra_port"),
]


@pytest.fixture(scope="module")
def refused(host: Host, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What each bad input was told; the host has as many names as there are, so that one run tries them all."""
    hosts = {name: variables for name, variables, _message in REFUSED}
    run = host.play("playbooks/site.yml", hosts, tmp_path_factory.mktemp("refused"), about="about 30 s")
    assert run.code != 0
    assert host.shell(TOUCHED) == ""
    return {name: run.of(name) for name in hosts}


@pytest.mark.parametrize(("name", "message"), [(row[0], row[2]) for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_bad_input_is_refused_before_the_host_is_touched(name: str, message: str, refused: dict[str, str]) -> None:
    assert message in " ".join(refused[name].split())
    assert re.search(r"changed=0\b.* failed=1\b", refused[name])


def test_port_in_use_is_refused_and_names_who_has_it(host: Host) -> None:
    host.shell("systemd-run --unit=squatter python3 -m http.server --bind 127.0.0.1 8080")
    host.wait("the squatter listens", lambda: ":8080" in host.shell("ss -Hltn"), 20)
    run = host.site({}, about="about 8 s")
    host.shell("systemctl stop squatter")
    assert run.code != 0
    text = " ".join(run.output.split())
    assert "kestra_port: port 8080 is in use by python3 (squatter.service). Stop it, or set kestra_port" in text
    assert host.shell(TOUCHED) == ""


def test_site_brings_everything_up(host: Host, converged: Run) -> None:
    assert converged.recap["failed"] == 0
    assert {service: host.health(service) for service in SERVICES} == dict.fromkeys(SERVICES, "healthy")
    assert host.shell("systemctl is-active orchestration-sidecar orchestration-watchdog.timer") == "active\nactive"
    assert host.shell("systemctl is-active orchestration-shutdown; systemctl is-enabled orchestration-shutdown") == (
        "active\nenabled"
    )


def test_second_run_changes_nothing(host: Host, converged: Run) -> None:
    host.molecule("idempotence", about="about a minute").succeeded()


def test_check_mode_on_the_converged_host_reports_no_change(converged_checks: dict[str, Run]) -> None:
    assert {name: run.succeeded().recap["changed"] for name, run in converged_checks.items()} == dict.fromkeys(
        PLAYBOOKS, 0
    )


def test_check_and_diff_show_exactly_the_changed_lines(host: Host, converged: Run) -> None:
    """Real text, with secret values alone masked, value by value."""
    variables = {
        "kestra_config": {
            "kestra": {
                "storage": {"s3": {"secret-key": "canary-of-storage-8fT"}},
                "server": {"liveness": {"interval": "6s"}},
            }
        },
        "docker_daemon_config": {"max-concurrent-downloads": 5},
        "n8n_environment": {"N8N_SMTP_PASS": "canary-of-n8n-2kX", "N8N_METRICS": "true"},
    }
    run = host.site(variables, "--check", "--diff", about="about 20 s").succeeded()
    lines = {line.strip() for line in run.output.splitlines() if re.match(r"[-+](?![-+]{2} )", line)}
    label = {line for line in lines if re.fullmatch(r"[-+]\s+orchestration.configuration: [0-9a-f]{64}", line)}
    assert len(label) == 2
    assert {re.sub(r"\s+", " ", line) for line in lines - label} == {
        "- interval: 5s",
        "+ interval: 6s",
        '+ "max-concurrent-downloads": 5,',
        "+N8N_METRICS='true'",
    }
    assert "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER" not in run.output
    assert leaks(host, {"the output of --check --diff": run.output}, secrets(host) | CANARIES) == []
    summary = run.output.partition("Report what was changed on the host")[2]
    assert all(f"{service} " in summary for service in ("docker", "kestra", "n8n"))


def test_the_real_run_did_what_check_mode_predicted(empty_checks: dict[str, Run], converged: Run) -> None:
    """A task that check mode said would change has changed, and one that it called ok has not, or was but a message."""
    predicted, done = empty_checks["site"].tasks, converged.tasks
    assert {task for task, status in predicted.items() if status == "changed"}
    wrong = {task: (status, done.get(task)) for task, status in predicted.items() if done.get(task, "ok") != status}
    assert wrong == {}


def test_page_about_check_mode_is_current(empty_checks: dict[str, Run], converged_checks: dict[str, Run]) -> None:
    """DEVORCH_LONG=1 DEVORCH_WRITE_DOCS=1 writes it anew."""
    page = ROOT / "docs" / "development" / "check-mode.md"
    text = check_page(empty_checks, converged_checks)
    if LONG and os.environ.get("DEVORCH_WRITE_DOCS"):
        page.write_text(text, "utf-8")
    assert set(text.splitlines()) <= set(page.read_text("utf-8").splitlines())
    assert not LONG or page.read_text("utf-8") == text


def test_host_is_as_described(host: Host, converged: Run) -> None:
    host.molecule("verify", about="about 30 s").succeeded()


def test_no_secret_leaks(host: Host, converged: Run) -> None:
    assert len(secrets(host)) >= 7
    assert leaks(host, {"the output of the -vvv run": converged.output}, secrets(host) | CANARIES) == []


def test_values_reach_containers_byte_for_byte(host: Host, converged: Run) -> None:
    """Compose reads an environment file as the filter has meant it."""
    values = {
        "QUOTES": "it's \"quoted\" \\' \\",
        "DOLLARS": "${HOME} $HOME $$ \\$ pa$$w0rd#x y'",
        "PLAIN_DOLLARS": "${HOME} $HOME $$",
        "PERCENT": "%41&?",
        "BLANKS": " \ttwo  blanks ' ",
        "PLAIN_BLANKS": "  two # blanks ",
        "UNICODE": "é ü 漢 \u2028\x85'",
        "KEY": "-----BEGIN KEY-----\r\nMIIE'\\n\n-----END KEY-----\n",
    }
    project = f"services: {{a: {{image: a, env_file: {READ_BACK}.env}}}}"
    files = {".env": environment_file(values), ".yml": project}
    for suffix, content in files.items():
        encoded = base64.b64encode(content.encode()).decode()
        host.shell(f"echo {encoded} | base64 --decode > {READ_BACK}{suffix}")
    read = json.loads(host.shell(f"docker compose --project-name a --file {READ_BACK}.yml config --format json"))
    host.shell(f"rm {READ_BACK}.env {READ_BACK}.yml")
    # As in any Compose file, a dollar sign is doubled.
    assert {name: value.replace("$$", "$") for name, value in read["services"]["a"]["environment"].items()} == values


def test_compose_commands_of_the_readme(host: Host, converged: Run) -> None:
    listed = host.shell("cd /opt/orchestration && docker compose ps --format '{{.Service}} {{.Health}}'")
    assert sorted(listed.splitlines()) == ["kestra healthy", "n8n healthy", "postgres healthy"]
    assert host.shell("cd /opt/orchestration && docker compose logs kestra")
    assert "accepting connections" in host.shell(
        "cd /opt/orchestration && docker compose exec -T postgres pg_isready -U n8n -d n8n"
    )


def kestra(host: Host, path: str, *options: str) -> Any:
    login = 'printf "user = admin@example.com:%s" "$(cat /opt/orchestration/secrets/kestra_password)"'
    return json.loads(host.shell(f"{login} | curl -sS --fail -K - {' '.join(options)} http://127.0.0.1:8080{path}"))


def test_flows_are_loaded_and_the_webhook_runs(host: Host, converged: Run) -> None:
    found = kestra(host, "/api/v1/main/flows/search?size=100")
    flows = {f"{flow['namespace']}/{flow['id']}" for flow in found["results"]}
    assert flows == {
        "default/hello-world",
        "devops/environment-orchestration",
        "analytics/data-processing",
    }
    execution = json.loads(host.shell(f"curl -sS --fail -X POST {WEBHOOK}"))["id"]
    path = f"/api/v1/main/executions/{execution}"
    host.wait("the execution has ended", lambda: kestra(host, path)["state"]["current"] in {"SUCCESS", "FAILED"}, 60)
    assert kestra(host, path)["state"]["current"] == "SUCCESS"


def test_n8n_belongs_to_the_owner_of_the_role(host: Host, converged: Run) -> None:
    """The generated password logs in, and a visitor can't claim n8n."""
    password = "$(cat /opt/orchestration/secrets/n8n_owner_password)"
    claim = '{"email": "visitor@example.com", "firstName": "a", "lastName": "b", "password": "Visitor-Passw0rd"}'
    post = (
        "curl -sS -o /dev/null -w %{http_code} -H 'Content-Type: application/json' --data @- http://127.0.0.1:5678/rest"
    )
    login = f'{{"emailOrLdapLoginId": "admin@example.com", "password": "%s"}}\' "{password}"'
    assert host.shell(f"printf '{login} | {post}/login") == "200"
    assert host.shell(f"echo '{claim}' | {post}/owner/setup") == "400"


def test_flow_reaches_the_sidecar_on_the_host(host: Host, converged: Run) -> None:
    """From Kestra's container over the Docker bridge to the service on the host, with the token of both."""
    code = host.shell(
        "cd /opt/orchestration && docker compose exec -T kestra sh -c"
        " 'curl -sS -o /dev/null -w %{http_code} $ENV_SIDECAR_URL/health'"
    )
    assert code == "200"
    listening = host.shell("ss -Hltn 'sport = :8090'")
    addresses = {re.split(r"\s+", line)[3].rsplit(":", 1)[0] for line in listening.splitlines()}
    bridge = host.shell("docker network inspect bridge --format '{{(index .IPAM.Config 0).Gateway}}'")
    assert addresses == {"127.0.0.1", bridge}


def test_management_port_is_closed_to_the_outside(host: Host, converged: Run) -> None:
    lines = host.shell("ss -Hltn 'sport = :8081'").splitlines()
    assert lines and all("127.0.0.1:8081" in line for line in lines)


def started(host: Host, service: str) -> str:
    return host.shell(f"docker inspect --format '{{{{.State.StartedAt}}}}' orchestration-{service}-1")


def all_healthy(host: Host) -> bool:
    return all(host.health(service) == "healthy" for service in SERVICES)


def test_kestra_recovers_when_postgresql_restarts_under_it(host: Host, converged: Run) -> None:
    before = started(host, "kestra")
    host.shell("docker restart orchestration-postgres-1")
    host.wait("the watchdog has restarted Kestra", lambda: started(host, "kestra") != before, 180)
    host.wait("all services are healthy", lambda: all_healthy(host), 300)
    assert "restarting the unhealthy container" in host.shell("journalctl --no-pager -u orchestration-watchdog")
    assert kestra(host, "/api/v1/main/flows/search")["total"] == 3


def test_everything_comes_back_after_a_reboot(host: Host, converged: Run) -> None:
    """What ran is stopped in order, so that PostgreSQL has nothing to recover, and runs again."""
    boot, since = host.shell("cat /proc/1/stat | cut -d' ' -f22"), host.shell("date --utc +%FT%TZ")
    host.run("docker", "restart", "devorch-default", about="about 10 s").succeeded()
    host.wait("the host has started again", lambda: host.up(), 120)
    assert host.shell("cat /proc/1/stat | cut -d' ' -f22") != boot
    host.wait("PostgreSQL is healthy", lambda: host.health("postgres") == "healthy", 120)
    # Kestra takes longer: there is nothing yet to compare its flows with.
    host.site({}, "--check", about="about 10 s").succeeded()
    host.wait("all services are healthy", lambda: all_healthy(host), 400)
    host.wait(
        "the sidecar answers",
        lambda: host.shell("curl -s http://127.0.0.1:8090/health || true").startswith("{"),
        60,
    )
    assert kestra(host, "/api/v1/main/flows/search")["total"] == 3
    log = host.shell(f"docker logs --since {since} orchestration-postgres-1 2>&1")
    assert "database system is shut down" in log and "was interrupted" not in log
    policies = host.shell("docker inspect --format '{{.HostConfig.RestartPolicy.Name}}' $(docker ps --quiet)")
    assert set(policies.split()) == {"unless-stopped"}


def test_container_without_its_data_does_not_start_and_no_run_replaces_them(host: Host, converged: Run) -> None:
    """As after a boot at which the disk was not mounted."""
    data = "/opt/orchestration/data/n8n"
    host.shell(f"docker stop orchestration-n8n-1; mv {data} {data}.away")
    # The start fails, and what Docker says of it is compared.
    assert "does not exist" in host.shell("docker start orchestration-n8n-1 2>&1 || true")
    run = host.site({}, about="about 8 s")
    assert run.code != 0 and run.recap["changed"] == 0
    assert f"orchestration_root: data of this host are missing ({data})." in " ".join(run.output.split())
    assert host.shell(f"test ! -e {data} && mv {data}.away {data} && docker start orchestration-n8n-1")
    host.wait("n8n is healthy", lambda: host.health("n8n") == "healthy", 120)


def test_passwords_change_by_running_again(host: Host, converged: Run) -> None:
    before = secrets(host)
    given = {
        "kestra_password": "Changed-by-the-site-1",
        "kestra_database_password": "another$Pass word",
        "postgres_password": "superuser-Password-2",
    }
    run = host.site(given, about="about 2 minutes").succeeded()
    assert run.recap["changed"] > 0
    after = secrets(host)
    assert {name: value for name, value in after.items() if before[name] != value} == given
    assert kestra(host, "/api/v1/main/flows/search")["total"] == 3
    again = host.site(given, about="about a minute").succeeded()
    assert again.recap["changed"] == 0


def test_removal_keeps_the_data_and_site_brings_it_back(host: Host, converged: Run) -> None:
    states = dict.fromkeys(["kestra_state", "n8n_state", "postgres_state", "sidecar_state"], "absent")
    before = secrets(host)
    host.site(states, about="about 40 s").succeeded()
    assert host.shell("docker ps --all --quiet") == ""
    host.shell("! ls /etc/systemd/system/orchestration-*")
    kept, versions = "kestra\nn8n\nn8n-files\npostgres", "kestra\nn8n\npostgres"
    assert host.shell("cd /opt/orchestration && ls data versions") == f"data:\n{kept}\n\nversions:\n{versions}"
    assert host.site(states, about="about 30 s").succeeded().recap["changed"] == 0
    host.site({}, about="about 2 minutes").succeeded()
    assert secrets(host) == before
    assert all_healthy(host)
    assert kestra(host, "/api/v1/main/flows/search")["total"] == 3


# Five minutes, so that make test-long alone has it.
if LONG:

    def test_removal_with_the_data_of_one_service_leaves_the_others(host: Host, converged: Run) -> None:
        """Each gone service takes its storage, its database and its secrets along, and comes back empty."""
        before = secrets(host)
        databases = "docker exec orchestration-postgres-1 psql -U postgres -tAc 'select datname from pg_database'"
        for role, kept in (("kestra", "n8n"), ("n8n", "kestra")):
            gone = {f"{role}_state": "absent", f"{role}_purge_data": True}
            host.site(gone, about="about 40 s").succeeded()
            assert role not in host.shell(databases).split() and kept in host.shell(databases).split()
            for directory in ("data", "versions"):
                assert host.shell(f"ls /opt/orchestration/{directory}").split() == sorted([kept, "postgres"])
            assert {name for name in before if name.startswith(f"{role}_")} & set(secrets(host)) == set()
            assert host.health(kept) == "healthy"
            assert host.site(gone, about="about 30 s").succeeded().recap["changed"] == 0
            host.site({}, about="about 2 minutes").succeeded()
        after = secrets(host)
        assert set(after) == set(before)
        changed = {name for name, value in before.items() if after[name] != value}
        assert not changed & {"postgres_password", "sidecar_token"} and changed & {"kestra_encryption_key"}
        assert all_healthy(host)
        assert kestra(host, "/api/v1/main/flows/search")["total"] == 3
