"""What the modules for multipass plan, without a sidecar."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.devorch.orchestration.plugins.module_utils.multipass.plan import (
    Instance,
    PlanProblem,
    Size,
    Wanted,
    as_bytes,
    as_text,
    check_name,
    check_sizes,
    environment_state,
    hidden_definition,
    instance_from,
    make_plan,
    normal_definition,
    plan_environment,
    same_definition,
    shown,
    size_changes,
    summary_text,
)

GIB = 1024**3
SIZE = Size(1, GIB, 5 * GIB)


def planned(now: str | None, state: str, **options: Any) -> tuple[list[str], str | None]:
    """Return the verbs of a plan, and the state after it."""
    instance = None if now is None else Instance(now, SIZE)
    plan = make_plan(Wanted("vm", state, **options), instance)
    assert plan.before == instance
    return [step.verb for step in plan.steps], plan.after.state if plan.after else None


@pytest.mark.parametrize(
    ("now", "state", "verbs", "after"),
    [
        (None, "present", ["launch"], "Running"),
        (None, "started", ["launch"], "Running"),
        (None, "restarted", ["launch"], "Running"),
        (None, "stopped", ["launch", "stop"], "Stopped"),
        (None, "suspended", ["launch", "suspend"], "Suspended"),
        (None, "absent", [], None),
        ("Running", "present", [], "Running"),
        ("Running", "restarted", ["restart"], "Running"),
        ("Starting", "started", [], "Starting"),
        ("Delayed Shutdown", "started", ["start"], "Running"),
        ("Stopped", "suspended", ["start", "suspend"], "Suspended"),
        ("Suspended", "stopped", ["start", "stop"], "Stopped"),
        ("Suspended", "restarted", ["start"], "Running"),
        ("Delayed Shutdown", "suspended", ["start", "suspend"], "Suspended"),
        ("Unknown", "present", [], "Unknown"),
        ("Unknown", "started", ["start"], "Running"),
        ("Deleted", "present", ["recover"], "Stopped"),
        ("Deleted", "started", ["recover", "start"], "Running"),
        ("Deleted", "suspended", ["recover", "start", "suspend"], "Suspended"),
        ("Deleted", "absent", ["delete"], None),
    ],
)
def test_states(now: str | None, state: str, verbs: list[str], after: str | None) -> None:
    assert planned(now, state) == (verbs, after)


@pytest.mark.parametrize(
    ("now", "state", "options", "verbs", "after"),
    [
        ("Stopped", "present", {"cpus": 2}, ["resize"], "Stopped"),
        ("Stopped", "started", {"memory": "2G"}, ["resize", "start"], "Running"),
        ("Running", "stopped", {"disk": "6G"}, ["stop", "resize"], "Stopped"),
        ("Running", "present", {"cpus": 2, "allow_restart": True}, ["stop", "resize", "start"], "Running"),
        ("Running", "restarted", {"cpus": 2, "allow_restart": True}, ["stop", "resize", "start"], "Running"),
        ("Suspended", "stopped", {"force": True}, ["stop"], "Stopped"),
        ("Unknown", "stopped", {"force": True}, ["stop"], "Stopped"),
        (
            *("Suspended", "present", {"cpus": 2, "allow_restart": True}),
            *(["start", "stop", "resize", "start", "suspend"], "Suspended"),
        ),
        ("Stopped", "present", {"snapshot": "s"}, ["restore"], "Stopped"),
        ("Running", "present", {"snapshot": "s", "allow_restart": True}, ["stop", "restore", "start"], "Running"),
        ("Running", "stopped", {"snapshot": "s", "cpus": 2}, ["stop", "restore", "resize"], "Stopped"),
        ("Deleted", "started", {"snapshot": "s"}, ["recover", "restore", "start"], "Running"),
        ("Stopped", "present", {"memory": "2G", "snapshot": "s"}, ["restore", "resize"], "Stopped"),
        ("Running", "present", {"cpus": 1, "memory": "1024M", "disk": "5G"}, [], "Running"),
    ],
)
def test_sizes_and_snapshots(now: str, state: str, options: dict[str, Any], verbs: list[str], after: str) -> None:
    assert planned(now, state, **options) == (verbs, after)


@pytest.mark.parametrize(
    ("now", "options", "message"),
    [
        ("Running", {"memory": "2G"}, "vm is Running; a new size needs it stopped. Set allow_restart, or stop it"),
        ("Suspended", {"snapshot": "s"}, "vm is Suspended; the restoring of a snapshot needs it stopped"),
        ("Unknown", {"cpus": 2, "allow_restart": True}, "vm is Unknown; a new size needs it stopped"),
        ("Stopped", {"disk": "4G"}, "the disk of vm has 5G and cannot shrink to 4G. Leave disk out"),
        (None, {"snapshot": "s"}, "instance vm does not exist"),
        ("Unknown", {"state": "stopped"}, "vm is Unknown. Set force to stop it all the same"),
    ],
)
def test_what_cannot_be_done_is_told_before(now: str | None, options: dict[str, Any], message: str) -> None:
    with pytest.raises(PlanProblem, match=message):
        planned(now, **{"state": "present", **options})


def test_a_launch_sends_what_was_asked_for_and_predicts_the_rest() -> None:
    plan = make_plan(Wanted("vm", "present", memory="2G", cloud_init="#cloud-config\n"), None)
    assert plan.steps[0].body == {"name": "vm", "memory": "2G", "cloud_init": "#cloud-config\n"}
    assert plan.after == Instance("Running", Size(1, 2 * GIB, 5 * GIB))
    assert shown(plan.after) == {"state": "Running", "cpus": 1, "memory": "2G", "disk": "5G"}
    assert shown(None) == {}
    recovered = make_plan(Wanted("vm", "started", cpus=2), Instance("Deleted", Size()))
    assert [step.verb for step in recovered.steps] == ["recover", "resize", "start"]
    assert shown(recovered.before) == {"state": "Deleted"}
    assert shown(recovered.after) == {"state": "Running", "cpus": 2}


def test_a_resize_sends_what_differs() -> None:
    plan = make_plan(Wanted("vm", "present", cpus=4, memory="1G", disk="10G"), Instance("Stopped", SIZE))
    assert plan.steps[0].body == {"cpus": 4, "disk": "10G"}
    assert plan.after == Instance("Stopped", Size(4, GIB, 10 * GIB))


@pytest.mark.parametrize(
    ("text", "number"), [("1", 1), ("512M", 512 * 1024**2), ("2G", 2 * GIB), ("3K", 3072), (None, None)]
)
def test_sizes_are_read(text: str | None, number: int | None) -> None:
    assert as_bytes(text) == number


@pytest.mark.parametrize("text", ["", "0", "1.5G", "2T", "-1G", "2g", "1G\n", " 1G", "G"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size"):
        as_bytes(text)
    with pytest.raises(PlanProblem, match="disk: "):
        check_sizes(1, "1G", text)


def test_sizes_are_told_and_compared_as_multipass_tells_them() -> None:
    assert [as_text(number) for number in (None, 5, 2048, 1536 * 1024**2, 1300 * 1024**2)] == [
        *(None, "5", "2K", "1.5G", "1.3G")
    ]
    # 1300M come back from multipass as 1.3GiB.
    assert size_changes(Size(1, int(1.3 * GIB), GIB), Size(None, 1300 * 1024**2, None)) == {}
    assert size_changes(Size(), Size(2, None, GIB)) == {"cpus": (None, 2), "disk": (None, GIB)}
    assert size_changes(SIZE, Size(2, GIB, None)) == {"cpus": (1, 2)}


@pytest.mark.parametrize("name", ["", "a", "-rf", "a-", "a_b", "1a", "a.b", "a b", "a\n", "x" * 64])
def test_bad_names_are_refused(name: str) -> None:
    with pytest.raises(PlanProblem, match="name is "):
        check_name(name)


def test_cpus_have_a_least() -> None:
    with pytest.raises(PlanProblem, match="cpus is 0"):
        check_sizes(0, None, None)


def test_instances_are_read_with_what_is_missing() -> None:
    assert instance_from(None, None) is None
    assert instance_from({}, None) == Instance("Unknown", Size())
    sizes = {"cpus": 1, "memory": GIB, "disk": 5 * GIB}
    assert instance_from({"state": "Running"}, sizes) == Instance("Running", SIZE)


def test_words() -> None:
    assert summary_text("vm", [], "is there") == "vm is there"
    assert summary_text("vm", ["launch"], "") == "launched vm"
    assert summary_text("vm", ["stop", "resize", "start"], "") == "stopped, resized and started vm"


ROWS = [{"name": "web", "cloud_init": "#a", "networks": []}, {"name": "db", "memory": "2048M"}]


def test_definitions_mean_the_same_whatever_was_left_out() -> None:
    one = normal_definition(None, ROWS)
    assert one == {
        "description": "",
        "instances": [
            {"name": "web", "image": "lts", "cpus": 1, "memory": "1G", "disk": "5G", "cloud_init": "#a"},
            {"name": "db", "image": "lts", "cpus": 1, "memory": "2048M", "disk": "5G"},
        ],
    }
    assert same_definition(one, {"description": "", "instances": [ROWS[0], {"name": "db", "memory": "2G"}]})
    for other in (
        {"description": "x", "instances": ROWS},
        {"description": "", "instances": ROWS[::-1]},
        {"description": "", "instances": [{**ROWS[0], "cloud_init": "#b"}, ROWS[1]]},
        {"description": "", "instances": [{**ROWS[0], "mounts": [{"source": "/a", "target": "/b"}]}, ROWS[1]]},
    ):
        assert not same_definition(one, other)


@pytest.mark.parametrize(
    ("state", "states", "steps", "after"),
    [
        ("present", {}, [], ["absent", "absent"]),
        ("started", {}, ["start"], ["Running", "Running"]),
        ("started", {"web": "Running", "db": "Running"}, [], ["Running", "Running"]),
        ("started", {"web": "Suspended", "db": "Running"}, ["start"], ["Running", "Running"]),
        ("stopped", {"web": "Suspended", "db": "Running"}, ["stop"], ["Suspended", "Stopped"]),
        ("stopped", {"web": "Deleted"}, [], ["Deleted", "absent"]),
    ],
)
def test_environments(state: str, states: dict[str, str], steps: list[str], after: list[str]) -> None:
    definition = normal_definition("", ROWS)
    plan = plan_environment(state, definition, definition, {**states, "other": "Running"})
    assert (list(plan.steps), list(plan.states.values())) == (steps, after)
    assert list(plan_environment(state, definition, None, states).steps) == ["define", *steps]


def test_a_deleted_instance_cannot_be_started_with_its_environment() -> None:
    definition = normal_definition("", ROWS)
    with pytest.raises(PlanProblem, match="db: deleted, but not purged"):
        plan_environment("started", definition, definition, {"db": "Deleted"})


@pytest.mark.parametrize(
    ("states", "state"),
    [
        (["Running", "Running"], "running"),
        (["Stopped", "Suspended"], "stopped"),
        (["absent"], "absent"),
        (["absent", "Running"], "partial"),
        (["Deleted"], "partial"),
    ],
)
def test_the_state_of_an_environment(states: list[str], state: str) -> None:
    assert environment_state(states) == state


def test_cloud_init_is_not_shown_in_a_diff() -> None:
    before, after = (normal_definition("", [{"name": "web", "cloud_init": text}]) for text in ("#a", "#b"))
    texts = [
        hidden_definition(one, other)["instances"][0]["cloud_init"]
        for one, other in ((before, before), (before, after), (after, before), (before, None))
    ]
    assert texts == ["(not shown)", "(not shown, another text)", "(not shown, another text)", "(not shown)"]
    assert hidden_definition(None, before) == {}
