"""Shared by all tests: where the collection is, and the images that the dearer tests need."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.plugins.loader import init_plugin_loader
from xdist.scheduler import LoadScopeScheduling

from .budget import pytest_configure as pytest_configure
from .order import rank, scope
from .sampling import LONG
from .system.check_page import PLAYBOOKS
from .system.conftest import Host, Run

ROOT = Path(__file__).parents[1]
BUILD = [sys.executable, str(ROOT / "tests" / "images" / "cli.py")]

# Ansible's own importer of ansible_collections; it reads ANSIBLE_COLLECTIONS_PATH, which the Makefile sets. It must be
# there before the first module of the collection is imported: a collection that Python has imported has no metadata.
init_plugin_loader([])

# What needs hosts of its own for many minutes: `make test-long`.
_LONG_ONES = ("air_gap", "environments", "external_postgres", "foreign_host", "n8n_runners", "takeover")
collect_ignore = [] if LONG else [f"system/test_{name}.py" for name in _LONG_ONES]

_building: list[subprocess.Popen[str]] = []


def _log(config: pytest.Config) -> Path:
    """Return where this process writes what the building of the images prints."""
    return config.cache.mkdir("images") / f"build-{os.environ.get('PYTEST_XDIST_WORKER', 'alone')}.log"


class Scheduling(LoadScopeScheduling):
    """Keep the tests that share a test host, or the live servers, in one process, and so those of a file elsewhere.

    xdist's own groups (3.8) get lost with pytest 9.
    """

    def _split_scope(self, nodeid: str) -> str:
        return scope(nodeid)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests into the order in which they report soonest; those of a file stay as they are."""
    items.sort(key=lambda item: rank(item.nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduling:
    """Tell xdist how to share the tests out."""
    return Scheduling(config, log)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Start to build the images at once where a test needs them: the cheap tests run meanwhile."""
    # A unit test may have a parameter of that name.
    users = [item for item in session.items if "images" in item.fixturenames and rank(item.nodeid) != (0, 0)]
    if session.config.option.collectonly or not users:
        return
    log = _log(session.config)
    with log.open("w") as stream:
        # Each process of the tests does it, one after the other: what the first has built, the second finds.
        lock = os.environ["DEVORCH_CACHE"] + "/tests.lock"
        script = 'set -e; "$@" engine; "$@" build; "$@" build testhost:bookworm stores; "$@" registry'
        command = ["flock", lock, "bash", "-c", script, "bash", *BUILD]
        _building.append(subprocess.Popen(command, cwd=ROOT, stdout=stream, stderr=subprocess.STDOUT))


@pytest.fixture(scope="session")
def say(pytestconfig: pytest.Config) -> Callable[[str], None]:
    """Print a line of progress that pytest does not capture."""
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")

    def write(text: str) -> None:
        with capture.global_and_fixture_disabled():
            # Of the processes that xdist starts, the terminal has this stream alone.
            print(f"\n== {time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)

    return write


@pytest.fixture(scope="session")
def images(pytestconfig: pytest.Config, say: Callable[[str], None]) -> Iterator[None]:
    """A Docker engine, every image and the registry; built in the background since the session began."""
    log = _log(pytestconfig)
    (process,) = _building
    shown = 0
    say("waiting for the images (about 7 minutes on the first run, seconds on later ones)")
    while True:
        finished = process.poll() is not None
        text = log.read_text(encoding="utf-8", errors="replace")
        for line in text[shown:].splitlines():
            say(line)
        shown = len(text)
        if finished:
            break
        time.sleep(1)
    assert process.returncode == 0, f"the images could not be built:\n{text[-4000:]}"
    yield


@pytest.fixture(scope="session")
def host(images: None, say: Callable[[str], None]) -> Iterator[Host]:
    """The test host, without anything of ours on it yet; removed at the end."""
    yield from Host.made("default", say)


@pytest.fixture(scope="session")
def empty_checks(host: Host) -> dict[str, Run]:
    """What every playbook says with --check on the empty host."""
    return {name: host.playbook(name, given, "--check", about="about 15 s") for name, given in PLAYBOOKS.items()}


@pytest.fixture(scope="session")
def converged_checks(host: Host, converged: Run) -> dict[str, Run]:
    """What every playbook says with --check on the converged host."""
    return {name: host.playbook(name, given, "--check", about="about 30 s") for name, given in PLAYBOOKS.items()}


@pytest.fixture(scope="session")
def converged(host: Host, request: pytest.FixtureRequest) -> Run:
    """The run of site.yml that provisioned the host, with all that Ansible can print."""
    # The host is empty now, and never again.
    if any("empty_checks" in item.fixturenames for item in request.session.items):
        request.getfixturevalue("empty_checks")
    return host.molecule("converge", "--", "-vvv", "--diff", about="about 4 minutes").succeeded()
