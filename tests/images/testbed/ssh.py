"""Reach a test host as servers are reached: over SSH, as an ordinary user whose sudo asks for a password."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from . import engine
from .engine import docker
from .settings import ImagesError, run

USER = "operator"
# Debian has a group of the user's name already. The image starts nothing by itself, and so nothing that lets users in.
PREPARE = f"""\
set -eu
ssh-keygen -A
id {USER} >/dev/null 2>&1 || useradd --create-home --shell /bin/bash --gid users --groups sudo {USER}
chpasswd
install -d -m 0700 -o {USER} -g users ~{USER}/.ssh
printf '%s\\n' "$1" > ~{USER}/.ssh/authorized_keys
chown {USER}:users ~{USER}/.ssh/authorized_keys
systemctl add-wants --quiet multi-user.target systemd-user-sessions.service
systemctl start systemd-user-sessions.service
systemctl enable --quiet --now ssh
"""


@dataclass(frozen=True)
class Access:
    """How to reach a host: what an operator knows of a server."""

    name: str
    address: str
    key: Path
    known_hosts: Path
    password: str
    """What sudo asks for."""

    def variables(self) -> dict[str, str]:
        """Return the variables that an inventory needs for this host; the password of sudo is none of them."""
        # OpenSSH looks for its own directory in the user database, not in $HOME.
        options = f"-F none -o UserKnownHostsFile={self.known_hosts} -o IdentitiesOnly=yes"
        return {
            "ansible_host": self.address,
            "ansible_user": USER,
            "ansible_ssh_private_key_file": str(self.key),
            "ansible_ssh_common_args": options,
            "ansible_python_interpreter": "/usr/bin/python3",
        }


def enable(name: str, directory: Path, password: str | None = None) -> Access:
    """Start sshd on a test host, with a user for it; the key and the host's own one are kept in the directory."""
    if not engine.find_program("ssh"):
        engine.install(["openssh-client"])
    key, known_hosts = directory / "key", directory / "known_hosts"
    if not key.exists():
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "devorch test", "-f", str(key)])
    password = password or secrets.token_urlsafe(12)
    public = key.with_suffix(".pub").read_text(encoding="utf-8").strip()
    script = ["exec", "--interactive", name, "sh", "-c", PREPARE, "sh", public]
    docker(*script, stdin=f"{USER}:{password}\n")
    host_key = docker("exec", name, "cat", "/etc/ssh/ssh_host_ed25519_key.pub").stdout.split()[:2]
    address = _address(name)
    with os.fdopen(os.open(known_hosts, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "w") as stream:
        stream.write(f"{address} {' '.join(host_key)}\n")
    return Access(name, address, key, known_hosts, password)


def _address(name: str) -> str:
    template = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}"
    addresses = docker("container", "inspect", "--format", template, name).stdout.split()
    if not addresses:
        raise ImagesError(f"{name} has no address")
    return addresses[0]
