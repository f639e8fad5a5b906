"""Every ansible-core that is declared works. The oldest runs all other tests; these are the others."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from packaging.specifiers import SpecifierSet

from ..images.testbed.recipes import CONTROLLERS
from ..sampling import LONG
from ..system.conftest import Host
from .conftest import ROOT, Controller

PYTEST = "pytest -q -n2 --dist=loadscope --no-loadscope-reorder -o cache_dir=/tmp/pytest"
# What is closest to Ansible's own code: filters, and the variables of the roles as its templating gives them.
CHEAP = "tests/unit/plugins/filter tests/unit/roles/test_numbers.py tests/unit/roles/test_kestra_configuration.py"
IMPORTS = """
import importlib, pathlib
from ansible.plugins.loader import init_plugin_loader
init_plugin_loader([])
files = sorted(path for path in pathlib.Path("plugins").rglob("*.py") if path.name != "__init__.py")
for path in files:
    importlib.import_module("ansible_collections.devorch.orchestration." + ".".join(path.with_suffix("").parts))
print(len(files), "imported")
"""


def test_every_declared_release_is_tested() -> None:
    declared = SpecifierSet(yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text("utf-8"))["requires_ansible"])
    lock = (ROOT / "requirements.lock").read_text("utf-8")
    (here,) = re.findall(r"^ansible-core==(\d+\.\d+)", lock, re.MULTILINE)
    releases = [f"2.{minor}" for minor in range(10, 40) if f"2.{minor}.0" in declared]
    assert releases == [here, *CONTROLLERS]


def test_it_is_that_release(controller: Controller) -> None:
    assert f"[core {controller.release}." in controller.run("ansible --version", about="seconds")


def test_plugins_are_imported_and_playbooks_are_read(controller: Controller) -> None:
    said = controller.run(
        f"python3 - <<'end'{IMPORTS}end\nansible-playbook --syntax-check playbooks/*.yml", about="10 s"
    )
    assert int(re.findall(r"^(\d+) imported", said, re.MULTILINE)[0]) > 50
    playbooks = {path.name for path in (ROOT / "playbooks").glob("*.yml")}
    assert set(re.findall(r"^playbook: playbooks/(.+)$", said, re.MULTILINE)) == playbooks


def test_units(controller: Controller) -> None:
    if LONG:
        # The other two test the checkout and its tools, with programs that a controller does not have.
        others = "--ignore tests/unit/docs --ignore tests/unit/tools"
        controller.run(f"{PYTEST} tests/unit {others}", about="7 minutes", network="bridge")
    else:
        controller.run(f"{PYTEST} {CHEAP}", about="30 s", network="bridge")


if LONG:

    def test_sanity(controller: Controller) -> None:
        controller.run("python3 -m tests.lint.ansible_test_sanity", about="3 minutes", network="host")

    @pytest.fixture
    def new_host(say: Callable[[str], None]) -> Iterator[Host]:
        """A host of its own, removed at the end."""
        cli = [sys.executable, str(ROOT / "tests" / "images" / "cli.py"), "host"]
        host = Host("default", say, name="devorch-controllers")
        subprocess.run([*cli, "up", host.name], check=True)
        yield host
        subprocess.run([*cli, "down", host.name], check=True)

    def test_host_is_provisioned_and_the_second_run_changes_nothing(
        controller: Controller, new_host: Host, tmp_path: Path
    ) -> None:
        new_host.inventory({new_host.name: {}}, tmp_path)
        mounts = ("/var/run/docker.sock:/var/run/docker.sock", f"{tmp_path}:/inventory:ro")
        site = "ansible-playbook playbooks/site.yml --inventory /inventory/inventory.yml --diff"
        for counts in ({"failed": 0, "unreachable": 0}, {"failed": 0, "changed": 0}):
            said = controller.run(site, *mounts, about="4 minutes")
            recap = re.findall(rf"^{new_host.name} .*$", re.sub(r"\x1b\[[0-9;]*m", "", said), re.MULTILINE)[-1]
            found = {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", recap)}
            assert counts.items() <= found.items(), said[-8000:]
        assert json.loads(new_host.shell("curl -sS --fail http://127.0.0.1:8081/health"))["status"] == "UP"
