"""Code nodes in the container n8n-runners, with n8n's own JavaScript runner."""

from __future__ import annotations

import json
import sys

from .conftest import Host, Run

CODE = "return [{ json: { sum: 6 * 7, broker: process.env.N8N_RUNNERS_TASK_BROKER_URI ?? 'hidden' } }];"
WORKFLOW = {
    "id": "externalrunner01",
    "name": "Sum",
    "active": False,
    "settings": {},
    "nodes": [
        {
            "id": "hook",
            "name": "Webhook",
            "type": "n8n-nodes-base.webhook",
            "typeVersion": 2,
            "position": [0, 0],
            "webhookId": "6f1f2d0c-0000-4000-8000-000000000001",
            "parameters": {"path": "sum", "responseMode": "lastNode"},
        },
        {
            "id": "code",
            "name": "Code",
            "type": "n8n-nodes-base.code",
            "typeVersion": 2,
            "position": [200, 0],
            "parameters": {"jsCode": CODE},
        },
    ],
    "connections": {"Webhook": {"main": [[{"node": "Code", "type": "main", "index": 0}]]}},
}


def test_code_runs_in_the_container_of_the_runners(host: Host, converged: Run) -> None:
    for step in ("build", "registry"):
        host.run(sys.executable, "tests/images/cli.py", step, "n8n-runners", about="seconds").succeeded()
    host.site({"n8n_runners": "external"}, about="about a minute").succeeded()
    state = "docker inspect --format '{{.State.Health.Status}} {{.HostConfig.CapDrop}}' orchestration-n8n-runners-1"
    assert host.shell(state) == "healthy [ALL]"
    steps = (
        "cat > /tmp/w.json && n8n import:workflow --input=/tmp/w.json"
        f" && n8n publish:workflow --id={WORKFLOW['id']} && rm /tmp/w.json"
    )
    host.shell(f"docker exec -i orchestration-n8n-1 sh -c '{steps}'", given=json.dumps([WORKFLOW]))
    host.shell("docker restart orchestration-n8n-1")
    host.wait("n8n is healthy", lambda: host.health("n8n") == "healthy", 120)
    asked = "curl -sS -m 60 http://127.0.0.1:5678/webhook/sum"
    host.wait("the webhook is registered", lambda: "not registered" not in host.shell(asked), 60)
    assert json.loads(host.shell(asked)) == {"sum": 42, "broker": "hidden"}
    # Nothing of it ran in n8n's own container.
    assert (
        host.shell("docker exec orchestration-n8n-1 sh -c 'cat /proc/[0-9]*/cmdline' | grep -c task-runner || true")
        == "0"
    )
    # The runner that is gone is replaced, and the next task finds it.
    host.shell("docker restart orchestration-n8n-runners-1")
    host.wait("the sum is calculated again", lambda: '"sum":42' in host.shell(asked, check=False), 90)
    assert host.site({"n8n_runners": "external"}, about="about 20 s").succeeded().recap["changed"] == 0
    host.site({}, about="about a minute").succeeded()
    assert "n8n-runners" not in host.shell("docker ps --all --format '{{.Names}}'")
    host.wait("the sum is calculated by n8n itself", lambda: '"sum":42' in host.shell(asked, check=False), 90)
