# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rules for Kestra."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from typing import Any

from ansible_collections.devorch.orchestration.plugins.module_utils.host.preflight.images import image
from ansible_collections.devorch.orchestration.plugins.module_utils.host.preflight.limits import heap
from ansible_collections.devorch.orchestration.plugins.module_utils.host.preflight.ports import held_ports
from ansible_collections.devorch.orchestration.plugins.module_utils.host.preflight.situation import MIB, Rule, Situation
from ansible_collections.devorch.orchestration.plugins.module_utils.host.preflight.values import filled, quotable
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra import config_schema

EMAIL = re.compile(r"[a-zA-Z0-9_!#$%&*+/=?`{|}~^.-]+@[a-zA-Z0-9.-]+")
RETENTION = re.compile(r"[1-9][0-9]{0,4}d")
WEBHOOK_KEY = re.compile(r"[A-Za-z0-9_-]{16,256}")
KEY_LENGTHS = (16, 24, 32)
"""Bytes of the keys that AES has."""


def _kestra_login(situation: Situation) -> Iterator[str]:
    if situation.given("kestra_username") and not EMAIL.fullmatch(situation.text("kestra_username")):
        yield (
            f"kestra_username: '{situation.text('kestra_username')}' is not an e-mail address, and Kestra accepts no"
            " other login. Set it to one."
        )
    password = situation.text("kestra_password")
    strong = 8 <= len(password) <= 256 and all(re.search(kind, password) for kind in ("[a-z]", "[A-Z]", "[0-9]"))
    if situation.given("kestra_password") and not strong:
        yield (
            "kestra_password: empty or too weak for Kestra, which would then leave its set-up page open to anybody. Set"
            " 8 to 256 characters with an upper-case letter, a lower-case letter and a digit, or leave it out to have"
            " one generated."
        )


def _kestra_key(situation: Situation) -> Iterator[str]:
    key = situation.text("kestra_encryption_key")
    if not key:
        return
    try:
        length = len(base64.b64decode(key, validate=True))
    except (binascii.Error, ValueError):
        length = 0
    if length not in KEY_LENGTHS:
        yield (
            "kestra_encryption_key: the value is not 32 bytes in Base64. Make one with 'openssl rand -base64 32', or"
            " leave it out to have one generated."
        )


def _webhook_key(situation: Situation) -> Iterator[str]:
    if situation.given("kestra_webhook_key") and not WEBHOOK_KEY.fullmatch(situation.text("kestra_webhook_key")):
        yield (
            "kestra_webhook_key: is not 16 to 256 letters, digits, underscores and hyphens, which an address may have."
            " Make one with 'openssl rand -hex 32', or leave it out to have one generated."
        )


def _kestra_config(situation: Situation) -> Iterator[str]:
    texts: dict[str, Any] = {}
    if situation.given("kestra_config"):
        texts["kestra_config"] = situation.variables["kestra_config"]
    if "kestra_config_template" in situation.rendered:
        texts["kestra_config_template"] = situation.rendered["kestra_config_template"]
    allowed = [str(path) for path in situation.items("kestra_config_allowed")]
    for name, configuration in texts.items():
        found = config_schema.problems(configuration, situation.text("kestra_version"), allowed)
        if found:
            yield f"{name}: {'; '.join(found)}."


def _kestra_values(situation: Situation) -> Iterator[str]:
    secrets = ("kestra_password", "kestra_encryption_key", "kestra_database_password")
    yield from filled(situation, "kestra_encryption_key", "kestra_database_password")
    names = (*secrets, "kestra_java_opts", "kestra_timezone")
    envs = {f"kestra_envs.{name}": value for name, value in situation.mapping("kestra_envs").items()}
    yield from quotable({**{name: situation.variables.get(name) for name in names}, **envs})


def _heap(situation: Situation) -> Iterator[str]:
    memory = situation.host.get("memory_bytes")
    written, size = heap(situation.text("kestra_java_opts"))
    if "kestra" in situation.deployed() and memory and size >= memory:
        yield (
            f"kestra_java_opts: {written} is not less than the memory of the host ({memory // MIB} MiB). Set a smaller"
            " heap."
        )


def _retention(situation: Situation) -> Iterator[str]:
    text = situation.text("kestra_retention")
    if text and not RETENTION.fullmatch(text):
        yield f"kestra_retention: '{text}' is not a number of days. Set one such as 90d, or '' to keep everything."


DEPLOYMENT: tuple[Rule, ...] = (
    _kestra_login,
    _kestra_key,
    _webhook_key,
    _kestra_config,
    held_ports("kestra"),
    image("kestra"),
    _kestra_values,
    _retention,
)
REMOVAL: tuple[Rule, ...] = ()
WARNINGS: tuple[Rule, ...] = (_heap,)
