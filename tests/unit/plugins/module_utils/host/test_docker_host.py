"""What a host with a Docker of its own has in it, and where apt has its packages from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.devorch.orchestration.plugins.module_utils.host import docker_host, json_merge

INFO = {
    "DockerRootDir": "/srv/docker",
    "LiveRestoreEnabled": True,
    "HttpProxy": "http://me:swordfish@proxy:3128",
    "Swarm": {"LocalNodeState": "active"},
    "DefaultAddressPools": [{"Base": "10.202.0.0/16", "Size": 24}],
}
INSPECTED = [
    {"Name": "bridge", "IPAM": {"Config": [{"Subnet": "10.9.0.0/24", "Gateway": "10.9.0.1"}]}},
    {"Name": "mine_default", "IPAM": {"Config": None}},
]


def lines(*rows: Sequence[str]) -> str:
    return "".join("\t".join(json.dumps(field) for field in row) + "\n" for row in rows)


LISTED = lines(
    ("1", "mine-n8n-1", "", "mine", "False", "running"),
    ("2", "web", "", "", "", "running"),
    ("3", "other-job-1", "", "other", "False", "exited"),
)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(docker_host, "CONFIGURATION", tmp_path / "daemon.json")
    monkeypatch.setattr(docker_host, "APT", tmp_path / "apt")
    monkeypatch.setattr(docker_host, "DATA_ROOT", str(tmp_path / "docker"))
    return tmp_path


def ask(command: Sequence[str]) -> str:
    printed = {
        docker_host.INFO: json.dumps(INFO),
        docker_host.VOLUMES: lines(("mine_data", "mine"), ("other_data", "other"), ("f" * 64, "")),
        docker_host.NETWORKS: lines(("bridge", ""), ("none", ""), ("mine_default", "mine"), ("front", "")),
        ("docker", "network", "inspect", "bridge", "mine_default"): json.dumps(INSPECTED),
    }
    return printed[tuple(command)]


def test_everything_of_others_is_named(place: Path) -> None:
    (place / "daemon.json").write_text(json.dumps({"mtu": 1400, "proxies": {"http-proxy": "http://a:swordfish@b"}}))
    found = docker_host.look(ask, lambda: LISTED, place / "root", "mine")
    assert "swordfish" not in json.dumps(found)
    assert found.pop("own")["mtu"] == 1400
    assert found == {
        "swarm": "active",
        "live_restore": True,
        "data_root": "/srv/docker",
        "proxy": True,
        "pools": ["10.202.0.0/16"],
        "problem": "",
        "others": {
            "containers": ["other-job-1", "web"],
            "running": ["web"],
            "volumes": ["f" * 64, "other_data"],
            "networks": ["front"],
        },
        "networks": {"bridge": ["10.9.0.0/24"], "mine_default": []},
    }


def test_docker_that_does_not_run_is_known_by_its_data(place: Path) -> None:
    (place / "daemon.json").write_text(json.dumps({"data-root": str(place / "srv")}))
    for name, labels in {"web": {}, "mine-n8n-1": {"com.docker.compose.project": "mine"}}.items():
        path = place / "srv" / "containers" / name / "config.v2.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps({"Name": f"/{name}", "Config": {"Labels": labels}}))
    (place / "srv" / "volumes" / "data" / "_data").mkdir(parents=True)
    (place / "srv" / "volumes" / "metadata.db").touch()
    found = docker_host.look(lambda command: "", lambda: "", place / "root", "mine")
    assert found["data_root"] == str(place / "srv")
    assert found["others"] == {"containers": ["web"], "running": [], "volumes": ["data"], "networks": []}


@pytest.mark.parametrize("record", ["rollback", "former", "none"])
def test_keys_of_a_version_without_a_record_are_not_the_hosts(place: Path, record: str) -> None:
    path = place / "daemon.json"
    path.write_text('{"live-restore": true}')
    good = json_merge.LastKnownGood(place / "root" / record / "docker")
    good.commit({path: json_merge.read(path)}, {})
    path.write_text('{"live-restore": true, "mtu": 1400}')
    own: dict[str, Any] = {"mtu": 1400} if record != "none" else {"live-restore": True, "mtu": 1400}
    assert docker_host.configuration(place / "root", path) == {"own": own, "problem": ""}
    (place / "root" / "docker").mkdir()
    (place / "root" / "docker" / "daemon.json").write_text('{"mtu": 1400}')
    assert docker_host.configuration(place / "root", path)["own"] == {"live-restore": True}
    path.write_text("{")
    assert docker_host.configuration(place / "root", path)["problem"].startswith(f"{path}: is not JSON")


def test_apt_sources(place: Path) -> None:
    parts = place / "apt" / "sources.list.d"
    parts.mkdir(parents=True)
    (place / "apt" / "sources.list").write_text("deb http://deb.example.com/debian trixie main\n")
    (parts / "docker.list").write_text(
        "# deb https://off.example.com/ trixie stable\n"
        "deb [arch=amd64 signed-by=/etc/apt/keyrings/docker.gpg] https://me:swordfish@a.example.com/debian/ x y\n"
    )
    (parts / "docker.sources").write_text(
        "# Ansible managed\nTypes: deb\nURIs: https://b.example.com/1/ https://b.example.com/2\nSuites: trixie\n"
        "Signed-By: /k.asc\n\nTypes: deb\nURIs: https://c.example.com\nEnabled: no\n\n"
        "Types: deb\nURIs: https://d.example.com\nSigned-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc\n"
    )
    (parts / "old.list.save").write_text("deb https://e.example.com trixie main\n")
    assert [(Path(each["path"]).name, each["uri"], each["signed_by"]) for each in docker_host.apt_sources()] == [
        ("sources.list", "http://deb.example.com/debian", ""),
        ("docker.list", "https://a.example.com/debian", "/etc/apt/keyrings/docker.gpg"),
        ("docker.sources", "https://b.example.com/1", "/k.asc"),
        ("docker.sources", "https://b.example.com/2", "/k.asc"),
        ("docker.sources", "https://d.example.com", "a key in the file"),
    ]
