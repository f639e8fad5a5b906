"""Measure: `python -m tests.bench_site --rounds 5 --hosts 10`, or `make bench-site`."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..integration.kestra import ROOT
from . import fleet
from .report import Counts, Results, counts, document, table

HERE = Path(__file__).parent
HOST = "devorch-bench-site"
NOTES = (
    "One host: a container with systemd and a Docker of its own, reached with the connection plugin of "
    "community.docker. Several hosts: copies of it, reached over SSH as a user whose sudo asks for a password. A copy "
    "has all files and units of the first host, but its Docker socket and the sockets of the services lead there: the "
    "same containers answer for all copies, on the processors that the controller works on as well.",
    "The floor is a play on the same hosts that gathers facts and runs `ansible.builtin.stat` five times. It is "
    "measured before and after each run, and a run's ratio is to the mean of the two.",
    "Seconds are those of the whole `ansible-playbook`, from its start to its end.",
    "Modules executed: calls of Ansible that send a module to a host and run it there, of all hosts together; what "
    "runs on the controller does not count. Commands are all that the connection executes, with those that run a "
    "module; transfers are the files that it copies.",
    "Tasks shown are the headings in the output.",
)


def say(text: str) -> None:
    print(f"== {time.strftime('%H:%M:%S')} {text}", flush=True)


@dataclass
class Bench:
    """Runs of Ansible on some hosts, timed and counted."""

    inventory: Path
    hosts: list[str]
    rounds: int
    results: Results = field(default_factory=Results)

    def run(self, playbook: Path, *arguments: str) -> tuple[float, Counts]:
        """Run a playbook; return its seconds and counts."""
        with tempfile.TemporaryDirectory() as directory:
            noted = Path(directory) / "counts"
            noted.touch()
            more = {
                "ANSIBLE_CALLBACK_PLUGINS": str(HERE / "callbacks"),
                "ANSIBLE_CALLBACKS_ENABLED": "bench_site",
                "BENCH_SITE_COUNTS": str(noted),
            }
            command = ["ansible-playbook", "--inventory", str(self.inventory), str(playbook), *arguments]
            started = time.monotonic()
            done = subprocess.run(
                command,
                cwd=ROOT,
                env={**os.environ, **more},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
            seconds = time.monotonic() - started
            assert done.returncode == 0, done.stdout[-8000:]
            found = counts((json.loads(line) for line in noted.read_text("utf-8").splitlines()), done.stdout)
            assert set(found.changed) == set(self.hosts), found.changed
            return seconds, found

    def site(self, *arguments: str) -> tuple[float, Counts]:
        return self.run(ROOT / "playbooks" / "site.yml", *arguments)

    def floor(self) -> float:
        seconds, found = self.run(HERE / "floor.yml")
        assert found.modules == 6 * len(self.hosts), found
        return seconds

    def measure(self, cases: Mapping[str, tuple[Callable[[], tuple[float, Counts]], bool]]) -> None:
        """Measure the cases in turns, each with the floor before and after it."""
        for number in range(self.rounds):
            say(f"round {number + 1} of {self.rounds}, {len(self.hosts)} {'host' if len(self.hosts) == 1 else 'hosts'}")
            before = self.floor()
            for case, (call, changes) in cases.items():
                seconds, found = call()
                assert all(bool(changed) is changes for changed in found.changed.values()), (case, found.changed)
                after = self.floor()
                self.results.add(case, len(self.hosts), seconds, (before, after), found)
                say(f"  {case:8} {seconds:7.2f} s   floor {before:.2f} and {after:.2f} s   modules {found.modules}")
                before = after


def inventory(path: Path, hosts: Mapping[str, Mapping[str, Any]], variables: Mapping[str, Any]) -> Path:
    """Write an inventory that only this user can read."""
    content = {"orchestration": {"hosts": hosts, "vars": variables}}
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as stream:
        json.dump(content, stream)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench_site", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="how often each run is measured (default 5)")
    parser.add_argument("--hosts", type=int, default=10, help="how many hosts behind one controller; 0: one only")
    parser.add_argument("--host", default=HOST, help="the converged test host; made and provisioned where it is not")
    parser.add_argument(
        "--output", type=Path, default=ROOT / "docs/development/bench-site.md", help="the page to write"
    )
    options = parser.parse_args()
    load = os.getloadavg()[0]
    variables = fleet.prepare()
    fleet.hosts.up(options.host)
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        directory = Path(name)
        container = {
            "ansible_connection": "community.docker.docker",
            "ansible_python_interpreter": "/usr/bin/python3",
        }
        path = inventory(directory / "one.json", {options.host: container}, variables)
        one = Bench(path, [options.host], options.rounds)
        one.results.machine = f"on {os.cpu_count()} processors with a load of {load:.1f} before the first measurement"
        say("site.yml, not measured: about 5 minutes on a bare host")
        one.site()
        one.measure(
            {
                "nothing": (one.site, False),
                "check": (lambda: one.site("--check"), False),
                "change": (lambda: one.site("--extra-vars", "kestra_log_level=DEBUG"), True),
                "back": (one.site, True),
            }
        )
        print(table(one.results, 1))
        if options.hosts:
            names = [f"{options.host}-{number}" for number in range(1, options.hosts + 1)]
            try:
                say(f"making {options.hosts} copies of {options.host}")
                copies = fleet.copy(options.host, names, directory)
                reached = {copy.name: copy.variables() for copy in copies}
                path = inventory(
                    directory / "many.json", reached, variables | {"ansible_become_password": copies[0].password}
                )
                many = Bench(path, names, options.rounds, one.results)
                many.measure({"nothing": (many.site, False), "check": (lambda: many.site("--check"), False)})
                print(table(many.results, len(names)))
            finally:
                fleet.remove(options.host, names)
    when = time.strftime("%d %B %Y").lstrip("0")
    options.output.write_text(document(one.results, when, options.rounds, NOTES), encoding="utf-8")
    say(f"written: {options.output}; {options.host} stays for the next time, `make clean` removes it")


if __name__ == "__main__":
    main()
