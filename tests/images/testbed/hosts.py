"""Test hosts: containers with systemd that have a Docker engine of their own inside once a role installed it."""

from __future__ import annotations

import hashlib
import io
import json
import re
import subprocess
import tarfile
import time

from . import build, recipes
from .engine import docker, docker_cli, say
from .registry import container, ensure_network
from .settings import LABEL, NETWORK, HostSettings, ImagesError, host_settings

ROLE_LABEL = "devorch.test.host"
ARGUMENTS_LABEL = "devorch.test.arguments"
BOOT_TIMEOUT = 90
# Everything that --privileged gives but SYS_RESOURCE, which some machines do not have themselves.
FLAGS = (
    "--cap-add=ALL",
    "--cap-drop=SYS_RESOURCE",
    "--security-opt=seccomp=unconfined",
    "--security-opt=apparmor=unconfined",
    "--cgroupns=private",
    # The services inside must end well before the power goes off; Docker's 10 s cut them short.
    "--stop-timeout=90",
    "--tmpfs=/run",
    "--tmpfs=/run/lock",
    # A reboot inside ends the container; this is what turns the power on again. `docker stop` keeps it off.
    "--restart=unless-stopped",
)
CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


def run_arguments(name: str, image: str, publish: list[str]) -> list[str]:
    """Return the arguments of `docker` that start a test host."""
    arguments = ["run", "--detach", "--name", name, "--hostname", name, "--network", NETWORK, *FLAGS]
    arguments += ["--volume", f"{volume(name)}:/var/lib/docker"]
    for ports in publish:
        arguments += ["--publish", ports]
    digest = hashlib.sha256(json.dumps([image, *FLAGS, *publish]).encode()).hexdigest()[:16]
    arguments += ["--label", f"{LABEL}=1", "--label", f"{ROLE_LABEL}={name}", "--label", f"{ARGUMENTS_LABEL}={digest}"]
    return [*arguments, image]


def volume(name: str) -> str:
    """Return the volume that holds what the engine inside a host keeps."""
    return f"{name}-docker"


def missing_certificates(bundle: str, known: str) -> list[str]:
    """Return the certificates of a bundle, in PEM, that are not among the known ones."""

    def bodies(text: str) -> dict[str, str]:
        return {"".join(pem.split()): pem for pem in CERTIFICATE.findall(text)}

    have = bodies(known)
    return [pem for body, pem in bodies(bundle).items() if body not in have]


def settings_archive(settings: HostSettings, known: str) -> bytes:
    """Return a tar archive, for /, with this machine's certificates and the settings of pip and apt."""
    files: dict[str, bytes] = {}
    if settings.ca:
        missing = missing_certificates(settings.ca.read_text(encoding="utf-8", errors="replace"), known)
        for number, pem in enumerate(missing):
            files[f"usr/local/share/ca-certificates/machine-{number}.crt"] = f"{pem}\n".encode()
    if settings.pip_conf:
        files["etc/pip.conf"] = settings.pip_conf.read_bytes()
    if settings.apt_conf:
        files["etc/apt/apt.conf.d/99machine"] = settings.apt_conf.read_bytes()
    for path in settings.extra:
        files.setdefault(str(path).lstrip("/"), path.read_bytes())
    files.pop("etc/ssl/certs/ca-certificates.crt", None)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            entry.mode = 0o644
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def _hand_over_settings(name: str) -> None:
    known = docker("exec", name, "cat", "/etc/ssl/certs/ca-certificates.crt").stdout
    archive = settings_archive(host_settings(), known)
    command = [docker_cli(), "cp", "-", f"{name}:/"]
    done = subprocess.run(command, input=archive, capture_output=True, check=False)
    if done.returncode != 0:
        raise ImagesError(f"{name}: the machine's settings cannot be copied: {done.stderr.decode(errors='replace')}")
    docker("exec", name, "update-ca-certificates")


def wait_running(name: str, seconds: float = BOOT_TIMEOUT) -> float:
    """Wait until systemd in a host has finished starting; return the seconds it took.

    `degraded` (a unit failed) is an error that names the units.
    """
    started = time.monotonic()
    state = ""
    while time.monotonic() - started < seconds:
        state = docker("exec", name, "systemctl", "is-system-running", check=False).stdout.strip()
        if state == "running":
            return time.monotonic() - started
        if state == "degraded":
            failed = docker("exec", name, "systemctl", "list-units", "--failed", "--plain", "--no-legend", check=False)
            raise ImagesError(f"{name}: systemd is up, but units failed:\n{failed.stdout}")
        time.sleep(0.2)
    logs = docker("logs", "--tail", "20", name, check=False)
    raise ImagesError(
        f"{name}: systemd is '{state or 'not answering'}' after {seconds:.0f} s\n{logs.stdout}{logs.stderr}"
    )


def create(arguments: list[str]) -> None:
    """Run a command of `docker` that makes a host, without what the engine refuses."""
    done = docker(*arguments, check=False)
    if done.returncode != 0 and "invalid CapDrop" in done.stderr:
        # A newer engine knows by itself what this machine cannot give, and refuses to hear it.
        done = docker(*[argument for argument in arguments if not argument.startswith("--cap-drop")], check=False)
    if done.returncode != 0:
        raise ImagesError(f"the host cannot be started: {done.stderr.strip()}")


def up(name: str, *, suite: str = "trixie", publish: list[str] | None = None) -> bool:
    """Have a test host of this name up; return whether anything was done.

    A host that runs with the same image and flags is left alone, a stopped one is started. One of another image,
    suite or published ports is refused: it may hold work, so taking it down is the caller's decision.
    """
    recipe = recipes.get(f"testhost:{suite}")
    with build.locked(f"host-{name}"):
        arguments = run_arguments(name, recipe.tag, publish or [])
        present = container(name)
        if present:
            if f"{ARGUMENTS_LABEL}={present.get(ARGUMENTS_LABEL)}" not in arguments:
                raise ImagesError(
                    f"a container '{name}' exists that differs from what is asked: 'host down {name}' first"
                )
            if present["image"] != build.image_id(recipe.tag):
                say(f"{name}: made from an older {recipe.tag}; 'host down {name}' makes room for a new one")
            if present["state"] == "running":
                wait_running(name)
                say(f"{name}: up")
                return False
            docker("start", name)
            say(f"{name}: started, systemd is up after {wait_running(name):.1f} s")
            return True
        if build.image_id(recipe.tag) is None:
            raise ImagesError(f"{recipe.tag} is not there: build it with 'build {recipe.name}'")
        ensure_network()
        docker("volume", "create", "--label", f"{LABEL}=1", volume(name))
        create(arguments)
        seconds = wait_running(name)
        try:
            _hand_over_settings(name)
        except ImagesError:
            down(name)
            raise
        say(f"{name}: made from {recipe.tag}, systemd is up after {seconds:.1f} s")
        return True


def down(name: str) -> bool:
    """Remove a test host and all it holds; return whether there was one."""
    present = container(name)
    if present and present.get(LABEL) != "1":
        raise ImagesError(f"the container '{name}' was not made by this tool")
    if present:
        docker("rm", "--force", "--volumes", name)
    if docker("volume", "inspect", volume(name), check=False).returncode == 0:
        docker("volume", "rm", volume(name))
    say(f"{name}: {'removed' if present else 'not there'}")
    return present is not None


def boot_id(name: str) -> str:
    """Return what tells one boot of a host from the next."""
    return docker("container", "inspect", "--format", "{{.State.StartedAt}}", name).stdout.strip()


def reboot(name: str, *, seconds: float = BOOT_TIMEOUT) -> float:
    """Reboot a host from inside, as a person would; return the seconds until systemd is up again."""
    if not _is_running(name):
        raise ImagesError(f"no host '{name}' is up")
    before = boot_id(name)
    started = time.monotonic()
    docker("exec", name, "systemctl", "reboot", check=False)
    while boot_id(name) == before or not _is_running(name):
        if time.monotonic() - started > seconds:
            raise ImagesError(f"{name}: did not come back within {seconds:.0f} s of a reboot")
        time.sleep(0.3)
    wait_running(name, seconds)
    return time.monotonic() - started


def _is_running(name: str) -> bool:
    present = container(name)
    return present is not None and present["state"] == "running"


def names() -> list[str]:
    """Return the names of all test hosts."""
    done = docker("ps", "--all", "--filter", f"label={ROLE_LABEL}", "--format", "{{.Names}}")
    return done.stdout.split()
