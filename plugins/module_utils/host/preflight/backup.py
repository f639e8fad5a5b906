# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rules for backups."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from ansible_collections.devorch.orchestration.plugins.module_utils.host import repository
from ansible_collections.devorch.orchestration.plugins.module_utils.host.preflight.situation import Rule, Situation
from ansible_collections.devorch.orchestration.plugins.module_utils.host.preflight.values import (
    CONTROL,
    environment,
    filled,
    listed,
    one_line,
)

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
OWN_VARIABLE = re.compile(r"RESTIC_(PASSWORD|REPOSITORY|FROM_|KEY_HINT|CACHE_DIR|PROGRESS_FPS).*")
"""What would lead restic to another store, or to another password."""
SCHEDULES = {"backup_schedule": "*-*-* 02:30:00", "backup_verify_schedule": "monthly"}
SHORTEST = 12


def _backup(situation: Situation) -> Iterator[str]:
    directory = situation.text("backup_directory")
    if situation.given("backup_directory") and not directory.startswith("/"):
        yield f"backup_directory: '{directory}' is not an absolute path. Set one that begins with /."
    elif situation.given("backup_directory") and len(PurePosixPath(directory).parts) < 3:
        yield (
            f"backup_directory: '{directory}' is a directory of the system, which would be closed to all but root. Set"
            " one below it."
        )
    for name, example in SCHEDULES.items():
        schedule = situation.text(name)
        reason = " ".join(str(situation.host.get("calendars", {}).get(schedule, "")).split()) if schedule else ""
        if reason:
            yield (
                f"{name}: systemd does not read '{schedule}' ({reason}). Set a calendar expression of"
                f" systemd.time(7), such as '{example}'."
            )
    # A restore begins with that.
    if situation.host.get("interrupted_restore") and "postgres" in situation.services:
        yield (
            f"backup: a restore on this host was interrupted. Run '{situation.root}/bin/orchestration-backup recover'"
            " on the host, which restores the previous state, or run restore.yml, which begins with that."
        )


def _password(situation: Situation) -> Iterator[str]:
    yield from filled(situation, "backup_password")
    yield from one_line(situation, "backup_password")
    if 0 < len(situation.text("backup_password")) < SHORTEST:
        yield (
            f"backup_password: shorter than {SHORTEST} characters. Make one with 'openssl rand -hex 32', or leave it"
            " out to have one generated."
        )
    stored, store = situation.host.get("secrets"), _local_path(situation)
    lost = stored is not None and "backup_password" not in stored and not situation.text("backup_password")
    if lost and f"{store}/config" in situation.host.get("files", {}):
        yield (
            f"backup_password: {situation.root}/secrets/backup_password is missing, and the backups in {store} are"
            " encrypted with it. Put the file back, or set backup_password to its value. If these backups are not"
            f" needed any more, move {store} away."
        )


def _stores(situation: Situation) -> list[dict[str, Any]]:
    directory = situation.text("backup_directory", f"{situation.root}/backups")
    return repository.stores(situation.items("backup_targets"), directory, "", {})


def _local_path(situation: Situation) -> str:
    """Return the directory of the local store; an empty text if it is not on the host."""
    return str(_stores(situation)[0]["path"]).rstrip("/")


def _settings(store: Mapping[str, Any]) -> dict[str, str]:
    """Return what a process of restic is given for a store."""
    name, options = store["config"]["name"], store["config"]["options"]
    lines = store["secrets"].get(repository.secret_name(name, "environment"), {"value": ""})["value"].splitlines()
    return {**options, **{variable: value for variable, _equals, value in (line.partition("=") for line in lines)}}


def _copied(situation: Situation) -> Iterator[str]:
    """Everything is copied from the first store, by one process for both."""
    first, *others = _stores(situation)
    settings = _settings(first)
    for store in others:
        differing = sorted(key for key, value in _settings(store).items() if settings.get(key, value) != value)
        if differing:
            yield (
                f"backup_targets.{store['config']['name']}: {listed(differing)} differs from that of the store"
                f" '{repository.LOCAL}', from which everything is copied. Let that store be a directory of the host."
            )


def _kept(name: str, keep: Mapping[str, Any]) -> Iterator[str]:
    unknown = [str(key) for key in keep if key not in repository.KEEP]
    if unknown:
        yield f"{name}: does not know {listed(unknown)}. Set some of {', '.join(repository.KEEP)}."
    wrong = [str(key) for key, value in keep.items() if not str(value).isdecimal()]
    if wrong:
        yield f"{name}: {listed(wrong)} is not a whole number. Set how many backups are kept, from 0."
    elif not unknown:
        # Texts, as -e gives them, count as numbers.
        kept = {key: int(str(value)) for key, value in {**repository.KEEP, **keep}.items()}
        if not kept["daily"] + kept["weekly"] + kept["monthly"]:
            yield f"{name}: keeps no nightly backup. Set one of daily, weekly and monthly to 1 or more."


def _keep(situation: Situation) -> Iterator[str]:
    yield from _kept("backup_keep", situation.mapping("backup_keep"))


def _targets(situation: Situation) -> Iterator[str]:
    names: list[str] = []
    places: dict[str, str] = {}
    for number, target in enumerate(situation.items("backup_targets")):
        if not isinstance(target, Mapping):
            continue
        name = str(target.get("name") or "")
        label = f"backup_targets.{name}" if NAME.fullmatch(name) else f"backup_targets[{number}]"
        if not NAME.fullmatch(name):
            yield (
                f"{label}: the name is '{name}'. Set a name of at most 32 lower-case letters, digits and dashes that"
                " begins with a letter or a digit."
            )
        elif name in names:
            yield f"{label}: two stores have this name. Give each another one."
        names.append(name)
        place = str(target.get("repository") or "").rstrip("/")
        if place and place in places:
            yield f"{label}: the repository is also that of {places[place]}. Leave one of them out."
        places[place] = name
        yield from _target(situation, label, target)
    store = _local_path(situation)
    if repository.LOCAL not in names and store in places:
        yield (
            f"backup_targets.{places[store]}: the repository is the local store, which every host has. Leave it out, or"
            f" name it '{repository.LOCAL}' to give it other settings."
        )


def _target(situation: Situation, label: str, target: Mapping[str, Any]) -> Iterator[str]:
    try:
        parsed = repository.parse(str(target.get("repository") or ""))
    except repository.RepositoryError as error:
        yield f"{label}: the repository {str(error).rstrip('.')}."
        parsed = repository.Repository("")
    values = target.get("environment")
    values = values if isinstance(values, Mapping) else {}
    yield from _login(label, parsed, values)
    yield from environment(f"{label}.environment", values)
    own = [str(name) for name in values if OWN_VARIABLE.fullmatch(str(name))]
    if own:
        yield f"{label}.environment: {listed(own)} is set by the role. Leave it out. The password is backup_password."
    for name, value in values.items():
        if CONTROL.search(str(value)):
            yield f"{label}.environment: {name} has a line break or another control character. Set a value of one line."
    for what in ("ssh_key", "known_hosts"):
        if target.get(what) and parsed.kind not in ("sftp", ""):
            yield f"{label}.{what}: the repository is not reached over SSH. Leave it out."
    key = str(target.get("ssh_key") or "")
    if key and ("PRIVATE KEY" not in key or "\n" not in key.strip()):
        yield (
            f"{label}.ssh_key: is not a private key. Set the content of its file, such as"
            " \"{{ lookup('ansible.builtin.file', 'files/backup_key') }}\"."
        )
    if key and not target.get("known_hosts"):
        yield (
            f"{label}.known_hosts: is missing, so it is unknown whether the server is the right one. Set what"
            f" 'ssh-keyscan {parsed.host or 'HOST'}' prints, and compare the key with the server's."
        )
    for limit in ("upload_limit", "download_limit"):
        if target.get(limit) is not None and not str(target[limit]).isdecimal():
            yield f"{label}.{limit}: is not a whole number of KiB per second. Set one, or 0 for no limit."
    keep = target.get("keep")
    yield from _kept(f"{label}.keep", keep if isinstance(keep, Mapping) else {})
    yield from _place(situation, label, parsed.path)


def _login(label: str, parsed: repository.Repository, values: Mapping[str, Any]) -> Iterator[str]:
    if parsed.password:
        way = {
            "rest": "environment: {RESTIC_REST_USERNAME: ..., RESTIC_REST_PASSWORD: ...}",
            "s3": "environment: {AWS_ACCESS_KEY_ID: ..., AWS_SECRET_ACCESS_KEY: ...}",
            "sftp": "ssh_key to a private key that the server accepts",
        }[parsed.kind]
        yield f"{label}: the repository has a password in its address. Set {way}, and the address without it."
    given = [name for name in repository.REST_LOGIN if values.get(name)]
    if parsed.kind == "rest" and len(given) == 1:
        yield f"{label}.environment: has {given[0]} alone. Set both {listed(repository.REST_LOGIN)}."
    if parsed.kind == "rest" and given and parsed.user:
        yield f"{label}: the repository has a user name, and environment has another login. Set the address without it."


def _place(situation: Situation, label: str, path: str) -> Iterator[str]:
    """A store in what is backed up would hold itself, and a restore would set it aside."""
    directory = situation.text("backup_directory", f"{situation.root}/backups").rstrip("/")
    inside = f"{path.rstrip('/')}/"
    allowed = (f"{directory}/", f"{situation.root}/backups/")
    if path and inside.startswith(f"{situation.root}/") and not inside.startswith(allowed):
        yield (
            f"{label}: the repository {path} is among the files that are backed up. Set one outside of"
            f" {situation.root}, or below {directory}."
        )


DEPLOYMENT: tuple[Rule, ...] = (_backup, _password, _keep, _targets, _copied)
REMOVAL: tuple[Rule, ...] = ()
WARNINGS: tuple[Rule, ...] = ()
