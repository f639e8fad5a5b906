"""Every module for n8n keeps the contract of `tests/integration/contracts`, on the real n8n."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from ..faults.proxy import Proxy
from ..sampling import sample
from ..unit.in_process import call
from ..unit.playbook import play
from ..unit.plugins.modules.test_module_contracts import N8N_MODULES, documentation
from .n8n import N8n
from .test_contract import COLLECTION, check, contract

# Two to five seconds each.
CASES = 4
GROUP = f"group/{COLLECTION}.n8n"
# It makes the key that the others need.
WITHOUT_KEY = ("n8n_api_key",)


def connection(module: str, n8n: N8n, url: str) -> dict[str, Any]:
    return {"url": url, **({} if module in WITHOUT_KEY else {"api_key": n8n.api_key})}


@pytest.mark.parametrize("module", N8N_MODULES)
def test_cases(module: str, n8n: N8n, tmp_path: Path) -> None:
    """Check mode through a proxy that refuses writes; for good; and again."""
    cases = list(contract(module).cases(n8n, "contract", tmp_path))
    assert cases
    cases = sample(cases, CASES)
    with Proxy(n8n.url, read_only=True) as proxy:
        for case in cases:
            case.prepare()
            checked = call(module, {**case.options, **connection(module, n8n, proxy.url)}, check=True)
            real, again = (call(module, {**case.options, **connection(module, n8n, n8n.url)}) for _run in range(2))
            check(case, checked, real, again)
            assert n8n.api_key not in json.dumps([checked, real, again])


@pytest.mark.parametrize("module", N8N_MODULES)
def test_examples(module: str, n8n: N8n, tmp_path: Path) -> None:
    """The EXAMPLES of the documentation run as they are written, in their order."""
    variables = {"n8n_api_key": n8n.api_key, **contract(module).examples(n8n, "contract", tmp_path)}
    text = documentation(module)["EXAMPLES"]
    assert f"{COLLECTION}.{module}:" in text
    text = re.sub(r"^( +url: ).*$", rf"\g<1>{n8n.url}", text, flags=re.M)
    text = text.replace("admin@example.com", "owner@example.com").replace("/srv/", f"{tmp_path}/srv/")
    keys = {"vars": variables, "module_defaults": {GROUP: {"url": n8n.url}}}
    played = play(tmp_path, text, play_keys=keys)
    assert played.returncode == 0, played.output
    assert len(played.results) == text.count("\n- name:") + text.startswith("- name:")
    assert n8n.api_key not in played.output
