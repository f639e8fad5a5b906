"""The `secrets` module: what it generates, keeps, replaces and refuses."""

from __future__ import annotations

import base64
import os
import re
import stat
from pathlib import Path

import pytest
from ansible_collections.devorch.orchestration.plugins.module_utils.host import bcrypt
from ansible_collections.devorch.orchestration.plugins.modules import secrets


def keep(directory: Path, spec: dict[str, object], check_mode: bool = False) -> dict[str, object]:
    wanted = [secrets.WantedSecret.parse(name, fields) for name, fields in spec.items()]
    return secrets.ensure(directory, wanted, check_mode)


def test_generates_once_and_reads_back(tmp_path: Path) -> None:
    directory = tmp_path / "secrets"
    first = keep(directory, {"login": {}, "key": {"kind": "base64"}})
    assert first["changed"] and first["generated"] == ["login", "key"]
    assert directory.stat().st_mode & 0o777 == 0o700
    assert (directory / "login").stat().st_mode & 0o777 == 0o600
    assert len(base64.b64decode(first["secrets"]["key"])) == 32
    second = keep(directory, {"login": None, "key": {"kind": "base64"}})
    assert not second["changed"]
    assert second["secrets"] == first["secrets"]


def test_generated_passwords_satisfy_kestra() -> None:
    for _attempt in range(200):
        value = secrets.generate("password", 16)
        assert len(value) == 16
        assert any(c.islower() for c in value) and any(c.isupper() for c in value) and any(c.isdigit() for c in value)


def test_check_mode_writes_nothing(tmp_path: Path) -> None:
    result = keep(tmp_path / "secrets", {"login": {}}, check_mode=True)
    assert result["changed"] and result["secrets"]["login"]
    assert not (tmp_path / "secrets").exists()


def test_given_value_replaces_the_file(tmp_path: Path) -> None:
    keep(tmp_path, {"login": {"value": "first-value"}})
    result = keep(tmp_path, {"login": {"value": "second-value"}})
    assert result["replaced"] == ["login"]
    assert (tmp_path / "login").read_text() == "second-value"
    assert "second-value" not in str(result["diff"]) + str(result["msg"])
    assert not keep(tmp_path, {"login": {"value": "second-value"}})["changed"]


def test_immutable_secret_is_not_replaced(tmp_path: Path) -> None:
    keep(tmp_path, {"key": {"value": "first-value", "immutable": True}})
    with pytest.raises(secrets.SecretError, match="key: the value given differs"):
        keep(tmp_path, {"other": {}, "key": {"value": "second-value", "immutable": True}})
    assert (tmp_path / "key").read_text() == "first-value"
    assert not (tmp_path / "other").exists()


def test_renewed_secret_is_another_one(tmp_path: Path) -> None:
    before = keep(tmp_path, {"login": {}, "other": {}})["secrets"]
    result = keep(tmp_path, {"login": {"renew": True}, "other": {}})
    assert result["generated"] == ["login"] and result["changed"]
    assert result["secrets"]["login"] != before["login"] and result["secrets"]["other"] == before["other"]
    assert (tmp_path / "login").read_text() == result["secrets"]["login"]


def test_hash_follows_its_password(tmp_path: Path) -> None:
    wanted: dict[str, object] = {"login_hash": {"bcrypt_of": "login"}, "login": {}}
    first = keep(tmp_path, wanted)
    assert sorted(first["generated"]) == ["login", "login_hash"]
    known = first["secrets"]["login_hash"]
    assert re.fullmatch(r"\$2b\$10\$[./A-Za-z0-9]{53}", known)
    assert (tmp_path / "login_hash").read_text() == known
    assert not keep(tmp_path, wanted)["changed"]
    renewed = keep(tmp_path, {**wanted, "login": {"value": "another-Passw0rd"}})
    assert renewed["generated"] == ["login_hash"]
    assert bcrypt.matches("another-Passw0rd", renewed["secrets"]["login_hash"])
    assert not bcrypt.matches("another-Passw0rd", known)
    assert not bcrypt.matches("another-Passw0rd", "damaged")
    assert not bcrypt.matches("another-Passw0rd", f"$2b$10$é{known}")


@pytest.mark.parametrize("password", ["p" * 73, "ä" * 37])
def test_password_too_long_for_a_hash_is_refused(tmp_path: Path, password: str) -> None:
    """Bcrypt would use its beginning, and every password that begins like it would do."""
    with pytest.raises(bcrypt.BcryptError, match="more than 72 bytes"):
        keep(tmp_path, {"login": {"value": password}, "login_hash": {"bcrypt_of": "login"}})
    assert not any(tmp_path.iterdir())


def test_hash_of_no_secret_is_refused(tmp_path: Path) -> None:
    with pytest.raises(secrets.SecretError, match="bcrypt_of is 'other', which is none of the secrets"):
        keep(tmp_path, {"login_hash": {"bcrypt_of": "other"}})


def test_loose_modes_are_tightened(tmp_path: Path) -> None:
    (tmp_path / "login").write_text("value")
    (tmp_path / "login").chmod(0o644)
    assert keep(tmp_path, {"login": {}})["changed"]
    assert (tmp_path / "login").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("given", [{}, {"value": "the key"}, {"value": "the key\n", "immutable": True}])
def test_final_line_break_is_not_a_part_of_a_secret(tmp_path: Path, end: str, given: dict[str, object]) -> None:
    """As `echo KEY > secrets/key` writes it."""
    (tmp_path / "key").write_bytes(b"the key" + end.encode())
    (tmp_path / "key").chmod(0o600)
    assert keep(tmp_path, {"key": given}, check_mode=True)["secrets"] == {"key": "the key"}
    result = keep(tmp_path, {"key": given})
    assert result["changed"] and result["secrets"] == {"key": "the key"}
    assert (tmp_path / "key").read_bytes() == b"the key"
    assert not keep(tmp_path, {"key": given})["changed"]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b" \t\n", "is empty"),
        (b"one\ntwo\n", "has more than one line"),
        (b"one\n\n", "has more than one line"),
        (b"\xff\xfe", "has bytes that are not UTF-8"),
    ],
)
@pytest.mark.parametrize("fields", [{}, {"immutable": True}, {"kind": "base64", "immutable": True}])
def test_odd_file_is_refused_and_never_replaced(
    tmp_path: Path, content: bytes, problem: str, fields: dict[str, object]
) -> None:
    (tmp_path / "key").write_bytes(content)
    (tmp_path / "other").write_bytes(content)
    with pytest.raises(secrets.SecretError, match=problem) as raised:
        keep(tmp_path, {"key": fields, "other": {}})
    key, other = str(raised.value).splitlines()
    assert key.startswith(f"secret key: {tmp_path}/key {problem}") and other.startswith("secret other: ")
    # Who removes the file of a key gets another one, with which nothing can be read.
    assert ("remove the file" in key) is not bool(fields)
    assert "one\n" not in str(raised.value) and (tmp_path / "key").read_bytes() == content


@pytest.mark.parametrize("content", [" two  blanks ", "tab\tulator"])
def test_the_rest_of_a_secret_stays(tmp_path: Path, content: str) -> None:
    (tmp_path / "key").write_text(content)
    expected = content.removesuffix("\n")
    assert keep(tmp_path, {"key": {}})["secrets"] == {"key": expected}


@pytest.mark.parametrize(
    ("name", "spec", "message"),
    [
        ("a/b", {}, "the name is the file's name"),
        (".hidden", {}, "the name is the file's name"),
        ("a", {"size": 3}, "unknown key 'size'"),
        ("a", {"bcrypt_of": "b", "length": 20}, "unknown key 'bcrypt_of'; known are"),
        ("a", {"kind": "hex"}, "it is one of password, base64"),
        ("a", {"length": 4}, "at least 16"),
        ("a", {"value": ""}, "the value given is empty"),
        ("a", {"value": "given-value", "renew": True}, "can't be renewed"),
        ("a", {"immutable": True, "renew": True}, "can't be renewed"),
    ],
)
def test_malformed_specification_is_refused(name: str, spec: dict[str, object], message: str) -> None:
    with pytest.raises(secrets.SecretError, match=message):
        secrets.WantedSecret.parse(name, spec)


def test_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "key").touch()
    with pytest.raises(secrets.SecretError, match=r"is empty\. Put the value back"):
        keep(tmp_path, {"key": {}})


def test_new_directories_above_are_open_to_others(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        keep(tmp_path / "apps" / "root" / "secrets", {"a": {}})
    finally:
        os.umask(before)
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("apps", "apps/root", "apps/root/secrets")]
    assert modes == [0o755, 0o755, 0o700]


def test_nothing_is_made_for_no_secret(tmp_path: Path) -> None:
    result = secrets.ensure(tmp_path / "root" / "secrets", [], False)
    assert result["changed"] is False and not (tmp_path / "root").exists()


def test_text_keeps_the_line_break_at_its_end(tmp_path: Path) -> None:
    """ssh reads no private key without it."""
    key = "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n"
    wanted: dict[str, object] = {"key": {"value": key, "kind": "text"}}
    assert keep(tmp_path, wanted)["replaced"] == ["key"]
    assert (tmp_path / "key").read_text() == key and (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    assert not keep(tmp_path, wanted)["changed"]
    with pytest.raises(secrets.SecretError, match="secret key: kind is 'text', which needs a given value"):
        keep(tmp_path, {"key": {"kind": "text"}})
