# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rules for n8n."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from ansible_collections.devorch.orchestration.plugins.module_utils.host.bcrypt import LONGEST
from ansible_collections.devorch.orchestration.plugins.module_utils.host.preflight.images import image, pinned
from ansible_collections.devorch.orchestration.plugins.module_utils.host.preflight.ports import bind_address, held_ports
from ansible_collections.devorch.orchestration.plugins.module_utils.host.preflight.situation import Rule, Situation
from ansible_collections.devorch.orchestration.plugins.module_utils.host.preflight.values import (
    address,
    address_without_path,
    environment,
    filled,
    one_line,
    ranges,
    time_zones,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.versions import numbers

OWNER_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
OWNER_PASSWORD = re.compile(r"(?=.*[A-Z])(?=.*[0-9]).{8,64}", re.DOTALL)
"""What n8n's own page asks of a password."""
WEBHOOK_URL_RENAMED = (2, 32)
"""The version since which n8n prefers N8N_WEBHOOK_URL to WEBHOOK_URL."""
TRIMMED = re.compile(r"^\s|\s$|^([\"']).*\1$", re.DOTALL)
"""What n8n makes shorter when it reads its settings."""
_DATABASE = "the role connects n8n with its database. Leave it out. For a PostgreSQL elsewhere, set postgres_external."
_PROXY = "a reverse proxy ends TLS. Leave it out, and set n8n_url to the address that people use."
_RUNNERS = "the role connects n8n and its runners. Leave it out, and set n8n_runners."
_OWNER = "the role manages the owner. Set n8n_owner_email, n8n_owner_first_name and n8n_owner_last_name."
FIXED: Mapping[str, str] = {
    "N8N_PORT": "the port in the container is fixed. Set n8n_port for the one of the host.",
    "N8N_LISTEN_ADDRESS": "the address in the container is fixed. Set n8n_bind_address for the one of the host.",
    "N8N_HOST": "the name is a part of the address. Set n8n_url.",
    "N8N_PROTOCOL": _PROXY,
    "N8N_SSL_KEY": _PROXY,
    "N8N_SSL_CERT": _PROXY,
    "N8N_ENCRYPTION_KEY": "the role manages the key. Set n8n_encryption_key.",
    "N8N_USER_FOLDER": "n8n's data are in orchestration_root, and the backup takes them from there. Leave it out.",
    "N8N_PATH": "n8n is served without a path. Leave it out, and give n8n a host name of its own in the reverse proxy.",
    "N8N_ENDPOINT_HEALTH": "the health check of the container asks the usual address. Leave it out.",
    "EXECUTIONS_MODE": "the role deploys no Redis and no workers. Leave it out.",
    "DB_POSTGRESDB_PASSWORD": "the role manages the password. Set n8n_database_password.",
    "N8N_TRUST_PROXY": "n8n has no such variable. Set n8n_proxy_hops.",
    "N8N_RUNNERS_MODE": "Set n8n_runners.",
    **{f"N8N_RUNNERS_{part}": _RUNNERS for part in ("AUTH_TOKEN", "BROKER_LISTEN_ADDRESS", "BROKER_PORT")},
    **{f"N8N_INSTANCE_OWNER_{part}": _OWNER for part in ("MANAGED_BY_ENV", "EMAIL", "FIRST_NAME", "LAST_NAME")},
    "N8N_INSTANCE_OWNER_PASSWORD_HASH": "the role manages the owner. Set n8n_owner_password.",
    "DB_TYPE": _DATABASE,
    "DB_TABLE_PREFIX": "the backup counts tables without a prefix. Leave it out.",
    **{f"DB_POSTGRESDB_{part}": _DATABASE for part in ("HOST", "PORT", "DATABASE", "USER", "SCHEMA")},
    **{f"DB_POSTGRESDB_SSL_{part}": _DATABASE for part in ("ENABLED", "CA", "REJECT_UNAUTHORIZED")},
}
"""What a variable of n8n that belongs to the role is for, and what to set."""
_LOGIN = "n8n has users of its own. Leave it out."
MISTAKEN: Mapping[str, str] = {
    "N8N_EXPRESS_TRUST_PROXY": "Set n8n_proxy_hops.",
    "WEBHOOK_TUNNEL_URL": "Set n8n_url.",
    "N8N_URL": "Set n8n_url.",
    "N8N_BASE_URL": "Set n8n_url.",
    "N8N_EDITOR_URL": "Set n8n_url, or N8N_EDITOR_BASE_URL.",
    "N8N_TIMEZONE": "Set n8n_timezone.",
    "N8N_BASIC_AUTH_ACTIVE": _LOGIN,
    "N8N_BASIC_AUTH_USER": _LOGIN,
    "N8N_BASIC_AUTH_PASSWORD": _LOGIN,
    "N8N_JWT_AUTH_ACTIVE": _LOGIN,
    "N8N_USER_MANAGEMENT_DISABLED": _LOGIN,
    "N8N_SKIP_OWNER_SETUP": _LOGIN,
    "N8N_BLOCK_ENV_ACCESS": "Set N8N_BLOCK_ENV_ACCESS_IN_NODE.",
    "N8N_SMTP_PASSWORD": "Set N8N_SMTP_PASS.",
    "N8N_SMTP_USERNAME": "Set N8N_SMTP_USER.",
    "N8N_SMTP_SECURE": "Set N8N_SMTP_SSL or N8N_SMTP_STARTTLS.",
    "N8N_NODES_EXCLUDE": "Set NODES_EXCLUDE.",
    "N8N_NODES_INCLUDE": "Set NODES_INCLUDE.",
    "N8N_NODE_FUNCTION_ALLOW_BUILTIN": "Set NODE_FUNCTION_ALLOW_BUILTIN.",
    "N8N_NODE_FUNCTION_ALLOW_EXTERNAL": "Set NODE_FUNCTION_ALLOW_EXTERNAL.",
    "N8N_METRICS_ENABLED": "Set N8N_METRICS.",
    "N8N_TELEMETRY_ENABLED": "Set N8N_DIAGNOSTICS_ENABLED.",
    "N8N_LOGLEVEL": "Set N8N_LOG_LEVEL.",
    "N8N_MAX_PAYLOAD_SIZE": "Set N8N_PAYLOAD_SIZE_MAX.",
    "N8N_BINARY_DATA_MODE": "Set N8N_DEFAULT_BINARY_DATA_MODE.",
    "N8N_EXECUTIONS_DATA_PRUNE": "Set EXECUTIONS_DATA_PRUNE.",
    "N8N_EXECUTIONS_DATA_MAX_AGE": "Set n8n_execution_max_age.",
    "N8N_EXECUTIONS_TIMEOUT": "Set EXECUTIONS_TIMEOUT.",
}
"""What people set in place of a variable that n8n reads."""


def _n8n_values(situation: Situation) -> Iterator[str]:
    if situation.given("n8n_encryption_key") and len(situation.text("n8n_encryption_key")) < 16:
        yield (
            "n8n_encryption_key: shorter than 16 characters. Make one with 'openssl rand -hex 32', or leave it out to"
            " have one generated."
        )
    yield from filled(situation, "n8n_database_password")
    keys = ("n8n_encryption_key", "n8n_database_password")
    yield from one_line(situation, *keys)
    for name in keys:
        if TRIMMED.search(situation.text(name)):
            yield (
                f"{name}: begins or ends with a blank, or is in quotation marks, and n8n removes them. Set another"
                " value."
            )


def _n8n_environment(situation: Situation) -> Iterator[str]:
    given = situation.mapping("n8n_environment")
    yield from environment("n8n_environment", given)
    for name in map(str, given):
        # n8n reads each variable from a file as well.
        instead = FIXED.get(name.removesuffix("_FILE"))
        if instead:
            yield f"n8n_environment.{name}: {instead}"
    for name in ("N8N_WEBHOOK_URL", "WEBHOOK_URL", "N8N_EDITOR_BASE_URL"):
        if given.get(name):
            yield from address(f"n8n_environment.{name}", str(given[name]))
    if "WEBHOOK_URL" in given and numbers(situation.text("n8n_version")) >= WEBHOOK_URL_RENAMED:
        yield "n8n_environment.WEBHOOK_URL: n8n ignores it, because n8n_url sets N8N_WEBHOOK_URL. Set N8N_WEBHOOK_URL."


def _n8n_mistaken(situation: Situation) -> Iterator[str]:
    if "n8n" not in situation.deployed():
        return
    for name, value in situation.mapping("n8n_environment").items():
        instead = MISTAKEN.get(str(name))
        if instead:
            yield f"n8n_environment.{name}: n8n has no such variable. {instead}"
        elif TRIMMED.search(str(value)):
            yield (
                f"n8n_environment.{name}: begins or ends with a blank, or is in quotation marks. n8n removes them from"
                " the values of its own settings."
            )


def _n8n_owner(situation: Situation) -> Iterator[str]:
    email = situation.text("n8n_owner_email")
    if email and not OWNER_EMAIL.fullmatch(email):
        yield (
            f"n8n_owner_email: '{email}' is not an e-mail address, and n8n accepts no other login. Set an address, or"
            " an empty string to have the first visitor become the owner."
        )
    password = situation.text("n8n_owner_password")
    yield from filled(situation, "n8n_owner_password")
    if password and not OWNER_PASSWORD.fullmatch(password):
        yield (
            "n8n_owner_password: n8n accepts only 8 to 64 characters with an upper-case letter and a digit. Set such a"
            " password, or leave n8n_owner_password out to have one generated."
        )
    elif len(password.encode()) > LONGEST:
        yield f"n8n_owner_password: it has more than {LONGEST} bytes. Set a shorter password."
    yield from one_line(situation, "n8n_owner_email", "n8n_owner_first_name", "n8n_owner_last_name")


def _n8n_runners(situation: Situation) -> Iterator[str]:
    if situation.text("n8n_runners") == "external":
        yield from image("n8n_runners")(situation)


def _n8n_belongs_to_another(situation: Situation) -> Iterator[str]:
    """Warn that the account of another owner stays as it is."""
    owner = situation.host.get("n8n_owner") or {}
    email, found = situation.text("n8n_owner_email"), str(owner.get("email", ""))
    if "n8n" not in situation.deployed() or not email or owner.get("managed"):
        return
    if found not in ("", email.lower()):
        yield (
            f"n8n_owner_email: n8n belongs to {found} already, so no account was changed. Set n8n_owner_email to an"
            " empty string."
        )


def _n8n_owner_unknown(situation: Situation) -> Iterator[str]:
    """Warn that an n8n that may have no owner yet is started without one."""
    owner = situation.host.get("n8n_owner") or {"known": True}
    if "n8n" in situation.deployed() and situation.text("n8n_owner_email") and not owner["known"]:
        yield (
            "n8n_owner_email: PostgreSQL does not answer, so whether n8n has an owner is not known, and none is made."
            " Run site.yml again after this run. Until then, the first visitor of an n8n without one takes it over."
        )


DEPLOYMENT: tuple[Rule, ...] = (
    held_ports("n8n"),
    bind_address("n8n_bind_address"),
    time_zones("n8n_timezone"),
    image("n8n"),
    pinned("n8n", "2.41.1"),
    ranges(("n8n_proxy_hops", 0, None)),
    _n8n_values,
    _n8n_environment,
    address_without_path("n8n_url", "n8n"),
    _n8n_owner,
    _n8n_runners,
)
REMOVAL: tuple[Rule, ...] = ()
WARNINGS: tuple[Rule, ...] = (_n8n_mistaken, _n8n_belongs_to_another, _n8n_owner_unknown)
