"""A host without a route, installed from a bundle that another host made."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sampling import LONG

from .conftest import Host, Run

IMAGES = ("python3", "tests/images/cli.py", "host")


@pytest.fixture(scope="module")
def isolated(host: Host) -> Iterator[Host]:
    """A bare host without any network."""
    alone = Host("default", host.say, "devorch-air-gap")
    alone.run(*IMAGES, "up", alone.name, about="seconds").succeeded()
    alone.run("docker", "network", "disconnect", "devorch-test", alone.name, about="seconds").succeeded()
    assert alone.shell("ip route") == ""
    yield alone
    alone.run(*IMAGES, "down", alone.name, about="seconds").succeeded()


def archive(path: Path, release: str, damaged: bool) -> Path:
    """Write a bundle without content."""
    manifest = json.dumps({"host": {"distribution": "Debian", "release": release, "architecture": "x86_64"}}).encode()
    digest = hashlib.sha256(manifest).hexdigest()
    sums = f"{digest[::-1] if damaged else digest}  manifest.json\n".encode()
    with tarfile.open(path, "w") as tar:
        for name, content in (("manifest.json", manifest), ("SHA256SUMS", sums)):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return path


# Ten minutes, so that make test-long alone has them.
if LONG:

    @pytest.mark.parametrize(("damaged", "message"), [(True, "did NOT match"), (False, "was made for Debian 11")])
    def test_damaged_or_foreign_bundle_is_refused(isolated: Host, tmp_path: Path, damaged: bool, message: str) -> None:
        bundle = archive(tmp_path / "bundle.tar", "13" if damaged else "11", damaged)
        variables = {"orchestration_offline": True, "orchestration_bundle": str(bundle)}
        run = isolated.playbook("site", variables, about="about 20 s")
        assert run.code != 0
        assert message in " ".join(run.output.split())
        isolated.shell("! command -v dockerd; ! test -e /opt/orchestration/bundle")

    def test_host_without_a_route_is_installed_from_a_bundle(
        host: Host, converged: Run, isolated: Host, tmp_path: Path
    ) -> None:
        bundle = tmp_path / "bundle.tar"
        host.playbook("bundle", {"bundle_path": str(bundle)}, about="about 3 minutes").succeeded()
        variables = {"orchestration_offline": True, "orchestration_bundle": str(bundle)}
        isolated.playbook("site", variables, about="about 6 minutes").succeeded()
        services = ("postgres", "kestra", "n8n")
        assert {name: isolated.health(name) for name in services} == dict.fromkeys(services, "healthy")
        assert isolated.shell("systemctl is-active orchestration-sidecar") == "active"
        assert isolated.playbook("site", variables, about="about a minute").succeeded().recap["changed"] == 0
