"""What `multipass_environment` keeps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ...sidecar.service import Service
from . import Case

ADDRESSES = {"addresses": "multipass gives them when it starts an instance"}
CLOUD_INIT = "#cloud-config\npackages: [nginx]\n"


def cases(sidecar: Service, name: str, directory: Path) -> Iterator[Case]:
    """Defined, defined anew, started, stopped and removed, from what may be there before."""
    web, db = f"{name}-web", f"{name}-db"
    rows = [{"name": web, "memory": "2G", "cloud_init": CLOUD_INIT}, {"name": db, "disk": "20G"}]

    def before(*defined: dict[str, Any], **states: str) -> Callable[[], None]:
        def prepare() -> None:
            sidecar.world.set(**{{"web": web, "db": db}.get(key, key): state for key, state in states.items()})
            sidecar.http.delete(f"/environments/{name}")
            if defined:
                body = {"description": "kept", "instances": list(defined)}
                assert sidecar.http.put(f"/environments/{name}", json=body).status_code == 201

        return prepare

    def options(**more: Any) -> dict[str, Any]:
        return {"name": name, "wait_timeout": 60, **more}

    yield Case("defined", options(instances=rows, description="new"), before())
    yield Case("defined where an instance is", options(instances=rows), before(web="Running"))
    yield Case("defined already", options(instances=rows), before(*rows), changed=False)
    written = [{**rows[0], "image": "lts", "cpus": 1, "memory": "2048M"}, rows[1]]
    yield Case("defined already, in other words", options(instances=written), before(*rows), changed=False)
    other = [{**rows[0], "cloud_init": "#cloud-config\n"}, rows[1]]
    yield Case("another cloud-init", options(instances=other), before(*rows))
    yield Case("another description", options(description="new"), before(*rows))
    yield Case(
        "one less", options(instances=rows[:1], state="started"), before(*rows, db="Running"), volatile=ADDRESSES
    )
    yield Case("defined and started", options(instances=rows, state="started"), before(), volatile=ADDRESSES)
    started = options(state="started")
    yield Case("started", started, before(*rows), volatile=ADDRESSES)
    yield Case("started in part", started, before(*rows, web="Suspended", db="Running"), volatile=ADDRESSES)
    yield Case("started already", started, before(*rows, web="Running", db="Running"), changed=False)
    stopped = options(state="stopped")
    yield Case("stopped", stopped, before(*rows, web="Running", db="Running"), volatile=ADDRESSES)
    yield Case("stopped in part", stopped, before(*rows, web="Suspended", db="Running"), volatile=ADDRESSES)
    yield Case("stopped already", stopped, before(*rows, web="Stopped"), changed=False)
    yield Case("removed", options(state="absent"), before(*rows, web="Running"))
    yield Case("deleted", options(state="absent", purge=True), before(*rows, web="Running", db="Stopped"))
    yield Case("absent already", options(state="absent", purge=True), before(web="Running"), changed=False)


def examples(sidecar: Service, name: str, directory: Path) -> dict[str, Any]:
    """Nothing has to be there."""
    sidecar.world.set()
    return {}
