"""Runs of `kestra_flows` against a server whose answers are lost, late, cut, wrong or refused, by seed.

Each run begins in a state of its own, with flows to create, to update, to leave and to prune, beside flows that are
none of its business, and goes through the fault proxy. Then the server itself is asked, without the proxy. Whatever
was spoiled, one of three is true: everything is as the files say and the run succeeded; everything is as before and the
run failed; or the run failed and says of each flow what the server really holds. And nothing else has changed, and a
run without faults brings the server to what the files say.

`make test` makes a part of them, `make test-long` all. A run is repeated alone by its seed:
`DEVORCH_LONG=1 pytest tests/integration/test_faults.py -k "run[123]"`.
"""

from __future__ import annotations

import io
import random
import zipfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.client import Connection
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows.record import RECORD_KEY

from ..faults.proxy import (
    Fault,
    Proxy,
    Rule,
    dribble,
    empty,
    half,
    html,
    reset,
    slow,
    status,
    wrong_json,
)
from ..sampling import sample
from ..unit.playbook import play
from .in_process import load_flows
from .kestra import Kestra

RUNS = 500
AS_TASKS = 12
AT_ONCE = 4
LOG = "io.kestra.plugin.core.log.Log"
OWNED = "labels:\n  managed-by: ansible\n"
Key = tuple[str, str]
State = dict[Key, tuple[str, int]]
"""Text and revision of each flow."""

FAULTS: Sequence[Fault] = (
    *(status(code, after=after) for code in (429, 500, 502, 503, 504) for after in (False, True)),
    status(429, retry_after="0"),
    reset(),
    reset(after=True),
    half(),
    slow(0.01),
    dribble(0.01, pieces=3),
    wrong_json(),
    html(),
    html(after=True),
    html(502),
    html(503, after=True),
    empty(),
    empty(after=False),
    status(403),
    status(401),
)


def text_of(key: Key, message: str, owned: bool = True) -> str:
    tasks = f"tasks:\n  - id: say\n    type: {LOG}\n    message: {message}\n"
    return f"id: {key[1]}\nnamespace: {key[0]}\n{OWNED if owned else ''}{tasks}"


@dataclass
class Scenario:
    """What a seed stands for."""

    seed: int
    before: dict[Key, str] = field(default_factory=dict)
    files: dict[Key, str] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    rules: list[Rule] = field(default_factory=list)
    retries: int = 0

    @property
    def namespace(self) -> str:
        return f"faults.n{self.seed}"

    def wanted(self, drift: str) -> dict[Key, str]:
        """What the server holds when everything is done. Nothing is recorded of the flows that it held before."""
        wanted = dict(self.before)
        for key, text in self.files.items():
            if key not in self.before or drift == "overwrite":
                wanted[key] = text
        if self.options["prune"] and drift == "overwrite":
            for key, text in self.before.items():
                if key[0] == self.namespace and key not in self.files and OWNED in text:
                    del wanted[key]
        return wanted


def scenario(seed: int) -> Scenario:
    lots = random.Random(seed)
    made = Scenario(seed)
    for number in range(lots.randint(1, 5)):
        key = (made.namespace, f"file{number}")
        made.files[key] = text_of(key, "new", owned=lots.random() < 0.8)
        held = lots.choice(("nothing", "the same", "another text"))
        if held != "nothing":
            made.before[key] = made.files[key] if held == "the same" else text_of(key, "old")
    for number in range(lots.randint(0, 3)):
        key = (made.namespace, f"owned{number}")
        made.before[key] = text_of(key, "to prune")
    for number in range(lots.randint(0, 2)):
        key = (made.namespace, f"foreign{number}")
        made.before[key] = text_of(key, "of somebody else", owned=False)
    key = (f"{made.namespace}.below", "outside")
    made.before[key] = text_of(key, "outside of the plan")
    made.options = {
        "prune": lots.random() < 0.7,
        "on_failure": lots.choice(("rollback", "rollback", "rollback", "keep")),
        "drift": lots.choice(("overwrite",) * 6 + ("report",)),
        "concurrency": lots.choice((1, 2, 8)),
    }
    made.retries = lots.choice((0, 1, 2, 3))
    kind = lots.random()
    flows = "/flows"
    if kind < 0.6:
        # A bad day: everything can happen to everything.
        faults = lots.sample(FAULTS, lots.randint(1, 6))
        rate = lots.choice((0.03, 0.1, 0.25))
        made.rules = [Rule(fault, probability=rate) for fault in faults]
    elif kind < 0.75:
        # Writing alone goes wrong.
        rate = lots.choice((0.2, 0.5, 0.9))
        made.rules = [Rule(lots.choice(FAULTS), method="POST|PUT|DELETE", path=r"flows(/faults|$)", probability=rate)]
    elif kind < 0.9:
        # One write goes wrong, whatever is tried.
        key = lots.choice(list(made.files))
        made.rules = [Rule(lots.choice(FAULTS), method="PUT|DELETE", path=f"{flows}/{key[0]}/{key[1]}$")]
    else:
        # The server goes away for good, sooner or later.
        first = lots.randint(1, 25)
        made.rules = [Rule(lots.choice((reset(), status(503), html(502))), nth=range(first, 10_000))]
    return made


def prepare(kestra: Kestra, made: Scenario) -> None:
    """Bring the server into the state before; a server that has seen the seed before forgets it."""
    for key in truth(kestra, made):
        assert kestra.call("DELETE", f"/flows/{key[0]}/{key[1]}").status_code == 204
    kestra.call("DELETE", f"/namespaces/{made.namespace}/kv/{RECORD_KEY}")
    for text in made.before.values():
        headers = {"Content-Type": "application/x-yaml"}
        answer = kestra.call("POST", "/flows", data=text.encode(), headers=headers)
        assert answer.status_code == 200, answer.text


def truth(kestra: Kestra, made: Scenario) -> State:
    """What the server holds, asked without the proxy and without the code under test."""
    query = {"filters[namespace][IN]": f"{made.namespace},{made.namespace}.below"}
    found = kestra.call("GET", "/flows/search", params={**query, "size": 100}).json()["results"]
    archive = kestra.call("GET", "/flows/export/by-query", params=query).content if found else None
    held: State = {}
    for flow in found:
        with zipfile.ZipFile(io.BytesIO(archive or b"")) as opened:
            text = opened.read(f"{flow['namespace']}.{flow['id']}.yml").decode()
        held[(flow["namespace"], flow["id"])] = (text, flow["revision"])
    return held


def texts(state: State) -> dict[Key, str]:
    return {key: text for key, (text, _revision) in state.items()}


def write_files(made: Scenario, directory: Path) -> None:
    for key, text in made.files.items():
        (directory / f"{key[1]}.yml").write_text(text, encoding="utf-8")


def judge(made: Scenario, before: State, after: State, result: dict[str, Any]) -> None:
    """Compare what the run says with what the server holds."""
    wanted = made.wanted(made.options["drift"])
    touched = {key for key in wanted.keys() | before.keys() if wanted.get(key) != texts(before).get(key)}
    for key in (before.keys() | after.keys()) - touched:
        assert after.get(key) == before.get(key), f"{key} is none of the run's business, or was equal"
    told = {(flow["namespace"], flow["id"]): flow for flow in result["flows"]}
    if not result["failed"]:
        assert texts(after) == wanted
        for key in touched:
            assert told[key]["state"] == "planned" and told[key]["error"] is None
            if key in wanted:
                assert told[key]["revision"] == after[key][1]
        assert result["changed"] is bool(touched)
        return
    assert not result["msg"].startswith("Unexpected"), result["msg"]
    if texts(after) != texts(before):
        assert result["changed"] is True, "something was written, and the run does not say so"
    for key in touched:
        now, then = texts(after).get(key), texts(before).get(key)
        if key not in told:
            # The run ended before there was a plan.
            assert now == then
            continue
        flow = told[key]
        assert flow["state"] in ("previous", "planned", "unknown"), "nobody else has written anything"
        if flow["state"] == "unknown":
            assert f"{key[0]}/{key[1]}" in result["msg"] and flow["error"]
        else:
            assert now == (then if flow["state"] == "previous" else wanted.get(key)), flow
        if now != then:
            assert f"{key[0]}/{key[1]}" in result["msg"], "a flow that was written is not named"


def run(seed: int, kestra: Kestra, directory: Path) -> None:
    """Do one run, compare, and let a run without faults finish it."""
    made = scenario(seed)
    write_files(made, directory)
    prepare(kestra, made)
    before = truth(kestra, made)
    assert texts(before) == made.before
    with Proxy(kestra.url, made.rules, seed=seed) as proxy:
        connection = Connection(
            proxy.url, kestra.username, kestra.password, retries=made.retries, timeout=30, backoff=0.001
        )
        result = load_flows(connection, src=[str(directory)], **made.options)
    after = truth(kestra, made)
    told = "\n".join(f"{r} {r.status} {r.fault or ''}" for r in proxy.requests)
    try:
        judge(made, before, after, result)
    except AssertionError as error:
        raise AssertionError(
            f"seed {seed}: {error}\n{made.options}\n{told}\n{result['flows']}\n{result['msg']}"
        ) from error

    direct = Connection(kestra.url, kestra.username, kestra.password, timeout=60)
    final = load_flows(direct, src=[str(directory)], **{**made.options, "drift": "overwrite"})
    assert not final["failed"], f"seed {seed}: {final['msg']}"
    assert texts(truth(kestra, made)) == made.wanted("overwrite"), f"seed {seed}"


@pytest.fixture(scope="module")
def failures(
    request: pytest.FixtureRequest, kestra: Kestra, tmp_path_factory: pytest.TempPathFactory
) -> dict[int, BaseException | None]:
    """What is wrong with each of the runs that were asked for; several at a time, each in namespaces of its own."""
    items = [item for item in request.session.items if isinstance(item, pytest.Function)]
    chosen = [item.callspec.params["seed"] for item in items if item.originalname == test_run.__name__]

    def failure(seed: int) -> BaseException | None:
        try:
            run(seed, kestra, tmp_path_factory.mktemp(f"seed{seed}"))
        except Exception as error:
            return error
        return None

    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        return dict(zip(chosen, pool.map(failure, chosen), strict=True))


@pytest.mark.parametrize("seed", sample(range(RUNS), 150))
def test_run(seed: int, failures: dict[int, BaseException | None]) -> None:
    failure = failures[seed]
    if failure is not None:
        raise failure


def test_check_mode_never_writes(kestra: Kestra, tmp_path: Path) -> None:
    """Over all options, with and without faults, and with the plan saved; what it predicts is what a real run does."""
    predicted = 0
    for seed in range(RUNS + AS_TASKS, RUNS + AS_TASKS + 40):
        made = scenario(seed)
        directory = tmp_path / str(seed)
        directory.mkdir()
        write_files(made, directory)
        prepare(kestra, made)
        before = truth(kestra, made)
        saved = tmp_path / f"{seed}.json"
        options = {**made.options, "src": [str(directory)], "save_plan": str(saved)}
        for rules in (made.rules, []):
            # Leaving the block fails where there was a write.
            with Proxy(kestra.url, rules, seed=seed, read_only=True) as proxy:
                connection = Connection(proxy.url, kestra.username, kestra.password, retries=1, backoff=0.001)
                checked = load_flows(connection, check_mode=True, **options)
                assert proxy.requests
            assert truth(kestra, made) == before
        assert not checked["failed"], checked["msg"]
        direct = Connection(kestra.url, kestra.username, kestra.password, timeout=60)
        real = load_flows(direct, plan=str(saved), on_failure=made.options["on_failure"])
        assert not real["failed"], real["msg"]
        for name in ("changed", "summary", "plan", "diff", "msg"):
            assert real[name] == checked[name], f"seed {seed}: {name}"
        assert texts(truth(kestra, made)) == made.wanted(made.options["drift"])
        predicted += checked["changed"]
    assert predicted > 20


def test_runs_as_tasks(kestra: Kestra, tmp_path: Path) -> None:
    """The same through Ansible, its action plugin and the module's process."""
    with ExitStack() as stack:
        tasks: list[dict[str, Any]] = []
        runs: list[tuple[Scenario, State]] = []
        for seed in range(RUNS, RUNS + AS_TASKS):
            made = scenario(seed)
            directory = tmp_path / str(seed)
            directory.mkdir()
            write_files(made, directory)
            prepare(kestra, made)
            runs.append((made, truth(kestra, made)))
            proxy = stack.enter_context(Proxy(kestra.url, made.rules, seed=seed))
            options = {
                **made.options,
                "src": str(directory),
                "url": proxy.url,
                "username": kestra.username,
                "password": kestra.password,
                # The pauses of more would be seconds.
                "retries": min(made.retries, 1),
            }
            tasks.append({"name": f"Seed {seed}", "devorch.orchestration.kestra_flows": options, "ignore_errors": True})
        played = play(tmp_path, tasks)
    assert len(played.results) == AS_TASKS, played.output
    assert kestra.password not in played.output and "Traceback" not in played.output
    for (made, before), result in zip(runs, played.results, strict=True):
        judge(made, before, truth(kestra, made), {"failed": False, **result})
    assert {bool(result.get("failed")) for result in played.results} == {True, False}
