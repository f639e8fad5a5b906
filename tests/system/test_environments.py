"""An environment driven from Kestra and from n8n, through the sidecar on the host, over the stand-in for multipass."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import Host, Run

REPOSITORY = Path(__file__).parents[2]
ROOT = "/opt/orchestration"
MULTIPASS = "/usr/local/bin/multipass"
WORLD = "/home/orchestration-sidecar/fake-multipass.json"
FLOW = "devops/environment-orchestration"
WORKFLOW = REPOSITORY / "n8n-workflows" / "environment-orchestration.json"
NAMES = {"stage-web", "stage-db"}


def sidecar(host: Host, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """Ask the sidecar with the role's token."""
    header = f'printf "header = \\"Authorization: Bearer %s\\"" "$(cat {ROOT}/secrets/sidecar_token)"'
    data = f"--json {shlex.quote(json.dumps(body))}" if body else ""
    return json.loads(
        host.shell(f"{header} | curl -sS --fail-with-body -K - -X {method} {data} http://127.0.0.1:8090{path}")
    )


def states(host: Host) -> dict[str, str]:
    """Return the state of each instance, from multipass' own world."""
    return {name: entry["state"] for name, entry in json.loads(host.shell(f"cat {WORLD}"))["instances"].items()}


def role(host: Host, directory: Path, **variables: str) -> None:
    """Run the sidecar's role alone."""
    variables["role"] = "sidecar"
    host.play("tests/system/role.yml", {host.name: variables}, directory, about="about 20 s").succeeded()


@pytest.fixture(scope="module")
def stage(host: Host, converged: Run, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """The host with a multipass and an environment `stage` that is defined, and nothing of it launched."""
    directory = tmp_path_factory.mktemp("stage")
    program = (REPOSITORY / "tests" / "multipass" / "multipass").read_text(encoding="utf-8")
    host.shell(f"cat > {MULTIPASS}; chmod 0755 {MULTIPASS}", given=program)
    role(host, directory, sidecar_multipass_path=MULTIPASS)
    body = {"description": "for tests", "instances": [{"name": name} for name in sorted(NAMES)]}
    assert sidecar(host, "PUT", "/environments/stage", body)["state"] == "absent"
    yield host
    sidecar(host, "DELETE", "/environments/stage?purge=true&wait=60")
    host.shell(f"rm {MULTIPASS}")
    role(host, directory)


def hook(host: Host, action: str) -> dict[str, Any]:
    """Call the flow's webhook and return its outputs when it has ended well."""
    body = shlex.quote(json.dumps({"environment": "stage", "action": action, "backend": "sidecar"}))
    key = f"$(cat {ROOT}/secrets/kestra_webhook_key)"
    address = f"http://127.0.0.1:8080/api/v1/main/executions/webhook/{FLOW}/{key}"
    execution = json.loads(host.shell(f"curl -sS --fail --json {body} {address}"))["id"]
    login = f'printf "user = admin@example.com:%s" "$(cat {ROOT}/secrets/kestra_password)"'

    def ask(path: str) -> Any:
        return json.loads(host.shell(f"{login} | curl -sS --fail -K - http://127.0.0.1:8080/api/v1/main{path}"))

    def ended() -> bool:
        return ask(f"/executions/{execution}")["state"]["current"] in {"SUCCESS", "WARNING", "FAILED", "KILLED"}

    host.wait(f"the {action} has ended", ended, 180)
    words = "\n".join(entry["message"] for entry in ask(f"/logs/{execution}"))
    assert ask(f"/executions/{execution}")["state"]["current"] == "SUCCESS", words
    assert host.shell(f"cat {ROOT}/secrets/kestra_sidecar_token") not in words
    outputs: dict[str, Any] = ask(f"/outputs/executions/{execution}")
    return outputs


def test_kestra_starts_shows_and_stops_it_by_webhook(stage: Host) -> None:
    for action, wanted in (("start", "Running"), ("status", "Running"), ("stop", "Stopped")):
        outputs = hook(stage, action)
        assert (outputs["environment"], outputs["state"]) == ("stage", wanted)
        assert outputs["addresses"].keys() == NAMES
        assert all(bool(each) is (wanted == "Running") for each in outputs["addresses"].values())
        assert states(stage) == dict.fromkeys(NAMES, wanted)


def workflow(action: str) -> dict[str, Any]:
    """Return the workflow with another action for a run by hand, under a name of its own."""
    text = WORKFLOW.read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text) | {"id": f"environment-{action}", "name": f"environment-{action}"}
    (request,) = [node for node in found["nodes"] if node["name"] == "Request"]
    values = {each["name"]: each for each in request["parameters"]["assignments"]["assignments"]}
    for name, default, value in (("action", "status", action), ("environment", "dev", "stage")):
        assert f"'{default}'" in values[name]["value"]
        values[name]["value"] = values[name]["value"].replace(f"'{default}'", f"'{value}'")
    return found


def test_n8n_starts_shows_and_stops_it(stage: Host) -> None:
    """Imported as an operator does it; the credential has an id of its own, and is found by its name."""
    token = stage.shell(f"cat {ROOT}/secrets/sidecar_token")
    credential = {"id": "another", "name": "Multipass sidecar", "type": "httpBearerAuth", "data": {"token": token}}
    actions = {"start": "running", "status": "running", "stop": "stopped"}
    run = f"cd {ROOT} && docker compose exec -T n8n"
    for kind, content in (("credentials", [credential]), ("workflow", [workflow(action) for action in actions])):
        stage.shell(f"{run} sh -c 'umask 077; cat > /tmp/{kind}.json'", given=json.dumps(content))
        assert "Successfully imported" in stage.shell(f"{run} n8n import:{kind} --input=/tmp/{kind}.json")
        stage.shell(f"{run} rm /tmp/{kind}.json")
    for action, wanted in actions.items():
        # The running n8n has the port of its own task broker.
        printed = stage.shell(
            f"cd {ROOT} && docker compose exec -T -e N8N_RUNNERS_BROKER_PORT=5690 n8n"
            f" n8n execute --id=environment-{action} --rawOutput"
        )
        assert token not in printed
        data = json.JSONDecoder().raw_decode(printed[printed.index("{\n") :])[0]["data"]["resultData"]
        assert data["lastNodeExecuted"] == "Result", printed[-2000:]
        result = data["runData"]["Result"][0]["data"]["main"][0][0]["json"]
        assert (result["environment"], result["state"]) == ("stage", wanted)
        assert result["addresses"].keys() == NAMES
        assert states(stage) == dict.fromkeys(NAMES, wanted.capitalize())
