# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run other programs, and say what they said if they fail."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import IO, AnyStr

from .errors import BackupError


def run(
    command: list[str],
    *,
    cwd: Path | None = None,
    text: str | None = None,
    source: IO[bytes] | None = None,
    target: IO[bytes] | None = None,
) -> str:
    """Run a command and return what it prints; raise BackupError with its last words if it fails."""
    with tempfile.TemporaryFile() as errors:
        try:
            done = subprocess.run(  # noqa: S603 - argument lists of this package only
                command,
                cwd=cwd,
                stdin=None if text is not None else source or subprocess.DEVNULL,
                input=None if text is None else text.encode(),
                stdout=target or subprocess.PIPE,
                stderr=errors,
                check=False,
            )
        except FileNotFoundError as error:
            raise BackupError(f"{command[0]} is not installed") from error
        if done.returncode != 0:
            raise BackupError(
                f"{' '.join(command[:6])} ended with {done.returncode}: {' / '.join(said(errors).splitlines()[-12:])}"
            )
    return "" if target else done.stdout.decode(errors="replace").strip()


def succeeds(command: list[str]) -> bool:
    """Return whether a command ends with success."""
    return subprocess.run(command, check=False).returncode == 0  # noqa: S603


def output(command: list[str]) -> str:
    """Return all that a command prints, whether it fails or not."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)  # noqa: S603
    return done.stdout.decode(errors="replace").strip()


def said(errors: IO[bytes]) -> str:
    """Return what a program wrote to the file of its errors."""
    errors.seek(0)
    return errors.read().decode(errors="replace").strip()


def pipe(stream: IO[AnyStr] | None) -> IO[AnyStr]:
    """Return a stream that was asked for."""
    if stream is None:
        raise BackupError("a stream is missing")
    return stream
