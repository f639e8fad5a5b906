"""Three hundred runs in which a second client edits, creates and deletes flows in between: no edit is lost unnamed."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.client import Connection, KestraClient
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows.plan import Plan, make_plan
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows.run import failure_message
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows.source import Flow
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows.sync import FlowSync, Outcome

from ......sampling import sample
from .....fake_kestra import PASSWORD, USERNAME, Answer, FakeKestra

RACES = 300
IN_EACH_RUN = 60
OWNED = {"managed-by": "ansible"}
# When the second client acts: before or after the server answers a request like this.
STEPS = {
    "after the read": ("before", r"POST \S+/validate"),
    "after the validation": ("after", r"POST \S+/validate"),
    "before the record": ("before", r"PUT \S+/kv/"),
    "after the record": ("after", r"PUT \S+/kv/"),
    "before a look": ("before", r"GET \S+source=true"),
    "before a write": ("before", r"(PUT|POST|DELETE) \S+/flows(?!/validate)"),
    "after a write": ("after", r"(PUT|POST|DELETE) \S+/flows(?!/validate)"),
}


@dataclass
class Second:
    """The other client: what it is to do, when, and what it did, with the text that each flow has by it."""

    server: FakeKestra
    namespace: str
    dice: random.Random
    step: str
    skip: int
    texts: dict[str, str | None] = field(default_factory=dict)

    def at(self, when: str, request: str) -> None:
        expected, pattern = STEPS[self.step]
        if when != expected or self.texts or not re.match(pattern, request) or self.namespace not in self.server.now:
            return
        self.skip -= 1
        if self.skip < 0:
            with self.server.lock:
                for _edit in range(self.dice.randint(1, 3)):
                    self.act()

    def act(self) -> None:
        name = self.dice.choice(["update0", "update1", "create0", "create1", "prune0", "prune1", "same", "foreign"])
        stored = self.server.flows.get((self.namespace, name))
        if stored is not None and not stored.deleted and self.dice.random() < 0.35:
            self.server.remove(self.namespace, name)
            self.texts[name] = None
            return
        self.texts[name] = text(self.namespace, name, f"by somebody {self.dice.random()}")
        self.server.edit(str(self.texts[name]))


class Server(FakeKestra):
    """A server that lets the second client act before and after its answers."""

    now = ""
    second: Second | None = None

    def respond(self, handler: Any, body: bytes) -> Answer:
        request = f"{handler.command} {handler.path}"
        if self.second:
            self.second.at("before", request)
        answer = super().respond(handler, body)
        if self.second:
            self.second.at("after", request)
        return answer


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, Server]]:
    with Server(version="2.0.5") as new, Server(version="1.3.9") as old:
        yield {"2.0.5": new, "1.3.9": old}


def text(namespace: str, name: str, comment: str) -> str:
    label = "labels: {managed-by: ansible}\n" if name.startswith("prune") else ""
    return f"id: {name}\nnamespace: {namespace}\n{label}tasks:\n  - id: say\n    type: Log\n# {comment}\n"


def flows_of(namespace: str, refused: bool) -> list[Flow]:
    names = ["create0", "create1", "same", "update0", "update1", *(["zrefused"] if refused else [])]
    texts = {name: text(namespace, name, "refuse: me" if name == "zrefused" else "file") for name in names}
    return [Flow(namespace, name, f"{name}.yml", texts[name]) for name in names]


def one_run(sync: FlowSync, files: list[Flow], rollback: bool) -> tuple[Plan, list[Outcome], str]:
    """Do what the module does; return also all that it says of flows."""
    plan = make_plan(files, sync.read({files[0].namespace}), {files[0].namespace}, OWNED)
    _problems, warnings = sync.validate(plan.to_validate, plan)
    outcomes = sync.apply(plan, sync.read_records({files[0].namespace})[0], rollback)
    said = [*warnings, *sync.warnings, *(str(outcome.warning) for outcome in outcomes if outcome.warning)]
    if any(outcome.action == "failed" for outcome in outcomes):
        said.append(failure_message(outcomes))
    return plan, outcomes, "\n".join(said)


@pytest.mark.parametrize("seed", sample(range(RACES), IN_EACH_RUN))
def test_no_edit_is_lost_without_being_named(seed: int, servers: dict[str, Server]) -> None:
    dice = random.Random(seed)
    server = servers[dice.choice(sorted(servers))]
    namespace = f"race{seed}"
    server.now = namespace
    refused, rollback = dice.random() < 0.4, dice.random() < 0.6
    for name in ("update0", "update1", "prune0", "prune1", "same", "foreign"):
        server.add(text(namespace, name, "file" if name == "same" else "before"))
    before = {key[1]: stored.source for key, stored in server.flows.items() if key[0] == namespace}
    step = list(STEPS)[seed % len(STEPS)]
    server.second = second = Second(server, namespace, dice, step, dice.randint(0, 8) if " a " in step else 0)
    connection = Connection(server.url, USERNAME, PASSWORD, retries=1, timeout=5, backoff=0.001)
    client = KestraClient(connection)
    files = flows_of(namespace, refused)
    plan, outcomes, said = one_run(FlowSync(client, dice.choice([1, 4])), files, rollback)
    server.second = None
    now = {key[1]: each.source for key, each in server.flows.items() if key[0] == namespace and not each.deleted}
    wanted = {item.key[1]: item.after for item in plan.items}
    by_name = {outcome.item.key[1]: outcome for outcome in outcomes}
    for name, theirs in second.texts.items():
        # A flow that came and went in between was never to be seen.
        if now.get(name) != theirs and not (theirs is None and name not in before):
            reason = f"{by_name[name].error} {by_name[name].warning}"
            assert "another client" in reason and f"{namespace}/{name} " in said, (name, reason, said)
    for name, outcome in by_name.items():
        if name not in second.texts:
            # What is told of a flow that nobody else touched is so.
            expected = {"planned": wanted[name], "previous": before.get(name)}[outcome.state]
            assert now.get(name) == expected, (name, outcome)
    if not said:
        assert not refused
        untouched = {name: each for name, each in wanted.items() if name not in second.texts}
        assert {name: now.get(name) for name in untouched} == untouched
    # Nobody disturbs the next run.
    again = flows_of(namespace, refused=False)
    _plan, outcomes, said = one_run(FlowSync(client), again, rollback=True)
    assert said == "" and {outcome.action for outcome in outcomes} <= {"created", "updated", "pruned", "unchanged"}
    kept = {key[1]: each.source for key, each in server.flows.items() if key[0] == namespace and not each.deleted}
    assert {flow.id: kept.pop(flow.id) for flow in again} == {flow.id: flow.text for flow in again}
    assert kept.keys() <= {"foreign"}


def test_the_second_client_comes_at_every_step(servers: dict[str, Server]) -> None:
    """What finds nothing has to be able to find something."""
    assert len({list(STEPS)[seed % len(STEPS)] for seed in sample(range(RACES), IN_EACH_RUN)}) == len(STEPS)
