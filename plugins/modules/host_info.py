#!/usr/bin/python

# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: host_info
short_description: What an orchestration host has, as its preflight checks need it
version_added: 0.1.0
description:
  - Reads memory, free disk, listening TCP ports with the program behind each, and what Docker has, in one call.
  - Works on a host without Docker.
author:
  - devorch maintainers (@devorch)
options:
  path:
    description:
      - Where the orchestration host keeps its data.
      - The free space is that of its file system, or of its closest parent that exists.
    type: path
    default: /
  images:
    description: Docker images to look for on the host.
    type: list
    elements: str
    default: []
  registries:
    description:
      - Registries that images may come from, as addresses or host names (V(https) is meant where there is no scheme).
      - They are asked for every image that is missing, by tag or digest, one after the other until one has it.
    type: list
    elements: str
    default: []
  service:
    description: A service, for RV(service_image).
    type: str
    default: ""
    version_added: 0.3.0
attributes:
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying target.
    support: full
  diff_mode:
    description: Will return details on what has changed when in C(--diff) mode.
    support: N/A
    details:
      - It only reads.
"""

EXAMPLES = r"""
- name: Look at the host
  devorch.orchestration.host_info:
    path: /opt/orchestration
    images:
      - docker.io/library/postgres:17
    service: kestra
  register: host
"""

RETURN = r"""
memory_bytes:
  description: Memory of the host.
  returned: success
  type: int
  sample: 8323072000
disk_free_bytes:
  description: Space on the file system of O(path) that is free for others than root.
  returned: success
  type: int
  sample: 53687091200
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
  description: Version of the engine and of the Compose plugin; empty strings where there is none or it does not answer.
  returned: success
  type: dict
  sample: {"engine": "26.1.5", "compose": "2.26.1"}
missing_images:
  description: The images of O(images) that the host does not have. All of them where Docker does not answer.
  returned: success
  type: list
  elements: str
  sample: []
registry_problems:
  description: Why a registry of O(registries) does not give a missing image, by registry. Empty where none is missing.
  returned: success
  type: dict
  sample: {"https://registry-1.docker.io": "no route to host"}
service_image:
  description:
    - The image with which O(service) was last kept, as C(versions/<service>) below O(path) tells; it stays when the
      service is removed without its data.
    - Empty where there is no such file.
  returned: success
  type: str
  sample: docker.io/kestra/kestra:v2.0.5
"""

import json
import os
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.devorch.orchestration.plugins.module_utils.host import listeners as host
from ansible_collections.devorch.orchestration.plugins.module_utils.host import registry


def docker(module: AnsibleModule, *arguments: str) -> str:
    """Return what a docker command prints, stripped; an empty string where it fails or there is no docker."""
    program = module.get_bin_path("docker")
    if not program:
        return ""
    code, output, _errors = module.run_command([program, *arguments])
    return output.strip() if code == 0 else ""


def publishers(module: AnsibleModule) -> dict[int, dict[str, str]]:
    """Return name and Compose project of the container that publishes a port, by port."""
    found: dict[int, dict[str, str]] = {}
    template = '{{json .Names}}\t{{json .Ports}}\t{{json (.Label "com.docker.compose.project")}}'
    for line in docker(module, "ps", "--format", template).splitlines():
        name, ports, project = (json.loads(field) for field in line.split("\t"))
        for port in host.parse_published(ports):
            found[port] = {"container": name, "project": project}
    return found


def listeners(module: AnsibleModule) -> dict[str, dict[str, Any]]:
    """Return the listening TCP ports of the host and who is behind them, by port number as a string."""
    sockets: list[host.Socket] = []
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        if table.exists():
            sockets += host.parse_listening(table.read_text(encoding="ascii"))
    owners = host.socket_owners()
    containers = publishers(module)
    result: dict[str, dict[str, Any]] = {}
    for socket in sockets:
        process, unit = owners.get(socket.inode, ("", ""))
        entry = result.setdefault(
            str(socket.port),
            {
                "addresses": [],
                "process": process,
                "unit": unit,
                **containers.get(socket.port, {"container": "", "project": ""}),
            },
        )
        entry["addresses"].append(socket.address)
    return result


def unusable(images: list[str], registries: list[str]) -> dict[str, str]:
    """Return the reason for each registry that does not give an image, in order, up to the first that does."""
    problems: dict[str, str] = {}
    for image in images:
        reference = registry.Reference.parse(image)
        for address in registries:
            found = registry.problem(address, reference)
            if not found:
                break
            problems[address] = found
    return problems


def service_image(path: Path, service: str) -> str:
    """Return the image with which a service was last kept; an empty string where nothing is known."""
    file = path / "versions" / service
    return file.read_text(encoding="utf-8").strip() if file.is_file() else ""


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "default": "/"},
            "images": {"type": "list", "elements": "str", "default": []},
            "registries": {"type": "list", "elements": "str", "default": []},
            "service": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    disk = os.statvfs(host.nearest_existing(Path(module.params["path"])))
    engine = docker(module, "version", "--format", "{{.Server.Version}}")
    missing = [
        name
        for name in module.params["images"]
        if not (engine and docker(module, "image", "inspect", "--format", "{{.Id}}", name))
    ]
    try:
        problems = unusable(missing, module.params["registries"])
    except ValueError as error:
        module.fail_json(msg=str(error))
    module.exit_json(
        changed=False,
        memory_bytes=host.memory_total(Path("/proc/meminfo").read_text(encoding="ascii")),
        disk_free_bytes=disk.f_bavail * disk.f_frsize,
        listeners=listeners(module),
        docker={"engine": engine, "compose": docker(module, "compose", "version", "--short") if engine else ""},
        missing_images=missing,
        registry_problems=problems,
        service_image=service_image(Path(module.params["path"]), module.params["service"]),
    )


if __name__ == "__main__":
    main()
