"""Find or start a Docker engine, and choose a client that can build images."""

from __future__ import annotations

import functools
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from .settings import ImagesError, as_root, cache_dir, run

PACKAGES = {"dockerd": "docker.io", "iptables": "iptables", "debootstrap": "debootstrap"}
# Newer releases have the client and its builder in packages of their own, older ones have them in docker.io.
CLIENT_PACKAGES = ("docker-cli", "docker-buildx")
SYSTEM_PATH = "/usr/sbin:/sbin"
START_TIMEOUT = 60
# Always the built-in BuildKit of the engine, and plain images rather than lists with attestations.
CLIENT_ENV = {"DOCKER_BUILDKIT": "1", "BUILDX_BUILDER": "default", "BUILDX_NO_DEFAULT_ATTESTATIONS": "1"}


def say(text: str) -> None:
    """Tell the person at the terminal what happens, at once even when the output is a pipe."""
    print(text, flush=True)


def _pid_file() -> Path:
    return cache_dir() / "dockerd.pid"


def _log_file() -> Path:
    return cache_dir() / "dockerd.log"


def client_major(version_text: str) -> int | None:
    """Return the major version in the output of `docker --version`."""
    match = re.search(r"version (\d+)\.", version_text)
    return int(match.group(1)) if match else None


def _can_build(client: str) -> bool:
    if run([client, "buildx", "version"], check=False).returncode == 0:
        return True
    # Before 23 the client had BuildKit built in; since then it needs the plugin.
    major = client_major(run([client, "--version"], check=False).stdout)
    return major is not None and 19 <= major < 23


def _clients() -> list[str]:
    directories = [*os.environ.get("PATH", "").split(os.pathsep), "/usr/bin", "/usr/local/bin"]
    found = [os.environ.get("DEVORCH_DOCKER", "")] + [str(Path(directory) / "docker") for directory in directories]
    return [path for path in dict.fromkeys(found) if path and os.access(path, os.X_OK)]


@functools.cache
def _choose_client() -> str:
    clients = _clients()
    able = next((client for client in clients if _can_build(client)), None)
    if able is None and not clients:
        raise ImagesError("no docker client found; run the 'engine' command first")
    return able or clients[0]


def docker_cli() -> str:
    """Return the path of a docker client, one that can build with BuildKit when there is one.

    $DEVORCH_DOCKER is looked at first, then PATH. Setting CLIENT_ENV in the environment is part of the choice.
    """
    os.environ.update(CLIENT_ENV)
    return _choose_client()


def docker(
    *arguments: str, check: bool = True, stdin: str | None = None, timeout: float | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the chosen docker client with these arguments and captured output."""
    return run([docker_cli(), *arguments], check=check, stdin=stdin, timeout=timeout)


def answers() -> bool:
    """Tell whether a Docker engine answers to the chosen client."""
    if not _clients():
        return False
    return docker("version", "--format", "{{.Server.Version}}", check=False, timeout=30).returncode == 0


def find_program(name: str) -> str | None:
    """Return the path of a program, looked for also where only root's PATH points to."""
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), SYSTEM_PATH]))


def missing_packages() -> list[str]:
    """Return the Debian packages to install for an engine of our own and for base images."""
    return sorted(package for program, package in PACKAGES.items() if not find_program(program))


def install(packages: list[str]) -> None:
    """Install Debian packages on this machine; raise ImagesError where that is not possible."""
    if not shutil.which("apt-get"):
        raise ImagesError(f"{', '.join(packages)} needed, and only apt is known here: install it, or start an engine")
    say(f"engine: installing {' '.join(packages)} (about 15 s)")
    run(as_root(["apt-get", "update"]))
    if "docker.io" in packages:
        available = [name for name in CLIENT_PACKAGES if run(["apt-cache", "show", name], check=False).returncode == 0]
        packages = [*packages, *available]
    environment = ["env", "DEBIAN_FRONTEND=noninteractive"]
    run(as_root([*environment, "apt-get", "install", "-y", "--no-install-recommends", *packages]))
    _choose_client.cache_clear()


def outer_mtu(routes: str | None = None, interfaces: Path = Path("/sys/class/net")) -> int:
    """Return the MTU of the interface with the default route, 1500 when there is none."""
    if routes is None:
        table = Path("/proc/net/route")
        routes = table.read_text(encoding="ascii") if table.exists() else ""
    for line in routes.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 2 and fields[1] == "00000000":
            mtu_file = interfaces / fields[0] / "mtu"
            if mtu_file.is_file():
                return int(mtu_file.read_text(encoding="ascii"))
    return 1500


def _wait(seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if answers():
            return True
        if "permission denied" in docker("version", check=False, timeout=30).stderr:
            raise ImagesError("a Docker engine runs, but this user may not use it: add the user to the group docker")
        time.sleep(0.3)
    return False


def ensure_engine() -> None:
    """Make sure that a Docker engine answers: use the one that runs, else install and start one."""
    if answers():
        say(f"engine: running, client {docker_cli()}")
        return
    missing = missing_packages()
    if missing:
        install(missing)
    if Path("/run/systemd/system").is_dir():
        run(as_root(["systemctl", "start", "docker"]))
    # Where nothing forbids it, installing the package has started the engine already.
    elif not _wait(1):
        _start()
    if not _wait(START_TIMEOUT):
        raise ImagesError(f"the Docker engine did not answer within {START_TIMEOUT} s; see {_log_file()}")
    say(f"engine: started, client {docker_cli()}")


def _start() -> None:
    command = as_root([str(find_program("dockerd")), f"--mtu={min(outer_mtu(), 1500)}"])
    say(f"engine: starting {' '.join(command)} (log {_log_file()})")
    with _log_file().open("ab") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd="/"
        )
    _pid_file().write_text(f"{process.pid}\n", encoding="ascii")


def _is_ours(pid: int) -> bool:
    """Tell whether a process with this id is a dockerd (or the sudo before it), not a later one with a reused id."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return b"dockerd" in command


def stop_engine() -> None:
    """Stop the dockerd that this tool started; any other is left alone."""
    pid_file = _pid_file()
    if not pid_file.exists():
        say("engine: not started by this tool, left alone")
        return
    pid = int(pid_file.read_text(encoding="ascii"))
    if _is_ours(pid):
        if os.geteuid() == 0:
            os.kill(pid, signal.SIGTERM)
        else:
            run(as_root(["kill", str(pid)]))
        deadline = time.monotonic() + START_TIMEOUT
        while _is_ours(pid) and not _is_zombie(pid) and time.monotonic() < deadline:
            time.sleep(0.2)
        if _is_ours(pid) and not _is_zombie(pid):
            raise ImagesError(f"dockerd (process {pid}) did not stop within {START_TIMEOUT} s")
        say("engine: stopped")
    pid_file.unlink()


def _is_zombie(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] == "Z"


def warn(text: str) -> None:
    """Print a line to standard error."""
    print(text, file=sys.stderr, flush=True)
