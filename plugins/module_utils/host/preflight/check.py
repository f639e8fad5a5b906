# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""All problems of a run, found before anything is changed.

The rules are pure. Each returns its problems as "variable: what is wrong. What to set." and never a secret value.
A rule skips a variable that is absent, for example because its type is wrong; the action plugin reports that. It also
skips what the facts of the host do not contain. Each file of this package has the rules of one service, or of the
server.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.devorch.orchestration.plugins.module_utils.host.preflight import (
    backup,
    docker,
    external,
    images,
    kestra,
    limits,
    n8n,
    ports,
    postgres,
    server,
    sidecar,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.host.preflight.situation import (
    SERVICES,
    Rule,
    Situation,
)

RENAMED: Mapping[str, str] = {
    "plan_only": "kestra_flows_plan_only",
    "rotate": "rotate_secrets",
    "docker_log_max_size": "orchestration_log_max_size",
    "docker_log_max_file": "orchestration_log_max_file",
}
"""The present names of variables, by their old names."""
REMOVED: Mapping[str, str] = {
    "backup_keep_days": (
        "is gone. Set backup_keep to a dictionary, such as {daily: 7, weekly: 5, monthly: 12}, and leave"
        " backup_keep_days out"
    ),
    "backup_encryption": (
        "is gone, because every backup is encrypted with the secret backup_password. Leave it out. Archives of before"
        " stay, and restore.yml reads them with backup_archive and backup_identity"
    ),
    "backup_recipients": (
        "is gone, because every backup is encrypted with the secret backup_password. Leave it out, and keep that secret"
        " elsewhere: export_keys.yml writes it for the keys of export_keys_recipients"
    ),
}
"""What to do about a variable that is gone."""
NUMBERS: Mapping[str, str] = {
    "backup_keep": (
        "is a number, and is a dictionary now. Set it to how many backups are kept of each kind, such as"
        " {daily: 7, weekly: 5, monthly: 12, upgrade: 3, manual: 3}, or leave it out"
    ),
}
"""What to do about a dictionary that was a number."""
NEIGHBOURS = (
    *(f"{service}_{option}" for service in SERVICES for option in ("state", "purge_data")),
    "docker_registry_mirrors",
    "docker_insecure_registries",
    "postgres_external",
    "kestra_database_password",
    "n8n_database_password",
    "kestra_sidecar_token",
)
"""The variables of services outside of the run that the rules of others ask for."""


def problems(
    variables: Mapping[str, Any],
    host: Mapping[str, Any],
    facts: Mapping[str, Any],
    upgrade: bool = False,
    *,
    services: Sequence[str] = SERVICES,
    rendered: Mapping[str, str] | None = None,
    missing_files: Sequence[str] = (),
    installs: bool = True,
) -> list[str]:
    """Return every problem of a run, for all of its services at once."""
    situation = Situation(variables, host, facts, services, upgrade, rendered or {}, missing_files, installs)
    rules = list(RULES)
    for service in SERVICES:
        if service in services:
            deployment = postgres.EXTERNAL if service == "postgres" and situation.external else DEPLOYMENT[service]
            rules += deployment if situation.present(service) else REMOVAL[service]
    return list(dict.fromkeys(problem for rule in rules for problem in rule(situation)))


def warnings(
    variables: Mapping[str, Any],
    host: Mapping[str, Any],
    facts: Mapping[str, Any],
    *,
    services: Sequence[str] = SERVICES,
) -> list[str]:
    """Return what a run does not fail at, and its operator may not have meant."""
    situation = Situation(variables, host, facts, services)
    return [warning for rule in WARNINGS for warning in rule(situation)]


_SERVICES: Mapping[str, Any] = {
    "docker": docker,
    "postgres": postgres,
    "sidecar": sidecar,
    "kestra": kestra,
    "n8n": n8n,
    "backup": backup,
}
RULES: tuple[Rule, ...] = (*server.RULES, *ports.RULES, *external.RULES)
"""What holds for the host and for several services."""
DEPLOYMENT: Mapping[str, tuple[Rule, ...]] = {
    service: (*rules.DEPLOYMENT, *limits.DEPLOYMENT.get(service, ())) for service, rules in _SERVICES.items()
}
"""What holds for a service that is deployed."""
REMOVAL: Mapping[str, tuple[Rule, ...]] = {service: rules.REMOVAL for service, rules in _SERVICES.items()}
"""What holds for a service that is removed."""
WARNINGS: tuple[Rule, ...] = (
    *server.WARNINGS,
    *docker.WARNINGS,
    *images.WARNINGS,
    *limits.WARNINGS,
    *postgres.WARNINGS,
    *external.WARNINGS,
    *kestra.WARNINGS,
    *n8n.WARNINGS,
    *backup.WARNINGS,
    *sidecar.WARNINGS,
)
