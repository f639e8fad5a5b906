# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rules for PostgreSQL."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ansible_collections.devorch.orchestration.plugins.module_utils.host.preflight.images import image, present_image
from ansible_collections.devorch.orchestration.plugins.module_utils.host.preflight.situation import (
    DATABASE_USERS,
    TITLES,
    Rule,
    Situation,
    data_major,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.host.preflight.values import (
    either,
    filled,
    listed,
    one_line,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.versions import numbers, other_major, tag

POSTGRES = ("14", "15", "16", "17")
DEFAULT = (17, 12)
"""The version of this collection's default."""


def _postgres_major(situation: Situation) -> str:
    found = numbers(situation.text("postgres_version"))
    return str(found[0]) if found else ""


def _postgres_version(situation: Situation) -> Iterator[str]:
    if not situation.text("postgres_version"):
        return
    version, major, data = situation.text("postgres_version"), _postgres_major(situation), data_major(situation)
    if major not in POSTGRES:
        yield (
            f"postgres_version: {version} is not supported. Kestra needs 14 or newer, and the images from 18 on keep"
            f" their data elsewhere. Set it to {either(POSTGRES)}."
        )
    if data and data != major and not situation.upgrade:
        yield (
            f"postgres_version: the data in {situation.root}/data/postgres/pgdata belong to PostgreSQL {data}, and"
            f" {major or version} cannot open them. Set postgres_version back, or run upgrade.yml, which dumps and"
            " loads the databases."
        )


def _variant(reference: str) -> str:
    """Return what follows the version in the tag of an image, such as V(alpine)."""
    return tag(reference).partition("-")[2]


def _variants(situation: Situation) -> tuple[str, str] | None:
    """Return the images before and after the run if they are two variants of one major version."""
    before, after = present_image(situation, "postgres"), situation.image("postgres")
    if not before or not after or other_major(tag(before), tag(after)) or _variant(before) == _variant(after):
        return None
    return before, after


def _postgres_library(situation: Situation) -> Iterator[str]:
    images = _variants(situation)
    if images and ("alpine" in _variant(images[0])) != ("alpine" in _variant(images[1])):
        yield (
            f"postgres_version: {images[0]} has run on the data of this host, and {images[1]} has another C library,"
            " which sorts texts in another order. Indexes of texts would be wrong. Set a version of the same kind, or"
            " change the kind together with the major version in upgrade.yml, which loads the databases again."
        )


def _postgres_notice(situation: Situation) -> Iterator[str]:
    if "postgres" not in situation.deployed() or situation.external:
        return
    version, before = situation.text("postgres_version"), present_image(situation, "postgres")
    if re.fullmatch("[0-9]+(-.*)?", version):
        yield (
            f"postgres_version: '{version}' names no minor version, so the host keeps the one that it has pulled, and"
            " does not get its fixes. Set one such as 17.12-trixie."
        )
    pinned = tuple(numbers(version)[:2])
    if len(pinned) > 1 and pinned[0] == DEFAULT[0] and pinned < DEFAULT:
        yield (
            f"postgres_version: {version} lacks the fixes of {DEFAULT[0]}.{DEFAULT[1]}, the default of this collection."
            " Remove postgres_version from the inventory, or set it to a newer one."
        )
    images = _variants(situation)
    if images and not list(_postgres_library(situation)):
        yield (
            f"postgres_version: {images[0]} has run on the data of this host, and {images[1]} may be made of another"
            " release of Debian. If PostgreSQL logs a collation version mismatch, run REINDEX DATABASE and ALTER"
            " DATABASE ... REFRESH COLLATION VERSION in each database."
        )
    old, new = numbers(tag(before)), numbers(version)
    if len(old) > 1 and len(new) > 1 and old[0] == new[0] and old != new:
        yield (f"postgres_version: PostgreSQL {tag(before)} is replaced with {version} on the same data, and restarts.")


def _postgres_buffers(situation: Situation) -> Iterator[str]:
    name = "postgres_shared_buffers"
    if situation.given(name) and not re.fullmatch("[0-9]+(kB|MB|GB|TB)", situation.text(name)):
        yield f"{name}: '{situation.text(name)}' is not a size that PostgreSQL reads. Set one like 128MB or 1GB."


def _database_passwords(situation: Situation) -> list[str]:
    kept = [service for service in DATABASE_USERS if not situation.flag(f"{service}_purge_data")]
    return [f"{service}_database_password" for service in kept]


def _postgres_values(situation: Situation) -> Iterator[str]:
    names = [*([] if situation.external else ["postgres_password"]), *_database_passwords(situation)]
    yield from filled(situation, *names)
    yield from one_line(situation, *names)


def _postgres_removal(situation: Situation) -> Iterator[str]:
    users = [service for service in DATABASE_USERS if situation.present(service)]
    if users:
        yield (
            f"postgres_state: {listed([TITLES[user] for user in users])} {'keep' if len(users) > 1 else 'keeps'} data"
            f" in PostgreSQL. Set {listed([f'{user}_state' for user in users])} to 'absent' as well."
        )
    purged = [f"{user}_purge_data" for user in DATABASE_USERS if situation.flag(f"{user}_purge_data")]
    if purged and not situation.flag("postgres_purge_data") and not situation.external:
        yield (
            f"postgres_state: {listed(purged)} {'remove databases' if len(purged) > 1 else 'removes a database'} of"
            " PostgreSQL, which must run for that. Set postgres_purge_data to true as well, or set postgres_state to"
            " 'absent' in a run after this one."
        )


DEPLOYMENT: tuple[Rule, ...] = (
    _postgres_version,
    _postgres_library,
    _postgres_buffers,
    image("postgres"),
    _postgres_values,
)
EXTERNAL: tuple[Rule, ...] = (_postgres_values,)
"""What holds if PostgreSQL is not on the host."""
REMOVAL: tuple[Rule, ...] = (_postgres_removal,)
WARNINGS: tuple[Rule, ...] = (_postgres_notice,)
