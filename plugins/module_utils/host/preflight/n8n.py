# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rules for n8n."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ansible_collections.devorch.orchestration.plugins.module_utils.host.preflight.images import image
from ansible_collections.devorch.orchestration.plugins.module_utils.host.preflight.ports import held_ports
from ansible_collections.devorch.orchestration.plugins.module_utils.host.preflight.situation import Rule, Situation
from ansible_collections.devorch.orchestration.plugins.module_utils.host.preflight.values import (
    ENVIRONMENT_NAME,
    filled,
    quotable,
    ranges,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.versions import numbers

OWNER_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
OWNER_PASSWORD = re.compile(r"(?=.*[A-Z])(?=.*[0-9]).{8,64}", re.DOTALL)
"""What n8n's own page asks of a password."""
LONGEST_PASSWORD = 72
"""Bytes of a password that bcrypt uses."""
WEBHOOK_URL_RENAMED = (2, 32)
"""The version since which n8n prefers N8N_WEBHOOK_URL to WEBHOOK_URL."""
SET_BY_VARIABLES = {
    "N8N_TRUST_PROXY": "n8n_proxy_hops",
    "N8N_RUNNERS_MODE": "n8n_runners",
    "N8N_RUNNERS_AUTH_TOKEN": "n8n_runners",
    "N8N_RUNNERS_BROKER_LISTEN_ADDRESS": "n8n_runners",
    "N8N_RUNNERS_BROKER_PORT": "n8n_runners",
    "N8N_INSTANCE_OWNER_MANAGED_BY_ENV": "n8n_owner_email",
    "N8N_INSTANCE_OWNER_EMAIL": "n8n_owner_email",
    "N8N_INSTANCE_OWNER_FIRST_NAME": "n8n_owner_first_name",
    "N8N_INSTANCE_OWNER_LAST_NAME": "n8n_owner_last_name",
    "N8N_INSTANCE_OWNER_PASSWORD_HASH": "n8n_owner_password",
}
"""Names in n8n_environment that would do nothing or break what a variable of the role sets, by that variable."""


def _n8n_values(situation: Situation) -> Iterator[str]:
    if situation.given("n8n_encryption_key") and len(situation.text("n8n_encryption_key")) < 16:
        yield (
            "n8n_encryption_key: shorter than 16 characters. Make one with 'openssl rand -hex 32', or leave it out to"
            " have one generated."
        )
    yield from filled(situation, "n8n_database_password")
    for name in situation.mapping("n8n_environment"):
        if not ENVIRONMENT_NAME.fullmatch(str(name)):
            yield (
                f"n8n_environment: '{name}' is not a name of an environment variable. Use letters, digits and"
                " underscores."
            )
    names = ("n8n_encryption_key", "n8n_database_password", "n8n_url", "n8n_timezone")
    more = {f"n8n_environment.{name}": value for name, value in situation.mapping("n8n_environment").items()}
    yield from quotable({**{name: situation.variables.get(name) for name in names}, **more})


def _n8n_settings(situation: Situation) -> Iterator[str]:
    given = situation.mapping("n8n_environment")
    for name, variable in SET_BY_VARIABLES.items():
        if name in given:
            yield f"n8n_environment: {name} is for {variable} to set. Remove it, and set {variable}."
    if "WEBHOOK_URL" in given and numbers(situation.text("n8n_version")) >= WEBHOOK_URL_RENAMED:
        yield "n8n_environment: n8n ignores WEBHOOK_URL, because n8n_url sets N8N_WEBHOOK_URL. Set N8N_WEBHOOK_URL."


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
    elif len(password.encode()) > LONGEST_PASSWORD:
        yield f"n8n_owner_password: it has more than {LONGEST_PASSWORD} bytes. Set a shorter password."
    names = ("n8n_owner_email", "n8n_owner_first_name", "n8n_owner_last_name")
    yield from quotable({name: situation.variables.get(name) for name in names})


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


DEPLOYMENT: tuple[Rule, ...] = (
    held_ports("n8n"),
    image("n8n"),
    ranges(("n8n_proxy_hops", 0, None)),
    _n8n_values,
    _n8n_settings,
    _n8n_owner,
    _n8n_runners,
)
REMOVAL: tuple[Rule, ...] = ()
WARNINGS: tuple[Rule, ...] = (_n8n_belongs_to_another,)
