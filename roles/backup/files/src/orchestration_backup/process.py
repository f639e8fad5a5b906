# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run other programs. The error of one that fails contains its error output."""

from __future__ import annotations

import os
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
    environment: dict[str, str] | None = None,
) -> str:
    """Run a command and return its output; raise BackupError with its error output if it fails.

    The variables of `environment` are added to those of this program.
    """
    with tempfile.TemporaryFile() as errors:
        try:
            done = subprocess.run(  # noqa: S603 - argument lists of this package only
                command,
                cwd=cwd,
                env={**os.environ, **environment} if environment else None,
                stdin=None if text is not None else source or subprocess.DEVNULL,
                input=None if text is None else text.encode(),
                stdout=target or subprocess.PIPE,
                stderr=errors,
                check=False,
            )
        except FileNotFoundError as error:
            raise BackupError(f"{command[0]} is not installed. Install it, or run playbooks/site.yml") from error
        if done.returncode != 0:
            lines = " / ".join(error_output(errors).splitlines()[-12:])
            raise BackupError(f"{' '.join(command[:6])} failed with exit code {done.returncode}: {lines}")
    return "" if target else done.stdout.decode(errors="replace").strip()


def succeeds(command: list[str]) -> bool:
    """Return whether a command succeeds."""
    return subprocess.run(command, check=False).returncode == 0  # noqa: S603


def output(command: list[str]) -> str:
    """Return the output and error output of a command, also if it fails."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)  # noqa: S603
    return done.stdout.decode(errors="replace").strip()


def error_output(errors: IO[bytes]) -> str:
    """Return the error output that a program wrote to a file."""
    errors.seek(0)
    return errors.read().decode(errors="replace").strip()


def pipe(stream: IO[AnyStr] | None) -> IO[AnyStr]:
    """Return a stream that was requested and cannot be None."""
    if stream is None:
        raise BackupError("a stream is missing")
    return stream
