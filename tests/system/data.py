"""What a host holds that nobody may lose: flows, executions, workflows, credentials, secrets, configuration."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from .conftest import Host

ROOT = "/opt/orchestration"
WORKFLOW = {"id": "keptworkflow0001", "name": "Kept", "nodes": [], "connections": {}, "settings": {}, "active": False}
CREDENTIAL = {
    "id": "keptcredential01",
    "name": "Kept",
    "type": "httpHeaderAuth",
    "data": {"name": "X", "value": "kept"},
}
SCENARIO = yaml.safe_load((Path(__file__).parents[2] / "molecule" / "default" / "molecule.yml").read_text("utf-8"))
CANARIES = {
    f"canary {number}": value
    for number, value in enumerate(re.findall(r"canary-[\w-]+", json.dumps(SCENARIO["provisioner"]["inventory"])))
}
"""Secrets that the site gives in the inventory of the scenario."""
WEBHOOKS = "http://127.0.0.1:8080/api/v1/main/executions/webhook"
WEBHOOK = f"{WEBHOOKS}/default/hello-world/$(cat {ROOT}/secrets/kestra_webhook_key)"
# Logs in with the password that the host keeps; no command line holds it.
LOGIN = f'printf "user = admin@example.com:%s" "$(cat {ROOT}/secrets/kestra_password)"'


def kestra(host: Host, path: str) -> Any:
    return json.loads(host.shell(f"{LOGIN} | curl -sS --fail -K - 'http://127.0.0.1:8080{path}'"))


def n8n_rows(host: Host, table: str) -> str:
    counted = f"docker exec orchestration-postgres-1 psql -U postgres -d n8n -tAc 'table {table}' | wc -l"
    return host.shell(counted)


def secrets(host: Host) -> dict[str, str]:
    """Return the secrets on the host by name."""
    names = host.shell(f"ls {ROOT}/secrets").split()
    return {name: host.shell(f"cat {ROOT}/secrets/{name}") for name in names}


def leaks(host: Host, printed: dict[str, str], values: dict[str, str]) -> list[str]:
    """Return where secrets stand that have no business there: printed, in processes, logs, units, readable files."""
    commands = host.shell(
        "docker inspect --format '{{json .Path}} {{json .Args}} {{json .Config.Cmd}} {{json .Config.Entrypoint}}"
        " {{json .Config.Healthcheck}} {{json .Config.Labels}}' $(docker ps -aq)"
    )
    places = {
        **printed,
        "the containers' command lines": commands,
        "ps": host.shell("ps axww -o args"),
        "the journal": host.shell("journalctl --no-pager"),
        "the services' logs": host.shell(f"cd {ROOT} && docker compose logs --no-color"),
        "unit files": host.shell("cat /etc/systemd/system/orchestration-*"),
    }
    found = [f"{name} in {place}" for name, value in values.items() for place, text in places.items() if value in text]
    # As a user without rights; the patterns come over standard input, so that no command line holds them.
    readable = host.shell(
        "setpriv --reuid=65534 --regid=65534 --clear-groups sh -c 'umask 077; cat > /tmp/patterns;"
        " find / -xdev \\( -path /proc -o -path /sys -o -path /tmp/patterns \\) -prune -o -type f -readable -print0"
        " 2>/dev/null | xargs -0 grep -lsF -f /tmp/patterns; rm /tmp/patterns'",
        given="\n".join(values.values()),
    )
    return found + readable.splitlines()


def seed(host: Host, webhook: str = WEBHOOK) -> None:
    """Put an execution into Kestra, and a workflow and a credential into n8n."""
    host.shell(f"curl -sS --fail -X POST {webhook}")
    for kind, content in (("workflow", WORKFLOW), ("credentials", CREDENTIAL)):
        text = json.dumps([content])
        # By way of a file that the container's user may read.
        script = (
            f"cat > /tmp/kept.json && n8n import:{kind} --input=/tmp/kept.json; code=$?; rm /tmp/kept.json; exit $code"
        )
        host.shell(f"docker exec -i orchestration-n8n-1 sh -c '{script}'", given=text)


def data(host: Host) -> dict[str, Any]:
    """Name or count what the services hold, and decrypt n8n's credential.

    Executions that a schedule began are left out: one of the sample flows starts by itself every six hours, so that
    what the host holds grows while a test looks on.
    """
    program = "docker exec orchestration-n8n-1"
    export = f"{program} n8n export:credentials --id=keptcredential01 --decrypted --output=/tmp/key.json"
    exported = host.shell(f"{export} >/dev/null && {program} sh -c 'cat /tmp/key.json; rm /tmp/key.json'")
    return {
        "flows": kestra(host, "/api/v1/main/flows/search?size=100")["total"],
        "executions": sorted(
            execution["id"]
            for execution in kestra(host, "/api/v1/main/executions/search?size=100")["results"]
            if not (execution.get("trigger") or {}).get("type", "").endswith(".Schedule")
        ),
        "workflows": n8n_rows(host, "workflow_entity"),
        "credentials": n8n_rows(host, "credentials_entity"),
        "credential": json.loads(exported)[0]["data"],
    }


def answers(host: Host) -> bool:
    """Tell whether every service does its work, not only whether Docker calls it healthy."""
    urls = ("http://127.0.0.1:8081/health", "http://127.0.0.1:5678/healthz/readiness", "http://127.0.0.1:8090/health")
    asked = "; ".join(f"curl -s -m 5 -o /dev/null -w '%{{http_code}} ' {url}" for url in urls)
    ready = "docker exec orchestration-postgres-1 pg_isready -q -h 127.0.0.1 && echo ready"
    return re.sub(r"\s+", " ", host.shell(f"{asked}; {ready}", check=False)) == "200 200 200 ready"


def configuration(host: Host) -> dict[str, str]:
    """Return a digest of every file that configures a service, by path, with its mode."""
    names = ("compose.yml", "services", "env", "secrets", "kestra-config", "sidecar/sidecar.toml")
    places = " ".join(f"{ROOT}/{name}" for name in names)
    listed = host.shell(
        f"find {places} /etc/docker/daemon.json /etc/systemd/system/orchestration-* -type f"
        " -exec sh -c 'for f; do echo \"$f $(stat -c %a $f) $(sha256sum < $f)\"; done' sh {} +"
    )
    return dict(line.split(" ", 1) for line in listed.splitlines())


def leftovers(host: Host) -> str:
    """List files that a run which was killed, or failed, has left."""
    return host.shell(
        f"find {ROOT} /etc/docker /etc/systemd/system /run -maxdepth 4 -not -path '{ROOT}/data/*' "
        "\\( -name '.*.new-*' -o -name '.ansible_tmp*' -o -name '*.ansible_tmp' -o -name 'orchestration.lock' \\);"
        " find /tmp /root/.ansible/tmp -mindepth 1 -maxdepth 1 \\( -name 'orchestration-*' -o -name 'ansible-tmp-*' \\)"
        " 2>/dev/null || true"
    )
