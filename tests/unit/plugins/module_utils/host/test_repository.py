"""What the backup program is told about each store, and which secret files it has."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.devorch.orchestration.plugins.module_utils.host import repository


def stores(*targets: Any, keep: Any = None, **proxies: str) -> list[dict[str, Any]]:
    return repository.stores(list(targets), "/b/", "/o", keep or {}, proxies)


def test_the_local_store_is_first_and_needs_nothing() -> None:
    local, other = stores({"name": "other", "repository": "/srv/b", "keep": {"daily": "2"}}, keep={"weekly": 1})
    assert local["path"] == "/b/repository" and other["path"] == "/srv/b"
    assert local["secrets"] == {} and local["files"] == {"/o/bin/backup.local.repository": "/b/repository\n"}
    assert local["config"] == {
        "name": "local",
        "repository_file": "/o/bin/backup.local.repository",
        "environment_file": "",
        "options": {},
        "append_only": False,
        "upload_limit": 0,
        "download_limit": 0,
        "keep": {"daily": 7, "weekly": 1, "monthly": 12, "upgrade": 3, "manual": 3},
    }
    assert other["config"]["keep"] == {"daily": 2, "weekly": 1, "monthly": 12, "upgrade": 3, "manual": 3}


def test_a_store_with_the_name_of_the_local_one_takes_its_place() -> None:
    first, second = stores({"name": "a", "repository": "/srv/a"}, {"name": "local", "repository": "s3:h/b"})
    assert (first["config"]["name"], first["path"]) == ("local", "") and second["config"]["name"] == "a"


def test_login_of_a_rest_server_is_in_the_address_which_every_restic_reads() -> None:
    login = {"RESTIC_REST_USERNAME": "me", "RESTIC_REST_PASSWORD": "a/b@c:d%"}
    _local, store = stores({"name": "r", "repository": "rest:https://host:8000/me/", "environment": login})
    assert store["secrets"] == {
        "backup_r_repository": {"value": "rest:https://me:a%2Fb%40c%3Ad%25@host:8000/me/\n", "kind": "text"}
    }
    assert "a%2Fb" not in str(store["config"]) and store["config"]["environment_file"] == ""


def test_credentials_and_proxies_are_lines_of_a_secret_file() -> None:
    credentials = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "a key='$x'", "NUMBER": 1}
    _local, store = stores(
        {"name": "s", "repository": "s3:https://host/bucket", "environment": credentials, "append_only": "yes"},
        https_proxy="http://proxy:1",
    )
    assert store["secrets"]["backup_s_environment"]["value"] == (
        "https_proxy=http://proxy:1\nAWS_ACCESS_KEY_ID=id\nAWS_SECRET_ACCESS_KEY=a key='$x'\nNUMBER=1\n"
    )
    assert (
        store["config"]["environment_file"] == "/o/secrets/backup_s_environment"
        and store["config"]["append_only"] is True
    )
    assert "a key" not in str(store["config"])


@pytest.mark.parametrize(
    ("address", "end"),
    [
        ("sftp:me@host:/path", "-l me host -s sftp"),
        ("sftp:host:path", "host -s sftp"),
        ("sftp://me@host:2222//path", "-p 2222 -l me host -s sftp"),
        ("sftp://me@[2001:db8::5]//path", "-l me 2001:db8::5 -s sftp"),
    ],
)
def test_ssh_asks_nobody_and_knows_the_server(address: str, end: str) -> None:
    given = {"name": "o", "repository": address, "ssh_key": "KEY", "known_hosts": "host key"}
    _local, store = stores(given, https_proxy="http://proxy:1")
    assert store["config"]["options"]["sftp.command"] == (
        "ssh -o BatchMode=yes -o ConnectTimeout=30 -o ServerAliveInterval=15 -o ServerAliveCountMax=4"
        " -i /o/secrets/backup_o_ssh_key -o IdentitiesOnly=yes -o UserKnownHostsFile=/o/secrets/backup_o_known_hosts"
        f" -o StrictHostKeyChecking=yes {end}"
    )
    # ssh reads no key without a line break at its end.
    assert store["secrets"]["backup_o_ssh_key"] == {"value": "KEY\n", "kind": "text"}
    assert store["packages"] == ["openssh-client"] and store["config"]["environment_file"] == ""


@pytest.mark.parametrize(
    "targets",
    [
        "text",
        {"a": 1},
        [None, "text", {}],
        [{"name": "a"}],
        [{"name": "a", "repository": 5, "environment": "x", "keep": 7}],
    ],
)
def test_what_is_not_valid_is_left_to_the_preflight(targets: Any) -> None:
    found = repository.stores(targets, "/b", "/o", 7)
    assert found[0]["config"]["name"] == "local" and all(store["config"]["keep"]["daily"] == 7 for store in found)


def test_names_of_secret_files_are_those_of_stores() -> None:
    _local, store = stores({"name": "a-1", "repository": "sftp:h:/p", "ssh_key": "K", "known_hosts": "h k"})
    assert all(repository.SECRETS.fullmatch(name) for name in store["secrets"])
    assert not repository.SECRETS.fullmatch("backup_password")
