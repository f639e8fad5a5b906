"""`multipass_instance_info` over the sidecar's program."""

from __future__ import annotations

from typing import Any

from ..sidecar.service import TOKENS, Service
from ..unit.in_process import call


def look(sidecar: Service, **options: Any) -> dict[str, Any]:
    found = call("multipass_instance_info", {"url": sidecar.url, "token": TOKENS["read"], **options})
    assert not found["failed"], found["msg"]
    assert found["msg"].startswith(str(len(found["instances"])))
    return found


def test_instances_are_sorted_and_told_apart(sidecar: Service) -> None:
    sidecar.world.set(web="Running", db="Stopped", old="Deleted")
    assert [each["name"] for each in look(sidecar)["instances"]] == ["db", "old", "web"]
    (web,) = look(sidecar, name="web")["instances"]
    assert web["ipv4"] == ["10.21.77.10"] and web["memory"]["total"] == 1024**3
    assert [each["name"] for each in look(sidecar, states=["Stopped", "Deleted"])["instances"]] == ["db", "old"]
    assert look(sidecar, name="nobody")["instances"] == []


def test_size_and_snapshots(sidecar: Service) -> None:
    sidecar.world.set(db="Stopped", old="Deleted")
    sidecar.done("POST", "/instances/db/snapshots", json={"name": "clean", "comment": "first"})
    (found,) = look(sidecar, name="db", size=True, snapshots=True)["instances"]
    assert found["size"] == {"cpus": 1, "memory": 1024**3, "disk": 5 * 1024**3}
    (snapshot,) = found["snapshots"]
    assert (snapshot["name"], snapshot["comment"], snapshot["parent"]) == ("clean", "first", None)
    (old,) = look(sidecar, name="old", size=True)["instances"]
    assert old["size"] is None
