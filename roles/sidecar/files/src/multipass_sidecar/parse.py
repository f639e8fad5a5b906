# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Parsers of what multipass prints. A missing or wrong value is an error; an unknown key is ignored.

It runs nothing and knows nothing of HTTP.
"""

from __future__ import annotations

import datetime
import json
import re
from typing import Annotated, Any, NoReturn, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from . import models

ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x08\x00]")
PERCENT = re.compile(r"(\d{1,3})%")
SPINNER = re.compile(r"[-/|\\]\s*$")
HUMAN = re.compile(r"(\d+(?:\.\d+)?)\s*(B|KiB|MiB|GiB|TiB)")
HUMAN_UNITS = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3, "TiB": 1024**4}
Raw = TypeVar("Raw", bound=BaseModel)


class ParseError(Exception):
    """multipass printed something unexpected. The message continues "multipass <command> printed"."""


def whole(value: Any) -> int | None:
    """Return a whole number, which multipass writes as a number, as a string, or not at all."""
    if value is None or value == "":
        return None
    if isinstance(value, int | str) and not isinstance(value, bool):
        number = int(value)
        if number >= 0:
            return number
    raise ValueError("not a whole number")


Whole = Annotated[int | None, BeforeValidator(whole)]


class _Raw(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)


class _Listed(_Raw):
    name: str = Field(min_length=1)
    state: str = Field(min_length=1)
    ipv4: list[str] = []
    release: str = ""


class _List(_Raw):
    list: list[_Listed]


class _Usage(_Raw):
    used: Whole = None
    total: Whole = None


class _Mount(_Raw):
    source_path: str = ""


class _Detail(_Raw):
    state: str = Field(min_length=1)
    ipv4: list[str] = []
    release: str = ""
    image_release: str = ""
    image_hash: str = ""
    cpu_count: Whole = None
    snapshot_count: Whole = None
    load: list[float] = []
    memory: _Usage = _Usage()
    disks: dict[str, _Usage] = {}
    mounts: dict[str, _Mount] = {}


class _Details(_Raw):
    # Only the entry that is asked for is read. Others may be of another kind.
    info: dict[str, Any]


class _Snapshot(_Raw):
    parent: str = ""
    comment: str = ""
    created: str = ""


class _Snapshots(_Raw):
    snapshots: dict[str, _Snapshot] = {}


class _SnapshotInfo(_Raw):
    info: dict[str, Any] = {}


class _Image(_Raw):
    os: str = ""
    release: str = ""
    remote: str = ""
    version: str = ""
    aliases: list[str] = []


class _Images(_Raw):
    images: dict[str, _Image]


class _Network(_Raw):
    name: str
    type: str = ""
    description: str = ""


class _Networks(_Raw):
    list: list[_Network]


class _Version(_Raw):
    multipass: str
    multipassd: str | None = None


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


def _read(text: str, kind: type[Raw]) -> Raw:
    try:
        return _checked(json.loads(text, parse_constant=_no_number), kind)
    except (ValueError, RecursionError) as error:
        raise ParseError(f"text that is not JSON: {' '.join(text.split())[:200] or '(empty)'}") from error


def _checked(content: Any, kind: type[Raw], *where: str) -> Raw:
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, (*where, *item['loc'])))}: {item['msg']}" for item in error.errors()[:3]
        )
        raise ParseError(f"unexpected JSON ({problems})") from error


def released(text: str) -> str | None:
    """Return a release, or None if multipass does not know it."""
    return None if text in ("", "Not Available") else text


def listed(text: str) -> list[models.Instance]:
    """Return the instances of C(list --format json), sorted by name."""
    found = [
        models.Instance(name=item.name, state=item.state, ipv4=item.ipv4, release=released(item.release))
        for item in _read(text, _List).list
    ]
    return sorted(found, key=lambda item: item.name)


def detail(text: str, name: str) -> models.InstanceDetail:
    """Return the instance of C(info --format json <name>)."""
    entries = _read(text, _Details).info
    if name not in entries:
        raise ParseError(f"JSON without the instance {name}")
    entry = _checked(entries[name], _Detail, "info", name)
    disk = next(iter(entry.disks.values()), _Usage())
    return models.InstanceDetail(
        name=name,
        state=entry.state,
        ipv4=entry.ipv4,
        release=released(entry.release),
        image_release=released(entry.image_release),
        image_hash=entry.image_hash or None,
        cpus=entry.cpu_count,
        load=entry.load,
        memory=models.Usage(**entry.memory.model_dump()),
        disk=models.Usage(**disk.model_dump()),
        snapshots=entry.snapshot_count,
        mounts=[
            models.MountShown(source=mount.source_path, target=target) for target, mount in sorted(entry.mounts.items())
        ],
    )


def snapshots(text: str, name: str) -> list[models.Snapshot]:
    """Return the snapshots of C(info --snapshots --format json <name>), oldest first."""
    entries = _read(text, _SnapshotInfo).info
    entry = _checked(entries.get(name, {}), _Snapshots, "info", name)
    found = [
        models.Snapshot(name=key, parent=item.parent or None, comment=item.comment, created=moment(item.created))
        for key, item in entry.snapshots.items()
    ]
    parents = {item.name: item.parent for item in found}

    def depth(item: models.Snapshot) -> int:
        steps, parent = 0, item.parent
        while parent is not None and steps <= len(parents):
            steps, parent = steps + 1, parents.get(parent)
        return steps

    # By time, which has no fractions of a second, and then parents first.
    return sorted(found, key=lambda item: (item.created or "", depth(item), item.name))


def moment(text: str) -> str | None:
    """Return a time of multipass as ISO 8601. It is as C(date) shows it in UTC, for which the client is set up."""
    for form in ("%a %b %d %H:%M:%S %Y UTC", "%Y-%m-%dT%H:%M:%S.%fZ", "%Y-%m-%dT%H:%M:%SZ"):
        try:
            found = datetime.datetime.strptime(" ".join(text.split()), form).replace(tzinfo=datetime.UTC)
        except ValueError:
            continue
        return found.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return None


def images(text: str) -> list[models.ImageShown]:
    """Return the images of C(find --format json)."""
    return [models.ImageShown(name=key, **item.model_dump()) for key, item in _read(text, _Images).images.items()]


def networks(text: str) -> list[models.NetworkShown]:
    """Return the networks of C(networks --format json)."""
    return [models.NetworkShown(**item.model_dump()) for item in _read(text, _Networks).list]


def version(text: str) -> tuple[str, str | None]:
    """Return the versions of C(version --format json): that of the client, and that of the daemon if it answers."""
    found = _read(text, _Version)
    return found.multipass, found.multipassd or None


def human_size(text: str) -> int:
    """Return the bytes of a size as C(get) prints it: C(4.9GiB)."""
    match = HUMAN.fullmatch(text.strip())
    if not match:
        raise ParseError(repr(text.strip()[:100]))
    return round(float(match[1]) * HUMAN_UNITS[match[2]])


def progress(text: str) -> tuple[str, int | None]:
    """Return the text of a progress line without its spinner, and its percentage."""
    text = SPINNER.sub("", ANSI.sub("", text)).strip()[:200]
    match = PERCENT.search(text)
    return text, min(int(match[1]), 100) if match else None
