"""Counts what a run does on its hosts: executions of modules, commands and transfers."""

from __future__ import annotations

import functools
import json
import os
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: bench_site
type: notification
short_description: Counts of remote executions, for make bench-site
description: >
  Writes a line to the file that E(BENCH_SITE_COUNTS) names for each module that is executed, each command and each
  transfer on a host, and one with the counts of the recap.
"""


def note(**line: Any) -> None:
    """Append a line; tasks run in processes of their own, and so short a line is written at once."""
    with Path(os.environ["BENCH_SITE_COUNTS"]).open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(line) + "\n")


def counted(kind: str, method: Any) -> Any:
    """Return a method of an action that notes each call which reaches a host."""

    @functools.wraps(method)
    def call(self: Any, *args: Any, **options: Any) -> Any:
        if self._connection.transport != "local":
            name = options.get("module_name") or (args[0] if args else None) or self._task.action
            note(kind=kind, name=name if kind == "module" else self._task.action)
        return method(self, *args, **options)

    return call


class CallbackModule(CallbackBase):  # type: ignore[misc]
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "bench_site"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        # The processes of the tasks are forked from this one, and so have these methods as well.
        ActionBase._execute_module = counted("module", ActionBase._execute_module)
        ActionBase._low_level_execute_command = counted("command", ActionBase._low_level_execute_command)
        ActionBase._transfer_file = counted("transfer", ActionBase._transfer_file)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        for host in stats.processed:
            note(kind="recap", name=host, **stats.summarize(host))
