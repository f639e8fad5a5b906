# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rules for a PostgreSQL that is not on the host."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from difflib import get_close_matches

from ansible_collections.devorch.orchestration.plugins.module_utils.host.preflight.situation import (
    DATABASE_USERS,
    EXTERNAL_RECORD,
    Rule,
    Situation,
    data_major,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.host.preflight.values import (
    CONTROL,
    either,
    listed,
)

NAME = "postgres_external"
CA = f"{NAME}.ca"
KEYS = ("host", "port", "sslmode", "ca", "user", "password")
VERIFYING = ("verify-ca", "verify-full")
MODES = ("disable", "require", *VERIFYING)
HOST_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?[.]?")
NUMBERS = re.compile(r"(0x[0-9a-f]*|[0-9]+)([.](0x[0-9a-f]*|[0-9]+))*[.]?", re.IGNORECASE)
"""What the C library reads as an address, such as V(127.1); others take it for a name."""
LOOPBACK = re.compile(
    r"(.+[.])?localhost|(localhost[46]?|ip6-localhost|ip6-loopback)([.]localdomain[46]?)?|(host|gateway)[.]docker[.]internal"
)
CONTAINERS = ("kestra", "kestra-docker", "n8n", "n8n-runners", "postgres")
"""Names that the containers have among themselves."""


def _ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _of_the_host(host: str) -> bool:
    """Return whether a name or an address leads to whoever asks for it, or to a container of the host."""
    name, address = host.rstrip(".").lower(), _ip(host)
    if address is None:
        return bool(LOOPBACK.fullmatch(name)) or name in CONTAINERS
    if isinstance(address, ipaddress.IPv6Address):
        address = address.ipv4_mapped or address
    return address.is_loopback or (address.version == 6 and address.is_link_local)


def _keys(situation: Situation) -> Iterator[str]:
    for key in map(str, situation.external):
        if key not in KEYS:
            close = get_close_matches(key, KEYS, 1)
            meant = f" Is {close[0]} meant?" if close else ""
            yield f"{NAME}.{key}: there is no such key.{meant} Set some of {listed(KEYS)}."


def _host(situation: Situation) -> Iterator[str]:
    if not situation.external:
        return
    host = str(situation.external.get("host", ""))
    address = _ip(host)
    if not host:
        yield f"{NAME}.host: is empty. Set the name or the address of the server, or leave {NAME} out."
    elif "%" not in host and _of_the_host(host):
        yield (
            f"{NAME}.host: '{host}' is not the same server for the host and for its containers. Set a name or an"
            " address at which both reach it, such as the address of the host in its network."
        )
    elif (address and ("%" in host or address.is_unspecified or address.is_multicast)) or not (
        address or (HOST_NAME.fullmatch(host) and not NUMBERS.fullmatch(host))
    ):
        yield (
            f"{NAME}.host: the value is not a host name or an IP address. Set one, such as db.example.com, without a"
            " port, a user and brackets."
        )


def _port(situation: Situation) -> Iterator[str]:
    port = str(situation.external.get("port", "5432"))
    if not re.fullmatch("[1-9][0-9]{0,4}", port) or int(port) > 65535:
        yield f"{NAME}.port: '{port}' is not a TCP port. Set it to a number from 1 to 65535."


def _tls(situation: Situation) -> Iterator[str]:
    if not situation.external:
        return
    mode, ca = situation.external_mode, situation.external.get("ca")
    address = _ip(str(situation.external.get("host", "")))
    if mode not in MODES:
        yield f"{NAME}.sslmode: '{mode}' is not one of {', '.join(MODES)}. Set {NAME}.sslmode to one of them."
    elif ca and mode not in VERIFYING:
        yield f"{CA}: the mode {mode} does not check the certificate. Set {NAME}.sslmode to {either(VERIFYING)}."
    if CA in situation.missing_files:
        yield f"{CA}: the controller has no file {ca}. Correct the path."
    # Node.js compares the certificate with "localhost" then.
    if mode in VERIFYING and "n8n" in situation.deployed() and address and not _of_the_host(str(address)):
        yield (
            f"{NAME}.host: n8n cannot compare a certificate with an IP address. Set a host name, or {NAME}.sslmode to"
            " 'require'."
        )


def _login(situation: Situation) -> Iterator[str]:
    for key, other in (("user", "password"), ("password", "user")):
        if situation.external.get(key) and not situation.external.get(other):
            yield f"{NAME}.{other}: is missing, and {NAME}.{key} is set. Set both, or none of them."
        if CONTROL.search(str(situation.external.get(key, ""))):
            yield f"{NAME}.{key}: the value has a line break or another control character. Set a value of one line."
    if situation.external.get("user") in DATABASE_USERS:
        yield (
            f"{NAME}.user: is the owner of a database of this host. Set a role that may create roles and databases, or"
            f" leave user and password out if {listed([f'{user}_database_password' for user in DATABASE_USERS])} are"
            " set."
        )


def _passwords(situation: Situation) -> Iterator[str]:
    stored = situation.host.get("secrets")
    if not situation.external or situation.external.get("user") or stored is None:
        return
    for user in DATABASE_USERS:
        name = f"{user}_database_password"
        if user in situation.deployed() and not situation.given(name) and name not in stored:
            yield (
                f"{name}: is not set, and {NAME} has no user that could give the role {user} a generated password. Set"
                f" {name} to the password that the role has on {situation.external_name}, or set {NAME}.user and"
                f" {NAME}.password."
            )


def _own_data(situation: Situation) -> Iterator[str]:
    directory = f"{situation.root}/data/postgres"
    if situation.external and data_major(situation) and situation.deployed():
        yield (
            f"{NAME}: this host has a PostgreSQL of its own with data ({directory}/pgdata), which would be left behind."
            f" Leave {NAME} out, or move the databases as docs/postgres-external.md says, and then rename {directory}."
        )


def _record(situation: Situation) -> Iterator[str]:
    """The databases of the services are where they were at the last run."""
    if not situation.given(NAME) or not situation.deployed():
        return
    before = str(situation.host.get("versions", {}).get("postgres", "")).strip()
    after = f"{EXTERNAL_RECORD}{situation.external_name}" if situation.external else ""
    if before.startswith(EXTERNAL_RECORD) and before != after:
        place = situation.external_name or "a new PostgreSQL on this host"
        yield (
            f"{NAME}: the databases of this host are on {before[len(EXTERNAL_RECORD) :]}, and {place} would begin with"
            f" empty ones. Set {NAME} back, or move the databases as docs/postgres-external.md says, and then remove"
            f" {situation.root}/versions/postgres."
        )


def _upgrade(situation: Situation) -> Iterator[str]:
    allowed = situation.flag("orchestration_upgrade_without_backup")
    if situation.external and situation.upgrade and situation.installs and not allowed:
        yield (
            f"{NAME}: upgrade.yml makes no backup of the databases on {situation.external_name}, and does not bring"
            " them back if an upgrade fails. Make a backup of them and of the host, and set"
            " orchestration_upgrade_without_backup to true."
        )


def _backup(situation: Situation) -> Iterator[str]:
    if situation.external and "backup" in situation.deployed():
        yield (
            f"backup_state: the databases are on {situation.external_name} ({NAME}), and a backup of this host would"
            " not have them. Set backup_state to 'absent', and back up the databases and"
            f" {situation.root} yourself as docs/postgres-external.md says."
        )


def _checks_the_name(situation: Situation) -> Iterator[str]:
    if situation.external_mode == "verify-ca" and "n8n" in situation.deployed():
        yield (
            f"{NAME}.sslmode: n8n has no mode verify-ca, and checks the name in the certificate as well. If it is"
            " another one, n8n does not start."
        )


def _databases_stay(situation: Situation) -> Iterator[str]:
    purged = [user for user in DATABASE_USERS if situation.flag(f"{user}_purge_data")]
    if situation.external and (purged or situation.flag("postgres_purge_data")):
        yield (
            f"{NAME}: the databases and roles {listed(purged or DATABASE_USERS)} on {situation.external_name} stay."
            " Drop them there if they are not needed any more."
        )


RULES: tuple[Rule, ...] = (
    _keys,
    _host,
    _port,
    _tls,
    _login,
    _passwords,
    _own_data,
    _record,
    _upgrade,
    _backup,
)
WARNINGS: tuple[Rule, ...] = (_checks_the_name, _databases_stay)
