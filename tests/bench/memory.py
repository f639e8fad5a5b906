"""Run Python with these arguments in a process of its own, and note its peak resident memory in kB."""

from __future__ import annotations

import os
import sys
from pathlib import Path

if __name__ == "__main__":
    # Not a fork: its copy of this process would count as memory of the module's.
    child = os.posix_spawn(sys.executable, [sys.executable, *sys.argv[1:]], os.environ)
    _pid, status, usage = os.wait4(child, 0)
    noted = Path(os.environ["BENCH_MEMORY"])
    before = int(noted.read_text()) if noted.exists() else 0
    noted.write_text(str(max(before, usage.ru_maxrss)))
    sys.exit(os.waitstatus_to_exitcode(status))
