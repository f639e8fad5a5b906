"""Notes how long each task took, and the small part of its result that the measurements need."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: bench
type: notification
short_description: Times of tasks, for make bench
description: Writes name, seconds and a part of the result of each task to the file that E(BENCH_TASKS) names.
"""


class CallbackModule(CallbackBase):  # type: ignore[misc]
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "bench"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self.started = 0.0

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        self.started = time.monotonic()

    def v2_runner_on_ok(self, result: Any) -> None:
        self._note(result)

    def v2_runner_on_skipped(self, result: Any) -> None:
        self._note(result)

    def _note(self, result: Any) -> None:
        seconds = time.monotonic() - self.started
        kept = {name: result.result.get(name) for name in ("seconds", "summary")}
        with Path(os.environ["BENCH_TASKS"]).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"took": seconds, **kept}) + "\n")
