# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the programs of a host print about its state: packages, units, containers, databases and users."""

from __future__ import annotations

import grp
import json
import os
import pwd
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from typing import Any

from ansible_collections.devorch.orchestration.plugins.module_utils.host import scram
from ansible_collections.devorch.orchestration.plugins.module_utils.host.container import State
from ansible_collections.devorch.orchestration.plugins.module_utils.host.listeners import parse_published

PACKAGES = ("dpkg-query", "--show", "--showformat", "${Package}\t${Version}\t${db:Status-Status}\t${Provides}\n")
UNITS = ("systemctl", "show", "--property=Id,Names,LoadState,ActiveState,UnitFileState,Listen", "--")
CONTAINERS = (
    "docker",
    "ps",
    "--all",
    "--no-trunc",
    "--format",
    '{{json .ID}}\t{{json .Names}}\t{{json .Ports}}\t{{json (.Label "com.docker.compose.project")}}'
    '\t{{json (.Label "com.docker.compose.oneoff")}}\t{{json .State}}',
)
DATABASES = """
SELECT json_build_object(
  'roles', (
    SELECT coalesce(json_object_agg(rolname, json_build_object(
      'superuser', rolsuper, 'createdb', rolcreatedb, 'createrole', rolcreaterole, 'login', rolcanlogin,
      'verifier', coalesce(rolpassword, ''))), '{}')
    FROM pg_authid WHERE rolname !~ '^pg_'),
  'databases', (
    SELECT coalesce(json_object_agg(datname, json_build_object(
      'owner', pg_get_userbyid(datdba), 'encoding', pg_encoding_to_char(encoding),
      'public', EXISTS (
        SELECT FROM aclexplode(coalesce(datacl, acldefault('d', datdba)))
        WHERE grantee = 0 AND privilege_type IN ('CONNECT', 'TEMPORARY')))), '{}')
    FROM pg_database WHERE NOT datistemplate))
"""
N8N_OWNER = r"""
SELECT to_regclass('public."user"') IS NOT NULL AS there \gset
\if :there
  SELECT 'owner ' || coalesce((
    SELECT coalesce(lower(email), '?') FROM public."user"
    WHERE "roleSlug" = 'global:owner' AND (password IS NOT NULL OR "lastActiveAt" IS NOT NULL) LIMIT 1), '');
\else
  \echo 'owner '
\endif
"""
"""Ask n8n's database for its owner. Before a user claims n8n, the owner has no password and was never active."""
PYTHON_VERSION = "import sys; print('%d.%d' % sys.version_info[:2])"


def database_command(project: str) -> list[str]:
    """Return the command that asks PostgreSQL in its container for roles and databases, in one statement."""
    limits = ["--env", "PGCONNECT_TIMEOUT=10", "--env", "PGOPTIONS=-c statement_timeout=20s -c lock_timeout=5s"]
    psql = ["psql", "--no-psqlrc", "--no-align", "--tuples-only", "--username", "postgres", "--dbname", "postgres"]
    return ["docker", "exec", *limits, f"{project}-postgres-1", *psql, "--command", DATABASES]


def n8n_owner_command(project: str) -> list[str]:
    """Return the command that asks PostgreSQL in its container for the owner of n8n; N8N_OWNER is its input."""
    limits = ["--env", "PGCONNECT_TIMEOUT=10", "--env", "PGOPTIONS=-c statement_timeout=20s -c lock_timeout=5s"]
    psql = ["psql", "--no-psqlrc", "--no-align", "--tuples-only", "--quiet", "--set", "ON_ERROR_STOP=1"]
    login = ["--username", "postgres", "--dbname", "n8n"]
    return ["docker", "exec", "--interactive", *limits, f"{project}-postgres-1", *psql, *login]


def n8n_owner(printed: str, databases: Mapping[str, Any], has_data: bool, environment: str) -> dict[str, Any]:
    """Return who owns n8n, whether that is known, and whether n8n's environment sets the owner."""
    asked = re.search(r"^owner (.*)$", printed, re.MULTILINE)
    nothing = not has_data or (databases["reachable"] and "n8n" not in databases["databases"])
    return {
        "known": bool(asked) or nothing,
        "email": asked[1].strip() if asked else "",
        "managed": bool(re.search(r"^N8N_INSTANCE_OWNER_MANAGED_BY_ENV='?true'?$", environment, re.MULTILINE)),
    }


def parse_packages(printed: str, asked: Iterable[str]) -> dict[str, str]:
    """Return the version of each asked package that is installed, or that an installed one provides."""
    installed: dict[str, str] = {}
    provided: dict[str, str] = {}
    for line in printed.splitlines():
        name, version, status, provides = line.split("\t")
        if status != "installed":
            continue
        installed[name] = version
        for match in re.finditer(r"([^\s,(]+)\s*(?:\(=\s*([^)]+)\))?", provides):
            provided.setdefault(match[1], (match[2] or version).strip())
    known = {**provided, **installed}
    return {name: known[name] for name in asked if name in known}


def parse_units(printed: str, asked: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return the state of each asked unit, also by a name that is an alias."""
    found: dict[str, dict[str, Any]] = {}
    for block in printed.split("\n\n"):
        properties: dict[str, list[str]] = {}
        for line in block.splitlines():
            name, _sign, value = line.partition("=")
            properties.setdefault(name, []).append(value)
        unit = {
            "load": properties.get("LoadState", [""])[0],
            "active": properties.get("ActiveState", [""])[0],
            "enabled": properties.get("UnitFileState", [""])[0],
            "listen": [value for value in properties.get("Listen", []) if value],
        }
        for name in {*properties.get("Id", []), *" ".join(properties.get("Names", [])).split()}:
            found[name] = unit
    return {name: found[name] for name in asked if name in found}


def parse_listed(printed: str, project: str) -> tuple[dict[int, dict[str, str]], list[str]]:
    """Return who publishes each port, and the identifiers of the project's containers that stay."""
    publishers: dict[int, dict[str, str]] = {}
    identifiers = []
    for line in printed.splitlines():
        identifier, name, ports, owner, single, _state = (json.loads(field) for field in line.split("\t"))
        for port in parse_published(ports):
            publishers[port] = {"container": name, "project": owner}
        if owner == project and single != "True":
            identifiers.append(identifier)
    return publishers, identifiers


def parse_containers(printed: str, project: str) -> dict[str, dict[str, Any]]:
    """Return the container of each service of a Compose project, without its environment."""
    found: dict[str, dict[str, Any]] = {}
    for container in json.loads(printed or "[]"):
        labels = container["Config"].get("Labels") or {}
        service = labels.get("com.docker.compose.service")
        if not service:
            continue
        state = asdict(State.parse(container))
        shown = {
            "id": container["Id"],
            "name": container["Name"].lstrip("/"),
            "image": container["Config"]["Image"],
            "image_id": container["Image"],
            **{key: state[key] for key in ("status", "health", "failures", "restarts", "started")},
            "config_hash": labels.get("com.docker.compose.config-hash", ""),
            "directory": labels.get("com.docker.compose.project.working_dir", ""),
        }
        # While Compose replaces a container, both are there, one with another name.
        if service not in found or shown["name"] == f"{project}-{service}-1":
            found[service] = shown
    return found


def parse_databases(printed: str, password: Callable[[str], str | None]) -> dict[str, Any]:
    """Return roles and databases; of each role's verifier only whether it is that of the password by this name."""
    try:
        data = json.loads(printed)
    except ValueError:
        return {"reachable": False, "roles": {}, "databases": {}}
    roles = {}
    for name, role in data["roles"].items():
        verifier = role.pop("verifier")
        wanted = password("postgres_password" if name == "postgres" else f"{name}_database_password")
        roles[name] = {**role, "password": "unknown" if wanted is None else scram.compare(verifier, wanted)}
    return {"reachable": True, "roles": roles, "databases": data["databases"]}


def users(asked: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return the asked users that exist, with the names of the groups that they are in."""
    found = {}
    for name in asked:
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        known: Mapping[int, str] = {group.gr_gid: group.gr_name for group in grp.getgrall()}
        found[name] = {
            "uid": user.pw_uid,
            "gid": user.pw_gid,
            "home": user.pw_dir,
            "shell": user.pw_shell,
            "groups": sorted(known[gid] for gid in os.getgrouplist(name, user.pw_gid) if gid in known),
        }
    return found


def groups() -> list[str]:
    """Return the names of all groups."""
    return sorted({group.gr_name for group in grp.getgrall()})
