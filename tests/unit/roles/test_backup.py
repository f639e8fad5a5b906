"""The backup program: what it writes, what it refuses, and that a failed restore leaves everything as it was."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import gzip
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.devorch.orchestration.plugins.module_utils.host import lock as host_lock
from ansible_collections.devorch.orchestration.plugins.modules.host_lock import is_locked

from .backup_program import PACKAGE, PROGRAM

sys.path.insert(0, str(PROGRAM))

from orchestration_backup import archive as archives
from orchestration_backup import cli, compose, create, files, lock, migrate, process, restore, verify
from orchestration_backup.config import Config
from orchestration_backup.errors import BackupError

VERSIONS = {"postgres": "17", "kestra": "v2.0.5", "n8n": "2.41.1"}
FILES = {
    "secrets/n8n_encryption_key": "key",
    "secrets/kestra_database_password": "it's",
    "secrets/n8n_database_password": "other",
    "env/n8n.env": "N8N_ENCRYPTION_KEY='key'\n",
    "services/n8n.yml": "services: {}\n",
    "kestra-config/standalone.yml": "kestra: {}\n",
    "rollback/n8n/record.json": "{}",
    "compose.yml": "name: orchestration\n",
    "data/kestra/main/company/file with spaces": "stored",
    "data/n8n/config": "{}",
    "sidecar-data/environments/stage.json": "{}",
}


def settings(tmp_path: Path) -> dict[str, Any]:
    """Return the backup.json that the role writes."""
    root = tmp_path / "root"
    return {
        "root": str(root),
        "project": "orchestration",
        "compose_file": "compose.yml",
        "services_directory": "services",
        "environment_directory": "env",
        "secrets_directory": "secrets",
        "cluster": "data/postgres",
        "cluster_directories": ["data/postgres/pgdata", "data/postgres/run"],
        "data": {"postgres": "data/postgres/pgdata/PG_VERSION", "kestra": "data/kestra", "n8n": "data/n8n"},
        "databases": [
            {"name": name, "owner": name, "password_secret": f"{name}_database_password"} for name in ("kestra", "n8n")
        ],
        "trees": {
            "configuration.tar.gz": [
                "secrets",
                "env",
                "services",
                "kestra-config",
                "rollback",
                "versions",
                "compose.yml",
            ],
            "kestra.tar.gz": ["data/kestra"],
            "n8n.tar.gz": ["data/n8n"],
            "sidecar.tar.gz": ["sidecar-data/environments"],
        },
        "former_names": {"former": "rollback"},
        "directory": str(root / "backups"),
        "keep": 7,
        "keep_days": 0,
        "encryption": "none",
        "recipients": [],
        "pause": False,
        "paused_services": ["kestra", "n8n"],
        "watchdog": "orchestration-watchdog.timer",
        "start_timeout": 600,
        "kestra_stop_timeout": 330,
        "state_directory": str(root / "backups"),
        "lock": str(root / "backups" / ".lock"),
        "last": str(root / "backups" / "last.json"),
        "journal": str(root / "backups" / "restore.json"),
        "host_lock": str(tmp_path / "host.lock"),
        "host_lock_expires": 3600,
        "kestra": {
            "config_directory": "kestra-config",
            "config_mount": "/app/kestra-config",
            "config_file": "/app/kestra-config/standalone.yml",
            "data_directory": "data/kestra",
            "data_mount": "/app/data",
            "health_url": "http://localhost:8081/health",
            "api_url": "http://localhost:8080/api/v1/main",
            "username": "admin@example.com",
            "password_secret": "kestra_password",
        },
        "n8n": {"data_directory": "data/n8n", "data_mount": "/home/node/.n8n"},
    }


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """The files of a host as the roles create them."""
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
    path = tmp_path / "backup.json"
    path.write_text(json.dumps(settings(tmp_path)))
    return Config.read(path)


def manifest_of(config: Config, parts: Path) -> dict[str, Any]:
    manifest: dict[str, Any] = {
        "kind": archives.KIND,
        "format": archives.FORMAT,
        "created": "2026-01-31T12:00:00Z",
        "host": "here",
        "root": str(config.root),
        "images": {name: {"image": f"{name}:{version}", "version": version} for name, version in VERSIONS.items()},
        "databases": {name: {"server": "17.2", "rows": {"public.t": 3}} for name in ("kestra", "n8n")},
        "parts": {},
    }
    for dump in config.dumps:
        (parts / dump).write_bytes(archives.DUMP_MAGIC + os.urandom(5000))
        manifest["parts"][dump] = files.describe(parts / dump)
    for name, items in config.trees.items():
        found = create.pack(config.root, items, parts / name)
        manifest["parts"][name] = files.describe(parts / name) | found
    return manifest


@pytest.fixture
def archive(config: Config, tmp_path: Path) -> Path:
    parts = tmp_path / "parts"
    parts.mkdir()
    path: Path = config.directory / "orchestration-20260131T120000Z.tar"
    manifest = manifest_of(config, parts)
    with path.open("wb") as stream:
        create.write_archive(stream, parts, manifest, [])
    return path


def tree(root: Path) -> dict[str, tuple[int, bytes]]:
    """Return the mode and content of everything below a directory, except the archives."""
    found = {}
    for path in sorted(root.rglob("*")):
        if path.suffix != ".tar" and path.name != ".lock":
            content = path.read_bytes() if path.is_file() else b""
            found[str(path.relative_to(root))] = (path.stat().st_mode, content)
    return found


# The members of an archive by name, in order.
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


def with_member(part: str, entry: tarfile.TarInfo, content: bytes = b"") -> Callable[[Path], None]:
    """Add a member to a part and update the hash in the manifest, so that only the member itself is wrong."""

    def apply(path: Path) -> None:
        found = members(path)
        buffer = io.BytesIO(gzip.decompress(found[part]))
        with tarfile.open(fileobj=buffer, mode="a") as tar:
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
        found[part] = gzip.compress(buffer.getvalue())
        manifest = json.loads(found["manifest.json"])
        hashed = path.with_suffix(".part")
        hashed.write_bytes(found[part])
        manifest["parts"][part] |= files.describe(hashed)
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


def without_part(name: str) -> Callable[[Path], None]:
    """Remove a part."""

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
    ("cut short", lambda path: os.truncate(path, path.stat().st_size // 2), "damaged|incomplete"),
    ("empty", lambda path: os.truncate(path, 0), "damaged"),
    ("not a tar", lambda path: path.write_bytes(b"#!/bin/sh\n" * 500), "damaged"),
    ("a part missing", without_part("n8n.tar.gz"), "n8n.tar.gz is missing"),
    ("no manifest", without_part("manifest.json"), "does not begin with manifest.json"),
    ("other order", reordered, "does not begin with manifest.json"),
    ("manifest not JSON", lambda path: write_members(path, members(path) | {"manifest.json": b"{"}), "is not JSON"),
    ("one member more", lambda path: write_members(path, members(path) | {"extra": b"x"}), "not in its manifest"),
    ("not a dump", other_dump, "not a dump of pg_dump"),
    ("foreign", with_manifest(lambda m: m.update(kind="other")), "not a backup of an orchestration host"),
    ("newer format", with_manifest(lambda m: m.update(format=3)), "format 3 is newer than 2"),
    ("hash removed", with_manifest(lambda m: m["parts"]["n8n.dump"].pop("sha256")), "no size and hash of n8n.dump"),
    ("part unlisted", with_manifest(lambda m: m["parts"].pop("n8n.dump")), "does not list the parts"),
    ("other root", with_manifest(lambda m: m.update(root="/srv/other")), "Set orchestration_root to that"),
    ("climbs", with_member("n8n.tar.gz", member("data/n8n/../../../etc/x")), "points outside the archive"),
    ("absolute", with_member("n8n.tar.gz", member("/etc/x")), "points outside the archive"),
    ("of another part", with_member("n8n.tar.gz", member("secrets/x")), "does not belong in n8n.tar.gz"),
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
        "postgres 18.1, but postgres_version is 17",
    ),
    (
        "older kestra wanted",
        with_manifest(lambda m: m["images"]["kestra"].update(version="v2.1.0")),
        "kestra v2.1.0, but kestra_version is v2.0.5",
    ),
    (
        "other major",
        with_manifest(lambda m: m["images"]["kestra"].update(version="v1.3.2")),
        "restore, and then change the version with playbooks/upgrade.yml",
    ),
]


@pytest.mark.parametrize(("damage", "message"), [row[1:] for row in DAMAGED], ids=[row[0] for row in DAMAGED])
def test_damaged_archive_is_refused_before_anything_is_touched(
    config: Config, archive: Path, monkeypatch: pytest.MonkeyPatch, damage: Callable[[Path], Any], message: str
) -> None:
    damage(archive)
    before = tree(config.root)
    commands: list[list[str]] = []
    monkeypatch.setattr(process, "run", lambda command, **options: commands.append(command) or "")
    expected = {"versions": VERSIONS}
    with pytest.raises(BackupError, match=f"refused: .*({message})"):
        restore.check(config, archive, None, expected)
    with pytest.raises(BackupError, match=f"refused: .*({message})"):
        restore.restore(config, archive, None, expected)
    assert tree(config.root) == before
    assert commands == [["docker", "compose", "version"]]


def test_path_that_occurs_twice_is_refused(config: Config, archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_member("n8n.tar.gz", member("data/n8n/config"))(archive)
    before = tree(config.root)
    monkeypatch.setattr(process, "run", lambda command, **options: "")
    with pytest.raises(BackupError, match="File exists"):
        restore.restore(config, archive, None, {})
    assert tree(config.root) == before


def test_sound_archive_passes(config: Config, archive: Path) -> None:
    result = restore.check(config, archive, None, {"versions": VERSIONS})
    assert result["versions"] == VERSIONS
    assert result["counts"]["files"] == len(FILES)
    assert restore.check(config, archive, None, {"versions": VERSIONS | {"n8n": "2.50.0"}})


class Docker:
    """A stand-in for Docker: it records its commands, and fails at one that contains `failing`."""

    def __init__(self, config: Config, failing: str = "") -> None:
        self.config, self.failing = config, failing
        self.commands: list[str] = []
        self.scripts: list[str] = []

    def __call__(self, command: list[str], **options: Any) -> str:
        text = " ".join(command)
        self.commands.append(text)
        self.scripts.append(options.get("text") or "")
        if "up" in command and "postgres" in command:
            # Docker does not create what it mounts.
            made = [(self.config.root / name).stat().st_mode & 0o777 for name in self.config.cluster_directories]
            assert made == [0o755, 0o755]
            (self.config.root / "data/postgres/fresh").mkdir(parents=True)
        if "{{.Health}}" in text and not self.failing:
            return "postgres running healthy\nother running"
        if self.failing and self.failing in text + self.scripts[-1]:
            self.failing = ""
            raise BackupError("by request of the test")
        return "public.t|3" if options.get("text") == compose.COUNT_ROWS else ""


def changed(config: Config) -> dict[str, tuple[int, bytes]]:
    """Change the host's state, so that it differs from the archive's, and return it."""
    (config.root / "data/kestra/main/company/file with spaces").write_text("changed since")
    (config.root / "data/n8n/new").write_text("new")
    shutil.rmtree(config.root / "services")
    return tree(config.root)


def test_restore_brings_back_every_file_with_its_mode(
    config: Config, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = tree(config.root)
    changed(config)
    docker = Docker(config)
    monkeypatch.setattr(process, "run", docker)
    restore.restore(config, archive, None, {"versions": VERSIONS})
    found = tree(config.root)
    assert "data/postgres/fresh" in found and "data/postgres/pgdata/PG_VERSION" not in found

    def files(state: dict[str, tuple[int, bytes]]) -> dict[str, tuple[int, bytes]]:
        return {path: entry for path, entry in state.items() if not path.startswith("data/postgres")}

    assert files(found) == files(wanted)
    # The passwords are passed on standard input only, quoted.
    assert not any("it's" in command for command in docker.commands)
    assert any("PASSWORD 'it''s'" in script for script in docker.scripts)


def archive_of_format_1(config: Config, archive: Path) -> None:
    """Change an archive to format 1, in which `rollback` is called `former`."""
    found = members(archive)
    manifest = json.loads(found["manifest.json"]) | {"format": 1}
    old = io.BytesIO()
    name = "configuration.tar.gz"
    with (
        tarfile.open(fileobj=io.BytesIO(found[name])) as source,
        tarfile.open(fileobj=old, mode="w:gz", format=tarfile.PAX_FORMAT) as target,
    ):
        for entry in source:
            content = source.extractfile(entry)
            entry.name = re.sub("^rollback", "former", entry.name)
            target.addfile(entry, content)
    part = archive.with_suffix(".part")
    part.write_bytes(old.getvalue())
    manifest["parts"][name] |= files.describe(part)
    part.unlink()
    write_members(archive, found | {name: old.getvalue(), "manifest.json": json.dumps(manifest).encode()})


def test_archive_of_format_1_is_restored_with_the_present_names(
    config: Config, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive_of_format_1(config, archive)
    wanted = tree(config.root)
    (config.root / "rollback").rename(config.root / "former")
    monkeypatch.setattr(process, "run", Docker(config))
    restore.restore(config, archive, None, {"versions": VERSIONS})
    found = tree(config.root)
    assert found["rollback/n8n/record.json"] == wanted["rollback/n8n/record.json"]
    assert not (config.root / "former").exists()
    assert {path for path in found if path.startswith(".")} == set()


def test_interrupted_restore_of_a_host_with_an_old_name_is_recovered(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    (config.root / "rollback").rename(config.root / "former")
    before = tree(config.root)
    (config.root / "former").rename(config.root / ".former.previous")
    (config.root / "former").mkdir()
    (config.root / "versions").mkdir()
    monkeypatch.setattr(process, "run", Docker(config))
    present = [str(item) for item in config.replaced if (config.root / item).exists() and item != "versions"]
    files.write_private(config.journal, json.dumps({"present": present}))
    assert restore.recover(config) == {"recovered": True}
    assert tree(config.root) == before


def test_migration_keeps_the_previous_cluster_and_changes_the_image(
    config: Config, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BackupError, match=r"postgres\.yml"), monkeypatch.context() as patch:
        patch.setattr(process, "run", Docker(config))
        migrate.migrate(config, archive, None, "postgres:18")
    assert not config.journal.exists() and not (config.root / ".services.restored").exists()
    with_member("configuration.tar.gz", member("services/postgres.yml"), b"  postgres:\n    image: postgres:17\n")(
        archive
    )
    docker = Docker(config)
    monkeypatch.setattr(process, "run", docker)
    migrate.migrate(config, archive, None, "postgres:18")
    assert (config.root / "services/postgres.yml").read_text() == "  postgres:\n    image: postgres:18\n"
    (kept,) = (config.root / "data").glob("postgres-17.*")
    assert (kept / "pgdata/PG_VERSION").read_text() == "17\n"
    assert "docker compose up --detach postgres" in docker.commands
    assert "docker compose up --detach" not in docker.commands
    assert not [path for path in tree(config.root) if ".previous" in path or ".restored" in path]


@pytest.mark.parametrize("username", ["then@example.com", ""])
def test_verification_logs_in_as_the_user_of_the_archive(
    config: Config, archive: Path, monkeypatch: pytest.MonkeyPatch, username: str
) -> None:
    """An archive of format 1 does not name the user; the configured one is used."""
    if username:
        with_manifest(lambda m: m.update(kestra_username=username))(archive)
    with_member("configuration.tar.gz", member("secrets/kestra_password"), b'"se\\cret"\n')(archive)
    with_member("configuration.tar.gz", member("env/kestra.env"), b'A=\' b\'\nKEY="two\\nlines"\nB="it\'s"\n')(archive)
    config.last.write_text(json.dumps({"archive": str(archive), "verified": None}))
    commands: list[str] = []
    logins: list[str] = []
    environments: list[tuple[str, dict[str, str]]] = []

    def run(command: list[str], **options: Any) -> str:
        commands.append(" ".join(command))
        if "--env-file" in command:
            assert command[command.index("--env") + 1] == "KEY"
            environments.append((Path(command[command.index("--env-file") + 1]).read_text(), options["environment"]))
        if options.get("text") == compose.COUNT_ROWS:
            return "public.t|3"
        if "search?size=1" in command[-1]:
            logins.append(options["text"])
            return json.dumps({"total": 7})
        return ""

    monkeypatch.setattr(process, "run", run)
    result = verify.verify(config, archive, None)
    assert (result["counts"]["flows"], result["counts"]["executions"], result["counts"]["decrypted"]) == (7, 7, 0)
    assert logins == [rf'user = "{username or "admin@example.com"}:\"se\\cret\""'] * 2
    assert environments == [("A= b\nB=it's\n", {"KEY": "two\nlines"})]
    assert not any("secret" in command or "lines" in command for command in commands)
    assert any("kestra-config:/app/kestra-config:ro" in command for command in commands)
    assert any(command.endswith("http://localhost:8081/health") for command in commands)
    assert commands[0].startswith("docker network create --internal orchestration-verify-")
    assert commands[-1].startswith("docker network rm orchestration-verify-")
    assert json.loads(config.last.read_text())["verified"] == result["verified"]


def test_programs_get_variables_of_several_lines() -> None:
    assert process.run(["sh", "-c", 'printf %s "$KEY"'], environment={"KEY": "two\nlines"}) == "two\nlines"


FAKE_DOCKER = r"""#!/usr/bin/python3
import json, sys
words = " ".join(sys.argv[1:])
if words.startswith("compose config"):
    print(json.dumps({"services": {"n8n": {"image": "docker.io/n8nio/n8n:2.41.1@sha256:00"}}}))
elif words.startswith("image inspect"):
    print("n8nio/n8n@sha256:00")
elif "pg_dump" in words:
    assert "--snapshot 0001" in words
    print("PGDMP of", sys.argv[-1])
elif "psql" in words:
    query = ""
    for line in sys.stdin:
        if not line.startswith("\\echo"):
            query += line
            continue
        if "pg_export_snapshot" in query:
            print("0001")
        elif "count(*)" in query:
            n8n = "public.workflow_entity|2\npublic.credentials_entity|0"
            print(n8n if sys.argv[-1] == "n8n" else "public.flows|5")
        elif "server_version" in query:
            print("17.2 (Debian)")
        query = ""
        print("end of answer", flush=True)
else:
    sys.exit(f"unexpected: {words}")
"""


def test_backup_is_created_and_passes_its_own_check(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docker = tmp_path / "path" / "docker"
    docker.parent.mkdir()
    docker.write_text(FAKE_DOCKER)
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", f"{docker.parent}:{os.environ['PATH']}")
    old = config.directory / "orchestration-20200101T000000Z.tar"
    old.touch()
    marker = create.create(dataclasses.replace(config, keep=1))
    counts = {"workflows": 2, "credentials": 0, "rows": 7, "files": len(FILES)}
    assert (marker["verified"], marker["counts"], marker["removed"]) == (None, counts, [old.name])
    path = Path(marker["archive"])
    assert path.stat().st_mode & 0o777 in (0o600, 0o644) and list(config.directory.glob("orchestration-*")) == [path]
    assert json.loads(config.last.read_text()) == {name: marker[name] for name in marker if name != "removed"}
    found = restore.check(config, path, None, {"versions": {"n8n": "2.41.1"}})
    assert (found["versions"], found["counts"]) == ({"n8n": "2.41.1"}, counts)
    manifest = json.loads(members(path)["manifest.json"])
    assert manifest["databases"]["kestra"] == {"server": "17.2", "rows": {"public.flows": 5}}
    assert (manifest["format"], manifest["kestra_username"]) == (2, "admin@example.com")
    assert manifest["images"]["n8n"]["digests"] == "n8nio/n8n@sha256:00"


def test_services_get_the_time_that_kestra_needs_to_stop(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    docker = Docker(config)
    monkeypatch.setattr(process, "run", docker)
    compose.stop(dataclasses.replace(config, kestra_stop_timeout=630))
    assert docker.commands == ["docker compose down --timeout 630"]


@pytest.mark.parametrize("failing", ["down", "up --detach postgres", "CREATE ROLE n8n", "pg_restore", "{{.Health}}"])
def test_failed_restore_puts_the_previous_state_back(
    config: Config, archive: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    before = changed(config)
    monkeypatch.setattr(process, "run", Docker(config, failing))
    with pytest.raises(BackupError, match="by request of the test"):
        restore.restore(config, archive, None, {"versions": VERSIONS})
    restore.recover(config)
    assert tree(config.root) == before


def test_rows_that_differ_fail_the_restore(config: Config, archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_manifest(lambda m: m["databases"]["n8n"]["rows"].update({"public.t": 4}))(archive)
    before = changed(config)
    monkeypatch.setattr(process, "run", Docker(config))
    with pytest.raises(BackupError, match=r"public\.t: 3 instead of 4"):
        restore.restore(config, archive, None, {"versions": VERSIONS})
    assert tree(config.root) == before


@pytest.mark.parametrize("ends_after", range(14))
def test_restore_interrupted_at_any_point_is_recovered(
    config: Config, archive: Path, monkeypatch: pytest.MonkeyPatch, ends_after: int
) -> None:
    """The program ends after so many renames. The previous state is put back, and backups are refused until then."""
    before = changed(config)
    monkeypatch.setattr(process, "run", Docker(config))
    manifest, _dumps = restore.stage(config, archive, None, {})
    present = [item for item in config.replaced if (config.root / item).exists()]
    files.write_private(config.journal, json.dumps({"present": present}))
    renames = 0
    rename = Path.rename

    def counted(self: Path, target: Path) -> Path:
        nonlocal renames
        if renames == ends_after:
            raise KeyboardInterrupt
        renames += 1
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", counted)
        with pytest.raises(KeyboardInterrupt):
            restore.swap(config)
    with pytest.raises(BackupError, match="a restore was interrupted"):
        create.create(config)
    assert restore.recover(config) == {"recovered": True}
    assert tree(config.root) == before
    assert manifest["parts"]


@pytest.mark.parametrize("missing", ["data/postgres/pgdata/PG_VERSION", "data/kestra", "data/n8n"])
def test_backup_without_the_data_of_a_service_is_refused(config: Config, missing: str) -> None:
    for service in config.data:
        (config.root / "services" / f"{service}.yml").write_text("services: {}\n")
    old = [config.directory / f"orchestration-2020010{day}T000000Z.tar" for day in range(1, 9)]
    for archive in old:
        archive.touch()
    (config.root / missing).rename(config.root / "away")
    with pytest.raises(BackupError, match=re.escape(f"{config.root / missing}: does not exist, so the data of")):
        create.create(dataclasses.replace(config, keep=1))
    assert create.list_archives(config) == old


@pytest.mark.parametrize(
    ("keep", "days", "gone"),
    [(1, 0, [1, 2, 3, 4]), (3, 0, [1, 2]), (9, 0, []), (1, 2, [1, 2]), (4, 2, [1])],
)
def test_retention(config: Config, keep: int, days: int, gone: list[int]) -> None:
    for day in range(1, 6):
        (config.directory / f"orchestration-2026010{day}T120000Z.tar").touch()
    for name in ("other.tar", "orchestration-20260101T120000Z.tar.txt", "last.json"):
        (config.directory / name).touch()
    kept = dataclasses.replace(config, keep=keep, keep_days=days)
    expired = create.expired(kept, datetime(2026, 1, 5, 11, tzinfo=UTC))
    assert [path.name[14:22] for path in expired] == [f"2026010{day}" for day in gone]


def test_links_and_sockets_are_counted_and_left_out(config: Config, tmp_path: Path) -> None:
    (config.root / "data/n8n/link").symlink_to("/etc")
    found = create.pack(config.root, ("data/n8n",), tmp_path / "n8n.tar.gz")
    assert found == {"files": 1, "left_out": 1}
    with tarfile.open(tmp_path / "n8n.tar.gz") as tar:
        assert tar.getnames() == ["data/n8n", "data/n8n/config"]


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
    monkeypatch.setattr(process, "succeeds", lambda command: True)
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(time, "sleep", lambda _seconds: None)
    expected = pytest.raises(BackupError, match="unable to pause") if refusals > 9 else contextlib.nullcontext()
    with expected, compose.paused(dataclasses.replace(config, pause=True)):
        assert docker.paused == ["kestra", "n8n"]
    assert docker.paused == []
    assert docker.commands[-1] == "systemctl start orchestration-watchdog.timer"


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
        path.write_text(json.dumps(settings(tmp_path) | {"keep": 3}))
        config.host_lock.unlink()

    hold(config, since=5)
    monkeypatch.setattr(time, "sleep", playbook_ends)
    monkeypatch.setattr(cli, "create", lambda found: {"keep": found.keep})
    options = cli.parser().parse_args(["--config", str(path), "create", "--wait"])
    assert cli.execute(Config.read(path), options) == {"keep": 3}


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
    """Return the names of all keys, except those that are names of parts, files and services."""
    names = []
    for name, value in found.items():
        names.append(f"{prefix}{name}")
        if isinstance(value, dict) and name not in ("trees", "former_names", "data"):
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
        ({"keep": "7"}, "key keep is not a whole number"),
        ({"keep": True}, "key keep is not a whole number"),
        ({"pause": "yes"}, "key pause is not true or false"),
        ({"project": None}, "key project is not text"),
        ({"lock": "backups/.lock"}, "key lock is not an absolute path"),
        ({"recipients": "age1"}, "key recipients is not a list"),
        ({"trees": []}, "key trees is not an object"),
        ({"trees": {"n8n.tar.gz": [1]}}, "key trees.n8n.tar.gz[0] is not text"),
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
    """Return all texts of a configuration, and the names of the parts of an archive."""
    if isinstance(found, dict):
        return leaves(list(found.values())) | {name for name in found if "." in name}
    return set().union(*map(leaves, found)) if isinstance(found, list) else {str(found)}


def test_program_knows_its_host_only_from_the_configuration() -> None:
    facts = {text.removeprefix("/root/backups/") for text in leaves(settings(Path("/")))}
    facts = {text for text in facts if re.search("[/._-]", text)}
    # ".lock" is also the name of a module.
    facts = facts - {".lock"} | {"/.lock", '".lock"'}
    assert {"last.json", "/app/data", "kestra_database_password", "orchestration-watchdog.timer"} <= facts
    facts |= {"/run/", "/opt/", "/app", "/etc/", "pgdata", "PGDATA", "localhost", "standalone", "8080", "8081", "330"}
    for path in sorted(PACKAGE.rglob("*.py")):
        text = path.read_text("utf-8")
        assert [fact for fact in sorted(facts) if fact in text] == [], path.name


def program(*arguments: str, directory: Path = PROGRAM.parent) -> subprocess.CompletedProcess[str]:
    """Run the program as a host does, by its first line."""
    command = [str(directory / "orchestration-backup"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_program_is_one_file_that_reads_the_configuration_beside_it(
    config: Config, archive: Path, tmp_path: Path
) -> None:
    directory = tmp_path / "bin"
    directory.mkdir()
    shutil.copy(PROGRAM, directory)
    result = program("list", directory=directory)
    assert result.returncode == 1
    assert re.fullmatch(r"orchestration-backup: /.*/bin/backup.json: .*; run site.yml again\n", result.stderr)
    shutil.copy(tmp_path / "backup.json", directory)
    result = program("list", directory=directory)
    assert (result.returncode, result.stderr) == (0, "")
    assert json.loads(result.stdout) == {"archives": [{"archive": str(archive), "size": archive.stat().st_size}]}
    other = json.dumps({"versions": VERSIONS | {"kestra": "v3.0.0"}})
    result = program("check", "--expected", other, directory=directory)
    assert result.returncode == 1 and "kestra v2.0.5, but kestra_version is v3.0.0" in result.stderr
    assert {path.name for path in directory.iterdir()} == {"orchestration-backup", "backup.json"}
    assert result.stdout == ""


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
