"""`multipass_instance` over the sidecar's program: what its contract does not show."""

from __future__ import annotations

from typing import Any

import pytest

from ..sidecar.service import TOKENS, Service
from ..unit.in_process import call

MODULE = "multipass_instance"


def run(sidecar: Service, *, check: bool = False, scope: str = "admin", **options: Any) -> dict[str, Any]:
    connection = {"url": sidecar.url, "token": TOKENS[scope], "retries": 0}
    return call(MODULE, {"name": "vm", **connection, **options}, check=check)


def test_what_multipass_is_told(sidecar: Service) -> None:
    sidecar.world.set()
    given = {"image": "22.04", "cpus": 2, "memory": "2G", "disk": "10G", "cloud_init": "#cloud-config\n"}
    done = run(sidecar, **given)
    assert done["msg"] == "launched vm"
    assert done["instance"]["state"] == "Running" and done["instance"]["ipv4"]
    (launch,) = sidecar.world.calls("launch")
    assert {"--name=vm", "--cpus=2", "--memory=2G", "--disk=10G", "--cloud-init=-"} <= set(launch["arguments"])
    assert launch["arguments"][-1] == "22.04"
    job = sidecar.http.get(f"/jobs/{done['jobs'][0]}").json()
    assert (job["kind"], job["target"], job["state"]) == ("launch", "vm", "succeeded")
    changed = run(sidecar, memory="4G", allow_restart=True)
    assert changed["msg"] == "stopped, resized and started vm"
    assert changed["diff"]["before"] == {"state": "Running", "cpus": 2, "memory": "2G", "disk": "10G"}
    assert changed["diff"]["after"] == {"state": "Running", "cpus": 2, "memory": "4G", "disk": "10G"}
    assert sidecar.world.arguments("set")[-1][-1] == "local.vm.memory=4G"


@pytest.mark.parametrize(
    ("now", "options", "message"),
    [
        ("Running", {"cpus": 2}, "vm is Running; a new size needs it stopped. Set allow_restart"),
        ("Stopped", {"disk": "4G"}, "the disk of vm has 5G and cannot shrink to 4G"),
        ("Stopped", {"memory": "lots"}, "memory: 'lots' is not a size"),
        ("Stopped", {"name": "-rf"}, "name is '-rf'"),
        (None, {"snapshot": "clean"}, "instance vm does not exist"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_sent(
    sidecar: Service, now: str | None, options: dict[str, Any], message: str
) -> None:
    sidecar.world.set(**({"vm": now} if now else {}))
    done = len(sidecar.world.calls("set", "stop", "start", "launch", "restore", "restart"))
    for check in (True, False):
        result = run(sidecar, check=check, **options)
        assert result["failed"] and not result["changed"]
        assert message in result["msg"]
    assert len(sidecar.world.calls("set", "stop", "start", "launch", "restore", "restart")) == done


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image": "4.04", "name": "new"}, "Could not launch instance new: HTTP 422: multipass launch failed"),
        ({"snapshot": "none"}, "Could not restore instance vm: HTTP 404: instance vm has no snapshot none"),
    ],
)
def test_what_multipass_refuses_is_told(sidecar: Service, options: dict[str, Any], message: str) -> None:
    sidecar.world.set(vm="Stopped")
    result = run(sidecar, **options)
    assert result["failed"]
    assert message in result["msg"]


def test_scopes_are_told(sidecar: Service) -> None:
    sidecar.world.set(vm="Stopped")
    assert "HTTP 403" in run(sidecar, scope="read", state="started")["msg"]
    assert run(sidecar, scope="operate", state="started")["changed"]
    refused = run(sidecar, scope="operate", state="absent")
    assert "admin" in refused["msg"] and "sidecar_tokens" in refused["msg"]
    result = call(MODULE, {"name": "vm", "url": sidecar.url, "token": "wrong"})
    assert "HTTP 401" in result["msg"] and "Check token" in result["msg"]


def test_without_waiting_the_job_goes_on(sidecar: Service) -> None:
    sidecar.world.set(options={"seconds": {"launch": 3}})
    done = run(sidecar, wait=False)
    assert done["changed"] and done["instance"] is None
    (job,) = done["jobs"]
    assert sidecar.http.get(f"/jobs/{job}").json()["state"] in ("queued", "running")
    assert sidecar.http.get(f"/jobs/{job}", params={"wait": 30}).json()["state"] == "succeeded"


def test_a_job_that_takes_too_long_fails_the_task(sidecar: Service) -> None:
    sidecar.world.set(options={"seconds": {"launch": 4}})
    result = run(sidecar, wait_timeout=1)
    assert result["failed"] and "Raise wait_timeout" in result["msg"]
    running = sidecar.http.get("/jobs", params={"instance": "vm", "limit": 1}).json()["jobs"][0]
    assert sidecar.http.get(f"/jobs/{running['id']}", params={"wait": 30}).json()["state"] == "succeeded"
