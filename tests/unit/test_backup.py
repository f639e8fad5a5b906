"""The backup program: what it writes, what it refuses, and that a restore which fails leaves everything as it was."""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import importlib.util
import io
import json
import os
import re
import shutil
import sys
import tarfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from ansible_collections.devorch.orchestration.plugins.module_utils.host import lock as host_lock
from ansible_collections.devorch.orchestration.plugins.modules.host_lock import is_locked

PROGRAM = Path(__file__).parents[2] / "roles" / "backup" / "files" / "orchestration_backup.py"


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("orchestration_backup", PROGRAM)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


backup: Any = load()
VERSIONS = {"postgres": "17", "kestra": "v2.0.5", "n8n": "2.41.1"}
FILES = {
    "secrets/n8n_encryption_key": "key",
    "secrets/kestra_database_password": "it's",
    "secrets/n8n_database_password": "other",
    "env/n8n.env": "N8N_ENCRYPTION_KEY='key'\n",
    "services/n8n.yml": "services: {}\n",
    "kestra-config/standalone.yml": "kestra: {}\n",
    "compose.yml": "name: orchestration\n",
    "data/kestra/main/company/file with spaces": "stored",
    "data/n8n/config": "{}",
    "sidecar-data/environments/stage.json": "{}",
}


@pytest.fixture
def config(tmp_path: Path) -> Any:
    """A host's tree as the roles leave it."""
    root = tmp_path / "root"
    for name, text in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o600)
    (root / "data/kestra/empty").mkdir()
    (root / "data/postgres/pgdata").mkdir(parents=True)
    (root / "data/postgres/pgdata/PG_VERSION").write_text("17\n")
    (root / "backups").mkdir()
    return backup.Config(root, root / "backups", "orchestration", tmp_path / "host.lock", 3600)


def manifest_of(config: Any, parts: Path) -> dict[str, Any]:
    manifest: dict[str, Any] = {
        "kind": backup.KIND,
        "format": backup.FORMAT,
        "created": "2026-01-31T12:00:00Z",
        "host": "here",
        "root": str(config.root),
        "images": {name: {"image": f"{name}:{version}", "version": version} for name, version in VERSIONS.items()},
        "databases": {name: {"server": "17.2", "rows": {"public.t": 3}} for name in backup.DATABASES},
        "parts": {},
    }
    for database in backup.DATABASES:
        (parts / f"{database}.dump").write_bytes(backup.DUMP_MAGIC + os.urandom(5000))
        manifest["parts"][f"{database}.dump"] = backup.describe(parts / f"{database}.dump")
    for name, items in backup.TREES.items():
        found = backup.pack(config.root, items, parts / name)
        manifest["parts"][name] = backup.describe(parts / name) | found
    return manifest


@pytest.fixture
def archive(config: Any, tmp_path: Path) -> Path:
    parts = tmp_path / "parts"
    parts.mkdir()
    path: Path = config.directory / "orchestration-20260131T120000Z.tar"
    manifest = manifest_of(config, parts)
    with path.open("wb") as stream:
        backup.write_archive(stream, parts, manifest, [])
    return path


def tree(root: Path) -> dict[str, tuple[int, bytes]]:
    """Return mode and content of everything below a directory but the archives."""
    found = {}
    for path in sorted(root.rglob("*")):
        if path.suffix != ".tar" and path.name != ".lock":
            content = path.read_bytes() if path.is_file() else b""
            found[str(path.relative_to(root))] = (path.stat().st_mode, content)
    return found


# What is done to an archive: its members are handed over by name, in order.
Members = dict[str, bytes]


def members(path: Path) -> Members:
    with tarfile.open(path) as tar:
        return {entry.name: tar.extractfile(entry).read() for entry in tar}  # type: ignore[union-attr]


def write_members(path: Path, found: Members) -> None:
    with tarfile.open(path, "w") as tar:
        for name, content in found.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))


def with_manifest(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        found = members(path)
        manifest = json.loads(found["manifest.json"])
        change(manifest)
        write_members(path, found | {"manifest.json": json.dumps(manifest).encode()})

    return apply


def with_member(part: str, entry: tarfile.TarInfo) -> Callable[[Path], None]:
    """Put one more member into a part, its hash in the manifest renewed: only the member itself is wrong."""

    def apply(path: Path) -> None:
        found = members(path)
        buffer = io.BytesIO(gzip.decompress(found[part]))
        with tarfile.open(fileobj=buffer, mode="a") as tar:
            tar.addfile(entry)
        found[part] = gzip.compress(buffer.getvalue())
        manifest = json.loads(found["manifest.json"])
        hashed = path.with_suffix(".part")
        hashed.write_bytes(found[part])
        manifest["parts"][part] |= backup.describe(hashed)
        hashed.unlink()
        write_members(path, found | {"manifest.json": json.dumps(manifest).encode()})

    return apply


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, target
    return entry


def flip(path: Path) -> None:
    """Change one bit in the middle of the largest part."""
    data = bytearray(path.read_bytes())
    with tarfile.open(path) as tar:
        largest = max(tar.getmembers(), key=lambda entry: entry.size)
    data[largest.offset_data + largest.size // 2] ^= 1
    path.write_bytes(data)


def renewed(name: str) -> Callable[[Path], None]:
    """Take a part away."""

    def apply(path: Path) -> None:
        found = members(path)
        del found[name]
        write_members(path, found)

    return apply


def other_dump(path: Path) -> None:
    found = members(path)
    found["n8n.dump"] = b"-- SQL" + found["n8n.dump"][6:]
    write_members(path, found)


def reordered(path: Path) -> None:
    found = members(path)
    write_members(path, dict(sorted(found.items(), reverse=True)))


DAMAGED: list[tuple[str, Callable[[Path], Any], str]] = [
    ("a flipped bit", flip, "damaged"),
    ("cut short", lambda path: os.truncate(path, path.stat().st_size // 2), "damaged|cut short"),
    ("empty", lambda path: os.truncate(path, 0), "damaged"),
    ("no tar", lambda path: path.write_bytes(b"#!/bin/sh\n" * 500), "damaged"),
    ("a part missing", renewed("n8n.tar.gz"), "n8n.tar.gz is missing"),
    ("no manifest", renewed("manifest.json"), "does not begin with manifest.json"),
    ("other order", reordered, "does not begin with manifest.json"),
    ("manifest no JSON", lambda path: write_members(path, members(path) | {"manifest.json": b"{"}), "is no JSON"),
    ("one member more", lambda path: write_members(path, members(path) | {"extra": b"x"}), "not in its manifest"),
    ("no dump", other_dump, "no dump of pg_dump"),
    ("foreign", with_manifest(lambda m: m.update(kind="other")), "no backup of an orchestration host"),
    ("newer format", with_manifest(lambda m: m.update(format=2)), "format 2 is newer than 1"),
    ("hash removed", with_manifest(lambda m: m["parts"]["n8n.dump"].pop("sha256")), "no size and hash of n8n.dump"),
    ("part unlisted", with_manifest(lambda m: m["parts"].pop("n8n.dump")), "does not list the parts"),
    ("other root", with_manifest(lambda m: m.update(root="/srv/other")), "Set orchestration_root to that"),
    ("climbs", with_member("n8n.tar.gz", member("data/n8n/../../../etc/x")), "leads out of the archive"),
    ("absolute", with_member("n8n.tar.gz", member("/etc/x")), "leads out of the archive"),
    ("stranger", with_member("n8n.tar.gz", member("secrets/x")), "does not belong into n8n.tar.gz"),
    ("link", with_member("n8n.tar.gz", member("data/n8n/x", tarfile.SYMTYPE, "/etc")), "is a link or a device"),
    (
        "hard link",
        with_member("n8n.tar.gz", member("data/n8n/x", tarfile.LNKTYPE, "compose.yml")),
        "a link or a device",
    ),
    ("device", with_member("n8n.tar.gz", member("data/n8n/x", tarfile.CHRTYPE)), "is a link or a device"),
    (
        "older postgres wanted",
        with_manifest(lambda m: m["images"]["postgres"].update(version="18.1")),
        "postgres 18.1, and postgres_version is 17",
    ),
    (
        "older kestra wanted",
        with_manifest(lambda m: m["images"]["kestra"].update(version="v2.1.0")),
        "kestra v2.1.0, and kestra_version is v2.0.5",
    ),
    (
        "other major",
        with_manifest(lambda m: m["images"]["kestra"].update(version="v1.3.2")),
        "restore, and then change versions with playbooks/upgrade.yml",
    ),
]


@pytest.mark.parametrize(("damage", "message"), [row[1:] for row in DAMAGED], ids=[row[0] for row in DAMAGED])
def test_damaged_archive_is_refused_before_anything_is_touched(
    config: Any, archive: Path, monkeypatch: pytest.MonkeyPatch, damage: Callable[[Path], Any], message: str
) -> None:
    damage(archive)
    before = tree(config.root)
    commands: list[list[str]] = []
    monkeypatch.setattr(backup, "run", lambda command, **options: commands.append(command) or "")
    expected = {"versions": VERSIONS}
    with pytest.raises(backup.BackupError, match=f"refused: .*({message})"):
        backup.check(config, archive, None, expected)
    with pytest.raises(backup.BackupError, match=f"refused: .*({message})"):
        backup.restore(config, archive, None, expected)
    assert tree(config.root) == before
    assert commands == [["docker", "compose", "version"]]


def test_path_that_is_there_twice_is_refused(config: Any, archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_member("n8n.tar.gz", member("data/n8n/config"))(archive)
    before = tree(config.root)
    monkeypatch.setattr(backup, "run", lambda command, **options: "")
    with pytest.raises(backup.BackupError, match="File exists"):
        backup.restore(config, archive, None, {})
    assert tree(config.root) == before


def test_sound_archive_passes(config: Any, archive: Path) -> None:
    result = backup.check(config, archive, None, {"versions": VERSIONS})
    assert result["versions"] == VERSIONS
    assert result["counts"]["files"] == len(FILES)
    assert backup.check(config, archive, None, {"versions": VERSIONS | {"n8n": "2.50.0"}})


class Docker:
    """Stands in for Docker: records what is asked, and fails where it is told to."""

    def __init__(self, config: Any, failing: str = "") -> None:
        self.config, self.failing = config, failing
        self.commands: list[str] = []
        self.scripts: list[str] = []

    def __call__(self, command: list[str], **options: Any) -> str:
        text = " ".join(command)
        self.commands.append(text)
        self.scripts.append(options.get("text") or "")
        if "up" in command and "postgres" in command:
            (self.config.root / "data/postgres/fresh").mkdir(parents=True)
        if "{{.Health}}" in text and not self.failing:
            return "postgres running healthy\nother running"
        if self.failing and self.failing in text + self.scripts[-1]:
            self.failing = ""
            raise backup.BackupError("as told")
        return "public.t|3" if options.get("text") == backup.COUNT_ROWS else ""


def changed(config: Any) -> dict[str, tuple[int, bytes]]:
    """Change the host's state, so that it differs from the archive's, and return it."""
    (config.root / "data/kestra/main/company/file with spaces").write_text("changed since")
    (config.root / "data/n8n/new").write_text("new")
    shutil.rmtree(config.root / "services")
    return tree(config.root)


def test_restore_brings_back_every_file_with_its_mode(
    config: Any, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = tree(config.root)
    changed(config)
    docker = Docker(config)
    monkeypatch.setattr(backup, "run", docker)
    backup.restore(config, archive, None, {"versions": VERSIONS})
    found = tree(config.root)
    assert "data/postgres/fresh" in found and not any(path.startswith("data/postgres/pgdata") for path in found)

    def files(state: dict[str, tuple[int, bytes]]) -> dict[str, tuple[int, bytes]]:
        return {path: entry for path, entry in state.items() if not path.startswith("data/postgres")}

    assert files(found) == files(wanted)
    # The passwords go over standard input only, quoted.
    assert not any("it's" in command for command in docker.commands)
    assert any("PASSWORD 'it''s'" in script for script in docker.scripts)


@pytest.mark.parametrize("failing", ["down", "up --detach postgres", "CREATE ROLE n8n", "pg_restore", "{{.Health}}"])
def test_failed_restore_puts_the_former_state_back(
    config: Any, archive: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    before = changed(config)
    monkeypatch.setattr(backup, "run", Docker(config, failing))
    with pytest.raises(backup.BackupError, match="as told"):
        backup.restore(config, archive, None, {"versions": VERSIONS})
    backup.recover(config)
    assert tree(config.root) == before


def test_rows_that_differ_fail_the_restore(config: Any, archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_manifest(lambda m: m["databases"]["n8n"]["rows"].update({"public.t": 4}))(archive)
    before = changed(config)
    monkeypatch.setattr(backup, "run", Docker(config))
    with pytest.raises(backup.BackupError, match=r"public\.t: 3 instead of 4"):
        backup.restore(config, archive, None, {"versions": VERSIONS})
    assert tree(config.root) == before


@pytest.mark.parametrize("cut", range(14))
def test_restore_cut_off_at_any_point_is_recovered(
    config: Any, archive: Path, monkeypatch: pytest.MonkeyPatch, cut: int
) -> None:
    """The program is gone after so many renames: what it left is put back, and backups are refused until then."""
    before = changed(config)
    monkeypatch.setattr(backup, "run", Docker(config))
    manifest, _dumps = backup.stage(config, archive, None, {})
    present = [item for item in (*backup.ITEMS, backup.CLUSTER) if (config.root / item).exists()]
    backup.write_private(config.journal, json.dumps({"present": present}))
    renames = 0
    rename = Path.rename

    def counted(self: Path, target: Path) -> Path:
        nonlocal renames
        if renames == cut:
            raise KeyboardInterrupt
        renames += 1
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", counted)
        with pytest.raises(KeyboardInterrupt):
            backup.swap(config)
    with pytest.raises(backup.BackupError, match="a restore was interrupted"):
        backup.create(config)
    assert backup.recover(config) == {"recovered": True}
    assert tree(config.root) == before
    assert manifest["parts"]


@pytest.mark.parametrize(
    ("keep", "days", "gone"),
    [(1, 0, [1, 2, 3, 4]), (3, 0, [1, 2]), (9, 0, []), (1, 2, [1, 2]), (4, 2, [1])],
)
def test_retention(config: Any, keep: int, days: int, gone: list[int]) -> None:
    for day in range(1, 6):
        (config.directory / f"orchestration-2026010{day}T120000Z.tar").touch()
    for name in ("other.tar", "orchestration-20260101T120000Z.tar.txt", "last.json"):
        (config.directory / name).touch()
    kept = dataclasses.replace(config, keep=keep, keep_days=days)
    expired = backup.expired(kept, datetime(2026, 1, 5, 11, tzinfo=UTC))
    assert [path.name[14:22] for path in expired] == [f"2026010{day}" for day in gone]


def test_links_and_sockets_are_counted_and_left_out(config: Any, tmp_path: Path) -> None:
    (config.root / "data/n8n/link").symlink_to("/etc")
    found = backup.pack(config.root, ("data/n8n",), tmp_path / "n8n.tar.gz")
    assert found == {"files": 1, "left_out": 1}
    with tarfile.open(tmp_path / "n8n.tar.gz") as tar:
        assert tar.getnames() == ["data/n8n", "data/n8n/config"]


class Freezer:
    """A project of two services of which one does not freeze at first."""

    def __init__(self, refusals: int) -> None:
        self.refusals = refusals
        self.frozen: list[str] = []
        self.commands: list[str] = []

    def __call__(self, command: list[str], **_options: Any) -> str:
        self.commands.append(" ".join(command))
        words = command[2:]
        if words[0] == "ps":
            if words[1:] == ["--services", "--status", "paused"]:
                return "\n".join(self.frozen)
            return "postgres\nkestra\nn8n" if "running" in words else "Up 2 minutes (healthy)"
        if words[0] == "unpause":
            assert sorted(words[1:]) == sorted(self.frozen), "Docker refuses to thaw what is not frozen"
            self.frozen.clear()
        if words[0] == "pause":
            assert not set(words[1:]) & set(self.frozen), "Docker refuses to freeze what is frozen"
            for name in words[1:]:
                if name == "n8n" and self.refusals:
                    self.refusals -= 1
                    raise backup.BackupError("unable to freeze")
                self.frozen.append(name)
        return ""


@pytest.mark.parametrize("refusals", [0, 2, 99])
def test_frozen_services_run_again_even_where_one_does_not_freeze(
    config: Any, monkeypatch: pytest.MonkeyPatch, refusals: int
) -> None:
    docker, clock = Freezer(refusals), iter(range(0, 1000, 10))
    monkeypatch.setattr(backup, "run", docker)
    monkeypatch.setattr(backup.subprocess, "run", lambda *_arguments, **_options: SimpleNamespace(returncode=0))
    monkeypatch.setattr(backup.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(backup.time, "sleep", lambda _seconds: None)
    expected = pytest.raises(backup.BackupError, match="unable to freeze") if refusals > 9 else contextlib.nullcontext()
    with expected, backup.paused(dataclasses.replace(config, pause=True)):
        assert docker.frozen == ["kestra", "n8n"]
    assert docker.frozen == []
    assert docker.commands[-1] == "systemctl start orchestration-watchdog.timer"


def test_second_run_is_kept_out(config: Any) -> None:
    with (
        backup.locked(config),
        pytest.raises(backup.BackupError, match="another backup or restore runs"),
        backup.locked(config),
    ):
        pass


def hold(config: Any, since: float) -> None:
    """Let a playbook hold the host, as it does; it has renewed its lock so many seconds ago."""
    now = host_lock.uptime()
    host_lock.store(config.host_lock, host_lock.Lock(host_lock.Run("ops@ci", "ci", "1-1"), 1.0, now - since))


def test_nightly_backup_waits_for_a_playbook_and_another_backup(
    config: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hold(config, since=5)
    lock, other = config.root / "backups" / ".lock", contextlib.ExitStack()

    def next_step(_seconds: float) -> None:
        if config.host_lock.exists():
            assert not is_locked(lock), "the playbook finds the host undisturbed while the backup waits for it"
            config.host_lock.unlink()
            other.enter_context(backup.locked(config))
        else:
            other.close()

    monkeypatch.setattr(backup.time, "sleep", next_step)
    with backup.quiet(config):
        assert is_locked(lock)
    assert not is_locked(lock)
    assert re.findall("waits, since (.*)", capsys.readouterr().err) == [
        "a playbook of ops@ci changes this host",
        "another backup or restore runs on this host; wait until it has ended",
    ]


def test_nightly_backup_takes_what_the_playbook_has_set(
    config: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "backup.json"

    def write(**changes: int) -> None:
        path.write_text(json.dumps(dataclasses.asdict(config) | changes, default=str))

    def playbook_ends(_seconds: float) -> None:
        write(keep=3)
        config.host_lock.unlink()

    write(keep=9)
    hold(config, since=5)
    monkeypatch.setattr(backup.time, "sleep", playbook_ends)
    monkeypatch.setattr(backup, "create", lambda found: {"keep": found.keep})
    options = backup.parser().parse_args(["--config", str(path), "create", "--wait"])
    assert backup.act(backup.Config.read(path), options) == {"keep": 3}


@pytest.mark.parametrize("since", [4000, -10])
def test_nightly_backup_minds_no_lock_that_is_left(config: Any, since: float) -> None:
    hold(config, since)
    with backup.quiet(config):
        pass


def test_nightly_backup_gives_up_at_last_and_says_who_is_at_work(config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    hold(config, since=5)
    monkeypatch.setattr(backup, "LONGEST_WAIT", -1)
    with pytest.raises(backup.BackupError, match="a playbook of ops@ci changes this host"), backup.quiet(config):
        pass


def test_configuration_that_is_missing_names_the_playbook(tmp_path: Path) -> None:
    with pytest.raises(backup.BackupError, match=r"playbooks/backup\.yml, which writes it"):
        backup.Config.read(tmp_path / "backup.json")


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        (["n8n running healthy\nother running"], ""),
        (["n8n running starting", "n8n running unhealthy", "n8n running healthy"], ""),
        (["n8n restarting"], "n8n is restarting after 0 s. Its log: last words"),
        (["kestra running healthy\nn8n exited"], "n8n is exited after 0 s"),
    ],
)
def test_services_are_awaited(config: Any, monkeypatch: pytest.MonkeyPatch, answers: list[str], message: str) -> None:
    waiting = dataclasses.replace(config, start_timeout=0 if message else 60)
    monkeypatch.setattr(backup.time, "sleep", lambda seconds: None)

    def run(command: list[str], **_options: Any) -> str:
        if "logs" in command:
            return "last words"
        return (answers.pop(0) if len(answers) > 1 else answers[0]) if "ps" in command else ""

    monkeypatch.setattr(backup, "run", run)
    if message:
        with pytest.raises(backup.BackupError, match=message):
            backup.start(waiting)
    else:
        backup.start(waiting)
        assert len(answers) == 1
