# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Judge what was read from an orchestration host. Nothing here reads anything: facts go in, findings come out."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from ansible_collections.devorch.orchestration.plugins.module_utils.dates import UTC
from ansible_collections.devorch.orchestration.plugins.module_utils.dates import parse as parse_date
from ansible_collections.devorch.orchestration.plugins.module_utils.host.hints import OTHER_LOGIN

OK, WARNING, CRITICAL = "ok", "warning", "critical"
STATUSES = (OK, WARNING, CRITICAL)
RUN_SITE = "Run site.yml. It repairs this."
MANY_RESTARTS = 3
"""As often Docker restarts a container that can't work; its count begins anew if the container is started by hand."""
Facts = Mapping[str, Any]


@dataclass(frozen=True)
class Finding:
    """One thing that was checked: what it is, its status, and how to fix it."""

    check: str
    subject: str
    status: str
    message: str
    hint: str = ""

    def as_result(self) -> dict[str, str]:
        return asdict(self)


@dataclass(frozen=True)
class Limits:
    """From where on something is not well: percent, hours, days, minutes and counts, as the names say."""

    disk_warning_percent: int = 80
    disk_critical_percent: int = 90
    backup_warning_hours: int = 36
    backup_critical_hours: int = 192
    verified_warning_days: int = 62
    certificate_warning_days: int = 21
    certificate_critical_days: int = 5
    connections_warning_percent: int = 80
    stuck_hours: int = 24
    overdue_minutes: int = 10
    failed_warning: int = 1
    failed_critical_percent: int = 50


def moment(text: Any) -> datetime | None:
    """Return an ISO 8601 date as a moment, in UTC if it has no offset; None if it is not a date."""
    try:
        found = parse_date(str(text))
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def age(span: timedelta) -> str:
    """Return a span of time in words, in its largest unit that fits twice."""
    seconds = int(span.total_seconds())
    for name, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {name}"
    return f"{max(seconds, 0)} seconds"


def size(count: float) -> str:
    """Return a number of bytes in words."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def check_services(facts: Facts) -> Iterator[Finding]:
    """Judge each container: that it is there, runs and is healthy, from the image that is pinned."""
    if not facts["docker"]["engine"]:
        yield Finding(
            "service", "docker", CRITICAL, "does not answer", "Look at 'systemctl status docker', or run site.yml."
        )
        return
    yield Finding("service", "docker", OK, f"{facts['docker']['engine']}, Compose {facts['docker']['compose']}")
    for name, service in sorted(facts["services"].items()):
        container = service["container"]
        if container is None:
            yield Finding("service", name, CRITICAL, "there is no container", RUN_SITE)
            continue
        state, health = container["state"], container["health"]
        log = f"'docker logs {facts['project']}-{name}-1' shows why. Run site.yml: it restores missing files."
        restarts = f", restarted {container['restarts']} times" if container["restarts"] else ""
        if health != "healthy" and container["restarts"] >= MANY_RESTARTS:
            message = f"does not stay up: Docker restarted it {container['restarts']} times"
            yield Finding("service", name, CRITICAL, message, log)
        elif state == "paused" and (facts["backup"] or {}).get("paused") and facts["backup"]["running"]:
            yield Finding("service", name, WARNING, "is paused by the backup that runs", "Look again in a few minutes.")
        elif state != "running":
            yield Finding("service", name, CRITICAL, f"the container is {state}{restarts}", log)
        elif health == "healthy":
            yield Finding("service", name, OK, f"healthy{restarts}")
        elif health == "starting":
            yield Finding("service", name, WARNING, f"is starting{restarts}", "Look again in a few minutes.")
        else:
            message = f"runs, but is {health or 'without a health check'}{restarts}"
            yield Finding("service", name, CRITICAL, message, log)
        yield from _image(name, service)


def _image(name: str, service: Facts) -> Iterator[Finding]:
    pinned, container = service["image"], service["container"]
    if container["image"] != pinned:
        message = f"runs {container['image']}, pinned is {pinned}"
        yield Finding("version", name, WARNING, message, "Run upgrade.yml, or set the variable to what runs.")
        return
    yield Finding("version", name, OK, pinned)
    digest = pinned.partition("@")[2]
    if service["image_id"] and container["image_id"] != service["image_id"]:
        message = f"{pinned} is another image by now than the one that runs"
        yield Finding("digest", name, WARNING, message, "site.yml replaces the container by the newer image.")
    elif digest and not any(known.endswith(digest) for known in service["digests"]):
        yield Finding("digest", name, CRITICAL, f"the image that runs is not {digest}", RUN_SITE)
    else:
        known = next((known.partition("@")[2] for known in service["digests"]), container["image_id"])
        yield Finding("digest", name, OK, known)


def check_units(facts: Facts) -> Iterator[Finding]:
    """Judge systemd's units: those that must run, and any of ours that has failed."""
    for name, unit in sorted(facts["units"].items()):
        active, enabled = unit["active"], unit["enabled"]
        if active == "failed":
            log = f"'journalctl -u {name}' shows why."
            yield Finding("unit", name, CRITICAL, "has failed", log)
        elif unit["wanted"] and active not in ("active", "activating"):
            yield Finding("unit", name, CRITICAL, f"is {active or 'not there'}", RUN_SITE)
        elif unit["wanted"] and enabled != "enabled":
            message = f"runs, but does not start with the host ({enabled or 'not enabled'})"
            yield Finding("unit", name, WARNING, message, RUN_SITE)
        elif unit["wanted"]:
            yield Finding("unit", name, OK, active)


def check_sidecar(facts: Facts) -> Iterator[Finding]:
    """Judge what the sidecar says about itself."""
    health = facts["sidecar"]
    if health is None:
        return
    if health.get("error"):
        log = "'journalctl -u orchestration-sidecar' shows why."
        yield Finding("service", "sidecar", CRITICAL, f"does not answer: {health['error']}", log)
    elif health.get("status") == "ok":
        yield Finding("service", "sidecar", OK, "answers, and multipass answers it")
    else:
        message = f"answers, but multipass does not: {health.get('reason') or health.get('status')}"
        hint = "Install multipass, or set sidecar_state to absent where no flow needs it."
        yield Finding("service", "sidecar", WARNING, message, hint)


def check_from_containers(facts: Facts) -> Iterator[Finding]:
    """Judge whether containers reach the sidecar, which a firewall of the host may prevent."""
    if facts["sidecar"] is None or facts["sidecar"].get("error"):
        return
    found = facts["from_containers"]
    for service, error in sorted(found["reached"].items()):
        subject = f"sidecar from {service}"
        if not error:
            yield Finding("service", subject, OK, "answers")
            continue
        source, port = found["subnet"] or "the network of the containers", found["port"]
        hint = (
            f"A firewall drops it, or sidecar_allowed_networks lacks {source}. With UFW: 'ufw allow from {source} to"
            f" any port {port} proto tcp'. docs/host.md has the rule for nftables."
        )
        yield Finding("service", subject, CRITICAL, f"the container does not reach it: {error}", hint)


def check_n8n(facts: Facts) -> Iterator[Finding]:
    """Judge whether n8n has an owner: without one, the first visitor becomes it."""
    owner = facts["n8n_owner"]
    container = facts["services"].get("n8n", {}).get("container")
    if not owner.get("known") or not container or container["state"] != "running":
        return
    if owner["email"]:
        yield Finding("service", "n8n owner", OK, owner["email"])
    else:
        hint = "Set n8n_owner_email and run site.yml, or open n8n and claim it at once."
        yield Finding("service", "n8n owner", CRITICAL, "there is none: the first visitor takes n8n over", hint)


def check_databases(facts: Facts, limits: Limits) -> Iterator[Finding]:
    """Judge whether each owner gets into its database, and how many connections are left."""
    most = 0
    used = 0
    server = facts["database_server"]
    for name, database in sorted(facts["databases"].items()):
        if database["error"]:
            hint = "Run site.yml. It restores passwords and containers."
            if server:
                hint = f"Look at {server} and at the way there, and run site.yml: it says what is missing."
            yield Finding("database", name, CRITICAL, f"its owner can't log in: {database['error']}", hint)
            continue
        used, most = database["connections"], database["max_connections"]
        place = f" on {server} (postgres_external)" if server else ""
        yield Finding("database", name, OK, f"its owner logs in{place}; {size(database['bytes'])}")
    if most:
        full = used * 100 >= most * limits.connections_warning_percent
        variable = f"max_connections on {server}" if server else "postgres_max_connections"
        hint = f"Raise {variable}, or lower kestra_database_pool_size." if full else ""
        yield Finding("database", "connections", WARNING if full else OK, f"{used} of {most}", hint)


def check_disks(facts: Facts, limits: Limits) -> Iterator[Finding]:
    """Judge how full the file systems are, in bytes and in files."""
    for path, disk in sorted(facts["disks"].items()):
        percent = disk["used_percent"]
        worst = max(percent, disk["inodes_percent"])
        status = _above(worst, limits.disk_warning_percent, limits.disk_critical_percent)
        files = f", {disk['inodes_percent']} % of its files" if disk["inodes_percent"] > percent else ""
        hint = "'docker system df' and 'du -xhd2' show what uses it. Free some, or give the host a larger disk."
        message = f"{percent} % used{files}, {size(disk['free'])} free"
        yield Finding("disk", path, status, message, "" if status == OK else hint)


def check_backup(facts: Facts, limits: Limits, now: datetime) -> Iterator[Finding]:
    """Judge the age of the last backup, its copies, whether it was tried, and what a killed one left."""
    backup, server = facts["backup"], facts["database_server"]
    if server:
        message = f"are on {server} (postgres_external), and this host makes no backup"
        hint = "Back up the databases and the host yourself, as docs/postgres-external.md says."
        yield Finding("backup", "databases", WARNING, message, hint)
        return
    if backup and backup.get("paused") and not backup.get("running"):
        hint = "The watchdog starts them. If it does not run, 'systemctl start orchestration-watchdog.service' does."
        yield Finding("backup", "pause", CRITICAL, "services are paused, and the backup was killed", hint)
    if backup is None or backup.get("none"):
        yield Finding("backup", "last", WARNING, "no backup", "Run backup.yml.")
        return
    finished = moment(backup.get("finished"))
    if finished is None:
        message = f"the record of the last backup can't be read: {backup.get('error') or 'no date in it'}"
        yield Finding("backup", "last", WARNING, message, "Run backup.yml: it writes a new one.")
        return
    old = now - finished
    hours = old.total_seconds() / 3600
    status = _above(hours, limits.backup_warning_hours, limits.backup_critical_hours)
    hint = "" if status == OK else "Run backup.yml, and look at the timer that should."
    yield Finding("backup", "last", status, f"{age(old)} old: {backup['backup']}", hint)
    if backup.get("archive"):
        message = "is an archive of the previous format"
        yield Finding("backup", "format", WARNING, message, "Run backup.yml: it makes the first one in a store.")
        return
    if not backup.get("exists", True):
        yield Finding("backup", "store", CRITICAL, f"{backup['store']} is not there any more", "Run backup.yml.")
    yield from _stores(backup)
    yield from _trials(backup, limits, now)


def _stores(backup: Facts) -> Iterator[Finding]:
    targets = {str(target.get("name")): target for target in backup.get("targets") or []}
    # One that was added since the last backup has none yet.
    for name in dict.fromkeys([*targets, *(backup.get("wanted") or [])]):
        target, subject = targets.get(name), f"store {name}"
        if target is None:
            yield Finding("backup", subject, WARNING, "does not have the last backup", "Run backup.yml.")
        elif not target.get("ok"):
            hint = "Correct the cause and run backup.yml, which copies what is missing."
            reason = str(target.get("error") or "unknown").removeprefix(f"{name}: ")
            yield Finding("backup", subject, WARNING, f"has failed: {reason}", hint)
        elif target.get("future"):
            message = f"has backups that are dated in the future: {', '.join(map(str, target['future']))}"
            hint = "Look at the clock of the host. They are never removed by themselves."
            yield Finding("backup", subject, WARNING, message, hint)
        else:
            yield Finding("backup", subject, OK, "has the last backup")
    incomplete = backup.get("incomplete") or []
    if incomplete:
        more = f" and {len(incomplete) - 3} more" if len(incomplete) > 3 else ""
        message = f"{', '.join(map(str, incomplete[:3]))}{more} could not be read"
        yield Finding("backup", "incomplete", WARNING, message, "Look at these files, and run backup.yml.")


def _trials(backup: Facts, limits: Limits, now: datetime) -> Iterator[Finding]:
    """Judge the trial restores. C(verified) of the record is the time of that of the last backup."""
    trials = backup["trials"]
    times = [found for text in (*trials["times"], backup.get("verified")) if (found := moment(text)) is not None]
    last = trials["last"]
    if last and not last.get("ok"):
        message = f"the trial restore of {last.get('backup')} failed: {last.get('error') or 'unknown'}"
        yield Finding("backup", "verified", CRITICAL, message, "Run verify_backup.yml, and look at what it says.")
    elif not times:
        yield Finding("backup", "verified", WARNING, "was never restored to try it", "Run verify_backup.yml.")
    else:
        old = now - max(times)
        status = WARNING if old.total_seconds() >= limits.verified_warning_days * 86400 else OK
        hint = "" if status == OK else "Run verify_backup.yml, or set backup_verify_schedule to 'monthly'."
        yield Finding("backup", "verified", status, f"a backup was restored to try it {age(old)} ago", hint)


def check_certificates(facts: Facts, limits: Limits, now: datetime) -> Iterator[Finding]:
    """Judge the certificates behind the addresses that people use."""
    for url, certificate in sorted(facts["certificates"].items()):
        if certificate["error"]:
            status = CRITICAL if certificate["expired"] else WARNING
            hint = (
                "Renew it."
                if certificate["expired"]
                else "Compare with what a browser says; the host may not reach it."
            )
            yield Finding("certificate", url, status, certificate["error"], hint)
            continue
        ends = moment(certificate["not_after"])
        if ends is None:
            yield Finding("certificate", url, WARNING, "shows no date", "Check it in a browser.")
            continue
        days = (ends - now).total_seconds() / 86400
        status = _above(-days, -limits.certificate_warning_days, -limits.certificate_critical_days)
        message = f"valid for {age(ends - now)}, until {ends:%Y-%m-%d}" if days > 0 else f"ended on {ends:%Y-%m-%d}"
        yield Finding("certificate", url, status, message, "" if status == OK else "Renew it.")


def check_flows(facts: Facts) -> Iterator[Finding]:
    """Judge the flows: those that the server can't read, and those that differ from the files."""
    kestra, plan = facts["kestra"], facts["flows"]
    broken = kestra.get("broken_flows") or {}
    for name, problem in sorted(broken.items()):
        yield Finding("flow", name, CRITICAL, f"Kestra can't read it: {problem}", "Correct its file and run flows.yml.")
    if plan is None:
        return
    for problem in plan.get("problems") or []:
        line = f":{problem['line']}" if problem.get("line") else ""
        hint = "Correct the file: until then flows.yml loads nothing."
        yield Finding("flow", f"{problem['file']}{line}", CRITICAL, problem["message"], hint)
    changes = plan.get("plan") or []
    for entry in changes:
        drift = entry.get("drift")
        message = f"differs from its file{f' ({drift} on the server)' if drift else ''}"
        if entry["action"] == "create":
            message = "has a file and is not on the server"
        hint = "'flows.yml --check --diff' shows how; flows.yml makes it equal."
        yield Finding("flow", f"{entry['namespace']}/{entry['id']}", WARNING, message, hint)
    if plan.get("problems") or changes:
        return
    if "summary" not in plan:
        message = f"could not be compared with the files: {plan.get('msg') or 'no answer'}"
        yield Finding("flow", "files", WARNING, message, "Look at the findings about Kestra first.")
    elif not broken:
        yield Finding("flow", "files", OK, f"{plan['summary']['total']} flows equal their files")


def check_triggers(facts: Facts, limits: Limits, now: datetime) -> Iterator[Finding]:
    """Judge the triggers that the scheduler knows: none may be locked for long or late."""
    triggers = facts["kestra"].get("triggers")
    if triggers is None:
        return
    bad = 0
    for trigger in triggers:
        if not trigger["enabled"]:
            continue
        name = f"{trigger['namespace']}/{trigger['flow']}/{trigger['id']}"
        since, due = moment(trigger["since"]), moment(trigger["next_date"])
        if trigger["locked"]:
            if since and now - since > timedelta(hours=limits.stuck_hours):
                bad += 1
                hint = "kestra_trigger with unlocked=true unlocks it, once its execution is looked at."
                yield Finding("trigger", name, WARNING, f"locked for {age(now - since)}", hint)
        elif due and now - due > timedelta(minutes=limits.overdue_minutes):
            bad += 1
            message = f"overdue by {age(now - due)}"
            yield Finding("trigger", name, WARNING, message, "Restart Kestra: its scheduler may have stopped.")
    if not bad:
        yield Finding("trigger", "all", OK, f"{len(triggers)} known, none locked for long, none overdue")


def check_executions(facts: Facts, limits: Limits) -> Iterator[Finding]:
    """Judge the executions: those that don't end, and those that failed on the last day."""
    kestra = facts["kestra"]
    if "stuck" not in kestra:
        return
    for one in kestra["stuck"]:
        name = f"{one['namespace']}/{one['flow']} {one['id']}"
        message = f"{one['state']} since {one['start_date']}"
        yield Finding("execution", name, WARNING, message, "kestra_execution with state=killed ends it.")
    more = kestra["stuck_total"] - len(kestra["stuck"])
    if more > 0:
        yield Finding("execution", "more", WARNING, f"{more} more are stuck", "Look at them in Kestra's UI.")
    if not kestra["stuck_total"]:
        message = f"none unfinished for more than {limits.stuck_hours} hours"
        yield Finding("execution", "stuck", OK, message)
    recent = kestra["last_day"]
    failed, total = recent["failed"], sum(recent.values())
    status = OK
    if failed >= max(limits.failed_warning, 1):
        status = CRITICAL if failed * 100 >= total * limits.failed_critical_percent and failed > 1 else WARNING
    hint = "kestra_execution_info with states=[FAILED] and logs=true shows why." if status != OK else ""
    yield Finding("execution", "failed", status, f"{failed} of {total} in the last 24 hours", hint)


def check_kestra(facts: Facts) -> Iterator[Finding]:
    """Check whether Kestra's API accepts the login of the inventory."""
    kestra = facts["kestra"]
    if kestra.get("error"):
        hint = "Until it answers, flows, triggers and executions can't be looked at."
        if kestra.get("refused"):
            hint = f"{OTHER_LOGIN}."
        yield Finding("service", "kestra API", CRITICAL, kestra["error"], hint)
    elif kestra.get("version"):
        yield Finding("service", "kestra API", OK, f"{kestra['version']} takes the login")


def _is_local(address: str) -> bool:
    return ipaddress.ip_address(address).is_loopback


def _allows(allowed: Iterable[str], address: str) -> bool:
    anywhere = {"0.0.0.0", "::"}  # noqa: S104
    allowed = {str(each).strip("[]") for each in allowed}
    return _is_local(address) or address in allowed or bool(allowed & anywhere)


def check_listeners(facts: Facts) -> Iterator[Finding]:
    """Judge what listens: our ports at their addresses alone, and no other port of our containers beyond loopback."""
    listeners, ports = facts["listeners"], facts["ports"]
    others: list[str] = []
    for port, wanted in sorted(ports.items(), key=lambda item: int(item[0])):
        subject = f"{port} ({wanted['variable']})"
        found = listeners.get(port)
        if not found:
            yield Finding("listener", subject, CRITICAL, "nothing listens", RUN_SITE)
            continue
        beyond = sorted({each for each in found["addresses"] if not _allows(wanted["addresses"], each)})
        where = ", ".join(sorted(set(found["addresses"])))
        if beyond:
            allowed = ", ".join(sorted(map(str, wanted["addresses"])))
            message = f"listens at {', '.join(beyond)}, and the variables allow {allowed} only"
            yield Finding("listener", subject, CRITICAL, message, RUN_SITE)
        else:
            yield Finding("listener", subject, OK, f"at {where}")
    for port, found in sorted(listeners.items(), key=lambda item: int(item[0])):
        if port in ports or all(_is_local(address) for address in found["addresses"]):
            continue
        if found["project"] == facts["project"]:
            message = f"{found['container']} is published at {', '.join(sorted(set(found['addresses'])))}"
            hint = "Nothing of this collection publishes it: look at the Compose files, and run site.yml."
            yield Finding("listener", port, CRITICAL, message, hint)
        else:
            others.append(f"{port} ({found['process'] or 'unknown'})")
    if others:
        yield Finding("listener", "other programs", OK, f"beyond loopback: {', '.join(others)}")


def check_modes(facts: Facts) -> Iterator[Finding]:
    """Judge that only root reads what holds secrets."""
    bad = 0
    for entry in facts["modes"]:
        problem = ""
        # The group root has no other members.
        if entry["mode"] & (0o027 if entry.get("gid", -1) == 0 else 0o077):
            problem = f"mode {entry['mode']:04o} lets others in"
        elif entry["uid"] != 0:
            problem = f"belongs to user {entry['uid']}"
        if problem:
            bad += 1
            hint = f"'chown root: {entry['path']}; chmod go= {entry['path']}', and change the secrets in it."
            yield Finding("mode", entry["path"], CRITICAL, problem, hint)
    if not bad and facts["modes"]:
        yield Finding("mode", "secrets", OK, f"{len(facts['modes'])} files and directories are root's alone")


def _above(value: float, warning: float, critical: float) -> str:
    return CRITICAL if value >= critical else WARNING if value >= warning else OK


def evaluate(facts: Facts, limits: Limits, now: datetime) -> list[Finding]:
    """Return all findings, the worst first, else in the order of the checks."""
    found = [
        *check_services(facts),
        *check_kestra(facts),
        *check_sidecar(facts),
        *check_from_containers(facts),
        *check_n8n(facts),
        *check_units(facts),
        *check_databases(facts, limits),
        *check_disks(facts, limits),
        *check_backup(facts, limits, now),
        *check_certificates(facts, limits, now),
        *check_flows(facts),
        *check_triggers(facts, limits, now),
        *check_executions(facts, limits),
        *check_listeners(facts),
        *check_modes(facts),
    ]
    return sorted(found, key=lambda finding: -STATUSES.index(finding.status))


def worst(findings: Sequence[Finding]) -> str:
    """Return the worst status among the findings."""
    return max((finding.status for finding in findings), key=STATUSES.index, default=OK)


def count(findings: Sequence[Finding]) -> dict[str, int]:
    """Return how many findings there are of each status."""
    return {status: sum(finding.status == status for finding in findings) for status in STATUSES}


def parse_units(text: str) -> dict[str, dict[str, str]]:
    """Return the properties of each unit that C(systemctl show) prints, by the unit's Id."""
    found = {}
    for block in text.split("\n\n"):
        pairs = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if pairs.get("Id"):
            found[pairs["Id"]] = pairs
    return found
