"""doctor.yml on the real host: all is well, then several things are broken and each is told."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from .conftest import Host, Run


def findings(path: Path, host: Host) -> dict[tuple[str, str], tuple[str, str]]:
    """Return status and message by check and subject, of what is not ok."""
    told = json.loads(path.read_text("utf-8"))["hosts"][host.name]
    return {
        (finding["check"], finding["subject"]): (finding["status"], finding["message"])
        for finding in told["findings"]
        if finding["status"] != "ok"
    }


@pytest.fixture
def paths(tmp_path: Path) -> dict[str, str]:
    return {"doctor_json": str(tmp_path / "doctor.json"), "doctor_html": str(tmp_path / "doctor.html")}


def test_a_converged_host_is_well(host: Host, converged: Run, paths: dict[str, str]) -> None:
    # Other tests let executions fail.
    limits = {"doctor_limits": {"failed_critical_percent": 101}}
    run = host.playbook("doctor", paths | limits, about="about 20 s").succeeded()
    assert run.recap["changed"] == 0
    # There is no multipass on the test hosts, and nobody has made a backup.
    bad = findings(Path(paths["doctor_json"]), host)
    assert {status for status, _message in bad.values()} <= {"warning"}
    assert set(bad) <= {("service", "sidecar"), ("backup", "last"), ("backup", "verified"), ("execution", "failed")}
    assert re.search(r"STATUS +CHECK +SUBJECT +MESSAGE\n +", run.output)
    page = Path(paths["doctor_html"]).read_text("utf-8")
    assert "Executions by day" in page and host.name in page


BREAK = """
certificate=/usr/local/share/ca-certificates/doctor.crt
cd /opt/orchestration
chmod 0644 secrets/sidecar_token
timeout 60 sh -c 'until docker pause orchestration-n8n-1; do sleep 1; done'
systemctl stop orchestration-watchdog.timer
mkdir -p -m 0700 backups
test -e backups/last.json && cp backups/last.json /run/last.json
printf '{"backup": "20200101T000000Z", "finished": "2020-01-01T00:00:00Z", "targets": []}' > backups/last.json
printf '{"services": ["n8n"], "watchdog": true}' > backups/paused.json
docker exec orchestration-postgres-1 psql -U postgres -qc "alter role n8n password 'forgotten'"
docker run --detach --name stray --label com.docker.compose.project=orchestration --publish 7777:80 \
  --entrypoint sleep $(docker inspect --format '{{.Image}}' orchestration-postgres-1) 600
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 9 -subj /CN=localhost \
  -addext subjectAltName=DNS:localhost -keyout /run/tls.key -out $certificate
update-ca-certificates
systemd-run --unit=doctor-tls openssl s_server -www -accept 8443 -key /run/tls.key -cert $certificate
"""
MEND = """
cd /opt/orchestration
chmod 0600 secrets/sidecar_token
docker rm --force stray
systemctl stop doctor-tls
rm /usr/local/share/ca-certificates/doctor.crt
update-ca-certificates
rm backups/paused.json
if test -e /run/last.json; then mv /run/last.json backups/last.json; else rm backups/last.json; fi
docker exec --env PASSWORD="$(cat secrets/n8n_database_password)" orchestration-postgres-1 \
  sh -c 'echo "alter role n8n password :'"'password'"'" | psql -U postgres -q --set password="$PASSWORD"'
systemctl start orchestration-watchdog.timer
docker unpause orchestration-n8n-1
"""
TOLD = [
    ("mode", "/opt/orchestration/secrets/sidecar_token", "critical", "mode 0644 lets others in"),
    ("service", "n8n", "critical", "the container is paused"),
    ("unit", "orchestration-watchdog.timer", "critical", "is inactive"),
    ("backup", "last", "critical", "days old: 20200101T000000Z"),
    ("backup", "store local", "warning", "does not have the last backup"),
    ("backup", "pause", "critical", "services are paused, and the backup was killed"),
    ("database", "n8n", "critical", "password authentication failed"),
    ("listener", "7777", "critical", "stray is published at"),
    ("disk", "/opt/orchestration", "warning", "% used"),
    ("certificate", "https://localhost:8443", "warning", "valid for 8 days"),
    ("flow", "default/hello-world", "warning", "differs from its file"),
    ("version", "kestra", "warning", "pinned is docker.io/kestra/kestra:v9.9.9"),
]


def test_what_is_broken_is_told(host: Host, converged: Run, paths: dict[str, str], tmp_path: Path) -> None:
    source = Path(__file__).parents[2] / "kestra-flows" / "default" / "hello-world.yaml"
    edited = tmp_path / "flows" / "hello-world.yaml"
    edited.parent.mkdir()
    edited.write_text(source.read_text("utf-8") + "# edited\n", "utf-8")
    variables: dict[str, Any] = {
        **paths,
        "doctor_limits": {"disk_warning_percent": 0, "disk_critical_percent": 101},
        "n8n_url": "https://localhost:8443",
        "kestra_version": "v9.9.9",
        "kestra_flows_directory": str(edited.parent),
    }
    host.shell(BREAK)
    try:
        run = host.playbook("doctor", variables, about="about 20 s")
    finally:
        host.shell(MEND)
    assert run.code != 0
    assert run.recap["changed"] == 0
    told = findings(Path(paths["doctor_json"]), host)
    missing = [row for row in TOLD if told.get(row[:2], ("",))[0] != row[2] or row[3] not in told[row[:2]][1]]
    assert missing == [], told
