"""The stores: copies, what is removed in them, and what is told of one that is away, damaged or another one."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from orchestration_backup import cli, keep, process, restic, store
from orchestration_backup.config import Config
from orchestration_backup.errors import BackupError
from orchestration_backup.files import filename_time, now
from orchestration_backup.state import State
from orchestration_backup.store import Store

from .backup_host import KEEP, install_restic, make_host, target, write_config

OLD, OLDER, FUTURE, LEFT = "20260102T000000Z", "20260101T000000Z", "20991231T000000Z", "20260103T000000Z"
FEW = KEEP | {"daily": 1, "weekly": 1, "monthly": 1}


@pytest.fixture
def few(tmp_path: Path) -> Config:
    """A host with three stores, of which the last cannot be reached."""
    install_restic()
    make_host(tmp_path)
    away = target("away", tmp_path, keep=FEW)
    Path(away["repository_file"]).write_text(f"{tmp_path / 'backup.json'}/below-a-file\n")
    stores = [target("local", tmp_path, keep=FEW), target("second", tmp_path, keep=FEW), away]
    return write_config(tmp_path, *stores)


def save(config: Config, backup: str, *parts: str, name: str = "local") -> None:
    """Save the parts of a backup."""
    for part in parts or ("files", "databases"):
        (config.root / "manifest.json").write_text(json.dumps({"backup": backup, "part": part}))
        tags = {"backup": backup, "part": part, "reason": "nightly"}
        at = restic.restic_time(store.moment(backup))
        repository = store.first_store(config, name).repository
        repository.backup(config.root, ["manifest.json"], tags, moment=at, host=socket.gethostname(), parent="")


def listed(config: Config, name: str) -> dict[str, bool]:
    return {backup.id: backup.complete for backup in store.first_store(config, name).backups()}


def test_new_backup_is_copied_and_old_ones_are_removed_in_each_store(few: Config) -> None:
    new = filename_time(now())
    store.first_store(few).open(make=True)
    for backup in (OLDER, OLD, FUTURE, new):
        save(few, backup)
    save(few, LEFT, "files")
    state = State(few)
    state.verified[OLDER] = {"time": "2026-01-01T06:00:00Z", "ok": True}
    state.write()
    with pytest.raises(BackupError, match=f"{LEFT} in local: is incomplete"):
        store.first_store(few).find(LEFT)
    with pytest.raises(BackupError, match="20260109T000000Z"):
        store.first_store(few).find("20260109T000000Z")
    with pytest.raises(BackupError, match=r"elsewhere: is not the name of a store. Name one of local, second, away"):
        store.first_store(few, "elsewhere")
    results = {result["name"]: result for result in keep.keep_copies(few, made=new)}
    # What was verified last stays, and what is of the future is told.
    assert results["local"] == {
        "name": "local",
        "ok": True,
        "copied": [],
        "forgotten": [OLD],
        "future": [FUTURE],
        "snapshots": 3,
    }
    assert listed(few, "local") == {OLDER: True, FUTURE: True, new: True}
    assert (results["second"]["copied"], results["second"]["forgotten"]) == ([new, OLDER], [])
    assert listed(few, "second") == {OLDER: True, new: True}
    assert results["away"]["ok"] is False and "away" in results["away"]["error"]
    assert store.first_store(few).find("").id == new
    assert State(few).repositories.keys() == {"local", "second"} and State(few).pruned.keys() == {"local"}
    # A second run has nothing to do.
    again = keep.copy(few, "second")["targets"]
    assert [(one["name"], one["copied"], one["forgotten"]) for one in again] == [("second", [], [])]


def test_damaged_store_is_told_and_nothing_is_removed_there(few: Config, tmp_path: Path) -> None:
    new = filename_time(now())
    store.first_store(few).open(make=True)
    for backup in (OLD, new):
        save(few, backup)
    packs = [path for path in (tmp_path / "stores/local/data").rglob("*") if path.is_file()]
    for pack in packs:
        pack.chmod(0o600)
        os.truncate(pack, pack.stat().st_size // 2)
    (local,) = keep.keep_copies(few, made=new, only="local")
    assert local["ok"] is False and "local: the store is damaged or cannot be read: Load(<data/" in local["error"]
    assert listed(few, "local") == {OLD: True, new: True}


def test_append_only_store_is_never_cleared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_restic()
    make_host(tmp_path)
    config = write_config(tmp_path, target("local", tmp_path, keep=FEW, append_only=True))
    new = filename_time(now())
    commands: list[str] = []
    real = restic.Repository.command

    def command(self: restic.Repository, *arguments: str, **options: Any) -> list[str]:
        commands.append(arguments[0])
        return real(self, *arguments, **options)

    monkeypatch.setattr(restic.Repository, "command", command)
    store.first_store(config).open(make=True)
    for backup in (OLD, new):
        save(config, backup)
    save(config, LEFT, "files")
    (result,) = keep.keep_copies(config, made=new)
    assert (result["ok"], result["forgotten"], result["snapshots"]) == (True, [], 2)
    assert listed(config, "local") == {OLD: True, LEFT: False, new: True}
    assert set(commands) == {"cat", "init", "backup", "snapshots"}


def test_backup_of_another_host_in_the_same_store_stays(few: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    new = filename_time(now())
    store.first_store(few).open(make=True)
    with monkeypatch.context() as patch:
        patch.setattr(socket, "gethostname", lambda: "other")
        save(few, OLDER)
        save(few, LEFT, "files")
    save(few, new)
    results = keep.keep_copies(few, made=new)
    assert (results[0]["forgotten"], results[1]["copied"]) == ([], [new])
    assert listed(few, "local") == {OLDER: True, LEFT: False, new: True}


def test_hosts_with_one_store_do_not_mix_their_backups(few: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """All timers run at the same second."""
    new = filename_time(now())
    store.first_store(few).open(make=True)
    for host, parts in (("one", ("files",)), ("two", ("files", "databases"))):
        with monkeypatch.context() as patch:
            patch.setattr(socket, "gethostname", lambda host=host: host)
            save(few, new, *parts)
    with pytest.raises(BackupError, match="is incomplete"), monkeypatch.context() as patch:
        patch.setattr(socket, "gethostname", lambda: "one")
        store.first_store(few).find(new)
    monkeypatch.setattr(socket, "gethostname", lambda: "one")
    save(few, new, "databases")
    results = keep.keep_copies(few, made=new)
    assert results[0]["snapshots"] == 1 and results[1]["copied"] == [new]
    assert [(backup.host, backup.complete) for backup in store.first_store(few).backups()] == [
        ("one", True),
        ("two", True),
    ]
    assert store.first_store(few).find(new).files != store.first_store(few).backups()[1].files.id  # type: ignore[union-attr]
    monkeypatch.setattr(socket, "gethostname", lambda: "three")
    with pytest.raises(BackupError, match="has backups of one and two, and none of three"):
        store.first_store(few).find("")


def test_lock_of_a_killed_run_is_removed_and_no_restic_is_run_without_one(
    few: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.first_store(few).open(make=True)
    locks = tmp_path / "stores/local/locks"
    commands: list[str] = []
    real = restic.Repository.command

    def command(self: restic.Repository, *arguments: str, **options: Any) -> list[str]:
        commands.append(arguments[0])
        return real(self, *arguments, **options)

    repository = store.first_store(few).repository
    environment = os.environ | repository.environment()
    killed = process.begin(repository.command("backup", "--stdin"), env=environment, stdin=subprocess.PIPE)
    while not any(locks.iterdir()):
        assert killed.poll() is None
        time.sleep(0.1)
    killed.kill()
    killed.communicate()
    monkeypatch.setattr(restic.Repository, "command", command)
    store.first_store(few).open()
    assert commands == ["cat", "unlock"] and not any(locks.iterdir())
    store.first_store(few).open()
    assert commands == ["cat", "unlock", "cat"]
    locks.rmdir()
    store.first_store(few).open()


def test_store_that_is_gone_or_another_one_is_refused(few: Config, tmp_path: Path) -> None:
    first = store.first_store(few)
    with pytest.raises(BackupError, match=r"local: .*no such file.* Run playbooks/backup.yml"):
        first.open()
    first.open(make=True)
    (tmp_path / "stores/local").rename(tmp_path / "stores/unmounted")
    for make in (False, True):
        with pytest.raises(BackupError, match="The store was there before: mount its disk"):
            first.open(make=make)
    assert not (tmp_path / "stores/local").exists()
    state = State(few)
    state.repositories["local"] = "0" * 64
    state.write()
    (tmp_path / "stores/unmounted").rename(tmp_path / "stores/local")
    with pytest.raises(BackupError, match="another repository is in its place"):
        first.open(make=True)
    few.password_file.write_text("another")
    with pytest.raises(BackupError, match=r"local: the password is wrong. Set backup_password"):
        first.open()


def test_secrets_of_a_store_are_no_arguments_and_in_no_message(tmp_path: Path) -> None:
    make_host(tmp_path)
    environment = tmp_path / "environment"
    environment.write_text("AWS_SECRET_ACCESS_KEY=hidden=key\n\nAWS_ACCESS_KEY_ID=id\n")
    remote = target(
        "off-site",
        tmp_path,
        environment_file=str(environment),
        options={"sftp.command": "ssh -i key"},
        upload_limit=100,
        download_limit=200,
    )
    Path(remote["repository_file"]).write_text("rest:http://user:hidden@127.0.0.1:9/\n")
    config = write_config(tmp_path, target("local", tmp_path), remote)
    found = Store(config, config.targets[1]).repository
    command = found.command("snapshots")
    assert "hidden" not in " ".join(command) and "of the store" not in " ".join(command)
    assert (
        command[command.index("--limit-upload") + 1] == "100"
        and command[command.index("--limit-download") + 1] == "200"
    )
    assert command[command.index("--option") + 1] == "sftp.command=ssh -i key"
    assert command[command.index("--cache-dir") + 1] == str(config.cache_directory)
    assert found.environment()["AWS_SECRET_ACCESS_KEY"] == "hidden=key"
    said = "Fatal: unable to open repo at rest:http://user:hidden@127.0.0.1:9/: refused"
    assert found.explain(1, said) == "restic failed with exit code 1: Fatal: unable to open repo at off-site: refused"
    elsewhere = "Fatal: Head http://user:hid@den@127.0.0.1:9/config: refused"
    assert found.explain(1, elsewhere).endswith("Fatal: Head http://127.0.0.1:9/config: refused")
    both = write_config(tmp_path, target("local", tmp_path, environment_file=str(tmp_path / "other")), remote)
    (tmp_path / "other").write_text("AWS_SECRET_ACCESS_KEY=different\n")
    with pytest.raises(BackupError, match="AWS_SECRET_ACCESS_KEY of off-site differs from that of the first store"):
        Store(both, both.targets[1]).repository.environment()
    jump = write_config(tmp_path, target("local", tmp_path, options={"sftp.command": "ssh other"}), remote)
    with pytest.raises(BackupError, match=r"sftp\.command of off-site differs"):
        Store(jump, jump.targets[1]).repository.command("copy")


def test_lines_of_newer_and_older_versions_are_understood() -> None:
    newer = '{"message_type":"error","error":{"message":"lstat x: denied"},"during":"archival","item":"/data/x"}'
    assert restic.message(newer) == "lstat x: denied"
    assert (
        restic.message('{"message_type":"exit_error","code":10,"message":"Fatal: no repository"}')
        == "Fatal: no repository"
    )
    assert restic.message("Fatal: no repository") == "Fatal: no repository"
    assert restic.escaped("data/[a]*?") == r"data/\[a\]\*\?"


@pytest.fixture
def silent(tmp_path: Path) -> Iterator[Config]:
    """A host with a second store that accepts connections and never answers."""
    install_restic()
    make_host(tmp_path)
    quiet = target("quiet", tmp_path)
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(100)
        Path(quiet["repository_file"]).write_text(f"rest:http://127.0.0.1:{server.getsockname()[1]}/quiet\n")
        yield write_config(tmp_path, target("local", tmp_path), quiet)


def test_store_that_never_answers_holds_nothing_up(silent: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restic, "FIRST_SILENCE", 2)
    new = filename_time(now())
    store.first_store(silent).open(make=True)
    save(silent, new)
    local, quiet = keep.keep_copies(silent, made=new)
    assert local["ok"] is True
    assert quiet["ok"] is False
    assert quiet["error"].startswith("quiet: has not answered for 2 seconds, so restic was ended. Look whether")
    listing = cli.list_backups(silent, "")
    assert [backup["backup"] for backup in listing["backups"]] == [new]
    assert [away["name"] for away in listing["unavailable"]] == ["quiet"]
    # One that falls silent later has more time, but not for ever.
    monkeypatch.setattr(restic, "SILENCE", 3)
    repository = store.first_store(silent, "quiet").repository
    repository.answered = True
    with pytest.raises(BackupError, match="quiet: has not answered for 3 seconds"):
        repository.copy([new])


@pytest.mark.parametrize(
    ("answered", "size", "code"),
    [(True, restic.LEAST, 0), (True, 500, restic.SILENT), (False, 500, 0), (False, 1, restic.SILENT)],
)
def test_slow_store_is_waited_for_while_data_move(
    answered: bool, size: int, code: int, silent: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The runtime of restic itself writes a byte every half a minute, and its lock some hundreds now and then.
    for limit in ("FIRST_SILENCE", "SILENCE"):
        monkeypatch.setattr(restic, limit, 3)
    repository = store.first_store(silent, "quiet").repository
    repository.answered = answered
    steps = f"import os, time\nfor _ in range(12): os.write(1, bytes({size})); time.sleep(0.5)"
    with process.in_memory() as output, process.in_memory() as errors:
        program = process.begin([sys.executable, "-c", steps], stdout=output, stderr=errors)
        try:
            assert repository.wait(program, errors) == code
        finally:
            program.kill()
            program.wait()


def test_names_of_files_and_reasons_are_in_no_temporary_directory(few: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    # Where they are, a full disk would lose the reasons, and a killed run would leave the names behind.
    def refuse(*_arguments: Any, **_options: Any) -> None:
        raise OSError(28, "No space left on device")

    for name in ("TemporaryFile", "NamedTemporaryFile", "mkstemp", "mkdtemp"):
        monkeypatch.setattr(tempfile, name, refuse)
    repository = store.first_store(few).repository
    repository.initialise()
    odd = few.root / "a\nname"
    odd.write_text("x")
    saved = repository.backup(few.root, [odd.name], {}, moment="2026-01-01 00:00:00", host="h", parent="")
    assert saved.files == 1 and repository.read(saved.snapshot, f"/{odd.name}") == b"x"
    with pytest.raises(BackupError, match=r"failed with exit code 2: ls: .*/does/not/exist"):
        process.run(["ls", "/does/not/exist"])


def test_full_disk_is_named_wherever_restic_says_it(few: Config) -> None:
    full = "ignoring error for /x: write /x: no space left on device"
    counted = ["restoring"] * 5 + ["Fatal: There were 1 errors"]
    reason = store.first_store(few).repository.explain(1, "\n".join([full, *counted]))
    assert full in reason and reason.endswith(counted[-1])
    assert restic.FULL.lower() in reason.lower()
