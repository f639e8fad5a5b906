# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the API takes and answers."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

MIB = 1024**2
UNITS = {"": 1, "K": 1024, "M": MIB, "G": 1024**3}

SMALLEST_MEMORY = 512 * MIB
SMALLEST_DISK = 1024 * MIB
"""multipass refuses to launch with less (Multipass documentation, reference of the launch command)."""

Name = Annotated[
    str,
    # The rule of multipass itself; it also keeps a name from being taken for an option.
    StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9-]*[A-Za-z0-9]$", min_length=2, max_length=63),
]
Image = Annotated[
    str,
    # An alias, a version or a remote with either. No slash: neither files of the host nor addresses.
    StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]*$", max_length=100),
]


def size_in_bytes(text: str) -> int:
    """Return the bytes of a size as multipass writes it: a whole number with K, M or G (powers of 1024)."""
    number = text.rstrip("KMG")
    return int(number) * UNITS[text[len(number) :]]


def at_least(smallest: int) -> AfterValidator:
    """Return a check that a size is not smaller than this many bytes."""

    def check(text: str) -> str:
        if size_in_bytes(text) < smallest:
            raise ValueError(f"at least {smallest // MIB}M is needed")
        return text

    return AfterValidator(check)


Size = StringConstraints(pattern=r"^[1-9][0-9]{0,14}[KMG]?$")
Memory = Annotated[str, Size, at_least(SMALLEST_MEMORY)]
Disk = Annotated[str, Size, at_least(SMALLEST_DISK)]


class Launch(BaseModel):
    """A new instance. Sizes are numbers with K, M or G."""

    model_config = ConfigDict(extra="forbid")

    name: Name
    image: Image = "lts"
    cpus: int = Field(default=1, ge=1, le=256)
    memory: Memory = "1G"
    disk: Disk = "5G"
    cloud_init: str | None = Field(default=None, min_length=1, max_length=65536)


class Instance(BaseModel):
    """An instance as the list shows it."""

    name: str
    state: str
    ipv4: list[str]
    release: str | None


class Usage(BaseModel):
    """Bytes used and there; None where multipass does not tell, as for a stopped instance."""

    used: int | None = None
    total: int | None = None


class InstanceDetail(Instance):
    """An instance with what multipass knows of it."""

    image_release: str | None
    image_hash: str | None
    cpus: int | None
    load: list[float]
    memory: Usage
    disk: Usage
    snapshots: int | None


class InstanceList(BaseModel):
    """All instances, deleted ones that are not purged too."""

    instances: list[Instance]


class MultipassHealth(BaseModel):
    """What is known of multipass."""

    version: str | None = None
    daemon_version: str | None = None
    reason: str | None = None


class Health(BaseModel):
    """Degraded: the API answers, multipass does not."""

    status: Literal["ok", "degraded"]
    multipass: MultipassHealth


def number(value: Any) -> int | None:
    """Return a whole number that multipass writes as a number, as a string, or not at all."""
    try:
        return int(value)
    except (TypeError, ValueError):
        return None


def usage(value: Any) -> Usage:
    """Return the usage in a C(memory) or disk entry of C(multipass info)."""
    value = value if isinstance(value, dict) else {}
    return Usage(used=number(value.get("used")), total=number(value.get("total")))


def instance(name: str, entry: dict[str, Any]) -> Instance:
    """Return an instance from an entry of C(multipass list --format json)."""
    return Instance(
        name=name,
        state=str(entry.get("state", "Unknown")),
        ipv4=[str(address) for address in entry.get("ipv4") or []],
        release=entry.get("release") or None,
    )


def instance_detail(name: str, entry: dict[str, Any]) -> InstanceDetail:
    """Return an instance from an entry of C(multipass info --format json)."""
    disks = entry.get("disks") or {}
    return InstanceDetail(
        **instance(name, entry).model_dump(),
        image_release=entry.get("image_release") or None,
        image_hash=entry.get("image_hash") or None,
        cpus=number(entry.get("cpu_count")),
        load=[float(value) for value in entry.get("load") or []],
        memory=usage(entry.get("memory")),
        disk=usage(next(iter(disks.values()), None)),
        snapshots=number(entry.get("snapshot_count")),
    )
