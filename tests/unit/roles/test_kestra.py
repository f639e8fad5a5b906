"""What Kestra is given at run time: secrets, limits, how scripts run, and for how long its data are kept."""

from __future__ import annotations

import base64
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows import runners
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows.yaml_nodes import compose

from ..templating import ROOT, evaluate, load, tasks, variables

SECRETS = {
    name: f"value-of-{name}"
    for name in (
        "kestra_database_password",
        "kestra_encryption_key",
        "kestra_password",
        "kestra_sidecar_token",
        "kestra_webhook_key",
        "sidecar_token",
    )
}


def given(**more: Any) -> dict[str, Any]:
    """Return the variables of the role on a host that has its secrets."""
    return variables("common", "sidecar", "kestra") | {"orchestration_secrets": {"secrets": SECRETS}} | more


def test_webhook_keys_are_secrets_of_the_host() -> None:
    """A key that stands in a repository opens every host that was made from it."""
    environment = evaluate(load("roles/kestra/vars/main.yml")["_kestra_environment"], given())
    key = base64.b64decode(environment["SECRET_WEBHOOK_KEY"]).decode()
    assert key == SECRETS["kestra_webhook_key"]
    keys = [
        trigger["key"]
        for path in ROOT.glob("kestra-flows/*/*.yaml")
        for trigger in yaml.safe_load(path.read_text("utf-8")).get("triggers", [])
        if "key" in trigger
    ]
    assert keys and set(keys) == {"{{ secret('WEBHOOK_KEY') }}"}
    assert "kestra_webhook_key" in evaluate("{{ kestra_profile.secrets }}", given())


def test_kestra_has_a_token_of_its_own_that_cannot_administer_the_sidecar() -> None:
    environment = evaluate(load("roles/kestra/vars/main.yml")["_kestra_environment"], given())
    token = base64.b64decode(environment["SECRET_SIDECAR_TOKEN"]).decode()
    assert token == SECRETS["kestra_sidecar_token"]
    assert SECRETS["sidecar_token"] not in str(environment.values())
    scopes = {
        digest: scope
        for _name, scope, digest in (
            line.split() for line in evaluate("{{ _sidecar_tokens }}", given()).strip().splitlines()
        )
    }
    assert scopes[evaluate("{{ token | hash('sha256') }}", {"token": token})] == "operate"
    for role in ("kestra", "sidecar"):
        assert "kestra_sidecar_token" in evaluate(f"{{{{ {role}_profile.secrets }}}}", given()), role


def test_the_key_of_webhooks_is_renewed_on_demand_only() -> None:
    _reached, play = load("playbooks/rotate_secrets.yml")
    renewed = play["vars"] | {
        "orchestration_external_database": False,
        "orchestration_present_profiles": [{"secrets": {name: {} for name in SECRETS}}],
    }
    wanted = evaluate("{{ rotate_secrets_wanted }}", renewed)
    assert "kestra_webhook_key" not in wanted and {"kestra_sidecar_token", "sidecar_token"} <= set(wanted)
    assert "kestra_webhook_key" in evaluate("{{ rotate_secrets_all }}", renewed)


def service(name: str, **more: Any) -> dict[str, Any]:
    """Return a service's Compose file as its template gives it."""
    text = (ROOT / "templates" / name / "compose.yml.j2").read_text("utf-8")
    known = variables("common", "postgres", "kestra", "n8n") | {"orchestration_secrets": {"secrets": SECRETS}}
    known |= {"orchestration_offline": False, "ansible_managed": "", "kestra_stop_timeout": 330}
    known |= {"_kestra_configuration_file": {"content": ""}}
    services: dict[str, Any] = yaml.safe_load(evaluate(text, known | more))["services"]
    return services


def test_kestra_is_not_root_unless_it_has_the_docker_of_the_host() -> None:
    for runner in ("process", "dind"):
        kestra = service("kestra", kestra_task_runner=runner)["kestra"]
        assert "user" not in kestra and kestra["cap_drop"] == ["ALL"]
        assert "docker.sock" not in str(kestra), runner
    (kestra,) = service("kestra", kestra_task_runner="docker").values()
    assert kestra["user"] == "root"
    assert "/var/run/docker.sock" in str(kestra["volumes"])


def test_dind_is_a_docker_without_root_that_kestra_finds_at_its_socket() -> None:
    services = service("kestra", kestra_task_runner="dind")
    docker = services["kestra-docker"]
    assert docker["image"].endswith("-dind-rootless") and docker["user"] == "1000"
    assert docker["environment"]["DOCKER_HOST"] == "unix:///dind/docker.sock"
    assert "kestra-docker" in services["kestra"]["depends_on"]
    for each in services.values():
        assert "kestra-docker-socket:/dind" in each["volumes"]
    # Volumes of Docker, because a restored host has no directory that the archive does not have.
    named = [volume.partition(":")[0] for volume in docker["volumes"]]
    assert named == evaluate("{{ _kestra_dind_volumes }}", given())
    assert docker["image"] in evaluate("{{ orchestration_images }}", given(kestra_task_runner="dind"))


def test_the_data_of_a_kestra_that_was_root_are_handed_to_its_user() -> None:
    data = "/opt/orchestration/data/kestra"
    for runner, recurse in (("process", True), ("dind", True), ("docker", False)):
        found = evaluate("{{ _kestra_directories }}", given(kestra_task_runner=runner))
        assert found[data] == {"mode": "0700", "owner": "1000", "group": "1000", "recurse": recurse}


def test_limits_are_those_of_the_variables() -> None:
    for name in ("kestra", "n8n", "postgres"):
        limited = service(name, **{f"{name}_memory_limit": "700m", f"{name}_cpu_limit": "1.5"})[name]
        assert (limited["mem_limit"], limited["cpus"]) == ("700m", 1.5)
        free = service(name, **{f"{name}_memory_limit": "", f"{name}_cpu_limit": ""})[name]
        assert not {"mem_limit", "cpus"} & free.keys()


def test_a_kestra_without_memory_ends() -> None:
    options = evaluate(load("roles/kestra/vars/main.yml")["_kestra_environment"], given())["JAVA_OPTS"]
    assert "-XX:+ExitOnOutOfMemoryError" in options.split()


@pytest.mark.parametrize(("retention", "days"), [("90d", "90"), ("", "")])
def test_old_executions_are_purged_by_a_flow_of_the_role(retention: str, days: str) -> None:
    environment = evaluate(load("roles/kestra/vars/main.yml")["_kestra_environment"], given(kestra_retention=retention))
    assert environment["ENV_RETENTION_DAYS"] == days
    directories = evaluate("{{ _kestra_flows_of_the_role }}", given(kestra_retention=retention))
    assert len(directories) == (1 if retention else 0)
    (path,) = (ROOT / "roles/kestra/files/flows").glob("*/*.yaml")
    flow = yaml.safe_load(path.read_text("utf-8"))
    assert (flow["namespace"], flow["id"]) == (path.parent.name, path.stem)
    # Its own namespace: a run with prune must not reach the flows of others.
    assert flow["namespace"] not in {folder.name for folder in (ROOT / "kestra-flows").iterdir()}
    assert "managed-by" not in flow["labels"]
    (check,) = flow["tasks"]
    assert "envs.retention_days" in check["condition"]
    executions, logs = check["then"]
    assert executions["endDate"] == logs["endDate"] and "envs.retention_days" in logs["endDate"]
    assert not {"RUNNING", "PAUSED", "QUEUED", "CREATED"} & set(executions["states"])


SCRIPT = """id: a
namespace: b
tasks:
  - id: sequence
    type: io.kestra.plugin.core.flow.Sequential
    tasks:
      - id: script
        type: io.kestra.plugin.scripts.shell.Commands
        {}commands: [date]
"""


@pytest.mark.parametrize(
    ("runner", "available", "message"),
    [
        ("", ["process"], "a script without taskRunner runs in Docker"),
        ("docker", ["process"], "the server has no task runner docker; set taskRunner.type to io.kestra.plugin.core."),
        ("process", ["docker"], "the server has no task runner process"),
        ("process", ["process"], ""),
        ("", ["process", "docker"], ""),
        ("docker", ["docker"], ""),
        ("docker", [], ""),
        ("", [], ""),
    ],
)
def test_scripts_that_have_nothing_to_run_on_are_found(runner: str, available: list[str], message: str) -> None:
    named = f"taskRunner: {{type: {runners.RUNNERS[runner]}}}\n        " if runner else ""
    (root,) = compose(SCRIPT.format(named))
    found = runners.findings(root, available)
    assert [finding.line for finding in found] == ([8 if not runner else 9] if message else [])
    assert all(message in finding.message and not finding.refused for finding in found)


def test_the_flows_of_the_repository_run_on_every_host() -> None:
    for path in [*ROOT.glob("kestra-flows/*/*.yaml"), *ROOT.glob("roles/kestra/files/flows/*/*.yaml")]:
        (root,) = compose(path.read_text("utf-8"))
        assert runners.findings(root, ["process"]) == [], path


def test_kestra_trusts_further_authorities(tmp_path: Path) -> None:
    (tmp_path / "one").write_text("-----BEGIN CERTIFICATE-----\none\n-----END CERTIFICATE-----\n")
    authorities = {"orchestration_ca_certificates": [str(tmp_path / "one")]}
    files = evaluate(load("roles/kestra/vars/main.yml")["_kestra_ca_files"], given(**authorities))
    assert [(Path(file["path"]).name, file["mode"]) for file in files] == [
        ("ca.pem", "0640"),
        ("trust-authorities", "0640"),
    ]
    assert files[0]["content"] == (tmp_path / "one").read_text() and "%s" in files[0]["validate"]
    assert (ROOT / "roles/kestra/files" / files[1]["src"]).is_file()
    kestra = service("kestra", **authorities)["kestra"]
    mounts = {volume["target"]: volume["source"] for volume in kestra["volumes"]}
    program, bundle = (Path(path) for path in kestra["entrypoint"][1:3])
    assert [f"{mounts[str(path.parent)]}/{path.name}" for path in (bundle, program)] == [file["path"] for file in files]
    (tmp_path / "one").write_text("another")
    assert service("kestra", **authorities)["kestra"]["labels"] != kestra["labels"]
    assert "entrypoint" not in service("kestra")["kestra"]
    (deploying,) = [
        task for task in tasks(load("roles/kestra/tasks/present.yml")) if task.get("register") == "kestra_deployed"
    ]
    template = deploying["devorch.orchestration.deploy"]["files"]
    known = {"_kestra_files": [1], "compose_service_files": [2], "_kestra_ca_files": [3]}
    assert evaluate(template, known | {"orchestration_ca_bundle": ""}) == [1, 2]
    assert evaluate(template, known | {"orchestration_ca_bundle": "x"}) == [1, 3, 2]


def test_the_authorities_are_added_to_those_of_java(tmp_path: Path) -> None:
    """Also when the container starts again, and with a file of several certificates and remarks."""
    programs = tmp_path / "java" / "bin"
    programs.mkdir(parents=True)
    (tmp_path / "java" / "lib" / "security").mkdir(parents=True)
    public = tmp_path / "java" / "lib" / "security" / "cacerts"
    public.write_text("public\n")
    public.chmod(0o444)
    keytool = '#!/bin/sh\n[ "$1 $3 $7 $9" = "-importcert -keystore -alias -file" ] && cat "${10}" >> "$4"\n'
    for name, text in (("java", "#!/bin/sh\n"), ("keytool", keytool)):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    certificates = [f"-----BEGIN CERTIFICATE-----\n{name}\n-----END CERTIFICATE-----\n" for name in ("one", "two")]
    (tmp_path / "ca.pem").write_text("a remark\n" + "\n".join(certificates))
    environment = {"PATH": f"{programs}:/usr/bin:/bin", "TMPDIR": str(tmp_path), "JAVA_OPTS": "-Xmx1g"}
    program = ROOT / "roles" / "kestra" / "files" / "trust-authorities.sh"
    show = ["sh", "-c", 'echo "$JAVA_OPTS" "$@"', "sh", "server", "a b"]
    for _start in range(2):
        run = subprocess.run(
            ["sh", str(program), str(tmp_path / "ca.pem"), *show],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 0, run.stderr
        option, *others = run.stdout.split()
        assert option.startswith("-Djavax.net.ssl.trustStore=") and others == ["-Xmx1g", "server", "a", "b"]
        store = Path(option.partition("=")[2]).read_text()
        assert store.startswith("public\n") and all(store.count(each) == 1 for each in certificates)
        assert "remark" not in store


@pytest.mark.parametrize(("sidecar", "stays"), [("absent", set()), ("present", {"kestra_sidecar_token"})])
def test_a_removal_with_data_leaves_no_secret_that_nothing_uses(sidecar: str, stays: set[str]) -> None:
    (removal,) = [
        task["vars"] for task in load("roles/kestra/tasks/remove.yml") if "compose_service_data" in task.get("vars", {})
    ]
    removed = evaluate(removal["compose_service_data"], given(sidecar_state=sidecar))
    secrets = {f"secrets/{name}" for name in evaluate("{{ kestra_profile.secrets }}", given())}
    assert secrets - set(removed) == {f"secrets/{name}" for name in stays}
