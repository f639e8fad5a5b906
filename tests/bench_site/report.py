"""From the measurements of `make bench-site` to ratios and a page. Nothing here measures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any

CASES = {
    "nothing": "`site.yml`, nothing changed",
    "check": "`site.yml --check`, nothing changed",
    "change": "`site.yml`, `kestra_log_level` becomes `DEBUG`",
    "back": "`site.yml`, and `INFO` again",
}
FLOOR = "the floor: facts and five `stat` tasks"


@dataclass(frozen=True)
class Counts:
    """What one run did on its hosts."""

    modules: int
    commands: int
    transfers: int
    shown: int
    """Tasks whose names the output shows."""
    changed: Mapping[str, int]
    """Changed tasks, by host."""
    names: Mapping[str, int]
    """Executions of modules, by name."""


def counts(lines: Iterable[Mapping[str, Any]], output: str) -> Counts:
    """Return the counts of a run from what the callback noted and what Ansible printed."""
    noted = list(lines)
    kinds = Counter(str(line["kind"]) for line in noted)
    return Counts(
        modules=kinds["module"],
        commands=kinds["command"],
        transfers=kinds["transfer"],
        shown=sum(line.startswith(("TASK [", "RUNNING HANDLER [")) for line in output.splitlines()),
        changed={str(line["name"]): int(line["changed"]) for line in noted if line["kind"] == "recap"},
        names=Counter(
            str(line["name"]).removeprefix("ansible.builtin.").removeprefix("ansible.legacy.")
            for line in noted
            if line["kind"] == "module"
        ),
    )


@dataclass
class Results:
    """Seconds by case and number of hosts, each with the floor before and after it; and the counts of the last run."""

    seconds: dict[tuple[str, int], list[float]] = field(default_factory=dict)
    floors: dict[tuple[str, int], list[tuple[float, float]]] = field(default_factory=dict)
    counts: dict[tuple[str, int], Counts] = field(default_factory=dict)
    machine: str = ""
    """On what, and beside what else, it was measured."""

    def add(self, case: str, hosts: int, seconds: float, floors: tuple[float, float], counts: Counts) -> None:
        self.seconds.setdefault((case, hosts), []).append(seconds)
        self.floors.setdefault((case, hosts), []).append(floors)
        self.counts[case, hosts] = counts

    def median(self, case: str, hosts: int) -> float:
        return median(self.seconds[case, hosts])

    def floor(self, hosts: int) -> float:
        """Return the median of the floor, whatever was measured beside it."""
        pairs = [pair for (_case, number), found in self.floors.items() if number == hosts for pair in found]
        return median(seconds for pair in pairs for seconds in pair)

    def ratio(self, case: str, hosts: int) -> float:
        """Return how many times the floor a case takes: the median over the rounds, each beside its own floor."""
        pairs = zip(self.seconds[case, hosts], self.floors[case, hosts], strict=True)
        return median(seconds * 2 / sum(floors) for seconds, floors in pairs)

    @property
    def hosts(self) -> list[int]:
        return sorted({hosts for _case, hosts in self.seconds})


def table(results: Results, hosts: int) -> str:
    """Return the measurements with one number of hosts as Markdown."""
    lines = [
        "| Run | Seconds | Times the floor | Modules executed | Commands | Transfers | Tasks shown |",
        "|---|---:|---:|---:|---:|---:|---:|",
        f"| {FLOOR} | {results.floor(hosts):.2f} | 1.0 | {6 * hosts} | | | 6 |",
    ]
    for case, name in CASES.items():
        if (case, hosts) not in results.seconds:
            continue
        seen = results.counts[case, hosts]
        lines.append(
            f"| {name} | {results.median(case, hosts):.2f} | {results.ratio(case, hosts):.1f} | {seen.modules} "
            f"| {seen.commands} | {seen.transfers} | {seen.shown} |"
        )
    return "\n".join(lines)


def document(results: Results, when: str, rounds: int, notes: Iterable[str]) -> str:
    """Return docs/development/bench-site.md."""
    parts = [
        "# How long a run takes",
        f"Made by `make bench-site` on {when}, in {rounds} {'round' if rounds == 1 else 'rounds'}, {results.machine}. "
        "The figures are medians. Compare the ratios; the seconds are those of one machine.",
    ]
    for hosts in results.hosts:
        parts += [f"## {'One host' if hosts == 1 else f'{hosts} hosts at once'}", table(results, hosts)]
        if hosts > 1 and 1 in results.hosts:
            times = results.median("nothing", hosts) / results.median("nothing", 1)
            parts.append(f"`site.yml` that changes nothing takes {times:.1f} times as long as with one host.")
    nothing = results.counts.get(("nothing", 1))
    if nothing:
        names = sorted(nothing.names.items(), key=lambda item: (-item[1], item[0]))
        listed = ", ".join(f"`{name}` ({count})" for name, count in names)
        parts += ["## Modules of a run that changes nothing", f"{listed}."]
    parts += ["## What is measured", "\n".join(f"- {note}" for note in notes)]
    return "\n\n".join(parts) + "\n"
