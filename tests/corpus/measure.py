"""Read and plan flow files, one process for each, and tell what came of it and what it took.

Run as a program of its own: python measure.py <list>, where the list has a path a line, NUL at each end. The processes
are forks of this one, which has everything imported, so what is measured is the file and not the start of Python. The
kernel ends one that uses more than the seconds of the processor, or more than the memory, which are far above what is
allowed: a runaway ends, and what is measured decides.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows.plan import (
    make_plan,
    validation_batches,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows.saved_plan import dump_plan
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows.source import (
    guess_namespaces,
    parse_sources,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.source_files import read_sources

MOST_SECONDS = 20
MOST_BYTES = 4 << 30


def work(path: Path) -> dict[str, Any]:
    """Do what the module does with a file before it writes anything."""
    sources, problems = read_sources(path)
    guess_namespaces(sources)
    flows, found = parse_sources(sources)
    plan = make_plan(flows, {}, {"x"}, {"managed-by": "ansible"})
    plan.diff()
    dump_plan(plan, {"uuid": "u", "tenant": "main"})
    validation_batches([flow.text for flow in flows])
    return {
        "flows": [(flow.namespace, flow.id, flow.text) for flow in flows],
        "problems": [problem.as_result() for problem in problems + found],
    }


def in_a_process(path: Path | None) -> dict[str, Any]:
    """Fork, work, and add what the process has used; None is for what a process uses that has nothing to do."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        resource.setrlimit(resource.RLIMIT_CPU, (MOST_SECONDS, MOST_SECONDS))
        resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        answer: dict[str, Any] = {}
        try:
            answer = work(path) if path else {}
        except BaseException:
            answer = {"traceback": traceback.format_exc()}
        # The answer itself is no part of the work.
        used = resource.getrusage(resource.RUSAGE_SELF)
        answer |= {"seconds": used.ru_utime + used.ru_stime, "kilobytes": used.ru_maxrss}
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(json.dumps(answer).encode("ascii"))
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        told = pipe.read()
    _pid, status, used = os.wait4(child, 0)
    if told:
        answered: dict[str, Any] = json.loads(told)
        return answered
    name = signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else f"code {os.WEXITSTATUS(status)}"
    return {"ended": name, "seconds": used.ru_utime + used.ru_stime, "kilobytes": used.ru_maxrss}


def main() -> None:
    paths = [Path(os.fsdecode(name)) for name in Path(sys.argv[1]).read_bytes().split(b"\0") if name]
    gc.collect()
    gc.freeze()
    idle = in_a_process(None)
    for path in paths:
        result = in_a_process(path)
        result["seconds"] -= idle["seconds"]
        result["kilobytes"] -= idle["kilobytes"]
        print(json.dumps({"path": str(path), **result}), flush=True)


if __name__ == "__main__":
    main()
