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

from ansible_collections.devorch.orchestration.plugins.module_utils.host.preflight.images import image, pinned
from ansible_collections.devorch.orchestration.plugins.module_utils.host.preflight.limits import heap
from ansible_collections.devorch.orchestration.plugins.module_utils.host.preflight.ports import bind_address, held_ports
from ansible_collections.devorch.orchestration.plugins.module_utils.host.preflight.situation import MIB, Rule, Situation
from ansible_collections.devorch.orchestration.plugins.module_utils.host.preflight.values import (
    address_without_path,
    environment,
    filled,
    listed,
    one_line,
    time_zones,
)
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
        own = name == "kestra_config"
        # The template has the database of postgres_external.
        database = [config_schema.DATABASE] if situation.external else []
        found = config_schema.problems(configuration, situation.text("kestra_version"), [*allowed, *database], own)
        if found:
            yield f"{name}: {'; '.join(found)}."


def _kestra_database(situation: Situation) -> Iterator[str]:
    """With postgres_external, no other database is named."""
    texts = {"kestra_config": situation.variables.get("kestra_config"), **situation.rendered}
    allowed = [str(path) for path in situation.items("kestra_config_allowed")]
    wanted = f"jdbc:postgresql://{situation.external_address}/kestra"
    for name in ("kestra_config", "kestra_config_template") if situation.external else ():
        url = config_schema.value(texts.get(name), config_schema.DATABASE, situation.text("kestra_version"))
        if url and url.partition("?")[0] != wanted and config_schema.DATABASE not in allowed:
            yield (
                f"{name}: {config_schema.DATABASE} is not the database of postgres_external. Leave it out, or use the"
                " variable kestra_database_url in the template."
            )


def _kestra_values(situation: Situation) -> Iterator[str]:
    passwords = ("kestra_password", "kestra_database_password")
    yield from filled(situation, "kestra_encryption_key", "kestra_database_password")
    yield from one_line(situation, *passwords, "kestra_encryption_key")
    for name in passwords:
        if "${" in situation.text(name):
            yield f"{name}: the value holds ${{, which Kestra would replace. Set another value."
    if re.search("[\"']", situation.text("kestra_java_opts")):
        yield (
            "kestra_java_opts: has a quotation mark, which Java would get as it is. Leave it out; an option can't hold"
            " a blank."
        )
    for variable in ("kestra_envs", "kestra_secrets"):
        values = situation.mapping(variable)
        yield from environment(variable, values, ", and the shell of Kestra's image drops it")
        names = sorted(str(name) for name in values)
        for name in names:
            same = [other for other in names if other.upper() == name.upper()]
            if len(same) > 1 and name == same[0]:
                yield f"{variable}: {listed(same)} are one name to Kestra, which ignores their case. Keep one of them."


def _final_line_break(situation: Situation) -> Iterator[str]:
    if "kestra" not in situation.deployed():
        return
    for name, value in situation.mapping("kestra_secrets").items():
        content = str(value)
        if content.endswith("\n") and "\n" not in content[:-1]:
            yield (
                f"kestra_secrets.{name}: ends with a line break, which flows get as a part of the secret. In YAML, a"
                " block that begins with |- or >- has none."
            )


def _few_plugins(situation: Situation) -> Iterator[str]:
    version = situation.text("kestra_version")
    few = re.search("-(slim|no-plugins)(?:-|$)", version)
    if "kestra" in situation.deployed() and few and not situation.flag("kestra_plugin_auto_install"):
        yield (
            f"kestra_version: {version} does not have all plugins, and flows that use another one are refused. Set"
            " kestra_plugin_auto_install to true, add plugins to an image of your own, or use the version without"
            f" -{few[1]}."
        )


def _heap(situation: Situation) -> Iterator[str]:
    memory = situation.host.get("memory_bytes")
    written, size = heap(situation.text("kestra_java_opts"))
    if "kestra" in situation.deployed() and memory and size >= memory:
        yield (
            f"kestra_java_opts: {written} is not less than the memory of the host ({memory // MIB} MiB). Set a smaller"
            " heap."
        )


def _not_backed_up(situation: Situation) -> Iterator[str]:
    allowed = [str(path) for path in situation.items("kestra_config_allowed")]
    configuration = situation.mapping("kestra_config")
    found = config_schema.not_backed_up(configuration, allowed, situation.text("kestra_version"))
    if "kestra" in situation.deployed() and found:
        yield (
            f"kestra_config_allowed: has {listed(found)}, so the backups of this host do not have all data of Kestra."
            " Back them up yourself."
        )


def _retention(situation: Situation) -> Iterator[str]:
    text = situation.text("kestra_retention")
    if text and not RETENTION.fullmatch(text):
        yield f"kestra_retention: '{text}' is not a number of days. Set one such as 90d, or '' to keep everything."


def _flows(situation: Situation) -> Iterator[str]:
    name = "kestra_flows_directory"
    if name in situation.missing_files and not situation.text("kestra_flows_plan"):
        yield f"{name}: the controller has no directory {situation.text(name)}. Make it, or correct the path."


def _kestra_dind(situation: Situation) -> Iterator[str]:
    if situation.text("kestra_task_runner") == "dind":
        yield from image("kestra_dind")(situation)


DEPLOYMENT: tuple[Rule, ...] = (
    _kestra_login,
    _kestra_key,
    _webhook_key,
    _kestra_config,
    _kestra_database,
    address_without_path("kestra_url", "Kestra"),
    held_ports("kestra"),
    bind_address("kestra_bind_address"),
    time_zones("kestra_timezone"),
    image("kestra"),
    _kestra_dind,
    pinned("kestra", "v2.0.5"),
    _kestra_values,
    _retention,
    _flows,
)
REMOVAL: tuple[Rule, ...] = ()
WARNINGS: tuple[Rule, ...] = (_heap, _few_plugins, _final_line_break, _not_backed_up)
