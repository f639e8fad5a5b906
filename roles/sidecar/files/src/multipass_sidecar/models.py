# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the API takes and returns, with the limits of each value. It knows nothing of how requests are served."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

MIB = 1024**2
UNITS = {"": 1, "K": 1024, "M": MIB, "G": 1024**3}

MIN_MEMORY = 512 * MIB
MIN_DISK = 1024 * MIB
"""multipass refuses to launch an instance with less (its documentation of the launch command)."""
CLOUD_INIT_BYTES = 65536
"""The capacity of a pipe, through which multipass gets cloud-init as a whole."""
ARGUMENT_BYTES = 32768
ARGUMENTS_BYTES = 131072

Name = Annotated[
    str,
    # The rule of multipass. It also ensures that a name is never read as an option. No file has a longer name.
    StringConstraints(pattern=r"^[A-Za-z]([A-Za-z0-9-]*[A-Za-z0-9])?$", min_length=1, max_length=200),
]
NewName = Annotated[
    Name,
    # The longest name of a host, which multipass does not check.
    StringConstraints(max_length=63),
]


def no_address(text: str) -> str:
    """Refuse what multipass takes for a file or for an address: whatever begins with "file" or "http"."""
    if text.startswith(("file", "http")) and not text.startswith("file:///"):
        raise ValueError("an image cannot begin with 'file' or 'http'")
    return text


Image = Annotated[
    str,
    # An alias or a version, with or without a remote, but no URL; or a file of the host, if an allow list permits it.
    StringConstraints(
        pattern=r"^([A-Za-z0-9][A-Za-z0-9._:-]{0,99}|file:///[A-Za-z0-9._/-]+)$", min_length=1, max_length=1024
    ),
    AfterValidator(no_address),
]
Query = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]*$", max_length=100)]


def without_control_characters(text: str) -> str:
    """Refuse control characters: C0, DEL and C1."""
    if any(ord(character) < 32 or 127 <= ord(character) < 160 for character in text):
        raise ValueError("control characters are not allowed")
    return text


def without_null(text: str) -> str:
    """Refuse text that cannot be an argument of a program."""
    if "\0" in text:
        raise ValueError("a null character is not allowed")
    if len(text.encode()) > ARGUMENT_BYTES:
        raise ValueError(f"at most {ARGUMENT_BYTES} bytes are allowed")
    return text


def fits_pipe(text: str) -> str:
    """Refuse cloud-init that is too large."""
    if len(text.encode()) > CLOUD_INIT_BYTES:
        raise ValueError(f"at most {CLOUD_INIT_BYTES} bytes are allowed")
    return text


GuestPath = Annotated[
    str,
    StringConstraints(pattern=r"^/", min_length=2, max_length=4096),
    AfterValidator(without_control_characters),
]
HostPath = Annotated[str, StringConstraints(pattern=r"^/[^:\x00-\x1f\x7f]*$", max_length=4096)]
Argument = Annotated[str, AfterValidator(without_null)]


def size_in_bytes(text: str) -> int:
    """Return a size in bytes. It is a whole number, with K, M or G for powers of 1024, as in multipass."""
    number = text.rstrip("KMG")
    return int(number) * UNITS[text[len(number) :]]


def at_least(minimum: int) -> AfterValidator:
    """Return a check that a size is at least this many bytes."""

    def check(text: str) -> str:
        if size_in_bytes(text) < minimum:
            raise ValueError(f"at least {minimum // MIB}M is needed")
        return text

    return AfterValidator(check)


Size = StringConstraints(pattern=r"^[1-9][0-9]{0,14}[KMG]?$")
Memory = Annotated[str, Size, at_least(MIN_MEMORY)]
Disk = Annotated[str, Size, at_least(MIN_DISK)]
Cpus = Annotated[int, Field(ge=1, le=256, strict=True)]


class RequestModel(BaseModel):
    """The base of what a client sends. An unknown key is refused."""

    model_config = ConfigDict(extra="forbid")


class Network(RequestModel):
    """An additional network interface."""

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]*$", max_length=64)]
    mode: Literal["auto", "manual"] = "auto"
    mac: Annotated[str, StringConstraints(pattern=r"^([0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}$")] | None = None


class Mount(RequestModel):
    """A directory of the host, mounted in an instance. Its source must be in the service's allow list."""

    source: HostPath
    target: Annotated[HostPath, StringConstraints(min_length=2)]


class Launch(RequestModel):
    """A new instance. Sizes are whole numbers with K, M or G."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"name": "web-1", "image": "24.04", "cpus": 2, "memory": "2G", "disk": "10G"},
                {"name": "db", "cloud_init": "#cloud-config\npackages: [postgresql]\n"},
            ]
        },
    )

    name: NewName
    image: Image = "lts"
    cpus: Cpus = 1
    memory: Memory = "1G"
    disk: Disk = "5G"
    cloud_init: Annotated[str, Field(min_length=1), AfterValidator(fits_pipe)] | None = None
    networks: list[Network] = Field(default=[], max_length=8)
    mounts: list[Mount] = Field(default=[], max_length=8)


class Stop(RequestModel):
    """How to stop an instance: now, by force (as if the power failed), or after some minutes."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{}, {"force": True}, {"delay_minutes": 5}]}
    )

    force: Annotated[bool, Field(strict=True)] = False
    delay_minutes: int = Field(default=0, ge=0, le=1440, strict=True)


class Resize(RequestModel):
    """New sizes of a stopped instance. A size that is not set stays as it is."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"cpus": 4, "memory": "8G"}]})

    cpus: Cpus | None = None
    memory: Memory | None = None
    disk: Disk | None = None


class Clone(RequestModel):
    """The name of a copy."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"name": "web-2"}]})

    name: NewName


class TakeSnapshot(RequestModel):
    """A new snapshot. Without a name, one is generated."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"name": "before-upgrade", "comment": "clean"}]}
    )

    name: NewName | None = None
    comment: Annotated[str, Field(max_length=200), AfterValidator(without_control_characters)] = ""


class Execute(RequestModel):
    """A program to run in an instance. Its arguments are passed as they are, without a shell."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"argv": ["systemctl", "is-active", "ssh"], "timeout": 30}]}
    )

    argv: list[Argument] = Field(min_length=1, max_length=1000)
    timeout: float = Field(default=60, gt=0, le=3600, allow_inf_nan=False)
    working_directory: GuestPath | None = None


class Executed(BaseModel):
    """How a program ended. exit_code is null if it was stopped at its time limit."""

    exit_code: int | None
    stdout: str
    stderr: str
    truncated: bool
    timed_out: bool


class Environment(RequestModel):
    """A named set of instances."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"description": "web and database", "instances": [{"name": "web"}, {"name": "db"}]}]
        },
    )

    description: str = Field(default="", max_length=1000)
    instances: list[Launch] = Field(min_length=1, max_length=50)


class Usage(BaseModel):
    """Bytes in use and in total. They are null if multipass does not report them, as for a stopped instance."""

    used: int | None = None
    total: int | None = None


class Instance(BaseModel):
    """An instance in the list."""

    name: str
    state: str
    ipv4: list[str]
    release: str | None


class MountShown(BaseModel):
    """A mount of an instance."""

    source: str
    target: str


class InstanceDetail(Instance):
    """An instance with all that multipass reports about it."""

    image_release: str | None
    image_hash: str | None
    cpus: int | None
    load: list[float]
    memory: Usage
    disk: Usage
    snapshots: int | None
    mounts: list[MountShown]


class InstanceList(BaseModel):
    """A page of instances, including those that are deleted but not purged."""

    instances: list[Instance]
    next: str | None


class InstanceSize(BaseModel):
    """The configured size of an instance, running or not. In bytes, but only as exact as multipass reports: to a tenth
    of its unit.
    """

    cpus: int
    memory: int
    disk: int


class Snapshot(BaseModel):
    """A snapshot of an instance."""

    name: str
    parent: str | None
    comment: str
    created: str | None


class SnapshotList(BaseModel):
    """The snapshots of an instance."""

    snapshots: list[Snapshot]


class ImageShown(BaseModel):
    """An image that can be launched."""

    name: str
    aliases: list[str]
    os: str
    release: str
    remote: str
    version: str


class ImageList(BaseModel):
    """Images that can be launched."""

    images: list[ImageShown]


class NetworkShown(BaseModel):
    """A network of the host that instances can be attached to."""

    name: str
    type: str
    description: str


class NetworkList(BaseModel):
    """Networks of the host."""

    networks: list[NetworkShown]


class Host(BaseModel):
    """The machine that the instances run on. Sizes are bytes. disk is the file system of the state directory."""

    name: str
    kernel: str
    cpus: int
    load: list[float]
    memory: Usage
    disk: Usage
    driver: str | None


class Version(BaseModel):
    """Versions of the service, of multipass and of its daemon."""

    service: str
    multipass: str | None
    daemon: str | None


class MultipassHealth(BaseModel):
    """The versions of multipass and its daemon, or the reason why they do not answer."""

    version: str | None = None
    daemon_version: str | None = None
    reason: str | None = None


class Health(BaseModel):
    """The health of the service. It is degraded if the API answers but multipass does not."""

    status: Literal["ok", "degraded"]
    multipass: MultipassHealth


class EnvironmentInstance(BaseModel):
    """An instance of an environment. Its state is absent if the instance does not exist."""

    name: str
    state: str
    ipv4: list[str]


EnvironmentState = Literal["running", "stopped", "partial", "absent"]


class EnvironmentStatus(BaseModel):
    """An environment. It is running or stopped if all its instances are, absent if none exists, otherwise partial.

    Only the scope admin sees cloud_init in the definition.
    """

    name: str
    state: EnvironmentState
    instances: list[EnvironmentInstance]
    definition: Environment


class EnvironmentList(BaseModel):
    """A page of environments."""

    environments: list[EnvironmentStatus]
    next: str | None


JobState = Literal["queued", "running", "succeeded", "failed", "cancelled", "interrupted"]
ENDED = ("succeeded", "failed", "cancelled", "interrupted")


class Progress(BaseModel):
    """What a job is doing now."""

    text: str
    percent: int | None


class LogLine(BaseModel):
    """A line of a job's log."""

    time: str
    text: str


class Job(BaseModel):
    """A change that runs in the background. Times are ISO 8601 in UTC."""

    id: str
    kind: str
    target: str
    state: JobState
    progress: Progress
    log: list[LogLine]
    result: dict[str, Any] | None
    error: dict[str, Any] | None
    created: str
    started: str | None
    finished: str | None
    token: str


class JobList(BaseModel):
    """A page of jobs without their logs, newest first."""

    jobs: list[Job]
    next: str | None


class Problem(BaseModel):
    """An error (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    errors: list[dict[str, str]] | None = None


class ProblemType(BaseModel):
    """What a type of error means."""

    type: str
    description: str
