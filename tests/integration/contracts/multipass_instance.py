"""What `multipass_instance` keeps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ...sidecar.service import Service
from . import Case

DONE = {
    "instance": "the address and the load are known when it runs",
    "jobs": "the service names a job when it takes it",
}
LARGE = {"cpus": 2, "memory": "2G", "disk": "10G"}


def cases(sidecar: Service, name: str, directory: Path) -> Iterator[Case]:
    """Every state from every state, every size, a snapshot, a deleted instance, and nothing to do."""

    def before(state: str | None) -> Callable[[], None]:
        return lambda: sidecar.world.set(**({name: state} if state else {}))

    def with_snapshot(state: str) -> Callable[[], None]:
        def prepare() -> None:
            sidecar.world.set(**{name: "Stopped"})
            sidecar.done("POST", f"/instances/{name}/snapshots", json={"name": "clean"})
            if state == "Running":
                sidecar.done("POST", f"/instances/{name}/start")

        return prepare

    def options(**more: Any) -> dict[str, Any]:
        return {"name": name, "wait_timeout": 60, **more}

    for state in ("present", "started", "stopped", "suspended"):
        yield Case(f"{state} of a new one", options(state=state, **LARGE), before(None), volatile=DONE)
    yield Case("restarted of a new one", options(state="restarted"), before(None), repeatable=False, volatile=DONE)
    everything = options(image="22.04", cloud_init="#cloud-config\npackages: [nginx]\n", **LARGE)
    yield Case("new with everything", everything, before(None), volatile=DONE)
    ends = {"started": "Running", "stopped": "Stopped", "suspended": "Suspended"}
    for now in ("Running", "Stopped", "Suspended", "Delayed Shutdown", "Deleted"):
        yield Case(f"present of {now}", options(), before(now), changed=now == "Deleted", volatile=DONE)
        for state, end in ends.items():
            yield Case(f"{state} of {now}", options(state=state), before(now), changed=now != end, volatile=DONE)
        yield Case(f"restarted of {now}", options(state="restarted"), before(now), repeatable=False, volatile=DONE)
        yield Case(f"absent of {now}", options(state="absent"), before(now), volatile={"jobs": DONE["jobs"]})
    yield Case("recovered and resized", options(state="started", **LARGE), before("Deleted"), volatile=DONE)
    yield Case("absent already", options(state="absent"), before(None), changed=False)
    yield Case("stopped by force", options(state="stopped", force=True), before("Suspended"), volatile=DONE)
    for option, value in LARGE.items():
        yield Case(f"another {option}", options(**{option: value}), before("Stopped"), volatile=DONE)
    same = options(cpus=1, memory="1024M", disk="5G", state="started")
    yield Case("the same size", same, before("Running"), changed=False)
    yield Case("resized and stopped", options(state="stopped", **LARGE), before("Running"), volatile=DONE)
    for now in ("Running", "Suspended"):
        for state in ("present", "started", "suspended"):
            restart = options(allow_restart=True, state=state, **LARGE)
            yield Case(f"resized with a restart, {state} of {now}", restart, before(now), volatile=DONE)
    back = options(snapshot="clean", allow_restart=True)
    yield Case("restored", back, with_snapshot("Stopped"), repeatable=False, volatile=DONE)
    yield Case("restored while it runs", back, with_snapshot("Running"), repeatable=False, volatile=DONE)
    both = options(snapshot="clean", state="stopped", memory="2G")
    yield Case("restored, resized and stopped", both, with_snapshot("Running"), repeatable=False, volatile=DONE)


def examples(sidecar: Service, name: str, directory: Path) -> dict[str, Any]:
    """The instance of the examples is there, with a snapshot."""
    sidecar.world.set(**{"web-1": "Stopped"})
    sidecar.done("POST", "/instances/web-1/snapshots", json={"name": "clean"})
    sidecar.done("POST", "/instances/web-1/resize", json=LARGE)
    return {}
