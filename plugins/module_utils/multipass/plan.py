# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What has to be done to an instance or an environment of the sidecar: computed once, without sending anything."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

# The rules of multipass and of the sidecar.
NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,61}[A-Za-z0-9]")
SIZE = re.compile(r"[1-9][0-9]{0,14}[KMG]?")
UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3}
# What a new instance has where nothing is asked for; the sidecar's own defaults.
LAUNCH_DEFAULTS: dict[str, Any] = {"image": "lts", "cpus": 1, "memory": "1G", "disk": "5G"}

RUNNING = frozenset(("Running", "Starting", "Restarting", "Delayed Shutdown"))
SUSPENDED = frozenset(("Suspended", "Suspending"))
PAST = {
    "recover": "recovered",
    "launch": "launched",
    "start": "started",
    "stop": "stopped",
    "suspend": "suspended",
    "resize": "resized",
    "restore": "restored",
    "restart": "restarted",
    "delete": "deleted",
    "define": "defined",
    "undefine": "removed",
}


class PlanProblem(Exception):
    """Why something cannot be done, and how to fix it."""


@dataclass(frozen=True)
class Size:
    """The size of an instance; memory and disk in bytes. None is not asked for."""

    cpus: int | None = None
    memory: int | None = None
    disk: int | None = None


@dataclass(frozen=True)
class Instance:
    """What an instance is now, or will be; C(state) is a state of multipass."""

    state: str
    size: Size


@dataclass(frozen=True)
class Wanted:
    """What a task asks for. C(state) is the option's value; texts are as they were given."""

    name: str
    state: str
    image: str | None = None
    cpus: int | None = None
    memory: str | None = None
    disk: str | None = None
    cloud_init: str | None = None
    snapshot: str | None = None
    allow_restart: bool = False
    force: bool = False

    @property
    def size(self) -> Size:
        return Size(self.cpus, as_bytes(self.memory), as_bytes(self.disk))

    def launch(self) -> dict[str, Any]:
        """Return the body of a launch: what was asked for, and nothing else."""
        given = {"image": self.image, "cpus": self.cpus, "memory": self.memory, "disk": self.disk}
        body = {"name": self.name, **{key: value for key, value in given.items() if value is not None}}
        return {**body, "cloud_init": self.cloud_init} if self.cloud_init else body


@dataclass(frozen=True)
class Step:
    """One request: C(path) follows the instance's address, and C(None) is a launch."""

    verb: str
    method: str = "POST"
    path: tuple[str, ...] | None = ()
    body: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """The steps, in order, and what is there after them."""

    steps: tuple[Step, ...]
    before: Instance | None
    after: Instance | None


def as_bytes(text: str | None) -> int | None:
    """Return the bytes of a size such as C(2G), in powers of 1024; ValueError where it is none."""
    if text is None:
        return None
    if not SIZE.fullmatch(text):
        raise ValueError(f"{text!r} is not a size such as 512M or 2G: a whole number, optionally followed by K, M or G")
    number = text.rstrip("KMG")
    return int(number) * UNITS[text[len(number) :]]


def as_text(number: int | None) -> str | None:
    """Return bytes as multipass prints them: to a tenth of the largest unit that fits."""
    if number is None:
        return None
    unit = next((unit for unit in "GMK" if number >= UNITS[unit]), "")
    return f"{number / UNITS[unit]:.1f}".removesuffix(".0") + unit


def check_name(name: str) -> None:
    """Raise PlanProblem for what cannot be a name."""
    if not NAME.fullmatch(name):
        raise PlanProblem(
            f"name is {name!r}; it is 2 to 63 letters, digits and hyphens, a letter first, no hyphen last"
        )


def check_sizes(cpus: int | None, memory: str | None, disk: str | None) -> None:
    """Raise PlanProblem for a size that is none."""
    if cpus is not None and cpus < 1:
        raise PlanProblem(f"cpus is {cpus}; it is a number from 1")
    for option, text in (("memory", memory), ("disk", disk)):
        try:
            as_bytes(text)
        except ValueError as error:
            raise PlanProblem(f"{option}: {error}") from error


def instance_from(detail: Mapping[str, Any] | None, size: Mapping[str, Any] | None) -> Instance | None:
    """Return an instance from the sidecar's answers."""
    if detail is None:
        return None
    sizes = size or {}
    return Instance(
        str(detail.get("state", "Unknown")), Size(sizes.get("cpus"), sizes.get("memory"), sizes.get("disk"))
    )


def size_changes(now: Size, wanted: Size) -> dict[str, tuple[int | None, int]]:
    """Return what has another size than it should have, or none that is known, as what it has and should have."""
    found = {}
    for name in ("cpus", "memory", "disk"):
        has, asked = getattr(now, name), getattr(wanted, name)
        equal = asked is None or has == asked or (name != "cpus" and as_text(has) == as_text(asked))
        if not equal:
            found[name] = (has, asked)
    return found


def make_plan(wanted: Wanted, now: Instance | None) -> Plan:
    """Return what has to be done to an instance; PlanProblem where it cannot be done."""
    if wanted.state == "absent":
        return Plan((Step("delete", "DELETE"),) if now else (), now, None)
    if now is None:
        return _new(wanted)
    steps: list[Step] = []
    state = now.state
    if state == "Deleted":
        steps.append(Step("recover", path=("recover",)))
        state = "Stopped"
    resize = _resize(wanted, now.size)
    if resize is not None or wanted.snapshot is not None:
        what = "a new size" if resize is not None else "the restoring of a snapshot"
        steps += _to_stopped(wanted, state, what)
        was, state = state, "Stopped"
        if wanted.snapshot is not None:
            body: dict[str, Any] = {}
            steps.append(Step("restore", path=("snapshots", wanted.snapshot, "restore"), body=body))
        if resize is not None:
            steps.append(resize)
        if wanted.state == "present" and was in RUNNING | SUSPENDED:
            steps.append(Step("start", path=("start",)))
            state = "Running"
        if wanted.state == "present" and was in SUSPENDED:
            steps.append(Step("suspend", path=("suspend",)))
            state = "Suspended"
    moves, state = _move(wanted, state)
    asked = wanted.size
    size = Size(*(getattr(asked, key) or getattr(now.size, key) for key in ("cpus", "memory", "disk")))
    if resize is None:
        size = now.size
    return Plan((*steps, *moves), now, Instance(state, size))


def _new(wanted: Wanted) -> Plan:
    if wanted.snapshot is not None:
        raise PlanProblem(f"instance {wanted.name} does not exist, so it has no snapshot {wanted.snapshot}")
    steps = [Step("launch", path=None, body=wanted.launch())]
    state = "Running"
    if wanted.state in ("stopped", "suspended"):
        verb = {"stopped": "stop", "suspended": "suspend"}[wanted.state]
        steps.append(Step(verb, path=(verb,)))
        state = wanted.state.capitalize()
    texts = {key: getattr(wanted, key) or LAUNCH_DEFAULTS[key] for key in ("memory", "disk")}
    size = Size(wanted.cpus or LAUNCH_DEFAULTS["cpus"], as_bytes(texts["memory"]), as_bytes(texts["disk"]))
    return Plan(tuple(steps), None, Instance(state, size))


def _resize(wanted: Wanted, now: Size) -> Step | None:
    changes = size_changes(now, wanted.size)
    has, asked = changes.get("disk", (None, 0))
    if has is not None and asked < has:
        raise PlanProblem(
            f"the disk of {wanted.name} has {as_text(has)} and cannot shrink to {wanted.disk}. "
            "Leave disk out, or make a new instance"
        )
    if wanted.snapshot is not None:
        # It may have had another size; the sidecar leaves alone what is as it should be.
        changes = size_changes(Size(), wanted.size)
    if not changes:
        return None
    return Step("resize", path=("resize",), body={key: getattr(wanted, key) for key in changes})


def _to_stopped(wanted: Wanted, state: str, what: str) -> list[Step]:
    """Return how an instance gets stopped for something that needs it."""
    if state == "Stopped":
        return []
    if state not in RUNNING | SUSPENDED:
        raise PlanProblem(f"{wanted.name} is {state}; {what} needs it stopped")
    if not wanted.allow_restart and wanted.state != "stopped":
        raise PlanProblem(
            f"{wanted.name} is {state}; {what} needs it stopped. "
            "Set allow_restart, or stop it before with state=stopped"
        )
    stop = Step("stop", path=("stop",), body={"force": True} if wanted.force else {})
    if state in SUSPENDED and not wanted.force:
        # What a suspended instance has in its memory would be lost.
        return [Step("start", path=("start",)), stop]
    return [stop]


def _move(wanted: Wanted, state: str) -> tuple[list[Step], str]:
    """Return the steps from one state to the one that was asked for, and that state."""
    start, suspend = Step("start", path=("start",)), Step("suspend", path=("suspend",))
    if wanted.state == "restarted":
        if state in RUNNING:
            return [Step("restart", path=("restart",))], "Running"
        return [start], "Running"
    if wanted.state == "started" and state not in RUNNING - {"Delayed Shutdown"}:
        return [start], "Running"
    if wanted.state == "stopped" and state != "Stopped":
        if state in RUNNING | SUSPENDED:
            return _to_stopped(wanted, state, ""), "Stopped"
        if not wanted.force:
            raise PlanProblem(f"{wanted.name} is {state}. Set force to stop it all the same")
        return [Step("stop", path=("stop",), body={"force": True})], "Stopped"
    if wanted.state == "suspended" and state not in SUSPENDED:
        # What is about to change its state can't be suspended; a start settles it.
        return ([suspend] if state == "Running" else [start, suspend]), "Suspended"
    return [], state


def summary_text(name: str, steps: Sequence[Step | str], nothing: str) -> str:
    """Return what was done in words: C(stopped, resized and started web)."""
    verbs = [PAST[step if isinstance(step, str) else step.verb] for step in steps]
    if not verbs:
        return f"{name} {nothing}"
    first, last = verbs[:-1], verbs[-1]
    return f"{', '.join(first)} and {last} {name}" if first else f"{last} {name}"


def shown(instance: Instance | None) -> dict[str, Any]:
    """Return one side of an instance's diff, with what is known of its size."""
    if instance is None:
        return {}
    size = instance.size
    sizes = {"cpus": size.cpus, "memory": as_text(size.memory), "disk": as_text(size.disk)}
    return {"state": instance.state, **{key: value for key, value in sizes.items() if value is not None}}


def normal_definition(description: str | None, instances: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the definition of an environment with all that was left out, to be sent and compared."""
    rows: list[dict[str, Any]] = []
    for each in instances:
        row = {"name": each["name"]}
        for key, default in LAUNCH_DEFAULTS.items():
            row[key] = default if each.get(key) is None else each[key]
        row.update({key: each[key] for key in ("cloud_init", "networks", "mounts") if each.get(key)})
        rows.append(row)
    return {"description": description or "", "instances": rows}


def same_definition(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Return whether two definitions mean the same: sizes by their bytes."""

    def comparable(definition: Mapping[str, Any]) -> Any:
        normal = normal_definition(definition.get("description"), definition["instances"])
        rows = [
            {**row, "memory": as_bytes(row["memory"]), "disk": as_bytes(row["disk"])} for row in normal["instances"]
        ]
        return normal["description"], rows

    return bool(comparable(one) == comparable(other))


@dataclass(frozen=True)
class EnvironmentPlan:
    """The steps (C(define), C(start), C(stop), C(delete)) and the state of each instance after them."""

    steps: tuple[str, ...]
    states: dict[str, str]


def plan_environment(
    state: str, definition: Mapping[str, Any], stored: Mapping[str, Any] | None, states: Mapping[str, str]
) -> EnvironmentPlan:
    """Return what has to be done to an environment that should be there; PlanProblem where it cannot be done.

    C(states) has the states of all instances of the host.
    """
    steps = [] if stored is not None and same_definition(stored, definition) else ["define"]
    after = {str(row["name"]): states.get(str(row["name"]), "absent") for row in definition["instances"]}
    if state == "started" and any(each not in RUNNING - {"Delayed Shutdown"} for each in after.values()):
        deleted = sorted(name for name, each in after.items() if each == "Deleted")
        if deleted:
            raise PlanProblem(
                f"{', '.join(deleted)}: deleted, but not purged. Recover or delete it with multipass_instance"
            )
        steps.append("start")
        after = dict.fromkeys(after, "Running")
    if state == "stopped" and any(each in RUNNING | {"Unknown"} for each in after.values()):
        steps.append("stop")
        after = {name: "Stopped" if each in RUNNING | {"Unknown"} else each for name, each in after.items()}
    return EnvironmentPlan(tuple(steps), after)


def environment_state(states: Iterable[str]) -> str:
    """Return the state of an environment whose instances have these, as the sidecar reports it."""
    kinds = set(states)
    if kinds <= {"Stopped", "Suspended"}:
        return "stopped"
    return {frozenset(("Running",)): "running", frozenset(("absent",)): "absent"}.get(frozenset(kinds), "partial")


def hidden_definition(definition: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return a definition for a diff, without texts of cloud-init: whether there is one, and whether it is another."""
    if definition is None:
        return {}
    others = {row["name"]: row.get("cloud_init") for row in other["instances"]} if other else {}
    rows = []
    for row in definition["instances"]:
        kept = dict(row)
        if kept.get("cloud_init"):
            changed = row["name"] in others and others[row["name"]] not in (None, row["cloud_init"])
            kept["cloud_init"] = "(not shown, another text)" if changed else "(not shown)"
        rows.append(kept)
    return {"description": definition["description"], "instances": rows}
