# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A run before it begins: the variables, the host and the facts that the rules of the preflight read."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible.module_utils.parsing.convert_bool import boolean

SHARED = "common"
"""The role whose variables all services have."""
SERVICES = ("docker", "postgres", "sidecar", "kestra", "n8n", "backup")
IN_DOCKER = ("postgres", "kestra", "n8n")
DATABASE_USERS = ("kestra", "n8n")
TITLES = {"postgres": "PostgreSQL", "kestra": "Kestra", "n8n": "n8n"}
EXTERNAL_RECORD = "external "
"""How the record of a PostgreSQL begins that is not on the host, in C(versions/postgres)."""
MIB = 1048576
ABSOLUTE = re.compile(r'/[^\s"]+')


@dataclass(frozen=True)
class Situation:
    """A run before it begins: the variables of the services, the host as C(host_info) returns it, Ansible's facts.

    C(rendered) are texts that templates give, by the variable that names the template; C(missing_files) the variables
    that name a file of the controller that does not exist. A run that C(installs) nothing, such as a backup, needs less
    of the host. Values may be texts, as C(-e name=value) gives them.
    """

    variables: Mapping[str, Any]
    host: Mapping[str, Any]
    facts: Mapping[str, Any] = field(default_factory=dict)
    services: Sequence[str] = SERVICES
    upgrade: bool = False
    rendered: Mapping[str, str] = field(default_factory=dict)
    missing_files: Sequence[str] = ()
    installs: bool = True

    def given(self, name: str) -> bool:
        """Return whether a variable has a value."""
        return self.variables.get(name) is not None

    def text(self, name: str, default: str = "") -> str:
        """Return a variable as text."""
        value = self.variables.get(name)
        return default if value is None else str(value)

    def number(self, name: str) -> int | None:
        """Return a variable as a whole number, None if it is not one."""
        try:
            return int(self.text(name))
        except ValueError:
            return None

    def flag(self, name: str) -> bool:
        """Return a variable as a truth value."""
        return bool(boolean(self.variables.get(name) or False, strict=False))

    def items(self, name: str) -> list[Any]:
        """Return a variable as a list; a text has its items between commas."""
        value = self.variables.get(name)
        if isinstance(value, str):
            return [part.strip() for part in value.split(",") if part.strip()]
        return list(value) if isinstance(value, (list, tuple)) else []

    def mapping(self, name: str) -> Mapping[str, Any]:
        """Return a variable as a dictionary."""
        value = self.variables.get(name)
        return value if isinstance(value, Mapping) else {}

    def present(self, service: str) -> bool:
        """Return whether a service is to be there after the run, as far as its own variable says."""
        return self.text(f"{service}_state", "present") == "present"

    def deployed(self) -> list[str]:
        """Return the services that this run deploys."""
        return [service for service in self.services if self.present(service)]

    @property
    def external(self) -> Mapping[str, Any]:
        """The PostgreSQL that is not on the host, empty if the host has its own."""
        return {key: value for key, value in self.mapping("postgres_external").items() if value is not None}

    @property
    def external_mode(self) -> str:
        """How the connection to the external PostgreSQL is encrypted, empty if there is none."""
        return str(self.external.get("sslmode", "verify-full")) if self.external else ""

    @property
    def external_name(self) -> str:
        """The host and the port of the external PostgreSQL, empty if there is none."""
        host = str(self.external.get("host", "")).lower()
        return f"{host.removesuffix('.')}:{self.external.get('port', 5432)}" if self.external else ""

    @property
    def external_address(self) -> str:
        """The host and the port of the external PostgreSQL as they are in an address."""
        host, port = self.external.get("host", ""), self.external.get("port", 5432)
        return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"

    @property
    def root(self) -> str:
        """The directory of everything."""
        return self.text("orchestration_root", "/opt/orchestration").rstrip("/")

    @property
    def release(self) -> str:
        """The version of the distribution as its table counts it."""
        kind = "" if self.facts.get("distribution") == "Ubuntu" else "major_"
        return str(self.facts.get(f"distribution_{kind}version", ""))

    def image(self, service: str) -> str:
        """Return the reference of a service's image, an empty string if its variables are not all there."""
        name, version = self.text(f"{service}_image"), self.text(f"{service}_version")
        # A loaded image has no digest of a registry.
        digest = "" if self.flag("orchestration_offline") else self.text(f"{service}_digest")
        return f"{name}:{version}{'@' if digest else ''}{digest}" if name and version else ""


Rule = Callable[[Situation], Iterable[str]]


def data_major(situation: Situation) -> str:
    return str(situation.host.get("postgres_major", "")).strip()
