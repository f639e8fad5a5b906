# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Encrypt archives for public keys, and decrypt them with a private one, by age or gpg."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from . import process
from .config import Config
from .errors import BackupError, refuse
from .files import CHUNK

GPG = ("gpg", "--batch", "--quiet", "--no-options", "--homedir")


def encrypting(config: Config, directory: Path) -> list[str]:
    """Return the command that encrypts standard input for the recipients, none without encryption."""
    if config.encryption == "none":
        return []
    if not config.recipients:
        raise BackupError("backup_recipients: is empty, so nobody could read the archive. Name a public key")
    if config.encryption == "age":
        return ["age", "--encrypt", *(argument for key in config.recipients for argument in ("--recipient", key))]
    home = directory / "gpg"
    home.mkdir(mode=0o700)
    command = [*GPG, str(home), "--trust-model", "always", "--encrypt"]
    for number, key in enumerate(config.recipients):
        path = directory / f"recipient-{number}.asc"
        path.write_text(key, encoding="utf-8")
        command += ["--recipient-file", str(path)]
    return command


@contextlib.contextmanager
def encrypted(stream: IO[bytes], command: list[str]) -> Iterator[IO[bytes]]:
    """Yield what to write to, so that the stream gets it encrypted, or as it is without a command."""
    if not command:
        yield stream
        return
    with tempfile.TemporaryFile() as errors:
        try:
            program = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=stream, stderr=errors)  # noqa: S603
        except FileNotFoundError as error:
            raise BackupError(f"{command[0]} is not installed: run playbooks/backup.yml, which installs it") from error
        # A program that ends early says why below.
        with contextlib.suppress(BrokenPipeError), process.pipe(program.stdin) as target:
            yield target
        if program.wait() != 0:
            raise BackupError(f"{command[0]}: {process.said(errors)}")


@contextlib.contextmanager
def opened(path: Path, identity: Path | None) -> Iterator[IO[bytes]]:
    """Yield the archive as a tar, decrypted if its name says that it is encrypted."""
    if path.suffix not in (".age", ".gpg"):
        with path.open("rb") as stream:
            yield stream
        return
    if identity is None:
        raise BackupError(f"{path}: is encrypted. Give the private key: backup_identity in a playbook, --identity here")
    with tempfile.TemporaryDirectory(prefix="orchestration-") as home, tempfile.TemporaryFile() as errors:
        if path.suffix == ".age":
            command = ["age", "--decrypt", "--identity", str(identity), str(path)]
        else:
            process.run([*GPG, home, "--import", str(identity)])
            command = [*GPG, home, "--decrypt", str(path)]
        try:
            program = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors)  # noqa: S603
        except FileNotFoundError as error:
            raise BackupError(f"{command[0]} is not installed: install the package of that name") from error
        output, refused = process.pipe(program.stdout), False
        try:
            yield output
            while output.read(CHUNK):
                pass
        except BackupError:
            refused = True
            raise
        finally:
            output.close()
            code = program.wait()
            if path.suffix == ".gpg":
                process.run(["gpgconf", "--homedir", home, "--kill", "all"])
            # What cannot be decrypted looks damaged, too; the program's own words say why.
            if code > 0 and not refused:
                refuse(path, f"{command[0]} cannot decrypt it: {process.said(errors)}")
