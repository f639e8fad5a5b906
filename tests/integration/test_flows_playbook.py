"""playbooks/flows.yml as CI uses it: the steps of the workflow in docs/ are run as they stand there."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from ..unit.playbook import Played, play
from .kestra import ROOT, Kestra

WORKFLOW = yaml.safe_load((ROOT / "docs" / "github-actions" / "flows.yml").read_text("utf-8"))
GUIDE = (ROOT / "docs" / "flows.md").read_text("utf-8")
LABELS = "labels:\n  managed-by: ansible\n"


def flow(name: str, namespace: str, message: str = "hello") -> str:
    log = "io.kestra.plugin.core.log.Log"
    return f"id: {name}\nnamespace: {namespace}\n{LABELS}tasks:\n  - id: say\n    type: {log}\n    message: {message}\n"


@pytest.fixture
def namespace() -> str:
    """A namespace of this test's own."""
    return f"ci.n{secrets.token_hex(4)}"


@pytest.fixture
def checkout(tmp_path: Path, namespace: str) -> Path:
    """A user's repository with two flows."""
    (tmp_path / "flows" / "team").mkdir(parents=True)
    for name in ("a", "b"):
        (tmp_path / "flows" / "team" / f"{name}.yaml").write_text(flow(name, namespace))
    return tmp_path


def login(kestra: Kestra) -> dict[str, str]:
    return {"KESTRA_URL": kestra.url, "KESTRA_USERNAME": kestra.username, "KESTRA_PASSWORD": kestra.password}


def step(kestra: Kestra, checkout: Path, job: str, name: str, more: str = "") -> tuple[int, str]:
    """Run a step of the workflow as GitHub does; return its exit code and what it shows."""
    (script,) = [step["run"] for step in WORKFLOW["jobs"][job]["steps"] if step.get("name") == name]
    done = subprocess.run(
        ["bash", "-e", "-c", script + more],
        cwd=checkout,
        env={**os.environ, **login(kestra)},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=300,
        check=False,
    )
    assert kestra.password not in done.stdout and "Traceback" not in done.stdout
    return done.returncode, done.stdout


def stored(kestra: Kestra, namespace: str) -> dict[str, int]:
    return {entry["id"]: entry["revision"] for entry in kestra.call("GET", f"/flows/{namespace}").json()}


def test_the_workflow_plans_then_applies_that_plan(kestra: Kestra, checkout: Path, namespace: str) -> None:
    code, shown = step(kestra, checkout, "plan", "Validate and plan")
    assert code == 0, shown
    assert re.search(rf"create +{namespace}/a +team/a.yaml", shown) and "2 flows: 2 created" in shown
    comment = (checkout / "plan.md").read_text()
    assert f"| create | {namespace}/a | team/a.yaml |" in comment and "**2 flows: 2 created**" in comment
    assert stored(kestra, namespace) == {}

    code, shown = step(kestra, checkout, "apply", "Apply exactly that plan")
    assert code == 0, shown
    assert stored(kestra, namespace) == {"a": 1, "b": 1}

    code, shown = step(kestra, checkout, "plan", "Validate and plan")
    assert code == 0 and "2 flows: 2 unchanged" in shown, shown
    # The page has another plan now; the flows are as they were.
    assert "changed=1" in shown and stored(kestra, namespace) == {"a": 1, "b": 1}, shown
    code, shown = step(kestra, checkout, "plan", "Validate and plan")
    assert code == 0 and "changed=0" in shown, shown


def test_a_plan_that_is_out_of_date_writes_nothing(kestra: Kestra, checkout: Path, namespace: str) -> None:
    assert step(kestra, checkout, "plan", "Validate and plan")[0] == 0
    kestra.save_flow(flow("a", namespace, "by hand"))
    code, shown = step(kestra, checkout, "apply", "Apply exactly that plan")
    assert code != 0 and f"{namespace}/a" in shown
    assert stored(kestra, namespace) == {"a": 1}


def test_problems_are_in_the_output_and_in_the_comment(kestra: Kestra, checkout: Path) -> None:
    (checkout / "flows" / "team" / "a.yaml").write_text("id: a\nnamespace: ci\ntasks: [\n")
    code, shown = step(kestra, checkout, "plan", "Validate and plan")
    assert code != 0 and "team/a.yaml:" in shown
    assert "team/a.yaml:" in (checkout / "plan.md").read_text() and not (checkout / "plan.json").exists()


def test_prune_and_check_mode_through_the_playbook(kestra: Kestra, checkout: Path, namespace: str) -> None:
    kestra.save_flow(flow("old", namespace))
    prune = """ -e '{"kestra_flows_prune": true, "kestra_flows_plan_only": false}'"""
    code, shown = step(kestra, checkout, "plan", "Validate and plan", prune + " --check")
    assert code == 0 and re.search(rf"prune +{namespace}/old", shown), shown
    assert stored(kestra, namespace) == {"old": 1}
    code, shown = step(kestra, checkout, "plan", "Validate and plan", prune)
    assert code == 0 and "2 created, 1 pruned" in shown, shown
    assert stored(kestra, namespace) == {"a": 1, "b": 1}


def test_the_workflow_names_versions_of_its_actions() -> None:
    uses = [step["uses"] for job in WORKFLOW["jobs"].values() for step in job["steps"] if "uses" in step]
    assert uses and all(re.fullmatch(r"[\w./-]+@v\d+\.\d+\.\d+", action) for action in uses)


def examples() -> list[dict[str, Any]]:
    """Return the tasks of the guide, in its order."""
    return [task for text in re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL) for task in yaml.safe_load(text)]


def test_the_examples_of_the_guide_run(kestra: Kestra, tmp_path: Path) -> None:
    (tmp_path / "flows").mkdir()
    for name in ("a", "b"):
        (tmp_path / "flows" / f"{name}.yaml").write_text(flow(name, "company.dev"))
    kestra.save_flow(flow("without-a-file", "company.dev"))
    played: Played = play(
        tmp_path,
        examples(),
        environment=login(kestra),
        play_keys={"vars": {"plan_file": str(tmp_path / "plan.json")}},
    )
    assert played.returncode == 0, played.output
    done = [{name: count for name, count in result["summary"].items() if count} for result in played.results]
    assert done == [
        {"total": 2, "created": 2},
        {"total": 2, "unchanged": 2},
        {"total": 2, "unchanged": 2},
        {"total": 3, "unchanged": 2, "pruned": 1},
        {"total": 2, "unchanged": 2},
        {"total": 2, "created": 2},
    ]
    assert stored(kestra, "company.prod") == {"a": 1, "b": 1}
