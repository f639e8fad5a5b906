"""Every linter over the whole checkout, each as one test."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
COLLECTIONS = os.environ["ANSIBLE_COLLECTIONS_PATH"]
MYPY = ["mypy", "--config-file", "pyproject.toml"]
LINTERS = [
    ["ruff", "check", "."],
    ["ruff", "format", "--check", "."],
    ["yamllint", "--strict", "."],
    ["ansible-lint", "--strict", "--nocolor"],
    ["antsibull-changelog", "lint"],
    # Plugins import each other by the collection's name. Modules also run on hosts with Python 3.10.
    [*MYPY, "--python-version=3.10", "--package", "ansible_collections.devorch.orchestration.plugins"],
    [*MYPY, "roles/sidecar/files"],
    [*MYPY, "--python-version=3.10", "roles/backup/files"],
    [*MYPY, "tests/faults", "tests/images", "tests/lint"],
]


def test_pre_commit_runs_the_same_linters() -> None:
    configuration = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))
    hooks = [hook for repository in configuration["repos"] for hook in repository["hooks"]]
    assert [hook["entry"].removeprefix("env MYPYPATH=.collections ").split() for hook in hooks] == LINTERS


@pytest.mark.parametrize("command", LINTERS, ids=lambda command: " ".join(command[:1] + command[-1:]))
def test_linter_finds_nothing(command: list[str]) -> None:
    result = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | {"MYPYPATH": COLLECTIONS},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    assert result.returncode == 0, f"{' '.join(command)}:\n{result.stdout}"
