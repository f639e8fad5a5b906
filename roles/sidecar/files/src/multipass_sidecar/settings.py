# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The configuration file and the tokens, read once at the start. It knows nothing of requests."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

TokenScope = Literal["read", "operate", "admin"]
SCOPES: tuple[TokenScope, ...] = ("read", "operate", "admin")
"""Each scope includes the ones before it."""
TOKEN_LINE = re.compile(r"([a-z0-9][a-z0-9_-]{0,62}) (read|operate|admin) ([0-9a-f]{64})")


class SettingsError(Exception):
    """The program cannot start with its configuration. The message says what to change."""


def in_bytes(value: object) -> object:
    """Return a size in bytes of a text such as C(8G)."""
    if isinstance(value, str) and (match := re.fullmatch(r"([0-9]+)([KMGT]?)", value)):
        return int(match[1]) * 1024 ** " KMGT".index(match[2] or " ")
    return value


Bytes = Annotated[int, BeforeValidator(in_bytes)]


class Limits(BaseModel):
    """What the instances of one token may have together. Without a value there is no limit."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    instances: int | None = Field(default=None, ge=0)
    cpus: int | None = Field(default=None, ge=0)
    memory: Bytes | None = Field(default=None, ge=0)
    disk: Bytes | None = Field(default=None, ge=0)


class Settings(BaseModel):
    """The keys of the configuration file (TOML). Times are in seconds, sizes in bytes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    multipass: str = Field(default="/snap/bin/multipass", min_length=1)
    state_directory: Path | None = None
    """The directory of jobs and environments. Default: the directory that systemd's StateDirectory= created."""
    query_timeout: float = Field(default=30, gt=0, le=3600)
    change_timeout: float = Field(default=300, gt=0, le=3600)
    launch_timeout: float = Field(default=1800, gt=0, le=14400)
    fresh: float = Field(default=1, ge=0, le=60)
    """How long readers share an answer of multipass, unless the service changes something meanwhile."""
    max_parallel: int = Field(default=4, ge=1, le=64)
    max_queue: int = Field(default=100, ge=1, le=10000)
    job_days: int = Field(default=30, ge=1, le=3650)
    """How many days ended jobs are kept."""
    rate_limit: float = Field(default=50, gt=0, le=100000)
    """Requests per second that one token may send on average. Four times as many may come at once."""
    head_timeout: float = Field(default=15, gt=0, le=600)
    """How long a client may take for the head of a request, from the connection or its first byte on."""
    send_timeout: int = Field(default=60, ge=1, le=3600)
    """How long a client may take no data of an answer."""
    max_connections: int = Field(default=4096, ge=1, le=60000)
    max_connections_per_address: int = Field(default=256, ge=1, le=60000)
    interfaces: list[str] = []
    """Interfaces whose networks may connect, in addition to the bridges that Docker names itself."""
    max_file: int = Field(default=1024**3, ge=0)
    """The size of the largest file that may be sent into an instance."""
    max_cpus: int | None = Field(default=None, ge=1)
    max_memory: Bytes | None = Field(default=None, ge=1)
    max_disk: Bytes | None = Field(default=None, ge=1)
    """The size of the largest instance. Default: the host's."""
    limits: dict[str, Limits] = {}
    """By name of a token."""
    host_names: list[str] = []
    """Names by which clients may call the API, in addition to addresses and names of this host."""
    mount_sources: list[Path] = []
    """Directories of the host. An instance may mount them and the directories below them."""
    image_files: list[Path] = []
    """Directories of the host that may contain images for C(file://)."""
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    """PEM files. Default: systemd's credentials of the same names. Without a certificate the API uses plain HTTP."""

    def state(self) -> Path:
        """Return the state directory, or raise SettingsError."""
        found = self.state_directory or os.environ.get("STATE_DIRECTORY", "").split(":")[0]
        if not found:
            raise SettingsError("state_directory is not set; set it, or start the program from its systemd unit")
        return Path(found)


@dataclass(frozen=True)
class Token:
    """A token as in its file: its SHA-256, never the token itself."""

    name: str
    scope: TokenScope
    digest: str

    def allows(self, needed: TokenScope) -> bool:
        """Return whether this token's scope includes another."""
        return SCOPES.index(self.scope) >= SCOPES.index(needed)


def find_token(tokens: list[Token], sent: bytes) -> Token | None:
    """Return the token that a client sent, or None. The time that this takes reveals nothing of other tokens."""
    digest = hashlib.sha256(sent).hexdigest()
    found = None
    for token in tokens:
        if hmac.compare_digest(token.digest, digest):
            found = token
    return found


def load(path: Path | None) -> Settings:
    """Read the configuration file. Without a path, return the defaults.

    Raise SettingsError with the file and the key that is wrong.
    """
    if path is None:
        return Settings()
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
        settings = Settings.model_validate(values)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        raise SettingsError(f"{path}: {problems}") from error
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: {error}") from error
    if settings.tls_key and not settings.tls_certificate:
        raise SettingsError(f"{path}: tls_key is set without tls_certificate; set both or neither")
    return settings


def credential(name: str) -> Path | None:
    """Return a credential that systemd passes (systemd.exec(5), LoadCredential=), or None."""
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    path = Path(directory or "/nonexistent") / name
    return path if directory and path.exists() else None


def read_tokens(path: Path | None) -> list[Token]:
    """Return the tokens of a file. Each line has the name, the scope and the SHA-256 (hexadecimal) of a token.

    Without a path, read systemd's credential C(tokens). Raise SettingsError if there is none, if a line is wrong, or if
    other users than the owner may read the file.
    """
    if path is None:
        path = credential("tokens")
        if path is None:
            raise SettingsError("no file of tokens; set --tokens, or start the program from its systemd unit")
    elif path.exists() and path.stat().st_mode & 0o077:
        raise SettingsError(f"{path}: other users than the owner may read it; set its mode to 0600")
    try:
        lines = [line for line in path.read_text(encoding="ascii").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: cannot be read: {error}") from error
    tokens: list[Token] = []
    for number, line in enumerate(lines, 1):
        match = TOKEN_LINE.fullmatch(line)
        if not match:
            raise SettingsError(f"{path}: line {number} is not a name, a scope ({', '.join(SCOPES)}) and a SHA-256")
        scope = next(scope for scope in SCOPES if scope == match[2])
        tokens.append(Token(match[1], scope, match[3]))
    if not tokens:
        raise SettingsError(f"{path}: contains no token; add at least one")
    if len({token.name for token in tokens}) < len(tokens):
        raise SettingsError(f"{path}: a name is repeated; use each name once")
    return tokens
