"""The table of what a run has changed."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.devorch.orchestration.plugins.filter.run_summary import FilterModule

run_summary = FilterModule().filters()["run_summary"]


def result(service: str, action: str = "none", **more: Any) -> dict[str, Any]:
    unchanged = {"changed": action != "none", "restarted": False, "paths": [], "seconds": 0.04, "reasons": []}
    return {"service": service, "action": action, **unchanged, **more}


def test_table() -> None:
    results = [
        result("postgres"),
        result("kestra", "update", restarted=True, paths=["env/kestra.env", "b", "c", "d", "e"], seconds=61.25),
        {"skipped": True, "changed": False},
        result("n8n", "restart", restarted=True, reasons=["postgres was restarted under it"], seconds="2"),
    ]
    assert run_summary(results) == [
        "service   changed                                      restarted  seconds",
        "postgres  -                                            no         0.0",
        "kestra    updated (kestra.env, b, c and 2 more)        yes        61.2",
        "n8n       restarted (postgres was restarted under it)  yes        2.0",
        "3 services: 2 changed, 2 restarted, 63.3 s",
    ]


def test_secrets_and_removed_services_have_lines() -> None:
    assert run_summary([result("kestra")], False, ["n8n_encryption_key"], ["n8n"]) == [
        "service  changed                       restarted  seconds",
        "secrets  updated (n8n_encryption_key)  no         0.0",
        "kestra   -                             no         0.0",
        "n8n      removed                       no         0.0",
        "3 services: 2 changed, 0 restarted, 0.0 s",
    ]


def test_check_mode_says_what_would_happen() -> None:
    assert run_summary([result("kestra", "create", restarted=True, paths=["a"])], True) == [
        "service  would change  would restart  seconds",
        "kestra   create (a)    yes            0.0",
        "1 service: 1 would be changed, 1 would be restarted, 0.0 s",
    ]


def test_failed_service() -> None:
    lines = run_summary([result("n8n", "rollback", failed=True), result("kestra", failed=True)])
    assert [line.split()[:4] for line in lines[1:3]] == [
        ["n8n", "failed,", "rolled", "back"],
        ["kestra", "failed", "no", "0.0"],
    ]


@pytest.mark.parametrize(
    ("paths", "shown"),
    [
        (["/etc/docker/daemon.json", "/opt/o/docker/daemon.json"], "/etc/docker/daemon.json, o/docker/daemon.json"),
        (["/o/env/n8n.env", "/o/services/n8n.yml"], "n8n.env, n8n.yml"),
        (["/o/a/x", "/o/b/x", "/o/c"], "a/x, b/x, c"),
        (["/x", "/a/x"], "/x, /a/x"),
    ],
)
def test_files_of_one_name_are_told_apart(paths: list[str], shown: str) -> None:
    assert f"  created ({shown})  " in run_summary([result("docker", "create", paths=paths)])[1]


@pytest.mark.parametrize("check_mode", [True, False])
@pytest.mark.parametrize("kind", ["paths", "reasons"])
def test_no_row_is_broken(check_mode: bool, kind: str) -> None:
    """Ansible breaks a text of a list at a blank behind its 80th character, and gives each two more."""
    listed = [f"{word}{' ' if kind == 'reasons' else '-'}{'name ' * 9}" for word in ("first", "second", "third", "x")]
    results = [result("postgres-watchdog", "create", **{kind: listed[:count]}) for count in (1, 2, 4)]
    rows = run_summary([*results, result("n8n", "update", restarted=True, reasons=["w" * 90])], check_mode)
    assert max(map(len, rows)) < 100
    assert yaml.safe_dump(rows, width=80).count("\n") == len(rows)
    assert "first" in rows[1] and "and 3 more)" in rows[3]


def test_nothing_was_deployed() -> None:
    assert run_summary([]) == ["0 services: 0 changed, 0 restarted, 0.0 s"]


@pytest.mark.parametrize("value", ["x", {"service": "kestra"}, None])
def test_something_else_is_refused(value: Any) -> None:
    with pytest.raises(AnsibleFilterError, match="not a list of results"):
        run_summary(value)
