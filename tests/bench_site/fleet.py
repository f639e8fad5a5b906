"""Hosts to measure: a converged one in a container, and copies of it that are reached over SSH.

A copy has all files and units of the converged host, but no engine of its own: its Docker socket and the ports of the
services lead to the converged host, whose containers answer for all. So a run that changes nothing does on each copy
what it does on a real host.
"""

from __future__ import annotations

import io
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
# Ports of the converged host's loopback address, and of Docker's socket, as the copies reach them.
PORTS = {8080: 18080, 8081: 18081, 5678: 15678}
DOCKER = 12375
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
    doors = {DOCKER: "/run/docker.sock"} | {outer: f"127.0.0.1:{inner}" for inner, outer in PORTS.items()}
    for port, target in doors.items():
        unit = f"bench-door-{port}"
        command = f"systemd-socket-activate --listen=0.0.0.0:{port} {PROXY} {target}"
        script = f"systemctl is-active --quiet {unit} || systemd-run --quiet --unit={unit} {command}"
        docker("exec", source, "sh", "-c", script)


def overlay(source: str) -> bytes:
    """Return a tar archive, for /, with the units that make a copy use the converged host's engine and services."""
    units = "etc/systemd/system"
    files = {f"{units}/docker.service.d/bench.conf": f"[Service]\nExecStart=\nExecStart={PROXY} {source}:{DOCKER}\n"}
    links = {}
    for inner, outer in PORTS.items():
        files[f"{units}/bench-{inner}.socket"] = f"[Socket]\nListenStream=127.0.0.1:{inner}\n"
        files[f"{units}/bench-{inner}.service"] = f"[Service]\nExecStart={PROXY} {source}:{outer}\n"
        links[f"{units}/sockets.target.wants/bench-{inner}.socket"] = f"../bench-{inner}.socket"
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
    archive = overlay(source)
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
