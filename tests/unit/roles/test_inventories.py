"""Inventories as README describes them: with passwords from Ansible Vault, and a run for some of the hosts."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.vault import VaultLib, VaultSecret

from ..playbook import play
from ..templating import ROOT, load

SERVICES = ("docker", "postgres", "sidecar", "kestra", "n8n", "backup")
ODD = "zq 'x' \"y\" $z \\ {{ nothing }} #%ü"
KEY = base64.b64encode(b"Vq2-" + b"x" * 28).decode()
SECRETS = {
    "kestra_password": "Vq1-from-the-file",
    "kestra_encryption_key": KEY,
}
INLINE = {"n8n_database_password": "Vq3-inline", "TOKEN": f"Vq4-{ODD}", "login": "Vq5-of-a-registry", "other": "Vq6-\n"}
SHOWN_NOWHERE = [*SECRETS.values(), *INLINE.values()]


class Tagged(str):
    """A text that is encrypted by itself."""


yaml.SafeDumper.add_representer(Tagged, lambda dumper, text: dumper.represent_scalar("!vault", str(text), style="|"))


@pytest.fixture
def vaulted(tmp_path: Path) -> Path:
    """Write group variables, one file of them encrypted whole and one with encrypted values; return the password."""
    key = tmp_path / "key"
    key.write_text("the key of the vault\n")
    directory = tmp_path / "group_vars/all"
    directory.mkdir(parents=True)
    vault = VaultLib([("default", VaultSecret(key.read_bytes().strip()))])
    (directory / "vault.yml").write_bytes(vault.encrypt(yaml.safe_dump(SECRETS)))

    values = {name: Tagged(vault.encrypt(value).decode()) for name, value in INLINE.items()}
    plain = {
        "n8n_database_password": values["n8n_database_password"],
        "n8n_environment": {"MY_TOKEN": values["TOKEN"]},
        "docker_registry_auth": {"registry.example.com": {"username": "me", "password": values["login"]}},
        "postgres_external": {"host": "db.example.com", "user": "admin", "password": values["other"]},
    }
    (directory / "plain.yml").write_text(yaml.safe_dump(plain))
    return key


def role(name: str, entry: str) -> dict[str, Any]:
    return {
        "ansible.builtin.import_role": {
            "name": f"devorch.orchestration.{name}",
            "tasks_from": entry,
            "rolespec_validate": False,
        }
    }


# Without what only a host has that systemd runs.
ACQUIRE = {"name": "Acquire the host lock", "devorch.orchestration.host_lock": {"path": "{{ orchestration_lock }}"}}


def test_values_from_a_vault_arrive_and_are_shown_nowhere(tmp_path: Path, vaulted: Path) -> None:
    root = tmp_path / "root"
    (root / "env").mkdir(parents=True)
    deploy = {
        "service": "n8n",
        "type": "files",
        "root": str(root),
        "lock": "{{ orchestration_lock }}",
        "files": [
            {
                "path": str(root / "env/n8n.env"),
                "content": "{{ n8n_environment | devorch.orchestration.environment_file }}",
                "secret": "all",
                "mode": "0600",
            },
            {
                "path": str(root / "config.json"),
                "content": "{{ {'auths': _docker_logins} | to_json }}",
                "secret": "all",
                "mode": "0600",
            },
        ],
        "host": {},
    }
    tasks = [
        *(role(service, "load_variables") for service in SERVICES),
        ACQUIRE,
        role("common", "preflight") | {"ignore_errors": True},
        role("common", "secrets"),
        {"name": "Deploy", "devorch.orchestration.deploy": deploy},
        role("common", "release_lock"),
    ]
    known = {
        "orchestration_root": str(root),
        "orchestration_lock": str(tmp_path / "lock"),
        "orchestration_host": {"files": {}, "versions": {}, "containers": {}, "services": {}, "docker": {}},
        "ansible_facts": {},
    }
    arguments = ("--vault-password-file", str(vaulted), "-vvv", "--diff", "-e", json.dumps(known))
    played = play(tmp_path, tasks, *arguments)
    assert played.returncode == 0, played.output
    (checked,) = [result for result in played.results if "problems" in result]
    about = [problem for problem in checked["problems"] if problem.startswith("postgres_external.password")]
    assert len(about) == 1 and "has a line break" in about[0]
    named = (*SECRETS, "n8n_database_password", "n8n_environment", "docker_registry_auth")
    assert [problem for problem in checked["problems"] if problem.startswith(named)] == []

    stored = SECRETS | {"n8n_database_password": INLINE["n8n_database_password"]}
    for name, value in stored.items():
        assert (root / "secrets" / name).read_text().rstrip("\n") == value
    shell = f'. {root}/env/n8n.env && printf %s "$MY_TOKEN"'
    assert subprocess.run(["sh", "-c", shell], capture_output=True, text=True, check=True).stdout == INLINE["TOKEN"]
    login = json.loads((root / "config.json").read_text())["auths"]["registry.example.com"]["auth"]
    assert base64.b64decode(login).decode() == f"me:{INLINE['login']}"
    for path in (*(root / "secrets").iterdir(), root / "env/n8n.env", root / "config.json"):
        assert path.stat().st_mode & 0o077 == 0, path
    for value in SHOWN_NOWHERE:
        assert value.strip() not in played.output and value[:5] not in played.output
    assert login not in played.output


def limited(inventory: Path, *arguments: str) -> str:
    """Run ansible-playbook for the host `one` of two, and return what it prints."""
    return subprocess.run(
        [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(inventory), "--limit", "one", *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    ).stdout


@pytest.fixture
def two(tmp_path: Path) -> Path:
    """Write an inventory of two hosts, which are both this machine."""
    hosts = {
        name: {"orchestration_root": str(tmp_path / name), "orchestration_lock": str(tmp_path / f"{name}.lock")}
        for name in ("one", "two")
    }
    common = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, "orchestration_serial": 2}
    inventory = tmp_path / "inventory.yml"
    inventory.write_text(yaml.safe_dump({"orchestration": {"hosts": hosts, "vars": common}}))
    return inventory


def test_every_playbook_takes_a_limit(two: Path) -> None:
    playbooks = sorted((ROOT / "playbooks").glob("*.yml"))
    assert len(playbooks) > 8
    listed = limited(two, "--list-hosts", *map(str, playbooks))
    hosts = [line.strip() for line in listed.splitlines() if line.startswith("      ")]
    assert "one" in hosts and "two" not in hosts


def test_a_limit_changes_only_its_host(tmp_path: Path, two: Path) -> None:
    play = {
        "name": "Test",
        "hosts": "orchestration",
        "gather_facts": False,
        "serial": str(load("playbooks/upgrade.yml")[1]["serial"]),
        "tasks": [
            *(role(service, "load_variables") for service in SERVICES),
            role("common", "check_rollout"),
            ACQUIRE,
            role("common", "secrets"),
            role("common", "release_lock"),
        ],
    }
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play]))
    output = limited(two, str(tmp_path / "play.yml"))
    assert (tmp_path / "one/secrets/kestra_password").exists() and "two" not in output
    assert sorted(path.name for path in tmp_path.glob("two*")) == []
