"""Measure: `python -m tests.bench --sizes 100,1000,10000`, or `make bench`."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..faults.proxy import Proxy
from ..integration.kestra import ROOT, environment, render_configuration, start_kestra, start_postgres
from . import clients
from .clients import Server
from .flows import Bench, changed, fleet, write
from .report import Results, document, plot, table, targets

HERE = Path(__file__).parent
ROUNDS = {"nothing": 7, "one": 3, "all": 3}
LARGE = 10_000
PRUNED = 10
"""One in so many flows is pruned."""

NOTES = (
    "All tools get the same flows: 1 KB, 3 tasks, comments and unicode, spread over 10 namespaces. The server holds no "
    "others, because Kestra 2.0 compares each flow that is validated or written with every flow it holds. "
    "The tools run in turns on the same flows. The figures are medians, and the ratios are medians of the pairs.",
    "kestra_flows: `ansible-playbook` with one task and default options (8 requests in flight). The module's own time "
    "is its `seconds.total`. The whole task is the time from the start of the task to its result. It includes reading "
    "the files on the controller, the transfer, the start of Python and the return of the result.",
    "The floor: `http.client` on one connection. It asks for the version, lists the flows (1,000 per page) and "
    "fetches one archive of their sources. It does not use the answers, and it never reads a file.",
    "The empty module: a task in a play of its own, as kestra_flows has it, of a module that has no options and only "
    "returns. No task can take less.",
    "The concurrent client: `http.client` in 8 threads with a connection each. It reads as the floor does, compares "
    "the texts, validates what it writes (100 flows per request, as kestra_flows does) and writes. It keeps no "
    "record, finds no drift, rolls nothing back and parses no YAML.",
    "The kestrapy script: one GET per flow, and a PUT or POST if the source differs, one after the other.",
    "The uri loop: three looped tasks (GET, POST what is missing, PUT what differs), measured with {uri_flows} flows "
    "and stated per flow, because it is linear. It validates nothing.",
    "Because of that comparison, the server's time for all writes grows with the square of the number of flows, "
    "whatever the client is. So 10,000 flows are loaded by one tool, and the case of all changed is left out. Pruning "
    "1,000 of them had not finished after 7 minutes, and is left out as well.",
    "Peak memory: `ru_maxrss` of the process that runs the module, the maximum of all cases.",
)


def say(text: str) -> None:
    print(f"== {time.strftime('%H:%M:%S')} {text}", flush=True)


@dataclass
class Run:
    """Everything that one run of the measurements knows."""

    server: Server
    directory: Path
    uri_flows: int
    results: Results = field(default_factory=Results)

    def playbook(self, play: list[Mapping[str, Any]], url: str | None = None) -> list[dict[str, Any]]:
        """Run a play and return the times of its tasks; the play is a file, its arguments are no command line."""
        book, tasks = self.directory / "play.json", self.directory / "tasks.json"
        book.write_text(json.dumps(play))
        tasks.unlink(missing_ok=True)
        (self.directory / "memory").unlink(missing_ok=True)
        more = {
            "KESTRA_URL": url or self.server.url,
            "KESTRA_USERNAME": self.server.username,
            "KESTRA_PASSWORD": self.server.password,
            "ANSIBLE_CALLBACK_PLUGINS": str(HERE / "callbacks"),
            "ANSIBLE_LIBRARY": str(HERE / "library"),
            "ANSIBLE_CALLBACKS_ENABLED": "bench",
            "ANSIBLE_DISPLAY_OK_HOSTS": "false",
            "ANSIBLE_LOCALHOST_WARNING": "false",
            "ANSIBLE_INVENTORY_UNPARSED_WARNING": "false",
            "BENCH_TASKS": str(tasks),
            "BENCH_MEMORY": str(self.directory / "memory"),
            "BENCH_PYTHON": sys.executable,
        }
        done = subprocess.run(
            ["ansible-playbook", str(book)],
            cwd=ROOT,
            env={**os.environ, **more},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-4000:]
        return [json.loads(line) for line in tasks.read_text().splitlines()]

    def task(self, module: str, options: Mapping[str, Any], url: str | None = None) -> dict[str, Any]:
        """Run a module as the only task of a play and return what is known of it."""
        (task,) = self.playbook(
            [
                {
                    "hosts": "localhost",
                    "connection": "local",
                    "gather_facts": False,
                    "vars": {"ansible_python_interpreter": str(HERE / "interpreter")},
                    "tasks": [{module: options}],
                }
            ],
            url,
        )
        task["memory"] = int((self.directory / "memory").read_text()) / 1024
        return task

    def module(self, flows: Path, url: str | None = None, **options: Any) -> dict[str, Any]:
        """Run kestra_flows as a task and return what is known of it."""
        return self.task("devorch.orchestration.kestra_flows", {"src": str(flows), "timeout": 300, **options}, url)

    def empty(self, size: int) -> None:
        """Measure the task of a module that does nothing."""
        took = self.task("bench_empty", {})["took"]
        self.results.add("nothing", "empty", size, took)
        say(f"  nothing  empty {took:.3f} s")

    def run_module(self, case: str, size: int, flows: Path, **expected: int) -> None:
        """Measure kestra_flows in a case, and hold it to what it should have done."""
        options: dict[str, Any] = {"prune": True, "prune_limit": "50%"} if case == "prune" else {}
        task = self.module(flows, **options)
        wrong = {name: task["summary"][name] for name, count in expected.items() if task["summary"][name] != count}
        assert not wrong, f"{case}: {wrong} instead of {expected}"
        self.results.add(case, "module", size, task["seconds"]["total"])
        self.results.add(case, "task", size, task["took"])
        self.results.memory[size] = max(self.results.memory.get(size, 0), task["memory"])
        say(f"  {case:8} task {task['took']:8.3f} s   module {task['seconds']}   {task['memory']:.0f} MB")

    def timed(self, case: str, tool: str, size: int, call: Callable[[], object]) -> None:
        """Measure another tool in a case."""
        start = time.monotonic()
        call()
        seconds = time.monotonic() - start
        self.results.add(case, tool, size, seconds)
        say(f"  {case:8} {tool} {seconds:.3f} s")

    def uri(self, case: str, flows: Path) -> None:
        """Measure the loop in a case; the time is that of its tasks."""
        tasks = self.playbook(clients.uri_play(flows, self.server))
        self.results.add(case, "uri", self.uri_flows, sum(task["took"] for task in tasks))
        say(f"  {case:8} uri {sum(task['took'] for task in tasks):.3f} s for {self.uri_flows} flows")

    def fleet(self, size: int) -> tuple[list[Bench], Path]:
        """Return a fleet, and a directory for it."""
        name = f"bench-{size}"
        return fleet(name, size), self.directory / name


def measure(run: Run, size: int) -> None:
    """Measure all cases with a number of flows."""
    others = size < LARGE
    flows, files = run.fleet(size)
    script = clients.sdk(run.server)
    say(f"{size} flows")

    write(files, changed(flows, 1, 1))
    run.run_module("load", size, files, created=size)
    if others:
        clients.remove(run.server, files)
        run.timed("load", "concurrent", size, lambda: clients.concurrent(run.server, files))
        clients.remove(run.server, files)
        run.timed("load", "kestrapy", size, lambda: script(files))

    names = [flow.namespace for flow in flows]
    for _ in range(ROUNDS["nothing"]):
        run.timed("nothing", "floor", size, lambda: run.server.read(names, size))
        run.run_module("nothing", size, files, unchanged=size)
        run.empty(size)
        if others:
            run.timed("nothing", "concurrent", size, lambda: clients.concurrent(run.server, files))
    if others:
        run.timed("nothing", "kestrapy", size, lambda: script(files))
    with Proxy(run.server.url) as proxy:
        run.module(files, proxy.url)
        run.results.requests[size] = len(proxy.requests)

    version = 1
    cases = [("one", 100, max(1, size // 100))]
    if others:
        cases.append(("all", 1, size))
    for case, every, some in cases:
        for _ in range(ROUNDS[case]):
            version += 1
            write(files, {flow: version if flow.number % every == 0 else 1 for flow in flows})
            run.run_module(case, size, files, updated=some)
            if others:
                version += 1
                write(files, {flow: version if flow.number % every == 0 else 1 for flow in flows})
                run.timed(case, "concurrent", size, lambda: clients.concurrent(run.server, files))
        if others:
            version += 1
            write(files, {flow: version if flow.number % every == 0 else 1 for flow in flows})
            run.timed(case, "kestrapy", size, lambda: script(files))

    if others:
        kept = [flow for flow in flows if flow.number % PRUNED]
        write(files, dict.fromkeys(kept, version))
        run.run_module("prune", size, files, pruned=size - len(kept))
        write(files, dict.fromkeys((flow for flow in kept if flow.number % PRUNED > 1), version))
        run.timed("prune", "concurrent", size, lambda: clients.concurrent(run.server, files, prune=True))
        clients.remove(run.server, files)


def measure_uri(run: Run) -> None:
    """Measure the loop that people write today."""
    flows, files = run.fleet(run.uri_flows)
    say(f"a loop of ansible.builtin.uri, {run.uri_flows} flows")
    for case, every, version in (("load", 1, 1), ("nothing", 1, 1), ("one", 100, 2), ("all", 1, 3)):
        write(files, {flow: version if flow.number % every == 0 else 1 for flow in flows})
        run.uri(case, files)
    clients.remove(run.server, files)
    run.results.uri_flows = run.uri_flows


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="make bench", description="Measure kestra_flows beside what people use today."
    )
    parser.add_argument("--sizes", default="100,1000,10000", help="how many flows, comma-separated")
    parser.add_argument("--uri-flows", type=int, default=100, help="how many flows the loop of uri is measured with")
    parser.add_argument(
        "--directory", type=Path, default=ROOT / "docs/development", help="where bench.md and bench.svg go"
    )
    arguments = parser.parse_args()
    sizes = sorted(int(size) for size in arguments.sizes.split(","))
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        config = directory / "standalone.yml"
        config.write_text(render_configuration(), encoding="utf-8")
        say("starting the server")
        with (
            start_postgres() as postgres,
            # Room for 10,000 flows in one archive; both compilers, as a server in use has them.
            start_kestra(
                config,
                environment(postgres, JAVA_OPTS="-Duser.timezone=UTC -Xmx1g -XX:TieredStopAtLevel=4"),
                postgres.network,
            ) as kestra,
        ):
            run = Run(Server(kestra.url, kestra.username, kestra.password), directory, arguments.uri_flows)
            busy = os.getloadavg()[0]
            run.results.machine = (
                f"on {os.cpu_count()} processors with a load of {busy:.1f} before the first measurement"
            )
            warm_up(run)
            measure_uri(run)
            for size in sizes:
                measure(run, size)
    results = run.results
    notes = [note.format(uri_flows=results.uri_flows) for note in NOTES]
    text = document(results, time.strftime("%-d %B %Y"), notes)
    arguments.directory.mkdir(parents=True, exist_ok=True)
    (arguments.directory / "bench.md").write_text(text, encoding="utf-8")
    plot(results, arguments.directory / "bench.svg")
    print(f"\n{table(results)}")
    for target in targets(results):
        print(target)


def warm_up(run: Run) -> None:
    """Let the server's compiler see every kind of request before anything is measured."""
    say("warming up")
    flows, files = run.fleet(50)
    for version in range(1, 6):
        write(files, changed(flows, version, 1))
        clients.concurrent(run.server, files)
    run.module(files)
    clients.remove(run.server, files)


if __name__ == "__main__":
    main()
