# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: multipass
short_description: Read an inventory from the VMs of multipass
version_added: 0.3.0
description:
  - Reads the VMs of multipass from the sidecar's API. Each VM is a host. Its address is its first IPv4 address.
  - Each VM is in a group for its state, such as C(state_running), and in a group for the release of its image, such as
    C(image_24_04_lts). It is also in a group for each environment of the sidecar that it belongs to, such as
    C(environment_staging).
  - The name of the inventory file must end with C(multipass.yml) or C(multipass.yaml).
author:
  - devorch maintainers (@devorch)
extends_documentation_fragment:
  - constructed
  - inventory_cache
options:
  plugin:
    description: Name of the plugin.
    type: str
    required: true
    choices: [devorch.orchestration.multipass]
  url:
    description: Root URL of the multipass sidecar, as seen from the controller. It can be a template, such as a lookup.
    type: str
    default: http://127.0.0.1:8090
    env:
      - name: SIDECAR_URL
  token:
    description: Token of the sidecar. The scope C(read) is sufficient. It can be a template, such as a lookup.
    type: str
    env:
      - name: SIDECAR_TOKEN
  validate_certs:
    description: Whether to refuse an HTTPS server whose certificate is not valid.
    type: bool
    default: true
    env:
      - name: SIDECAR_VALIDATE_CERTS
  ca_path:
    description: File or directory with the trusted CA certificates.
    type: path
    env:
      - name: SIDECAR_CA_PATH
  timeout:
    description: Seconds to wait for a connection (at most 10) and for an answer.
    type: int
    default: 30
    env:
      - name: SIDECAR_TIMEOUT
  retries:
    description:
      - Maximum number of times that a request is repeated if the connection fails or the sidecar is busy. The pauses
        grow.
    type: int
    default: 3
    env:
      - name: SIDECAR_RETRIES
  states:
    description:
      - States of the VMs to include, as multipass names them. If not set, all VMs except V(Deleted) ones are included.
    type: list
    elements: str
  user:
    description: Login user, which becomes C(ansible_user). If empty, C(ansible_user) is not set.
    type: str
    default: ubuntu
requirements:
  - requests
notes:
  - Each host has the variables C(multipass_state), C(multipass_ipv4), C(multipass_release), C(multipass_image_release),
    C(multipass_image_hash), C(multipass_cpus), C(multipass_memory), C(multipass_disk), C(multipass_snapshots) and
    C(multipass_environments).
"""

EXAMPLES = r"""
---
# staging.multipass.yml, with the token in the environment variable SIDECAR_TOKEN
plugin: devorch.orchestration.multipass
url: http://127.0.0.1:8090
---
# Only running VMs, grouped by the first part of their names and cached for an hour
plugin: devorch.orchestration.multipass
states: [Running]
cache: true
cache_plugin: ansible.builtin.jsonfile
cache_connection: /tmp/multipass-inventory
cache_timeout: 3600
strict: true
compose:
  multipass_gigabytes: (multipass_memory.total / 1024 ** 3) | round(1)
groups:
  large: multipass_cpus > 1
keyed_groups:
  - key: inventory_hostname.split('-')[0]
    prefix: role
"""

from typing import Any

from ansible.errors import AnsibleParserError
from ansible.plugins.inventory import BaseInventoryPlugin, Cacheable, Constructable
from ansible_collections.devorch.orchestration.plugins.module_utils.http_session import REQUESTS_IMPORT_ERROR
from ansible_collections.devorch.orchestration.plugins.module_utils.multipass.client import (
    Sidecar,
    SidecarConnection,
    SidecarError,
)

CONNECTION = ("url", "token", "validate_certs", "ca_path", "timeout", "retries")
VARIABLES = (
    *("state", "ipv4", "release", "image_release", "image_hash", "cpus", "memory", "disk", "snapshots"),
    "environments",
)


def fetch_instances(client: Sidecar, states: list[str] | None) -> list[dict[str, Any]]:
    """Return the VMs with their details and the names of their environments."""
    environments: dict[str, list[str]] = {}
    for environment in client.environments():
        for each in environment["instances"]:
            environments.setdefault(each["name"], []).append(environment["name"])
    found = []
    for listed in client.instances():
        taken = listed["state"] != "Deleted" if states is None else listed["state"] in states
        # One that went since the list is left out.
        detail = client.instance(listed["name"]) if taken else None
        if detail is not None:
            found.append({**detail, "environments": sorted(environments.get(detail["name"], []))})
    return found


class InventoryModule(BaseInventoryPlugin, Constructable, Cacheable):
    """The plugin."""

    NAME = "devorch.orchestration.multipass"

    def verify_file(self, path: str) -> bool:
        """Take files whose names say that they are for this plugin."""
        return bool(super().verify_file(path)) and path.endswith(("multipass.yml", "multipass.yaml"))

    def parse(self, inventory: Any, loader: Any, path: str, cache: bool = True) -> None:
        """Read the VMs, from the cache where it is on and holds them, and add them."""
        super().parse(inventory, loader, path)
        self._read_config_data(path)
        key = self.get_cache_key(path)
        use_cache = self.get_option("cache")
        found = None
        if use_cache and cache:
            found = self._cache.get(key)
        if found is None:
            found = self._ask(path)
            if use_cache:
                self._cache[key] = found
        for instance in found:
            self._add(instance)

    def _ask(self, path: str) -> list[dict[str, Any]]:
        if REQUESTS_IMPORT_ERROR is not None:
            raise AnsibleParserError(f"{path}: the Python package requests is missing on the controller")
        options = {name: self.get_option(name) for name in CONNECTION}
        for name in ("url", "token"):
            if options[name] and self.templar.is_template(options[name]):
                options[name] = self.templar.template(options[name])
        try:
            client = Sidecar(SidecarConnection(**options))
        except ValueError as error:
            raise AnsibleParserError(f"{path}: {error}") from error
        try:
            return fetch_instances(client, self.get_option("states"))
        except SidecarError as error:
            raise AnsibleParserError(f"{path}: {error}") from error
        finally:
            client.close()

    def _add(self, instance: dict[str, Any]) -> None:
        name = self.inventory.add_host(instance["name"])
        variables = {f"multipass_{key}": instance.get(key) for key in VARIABLES}
        if instance["ipv4"]:
            variables["ansible_host"] = instance["ipv4"][0]
        if self.get_option("user"):
            variables["ansible_user"] = self.get_option("user")
        for key, value in variables.items():
            self.inventory.set_variable(name, key, value)
        groups = [f"state_{instance['state']}".lower()]
        if instance.get("image_release"):
            groups.append(f"image_{instance['image_release']}".lower())
        groups += [f"environment_{environment}" for environment in instance["environments"]]
        for group in groups:
            self.inventory.add_child(self.inventory.add_group(self._sanitize_group_name(group)), name)
        strict = self.get_option("strict")
        self._set_composite_vars(self.get_option("compose"), variables, name, strict=strict)
        self._add_host_to_composed_groups(self.get_option("groups"), variables, name, strict=strict)
        self._add_host_to_keyed_groups(self.get_option("keyed_groups"), variables, name, strict=strict)
