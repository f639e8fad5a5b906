"""`multipass_environment` over the sidecar's program: what its contract does not show."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ..sidecar.service import TOKENS, Service
from ..unit.in_process import call

ROWS = [{"name": "e-web", "cloud_init": "#cloud-config\npassword: hidden-word\n"}, {"name": "e-db"}]


def run(sidecar: Service, *, check: bool = False, scope: str = "admin", **options: Any) -> dict[str, Any]:
    connection = {"url": sidecar.url, "token": TOKENS[scope], "retries": 0}
    return call("multipass_environment", {"name": "env", **connection, **options}, check=check)


@pytest.fixture(autouse=True)
def empty(sidecar: Service) -> None:
    sidecar.world.set()
    sidecar.http.delete("/environments/env")


def test_from_nothing_to_nothing(sidecar: Service) -> None:
    started = run(sidecar, state="started", instances=ROWS)
    assert started["msg"] == "defined and started env"
    assert started["instances"] == {"e-db": "Running", "e-web": "Running"}
    assert all(started["addresses"].values())
    assert sorted(sidecar.world.made()) == ["e-db", "e-web"]
    stopped = run(sidecar, scope="operate", state="stopped")
    assert (stopped["state"], stopped["addresses"]) == ("stopped", {"e-db": [], "e-web": []})
    gone = run(sidecar, state="absent", purge=True)
    assert gone["instances"] == {"e-db": "absent", "e-web": "absent"}
    assert sidecar.world.states() == {}


def test_cloud_init_stays_out_of_results(sidecar: Service) -> None:
    results = [run(sidecar, check=check, instances=ROWS) for check in (True, False)]
    results.append(run(sidecar, instances=[{**ROWS[0], "cloud_init": "#cloud-config\n"}, ROWS[1]]))
    assert "hidden-word" not in json.dumps(results)
    assert results[2]["diff"]["after"]["definition"]["instances"][0]["cloud_init"] == "(not shown, another text)"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"state": "started"}, "environment env does not exist. Set instances to define it"),
        ({"instances": []}, "instances is empty"),
        ({"instances": [{"name": "a1"}, {"name": "a1"}]}, "instances names a1 more than once"),
        ({"instances": [{"name": "-a"}]}, "name is '-a'"),
        ({"instances": [{"name": "a1", "disk": "5"}]}, "HTTP 422"),
        ({"name": "-rf"}, "name is '-rf'"),
        ({"instances": [{"name": "a1", "cpus": 0}]}, "cpus is 0"),
    ],
)
def test_what_is_refused(sidecar: Service, options: dict[str, Any], message: str) -> None:
    result = run(sidecar, **options)
    assert result["failed"] and message in result["msg"]


def test_a_failure_of_one_instance_is_told(sidecar: Service) -> None:
    run(sidecar, instances=[ROWS[1], {"name": "e-x", "image": "4.04"}])
    result = run(sidecar, state="started")
    assert result["failed"]
    assert "Could not start environment env: " in result["msg"] and "1 of 2 failed. e-x: " in result["msg"]


def test_scopes_are_told(sidecar: Service) -> None:
    assert "HTTP 403" in run(sidecar, scope="operate", instances=ROWS)["msg"]
