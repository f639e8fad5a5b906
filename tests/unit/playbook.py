"""Run a few tasks with the real ansible-playbook, on this machine, and read the results."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml


@dataclass
class Played:
    """What a run has shown: a result for each task that ran, in order, and all of the output."""

    returncode: int
    results: list[dict[str, Any]]
    output: str

    @property
    def last(self) -> dict[str, Any]:
        return self.results[-1]


def _run(
    directory: Path,
    tasks: list[dict[str, Any]] | str,
    arguments: tuple[str, ...],
    play_keys: dict[str, Any],
    environment: dict[str, str],
) -> subprocess.CompletedProcess[str]:
    playbook = directory / "play.yml"
    keys = dict(play_keys)
    variables = {"ansible_python_interpreter": sys.executable, **keys.pop("vars", {})}
    content = {"name": "Test", "hosts": "localhost", "connection": "local", "gather_facts": False, "vars": variables}
    if isinstance(tasks, str):
        text = yaml.safe_dump([{**content, **keys}], sort_keys=False, allow_unicode=True)
        text += "  tasks:\n" + textwrap.indent(tasks, "    ")
    else:
        text = yaml.safe_dump([{**content, **keys, "tasks": tasks}], sort_keys=False, allow_unicode=True)
    playbook.write_text(text, encoding="utf-8")
    return subprocess.run(
        [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "localhost,", str(playbook), *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={
            **os.environ,
            "ANSIBLE_LOCALHOST_WARNING": "false",
            "ANSIBLE_RETRY_FILES_ENABLED": "false",
            "ANSIBLE_LOCAL_TEMP": str(directory / ".ansible-local"),
            "ANSIBLE_REMOTE_TEMP": str(directory / ".ansible-remote"),
            **environment,
        },
    )


def play(
    directory: Path,
    tasks: list[dict[str, Any]] | str,
    *arguments: str,
    environment: dict[str, str] | None = None,
    play_keys: dict[str, Any] | None = None,
) -> Played:
    """Run tasks, or the text of tasks, against localhost from a playbook in `directory`; failing ones are results."""
    variables = {"ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json", **(environment or {})}
    finished = _run(directory, tasks, arguments, play_keys or {}, variables)
    output = finished.stdout + finished.stderr
    start = finished.stdout.find("{\n")
    assert start >= 0, output
    report, _end = json.JSONDecoder().raw_decode(finished.stdout[start:])
    ran = [task["hosts"] for each in report["plays"] for task in each["tasks"]]
    # One that includes others has no result.
    results = [hosts["localhost"] for hosts in ran if hosts]
    return Played(finished.returncode, results, output)


def play_plainly(directory: Path, task: dict[str, Any], *arguments: str) -> str:
    """Run one task and return what a person sees."""
    return _run(directory, [task], arguments, {}, {"ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default"}).stdout
