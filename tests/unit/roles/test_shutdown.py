"""The unit that stops the containers when the host shuts down: its script with stand-ins, its order, its deployment."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible.template import trust_as_template

from ..templating import ROOT, evaluate, find, holds, load, variables

TEMPLATES = ROOT / "roles" / "postgres" / "templates"
DOCKER = r"""#!/bin/sh
case $1 in
ps) cat "$STATE/$(echo "$*" | grep -c -- --all)" ;;
inspect) sed -n "s/^$4 //p" "$STATE/policies" ;;
*) echo "$*" >>"$STATE/calls" ;;
esac
"""


def render(name: str, **more: Any) -> str:
    text = (TEMPLATES / name).read_text("utf-8")
    return str(evaluate(text, variables("common", "postgres") | {"ansible_managed": "Ansible managed"} | more))


class Host:
    """A host with containers, by their state and policy."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.write("docker", DOCKER)
        (folder / "bin").mkdir()
        self.write("script", render("orchestration-shutdown.sh.j2", orchestration_root=str(folder)))
        self.has("one unless-stopped", "two unless-stopped", stopped=["by-hand unless-stopped"])
        self.is_in("stopping")

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.write_text(text)
        path.chmod(0o755)

    def has(self, *running: str, stopped: list[str]) -> None:
        every = [*running, *stopped]
        self.write("policies", "".join(f"{line}\n" for line in every))
        for name, lines in (("0", running), ("1", every)):
            self.write(name, "".join(f"{line.split()[0]}\n" for line in lines))

    def is_in(self, state: str) -> None:
        self.write("systemctl", f"#!/bin/sh\necho {state}\n")

    def run(self, verb: str) -> list[str]:
        """Run the script, and return the calls of Docker that change something."""
        environment = os.environ | {"PATH": f"{self.folder}:{os.environ['PATH']}", "STATE": str(self.folder)}
        subprocess.run([str(self.folder / "script"), verb], env=environment, timeout=30, check=True)
        calls = self.folder / "calls"
        return calls.read_text().splitlines() if calls.exists() else []


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_what_runs_is_stopped_in_order_and_marked_to_start_again(host: Host) -> None:
    """Docker does not start a container again that was stopped, unless its policy is "always"."""
    stopped = ["update --restart always one two", "compose --project-name orchestration stop"]
    assert host.run("stop") == stopped
    assert host.run("start") == [*stopped, *(f"update --restart unless-stopped {name}" for name in ("one", "two"))]
    assert len(host.run("start")) == 4, "nothing is left to do"


@pytest.mark.parametrize("state", ["running", "degraded", "starting", "maintenance"])
def test_nothing_is_stopped_while_the_host_stays_up(host: Host, state: str) -> None:
    """As if the unit is restarted because its file has changed."""
    host.is_in(state)
    assert host.run("stop") == []


def test_containers_that_were_stopped_by_hand_keep_their_policy(host: Host) -> None:
    host.has(stopped=["by-hand unless-stopped"])
    assert host.run("stop") == ["compose --project-name orchestration stop"]


def test_a_container_that_would_not_start_again_is_not_stopped(host: Host) -> None:
    host.write("docker", DOCKER.replace("*) echo", "update) exit 1 ;;\n*) echo"))
    with pytest.raises(subprocess.CalledProcessError):
        host.run("stop")
    assert not (host.folder / "calls").exists()


def test_other_policies_are_left_alone(host: Host) -> None:
    """As of a Compose file of the user's own."""
    host.has("one always", "two no", stopped=["by-hand unless-stopped"])
    assert host.run("start") == []
    assert host.run("stop") == ["compose --project-name orchestration stop"]


def test_the_compose_files_have_the_policy_that_the_script_changes() -> None:
    policies = {
        line.strip()
        for path in (ROOT / "templates").glob("*/*.j2")
        for line in path.read_text("utf-8").splitlines()
        if line.strip().startswith("restart:")
    }
    assert policies == {"restart: unless-stopped"}


def test_unit_stops_before_docker_and_not_with_it() -> None:
    unit = render("orchestration-shutdown.service.j2").splitlines()
    (after,) = [line.removeprefix("After=").split() for line in unit if line.startswith("After=")]
    # Its program is on the disk of the root, which may be one of the network.
    assert {"docker.service", "containerd.service", "remote-fs.target"} <= set(after)
    # A disk that its owner has set to noauto would be mounted for it at the boot.
    assert not [line for line in unit if "MountsFor=" in line]
    assert not [line for line in unit if line.startswith(("Requires=", "BindsTo=", "PartOf=", "Requisite="))]
    assert {
        "RemainAfterExit=yes",
        "ExecStart=-/opt/orchestration/bin/orchestration-shutdown start",
        "ExecStop=/opt/orchestration/bin/orchestration-shutdown stop",
        "WantedBy=multi-user.target",
    } <= set(unit)


@pytest.mark.parametrize(
    ("kestra", "limit"),
    [
        ({}, 450),
        ({"kestra_state": "present", "kestra_stop_timeout": "930"}, 1050),
        # Nothing has checked its configuration.
        ({"kestra_state": "absent", "kestra_stop_timeout": trust_as_template("{{ nothing.such }}")}, 450),
    ],
)
def test_unit_waits_for_kestra_and_then_for_postgresql(kestra: dict[str, Any], limit: int) -> None:
    assert f"TimeoutStopSec={limit}" in render("orchestration-shutdown.service.j2", **kestra).splitlines()


def test_unit_is_deployed_watched_and_removed() -> None:
    present = load("roles/postgres/tasks/present.yml")
    (deployed,) = [task["devorch.orchestration.deploy"] for task in present if "watchdog" in task["name"]]
    profile = evaluate("{{ postgres_profile }}", variables("common", "postgres"))
    assert deployed["units"] == profile["units"] == ["orchestration-watchdog.timer", "orchestration-shutdown.service"]
    paths = evaluate([file["path"] for file in deployed["files"]], variables("common", "postgres"))
    assert {path for path in paths if path.startswith("/etc/")} <= set(profile["paths"])
    (removal,) = [task for task in load("roles/postgres/tasks/remove.yml") if "files of the watchdog" in task["name"]]
    removed = evaluate(removal["loop"], variables("common", "postgres"))
    assert set(paths) <= set(removed)
    stopped = find("roles/postgres/tasks/remove.yml", "ansible.builtin.systemd_service")
    assert stopped["loop"] == deployed["units"]
    # The container of a PostgreSQL whose databases were moved is removed by the same file.
    for task in (removal, stopped):
        found = {"orchestration_host": {"files": {f"/etc/systemd/system/{unit}": {} for unit in deployed["units"]}}}
        for state in ("present", "absent"):
            given = variables("common", "postgres") | found | {"postgres_state": state, "item": deployed["units"][0]}
            assert holds(task["when"], given) is (state == "absent")


def test_no_unit_writes_to_the_journal_without_the_limit_of_the_host() -> None:
    """Then the journal's own limits are enough, which are those of the whole host."""
    units = sorted((ROOT / "roles").glob("*/templates/*.service.j2"))
    assert len(units) >= 4
    for unit in units:
        assert "LogRateLimit" not in unit.read_text("utf-8"), unit
