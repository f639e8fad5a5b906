"""A restore: what it brings back, what it refuses, and that a failed one leaves everything as it was."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from orchestration_backup import create, files, migrate, process, restore, space, verify
from orchestration_backup.config import Config
from orchestration_backup.errors import BackupError
from orchestration_backup.state import State

from .backup_host import VERSIONS, Copied, Docker, tree


def changed(config: Config) -> dict[str, tuple[int, bytes]]:
    """Change the host's state, so that it differs from the backup's, and return it."""
    (config.root / "data/kestra/main/company/file with spaces").write_text("changed since")
    (config.root / "data/n8n/new").write_text("new")
    shutil.rmtree(config.root / "services")
    return tree(config.root)


def test_interrupted_restore_of_a_host_with_an_old_name_is_recovered(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    (config.root / "rollback").rename(config.root / "former")
    before = tree(config.root)
    (config.root / "former").rename(config.root / ".former.previous")
    (config.root / "former").mkdir()
    (config.root / "versions").mkdir()
    Docker(config, monkeypatch)
    present = [str(item) for item in config.replaced if (config.root / item).exists() and item != "versions"]
    files.write_private(config.journal, json.dumps({"present": present}))
    assert restore.recover(config) == {"recovered": True}
    assert tree(config.root) == before


@pytest.fixture
def source(config: Config, tmp_path: Path) -> Copied:
    """A backup of the host as it is."""
    return Copied(config, tmp_path / "copied")


def test_migration_keeps_the_previous_cluster_and_changes_the_image(
    config: Config, source: Copied, monkeypatch: pytest.MonkeyPatch
) -> None:
    docker = Docker(config, monkeypatch)
    with pytest.raises(BackupError, match=r"postgres\.yml"):
        migrate.migrate(config, source, "postgres:18")
    assert not config.journal.exists() and not (config.root / ".services.restored").exists()
    (source.directory / "services/postgres.yml").write_text("  postgres:\n    image: postgres:17\n")
    docker.commands.clear()
    assert migrate.migrate(config, source, "postgres:18")["backup"] == source.name
    assert (config.root / "services/postgres.yml").read_text() == "  postgres:\n    image: postgres:18\n"
    (kept,) = (config.root / "data").glob("postgres-17.*")
    assert (kept / "pgdata/PG_VERSION").read_text() == "17\n"
    assert "docker compose up --detach postgres" in docker.commands
    assert "docker compose up --detach" not in docker.commands
    assert not [path for path in tree(config.root) if ".previous" in path or ".restored" in path]


def let_kestra_log_in(source: Copied) -> None:
    (source.directory / "secrets/kestra_password").write_text('"se\\cret"\n')
    (source.directory / "env/kestra.env").write_text('A=\' b\'\nKEY="two\\nlines"\nB="it\'s"\n')


@pytest.mark.parametrize("username", ["then@example.com", ""])
def test_verification_logs_in_as_the_user_of_the_backup(
    config: Config, source: Copied, monkeypatch: pytest.MonkeyPatch, username: str
) -> None:
    """An archive of format 1 does not name the user; the configured one is used."""
    if username:
        source.manifest["kestra_username"] = username
    let_kestra_log_in(source)
    config.last.write_text(json.dumps({"backup": source.name, "verified": None}))
    docker = Docker(config, monkeypatch)
    docker.answers["search?size=1"] = json.dumps({"total": 7})
    docker.answers["docker ps --all --quiet"] = "c1\nc2"
    docker.answers["docker network ls"] = "n1"
    result = verify.verify(config, source)
    assert (result["counts"]["flows"], result["counts"]["executions"], result["counts"]["decrypted"]) == (7, 7, 0)
    commands = docker.commands
    logins = [text for text, command in zip(docker.scripts, commands, strict=True) if "search?size=1" in command]
    assert logins == [rf'user = "{username or "admin@example.com"}:\"se\\cret\""'] * 2
    assert docker.environments == [("A= b\nB=it's\n", {"KEY": "two\nlines"})]
    assert not any("secret" in command or "lines" in command for command in commands)
    assert any("kestra-config:/app/kestra-config:ro" in command for command in commands)
    assert any(command.endswith("http://localhost:8081/health") for command in commands)
    label = "--label devorch.orchestration.verify=orchestration"
    assert commands[0] == f"docker network create --internal {label} orchestration-verify"
    assert all(label in command for command in commands if command.startswith("docker run"))
    assert commands[-3:] == [
        "docker rm --force --volumes c1 c2",
        "docker network ls --quiet --filter label=devorch.orchestration.verify=orchestration",
        "docker network rm n1",
    ]
    assert json.loads(config.last.read_text())["verified"] == result["verified"]
    assert State(config).verified_time(source.name) == result["verified"]
    assert not (config.state_directory / verify.STAGING).exists()


def test_failed_verification_is_remembered_and_leaves_nothing(
    config: Config, source: Copied, monkeypatch: pytest.MonkeyPatch
) -> None:
    Docker(config, monkeypatch, "pg_restore")
    with pytest.raises(BackupError, match="by request of the test"):
        verify.verify(config, source)
    state = State(config)
    assert state.latest_verification["backup"] == source.name
    assert state.latest_verification["ok"] is state.verified[source.name]["ok"] is False
    assert state.latest_verification["error"] == "by request of the test"
    assert state.verified_time(source.name) is None
    assert not (config.state_directory / verify.STAGING).exists()
    monkeypatch.undo()
    let_kestra_log_in(source)
    docker = Docker(config, monkeypatch)
    docker.answers["search?size=1"] = json.dumps({"total": 7})
    verify.verify(config, source)
    assert State(config).verified_time(source.name)


@pytest.mark.parametrize("failing", ["down", "up --detach postgres", "CREATE ROLE n8n", "pg_restore", "{{.Health}}"])
def test_failed_restore_puts_the_previous_state_back(
    config: Config, source: Copied, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    before = changed(config)
    Docker(config, monkeypatch, failing)
    with pytest.raises(BackupError, match="by request of the test"):
        restore.restore(config, source, {"versions": VERSIONS})
    restore.recover(config)
    assert tree(config.root) == before


def test_rows_that_differ_fail_the_restore(config: Config, source: Copied, monkeypatch: pytest.MonkeyPatch) -> None:
    source.manifest["databases"]["kestra"]["rows"]["public.flows"] = 4
    before = changed(config)
    Docker(config, monkeypatch)
    with pytest.raises(BackupError, match=r"public\.flows: 5 instead of 4"):
        restore.restore(config, source, {"versions": VERSIONS})
    assert tree(config.root) == before


@pytest.mark.parametrize("ends_after", range(14))
def test_restore_interrupted_at_any_point_is_recovered(
    config: Config, source: Copied, monkeypatch: pytest.MonkeyPatch, ends_after: int
) -> None:
    """The program ends after so many renames. The previous state is put back, and backups are refused until then."""
    before = changed(config)
    Docker(config, monkeypatch)
    restore.stage(config, source, {})
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
        create.create(config, "manual")
    assert restore.recover(config) == {"recovered": True}
    assert tree(config.root) == before


def test_everything_is_on_the_disk_before_the_previous_state_goes(
    config: Config, source: Copied, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []
    Docker(config, monkeypatch)
    monkeypatch.setattr(
        process,
        "synchronise",
        lambda path: seen.append((config.root / ".secrets.previous").exists() and config.journal.exists()),
    )
    restore.restore(config, source, {})
    assert seen and all(seen)
    assert not (config.root / ".secrets.previous").exists() and not config.journal.exists()


@pytest.mark.parametrize("mounted", ["data/kestra", "data/postgres", "data/n8n/a b", "sidecar-data"])
def test_what_cannot_be_set_aside_is_refused_before_any_change(
    config: Config, source: Copied, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mounted: str
) -> None:
    before = changed(config)
    docker = Docker(config, monkeypatch)
    where = config.root / mounted
    if mounted == "sidecar-data":
        where.rename(tmp_path / "elsewhere")
        where.symlink_to(tmp_path / "elsewhere")
        reason = f"{where}: is a symbolic link or on another file system than {config.state_directory}"
    else:
        table = tmp_path / "mountinfo"
        table.write_text(f"36 35 98:0 / / rw\n37 36 98:0 /x {str(where).replace(' ', chr(92) + '040')} rw - ext4\n")
        monkeypatch.setattr(space, "MOUNTS", table)
        reason = f"{where}: is a mount point, which a restore cannot set aside. Mount the disk at {config.root}/data"
    with pytest.raises(BackupError, match=re.escape(reason)):
        restore.check(config, source, {})
    with pytest.raises(BackupError, match=re.escape(reason)):
        restore.restore(config, source, {})
    assert docker.commands == ["docker compose version"] and not config.journal.exists()
    assert mounted == "sidecar-data" or tree(config.root) == before


def test_mounts_of_this_host_are_known() -> None:
    assert Path("/proc") in space.mount_points()


def test_link_that_leads_nowhere_is_put_back_after_a_failed_restore(
    config: Config, source: Copied, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(config.root / "data/kestra")
    (config.root / "data/kestra").symlink_to("/nowhere")
    before = tree(config.root)
    Docker(config, monkeypatch, "pg_restore")
    with pytest.raises(BackupError, match="the previous state is back: by request"):
        restore.restore(config, source, {})
    assert tree(config.root) == before
    assert (config.root / "data/kestra").readlink() == Path("/nowhere")
    restore.restore(config, source, {})
    assert (config.root / "data/kestra/main").is_dir() and not (config.root / "data/kestra").is_symlink()


GLOBALS = """--
-- Roles
--

\\restrict abc
SET standard_conforming_strings = on;
CREATE ROLE grafana;
ALTER ROLE grafana WITH NOSUPERUSER LOGIN PASSWORD 'SCRAM-SHA-256$4096:a''b;
c';
COMMENT ON ROLE grafana IS 'two
-- lines;
CREATE ROLE n8n;
';
CREATE ROLE n8n;
ALTER ROLE n8n WITH LOGIN PASSWORD 'old';
CREATE ROLE "n8n;
odd";
CREATE ROLE postgres;
ALTER ROLE postgres WITH SUPERUSER;
CREATE TABLESPACE fast OWNER postgres LOCATION '/fast';
GRANT pg_read_all_data TO grafana GRANTED BY postgres;
"""


def test_foreign_roles_are_created_and_ours_are_left_alone(config: Config, tmp_path: Path) -> None:
    (tmp_path / "globals.sql").write_text(GLOBALS)
    found = list(restore.statements(restore.foreign_roles(config, tmp_path)))
    assert found == [
        "SET standard_conforming_strings = on;\n",
        "CREATE ROLE grafana;\n",
        "ALTER ROLE grafana WITH NOSUPERUSER LOGIN PASSWORD 'SCRAM-SHA-256$4096:a''b;\nc';\n",
        "COMMENT ON ROLE grafana IS 'two\n-- lines;\nCREATE ROLE n8n;\n';\n",
        'CREATE ROLE "n8n;\nodd";\n',
        "GRANT pg_read_all_data TO grafana GRANTED BY postgres;\n",
    ]


def test_role_that_cannot_be_created_is_named_without_its_password(
    config: Config, source: Copied, monkeypatch: pytest.MonkeyPatch
) -> None:
    (source.directory / "dumps/globals.sql").write_text(GLOBALS)
    docker = Docker(config, monkeypatch)
    docker.answers["psql -XqAt -U postgres"] = (
        "psql:<stdin>:3: ERROR:  type \"vault\" does not exist\nLINE 1: ALTER ROLE grafana PASSWORD 'SCRAM'"
    )
    assert restore.restore(config, source, {})["uncovered"] == ['type "vault" does not exist'] * 2


@pytest.mark.parametrize(
    ("service", "archived", "wanted", "refused"),
    [
        ("postgres", "18.1", "17", True),
        ("postgres", "17", "17.6", False),
        # Its server says 17.2.
        ("postgres", "latest", "17", False),
        ("postgres", "latest", "12", True),
        ("n8n", "2.41.1", "2.50.0", False),
        ("n8n", "latest", "2.50.0", True),
        ("n8n", "2.41.1", "stable", True),
        ("n8n", "stable", "stable", False),
        ("kestra", "v1.3.2", "v2.0.5", True),
    ],
)
def test_versions_that_do_not_fit_or_cannot_be_compared_are_refused(
    config: Config, source: Copied, service: str, archived: str, wanted: str, refused: bool
) -> None:
    source.manifest["images"][service]["version"] = archived
    if refused:
        with pytest.raises(BackupError, match=f"data of {service} .*, but {service}_version is {wanted}"):
            restore.check(config, source, {"versions": {service: wanted}})
    else:
        restore.check(config, source, {"versions": {service: wanted}})
