"""A backup: what is in it, what it says, and that it can be restored."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from orchestration_backup import compose, create, databases, process, restore, space, store
from orchestration_backup.config import Config
from orchestration_backup.errors import BackupError
from orchestration_backup.store import Stored

from .backup_host import FILES, VERSIONS, Docker, target, tree, write_config
from .backup_program import PROGRAM


def make_unusual(root: Path) -> None:
    """Make what the former archives left out or changed: links, modes, holes, attributes."""
    data = root / "data/n8n"
    (data / "modules").mkdir()
    (data / "modules").chmod(0o2775)
    (data / "modules/link").symlink_to("../config")
    (data / "modules/away").symlink_to("/etc/shadow")
    os.link(data / "config", data / "modules/twin")
    with (data / "modules/sparse").open("wb") as stream:
        stream.seek(8 * 1024 * 1024)
        stream.write(b"end")
    (data / "modules/empty").touch()
    with contextlib.suppress(OSError):
        os.setxattr(data / "config", "user.note", b"kept")
    with socket.socket(socket.AF_UNIX) as listener:
        directory = os.open(data, os.O_RDONLY)
        listener.bind(f"/proc/self/fd/{directory}/socket")
        os.close(directory)


def describe(root: Path) -> dict[str, Any]:
    """Return what is of interest about each file and link."""
    found: dict[str, Any] = {}
    for path in sorted((root / "data/n8n").rglob("*")):
        status = path.lstat()
        attributes = [] if path.is_symlink() else [(name, os.getxattr(path, name)) for name in os.listxattr(path)]
        target = bytes(path.readlink()) if path.is_symlink() else path.read_bytes() if path.is_file() else b""
        owner = (status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns)
        found[str(path.relative_to(root))] = (*owner, target, attributes, 0 if path.is_dir() else status.st_nlink)
    return found


def test_backup_is_created_checked_and_restored(config: Config, docker: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_unusual(config.root)
    unusual = describe(config.root)
    assert unusual.pop("data/n8n/socket")
    wanted = tree(config.root)
    record = create.create(config, "nightly")
    counts = {"workflows": 2, "credentials": 0, "rows": 7, "files": len(FILES) + 3}
    assert (record["verified"], record["counts"], record["incomplete"]) == (None, counts, [])
    assert (record["uncovered"], record["left_out"]) == (["database reports"], ["data/n8n/socket"])
    assert [(one["name"], one["ok"], one["snapshots"]) for one in record["targets"]] == [("local", True, 1)]
    assert json.loads(config.last.read_text()) == record
    assert not (config.state_directory / create.STAGING).exists()
    source = store.first_store(config).open().find("")
    assert source.id == record["backup"]
    found = restore.check(config, source, {"versions": {"n8n": "2.41.1"}}, read_data=True)
    assert (found["versions"], found["counts"]) == ({"n8n": "2.41.1"}, counts)
    manifest = source.read_manifest()
    assert manifest["images"]["n8n"]["digests"] == "n8nio/n8n@sha256:00"
    assert manifest["sparse"] == ["data/n8n/modules/sparse"]
    assert manifest["databases"]["kestra"]["rows"] == {"public.flows": 5}
    (config.root / "data/n8n/config").write_text("changed since")
    standin = Docker(config, monkeypatch)
    full = dataclasses.replace(config, minimum_free=10**18)
    with pytest.raises(BackupError, match=r"MiB of free space, and restoring .* needs .* MiB and the reserve"):
        restore.restore(full, Stored(store.first_store(full), store.first_store(full).backups()[0]), {})
    assert restore.restore(config, source, {"versions": VERSIONS})["backup"] == source.id
    restored = {path: entry for path, entry in tree(config.root).items() if not path.startswith("data/postgres")}
    del wanted["data/n8n/socket"]
    assert restored == {path: entry for path, entry in wanted.items() if not path.startswith("data/postgres")}
    assert describe(config.root) == unusual
    sparse = (config.root / "data/n8n/modules/sparse").stat()
    assert sparse.st_blocks * 512 < sparse.st_size // 4
    # The passwords are passed on standard input only, quoted.
    assert not any("it's" in command for command in standin.commands)
    assert any("PASSWORD 'it''s'" in script for script in standin.scripts)
    assert "CREATE ROLE grafana;\nALTER ROLE grafana WITH NOSUPERUSER;\n" in standin.scripts
    assert "GRANT CONNECT ON DATABASE n8n TO grafana;\n" in standin.scripts


RESTIC = r"""#!/bin/sh
case " $* " in *" {command} "*) {action} ;; esac
exec {restic} "$@"
"""
"""Real restic behind a first step of its own."""


def put_before_restic(docker: Path, action: str, command: str = "backup") -> None:
    """Do something else before restic makes a backup."""
    restic = shutil.which("restic", path=os.environ["PATH"].partition(":")[2])
    program = docker.with_name("path") / "restic"
    program.write_text(RESTIC.format(action=action, restic=restic, command=command))
    program.chmod(0o755)


def program(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["python3", str(PROGRAM), "--config", str(tmp_path / "backup.json"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def test_services_stand_still_only_for_the_snapshot_of_the_files(
    config: Config, docker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_DOCKER_RUNNING", "postgres kestra n8n")
    put_before_restic(docker, f"echo restic >>{docker}")
    monkeypatch.setenv("FAKE_DOCKER_PAUSED", "kestra n8n")
    result = create.create(dataclasses.replace(config, pause=True), "manual")
    assert result["incomplete"] == []
    steps = "systemctl|pause kestra|unpause|psql.*kestra$|psql.*n8n$|restic|pg_dump .*"
    found = [match[0].split()[0] for line in docker.read_text().splitlines() if (match := re.search(steps, line))]
    # The snapshots of both databases are open before the files are read, and are dumped afterwards.
    assert found[:6] == ["pause", "psql", "psql", "restic", "unpause", "pg_dump"]
    assert found[-1] == "restic"
    assert not config.paused.exists()


def test_killed_backup_is_put_right_by_the_unit_and_the_next_command(
    config: Config, docker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_config(tmp_path, target("local", tmp_path), pause=True)
    monkeypatch.setenv("FAKE_DOCKER_RUNNING", "postgres kestra n8n")
    # The program is killed while everything is paused.
    put_before_restic(docker, "kill -9 $PPID; sleep 5")
    assert program(tmp_path, "create").returncode == -9
    assert json.loads(config.paused.read_text()) == {"services": ["kestra", "n8n"]}
    assert (config.state_directory / create.STAGING).is_dir()
    assert "unpause" not in docker.read_text()
    monkeypatch.setenv("FAKE_DOCKER_PAUSED", "kestra n8n")
    found = program(tmp_path, "thaw")
    assert (found.returncode, json.loads(found.stdout)) == (0, {"thawed": True}), found.stderr
    log = docker.read_text()
    assert "compose unpause kestra n8n" in log and "systemctl" not in log
    assert not config.paused.exists() and not (config.state_directory / create.STAGING).exists()
    # Without the unit, the next command does the same, and the restore that was killed is put right too.
    assert program(tmp_path, "create").returncode == -9
    (config.root / "data/.n8n.restored").mkdir()
    (config.state_directory / ".verifying").mkdir()
    put_before_restic(docker, ":")
    result = program(tmp_path, "create")
    assert result.returncode == 0, result.stderr
    assert docker.read_text().count("compose unpause kestra n8n") >= 2
    assert not (config.root / "data/.n8n.restored").exists() and not (config.state_directory / ".verifying").exists()
    assert len(store.first_store(config).backups()) == 1


@pytest.mark.parametrize("times", [1, 2])
def test_files_that_cannot_be_read_are_tried_again_and_named(
    config: Config, docker: Path, tmp_path: Path, times: int
) -> None:
    """What vanished meanwhile is not missing. What stays unread is named, and the backup is kept."""
    count = tmp_path / "count"
    line = r"{\"message_type\":\"error\",\"error\":{},\"during\":\"archival\",\"item\":\"%s\"}"
    fail = f'for item in {config.root}/data/n8n/config /data/n8n/gone; do printf "{line}\\n" "$item" >&2; done; '
    put_before_restic(
        docker,
        f'case "$*" in *part=files*) echo >>{count}; if [ $(wc -l <{count}) -le {times} ]; then '
        f'$(which -a restic | sed -n 2p) "$@" && {{ {fail} exit 3; }}; fi;; esac',
    )
    result = create.create(config, "nightly")
    assert result["incomplete"] == ([] if times == 1 else ["data/n8n/config"])
    assert result["targets"][0]["ok"]
    (found,) = store.first_store(config).backups()
    assert found.complete and len(found.snapshots) == 2, "the snapshot of the first try is removed"
    manifest: dict[str, Any] = store.first_store(config).find("").read_manifest()
    assert manifest["incomplete"] == result["incomplete"]


def test_user_of_the_sidecar_cannot_lead_a_restore_elsewhere(
    config: Config, docker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root would write its files wherever a link of that user leads, and the user owns sidecar-data."""
    create.create(config, "nightly")
    victim, own = tmp_path / "victim", config.root / "sidecar-data"
    victim.mkdir()
    (own / "environments").rename(own / "gone")
    (own / "environments").symlink_to("nowhere")
    planted = f"ln -sn {victim} .restoring/sidecar-data/environments; ln -sn {victim} .environments.restored"
    put_before_restic(
        docker, f"(cd {own}; mv .restoring moved; mkdir -p .restoring/sidecar-data; {planted}) 2>/dev/null", "restore"
    )
    Docker(config, monkeypatch)
    restore.restore(config, store.first_store(config).open().find(""), {})
    assert list(victim.iterdir()) == []
    assert (own / "environments/stage.json").read_text() == "{}" and not (own / "environments").is_symlink()
    assert not [path for path in tree(config.root) if path.startswith("backups/.") and "lock" not in path]


@pytest.mark.parametrize("item", ["data/kestra", "sidecar-data/environments"])
def test_link_in_the_place_of_data_is_refused(config: Config, item: str) -> None:
    (config.root / item).rename(config.root / "away")
    (config.root / item).symlink_to(config.root / "away")
    with pytest.raises(BackupError, match=re.escape(f"{config.root / item}: is a symbolic link, so a backup would")):
        create.create(config, "nightly")
    assert not config.state.exists()


def test_room_is_looked_for_on_the_disk_of_each_item(
    config: Config, docker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (config.root / "data/n8n/large").write_bytes(os.urandom(3 * 1024 * 1024))
    create.create(config, "nightly")
    asked: dict[Path, int] = {}
    monkeypatch.setattr(space, "require", lambda _config, sizes, _purpose: asked.update(sizes))
    source = store.first_store(config).open().find("")
    source.require_space(config.state_directory / "dumps", config.restored)
    assert asked.keys() == {config.state_directory / "dumps", config.root, config.root / "data", config.state_directory}
    assert asked[config.root] < 1024 * 1024 < 3 * 1024 * 1024 <= asked[config.root / "data"]


def said_by_restic(*items: str) -> list[str]:
    error = [json.dumps({"message_type": "error", "item": item}, ensure_ascii=False) for item in items]
    return [*error, '{"message_type":"summary","snapshot_id":"1","data_added":1,"total_files_processed":1}']


@pytest.mark.parametrize(
    ("linked", "item", "unread"),
    [
        # restic names what a link leads to.
        (True, "{root}/data/n8n/config", ["data/n8n/config"]),
        (True, "{root}/data/n8n/gone", []),
        (False, "{root}/data/n8n/odd\ufffd", ["data/n8n/odd\ufffd"]),
        (False, "{root}/data/n8n/next\x85line\u2028", ["data/n8n/next\x85line\u2028"]),
        (False, "", ["a file that restic does not name"]),
        (False, None, ["a file that restic does not name"]),
    ],
)
def test_no_file_that_could_not_be_read_is_passed_over(
    config: Config, tmp_path: Path, docker: Path, linked: bool, item: str | None, unread: list[str]
) -> None:
    (config.root / "data/n8n/next\x85line\u2028").touch()
    real = config.root
    if linked:
        real = config.root.rename(tmp_path / "elsewhere")
        config.root.symlink_to(real)
    said = said_by_restic(*([item.format(root=real)] if item is not None else []))
    (tmp_path / "said").write_text("\n".join(said) + "\n")
    put_before_restic(docker, f"cat {tmp_path}/said; exit 3")
    opened = store.first_store(config).open(make=True)
    assert create.save_files(config, opened, "20260131T120000Z", {}, "").unread == unread


def test_first_backup_needs_room_for_all_files(config: Config, docker: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (config.root / "data/n8n/large").write_bytes(os.urandom(3 * 1024 * 1024))
    asked: list[dict[Path, int]] = []
    monkeypatch.setattr(space, "require", lambda _config, sizes, _purpose: asked.append(sizes))
    added = [create.create(config, "nightly")["bytes_added"] for _time in range(2)]
    place = store.first_store(config).repository.local
    assert place and [sizes[place] for sizes in asked][1] == added[0]
    assert asked[0][place] >= 3 * 1024 * 1024


def test_backup_that_would_fill_the_disk_is_refused(config: Config, docker: Path) -> None:
    with pytest.raises(BackupError, match="MiB of free space, and a backup needs 16 MiB and the reserve"):
        create.create(dataclasses.replace(config, minimum_free=10**18), "nightly")
    assert not (config.state_directory / create.STAGING).exists()


@pytest.mark.parametrize("missing", ["data/postgres/pgdata/PG_VERSION", "data/kestra", "data/n8n"])
def test_backup_without_the_data_of_a_service_is_refused(config: Config, missing: str) -> None:
    for service in config.data:
        (config.root / "services" / f"{service}.yml").write_text("services: {}\n")
    (config.root / missing).rename(config.root / "away")
    with pytest.raises(BackupError, match=re.escape(f"{config.root / missing}: does not exist, so the data of")):
        create.create(config, "nightly")
    assert not config.state.exists()


class Pauser:
    """A project of two services. One of them cannot be paused at first."""

    def __init__(self, refusals: int) -> None:
        self.refusals = refusals
        self.paused: list[str] = []
        self.commands: list[str] = []

    def __call__(self, command: list[str], **_options: Any) -> str:
        self.commands.append(" ".join(command))
        words = command[2:]
        if words[0] == "ps":
            if words[1:] == ["--services", "--status", "paused"]:
                return "\n".join(self.paused)
            return "postgres\nkestra\nn8n" if "running" in words else "Up 2 minutes (healthy)"
        if words[0] == "unpause":
            assert sorted(words[1:]) == sorted(self.paused), "Docker refuses to unpause what is not paused"
            self.paused.clear()
        if words[0] == "pause":
            assert not set(words[1:]) & set(self.paused), "Docker refuses to pause what is paused"
            for name in words[1:]:
                if name == "n8n" and self.refusals:
                    self.refusals -= 1
                    raise BackupError("unable to pause")
                self.paused.append(name)
        return ""


@pytest.mark.parametrize("refusals", [0, 2, 99])
def test_paused_services_run_again_even_if_one_cannot_be_paused(
    config: Config, monkeypatch: pytest.MonkeyPatch, refusals: int
) -> None:
    docker, clock = Pauser(refusals), iter(range(0, 1000, 10))
    monkeypatch.setattr(process, "run", docker)
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(time, "sleep", lambda _seconds: None)
    expected = pytest.raises(BackupError, match="unable to pause") if refusals > 9 else contextlib.nullcontext()
    with expected, compose.paused(config):
        assert docker.paused == ["kestra", "n8n"]
        assert json.loads(config.paused.read_text())["services"] == ["kestra", "n8n"]
    assert docker.paused == [] and not config.paused.exists()


def test_service_that_cannot_be_unpaused_stays_in_the_journal(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    docker = Pauser(0)
    monkeypatch.setattr(process, "run", docker)

    def refuse(*_arguments: object) -> None:
        raise BackupError("Docker does not answer")

    with monkeypatch.context() as patch:
        patch.setattr(compose, "unpause", refuse)
        with pytest.raises(BackupError, match="does not answer"), compose.paused(config):
            pass
    assert config.paused.exists()
    assert compose.thaw(config) is True
    assert docker.paused == [] and not config.paused.exists()
    assert compose.thaw(config) is False


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ('"$user", public', "E'$user', E'public'"),
        ("public;ALTER/**/ROLE/**/kestra/**/SUPERUSER;", "E'public;alter/**/role/**/kestra/**/superuser;'"),
        ('a\',\'b; "c""d, e\'",F', "E'a''', E'''b;', E'c\"d, e''', E'f'"),
        ("a\\'; \\! reboot", "E'a\\\\'';', E'\\\\!', E'reboot'"),
        ('"two\nlines"', "E'two\nlines'"),
        ('""', "E''"),
        ("", "E''"),
    ],
)
def test_owner_of_a_database_cannot_write_a_statement_for_the_restore(
    config: Config, monkeypatch: pytest.MonkeyPatch, value: str, written: str
) -> None:
    """A superuser runs them."""

    def psql(_config: Config, _database: str, script: str) -> str:
        return (
            json.dumps(["DATABASE n8n", "search_path", value]) if script == databases.LISTS.format(name="n8n") else ""
        )

    monkeypatch.setattr(compose, "psql", psql)
    monkeypatch.setattr(compose, "call", lambda *_arguments, **_options: "")
    databases.dump_globals(config, config.state_directory)
    found = (config.state_directory / "grants.sql").read_text()
    assert found == f"ALTER DATABASE n8n SET search_path TO {written};\n"
    # The names of other settings are quoted too.
    assert " SET %s " not in databases.DATABASE_GRANTS


def test_reason_of_the_database_needs_no_room_on_the_disk(
    config: Config, docker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docker.with_name("path").joinpath("docker").write_text(
        "#!/bin/sh\necho 'FATAL: No space left on device' >&2; exit 2\n"
    )

    def refuse(*_arguments: Any, **_options: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    with pytest.raises(BackupError, match="database kestra: FATAL: No space left"):
        databases.Snapshot(config, config.databases[0]).__enter__()
    with pytest.raises(BackupError, match="failed with exit code 2: FATAL: No space left"):
        databases.dump_globals(config, config.state_directory)
