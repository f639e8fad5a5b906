"""The flows of kestra-flows/ on a live Kestra, with the real sidecar program and a web server on this machine."""

from __future__ import annotations

import base64
import http.server
import ipaddress
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests

from ..sidecar.service import TOKENS, Service
from .kestra import ROOT, Kestra, Postgres, docker, environment, start_kestra, wait_until

FLOWS = sorted((ROOT / "kestra-flows").rglob("*.yaml"))
PURGE = ROOT / "roles/kestra/files/flows/system.orchestration/purge.yaml"
ENDED = {"SUCCESS", "WARNING", "FAILED", "KILLED", "CANCELLED"}
HELLO = "default/hello-world"
ENVIRONMENTS = "devops/environment-orchestration"
WEBHOOK_KEY = "a-key-for-tests-of-webhooks"
DATA = "analytics/data-processing"
ORDERS = """order_id,product_id,price,quantity,total,note
1,a,2.5,2,5.0,
2,b,0.30000000000000004,3,0.9000000000000001,"a comma, a ""quote"" and a
line break"
2,b,0.30000000000000004,3,0.9000000000000001,again
3,c,9.99,1,9.99,Grüße ☃
4,d,,,,
5,e,1e-12,12345678901234567,1.0,--- no separator
6,f,1,1,1,
7,f,1,1,1,
8,f,1,1,1,
9,f,1,1,1,
10,f,1,1,1,
"""
EQUAL = """
import pandas
csv = pandas.read_csv("/tmp/read-back/csv")
json = pandas.read_json("/tmp/read-back/json", orient="records", precise_float=True)
parquet = pandas.read_parquet("/tmp/read-back/parquet")
for other in (json, parquet):
    pandas.testing.assert_frame_equal(csv, other, check_dtype=False, check_exact=True)
print(len(csv), ",".join(csv.columns))
"""


class Web(http.server.ThreadingHTTPServer):
    """Serves what `files` holds; a path in `failing` answers 500 for as many times."""

    daemon_threads = True

    def __init__(self, address: str) -> None:
        super().__init__((address, 0), Page)
        self.files: dict[str, bytes] = {}
        self.failing: dict[str, int] = {}


class Page(http.server.BaseHTTPRequestHandler):
    """One request to Web."""

    server: Web

    def do_GET(self) -> None:
        body = self.server.files.get(self.path)
        status = 404 if body is None else 200
        if self.server.failing.get(self.path, 0) > 0:
            self.server.failing[self.path] -= 1
            status = 500
        content = body if status == 200 and body is not None else b"not now"
        self.send_response(status)
        self.send_header("Content-Type", "text/csv")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Print nothing."""


@dataclass
class Bench:
    """Kestra with the flows, and what they talk to."""

    kestra: Kestra
    web: Web
    sidecar: Service
    names: Iterator[str] = field(default_factory=lambda: (f"env-{number}" for number in range(1000)))

    def ended(self, execution: dict[str, Any]) -> dict[str, Any]:
        """Wait for the end of an execution and return it."""
        found: dict[str, Any] = {}

        def over() -> bool:
            found.update(self.kestra.call("GET", f"/executions/{execution['id']}").json())
            return found["state"]["current"] in ENDED

        wait_until(f"the end of {execution['flowId']}", over, 120)
        return found

    def run(self, flow: str, **inputs: object) -> dict[str, Any]:
        """Run a flow with inputs to its end."""
        parts = {name: (None, str(value)) for name, value in inputs.items()}
        answer = self.kestra.call("POST", f"/executions/{flow}", files=parts or None)
        assert answer.status_code == 200, answer.text
        return self.ended(answer.json())

    def hook(self, flow: str, **options: Any) -> dict[str, Any]:
        """Call a flow's webhook as a stranger does, without credentials, and wait for the end."""
        url = f"{self.kestra.url}/api/v1/main/executions/webhook/{flow}/{WEBHOOK_KEY}"
        answer = requests.post(url, timeout=60, **options)
        assert answer.status_code == 200, answer.text
        return self.ended(answer.json())

    def outputs(self, execution: dict[str, Any]) -> dict[str, Any]:
        """Return the flow's outputs."""
        answer: dict[str, Any] = self.kestra.call("GET", f"/outputs/executions/{execution['id']}").json()
        return answer

    def environment(self, *states: str, **options: Any) -> str:
        """Define an environment with VMs in these states, for the stand-in with these options; return its name."""
        name = next(self.names)
        there = {f"{name}-{number}": state for number, state in enumerate(states) if state != "absent"}
        self.sidecar.world.set(**there)
        body = {"instances": [{"name": f"{name}-{number}"} for number in range(len(states))]}
        assert self.sidecar.http.put(f"/environments/{name}", json=body).status_code == 201
        self.sidecar.world.set(options=options, **there)
        return name


def attempts(execution: dict[str, Any]) -> dict[str, int]:
    """Return how many attempts each task took."""
    return {run["taskId"]: len(run.get("attempts") or []) for run in execution["taskRunList"]}


def state(execution: dict[str, Any]) -> str:
    """Return the state of an execution."""
    current: str = execution["state"]["current"]
    return current


@pytest.fixture(scope="module")
def gateway(images: None) -> str:
    """The address at which containers reach this machine."""
    config = json.loads(docker("network", "inspect", "--format", "{{json (index .IPAM.Config 0)}}", "bridge"))
    # An engine that was never restarted may not name it yet.
    return str(config.get("Gateway") or next(ipaddress.ip_network(config["Subnet"]).hosts()))


@pytest.fixture(scope="module")
def web(gateway: str) -> Iterator[Web]:
    with Web(gateway) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(scope="module")
def bench(
    gateway: str, web: Web, postgres: Postgres, standalone: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Bench]:
    with Service(tmp_path_factory.mktemp("sidecar"), gateway, fresh=0) as sidecar:
        variables = {
            "ENV_SIDECAR_URL": f"http://host.docker.internal:{sidecar.port}",
            "ENV_CONFIGURED_BACKEND": "sidecar",
            "SECRET_SIDECAR_TOKEN": base64.b64encode(TOKENS["operate"].encode()).decode(),
            "SECRET_WEBHOOK_KEY": base64.b64encode(WEBHOOK_KEY.encode()).decode(),
            "ENV_RETENTION_DAYS": "0",
        }
        with start_kestra(standalone, environment(postgres, **variables), postgres.network) as kestra:
            for path in FLOWS:
                kestra.save_flow(path.read_text(encoding="utf-8"))
            yield Bench(kestra, web, sidecar)


@pytest.mark.parametrize("path", FLOWS, ids=lambda path: path.stem)
def test_flow_is_valid_and_a_text_of_its_own(bench: Bench, path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert source.endswith("\n") and not source.endswith("\n\n")
    assert source.startswith("id: " + path.stem)
    assert f"\nnamespace: {path.parent.name}\n" in source
    headers = {"Content-Type": "application/x-yaml"}
    (verdict,) = bench.kestra.call("POST", "/flows/validate", data=source.encode(), headers=headers).json()
    assert not verdict.get("constraints")
    assert not verdict["warnings"] and not verdict["deprecationPaths"]
    removed = ("ForEach", "pluginDefaults", "conditions:", "json(", "BOOLEAN", "ENUM", "\n    when:")
    assert not [name for name in removed if name in source.replace("fromJson(", "")]


@pytest.mark.parametrize("flow", [HELLO, ENVIRONMENTS])
@pytest.mark.parametrize("options", [{}, {"json": {}}, {"data": "not JSON", "headers": {"Content-Type": "text/plain"}}])
def test_webhook_runs_with_the_defaults(bench: Bench, flow: str, options: dict[str, Any]) -> None:
    assert state(bench.hook(flow, **options)) == "SUCCESS"


def test_webhook_with_a_wrong_key_is_refused(bench: Bench) -> None:
    url = f"{bench.kestra.url}/api/v1/main/executions/webhook/{HELLO}/wrong"
    assert requests.post(url, timeout=60).status_code == 404


def test_hello_world_greets(bench: Bench) -> None:
    assert bench.outputs(bench.run(HELLO, name="Ada", greeting="Ciao")) == {"greeting": "Ciao, Ada!"}
    execution = bench.hook(HELLO, json={"name": "Grace", "greeting": "Hallo"})
    assert bench.outputs(execution) == {"greeting": "Hallo, Grace!"}
    assert "Hallo, Grace!" in bench.kestra.messages(execution)


@pytest.mark.parametrize(
    ("flow", "inputs"),
    [
        (HELLO, {"name": "1st"}),
        (HELLO, {"greeting": "Servus"}),
        (ENVIRONMENTS, {"environment": "Dev"}),
        (ENVIRONMENTS, {"environment": "-rf"}),
        (ENVIRONMENTS, {"action": "explode"}),
        (ENVIRONMENTS, {"backend": "cloud"}),
        (ENVIRONMENTS, {"drill_failures": "11"}),
        (DATA, {"max_rejected_percent": "101"}),
        (DATA, {"source_url": "no url at all"}),
    ],
    ids=str,
)
def test_invalid_input_is_refused(bench: Bench, flow: str, inputs: dict[str, str]) -> None:
    parts = {name: (None, value) for name, value in inputs.items()}
    answer = bench.kestra.call("POST", f"/executions/{flow}", files=parts)
    assert answer.status_code == 422
    assert next(iter(inputs)) in answer.text


@pytest.mark.parametrize(
    ("flow", "body", "message"),
    [
        (HELLO, {"name": "<script>"}, "name: '<script>' is not"),
        (HELLO, {"name": ""}, "name: '' is not"),
        (HELLO, {"greeting": "Servus"}, "greeting: 'Servus' is not one of"),
        (ENVIRONMENTS, {"action": "explode"}, "action: 'explode' is not one of start, stop, status."),
        (ENVIRONMENTS, {"environment": "a; reboot"}, "environment: 'a; reboot' is not"),
        (ENVIRONMENTS, {"environment": "ends-"}, "environment: 'ends-' is not"),
        (ENVIRONMENTS, {"backend": "cloud"}, "backend: 'cloud' is not one of"),
    ],
    ids=str,
)
def test_invalid_webhook_body_reaches_the_error_handler(
    bench: Bench, flow: str, body: dict[str, str], message: str
) -> None:
    execution = bench.hook(flow, json=body)
    assert state(execution) == "FAILED"
    assert "report_failure" in attempts(execution)
    reports = [line for line in bench.kestra.messages(execution).splitlines() if " failed in execution " in line]
    assert len(reports) == 1 and message in reports[0]


def test_simulated_environment_keeps_its_state(bench: Bench) -> None:
    name = next(bench.names)
    assert bench.outputs(bench.run(ENVIRONMENTS, environment=name))["state"] == "Unknown"
    for action, wanted in (("start", "Running"), ("status", "Running"), ("stop", "Stopped"), ("status", "Stopped")):
        execution = bench.hook(ENVIRONMENTS, json={"action": action, "environment": name})
        assert state(execution) == "SUCCESS"
        assert f"{action} of {name} (simulated): {wanted}" in bench.kestra.messages(execution)
        assert bench.outputs(execution) == {"environment": name, "state": wanted, "addresses": {}}
        branches = {"start": "simulate_start", "stop": "simulate_stop", "status": "simulate_status"}
        assert set(branches.values()) & attempts(execution).keys() == {branches[action]}


@pytest.mark.parametrize("action", ["start", "stop"])
def test_drill_is_survived_by_a_retry(bench: Bench, action: str) -> None:
    execution = bench.run(ENVIRONMENTS, environment=next(bench.names), action=action, drill_failures=1)
    assert state(execution) == "SUCCESS"
    assert attempts(execution)[f"simulate_{action}"] == 2


def test_drill_that_uses_up_the_retries_reaches_the_error_handler(bench: Bench) -> None:
    execution = bench.run(ENVIRONMENTS, environment=next(bench.names), action="start", drill_failures=10)
    assert state(execution) == "FAILED"
    assert attempts(execution)["simulate_start"] == 3
    assert "report_failure" in attempts(execution)


def test_sidecar_starts_shows_and_stops_an_environment(bench: Bench) -> None:
    name = bench.environment("absent", "Stopped", seconds={"launch": 2})
    for action, wanted in (("start", "Running"), ("status", "Running"), ("stop", "Stopped"), ("status", "Stopped")):
        execution = bench.hook(ENVIRONMENTS, json={"environment": name, "action": action, "backend": "sidecar"})
        assert state(execution) == "SUCCESS", bench.kestra.messages(execution)
        outputs = bench.outputs(execution)
        assert (outputs["environment"], outputs["state"]) == (name, wanted)
        assert outputs["addresses"].keys() == {f"{name}-0", f"{name}-1"}
        assert all(bool(each) is (wanted == "Running") for each in outputs["addresses"].values())
        assert {bench.sidecar.world.states()[f"{name}-{number}"] for number in (0, 1)} == {wanted}
        everything = json.dumps(execution) + bench.kestra.messages(execution)
        assert TOKENS["operate"] not in everything
    assert bench.sidecar.world.made() == [f"{name}-0"]


def test_the_site_says_where_environments_are(bench: Bench) -> None:
    """Here nobody says so; a copy of the flow reads the same from another name."""
    source = next(path for path in FLOWS if path.stem == ENVIRONMENTS.rpartition("/")[2]).read_text("utf-8")
    for text, other in (("id: environment-orchestration\n", "id: configured\n"), ("environment_b", "configured_b")):
        assert source.count(text) == 1 + (text == "environment_b")
        source = source.replace(text, other)
    bench.kestra.save_flow(source)
    name = bench.environment("Running")
    assert bench.outputs(bench.run(ENVIRONMENTS, environment=name))["state"] == "Unknown"
    assert bench.outputs(bench.run("devops/configured", environment=name))["state"] == "Running"


@pytest.mark.parametrize("action", ["start", "status"])
def test_unknown_environment_is_told_and_not_tried_again(bench: Bench, action: str) -> None:
    execution = bench.run(ENVIRONMENTS, environment="nobody", action=action, backend="sidecar")
    assert state(execution) == "FAILED"
    tasks = {"start": "change_environment", "status": "read_environment"}
    assert attempts(execution)[tasks[action]] == 1
    assert f"The sidecar refused the {action} (404)" in bench.kestra.messages(execution)
    assert "report_failure" in attempts(execution)


def test_failed_job_is_told(bench: Bench) -> None:
    fault = {"code": 2, "stderr": "start failed: the hypervisor is busy"}
    name = bench.environment("Stopped", faults={"start": [fault]})
    execution = bench.run(ENVIRONMENTS, environment=name, action="start", backend="sidecar")
    assert state(execution) == "FAILED"
    assert "the hypervisor is busy" in bench.kestra.messages(execution)
    assert "report_failure" in attempts(execution)


def test_a_sidecar_that_is_away_is_asked_again(bench: Bench) -> None:
    name = bench.environment("Running", faults={"list": [{"code": 3, "stderr": "list failed: cannot connect"}] * 2})
    execution = bench.run(ENVIRONMENTS, environment=name, backend="sidecar")
    assert state(execution) == "SUCCESS", bench.kestra.messages(execution)
    assert attempts(execution)["read_environment"] > 1


def test_data_processing_makes_three_equal_files(bench: Bench, tmp_path: Path) -> None:
    bench.web.files["/orders.csv"] = ORDERS.encode()
    execution = bench.run(DATA, source_url=f"http://host.docker.internal:{bench.web.server_port}/orders.csv")
    assert state(execution) == "SUCCESS", bench.kestra.messages(execution)
    outputs = bench.outputs(execution)
    assert outputs["rows"] == 10
    for kind in ("csv", "json", "parquet", "report"):
        answer = bench.kestra.call("GET", f"/executions/{execution['id']}/file", params={"path": outputs[kind]})
        assert answer.status_code == 200
        (tmp_path / kind).write_bytes(answer.content)
    report = (tmp_path / "report").read_text(encoding="utf-8")
    for line in ("- rows in: 11", "- repeated: 1", "- rows out: 10", "Result: accepted", "| price | float64 | 1 |"):
        assert line in report.splitlines()
    assert "10 of 11 rows kept" in bench.kestra.messages(execution)
    # pandas and its Parquet library are where the flow ran.
    docker("cp", f"{tmp_path}/.", f"{bench.kestra.container}:/tmp/read-back")
    read_back = docker("exec", bench.kestra.container, "python3", "-c", EQUAL)
    assert read_back == "10 order_id,product_id,price,quantity,total,note"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b\n1,2\n", "missing columns: order_id, product_id, price, quantity, total"),
        ("", "the file is not CSV that pandas can read"),
        ('order_id,product_id,price,quantity,total\n1,"a\n', "the file is not CSV that pandas can read"),
        ("order_id,product_id,price,quantity,total\n", "no row is left"),
        ("order_id,product_id,price,quantity,total\n1,a,1,1,1\n1,a,1,1,1\n,a,1,1,1\n", "2 of 3 rows were left out"),
    ],
    ids=["columns", "empty", "quote", "no-rows", "rejected"],
)
def test_bad_data_reach_the_error_handler(bench: Bench, content: str, message: str) -> None:
    bench.web.files["/bad.csv"] = content.encode() or b"\n"
    url = f"http://host.docker.internal:{bench.web.server_port}/bad.csv"
    execution = bench.run(DATA, source_url=url)
    assert state(execution) == "FAILED"
    tried = attempts(execution)
    assert tried["process"] == 1 and "report_failure" in tried
    messages = bench.kestra.messages(execution)
    assert f"{url} is refused: " in messages and message in messages


def test_download_is_tried_again(bench: Bench) -> None:
    bench.web.files["/flaky.csv"] = ORDERS.encode()
    bench.web.failing["/flaky.csv"] = 2
    execution = bench.run(DATA, source_url=f"http://host.docker.internal:{bench.web.server_port}/flaky.csv")
    assert state(execution) == "SUCCESS"
    assert attempts(execution)["download"] == 3


def test_missing_data_reach_the_error_handler(bench: Bench) -> None:
    execution = bench.run(DATA, source_url=f"http://host.docker.internal:{bench.web.server_port}/missing.csv")
    assert state(execution) == "FAILED"
    tried = attempts(execution)
    assert tried["download"] == 4 and "process" not in tried and "report_failure" in tried


def test_data_processing_is_scheduled_every_six_hours(bench: Bench) -> None:
    found: list[dict[str, Any]] = []

    def scheduled() -> bool:
        # The scheduler learns of a new flow a moment later.
        rows = bench.kestra.call("GET", "/triggers/search").json()["results"]
        found[:] = [row for row in rows if row["state"]["flowId"] == "data-processing"]
        return any(row["state"].get("nextEvaluationDate") for row in found)

    wait_until("the schedule is known", scheduled, 60)
    (row,) = found
    assert row["trigger"]["cron"] == "0 */6 * * *"
    assert row["trigger"]["recoverMissedSchedules"] == "NONE"
    hour, minute = map(int, row["state"]["nextEvaluationDate"].split("T")[1].split(":")[:2])
    assert (hour % 6, minute) == (0, 0)


def test_purge_deletes_what_has_ended_and_leaves_the_rest(bench: Bench) -> None:
    """The last test, because it deletes the executions of the others."""
    paused = """id: waits
namespace: default
tasks:
  - id: pause
    type: io.kestra.plugin.core.flow.Pause
"""
    bench.kestra.save_flow(paused)
    waiting = bench.kestra.call("POST", "/executions/default/waits").json()["id"]
    ended = bench.run(HELLO)["id"]
    bench.kestra.save_flow(PURGE.read_text(encoding="utf-8"))
    purge = bench.run("system.orchestration/purge")
    assert state(purge) == "SUCCESS"
    assert bench.kestra.call("GET", f"/executions/{ended}").status_code == 404
    assert bench.kestra.call("GET", f"/executions/{waiting}").json()["state"]["current"] == "PAUSED"
    assert bench.kestra.call("GET", f"/executions/{purge['id']}").status_code == 200
