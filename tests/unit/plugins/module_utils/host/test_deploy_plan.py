"""What `deploy` makes of the host as it was found, without asking it again."""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.devorch.orchestration.plugins.module_utils.host import deploy_plan as plan
from ansible_collections.devorch.orchestration.plugins.module_utils.host.deploy_plan import PlanError, Unit

ROOT = "/opt/orchestration"
ENV, SERVICE = f"{ROOT}/env/kestra.env", f"{ROOT}/services/kestra.yml"
CONTENTS = {ENV: b"A='1'\n", SERVICE: b"services: {}\n"}
NOW = 10_000.0


def options(**more: Any) -> dict[str, Any]:
    files = [{"path": ENV, "mode": "0600"}, {"path": SERVICE, "mode": "0644"}]
    return {
        "service": "kestra",
        "type": "compose",
        "root": ROOT,
        "project": "orchestration",
        "files": files,
        "extra_files": [],
        "directories": {f"{ROOT}/env": "0700", f"{ROOT}/data": {"mode": "0750", "owner": "kestra", "group": "1000"}},
        "depends_on": "postgres",
        "units": [],
        **more,
    }


def wanted(**more: Any) -> plan.WantedService:
    return plan.parse(options(**more), {path: plan.sha256(content) for path, content in CONTENTS.items()})


def seen(kind: str, mode: str, content: bytes = b"", **more: Any) -> dict[str, Any]:
    entry = {"type": kind, "mode": mode, "owner": "root", "group": "root", "uid": 0, "gid": 0, **more}
    return {**entry, "sha256": plan.sha256(content)} if kind == "file" else entry


def container(**more: Any) -> dict[str, Any]:
    image = {"image": "docker.io/kestra/kestra:v2", "image_id": "sha256:1", "config_hash": "made-so"}
    state = {"status": "running", "health": "healthy", "failures": 0, "restarts": 0, "started": 5000.0}
    return {"id": "1", "name": "orchestration-kestra-1", **image, **state, **more}


def healthy_host() -> dict[str, Any]:
    """What host_info returns for a host on which all is as wanted."""
    project = plan.compose_project("orchestration", ["kestra.yml", "postgres.yml"]).encode()
    return {
        "files": {
            ENV: seen("file", "0600", CONTENTS[ENV]),
            SERVICE: seen("file", "0644", CONTENTS[SERVICE]),
            f"{ROOT}/services/postgres.yml": seen("file", "0644", b"services: {}\n"),
            f"{ROOT}/compose.yml": seen("file", "0644", project),
            f"{ROOT}/env": seen("directory", "0700"),
            f"{ROOT}/data": seen("directory", "0750", owner="kestra", uid=999, group="users", gid=1000),
        },
        "services": {"kestra": {"committed": wanted().digest, "lkg": True, "config_hash": "made-so"}},
        "containers": {"kestra": container(), "postgres": container(name="orchestration-postgres-1")},
        "images": {"docker.io/kestra/kestra:v2": "sha256:1"},
        "units": {"docker.service": {"load": "loaded", "active": "active", "enabled": "enabled"}},
        "docker": {"engine": "26.1.5", "compose": "2.26.1-4"},
    }


def test_nothing_differs_on_a_healthy_host() -> None:
    assert plan.difference(wanted(), healthy_host(), NOW) == []


def test_what_was_not_looked_at_differs() -> None:
    assert plan.difference(wanted(), {}, NOW) == ["the host was not looked at"]
    empty = plan.difference(wanted(), {"memory_bytes": 1}, NOW)
    assert f"{ENV} is missing" in empty and "orchestration-kestra-1 does not exist" in empty


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        (("files", ENV, "sha256"), "other", f"{ENV} has another content"),
        (("files", ENV, "mode"), "0644", f"{ENV} has the mode 0644 instead of 0600"),
        (("files", ENV, "uid"), 1000, f"{ENV} has another owner"),
        (("files", ENV, "type"), "link", f"{ENV} is a link"),
        (("files", f"{ROOT}/env", "mode"), "0755", f"{ROOT}/env has the mode 0755 instead of 0700"),
        (("files", f"{ROOT}/data", "owner"), "root", f"{ROOT}/data belongs to root instead of kestra"),
        (("files", f"{ROOT}/data", "gid"), 1, f"{ROOT}/data belongs to the group users instead of 1000"),
        (("files", f"{ROOT}/compose.yml", "sha256"), "old", f"{ROOT}/compose.yml has another content"),
        (("services", "kestra", "committed"), "", "the files were not committed"),
        (("services", "kestra", "committed"), "other", "the files were not committed"),
        (("services", "kestra", "differing"), [ENV, "/other"], "/other is not as it was committed"),
        (("containers", "kestra"), None, "orchestration-kestra-1 does not exist"),
        (("containers", "kestra", "status"), "exited", "orchestration-kestra-1 is exited"),
        (("containers", "kestra", "status"), "restarting", "orchestration-kestra-1 restarts again and again"),
        (("containers", "kestra", "health"), "starting", "orchestration-kestra-1 is starting"),
        (("containers", "kestra", "health"), "unhealthy", "orchestration-kestra-1 is unhealthy"),
        (
            ("containers", "kestra", "config_hash"),
            "made otherwise",
            "orchestration-kestra-1 was made from other files than those that were committed",
        ),
        (
            ("images", "docker.io/kestra/kestra:v2"),
            "sha256:2",
            "orchestration-kestra-1 runs another image than the one that docker.io/kestra/kestra:v2 is now",
        ),
        (
            ("containers", "postgres", "started"),
            NOW - 10,
            "orchestration-kestra-1 runs since before its dependency was restarted",
        ),
    ],
)
def test_each_difference_is_found(path: tuple[str, ...], value: Any, reason: str) -> None:
    host = healthy_host()
    place = host
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    assert plan.difference(wanted(), host, NOW) == [reason]


@pytest.mark.parametrize(
    ("companion", "reason"),
    [
        (None, "does not exist"),
        ({"status": "exited"}, "is exited"),
        ({"health": "unhealthy"}, "is unhealthy"),
        ({"image_id": "sha256:0"}, "runs another image than the one that docker.io/kestra/kestra:v2 is now"),
        ({"config_hash": "its own", "started": 1.0}, ""),
    ],
)
def test_every_container_of_the_file_is_judged(companion: dict[str, Any] | None, reason: str) -> None:
    host, service = healthy_host(), replace(wanted(), companions=("kestra-docker",))
    if companion is not None:
        host["containers"]["kestra-docker"] = container(**companion)
    assert plan.difference(service, host, NOW) == ([f"orchestration-kestra-docker-1 {reason}"] if reason else [])


def test_companions_are_the_other_services_that_always_run() -> None:
    services = {
        "kestra": {"restart": "always"},
        "docker": {"restart": "unless-stopped"},
        "worker": {"restart": "always"},
        "once": {"restart": "on-failure"},
        "migration": {},
        "debug": {"restart": "always", "profiles": ["debug"]},
        "nothing": None,
    }
    assert plan.companions_of("kestra", {"services": services}) == ["docker", "worker"]
    assert [plan.companions_of("kestra", text) for text in (None, [], {"services": []}, {})] == [[], [], [], []]


@pytest.mark.parametrize(
    "name", ["env/.kestra.env.new-x1", "rollback/kestra/.record.json.new-x1", ".compose.yml.new-x1"]
)
def test_what_a_killed_run_has_left_is_a_difference(name: str) -> None:
    host = healthy_host()
    host["files"] |= {f"{ROOT}/{name}": seen("file", "0600"), f"{ROOT}/env/.n8n.env.new-x1": seen("file", "0600")}
    assert plan.difference(wanted(), host, NOW) == [f"{ROOT}/{name} is left of a run that was killed"]


def test_a_service_that_is_new_to_the_project_differs() -> None:
    host = healthy_host()
    del host["files"][f"{ROOT}/services/postgres.yml"]
    assert plan.difference(wanted(), host, NOW) == [f"{ROOT}/compose.yml has another content"]


def test_hash_that_nobody_knows_is_no_difference() -> None:
    host = healthy_host()
    del host["services"]["kestra"]["config_hash"]
    assert plan.difference(wanted(), host, NOW) == []


def test_units_and_docker() -> None:
    host = healthy_host()
    host["units"] |= {"a.socket": {"active": "active", "enabled": "disabled"}, "a.service": {"active": "failed"}}
    units = wanted(type="systemd", units=["a.socket", "a.service", "b.service"])
    assert plan.difference(units, host, NOW) == [
        "a.socket is not enabled",
        "a.service is failed",
        "b.service is not there",
    ]
    docker = wanted(type="docker")
    assert plan.difference(docker, host, NOW) == []
    host["docker"]["compose"] = "2.19.4"
    (problem,) = plan.difference(docker, host, NOW)
    assert problem.startswith(
        "Docker answers with version '26.1.5', Compose with '2.19.4'; Docker 25 and Compose 2.20.2"
    )
    host["units"]["docker.service"]["active"] = "inactive"
    assert "docker.service is inactive" in plan.difference(docker, host, NOW)


def test_files_alone_need_nothing_that_runs() -> None:
    assert plan.difference(wanted(type="files"), healthy_host(), NOW) == []


def test_what_is_done_about_units() -> None:
    states = {"a": Unit("loaded", "active", "static"), "b": Unit("loaded", "activating", "enabled")}
    assert [(need.reason, need.action) for need in plan.unit_needs(["a", "b", "c"], states)] == [
        ("b is activating", "none"),
        ("c is not there", "start"),
    ]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"service": "../x"}, "service: '../x' is not a name"),
        ({"files": [{"path": ENV, "mode": 644}]}, f"files: {ENV}: mode: 644 is not a mode. Set octal digits in quotes"),
        ({"files": [{"path": ENV, "mode": "rw"}]}, "'rw' is not a mode"),
        ({"files": [{"path": ENV, "mode": "0600"}] * 2}, f"files: {ENV} is there twice"),
        ({"extra_files": [ENV]}, f"files: {ENV} is there twice"),
        ({"extra_files": ["env"]}, "env: is not an absolute path"),
        ({"directories": {"/x": ["0755"]}}, "directories: /x: ['0755'] is not a mode"),
        ({"directories": {"/x": {"modus": "0755"}}}, "directories: /x: the key 'modus' is unknown"),
        ({"type": "systemd"}, "units: is empty"),
    ],
)
def test_options_that_can_not_be_followed(more: dict[str, Any], message: str) -> None:
    with pytest.raises(PlanError) as error:
        wanted(**more)
    assert message in str(error.value)


def test_digest_is_that_of_paths_modes_and_contents() -> None:
    one = wanted()
    assert one.digest == replace(one, files=one.files[::-1]).digest
    assert one.digest != replace(one, files=(replace(one.files[0], mode=0o640), one.files[1])).digest


@pytest.mark.parametrize(
    ("engine", "compose"), [("24.0.7", "2.26.1-4"), ("26.1.5", "v2.3.3"), ("dev", "2.26.1"), ("", "")]
)
def test_docker_that_is_too_old(engine: str, compose: str) -> None:
    assert "are needed" in plan.docker_problem(engine, compose)
    assert plan.docker_problem("25.0.0", "2.26.1-4") == ""


def test_packed_files_and_options_return() -> None:
    files, more = {"/a": b"\0\xff", "/b": b""}, {"verify": [{"url": "http://x"}], "preserved_env": {"A": "1"}}
    packed = plan.pack(files, more)
    assert plan.unpack(packed) == (files, more)
    assert packed.isascii()


def test_words_that_no_message_may_show() -> None:
    checks = [
        {"headers": {"Authorization": "Bearer 0123456789abcdef"}},
        {"kestra": {"username": "a@example.com", "password": "Kestra-1"}},
        {"command": ["true"], "headers": None, "kestra": None},
    ]
    found = plan.secret_options({"preserved_env": {"A": "value"}, "verify": checks})
    assert found == ["value", "Bearer 0123456789abcdef", "0123456789abcdef", "Kestra-1"]


def test_archive_is_the_same_and_runs(tmp_path: Path) -> None:
    entries = {"package/__init__.py": b"", "package/cli.py": b"def main():\n    print('it runs')\n"}
    one = plan.archive(entries, "package.cli:main", "/usr/bin/python3")
    assert one == plan.archive(dict(reversed(entries.items())), "package.cli:main", "/usr/bin/python3")
    assert one.startswith(b"#!/usr/bin/python3\n")
    program = tmp_path / "program"
    program.write_bytes(one)
    ran = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, check=True)
    assert ran.stdout == "it runs\n"
    with zipfile.ZipFile(io.BytesIO(plan.archive(entries))) as file:
        assert file.namelist() == ["package/__init__.py", "package/cli.py"]
        assert {entry.date_time for entry in file.infolist()} == {plan.EPOCH}


def test_archive_without_a_function_to_run() -> None:
    with pytest.raises(PlanError, match="main: 'package' is not a function"):
        plan.archive({"package.py": b""}, "package")
    with pytest.raises(PlanError, match=r"holds a __main__\.py already"):
        plan.archive({"__main__.py": b""}, "package:main")
