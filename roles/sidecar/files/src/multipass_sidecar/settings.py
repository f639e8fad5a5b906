# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The configuration file and the token."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

SHORTEST_TOKEN = 32
"""Characters; a token of letters and digits then has more than 160 bits."""


class SettingsError(Exception):
    """The program can't start as it is configured; the message says what to change."""


class Settings(BaseModel):
    """What the configuration file (TOML) may hold. Times are seconds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    multipass: str = Field(default="/snap/bin/multipass", min_length=1)
    query_timeout: float = Field(default=30, gt=0, le=3600)
    change_timeout: float = Field(default=300, gt=0, le=3600)
    launch_timeout: float = Field(default=1800, gt=0, le=14400)
    max_parallel: int = Field(default=4, ge=1, le=64)


def load(path: Path | None) -> Settings:
    """Read the configuration file; None gives the defaults.

    Raise SettingsError with the file and the key where something is wrong.
    """
    if path is None:
        return Settings()
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
        return Settings.model_validate(values)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        raise SettingsError(f"{path}: {problems}") from error
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: {error}") from error


def read_token(path: Path | None) -> str:
    """Return the token from a file, without white space around it.

    Without a path it is the credential C(token) that systemd passes (systemd.exec(5), LoadCredential=).
    Raise SettingsError when there is none, it is too short, or others than the owner may read the file.
    """
    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    if path is None:
        if not credentials:
            raise SettingsError("no token: name its file with --token-file, or start the program from its systemd unit")
        path = Path(credentials) / "token"
    elif path.exists() and path.stat().st_mode & 0o077:
        raise SettingsError(f"{path}: others than the owner may read the token; set its mode to 0600")
    try:
        token = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: the token can't be read: {error}") from error
    if len(token) < SHORTEST_TOKEN or not token.isprintable() or " " in token:
        raise SettingsError(f"{path}: the token needs at least {SHORTEST_TOKEN} characters, without spaces")
    return token
