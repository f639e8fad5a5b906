# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run other programs. The error of one that fails contains its error output.

A program ends with this one, also if this one is killed: no dump and no restic continues without the backup lock.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import IO, Any, AnyStr

from .errors import BackupError

LIBC = ctypes.CDLL(None, use_errno=True)
PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """Let the kernel end this new process when its parent ends."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def begin(command: list[str], **options: Any) -> subprocess.Popen[Any]:
    """Start a program that ends with this one; raise BackupError if it is not installed."""
    try:
        return subprocess.Popen(command, preexec_fn=end_with_parent, **options)  # noqa: S603 - own lists only
    except FileNotFoundError as error:
        raise BackupError(f"{command[0]} is not installed. Install it, or run playbooks/site.yml") from error


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
    with in_memory() as errors:
        program = begin(
            command,
            cwd=cwd,
            env={**os.environ, **environment} if environment else None,
            stdin=subprocess.PIPE if text is not None else source or subprocess.DEVNULL,
            stdout=target or subprocess.PIPE,
            stderr=errors,
        )
        answer, _errors = communicate(program, text)
        if program.returncode != 0:
            lines = " / ".join(error_output(errors).splitlines()[-12:])
            raise BackupError(f"{' '.join(command[:6])} failed with exit code {program.returncode}: {lines}")
    return "" if target else answer.decode(errors="replace").strip()


def communicate(program: subprocess.Popen[Any], text: str | None = None) -> tuple[bytes, bytes]:
    """Wait for the end of a program and return its output and error output. End it if this program is interrupted."""
    try:
        answer, errors = program.communicate(None if text is None else text.encode())
    except BaseException:
        program.kill()
        program.wait()
        raise
    return answer or b"", errors or b""


def moved(program: subprocess.Popen[Any]) -> int:
    """Return how many bytes a program has read and written so far, on disks and in connections."""
    try:
        lines = Path(f"/proc/{program.pid}/io").read_text("ascii").splitlines()
        return sum(int(line.split()[1]) for line in lines[:2])
    except (OSError, ValueError, IndexError):
        # It has ended, or the kernel does not count.
        return time.monotonic_ns()


def output(command: list[str], **options: Any) -> str:
    """Return the output and error output of a command, also if it fails. `text` is its input."""
    text = options.pop("text", None)
    stdin = subprocess.DEVNULL if text is None else subprocess.PIPE
    program = begin(command, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)
    return communicate(program, text)[0].decode(errors="replace").strip()


def in_memory() -> IO[bytes]:
    """Return a file in memory for what a program says: on a full disk, the reason of its failure would be lost."""
    return os.fdopen(os.memfd_create("output"), "w+b")


def error_output(errors: IO[bytes]) -> str:
    """Return the error output that a program wrote to a file."""
    errors.seek(0)
    return errors.read().decode(errors="replace").strip()


def pipe(stream: IO[AnyStr] | None) -> IO[AnyStr]:
    """Return a stream that was requested and cannot be None."""
    if stream is None:
        raise BackupError("a stream is missing")
    return stream


def synchronise(path: Path) -> None:
    """Wait until everything that was written to the file system of a path is on its disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if LIBC.syncfs(descriptor) != 0:
            raise BackupError(f"{path}: cannot be written to the disk ({os.strerror(ctypes.get_errno() or errno.EIO)})")
    finally:
        os.close(descriptor)
