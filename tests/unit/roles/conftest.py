"""What the tests of the backup program share. It makes the program importable, as it is on hosts, before they load."""

from __future__ import annotations

import sys

from .backup_program import PROGRAM

sys.path.insert(0, str(PROGRAM))

from .backup_host import config, docker

__all__ = ["config", "docker"]
