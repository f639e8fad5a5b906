"""The variables, versions, paths and commands in the README and the guides are the real ones."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[3]
PAGES = {
    path: path.read_text(encoding="utf-8")
    for path in sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "tests/README.md"])
}
README = PAGES[ROOT / "README.md"]
CONFIGURATION, FLOWS, MODULES = (PAGES[ROOT / "docs" / f"{name}.md"] for name in ("configuration", "flows", "modules"))
# What an operator types: of the README, and of the guides.
GUIDES = "\n".join(text for path, text in PAGES.items() if path.name == "README.md" or path.parent.name == "docs")


def options() -> dict[str, dict[str, object]]:
    found: dict[str, dict[str, object]] = {}
    for path in (ROOT / "roles").glob("*/meta/argument_specs.yml"):
        found |= yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"].get(
            "main" if path.parts[-3] != "common" else "variables", {"options": {}}
        )["options"]
    return found


def test_variables_exist_with_the_stated_default() -> None:
    known = options()
    rows = re.findall(r"^\| (`[a-z].*?) \| (\S.*?) \| ", CONFIGURATION, re.MULTILINE)
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


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_linked_files_exist(page: Path) -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", PAGES[page]) if "://" not in link]
    assert links or page != ROOT / "README.md"
    for link in links:
        target, _, anchor = link.partition("#")
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), link
        headings = re.findall(r"^#+ (.+)$", path.read_text("utf-8"), re.MULTILINE) if anchor else []
        anchors = [re.sub(r"[^a-z0-9 _-]", "", heading.lower()).replace(" ", "-") for heading in headings]
        assert not anchor or anchor in anchors, link


def test_flows_and_their_webhooks_are_the_files() -> None:
    rows = re.findall(r"^\| `([a-z]+/[a-z-]+)` \| (\S+)", FLOWS, re.MULTILINE)
    files = {
        str(path.relative_to(ROOT / "kestra-flows").with_suffix("")) for path in ROOT.glob("kestra-flows/*/*.yaml")
    }
    assert {row[0] for row in rows} == files
    for flow, key in rows:
        source = (ROOT / "kestra-flows" / f"{flow}.yaml").read_text(encoding="utf-8")
        assert (key == "yes") is ("trigger.Webhook" in source)


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"(?:^|`)make ([a-z-]+)", "\n".join(PAGES.values()), re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_modules_are_all_there_as_they_describe_themselves() -> None:
    rows = re.findall(r"^\| `([a-z0-9_]+)` \| (.+) \|$", MODULES, re.MULTILINE)
    texts = {path.stem: path.read_text("utf-8") for path in ROOT.glob("plugins/modules/*.py")}
    described = {name: re.search(r"^short_description: (.+)$", text, re.M) for name, text in texts.items()}
    assert dict(rows) == {name: match[1] for name, match in described.items() if match}


def lines(program: str) -> list[str]:
    """Return the lines that begin with a program: of the code blocks, and those within a sentence."""
    found = re.findall(rf"^({program} .+?)(?: +#.*| > .*)?$", GUIDES, re.MULTILINE)
    return sorted({*found, *(" ".join(line.split()) for line in re.findall(rf"`({program} [^`<]+)`", GUIDES))})


def in_a_clean_home(home: Path, *command: str) -> str:
    """Run a command in the checkout, without any settings or variables of its caller; return what it prints."""
    environment = {"HOME": str(home), "PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
    done = subprocess.run(command, cwd=ROOT, env=environment, text=True, capture_output=True, check=False)
    assert done.returncode == 0, f"{shlex.join(command)}:\n{done.stderr}"
    return done.stdout + done.stderr


@pytest.mark.parametrize("line", lines("ansible-playbook"))
def test_playbooks_are_found_from_the_checkout_alone(line: str, tmp_path: Path) -> None:
    # The inventory is the reader's copy.
    words = shlex.split(re.sub(r"-i inventor\S+", "-i inventories/example", line))
    in_a_clean_home(tmp_path, *words, "--syntax-check")


@pytest.mark.parametrize("line", lines("ansible-doc"))
def test_documentation_is_shown_from_the_checkout_alone(line: str, tmp_path: Path) -> None:
    shown = in_a_clean_home(tmp_path, *shlex.split(line))
    assert shlex.split(line)[-1] in shown.lower()
    if " role " in line:
        assert all(name in shown for name in ("kestra_username", "kestra_password"))


def test_shipped_inventories_have_one_host_that_ansible_reaches(tmp_path: Path) -> None:
    for name, connection in (("local", "ansible_connection"), ("example", "ansible_user")):
        shown = in_a_clean_home(tmp_path, "ansible-inventory", "-i", f"inventories/{name}", "--list")
        (variables,) = yaml.safe_load(shown)["_meta"]["hostvars"].values()
        assert variables["ansible_python_interpreter"] == "/usr/bin/python3"
        assert connection in variables
