"""A host that the version before the engine of change has provisioned is taken over by one run of site.yml."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from .conftest import ROOT, Host
from .data import WEBHOOKS, data, seed

FORMER = "295dfe3612b0a23d7e5bc06048581ade6740a83c"
VARIABLES = {
    "docker_package_source": "distribution",
    "docker_registry_mirrors": ["http://registry:5000"],
    "docker_insecure_registries": ["registry:5000"],
}

# The registry of the tests has no other tag.
POSTGRES_DEFAULTS = yaml.safe_load((ROOT / "roles" / "postgres" / "defaults" / "main.yml").read_text("utf-8"))
BEFORE = {"postgres_version": POSTGRES_DEFAULTS["postgres_version"]}


@pytest.fixture(scope="module")
def former(images: None, say: Callable[[str], None], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """A host that the former version has provisioned from a checkout of its own."""
    checkout = tmp_path_factory.mktemp("former") / "ansible_collections" / "devorch" / "orchestration"
    subprocess.run(["git", "worktree", "add", "--detach", checkout, FORMER], cwd=ROOT, check=True)
    try:
        for host in Host.made("default", say):
            environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(checkout.parents[2])}
            inventory = host.inventory({host.name: {}}, checkout.parents[2])
            command = ["ansible-playbook", "playbooks/site.yml", "--inventory", inventory]
            say("the former version provisions a host (about 4 minutes)")
            subprocess.run(
                [*command, "--extra-vars", json.dumps(VARIABLES | BEFORE)], cwd=checkout, env=environment, check=True
            )
            yield host
    finally:
        subprocess.run(["git", "worktree", "remove", "--force", checkout], cwd=ROOT, check=False)


def started(host: Host) -> dict[str, str]:
    names = host.shell("docker ps --format '{{.Names}}'").split()
    return {name: host.shell(f"docker inspect --format '{{{{.State.StartedAt}}}}' {name}") for name in names}


def test_one_run_takes_it_over_and_loses_nothing(former: Host, tmp_path: Path) -> None:
    seed(former, f"{WEBHOOKS}/default/hello-world/hello-world-trigger")
    before = data(former)
    former.site(VARIABLES, about="about 2 minutes").succeeded()
    assert data(former) == before
    former.shell("test -d /opt/orchestration/rollback && ! test -e /opt/orchestration/former")
    former.shell("! test -e /opt/orchestration/sidecar/src")
    running = started(former)
    again = former.site(VARIABLES, about="about 20 s").succeeded()
    assert again.recap["changed"] == 0
    assert started(former) == running
    assert data(former) == before
