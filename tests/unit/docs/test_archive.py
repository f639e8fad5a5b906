"""The archive that users install: complete, without files for developers, and usable after the installation."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory for ANSIBLE_COLLECTIONS_PATH with the built archive installed in it."""
    directory = tmp_path_factory.mktemp("archive")
    environment = os.environ | {"HOME": str(directory), "ANSIBLE_COLLECTIONS_PATH": str(directory)}
    for command in (
        ["ansible-galaxy", "collection", "build", str(ROOT), "--output-path", str(directory)],
        ["ansible-galaxy", "collection", "install", "--offline", "--force", "-p", str(directory)],
    ):
        archives = [str(path) for path in directory.glob("*.tar.gz")]
        subprocess.run(command + archives, env=environment, check=True, capture_output=True)
    return directory


def run(installed: Path, *command: str) -> str:
    environment = os.environ | {"HOME": str(installed), "ANSIBLE_COLLECTIONS_PATH": str(installed)}
    done = subprocess.run(command, cwd=installed, env=environment, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_contains_what_users_need_and_no_more(installed: Path) -> None:
    top = {path.name for path in (installed / "ansible_collections" / "devorch" / "orchestration").iterdir()}
    assert {"roles", "plugins", "playbooks", "templates", "kestra-flows", "inventories", "README.md", "LICENSE"} <= top
    assert not top & {
        "tests",
        "molecule",
        "Makefile",
        ".ci",
        ".collections",
        "requirements.lock",
        "pyproject.toml",
        ".git",
        ".github",
        ".gitignore",
        ".pre-commit-config.yaml",
    }


@pytest.mark.parametrize("playbook", sorted(path.stem for path in (ROOT / "playbooks").glob("*.yml")))
def test_playbook_is_found_by_its_name(installed: Path, playbook: str) -> None:
    run(installed, "ansible-playbook", "-i", "localhost,", "--syntax-check", f"devorch.orchestration.{playbook}")


def test_documentation_is_found(installed: Path) -> None:
    modules = run(installed, "ansible-doc", "--list", "devorch.orchestration")
    for path in (ROOT / "plugins" / "modules").glob("*.py"):
        assert f"devorch.orchestration.{path.stem}" in modules
    roles = run(installed, "ansible-doc", "--type", "role", "--list", "devorch.orchestration")
    for path in (ROOT / "roles").iterdir():
        assert f"devorch.orchestration.{path.name}" in roles
