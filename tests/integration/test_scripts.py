"""Scripts of flows on Kestra's own task runners: processes, and containers of a Docker."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..sampling import LONG
from . import scripts
from .kestra import ROOT, Kestra, Postgres, docker, environment, start_kestra, wait_until

# What `privileged` gives, but for what a machine that is a container itself can't give.
PRIVILEGED = (
    *("--cap-add=ALL", "--cap-drop=SYS_RESOURCE", "--device-cgroup-rule=a *:* rwm"),
    *(f"--security-opt={option}=unconfined" for option in ("seccomp", "apparmor", "systempaths")),
)


def run(kestra: Kestra, name: str, runner: str) -> dict[str, str]:
    """Run the flow of scripts, and return its outputs."""
    kestra.save_flow(scripts.flow(name, runner))
    execution = kestra.execute(f"{scripts.NAMESPACE}/{name}")
    assert execution["state"]["current"] == "SUCCESS", kestra.messages(execution)
    outputs: dict[str, str] = kestra.call("GET", f"/outputs/executions/{execution['id']}").json()
    return outputs


@pytest.fixture
def containers(images: None) -> Iterator[set[str]]:
    """The containers before the test; those of scripts are gone after it."""
    before = set(docker("ps", "--all", "--quiet", "--filter", f"ancestor={scripts.IMAGE}").split())
    yield before
    assert set(docker("ps", "--all", "--quiet", "--filter", f"ancestor={scripts.IMAGE}").split()) <= before


@pytest.mark.parametrize("runner", ["process", "docker"])
def test_scripts_run(kestra: Kestra, containers: set[str], runner: str) -> None:
    outputs = run(kestra, runner, scripts.PROCESS if runner == "process" else scripts.docker_runner())
    own = json.loads(docker("inspect", "--format", "{{json .Config.Hostname}}", kestra.container))
    assert outputs["said"] == f"Grüße ☃ from {runner}"
    # The price of each, as docs/flows.md has it.
    assert (outputs["hostname"] == own, outputs["secret"]) == ((True, "seen") if runner == "process" else (False, ""))


if LONG:

    @pytest.fixture
    def rootless(images: None) -> Iterator[tuple[str, str]]:
        """A Docker without root, as in the role's Compose file; the volumes of its socket and of Kestra's data."""
        cli = str(ROOT / "tests" / "images" / "cli.py")
        subprocess.run([sys.executable, cli, "build", "dind"], check=True)
        name = f"devorch-test-dind-{secrets.token_hex(4)}"
        own = ("--opt", "type=tmpfs", "--opt", "device=tmpfs", "--opt", "o=uid=1000,gid=1000,mode=0700")
        volumes = [f"{name}-socket", f"{name}-data"]
        try:
            for volume in volumes:
                docker("volume", "create", *own, volume)
            docker(
                *("run", "--detach", "--name", name, "--user", "1000", *PRIVILEGED, "--entrypoint", "sh"),
                *("--volume", f"{volumes[0]}:/dind", "--volume", "/home/rootless/.local/share/docker"),
                *("--env", "DOCKER_HOST=unix:///dind/docker.sock", "localhost/devorch-dind:latest", "-c"),
                "until [ -e /dev/net/tun ]; do sleep 0.1; done;"
                " exec dockerd-entrypoint.sh --log-level=error --group=1000",
            )
            # The engine gives it to a privileged container.
            node = "mkdir -p /dev/net && mknod -m 666 /tmp/tun c 10 200 && mv /tmp/tun /dev/net/tun"
            docker("exec", "--user", "0", name, "sh", "-c", node)

            def answers() -> bool:
                return "rootless" in docker("exec", name, "docker", "info", check=False)

            wait_until("Docker without root answers", answers, 90)
            pipe = f"docker save {scripts.IMAGE} | docker exec --interactive {name} docker load"
            subprocess.run(["bash", "-o", "pipefail", "-c", pipe], check=True, stdout=subprocess.DEVNULL)
            yield volumes[0], volumes[1]
        finally:
            docker("rm", "--force", "--volumes", name, check=False)
            docker("volume", "rm", *volumes, check=False)

    def test_scripts_run_in_a_docker_without_root(
        rootless: tuple[str, str], postgres: Postgres, standalone: Path
    ) -> None:
        socket, data = rootless
        env = environment(postgres)
        mounts = (f"{socket}:/dind",)
        with start_kestra(standalone, env, postgres.network, user="kestra", volume=data, mounts=mounts) as kestra:
            outputs = run(kestra, "dind", scripts.docker_runner("unix:///dind/docker.sock"))
        assert outputs["said"] == "Grüße ☃ from dind" and outputs["secret"] == ""
