"""The sidecar's API, with the stand-in for multipass."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import re
import shutil
import sqlite3
import ssl
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from .service import FILES, TOKENS, Service, bearer


def check_problem(answer: httpx.Response, status: int, kind: str) -> dict[str, Any]:
    """Check that an answer is problem details (RFC 9457), and return them."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body["status"] == status
    assert body["type"] == f"/problems/{kind}"
    assert body["title"] and body["detail"]
    assert body["instance"] == answer.request.url.path
    return body


def check_failed(job: dict[str, Any], status: int, kind: str) -> str:
    """Check the problem of a failed job, and return its detail."""
    assert job["state"] == "failed" and job["result"] is None
    assert (job["error"]["status"], job["error"]["type"]) == (status, f"/problems/{kind}")
    assert job["error"]["instance"] == f"/jobs/{job['id']}"
    assert job["finished"] and job["log"][-1]["text"] == job["error"]["detail"]
    return str(job["error"]["detail"])


def test_everything_except_health_and_the_page_needs_a_token(tmp_path: Path) -> None:
    wrong = [TOKENS["admin"], f"Bearer {TOKENS['admin'][:-1]}", f"Basic {TOKENS['admin']}", "Bearer", "bearer x", ""]
    paths = [
        *(("GET", "/instances"), ("GET", "/instances/dev"), ("POST", "/instances"), ("POST", "/instances/dev/start")),
        *(("DELETE", "/instances/dev"), ("GET", "/openapi.json"), ("GET", "/nothing/here"), ("POST", "/health")),
        *(("GET", "/health/"), ("GET", "/metrics"), ("GET", "/jobs"), ("PUT", "/environments/dev"), ("POST", "/")),
        *(
            ("POST", "/instances/dev/exec"),
            ("GET", "/instances/dev/files?path=/etc/shadow"),
            ("GET", "/x//"),
            ("GET", "/page.js/"),
        ),
    ]
    with Service(tmp_path) as sidecar, httpx.Client(base_url=sidecar.url) as stranger:
        sidecar.world.set(dev="Running")
        # One after the other, because the number of refusals per second is limited.
        for header, (method, path) in zip([None, *wrong, *[None] * len(paths)], [*paths, *paths], strict=False):
            # The body is not JSON: the refusal must come before it is read.
            headers = {} if header is None else {"Authorization": header}
            answer = stranger.request(method, path, headers=headers, content=b"{")
            check_problem(answer, 401, "unauthenticated")
            assert answer.headers["www-authenticate"] == "Bearer"
        assert not sidecar.world.calls()
        with ThreadPoolExecutor(20) as pool:
            answers = list(pool.map(lambda _: stranger.get("/jobs").status_code, range(200)))
        assert set(answers) == {401, 429}
        # Clients without a token do not block clients with one.
        assert sidecar.http.get("/instances").status_code == 200


@pytest.mark.parametrize("scope", ["read", "operate"])
def test_a_scope_does_not_reach_further(sidecar: Service, scope: str) -> None:
    sidecar.world.set(dev="Stopped")
    rows = [
        *(("GET", "/instances", "read"), ("GET", "/metrics", "read"), ("GET", "/jobs", "read")),
        *(("POST", "/instances/dev/start", "operate"), ("POST", "/instances/dev/stop", "operate")),
        *(("POST", "/instances", "operate"), ("POST", "/instances/dev/snapshots", "operate")),
        *(("DELETE", "/instances/dev", "admin"), ("POST", "/instances/dev/exec", "admin")),
        *(("POST", "/instances/dev/snapshots/s1/restore", "admin"), ("DELETE", "/instances/dev/snapshots/s1", "admin")),
        *(("PUT", "/instances/dev/files?path=/x1", "admin"), ("GET", "/instances/dev/files?path=/x1", "admin")),
        *(("PUT", "/environments/dev", "admin"), ("DELETE", "/environments/dev", "admin")),
    ]
    order = ["read", "operate", "admin"]
    for method, path, needed in rows:
        answer = sidecar.http.request(method, path, headers=bearer(scope), content=b"{")
        if order.index(needed) > order.index(scope):
            body = check_problem(answer, 403, "scope-missing")
            assert f"needs {needed}" in body["detail"]
        else:
            assert answer.status_code != 403


def test_too_many_requests_with_one_token(tmp_path: Path) -> None:
    with Service(tmp_path, rate_limit=5) as sidecar:
        answers = [sidecar.http.get("/jobs") for _ in range(40)]
        refused = [answer for answer in answers if answer.status_code == 429]
        assert 5 <= len(refused) < 40
        assert int(refused[-1].headers["retry-after"]) >= 1
        assert sidecar.http.get("/jobs", headers=bearer("read")).status_code == 200
        assert sidecar.http.get("/health").status_code == 200


def test_bodies_that_are_too_large_are_refused(tmp_path: Path) -> None:
    with Service(tmp_path, max_file=1000) as sidecar:
        sidecar.world.set(dev="Running")
        for content in (b" " * (4 * 1024**2 + 1), (b" " * 65536 for _ in range(65))):
            answer = sidecar.http.post("/instances", content=content, headers={"Content-Type": "application/json"})
            assert answer.status_code == 413, answer.text
            assert answer.headers["content-type"] == "application/problem+json"
        for content in (b"x" * 1001, (b"x" * 100 for _ in range(11))):
            assert sidecar.http.put("/instances/dev/files?path=/tmp/x", content=content).status_code == 413
        assert sidecar.http.put("/instances/dev/files?path=/tmp/x", content=b"x" * 1000).status_code == 204


def test_list_shows_all_instances_by_name(sidecar: Service) -> None:
    assert sidecar.http.get("/instances").json() == {"instances": [], "next": None}
    sidecar.world.set(web="Running", db="Stopped", old="Deleted")
    expected = [
        {"name": "db", "state": "Stopped", "ipv4": [], "release": None},
        {"name": "old", "state": "Deleted", "ipv4": [], "release": None},
        {"name": "web", "state": "Running", "ipv4": ["10.21.77.10"], "release": "Ubuntu 24.04 LTS"},
    ]
    assert sidecar.http.get("/instances").json() == {"instances": expected, "next": None}
    assert sidecar.http.get("/instances?limit=2").json() == {"instances": expected[:2], "next": "old"}
    assert sidecar.http.get("/instances?limit=2&after=old").json() == {"instances": expected[2:], "next": None}


def test_info_of_a_running_and_of_a_stopped_instance(sidecar: Service) -> None:
    sidecar.world.set(web="Running", db="Stopped")
    running = sidecar.http.get("/instances/web").json()
    assert running["state"] == "Running" and running["ipv4"] == ["10.21.77.10"]
    assert running["cpus"] == 1 and running["load"] == [0.1, 0.05, 0.01] and running["snapshots"] == 0
    assert running["memory"] == {"used": 200000000, "total": 1024**3}
    assert running["disk"] == {"used": 1500000000, "total": 5 * 1024**3}
    stopped = sidecar.http.get("/instances/db").json()
    assert stopped["cpus"] is None and stopped["memory"] == {"used": None, "total": None}
    size = {"cpus": 1, "memory": 1024**3, "disk": 5 * 1024**3}
    assert sidecar.http.get("/instances/db/size").json() == size
    for path in ("/instances/none", "/instances/none/size", "/instances/none/snapshots"):
        check_problem(sidecar.http.get(path), 404, "instance-not-found")


def test_images_networks_host_version_and_metrics(sidecar: Service) -> None:
    sidecar.world.set(web="Running", db="Stopped", old="Stopped")
    images = sidecar.http.get("/images").json()["images"]
    assert [image["name"] for image in images] == ["22.04", "24.04", "daily:26.10"]
    assert [image["name"] for image in sidecar.http.get("/images?query=noble").json()["images"]] == ["24.04"]
    check_problem(sidecar.http.get("/images?query=nosuch"), 422, "image-not-found")
    assert sidecar.http.get("/images?query=--all").status_code == 422
    assert [network["name"] for network in sidecar.http.get("/networks").json()["networks"]] == ["eth0", "br0"]
    host = sidecar.http.get("/host").json()
    assert (
        host["cpus"] == os.cpu_count() and host["driver"] == "qemu" and host["memory"]["total"] > host["memory"]["used"]
    )
    assert sidecar.http.get("/version").json() == {"service": "1.0.0", "multipass": "1.16.3", "daemon": "1.16.3"}
    text = sidecar.http.get("/metrics").text
    assert 'multipass_sidecar_instances{state="Stopped"} 2.0' in text.splitlines()
    assert "multipass_sidecar_multipass_up 1.0" in text.splitlines()
    assert re.search(r'multipass_sidecar_requests_total\{method="GET",status="200"\} \d', text)


def test_launch_passes_every_option_and_cloud_init_on_standard_input(tmp_path: Path) -> None:
    (tmp_path / "mounts" / "work").mkdir(parents=True)
    source = str((tmp_path / "mounts" / "work").resolve())
    wanted = {
        "name": "web-1",
        "image": "24.04",
        "cpus": 2,
        "memory": "2G",
        "disk": "10G",
        "cloud_init": "#cloud-config\nruncmd: [true]  # ü\n",
        "networks": [{"name": "eth0"}, {"name": "br0", "mode": "manual", "mac": "52:54:00:4b:ab:cd"}],
        "mounts": [{"source": source, "target": "/work"}],
    }
    with Service(tmp_path, mount_sources=[str(tmp_path / "mounts")]) as sidecar:
        job = sidecar.done("POST", "/instances", json=wanted)
        assert job["kind"] == "launch" and job["target"] == "web-1" and job["token"] == "admin"
        assert job["result"]["changed"] is True and job["result"]["instance"]["state"] == "Running"
        (call,) = sidecar.world.calls("launch")
        assert call["arguments"] == [
            *("launch", "--timeout=1800", "--name=web-1", "--cpus=2", "--memory=2G", "--disk=10G"),
            *("--network=name=eth0,mode=auto", "--network=name=br0,mode=manual,mac=52:54:00:4b:ab:cd"),
            *(f"--mount={source}:/work", "--cloud-init=-", "24.04"),
        ]
        assert call["stdin"] == wanted["cloud_init"]
        # What may be secret is stored no longer than necessary.
        assert b"runcmd" not in (tmp_path / "state" / "jobs.sqlite").read_bytes() + sidecar.log().encode()


def test_launch_has_defaults(sidecar: Service) -> None:
    answer = sidecar.http.post("/instances", json={"name": "dev"})
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/jobs/{answer.json()['id']}"
    job = sidecar.http.get(answer.headers["location"], params={"wait": 30}).json()
    assert job["state"] == "succeeded" and job["progress"]["percent"] == 100
    (call,) = sidecar.world.calls("launch")
    expected = ["--timeout=1800", "--name=dev", "--cpus=1", "--memory=1G", "--disk=5G", "lts"]
    assert call["arguments"][1:] == expected
    assert call["stdin"] is None


@pytest.mark.parametrize("present", ["Running", "Stopped", "Deleted"])
def test_launch_of_a_taken_name_is_a_conflict(sidecar: Service, present: str) -> None:
    sidecar.world.set(dev=present)
    body = check_problem(sidecar.http.post("/instances", json={"name": "dev"}), 409, "instance-exists")
    assert ("DELETE it" in body["detail"]) == (present == "Deleted")
    assert not sidecar.world.calls("launch")


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("name", ["", "-x", "--all", "a-", "1a", "a_b", "a b", "a/b", "ä1", "a\n", "a" * 64, None, 5, "a\0b"]),
        (
            "image",
            [
                "",
                "-x",
                "http://x/y.img",
                "../x",
                "a b",
                "x" * 101,
                "file:///a b",
                "file://relative",
                "file.img",
                "http:10.0.0.1",
            ],
        ),
        ("cpus", [0, -1, 257, "two", 1.5, True]),
        ("memory", ["", "511M", "0", "1T", "-1G", "1 G", "1.5G", "9" * 20, 1073741824]),
        ("disk", ["1023M", "big", "1g"]),
        ("cloud_init", ["", "x" * 65537, "ü" * 32769, ["#cloud-config"]]),
        ("more", ["--x"]),
    ],
    ids=str,
)
def test_launch_names_the_field_that_is_wrong(sidecar: Service, field: str, values: list[object]) -> None:
    for value in values:
        answer = sidecar.http.post("/instances", json={"name": "dev"} | {field: value})
        body = check_problem(answer, 422, "invalid-request")
        assert {error["field"] for error in body["errors"]} == {f"body.{field}"}, value
    assert not sidecar.world.calls()


@pytest.mark.parametrize(
    "more",
    [
        {"networks": [{"name": "eth0,mode=manual"}]},
        {"networks": [{"name": "-x"}]},
        {"networks": [{"name": "eth0", "mac": "52:54:00"}]},
        {"mounts": [{"source": "relative", "target": "/x"}]},
        {"mounts": [{"source": "/a:b", "target": "/x"}]},
        {"mounts": [{"source": "/a", "target": "/"}]},
        {"mounts": "/:/host"},
    ],
    ids=str,
)
def test_launch_refuses_odd_networks_and_mounts(sidecar: Service, more: dict[str, Any]) -> None:
    check_problem(sidecar.http.post("/instances", json={"name": "dev"} | more), 422, "invalid-request")
    assert not sidecar.world.calls()


def test_the_host_is_reached_only_if_a_list_allows_it(tmp_path: Path) -> None:
    allowed, secret = tmp_path / "allowed", tmp_path / "secret"
    for folder in (allowed, secret):
        folder.mkdir()
        (folder / "a.img").touch()
    (allowed / "link").symlink_to(secret)
    (allowed / "link.img").symlink_to(secret / "a.img")
    mounts = [str(secret), str(allowed / "link"), f"{allowed}/../secret", "/", f"{allowed}x", "/etc"]
    images = [f"{secret}/a.img", f"{allowed}/link.img", f"{allowed}/../secret/a.img", "/etc/shadow"]
    with Service(tmp_path, mount_sources=[str(allowed)], image_files=[str(allowed)]) as sidecar:
        for source in mounts:
            wanted: dict[str, Any] = {"name": "dev", "mounts": [{"source": source, "target": "/x"}]}
            check_problem(sidecar.http.post("/instances", json=wanted), 403, "not-allowed")
            answer = sidecar.http.put("/environments/dev", json={"instances": [wanted]})
            check_problem(answer, 403, "not-allowed")
        for image in images:
            wanted = {"name": "dev", "image": f"file://{image}"}
            check_problem(sidecar.http.post("/instances", json=wanted), 403, "not-allowed")
        assert not sidecar.world.calls()
        wanted = {
            "name": "dev",
            "image": f"file://{allowed}/a.img",
            "mounts": [{"source": str(allowed), "target": "/x"}],
        }
        sidecar.done("POST", "/instances", json=wanted)
        assert sidecar.http.get("/instances/dev").json()["mounts"] == [{"source": str(allowed), "target": "/x"}]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100000, b"1" * 5000])
def test_launch_without_a_json_object_is_refused(sidecar: Service, content: bytes) -> None:
    answer = sidecar.http.post("/instances", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422)
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("name", ["-x", "--all", "a_b", "a%20b", "1a", "a%2Fb", "a%0A", "%C3%A4b", "a%00b"])
def test_a_path_with_a_bad_name_never_reaches_multipass(sidecar: Service, name: str) -> None:
    ends = [("GET", ""), ("DELETE", ""), ("POST", "/start"), ("POST", "/stop"), ("GET", "/snapshots"), ("GET", "/size")]
    for method, end in ends:
        assert sidecar.http.request(method, f"/instances/{name}{end}").status_code in (404, 405, 422)
    assert not sidecar.world.calls()


TABLE = [
    ("start", "Stopped", "Running", True),
    ("start", "Suspended", "Running", True),
    ("start", "Running", "Running", False),
    ("start", "Deleted", None, False),
    ("stop", "Running", "Stopped", True),
    ("stop", "Delayed Shutdown", "Stopped", True),
    ("stop", "Stopped", "Stopped", False),
    ("stop", "Suspended", None, False),
    ("stop", "Unknown", None, False),
    ("stop", "Deleted", None, False),
    ("restart", "Running", "Running", True),
    ("restart", "Stopped", "Running", True),
    ("restart", "Deleted", None, False),
    ("suspend", "Running", "Suspended", True),
    ("suspend", "Suspended", "Suspended", False),
    ("suspend", "Stopped", None, False),
    ("recover", "Deleted", "Stopped", True),
    ("recover", "Running", "Running", False),
    ("resize", "Running", None, False),
    ("clone", "Running", None, False),
    ("snapshots", "Running", None, False),
]


@pytest.mark.parametrize(("action", "before", "after", "changed"), TABLE)
def test_actions_by_state(sidecar: Service, action: str, before: str, after: str | None, changed: bool) -> None:
    sidecar.world.set(dev=before)
    body = {"clone": {"name": "dev2"}, "resize": {"cpus": 2}}.get(action)
    options = {"json": body} if body else {}
    path = f"/instances/dev/{action}"
    if after is None:
        check_problem(sidecar.http.post(path, **options), 409, "wrong-state")
    else:
        result = sidecar.done("POST", path, **options)["result"]
        assert result["changed"] is changed
        assert result["instance"]["state"] == after
        # multipass is not called if the state is already right.
        assert bool(sidecar.world.calls(action, "start")) is changed
    assert sidecar.world.states() == {"dev": after or before}


def test_stop_by_force_or_later(sidecar: Service) -> None:
    sidecar.world.set(dev="Suspended", web="Running")
    assert sidecar.done("POST", "/instances/dev/stop", json={"force": True})["result"]["instance"]["state"] == "Stopped"
    job = sidecar.done("POST", "/instances/web/stop", json={"delay_minutes": 5})
    assert job["result"]["instance"]["state"] == "Delayed Shutdown"
    assert sidecar.world.arguments("stop") == [["stop", "--force", "dev"], ["stop", "--time=5", "web"]]
    for body in ({"force": "yes"}, {"delay_minutes": -1}, {"delay_minutes": 1e9}, {"cancel": True}):
        assert sidecar.http.post("/instances/web/stop", json=body).status_code == 422


@pytest.mark.parametrize("before", ["Running", "Stopped", "Deleted"])
def test_delete_purges_this_instance_and_no_other(sidecar: Service, before: str) -> None:
    sidecar.world.set(dev=before, other="Deleted")
    assert sidecar.done("DELETE", "/instances/dev")["result"] == {"changed": True, "instance": None}
    assert list(sidecar.world.states()) == ["other"]
    assert sidecar.world.arguments("delete", "purge") == [["delete", "--purge", "dev"]]
    check_problem(sidecar.http.delete("/instances/dev"), 404, "instance-not-found")


def test_resize_changes_what_differs_and_refuses_to_shrink(sidecar: Service) -> None:
    sidecar.world.set(dev="Stopped")
    assert (
        sidecar.done("POST", "/instances/dev/resize", json={"cpus": 1, "memory": "1024M"})["result"]["changed"] is False
    )
    assert sidecar.done("POST", "/instances/dev/resize", json={"cpus": 2, "disk": "6G"})["result"]["changed"] is True
    assert sidecar.world.arguments("set")[1:] == [["set", "local.dev.disk=6G"], ["set", "local.dev.cpus=2"]]
    job = sidecar.done("POST", "/instances/dev/resize", "failed", json={"cpus": 4, "disk": "5G"})
    assert "Disk can only be expanded" in check_failed(job, 409, "disk-can-not-shrink")
    assert sidecar.http.get("/instances/dev/size").json() == {"cpus": 2, "memory": 1024**3, "disk": 6 * 1024**3}


def test_resize_reaches_a_size_that_multipass_shows_as_the_present_one(sidecar: Service) -> None:
    sidecar.world.set(dev="Stopped")
    for body, key, size in (
        ({"memory": "2G"}, "memory", 2048),
        ({"memory": "2040M"}, "memory", 2040),
        ({"memory": "2G"}, "memory", 2048),
        ({"disk": "5160M"}, "disk", 5160),
    ):
        assert sidecar.done("POST", "/instances/dev/resize", json=body)["result"]["changed"] in (
            [True] if body != {"memory": "2G"} else [True, False]
        )
        assert sidecar.world.read()["instances"]["dev"][key] == size * 1024**2, body


def test_snapshots_come_go_and_are_restored(sidecar: Service) -> None:
    sidecar.world.set(dev="Stopped", other="Stopped")
    job = sidecar.done("POST", "/instances/dev/snapshots", json={"name": "first", "comment": "-clean --really"})
    assert job["result"]["snapshot"] == "first" and job["result"]["instance"]["snapshots"] == 1
    named = sidecar.done("POST", "/instances/dev/snapshots")["result"]["snapshot"]
    found = sidecar.http.get("/instances/dev/snapshots").json()["snapshots"]
    assert [(item["name"], item["parent"], item["comment"]) for item in found] == [
        ("first", None, "-clean --really"),
        (named, "first", ""),
    ]
    assert sidecar.http.get("/instances/other/snapshots").json() == {"snapshots": []}
    job = sidecar.done("POST", "/instances/dev/snapshots", "failed", json={"name": "first"})
    check_failed(job, 409, "snapshot-exists")
    sidecar.done("POST", "/instances/dev/snapshots/first/restore")
    sidecar.done("DELETE", "/instances/dev/snapshots/first")
    assert sidecar.world.arguments("restore", "delete") == [
        ["restore", "--destructive", "dev.first"],
        ["delete", "--purge", "dev.first"],
    ]
    for method, path in (
        ("DELETE", "/instances/dev/snapshots/first"),
        ("POST", "/instances/dev/snapshots/first/restore"),
    ):
        check_failed(sidecar.done(method, path, "failed"), 404, "snapshot-not-found")


def test_clone(sidecar: Service) -> None:
    sidecar.world.set(dev="Stopped", web="Stopped")
    job = sidecar.done("POST", "/instances/dev/clone", json={"name": "copy"})
    assert job["result"]["instance"]["name"] == "copy"
    assert sidecar.world.arguments("clone") == [["clone", "--name=copy", "dev"]]
    for name in ("web", "dev"):
        answer = sidecar.http.post("/instances/dev/clone", json={"name": name})
        check_problem(answer, 409, "instance-exists")
    sidecar.world.set(options={"version": "1.14.1"}, dev="Stopped")
    job = sidecar.done("POST", "/instances/dev/clone", "failed", json={"name": "copy"})
    assert "Unknown command" in check_failed(job, 422, "not-accepted")


def test_exec_passes_arguments_as_they_are(sidecar: Service) -> None:
    sidecar.world.set(dev="Running", off="Stopped", gone="Deleted")
    hostile = ["echo", "--help", "; reboot", "$(id)", "`id`", "a\nb", "ü", "", "--", "-x"]
    body = {"argv": hostile}
    found = sidecar.http.post("/instances/dev/exec", json=body).json()
    assert found == {
        "exit_code": 0,
        "stdout": " ".join(hostile[1:]) + "\n",
        "stderr": "",
        "truncated": False,
        "timed_out": False,
    }
    body |= {"working_directory": "/tmp"}
    assert sidecar.http.post("/instances/dev/exec", json=body).json() == found
    for call in sidecar.world.arguments("exec"):
        # The client would make a line for a shell of a directory and sudo. The program's arguments are the last ones.
        assert call[:6] == ["exec", "--no-map-working-directory", "dev", "--", "sh", "-c"]
        assert call[7] == "sh" and call[-len(hostile) :] == hostile
    answer = sidecar.http.post("/instances/dev/exec", json={"argv": ["true"], "working_directory": "/no/such"})
    assert "/no/such" in check_problem(answer, 422, "not-accepted")["detail"]
    for name, status, kind in (
        ("off", 409, "wrong-state"),
        ("gone", 409, "wrong-state"),
        ("none", 404, "instance-not-found"),
    ):
        check_problem(sidecar.http.post(f"/instances/{name}/exec", json={"argv": ["true"]}), status, kind)
    # multipass itself would have started the instance.
    assert sidecar.world.states()["off"] == "Stopped"


@pytest.mark.parametrize("code", [1, 2, 3, 5, 42, 255])
def test_exec_returns_the_programs_own_code(sidecar: Service, code: int) -> None:
    sidecar.world.set(dev="Running")
    found = sidecar.http.post("/instances/dev/exec", json={"argv": ["exit", str(code)]}).json()
    assert (found["exit_code"], found["timed_out"]) == (code, False)


@pytest.mark.parametrize("word", ["exit", "eval", "cd", "exec", ":"])
def test_exec_knows_no_words_of_a_shell(sidecar: Service, word: str) -> None:
    """The stand-in's guest has no program of such a name except exit."""
    sidecar.world.set(dev="Running")
    found = sidecar.http.post("/instances/dev/exec", json={"argv": [word, "7"]}).json()
    assert found["exit_code"] == (7 if word == "exit" else 127), found


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (1, "error: pathspec 'x' did not match any file"),
        (2, 'error: instance "dev" does not exist'),
        (2, "exec failed: the file does not exist"),
        (3, "exec failed: cannot connect to the multipass socket"),
    ],
)
def test_exec_does_not_take_a_failure_of_the_program_for_its_own(sidecar: Service, code: int, text: str) -> None:
    sidecar.world.set(dev="Running")
    found = sidecar.http.post("/instances/dev/exec", json={"argv": ["complain-and-exit", str(code), text]}).json()
    assert (found["exit_code"], found["stdout"], found["stderr"]) == (code, "", f"{text}\n")


def test_exec_finds_the_exit_code_behind_much_error_output(sidecar: Service) -> None:
    sidecar.world.set(dev="Running")
    found = sidecar.http.post(
        "/instances/dev/exec", json={"argv": ["complain-and-exit", "3", "y" * 32000, "100"]}
    ).json()
    assert (found["exit_code"], found["truncated"], len(found["stderr"])) == (3, True, 1024**2)


@pytest.mark.parametrize(
    ("code", "text", "status", "kind"),
    [
        (2, "exec failed: ssh connection failed: 'Connection refused'", 503, "exec-unknown"),
        (3, "exec failed: cannot connect to the multipass socket", 503, "daemon-unreachable"),
        (255, "exec failed: ssh connection failed: 'Connection refused'", 503, "exec-unknown"),
        (2, 'exec failed: The following errors occurred:\ninstance "dev" does not exist', 404, "instance-not-found"),
        (0, "", 503, "exec-unknown"),
    ],
)
def test_exec_reports_failures_of_multipass_itself(
    sidecar: Service, code: int, text: str, status: int, kind: str
) -> None:
    fault = {"code": code, "stderr": text, "stdout": ""}
    sidecar.world.set(options={"faults": {"exec": [fault]}}, dev="Running")
    answer = sidecar.http.post("/instances/dev/exec", json={"argv": ["true"]})
    assert " ".join(text.split()) in check_problem(answer, status, kind)["detail"]


def test_exec_is_limited_in_time_and_output(sidecar: Service) -> None:
    sidecar.world.set(dev="Running")
    began = time.monotonic()
    found = sidecar.http.post("/instances/dev/exec", json={"argv": ["sleep", "60"], "timeout": 0.5}).json()
    assert (found["exit_code"], found["timed_out"]) == (None, True)
    assert time.monotonic() - began < 20
    found = sidecar.http.post("/instances/dev/exec", json={"argv": ["yes", "3000"]}).json()
    assert (found["exit_code"], found["truncated"], len(found["stdout"])) == (0, True, 1024**2)
    for body in (
        *({"argv": []}, {"argv": ["a\0b"]}, {"argv": "ls"}, {"argv": ["x" * 32769]}, {"argv": ["x" * 32768] * 5}),
        *({"argv": ["ls"], "timeout": 0}, {"argv": ["ls"], "working_directory": "x"}, {"argv": ["\ud800"]}),
    ):
        answer = sidecar.http.post(
            "/instances/dev/exec", content=json.dumps(body), headers={"Content-Type": "application/json"}
        )
        assert answer.status_code in (400, 422), body


def test_files_are_sent_and_received_unchanged(sidecar: Service) -> None:
    sidecar.world.set(dev="Running", off="Stopped")
    content = os.urandom(3 * 1024**2)
    pieces = (content[start : start + 70000] for start in range(0, len(content), 70000))
    path = "/home/ubuntu/-a b;$(id)'\"ü.bin"
    assert sidecar.http.put("/instances/dev/files", params={"path": path}, content=pieces).status_code == 204
    answer = sidecar.http.get("/instances/dev/files", params={"path": path})
    assert answer.content == content and answer.headers["content-type"] == "application/octet-stream"
    assert sidecar.world.arguments("transfer") == [["transfer", "-", f"dev:{path}"], ["transfer", f"dev:{path}", "-"]]
    assert sidecar.http.put("/instances/dev/files", params={"path": "/empty"}, content=b"").status_code == 204
    assert sidecar.http.get("/instances/dev/files", params={"path": "/empty"}).content == b""


def test_files_that_cannot_be_transferred(sidecar: Service) -> None:
    sidecar.world.set(dev="Running", off="Stopped")
    for path in ("/none", "/nowhere/x"):
        body = check_problem(sidecar.http.get("/instances/dev/files", params={"path": path}), 404, "file-not-found")
        assert "No such file" in body["detail"]
    answer = sidecar.http.put("/instances/dev/files", params={"path": "/nowhere/x"}, content=b"x" * 1024**2)
    check_problem(answer, 404, "file-not-found")
    check_problem(sidecar.http.get("/instances/off/files", params={"path": "/x1"}), 409, "wrong-state")
    for path in ("relative", "", "/", "/a\nb", "/a\0b", "/" + "x" * 5000):
        check_problem(sidecar.http.get("/instances/dev/files", params={"path": path}), 422, "invalid-request")


def test_environments_are_defined_started_stopped_and_removed(sidecar: Service) -> None:
    sidecar.world.set(web="Stopped", other="Running")
    definition = {"description": "two", "instances": [{"name": "web"}, {"name": "db", "cloud_init": "#cloud-config\n"}]}
    answer = sidecar.http.put("/environments/dev", json=definition)
    assert answer.status_code == 201
    assert (answer.json()["state"], [item["state"] for item in answer.json()["instances"]]) == (
        "partial",
        ["Stopped", "absent"],
    )
    assert sidecar.http.put("/environments/dev", json=definition).status_code == 200
    result = sidecar.done("POST", "/environments/dev/start")["result"]
    assert (result["state"], result["changed"]) == ("running", True)
    assert all(item["ipv4"] for item in result["instances"])
    assert sidecar.world.calls("launch")[0]["stdin"] == "#cloud-config\n"
    assert sidecar.done("POST", "/environments/dev/start")["result"]["changed"] is False
    # What may contain secrets is shown only to the scope that wrote it.
    shown = {scope: sidecar.http.get("/environments/dev", headers=bearer(scope)).json() for scope in TOKENS}
    assert {scope: item["definition"]["instances"][1]["cloud_init"] for scope, item in shown.items()} == {
        "read": None,
        "operate": None,
        "admin": "#cloud-config\n",
    }
    assert "#cloud-config" not in json.dumps(result)
    result = sidecar.done("POST", "/environments/dev/stop")["result"]
    assert (result["state"], result["changed"]) == ("stopped", True)
    assert sidecar.done("POST", "/environments/dev/stop")["result"]["changed"] is False
    assert sidecar.world.states() == {"web": "Stopped", "db": "Stopped", "other": "Running"}
    assert [item["name"] for item in sidecar.http.get("/environments").json()["environments"]] == ["dev"]
    result = sidecar.done("DELETE", "/environments/dev", params={"purge": True})["result"]
    assert result["state"] == "absent"
    assert sidecar.world.states() == {"other": "Running"}
    assert sidecar.http.get("/environments").json() == {"environments": [], "next": None}
    check_problem(sidecar.http.get("/environments/dev"), 404, "environment-not-found")


def test_an_environment_deleted_without_purge_leaves_its_instances(sidecar: Service) -> None:
    sidecar.world.set(web="Running")
    sidecar.http.put("/environments/keep", json={"instances": [{"name": "web"}]})
    assert sidecar.http.delete("/environments/keep").status_code == 204
    assert sidecar.world.states() == {"web": "Running"}
    for answer in (
        sidecar.http.delete("/environments/keep"),
        sidecar.http.delete("/environments/keep?purge=true"),
        sidecar.http.post("/environments/keep/start"),
    ):
        check_problem(answer, 404, "environment-not-found")


def test_an_environment_is_checked_against_the_present_lists(tmp_path: Path) -> None:
    wanted = {"instances": [{"name": "dev", "mounts": [{"source": str(tmp_path.resolve()), "target": "/x"}]}]}
    with Service(tmp_path, mount_sources=[str(tmp_path)]) as sidecar:
        assert sidecar.http.put("/environments/dev", json=wanted).status_code == 201
        sidecar.kill()
        sidecar.settings["mount_sources"] = []
        sidecar.start()
        check_problem(sidecar.http.post("/environments/dev/start"), 403, "not-allowed")
        assert not sidecar.world.calls("launch")


def test_a_state_directory_that_cannot_be_used_is_reported(tmp_path: Path) -> None:
    with Service(tmp_path) as sidecar:
        sidecar.world.set(dev="Stopped")
        assert sidecar.http.get("/jobs").json()["jobs"] == []
        database = sqlite3.connect(tmp_path / "state" / "jobs.sqlite")
        database.execute("DROP TABLE lines")
        database.execute("DROP TABLE jobs")
        shutil.rmtree(tmp_path / "state" / "environments")
        check_problem(sidecar.http.post("/instances/dev/start"), 503, "storage")
        answer = sidecar.http.put("/environments/dev", json={"instances": [{"name": "dev"}]})
        check_problem(answer, 503, "storage")
        assert sidecar.world.states() == {"dev": "Stopped"}
        assert sidecar.http.get("/instances").status_code == 200


def test_an_environment_that_fails_in_part_names_the_instances(sidecar: Service) -> None:
    fault = {"code": 2, "stderr": "launch failed: the hypervisor is busy"}
    sidecar.world.set(options={"faults": {"launch": [fault]}})
    sidecar.http.put("/environments/dev", json={"instances": [{"name": "aa"}, {"name": "bb"}]})
    job = sidecar.done("POST", "/environments/dev/start", "failed")
    detail = check_failed(job, 503, "command-failed")
    assert re.match(r"1 of 2 failed. (aa|bb): multipass launch failed with exit code 2: .*busy$", detail)
    assert len(sidecar.world.states()) == 1
    assert sidecar.done("POST", "/environments/dev/start")["result"]["state"] == "running"
    sidecar.http.delete("/environments/dev")


@pytest.mark.parametrize(
    "definition",
    [
        {},
        {"instances": []},
        {"instances": [{"name": "aa"}] * 2},
        {"instances": [{"name": "-x"}]},
        {"instances": ["aa"]},
    ],
    ids=str,
)
def test_an_environment_that_makes_no_sense_is_refused(sidecar: Service, definition: dict[str, Any]) -> None:
    check_problem(sidecar.http.put("/environments/bad", json=definition), 422, "invalid-request")
    check_problem(sidecar.http.get("/environments/bad"), 404, "environment-not-found")


@pytest.mark.parametrize(
    ("code", "stderr", "status", "kind"),
    [
        (1, "error: Unknown option", 422, "not-accepted"),
        (2, 'start failed: instance "dev" does not exist', 404, "instance-not-found"),
        (2, 'launch failed: instance "dev" already exists', 409, "instance-exists"),
        (2, 'launch failed: Unable to find an image matching "x"', 422, "image-not-found"),
        (2, "start failed: The following errors occurred:\n no KVM", 503, "command-failed"),
        (2, "", 503, "command-failed"),
        (3, "start failed: cannot connect to the multipass socket", 503, "daemon-unreachable"),
        (4, "start failed: retry", 503, "try-again"),
        (5, "start failed: timed out", 504, "timeout"),
        (2, "start failed: The client is not authenticated", 503, "not-authenticated"),
        (255, "segmentation fault", 503, "command-failed"),
        (77, "who knows", 503, "command-failed"),
    ],
)
def test_exit_codes_become_different_problems(sidecar: Service, code: int, stderr: str, status: int, kind: str) -> None:
    sidecar.world.set(options={"faults": {"start": [{"code": code, "stderr": stderr}]}}, dev="Stopped")
    detail = check_failed(sidecar.done("POST", "/instances/dev/start", "failed"), status, kind)
    assert " ".join(stderr.split()) in detail
    assert f"exit code {code}" in detail


def test_unknown_image_is_the_callers_fault(sidecar: Service) -> None:
    job = sidecar.done("POST", "/instances", "failed", json={"name": "dev", "image": "nosuch"})
    check_failed(job, 422, "image-not-found")


@pytest.mark.parametrize(
    ("code", "state", "ends", "words"),
    [
        (2, "Running", "succeeded", ""),
        (5, "Running", "succeeded", ""),
        (5, "Stopped", "failed", "instance dev is there and is Stopped: start it, or DELETE it and launch it again"),
        (5, "", "failed", "timed out waiting for initialization to complete; the daemon may still be working"),
        (3, "Running", "failed", "exit code 3"),
    ],
)
def test_an_instance_that_took_longer_than_multipass_waits_is_accepted(
    sidecar: Service, code: int, state: str, ends: str, words: str
) -> None:
    text = "timed out waiting for initialization to complete" if code != 3 else "cannot connect"
    fault = {"code": code, "stderr": f"launch failed: {text}", "seconds": 1}
    sidecar.world.set(options={"faults": {"launch": [fault]}})
    job = sidecar.http.post("/instances", json={"name": "dev"}).json()["id"]
    while not sidecar.world.calls("launch"):
        time.sleep(0.02)
    sidecar.world.put(**({"dev": state} if state else {}))
    found = sidecar.http.get(f"/jobs/{job}", params={"wait": 30}).json()
    assert found["state"] == ends and words in str(found["error"])
    assert len(sidecar.world.calls("launch")) == 1


@pytest.mark.parametrize("text", ["", "not JSON", "[]", '{"list": [{"name": 5}]}', '{"a-secret": 1}'])
def test_unexpected_output_is_reported(sidecar: Service, text: str) -> None:
    sidecar.world.set(options={"faults": {"list": [{"stdout": text}]}})
    answer = sidecar.http.get("/instances")
    check_problem(answer, 503, "bad-output")
    assert answer.headers["retry-after"]
    assert sidecar.http.get("/instances").status_code == 200


BAD_PROGRAMS = {
    "missing": (None, 503, "multipass-missing"),
    "no program": ("", 503, "multipass-missing"),
    "hangs": ("#!/bin/sh\nsleep 60 &\nwait\n", 504, "timeout"),
    "ignores its end": ("#!/bin/sh\ntrap '' TERM\nsleep 60\n", 504, "timeout"),
    "garbage without end": ("#!/bin/sh\nexec cat /dev/zero\n", 503, "bad-output"),
    "garbage": ("#!/bin/sh\nhead -c 100000 /dev/urandom\n", 503, "bad-output"),
    "complains without end": ("#!/bin/sh\nexec cat /dev/zero >&2\n", 504, "timeout"),
    "dies": ("#!/bin/sh\nkill -SEGV $$\n", 503, "command-failed"),
    "dies midway": ("#!/bin/sh\nprintf '{\"list\": ['\nkill -KILL $$\n", 503, "command-failed"),
    "another shell's": ("#!/nowhere/sh\n", 503, "multipass-missing"),
}


@pytest.mark.parametrize("kind", BAD_PROGRAMS)
def test_a_bad_multipass_gives_a_clear_error_and_the_service_continues(tmp_path: Path, kind: str) -> None:
    text, status, problem = BAD_PROGRAMS[kind]
    program = tmp_path / "bad-multipass"
    if text is not None:
        program.write_text(text)
        program.chmod(0o755 if text else 0o644)
    with Service(tmp_path, multipass=str(program), query_timeout=0.5, fresh=0) as sidecar:
        for path in ("/instances", "/instances/dev"):
            began = time.monotonic()
            body = check_problem(sidecar.http.get(path), status, problem)
            assert time.monotonic() - began < 10
            assert len(body["detail"]) < 2000
        check_problem(sidecar.http.post("/instances", json={"name": "dev"}), status, problem)
        check_problem(sidecar.http.post("/instances/dev/exec", json={"argv": ["true"]}), status, problem)
        health = sidecar.http.get("/health").json()
        assert health["status"] == "degraded" and health["multipass"]["reason"]
        assert "multipass_sidecar_multipass_up 0.0" in sidecar.http.get("/metrics").text
        assert sidecar.http.get("/jobs").json()["jobs"] == []
        # No process that it started is left.
        deadline = time.monotonic() + 10
        while subprocess.run(["pgrep", "-f", str(program)], capture_output=True).returncode == 0:
            assert time.monotonic() < deadline, "a child outlived its command"
            time.sleep(0.05)


def test_health_needs_no_token_and_rarely_calls_multipass(tmp_path: Path) -> None:
    with Service(tmp_path) as sidecar:
        for _ in range(20):
            answer = httpx.get(f"{sidecar.url}/health")
            assert answer.status_code == 200
            assert answer.json() == {
                "status": "ok",
                "multipass": {"version": "1.16.3", "daemon_version": "1.16.3", "reason": None},
            }
        assert len(sidecar.world.calls("version")) == 1


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"code": 3, "stderr": "cannot connect to the multipass socket"}, "cannot connect to the multipass socket"),
        ({"stdout": '{"multipass": "1.16.3"}'}, "its daemon does not answer"),
        ({"stdout": "oops"}, "printed text that is not JSON: oops"),
        (
            {"code": 2, "stderr": "version failed: The client is not authenticated with the Multipass service."},
            "Multipass service.; as root, run 'multipass set local.passphrase', and then 'multipass authenticate' as",
        ),
    ],
)
def test_health_says_why_multipass_does_not_answer(tmp_path: Path, fault: dict[str, Any], reason: str) -> None:
    with Service(tmp_path) as sidecar:
        sidecar.world.set(options={"faults": {"version": [fault]}})
        body = sidecar.http.get("/health").json()
    assert body["status"] == "degraded"
    assert reason in body["multipass"]["reason"]


def test_readers_share_a_recent_answer_and_see_every_change(tmp_path: Path) -> None:
    with Service(tmp_path, fresh=60) as sidecar:
        sidecar.world.set(dev="Stopped")

        async def read() -> list[httpx.Response]:
            async with httpx.AsyncClient(base_url=sidecar.url, headers=bearer()) as client:
                return await asyncio.gather(*(client.get("/instances") for _ in range(30)))

        assert {answer.status_code for answer in asyncio.run(read())} == {200}
        assert len(sidecar.world.calls("list")) == 1
        sidecar.done("POST", "/instances/dev/start")
        assert sidecar.http.get("/instances").json()["instances"][0]["state"] == "Running"


def test_unknown_paths_and_methods_are_problems(sidecar: Service) -> None:
    check_problem(sidecar.http.get("/nothing"), 404, "http")
    answer = sidecar.http.patch("/instances")
    check_problem(answer, 405, "http")
    assert "allow" in answer.headers


def test_every_change_is_in_the_audit_and_no_token_is(tmp_path: Path) -> None:
    with Service(tmp_path) as sidecar:
        sidecar.world.set(dev="Running")
        sidecar.http.get("/instances?token=" + TOKENS["admin"])
        sidecar.http.get("/instances", headers={"Authorization": "Bearer wrong-token-of-a-stranger"})
        job = sidecar.done("POST", "/instances/dev/stop")["id"]
        sidecar.http.post("/instances/dev/stop", headers={"Authorization": "Bearer wrong-token-of-a-stranger"})
        sidecar.http.delete("/instances/dev", headers=bearer("operate"))
        sidecar.done("POST", "/instances/dev/start")
        sidecar.http.post("/instances/dev/exec", json={"argv": ["echo", "a-secret-argument"]})
        sidecar.http.put("/environments/dev", json={"instances": [{"name": "dev"}]})
    lines = [json.loads(line) for line in sidecar.log().splitlines()]
    audit = [line for line in lines if line["message"] == "audit"]
    assert [(line["token"], line["method"], line["path"], line["status"]) for line in audit] == [
        ("admin", "POST", "/instances/dev/stop", 200),
        (None, "POST", "/instances/dev/stop", 401),
        ("operate", "DELETE", "/instances/dev", 403),
        ("admin", "POST", "/instances/dev/start", 200),
        ("admin", "POST", "/instances/dev/exec", 200),
        ("admin", "PUT", "/environments/dev", 201),
    ]
    assert (audit[0]["job"], audit[0]["kind"], audit[0]["target"], audit[0]["repeated"]) == (job, "stop", "dev", False)
    assert (audit[4]["kind"], audit[4]["program"]) == ("exec", "echo")
    assert len([line for line in lines if line["message"] == "request"]) == 8
    for secret in (*TOKENS.values(), "wrong-token", "a-secret-argument"):
        assert secret not in sidecar.log()


def test_the_document_has_scopes_problems_and_examples(sidecar: Service) -> None:
    document = sidecar.http.get("/openapi.json").json()
    assert len(document["paths"]) >= 25
    for path, method in itertools.product(document["paths"], ("get", "post", "put", "delete")):
        operation = document["paths"][path].get(method)
        if operation is None or path in ("/health", "/problems/{kind}"):
            continue
        assert re.search(r"Needs the scope (read|operate|admin)\.$", operation["description"]), path
        assert operation["security"] == [{"bearer": []}]
        assert "application/problem+json" in operation["responses"]["401"]["content"]
    for name in ("Launch", "Stop", "Resize", "Clone", "TakeSnapshot", "Execute", "Environment"):
        assert document["components"]["schemas"][name]["examples"]


def test_the_page_needs_no_token_and_loads_nothing_from_elsewhere(sidecar: Service) -> None:
    for path in ("/", "/page.css", "/page.js"):
        answer = httpx.get(f"{sidecar.url}{path}")
        assert answer.status_code == 200
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert not re.search(r"https?://|innerHTML|insertAdjacentHTML|eval\(|<script>|style=", answer.text)


def test_tls_by_configuration(tmp_path: Path) -> None:
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"),
            *(
                "-addext",
                "subjectAltName=IP:127.0.0.1",
                "-keyout",
                str(tmp_path / "key"),
                "-out",
                str(tmp_path / "cert"),
            ),
        ],
        check=True,
        capture_output=True,
    )
    with Service(tmp_path, tls_certificate=str(tmp_path / "cert"), tls_key=str(tmp_path / "key")) as sidecar:
        url = sidecar.url.replace("http:", "https:")
        answer = httpx.get(f"{url}/health", verify=ssl.create_default_context(cafile=str(tmp_path / "cert")))
        assert answer.json()["status"] == "ok"
        with pytest.raises(httpx.HTTPError):
            httpx.get(f"{sidecar.url}/health")


def test_an_environment_is_changed_only_as_it_was_read(sidecar: Service) -> None:
    sidecar.world.set()
    path, body = "/environments/tagged", {"instances": [{"name": "web"}]}
    made = sidecar.http.put(path, json=body, headers={"If-None-Match": "*"})
    assert (made.status_code, made.headers["location"]) == (201, path)
    tag = made.headers["etag"]
    assert sidecar.http.get(path).headers["etag"] == tag
    check_problem(sidecar.http.put(path, json=body, headers={"If-None-Match": "*"}), 412, "changed")
    other = sidecar.http.put(path, json=body | {"description": "x"}, headers={"If-Match": tag})
    assert other.status_code == 200 and other.headers["etag"] != tag and "location" not in other.headers
    check_problem(sidecar.http.put(path, json=body, headers={"If-Match": tag}), 412, "changed")
    check_problem(sidecar.http.delete(path, headers={"If-Match": tag}), 412, "changed")
    assert sidecar.http.delete(path, headers={"If-Match": f"{tag}, {other.headers['etag']}"}).status_code == 204
    check_problem(sidecar.http.put(path, json=body, headers={"If-Match": "*"}), 412, "changed")


def test_an_environment_in_use_is_not_deleted(sidecar: Service) -> None:
    sidecar.world.set(options={"seconds": {"launch": 2}})
    sidecar.http.put("/environments/busy", json={"instances": [{"name": "web"}]})
    job = sidecar.http.post("/environments/busy/start").json()["id"]
    body = check_problem(sidecar.http.delete("/environments/busy"), 409, "environment-busy")
    assert job in body["detail"]
    sidecar.http.get(f"/jobs/{job}", params={"wait": 30})
    assert sidecar.http.delete("/environments/busy").status_code == 204


def test_lists_have_pages(sidecar: Service) -> None:
    sidecar.world.set(aa="Stopped")
    for name in ("p1", "p2", "p3"):
        sidecar.http.put(f"/environments/{name}", json={"instances": [{"name": "aa"}]})
        sidecar.done("POST", "/instances/aa/start", params={})
    found = sidecar.http.get("/environments?limit=2&after=p").json()
    assert ([item["name"] for item in found["environments"]], found["next"]) == (["p1", "p2"], "p2")
    found = sidecar.http.get("/environments?limit=2&after=p2").json()
    assert ([item["name"] for item in found["environments"]], found["next"]) == (["p3"], None)
    every, before = [], None
    while True:
        more = {"before": before} if before else {}
        page = sidecar.http.get("/jobs", params={"limit": 2, "instance": "aa"} | more).json()
        every += [job["id"] for job in page["jobs"]]
        if (before := page["next"]) is None:
            break
    whole = sidecar.http.get("/jobs", params={"limit": 1000, "instance": "aa"}).json()["jobs"]
    assert every == [job["id"] for job in whole] and len(every) >= 3
    for name in ("p1", "p2", "p3"):
        sidecar.http.delete(f"/environments/{name}")


def test_head_answers_as_get_does_without_a_body(sidecar: Service) -> None:
    sidecar.world.set(dev="Running")
    with httpx.Client(base_url=sidecar.url) as stranger:
        for path in ("/health", "/", "/page.js", "/problems/wrong-state"):
            got, head = stranger.get(path), stranger.head(path)
            assert (head.status_code, head.content) == (200, b"")
            assert head.headers["content-type"] == got.headers["content-type"]
        assert stranger.head("/instances").status_code == 401
    assert sidecar.http.head("/instances").status_code == 200
    assert sidecar.http.head("/instances/none").status_code == 404


def test_the_scheme_of_a_token_is_read_in_any_case(sidecar: Service) -> None:
    for scheme in ("bearer", "BEARER", "Bearer"):
        answer = sidecar.http.get("/jobs", headers={"Authorization": f"{scheme} {TOKENS['read']}"})
        assert answer.status_code == 200


def test_every_problem_type_is_explained(sidecar: Service) -> None:
    source = "".join(path.read_text("utf-8") for path in (FILES / "src" / "multipass_sidecar").rglob("*.py"))
    kinds = set(re.findall(r'\b[45]\d\d,\s+"([a-z-]+)"', source))
    assert len(kinds) > 30
    with httpx.Client(base_url=sidecar.url) as stranger:
        for kind in kinds:
            found = stranger.get(f"/problems/{kind}")
            assert found.status_code == 200 and found.json()["description"], kind
        assert stranger.get("/problems/none").status_code == 404


def test_another_name_of_the_service_is_refused_to_strangers(tmp_path: Path) -> None:
    with Service(tmp_path, host_names=["vms.example.com"]) as sidecar, httpx.Client(base_url=sidecar.url) as stranger:
        for host, status in (
            *(("evil.example", 421), ("evil.example:8090", 421), ("vms.example.com", 200), ("localhost:8090", 200)),
            *(("[::1]:8090", 200), ("10.0.0.1", 200), ("host.docker.internal:8090", 200), ("sidecar", 200)),
        ):
            for path in ("/", "/health"):
                answer = stranger.get(path, headers={"Host": host})
                assert answer.status_code == status, host
        assert sidecar.http.get("/jobs", headers={"Host": "evil.example"}).status_code == 200


def test_the_same_request_in_another_form_is_the_same(sidecar: Service) -> None:
    sidecar.world.set()
    headers = {"Idempotency-Key": f"form {time.monotonic()}", "Content-Type": "application/json"}
    bodies = (b'{"name":"i1"}', b'{ "name": "i1", "cpus": 1 }')
    first, second = (sidecar.http.post("/instances", content=body, headers=headers) for body in bodies)
    assert (first.status_code, second.status_code) == (202, 202) and first.json()["id"] == second.json()["id"]
    sidecar.http.get(f"/jobs/{first.json()['id']}", params={"wait": 30})
    # A key of the previous version, whose digest was another one, still names its job.
    with sqlite3.connect(sidecar.folder / "state" / "jobs.sqlite") as other:
        other.execute("UPDATE jobs SET fingerprint = 'abc' WHERE id = ?", (first.json()["id"],))
    assert sidecar.http.post("/instances", content=bodies[0], headers=headers).json()["id"] == first.json()["id"]
    again = {"Idempotency-Key": f"snapshot {time.monotonic()}"}
    sidecar.done("POST", "/instances/i1/stop")
    made = [sidecar.http.post("/instances/i1/snapshots", headers=again).json()["id"] for _ in range(2)]
    assert made[0] == made[1]


def test_a_mount_is_checked_again_when_its_job_runs(tmp_path: Path) -> None:
    share = tmp_path / "share"
    (share / "x").mkdir(parents=True)
    with Service(tmp_path, max_parallel=1, mount_sources=[str(share)]) as sidecar:
        sidecar.world.set(options={"seconds": {"stop": 2}}, web="Running")
        sidecar.http.post("/instances/web/stop")
        mount = {"source": str(share / "x"), "target": "/mnt/x"}
        job = sidecar.http.post("/instances", json={"name": "dev", "mounts": [mount]}).json()["id"]
        (share / "x").rmdir()
        (share / "x").symlink_to("/etc")
        found = sidecar.http.get(f"/jobs/{job}", params={"wait": 30}).json()
        check_failed(found, 403, "not-allowed")
        assert not sidecar.world.calls("launch")


def test_an_instance_is_no_larger_than_the_host(tmp_path: Path) -> None:
    with Service(tmp_path, max_cpus=2, max_memory=4 * 1024**3, max_disk=20 * 1024**3) as sidecar:
        sidecar.world.set(off="Stopped")
        for more in ({"cpus": 3}, {"memory": "5G"}, {"disk": "21G"}):
            check_problem(sidecar.http.post("/instances", json={"name": "dev"} | more), 422, "too-large-for-host")
            check_problem(sidecar.http.post("/instances/off/resize", json=more), 422, "too-large-for-host")
            sidecar.http.put("/environments/dev", json={"instances": [{"name": "dev"} | more]})
            check_problem(sidecar.http.post("/environments/dev/start"), 422, "too-large-for-host")
        assert not sidecar.world.calls("launch", "set")
        sidecar.done("POST", "/instances", json={"name": "dev", "cpus": 2, "memory": "4G", "disk": "20G"})


def test_the_instances_of_a_token_take_no_more_than_its_limit(tmp_path: Path) -> None:
    with Service(tmp_path, limits={"operate": {"instances": 2, "cpus": 4, "memory": "4G"}}) as sidecar:
        sidecar.world.set(other="Stopped")
        operate = {"headers": bearer("operate")}

        def launch(name: str, **more: Any) -> httpx.Response:
            return sidecar.http.post("/instances", json={"name": name} | more, **operate)

        check_problem(launch("dev", cpus=5), 403, "limit-reached")
        check_problem(launch("dev", memory="5G"), 403, "limit-reached")
        sidecar.done("POST", "/instances", json={"name": "dev", "cpus": 3}, **operate)
        assert "cpus" in check_problem(launch("two", cpus=2), 403, "limit-reached")["detail"]
        sidecar.done("POST", "/instances", json={"name": "two"}, **operate)
        sidecar.done("POST", "/instances/two/stop")
        for answer in (
            launch("three"),
            sidecar.http.post("/instances/two/clone", json={"name": "three"}, **operate),
            # Also if another token asks: the instance counts for the one that made it.
            sidecar.http.post("/instances/two/resize", json={"cpus": 2}),
        ):
            check_problem(answer, 403, "limit-reached")
        sidecar.http.put("/environments/dev", json={"instances": [{"name": "dev"}, {"name": "three"}]})
        check_problem(sidecar.http.post("/environments/dev/start", **operate), 403, "limit-reached")
        # Another token has no limit, and what is gone does not count.
        sidecar.done("POST", "/instances", json={"name": "big", "cpus": 64})
        sidecar.done("DELETE", "/instances/dev")
        sidecar.done("POST", "/instances", json={"name": "three", "cpus": 3}, **operate)
