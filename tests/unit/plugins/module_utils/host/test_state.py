"""What `host_info` makes of files, and of what programs print."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.devorch.orchestration.plugins.module_utils.host import files, scram, state
from ansible_collections.devorch.orchestration.plugins.module_utils.host.commands import Commands
from ansible_collections.devorch.orchestration.plugins.module_utils.host.service_files import LastKnownGood, read

# As PostgreSQL 15 stored them.
VERIFIERS = {
    "plain-Pass1": (
        "SCRAM-SHA-256$4096:Ybn4ei70MPuNuoH9po6V6A=="
        "$eV6w5Lwu8nnjBrb/BLIZNxqSDvJLzG790XEQKv8/BeQ=:8v6Wxy+J29nHA+5eSAL+1b89U3clGGWMYT7BKv7vf3s="
    ),
    "p\xe4ssw\xf6rd": (
        "SCRAM-SHA-256$4096:uQCJr0hCkcdG9eyDPy/h9w=="
        "$uhYtIcCa8mfdjlWwUmUmzFfcvvUneoNDHBezR5wnc8Q=:FLyUcDN++W/zDG0u1GWLV6EiCL5c+l8z8ZQU0riU+DE="
    ),
    "\u2168": (
        "SCRAM-SHA-256$4096:9flyQ3PGtMCuGSQosDmhWA=="
        "$0gts/LPXxo/ItgZDpTOJ7+1q9sBY+ONIJf1p7i2SDms=:bzNJb4YD3YwZb+V7YVFvx4hqm9MRMRByzh4LLQgng3M="
    ),
    "a\x07b\xe9": (
        "SCRAM-SHA-256$4096:kieEJfktVDTu7xHYyghOhw=="
        "$8/TSp5zfToX4vkJoRoM110+rFluSQJUHTfAByPRJOTk=:x9GKerrMJ7wvRt7CSl+VZUkEolYec1FBDebqkeA/E50="
    ),
    "\u06271": (
        "SCRAM-SHA-256$4096:9U9dnlooD1Z+nVTXsGQwDA=="
        "$3/gSXv6ua5yp3JNZZnBvhBlpRukBDHIAn3taQM+ROYY=:BrjSobjW5Uieus1q0WHDtq0CENlMasyGpsJWLZtah7M="
    ),
    "\u200b\xe9": (
        "SCRAM-SHA-256$4096:jKFQPeW4xxsg9l7u7bNFUw=="
        "$GA7MFROvksZbJWCRE6v1PYqP+ctMy0l0cnQe+2aMRD8=:qzBnkzLQempucU7+Sn11RzQ5Z7N1FB35G0mD3Yzz7i4="
    ),
    "\xad": (
        "SCRAM-SHA-256$4096:SjEy5vVUi52xgptyMikWfw=="
        "$cMmuIGgy7YlTDf3JaS2kjBwCiLLWqRz1/c9atAF38iE=:XkKOJtik+3Z3vJHZxrjWzRpvto5droSMfNTHAPP4ktk="
    ),
}


@pytest.mark.parametrize("password", VERIFIERS, ids=ascii)
def test_password_of_a_verifier(password: str) -> None:
    assert scram.compare(VERIFIERS[password], password) == "current"
    assert scram.compare(VERIFIERS[password], f"{password}x") == "other"


@pytest.mark.parametrize("password", [*VERIFIERS, "md5c4c6c4b1d4c7d2f4f3f3d2a1b0a9f8e7"], ids=ascii)
def test_verifier_that_is_made_is_that_of_its_password_alone(password: str) -> None:
    made = scram.verifier_of(password)
    assert scram.compare(made, password) == "current"
    assert scram.compare(made, f"{password}x") == "other" and password not in made
    assert made.split("$")[1] != scram.verifier_of(password).split("$")[1], "the salt is public before a login"


def test_verifier_has_the_key_of_the_server_too() -> None:
    password, stored = next(iter(VERIFIERS.items()))
    salt = base64.b64decode(stored.split("$")[1].split(":")[1])
    keys = ":".join(base64.b64encode(key).decode() for key in scram._keys(password, salt, scram.USUAL_ITERATIONS))
    assert stored.endswith(f"${keys}")


def test_equivalent_passwords() -> None:
    """The examples of RFC 4013, and two ways to write one letter."""
    assert scram.prepare("I\u00adX") == "IX"
    assert scram.prepare("\u00aa") == "a"
    assert scram.prepare("\u2168") == "IX"
    assert scram.prepare("USER") == "USER"
    assert scram.prepare("\u06271") == "\u06271", "refused, and therefore taken as it is"
    assert scram.prepare("e\u0301") == scram.prepare("é")


@pytest.mark.parametrize(
    ("verifier", "expected"),
    [
        ("", "other"),
        ("md5c4c6c4b1d4c7d2f4f3f3d2a1b0a9f8e7", "other"),
        ("SCRAM-SHA-256$4096:a$b:c", "other"),
        ("SCRAM-SHA-256$99999999:YWJj$YWJj:YWJj", "unknown"),
    ],
)
def test_what_no_password_is_compared_with(verifier: str, expected: str) -> None:
    assert scram.compare(verifier, "password") == expected


def test_packages() -> None:
    printed = (
        "docker.io\t26.1.5\tinstalled\tdocker-cli\n"
        "mawk\t1.3.4\tinstalled\tawk\n"
        "perl\t5.40\tinstalled\tlibtest-perl (= 1.2), perl5\n"
        "removed\t1.0\tconfig-files\t\n"
    )
    asked = ["docker.io", "docker-cli", "libtest-perl", "perl5", "removed", "never"]
    assert state.parse_packages(printed, asked) == {
        "docker.io": "26.1.5",
        "docker-cli": "26.1.5",
        "libtest-perl": "1.2",
        "perl5": "5.40",
    }
    assert state.parse_packages("", asked) == {}


def test_units() -> None:
    printed = (
        "Listen=127.0.0.1:8090 (Stream)\nListen=172.17.0.1:8090 (Stream)\nId=a.socket\nNames=a.socket\n"
        "LoadState=loaded\nActiveState=active\nUnitFileState=enabled\n\n"
        "Id=ssh.service\nNames=ssh.service sshd.service\nLoadState=loaded\nActiveState=failed\n"
        "UnitFileState=disabled\n\n"
        "Id=no.service\nNames=no.service\nLoadState=not-found\nActiveState=inactive\nUnitFileState=\n"
    )
    assert state.parse_units(printed, ["a.socket", "sshd.service", "no.service"]) == {
        "a.socket": {
            "load": "loaded",
            "active": "active",
            "enabled": "enabled",
            "listen": ["127.0.0.1:8090 (Stream)", "172.17.0.1:8090 (Stream)"],
        },
        "sshd.service": {"load": "loaded", "active": "failed", "enabled": "disabled", "listen": []},
        "no.service": {"load": "not-found", "active": "inactive", "enabled": "", "listen": []},
    }
    assert state.parse_units("", ["a.socket"]) == {}


def test_listed_containers() -> None:
    lines = [
        ("1", "mine-n8n-1", "127.0.0.1:5678->5678/tcp", "mine", "False", "running"),
        ("2", "mine-n8n-run-1", "", "mine", "True", "running"),
        ("3", "foreign", "0.0.0.0:80->80/tcp", "", "", "exited"),
    ]
    printed = "".join("\t".join(json.dumps(field) for field in line) + "\n" for line in lines)
    publishers, identifiers = state.parse_listed(printed, "mine")
    assert publishers == {
        5678: {"container": "mine-n8n-1", "project": "mine"},
        80: {"container": "foreign", "project": ""},
    }
    assert identifiers == ["1"]
    assert state.parse_listed("", "mine") == ({}, [])


def inspected(name: str, **labels: str) -> dict[str, Any]:
    return {
        "Id": f"id of {name}",
        "Name": f"/{name}",
        "Image": "sha256:1",
        "RestartCount": 2,
        "State": {
            "Status": "running",
            "StartedAt": "2026-01-02T03:04:05.25668343Z",
            "Health": {"Status": "healthy", "FailingStreak": 1},
        },
        "Config": {
            "Image": "docker.io/n8nio/n8n:2",
            "Env": ["PASSWORD=visible"],
            "Labels": {f"com.docker.compose.{key.replace('_', '-')}": value for key, value in labels.items()},
        },
    }


def test_containers() -> None:
    told = [
        inspected("1234_mine-n8n-1", service="n8n", config_hash="old"),
        inspected("mine-n8n-1", service="n8n", config_hash="new"),
        inspected("5678_mine-n8n-1", service="n8n", config_hash="old"),
        inspected("none"),
    ]
    told[1]["Config"]["Labels"]["com.docker.compose.project.working_dir"] = "/srv/mine"
    found = state.parse_containers(json.dumps(told), "mine")
    assert found == {
        "n8n": {
            "id": "id of mine-n8n-1",
            "name": "mine-n8n-1",
            "image": "docker.io/n8nio/n8n:2",
            "image_id": "sha256:1",
            "status": "running",
            "health": "healthy",
            "failures": 1,
            "restarts": 2,
            "started": pytest.approx(1767323045.256683),
            "config_hash": "new",
            "directory": "/srv/mine",
        }
    }
    assert "visible" not in json.dumps(found)
    assert state.parse_containers("", "mine") == {}


def test_databases() -> None:
    role = {"superuser": False, "createdb": False, "createrole": False, "login": True}
    verifier = VERIFIERS["plain-Pass1"]
    printed = json.dumps(
        {
            "roles": {name: {**role, "verifier": verifier} for name in ("postgres", "kestra", "n8n")},
            "databases": {"kestra": {"owner": "kestra", "encoding": "UTF8", "public": False}},
        }
    )
    secrets = {"postgres_password": "plain-Pass1", "kestra_database_password": "another"}
    found = state.parse_databases(printed, secrets.get)
    assert found["reachable"] is True
    assert {name: known["password"] for name, known in found["roles"].items()} == {
        "postgres": "current",
        "kestra": "other",
        "n8n": "unknown",
    }
    assert found["databases"]["kestra"]["owner"] == "kestra"
    assert "SCRAM" not in json.dumps(found)
    assert state.parse_databases("", secrets.get) == {"reachable": False, "roles": {}, "databases": {}}


NO_N8N: dict[str, Any] = {"reachable": True, "roles": {}, "databases": {"kestra": {}}}
WITH_N8N: dict[str, Any] = {"reachable": True, "roles": {}, "databases": {"n8n": {}}}
DOWN: dict[str, Any] = {"reachable": False, "roles": {}, "databases": {}}
MANAGED = "N8N_PORT='5678'\nN8N_INSTANCE_OWNER_MANAGED_BY_ENV='true'\n"


@pytest.mark.parametrize(
    ("printed", "databases", "has_data", "environment", "expected"),
    [
        ("owner alice@example.com\n", WITH_N8N, True, "", (True, "alice@example.com", False)),
        ("owner alice@example.com\n", WITH_N8N, True, MANAGED, (True, "alice@example.com", True)),
        ("owner \n", WITH_N8N, True, "", (True, "", False)),
        ("", NO_N8N, True, "", (True, "", False)),
        ("", DOWN, False, "", (True, "", False)),
        # An owner may be there, and PostgreSQL does not answer.
        ("", DOWN, True, "", (False, "", False)),
        ("", WITH_N8N, True, "", (False, "", False)),
        ("", DOWN, True, MANAGED, (False, "", True)),
        ("", DOWN, True, MANAGED.replace("true", "false"), (False, "", False)),
    ],
)
def test_owner_of_n8n(
    printed: str, databases: dict[str, Any], has_data: bool, environment: str, expected: tuple[bool, str, bool]
) -> None:
    found = state.n8n_owner(printed, databases, has_data, environment)
    assert (found["known"], found["email"], found["managed"]) == expected


def test_users_and_groups() -> None:
    found = state.users(["root", "no-such-user"])
    assert list(found) == ["root"]
    assert (found["root"]["uid"], found["root"]["gid"]) == (0, 0)
    assert "root" in found["root"]["groups"]
    assert "root" in state.groups()


def fill(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
        path.chmod(0o640)


def test_files_below_the_root(tmp_path: Path) -> None:
    root = tmp_path / "root"
    listed = {
        "compose.yml",
        "env/n8n.env",
        "secrets/n8n_database_password",
        "rollback/n8n/record.json",
        "sidecar/tokens",
        "sidecar/venv-12/digest",
    }
    closed = {
        "data/n8n/config",
        "backups/today.tar",
        "bundle/images.tar",
        "sidecar-data/jobs.sqlite",
        "sidecar-data/environments/one/main.tf",
        "sidecar/venv-12/lib/site.py",
        "rollback/n8n/0123456789ab/env/n8n.env",
        "former/n8n/0123456789ab/env/n8n.env",
    }
    directories = {
        *("", "env", "secrets", "data", "data/n8n", "backups", "bundle", "sidecar", "sidecar/venv-12"),
        *("sidecar-data", "sidecar-data/environments", "rollback", "rollback/n8n", "rollback/n8n/0123456789ab"),
        *("former", "former/n8n", "former/n8n/0123456789ab"),
    }
    fill(root, *listed, *closed)
    fill(tmp_path, "unit", "foreign")
    found = files.files(root, [tmp_path / "unit", tmp_path / "missing"])
    assert found.keys() == {str(root / name) for name in listed | directories} | {str(tmp_path / "unit")}
    assert found[str(tmp_path / "unit")] == {
        "type": "file",
        "mode": "0640",
        "owner": files.user_name(os.getuid()),
        "group": files.group_name(tmp_path.stat().st_gid),
        "uid": os.getuid(),
        "gid": tmp_path.stat().st_gid,
        "sha256": hashlib.sha256(b"unit").hexdigest(),
    }
    assert found[str(root / "env")]["type"] == "directory"
    assert "sha256" not in found[str(root / "env")]
    assert "sha256" not in found[str(root / "secrets" / "n8n_database_password")]


def test_copies_of_secrets_are_secrets(tmp_path: Path) -> None:
    copy = tmp_path / "rollback/kestra/12/opt/secrets/kestra_password"
    fill(tmp_path, str(copy.relative_to(tmp_path)))
    assert "sha256" not in files.files(tmp_path, [copy])[str(copy)]


def test_links(tmp_path: Path) -> None:
    fill(tmp_path, "disk/kestra/storage", "root/target")
    root = tmp_path / "root"
    for name, target in {"data": tmp_path / "disk", "again": root, "file": root / "target", "gone": "nowhere"}.items():
        (root / name).symlink_to(target)
    found = files.files(root)
    kinds = {str(Path(path).relative_to(root)): known["type"] for path, known in found.items()}
    assert kinds == {
        ".": "directory",
        "again": "link",
        "data": "link",
        "data/kestra": "directory",
        "file": "link",
        "gone": "link",
        "target": "file",
    }


def test_link_that_a_service_user_planted_is_one(tmp_path: Path) -> None:
    fill(tmp_path, "etc/shadow", "root/sidecar-data/jobs.sqlite", "root/data/n8n/config")
    root, etc = tmp_path / "root", tmp_path / "etc"
    (root / "data/postgres").symlink_to(etc)
    (root / "sidecar-data/environments").symlink_to(etc)
    (root / "sidecar-data/dangling").symlink_to("nowhere")
    found = files.files(root)
    for name in ("data/postgres", "sidecar-data/environments", "sidecar-data/dangling"):
        assert found[str(root / name)]["type"] == "link"
    assert not [path for path in found if path.endswith(("shadow", "jobs.sqlite"))]


def test_root_and_directories_elsewhere_may_be_links(tmp_path: Path) -> None:
    fill(tmp_path, "disk/compose.yml", "homes/sidecar/file")
    root, home = tmp_path / "root", tmp_path / "home"
    root.symlink_to(tmp_path / "disk")
    home.symlink_to(tmp_path / "homes")
    found = files.files(root, [home])
    assert {path: known["type"] for path, known in found.items()} == {
        str(root): "directory",
        str(root / "compose.yml"): "file",
        str(home): "directory",
    }


def test_version_that_a_container_planted(tmp_path: Path) -> None:
    """A named pipe would never answer, and a link would tell what is in a file that only root may read."""
    version = tmp_path / "PG_VERSION"
    os.mkfifo(version)
    assert files.text(version, 64) == "" and files.password(version) is None
    version.unlink()
    fill(tmp_path, "shadow")
    version.symlink_to(tmp_path / "shadow")
    assert files.text(version, 64) == "" and files.password(version) is None
    version.unlink()
    version.write_text("17\n")
    assert files.text(version, 64) == "17"
    version.write_text("1" * 1000)
    assert files.text(version, 64) == "1" * 64


def test_other_roots(tmp_path: Path) -> None:
    root, link = tmp_path / "root", tmp_path / "link"
    root.mkdir()
    link.symlink_to(root)
    known = [str(root), f"{root}/", str(link), "", "/srv/other", "/srv/other"]
    assert files.other_roots(root, known) == files.other_roots(link, known) == ["/srv/other"]


@pytest.mark.parametrize(
    ("marker", "root"), [('{"root": "/srv/a"}\n', "/srv/a"), ("{}", ""), ("[]", ""), ("", ""), (None, "")]
)
def test_marker(tmp_path: Path, marker: str | None, root: str) -> None:
    if marker is not None:
        (tmp_path / "marker").write_text(marker)
    assert files.marked_root(tmp_path / "marker") == root


def test_what_is_too_large_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as stream:
        stream.truncate(files.LARGEST_HASHED + 1)
    assert files.files(tmp_path)[str(tmp_path / "large")]["sha256"] == ""


def test_missing_root(tmp_path: Path) -> None:
    assert files.files(tmp_path / "root") == {}
    assert files.names(tmp_path / "root") == []
    assert files.text(tmp_path / "root") == ""
    assert files.versions(tmp_path / "root") == {}
    assert files.password(tmp_path / "root") is None


def test_names_of_users_that_are_gone() -> None:
    assert files.user_name(54321) == "54321"
    assert files.group_name(54321) == "54321"


@pytest.mark.parametrize("place", ["rollback", "former"])
def test_last_known_good_set(tmp_path: Path, place: str) -> None:
    fill(tmp_path, "env/n8n.env", "secrets/key")
    env, key = (tmp_path / name for name in ("env/n8n.env", "secrets/key"))
    good = LastKnownGood(tmp_path / place / "n8n")
    good.commit({env: read(env)}, {key: read(key)}, "1234")  # type: ignore[dict-item]
    assert files.last_known_good(tmp_path, "n8n") == {
        "committed": good.committed,
        "config_hash": "1234",
        "differing": [],
    }
    key.write_text("another")
    env.chmod(0o600)
    assert files.last_known_good(tmp_path, "n8n")["differing"] == [str(env), str(key)]
    good.begin()
    assert files.last_known_good(tmp_path, "n8n")["committed"] == ""


@pytest.mark.parametrize("record", ["", "[]", "{}", '{"digest": "", "files": {}}'])
def test_no_last_known_good_set(tmp_path: Path, record: str) -> None:
    (tmp_path / "rollback" / "n8n").mkdir(parents=True)
    (tmp_path / "rollback" / "n8n" / "record.json").write_text(record)
    for service in ("n8n", "kestra"):
        assert files.last_known_good(tmp_path, service) == {"committed": "", "config_hash": "", "differing": []}


def test_texts(tmp_path: Path) -> None:
    (tmp_path / "kestra").write_text("kestra:v2\n")
    (tmp_path / "n8n").write_text("n8n:2\\n")
    (tmp_path / ".n8n.new-123").write_text("")
    assert files.versions(tmp_path) == {"kestra": "kestra:v2", "n8n": "n8n:2"}
    (tmp_path / "password").write_text(" as it is \n")
    assert files.password(tmp_path / "password") == " as it is \n"


def test_commands() -> None:
    commands = Commands(30)
    assert commands.output(["cat"], "given") == "given"
    assert commands.output(["sh", "-c", "echo printed; exit 1"]) == ""
    assert commands.output(["/no/such/program"]) == ""


def test_programs_that_hang_are_left_at_the_deadline() -> None:
    """As docker does with its plugins: one that the program itself started has the pipe as well."""
    started = time.monotonic()
    commands = Commands(0.5)
    assert commands.output(["sh", "-c", "sleep 30 & sleep 30"]) == ""
    assert commands.output(["echo", "too late"]) == ""
    assert time.monotonic() - started < 10
