#!/usr/bin/python

# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: doctor_info
short_description: Gather information about the health of an orchestration host
version_added: 0.3.0
description:
  - In one call, reads containers, images, systemd units, databases, file systems, the records of the backups,
    certificates, file modes, and Kestra's flows, triggers and executions. Reports each problem and how to fix it.
  - If something cannot be read, that is a finding. The module does not fail because of it.
  - Run it as root. It reads passwords from the secret files of the host and returns none of them.
author:
  - devorch maintainers (@devorch)
options:
  root:
    description: Directory of the orchestration host.
    type: path
    required: true
  project:
    description: Name of the Compose project.
    type: str
    default: orchestration
  services:
    description: Pinned image of each service of the Compose project, by service.
    type: dict
    default: {}
  ports:
    description:
      - The TCP ports on which the services must listen, by port. Each value has the C(variable) that sets the port, and
        the C(addresses) at which it may listen in addition to loopback.
    type: dict
    default: {}
  listeners:
    description: The listening TCP ports, as M(devorch.orchestration.host_info) returns them.
    type: dict
    default: {}
  docker:
    description: Versions of Docker and Compose, as M(devorch.orchestration.host_info) returns them.
    type: dict
    default: {"engine": "", "compose": ""}
  n8n_owner:
    description: Owner of n8n, as M(devorch.orchestration.host_info) returns it. If not set, the owner is not checked.
    type: dict
    default: {}
  units:
    description:
      - The systemd units that must be active and enabled.
      - Failed units whose names begin with O(project) are reported too.
    type: list
    elements: str
    default: []
  databases:
    description:
      - The PostgreSQL databases to check.
      - The owner of each has the same name. The secret file C(<name>_database_password) has the owner's password.
    type: list
    elements: str
    default: []
  database_server:
    description:
      - PostgreSQL that is not on the host, with C(host), C(port), C(sslmode) and, for modes that check the certificate,
        C(sslrootcert) with the path of the authorities on the host. If not set, O(databases) are in the container
        C(postgres) of O(project).
      - The backups of the host do not have its databases, and the last backup is not looked at.
    type: dict
    default: {}
  backup_store:
    description: Directory of the local store of the backups. If not set, the store is not on the host.
    type: path
  backup_targets:
    description: Names of the stores that must have the backups.
    type: list
    elements: str
    default: []
  certificate_urls:
    description: URLs whose certificates are checked. URLs that do not begin with V(https:) are ignored.
    type: list
    elements: str
    default: []
  sidecar_url:
    description: URL of the sidecar. If not set, the sidecar is not checked.
    type: str
  container_url:
    description:
      - URL of the sidecar for the containers of C(kestra) and C(n8n). The module checks whether they reach it.
      - If not set, this is not checked.
    type: str
  kestra_url:
    description: URL of Kestra. If not set, Kestra is not checked.
    type: str
  kestra_username:
    description: User of Kestra. The password is in the secret file C(kestra_password).
    type: str
  flows:
    description:
      - Result of M(devorch.orchestration.kestra_flows) in check mode. Its plan and its problems become findings.
      - If not set, the flows are not compared with their files.
    type: dict
  days:
    description: Number of days whose executions are counted, from V(1) to V(31). Today is the last of them.
    type: int
    default: 7
  limits:
    description: Limits at which a finding becomes a warning or critical.
    type: dict
    default: {}
    suboptions:
      disk_warning_percent:
        description: A file system is a warning if at least this share of its space or inodes is used, in percent.
        type: int
        default: 80
      disk_critical_percent:
        description: A file system is critical if at least this share of its space or inodes is used, in percent.
        type: int
        default: 90
      backup_warning_hours:
        description: The last backup is a warning if it is at least this old, in hours.
        type: int
        default: 36
      backup_critical_hours:
        description: The last backup is critical if it is at least this old, in hours.
        type: int
        default: 192
      verified_warning_days:
        description: The newest verified backup is a warning if its trial restore is at least this old, in days.
        type: int
        default: 62
      certificate_warning_days:
        description: A certificate is a warning if it expires within this number of days.
        type: int
        default: 21
      certificate_critical_days:
        description: A certificate is critical if it expires within this number of days.
        type: int
        default: 5
      connections_warning_percent:
        description: The connections of PostgreSQL are a warning if at least this share of them is used, in percent.
        type: int
        default: 80
      stuck_hours:
        description: An unfinished execution and a locked trigger are a warning after this number of hours.
        type: int
        default: 24
      overdue_minutes:
        description: A trigger is a warning if it is late by more than this number of minutes.
        type: int
        default: 10
      failed_warning:
        description: The executions of the last 24 hours are a warning if at least this number of them failed.
        type: int
        default: 1
      failed_critical_percent:
        description:
          - The executions of the last 24 hours are critical if at least this share of them failed, in percent. One
            failure is never critical.
        type: int
        default: 50
attributes:
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying the target.
    support: full
  diff_mode:
    description: Returns details on what has changed, or would change in C(check_mode), when in diff mode.
    support: N/A
    details:
      - The module only reads.
seealso:
  - module: devorch.orchestration.host_info
"""

EXAMPLES = r"""
- name: Check the health of the host
  devorch.orchestration.doctor_info:
    root: /opt/orchestration
    services:
      postgres: docker.io/library/postgres:17
    units: [docker.service]
    limits:
      disk_warning_percent: 70
  register: doctor
"""

RETURN = r"""
status:
  description: Worst status of all findings, V(ok), V(warning) or V(critical).
  returned: success
  type: str
  sample: warning
summary:
  description: Number of findings by status.
  returned: success
  type: dict
  sample: {"ok": 31, "warning": 1, "critical": 0}
findings:
  description: The result of each check, the worst first.
  returned: success
  type: list
  elements: dict
  contains:
    check:
      description: Kind of the check, such as V(service), V(disk) or V(backup).
      returned: success
      type: str
    subject:
      description: Name of the thing that was checked.
      returned: success
      type: str
    status:
      description: V(ok), V(warning) or V(critical).
      returned: success
      type: str
    message:
      description: State of the thing that was checked.
      returned: success
      type: str
    hint:
      description: How to fix the problem. Empty if there is none.
      returned: success
      type: str
  sample:
    - check: backup
      subject: last
      status: warning
      message: no backup
      hint: Run backup.yml.
disks:
  description:
    - The file systems of O(root) and of Docker's data, by path. C(total) and C(free) are in bytes.
    - C(used_percent) and C(inodes_percent) are in percent.
  returned: success
  type: dict
  sample: {"/opt/orchestration": {"total": 100, "free": 40, "used_percent": 60, "inodes_percent": 3}}
executions_by_day:
  description: Number of executions that began on each day (in UTC), by their result. Empty if Kestra does not answer.
  returned: success
  type: list
  elements: dict
  sample: [{"day": "2026-11-24", "success": 40, "warning": 0, "failed": 1, "killed": 0, "other": 2}]
checked_at:
  description: Time of the check, in UTC.
  returned: success
  type: str
  sample: "2026-11-24T10:00:00+00:00"
msg:
  description: The counts as a text.
  returned: success
  type: str
  sample: 31 ok, 1 warning, 0 critical
"""

import json
import os
import socket
import ssl
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible.module_utils.urls import open_url
from ansible_collections.devorch.orchestration.plugins.module_utils.dates import UTC
from ansible_collections.devorch.orchestration.plugins.module_utils.host import doctor
from ansible_collections.devorch.orchestration.plugins.module_utils.host.listeners import nearest_existing
from ansible_collections.devorch.orchestration.plugins.module_utils.host.lock import is_locked
from ansible_collections.devorch.orchestration.plugins.module_utils.http_session import (
    REQUESTS_IMPORT_ERROR,
    ServiceError,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra import activity
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.client import Connection, KestraClient

try:
    import psycopg2  # type: ignore[import-untyped]

    PSYCOPG_IMPORT_ERROR = None
except ImportError as missing:
    PSYCOPG_IMPORT_ERROR = missing

TIMEOUT = 10
CONTAINER = (
    '{"image": {{json .Config.Image}}, "image_id": {{json .Image}}, "state": {{json .State.Status}},'
    ' "health": {{if .State.Health}}{{json .State.Health.Status}}{{else}}""{{end}}, "restarts": {{.RestartCount}}}'
)
IMAGE = '{"id": {{json .Id}}, "digests": {{json .RepoDigests}}}'
# Each image has one of these programs: its health check uses it. The certificate of the sidecar may name another host.
REACH = {
    "kestra": [
        "curl",
        "--silent",
        "--show-error",
        "--insecure",
        "--noproxy",
        "*",
        "--max-time",
        "5",
        "--output",
        "/dev/null",
    ],
    "n8n": [
        "node",
        "-e",
        "process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0'; process.removeAllListeners('warning');"
        "fetch(process.argv[1], {signal: AbortSignal.timeout(5000)})"
        ".then(() => process.exit(0),"
        " (error) => { console.error(String(error.cause?.message ?? error.message)); process.exit(1); })",
    ],
}
QUERY = (
    "select (select count(*) from pg_stat_activity where backend_type = 'client backend'),"
    " current_setting('max_connections'), pg_database_size(current_database())"
)

USERS = 'public."user"'
OWNER = (
    f"SELECT coalesce((SELECT coalesce(lower(email), '?') FROM {USERS} WHERE \"roleSlug\" = 'global:owner'"  # noqa: S608
    " AND (password IS NOT NULL OR \"lastActiveAt\" IS NOT NULL) LIMIT 1), '')"
)


class Collector:
    """Reads one host."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.root = Path(module.params["root"])
        self.project = module.params["project"]
        self.docker = module.get_bin_path("docker") if module.params["docker"].get("engine") else None

    def ask_docker(self, *arguments: str) -> Any:
        """Return the JSON that a docker command prints; None where it fails."""
        if self.docker is None:
            return None
        code, output, _errors = self.module.run_command([self.docker, *arguments])
        return json.loads(output) if code == 0 else None

    def secret(self, name: str) -> str | None:
        """Return a secret of the host; None where there is none."""
        try:
            return (self.root / "secrets" / name).read_text(encoding="utf-8")
        except OSError:
            return None

    def service(self, name: str, image: str) -> dict[str, Any]:
        container = self.ask_docker("container", "inspect", "--format", CONTAINER, f"{self.project}-{name}-1")
        known = self.ask_docker("image", "inspect", "--format", IMAGE, image) or {}
        return {
            "image": image,
            "container": container,
            "image_id": known.get("id", ""),
            "digests": known.get("digests") or [],
        }

    def units(self) -> dict[str, dict[str, Any]]:
        wanted = self.module.params["units"]
        program = self.module.get_bin_path("systemctl")
        if not program:
            return {name: {"active": "", "enabled": "", "wanted": True} for name in wanted}
        show = [program, "show", "--property=Id,LoadState,ActiveState,UnitFileState"]
        _code, output, _errors = self.module.run_command([*show, *wanted, f"{self.project}-*"])
        found = doctor.parse_units(output)
        result = {
            name: {
                "active": unit["ActiveState"] if unit.get("LoadState") != "not-found" else "",
                "enabled": unit.get("UnitFileState", ""),
                "wanted": name in wanted,
            }
            for name, unit in found.items()
        }
        missing = {name: {"active": "", "enabled": "", "wanted": True} for name in wanted if name not in result}
        return result | missing

    def external(self, name: str, query: str) -> dict[str, Any]:
        """Return the row of a query that the owner of a database asks on the external PostgreSQL, or the error."""
        password = self.secret(f"{name}_database_password")
        if password is None:
            return {"error": "its password is not among the secrets"}
        if PSYCOPG_IMPORT_ERROR is not None:
            return {"error": missing_required_lib("psycopg2")}
        server = self.module.params["database_server"]
        login = {"user": name, "dbname": name, "password": password, "connect_timeout": 10}
        try:
            connection = psycopg2.connect(**server, **login, options="-c statement_timeout=20s")
        except psycopg2.Error as error:
            return {"error": " ".join(str(error).split())}
        try:
            with connection.cursor() as cursor:
                cursor.execute(query)
                return {"error": "", "row": cursor.fetchone()}
        except psycopg2.Error as error:
            return {"error": " ".join(str(error).split())}
        finally:
            connection.close()

    def n8n_owner(self) -> dict[str, Any]:
        """Return the owner of n8n; of an external PostgreSQL, the database itself is asked."""
        params = self.module.params
        if not params["database_server"] or "n8n" not in params["databases"]:
            found: dict[str, Any] = params["n8n_owner"]
            return found
        there = self.external("n8n", f"SELECT to_regclass('{USERS}') IS NOT NULL")
        owner = self.external("n8n", OWNER) if there.get("row", [False])[0] else there
        asked = not owner["error"]
        return {"known": asked, "email": owner["row"][0] if asked and owner is not there else ""}

    def database(self, name: str) -> dict[str, Any]:
        if self.module.params["database_server"]:
            answer = self.external(name, QUERY)
            if answer["error"]:
                return {"error": answer["error"]}
            used, most, size = map(int, answer["row"])
            return {"error": "", "connections": used, "max_connections": most, "bytes": size}
        password = self.secret(f"{name}_database_password")
        if self.docker is None or password is None:
            reason = "its password is not among the secrets" if self.docker else "Docker does not answer"
            return {"error": reason}
        # The name "postgres" leads through the network, where a password is asked for.
        run = [
            self.docker,
            "exec",
            "--env",
            "PGPASSWORD",
            "--env",
            "PGCONNECT_TIMEOUT=10",
            f"{self.project}-postgres-1",
        ]
        psql = ["psql", "--host", "postgres", "--username", name, "--dbname", name, "--no-psqlrc", "-qtAF,"]
        code, output, errors = self.module.run_command(
            [*run, *psql, "--command", QUERY], environ_update={"PGPASSWORD": password}
        )
        fields = output.strip().split(",")
        if code != 0 or len(fields) != 3:
            return {"error": " ".join(errors.split()) or f"psql ended with {code}"}
        connections, most, size = map(int, fields)
        return {"error": "", "connections": connections, "max_connections": most, "bytes": size}

    def disks(self) -> dict[str, dict[str, Any]]:
        paths = [str(self.root)]
        data = self.ask_docker("info", "--format", "{{json .DockerRootDir}}")
        found: dict[str, dict[str, Any]] = {}
        devices: set[int] = set()
        for path in [*paths, *([data] if data else [])]:
            place = nearest_existing(Path(path))
            device = place.stat().st_dev
            if device in devices:
                continue
            devices.add(device)
            disk = os.statvfs(place)
            used = disk.f_blocks - disk.f_bfree
            # As df counts: what is kept for root is neither used nor free.
            blocks, inodes = used + disk.f_bavail, disk.f_files
            found[path] = {
                "total": disk.f_blocks * disk.f_frsize,
                "free": disk.f_bavail * disk.f_frsize,
                "used_percent": round(used * 100 / blocks) if blocks else 0,
                "inodes_percent": round((inodes - disk.f_ffree) * 100 / inodes) if inodes else 0,
            }
        return found

    def backup(self) -> dict[str, Any] | None:
        """Return the record of the last backup and what the host has of the backups; None without a backup."""
        directory, store = self.root / "backups", self.module.params["backup_store"]
        trials: dict[str, Any]
        paused = {"paused": (directory / "paused.json").exists(), "running": is_locked(directory / ".lock")}
        try:
            record = json.loads((directory / "last.json").read_text(encoding="utf-8"))
            # Before there were stores, a backup was an archive.
            name = str(record.get("backup") or record["archive"])
        except FileNotFoundError:
            return {"none": True, **paused}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            return {"error": f"{directory / 'last.json'}: {error}", **paused}
        try:
            state = json.loads((directory / "state.json").read_text(encoding="utf-8"))
            trials = {"times": [trial["time"] for trial in state["verified"].values() if trial["ok"]]}
            trials["last"] = state["latest_verification"]
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            trials = {"times": [], "last": {}}
        return {
            **record,
            "backup": name,
            "archive": "backup" not in record,
            "store": store or "",
            "exists": not store or (Path(store) / "config").exists(),
            "wanted": self.module.params["backup_targets"],
            "trials": trials,
            **paused,
        }

    def certificate(self, url: str) -> dict[str, Any]:
        parts = urlsplit(url)
        name, context = parts.hostname or "", ssl.create_default_context()
        result: dict[str, Any] = {"not_after": None, "error": "", "expired": False}
        try:
            with (
                socket.create_connection((name, parts.port or 443), TIMEOUT) as plain,
                context.wrap_socket(plain, server_hostname=name) as secure,
            ):
                ends = ssl.cert_time_to_seconds(str((secure.getpeercert() or {}).get("notAfter")))
                result["not_after"] = datetime.fromtimestamp(ends, UTC).isoformat()
        except ssl.SSLCertVerificationError as error:
            result["expired"] = error.verify_code == 10  # X509_V_ERR_CERT_HAS_EXPIRED
            result["error"] = f"is refused: {error.verify_message}"
        except (OSError, ValueError) as error:
            result["error"] = f"can't be read: {error}"
        return result

    def sidecar(self) -> dict[str, Any] | None:
        url = self.module.params["sidecar_url"]
        if not url:
            return None
        try:
            answer = json.load(open_url(f"{url}/health", timeout=TIMEOUT, use_proxy=False, validate_certs=False))
        except (OSError, ValueError) as error:
            return {"error": str(getattr(error, "reason", error))}
        return {"status": answer.get("status"), "reason": (answer.get("multipass") or {}).get("reason")}

    def from_containers(self) -> dict[str, Any]:
        """Return why a running container does not reach the sidecar, by service; an empty text if it does."""
        url, project = self.module.params["container_url"], self.project
        if not url or self.docker is None:
            return {"reached": {}}
        reached = {}
        for service in sorted(REACH.keys() & self.module.params["services"].keys()):
            if self.ask_docker("container", "inspect", "--format", "{{json .State.Running}}", f"{project}-{service}-1"):
                run = [self.docker, "exec", f"{project}-{service}-1", *REACH[service], f"{url}/health"]
                code, _output, errors = self.module.run_command(run)
                reached[service] = "" if code == 0 else " ".join(errors.split()) or f"{run[3]} ended with {code}"
        subnet = self.ask_docker(
            "network", "inspect", "--format", "{{json (index .IPAM.Config 0).Subnet}}", f"{project}_default"
        )
        return {"reached": reached, "subnet": subnet or "", "port": urlsplit(url).port}

    def modes(self) -> list[dict[str, Any]]:
        paths = [self.root / name for name in ("secrets", "env", "data", "backups")]
        patterns = ("secrets/*", "env/*", "kestra-config/*", "backups/*")
        paths = [path for path in paths if path.exists()]
        paths += [path for pattern in patterns for path in sorted(self.root.glob(pattern)) if path.is_file()]
        # The records of the backups hold no secret.
        paths = [path for path in paths if path.name not in ("last.json", "state.json")]
        found = []
        for path in paths:
            status = path.stat()
            found.append(
                {"path": str(path), "mode": status.st_mode & 0o7777, "uid": status.st_uid, "gid": status.st_gid}
            )
        return found

    def kestra(self, now: datetime) -> dict[str, Any]:
        params = self.module.params
        if not params["kestra_url"]:
            return {}
        if REQUESTS_IMPORT_ERROR is not None:
            return {"error": missing_required_lib("requests")}
        password = self.secret("kestra_password")
        if password is None:
            return {"error": "its password is not among the secrets"}
        connection = Connection(params["kestra_url"], params["kestra_username"], password, timeout=TIMEOUT, retries=0)
        client = KestraClient(connection)
        try:
            return activity.collect(client, now, params["days"], params["limits"]["stuck_hours"])
        except ServiceError as error:
            return {"error": str(error), "refused": error.status == 401}
        finally:
            client.close()

    def facts(self, now: datetime) -> dict[str, Any]:
        """Return everything that is judged."""
        params = self.module.params
        return {
            "project": self.project,
            "docker": params["docker"],
            "n8n_owner": self.n8n_owner(),
            "database_server": "{host}:{port}".format(**params["database_server"]) if params["database_server"] else "",
            "listeners": params["listeners"],
            "ports": {str(port): wanted for port, wanted in params["ports"].items()},
            "flows": params["flows"],
            "services": {name: self.service(name, image) for name, image in params["services"].items()},
            "units": self.units(),
            "databases": {name: self.database(name) for name in params["databases"]},
            "disks": self.disks(),
            "backup": self.backup(),
            "certificates": {
                url: self.certificate(url) for url in params["certificate_urls"] if url.startswith("https:")
            },
            "sidecar": self.sidecar(),
            "from_containers": self.from_containers(),
            "modes": self.modes(),
            "kestra": self.kestra(now),
        }


def limit_spec() -> dict[str, dict[str, Any]]:
    """Return the suboptions of O(limits), with the defaults of doctor.Limits."""
    defaults = doctor.Limits()
    return {name: {"type": "int", "default": getattr(defaults, name)} for name in doctor.Limits.__dataclass_fields__}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "required": True},
            "project": {"type": "str", "default": "orchestration"},
            "services": {"type": "dict", "default": {}},
            "ports": {"type": "dict", "default": {}},
            "listeners": {"type": "dict", "default": {}},
            "docker": {"type": "dict", "default": {"engine": "", "compose": ""}},
            "n8n_owner": {"type": "dict", "default": {}},
            "units": {"type": "list", "elements": "str", "default": []},
            "databases": {"type": "list", "elements": "str", "default": []},
            "database_server": {"type": "dict", "default": {}},
            "backup_store": {"type": "path"},
            "backup_targets": {"type": "list", "elements": "str", "default": []},
            "certificate_urls": {"type": "list", "elements": "str", "default": []},
            "sidecar_url": {"type": "str"},
            "container_url": {"type": "str"},
            "kestra_url": {"type": "str"},
            "kestra_username": {"type": "str"},
            "flows": {"type": "dict"},
            "days": {"type": "int", "default": 7},
            "limits": {"type": "dict", "default": {}, "apply_defaults": True, "options": limit_spec()},
        },
        supports_check_mode=True,
    )
    if not 1 <= module.params["days"] <= 31:
        module.fail_json(msg=f"days is {module.params['days']}; it is a number from 1 to 31")
    now = datetime.now(UTC)
    facts = Collector(module).facts(now)
    findings = doctor.evaluate(facts, doctor.Limits(**module.params["limits"]), now)
    summary = doctor.count(findings)
    module.exit_json(
        changed=False,
        status=doctor.worst(findings),
        summary=summary,
        findings=[finding.as_result() for finding in findings],
        disks=facts["disks"],
        executions_by_day=facts["kestra"].get("by_day", []),
        checked_at=now.isoformat(timespec="seconds"),
        msg=", ".join(f"{number} {status}" for status, number in summary.items()),
    )


if __name__ == "__main__":
    main()
