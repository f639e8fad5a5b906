# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hands files of the controller over to a module, as one file beside the module's own on the managed host."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ansible import constants as C
from ansible_collections.devorch.orchestration.plugins.module_utils.packed_files import pack

NAME = "handed-over"


def hand_over(action: Any, entries: Iterable[tuple[str, bytes]]) -> str:
    """Pack names and contents, bring them to the managed host, and return the path there.

    The module reads it with `unpack`. It lies in the task's temporary directory and goes away with it. C(action) is the
    ActionModule; its arguments stay small, however large the files are.
    """
    if action._connection._shell.tmpdir is None:
        action._make_tmp_path()
    remote: str = action._connection._shell.join_path(action._connection._shell.tmpdir, NAME)
    handle, name = tempfile.mkstemp(dir=C.DEFAULT_LOCAL_TMP)
    os.close(handle)
    local = Path(name)
    try:
        pack(entries, local)
        action._transfer_file(str(local), remote)
    finally:
        local.unlink()
    action._fixup_perms2((action._connection._shell.tmpdir, remote), execute=False)
    return remote
