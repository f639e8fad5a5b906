"""From measurements to ratios, targets, a table and a plot. Nothing here measures."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

CASES = {
    "load": "first load",
    "nothing": "nothing changed",
    "one": "1 % changed",
    "all": "all changed",
    "prune": "10 % pruned",
}
TOOLS = {
    "module": "kestra_flows, the module's own time",
    "task": "kestra_flows, the whole task",
    "empty": "the whole task of an empty module",
    "floor": "the floor: version, list, export, on one connection",
    "concurrent": "a plain concurrent client, 8 in flight",
    "kestrapy": "a sequential kestrapy script",
    "uri": "a loop of ansible.builtin.uri",
}


NONE = "-"


@dataclass
class Results:
    """What was measured: seconds by case, tool and size, one entry a run; and what is no time."""

    seconds: dict[tuple[str, str, int], list[float]] = field(default_factory=dict)
    uri_flows: int = 0
    """With how many flows the loop was measured; it is linear, and stated per flow."""
    memory: dict[int, float] = field(default_factory=dict)
    """Peak resident MB of the module's process, by size."""
    machine: str = ""
    """On what, and beside what else, it was measured."""
    requests: dict[int, int] = field(default_factory=dict)
    """Requests of the module where nothing changed, by size."""

    def add(self, case: str, tool: str, size: int, seconds: float) -> None:
        self.seconds.setdefault((case, tool, size), []).append(seconds)

    def median(self, case: str, tool: str, size: int) -> float | None:
        """Return the median of a case's runs, or None where it was not measured."""
        runs = self.seconds.get((case, tool, size))
        return median(runs) if runs else None

    def per_flow(self, case: str, tool: str, size: int) -> float | None:
        """Return the median seconds a flow of the fleet; the loop's are those of its own size."""
        flows = self.uri_flows if tool == "uri" else size
        seconds = self.median(case, tool, flows)
        return None if seconds is None else seconds / flows

    def ratio(self, case: str, tool: str, other: str, size: int) -> float | None:
        """Return how many times longer one tool takes than another: the median of the pairs, where there are pairs."""
        if "uri" not in (tool, other):
            pairs = list(
                zip(self.seconds.get((case, tool, size), []), self.seconds.get((case, other, size), []), strict=False)
            )
            return median(one / two for one, two in pairs) if pairs else None
        one, two = self.per_flow(case, tool, size), self.per_flow(case, other, size)
        return None if one is None or two is None else one / two

    @property
    def sizes(self) -> list[int]:
        return sorted({size for _case, tool, size in self.seconds if tool == "module"})


@dataclass(frozen=True)
class Target:
    """A bound and what was measured; C(value) is None where this run did not measure it."""

    what: str
    bound: float
    value: float | None
    at_least: bool = False

    @property
    def met(self) -> bool | None:
        if self.value is None:
            return None
        return self.value >= self.bound if self.at_least else self.value <= self.bound

    def __str__(self) -> str:
        sign = "≥" if self.at_least else "≤"
        if self.value is None:
            return f"{self.what}: {sign} {self.bound:g}, not measured"
        return f"{self.what}: {self.value:.3g}, {sign} {self.bound:g}: {'met' if self.met else 'NOT MET'}"


def targets(results: Results, middle: int = 1000, large: int = 10_000) -> list[Target]:
    """Return the targets that the measurements have to meet."""
    found = [
        Target(
            f"nothing changed, {middle} flows: the module's own time, divided by the floor",
            1.25,
            results.ratio("nothing", "module", "floor", middle),
        ),
        Target(
            f"nothing changed, {middle} flows: the whole task, divided by that of an empty module",
            2,
            results.ratio("nothing", "task", "empty", middle),
        ),
        Target(f"nothing changed, {middle} flows: requests", 3 + middle / 1000, results.requests.get(middle)),
        Target(
            f"nothing changed, {middle} flows: the uri loop per flow, divided by the whole task",
            300,
            results.ratio("nothing", "uri", "task", middle),
            at_least=True,
        ),
        Target(
            f"all changed, {middle} flows: the uri loop per flow, divided by the whole task",
            100,
            results.ratio("all", "uri", "task", middle),
            at_least=True,
        ),
        Target(
            f"all changed, {middle} flows: the whole task, divided by the concurrent client",
            1.05,
            results.ratio("all", "task", "concurrent", middle),
        ),
    ]
    for case in ("nothing", "all"):
        small, big = results.per_flow(case, "module", middle), results.per_flow(case, "module", large)
        found.append(
            Target(
                f"{CASES[case]}: time per flow at {large}, divided by that at {middle}",
                1.25,
                big / small if small and big else None,
            )
        )
    growth = None
    if {middle, large} <= set(results.memory):
        growth = results.memory[large] / results.memory[middle]
    found.append(Target(f"peak memory at {large} flows, divided by that at {middle}", large / middle, growth))
    found.append(Target(f"peak memory at {large} flows in MB", 200, results.memory.get(large)))
    return found


def _number(value: float | None, form: str) -> str:
    return NONE if value is None else format(value, form)


def table(results: Results) -> str:
    """Return the measurements as Markdown, one table a size."""
    lines: list[str] = []
    for size in results.sizes:
        lines += [
            f"### {size:,} flows",
            "",
            "Milliseconds per flow. In brackets: the ratio to the time of the whole task.",
            "",
        ]
        lines += ["| | " + " | ".join(CASES.values()) + " |", "|---|" + "---:|" * len(CASES)]
        for tool, name in TOOLS.items():
            cells = []
            for case in CASES:
                each, times = results.per_flow(case, tool, size), results.ratio(case, tool, "task", size)
                cells.append(NONE if each is None else f"{each * 1000:.2f} ({_number(times, '.2f')})")
            if any(cell != NONE for cell in cells):
                lines.append(f"| {name} | " + " | ".join(cells) + " |")
        memory, requests = results.memory.get(size), results.requests.get(size)
        lines += [
            "",
            f"Peak memory of the module: {_number(memory, '.0f')} MB. "
            f"Requests if nothing changed: {requests if requests is not None else NONE}.",
            "",
        ]
    return "\n".join(lines)


def document(results: Results, when: str, notes: Iterable[str]) -> str:
    """Return docs/development/bench.md."""
    verdicts = "\n".join(f"- {target}" for target in targets(results))
    remarks = "\n".join(f"- {note}" for note in notes)
    return (
        "# How fast it is\n\n"
        f"Made by `make bench` on {when}, against the test server (Kestra's own engine, with H2), "
        f"{results.machine}. Compare the ratios: the milliseconds hold for one machine only. On a busy machine the "
        "ratios are rough as well.\n\n"
        "![Time per flow, by tool and number of flows](bench.svg)\n\n"
        f"{table(results)}\n## Targets\n\n{verdicts}\n\n## What is measured\n\n{remarks}\n"
    )


def plot(results: Results, path: Path) -> None:
    """Write the plot: a panel a case, milliseconds a flow over the number of flows, both logarithmic."""
    import matplotlib

    matplotlib.use("svg")
    # The same file for the same figures.
    matplotlib.rcParams["svg.hashsalt"] = "bench"
    from matplotlib import pyplot

    shown = ("nothing", "all", "load")
    figure, panels = pyplot.subplots(1, len(shown), figsize=(12, 4), sharey=True, layout="constrained")
    for case, panel in zip(shown, panels, strict=True):
        for tool, name in TOOLS.items():
            points = [(size, results.per_flow(case, tool, size)) for size in results.sizes]
            known = [(size, each * 1000) for size, each in points if each is not None]
            if known:
                panel.plot([size for size, _ in known], [each for _, each in known], marker="o", label=name)
        panel.set(title=CASES[case], xscale="log", yscale="log", xlabel="flows")
        panel.grid(True, which="major", alpha=0.3)
    panels[0].set_ylabel("milliseconds per flow")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
