"""`host_lock`: one controller at a time, and no lock that outlives its run for good."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import pytest
import yaml
from ansible_collections.devorch.orchestration.plugins.action import host_lock as action
from ansible_collections.devorch.orchestration.plugins.module_utils.host import lock as host_lock
from ansible_collections.devorch.orchestration.plugins.module_utils.host.lock import Lock, PlaybookRun
from ansible_collections.devorch.orchestration.plugins.modules import host_lock as module
from ansible_collections.devorch.orchestration.plugins.plugin_utils import playbook_run, support
from packaging.specifiers import SpecifierSet

from ...in_process import call
from ...playbook import play

ROOT = Path(__file__).parents[4]
MINE, OTHER = PlaybookRun("me@here", "here", "1-1"), PlaybookRun("you@there", "there", "2-2")


def test_second_run_is_kept_out_until_the_first_has_ended(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert host_lock.take(path, MINE, 100.0, 60)[0] == Lock(MINE, 100.0, 100.0)
    assert host_lock.take(path, OTHER, 110.0, 60)[0].run == MINE
    assert host_lock.take(path, MINE, 120.0, 60) == (Lock(MINE, 100.0, 120.0), None)
    assert not host_lock.release(path, OTHER)
    assert host_lock.release(path, MINE)
    assert not path.exists()
    assert host_lock.take(path, OTHER, 130.0, 60)[0].run == OTHER


@pytest.mark.parametrize("now", [161.0, 50.0], ids=["expired", "from before the boot"])
def test_stale_lock_is_taken_over(tmp_path: Path, now: float) -> None:
    path = tmp_path / "lock"
    host_lock.take(path, OTHER, 100.0, 60)
    taken, before = host_lock.take(path, MINE, now, 60)
    assert taken.run == MINE
    assert before and before.run == OTHER


def test_lock_of_a_dead_run_is_taken_over_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    host_lock.take(path, OTHER, 100.0, 60)
    assert host_lock.take(path, MINE, 101.0, 60, dead=PlaybookRun("x", "y", "z"))[0].run == OTHER
    assert host_lock.take(path, MINE, 101.0, 60, dead=OTHER)[0].run == MINE


def test_only_the_run_that_holds_the_lock_renews_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    for missing in (path, tmp_path / "nowhere" / "lock"):
        with pytest.raises(host_lock.LostError, match="it was removed, as by a restart of the host"):
            host_lock.renew(missing, MINE, 100.0)
        assert not missing.exists()
    host_lock.take(path, OTHER, 100.0, 60)
    host_lock.renew(path, OTHER, 150.0)
    assert host_lock.load(path) == Lock(OTHER, 100.0, 150.0)
    with pytest.raises(host_lock.LostError, match=r"you@there has taken it over\. Nothing was changed"):
        host_lock.renew(path, MINE, 200.0)
    assert host_lock.load(path) == Lock(OTHER, 100.0, 150.0)
    host_lock.renew(path, OTHER)
    assert host_lock.load(path) == Lock(OTHER, 100.0, pytest.approx(host_lock.uptime(), abs=5))
    path.write_text("{half")
    with pytest.raises(host_lock.LostError):
        host_lock.renew(path, OTHER)
    assert path.read_text() == "{half"


@pytest.mark.parametrize("module_name", ["deploy", "secrets"])
def test_run_whose_lock_was_taken_over_changes_nothing(tmp_path: Path, module_name: str) -> None:
    """As one that was suspended for an hour: another controller has taken the host over, and the first one goes on."""
    path, root = tmp_path / "lock", tmp_path / "root"
    writes: dict[str, object] = {
        "deploy": {
            "devorch.orchestration.deploy": {
                "service": "application",
                "type": "files",
                "root": str(root),
                "files": [{"path": str(root / "secrets" / "env"), "content": "x"}],
                "lock": str(path),
            }
        },
        "secrets": {
            "devorch.orchestration.secrets": {
                "path": str(root / "secrets"),
                "secrets": {"password": {}},
                "lock": str(path),
            },
            "no_log": True,
        },
    }
    acquire = {"devorch.orchestration.host_lock": {"path": str(path)}}
    well = play(tmp_path, [acquire, writes[module_name]])
    assert well.returncode == 0 and (root / "secrets").exists(), well.output
    shutil.rmtree(root)
    other = json.dumps(asdict(Lock(OTHER, 1.0, host_lock.uptime())))
    over = {"ansible.builtin.copy": {"content": other, "dest": str(path)}}
    path.unlink()
    lost = play(tmp_path, [acquire, over, writes[module_name]])
    assert lost.returncode != 0 and not root.exists()
    assert "this run no longer holds the lock of the host: you@there has taken it over" in lost.output
    assert host_lock.load(path) == Lock(**{**json.loads(other), "run": OTHER})


def test_only_the_holder_renews_the_lock_by_a_task(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    acquire = {"devorch.orchestration.host_lock": {"path": str(path)}}
    renew = {"devorch.orchestration.host_lock": {"path": str(path), "state": "renewed"}}
    well = play(tmp_path, [acquire, renew])
    assert well.returncode == 0 and well.last["held"] is True, well.output
    path.write_text(json.dumps(asdict(Lock(OTHER, 1.0, host_lock.uptime()))))
    before = path.read_text()
    lost = play(tmp_path, [renew])
    assert lost.returncode != 0 and "you@there has taken it over. Nothing was changed" in lost.output
    assert lost.last["held"] is False
    assert path.read_text() == before


def test_damaged_lock_does_not_stop_anybody(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.write_text("{half")
    assert host_lock.take(path, MINE, 100.0, 60)[0].run == MINE


def test_processes_are_told_apart() -> None:
    assert action.lives(playbook_run.process_identity(os.getpid()))
    assert not action.lives(f"{os.getpid()}-1")
    child = subprocess.Popen(["sleep", "60"])
    identity = playbook_run.process_identity(child.pid)
    assert action.lives(identity)
    child.send_signal(signal.SIGKILL)
    time.sleep(0.2)
    assert not action.lives(identity), "a zombie does nothing any more"
    child.wait()


def tasks(path: Path) -> list[dict[str, object]]:
    return yaml.safe_load(module.EXAMPLES.replace("/run/orchestration.lock", str(path)))


def test_example(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    played = play(tmp_path, tasks(path))
    assert played.returncode == 0
    assert played.results[0]["acquired"]
    assert not path.exists()


def test_other_controller_is_refused_with_who_holds_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    host_lock.store(path, Lock(OTHER, host_lock.uptime() - 5, host_lock.uptime()))
    played = play(tmp_path, tasks(path))
    assert played.returncode != 0
    said = played.results[0]["msg"]
    assert re.match(r"you@there has been working on this host for \d+ s \(process 2 there\)\. Wait until", said)
    assert f"remove {path} on the host" in said
    assert json.loads(path.read_text())["run"] == asdict(OTHER)


def test_run_that_was_killed_on_this_controller_keeps_nobody_out(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    dead = PlaybookRun("me@here", playbook_run.this_controller(), f"{os.getpid()}-1")
    host_lock.store(path, Lock(dead, host_lock.uptime(), host_lock.uptime()))
    played = play(tmp_path, tasks(path))
    assert played.returncode == 0
    assert "taken over from me@here, whose run has ended" in played.results[0]["msg"]


def test_what_wants_the_host_undisturbed_is_awaited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, file = tmp_path / "lock", tmp_path / "backup.lock"
    options = {"path": str(path), "wait_for_lock_file": str(file), "_run": asdict(MINE)}
    assert call("host_lock", options)["acquired"], "no such file, so nobody to wait for"
    path.unlink()
    waited: list[float] = []
    with file.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)

        def ends(seconds: float) -> None:
            waited.append(seconds)
            if len(waited) == 2:
                fcntl.flock(held, fcntl.LOCK_UN)

        monkeypatch.setattr(module.time, "sleep", ends)
        assert call("host_lock", options)["acquired"]
    assert len(waited) == 2


def test_host_is_given_back_where_what_wants_it_undisturbed_does_not_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, file = tmp_path / "lock", tmp_path / "backup.lock"
    monkeypatch.setattr(module, "LONGEST_WAIT", 1.0)
    with subprocess.Popen(["flock", "--no-fork", str(file), "sleep", "60"]) as holder:
        while not module.is_locked(file):
            time.sleep(0.05)
        result = call("host_lock", {"path": str(path), "wait_for_lock_file": str(file), "_run": asdict(MINE)})
        holder.kill()
    assert result["failed"]
    said = f"process {holder.pid} (sleep 60) holds the backup lock {file} for more than 1 s"
    assert result["msg"].startswith(said)
    assert not path.exists()


def test_remains_of_a_killed_run_are_removed_unless_they_are_in_use(tmp_path: Path) -> None:
    left, used = tmp_path / "ansible-tmp-1-2-3", tmp_path / "ansible-tmp-4-5-6"
    for path in (left, used):
        path.mkdir()
        (path / "source").write_text("secret")
    process = tmp_path / "proc" / "77"
    process.mkdir(parents=True)
    (process / "cmdline").write_bytes(b"python3\0" + str(used / "AnsiballZ_x.py").encode())
    module.remove_remains([tmp_path], tmp_path / "proc")
    assert not left.exists()
    assert used.exists()


def test_check_mode_takes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    host_lock.store(path, Lock(OTHER, host_lock.uptime(), host_lock.uptime()))
    before = path.read_text()
    assert play(tmp_path, tasks(path), "--check").returncode == 0
    assert path.read_text() == before


def test_two_at_once_never_both_hold_it(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1])\n"
        "from ansible_collections.devorch.orchestration.plugins.module_utils.host import lock\n"
        "run = lock.PlaybookRun(sys.argv[3], 'c', 'p')\n"
        "print(lock.take(Path(sys.argv[2]), run, lock.uptime(), 60)[0].run == run)"
    )
    collections = os.environ["ANSIBLE_COLLECTIONS_PATH"]
    command = [sys.executable, "-c", script, collections, str(tmp_path / "lock")]
    started = [subprocess.Popen([*command, str(number)], stdout=subprocess.PIPE, text=True) for number in range(6)]
    assert [process.communicate()[0].strip() for process in started].count("True") == 1


@pytest.mark.parametrize(
    ("version", "refused"),
    [("2.18.19", True), ("2.19.0", False), ("2.19.14", False), ("2.21.5", False), ("2.22.0", True), ("2.9.27", True)],
)
def test_ansible_versions(version: str, refused: bool) -> None:
    problem = support.ansible_problem(version)
    assert bool(problem) == refused
    assert not refused or problem.startswith(f"ansible-core: {version} is not supported. Install ansible-core 2.19 to")


@pytest.mark.parametrize(
    ("version", "refused"),
    [
        ("4.8.2", True),
        ("4.8.3", False),
        ("4.10.0", False),
        ("5.0.1", True),
        ("5.0.2", False),
        ("6.0.0", False),
        ("", False),
    ],
)
def test_versions_of_community_docker(version: str, refused: bool) -> None:
    problem = support.docker_modules_problem(version)
    assert problem.startswith(f"community.docker: {version} does not work with Docker 29. Install") == refused
    assert bool(problem) == refused
    declared = yaml.safe_load((ROOT / "galaxy.yml").read_text(encoding="utf-8"))["dependencies"]["community.docker"]
    assert SpecifierSet(declared).contains(version or "4.8.3") != refused


def test_version_of_a_collection_on_the_controller() -> None:
    assert re.fullmatch(r"[0-9]+[.][0-9]+[.][0-9]+", support.version_of("community.docker"))
    assert support.version_of("community.no_such_collection") == ""


@pytest.mark.parametrize(
    ("system", "release", "python", "refused"),
    [
        ("Ubuntu", "22.04", "3.10.12", True),
        ("Debian", "11.11", "3.9.2", True),
        ("Debian", "12.5", "3.11.2", False),
        ("Ubuntu", "26.04", "3.14.1", False),
    ],
)
def test_hosts_whose_python_is_too_old(system: str, release: str, python: str, refused: bool) -> None:
    facts = {"distribution": system, "distribution_version": release, "python_version": python}
    problem = support.host_problem(facts)
    assert problem == (
        f"{system} {release}: its Python is {python}, and this collection needs 3.11 or newer on the host. Use Debian"
        " 12 or 13, or Ubuntu 24.04 or 26.04, with ansible_python_interpreter set to /usr/bin/python3."
        if refused
        else ""
    )
    assert support.host_problem({}) == ""


@pytest.mark.parametrize("check", [(), ("--check",)])
def test_unsupported_host_is_refused_before_anything_is_read(tmp_path: Path, check: tuple[str, ...]) -> None:
    lock = {"path": str(tmp_path / "lock")}
    tasks = [
        # The refusal is what is tested, and the lock is released after it.
        {"devorch.orchestration.host_lock": lock, "ignore_errors": True},
        {"devorch.orchestration.host_lock": {**lock, "state": "released"}},
    ]
    # No module can run with this Python.
    facts = {"distribution": "Ubuntu", "distribution_version": "22.04", "python_version": "3.10.12"}
    variables = {"ansible_facts": facts, "ansible_python_interpreter": "/nowhere/python3"}
    run = play(tmp_path, tasks, "-e", json.dumps(variables), *check)
    assert run.results[0]["msg"].startswith("Ubuntu 22.04: its Python is 3.10.12")
    assert run.returncode == 0 and not run.last["changed"]
    assert not (tmp_path / "lock").exists()


def test_old_community_docker_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    collection = tmp_path / "ansible_collections" / "community" / "docker"
    collection.mkdir(parents=True)
    manifest = {"collection_info": {"namespace": "community", "name": "docker", "version": "4.8.2"}}
    (collection / "MANIFEST.json").write_text(json.dumps(manifest))
    found = {"ANSIBLE_COLLECTIONS_PATH": f"{tmp_path}:{os.environ['ANSIBLE_COLLECTIONS_PATH']}"}
    lock = {"path": str(tmp_path / "lock")}
    run = play(tmp_path, [{"devorch.orchestration.host_lock": lock}], environment=found)
    assert run.last["msg"].startswith("community.docker: 4.8.2 does not work with Docker 29"), run.output
    assert not (tmp_path / "lock").exists()


def test_controller_whose_user_has_no_entry_in_passwd(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 4000123)
    assert playbook_run.user() == "4000123"


PLAYBOOK = "ansible-playbook"


@pytest.mark.parametrize(
    ("processes", "found"),
    [
        # of a run that was killed, and one that has ended
        ({10: (1, "bash"), 11: (10, PLAYBOOK), 12: (11, PLAYBOOK), 20: (1, PLAYBOOK), 21: (1, "Z")}, ["20"]),
        # the run was started without a shell, as by systemd
        ({11: (1, PLAYBOOK), 12: (11, PLAYBOOK), 20: (1, PLAYBOOK)}, ["20"]),
        # the run is the first process of a container
        ({1: (0, PLAYBOOK), 12: (1, PLAYBOOK), 13: (1, PLAYBOOK)}, []),
    ],
)
def test_processes_of_the_run_itself_are_no_orphans(
    tmp_path: Path, processes: dict[int, tuple[int, str]], found: list[str]
) -> None:
    """Each run would wait for itself, for a minute."""
    for number, (parent, command) in processes.items():
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "cmdline").write_text(f"python\0{PLAYBOOK if command == 'Z' else command}\0")
        state = "Z" if command == "Z" else "S"
        (tmp_path / str(number) / "stat").write_text(f"{number} (a b) {state} {parent} 0 0")
    assert action.orphans(12, tmp_path) == found
