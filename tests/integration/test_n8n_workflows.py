"""`n8n_workflows` against the real n8n: what is live, what is put back, and what becomes of edits in n8n."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.devorch.orchestration.plugins.module_utils.n8n.client import N8nClient, N8nConnection
from ansible_collections.devorch.orchestration.plugins.module_utils.n8n.workflows.plan import Stored

from ..faults.proxy import Fault, Proxy, Rule, empty, half, html, reset, status, wrong_json
from ..sampling import LONG, sample
from ..unit.in_process import call
from .contracts.n8n_workflows import store, write
from .n8n import N8n
from .n8n_patterns import PATTERNS, callee, caller, credentials, node, webhook, workflow

RUNS, SHORT = 200, 2
FAULTS: tuple[Fault, ...] = (
    *(status(code, after=after) for code in (429, 500, 502, 503) for after in (False, True)),
    reset(),
    reset(after=True),
    half(),
    wrong_json(),
    html(after=True),
    empty(),
    status(403),
)


def load(n8n: N8n, directory: Path, url: str | None = None, check: bool = False, **options: Any) -> dict[str, Any]:
    given = {"src": [str(directory)], "remote_src": True, "url": url or n8n.url, "api_key": n8n.api_key, "retries": 2}
    return call("n8n_workflows", {**given, **options}, check=check)


def contents(n8n: N8n) -> dict[str, tuple[Any, ...]]:
    """Return what each workflow does and whether that is live, by name."""
    found = [Stored(workflow) for workflow in n8n.workflows()]
    return {one.name: (one.digest, one.active, Stored(one.live).digest if one.active else None) for one in found}


def edited(n8n: N8n, name: str, says: str) -> None:
    """Edit a workflow as a user of n8n's page does."""
    there = n8n.workflow(name)
    sent = {key: there[key] for key in ("name", "nodes", "connections")}
    text = json.dumps(sent).replace('"hello"', json.dumps(says))
    content = {**json.loads(text), "settings": {"executionOrder": "v1"}}
    n8n.api("PUT", f"/workflows/{there['id']}", content, publishIfActive="false")


def test_all_patterns_twice_exported_and_loaded_again(n8n: N8n, tmp_path: Path) -> None:
    """A second run changes nothing and makes no version. An export is equal to what was loaded."""
    credentials(n8n)
    copies = [
        json.loads(json.dumps(one).replace("p-", f"p{number}-"))
        for one in PATTERNS
        for number in range(8 if LONG else 1)
    ]
    write(tmp_path / "files", *copies)
    first = load(n8n, tmp_path / "files")
    assert first["summary"]["created"] == len(copies), first["msg"]
    versions = {one["id"]: (one["versionId"], one["updatedAt"]) for one in n8n.workflows()}
    again = load(n8n, tmp_path / "files")
    assert not again["changed"] and again["summary"]["unchanged"] == len(copies)
    options = {"url": n8n.url, "api_key": n8n.api_key, "dest": str(tmp_path / "export")}
    assert call("n8n_export", options)["summary"]["created"] == len(copies)
    assert not load(n8n, tmp_path / "export")["changed"]
    assert {one["id"]: (one["versionId"], one["updatedAt"]) for one in n8n.workflows()} == versions
    # The same files in an n8n that has none of them: other ids, and the same workflows.
    n8n.clear()
    credentials(n8n)
    assert load(n8n, tmp_path / "export")["summary"]["created"] == len(copies)
    assert not load(n8n, tmp_path / "export")["changed"]
    assert not load(n8n, tmp_path / "files")["changed"]


def test_the_next_call_of_a_webhook_is_answered_by_what_was_loaded(n8n: N8n, tmp_path: Path) -> None:
    for says in ("first", "second"):
        write(tmp_path, {**webhook("one", "live", says), "active": True})
        load(n8n, tmp_path)
        assert n8n.says("live", says)
    write(tmp_path, {**webhook("one", "moved", "third"), "active": True})
    load(n8n, tmp_path)
    assert n8n.webhook("moved").json() == {"says": "third"} and n8n.webhook("live").status_code == 404
    write(tmp_path, webhook("other", "unused"))
    load(n8n, tmp_path, prune=True)
    assert n8n.webhook("moved").status_code == 404
    write(tmp_path, {**webhook("one", "moved", "back"), "active": True})
    brought = load(n8n, tmp_path)
    assert brought["summary"]["created"] == 1 and n8n.webhook("moved").json() == {"says": "back"}


def test_a_draft_changes_nothing_that_is_live(n8n: N8n, tmp_path: Path) -> None:
    write(tmp_path, {**webhook("one", "draft", "live"), "active": True})
    load(n8n, tmp_path)
    write(tmp_path, {**webhook("one", "draft", "waiting"), "active": True})
    stored = load(n8n, tmp_path, publish="never")
    assert stored["plan"][0]["changes"] == ["content"]
    assert n8n.webhook("draft").json() == {"says": "live"}
    assert not load(n8n, tmp_path, publish="never")["changed"]
    published = load(n8n, tmp_path)
    assert published["plan"][0]["changes"] == ["publish"] and n8n.says("draft", "waiting")


def test_a_failure_puts_everything_back(n8n: N8n, tmp_path: Path) -> None:
    """What n8n refuses to publish, it refuses after the others are stored."""
    write(tmp_path, {**webhook("a", "back", "old"), "active": True})
    load(n8n, tmp_path)
    before = contents(n8n)
    broken = workflow("z", node("Start", "manualTrigger"))
    write(tmp_path, {**webhook("a", "back", "new"), "active": True}, callee("m"), {**broken, "active": True})
    failed = load(n8n, tmp_path)
    assert failed["failed"] and failed["changed"], failed["msg"]
    actions = {one["name"]: (one["action"], one["state"]) for one in failed["workflows"]}
    assert actions["z"] == ("failed", "previous") and actions["m"] == ("rolled_back", "previous")
    assert contents(n8n) == before and n8n.says("back", "old")
    kept = load(n8n, tmp_path, on_failure="keep")
    assert kept["failed"] and kept["summary"]["updated"] == 1 and kept["summary"]["created"] == 1
    assert n8n.says("back", "new")


def test_workflows_that_call_each_other(n8n: N8n, tmp_path: Path) -> None:
    one, two = caller("one", "two"), caller("two", "one")
    write(tmp_path, one, two)
    assert load(n8n, tmp_path)["summary"]["created"] == 2
    ids = {found["name"]: found["id"] for found in n8n.workflows()}
    for name, target in (("one", "two"), ("two", "one")):
        call_node = next(each for each in n8n.workflow(name)["nodes"] if each["name"] == "Call")
        assert call_node["parameters"]["workflowId"]["value"] == ids[target]
    assert not load(n8n, tmp_path)["changed"]


def test_an_edit_in_n8n_is_drift(n8n: N8n, tmp_path: Path) -> None:
    write(tmp_path, {**webhook("one", "drift"), "active": True})
    load(n8n, tmp_path)
    edited(n8n, "one", "edited in n8n")
    failed = load(n8n, tmp_path, drift="fail")
    assert failed["failed"] and "was edited in n8n" in failed["msg"]
    blocked = load(n8n, tmp_path, drift="report")
    assert blocked["summary"]["blocked"] == 1 and blocked["plan"][0]["drift"] == "edited"
    there = n8n.workflow("one")
    n8n.api("POST", f"/workflows/{there['id']}/deactivate")
    write(tmp_path, {**webhook("one", "drift", "new"), "active": True})
    overwritten = load(n8n, tmp_path)
    assert overwritten["plan"][0]["drift"] == "edited" and overwritten["summary"]["updated"] == 1
    assert n8n.says("drift", "new")


class _EditBefore(Proxy):
    """Lets a user edit a workflow just before the first request of a kind."""

    def __init__(self, url: str, method: str, edit: Callable[[], None]) -> None:
        super().__init__(url)
        self.method = method
        self.edit: Callable[[], None] | None = edit

    def _choose(self, request: Any) -> Any:
        if request.method == self.method and "/workflows" in request.path and self.edit is not None:
            edit, self.edit = self.edit, None
            edit()
        return super()._choose(request)


@pytest.mark.parametrize("before", ["PUT", "POST"])
def test_an_edit_between_plan_and_write_is_not_lost(before: str, n8n: N8n, tmp_path: Path) -> None:
    write(tmp_path, {**webhook("one", "race"), "active": True}, webhook("two", "race2"))
    load(n8n, tmp_path)
    write(tmp_path, {**webhook("one", "race", "new"), "active": True}, webhook("two", "race2", "new"), callee("a-new"))
    with _EditBefore(n8n.url, before, lambda: edited(n8n, "two", "of the user")) as proxy:
        result = load(n8n, tmp_path, proxy.url)
    history = n8n.api("GET", f"/workflows/{n8n.workflow('two')['id']}/history")["data"]
    versions = [n8n.api("GET", f"/workflows/{v['workflowId']}/versions/{v['versionId']}") for v in history]
    assert any("of the user" in json.dumps(version["nodes"]) for version in versions), "n8n has every version"
    if before == "POST":
        assert result["failed"] and "was changed in n8n since the plan was made" in result["msg"]
        assert "of the user" in json.dumps(n8n.workflow("two")["nodes"])
        assert n8n.webhook("race").json() == {"says": "hello"}


@pytest.mark.parametrize("seed", sample(range(RUNS), SHORT))
def test_faults(seed: int, n8n: N8n, tmp_path: Path) -> None:
    """Whatever is spoiled: all is applied, or all is as before, or the result says what n8n has."""
    lots = random.Random(seed)
    old = [{**webhook(f"w{number}", f"f{number}"), "active": lots.random() < 0.5} for number in range(3)]
    write(tmp_path / "old", *old)
    load(n8n, tmp_path / "old", webhook_timeout=0)
    store(n8n, webhook("theirs", "f9"), tag=None)
    before = contents(n8n)
    new = [{**webhook("w0", "f0", "new"), "active": lots.random() < 0.5}, webhook("w4", "f4"), old[1]]
    write(tmp_path / "new", *new)
    chance = lots.choice([0.1, 0.3, 0.6])
    rules = [Rule(lots.choice(FAULTS), probability=chance) for _number in range(3)]
    with Proxy(n8n.url, rules, seed=seed) as proxy:
        options = {"prune": True, "on_failure": lots.choice(["rollback", "keep"]), "webhook_timeout": 0}
        result = load(n8n, tmp_path / "new", proxy.url, **options)
    after = contents(n8n)
    assert after["theirs"] == before["theirs"]
    assert "exception" not in result and "Unexpected" not in result["msg"], result["msg"]
    if not result["failed"]:
        assert not load(n8n, tmp_path / "new", check=True, prune=True)["changed"]
    for one in result["workflows"]:
        if one["state"] == "previous":
            assert after.get(one["name"]) == before.get(one["name"]), (one, result["msg"])
        if one["state"] == "planned" and one["action"] != "pruned":
            assert after.get(one["name"]) != before.get(one["name"]), (one, result["msg"])
        if one["action"] == "pruned":
            assert one["name"] not in after
    healed = load(n8n, tmp_path / "new", prune=True)
    assert not healed["failed"], healed["msg"]
    assert set(contents(n8n)) == {"w0", "w1", "w4", "theirs"}


def test_the_client_reads_page_by_page(n8n: N8n, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        store(n8n, callee(f"page-{number}"), tag=None)
    client = N8nClient(N8nConnection(n8n.url, n8n.api_key))
    found = client.listed(["workflows"], "list", limit="2")
    client.close()
    assert len({one["id"] for one in found}) == 5
