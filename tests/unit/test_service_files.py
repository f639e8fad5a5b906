"""`service_files`: validated before they land, kept when they work, put back when they do not, whole at any moment."""

from __future__ import annotations

import base64
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.devorch.orchestration.plugins.module_utils.host import service_files as files
from ansible_collections.devorch.orchestration.plugins.modules import service_files as module

from .in_process import call
from .playbook import play


class Site:
    """A service with an environment file, a configuration and a password that another task writes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "secrets").mkdir()
        self.password = root / "secrets" / "password"
        self.env = root / "env" / "application.env"
        self.config = root / "application.yml"
        self.password.write_text("first-password")

    def run(self, state: str, env: str = "", config: str = "", **more: Any) -> dict[str, Any]:
        check = more.pop("check", False)
        options = {
            "service": "application",
            "store": str(self.root / "former"),
            "state": state,
            "kept": [str(self.password)],
            "secrets": str(self.root / "secrets"),
            "files": [
                {"path": str(self.env), "content": env, "mode": "0600", "secret": "all"},
                {"path": str(self.config), "content": config, "validate": ["grep", "good", "%s"]},
            ],
        }
        return call("service_files", {**options, **more}, check=check)

    def tree(self) -> dict[str, str]:
        return {str(path.relative_to(self.root)): path.read_text() for path in self.root.rglob("*") if path.is_file()}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.fixture
def healthy(site: Site) -> Site:
    """A service that was accepted with its first files."""
    assert site.run("written", "A='one'\nDB_PASSWORD='db-one'\n", "good: 1\n")["pending"]
    accepted = site.run("accepted")
    assert accepted["changed"] and not accepted["pending"]
    return site


def test_first_files_are_pending_until_they_are_accepted(site: Site) -> None:
    first = site.run("written", "A='one'\n", "good: 1\n")
    assert first["changed"] and first["pending"] and not first["former"]
    again = site.run("written", "A='one'\n", "good: 1\n")
    assert not again["changed"] and again["pending"], "a run that was killed must restart the service the next time"
    site.run("accepted")
    last = site.run("written", "A='one'\n", "good: 1\n")
    assert not last["changed"] and not last["pending"] and last["former"]
    assert not site.run("accepted")["changed"]
    assert site.env.stat().st_mode & 0o777 == 0o600
    assert site.config.stat().st_mode & 0o777 == 0o644


def test_journal_gets_no_content(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    logged: list[str] = []
    monkeypatch.setattr(
        "ansible.module_utils.basic.AnsibleModule.log",
        lambda self, msg, log_args=None: logged.append(f"{msg} {log_args}"),
    )
    site.run("written", "DB_PASSWORD='db-one'\nMORE='more'\n", "good: 1\n")
    assert logged and "Invoked with" in logged[0]
    assert not [text for text in logged if "db-one" in text or "good: 1" in text]


def test_refused_file_lands_nowhere_and_says_why(healthy: Site) -> None:
    before = healthy.tree()
    refused = healthy.run("written", "A='two'\n", "bad: 1\n")
    assert refused["failed"]
    assert refused["msg"].startswith(f"application: {healthy.config}: grep refuses the new file, and the host is as")
    assert healthy.tree() == before


def test_validation_sees_the_new_files_together(site: Site) -> None:
    """A path of another file in the set stands for the new one, which is not in place yet."""
    options = {"service": "a", "store": str(site.root / "former")}
    wanted = [
        {"path": str(site.env), "content": "MARK='new'\n"},
        {"path": str(site.config), "content": f"{site.env}\n", "validate": ["sh", "-c", "grep new $(cat %s)"]},
    ]
    assert not call("service_files", {**options, "files": wanted})["failed"]


def test_former_files_return_with_what_others_have_written(healthy: Site) -> None:
    before = {name: text for name, text in healthy.tree().items() if not name.startswith("former")}
    healthy.password.write_text("second-password")
    assert healthy.run("written", "A='two'\nDB_PASSWORD='db-two'\n", "good: 2\n")["pending"]
    restored = healthy.run("restored", log=["sh", "-c", "echo second-password first-password db-two; echo plain >&2"])
    assert set(restored["paths"]) == {str(healthy.env), str(healthy.config), str(healthy.password)}
    assert {name: text for name, text in healthy.tree().items() if not name.startswith("former")} == before
    assert restored["log"] == "******** ******** ********\nplain"
    assert not healthy.run("restored")["changed"]


def test_value_whose_other_end_has_changed_stays(healthy: Site) -> None:
    healthy.run("written", "A='two'\nDB_PASSWORD='db-two'\n", "good: 2\n")
    healthy.run("restored", carried={"DB_PASSWORD": "db-two", "UNKNOWN": "x"})
    assert healthy.env.read_text() == "A='one'\nDB_PASSWORD='db-two'\n"


def test_unproven_files_never_become_the_former_ones(healthy: Site) -> None:
    healthy.run("written", "A='two'\n", "good: 2\n")  # and the run was killed
    healthy.run("written", "A='three'\n", "good: 3\n")
    healthy.run("restored")
    assert healthy.env.read_text() == "A='one'\nDB_PASSWORD='db-one'\n"


def test_without_former_files_nothing_returns(site: Site) -> None:
    site.run("written", "A='one'\n", "good: 1\n")
    restored = site.run("restored")
    assert not restored["changed"] and not restored["former"]
    assert site.config.read_text() == "good: 1\n"


def test_files_from_before_there_were_former_ones_count_as_good(site: Site) -> None:
    site.env.parent.mkdir()
    site.env.write_text("A='old'\n")
    site.config.write_text("good: old\n")
    assert site.run("written", "A='two'\n", "good: 2\n")["former"]
    site.run("restored")
    assert site.env.read_text() == "A='old'\n"


def test_temporary_files_of_a_killed_run_are_removed(healthy: Site) -> None:
    (healthy.env.parent / f"{files.temporary_prefix(healthy.env)}x1").write_text("half")
    healthy.run("written", "A='one'\n", "good: 1\n")
    assert [path.name for path in healthy.env.parent.iterdir()] == ["application.env"]


def test_what_a_killed_run_validated_is_removed_and_what_another_validates_stays(
    healthy: Site, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run in check mode holds no lock of the host."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("shared")))
    killed, other = (Path(tempfile.mkdtemp(prefix="orchestration-application-")) for _ in range(2))
    with module.held(other):
        assert not healthy.run("written", "A='two'\n", "good: 2\n")["failed"]
    assert other.exists() and not killed.exists()


def test_check_mode_predicts_and_writes_nothing(site: Site) -> None:
    before = site.tree()
    checked = site.run("written", "A='one'\n", "good: 1\n", check=True)
    assert site.tree() == before
    real = site.run("written", "A='one'\n", "good: 1\n")
    assert {**checked} == {**real}
    assert site.run("written", "A='one'\n", "bad\n", check=True)["failed"]
    accepted = site.run("accepted", check=True)
    assert accepted == site.run("accepted")


def test_diff_shows_which_secret_changes_and_none_of_them(healthy: Site) -> None:
    changed = healthy.run("written", "A='one'\nDB_PASSWORD='db-two'\n", "good: 2\n")
    env, config = changed["diff"]
    assert env["before"] == "A=********\nDB_PASSWORD=******** (former)\n"
    assert env["after"] == "A=********\nDB_PASSWORD=******** (changed)\n"
    assert config["after"] == "good: 2\n"
    assert "db-one" not in json.dumps(changed) and "db-two" not in json.dumps(changed)


def test_damaged_copy_is_told_and_not_put_back(healthy: Site) -> None:
    copy = next((healthy.root / "former").rglob("application.yml"))
    copy.write_text("damaged")
    healthy.run("written", "A='two'\n", "good: 2\n")
    failed = healthy.run("restored")
    assert failed["failed"]
    assert f"{copy}: the copy of {healthy.config} is missing or was changed" in failed["msg"]


@pytest.mark.parametrize("moment", range(8))
def test_killed_at_any_write_the_next_run_does_it_all(
    healthy: Site, moment: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every write in turn is the last one of a run; then the change is made again and taken back."""
    real, writes = files.write, 0

    def killed(path: Path, file: files.File) -> None:
        nonlocal writes
        writes += 1
        if writes > moment:
            raise KeyboardInterrupt
        real(path, file)

    for target in (files, module):
        monkeypatch.setattr(target, "write", killed)
    try:
        healthy.run("written", "A='two'\n", "good: 2\n")
        healthy.run("accepted")
    except KeyboardInterrupt:
        pass
    for target in (files, module):
        monkeypatch.setattr(target, "write", real)
    healthy.run("written", "A='three'\n", "good: 3\n")
    assert healthy.run("restored")["former"]
    assert healthy.config.read_text() in ("good: 1\n", "good: 2\n")
    assert (healthy.env.read_text() == "A='two'\n") == (healthy.config.read_text() == "good: 2\n")


def test_secret_values_are_found_also_in_base64() -> None:
    text = f"SECRET_X='{base64.b64encode(b'inner-value').decode()}'\nTZ='UTC'\napi-key: outer-value\nkey: ${{NAME}}\n"
    found = files.secret_values(text)
    assert {"inner-value", "outer-value"} <= found
    assert not {"UTC", "${NAME}"} & found
    assert files.mask("inner-value outer-value-more", found) == "******** ********-more"


def test_example(tmp_path: Path) -> None:
    tasks = yaml.safe_load(module.EXAMPLES.replace("/opt/orchestration", str(tmp_path / "root")))
    played = play(tmp_path, tasks, "--diff", "-vvv")
    assert played.returncode == 0
    assert "PASSWORD=********" in played.output
    assert "'changed'" not in played.output
    assert (tmp_path / "root" / "application.env").read_text() == "PASSWORD='changed'\n"
