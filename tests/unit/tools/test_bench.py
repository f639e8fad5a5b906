"""The parts of `make bench` that measure nothing: the flows, the ratios, the targets, the table and the plot."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import yaml

from ...bench import clients, flows
from ...bench.report import Results, document, plot, table, targets


def results() -> Results:
    """Measurements in which everything is met."""
    found = Results(uri_flows=100, memory={1000: 50, 10_000: 150}, requests={1000: 4})
    for size in (1000, 10_000):
        for case in ("nothing", "all"):
            for seconds in (0.9, 1.1, 1.0):
                found.add(case, "module", size, seconds * size / 1000)
                found.add(case, "task", size, 1.04 * seconds * size / 1000)
                found.add(case, "floor", size, seconds * size / 1000)
                found.add(case, "empty", size, 0.6 * seconds * size / 1000)
                found.add(case, "concurrent", size, seconds * size / 1000)
    for case in ("nothing", "all"):
        found.add(case, "uri", 100, 50)
    return found


def test_flows_are_about_a_kilobyte_and_valid_yaml() -> None:
    fleet = flows.fleet("bench", 200)
    assert set(Counter(flow.namespace for flow in fleet).values()) == {20}
    for flow in fleet[:20]:
        text = flow.text(7)
        assert 900 < len(text.encode()) < 1300 and not text.isascii()
        content = yaml.safe_load(text)
        assert (content["namespace"], content["id"]) == (flow.namespace, flow.id) == clients.key_of(text)
        assert content["labels"]["managed-by"] == "ansible"
        assert text != flow.text(8)


def test_a_tenth_of_the_flows_leaves_no_namespace_empty() -> None:
    fleet = flows.fleet("bench", 100)
    assert {flow.namespace for flow in fleet if flow.number % 10} == {flow.namespace for flow in fleet}


def test_a_directory_holds_what_was_written_last(tmp_path: Path) -> None:
    fleet = flows.fleet("bench", 30)
    flows.write(tmp_path, dict.fromkeys(fleet, 1))
    flows.write(tmp_path, flows.changed(fleet[:20], 2, 10))
    stored = clients.read(tmp_path)
    assert sorted(stored) == sorted((flow.namespace, flow.id) for flow in fleet[:20])
    assert sum("Version 2" in text for text in stored.values()) == 2


def test_ratios_are_medians_of_pairs() -> None:
    found = Results()
    for ours, floor in ((1.0, 1.0), (30.0, 10.0), (4.0, 2.0)):
        found.add("nothing", "module", 100, ours)
        found.add("nothing", "floor", 100, floor)
    assert found.ratio("nothing", "module", "floor", 100) == 2.0
    assert found.ratio("all", "module", "floor", 100) is None


def test_the_loop_is_compared_by_the_flow() -> None:
    assert results().ratio("nothing", "uri", "task", 1000) == pytest.approx(0.5 / 0.00104)


def test_targets_are_met_or_not_or_not_measured() -> None:
    assert {target.met for target in targets(results())} == {True}
    slow = results()
    slow.seconds[("nothing", "module", 1000)] = [1.3, 1.4, 1.5]
    slow.memory[10_000] = 201
    slow.requests[1000] = 5
    failed = [str(target) for target in targets(slow) if target.met is False]
    assert len(failed) == 3 and all("NOT MET" in line for line in failed)
    assert {target.met for target in targets(Results())} == {None}


def test_table_and_plot(tmp_path: Path) -> None:
    text = document(results(), "1 May 2026", ["a note"])
    assert "| kestra_flows, the whole task | - | 1.04 (1.00) | - | 1.04 (1.00) | - |" in text
    assert "| a loop of ansible.builtin.uri | - | 500.00 (480.77) |" in text
    assert "Peak memory of the module: 150 MB. Requests if nothing changed: -." in text
    assert "NOT MET" not in text and "kestrapy" not in table(results())
    plot(results(), tmp_path / "one.svg")
    plot(results(), tmp_path / "two.svg")
    assert (tmp_path / "one.svg").read_text() == (tmp_path / "two.svg").read_text()
