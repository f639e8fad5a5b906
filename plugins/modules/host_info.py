#!/usr/bin/python

# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: host_info
short_description: Gather information about an orchestration host
version_added: 0.1.0
description:
  - Reads the whole state of the host that a run needs to plan its changes, in one execution. Changes nothing.
  - Every key is always returned. If Docker, PostgreSQL, systemd or the necessary permissions are missing, the keys that
    depend on them are empty.
  - All programs together have 60 seconds to answer. A program that has not answered by then counts as missing.
  - Neither secrets nor the environments of containers are returned.
author:
  - devorch maintainers (@devorch)
options:
  root:
    description:
      - Directory of the orchestration host.
      - If it does not exist, RV(disk_free_bytes) is that of its closest existing parent.
    type: path
    required: true
  project:
    description: Name of the Compose project.
    type: str
    default: orchestration
  services:
    description: Services whose last known good files are read.
    type: list
    elements: str
    default: []
  packages:
    description: Packages whose versions are read.
    type: list
    elements: str
    default: []
  units:
    description: The systemd units whose states are read, each with its suffix.
    type: list
    elements: str
    default: []
  paths:
    description: Files and directories to read in addition to those in O(root).
    type: list
    elements: path
    default: []
  users:
    description: Users to look up.
    type: list
    elements: str
    default: []
  images:
    description:
      - Docker images to look up on the host. Each value is a list of the registries that may have the image.
      - A registry is a URL or a host name. A host name without a scheme means V(https).
      - If the host does not have an image, the module asks its registries for the tag or digest, in this order. It
        stops at the first registry that has the image.
    type: dict
    default: {}
  python:
    description: Path of the Python interpreter whose version is read. If empty, no version is read.
    type: str
    default: ""
  calendars:
    description: The systemd calendar expressions to check.
    type: list
    elements: str
    default: []
  marker:
    description: Path of the file that names the root of this host's data.
    type: path
    default: /etc/orchestration.json
  lock:
    description: Path of the lock of M(devorch.orchestration.host_lock).
    type: path
    default: /run/orchestration.lock
attributes:
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying the target.
    support: full
  diff_mode:
    description: Returns details on what has changed, or would change in C(check_mode), when in diff mode.
    support: N/A
    details:
      - The module only reads.
  idempotent:
    description: A second run with the same arguments changes nothing and reports C(changed=false).
    support: full
"""

EXAMPLES = r"""
- name: Gather information about the host
  devorch.orchestration.host_info:
    root: /opt/orchestration
    services: [docker, postgres, kestra, sidecar]
    packages: [docker.io, python3-venv]
    units: [docker.service, orchestration-sidecar.socket]
    paths: [/etc/docker/daemon.json]
    users: [orchestration-sidecar]
    images:
      docker.io/library/postgres:17: []
    python: /usr/bin/python3
  register: host
"""

RETURN = r"""
memory_bytes:
  description: Memory of the host, in bytes.
  returned: success
  type: int
  sample: 8323072000
disk_free_bytes:
  description: Free space on the file system of O(root) for users other than root, in bytes.
  returned: success
  type: int
  sample: 53687091200
addresses:
  description: The IP addresses of the host, with those of the loopback interface.
  returned: success
  type: list
  elements: str
  sample: ["127.0.0.1", "192.0.2.10", "::1"]
listeners:
  description: The listening TCP ports, by port number as a string.
  returned: success
  type: dict
  sample:
    "8080":
      addresses: ["127.0.0.1"]
      process: docker-proxy
      unit: docker.service
      project: orchestration
      container: orchestration-kestra-1
docker:
  description: Version of the engine and of the Compose plugin. Empty if it is missing or does not answer.
  returned: success
  type: dict
  sample: {"engine": "26.1.5", "compose": "2.26.1"}
docker_host:
  description:
    - What Docker on the host has apart from O(project). If Docker does not answer, only the configuration and the
      stored containers and volumes are known.
    - C(own) has the keys of C(/etc/docker/daemon.json) that this collection has not set. Secrets in their values are
      masked. C(problem) is why the file cannot be read.
    - C(others) has the names of the containers, running containers, volumes and networks that do not belong to
      O(project).
    - C(networks) has the subnets of Docker's bridge and of the networks of O(project). C(pools) has the configured
      networks from which Docker takes the subnets of new networks. It is empty if none are configured.
  returned: success
  type: dict
  sample:
    swarm: inactive
    live_restore: true
    data_root: /var/lib/docker
    proxy: false
    pools: []
    own: {"mtu": 1400}
    problem: ""
    others:
      containers: [other-web-1]
      running: [other-web-1]
      volumes: [other_data]
      networks: [other_default]
    networks:
      bridge: ["172.17.0.0/16"]
apt_sources:
  description: The package repositories of apt with their files and keys, without logins in their addresses.
  returned: success
  type: list
  elements: dict
  sample:
    - path: /etc/apt/sources.list.d/docker.list
      uri: https://download.docker.com/linux/debian
      signed_by: /etc/apt/keyrings/docker.asc
packages:
  description: Version of each of O(packages) that is installed or provided by an installed package.
  returned: success
  type: dict
  sample: {"docker.io": "26.1.5+dfsg1-9", "python3-venv": "3.13.5-1"}
units:
  description:
    - State of each of O(units), from C(systemctl show). If the unit does not exist, C(load) is V(not-found).
    - C(listen) has the addresses of a socket unit.
  returned: success
  type: dict
  sample:
    orchestration-sidecar.socket:
      load: loaded
      active: active
      enabled: enabled
      listen: ["127.0.0.1:8090 (Stream)"]
files:
  description:
    - Everything that exists at O(root), below O(root) and at O(paths), by path.
    - C(type) is V(file), V(directory), V(link) or V(other). A link below O(root) is always a V(link).
    - If O(root) itself, or one of O(paths) outside O(root), is a link to a directory, its C(type) is V(directory).
    - C(sha256) exists only for files, and not for files below C(secrets). It is empty if a file cannot be read or is
      larger than 64 MiB.
    - The contents of these directories are left out - C(backups), C(bundle), the services' directories below C(data),
      the directories of C(sidecar-data), the sidecar's virtual environments (except C(digest)), and the copies below
      C(rollback). For C(sidecar-data), only directories and links are listed.
  returned: success
  type: dict
  sample:
    /opt/orchestration/compose.yml:
      type: file
      mode: "0644"
      owner: root
      group: root
      uid: 0
      gid: 0
      sha256: 5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03
    /opt/orchestration/env:
      type: directory
      mode: "0700"
      owner: root
      group: root
      uid: 0
      gid: 0
services:
  description:
    - The last known good files of each of O(services), from C(rollback/<service>/record.json). An older version of the
      collection wrote C(former/<service>/record.json).
    - C(committed) is the digest of these files. It is empty if there are none.
    - C(config_hash) is Compose's configuration hash of the container that was healthy with these files.
    - C(differing) lists those of the files that are missing now or whose content or mode differs. It includes secret
      files.
  returned: success
  type: dict
  sample:
    kestra:
      committed: f740c98ab780f55cba50aea222eb89fa65a45cc1d3b0fa7540ea3696fd570ef4
      config_hash: cff9b343eecf0fcf66b9fac5ca4f1167e1b232d29233d4ac1cda78a2ee10e34e
      differing: []
containers:
  description:
    - The container of each service of O(project), by service.
    - C(started) is the start time in seconds since 1970, or V(0) if the container was never started.
    - C(failures) is the number of consecutive failed health checks.
    - C(config_hash) is the hash of the configuration with which Compose created the container.
    - C(directory) is the directory of the Compose project with which Compose created the container.
  returned: success
  type: dict
  sample:
    kestra:
      id: 3a8d5a8edaa8f6f3a1b9d1bb0f7e4e8b0b1f3c6c5d9d0a7d4f2f8e2a3c5b7d9e
      name: orchestration-kestra-1
      image: docker.io/kestra/kestra:v2.0.5
      image_id: sha256:98cbc61369ba56be3d86cfcc1881e453c85b4b2f49afdb3b0172f6d590462144
      status: running
      health: healthy
      failures: 0
      restarts: 0
      started: 1795893843.256683
      config_hash: cff9b343eecf0fcf66b9fac5ca4f1167e1b232d29233d4ac1cda78a2ee10e34e
      directory: /opt/orchestration
marked_root:
  description: Root that O(marker) names. PostgreSQL has had data below it. Empty if there is no marker.
  returned: success
  type: str
  sample: /opt/orchestration
other_roots:
  description: Directories other than O(root) that O(marker) and the containers of O(project) name as their root.
  returned: success
  type: list
  elements: str
  sample: []
images:
  description: Id of each of O(images) that is on the host.
  returned: success
  type: dict
  sample:
    docker.io/library/postgres:17: sha256:98cbc61369ba56be3d86cfcc1881e453c85b4b2f49afdb3b0172f6d590462144
missing_images:
  description: Those of O(images) that the host does not have. If Docker does not answer, these are all of them.
  returned: success
  type: list
  elements: str
  sample: []
registry_problems:
  description:
    - Why a registry does not provide a missing image, by image and registry. Registries after the first one that
      provides the image are not asked.
    - If all registries of an image are listed, none of them provides it. Images that are on the host are left out.
  returned: success
  type: dict
  sample:
    docker.io/library/postgres:17:
      https://registry-1.docker.io: no route to host
versions:
  description: Image that last ran on the data of each service, from the files in C(versions) below O(root).
  returned: success
  type: dict
  sample: {"kestra": "docker.io/kestra/kestra:v2.0.5"}
postgres_major:
  description: Major version of PostgreSQL that wrote the data. Empty if there is no data.
  returned: success
  type: str
  sample: "17"
databases:
  description:
    - Roles and databases of PostgreSQL in the container of O(project). Both are empty if C(reachable) is false.
    - C(password) of a role is V(current) if PostgreSQL stores the password in C(secrets/<name>_database_password) with
      SCRAM-SHA-256. For the role C(postgres), the file is C(secrets/postgres_password). C(password) is V(unknown) if
      this file cannot be read, and V(other) in all other cases.
    - C(public) is true if every role may connect to the database or create temporary tables in it.
  returned: success
  type: dict
  sample:
    reachable: true
    roles:
      kestra:
        superuser: false
        createdb: false
        createrole: false
        login: true
        password: current
    databases:
      kestra:
        owner: kestra
        encoding: UTF8
        public: false
n8n_owner:
  description:
    - Owner of n8n. C(email) is empty if no user has claimed n8n yet, or if the owner is not C(known).
    - C(managed) is true if the environment of n8n's container sets the owner.
  returned: success
  type: dict
  sample: {"known": true, "email": "admin@example.com", "managed": true}
secrets:
  description: Names of the files in C(secrets) below O(root).
  returned: success
  type: list
  elements: str
  sample: ["kestra_password", "postgres_password"]
users:
  description: Those of O(users) that exist, by name.
  returned: success
  type: dict
  sample:
    orchestration-sidecar:
      uid: 998
      gid: 998
      home: /home/orchestration-sidecar
      shell: /usr/sbin/nologin
      groups: ["orchestration-sidecar"]
groups:
  description: Names of all groups on the host.
  returned: success
  type: list
  elements: str
  sample: ["adm", "root", "sudo"]
python:
  description: Version of O(python), such as V(3.13). Empty if O(python) is empty or does not start.
  returned: success
  type: str
  sample: "3.13"
interrupted_restore:
  description: Whether a restore was started and has not finished.
  returned: success
  type: bool
  sample: false
calendars:
  description: Why systemd refuses each of O(calendars), by expression. Empty if systemd accepts it.
  returned: success
  type: dict
  sample: {"*-*-* 02:30:00": ""}
lock:
  description: The owner of O(lock), as C(held_by). Empty if the lock is not held.
  returned: success
  type: dict
  sample: {"held_by": ""}
"""

import os
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.devorch.orchestration.plugins.module_utils import addresses
from ansible_collections.devorch.orchestration.plugins.module_utils.host import (
    docker_host,
    files,
    listeners,
    lock,
    registry,
    state,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.host.commands import Commands

LIMIT = 60.0
"""Seconds for all programs together."""

LONGEST_VERSION = 64
"""Bytes of the file with PostgreSQL's version, which its container may write."""

THREADS = 16
"""So many that a program that hangs keeps none of the others waiting."""


class Collector:
    """One look at the host: what needs programs is asked at once, each in a thread of its own."""

    def __init__(self, module: AnsibleModule) -> None:
        self.asked: dict[str, Any] = module.params
        self.root = Path(self.asked["root"])
        self.commands = Commands(LIMIT)
        self.programs = {name: module.get_bin_path(name) for name in ("docker", "dpkg-query", "systemctl")}

    def ask(self, command: Sequence[str], given: str = "") -> str:
        """Return what a command prints; an empty text where it fails, or there is no such program."""
        program = self.programs.get(command[0], command[0])
        return self.commands.output([program, *command[1:]], given) if program else ""

    def containers(self, listed: Future[str]) -> tuple[dict[int, dict[str, str]], dict[str, dict[str, Any]]]:
        """Return who publishes each port, and the project's containers by service."""
        project = self.asked["project"]
        publishers, identifiers = state.parse_listed(listed.result(), project)
        inspected = self.ask(["docker", "inspect", "--type", "container", *identifiers]) if identifiers else ""
        return publishers, state.parse_containers(inspected, project)

    def image(self, reference: str, registries: list[str]) -> tuple[str, dict[str, str]]:
        """Return the identifier of an image; if it is missing, an empty one, and why registries do not give it."""
        found = self.ask(["docker", "image", "inspect", "--format", "{{.Id}}", reference]).strip()
        return found, {} if found else registry.problems(reference, registries)

    def databases(self) -> dict[str, Any]:
        """Return the state of PostgreSQL; the verifiers of passwords stay here."""
        printed = self.ask(state.database_command(self.asked["project"]))
        return state.parse_databases(printed, lambda name: files.password(self.root / "secrets" / name))

    def n8n_owner(self, databases: Future[Any]) -> dict[str, Any]:
        """Return who owns n8n, as its database and its environment say."""
        printed = self.ask(state.n8n_owner_command(self.asked["project"]), state.N8N_OWNER)
        has_data = bool(files.text(self.root / "data" / "postgres" / "pgdata" / "PG_VERSION", LONGEST_VERSION))
        environment = files.text(self.root / "env" / "n8n.env")
        return state.n8n_owner(printed, databases.result(), has_data, environment)

    def listeners(self, publishers: Future[Any]) -> dict[str, dict[str, Any]]:
        """Return the listening TCP ports of the host and who is behind them, by port number as a string."""
        sockets: list[listeners.Socket] = []
        for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
            if table.exists():
                sockets += listeners.parse_listening(table.read_text(encoding="ascii"))
        owners = listeners.socket_owners()
        containers = publishers.result()[0]
        result: dict[str, dict[str, Any]] = {}
        for socket in sockets:
            process, unit = owners.get(socket.inode, ("", ""))
            container = containers.get(socket.port, {"container": "", "project": ""})
            entry = result.setdefault(
                str(socket.port), {"addresses": [], "process": process, "unit": unit, **container}
            )
            entry["addresses"].append(socket.address)
        return result

    def result(self) -> dict[str, Any]:
        """Return everything."""
        asked = self.asked
        with ThreadPoolExecutor(THREADS + len(asked["images"])) as threads:
            begin = threads.submit
            listed = begin(self.ask, state.CONTAINERS)
            containers = begin(self.containers, listed)
            docker = begin(docker_host.look, self.ask, listed.result, self.root, asked["project"])
            databases = begin(self.databases)
            n8n_owner = begin(self.n8n_owner, databases)
            engine = begin(self.ask, ["docker", "version", "--format", "{{.Server.Version}}"])
            compose = begin(self.ask, ["docker", "compose", "version", "--short"])
            images = {name: begin(self.image, name, list(asked["images"][name] or [])) for name in asked["images"]}
            packages = begin(self.ask, state.PACKAGES if asked["packages"] else [""])
            units = begin(self.ask, [*state.UNITS, *asked["units"]] if asked["units"] else [""])
            calendars = {
                text: begin(self.commands.refusal, ["systemd-analyze", "calendar", text]) for text in asked["calendars"]
            }
            python = begin(self.ask, [asked["python"], "-c", state.PYTHON_VERSION])
            # Meanwhile, what needs no program.
            disk = os.statvfs(listeners.nearest_existing(self.root))
            held = lock.load(Path(asked["lock"]))
            marked = files.marked_root(Path(asked["marker"]))
            looked = {
                "memory_bytes": listeners.memory_total(Path("/proc/meminfo").read_text(encoding="ascii")),
                "disk_free_bytes": disk.f_bavail * disk.f_frsize,
                "files": files.files(self.root, map(Path, asked["paths"])),
                "services": {name: files.last_known_good(self.root, name) for name in asked["services"]},
                "versions": files.versions(self.root / "versions"),
                "postgres_major": files.text(
                    self.root / "data" / "postgres" / "pgdata" / "PG_VERSION", LONGEST_VERSION
                ),
                "marked_root": marked,
                "secrets": files.names(self.root / "secrets"),
                "users": state.users(asked["users"]),
                "apt_sources": docker_host.apt_sources(),
                "groups": state.groups(),
                "interrupted_restore": "restore.json" in files.names(self.root / "backups"),
                "lock": {"held_by": held.run.owner if held else ""},
                "addresses": addresses.own_addresses(),
                "listeners": self.listeners(containers),
            }
            answered = engine.result().strip()
            return {
                **looked,
                "docker": {"engine": answered, "compose": compose.result().strip() if answered else ""},
                "docker_host": docker.result(),
                "packages": state.parse_packages(packages.result(), asked["packages"]),
                "units": state.parse_units(units.result(), asked["units"]),
                "containers": containers.result()[1],
                "other_roots": files.other_roots(
                    self.root, [marked, *(found["directory"] for found in containers.result()[1].values())]
                ),
                "images": {name: image.result()[0] for name, image in images.items() if image.result()[0]},
                "missing_images": [name for name, image in images.items() if not image.result()[0]],
                "registry_problems": {name: image.result()[1] for name, image in images.items() if image.result()[1]},
                "databases": databases.result(),
                "n8n_owner": n8n_owner.result(),
                "python": python.result().strip(),
                "calendars": {text: refusal.result() for text, refusal in calendars.items()},
            }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "required": True},
            "project": {"type": "str", "default": "orchestration"},
            "services": {"type": "list", "elements": "str", "default": []},
            "packages": {"type": "list", "elements": "str", "default": []},
            "units": {"type": "list", "elements": "str", "default": []},
            "paths": {"type": "list", "elements": "path", "default": []},
            "users": {"type": "list", "elements": "str", "default": []},
            "images": {"type": "dict", "default": {}},
            "python": {"type": "str", "default": ""},
            "calendars": {"type": "list", "elements": "str", "default": []},
            "marker": {"type": "path", "default": "/etc/orchestration.json"},
            "lock": {"type": "path", "default": "/run/orchestration.lock"},
        },
        supports_check_mode=True,
    )
    module.exit_json(changed=False, **Collector(module).result())


if __name__ == "__main__":
    main()
