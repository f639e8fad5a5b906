# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Decrypt tar archives with a private key, with age or gpg.

It knows nothing of the contents of an archive.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from . import process
from .errors import BackupError, refuse
from .files import CHUNK

GPG = ("gpg", "--batch", "--quiet", "--no-options", "--homedir")


@contextlib.contextmanager
def decrypted(path: Path, identity: Path | None) -> Iterator[IO[bytes]]:
    """Yield an archive as a tar stream, decrypted if its name ends in .age or .gpg."""
    if path.suffix not in (".age", ".gpg"):
        with path.open("rb") as stream:
            yield stream
        return
    if identity is None:
        raise BackupError(f"{path}: is encrypted. Set the private key: backup_identity in a playbook, --identity here")
    with tempfile.TemporaryDirectory(prefix="orchestration-") as home, process.in_memory() as errors:
        if path.suffix == ".age":
            command = ["age", "--decrypt", "--identity", str(identity), str(path)]
        else:
            process.run([*GPG, home, "--import", str(identity)])
            command = [*GPG, home, "--decrypt", str(path)]
        program = process.begin(command, stdout=subprocess.PIPE, stderr=errors)
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
            killed = code < 0 and code != -signal.SIGPIPE
            if path.suffix == ".gpg":
                process.run(["gpgconf", "--homedir", home, "--kill", "all"])
            # An archive that cannot be decrypted also looks damaged; the program's error says why.
            if (code > 0 or killed) and not refused:
                reason = f"it was killed by signal {-code}" if killed else process.error_output(errors)
                refuse(path, f"{command[0]} cannot decrypt it: {reason}")
