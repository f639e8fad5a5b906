"""The EXAMPLES of `secrets` and `host_info`, run as they stand, and what the modules print."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from ansible_collections.devorch.orchestration.plugins.modules import host_info, secrets

from .playbook import play


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
    assert result["service_image"] == "docker.io/kestra/kestra:v2.0.5"
    assert result["memory_bytes"] > 0
    assert result["disk_free_bytes"] > 0
    assert set(result["docker"]) == {"engine", "compose"}


def test_registry_that_does_not_answer_is_told(tmp_path: Path) -> None:
    task = {"devorch.orchestration.host_info": {"images": ["no/such:image"], "registries": ["http://127.0.0.1:9"]}}
    result = play(tmp_path, [task]).last
    assert result["missing_images"] == ["no/such:image"]
    assert result["service_image"] == ""
    assert "refused" in result["registry_problems"]["http://127.0.0.1:9"].lower()
