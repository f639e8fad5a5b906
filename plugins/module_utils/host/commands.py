# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Programs of the host that are only asked, and never longer than a deadline that all of them share."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Sequence

# pylint: disable=ansible-bad-function ; AnsibleModule.run_command has no time limit.


class Commands:
    """Runs programs, from several threads if asked to, until a time limit that begins now."""

    def __init__(self, limit: float) -> None:
        self.end = time.monotonic() + limit

    def output(self, command: Sequence[str], given: str = "") -> str:
        """Return what a command prints, or an empty text where it is missing, fails or takes too long."""
        if time.monotonic() >= self.end:
            return ""
        try:
            process = subprocess.Popen(  # noqa: S603
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                encoding="utf-8",
                errors="replace",
                env={**os.environ, "LC_ALL": "C.UTF-8"},
                # Of its own, so that a plugin of docker, which would keep the pipe open, is killed with docker.
                start_new_session=True,
            )
        except OSError:
            return ""
        try:
            printed, _none = process.communicate(given, timeout=max(0.0, self.end - time.monotonic()))
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=1)
            return ""
        return printed if process.returncode == 0 else ""

    def refusal(self, command: Sequence[str]) -> str:
        """Return why a command fails, in its own words; an empty text if it does not, or there is no such program."""
        try:
            ended = subprocess.run(  # noqa: S603
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=max(0.1, self.end - time.monotonic()),
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return ""
        return ended.stderr.strip() or f"{command[0]} fails" if ended.returncode else ""
