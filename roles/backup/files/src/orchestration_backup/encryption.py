# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Encrypt archives for public keys and decrypt them with a private key, with age or gpg.

It knows nothing of the contents of an archive.
"""

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


def encryption_command(config: Config, directory: Path) -> list[str]:
    """Return the command that encrypts standard input for the recipients, or an empty list without encryption."""
    if config.encryption == "none":
        return []
    if not config.recipients:
        raise BackupError("backup_recipients: is empty, so no key could decrypt the archive. Add a public key")
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
    """Yield a stream whose content is encrypted into the given stream, or that stream itself without a command."""
    if not command:
        yield stream
        return
    with tempfile.TemporaryFile() as errors:
        try:
            program = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=stream, stderr=errors)  # noqa: S603
        except FileNotFoundError as error:
            raise BackupError(f"{command[0]} is not installed. Run playbooks/backup.yml, which installs it") from error
        # A program that ends early causes the error below.
        with contextlib.suppress(BrokenPipeError), process.pipe(program.stdin) as target:
            yield target
        if program.wait() != 0:
            raise BackupError(f"{command[0]}: {process.error_output(errors)}")


@contextlib.contextmanager
def decrypted(path: Path, identity: Path | None) -> Iterator[IO[bytes]]:
    """Yield an archive as a tar stream, decrypted if its name ends in .age or .gpg."""
    if path.suffix not in (".age", ".gpg"):
        with path.open("rb") as stream:
            yield stream
        return
    if identity is None:
        raise BackupError(f"{path}: is encrypted. Set the private key: backup_identity in a playbook, --identity here")
    with tempfile.TemporaryDirectory(prefix="orchestration-") as home, tempfile.TemporaryFile() as errors:
        if path.suffix == ".age":
            command = ["age", "--decrypt", "--identity", str(identity), str(path)]
        else:
            process.run([*GPG, home, "--import", str(identity)])
            command = [*GPG, home, "--decrypt", str(path)]
        try:
            program = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors)  # noqa: S603
        except FileNotFoundError as error:
            raise BackupError(f"{command[0]} is not installed. Install the package of that name") from error
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
            # An archive that cannot be decrypted also looks damaged; the program's error says why.
            if code > 0 and not refused:
                refuse(path, f"{command[0]} cannot decrypt it: {process.error_output(errors)}")
