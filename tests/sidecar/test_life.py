"""The life of an instance from launch to deletion, with the stand-in for multipass or with a real one.

DEVORCH_MULTIPASS=/snap/bin/multipass (make sidecar-real) names a real one. The instances then have names that begin
with "sidecar-test-", and are removed at the end.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .service import Service

REAL = os.environ.get("DEVORCH_MULTIPASS")
PREFIX = f"sidecar-test-{secrets.token_hex(3)}"


@pytest.fixture(scope="module", params=["real"] if REAL else ["1.14.1", "1.16.3", "1.16.3 with more keys"])
def sidecar(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    options: dict[str, Any] = {"multipass": REAL} if REAL else {}
    with Service(tmp_path_factory.mktemp("life"), **options) as service:
        version, _, extra = request.param.partition(" ")
        service.world.set(options={"version": version, "extra": bool(extra), "seconds": {"launch": 0.2}})
        service.http.timeout = 1200
        yield service
        for instance in service.http.get("/instances").json()["instances"]:
            if instance["name"].startswith(PREFIX):
                service.done("DELETE", f"/instances/{instance['name']}", params={"wait": 600})


def test_an_instance_from_the_launch_to_its_end(sidecar: Service, tmp_path: Path) -> None:
    name, copy = f"{PREFIX}-a", f"{PREFIX}-b"
    path = f"/instances/{name}"
    long = {"params": {"wait": 600}}
    assert sidecar.http.get("/health").json()["status"] == "ok"
    assert any("lts" in [image["name"], *image["aliases"]] for image in sidecar.http.get("/images").json()["images"])
    assert isinstance(sidecar.http.get("/networks").json()["networks"], list)
    wanted = {"name": name, "memory": "512M", "disk": "4G", "cloud_init": "#cloud-config\nhostname: life\n"}
    made = sidecar.done("POST", "/instances", json=wanted, **long)["result"]["instance"]
    assert made["state"] == "Running" and made["ipv4"] and made["cpus"] == 1
    assert sidecar.http.post("/instances", json=wanted).status_code == 409
    size = sidecar.http.get(f"{path}/size").json()
    assert size == {"cpus": 1, "memory": 512 * 1024**2, "disk": 4 * 1024**3}
    ran = sidecar.http.post(f"{path}/exec", json={"argv": ["echo", "a b", "$(id)"]}).json()
    assert (ran["exit_code"], ran["stdout"]) == (0, "a b $(id)\n")
    assert sidecar.http.post(f"{path}/exec", json={"argv": ["sh", "-c", "exit 2"]}).json()["exit_code"] == 2
    assert sidecar.http.post(f"{path}/exec", json={"argv": ["sleep", "30"], "timeout": 3}).json()["timed_out"] is True
    content = secrets.token_bytes(300000)
    where = {"path": "/home/ubuntu/a file.bin"}
    assert sidecar.http.put(f"{path}/files", params=where, content=content).status_code == 204
    assert sidecar.http.get(f"{path}/files", params=where).content == content
    assert sidecar.http.get(f"{path}/files", params={"path": "/home/ubuntu/none"}).status_code == 404
    assert sidecar.done("POST", f"{path}/restart", **long)["result"]["instance"]["state"] == "Running"
    assert sidecar.done("POST", f"{path}/stop", **long)["result"]["instance"]["state"] == "Stopped"
    assert sidecar.done("POST", f"{path}/resize", json={"disk": "5G", "memory": "1G"}, **long)["result"]["changed"]
    assert sidecar.http.get(f"{path}/size").json() == {"cpus": 1, "memory": 1024**3, "disk": 5 * 1024**3}
    sidecar.done("POST", f"{path}/resize", "failed", json={"disk": "4G"}, **long)
    sidecar.done("POST", f"{path}/snapshots", json={"name": "first", "comment": "clean"}, **long)
    (snapshot,) = sidecar.http.get(f"{path}/snapshots").json()["snapshots"]
    assert (snapshot["name"], snapshot["comment"]) == ("first", "clean")
    sidecar.done("POST", f"{path}/snapshots/first/restore", **long)
    version = sidecar.http.get("/version").json()["multipass"]
    old = tuple(map(int, version.split("+")[0].split(".")[:2])) < (1, 15)
    cloned = sidecar.done("POST", f"{path}/clone", "failed" if old else "succeeded", json={"name": copy}, **long)
    assert old or cloned["result"]["instance"]["name"] == copy
    sidecar.done("DELETE", f"{path}/snapshots/first", **long)
    definition = {"instances": [{"name": name}, {"name": f"{PREFIX}-c", "memory": "512M", "disk": "4G"}]}
    assert sidecar.http.put("/environments/life", json=definition).json()["state"] == "partial"
    assert sidecar.done("POST", "/environments/life/start", **long)["result"]["state"] == "running"
    assert sidecar.done("POST", "/environments/life/stop", **long)["result"]["state"] == "stopped"
    assert (
        sidecar.done("DELETE", "/environments/life", params={"wait": 600, "purge": True})["result"]["state"] == "absent"
    )
    assert sidecar.http.get(path).status_code == 404
