"""Every module for Kestra keeps the same contract, as `tests/integration/contracts` describes it, on both dialects."""

from __future__ import annotations

import importlib
import json
import re
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from ..faults.proxy import Proxy
from ..unit.in_process import call
from ..unit.playbook import Played, play
from ..unit.plugins.modules.test_module_contracts import KESTRA_MODULES, documentation
from .contracts import Case
from .kestra import ROOT, Kestra

COLLECTION = "devorch.orchestration"
WITH_ACTION = sorted(path.stem for path in (ROOT / "plugins" / "action").glob("kestra_*.py"))
GROUP = f"group/{COLLECTION}.kestra"
# What Ansible itself adds to a result.
ANSIBLES_OWN = {"invocation", "_ansible_no_log", "ansible_facts", "action", "_ansible_verbose_always"}


@contextmanager
def steps(calls: list[Callable[[], None]]) -> Iterator[tuple[str, list[str]]]:
    """Serve what a playbook calls between its tasks, by number; yield the address and the errors."""
    errors: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            try:
                calls[int(self.path.strip("/"))]()
            except Exception:
                errors.append(traceback.format_exc())
            self.send_response(500 if errors else 204)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", errors
    finally:
        server.shutdown()
        server.server_close()


def contract(module: str) -> ModuleType:
    return importlib.import_module(f"{__package__}.contracts.{module}")


def namespace_for(module: str) -> str:
    return f"contract.{module.replace('_', '-')}"


def connection(kestra: Kestra, url: str) -> dict[str, Any]:
    return {"url": url, "username": kestra.username, "password": kestra.password}


def without_ansibles_own(result: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in result.items() if name not in ANSIBLES_OWN}


def check(case: Case, checked: dict[str, Any], real: dict[str, Any], again: dict[str, Any]) -> None:
    """Compare what check mode said with what was done, and what a second run did."""
    assert not real.get("failed"), f"{case.name}: {real.get('msg')}"
    assert not checked.get("failed"), f"{case.name}, in check mode: {checked.get('msg')}"
    assert real["changed"] is case.changed, f"{case.name}: {real['msg']}"
    assert checked["changed"] is case.changed, f"{case.name}, in check mode: {checked['msg']}"
    predicted, done = without_ansibles_own(checked), without_ansibles_own(real)
    assert set(predicted) == set(done), f"{case.name}: check mode has other keys"
    assert set(case.volatile) <= set(done), f"{case.name}: a volatile key is not in the result"
    different = {name for name in done if predicted[name] != done[name]} - set(case.volatile)
    assert different == set(), f"{case.name}: check mode has another {', '.join(sorted(different))}"
    if case.repeatable:
        assert not again.get("failed"), f"{case.name}, again: {again.get('msg')}"
        assert again["changed"] is False, f"{case.name}, again: {again['msg']}"


@pytest.mark.parametrize("module", [module for module in KESTRA_MODULES if module not in WITH_ACTION])
def test_cases(module: str, either: Kestra, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Check mode through a proxy that refuses writes; for good; and again. Called without Ansible, which is faster."""
    monkeypatch.chdir(tmp_path)
    cases = list(contract(module).cases(either, namespace_for(module), tmp_path))
    assert cases
    with Proxy(either.url, read_only=True) as proxy:
        for case in cases:
            case.prepare()
            checked = call(module, {**case.options, **connection(either, proxy.url)}, check=True)
            real, again = (call(module, {**case.options, **connection(either, either.url)}) for _run in range(2))
            check(case, checked, real, again)
            assert either.password not in json.dumps([checked, real, again])


@pytest.mark.parametrize("module", WITH_ACTION)
def test_cases_of_what_begins_on_the_controller(module: str, either: Kestra, tmp_path: Path) -> None:
    """The same in a playbook, for modules with a part that runs on the controller."""
    cases: list[Case] = list(contract(module).cases(either, namespace_for(module), tmp_path))
    assert cases
    tasks: list[dict[str, Any]] = []
    with (
        Proxy(either.url, read_only=True) as proxy,
        steps([case.prepare for case in cases]) as (address, errors),
    ):
        for number, case in enumerate(cases):
            action = f"{COLLECTION}.{module}"
            # A task that fails is judged by `check`, with the name of its case.
            prepare = {"url": f"{address}/{number}", "status_code": 204}
            checked = {"name": f"{case.name}: check", action: {**case.options, **connection(either, proxy.url)}}
            real = {action: {**case.options, **connection(either, either.url)}, "ignore_errors": True}
            tasks += [
                {"name": f"{case.name}: prepare", "ansible.builtin.uri": prepare},
                {**checked, "check_mode": True, "ignore_errors": True},
                {"name": f"{case.name}: do", **real},
                {"name": f"{case.name}: do again", **real},
            ]
        played = play(tmp_path, tasks, "--diff")
        assert errors == [], errors[0]
    assert len(played.results) == len(tasks), played.output
    assert either.password not in played.output
    for number, case in enumerate(cases):
        check(case, *played.results[4 * number + 1 : 4 * number + 4])


@pytest.mark.parametrize("module", KESTRA_MODULES)
def test_examples(module: str, either: Kestra, tmp_path: Path) -> None:
    """The EXAMPLES of the documentation run as they are written, in their order."""
    variables = contract(module).examples(either, f"{namespace_for(module)}.examples", tmp_path)
    text = documentation(module)["EXAMPLES"]
    assert f"{COLLECTION}.{module}:" in text
    for name, value in {**connection(either, either.url), "management_url": either.management_url}.items():
        text = re.sub(
            rf"^( +{name}: ).*$", lambda match, value=value: f"{match[1]}{json.dumps(value)}", text, flags=re.M
        )
    # What the examples keep on the managed host stays in the test's own directory.
    text = text.replace("/srv/", f"{tmp_path}/srv/")
    defaults = {f"{COLLECTION}.kestra_health": {"management_url": either.management_url}}
    own = getattr(contract(module), "DEFAULTS", None)
    if own is not None:
        defaults[f"{COLLECTION}.{module}"] = own
    keys = {"vars": variables, "module_defaults": {GROUP: connection(either, either.url), **defaults}}
    played: Played = play(tmp_path, text, play_keys=keys)
    assert played.returncode == 0, played.output
    assert len(played.results) == text.count("\n- name:") + text.startswith("- name:")
