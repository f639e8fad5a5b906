"""Hosts to measure: a converged one in a container, and copies of it that are reached over SSH.

A copy has all files and units of the converged host, but no engine of its own: its Docker socket and the sockets of the
services lead to the converged host, whose containers answer for all. So a run that changes nothing does on each copy
what it does on a real host.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

from ..integration.kestra import ROOT

sys.path.insert(0, str(ROOT / "tests" / "images"))

from testbed import build, engine, hosts, registry, ssh
from testbed.engine import docker
from testbed.settings import IMAGE_LABEL, LABEL, ImagesError

PROXY = "/usr/lib/systemd/systemd-socket-proxyd"
DOCKER_PROXY = "/usr/local/lib/bench-proxy.py"
# Where the copies reach Docker on the converged host, and its services, whose addresses are the same on a copy.
DOCKER = 12375
DOORS = {
    18080: "127.0.0.1:8080",
    18081: "127.0.0.1:8081",
    15678: "127.0.0.1:5678",
    15432: "/opt/orchestration/data/postgres/run/.s.PGSQL.5432",
}
REGISTRY = {"docker_registry_mirrors": ["http://registry:5000"], "docker_insecure_registries": ["registry:5000"]}


def prepare() -> dict[str, Any]:
    """Have an engine, and the images where Docker Hub has to be replaced; return the variables of the site."""
    engine.ensure_engine()
    variables: dict[str, Any] = {"docker_package_source": "distribution"}
    if registry.docker_hub_reachable():
        build.build(["testhost:trixie"])
        return variables
    build.build(["testhost:trixie", "kestra", "n8n", "postgres", "registry"])
    registry.ensure_registry(["postgres", "n8n", "kestra"])
    return variables | REGISTRY


def open_doors(source: str) -> None:
    """Let the copies reach Docker and the services of the converged host; only the test hosts' network leads there."""
    docker("cp", str(Path(__file__).with_name("proxy.py")), f"{source}:{DOCKER_PROXY}")
    commands = {DOCKER: f"python3 {DOCKER_PROXY} /run/docker.sock {DOCKER}"}
    for port, target in DOORS.items():
        commands[port] = f"systemd-socket-activate --listen=0.0.0.0:{port} {PROXY} {target}"
    for port, command in commands.items():
        unit = f"bench-door-{port}"
        script = f"systemctl is-active --quiet {unit} || systemd-run --quiet --unit={unit} {command}"
        docker("exec", source, "sh", "-c", script)


def bridge(source: str) -> str:
    """Return the address, with its prefix, of Docker's bridge on a host."""
    shown = json.loads(docker("exec", source, "ip", "-json", "-4", "address", "show", "docker0").stdout)
    (address,) = shown[0]["addr_info"]
    return f"{address['local']}/{address['prefixlen']}"


def overlay(source: str, bridge: str) -> bytes:
    """Return a tar archive, for /, with the units that make a copy use the converged host's engine and services."""
    units = "etc/systemd/system"
    # The bridge is what an engine of its own would have made; the sidecar listens on it.
    commands = ["link add docker0 type bridge", f"address replace {bridge} dev docker0", "link set docker0 up"]
    before = "".join(f"ExecStartPre=-/usr/sbin/ip {command}\n" for command in commands)
    engine_unit = f"[Service]\nType=exec\n{before}ExecStart=\nExecStart=python3 {DOCKER_PROXY} {source}:{DOCKER}\n"
    files = {f"{units}/docker.service.d/bench.conf": engine_unit}
    links = {}
    for port, address in DOORS.items():
        files[f"{units}/bench-{port}.socket"] = f"[Socket]\nListenStream={address}\n"
        files[f"{units}/bench-{port}.service"] = f"[Service]\nExecStart={PROXY} {source}:{port}\n"
        links[f"{units}/sockets.target.wants/bench-{port}.socket"] = f"../bench-{port}.socket"
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(text.encode()), 0o644
            archive.addfile(entry, io.BytesIO(text.encode()))
        for name, target in links.items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            archive.addfile(entry)
    return buffer.getvalue()


def image_of(source: str) -> str:
    """Return the name of the image that holds a copy of a host."""
    return f"localhost/{source}:copy"


def copy(source: str, names: list[str], directory: Path) -> list[ssh.Access]:
    """Make copies of the converged host under these names; return how to reach each."""
    open_doors(source)
    image = image_of(source)
    docker("commit", "--change", f"LABEL {IMAGE_LABEL}=1", source, image)
    archive = overlay(source, bridge(source))
    for name in names:
        hosts.down(name)
        docker("volume", "create", "--label", f"{LABEL}=1", hosts.volume(name))
        hosts.create(["create", *hosts.run_arguments(name, image, [])[2:]])
        command = [engine.docker_cli(), "cp", "-", f"{name}:/"]
        done = subprocess.run(command, input=archive, capture_output=True, check=False)
        if done.returncode:
            raise ImagesError(f"{name}: {done.stderr.decode(errors='replace')}")
        docker("start", name)
    for name in names:
        hosts.wait_running(name)
    return [ssh.enable(name, directory, "bench") for name in names]


def remove(source: str, names: list[str]) -> None:
    """Remove the copies and their image; the converged host stays for the next time."""
    for name in names:
        hosts.down(name)
    docker("image", "rm", "--force", image_of(source), check=False)
