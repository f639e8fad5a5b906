# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The configuration file and the tokens."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

TokenScope = Literal["read", "operate", "admin"]
SCOPES: tuple[TokenScope, ...] = ("read", "operate", "admin")
"""Each includes those before it."""
TOKEN_LINE = re.compile(r"([a-z0-9][a-z0-9_-]{0,62}) (read|operate|admin) ([0-9a-f]{64})")


class SettingsError(Exception):
    """The program can't start as it is configured; the message says what to change."""


class Settings(BaseModel):
    """What the configuration file (TOML) may hold. Times are seconds, sizes bytes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    multipass: str = Field(default="/snap/bin/multipass", min_length=1)
    state_directory: Path | None = None
    """Of jobs and environments; without it what systemd's StateDirectory= made."""
    query_timeout: float = Field(default=30, gt=0, le=3600)
    change_timeout: float = Field(default=300, gt=0, le=3600)
    launch_timeout: float = Field(default=1800, gt=0, le=14400)
    fresh: float = Field(default=1, ge=0, le=60)
    """For how long readers share an answer of multipass, unless the service changes something meanwhile."""
    max_parallel: int = Field(default=4, ge=1, le=64)
    max_queue: int = Field(default=100, ge=1, le=10000)
    job_days: int = Field(default=30, ge=1, le=3650)
    """How long ended jobs are kept."""
    rate_limit: float = Field(default=50, gt=0, le=100000)
    """Requests a second that one token may send in the long run; four seconds' worth at once."""
    max_file: int = Field(default=1024**3, ge=0)
    """The largest file that may be sent into an instance."""
    mount_sources: list[Path] = []
    """Directories of the host of which, or of whose descendants, an instance may mount."""
    image_files: list[Path] = []
    """Directories of the host in which images for C(file://) may be."""
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    """PEM files, or systemd's credentials of the same names; without a certificate the API speaks plain HTTP."""

    def state(self) -> Path:
        """Return the state directory, or raise SettingsError."""
        found = self.state_directory or os.environ.get("STATE_DIRECTORY", "").split(":")[0]
        if not found:
            raise SettingsError("no state_directory: set it, or start the program from its systemd unit")
        return Path(found)


@dataclass(frozen=True)
class Token:
    """A token as its file has it: never the token itself, but the SHA-256 of it."""

    name: str
    scope: TokenScope
    digest: str

    def allows(self, needed: TokenScope) -> bool:
        """Tell whether this token's scope includes another."""
        return SCOPES.index(self.scope) >= SCOPES.index(needed)


def find_token(tokens: list[Token], given: bytes) -> Token | None:
    """Return the token that a client sent; the time it takes tells nothing of the others."""
    digest = hashlib.sha256(given).hexdigest()
    found = None
    for token in tokens:
        if hmac.compare_digest(token.digest, digest):
            found = token
    return found


def load(path: Path | None) -> Settings:
    """Read the configuration file; None gives the defaults.

    Raise SettingsError with the file and the key where something is wrong.
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
        raise SettingsError(f"{path}: tls_key: needs tls_certificate as well")
    return settings


def credential(name: str) -> Path | None:
    """Return a credential that systemd passes (systemd.exec(5), LoadCredential=), or None."""
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    path = Path(directory or "/nonexistent") / name
    return path if directory and path.exists() else None


def read_tokens(path: Path | None) -> list[Token]:
    """Return the tokens of a file that has a line of name, scope and SHA-256 (hexadecimal) for each.

    Without a path it is the credential C(tokens). Raise SettingsError when there is none, a line is wrong, or others
    than the owner may read the file.
    """
    if path is None:
        path = credential("tokens")
        if path is None:
            raise SettingsError("no tokens: name their file with --tokens, or start the program from its systemd unit")
    elif path.exists() and path.stat().st_mode & 0o077:
        raise SettingsError(f"{path}: others than the owner may read the tokens; set its mode to 0600")
    try:
        lines = [line for line in path.read_text(encoding="ascii").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: the tokens can't be read: {error}") from error
    tokens: list[Token] = []
    for number, line in enumerate(lines, 1):
        match = TOKEN_LINE.fullmatch(line)
        if not match:
            raise SettingsError(f"{path}: line {number} is not a name, a scope ({', '.join(SCOPES)}) and a SHA-256")
        scope = next(scope for scope in SCOPES if scope == match[2])
        tokens.append(Token(match[1], scope, match[3]))
    if not tokens or len({token.name for token in tokens}) < len(tokens):
        raise SettingsError(f"{path}: needs at least one token, and each name once")
    return tokens
