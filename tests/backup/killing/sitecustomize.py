"""Python reads this file when it starts: kill the backup program at one of the lines that it executes.

DEVORCH_KILL_LINE is the number of the line, counted from the first one of a command. A line counts three times at most,
so that loops do not outweigh the rest. DEVORCH_KILL_COUNT names a file that gets the number of all lines.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

CODE_OPTIMIZED = 1
TIMES = 3
wanted = int(os.environ.pop("DEVORCH_KILL_LINE", "0"))
file = os.environ.pop("DEVORCH_KILL_COUNT", "")
program = os.getpid()
hits: Counter[tuple[str, int]] = Counter()
seen = 0


def trace(frame: FrameType, event: str, _argument: Any) -> Any:
    """Count the lines of functions of the program. Those of modules and classes are its start."""
    global seen
    code = frame.f_code
    if "orchestration_backup" not in code.co_filename or not code.co_flags & CODE_OPTIMIZED:
        return None
    place = (code.co_filename, frame.f_lineno)
    if event == "line" and (seen or code.co_name == "execute"):
        hits[place] += 1
        if hits[place] <= TIMES:
            seen += 1
            # A process that was forked is not the program yet.
            if seen == wanted and os.getpid() == program:
                os.kill(program, signal.SIGKILL)
    return trace


if wanted or file:
    sys.settrace(trace)
if file:
    atexit.register(lambda: Path(file).write_text(str(seen)))
