"""The inventory plugin over the sidecar's program, as ansible-inventory reads it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from ..sidecar.service import TOKENS, Service
from .kestra import ROOT

PLUGIN = ROOT / "plugins" / "inventory" / "multipass.py"


def read(path: Path, *arguments: str, token: str | None = TOKENS["read"]) -> subprocess.CompletedProcess[str]:
    """Read an inventory file; the token comes from the environment."""
    environment = {**os.environ, "ANSIBLE_INVENTORY_UNPARSED_FAILED": "true"}
    environment |= {"SIDECAR_TOKEN": token} if token else {}
    program = Path(sys.executable).with_name("ansible-inventory")
    command = [str(program), "--inventory", str(path), "--list", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False, env=environment, cwd=path.parent
    )


def parsed(text: str) -> dict[str, Any]:
    """Read what is printed; what came from elsewhere is marked there as no template."""

    def unmarked(value: dict[str, Any]) -> Any:
        return value.get("__ansible_unsafe", value)

    found: dict[str, Any] = json.loads(text, object_hook=unmarked)
    return found


def listed(path: Path, sidecar: Service, **options: Any) -> dict[str, Any]:
    """Write an inventory file, and return what it gives."""
    content = {"plugin": "devorch.orchestration.multipass", "url": sidecar.url, **options}
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    done = read(path)
    assert done.returncode == 0, done.stderr
    assert TOKENS["read"] not in done.stdout + done.stderr
    return parsed(done.stdout)


@pytest.fixture
def machines(sidecar: Service) -> None:
    sidecar.world.set(**{"web-1": "Running", "db-1": "Stopped", "old-1": "Deleted"})
    body = {"instances": [{"name": "web-1"}, {"name": "db-1"}]}
    assert sidecar.http.put("/environments/my-stage", json=body).status_code in (200, 201)


@pytest.mark.usefixtures("machines")
def test_hosts_groups_and_variables(sidecar: Service, tmp_path: Path) -> None:
    found = listed(tmp_path / "x.multipass.yml", sidecar)
    groups = {name: group["hosts"] for name, group in found.items() if name != "_meta" and "hosts" in group}
    assert groups == {
        "state_running": ["web-1"],
        "state_stopped": ["db-1"],
        "image_24_04_lts": ["db-1", "web-1"],
        "environment_my_stage": ["db-1", "web-1"],
    }
    variables = found["_meta"]["hostvars"]
    assert variables["web-1"]["ansible_host"] == "10.21.77.10"
    assert variables["web-1"]["ansible_user"] == "ubuntu"
    assert variables["web-1"]["multipass_environments"] == ["my-stage"]
    assert variables["web-1"]["multipass_memory"]["total"] == 1024**3
    assert "ansible_host" not in variables["db-1"]


@pytest.mark.usefixtures("machines")
def test_constructed_variables_and_the_cache(sidecar: Service, tmp_path: Path) -> None:
    """The second of the EXAMPLES as it is written, but for its address and the cache's directory."""
    _first, example = yaml.safe_load_all(PLUGIN.read_text("utf-8").split('EXAMPLES = r"""')[1].split('"""')[0])
    path = tmp_path / "multipass.yaml"
    example |= {"cache_connection": str(tmp_path / "cache"), "url": sidecar.url}
    found = listed(path, sidecar, **example)
    assert found["role_web"]["hosts"] == ["web-1"]
    assert found["_meta"]["hostvars"]["web-1"]["multipass_gigabytes"] == 1.0
    assert "db-1" not in found["_meta"]["hostvars"]
    sidecar.world.set(**{"web-2": "Running"})
    assert "web-2" not in listed(path, sidecar, **example)["_meta"]["hostvars"]
    assert "web-2" in parsed(read(path, "--flush-cache").stdout)["_meta"]["hostvars"]


@pytest.mark.usefixtures("machines")
def test_strict_tells_an_expression_that_fails(sidecar: Service, tmp_path: Path) -> None:
    options = {"compose": {"gone": "multipass_ipv4[7]"}}
    assert "gone" not in listed(tmp_path / "multipass.yml", sidecar, **options)["_meta"]["hostvars"]["web-1"]
    content = {"plugin": "devorch.orchestration.multipass", "url": sidecar.url, "strict": True, **options}
    (tmp_path / "multipass.yml").write_text(yaml.safe_dump(content), encoding="utf-8")
    failed = read(tmp_path / "multipass.yml")
    assert failed.returncode != 0 and "gone" in failed.stderr


@pytest.mark.parametrize(
    ("options", "token", "message"),
    [
        ({}, "wrong", "Could not list the environments: HTTP 401"),
        ({}, None, "Set token"),
        ({"url": "http://127.0.0.1:9", "retries": 0}, "x", "connection refused by 127.0.0.1:9"),
        ({"url": "nowhere"}, "x", "url is 'nowhere'"),
    ],
)
def test_failures_name_file_and_way_out(
    sidecar: Service, tmp_path: Path, options: dict[str, Any], token: str | None, message: str
) -> None:
    path = tmp_path / "multipass.yml"
    content = {"plugin": "devorch.orchestration.multipass", "url": sidecar.url, **options}
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    done = read(path, token=token)
    assert done.returncode != 0
    words = " ".join(done.stderr.split())
    assert message in words and "multipass.yml" in words
