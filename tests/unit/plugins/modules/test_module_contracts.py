"""No module without what a module needs: documentation, a contract, tests of its own and of its pure parts."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[4]
KESTRA_MODULES = sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("kestra_*.py"))
SIDECAR_MODULES = sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("multipass_*.py"))
N8N_MODULES = sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("n8n_*.py"))
MODULES = sorted(KESTRA_MODULES + SIDECAR_MODULES + N8N_MODULES)
MODULE_UTILS = ROOT / "plugins" / "module_utils"
UTILITIES = sorted(
    ".".join(path.relative_to(MODULE_UTILS).with_suffix("").parts) for path in MODULE_UTILS.rglob("*.py")
)
CONTRACTS = ROOT / "tests" / "integration" / "contracts"


def documentation(module: str) -> dict[str, str]:
    """Return the texts DOCUMENTATION, EXAMPLES and RETURN of a module."""
    tree = ast.parse((ROOT / "plugins" / "modules" / f"{module}.py").read_text("utf-8"))
    return {
        target.id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def test_every_contract_is_that_of_a_module() -> None:
    described = sorted(path.stem for path in CONTRACTS.glob("*.py") if path.stem != "__init__")
    assert described == MODULES


@pytest.mark.parametrize("module", MODULES)
def test_a_module_has_all_that_it_needs(module: str) -> None:
    contract = ast.parse((CONTRACTS / f"{module}.py").read_text("utf-8"))
    functions = {node.name for node in contract.body if isinstance(node, ast.FunctionDef)}
    assert {"cases", "examples"} <= functions
    own = ROOT / "tests" / "integration" / f"test_{module}.py"
    assert "def test_" in own.read_text("utf-8")
    if module in KESTRA_MODULES:
        assert re.search(r"\beither\b", own.read_text("utf-8")), "its own tests meet one dialect only"
    groups = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text("utf-8"))["action_groups"]
    group = "kestra" if module in KESTRA_MODULES else "n8n" if module in N8N_MODULES else "sidecar"
    assert f"devorch.orchestration.{module}" in groups[group]


@pytest.mark.parametrize("module", MODULES)
def test_documentation_is_whole(module: str) -> None:
    texts = documentation(module)
    described: dict[str, Any] = yaml.safe_load(texts["DOCUMENTATION"])
    assert {"check_mode", "diff_mode", "idempotent"} <= described["attributes"].keys()
    for name, option in described["options"].items():
        assert option.get("description"), name
    returned: dict[str, Any] = yaml.safe_load(texts["RETURN"])
    assert "msg" in returned
    for name, key in returned.items():
        assert {"description", "returned", "type", "sample"} <= key.keys(), name
    repeatable = re.findall(r"repeatable=False", (CONTRACTS / f"{module}.py").read_text("utf-8"))
    assert not repeatable or described["attributes"]["idempotent"]["support"] != "full"


@pytest.mark.parametrize("utility", UTILITIES)
def test_pure_parts_have_unit_tests(utility: str) -> None:
    tests = "\n".join(path.read_text("utf-8") for path in (ROOT / "tests" / "unit").rglob("*.py"))
    package, _, name = f".{utility}".rpartition(".")
    assert re.search(
        rf"module_utils\.{re.escape(utility)} import|module_utils{re.escape(package)} import (\([^)]*|.*)\b{name}\b",
        tests,
    )
