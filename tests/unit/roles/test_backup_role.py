"""What the role of the backups hands its program, and what the playbooks do around it."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from ..playbook import play
from ..templating import ROOT, SERVICE_ROLES, evaluate, holds, load, tasks, variables

UNITS = "/etc/systemd/system"
EXPORTED = ("backup_password", "n8n_encryption_key", "kestra_encryption_key")
TARGETS = [{"name": "offsite", "repository": "s3:https://host/bucket", "environment": {"AWS_ACCESS_KEY_ID": "hunter2"}}]


def known(**more: Any) -> dict[str, Any]:
    host = {"files": {}, "packages": [], "secrets": [], **more.pop("host", {})}
    return {**variables(*SERVICE_ROLES), "orchestration_host": host, "inventory_hostname": "server", **more}


def test_credentials_are_secrets_and_in_no_other_file() -> None:
    given = known(backup_targets=TARGETS, backup_password="hunter3-hunter3")
    secrets = evaluate("{{ backup_profile.secrets }}", given)
    assert secrets["backup_password"] == {"value": "hunter3-hunter3", "immutable": True}
    assert secrets["backup_offsite_environment"]["value"] == "AWS_ACCESS_KEY_ID=hunter2\n"
    assert "hunter" not in json.dumps(evaluate("{{ _backup_files }}", given))
    assert {"age", "restic"} <= set(evaluate("{{ backup_profile.packages }}", given))
    assert evaluate("{{ backup_profile.stores }}", given) == ["local", "offsite"]


@pytest.mark.parametrize(
    ("schedules", "timers"),
    [
        (("daily", ""), ["orchestration-backup"]),
        (("", "monthly"), ["orchestration-backup-verify"]),
        (("daily", "monthly"), ["orchestration-backup", "orchestration-backup-verify"]),
        (("", ""), []),
    ],
)
def test_each_schedule_has_a_timer_and_none_is_left(schedules: tuple[str, str], timers: list[str]) -> None:
    both = [f"{UNITS}/orchestration-backup{end}.timer" for end in ("", "-verify")]
    given = known(
        backup_schedule=schedules[0], backup_verify_schedule=schedules[1], host={"files": {path: {} for path in both}}
    )
    files = [file["path"] for file in evaluate("{{ _backup_files }}", given)]
    assert [path for path in files if path.endswith(".timer")] == [f"{UNITS}/{name}.timer" for name in timers]
    assert evaluate("{{ backup_profile.units }}", given) == [f"{name}.timer" for name in timers]
    assert evaluate("{{ backup_profile.calendars }}", given) == [text for text in schedules if text]
    left = evaluate("{{ _backup_unwanted_timers }}", given)
    assert sorted([*left, *timers]) == ["orchestration-backup", "orchestration-backup-verify"]
    assert set(both) <= set(evaluate("{{ backup_profile.paths }}", given))


def test_a_killed_backup_is_thawed_by_its_unit() -> None:
    unit = (ROOT / "roles/backup/templates/orchestration-backup.service.j2").read_text("utf-8")
    assert "ExecStopPost={{ _backup_program }} thaw\n" in unit and "create --reason nightly --wait" in unit


AWAY = [{"name": "local", "repository": "s3:https://host/bucket", "environment": {"AWS_ACCESS_KEY_ID": "hunter2"}}]
STORE = "/opt/orchestration/backups/repository"
STORE_FILES = ["/opt/orchestration/backups", "/opt/orchestration/bin/backup.local.repository"]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({}, False),
        ({"backup_targets": [{"name": "local", "repository": "/mnt/usb"}], "location": "/mnt/usb"}, False),
        ({"backup_targets": TARGETS}, True),
        ({"backup_targets": AWAY}, True),
        # backup_targets was emptied before.
        ({"secrets": ["backup_local_repository"]}, True),
        ({"files": [*STORE_FILES, "/opt/orchestration/bin/backup.usb.repository"]}, True),
        ({"state": {"local": "1", "offsite": "2"}}, True),
        ({"location": "/mnt/usb"}, True),
        # A purge kept the password, and removed what told why.
        ({"files": []}, True),
    ],
)
def test_purge_keeps_the_password_of_stores_elsewhere(given: dict[str, Any], kept: bool) -> None:
    names = ["backup_password", *given.get("secrets", []), "n8n_encryption_key"]
    texts = [json.dumps({"repositories": given.get("state", {"local": "1"})}), f"{given.get('location', STORE)}\n"]
    facts = known(
        backup_targets=given.get("backup_targets", []),
        host={"secrets": names, "files": {path: {} for path in given.get("files", STORE_FILES)}},
        _backup_records={"results": [{"content": base64.b64encode(text.encode()).decode()} for text in texts]},
    )
    paths = evaluate("{{ _backup_purged_paths }}", facts)
    secrets = [path.rpartition("/")[2] for path in paths if "/secrets/" in path]
    assert secrets == [*([] if kept else ["backup_password"]), *given.get("secrets", [])]
    (purge,) = [task for task in load("roles/backup/tasks/remove.yml") if "_backup_purged_paths" in str(task)]
    assert not holds(purge["when"], facts)


@pytest.mark.parametrize("purge", [True, False])
def test_purge_leaves_what_others_have_in_the_directories(tmp_path: Path, purge: bool) -> None:
    removal = yaml.safe_load((ROOT / "roles/backup/tasks/remove.yml").read_text("utf-8"))
    steps = [task for task in removal if "purge" in str(task.get("when", "")) and "slurp" not in str(task)]
    store, archives = tmp_path / "usb", tmp_path / "archives"
    for path in (
        store / "config",
        store / "keys/1",
        store / "photo",
        archives / "orchestration-20260131T023000Z.tar.age",
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    facts = {
        "orchestration_root": str(tmp_path / "root"),
        "orchestration_host": {"secrets": [], "files": {}},
        "backup_purge_data": purge,
        "backup_directory": str(archives),
        "backup_targets": [{"name": "local", "repository": str(store)}],
    }
    roles = [
        str(ROOT / f"roles/{role}/{kind}/main.yml") for role in ("common", "backup") for kind in ("defaults", "vars")
    ]
    played = play(tmp_path, steps, "--extra-vars", json.dumps(facts), play_keys={"vars_files": roles})
    assert played.returncode == 0, played.output
    left = sorted(path.name for path in store.iterdir())
    assert (left, archives.exists()) == ((["photo"], False) if purge else (["config", "keys", "photo"], True))


@pytest.mark.parametrize("stores", [["local"], ["local", "offsite"]])
def test_purge_reads_which_stores_the_host_had(tmp_path: Path, stores: list[str]) -> None:
    """A file that is missing tells nothing."""
    removal = yaml.safe_load((ROOT / "roles/backup/tasks/remove.yml").read_text("utf-8"))
    (reading,) = [task for task in removal if "slurp" in str(task)]
    shown = {"ansible.builtin.copy": {"content": "{{ _backup_stores_elsewhere }}", "dest": str(tmp_path / "found")}}
    (tmp_path / "backups").mkdir()
    (tmp_path / "backups/state.json").write_text(json.dumps({"repositories": dict.fromkeys(stores, "1")}))
    host = {"secrets": ["backup_password"], "files": {f"{tmp_path}/backups": {}}}
    facts = {"orchestration_root": str(tmp_path), "orchestration_host": host, "backup_purge_data": True}
    roles = [
        str(ROOT / f"roles/{role}/{kind}/main.yml") for role in ("common", "backup") for kind in ("defaults", "vars")
    ]
    played = play(tmp_path, [reading, shown], "--extra-vars", json.dumps(facts), play_keys={"vars_files": roles})
    assert played.returncode == 0, played.output
    assert json.loads((tmp_path / "found").read_text()) == stores[1:]


def test_credentials_of_a_store_that_is_not_wanted_any_more_are_removed() -> None:
    programs = "/opt/orchestration/bin"
    given = known(
        backup_targets=TARGETS,
        host={
            "secrets": ["backup_gone_ssh_key", "backup_offsite_environment", "backup_password", "sidecar_token"],
            "files": {f"{programs}/backup.{name}": {} for name in ("json", "local.repository", "gone.repository")},
        },
    )
    assert evaluate("{{ _backup_old_files }}", given) == [
        "/opt/orchestration/secrets/backup_gone_ssh_key",
        f"{programs}/backup.gone.repository",
    ]


@pytest.mark.parametrize(
    ("given", "arguments"),
    [
        ({}, []),
        ({"backup_snapshot": "20261129T143000Z"}, ["20261129T143000Z"]),
        ({"backup_target": "offsite"}, ["--target", "offsite"]),
        ({"backup_archive": "orchestration-1.tar"}, ["orchestration-1.tar"]),
        (
            {"backup_archive": "orchestration-1.tar.age", "backup_identity": "/key"},
            ["orchestration-1.tar.age", "--identity", "/run/orchestration-backup.identity"],
        ),
        ({"backup_upload": str(ROOT)}, []),
        ({"backup_upload": "/nowhere/a.tar"}, ["/opt/orchestration/backups/a.tar"]),
    ],
)
def test_which_backup_is_restored(given: dict[str, Any], arguments: list[str]) -> None:
    assert evaluate("{{ _backup_arguments }}", known(**given)) == arguments


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"backup_archive": "a.tar", "backup_snapshot": "x"},
            "backup_archive: an archive of the previous format is in no",
        ),
        ({"backup_target": "other"}, "backup_target: there is no store 'other'. Set one of local, offsite,"),
        ({"backup_archive": "a.tar.age"}, "backup_identity: the archive is encrypted."),
        ({"backup_upload": str(ROOT), "backup_target": "offsite"}, "backup_upload: a copy of a store takes the place"),
        (
            {
                "backup_upload": str(ROOT),
                "backup_targets": [{"name": "local", "repository": "s3:h/b"}],
            },
            "backup_upload: the store 'local' of backup_targets is not a directory",
        ),
        ({"orchestration_host": {"secrets": [], "files": {}, "packages": []}}, "backup_password: every store is"),
    ],
)
def test_what_cannot_be_restored_is_refused_by_name(given: dict[str, Any], message: str) -> None:
    facts = known(backup_targets=TARGETS, host={"secrets": ["backup_password"]}) | given
    check = next(tasks(load("roles/backup/tasks/prepare.yml")))
    wrong = [item["message"] for item in check["loop"] if not evaluate(item["that"], facts)]
    (told,) = [evaluate(text, facts) for text in wrong]
    assert told.startswith(message)
    fine = known(backup_targets=TARGETS, host={"secrets": ["backup_password"]})
    assert all(evaluate(item["that"], fine) for item in check["loop"])


def rendered(template: str, tmp_path: Path, **more: str) -> str:
    path = tmp_path / "rendered"
    copy = {"src": str(ROOT / template), "dest": str(path), "mode": "0700"}
    facts = {"orchestration_external_database": False, "orchestration_project": "orchestration", **more}
    played = play(tmp_path, [{"ansible.builtin.template": copy, "vars": facts}])
    assert played.returncode == 0, played.output
    return str(path)


@pytest.mark.parametrize(
    ("paused", "held", "thawed"), [(True, False, True), (True, True, False), (False, False, False)]
)
def test_the_watchdog_ends_a_pause_that_nobody_ends(tmp_path: Path, paused: bool, held: bool, thawed: bool) -> None:
    program, lock, journal = tmp_path / "bin/orchestration-backup", tmp_path / "lock", tmp_path / "paused.json"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/called\n')
    program.chmod(0o755)
    (tmp_path / "bin/docker").write_text("#!/bin/sh\n")
    (tmp_path / "bin/docker").chmod(0o755)
    lock.touch()
    if paused:
        journal.write_text("{}")
    script = rendered(
        "roles/postgres/templates/orchestration-watchdog.sh.j2",
        tmp_path,
        orchestration_root=str(tmp_path),
        orchestration_lock=str(tmp_path / "host"),
        orchestration_backup_lock=str(lock),
        orchestration_backup_pause=str(journal),
    )
    command = ["flock", str(lock), "sh", script] if held else ["sh", script]
    path = f"{tmp_path}/bin:/usr/bin:/bin"
    finished = subprocess.run(command, env={"PATH": path}, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    assert (tmp_path / "called").exists() is thawed
    if thawed:
        assert (tmp_path / "called").read_text() == "thaw\n"


def test_status_says_where_the_keys_are_and_not_what_they_are() -> None:
    content = load("playbooks/status.yml")[0]
    facts = known(orchestration_secrets={"secrets": {"backup_password": "hunter2"}}) | content["vars"]
    text = evaluate("{{ status_keep }}", facts)
    lines = text.splitlines()
    assert lines[1].startswith("  /opt/orchestration/secrets/backup_password") and "n8n_encryption_key" in lines[2]
    assert "export_keys.yml" in lines[-1] and "hunter" not in text
    assert "backup_password" not in evaluate("{{ status_keep }}", facts | {"backup_state": "absent"})


def test_password_of_the_backups_is_not_renewed() -> None:
    """A store cannot be opened with another one."""
    (_reach, content) = load("playbooks/rotate_secrets.yml")
    (check,) = [task for task in tasks(content["tasks"]) if task["name"] == "Check which secrets can be renewed"]
    facts = known(rotate_secrets="backup_password") | content["vars"] | {"hostvars": {"server": {}}}
    told = [evaluate(item["message"], facts) for item in check["loop"] if not evaluate(item["that"], facts)]
    assert len(told) == 1 and told[0].startswith("rotate_secrets: backup_password can't be renewed.")
    assert "backup" not in evaluate("{{ rotate_secrets_roles }}", facts)


def moved(tmp_path: Path, what: str) -> Any:
    """Run the task file that copies a store to the controller, or back."""
    facts = {
        "backup_directory": str(tmp_path / "host"),
        "backup_fetch": str(tmp_path / "copies"),
        "backup_upload": str(tmp_path / "copies" / "localhost"),
        "orchestration_root": str(tmp_path),
    }
    own = yaml.safe_load((ROOT / f"roles/backup/tasks/{what}.yml").read_text("utf-8"))
    for task in own:
        # Whoever runs the tests is the owner.
        for key in ("owner", "group"):
            task.get("ansible.builtin.copy", {}).pop(key, None)
    files = [
        str(ROOT / f"roles/{role}/{kind}/main.yml") for role in ("common", "backup") for kind in ("defaults", "vars")
    ]
    extra = ["--extra-vars", json.dumps(facts)]
    return play(tmp_path, own, *extra, play_keys={"vars_files": files})


def test_a_copy_of_the_store_gets_what_it_lacks_and_becomes_the_store_of_an_empty_host(tmp_path: Path) -> None:
    store, copy = tmp_path / "host/repository", tmp_path / "copies/localhost"
    names = ["config", "data/aa/aa11", "index/1", "keys/1", "snapshots/1", "locks/1"]
    for name in names:
        (store / name).parent.mkdir(parents=True, exist_ok=True)
        (store / name).write_text(name)
    fetched = moved(tmp_path, "fetch")
    assert fetched.returncode == 0, fetched.output
    (copy / "data/aa/aa11").write_text("a part of it: the run was killed")
    (store / "snapshots/2").write_text("new")
    assert moved(tmp_path, "fetch").returncode == 0
    found = {str(path.relative_to(copy)): path.read_text() for path in copy.rglob("*") if path.is_file()}
    assert found == {**{name: name for name in names[:-1]}, "snapshots/2": "new"}
    (tmp_path / "host").rename(tmp_path / "gone")
    uploaded = moved(tmp_path, "upload")
    assert uploaded.returncode == 0, uploaded.output
    assert {str(path.relative_to(store)): path.read_text() for path in store.rglob("*") if path.is_file()} == found
    assert {path.stat().st_mode & 0o777 for path in store.rglob("*") if path.is_file()} == {0o600}
    # A run that was killed is run again. Another store is never mixed with this one.
    assert moved(tmp_path, "upload").returncode == 0
    (store / "config").write_text("another")
    refused = moved(tmp_path, "upload")
    assert refused.returncode != 0 and "backup_upload: " in refused.output and "is another store" in refused.output
    (store / "snapshots/3").write_text("of another store")
    refused = moved(tmp_path, "fetch")
    assert refused.returncode != 0 and f"backup_fetch: {copy} on the controller is a copy of another" in refused.output
    assert not (copy / "snapshots/3").exists()


def test_exported_keys_are_in_no_command_line_and_in_no_result(tmp_path: Path) -> None:
    tasks_of = list(tasks(load("playbooks/export_keys.yml")[0]["tasks"]))
    (encrypt,) = [task for task in tasks_of if task["name"] == "Encrypt the keys on the host"]
    (tmp_path / "secrets").mkdir()
    for name in ("backup_password", "n8n_encryption_key"):
        (tmp_path / "secrets" / name).write_text(f"hunter-{name}\n")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/age").write_text(
        f'#!/bin/sh\necho "$@" > {tmp_path}/argv\ncat > {tmp_path}/given\necho encrypted\n'
    )
    (tmp_path / "bin/age").chmod(0o755)
    found = [{"item": name, "stat": {"exists": name != "kestra_encryption_key"}} for name in EXPORTED]
    facts = known(orchestration_root=str(tmp_path), export_keys_found={"results": found}, export_keys_wanted=["age1x"])
    argv = evaluate(encrypt["ansible.builtin.command"]["argv"], facts | encrypt["vars"])
    run = subprocess.run(
        argv, env={"PATH": f"{tmp_path}/bin:/usr/bin:/bin"}, capture_output=True, text=True, check=True
    )
    assert "hunter" not in f"{argv} {run.stdout} {run.stderr} {(tmp_path / 'argv').read_text()}"
    assert (tmp_path / "argv").read_text() == "--encrypt --armor --recipient age1x\n"
    assert json.loads((tmp_path / "given").read_text()) == {
        "backup_password": "hunter-backup_password",
        "n8n_encryption_key": "hunter-n8n_encryption_key",
    }


@pytest.mark.parametrize(
    ("recipients", "accepted"),
    [
        (["age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"], True),
        (["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA me@here"], True),
        ([], False),
        ("age1x", False),
        (["AGE-SECRET-KEY-1X"], False),
        (["-oother"], False),
    ],
)
def test_keys_are_exported_for_public_keys_only(recipients: Any, accepted: bool) -> None:
    content = load("playbooks/export_keys.yml")[0]
    (check,) = [task for task in tasks(content["tasks"]) if task["name"] == "Check for whom the keys are"]
    facts = known(export_keys_recipients=recipients) | content["vars"]
    assert holds(check["ansible.builtin.assert"]["that"], facts) is accepted
