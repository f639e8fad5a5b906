"""The parts of `make bench-site` that need no host: counts, ratios, the page, and the callback on this machine."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from ...bench_site import fleet
from ...bench_site.report import CASES, Counts, Results, counts, document, table

ROOT = Path(__file__).parents[3]


def some(modules: int = 60, **names: int) -> Counts:
    return Counts(modules, modules + 1, 3, 40, {"one": 0}, names)


@pytest.fixture
def results() -> Results:
    found = Results(machine="on 2 processors")
    for case in CASES:
        for seconds, floors in ((30.0, (3.0, 3.0)), (40.0, (4.0, 6.0)), (90.0, (3.0, 3.0))):
            found.add(case, 1, seconds, floors, some(stat=2, command=5, copy=2))
    found.add("nothing", 10, 120.0, (10.0, 14.0), some(600))
    return found


def test_counts_are_those_of_the_lines_and_of_the_headings() -> None:
    noted = [
        {"kind": "module", "name": "stat"},
        {"kind": "module", "name": "stat"},
        {"kind": "command", "name": "stat"},
        {"kind": "transfer", "name": "copy"},
        {"kind": "recap", "name": "one", "changed": 2, "ok": 7},
    ]
    output = "PLAY [x]\n\nTASK [a] ***\nok: [one]\nTASK [b] ***\nRUNNING HANDLER [c] ***\n  TASK [not one]\n"
    assert counts(noted, output) == Counts(2, 1, 1, 3, {"one": 2}, {"stat": 2})


def test_a_ratio_is_the_median_of_rounds_each_beside_its_own_floor(results: Results) -> None:
    assert results.median("nothing", 1) == 40
    assert results.ratio("nothing", 1) == 10  # of 10, 8 and 30
    assert results.floor(1) == 3
    assert (results.floor(10), results.ratio("nothing", 10)) == (12, 10)


def test_the_page_has_a_table_for_each_number_of_hosts(results: Results) -> None:
    assert len(table(results, 1).splitlines()) == 3 + len(CASES)
    assert len(table(results, 10).splitlines()) == 4
    page = document(results, "1 May 2026", 3, ["a note"])
    assert "in 3 rounds, on 2 processors. " in page
    assert "## One host\n" in page and "## 10 hosts at once\n" in page
    assert "takes 3.0 times as long as with one host." in page
    assert "`command` (5), `copy` (2), `stat` (2).\n" in page
    assert page.endswith("- a note\n")


def test_a_copy_leads_to_the_converged_host_and_starts_no_engine() -> None:
    with tarfile.open(fileobj=io.BytesIO(fleet.overlay("source", "172.17.0.1/16"))) as archive:
        names = archive.getnames()
        unit = archive.extractfile("etc/systemd/system/docker.service.d/bench.conf")
        assert unit is not None
        command = f"python3 {fleet.DOCKER_PROXY} source:{fleet.DOCKER}"
        assert unit.read().decode().endswith(f"\nExecStart=\nExecStart={command}\n")
    assert {f"etc/systemd/system/sockets.target.wants/bench-{port}.socket" for port in fleet.DOORS} <= set(names)


def test_the_callback_counts_what_reaches_a_host(tmp_path: Path) -> None:
    """The connection does what Ansible's own to this machine does, under another name."""
    here = {"delegate_to": "localhost", "vars": {"ansible_connection": "local"}}
    play = [
        {
            "hosts": "all",
            "gather_facts": False,
            "vars": {"ansible_python_interpreter": sys.executable},
            "tasks": [
                {"ansible.builtin.stat": {"path": "/"}, "loop": [1, 2]},
                {"ansible.builtin.debug": {"msg": "on the controller"}},
                {"ansible.builtin.stat": {"path": "/"}, **here},
            ],
        }
    ]
    (tmp_path / "play.json").write_text(json.dumps(play), "utf-8")
    (tmp_path / "connections").mkdir()
    (tmp_path / "connections" / "elsewhere.py").write_text(
        "DOCUMENTATION = 'name: elsewhere\\nshort_description: x\\ndescription: x\\noptions: {}\\n'\n"
        "from ansible.plugins.connection.local import Connection as Local\n"
        "class Connection(Local):\n    transport = 'elsewhere'\n",
        "utf-8",
    )
    noted = tmp_path / "counts"
    more = {
        "ANSIBLE_CALLBACK_PLUGINS": str(ROOT / "tests" / "bench_site" / "callbacks"),
        "ANSIBLE_CALLBACKS_ENABLED": "bench_site",
        "ANSIBLE_CONNECTION_PLUGINS": str(tmp_path / "connections"),
        "BENCH_SITE_COUNTS": str(noted),
    }
    done = subprocess.run(
        ["ansible-playbook", "-i", "one,", "-c", "elsewhere", "play.json"],
        cwd=tmp_path,
        env=os.environ | more,
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = counts((json.loads(line) for line in noted.read_text("utf-8").splitlines()), done.stdout)
    assert (found.modules, found.names, found.shown, found.changed) == (2, {"stat": 2}, 3, {"one": 0})
    assert found.commands > 0
