"""The README.md of each role, from its argument specification and the comments of its entry points.

`make role-readmes` writes the files; tests/unit/roles/test_roles.py compares them with this.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

ROLES = Path(__file__).parents[1] / "roles"
HEAD = "<!-- `make role-readmes` writes this page from meta/argument_specs.yml and the entry points in tasks/. -->"
ENTRY_POINT = re.compile(r"---\n# Entry point: ((?:.+\n)(?:# .+\n)*)")


def markdown(text: str) -> str:
    """Return a text of a specification with Ansible's markup as Markdown."""
    text = re.sub(r"O\([\w.]+#module:(\w+)\)", r"`\1`", text)
    return re.sub(r"\b[CMOV]\((?:\w+#)?((?:[^()]|\([^()]*\))+)\)", r"`\1`", text)


def prose(description: str | list[str]) -> str:
    """Return a description as one paragraph."""
    return markdown(description if isinstance(description, str) else " ".join(description))


def cell(text: str) -> str:
    """Return a text for a cell of a table."""
    return text.replace("|", "\\|")


def default(option: Mapping[str, Any]) -> str:
    """Return the default of an option, or what holds without one."""
    if "default" in option:
        value = option["default"]
        return f"`{value if isinstance(value, str) and value else json.dumps(value)}`"
    if option.get("required"):
        return "required"
    return "generated" if option.get("no_log") else "not set"


def rows(options: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Return a row for each option and its suboptions."""
    for name, option in options.items():
        choices = ", ".join(f"`{choice}`" for choice in option.get("choices", []))
        text = prose(option["description"]) + (f" One of {choices}." if choices else "")
        yield f"| `{prefix}{name}` | {cell(default(option))} | {cell(text)} |"
        yield from rows(option.get("options", {}), f"{prefix}{name}[].")


def entry_points(role: Path, specifications: Mapping[str, Any]) -> dict[str, str]:
    """Return what each entry point does: those that are specified, and the task files that say that they are one."""
    found: dict[str, str] = {}
    for path in sorted(role.glob("tasks/*.yml"), key=lambda path: (path.stem != "main", path.stem)):
        if path.stem in specifications:
            found[path.stem] = f"{prose(specifications[path.stem]['short_description'])}."
        elif match := ENTRY_POINT.match(path.read_text("utf-8")):
            text = " ".join(match[1].replace("\n# ", " ").split())
            found[path.stem] = text[0].upper() + text[1:]
    return found


def readme(role: Path) -> str:
    """Return the page of a role."""
    text = (role / "meta/argument_specs.yml").read_text("utf-8")
    specifications: dict[str, Any] = yaml.safe_load(text)["argument_specs"]
    about = next(iter(specifications.values()))
    lines = [f"# devorch.orchestration.{role.name}", "", HEAD, "", f"{prose(about['short_description'])}.", ""]
    lines += [prose(about["description"]), ""]
    if "examples" in about:
        lines += ["## Example", "", "```yaml", about["examples"].strip(), "```", ""]
    for point, specification in specifications.items():
        where = "" if point in ("main", "variables") else f" of the entry point `{point}`"
        lines += [f"## Variables{where}", ""]
        lines += ["| Variable | Default | Description |", "|---|---|---|", *rows(specification["options"]), ""]
    lines += ["## Entry points", "", "`tasks_from` selects an entry point.", ""]
    lines += ["| Entry point | What it does |", "|---|---|"]
    lines += [f"| `{name}` | {cell(text)} |" for name, text in entry_points(role, specifications).items()]
    return "\n".join(lines) + "\n"


def pages() -> dict[Path, str]:
    """Return the pages of all roles by their paths."""
    return {role / "README.md": readme(role) for role in sorted(ROLES.iterdir()) if role.is_dir()}


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
