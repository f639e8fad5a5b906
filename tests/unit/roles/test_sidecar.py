"""The sidecar's virtual environment."""

from __future__ import annotations

import subprocess

from ..templating import evaluate, load, tasks, variables

COMMAND = "ansible.builtin.command"


def test_user_of_the_service_can_read_the_environment_on_a_host_with_another_umask() -> None:
    known = variables("common", "sidecar") | {"_sidecar_venv": "/v"}
    argvs = [
        evaluate(task[COMMAND]["argv"], known)
        for task in tasks(load("roles/sidecar/tasks/environment.yml"))
        if COMMAND in task
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
