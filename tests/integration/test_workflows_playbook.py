"""playbooks/workflows.yml as CI uses it: the step of the workflow in docs/ is run as it is there."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import yaml

from ..unit.playbook import play
from .contracts.n8n_workflows import store, write
from .kestra import ROOT
from .n8n import OWNER, N8n
from .n8n_patterns import webhook

RECIPE = yaml.safe_load((ROOT / "docs" / "github-actions" / "workflows.yml").read_text("utf-8"))


def step(n8n: N8n, checkout: Path, event: str, more: str = "") -> tuple[int, str]:
    """Run the step of the recipe as GitHub does; return its exit code and what it shows."""
    (script,) = [step["run"] for step in RECIPE["jobs"]["sync"]["steps"] if str(step.get("name")).startswith("Plan")]
    expression = "${{ github.event_name == 'pull_request' }}"
    assert expression in script
    done = subprocess.run(
        ["bash", "-e", "-c", script.replace(expression, str(event == "pull_request").lower()) + more],
        cwd=checkout,
        env={**os.environ, "N8N_URL": n8n.url, "N8N_API_KEY": n8n.api_key},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=300,
        check=False,
    )
    assert n8n.api_key not in done.stdout and "Traceback" not in done.stdout
    return done.returncode, done.stdout


def test_a_plan_on_a_pull_request_and_the_workflows_on_the_merge(n8n: N8n, tmp_path: Path) -> None:
    write(tmp_path / "n8n-workflows", {**webhook("one", "ci"), "active": True})
    code, output = step(n8n, tmp_path, "pull_request")
    assert code == 0 and "create one (content, tags, publish)" in output, output
    assert n8n.workflows() == []
    code, output = step(n8n, tmp_path, "push")
    assert code == 0 and "1 created, 0 updated, 0 unchanged" in output, output
    assert n8n.webhook("ci").json() == {"says": "hello"}
    (tmp_path / "n8n-workflows" / "two.json").write_text("{", encoding="utf-8")
    code, output = step(n8n, tmp_path, "pull_request")
    assert code != 0 and "two.json:1: is not JSON" in output


def test_the_workflow_of_this_repository_is_loaded(n8n: N8n, tmp_path: Path) -> None:
    """With the credentials that it names, which the playbook ensures."""
    store(n8n, webhook("of others", "others"), tag=None)
    wanted = [
        {"name": "Environment webhook", "type": "httpHeaderAuth", "data": {"name": "X-Token", "value": "canary-4711"}},
        {"name": "Multipass sidecar", "type": "httpBearerAuth", "data": {"token": "canary-4711"}},
    ]
    variables = {
        "n8n_workflows_directory": str(ROOT / "n8n-workflows"),
        "n8n_workflows_credentials": wanted,
        "n8n_workflows_prune": True,
    }
    for message in ("1 created, 0 updated, 0 unchanged", "0 created, 0 updated, 1 unchanged"):
        code, output = step(n8n, tmp_path, "push", f" -e '{json.dumps(variables)}'")
        assert code == 0 and message in output, output
        assert "canary-4711" not in output
    assert {one["name"] for one in n8n.workflows()} == {"environment-orchestration", "of others"}


def test_the_role_makes_a_key_and_renews_it(n8n: N8n, tmp_path: Path) -> None:
    """The entry points of the role, as playbooks/workflows.yml and playbooks/rotate_secrets.yml use them on a host."""
    (tmp_path / "secrets").mkdir()
    write(tmp_path / "files", webhook("one", "role"))
    secrets = {"n8n_owner_password": n8n.password, "sidecar_token": "canary-4711", "n8n_encryption_key": "k" * 16}
    variables = {
        "orchestration_root": str(tmp_path),
        "_n8n_owner_managed": True,
        "n8n_api_url": n8n.url,
        "n8n_owner_email": OWNER,
        "orchestration_secrets": {"secrets": secrets},
        "n8n_workflows_directory": str(tmp_path / "files"),
    }
    role = {"name": "devorch.orchestration.n8n"}
    steps = ("workflows", "renew_api_key", "workflows")
    tasks = [{"name": step, "ansible.builtin.include_role": {**role, "tasks_from": step}} for step in steps]
    path = tmp_path / "secrets" / "n8n_api_key"
    arguments = ("--extra-vars", json.dumps(variables))
    assert play(tmp_path, tasks[:1], "--check", *arguments).returncode == 0
    assert not path.exists() and n8n.workflows() == []
    played = play(tmp_path, tasks, *arguments)
    assert played.returncode == 0, played.output
    assert "canary-4711" not in played.output and path.read_text("ascii").strip() not in played.output
    assert [one["name"] for one in n8n.workflows()] == ["one"]
    again = play(tmp_path, tasks[:1], *arguments)
    assert again.returncode == 0 and not any(result.get("changed") for result in again.results)
