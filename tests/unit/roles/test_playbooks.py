"""What playbooks and roles do in situations that no host of the system tests is in."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.devorch.orchestration.plugins.filter.upgrade_plan import upgrade_plan
from ansible_collections.devorch.orchestration.plugins.module_utils.host import lock as host_lock

from ..playbook import play, play_plainly
from ..templating import ROOT, evaluate, holds, load, reached, tasks, variables

DEPLOY, SECRETS = "devorch.orchestration.deploy", "devorch.orchestration.secrets"
LOCK = "devorch.orchestration.host_lock"
ROLES = ("common", "docker", "postgres", "sidecar", "kestra", "n8n", "backup")
FOUND: dict[str, Any] = {"files": {}, "containers": {}, "versions": {}, "docker": {"engine": "29.1"}}
"""What host_info has found."""


@pytest.mark.parametrize("path", sorted((ROOT / "playbooks").glob("*.yml")), ids=lambda path: path.stem)
def test_a_playbook_runs_whole_whatever_tags_are_asked_for(path: Path) -> None:
    """The preflight refuses the tags, and it must run for that."""
    content = yaml.safe_load(path.read_text("utf-8"))
    assert {play.get("tags") for play in content if "hosts" in play} <= {"always"}


def deployments() -> list[tuple[str, dict[str, Any]]]:
    """Return the file and the options of each task that deploys something."""
    paths = [str(path.relative_to(ROOT)) for path in sorted((ROOT / "roles").glob("*/tasks/*.yml"))]
    return [(path, task[DEPLOY]) for path in paths for task in tasks(load(path)) if DEPLOY in task]


def given(**more: Any) -> dict[str, Any]:
    """Return the variables of a play with all roles, on a host where the sidecar is installed."""
    secrets = {"secrets": {"kestra_password": "x", "sidecar_token": "x", "kestra_sidecar_token": "x"}}
    found = {"orchestration_host": FOUND, "orchestration_secrets": secrets, "_sidecar_installed": True}
    return variables(*ROLES) | found | more


@pytest.mark.parametrize("path", ["playbooks/rotate_secrets.yml", "roles/upgrade/tasks/upgrade.yml"])
def test_services_are_deployed_whatever_was_gathered_before_they_changed(path: str) -> None:
    """Also after a rollback, when they equal again what was gathered, but run with something else."""
    blocks = [task for task in tasks(load(path)) if {} in task.get("vars", {}).values()]
    (block,) = blocks
    (name,) = [name for name, value in block["vars"].items() if value == {}]
    role = "ansible.builtin.include_role"
    deploying, inside = (
        [task["name"] for task in tasks(content) if task.get(role, {}).get("tasks_from") == "manage"]
        for content in (load(path), [block])
    )
    assert deploying and deploying == inside
    assert len(deployments()) >= len(ROLES) - 1
    for file, options in deployments():
        assert evaluate(options["host"], given()) == FOUND, file
        assert evaluate(options["host"], given(**{name: {}})) == {}, file


def test_a_run_that_lost_the_host_lock_writes_no_file_and_no_secret() -> None:
    paths = [path for name in ("roles/*/tasks", "playbooks") for path in sorted(ROOT.glob(f"{name}/*.yml"))]
    writing = [
        (f"{path.relative_to(ROOT)}: {task['name']}", task[module].get("lock"))
        for path in paths
        for task in tasks(load(str(path.relative_to(ROOT))))
        for module in (DEPLOY, SECRETS)
        if module in task and task.get("check_mode") is not True
    ]
    assert len(writing) > len(ROLES)
    assert [name for name, lock in writing if lock != "{{ orchestration_lock }}"] == []


def test_failed_upgrade_restores_only_a_complete_backup() -> None:
    """Until there is one, nothing but the start of the services is to be undone."""
    (block,) = (task for task in tasks(load("roles/upgrade/tasks/upgrade.yml")) if "rescue" in task)
    (restore,) = [task for task in block["rescue"] if "restore," in str(task).replace("'", "")]
    known = {"_upgrade_has_backup": load("roles/upgrade/vars/main.yml")["_upgrade_has_backup"]}
    made = {"stdout": json.dumps({"backup": "20261129T143000Z"})}
    for given, restored in (
        ({}, False),
        ({"_upgrade_backup": {"rc": 1, "stdout": ""}}, False),
        # A file could not be read.
        ({"_upgrade_backup": {"rc": 3, **made}}, False),
        ({"_upgrade_backup": {"rc": 0, **made}}, True),
    ):
        assert holds(restore["when"], known | given) is restored
    argv = evaluate(restore["ansible.builtin.command"]["argv"], {"orchestration_root": "/o", "_upgrade_backup": made})
    assert argv == ["/o/bin/orchestration-backup", "restore", "20261129T143000Z"]


def test_the_program_knows_that_its_caller_holds_the_host_lock() -> None:
    """Otherwise it would wait for the playbook that waits for it."""
    files = [
        "roles/upgrade/tasks/upgrade.yml",
        *(f"roles/backup/tasks/{name}.yml" for name in ("create", "restore", "verify")),
    ]
    known = variables("common", "upgrade", "backup")
    found = 0
    for path in files:
        for task in tasks(load(path)):
            argv = str(task.get("ansible.builtin.command", {}).get("argv", ""))
            if "orchestration-backup" in argv or "_backup_program" in argv:
                assert evaluate(task["environment"], known) == {"ORCHESTRATION_LOCK_HELD": "1"}, task["name"]
                found += 1
    assert found == 7


@pytest.mark.parametrize("path", ["roles/upgrade/tasks/upgrade.yml", "playbooks/rotate_secrets.yml"])
def test_reason_of_a_failure_is_reported_once_and_in_one_line(path: str) -> None:
    (block,) = (task for task in tasks(load(path)) if "rescue" in task)
    reports = [task for task in block["rescue"] if {"ansible.builtin.debug", "ansible.builtin.fail"} & task.keys()]
    (report,) = [task for task in reports if "when" not in task]
    reason = "kestra does not work: it ended\nIts last log lines before that:\nmore"
    given = {"_upgrade_reason": reason, "ansible_failed_result": {"msg": reason}}
    message = evaluate(report["ansible.builtin.fail"]["msg"], given)
    assert "it ended" in message and "log lines" not in message


MADE = {"_upgrade_has_backup": True, "_upgrade_backup": {"stdout": '{"backup": "20261129T143000Z"}'}}
HELD = {"held": True, "msg": "of other words"}
LOST = {"held": False, "msg": "/run/lock: this run no longer holds the lock of the host: you@there has"}
UNREACHED = {"unreachable": True, "msg": "held by this run (is no answer of the module)"}


@pytest.mark.parametrize("path", ["roles/upgrade/tasks/upgrade.yml", "playbooks/rotate_secrets.yml"])
def test_nothing_is_rolled_back_on_a_host_that_another_run_has_taken_over(path: str) -> None:
    """An old backup would replace what that run and its users have written since."""
    (block,) = (task for task in tasks(load(path)) if "rescue" in task)
    steps = [task for task in block["rescue"] if "ansible.builtin.set_fact" not in task]
    assert steps[0][LOCK]["state"] == "renewed"
    if "failed_when" in steps[0]:
        ends = steps[1]
        assert "ansible.builtin.fail" in ends
        for answer, over in ((HELD, False), (LOST, True), (UNREACHED, True)):
            given = {steps[0]["register"]: answer, **MADE}
            assert holds(ends["when"], given) is over
            text = evaluate(ends["ansible.builtin.fail"]["msg"], given)
            assert "restore.yml -e backup_snapshot=20261129T143000Z if" in text


@pytest.mark.parametrize(
    ("known", "removed"),
    [({}, False), ({"rotate_secrets_lock": HELD}, True), ({"rotate_secrets_lock": LOST}, False)],
)
def test_copies_of_secrets_of_another_run_stay(known: dict[str, Any], removed: bool) -> None:
    """That run needs them if it has to roll back. A run that did not get the lock has made none."""
    (removal,) = [
        task
        for task in tasks(load("playbooks/rotate_secrets.yml"))
        if "copies of the old" in task["name"] and "ansible.builtin.file" in task
    ]
    assert holds(removal["when"], known) is removed


def the_task(path: str, word: str) -> dict[str, Any]:
    """Return the first task of a file in which this word is."""
    found, *_more = [task for task in tasks(load(path)) if "block" not in task and word in str(task)]
    return found


@pytest.mark.parametrize(
    ("path", "word"),
    [
        ("roles/docker/tasks/images.yml", "'load'"),
        ("roles/docker/tasks/install.yml", "ansible.builtin.apt"),
        ("roles/docker/tasks/present.yml", DEPLOY),
        ("roles/postgres/tasks/present.yml", DEPLOY),
    ],
)
def test_containers_do_not_rely_on_what_was_gathered_before_their_base_changed(path: str, word: str) -> None:
    """Images of a bundle that were just loaded, for one, are other ones than those that host_info has seen."""
    name = the_task(path, word)["register"]
    containers = [options for _file, options in deployments() if options["type"] == "compose"]
    assert len(containers) == 4
    for options in containers:
        assert evaluate(options["host"], given(**{name: {"changed": False}})) == FOUND
        assert evaluate(options["host"], given(**{name: {"changed": True}})) == {}, options["service"]


@pytest.mark.parametrize(
    ("check", "containers", "compared"),
    [
        (True, {}, False),
        (True, {"kestra": {"status": "exited", "health": ""}}, False),
        (True, {"kestra": {"status": "running", "health": "starting"}}, False),
        (True, {"kestra": {"status": "running", "health": "healthy"}}, True),
        (False, {}, True),
    ],
)
def test_check_mode_compares_flows_only_with_a_kestra_that_runs(
    check: bool, containers: dict[str, Any], compared: bool
) -> None:
    (task,) = load("roles/kestra/tasks/flows.yml")
    host = FOUND | {"containers": containers}
    assert holds(task["when"], given(ansible_check_mode=check, orchestration_host=host)) is compared


@pytest.mark.parametrize(
    ("check", "health", "missing", "asked"),
    [
        (True, "healthy", [], True),
        (True, "healthy", ["python3-psycopg2"], False),
        (True, "starting", [], False),
        (True, None, [], False),
        (False, None, [], True),
    ],
)
def test_check_mode_asks_only_a_postgresql_that_runs_and_with_its_client(
    check: bool, health: str | None, missing: list[str], asked: bool
) -> None:
    """A host that had Docker before has neither at the first check."""
    (task,) = [task for task in load("roles/postgres/tasks/present.yml") if "databases.yml" in str(task)]
    host = FOUND | {"containers": {"postgres": {"health": health}} if health else {}}
    known = given(
        ansible_check_mode=check,
        orchestration_host=host,
        orchestration_missing_packages=missing,
        _postgres_differences=["n8n"],
    )
    assert holds(task["when"], known) is asked


@pytest.mark.parametrize("name", ["status", "flows", "doctor"])
def test_playbooks_that_only_read_write_no_secret(name: str) -> None:
    """The module writes nothing in check mode."""
    reading = [task for task in reached(f"playbooks/{name}.yml") if SECRETS in task]
    assert reading
    assert [task["name"] for task in reading if task.get("check_mode") is not True] == []


GOOD, BAD = {"changed": False}, {"failed": True, "msg": "x"}


@pytest.mark.parametrize(
    ("results", "released"),
    [
        ({}, True),
        ({"orchestration_host": BAD}, True),
        ({"orchestration_host": GOOD}, True),
        ({"orchestration_host": GOOD, "orchestration_preflight": BAD}, True),
        # The second preflight of upgrade.yml: the result of the first one is still there.
        ({"orchestration_host": BAD, "orchestration_preflight": GOOD}, True),
        ({"orchestration_host": GOOD, "orchestration_preflight": GOOD}, False),
    ],
)
def test_preflight_releases_the_lock_unless_it_ended_well_and_its_caller_continues(
    results: dict[str, Any], released: bool
) -> None:
    condition = the_task("playbooks/preflight.yml", "release_lock")["when"]
    for path in ("gather_host", "preflight"):
        (task,) = load(f"roles/common/tasks/{path}.yml")
        assert task["register"] in condition
    assert holds(condition, {"preflight_keeps_lock": True, **results}) is released
    assert holds(condition, {"preflight_keeps_lock": False, **results})


ALL, REST = ["postgres", "kestra", "n8n"], ["postgres", "kestra"]


@pytest.mark.parametrize(
    ("state", "versions", "containers", "steps", "engines"),
    [
        ("present", ALL, ALL, ALL, ["kestra", "n8n"]),
        # One that was removed has left its data, and the version that ran on them.
        ("absent", ALL, REST, REST, ["kestra"]),
        # One that was removed and is wanted again has no container to stop.
        ("present", ALL, REST, ALL, ["kestra"]),
        ("present", REST, REST, REST, ["kestra"]),
        ("absent", REST, REST, REST, ["kestra"]),
    ],
    ids=["all are there", "one is absent", "one is to return", "one is new", "one never was"],
)
def test_an_upgrade_leaves_out_services_that_are_not_there(
    state: str, versions: list[str], containers: list[str], steps: list[str], engines: list[str]
) -> None:
    image = "docker.io/x/{}:1"
    host = FOUND | {
        "versions": {name: image.format(name) for name in versions},
        "containers": {name: {"image": image.format(name)} for name in containers},
    }
    known = given(orchestration_host=host, n8n_state=state) | variables("upgrade")
    present, wanted = (evaluate(f"{{{{ _upgrade_{name}_images }}}}", known) for name in ("current", "wanted"))
    assert [step["service"] for step in upgrade_plan(present, wanted, known["_upgrade_rules"])] == steps
    assert evaluate("{{ _upgrade_stopped_services }}", known) == engines


def test_secrets_of_services_that_are_not_there_are_not_renewed() -> None:
    _reached, content = load("playbooks/rotate_secrets.yml")
    everything = evaluate("{{ rotate_secrets_wanted }}", content["vars"] | given(n8n_runners="external"))
    assert set(everything) == set(content["vars"]["rotate_secrets_renewable"]) - {"kestra_webhook_key"}
    known = content["vars"] | given(kestra_state="absent", kestra_purge_data=True, sidecar_state="absent")
    rest = ["postgres_password", "n8n_database_password", "n8n_owner_password"]
    assert evaluate("{{ rotate_secrets_wanted }}", known) == rest
    assert evaluate("{{ rotate_secrets_roles }}", known) == ["postgres", "n8n"]


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        ("kestra_password", ["kestra_password"]),
        ("kestra_password, sidecar_token", ["kestra_password", "sidecar_token"]),
        (["kestra_password"], ["kestra_password"]),
    ],
)
def test_secrets_to_renew_may_be_given_as_a_text(wanted: Any, names: list[str]) -> None:
    _reached, content = load("playbooks/rotate_secrets.yml")
    assert evaluate("{{ rotate_secrets_wanted }}", content["vars"] | given(rotate_secrets=wanted)) == names


@pytest.mark.parametrize("name", ["rotate_secrets", "backup", "verify_backup", "flows"])
def test_a_host_without_services_is_refused_before_anything_is_done(name: str) -> None:
    """A lock, a directory or a secret must not be left on it."""
    roles = [
        role["tasks_from"]
        for task in tasks(load(f"playbooks/{name}.yml"))
        for role in (task.get("ansible.builtin.import_role") or task.get("ansible.builtin.include_role"),)
        if role and role["tasks_from"] not in ("load_variables", "check_rollout")
    ]
    if roles[0] == "gather":
        roles[:1] = load("roles/kestra/tasks/gather.yml")[0]["loop"]
    assert roles[0] == "check_provisioned" and len(roles) > 1


@pytest.mark.parametrize("made", ["", "compose.yml", "rollback"])
@pytest.mark.parametrize("arguments", [(), ("--check",)])
def test_what_counts_as_provisioned(tmp_path: Path, made: str, arguments: tuple[str, ...]) -> None:
    root = tmp_path / "root"
    if made:
        (root / made).mkdir(parents=True)
    role = {"name": "devorch.orchestration.common", "tasks_from": "check_provisioned"}
    extra = json.dumps({"orchestration_root": str(root)})
    played = play(tmp_path, [{"ansible.builtin.import_role": role}], *arguments, "-e", extra)
    assert (played.returncode == 0) == bool(made or arguments)
    if not made:
        begin = f"localhost: is not provisioned, {root} has no services."
        end = "A real run fails here. Run site.yml first." if arguments else "Run site.yml first. Nothing was changed."
        assert played.last["msg"] == f"{begin} {end}" and not root.exists()


@pytest.mark.parametrize("entry", ["restore", "verify"])
def test_a_refused_run_leaves_the_private_key_to_the_run_that_has_the_lock(tmp_path: Path, entry: str) -> None:
    path, key = tmp_path / "lock", tmp_path / "identity"
    other = host_lock.PlaybookRun("you@there", "there", "2-2")
    host_lock.store(path, host_lock.Lock(other, host_lock.uptime(), host_lock.uptime()))
    key.write_text("AGE-SECRET-KEY-1")
    extra = {"orchestration_lock": str(path), "_backup_identity_file": str(key), "orchestration_root": str(tmp_path)}
    role = {"name": "devorch.orchestration.backup", "tasks_from": entry}
    played = play(tmp_path, [{"ansible.builtin.include_role": role}], "--extra-vars", json.dumps(extra))
    assert played.returncode != 0
    assert "you@there" in played.output
    assert key.exists()
    assert json.loads(path.read_text())["run"] == asdict(other)


def test_backup_role_by_itself_configures_its_program(tmp_path: Path) -> None:
    """It loads the variables of the services that it backs up; no task of it runs here."""
    path = tmp_path / "backup.json"
    played = play(
        tmp_path,
        [
            {"ansible.builtin.import_role": {"name": "devorch.orchestration.backup"}, "when": False},
            {"ansible.builtin.copy": {"content": "{{ _backup_config | to_json }}", "dest": str(path), "mode": "0600"}},
        ],
    )
    assert played.returncode == 0, played.output
    check = load("roles/backup/vars/main.yml")["_backup_config_check"]
    command = [sys.executable, "-B", "-c", check, str(ROOT / "roles/backup/files/src"), str(path)]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr


PYTHON_AND_PIP = """\
#!{python}
# Makes a virtual environment with itself as pip, which notes what it was given and what others see of it, and fails.
import json, os, pathlib, shutil, sys
if sys.argv[1:3] == ["-m", "venv"]:
    pip = pathlib.Path(sys.argv[3]) / "bin" / "pip"
    pip.parent.mkdir(parents=True)
    shutil.copy(__file__, pip)
    sys.exit()
commands, process = [], os.getpid()
while process:
    commands.append(pathlib.Path(f"/proc/{{process}}/cmdline").read_bytes().decode())
    process = int(pathlib.Path(f"/proc/{{process}}/stat").read_text().rpartition(")")[2].split()[1])
configuration = pathlib.Path(os.environ.get("PIP_CONFIG_FILE", os.devnull))
noted = {{"commands": commands, "environment": dict(os.environ)}}
noted |= {{"text": configuration.read_text(), "mode": configuration.stat().st_mode}}
pathlib.Path({here!r}, "noted.json").write_text(json.dumps(noted))
sys.exit("pip has failed")
"""


def test_password_of_the_package_index_is_in_no_command_line_and_in_no_file_that_remains(tmp_path: Path) -> None:
    """Not even if the installation fails."""
    address = "https://user:canary-of-the-index@index.example.com/simple"
    python = tmp_path / "python3"
    python.write_text(PYTHON_AND_PIP.format(python=sys.executable, here=str(tmp_path)))
    python.chmod(0o755)
    (tmp_path / "root" / "sidecar").mkdir(parents=True)
    content = yaml.safe_load((ROOT / "roles/sidecar/tasks/environment.yml").read_text("utf-8"))
    (block,) = [task for task in content if "block" in task]
    for options in [value for task in tasks([block]) for value in task.values() if isinstance(value, dict)]:
        # Whoever runs the tests is the owner.
        for key in ("owner", "group"):
            options.pop(key, None)
    block["vars"] = {
        "orchestration_root": str(tmp_path / "root"),
        "orchestration_host": {"python": "", "files": {}},
        "sidecar_python": str(python),
        "sidecar_pip_index_url": address,
        "_sidecar_requirements": "",
    }
    kinds = [f"{role}/{kind}" for role in ("common", "sidecar") for kind in ("defaults", "vars")]
    files = [str(ROOT / "roles" / kind / "main.yml") for kind in kinds]
    played = play(tmp_path, [block], "-vvv", "--diff", play_keys={"vars_files": files})
    assert played.returncode != 0 and "pip has failed" in played.output
    noted = json.loads((tmp_path / "noted.json").read_text())
    assert noted["text"] == f"[global]\nindex-url = {address}\n" and stat.S_IMODE(noted["mode"]) == 0o600
    assert "canary" not in json.dumps([noted["commands"], noted["environment"]])
    assert "canary" not in played.output
    left = [path for path in tmp_path.rglob("*") if path.is_file() and "canary" in path.read_text(errors="replace")]
    assert {path.name for path in left} == {"play.yml", "noted.json"}


def test_the_summary_names_what_no_deploy_task_changed() -> None:
    shared = load("roles/common/vars/main.yml")
    given = {
        "orchestration_secrets": {"generated": ["kestra_password"], "replaced": ["sidecar_token"], "changed": True},
        "orchestration_profiles": [
            {"service": "kestra", "state": "absent", "deployments": ["kestra", "watchdog"]},
            {"service": "n8n", "state": "absent", "deployments": ["n8n"]},
            {"service": "postgres", "state": "present", "deployments": ["postgres"]},
        ],
        "orchestration_host": {
            "services": {name: {"committed": "x"} for name in ("kestra", "watchdog", "postgres")}
            | {"n8n": {"committed": ""}}
        },
    }
    assert evaluate(shared["orchestration_written_secrets"], given) == ["kestra_password", "sidecar_token"]
    assert evaluate(shared["orchestration_removed_services"], given) == ["kestra", "watchdog"]
    assert evaluate(shared["orchestration_written_secrets"], {"orchestration_secrets": {"skipped": True}}) == []


@pytest.mark.parametrize("name", ["upgrade", "rotate_secrets"])
@pytest.mark.parametrize(
    ("serial", "bad", "ended"),
    [
        # One after the other: the first failure ends it.
        (None, "b", ["a"]),
        # The others of a batch are finished, and the next batch does not begin.
        ("2", "a", ["b"]),
        ("50%", "b", ["a"]),
        ("4", "a", ["b", "c", "d"]),
    ],
)
def test_a_rollout_ends_at_the_first_failure(
    tmp_path: Path, name: str, serial: str | None, bad: str, ended: list[str]
) -> None:
    """With the order and the check of the playbook, and other tasks."""
    content = load(f"playbooks/{name}.yml")[1]
    check = next(tasks(content["tasks"]))
    assert check["ansible.builtin.import_role"] == {
        "name": "devorch.orchestration.common",
        "tasks_from": "check_rollout",
    }
    checks = [
        task | {"name": "Check"} for task in yaml.safe_load((ROOT / "roles/common/tasks/check_rollout.yml").read_text())
    ]
    work = [
        {"ansible.builtin.fail": {"msg": "broken"}, "when": "inventory_hostname == bad"},
        {"ansible.builtin.debug": {"msg": "ended {{ inventory_hostname }}"}},
    ]
    failed = load("roles/common/vars/main.yml")["_orchestration_failed_hosts"]
    rollout = {"hosts": "orchestration", "gather_facts": False, "serial": str(content["serial"])}
    rollout |= {"vars": {"_orchestration_failed_hosts": str(failed)}, "tasks": [*checks, *work]}
    # Nothing knows the variables of the inventory before the first play.
    first = {"hosts": "orchestration", "gather_facts": False}
    (tmp_path / "play.yml").write_text(yaml.safe_dump([first, rollout]), encoding="utf-8")
    group: dict[str, Any] = {"hosts": dict.fromkeys("abcd"), "vars": {"ansible_connection": "local", "bad": bad}}
    if serial:
        group["vars"]["orchestration_serial"] = serial
    (tmp_path / "inventory.yml").write_text(yaml.safe_dump({"orchestration": group}), encoding="utf-8")
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(tmp_path / "inventory.yml")]
    finished = subprocess.run([*command, str(tmp_path / "play.yml")], capture_output=True, text=True, check=False)
    found = sorted(host for host in "abcd" if f"ended {host}" in finished.stdout)
    assert finished.returncode != 0 and found == ended, finished.stdout
    if serial and serial != "4":
        assert f"{bad}: failed, so this run does not continue with c." in " ".join(finished.stdout.split())


def test_each_host_of_an_upgrade_has_a_fresh_lock_and_a_fresh_look() -> None:
    """Those of the first play are old once other hosts were upgraded."""
    first, upgrade, _site = load("playbooks/upgrade.yml")
    assert "preflight_keeps_lock" not in first["vars"]
    assert upgrade["vars"].items() <= first["vars"].items() and upgrade["vars"]["orchestration_upgrade"] is True
    used = [task.get("ansible.builtin.import_role", {}).get("tasks_from") for task in tasks(upgrade["tasks"])]
    assert used.index("prepare") < used.index(None, used.index("prepare")) and "secrets" not in used


@pytest.mark.parametrize(("wanted", "refused"), [({}, False), ({"rotate_secrets": ["n8n_owner_password"]}, True)])
def test_the_password_of_another_owner_of_n8n_is_not_renewed(wanted: dict[str, Any], refused: bool) -> None:
    """Who owns n8n is known only once the host was looked at, and before anything is renewed."""
    _reached, content = load("playbooks/rotate_secrets.yml")
    other = {
        "orchestration_host": FOUND | {"n8n_owner": {"known": True, "email": "boss@example.com", "managed": False}}
    }
    names = [task["name"] for task in tasks(content["tasks"])]
    (check,) = [task for task in tasks(content["tasks"]) if task["name"].startswith("Check that the host still has")]
    assert names.index("Prepare the host for changes") < names.index(check["name"])
    assert names.index(check["name"]) < names.index("Copy the old secrets for a rollback")
    assert holds(check["ansible.builtin.assert"]["that"], content["vars"] | given(**other) | wanted) is not refused
    message = evaluate(check["ansible.builtin.assert"]["fail_msg"], content["vars"] | given(**other) | wanted)
    assert not refused or message.startswith("rotate_secrets: n8n_owner_password can't be renewed, because n8n belongs")


@pytest.mark.parametrize(("state", "order"), [("present", ["sidecar", "kestra"]), ("absent", ["kestra"])])
def test_an_upgrade_gives_the_sidecar_its_token_before_kestra(state: str, order: list[str]) -> None:
    (deploys,) = [
        task for task in tasks(load("roles/upgrade/tasks/upgrade.yml")) if "loop" in task and "tasks_from" in str(task)
    ]
    known = given(sidecar_state=state, _upgrade_stopped_services=["kestra", "n8n"])
    assert evaluate(deploys["loop"], known) == ["postgres", *order, "n8n"]


@pytest.mark.parametrize(
    ("given", "refused"),
    [
        ({"kestra_flows_directory": str(ROOT / "kestra-flows")}, []),
        ({"kestra_flows_directory": "/nowhere"}, ["kestra_flows_directory: the controller has no directory /nowhere."]),
        ({"kestra_flows_directory": "/nowhere", "kestra_flows_plan": "/plan"}, []),
        (
            {"kestra_flows_directory": "/", "kestra_flows_drift": "maybe", "kestra_flows_on_failure": "maybe"},
            ["kestra_flows_drift: 'maybe' is not one of overwrite,", "kestra_flows_on_failure: 'maybe' is not one of"],
        ),
    ],
)
def test_flows_names_the_variable_that_is_wrong(tmp_path: Path, given: dict[str, Any], refused: list[str]) -> None:
    """It runs without the roles if the server is elsewhere, so the roles' specifications check nothing then."""
    (check,) = [task for task in tasks(load("playbooks/flows.yml")) if "loop" in task]
    check = yaml.safe_load(json.dumps(check))
    played = play(tmp_path, [check], "-e", json.dumps(given))
    told = [each["msg"] for each in played.last["results"] if each.get("failed")]
    assert len(told) == len(refused) and all(text in message for text, message in zip(refused, told, strict=True))


def test_why_a_secret_is_refused_is_shown_and_the_secret_is_not(tmp_path: Path) -> None:
    """The task has no_log. Since 2.19, ansible-core shows the reason of a failure all the same."""
    (task,) = load("roles/common/tasks/secrets.yml")
    assert task["no_log"] is True
    (tmp_path / "key").write_text("the-first-hunter2")
    (tmp_path / "key").chmod(0o600)
    options = {"path": str(tmp_path), "secrets": {"key": {"value": "another-hunter2", "immutable": True}}}
    shown = " ".join(play_plainly(tmp_path, {SECRETS: options, "no_log": True}).split())
    assert "secret key: the value given differs from the one in" in shown and "Set the variable to the file's" in shown
    assert "hunter2" not in shown


@pytest.mark.parametrize(
    ("steps", "version"),
    [
        ([("kestra", "v1.3.9", "v2.0.5")], "v2.0.5"),
        ([("kestra", "v1.3.9", "v2.0.5-slim@sha256:aa"), ("n8n", "1.2.3", "2.0.0")], "v2.0.5-slim"),
        ([("kestra", "v2.0.4", "v2.0.5")], ""),
        ([("n8n", "1.2.3", "2.0.0")], ""),
        ([], ""),
    ],
)
def test_the_flows_are_checked_before_the_next_major_version_of_kestra(
    steps: list[tuple[str, str, str]], version: str
) -> None:
    rules = variables("upgrade")["_upgrade_rules"]
    present, wanted = ({step[0]: f"docker.io/x/y:{step[at]}" for step in steps} for at in (1, 2))
    known = variables("upgrade") | {"_upgrade_steps": upgrade_plan(present, wanted, rules)}
    assert evaluate("{{ _upgrade_kestra_version }}", known) == version
    (task,) = [task for task in load("roles/upgrade/tasks/plan.yml") if "ansible.builtin.include_tasks" in task]
    for choice in ("warn", "refuse", "ignore"):
        assert holds(task["when"], known | {"upgrade_flow_problems": choice}) is (bool(version) and choice != "ignore")


@pytest.mark.parametrize(
    ("found", "report"),
    [
        ({"problems": [], "msg": "1 flow"}, 0),
        ({"problems": ["a/b:1: x", "a/c:2: y"], "msg": "2 flows"}, 3),
        ({"failed": True, "msg": "Could not list the flows"}, 1),
    ],
)
def test_problems_of_flows_are_told_or_end_the_upgrade(found: dict[str, Any], report: int) -> None:
    """In one message; and flows that cannot be read are not flows without problems."""
    known = variables("upgrade") | {"_upgrade_flows": found, "_upgrade_kestra_version": "v2.0.5"}
    lines = evaluate("{{ _upgrade_flow_report }}", known)
    assert len(lines) == report
    *_rest, warn, refuse = load("roles/upgrade/tasks/flows.yml")
    for choice in ("warn", "refuse"):
        given_choice = known | {"upgrade_flow_problems": choice}
        assert holds(warn["when"], given_choice) is (choice == "warn" and report > 0)
        assert holds(refuse["when"], given_choice) is (choice == "refuse")
    assert holds(refuse["ansible.builtin.assert"]["that"], known) is (report == 0)
    assert evaluate(refuse["ansible.builtin.assert"]["fail_msg"], known) == "\n".join(lines)
