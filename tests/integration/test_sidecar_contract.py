"""Every module for multipass keeps the contract of `tests/integration/contracts`, over the sidecar's program."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from ..faults.proxy import Proxy
from ..sampling import sample
from ..sidecar.service import TOKENS, Service
from ..unit.in_process import call
from ..unit.playbook import play
from ..unit.plugins.modules.test_module_contracts import SIDECAR_MODULES, documentation
from .test_contract import COLLECTION, check, contract

# More than a second each on a busy machine.
CASES = 14
GROUP = f"group/{COLLECTION}.sidecar"


def connection(url: str) -> dict[str, Any]:
    return {"url": url, "token": TOKENS["admin"]}


@pytest.mark.parametrize("module", SIDECAR_MODULES)
def test_cases(module: str, sidecar: Service, tmp_path: Path) -> None:
    """Check mode through a proxy that refuses writes; for good; and again."""
    cases = list(contract(module).cases(sidecar, "vm", tmp_path))
    assert cases
    cases = sample(cases, CASES)
    with Proxy(sidecar.url, read_only=True) as proxy:
        for case in cases:
            case.prepare()
            before = sidecar.world.read()["instances"]
            checked = call(module, {**case.options, **connection(proxy.url)}, check=True)
            assert sidecar.world.read()["instances"] == before, case.name
            real, again = (call(module, {**case.options, **connection(sidecar.url)}) for _run in range(2))
            check(case, checked, real, again)
            assert TOKENS["admin"] not in json.dumps([checked, real, again])


@pytest.mark.parametrize("module", SIDECAR_MODULES)
def test_examples(module: str, sidecar: Service, tmp_path: Path) -> None:
    """The EXAMPLES of the documentation run as they are written, in their order."""
    variables = {"sidecar_token": TOKENS["admin"], **contract(module).examples(sidecar, "vm", tmp_path)}
    text = documentation(module)["EXAMPLES"]
    assert f"{COLLECTION}.{module}:" in text
    text = re.sub(r"^( +url: ).*$", rf"\g<1>{sidecar.url}", text, flags=re.M)
    keys = {"vars": variables, "module_defaults": {GROUP: {"url": sidecar.url}}}
    played = play(tmp_path, text, play_keys=keys)
    assert played.returncode == 0, played.output
    assert len(played.results) == text.count("\n- name:") + text.startswith("- name:")
    assert TOKENS["admin"] not in played.output
