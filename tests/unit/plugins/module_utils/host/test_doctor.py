"""Every finding both ways: the facts of a host on which all is well, and one thing changed at a time."""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from ansible_collections.devorch.orchestration.plugins.module_utils.host import doctor
from ansible_collections.devorch.orchestration.plugins.module_utils.host.hints import OTHER_LOGIN

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
DIGEST = f"sha256:{'a' * 64}"
IMAGE = f"docker.io/kestra/kestra:v2.0.5@{DIGEST}"


def ago(**span: float) -> str:
    return (NOW - timedelta(**span)).isoformat()


def listener(*addresses: str, project: str = "orchestration") -> dict[str, Any]:
    return {"addresses": list(addresses), "process": "docker-proxy", "project": project, "container": "c"}


WELL: dict[str, Any] = {
    "project": "orchestration",
    "docker": {"engine": "26.1.5", "compose": "2.26.1"},
    "n8n_owner": {"known": True, "email": "admin@example.com", "managed": True},
    "services": {
        "kestra": {
            "image": IMAGE,
            "image_id": "sha256:1",
            "digests": [f"kestra/kestra@{DIGEST}"],
            "container": {
                "image": IMAGE,
                "image_id": "sha256:1",
                "state": "running",
                "health": "healthy",
                "restarts": 0,
            },
        }
    },
    "units": {
        "docker.service": {"active": "active", "enabled": "enabled", "wanted": True},
        "orchestration-watchdog.service": {"active": "inactive", "enabled": "static", "wanted": False},
    },
    "database_server": "",
    "databases": {"n8n": {"error": "", "connections": 20, "max_connections": 100, "bytes": 5 * 2**20}},
    "disks": {"/srv": {"total": 2**30, "free": 2**29, "used_percent": 50, "inodes_percent": 3}},
    "backup": {
        "backup": "20261124T070000Z",
        "finished": ago(hours=5),
        "verified": ago(hours=4),
        "targets": [{"name": "local", "ok": True, "future": []}, {"name": "offsite", "ok": True, "future": []}],
        "incomplete": [],
        "wanted": ["local", "offsite"],
        "trials": {"times": [], "last": {}},
        "archive": False,
        "store": "/b/repository",
        "exists": True,
        "paused": False,
        "running": False,
    },
    "certificates": {"https://k": {"not_after": ago(days=-60), "error": "", "expired": False}},
    "sidecar": {"status": "ok", "reason": None},
    "from_containers": {"reached": {"kestra": "", "n8n": ""}, "subnet": "172.18.0.0/16", "port": 8090},
    "kestra": {
        "version": "2.0.5",
        "broken_flows": {},
        "triggers": [
            {
                "namespace": "a",
                "flow": "b",
                "id": "t",
                "enabled": True,
                "locked": False,
                "next_date": ago(hours=-1),
                "since": ago(days=9),
            }
        ],
        "stuck": [],
        "stuck_total": 0,
        "last_day": {"success": 9, "warning": 0, "failed": 0, "killed": 0, "other": 1},
        "by_day": [],
    },
    "flows": {"plan": [], "problems": [], "summary": {"total": 3}},
    "ports": {
        "8080": {"variable": "kestra_port", "addresses": ["127.0.0.1"]},
        "8090": {"variable": "sidecar_port", "addresses": ["127.0.0.1", "172.17.0.1"]},
    },
    "listeners": {
        "8080": listener("127.0.0.1"),
        "8090": listener("127.0.0.1", "172.17.0.1", project=""),
        "22": listener("0.0.0.0", "::", project=""),  # noqa: S104
    },
    "modes": [{"path": "/o/secrets", "mode": 0o700, "uid": 0}, {"path": "/o/secrets/a", "mode": 0o600, "uid": 0}],
}


def evaluate(facts: dict[str, Any]) -> list[doctor.Finding]:
    return doctor.evaluate(facts, doctor.Limits(), NOW)


def test_all_is_well() -> None:
    findings = evaluate(WELL)
    assert {finding.status for finding in findings} == {"ok"}
    assert not [finding for finding in findings if finding.hint]
    assert doctor.worst(findings) == "ok"
    checks = "service unit version digest database disk backup certificate flow trigger execution listener mode"
    assert {finding.check for finding in findings} == set(checks.split())


def test_an_external_postgres_is_named_and_its_backup_is_never_green() -> None:
    server = "db.example.com:5432"
    external = WELL | {"database_server": server, "databases": {"kestra": {"error": "refused"}, **WELL["databases"]}}
    found = {(finding.check, finding.subject): finding for finding in evaluate(external)}
    assert found["database", "kestra"].status == "critical" and server in found["database", "kestra"].hint
    assert server in found["database", "n8n"].message
    backup = found["backup", "databases"]
    assert backup.status == "warning" and server in backup.message and "postgres-external.md" in backup.hint
    assert ("backup", "last") not in found


def put(*path: str | int, value: Any) -> Callable[[dict[str, Any]], None]:
    """Return what sets one value of the facts."""

    def change(facts: dict[str, Any]) -> None:
        place: Any = facts
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value

    return change


CONTAINER = ("services", "kestra", "container")
LOOPING = {**WELL["services"]["kestra"]["container"], "health": "starting", "restarts": 26}
BAD: list[tuple[Callable[[dict[str, Any]], None], str, str, str]] = [
    (put("docker", value={"engine": "", "compose": ""}), "service", "critical", "does not answer"),
    (put(*CONTAINER, value=None), "service", "critical", "there is no container"),
    (put(*CONTAINER, "state", value="exited"), "service", "critical", "the container is exited"),
    (put(*CONTAINER, "health", value="unhealthy"), "service", "critical", "runs, but is unhealthy"),
    (put(*CONTAINER, "health", value=""), "service", "critical", "without a health check"),
    (put(*CONTAINER, "health", value="starting"), "service", "warning", "is starting"),
    (put(*CONTAINER, value=LOOPING), "service", "critical", "does not stay up: Docker restarted it 26 times"),
    (
        put(*CONTAINER, value=LOOPING | {"state": "restarting", "health": "unhealthy"}),
        "service",
        "critical",
        "does not stay up: Docker restarted it 26 times",
    ),
    (put(*CONTAINER, value=LOOPING | {"restarts": 2}), "service", "warning", "is starting, restarted 2 times"),
    (put(*CONTAINER, "image", value="kestra:old"), "version", "warning", "runs kestra:old, pinned is"),
    (put(*CONTAINER, "image_id", value="sha256:2"), "digest", "warning", "another image by now"),
    (put("services", "kestra", "digests", value=[]), "digest", "critical", "is not sha256:aaa"),
    (put("kestra", value={"error": "HTTP 401"}), "service", "critical", "HTTP 401"),
    (put("kestra", value={"error": "HTTP 401", "refused": True}), "service", "critical", "HTTP 401"),
    (put("sidecar", value={"error": "refused"}), "service", "critical", "does not answer: refused"),
    (put("sidecar", "status", value="degraded"), "service", "warning", "multipass does not"),
    (
        put("from_containers", "reached", "kestra", value="curl: (28) timed out"),
        "service",
        "critical",
        "the container does not reach it: curl: (28) timed out",
    ),
    (put("units", "docker.service", "active", value="inactive"), "unit", "critical", "is inactive"),
    (put("units", "docker.service", "active", value=""), "unit", "critical", "is not there"),
    (put("units", "docker.service", "enabled", value="disabled"), "unit", "warning", "does not start with the host"),
    (put("units", "orchestration-watchdog.service", "active", value="failed"), "unit", "critical", "has failed"),
    (put("databases", "n8n", value={"error": "no password"}), "database", "critical", "can't log in: no password"),
    (put("databases", "n8n", "connections", value=80), "database", "warning", "80 of 100"),
    (put("disks", "/srv", "used_percent", value=80), "disk", "warning", "80 % used"),
    (put("disks", "/srv", "used_percent", value=90), "disk", "critical", "90 % used"),
    (put("disks", "/srv", "inodes_percent", value=95), "disk", "critical", "95 % of its files"),
    (put("backup", value=None), "backup", "warning", "no backup"),
    (put("backup", value={"error": "line 1"}), "backup", "warning", "can't be read: line 1"),
    (put("backup", "finished", value="soon"), "backup", "warning", "no date in it"),
    (put("backup", "finished", value=ago(hours=37)), "backup", "warning", "37 hours old"),
    (put("backup", "finished", value=ago(days=9)), "backup", "critical", "9 days old"),
    (put("backup", "exists", value=False), "backup", "critical", "is not there any more"),
    (put("backup", "verified", value=None), "backup", "warning", "never restored"),
    (put("backup", "verified", value=ago(days=63)), "backup", "warning", "63 days ago"),
    (
        put("backup", "trials", "last", value={"backup": "20261124T070000Z", "ok": False, "error": "5 of 6"}),
        "backup",
        "critical",
        "the trial restore of 20261124T070000Z failed: 5 of 6",
    ),
    (put("backup", "archive", value=True), "backup", "warning", "is an archive of the previous format"),
    (
        put("backup", "targets", 1, value={"name": "offsite", "ok": False, "error": "no route"}),
        "backup",
        "warning",
        "has failed: no route",
    ),
    (put("backup", "targets", value=[{"name": "local", "ok": True}]), "backup", "warning", "does not have the last"),
    (
        put("backup", "targets", 0, "future", value=["20271124T070000Z"]),
        "backup",
        "warning",
        "dated in the future: 20271124T070000Z",
    ),
    (put("backup", "incomplete", value=list("abcde")), "backup", "warning", "a, b, c and 2 more could not be read"),
    (put("backup", "paused", value=True), "backup", "critical", "services are paused, and the backup was killed"),
    (
        put("backup", value={"none": True, "paused": True, "running": False}),
        "backup",
        "critical",
        "services are paused, and the backup was killed",
    ),
    (put("certificates", "https://k", "not_after", value=ago(days=-20)), "certificate", "warning", "valid for 20 days"),
    (put("certificates", "https://k", "not_after", value=ago(days=-4)), "certificate", "critical", "valid for 4 days"),
    (
        put("certificates", "https://k", "not_after", value=ago(days=1)),
        "certificate",
        "critical",
        "ended on 2026-11-23",
    ),
    (put("certificates", "https://k", "not_after", value=None), "certificate", "warning", "shows no date"),
    (put("certificates", "https://k", "error", value="refused"), "certificate", "warning", "refused"),
    (
        put("certificates", "https://k", value={"error": "expired", "expired": True, "not_after": None}),
        "certificate",
        "critical",
        "expired",
    ),
    (put("kestra", "broken_flows", value={"a/b": "no such task"}), "flow", "critical", "can't read it: no such task"),
    (
        put("flows", "problems", value=[{"file": "f.yaml", "line": 3, "message": "bad"}]),
        "flow",
        "critical",
        "bad",
    ),
    (
        put("flows", "plan", value=[{"action": "update", "namespace": "a", "id": "b", "drift": "edited"}]),
        "flow",
        "warning",
        "differs from its file (edited on the server)",
    ),
    (
        put("flows", "plan", value=[{"action": "create", "namespace": "a", "id": "b", "drift": None}]),
        "flow",
        "warning",
        "has a file and is not on the server",
    ),
    (put("flows", value={"msg": "no server"}), "flow", "warning", "could not be compared with the files: no server"),
    (put("kestra", "triggers", 0, "next_date", value=ago(minutes=11)), "trigger", "warning", "overdue by 11 minutes"),
    (put("kestra", "triggers", 0, "locked", value=True), "trigger", "warning", "locked for 9 days"),
    (
        put(
            "kestra", "stuck", value=[{"namespace": "a", "flow": "b", "id": "1", "state": "RUNNING", "start_date": "x"}]
        ),
        "execution",
        "warning",
        "RUNNING since x",
    ),
    (put("kestra", "stuck_total", value=7), "execution", "warning", "7 more are stuck"),
    (put("kestra", "last_day", "failed", value=1), "execution", "warning", "1 of 11 in the last 24 hours"),
    (put("kestra", "last_day", "failed", value=10), "execution", "critical", "10 of 20"),
    (
        put("listeners", "8080", value=listener("0.0.0.0")),  # noqa: S104
        "listener",
        "critical",
        "the variables allow 127.0.0.1 only",
    ),
    (put("listeners", "8080", value=None), "listener", "critical", "nothing listens"),
    (put("listeners", "5432", value=listener("::")), "listener", "critical", "c is published at ::"),
    (put("modes", 1, "mode", value=0o640), "mode", "critical", "mode 0640 lets others in"),
    (put("modes", 1, "uid", value=1000), "mode", "critical", "belongs to user 1000"),
]


@pytest.mark.parametrize(("change", "check", "status", "message"), BAD, ids=[f"{row[1]}: {row[3]}" for row in BAD])
def test_what_is_not_well_is_found_with_a_way_out(
    change: Callable[[dict[str, Any]], None], check: str, status: str, message: str
) -> None:
    facts = copy.deepcopy(WELL)
    change(facts)
    facts["listeners"] = {port: found for port, found in facts["listeners"].items() if found}
    findings = evaluate(facts)
    bad = [finding for finding in findings if finding.status != "ok"]
    assert [(f.check, f.status) for f in bad if message in f.message] == [(check, status)]
    assert all(finding.hint for finding in bad)
    assert findings[0].status == doctor.worst(findings) != "ok"


def test_hint_names_the_rule_of_the_firewall() -> None:
    facts = copy.deepcopy(WELL)
    facts["from_containers"]["reached"]["n8n"] = "timed out"
    (finding,) = [finding for finding in evaluate(facts) if finding.status != "ok"]
    assert finding.subject == "sidecar from n8n"
    assert "'ufw allow from 172.18.0.0/16 to any port 8090 proto tcp'" in finding.hint
    facts["sidecar"] = {"error": "refused"}
    assert [found.subject for found in evaluate(facts) if found.status != "ok"] == ["sidecar"]


FINE: list[Callable[[dict[str, Any]], None]] = [
    put("kestra", "triggers", 0, value={**WELL["kestra"]["triggers"][0], "enabled": False, "next_date": ago(days=1)}),
    put("kestra", "triggers", 0, value={**WELL["kestra"]["triggers"][0], "locked": True, "since": ago(hours=1)}),
    put("listeners", "5432", value=listener("127.0.0.1", "::1")),
    put("ports", "8080", value={"variable": "kestra_port", "addresses": ["0.0.0.0"]}),  # noqa: S104
    put("certificates", value={}),
    put("sidecar", value=None),
    put("flows", value=None),
    put("kestra", value={}),
    put("backup", value={**WELL["backup"], "verified": None, "trials": {"times": [ago(days=4)], "last": {"ok": True}}}),
    put("backup", value={**WELL["backup"], "paused": True, "running": True}),
]


def test_a_container_that_a_running_backup_has_paused_is_no_fault() -> None:
    facts = copy.deepcopy(WELL)
    facts["services"]["kestra"]["container"]["state"] = "paused"
    for running, status in ((True, "warning"), (False, "critical")):
        facts["backup"] |= {"paused": True, "running": running}
        (found,) = [finding for finding in evaluate(facts) if (finding.check, finding.subject) == ("service", "kestra")]
        assert found.status == status


@pytest.mark.parametrize("change", FINE)
def test_what_only_looks_bad_is_well(change: Callable[[dict[str, Any]], None]) -> None:
    facts = copy.deepcopy(WELL)
    change(facts)
    assert [finding for finding in evaluate(facts) if finding.status != "ok"] == []


@pytest.mark.parametrize(
    ("variable", "found"),
    [("0.0.0.0", ["0.0.0.0", "::"]), ("[::]", ["::"]), ("[2001:db8::5]", ["2001:db8::5"]), ("10.0.0.5", ["10.0.0.5"])],  # noqa: S104
)
def test_a_published_port_may_be_open_where_its_variable_says_so(variable: str, found: list[str]) -> None:
    facts = copy.deepcopy(WELL)
    facts["ports"]["8080"]["addresses"] = [variable]
    facts["listeners"]["8080"] = listener(*found)
    assert doctor.worst(evaluate(facts)) == "ok"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-24T12:00:00Z", NOW),
        ("2026-11-24T12:00:00", NOW),
        ("2026-11-24T13:00:00+01:00", NOW),
        ("yesterday", None),
        (None, None),
    ],
)
def test_moments(text: str | None, expected: datetime | None) -> None:
    assert doctor.moment(text) == expected


def test_words() -> None:
    assert doctor.age(timedelta(days=3)) == "3 days"
    assert doctor.age(timedelta(hours=25)) == "25 hours"
    assert doctor.age(timedelta(seconds=3)) == "3 seconds"
    assert [doctor.size(5), doctor.size(1536), doctor.size(2**40)] == ["5 B", "1.5 KiB", "1.0 TiB"]


def test_units_are_read() -> None:
    text = (
        "Id=docker.service\nLoadState=loaded\nActiveState=active\nUnitFileState=enabled\n\nId=b.timer\nActiveState=x\n"
    )
    assert doctor.parse_units(text)["docker.service"]["UnitFileState"] == "enabled"
    assert set(doctor.parse_units(text)) == {"docker.service", "b.timer"}


@pytest.mark.parametrize(
    ("owner", "statuses"),
    [
        ({"known": True, "email": "", "managed": False}, ["critical"]),
        # n8n's environment names an owner, but this n8n is too old to read it.
        ({"known": True, "email": "", "managed": True}, ["critical"]),
        ({"known": True, "email": "a@example.com", "managed": False}, ["ok"]),
        ({"known": False, "email": "", "managed": False}, []),
        ({}, []),
    ],
)
def test_n8n_without_an_owner_is_critical(owner: dict[str, Any], statuses: list[str]) -> None:
    facts = copy.deepcopy(WELL)
    facts["services"]["n8n"] = facts["services"]["kestra"]
    facts["n8n_owner"] = owner
    assert [finding.status for finding in evaluate(facts) if finding.subject == "n8n owner"] == statuses


@pytest.mark.parametrize("state", [None, "exited", "restarting"])
def test_nobody_takes_over_an_n8n_that_does_not_run(state: str | None) -> None:
    facts = copy.deepcopy(WELL)
    container = {**WELL["services"]["kestra"]["container"], "state": state}
    facts["services"]["n8n"] = {**WELL["services"]["kestra"], "container": container if state else None}
    facts["n8n_owner"] = {"known": True, "email": "", "managed": True}
    assert [found.subject for found in evaluate(facts) if found.status != "ok"] == ["n8n"]


def test_a_crash_loop_is_shown_with_the_way_to_look_and_to_mend() -> None:
    facts = copy.deepcopy(WELL)
    facts["services"]["kestra"]["container"] = LOOPING
    (finding,) = [found for found in evaluate(facts) if found.status != "ok"]
    assert "'docker logs orchestration-kestra-1'" in finding.hint and "Run site.yml" in finding.hint


def test_an_absent_n8n_needs_no_owner() -> None:
    facts = {**WELL, "n8n_owner": {"known": True, "email": "", "managed": False}}
    assert doctor.worst(evaluate(facts)) == "ok"


def test_hint_about_another_login_of_kestra() -> None:
    """Kestra has the login in its database, where its UI changes it."""
    facts = copy.deepcopy(WELL) | {"kestra": {"error": "HTTP 401", "refused": True}}
    (finding,) = [finding for finding in evaluate(facts) if finding.status == "critical"]
    assert "restart Kestra, which sets that of the inventory again, or set kestra_password" in finding.hint
    assert finding.hint == f"{OTHER_LOGIN}."
