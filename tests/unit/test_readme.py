"""The README's variables, versions and paths are the real ones."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def options() -> dict[str, dict[str, object]]:
    found: dict[str, dict[str, object]] = {}
    for path in (ROOT / "roles").glob("*/meta/argument_specs.yml"):
        found |= yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"]["main"]["options"]
    return found


def test_variables_exist_with_the_stated_default() -> None:
    known = options()
    rows = re.findall(r"^\| (`[a-z].*?) \| (\S.*?) \| ", README.split("## On the host")[0], re.MULTILINE)
    assert len(rows) >= 10
    for names, stated in rows:
        for name in re.findall(r"`(\w+)`", names):
            option = known[name]
            if stated == "generated":
                assert option.get("no_log"), name
            elif "…" not in stated:
                assert yaml.safe_load(stated.strip("`")) == option["default"] or stated == f"`{option['default']}`", (
                    name
                )


def test_linked_files_exist() -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if "://" not in link]
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_flows_and_webhook_keys_are_the_files() -> None:
    rows = re.findall(r"^\| `([a-z]+/[a-z-]+)` \| (\S+)", README, re.MULTILINE)
    files = {
        str(path.relative_to(ROOT / "kestra-flows").with_suffix("")) for path in ROOT.glob("kestra-flows/*/*.yaml")
    }
    assert {row[0] for row in rows} == files
    for flow, key in rows:
        source = (ROOT / "kestra-flows" / f"{flow}.yaml").read_text(encoding="utf-8")
        assert key == "none" or f"key: {key.strip('`')}" in source


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"(?:^|`)make ([a-z-]+)", README, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_modules_are_all_there_as_they_describe_themselves() -> None:
    rows = re.findall(r"^\| `([a-z_]+)` \| (.+) \|$", README.split("## The modules")[1].split("\n## ")[0], re.MULTILINE)
    texts = {path.stem: path.read_text("utf-8") for path in ROOT.glob("plugins/modules/*.py")}
    described = {name: re.search(r"^short_description: (.+)$", text, re.M) for name, text in texts.items()}
    assert dict(rows) == {name: match[1] for name, match in described.items() if match}
