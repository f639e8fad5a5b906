"""The check of the flows on the server before the next major version of Kestra, played against a small server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ..fake_kestra import PASSWORD, USERNAME, FakeKestra
from ..playbook import Played, play
from ..templating import ROOT, load

OLD = "id: {}\nnamespace: team\npluginDefaults: []\ntasks: []\n"


def check(server: FakeKestra, directory: Path, choice: str) -> Played:
    directory.mkdir()
    secrets = directory / "secrets"
    secrets.mkdir(mode=0o700)
    (secrets / "kestra_password").write_text(PASSWORD)
    (secrets / "kestra_password").chmod(0o600)
    known: dict[str, Any] = {
        "orchestration_root": str(directory),
        "kestra_profile": {"secrets": {"kestra_password": {}}},
        "kestra_api_url": server.url,
        "kestra_username": USERNAME,
        "upgrade_flow_problems": choice,
        "_upgrade_kestra_version": "v2.0.5",
        "_upgrade_flow_report": str(load("roles/upgrade/vars/main.yml")["_upgrade_flow_report"]),
    }
    task = {"name": "Check", "ansible.builtin.include_tasks": str(ROOT / "roles/upgrade/tasks/flows.yml")}
    return play(directory, [task], "--check", play_keys={"vars": known})


@pytest.mark.parametrize("choice", ["warn", "refuse"])
def test_all_problems_of_all_flows_are_in_one_message(tmp_path: Path, choice: str) -> None:
    with FakeKestra("1.3.9") as server:
        server.add(OLD.format("one"))
        server.add(OLD.format("two"))
        played = check(server, tmp_path / "old", choice)
        assert server.writes == []
    assert (played.returncode == 0) is (choice == "warn"), played.output
    for name in ("one", "two"):
        assert f"team/{name}:3: pluginDefaults was removed in Kestra 2.0" in played.output
    assert PASSWORD not in played.output


def test_flows_that_cannot_be_read_are_not_taken_for_good_ones(tmp_path: Path) -> None:
    with FakeKestra("1.3.9") as server:
        server.add("id: good\nnamespace: team\ntasks: []\n")
        assert check(server, tmp_path / "good", "refuse").returncode == 0
        server.tenant = "other"
        played = check(server, tmp_path / "host", "refuse")
    assert played.returncode != 0
    assert "The flows are not checked for Kestra v2.0.5: Could not list the flows" in played.output
