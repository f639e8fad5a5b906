"""The files of a service: whole at any moment, kept as a set, and shown without secrets."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

import pytest
from ansible_collections.devorch.orchestration.plugins.module_utils.environment_file import quoted
from ansible_collections.devorch.orchestration.plugins.module_utils.host import service_files as files
from ansible_collections.devorch.orchestration.plugins.module_utils.host.service_files import (
    File,
    FilesError,
    LastKnownGood,
)


@pytest.fixture
def site(tmp_path: Path) -> dict[Path, File]:
    """Two files that are on the host."""
    found = {tmp_path / "env": File(b"A='1'\n", 0o600), tmp_path / "config.yml": File(b"a: 1\n", 0o644)}
    for path, file in found.items():
        files.write(path, file)
    return found


def test_write_replaces_content_and_mode_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    files.write(path, File(b"new", 0o640))
    assert files.read(path) == File(b"new", 0o640)
    assert list(tmp_path.iterdir()) == [path]
    assert path.stat().st_gid == os.getegid()


def test_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        files.write(path, File(b"new", 0o600))
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_leftovers_of_a_killed_run_are_removed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    (tmp_path / f"{files.temporary_prefix(path)}x1").write_text("half")
    (tmp_path / ".other.new-x1").write_text("somebody else's")
    files.remove_leftovers([path, tmp_path / "nowhere" / "file"])
    assert [found.name for found in tmp_path.iterdir()] == [".other.new-x1"]


def test_set_is_kept_and_returns(site: dict[Path, File], tmp_path: Path) -> None:
    password = tmp_path / "password"
    extra = {password: File(b"secret", 0o600)}
    good = LastKnownGood(tmp_path / "rollback" / "service")
    assert not good.exists and good.committed == ""
    good.commit(site, extra, "hash")
    again = LastKnownGood(tmp_path / "rollback" / "service")
    assert again.exists and again.config_hash == "hash"
    assert again.files() == {**site, **extra}
    assert again.holds({**site, **extra})
    assert not again.holds({**site, password: File(b"other", 0o600)})
    assert again.committed == files.set_digest(site), "whoever knows the files alone can compare"
    for name in ("rollback", "rollback/service"):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o700


def test_while_a_deployment_is_under_way_nothing_counts_as_committed(site: dict[Path, File], tmp_path: Path) -> None:
    good = LastKnownGood(tmp_path / "good")
    good.commit(site, {}, "hash")
    good.begin()
    again = LastKnownGood(tmp_path / "good")
    assert again.exists and again.committed == "" and not again.holds(site)
    assert again.files() == site
    good.abandon()
    assert LastKnownGood(tmp_path / "good").holds(site)


def test_first_deployment_has_nothing_to_return_to(tmp_path: Path) -> None:
    good = LastKnownGood(tmp_path / "good")
    good.begin()
    again = LastKnownGood(tmp_path / "good")
    assert again.record is not None and not again.exists and again.files() == {}


def test_set_of_version_0_2_is_understood(site: dict[Path, File], tmp_path: Path) -> None:
    """Its digest had the extra files in it, and named the directory."""
    extra = {tmp_path / "password": File(b"secret", 0o600)}
    directory = tmp_path / "good"
    LastKnownGood(directory).commit(site, extra)
    record = json.loads((directory / files.RECORD).read_text())
    old = {"digest": files.set_digest({**site, **extra}), "files": record["files"]}
    (directory / files.RECORD).write_text(json.dumps(old))
    good = LastKnownGood(directory)
    assert good.exists and good.holds({**site, **extra})
    assert good.files() == {**site, **extra}
    good.begin()
    assert LastKnownGood(directory).files() == {**site, **extra}


def test_damage_is_reported(site: dict[Path, File], tmp_path: Path) -> None:
    good = LastKnownGood(tmp_path / "good")
    good.commit(site, {})
    copy = next((tmp_path / "good").rglob("config.yml"))
    copy.write_text("damaged")
    with pytest.raises(FilesError, match=r"config\.yml: the copy of .* is missing or was changed"):
        good.files()
    (tmp_path / "good" / files.RECORD).write_text("{half")
    with pytest.raises(FilesError, match="it is damaged"):
        LastKnownGood(tmp_path / "good")


def test_only_the_newest_set_is_kept(site: dict[Path, File], tmp_path: Path) -> None:
    good = LastKnownGood(tmp_path / "good")
    good.commit(site, {})
    good.commit({**site, tmp_path / "env": File(b"A='2'\n", 0o600)}, {})
    assert len([path for path in (tmp_path / "good").iterdir() if path.is_dir()]) == 1


def test_directories_above_are_open_and_the_wanted_one_is_not(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        files.make_directory(tmp_path / "a" / "b" / "c", 0o700)
    finally:
        os.umask(before)
    assert [path.stat().st_mode & 0o777 for path in (tmp_path / "a", tmp_path / "a/b", tmp_path / "a/b/c")] == [
        0o755,
        0o755,
        0o700,
    ]


def test_variables_keep_the_values_that_others_have_already() -> None:
    env = b"A='1'\nDB_PASSWORD='old'\n"
    assert files.preserve_env(env, {"DB_PASSWORD": "new", "UNKNOWN": "x"}) == b"A='1'\nDB_PASSWORD='new'\n"
    assert files.preserve_env(env, {"DB_PASSWORD": "it's"}) == b"A='1'\nDB_PASSWORD=\"it's\"\n"
    separator = "A='\u2028'\n".encode()
    assert files.preserve_env(separator, {}) == separator


def test_secret_values_are_masked_as_programs_show_them() -> None:
    key = "-----BEGIN KEY-----\nfirst-line-of-it\nsecond-line\n"
    encoded = base64.b64encode(key.encode()).decode()
    for text in (f"X={quoted(key)}\n", f"SECRET_X='{encoded}'\n"):
        shown = "log: first-line-of-it\nlog: second-line"
        assert files.mask(shown, files.secret_values(text, every=True)) == "log: ********\nlog: ********"
    assert "back\\slash" in files.secret_values(f"PASSWORD={quoted('back' + chr(92) + 'slash')}\n")


def test_secret_values_are_found_also_in_base64() -> None:
    text = f"SECRET_X='{base64.b64encode(b'inner-value').decode()}'\nTZ='UTC'\napi-key: outer-value\nkey: ${{NAME}}\n"
    found = files.secret_values(text)
    assert {"inner-value", "outer-value"} <= found
    assert not {"UTC", "${NAME}"} & found


def test_the_longest_secret_is_masked_first() -> None:
    assert files.mask("short-and-more short", ["short", "short-and-more"]) == "******** ********"


def test_diff_has_each_secret_masked_and_the_rest_as_it_is() -> None:
    old, new = b"TZ: UTC\npassword: one\ntoken: same\n", b"TZ: CET\npassword: two\ntoken: same\n"
    assert files.shown(old, new, every=False) == (
        "TZ: UTC\npassword: ******** (old)\ntoken: ********\n",
        "TZ: CET\npassword: ******** (changed)\ntoken: ********\n",
    )
    assert files.shown(b"TZ='UTC'\n", b"TZ='CET'\n", every=True) == ("TZ=******** (old)\n", "TZ=******** (changed)\n")


def test_public_names_are_shown_unless_they_look_secret() -> None:
    old = b"TZ='UTC'\nOTHER='a'\nDB_PASSWORD='b'\n"
    new = b"TZ='Europe/Berlin'\nOTHER='c'\nDB_PASSWORD='d'\nDB_URL='postgres://u:secret-one@h'\nOPTS='-DtrustPassword=x'\n"
    before, after = files.shown(old, new, True, ["TZ", "DB_PASSWORD", "DB_URL", "OPTS"])
    assert before == "TZ='UTC'\nOTHER=******** (old)\nDB_PASSWORD=******** (old)\n"
    assert after == (
        "TZ='Europe/Berlin'\nOTHER=******** (changed)\nDB_PASSWORD=******** (changed)\n"
        "DB_URL=******** (changed)\nOPTS=******** (changed)\n"
    )


CONFIGURATION = """\
url: jdbc:postgresql://h/db?password=hunter2
pwd: hunter3
Authorization: Bearer hunter4
mail: smtp://u:hunter5@mail
"http-proxy": "http://u:hunter6@proxy:3128",
configurations: [{"values": {"token": "hunter7"}}]
server:
  private-key: |
    hunter8 and

    hunter9
  other: seen
tokens:
  - hunter10
  - name: hunter11
  # A comment.
"""
READABLE = """\
interval: 5s
"max-concurrent-downloads": 5,
TZ='UTC'
url: jdbc:postgresql://postgres:5432/kestra
encryption:
  secret-key: ${KESTRA_ENCRYPTION_KEY}
  basic-auth:
    username: kestra
    open-urls:
      - /api/v1/main
  url: http://u:${PASSWORD}@host
"log-opts": {
  "max-size": "10m"
}
"""


def test_secrets_are_masked_wherever_they_stand() -> None:
    before, after = files.shown(CONFIGURATION.encode(), (CONFIGURATION + READABLE).encode(), every=False)
    assert "hunter" not in before + after
    assert after == before + READABLE
    assert "  private-key: ********\n    ********\n\n    ********\n  other: seen\n" in before
    assert before.endswith("  # A comment.\n")
    found = files.secret_values(CONFIGURATION + READABLE)
    assert {f"hunter{number}" for number in (2, 3, 4, 5, 6, 7, 9, 10, 11)} | {"hunter8 and"} <= found
    assert not {"seen", "kestra", "UTC", "/api/v1/main", "${KESTRA_ENCRYPTION_KEY}"} & found


def test_every_line_of_a_file_of_secrets_is_masked() -> None:
    text = (
        "# Managed\n\nTZ='UTC'\nA='line-one\nB=line-two\n# three'\nC='plain'\nFLAG='true'\n"
        "admin admin 1a76deadbeef\nY2FiYg==\n"
    )
    before, after = files.shown(text.encode(), b"", every=True, public=["T*"])
    assert before == (
        "# Managed\n\nTZ='UTC'\nA=******** (old)\n******** (old)\n******** (old)\nC=******** (old)\n"
        "FLAG=******** (old)\n******** (old)\n******** (old)\n"
    )
    assert after == ""
    found = files.secret_values(text, True, ["TZ"])
    assert {"line-one", "B=line-two", "plain", "1a76deadbeef", "Y2FiYg=="} <= found
    assert not {"UTC", "true", "admin"} & found


def test_what_is_masked_is_not_masked_again() -> None:
    same = b"KESTRA_DB_PASSWORD='****'\n"
    before, after = files.shown(same, same, every=True)
    assert files.mask(before, files.secret_values(same.decode(), True)) == after == "KESTRA_DB_PASSWORD=********\n"


@pytest.mark.parametrize(
    "value",
    [
        """'[{"url":"https://x","pw":"hunter2"}]'""",
        """{"pin":"hunter2"}""",
        """"{\\"a\\":\\"hunter2\\"}\"""",
        """'{"a":["hunter2"]}'""",
    ],
)
def test_json_of_a_public_name_is_hidden(value: str) -> None:
    line = f"N8N_LOG_STREAMS={value}\nN8N_LOG_LEVEL=info\nN8N_PW=hunter2\n".encode()
    _before, after = files.shown(b"", line, True, ["N8N_*"])
    assert "hunter2" not in after and "N8N_LOG_LEVEL=info\n" in after and "N8N_LOG_STREAMS=********" in after
    assert not [text for text in files.secret_values(line.decode(), True, ["N8N_*"]) if text == "info"]
