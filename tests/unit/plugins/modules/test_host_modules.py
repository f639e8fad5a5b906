"""The EXAMPLES of `secrets` and `host_info`, run as they stand, and what the modules print."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from ansible_collections.devorch.orchestration.plugins.module_utils.host import docker_host
from ansible_collections.devorch.orchestration.plugins.modules import doctor_info, host_info, secrets

from ...in_process import call
from ...playbook import play


def example(module: Any, directory: Path) -> list[dict[str, Any]]:
    return yaml.safe_load(module.EXAMPLES.replace("/opt/orchestration", str(directory / "root")))


def test_example_of_secrets(tmp_path: Path) -> None:
    checked = play(tmp_path, example(secrets, tmp_path), "--check")
    assert checked.returncode == 0
    assert not (tmp_path / "root").exists()
    first = play(tmp_path, example(secrets, tmp_path), "-vvv", "--diff")
    assert first.returncode == 0
    files = {path.name: path.read_text() for path in (tmp_path / "root" / "secrets").iterdir()}
    assert set(files) == {"application_password", "application_key"}
    assert not [name for name, value in files.items() if value in first.output]
    second = play(tmp_path, example(secrets, tmp_path))
    assert second.last["changed"] is False


def test_given_secret_is_handed_on_unmasked(tmp_path: Path) -> None:
    """A result that hid the given value would put asterisks into a password."""
    keep = {
        "devorch.orchestration.secrets": {
            "path": str(tmp_path / "secrets"),
            "secrets": {"login": {"value": "given-one"}},
        },
        "register": "kept",
        "no_log": True,
    }
    compare = {"ansible.builtin.assert": {"that": "kept.secrets.login == 'given-one'"}}
    assert play(tmp_path, [keep, compare]).returncode == 0


def test_wrong_secret_is_a_sentence(tmp_path: Path) -> None:
    task = {
        "devorch.orchestration.secrets": {"path": str(tmp_path / "secrets"), "secrets": {"login": {"value": ""}}},
    }
    failed = play(tmp_path, [task])
    assert failed.last["msg"].startswith("secret login: the value given is empty; leave the variable out")
    assert not (tmp_path / "secrets").exists()


def test_example_of_host_info(tmp_path: Path) -> None:
    (tmp_path / "root" / "versions").mkdir(parents=True)
    (tmp_path / "root" / "versions" / "kestra").write_text("docker.io/kestra/kestra:v2.0.5\n")
    played = play(tmp_path, example(host_info, tmp_path))
    assert played.returncode == 0
    result = played.last
    assert result["changed"] is False
    assert result["versions"] == {"kestra": "docker.io/kestra/kestra:v2.0.5"}
    assert result["memory_bytes"] > 0
    assert result["disk_free_bytes"] > 0
    assert set(result["docker"]) == {"engine", "compose"}
    assert str(tmp_path / "root" / "versions" / "kestra") in result["files"]
    assert yaml.safe_load(host_info.RETURN).keys() <= result.keys()


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that comes first where programs are looked for, with a docker that fails."""
    directory = tmp_path / "bin"
    directory.mkdir()
    write_program(directory, "docker", "exit 1")
    monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")
    for name in ("CONFIGURATION", "APT"):
        monkeypatch.setattr(docker_host, name, tmp_path / "nothing")
    monkeypatch.setattr(docker_host, "DATA_ROOT", str(tmp_path / "nothing"))
    return directory


def write_program(directory: Path, name: str, text: str) -> None:
    (directory / name).write_text(f"#!/bin/sh\n{text}\n")
    (directory / name).chmod(0o755)


def test_bare_host_has_all_keys(tmp_path: Path, programs: Path) -> None:
    for name in ("systemctl", "dpkg-query"):
        write_program(programs, name, "exit 1")
    asked = {"units": ["docker.service"], "packages": ["docker.io"], "services": ["n8n"], "python": "/no/python"}
    lists = {"users": ["no-such-user"], "paths": ["/no/such/file"], "images": {"no/such:image": None}}
    result = call("host_info", {"root": str(tmp_path / "root"), "lock": str(tmp_path / "lock"), **asked, **lists})
    assert result.pop("failed") is False
    assert result.pop("changed") is False
    assert result.keys() == yaml.safe_load(host_info.RETURN).keys()
    for key in ("memory_bytes", "disk_free_bytes", "groups", "listeners", "addresses"):
        result.pop(key)
    assert result == {
        "docker": {"engine": "", "compose": ""},
        "docker_host": {
            **dict.fromkeys(("swarm", "problem"), ""),
            **dict.fromkeys(("live_restore", "proxy"), False),
            "data_root": str(tmp_path / "nothing"),
            "pools": [],
            "own": {},
            "others": {"containers": [], "running": [], "volumes": [], "networks": []},
            "networks": {},
        },
        "apt_sources": [],
        "packages": {},
        "units": {},
        "files": {},
        "services": {"n8n": {"committed": "", "config_hash": "", "differing": []}},
        "containers": {},
        "calendars": {},
        "images": {},
        "missing_images": ["no/such:image"],
        "registry_problems": {},
        "versions": {},
        "postgres_major": "",
        "databases": {"reachable": False, "roles": {}, "databases": {}},
        "marked_root": "",
        "other_roots": [],
        "n8n_owner": {"known": True, "email": "", "managed": False},
        "secrets": [],
        "users": {},
        "python": "",
        "interrupted_restore": False,
        "lock": {"held_by": ""},
    }


def test_docker_that_hangs_is_left(tmp_path: Path, programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_program(programs, "docker", "sleep 60 & sleep 60")
    monkeypatch.setattr(host_info, "LIMIT", 1.0)
    (tmp_path / "compose.yml").write_text("services: {}\n")
    started = time.monotonic()
    result = call("host_info", {"root": str(tmp_path), "images": {"postgres:17": []}})
    assert time.monotonic() - started < 20
    assert result["failed"] is False
    assert result["docker"] == {"engine": "", "compose": ""}
    assert result["missing_images"] == ["postgres:17"]


def test_state_of_a_host(tmp_path: Path, programs: Path) -> None:
    for name, text in {
        "data/postgres/pgdata/PG_VERSION": "17\n",
        "backups/restore.json": "{}",
        "secrets/n8n_database_password": "a-secret-value",
        "marker": json.dumps({"root": "/srv/other"}),
        "lock": json.dumps({"run": {"owner": "me@here", "controller": "", "process": ""}, "taken": 1, "renewed": 1}),
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    paths = {"root": str(tmp_path), "lock": str(tmp_path / "lock"), "marker": str(tmp_path / "marker")}
    options = {**paths, "python": sys.executable}
    result = call("host_info", options)
    assert result["postgres_major"] == "17"
    assert result["interrupted_restore"] is True
    assert (result["marked_root"], result["other_roots"]) == ("/srv/other", ["/srv/other"])
    assert result["secrets"] == ["n8n_database_password"]
    assert result["lock"] == {"held_by": "me@here"}
    assert result["python"] == f"{sys.version_info[0]}.{sys.version_info[1]}"
    assert "a-secret-value" not in json.dumps(result)


def test_registry_that_does_not_answer_is_told(tmp_path: Path, programs: Path) -> None:
    images = {"no/such:image": ["http://127.0.0.1:9"], "no name": ["http://127.0.0.1:9"]}
    result = call("host_info", {"root": str(tmp_path), "images": images})
    assert result["missing_images"] == list(images)
    assert "refused" in result["registry_problems"]["no/such:image"]["http://127.0.0.1:9"].lower()
    assert "is not a valid image reference" in result["registry_problems"]["no name"]["http://127.0.0.1:9"]


DOCKER_BEHIND_A_FIREWALL = """
case "$1 $2 $4" in
  "container inspect "*) echo true ;;
  "network inspect "*) echo '"172.18.0.0/16"' ;;
  "exec orchestration-kestra-1 "*) echo "curl: (28) timed out" >&2; exit 28 ;;
  "exec orchestration-n8n-1 "*) ;;
  *) exit 1 ;;
esac
"""


def test_doctor_asks_the_containers_for_the_sidecar(tmp_path: Path, programs: Path) -> None:
    write_program(programs, "docker", DOCKER_BEHIND_A_FIREWALL)
    images = {"kestra": "kestra/kestra:v2", "n8n": "n8nio/n8n:2"}
    module = SimpleNamespace(
        params={"root": "/", "project": "orchestration", "docker": {"engine": "26"}, "services": images},
        get_bin_path=lambda name: str(programs / name),
        run_command=run_command,
    )
    module.params["container_url"] = "http://host.docker.internal:8090"
    assert doctor_info.Collector(module).from_containers() == {
        "reached": {"kestra": "curl: (28) timed out", "n8n": ""},
        "subnet": "172.18.0.0/16",
        "port": 8090,
    }
    module.params["container_url"] = None
    assert doctor_info.Collector(module).from_containers() == {"reached": {}}


def run_command(command: list[str]) -> tuple[int, str, str]:
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    return ended.returncode, ended.stdout, ended.stderr
