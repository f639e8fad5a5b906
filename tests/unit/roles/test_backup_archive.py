"""Archives of the former format: what is refused, and that sound ones are read and restored."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import io
import json
import os
import re
import resource
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from orchestration_backup import archive as archives
from orchestration_backup import manifest as manifests
from orchestration_backup import restore
from orchestration_backup.archive import Archive
from orchestration_backup.config import Config
from orchestration_backup.errors import BackupError

from .backup_host import FILES, VERSIONS, Docker, tree
from .backup_program import PROGRAM

TREES = {
    "configuration.tar.gz": ["secrets", "env", "services", "kestra-config", "rollback", "compose.yml"],
    "kestra.tar.gz": ["data/kestra"],
    "n8n.tar.gz": ["data/n8n"],
    "sidecar.tar.gz": ["sidecar-data/environments"],
}


def describe(content: bytes) -> dict[str, Any]:
    return {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


@pytest.fixture
def archive(config: Config) -> Path:
    """An archive as the former program wrote it."""
    path = config.directory / "orchestration-20260131T120000Z.tar"
    found: Members = {"manifest.json": b""}
    manifest: dict[str, Any] = {
        "kind": manifests.KIND,
        "format": 2,
        "created": "2026-01-31T12:00:00Z",
        "host": "here",
        "root": str(config.root),
        "images": {name: {"image": f"{name}:{version}", "version": version} for name, version in VERSIONS.items()},
        "databases": {
            "kestra": {"server": "17.2", "rows": {"public.flows": 5}},
            "n8n": {"server": "17.2", "rows": {"public.workflow_entity": 2, "public.credentials_entity": 0}},
        },
        "parts": {},
    }
    for dump in config.dumps:
        found[dump] = archives.DUMP_MAGIC + os.urandom(5000)
        manifest["parts"][dump] = describe(found[dump])
    for name, items in TREES.items():
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz", format=tarfile.PAX_FORMAT) as tar:
            for item in items:
                tar.add(config.root / item, item)
        found[name] = buffer.getvalue()
        files = sum(any(file == item or file.startswith(f"{item}/") for item in items) for file in FILES)
        manifest["parts"][name] = describe(found[name]) | {"files": files}
    write_members(path, found | {"manifest.json": json.dumps(manifest).encode()})
    return path


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
        manifest["parts"][part] |= describe(found[part])
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
    ("newer format", with_manifest(lambda m: m.update(format=4)), "format 4 is newer than 3"),
    ("without images", with_manifest(lambda m: m.pop("images")), "its manifest has no images"),
    ("without a root", with_manifest(lambda m: m.pop("root")), "its manifest has no root"),
    ("images not objects", with_manifest(lambda m: m["images"].update(n8n=1)), "its manifest has no images"),
    ("hash removed", with_manifest(lambda m: m["parts"]["n8n.dump"].pop("sha256")), "no size and hash of n8n.dump"),
    ("part unlisted", with_manifest(lambda m: m["parts"].pop("n8n.dump")), "does not list the parts"),
    ("other root", with_manifest(lambda m: m.update(root="/srv/other")), "Set orchestration_root to that"),
    ("climbs", with_member("n8n.tar.gz", member("data/n8n/../../../etc/x")), "points outside the archive"),
    ("absolute", with_member("n8n.tar.gz", member("/etc/x")), "points outside the archive"),
    ("of no part", with_member("n8n.tar.gz", member("backups/x")), "does not belong in n8n.tar.gz"),
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
    docker = Docker(config, monkeypatch)
    expected = {"versions": VERSIONS}
    with pytest.raises(BackupError, match=f"refused: .*({message})"):
        restore.check(config, Archive(config, archive, None), expected)
    with pytest.raises(BackupError, match=f"refused: .*({message})"):
        restore.restore(config, Archive(config, archive, None), expected)
    assert tree(config.root) == before
    assert docker.commands == ["docker compose version"]


def test_path_that_occurs_twice_is_refused(config: Config, archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_member("n8n.tar.gz", member("data/n8n/config"))(archive)
    before = tree(config.root)
    Docker(config, monkeypatch)
    with pytest.raises(BackupError, match="File exists"):
        restore.restore(config, Archive(config, archive, None), {})
    assert tree(config.root) == before


def test_user_of_the_sidecar_cannot_lead_an_archive_elsewhere(
    config: Config, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim, link = tmp_path / "victim", config.root / "sidecar-data/.environments.restored"
    victim.mkdir()
    unpack = archives.unpack

    def attacked(*arguments: Any) -> None:
        if not os.path.lexists(link):
            link.symlink_to(victim)
        unpack(*arguments)

    monkeypatch.setattr(archives, "unpack", attacked)
    Docker(config, monkeypatch)
    restore.restore(config, Archive(config, archive, None), {})
    assert list(victim.iterdir()) == []
    assert (config.root / "sidecar-data/environments/stage.json").read_text() == "{}"


def test_sound_archive_passes(config: Config, archive: Path) -> None:
    result = restore.check(config, Archive(config, archive, None), {"versions": VERSIONS})
    assert result["versions"] == VERSIONS
    assert result["counts"]["files"] == len(FILES)
    assert restore.check(config, Archive(config, archive, None), {"versions": VERSIONS | {"n8n": "2.50.0"}})


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
    manifest["parts"][name] |= describe(old.getvalue())
    write_members(archive, found | {name: old.getvalue(), "manifest.json": json.dumps(manifest).encode()})


def test_archive_of_format_1_is_restored_with_the_present_names(
    config: Config, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive_of_format_1(config, archive)
    wanted = tree(config.root)
    (config.root / "rollback").rename(config.root / "former")
    docker = Docker(config, monkeypatch)
    restore.restore(config, Archive(config, archive, None), {"versions": VERSIONS})
    found = tree(config.root)
    assert found["rollback/n8n/record.json"] == wanted["rollback/n8n/record.json"]
    assert not (config.root / "former").exists()
    assert {path for path in found if path.startswith(".")} == set()
    # They do not have the roles that permissions are for.
    assert all("--no-acl" in command for command in docker.commands if "pg_restore" in command)
    assert (config.root / "secrets/backup_password").read_text() == "of the store"


def test_restored_archive_keeps_the_access_to_the_stores(
    config: Config, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An archive has none, or a former one, and the host could not open its stores any more."""
    (config.root / "secrets/backup_password").write_text("present")
    (config.root / "secrets/n8n_encryption_key").write_text("changed since")
    Docker(config, monkeypatch)
    restore.restore(config, Archive(config, archive, None), {})
    assert (config.root / "secrets/backup_password").read_text() == "present"
    assert (config.root / "secrets/n8n_encryption_key").read_text() == "key"


@pytest.mark.parametrize("content", ["files", "zeros"])
def test_archive_is_read_in_linear_time_and_little_memory(config: Config, archive: Path, content: str) -> None:
    """20,000 empty files took 11 s of CPU, and 300 MB of zeros 49 s and 900 MB of memory."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as tar:
        if content == "files":
            for number in range(20_000):
                tar.addfile(member(f"data/n8n/{number}"))
        else:
            zeros = member("data/n8n/zeros")
            zeros.size = 300 * 1024 * 1024
            with Path("/dev/zero").open("rb") as source:
                tar.addfile(zeros, source)
    found = members(archive)
    manifest = json.loads(found["manifest.json"])
    found["n8n.tar.gz"] = buffer.getvalue()
    manifest["parts"]["n8n.tar.gz"] |= describe(found["n8n.tar.gz"])
    write_members(archive, found | {"manifest.json": json.dumps(manifest).encode()})

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_DATA, (100 * 1024**2, 100 * 1024**2))

    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = ["python3", str(PROGRAM), "--config", str(config.root.parent / "backup.json"), "check", archive.name]
    result = subprocess.run(command, capture_output=True, text=True, preexec_fn=limit, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert result.returncode == 0, result.stderr
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 8


def test_archive_that_would_fill_the_disk_is_not_unpacked_to_its_end(
    config: Config, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = tree(config.root)
    Docker(config, monkeypatch)
    with pytest.raises(BackupError, match="MiB of free space, and the rest of the archive needs 256 MiB and"):
        full = dataclasses.replace(config, minimum_free=10**18)
        restore.restore(full, Archive(full, archive, None), {})
    assert tree(config.root) == before


def test_killed_decryption_is_named(
    config: Config, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The archive looks cut short then, and the reason would be lost."""
    program = tmp_path / "path" / "age"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\nhead -c 9000 {archive}\nkill -9 $$\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    encrypted = archive.with_suffix(".tar.age")
    encrypted.write_bytes(b"age")
    with pytest.raises(BackupError, match="refused: age cannot decrypt it: it was killed by signal 9"):
        restore.check(config, Archive(config, encrypted, tmp_path / "key"), {})
