"""Hosts that molecule scenarios make, and what tests do with them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]

# Everything that commands on the controller have printed; the last test looks for secrets in it.
PRINTED: list[Run] = []


@dataclass(frozen=True)
class Run:
    """A finished command: its output, and the counts of Ansible's recap."""

    host: str
    command: str
    code: int
    output: str

    @property
    def recap(self) -> dict[str, int]:
        lines = [line for line in self.output.splitlines() if re.match(rf"{self.host}\s+: ok=", line)]
        assert lines, f"{self.command} printed no recap:\n{self.output[-4000:]}"
        return {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", lines[-1])}

    def of(self, host: str) -> str:
        """Return what the run said of one host: the results of its failures, and its line of the recap."""
        # Ansible's own [ERROR] lines of several hosts are in any order; a result follows its host.
        failed = rf"^(?:fatal|failed): \[{re.escape(host)}\].*\n((?:[ \t].*\n|\n(?=[ \t]))*)"
        said = []
        for match in re.finditer(failed, self.output, re.M):
            hidden = "censored" in match[1]
            said.append(
                self.output[: match.start()].rpartition("[ERROR]: ")[2].partition("\nOrigin:")[0]
                if hidden
                else match[1]
            )
        said += re.findall(rf"^{re.escape(host)} +: .*$", self.output, re.M)
        return " ".join(" ".join(said).split())

    @property
    def tasks(self) -> dict[str, str]:
        """What happened in each task, by role and name: C(changed) where it changed at any time, else C(ok)."""
        found: dict[str, str] = {}
        name = ""
        for line in self.output.splitlines():
            if match := re.match(r"(?:TASK|RUNNING HANDLER|PLAY) \[(?:devorch\.orchestration\.)?(.*)\] \*+$", line):
                name = match[1]
            elif (match := re.match(rf"(ok|changed): \[{self.host}", line)) and found.get(name) != "changed":
                found[name] = match[1]
        return found

    def succeeded(self) -> Run:
        assert self.code == 0, f"{self.command} ended with {self.code}:\n{self.output[-8000:]}"
        return self


class Host:
    """The test host and the commands that reach it."""

    def __init__(self, scenario: str, say: Callable[[str], None], name: str | None = None) -> None:
        self.scenario = scenario
        self.name = name or f"devorch-{scenario}"
        self.say = say

    @classmethod
    def made(cls, scenario: str, say: Callable[[str], None]) -> Iterator[Host]:
        """Make the host of a scenario, and remove it in the end (unless DEVORCH_KEEP_HOST is set)."""
        host = cls(scenario, say)
        # What an interrupted run left is no empty host, and molecule may take one for there that `make clean` removed.
        host.molecule("destroy", about="seconds").succeeded()
        host.molecule("create", about="seconds").succeeded()
        yield host
        if not os.environ.get("DEVORCH_KEEP_HOST"):
            host.molecule("destroy", about="seconds").succeeded()

    def run(self, *command: str, about: str) -> Run:
        """Run a command on the controller, its output kept; C(about) tells how long it may take."""
        self.say(f"{' '.join(command[:6])} ({about})")
        result = subprocess.run(
            command,
            cwd=ROOT,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        run = Run(self.name, " ".join(command), result.returncode, re.sub(r"\x1b\[[0-9;]*m", "", result.stdout))
        PRINTED.append(run)
        return run

    def molecule(self, step: str, *arguments: str, about: str) -> Run:
        return self.run("molecule", step, "--scenario-name", self.scenario, *arguments, about=about)

    def site(self, variables: dict[str, Any], *arguments: str, about: str) -> Run:
        """Run the scenario's playbook with more variables."""
        extra = json.dumps(variables)
        return self.molecule("converge", "--", "--extra-vars", extra, *arguments, about=about)

    def inventory(self, hosts: dict[str, dict[str, Any]], directory: Path) -> Path:
        """Write an inventory in which the host stands under these names, each with variables of its own."""
        scenario = yaml.safe_load((ROOT / "molecule" / self.scenario / "molecule.yml").read_text("utf-8"))
        shared = scenario["provisioner"]["inventory"]["group_vars"]["orchestration"]
        named = {name: {"ansible_host": self.name, **variables} for name, variables in hosts.items()}
        path = directory / "inventory.yml"
        path.write_text(yaml.safe_dump({"orchestration": {"hosts": named, "vars": shared}}), encoding="utf-8")
        return path

    def play(
        self, playbook: str, hosts: dict[str, dict[str, Any]], directory: Path, *arguments: str, about: str
    ) -> Run:
        """Run a playbook on the host under these names, in turns of four."""
        inventory = self.inventory(hosts, directory)
        return self.run(
            "ansible-playbook",
            playbook,
            "--inventory",
            str(inventory),
            "--forks",
            "4",
            "--diff",
            *arguments,
            about=about,
        )

    def playbook(self, name: str, variables: dict[str, Any], *arguments: str, about: str) -> Run:
        """Run one of the collection's playbooks with the scenario's variables and more."""
        extra = ["--extra-vars", json.dumps(variables)]
        with tempfile.TemporaryDirectory() as directory:
            return self.play(f"playbooks/{name}.yml", {self.name: {}}, Path(directory), *extra, *arguments, about=about)

    def put(self, file: Path, path: str) -> None:
        """Copy a file of the controller to the host."""
        self.run("docker", "cp", str(file), f"{self.name}:{path}", about="seconds").succeeded()

    def shell(self, script: str, check: bool = True, given: str = "") -> str:
        """Run a shell script on the host, with C(given) as its standard input, and return what it prints."""
        command = ["docker", "exec", "--interactive", self.name, "sh", "-c", script]
        result = subprocess.run(
            command, input=given, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
        )
        assert not check or result.returncode == 0, f"{script}: {result.stdout}"
        return result.stdout.strip()

    def wait(self, what: str, condition: Callable[[], bool], seconds: int) -> float:
        """Poll until the condition holds; return the seconds it took."""
        self.say(f"waiting until {what} ({seconds} s at most)")
        start = time.monotonic()
        while not condition():
            if time.monotonic() - start > seconds:
                pytest.fail(f"not within {seconds} s: {what}\n{self.shell('docker ps --all', check=False)}")
            time.sleep(1)
        return time.monotonic() - start

    def health(self, service: str) -> str:
        """Return Docker's word on a service's health; anything else where there is no container or no engine."""
        return self.shell(
            f"docker inspect --format '{{{{.State.Health.Status}}}}' orchestration-{service}-1", check=False
        )

    def up(self) -> bool:
        command = ["docker", "exec", self.name, "docker", "info", "--format", "{{.ServerVersion}}"]
        return (
            subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode == 0
        )
