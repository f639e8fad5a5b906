# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The configuration, backup.json: all that the program knows about its host. The role writes the file.

Every key is required. A key that is missing or has another type is an error that names it. Paths "below the root" are
relative, because backups contain them too.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from .errors import BackupError

Kind = TypeVar("Kind")
TYPES = {str: "text", int: "a whole number", bool: "true or false"}


@dataclass(frozen=True)
class Database:
    """A database that is backed up. A restore creates it again."""

    name: str
    owner: str
    """The role that owns it and logs in to it."""
    password_secret: str
    """Name of the secret that contains the owner's password."""


@dataclass(frozen=True)
class Kestra:
    """How a verification starts Kestra's web server on restored files, and logs in to it."""

    config_directory: str
    """Below the root: the directory of Kestra's configuration."""
    config_mount: str
    """The path of that directory in the container."""
    config_file: str
    """The configuration file in the container."""
    data_directory: str
    """Below the root."""
    data_mount: str
    """The path of that directory in the container."""
    health_url: str
    """In the container. It answers with success as soon as Kestra works."""
    api_url: str
    """In the container, with the tenant. /flows/search and /executions/search are below it."""
    username: str
    password_secret: str
    """Name of the secret that contains the password of that user."""


@dataclass(frozen=True)
class N8n:
    """How a verification starts n8n on restored files."""

    data_directory: str
    """Below the root."""
    data_mount: str
    """The path of that directory in the container."""


@dataclass(frozen=True)
class Keep:
    """How many backups a store keeps."""

    daily: int
    """Of the last so many days that have one, the newest backup of the day. The next two likewise."""
    weekly: int
    monthly: int
    upgrade: int
    """The newest that were made before an upgrade."""
    manual: int
    """The newest that were made by hand."""


@dataclass(frozen=True)
class Target:
    """A store: a restic repository."""

    name: str
    repository_file: str
    """The file with the location of the repository, which may contain a password."""
    environment_file: str
    """A file with the credentials, one NAME=VALUE a line; empty without."""
    options: dict[str, str]
    """Extended options of restic, such as sftp.command."""
    append_only: bool
    """Whether the store refuses to remove anything. Then nothing is removed there."""
    upload_limit: int
    """KiB per second; 0 is without a limit."""
    download_limit: int
    keep: Keep


@dataclass(frozen=True)
class Config:
    """The complete backup.json."""

    root: Path
    """The root of the host's files, with the Compose file. A backup is restored only to the root that it is from."""
    project: str
    """Name of the Compose project."""
    compose_file: str
    """Below the root, like the next three."""
    services_directory: str
    """The Compose files of the services, each named after its service."""
    environment_directory: str
    """The environment files of the services, each named after its service."""
    secrets_directory: str
    """One file per secret, named after it."""
    cluster: str
    """Below the root: PostgreSQL's data, which is dumped and never copied."""
    cluster_directories: tuple[str, ...]
    """Below the root: the directories that PostgreSQL's container mounts. Docker does not create them."""
    data: dict[str, str]
    """Below the root: the file or directory that a service has since its first start, by service."""
    databases: tuple[Database, ...]
    files: tuple[str, ...]
    """Files and directories below the root that are backed up."""
    former_names: dict[str, str]
    """Old and present names of files and directories in `files`, in archives and on hosts."""
    directory: Path
    """The directory of tar archives."""
    password_file: Path
    """The password of all stores."""
    targets: tuple[Target, ...]
    """The stores. A backup is made in the first one and copied to the others."""
    pause: bool
    """Whether services are paused while their files are read."""
    paused_services: tuple[str, ...]
    """The services that are paused."""
    start_timeout: int
    """Within how many seconds a started service must be healthy."""
    kestra_stop_timeout: int
    """How many seconds containers have to stop. It is longer than Kestra waits for its tasks."""
    state_directory: Path
    """Where databases are dumped and unpacked. It is on the file system of the root."""
    cache_directory: Path
    """restic's cache of the stores that are not on this host."""
    minimum_free: int
    """Bytes of free space that are left to PostgreSQL."""
    lock: Path
    """The backup lock: locked while a command runs. Playbooks check it."""
    last: Path
    """The record of the last successful backup."""
    state: Path
    """What the program remembers: verified backups, the ids of the stores, and when they were checked and pruned."""
    paused: Path
    """The pause journal. It exists while services are paused."""
    journal: Path
    """The journal. It exists while a restore replaces the host's state."""
    host_lock: Path
    """The host lock of playbooks, which the module host_lock writes."""
    host_lock_expires: int
    """Seconds after which a host lock that is not renewed is ignored."""
    kestra: Kestra
    n8n: N8n

    @classmethod
    def read(cls, path: Path) -> Config:
        """Read the file; raise BackupError if it cannot be read or is not valid."""
        try:
            found = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise BackupError(f"{path}: cannot be read ({error}); run site.yml again") from error
        try:
            config = build(cls, found)
            if not config.targets:
                raise ValueError("key targets is empty")
            return config
        except ValueError as error:
            raise BackupError(f"{path}: {error}; run site.yml again") from error

    @property
    def replaced(self) -> tuple[str, ...]:
        """All files and directories that a restore replaces, below the root."""
        return (*self.files, *self.former_names, self.cluster)

    @property
    def data_directory(self) -> Path:
        """The directory of the data, which may be a disk of its own."""
        return (self.root / self.cluster).parent

    def restored(self, item: str) -> Path:
        """Return where the restored state of a file or directory is until it is moved to its place."""
        return self.beside(item, "restored")

    def previous(self, item: str) -> Path:
        """Return where the previous state of a file or directory is until the restore has succeeded."""
        return self.beside(item, "previous")

    def beside(self, item: str, state: str) -> Path:
        """Return a path on the same file system, in a directory that only root can change.

        Others may be of the user of a service, who could put a link there while root writes.
        """
        path = self.root / item
        parent = path.parent if path.parent in (self.root, self.data_directory) else self.state_directory
        return parent / f".{path.name}.{state}"

    @property
    def dumps(self) -> dict[str, Database]:
        """The databases, by the file of a backup that contains them."""
        return {f"{database.name}.dump": database for database in self.databases}


def build(kind: type[Kind], found: Any, prefix: str = "") -> Kind:
    """Return a dataclass with the values of a JSON object; raise ValueError with the key that is wrong."""
    if not isinstance(found, dict):
        raise ValueError(f"key {prefix.rstrip('.')} is not an object" if prefix else "is not a JSON object")
    hints = get_type_hints(kind)
    values = {}
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        key = f"{prefix}{field.name}"
        if field.name not in found:
            raise ValueError(f"key {key} is missing")
        values[field.name] = convert(hints[field.name], found[field.name], key)
    return kind(**values)


def convert(kind: Any, value: Any, key: str) -> Any:
    """Return the value of one key, converted to the type of its field."""
    if dataclasses.is_dataclass(kind):
        return build(kind, value, f"{key}.")  # type: ignore[arg-type]
    if kind is Path:
        if not isinstance(value, str) or not value.startswith("/"):
            raise ValueError(f"key {key} is not an absolute path")
        return Path(value)
    if get_origin(kind) is tuple:
        if not isinstance(value, list):
            raise ValueError(f"key {key} is not a list")
        return tuple(convert(get_args(kind)[0], item, f"{key}[{number}]") for number, item in enumerate(value))
    if get_origin(kind) is dict:
        if not isinstance(value, dict):
            raise ValueError(f"key {key} is not an object")
        return {name: convert(get_args(kind)[1], item, f"{key}.{name}") for name, item in value.items()}
    # In Python, a bool is an int too.
    if not isinstance(value, kind) or isinstance(value, bool) != (kind is bool):
        raise ValueError(f"key {key} is not {TYPES[kind]}")
    return value
