"""The sidecar's virtual environment."""

from __future__ import annotations

import subprocess
import tomllib
from typing import Any

import pytest

from ..templating import ROOT, evaluate, load, tasks, variables

COMMAND = "ansible.builtin.command"


def test_user_of_the_service_can_read_the_environment_on_a_host_with_another_umask() -> None:
    known = variables("common", "sidecar") | {"_sidecar_venv": "/v"}
    argvs = [
        evaluate(task[COMMAND]["argv"], known)
        for task in tasks(load("roles/sidecar/tasks/environment.yml"))
        if COMMAND in task and "chown" not in task[COMMAND]["argv"]
    ]
    readable = known["_sidecar_readable_command"]
    assert [argv[len(readable) :][:3] for argv in argvs] == [
        ["/usr/bin/python3", "-m", "venv"],
        ["/v/bin/pip", "install", "--quiet"],
    ]
    shown = subprocess.run(
        [*readable, "sh", "-c", 'umask; echo "$1"', "sh", "a b"], umask=0o077, check=True, capture_output=True
    )
    assert shown.stdout == b"0022\na b\n" and all(argv[: len(readable)] == readable for argv in argvs)


OWNED = {"/opt/orchestration/sidecar-data": {"owner": "orchestration-sidecar"}}
FOREIGN = {"/opt/orchestration/sidecar-data/environments": {"owner": "1001"}}


@pytest.mark.parametrize(("files", "changes"), [({}, False), (OWNED, False), (FOREIGN, True), (OWNED | FOREIGN, True)])
def test_owners_change_only_in_a_tree_of_another_user_and_through_no_link(files: dict[str, Any], changes: bool) -> None:
    all_tasks = list(tasks(load("roles/sidecar/tasks/environment.yml")))
    assert not [task for task in all_tasks if task.get("ansible.builtin.file", {}).get("recurse")]
    (task,) = [task for task in all_tasks if "chown" in str(task.get(COMMAND, {}).get("argv"))]
    known = variables("common", "sidecar") | {
        "orchestration_host": {"files": files},
        "orchestration_root": "/opt/orchestration",
    }
    assert evaluate(task[COMMAND]["argv"], known)[:2] == ["chown", "-hRP"]
    assert evaluate("{{ " + task["when"][1] + " }}", known) is changes


def test_configuration_has_the_limits_of_tokens_and_the_interfaces() -> None:
    known = variables("common", "sidecar") | {
        "orchestration_root": "/opt/orchestration",
        "sidecar_allowed_interfaces": ["docker0", "br-own"],
        "sidecar_max_cpus": 8,
        "sidecar_max_disk": "100G",
        "sidecar_limits": {"kestra": {"instances": 3, "memory": "8G"}, "admin": {"cpus": "4"}},
    }
    text = (ROOT / "roles/sidecar/templates/sidecar.toml.j2").read_text("utf-8")
    found = tomllib.loads(evaluate(text.split("\n", 1)[1], known))
    assert found["interfaces"] == ["docker0", "br-own"]
    assert (found["max_cpus"], found["max_disk"], found["host_names"]) == (8, "100G", [])
    assert "max_memory" not in found
    assert found["limits"] == {"kestra": {"instances": 3, "memory": "8G"}, "admin": {"cpus": "4"}}
