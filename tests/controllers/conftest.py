"""A controller in a container: an ansible-core that needs a newer Python than the tests themselves run with."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from ..images.testbed.recipes import CONTROLLERS
from ..images.testbed.settings import CA_BUNDLES, host_settings
from ..sampling import LONG

ROOT = Path(__file__).parents[2]
COLLECTION = "/collections/ansible_collections/devorch/orchestration"
# The newest release alone in each run; `make test-ansible` takes all of them.
RELEASES = list(CONTROLLERS) if LONG else list(CONTROLLERS)[-1:]


@dataclass(frozen=True)
class Controller:
    """Runs commands in containers of one image, with the checkout as the collection."""

    release: str
    say: Callable[[str], None]

    def run(self, script: str, *mounts: str, about: str, network: str = "none") -> str:
        """Run a shell script in the checkout, and return what it prints; C(mounts) are as those of docker."""
        self.say(f"ansible-core {self.release}: {script[:80]} ({about})")
        settings = host_settings()
        files = [path for path in (settings.pip_conf, *settings.extra) if path]
        own = [f"{path}:{path}:ro" for path in files] + [f"{settings.ca}:{path}:ro" for path in CA_BUNDLES[:1]]
        command = ["docker", "run", "--rm", "--network", network, "--workdir", COLLECTION]
        for mount in (f"{ROOT}:{COLLECTION}:ro", *own, *mounts):
            command += ["--volume", mount]
        for variable in ("ANSIBLE_COLLECTIONS_PATH=/collections", "DEVORCH_CACHE=/tmp/cache", "HOME=/tmp/home"):
            command += ["--env", variable]
        command += [f"localhost/controller:{self.release}", "bash", "-euo", "pipefail", "-c", script]
        done = subprocess.run(
            command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, check=False
        )
        assert done.returncode == 0, done.stdout[-8000:]
        return done.stdout


@pytest.fixture(scope="session", params=RELEASES)
def controller(request: pytest.FixtureRequest, images: None, say: Callable[[str], None]) -> Controller:
    """A controller with each release; its image is built if it is missing."""
    cli = str(ROOT / "tests" / "images" / "cli.py")
    subprocess.run([sys.executable, cli, "build", f"controller:{request.param}"], check=True)
    return Controller(request.param, say)
