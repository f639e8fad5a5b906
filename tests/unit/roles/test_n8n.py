"""What the role n8n makes of its variables: the environment and the Compose files."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.devorch.orchestration.plugins.module_utils.host.service_files import shown

from tests.unit.templating import ROOT, evaluate, find, holds, load, variables

GIVEN = {
    "n8n_database_password": "p",
    "n8n_encryption_key": "k",
    "n8n_owner_password_hash": "$2b$10$hash",
    "n8n_runners_token": "shared",
}


def known(**more: Any) -> dict[str, Any]:
    """Return the variables of the role, with secrets and what else a run knows."""
    secrets = {"orchestration_secrets": {"secrets": GIVEN}}
    return {**variables("common", "compose_service", "n8n"), **secrets, **more}


def environment(**more: Any) -> dict[str, str]:
    """Return the environment of n8n's container, as texts."""
    return {name: str(value) for name, value in evaluate("{{ _n8n_environment }}", known(**more)).items()}


@pytest.mark.parametrize(
    ("given", "hops"),
    [
        ({}, "0"),
        ({"n8n_url": "https://n8n.example.com"}, "1"),
        ({"n8n_url": "https://n8n.example.com", "n8n_proxy_hops": "2"}, "2"),
        ({"n8n_proxy_hops": 1}, "1"),
    ],
)
def test_proxies_in_front_are_counted(given: dict[str, Any], hops: str) -> None:
    assert environment(**given)["N8N_PROXY_HOPS"] == hops


def test_n8n_listens_without_ipv6() -> None:
    assert environment()["N8N_LISTEN_ADDRESS"] == "0.0.0.0"  # noqa: S104


@pytest.mark.parametrize(
    ("version", "name"),
    [
        ("2.41.1", "N8N_WEBHOOK_URL"),
        ("2.40.7", "N8N_WEBHOOK_URL"),
        ("2.32.0", "N8N_WEBHOOK_URL"),
        ("3.0.0", "N8N_WEBHOOK_URL"),
        ("2.31.4", "WEBHOOK_URL"),
        ("2.9.4", "WEBHOOK_URL"),
        ("1.123.0", "WEBHOOK_URL"),
    ],
)
def test_the_webhook_address_has_the_name_that_this_n8n_reads(version: str, name: str) -> None:
    found = environment(n8n_version=version, n8n_url="https://n8n.example.com")
    assert {key: found[key] for key in found if key.endswith("WEBHOOK_URL")} == {name: "https://n8n.example.com"}


UNCLAIMED = {"known": True, "email": "", "managed": False}
ALICE = {**UNCLAIMED, "email": "alice@example.com"}


@pytest.mark.parametrize(
    ("owner", "email", "managed"),
    [
        (UNCLAIMED, "ops@example.com", True),
        (UNCLAIMED, "", False),
        (ALICE, "ops@example.com", False),
        (ALICE, "Alice@example.com", True),
        # The role made the account, and may give it another address.
        ({**ALICE, "managed": True}, "ops@example.com", True),
        ({**ALICE, "managed": True}, "", False),
        # PostgreSQL does not answer: n8n may belong to a user.
        ({**UNCLAIMED, "known": False}, "ops@example.com", False),
        ({**UNCLAIMED, "known": False, "managed": True}, "ops@example.com", True),
    ],
)
def test_the_owner_is_made_unless_n8n_belongs_to_another(owner: dict[str, Any], email: str, managed: bool) -> None:
    given = {"n8n_owner_email": email, "orchestration_host": {"n8n_owner": owner}}
    found = {name: value for name, value in environment(**given).items() if "OWNER" in name}
    expected = {
        "N8N_INSTANCE_OWNER_MANAGED_BY_ENV": "true",
        "N8N_INSTANCE_OWNER_EMAIL": email,
        "N8N_INSTANCE_OWNER_FIRST_NAME": "Orchestration",
        "N8N_INSTANCE_OWNER_LAST_NAME": "Owner",
        "N8N_INSTANCE_OWNER_PASSWORD_HASH": "$2b$10$hash",
    }
    assert found == (expected if managed else {})
    secrets = evaluate("{{ n8n_profile.secrets }}", known(**given))
    assert ("n8n_owner_password" in secrets, "n8n_owner_password_hash" in secrets) == (managed, managed)


def test_the_hash_of_the_password_is_no_public_value() -> None:
    public = find("roles/n8n/tasks/present.yml", "devorch.orchestration.deploy")["vars"]["compose_service_public_names"]
    text = "N8N_INSTANCE_OWNER_PASSWORD_HASH='$2b$10$one'\nN8N_LICENSE_CERT='$2b$one'\nN8N_PROXY_HOPS='1'\n"
    before, after = shown(text.encode(), text.replace("one", "two").encode(), True, public)
    assert "$2b$" not in before + after and "N8N_PROXY_HOPS='1'" in after


def test_a_removal_with_data_leaves_no_password() -> None:
    data = n8n_removal()
    secrets = evaluate("{{ n8n_profile.secrets }}", known())
    removed = evaluate(data["compose_service_data"], known(orchestration_external_database=False))
    assert {f"secrets/{name}" for name in secrets} <= set(removed)


def compose(template: str = "compose", service: str = "n8n", **more: Any) -> dict[str, Any]:
    """Return the service of a Compose file."""
    text = (ROOT / "templates" / "n8n" / f"{template}.yml.j2").read_text("utf-8")
    services = yaml.safe_load(evaluate(text, {"ansible_managed": "", **known(**more)}))["services"]
    assert list(services) == [service]
    return dict(services[service])


def deployment(**more: Any) -> dict[str, Any]:
    """Return the options of the deployment that depend on the variables."""
    task = find("roles/n8n/tasks/present.yml", "devorch.orchestration.deploy")
    given = {name: task["devorch.orchestration.deploy"][name] for name in ("files", "directories")}
    return evaluate(given, known(**task["vars"] | {"orchestration_proxy_environment": {}, "role_name": "n8n"} | more))


def n8n_removal() -> dict[str, Any]:
    """Return the variables of the task that removes n8n."""
    (found,) = [
        task["vars"]
        for task in load("roles/n8n/tasks/remove.yml")
        if task.get("vars", {}).get("compose_service_name") == "n8n"
    ]
    return dict(found)


def backed_up() -> list[str]:
    """Return the files and directories below the root that a backup contains."""
    files: list[str] = evaluate("{{ _backup_config.files }}", variables("common", "backup"))
    return files


def test_files_and_community_nodes_outlive_the_container() -> None:
    """Community nodes are in the directory nodes of n8n's own directory, which is mounted as a whole."""
    mounts = {volume["target"]: volume["source"] for volume in compose()["volumes"]}
    assert mounts == {
        "/home/node/.n8n": "/opt/orchestration/data/n8n",
        "/files": "/opt/orchestration/data/n8n-files",
        "/home/node/.n8n-files": "/opt/orchestration/data/n8n-files",
    }
    assert environment()["N8N_RESTRICT_FILE_ACCESS_TO"].split(";") == ["/files", "/home/node/.n8n-files"]
    owned = {path: entry for path, entry in deployment()["directories"].items() if isinstance(entry, dict)}
    assert {path: entry["owner"] for path, entry in owned.items()} == dict.fromkeys(set(mounts.values()), "1000")
    removed = n8n_removal()["compose_service_data"]
    for directory in ("data/n8n", "data/n8n-files"):
        assert directory in backed_up() and directory in removed


@pytest.mark.parametrize(("offline", "value"), [(False, "true"), ("true", "false")])
def test_missing_community_nodes_are_installed_again(offline: Any, value: str) -> None:
    assert environment(orchestration_offline=offline)["N8N_REINSTALL_MISSING_PACKAGES"] == value


def test_certificates_of_further_authorities(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).write_text(f"-----BEGIN CERTIFICATE-----\n{name}\n-----END CERTIFICATE-----\n")
    given = {"orchestration_ca_certificates": [str(tmp_path / "one"), str(tmp_path / "two")]}
    path = environment(**given)["NODE_EXTRA_CA_CERTS"]
    mounts = {volume["target"]: volume for volume in compose(**given)["volumes"]}
    mount = mounts[str(Path(path).parent)]
    assert mount["source"] == "/opt/orchestration/n8n-config" and mount["read_only"]
    written = {file["path"]: file for file in deployment(**given)["files"]}["/opt/orchestration/n8n-config/ca.pem"]
    assert written["content"] == (tmp_path / "one").read_text() + (tmp_path / "two").read_text()
    assert deployment(**given)["directories"]["/opt/orchestration/n8n-config"] == "0755"
    before = compose(**given)["labels"]
    (tmp_path / "two").write_text("another")
    assert compose(**given)["labels"] != before
    assert "n8n-config" in backed_up()


def test_private_keys_beside_certificates_stay_on_the_controller(tmp_path: Path) -> None:
    certificate = "-----BEGIN CERTIFICATE-----\nQUJD+/=\n-----END CERTIFICATE-----\n"
    (tmp_path / "both").write_text(f"-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----\n{certificate}")
    given = {"orchestration_ca_certificates": [str(tmp_path / "both")]}
    written = {file["path"]: file for file in deployment(**given)["files"]}["/opt/orchestration/n8n-config/ca.pem"]
    assert written["content"] == certificate


def test_no_further_authorities() -> None:
    assert "NODE_EXTRA_CA_CERTS" not in environment()
    assert "labels" not in compose() and len(compose()["volumes"]) == 3
    assert not [file for file in deployment()["files"] if "n8n-config" in file["path"]]


@pytest.mark.parametrize(
    "content", ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_what_is_no_certificate_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "ca.pem").write_text(content)
    (command,) = [file["validate"] for file in evaluate("{{ _n8n_ca_files }}", known())]
    ended = subprocess.run([part.replace("%s", str(tmp_path / "ca.pem")) for part in command], capture_output=True)
    assert ended.returncode != 0


EXTERNAL = {"n8n_runners": "external", "n8n_version": "2.41.3"}


def test_external_runners_share_a_token_that_no_file_but_the_environment_has() -> None:
    server = environment(**EXTERNAL)
    assert server["N8N_RUNNERS_MODE"] == "external"
    # The broker is reached from the other container, and no port of the host leads to it.
    assert server["N8N_RUNNERS_BROKER_LISTEN_ADDRESS"] == "0.0.0.0"  # noqa: S104
    assert [port["target"] for port in compose(**EXTERNAL)["ports"]] == [5678]
    runner = evaluate("{{ _n8n_runners_environment }}", known(**EXTERNAL))
    assert runner["N8N_RUNNERS_AUTH_TOKEN"] == server["N8N_RUNNERS_AUTH_TOKEN"] == "shared"
    assert runner["N8N_RUNNERS_TASK_BROKER_URI"] == "http://n8n:5679"
    service = compose("runners", "n8n-runners", **EXTERNAL)
    assert service["image"] == "docker.io/n8nio/runners:2.41.3"
    assert "ports" not in service and "shared" not in str(service)
    assert service["env_file"] == "/opt/orchestration/env/n8n-runners.env"
    profile = evaluate("{{ n8n_profile }}", known(**EXTERNAL))
    assert profile["deployments"] == ["n8n", "n8n-runners"] and "n8n_runners_token" in profile["secrets"]


def test_external_runners_have_limits_of_their_own() -> None:
    """The code of users runs there."""
    service = compose("runners", "n8n-runners", **EXTERNAL, n8n_runners_cpu_limit="1.5")
    assert (service["mem_limit"], service["cpus"]) == ("512m", 1.5)
    free = compose("runners", "n8n-runners", **EXTERNAL, n8n_runners_memory_limit="")
    assert not {"mem_limit", "cpus"} & set(free)


def test_internal_runners_have_no_container() -> None:
    assert {name: value for name, value in environment().items() if "RUNNERS" in name} == {
        "N8N_RUNNERS_MODE": "internal",
        "N8N_RUNNERS_TASK_TIMEOUT": "300",
    }
    profile = evaluate("{{ n8n_profile }}", known())
    assert profile["deployments"] == ["n8n"] and "n8n_runners_token" not in profile["secrets"]
    assert profile["companions"] == {}


@pytest.mark.parametrize(("runners", "images"), [("external", 2), ("internal", 1)])
def test_images_of_the_runners_are_pulled_bundled_and_examined(runners: str, images: int) -> None:
    given = known(n8n_runners=runners)
    assert len(evaluate("{{ orchestration_images }}", given)) == images
    play = load("playbooks/bundle.yml")[0]["vars"]
    assert len(evaluate("{{ _bundle_images }}", {**given, **play})) == images
    (doctor,) = load("playbooks/doctor.yml")
    task = find("playbooks/doctor.yml", "devorch.orchestration.doctor_info")["devorch.orchestration.doctor_info"]
    assert len(evaluate(task["services"], {**given, **doctor["vars"]})) == images


def test_a_project_without_services_has_no_images() -> None:
    assert evaluate("{{ orchestration_images }}", known(n8n_state="absent")) == []


@pytest.mark.parametrize(
    ("runners", "files", "runs"),
    [
        ("internal", {}, False),
        ("external", {}, True),
        ("internal", {"/opt/orchestration/services/n8n-runners.yml": {}}, True),
    ],
)
def test_runners_that_are_not_wanted_are_removed(runners: str, files: dict[str, Any], runs: bool) -> None:
    given = known(n8n_runners=runners, orchestration_host={"files": files})
    include = next(task for task in load("roles/n8n/tasks/present.yml") if "ansible.builtin.include_tasks" in task)
    assert holds(include["when"], given) is runs
    deploy, remove = load("roles/n8n/tasks/runners.yml")
    assert (holds(deploy["when"], given), holds(remove["when"], given)) == (
        runners == "external",
        runners == "internal",
    )


def test_runners_go_with_n8n() -> None:
    first = load("roles/n8n/tasks/remove.yml")[0]
    files = {"/opt/orchestration/services/n8n-runners.yml": {}}
    assert holds(first["when"], known(orchestration_host={"files": files}))
    assert not holds(first["when"], known(orchestration_host={"files": {}}))
    removed = load("roles/n8n/tasks/remove_runners.yml")[0]["vars"]
    assert removed["compose_service_name"] == "n8n-runners"
    assert "secrets/n8n_runners_token" in removed["compose_service_other_files"]
