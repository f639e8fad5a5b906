"""What holds for every role: argument specifications equal the defaults, names carry the role's prefix."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir())


def load(path: Path) -> dict[str, object]:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("role", ROLES)
def test_argument_specification_equals_defaults(role: str) -> None:
    defaults = load(ROOT / "roles" / role / "defaults" / "main.yml")
    specs = load(ROOT / "roles" / role / "meta" / "argument_specs.yml")["argument_specs"]
    options = specs["main"]["options"]
    with_default = {name: option["default"] for name, option in options.items() if "default" in option}
    assert with_default == defaults
    for name, option in options.items():
        assert option["description"], f"{name} has no description"
        if name not in defaults:
            # What is handed to a module has the module's default.
            handed = name.startswith("kestra_flows_")
            assert option.get("no_log") or handed, f"{name}: only secrets have no default"


@pytest.mark.parametrize("role", ROLES)
def test_public_variables_have_a_prefix(role: str) -> None:
    defaults = load(ROOT / "roles" / role / "defaults" / "main.yml")
    assert all(name.startswith(f"{role}_") for name in defaults)
    private = ROOT / "roles" / role / "vars" / "main.yml"
    if private.exists():
        assert all(name.startswith(f"_{role}_") for name in load(private))
