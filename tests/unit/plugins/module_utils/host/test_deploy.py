"""`deploy`: validated before anything is written, committed if it works, rolled back if not, whole at any moment."""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from types import FrameType
from typing import Any

import pytest
import yaml
from ansible_collections.devorch.orchestration.plugins.module_utils.host import (
    deploy,
    deploy_plan,
    files,
    json_merge,
    service_files,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.host.deploy import Deployment, DeployRequest, Failed
from ansible_collections.devorch.orchestration.plugins.module_utils.host.deploy_plan import Need
from ansible_collections.devorch.orchestration.plugins.module_utils.host.runtimes import DeployError, Host, Started
from ansible_collections.devorch.orchestration.plugins.module_utils.host.service_files import File
from ansible_collections.devorch.orchestration.plugins.modules import deploy as module

from .....sampling import LONG, SEED
from ....in_process import call
from ....playbook import play


@dataclass
class Program:
    """Something that runs with the files that it found when it was started, and fails if one of them is bad."""

    root: Path
    name: str = "application-1"
    well: str = "is healthy"
    more: str = "docker compose logs application"
    lines: str = ""
    shared: bool = False
    refuses: str = ""
    """What the start fails with if a file is bad; without it, the wait does."""

    waited: list[float] = field(default_factory=list)
    owners: list[dict[str, int]] = field(default_factory=list)
    starts: int = 0

    @property
    def running(self) -> Path:
        return self.root / "running.json"

    def differs(self) -> list[Need]:
        return [] if self.running.exists() else [Need(f"{self.name} does not exist", "start")]

    def derived(self, after: Iterable[Path], gone: Iterable[Path] = ()) -> dict[Path, File]:
        names = sorted(path.name for path in after if path.parent == self.root and path not in gone)
        return {self.root / "list": File(f"{names}\n".encode(), 0o644)}

    def start(self, changed: bool) -> Started:
        before = self.running.exists()
        if changed or not before:
            self.starts += 1
            found = {path.name: path.read_text(errors="replace") for path in self.root.glob("application.*")}
            self.running.write_text(json.dumps(found))
        if self.refuses and self.wait(0):
            raise DeployError(self.refuses)
        return Started(changed or not before, changed and before)

    def restored(self) -> None:
        """The fake runs whatever the files say."""

    def stop(self) -> None:
        self.owners.append(owners(self.root / "data"))

    def wait(self, timeout: float) -> str:
        self.waited.append(timeout)
        bad = "bad" in self.running.read_text()
        return f"{self.name} is unhealthy: its health check fails" if bad else ""

    def verify(self) -> str:
        return "it answers nonsense" if "nonsense" in self.running.read_text() else ""

    def config_hash(self) -> str:
        return "made-so"

    def log(self) -> str:
        return self.lines


@dataclass
class Site:
    """A service with an environment file, a configuration, and a password that another task writes."""

    root: Path
    secrecy: dict[str, str] = field(default_factory=dict)
    validators: dict[str, list[str]] = field(default_factory=dict)
    preserved_env: dict[str, str] = field(default_factory=dict)
    wait_timeout: float = 60.0
    owner: str | None = None
    program: Program = field(init=False)

    def __post_init__(self) -> None:
        self.env, self.config = self.root / "application.env", self.root / "application.yml"
        self.password = self.root / "secrets" / "password"
        self.password.parent.mkdir(parents=True, exist_ok=True)
        if not self.password.exists():
            self.password.write_text("first-password")
        self.program = Program(self.root)
        self.secrecy = {str(self.env): "all", str(self.config): "none"}
        self.validators = {str(self.config): ["grep", "-v", "refused", "%s"]}

    def deployment(self, env: str, config: str | None, *, check: bool = False, **more: Any) -> Deployment:
        contents = {str(self.env): env.encode()}
        if config is not None:
            contents[str(self.config)] = config.encode()
        files = [
            deploy_plan.WantedFile(path, deploy_plan.sha256(content), 0o600 if path == str(self.env) else 0o644)
            for path, content in contents.items()
        ]
        recurse = self.owner is not None
        directories = (deploy_plan.WantedDirectory(str(self.root / "data"), 0o750, self.owner, self.owner, recurse),)
        root = PurePosixPath(self.root)
        wanted = deploy_plan.WantedService("application", "compose", root, "x", tuple(files), directories)
        order = DeployRequest(
            wanted,
            contents,
            self.secrecy,
            self.validators,
            [str(self.password)],
            self.preserved_env,
            wait_timeout=self.wait_timeout,
            check_mode=check,
            **more,
        )
        good = deploy.last_known_good(self.root, "application", [Path(path) for path in contents])
        return Deployment(order, self.program, Host(), good)

    def run(self, env: str, config: str | None, **more: Any) -> dict[str, Any]:
        return self.deployment(env, config, **more).run()

    def fails(self, env: str, config: str | None, **more: Any) -> tuple[str, dict[str, Any]]:
        with pytest.raises(Failed) as error:
            self.run(env, config, **more)
        assert error.value.result["msg"] == str(error.value)
        return str(error.value), error.value.result

    def files(self) -> dict[str, tuple[str, int]]:
        paths = [path for path in self.root.glob("*") if path.is_file()] + [self.password]
        return {path.name: (path.read_text(), path.stat().st_mode & 0o777) for path in paths if path.exists()}

    def runs(self) -> dict[str, str]:
        found: dict[str, str] = json.loads(self.program.running.read_text())
        return found


ONE, TWO = "A='one'\nDB_PASSWORD='db-one'\n", "A='two'\nDB_PASSWORD='db-two'\n"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.fixture
def healthy(site: Site) -> Site:
    """A service that was committed with its first files."""
    assert site.run(ONE, "port: 1\n")["action"] == "create"
    site.program.starts = 0
    site.program.waited.clear()
    return site


def test_first_deployment_writes_starts_and_commits(site: Site) -> None:
    result = site.run(ONE, "port: 1\n")
    assert result["changed"] and result["action"] == "create" and not result["restarted"]
    assert result["paths"] == [str(site.env), str(site.config), str(site.root / "list")]
    assert site.files()["application.env"] == (ONE, 0o600)
    assert site.files()["application.yml"] == ("port: 1\n", 0o644)
    assert (site.root / "data").stat().st_mode & 0o777 == 0o750
    assert site.runs() == {"application.env": ONE, "application.yml": "port: 1\n"}


@pytest.mark.parametrize("found", [None, "port: 0\n"])
def test_first_deployment_of_what_others_use_leaves_the_host_as_it_was(site: Site, found: str | None) -> None:
    site.program.shared = True
    if found is not None:
        site.config.write_text(found)
        site.config.chmod(0o640)
    before = site.files()
    message, result = site.fails(ONE, "bad: 1\n")
    assert "The files are as they were before this run" in message and "it is healthy with them" in message
    assert result["action"] == "rollback"
    assert {name: file for name, file in site.files().items() if name not in ("list", "running.json")} == before
    assert site.program.starts == 2 and "bad" not in site.program.running.read_text()
    assert site.run(ONE, "port: 1\n")["changed"]


def test_rollback_of_a_shared_file_keeps_what_the_host_has_set_since(site: Site) -> None:
    site.program.shared = True
    shared = {"merge_records": {str(site.config): str(site.env)}}
    site.run('{"dns": ["10.0.0.1"], "mtu": 1400}', '{"dns": ["10.0.0.1"], "mtu": 1400}', **shared)
    site.config.write_text('{"dns": ["10.0.0.1"], "mtu": 1400, "runtimes": {"x": {}}}')
    message, _result = site.fails('{"dns": ["bad"]}', '{"dns": ["bad"], "runtimes": {"x": {}}}', **shared)
    assert "it is healthy with them" in message
    assert json.loads(site.config.read_text()) == {"dns": ["10.0.0.1"], "mtu": 1400, "runtimes": {"x": {}}}


@pytest.mark.parametrize("own", [1500, 1400])
def test_a_key_that_the_host_had_before_outlives_ours(own: int) -> None:
    """Also if both had the same value."""
    replaced = json_merge.replaced_values({"mtu": 1400}, {"mtu": own}, {})
    assert replaced == {"mtu": own}
    later = json_merge.replaced_values({}, {"mtu": 1400}, {"mtu": 1400}, known=replaced)
    assert json_merge.merge({}, {"mtu": 1400}, {"mtu": 1400}, replaced=later) == {"mtu": own}


def test_rollback_keeps_what_the_host_has_below_a_shared_key(site: Site) -> None:
    """Its own logins of registries, beside those of this collection."""
    site.program.shared = True
    shared = {"merge_records": {str(site.config): str(site.env)}, "merge_below": {str(site.config): "auths"}}
    site.run('{"auths": {"ours": 1}}', '{"auths": {"ours": 1, "own": 2}}', **shared)
    site.fails('{"auths": {"bad": 1}}', '{"auths": {"bad": 1, "own": 2}}', **shared)
    assert json.loads(site.config.read_text()) == {"auths": {"ours": 1, "own": 2}}


def test_second_deployment_changes_nothing(healthy: Site) -> None:
    before = {path: path.stat().st_mtime_ns for path in healthy.root.rglob("*")}
    result = healthy.run(ONE, "port: 1\n")
    assert not result["changed"] and result["action"] == "none" and result["reasons"] == [] and result["paths"] == []
    assert healthy.program.starts == 0
    assert {path: path.stat().st_mtime_ns for path in healthy.root.rglob("*")} == before


def test_change_is_written_and_what_ran_is_restarted(healthy: Site) -> None:
    result = healthy.run(ONE, "port: 2\n")
    assert result["action"] == "update" and result["restarted"] and result["paths"] == [str(healthy.config)]
    assert result["msg"] == f"application was updated: {healthy.config} has another content"
    assert healthy.runs()["application.yml"] == "port: 2\n"
    assert not healthy.run(ONE, "port: 2\n")["changed"]


def test_mode_and_directory_are_restored(healthy: Site) -> None:
    healthy.env.chmod(0o644)
    (healthy.root / "data").chmod(0o755)
    result = healthy.run(ONE, "port: 1\n")
    assert result["action"] == "update" and result["paths"] == [str(healthy.env)]
    assert healthy.env.stat().st_mode & 0o777 == 0o600
    assert (healthy.root / "data").stat().st_mode & 0o777 == 0o750
    assert not healthy.run(ONE, "port: 1\n")["changed"]


def test_what_does_not_run_is_started_with_the_files_that_are_there(healthy: Site) -> None:
    healthy.program.running.unlink()
    result = healthy.run(ONE, "port: 1\n")
    assert result["changed"] and result["action"] == "start" and not result["restarted"] and result["paths"] == []


def test_check_mode_predicts_and_writes_nothing(healthy: Site) -> None:
    before = {path: path.read_bytes() for path in healthy.root.rglob("*") if path.is_file()}
    checked = healthy.run(TWO, "port: 2\n", check=True)
    assert {path: path.read_bytes() for path in healthy.root.rglob("*") if path.is_file()} == before
    assert healthy.program.starts == 0
    real = healthy.run(TWO, "port: 2\n")
    same = ("changed", "action", "paths", "reasons", "diff")
    assert {key: checked[key] for key in same} == {key: real[key] for key in same}
    assert checked["msg"].startswith("application would be updated: ")
    assert healthy.fails(TWO, "refused\n", check=True)[1]["changed"] is False


@pytest.mark.parametrize(
    ("situation", "restarted"),
    [("change", True), ("directory", False), ("stopped", False), ("stopped and change", False)],
)
def test_check_mode_predicts_restarts(healthy: Site, situation: str, restarted: bool) -> None:
    config = "port: 2\n" if "change" in situation else "port: 1\n"
    if situation == "directory":
        (healthy.root / "data").chmod(0o755)
    elif "stopped" in situation:
        healthy.program.running.unlink()
    checked = healthy.run(ONE, config, check=True)
    assert checked["changed"] and checked["restarted"] is restarted
    assert healthy.run(ONE, config)["restarted"] is restarted


def test_check_mode_predicts_the_restart_of_what_runs_and_was_never_healthy(site: Site) -> None:
    site.fails(ONE, "bad\n")
    assert site.run(ONE, "port: 1\n", check=True)["restarted"]
    assert site.run(ONE, "port: 1\n")["restarted"]


def test_check_mode_predicts_no_restart_of_what_does_not_run_by_itself(healthy: Site) -> None:
    healthy.program.well = ""
    assert not healthy.run(TWO, "port: 1\n", check=True)["restarted"]


def test_check_mode_on_an_empty_host(site: Site) -> None:
    site.validators[str(site.config)] = ["/no/such/program", "%s"]
    before = site.files()
    result = site.run(ONE, "port: 1\n", check=True)
    assert result["changed"] and result["action"] == "create" and not result["restarted"]
    assert site.files() == before and not (site.root / "rollback").exists()


def test_check_mode_on_a_docker_without_compose(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the distribution's Docker is that the host had before: a real run installs Compose first."""
    docker = tmp_path / "bin" / "docker"
    docker.parent.mkdir()
    docker.write_text("#!/bin/sh\necho unknown flag >&2; exit 125\n")
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", str(docker.parent), prepend=":")
    site.validators[str(site.config)] = ["docker", "compose", "--file", "%s", "config"]
    assert site.run(ONE, "port: 1\n", check=True)["action"] == "create"
    message, _result = site.fails(ONE, "port: 1\n")
    assert "docker refuses the new file, and nothing was changed: unknown flag" in message
    docker.write_text("#!/bin/sh\ntest $2 = version\n")
    with pytest.raises(Failed):
        site.run(ONE, "port: 1\n", check=True)


def test_missing_validator_is_an_error(healthy: Site) -> None:
    healthy.validators[str(healthy.config)] = ["/no/such/program", "%s"]
    before = healthy.files()
    message, result = healthy.fails(ONE, "port: 2\n")
    assert f"{healthy.config}: the new file can't be checked, and nothing was changed: /no/such/program" in message
    assert not result["changed"] and healthy.files() == before


def test_refused_file_lands_nowhere_and_no_other_does(healthy: Site) -> None:
    before = healthy.files()
    message, result = healthy.fails(TWO, "refused\n")
    assert message.startswith(f"application: {healthy.config}: grep refuses the new file, and nothing was changed")
    assert healthy.files() == before and healthy.program.starts == 0
    assert not result["changed"] and result["paths"] == [] and result["action"] == "none"


def test_validation_sees_the_new_files_together(healthy: Site) -> None:
    """A path of another file of the set is that of the new one, in commands and contents; nothing is written yet."""
    healthy.validators = {str(healthy.config): ["sh", "-c", f"grep -q two $(cat %s) && grep -q two {healthy.env}"]}
    assert healthy.run(TWO, f"{healthy.env}\n")["changed"]
    message, _result = healthy.fails(ONE, f"{healthy.env}\n")
    assert "refuses the new file" in message


def test_message_of_a_validator_has_real_paths_and_no_secret(healthy: Site) -> None:
    healthy.validators = {str(healthy.env): ["sh", "-c", "echo %s: $(cat %s) >&2; exit 1"]}
    message, _result = healthy.fails(TWO, "port: 2\n")
    assert f"nothing was changed: {healthy.env}: A='two' DB_PASSWORD='********'" in message


def test_archive_is_validated_undamaged(site: Site) -> None:
    """What it holds is no text in which paths could be replaced."""
    archive = deploy_plan.archive({"a.py": f"print('{site.env}')\n".encode(), "b": b"\0"}, "a:main")
    contents = {str(site.env): b"A='one'\n", str(site.config): archive}
    files = tuple(deploy_plan.WantedFile(path, deploy_plan.sha256(text), 0o755) for path, text in contents.items())
    wanted = deploy_plan.WantedService("application", "files", PurePosixPath(site.root), "x", files)
    order = DeployRequest(wanted, contents, {}, {str(site.config): [sys.executable, "-m", "zipfile", "-t", "%s"]})
    result = Deployment(order, site.program, Host(), deploy.last_known_good(site.root, "application", [])).run()
    assert result["changed"]
    assert result["diff"][1]["after"].startswith(f"{len(archive)} bytes, SHA-256 ")


def test_what_a_killed_run_validated_is_removed_and_what_another_validates_stays(
    healthy: Site, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run in check mode has no lock of the host."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("shared")))
    killed, other, new = (Path(tempfile.mkdtemp(prefix="orchestration-application-")) for _ in range(3))
    for path in (killed, other):
        os.utime(path, (0, 0))
    with deploy.held(other):
        healthy.run(TWO, "port: 2\n")
    assert other.exists() and new.exists() and not killed.exists()


def test_rollback_restores_contents_and_modes_with_what_others_have_written(healthy: Site) -> None:
    before = healthy.files()
    healthy.password.write_text("second-password")
    healthy.program.lines = "second-password first-password db-two db-one\nplain"
    message, result = healthy.fails(TWO, "bad\n")
    back = [str(path) for path in (healthy.env, healthy.config, healthy.password)]
    assert message.splitlines() == [
        "application does not work: application-1 is unhealthy: its health check fails",
        f"The last known good files are back ({', '.join(back)}), and it is healthy with them.",
        "Its last log lines before that (more: docker compose logs application):",
        "******** ******** ******** ********",
        "plain",
    ]
    assert result["changed"] and result["action"] == "rollback" and result["restarted"]
    assert healthy.files() == before
    assert healthy.runs() == {"application.env": ONE, "application.yml": "port: 1\n"}
    assert not healthy.run(ONE, "port: 1\n")["changed"], "what was rolled back is committed again"


def test_a_failing_start_and_a_failing_verification_roll_back_too(healthy: Site) -> None:
    before = healthy.files()
    message, _result = healthy.fails(ONE, "nonsense\n")
    assert message.startswith("application does not work: it answers nonsense\nThe last known good files are back")
    healthy.program.refuses = "docker compose up failed: port is taken"
    message, _result = healthy.fails(ONE, "bad\n")
    assert message.startswith("application did not start: docker compose up failed: port is taken\nThe last known")
    assert healthy.files() == before


def test_waiting_after_a_rollback_is_never_short(healthy: Site) -> None:
    healthy.wait_timeout = 5
    healthy.fails(ONE, "bad\n")
    assert healthy.program.waited == [5, 300]
    healthy.wait_timeout = 900
    healthy.fails(ONE, "bad\n")
    assert healthy.program.waited[2:] == [900, 900]


def test_values_that_the_database_has_already_are_preserved(healthy: Site) -> None:
    healthy.preserved_env = {"DB_PASSWORD": "db-two", "UNKNOWN": "x"}
    message, _result = healthy.fails(TWO, "bad\n")
    assert "and it is healthy with them" in message
    assert healthy.env.read_text() == "A='one'\nDB_PASSWORD='db-two'\n"
    assert healthy.env.stat().st_mode & 0o777 == 0o600
    assert "db-two" not in message


def test_file_that_the_last_known_good_set_lacks_is_removed(site: Site) -> None:
    site.run(ONE, None)
    message, _result = site.fails(ONE, "bad\n")
    assert f"are back ({site.config})" in message
    assert not site.config.exists()
    assert (site.root / "list").read_text() == "['application.env']\n"


def test_service_that_was_never_healthy_has_nothing_to_return_to(site: Site) -> None:
    site.program.lines = "FATAL: no such thing"
    message, result = site.fails(ONE, "bad\n")
    assert message.splitlines() == [
        "application does not work: application-1 is unhealthy: its health check fails",
        "It was never healthy on this host, so there are no last known good files to return to. "
        "Correct the variables and run again.",
        "Its last log lines before that (more: docker compose logs application):",
        "FATAL: no such thing",
    ]
    assert result["action"] == "create" and result["changed"]
    assert site.run(ONE, "port: 1\n")["changed"]


def test_reason_is_elsewhere_if_the_files_are_the_good_ones(healthy: Site) -> None:
    healthy.program.running.write_text("bad")
    before = healthy.files()
    message, result = healthy.fails(ONE, "port: 1\n")
    assert "Its files are those with which it was last healthy: the reason is elsewhere." in message
    assert healthy.files() == before and result["paths"] == []


def test_service_that_does_not_come_up_with_the_good_files_either(healthy: Site) -> None:
    stays = healthy.program

    class Broken(Program):
        def wait(self, timeout: float) -> str:
            super().wait(timeout)
            return f"{self.name} ended with code 1"

    healthy.program = Broken(stays.root)
    message, _result = healthy.fails(ONE, "port: 2\n")
    assert f"are back ({healthy.config}), but it does not work with them either:\napplication-1 ended" in message
    healthy.program = stays
    assert healthy.run(ONE, "port: 1\n")["action"] == "update", "nobody knows whether it runs with these files"
    assert not healthy.run(ONE, "port: 1\n")["changed"]


def test_files_alone_are_back_without_anything_that_runs(healthy: Site) -> None:
    healthy.program.well = ""
    message, _result = healthy.fails(ONE, "bad\n")
    assert f"The last known good files are back ({healthy.config}).\n" in f"{message}\n"


def test_unproven_files_never_become_the_good_ones(healthy: Site) -> None:
    """The first is left by a run that was killed."""
    (healthy.root / "application.yml").write_text("port: 2\n")
    deploy.last_known_good(healthy.root, "application", []).begin()
    healthy.fails(ONE, "bad\n")
    assert healthy.config.read_text() == "port: 1\n"


def test_files_from_before_there_were_sets_count_as_good(site: Site) -> None:
    site.env.write_text("A='old'\n")
    site.config.write_text("port: 0\n")
    message, _result = site.fails(ONE, "bad\n")
    assert "and it is healthy with them" in message
    assert (site.env.read_text(), site.config.read_text()) == ("A='old'\n", "port: 0\n")


def test_sets_of_version_0_2_are_taken_over_and_nothing_is_restarted(healthy: Site) -> None:
    (healthy.root / "rollback").rename(healthy.root / "former")
    record = healthy.root / "former" / "application" / "record.json"
    old = json.loads(record.read_text())
    both = {
        path: file for path in (healthy.env, healthy.config, healthy.password) if (file := service_files.read(path))
    }
    record.write_text(json.dumps({"digest": service_files.set_digest(both), "files": old["files"]}))
    checked = healthy.run(ONE, "port: 1\n", check=True)
    assert not checked["changed"] and (healthy.root / "former").exists()
    assert not healthy.run(ONE, "port: 1\n")["changed"]
    assert healthy.program.starts == 0
    assert not (healthy.root / "former").exists()
    assert (
        json.loads((healthy.root / "rollback" / "application" / "record.json").read_text())["digest"] == old["digest"]
    )
    assert "and it is healthy with them" in healthy.fails(ONE, "bad\n")[0]


def test_set_of_another_root_is_none(healthy: Site) -> None:
    """As after the directory was moved: nothing is written at the former place, and nothing is removed here."""
    moved = healthy.root.rename(healthy.root.with_name("elsewhere"))
    site = Site(moved)
    message, result = site.fails(TWO, "bad\n")
    assert "there are no last known good files to return to" in message
    assert not healthy.root.exists() and result["action"] == "update"
    assert (site.env.read_text(), site.config.read_text()) == (TWO, "bad\n")
    message, _result = site.fails(TWO, "bad\n")
    assert not healthy.root.exists() and site.env.exists()
    site.run(TWO, "port: 2\n")
    site.fails(ONE, "bad\n")
    assert (site.env.read_text(), site.config.read_text()) == (TWO, "port: 2\n")


def test_set_that_lacks_a_file_of_the_same_name_is_of_this_root(tmp_path: Path) -> None:
    """As /etc/docker/daemon.json was alone before the root had a record of it in docker/daemon.json."""
    elsewhere, record = tmp_path / "etc" / "docker" / "daemon.json", tmp_path / "root" / "docker" / "daemon.json"
    deploy.last_known_good(tmp_path / "root", "docker", []).commit({elsewhere: service_files.File(b"{}", 0o644)}, {})
    assert deploy.last_known_good(tmp_path / "root", "docker", [elsewhere, record]).exists
    assert not deploy.last_known_good(tmp_path / "root", "docker", [record]).exists


def test_damaged_copy_is_reported_with_the_reason(healthy: Site) -> None:
    copy = next((healthy.root / "rollback").rglob("application.yml"))
    copy.write_text("damaged")
    message, _result = healthy.fails(ONE, "bad\n")
    assert "application does not work: application-1 is unhealthy" in message
    assert f"can't be restored: {copy}: the copy of {healthy.config} is missing or was changed" in message


def test_full_disk_leaves_the_files_as_they_were(healthy: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    real, before = deploy.write, healthy.files()

    def full(path: Path, file: File) -> None:
        if path == healthy.config and file.content == b"port: 2\n":
            raise OSError(28, "No space left on device", str(path))
        real(path, file)

    monkeypatch.setattr(deploy, "write", full)
    message, result = healthy.fails(TWO, "port: 2\n")
    assert "No space left on device" in message and "All files are as they were" in message
    assert not result["changed"] and healthy.files() == before
    monkeypatch.undo()
    assert not healthy.run(ONE, "port: 1\n")["changed"]


def test_set_that_can_not_be_kept_is_reported(healthy: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(service_files.LastKnownGood, "commit", full)
    message, _result = healthy.fails(ONE, "port: 2\n")
    assert message.startswith("application started, but its files cannot be kept for a rollback")
    monkeypatch.undo()
    assert healthy.run(ONE, "port: 2\n")["action"] == "update"


def test_temporary_files_of_a_killed_run_are_removed(healthy: Site) -> None:
    record = healthy.root / "rollback" / "application" / "record.json"
    leftovers = []
    for path in (healthy.env, healthy.root / "list", record):
        leftovers.append(path.parent / f"{service_files.temporary_prefix(path)}x1")
        leftovers[-1].write_text("half")
    assert not healthy.run(ONE, "port: 1\n")["changed"]
    assert not [path for path in leftovers if path.exists()]


def test_diff_shows_which_secret_changes_and_none_of_them(healthy: Site) -> None:
    result = healthy.run(TWO, "port: 2\n")
    env, config = result["diff"]
    assert env["before"] == "A=******** (old)\nDB_PASSWORD=******** (old)\n"
    assert env["after"] == "A=******** (changed)\nDB_PASSWORD=******** (changed)\n"
    assert (config["before"], config["after"]) == ("port: 1\n", "port: 2\n")
    assert "db-one" not in json.dumps(result) and "db-two" not in json.dumps(result)


def test_diff_shows_modes_and_owners_that_are_repaired(healthy: Site) -> None:
    data = healthy.root / "data"
    healthy.env.chmod(0o644)
    data.chmod(0o700)
    predicted = healthy.run(ONE, "port: 1\n", check=True)["diff"]
    assert [(each["before_header"], each["before"], each["after"]) for each in predicted] == [
        (str(healthy.env), {"mode": "0644"}, {"mode": "0600"}),
        (str(data), {"mode": "0700"}, {"mode": "0750"}),
    ]
    assert healthy.run(ONE, "port: 1\n")["diff"] == predicted
    data.rmdir()
    (made,) = healthy.run(ONE, "port: 1\n")["diff"]
    assert made["before"] == {"state": "absent"} and made["after"]["state"] == "directory"


def test_extra_files_are_never_shown(healthy: Site) -> None:
    healthy.password.write_text("second-password")
    result = healthy.run(ONE, "port: 1\n")
    assert result["action"] == "update" and result["diff"] == [], "what others have written is committed with the set"
    assert not healthy.run(ONE, "port: 1\n")["changed"]


def test_every_secret_of_the_host_is_masked(healthy: Site) -> None:
    (healthy.root / "secrets" / "key").write_text("-----BEGIN-----\nfirst line of a key\n")
    healthy.program.lines = "first line of a key, first-password, header-value"
    message, _result = healthy.fails(ONE, "bad\n", secrets=["header-value"])
    assert message.splitlines()[-1] == "********, ********, ********"


def foreign(root: Path) -> Path:
    """Return a directory of somebody else, to which a link may be planted."""
    etc = root.parent / "etc"
    etc.mkdir()
    etc.chmod(0o711)
    return etc


@pytest.mark.parametrize("check", [False, True])
def test_link_in_place_of_a_directory_is_refused(tmp_path: Path, check: bool) -> None:
    site = Site(tmp_path / "root")
    site.run(ONE, "port: 1\n")
    etc, data = foreign(site.root), site.root / "data"
    data.rmdir()
    data.symlink_to(etc)
    before = site.files()
    message, result = site.fails(TWO, "port: 2\n", check=check)
    assert message == f"application: {data}: is a symbolic link. Remove it and run again"
    assert not result["changed"] and site.files() == before and etc.stat().st_mode & 0o777 == 0o711
    data.unlink()
    assert site.run(TWO, "port: 2\n")["changed"] and data.stat().st_mode & 0o777 == 0o750


def test_file_in_place_of_a_directory_is_refused(site: Site) -> None:
    (site.root / "data").write_text("")
    message, _result = site.fails(ONE, "port: 1\n")
    assert message == f"application: {site.root / 'data'}: is not a directory. Move it away and run again"


@pytest.mark.parametrize("target", ["etc", "nowhere"])
def test_link_that_is_planted_after_the_look_is_not_followed(tmp_path: Path, target: str) -> None:
    site = Site(tmp_path / "root")
    deployment, etc, data = site.deployment(ONE, "port: 1\n"), foreign(site.root), site.root / "data"
    data.symlink_to(tmp_path / target)
    wanted = deploy_plan.WantedDirectory(str(data), 0o777, str(os.getuid()), str(os.getgid()))
    with pytest.raises(DeployError, match="data: is a symbolic link"):
        deployment._make(wanted)
    assert etc.stat().st_mode & 0o777 == 0o711 and not (tmp_path / "nowhere").exists()


def owners(directory: Path) -> dict[str, int]:
    return {path.name: path.lstat().st_uid for path in directory.rglob("*")}


def test_contents_of_a_directory_get_its_owner_while_the_service_is_stopped(healthy: Site, tmp_path: Path) -> None:
    elsewhere, data = tmp_path / "elsewhere", healthy.root / "data"
    elsewhere.write_text("of the host")
    (data / "flows").mkdir()
    (data / "flows" / "one").write_text("1")
    (data / "link").symlink_to(elsewhere)
    mine = dict.fromkeys(("flows", "one", "link"), os.getuid())
    healthy.run(TWO, "port: 1\n")
    assert owners(data) == mine and healthy.program.owners == []
    healthy.owner = "4321"
    healthy.run(ONE, "port: 1\n")
    assert owners(data) == dict.fromkeys(mine, 4321) and elsewhere.stat().st_uid == os.getuid()
    assert healthy.program.owners == [mine]
    healthy.run(TWO, "port: 1\n")
    assert len(healthy.program.owners) == 1


def test_root_and_directories_elsewhere_may_be_links(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "root").symlink_to("disk")
    site = Site(tmp_path / "root")
    deployment = site.deployment(ONE, "port: 1\n")
    deployment._make(deploy_plan.WantedDirectory(str(site.root), 0o751))
    assert (tmp_path / "disk").stat().st_mode & 0o777 == 0o751
    (tmp_path / "home").symlink_to("disk")
    deployment._make(deploy_plan.WantedDirectory(str(tmp_path / "home"), 0o755, str(os.getuid())))
    assert (tmp_path / "disk").stat().st_mode & 0o777 == 0o755
    assert site.run(ONE, "port: 1\n")["changed"] and not site.run(ONE, "port: 1\n")["changed"]


def test_link_in_place_of_a_file_is_replaced(healthy: Site) -> None:
    kept = healthy.root / "secrets" / "kept"
    healthy.config.rename(kept)
    healthy.config.symlink_to(kept)
    result = healthy.run(ONE, "port: 1\n")
    assert result["paths"] == [str(healthy.config)] and result["reasons"] == [f"{healthy.config} is a link"]
    assert not healthy.config.is_symlink() and healthy.config.read_text() == kept.read_text() == "port: 1\n"


def test_unknown_owner_of_a_directory(site: Site) -> None:
    with pytest.raises(DeployError, match="directories: the host has no user nobody-of-this-name"):
        deploy.number_of({}.__getitem__, "nobody-of-this-name", "user")
    assert deploy.number_of({}.__getitem__, "1000", "user") == 1000
    assert deploy.number_of({}.__getitem__, None, "user") == -1


# A run that is killed. Each line of the engine in turn is the last one that a process carries out.

WATCHED = {deploy.__file__, service_files.__file__}


def dies_at(line: int, action: Callable[[], object]) -> int:
    """Do something in another process, which ends at once at the given one of its lines; return its exit code."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    left = line

    def trace(frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal left
        if frame.f_code.co_filename not in WATCHED:
            return None
        if event == "line":
            left -= 1
            if left < 0:
                os._exit(9)
        return trace

    try:
        sys.settrace(trace)
        action()
    except Failed:
        pass
    finally:
        sys.settrace(None)
        os._exit(0)


def moments() -> Iterator[int]:
    """Every line in the long run of the tests, and some of them by DEVORCH_SEED otherwise."""
    step = 1 if LONG else 41
    yield from range(random.Random(SEED).randrange(step), 100_000, step)


@pytest.mark.parametrize(
    ("attempt", "good"),
    [(("A='two'\n", "port: 2\n"), {"port: 1\n", "port: 2\n"}), (("A='two'\n", "bad\n"), {"port: 1\n"})],
    ids=["of a change", "of a rollback"],
)
@pytest.mark.parametrize("following", ["the same", "the former files", "a wrong change"])
def test_killed_at_any_line_the_next_run_converges(
    tmp_path: Path, attempt: tuple[str, str], good: set[str], following: str
) -> None:
    first = ("A='one'\n", "port: 1\n")
    for number, moment in enumerate(moments()):
        site = Site(tmp_path / str(number))
        site.run(*first)
        ended = dies_at(moment, lambda site=site: site.run(*attempt))  # type: ignore[misc]
        whole = (site.env.read_text(), site.config.read_text())
        assert whole[0] in (first[0], attempt[0]) and whole[1] in (first[1], attempt[1]), moment
        if following == "a wrong change":
            message, _result = site.fails("A='three'\n", "bad: 3\n")
            assert "and it is healthy with them" in message, moment
            assert site.config.read_text() in good, moment
        else:
            files = attempt if following == "the same" and "bad" not in attempt[1] else first
            site.run(*files)
            assert (site.env.read_text(), site.config.read_text()) == files, moment
            assert not site.run(*files)["changed"], moment
        assert site.runs() == {"application.env": site.env.read_text(), "application.yml": site.config.read_text()}
        assert not list(site.root.rglob(".*")), moment
        if ended == 0:
            assert number > 10
            return
    raise AssertionError("it never came to its end")


@pytest.mark.parametrize("before", [0, 1, 2])
def test_run_after_one_that_was_killed_while_the_owner_changed_gives_it_the_rest(
    healthy: Site, monkeypatch: pytest.MonkeyPatch, before: int
) -> None:
    data, real, done = healthy.root / "data", os.chown, 0

    def killed(*arguments: Any, **more: Any) -> None:
        nonlocal done
        if done == before:
            raise KeyboardInterrupt
        done += 1
        real(*arguments, **more)

    (data / "one").touch()
    (data / "two").touch()
    healthy.owner = "4321"
    with monkeypatch.context() as patched, contextlib.suppress(KeyboardInterrupt):
        patched.setattr(os, "chown", killed)
        healthy.run(ONE, "port: 1\n")
    healthy.run(ONE, "port: 1\n")
    assert owners(data) == {"one": 4321, "two": 4321} and data.stat().st_uid == 4321
    assert not healthy.run(ONE, "port: 1\n")["changed"]


# The module and the action plugin.


RUN = {"owner": "a", "controller": "b", "process": "c"}
PACKED: dict[str, Any] = {"verify": [], "preserved_env": {}, "companions": [], "run": RUN}


def packed(path: Path, content: bytes = b"A='one'\nTOKEN='secret-token'\n", **more: Any) -> dict[str, Any]:
    secret = {**PACKED, "verify": more.pop("verify", [])}
    return {
        "service": "application",
        "type": "files",
        "root": str(path.parent),
        "files": [{"path": str(path), "mode": "0600", "secret": "all"}],
        "_packed": deploy_plan.pack({str(path): content}, secret),
        **more,
    }


def test_module_writes_and_journal_gets_no_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logged: list[str] = []
    monkeypatch.setattr(
        "ansible.module_utils.basic.AnsibleModule.log",
        lambda self, msg, log_args=None: logged.append(f"{msg} {log_args}"),
    )
    options = packed(tmp_path / "env")
    result = call("deploy", options)
    assert not result["failed"] and result["changed"] and result["remote"]
    assert logged and "Invoked with" in logged[0] and options["_packed"] not in logged[0]
    assert not call("deploy", options)["changed"]


def test_module_fails_with_one_message_and_all_keys(tmp_path: Path) -> None:
    check = {"command": ["sh", "-c", "echo secret-token; exit 3"], "deadline": 0.1}
    failed = call("deploy", packed(tmp_path / "env", verify=[check]))
    assert failed["failed"]
    assert failed["msg"].startswith("application does not work: sh -c 'echo ********; exit 3' ended with code 3")
    well = call("deploy", packed(tmp_path / "env"))
    assert failed.keys() >= well.keys() - {"failed"}
    broken = call("deploy", packed(tmp_path / "env", files=[{"path": str(tmp_path / "env"), "mode": "rw"}]))
    assert broken["msg"].startswith(f"application: files: {tmp_path / 'env'}: mode: 'rw' is not a mode")
    assert broken.keys() >= well.keys() - {"failed"}


def shared_file(root: Path, content: dict[str, Any], host: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    file = {
        "path": str(root / "daemon.json"),
        "content": json.dumps(content, indent=4) + "\n",
        "secret": "some",
        "merge_record": str(root / "ours" / "daemon.json"),
    }
    return [task(root, files=[file], **({"host": host} if host else {}))]


def look(root: Path) -> dict[str, Any]:
    """Return what host_info says about these files."""
    return {
        "files": files.files(root, [root / "daemon.json"]),
        "services": {"application": files.last_known_good(root, "application")},
    }


def test_file_that_others_share_is_merged(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    shared = root / "daemon.json"
    text = json.dumps({"data-root": "/srv", "proxies": {"http-proxy": "http://me:swordfish@proxy:3128"}}, indent=2)
    shared.write_text(text)
    shared.chmod(0o600)
    checked = play(tmp_path, shared_file(root, {"debug": True, "mtu": 1400}), "--check", "--diff", "-vvv")
    assert shared.read_text() == text
    assert '"data-root": "/srv"' in checked.last["diff"][1]["before"] and "swordfish" not in checked.output
    assert '"debug": true' in checked.last["diff"][1]["after"] and '"/srv"' in checked.last["diff"][1]["after"]
    first = play(tmp_path, shared_file(root, {"debug": True, "mtu": 1400}))
    assert first.last["changed"], first.output
    assert json.loads(shared.read_text()) == {**json.loads(text), "debug": True, "mtu": 1400}
    assert shared.stat().st_mode & 0o777 == 0o600
    assert (root / "ours" / "daemon.json").stat().st_mode & 0o777 == 0o600
    # Another interpreter would fail: nothing is executed.
    keys = {"vars": {"ansible_python_interpreter": "/no/such/python"}}
    same = play(tmp_path, shared_file(root, {"debug": True, "mtu": 1400}, look(root)), play_keys=keys)
    assert same.returncode == 0 and not same.last["changed"], same.output
    # A key that is not wanted any more goes, unless somebody has changed it since.
    shared.write_text(shared.read_text().replace("1400", "1450"))
    last = play(tmp_path, shared_file(root, {"tls": False}, look(root)))
    assert last.last["changed"], last.output
    assert json.loads(shared.read_text()) == {**json.loads(text), "mtu": 1450, "tls": False}
    # Other keys of the host are none of ours, and no reason for another text.
    shared.write_text(json.dumps({**json.loads(shared.read_text()), "dns": ["192.0.2.1"]}))
    by_hand = shared.read_text()
    play(tmp_path, shared_file(root, {"tls": False}, look(root)))
    assert shared.read_text() == by_hand
    assert not play(tmp_path, shared_file(root, {"tls": False}, look(root)), play_keys=keys).last["changed"]


def test_replaced_value_of_the_host_is_put_back(tmp_path: Path) -> None:
    root, shared = tmp_path / "root", tmp_path / "root" / "daemon.json"
    root.mkdir()
    shared.write_text('{"mtu": 1500, "debug": false}')

    def deployed(content: dict[str, Any], **more: Any) -> dict[str, Any]:
        options = packed(root / "daemon.json", json.dumps(content).encode(), **more)
        record = {"path": str(root / "ours.json"), "mode": "0600", "secret": "some", "public": [], "validate": []}
        file = {**record, "path": str(shared), "mode": "0644", "merge_record": record["path"], "merge_below": ""}
        options["files"] = [{**record, "merge_record": None}, file]
        both = {record["path"]: json.dumps(content).encode(), str(shared): json.dumps(content).encode()}
        options["_packed"] = deploy_plan.pack(both, {**PACKED, **more})
        return call("deploy", options)

    deployed({"mtu": 1400})
    deployed({"mtu": 1300, "debug": True})
    assert json.loads(shared.read_text()) == {"mtu": 1300, "debug": True}
    kept = root / "rollback" / "application" / "replaced.json"
    assert kept.stat().st_mode & 0o777 == 0o600
    # A failure puts back what the last known good keys do not have.
    deployed({"debug": True, "dns": []}, verify=[{"command": ["false"], "deadline": 0.1}])
    assert json.loads(shared.read_text()) == {"mtu": 1300, "debug": True}
    deployed({"debug": True})
    assert json.loads(shared.read_text()) == {"mtu": 1500, "debug": True}
    good = deploy.last_known_good(root, "application", [])
    assert json_merge.own(shared, root / "ours.json", good) == {"mtu": 1500, "debug": False}
    deployed({"debug": True, "mtu": 1450}, verify=[{"command": ["false"], "deadline": 0.1}])
    assert json.loads(shared.read_text()) == {"mtu": 1500, "debug": True}
    # The host has another value now, and later none.
    shared.write_text('{"mtu": 1600, "debug": true}')
    deployed({"mtu": 1400})
    assert json.loads(shared.read_text()) == {"mtu": 1400, "debug": False}
    deployed({})
    assert json.loads(shared.read_text()) == {"mtu": 1600, "debug": False}
    shared.write_text('{"debug": false}')
    deployed({"mtu": 1400})
    deployed({})
    assert json.loads(shared.read_text()) == {"debug": False}


def test_logins_are_merged_with_those_of_others(tmp_path: Path) -> None:
    config = tmp_path / "config.json"

    def logins(**given: str) -> list[dict[str, Any]]:
        auths = {name: {"auth": text} for name, text in given.items()}
        file = {
            "path": str(config),
            "content": json.dumps({"auths": auths}),
            "mode": "0600",
            "secret": "all",
            "merge_record": str(tmp_path / "ours" / "config.json"),
            "merge_below": "auths",
        }
        host = {
            "files": files.files(tmp_path, [config]),
            "services": {"application": files.last_known_good(tmp_path, "application")},
        }
        return [task(tmp_path, files=[file], host=host)]

    own, former, ours, new = (
        "b3duOnN3b3JkZmlzaA==",
        "Zm9ybWVyOnN3b3JkZmlzaA==",
        "b3VyczpzZWNyZXQ=",
        "bmV3OnNlY3JldA==",
    )
    others = {"auths": {"own": {"auth": own}, "ours": {"auth": former}}, "detachKeys": "ctrl-e"}
    config.write_text(json.dumps(others))
    config.chmod(0o644)
    played = play(tmp_path, logins(ours=ours, gone=former), "--diff", "-vvv")
    assert played.last["changed"], played.output
    assert not any(secret in played.output for secret in (own, former, ours))
    found = {"own": {"auth": own}, "ours": {"auth": ours}, "gone": {"auth": former}}
    assert json.loads(config.read_text()) == {**others, "auths": found}
    assert config.stat().st_mode & 0o777 == 0o600
    assert not play(tmp_path, logins(ours=ours, gone=former)).last["changed"]
    play(tmp_path, logins(gone=former))
    assert json.loads(config.read_text())["auths"] == {**found, "ours": {"auth": former}}
    play(tmp_path, logins(ours=ours, gone=former))
    found["ours"] = {"auth": new}
    config.write_text(json.dumps({**others, "auths": found}))
    play(tmp_path, logins())
    assert json.loads(config.read_text())["auths"] == {"own": {"auth": own}, "ours": {"auth": new}}


def test_shared_file_without_a_record_was_ours(tmp_path: Path) -> None:
    """A version that had no record wrote the whole file."""
    former = shared_file(tmp_path, {"debug": True, "mtu": 1400})
    former[0]["devorch.orchestration.deploy"]["files"][0].pop("merge_record")
    assert play(tmp_path, former).last["changed"]
    assert play(tmp_path, shared_file(tmp_path, {"debug": True})).last["changed"]
    assert json.loads((tmp_path / "daemon.json").read_text()) == {"debug": True}


@pytest.mark.parametrize("text", ["{'debug': 1}", "[]"])
def test_shared_file_that_cannot_be_merged(tmp_path: Path, text: str) -> None:
    (tmp_path / "daemon.json").write_text(text)
    failed = play(tmp_path, shared_file(tmp_path, {"debug": True}))
    assert failed.last["failed"] and f"application: {tmp_path}/daemon.json: is not" in failed.last["msg"]
    assert (tmp_path / "daemon.json").read_text() == text


def test_module_renews_the_lock(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    lock.write_text(json.dumps({"run": RUN, "taken": 1, "renewed": 1}))
    call("deploy", packed(tmp_path / "env", lock=str(lock)), check=True)
    assert json.loads(lock.read_text())["renewed"] == 1
    call("deploy", packed(tmp_path / "env", lock=str(lock)))
    assert json.loads(lock.read_text())["renewed"] > 1
    lock.unlink()
    failed = call("deploy", packed(tmp_path / "env", b"A='two'\n", lock=str(lock)))
    assert failed["failed"] and failed["msg"].startswith(f"application: {lock}: this run no longer holds the lock")
    assert b"two" not in (tmp_path / "env").read_bytes()


def task(root: Path, **more: Any) -> dict[str, Any]:
    files = [{"path": str(root / "env"), "content": "A='one'\nTOKEN='secret-token'\n", "mode": "0600", "secret": "all"}]
    return {
        "devorch.orchestration.deploy": {
            "service": "application",
            "type": "files",
            "root": str(root),
            "files": files,
            **more,
        }
    }


def test_example(tmp_path: Path) -> None:
    tasks = yaml.safe_load(module.EXAMPLES.replace("/opt/orchestration", str(tmp_path / "root")))
    checked = play(tmp_path, tasks, "--check")
    assert checked.last["changed"] and not (tmp_path / "root").exists()
    played = play(tmp_path, tasks * 2, "--diff", "-vvv")
    assert played.returncode == 0
    assert [result["changed"] for result in played.results] == [True, False]
    assert "PASSWORD=********" in played.output and "'changed'" not in played.output
    assert (tmp_path / "root" / "application.env").read_text() == "PASSWORD='changed'\n"


def test_nothing_is_executed_if_the_host_is_as_wanted(tmp_path: Path) -> None:
    """The interpreter does not exist: whatever was executed would fail."""
    root = tmp_path / "root"
    content = b"A='one'\nTOKEN='secret-token'\n"
    entry = {"type": "file", "mode": "0600", "uid": 0, "gid": 0, "sha256": deploy_plan.sha256(content)}
    digest = deploy_plan.digest_of([(str(root / "env"), 0o600, entry["sha256"])])
    host = {"files": {str(root / "env"): entry}, "services": {"application": {"committed": digest}}}
    keys = {"vars": {"ansible_python_interpreter": "/no/such/python"}}
    same = play(tmp_path, [task(root, host=host)], play_keys=keys)
    assert same.returncode == 0, same.output
    assert (same.last["changed"], same.last["remote"], same.last["paths"]) == (False, False, [])
    assert not root.exists()
    host["services"] = {}
    assert play(tmp_path, [task(root, host=host)], play_keys=keys).returncode != 0


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("services: {application: {restart: always}, helper: {restart: always}}", True),
        ("services: {application: {restart: always}, helper: {}}", False),
        ("services: {application: !override {}}", False),
    ],
    ids=["a companion", "what runs once", "what only Compose reads"],
)
def test_containers_of_the_compose_file_are_looked_for(tmp_path: Path, text: str, missing: bool) -> None:
    """The interpreter does not exist: whatever was executed would fail."""
    root = tmp_path / "root"
    path, project = root / "services" / "application.yml", root / "compose.yml"
    digest = deploy_plan.sha256(text.encode())
    entry = {"type": "file", "mode": "0644", "uid": 0, "gid": 0, "sha256": digest}
    listed = deploy_plan.compose_project("orchestration", [path.name]).encode()
    host = {
        "files": {str(path): entry, str(project): {**entry, "sha256": deploy_plan.sha256(listed)}},
        "services": {"application": {"committed": deploy_plan.digest_of([(str(path), 0o644, digest)])}},
        "containers": {"application": {"status": "running", "health": "healthy"}},
    }
    files = [{"path": str(path), "content": text}]
    keys = {"vars": {"ansible_python_interpreter": "/no/such/python"}}
    played = play(tmp_path, [task(root, type="compose", files=files, host=host)], play_keys=keys)
    assert (played.returncode != 0) == missing, played.output


def test_files_of_the_controller_are_read(tmp_path: Path) -> None:
    package = tmp_path / "files" / "package"
    (package / "__pycache__").mkdir(parents=True)
    (package / "__pycache__" / "cli.pyc").write_bytes(b"compiled")
    (package / "__init__.py").touch()
    (package / "cli.py").write_text("def main():\n    print('it runs')\n")
    (tmp_path / "files" / "binary").write_bytes(b"\0\xff")
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "unit.j2").write_text(
        "# {{ ansible_managed }}\n{% if port %}\nport: {{ port }}\n{% endif %}\n{% include 'end.j2' %}\n"
    )
    (tmp_path / "templates" / "end.j2").write_text("path: \\n\n")
    root = tmp_path / "root"
    files = [
        {"path": str(root / "binary"), "src": "binary"},
        {"path": str(root / "unit"), "template": "unit.j2"},
        {
            "path": str(root / "program"),
            "zip": {"package": "package"},
            "main": "package.cli:main",
            "interpreter": "/usr/bin/env python3",
            "mode": "0755",
            "validate": ["%s"],
        },
    ]
    rendered = {"ansible.builtin.template": {"src": "unit.j2", "dest": str(tmp_path / "as-ansible")}}
    keys = {"vars": {"port": "{{ 8080 + 1 }}"}}
    played = play(tmp_path, [task(root, files=files), task(root, files=files), rendered], "--diff", play_keys=keys)
    assert played.returncode == 0, played.output
    assert [result["changed"] for result in played.results] == [True, False, True]
    assert (root / "unit").read_text() == (tmp_path / "as-ansible").read_text()
    assert (root / "unit").read_text() == "# Ansible managed\nport: 8081\npath: \\n\n"
    assert (root / "binary").read_bytes() == b"\0\xff"
    assert subprocess.run([str(root / "program")], capture_output=True, text=True, check=True).stdout == "it runs\n"
    assert not list((tmp_path / ".ansible-remote").glob("*")), "the temporary directory is removed"


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ({}, "has no content. Set one of content, src, template, zip"),
        ({"content": "x", "src": "y"}, "has content and src. Set one of content, src, template, zip"),
        ({"src": "nowhere"}, "'nowhere' was not found on the controller"),
        ({"template": "nowhere.j2"}, "'nowhere.j2' was not found on the controller"),
        ({"template": "undefined.j2"}, "templates/undefined.j2: 'nothing' is undefined. Correct the template"),
        ({"template": "latin.j2"}, "templates/latin.j2: is not UTF-8. Save it in this encoding"),
        ({"content": "x", "main": "a:b"}, "main and interpreter are for an archive"),
        ({"content": "x", "mode": "rw"}, "mode: 'rw' is not a mode"),
        ({"content": "x", "mode": 0o644}, "mode: 420 is not in quotes. Write it as '0644'"),
        ({"content": {"a": 1}}, "content is data, not text. Use to_nice_json or to_nice_yaml"),
    ],
)
def test_wrong_files_are_a_sentence(tmp_path: Path, file: dict[str, Any], message: str) -> None:
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "undefined.j2").write_text("a: {{ nothing }}\n")
    (tmp_path / "templates" / "latin.j2").write_bytes(b"a: \xe4\n")
    played = play(tmp_path, [task(tmp_path / "root", files=[{"path": "/opt/x", **file}])])
    assert played.returncode != 0
    assert message in played.last["msg"] and ("/opt/x" in played.last["msg"] or "templates/" in message)
