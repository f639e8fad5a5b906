"""The README's own lines, in a clean home, on a server reached over SSH by a user whose sudo asks for a password."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from .conftest import ROOT, Run

sys.path.insert(0, str(ROOT / "tests" / "images"))

from testbed import hosts, ssh

NAME = "devorch-readme"
SERVER = "orchestration.example.com"
# What an operator without Docker Hub and Docker's own packages in reach writes down as well.
SITE = {
    "docker_package_source": "distribution",
    "docker_registry_mirrors": ["http://registry:5000"],
    "docker_insecure_registries": ["registry:5000"],
}
BY_CLONE, BY_ARCHIVE = re.findall(
    r"^```bash\n(.*?)^```",
    (ROOT / "README.md").read_text("utf-8").split("\n## Your own server\n")[1].split("\n## ")[0],
    re.MULTILINE | re.DOTALL,
)[:2]


@dataclass
class Operator:
    """Somebody who types the README's lines: a home of their own, a directory, a server and a password."""

    home: Path
    access: ssh.Access
    say: Callable[[str], None]
    runs: dict[str, Run] = field(default_factory=dict)

    def type(self, line: str, directory: Path) -> Run:
        """Run a line in a shell without a terminal: what asks for a password reads it from its input."""
        self.say(f"{line} (6 minutes at most)")
        done = subprocess.run(
            ["bash", "-c", line],
            cwd=directory,
            env={"HOME": str(self.home), "PATH": os.environ["PATH"], "LANG": "C.UTF-8"},
            input=f"{self.access.password}\n",
            start_new_session=True,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        output = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout)
        assert self.access.password not in output, f"{line} prints the password of sudo"
        return Run(SERVER, line, done.returncode, output)

    def follow(self, block: str, directory: Path) -> dict[str, Run]:
        """Type the lines of a code block; return the runs of ansible-playbook by what they say after the inventory."""
        found: dict[str, Run] = {}
        for line in block.splitlines():
            run = self.type(line, directory).succeeded()
            if copied := re.match(r"cp -r \S*inventories/example (\S+)", line):
                self.fill_in(directory / copied[1])
            elif playbook := re.match(r"ansible-playbook -i \S+ (\S+)(.*?)(?: +#.*)?$", line):
                arguments = playbook[2].replace("--ask-become-pass", "").split()
                found[" ".join([playbook[1].rpartition("/")[2], *arguments])] = run
        return found

    def fill_in(self, inventory: Path) -> None:
        """Put the server, the user, and what this site needs into the copied inventory, as the README asks for."""
        path = inventory / "hosts.yml"
        content: dict[str, Any] = yaml.safe_load(path.read_text("utf-8"))
        assert list(content["orchestration"]["hosts"]) == [SERVER]
        content["orchestration"]["hosts"][SERVER] = self.access.variables()
        path.write_text(yaml.safe_dump(content), "utf-8")
        (inventory / "group_vars" / "orchestration" / "site.yml").write_text(yaml.safe_dump(SITE), "utf-8")


def clone(destination: Path) -> None:
    """Clone the repository, and add what is not committed yet."""
    quiet = {"check": True, "capture_output": True}
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(destination)], **quiet)
    changes = subprocess.run(["git", "diff", "--binary", "HEAD"], cwd=ROOT, **quiet).stdout
    if changes:
        subprocess.run(["git", "apply"], cwd=destination, input=changes, **quiet)
    new = ["git", "ls-files", "--others", "--exclude-standard", "-z"]
    for name in subprocess.run(new, cwd=ROOT, **quiet).stdout.decode().split("\0"):
        if name:
            (destination / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, destination / name, follow_symlinks=False)


@pytest.fixture(scope="module")
def operator(images: None, say: Callable[[str], None]) -> Iterator[Operator]:
    """Somebody with an empty home and a bare server."""
    # Short, since OpenSSH keeps a socket in the home directory, whose path has a limit.
    with tempfile.TemporaryDirectory(prefix="home-") as directory:
        home = Path(directory)
        (home / "keys").mkdir(mode=0o700)
        hosts.down(NAME)
        hosts.up(NAME)
        yield Operator(home, ssh.enable(NAME, home / "keys"), say)
        if not os.environ.get("DEVORCH_KEEP_HOST"):
            hosts.down(NAME)


@pytest.fixture(scope="module")
def by_clone(operator: Operator) -> dict[str, Run]:
    """The runs of the lines for a clone; they provision the server."""
    clone(operator.home / "orchestration")
    return operator.follow(BY_CLONE, operator.home / "orchestration")


@pytest.fixture(scope="module")
def by_archive(operator: Operator, by_clone: dict[str, Run]) -> dict[str, Run]:
    """The runs of the lines for the archive, on the server that the clone provisioned."""
    directory = operator.home / "site"
    directory.mkdir()
    build = f"ansible-galaxy collection build --output-path {directory}"
    assert "`ansible-galaxy collection build`" in (ROOT / "README.md").read_text("utf-8")
    operator.type(build, operator.home / "orchestration").succeeded()
    return operator.follow(BY_ARCHIVE, directory)


def test_a_clone_checks_predicts_and_provisions(by_clone: dict[str, Run]) -> None:
    assert list(by_clone) == ["preflight.yml", "site.yml --check --diff", "site.yml"]
    assert by_clone["preflight.yml"].recap["changed"] == 0
    assert by_clone["site.yml --check --diff"].recap["changed"] > 0
    assert by_clone["site.yml"].recap["changed"] > 0
    assert all(run.recap["failed"] == run.recap["unreachable"] == 0 for run in by_clone.values())


def test_the_archive_finds_the_same_host_as_it_should_be(by_archive: dict[str, Run]) -> None:
    names = ["devorch.orchestration.preflight", "devorch.orchestration.site"]
    assert list(by_archive) == names
    changed = {
        name: [task for task, what in run.tasks.items() if what == "changed"] for name, run in by_archive.items()
    }
    assert changed == {name: [] for name in names}
    assert [by_archive[name].recap["changed"] for name in names] == [0, 0]


def test_sudo_does_not_let_the_user_in_without_the_password(operator: Operator, by_clone: dict[str, Run]) -> None:
    inventory = operator.home / "orchestration" / "inventories" / "production"
    line = f"ansible-playbook -i {inventory} playbooks/preflight.yml"
    run = operator.type(line, operator.home / "orchestration")
    assert run.code != 0 and "Missing sudo password" in run.output
