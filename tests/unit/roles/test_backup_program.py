"""The backup program: its configuration, its locks, and its command line."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.devorch.orchestration.plugins.module_utils.host import lock as host_lock
from ansible_collections.devorch.orchestration.plugins.modules.host_lock import is_locked
from orchestration_backup import cli, compose, keep, leftovers, lock, process, space
from orchestration_backup.config import Config
from orchestration_backup.errors import BackupError, BusyError, Stopped

from .backup_host import settings, target
from .backup_program import PACKAGE, PROGRAM


def test_second_command_is_refused(config: Config) -> None:
    with (
        lock.acquire(config),
        pytest.raises(BackupError, match="another backup or restore is running on this host; wait until it has ended"),
        lock.acquire(config),
    ):
        pass


def hold(config: Config, since: float) -> None:
    """Write the host lock of a playbook that renewed it so many seconds ago."""
    now = host_lock.uptime()
    host_lock.store(config.host_lock, host_lock.Lock(host_lock.PlaybookRun("ops@ci", "ci", "1-1"), 1.0, now - since))


def test_nightly_backup_waits_for_a_playbook_and_another_backup(
    config: Config, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hold(config, since=5)
    other = contextlib.ExitStack()

    def next_step(_seconds: float) -> None:
        if config.host_lock.exists():
            assert not is_locked(config.lock), "the waiting backup does not hold its own lock"
            config.host_lock.unlink()
            other.enter_context(lock.acquire(config))
        else:
            other.close()

    monkeypatch.setattr(time, "sleep", next_step)
    with lock.wait_and_acquire(config):
        assert is_locked(config.lock)
    assert not is_locked(config.lock)
    assert re.findall("waiting: (.*)", capsys.readouterr().err) == [
        "a playbook of ops@ci is changing this host",
        "another backup or restore is running on this host",
    ]


def test_nightly_backup_uses_the_configuration_that_the_playbook_wrote(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "backup.json"

    def playbook_ends(_seconds: float) -> None:
        path.write_text(json.dumps(settings(tmp_path) | {"targets": [target("other", tmp_path)]}))
        config.host_lock.unlink()

    hold(config, since=5)
    monkeypatch.setattr(time, "sleep", playbook_ends)
    monkeypatch.setattr(cli, "sweep", lambda found, restores: None)
    monkeypatch.setattr(cli, "create", lambda found, reason, copies: {"made": (found.targets[0].name, reason, copies)})
    options = cli.parser().parse_args(["--config", str(path), "create", "--wait", "--reason", "nightly"])
    assert cli.execute(Config.read(path), options) == {"made": ("other", "nightly", True)}


@pytest.mark.parametrize("since", [4000, -10])
def test_nightly_backup_ignores_a_stale_lock(config: Config, since: float) -> None:
    hold(config, since)
    with lock.wait_and_acquire(config):
        pass


def test_nightly_backup_gives_up_after_a_time_and_reports_the_reason(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold(config, since=5)
    monkeypatch.setattr(lock, "MAX_WAIT", -1)
    message = "a playbook of ops@ci is changing this host; wait until it has ended"
    with pytest.raises(BackupError, match=message), lock.wait_and_acquire(config):
        pass


def keys(found: dict[str, Any], prefix: str = "") -> list[str]:
    """Return the names of all keys, except those that are names of files, services and options."""
    names = []
    for name, value in found.items():
        names.append(f"{prefix}{name}")
        if isinstance(value, dict) and name not in ("former_names", "data", "options"):
            names += keys(value, f"{prefix}{name}.")
    return names


@pytest.mark.parametrize("key", keys(settings(Path("/"))))
def test_configuration_without_a_key_is_refused(tmp_path: Path, key: str) -> None:
    found = settings(tmp_path)
    parent, _dot, name = key.rpartition(".")
    del (found[parent] if parent else found)[name]
    path = tmp_path / "backup.json"
    path.write_text(json.dumps(found))
    with pytest.raises(BackupError, match=re.escape(f"backup.json: key {key} is missing; run site.yml again")):
        Config.read(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"minimum_free": "7"}, "key minimum_free is not a whole number"),
        ({"minimum_free": True}, "key minimum_free is not a whole number"),
        ({"pause": "yes"}, "key pause is not true or false"),
        ({"project": None}, "key project is not text"),
        ({"lock": "backups/.lock"}, "key lock is not an absolute path"),
        ({"files": "secrets"}, "key files is not a list"),
        ({"files": [1]}, "key files[0] is not text"),
        ({"data": []}, "key data is not an object"),
        ({"targets": []}, "key targets is empty"),
        ({"targets": [{"name": "local"}]}, "key targets[0].repository_file is missing"),
        ({"kestra": []}, "key kestra is not an object"),
        ({"databases": [{"name": "n8n", "owner": "n8n"}]}, "key databases[0].password_secret is missing"),
    ],
)
def test_configuration_of_another_type_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = tmp_path / "backup.json"
    path.write_text(json.dumps(settings(tmp_path) | change))
    with pytest.raises(BackupError, match=re.escape(f"{path}: {message}; run site.yml again")):
        Config.read(path)


@pytest.mark.parametrize("text", [None, "", "[]"])
def test_configuration_that_cannot_be_read_names_the_playbook(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "backup.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(BackupError, match=r"backup\.json: .*; run site\.yml again"):
        Config.read(path)


def leaves(found: Any) -> set[str]:
    """Return all texts of a configuration."""
    if isinstance(found, dict):
        return leaves(list(found.values()))
    return set().union(*map(leaves, found)) if isinstance(found, list) else {str(found)}


def test_program_knows_its_host_only_from_the_configuration() -> None:
    facts = {text.removeprefix("/root/backups/") for text in leaves(settings(Path("/")))}
    facts = {text for text in facts if re.search("[/._-]", text)}
    # ".lock" is also the name of a module, and ".cache" the beginning of a key.
    facts = facts - {".lock", ".cache"} | {"/.lock", '".lock"', "/.cache", '".cache"'}
    assert {"last.json", "/app/data", "kestra_database_password"} <= facts
    facts |= {"/run/", "/opt/", "/app", "/etc/", "pgdata", "PGDATA", "localhost", "standalone", "8080", "8081", "330"}
    for path in sorted(PACKAGE.rglob("*.py")):
        text = path.read_text("utf-8")
        assert [fact for fact in sorted(facts) if fact in text] == [], path.name


def program(*arguments: str, directory: Path = PROGRAM.parent) -> subprocess.CompletedProcess[str]:
    """Run the program as a host does, by its first line."""
    command = [str(directory / "orchestration-backup"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_program_runs_with_every_python_that_hosts_have() -> None:
    """Hosts may have Python 3.10. This test checks the grammar; ruff and mypy check the rest."""
    for path in PACKAGE.rglob("*.py"):
        ast.parse(path.read_text("utf-8"), feature_version=(3, 10))


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        (["n8n running healthy\nother running"], ""),
        (["n8n running starting", "n8n running unhealthy", "n8n running healthy"], ""),
        (["n8n restarting"], "n8n is restarting after 0 s. Its log: last words"),
        (["kestra running healthy\nn8n exited"], "n8n is exited after 0 s"),
    ],
)
def test_services_are_awaited(
    config: Config, monkeypatch: pytest.MonkeyPatch, answers: list[str], message: str
) -> None:
    waiting = dataclasses.replace(config, start_timeout=0 if message else 60)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)

    def run(command: list[str], **_options: Any) -> str:
        if "logs" in command:
            return "last words"
        return (answers.pop(0) if len(answers) > 1 else answers[0]) if "ps" in command else ""

    monkeypatch.setattr(process, "run", run)
    if message:
        with pytest.raises(BackupError, match=message):
            compose.start(waiting)
    else:
        compose.start(waiting)
        assert len(answers) == 1


def test_programs_get_variables_of_several_lines() -> None:
    assert process.run(["sh", "-c", 'printf %s "$KEY"'], environment={"KEY": "two\nlines"}) == "two\nlines"


def test_command_by_hand_respects_a_playbook_that_changes_the_host(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold(config, since=5)
    monkeypatch.delenv(lock.HELD, raising=False)
    with pytest.raises(BusyError, match="a playbook of ops@ci is changing this host"), lock.acquire(config):
        pass
    monkeypatch.setenv(lock.HELD, "1")
    with lock.acquire(config):
        assert is_locked(config.lock)


def test_program_is_one_file_that_reads_the_configuration_beside_it(config: Config, tmp_path: Path) -> None:
    directory = tmp_path / "bin"
    directory.mkdir()
    shutil.copy(PROGRAM, directory)
    result = program("list", directory=directory)
    assert result.returncode == 1
    assert re.fullmatch(r"orchestration-backup: /.*/bin/backup.json: .*; run site.yml again\n", result.stderr)
    shutil.copy(tmp_path / "backup.json", directory)
    result = program("list", directory=directory)
    assert (result.returncode, result.stderr) == (0, "")
    found = json.loads(result.stdout)
    assert (found["backups"], [one["name"] for one in found["unavailable"]]) == ([], ["local"])
    assert {path.name for path in directory.iterdir()} == {"orchestration-backup", "backup.json"}


@pytest.mark.parametrize(
    ("result", "code"),
    [
        ({"backup": "x"}, 0),
        ({"targets": [{"ok": True}], "incomplete": []}, 0),
        ({"targets": [{"ok": True}, {"ok": False}], "incomplete": []}, 3),
        ({"targets": [{"ok": True}], "incomplete": ["data/n8n/x"]}, 3),
    ],
)
def test_exit_code_tells_a_backup_that_lacks_something(result: dict[str, Any], code: int) -> None:
    assert cli.exit_code(result) == code


def test_program_that_is_run_ends_with_the_backup_program(tmp_path: Path) -> None:
    """So no dump and no restic goes on without the backup lock."""
    started = tmp_path / "started"
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from orchestration_backup import process\n"
        "process.run(['sh', '-c', 'echo $$ >$0.new; mv $0.new $0; exec sleep 300', sys.argv[2]])"
    )
    parent = subprocess.Popen([sys.executable, "-c", script, str(PROGRAM), str(started)])
    while not started.exists():
        assert parent.poll() is None
        time.sleep(0.05)
    child = Path("/proc", started.read_text().strip())
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 30
    while child.exists() and "Z (zombie)" not in (child / "status").read_text() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not child.exists() or "Z (zombie)" in (child / "status").read_text()


def test_thaw_leaves_the_pause_of_a_run_that_goes_on(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """The unit of a backup that could not begin must not unpause what a backup by hand has paused."""
    config.paused.write_text(json.dumps({"services": ["n8n"]}))
    monkeypatch.setattr(process, "run", lambda command, **options: "")
    with lock.hold(config):
        assert leftovers.thaw(config) == {"thawed": False}
    assert config.paused.exists()
    assert leftovers.thaw(config) == {"thawed": True}
    assert not config.paused.exists()


def test_next_command_puts_an_interrupted_restore_right(
    config: Config, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (config.root / ".secrets.previous").mkdir()
    config.journal.write_text(json.dumps({"present": ["secrets"]}))
    monkeypatch.setattr(process, "run", lambda command, **options: "")
    leftovers.sweep(config, restores=False)
    assert config.journal.exists()
    leftovers.sweep(config)
    assert not config.journal.exists() and not (config.root / ".secrets.previous").exists()
    assert "a restore was interrupted; the previous state is back" in capsys.readouterr().err


def test_host_whose_docker_does_not_answer_can_be_swept(
    config: Config, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(command: list[str], **_options: object) -> str:
        raise BackupError("Docker does not answer")

    config.paused.write_text(json.dumps({"services": ["n8n"]}))
    (config.state_directory / ".verifying").mkdir()
    monkeypatch.setattr(process, "run", refuse)
    leftovers.sweep(config)
    assert config.paused.exists() and not (config.state_directory / ".verifying").exists()
    assert "after an interrupted run: Docker does not answer" in capsys.readouterr().err


def test_a_signal_ends_the_copies_to_all_stores(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Stores:
        def __init__(self, _config: Config, target: Any) -> None:
            self.target = target

        def backups(self) -> list[Any]:
            asked.append(self.target.name)
            cli.on_signal(signal.SIGTERM, None)

    monkeypatch.setattr(keep, "Store", Stores)
    several = dataclasses.replace(config, targets=(*config.targets, *config.targets))
    with pytest.raises(Stopped, match="stopped by SIGTERM"):
        keep.keep_copies(several, made="20261129T143000Z")
    assert len(asked) == 1


def test_full_disk_is_named() -> None:
    reason = str(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/x"))
    advice = "The disk is full: free space, or enlarge the file system"
    assert space.named(reason) == f"{reason}. {advice}" == space.named(space.named(reason))
    assert space.named("other") == "other"
