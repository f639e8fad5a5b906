"""Changes of a converged host that must not go through: each role, each kind of mistake.

`PREFLIGHT` is refused by the checks with which site.yml begins. `WRITTEN` is refused by the role before a
file lands. `TAKEN_BACK` can't be known before: the service does not come up, and is rolled back.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PREFLIGHT, WRITTEN, TAKEN_BACK = "preflight", "written", "taken back"
TEMPLATES = Path(__file__).parent / "templates"
NO_DIGEST = "sha256:" + "0" * 64


@dataclass(frozen=True)
class Wrong:
    """A change, and what the failed run must say; C(limit) is the time in seconds to become healthy."""

    role: str
    kind: str
    variables: dict[str, Any] = field(hash=False)
    message: str
    stage: str = PREFLIGHT
    limit: int = 120

    @property
    def name(self) -> str:
        return f"{self.role}-{self.kind}".replace(" ", "-").replace("_", "-")

    @property
    def playing(self) -> str:
        """The role that is run: what the roles share comes with each of them."""
        return "n8n" if self.role == "orchestration" else self.role


def kestra(*path: str, value: Any) -> dict[str, Any]:
    """Return a value for kestra_config."""
    result = value
    for key in reversed(path):
        result = {key: result}
    return {"kestra_config": result}


CHANGES = [
    Wrong("docker", "unknown choice", {"docker_package_source": "snap"}, "docker_package_source"),
    Wrong("docker", "wrong type", {"orchestration_log_max_file": "many"}, "orchestration_log_max_file"),
    Wrong("docker", "unknown key", {"docker_daemon_config": {"no-such": 1}}, "no-such", WRITTEN),
    Wrong("docker", "wrong type of a key", {"docker_daemon_config": {"log-level": 5}}, "log-level", WRITTEN),
    Wrong(
        "docker",
        "address that the unit gives as well",
        {"docker_daemon_config": {"hosts": ["fd://", "tcp://127.0.0.1:2375"]}},
        "The last known good files are back (/etc/docker/daemon.json), and it runs with them",
        TAKEN_BACK,
    ),
    Wrong("postgres", "unsupported version", {"postgres_version": "18"}, "postgres_version: 18 is not supported"),
    Wrong("postgres", "version of other data", {"postgres_version": "16"}, "belong to PostgreSQL 17"),
    Wrong("postgres", "other C library", {"postgres_version": "17.12-alpine"}, "has another C library"),
    Wrong("postgres", "no size", {"postgres_shared_buffers": "lots"}, "postgres_shared_buffers: 'lots' is not a size"),
    Wrong("postgres", "wrong type", {"postgres_max_connections": "many"}, "postgres_max_connections"),
    Wrong("postgres", "malformed digest", {"postgres_digest": "sha256:12"}, "is not a valid image reference"),
    Wrong("postgres", "bad digest", {"postgres_digest": NO_DIGEST}, f"has no library/postgres {NO_DIGEST}"),
    Wrong("postgres", "line break in a password", {"postgres_password": "a\nb"}, "the value has a line break"),
    Wrong(
        "postgres",
        "unknown key in its template",
        {"postgres_compose_template": str(TEMPLATES / "unknown_key.yml.j2")},
        "docker refuses the new file",
        WRITTEN,
    ),
    Wrong(
        "postgres",
        "more memory than there is",
        {"postgres_shared_buffers": "900GB"},
        "The last known good files are back (/opt/orchestration/services/postgres.yml), and it is healthy with them",
        TAKEN_BACK,
    ),
    Wrong("kestra", "login", {"kestra_username": "admin"}, "kestra_username: 'admin' is not an e-mail address"),
    Wrong("kestra", "weak password", {"kestra_password": "password"}, "kestra_password: empty or too weak"),
    Wrong("kestra", "wrong type", {"kestra_port": "http"}, "kestra_port"),
    Wrong("kestra", "port out of range", {"kestra_port": 70000}, "kestra_port: 70000 is not a TCP port"),
    Wrong("kestra", "same port twice", {"kestra_management_port": 8080}, "the same as kestra_port"),
    Wrong("kestra", "port in use", {"kestra_port": 8090}, "kestra_port: port 8090 is in use by"),
    Wrong(
        "kestra",
        "key that 2.0 does not bind",
        kestra("kestra", "server", "basicAuth", value={"username": "a@example.com"}),
        "kestra_config: kestra.server.basicAuth: Kestra 2.0 does not bind this spelling. Write basic-auth",
    ),
    Wrong(
        "kestra",
        "misspelt key",
        kestra("kestra", "server", "livenes", value={"interval": "5s"}),
        "kestra.server.livenes: Kestra has no such key in kestra.server. Is liveness meant?",
    ),
    Wrong("kestra", "unknown key", kestra("kestra", "zzz", value=1), "put kestra.zzz into kestra_config_allowed"),
    Wrong(
        "kestra",
        "wrong type of a key",
        kestra("kestra", "server", "liveness", "interval", value="soon"),
        "kestra.server.liveness.interval: must be a duration such as 30s",
    ),
    Wrong(
        "kestra", "port in the container", kestra("micronaut", "server", "port", value=9), "micronaut.server.port: must"
    ),
    Wrong("kestra", "floating version", {"kestra_version": "latest"}, "kestra_version: 'latest' is not a full version"),
    Wrong("kestra", "missing image", {"kestra_version": "v9.9.9"}, "has no kestra/kestra v9.9.9"),
    Wrong(
        "kestra",
        "unparsable template",
        {"kestra_config_template": str(TEMPLATES / "unparsable.yml.j2")},
        "kestra_config_template: the configuration is not valid YAML (line 4)",
    ),
    Wrong("kestra", "other key", {"kestra_encryption_key": "A" * 43 + "="}, "is encrypted with that one", WRITTEN),
    Wrong(
        "kestra",
        "unknown option of Java",
        {"kestra_java_opts": "-Xbogus"},
        "The last known good files are back (/opt/orchestration/env/kestra.env), and it is healthy with them",
        TAKEN_BACK,
    ),
    Wrong("kestra", "too little memory", {"kestra_java_opts": "-Xmx2m"}, "and it is healthy with them", TAKEN_BACK, 60),
    Wrong(
        "kestra",
        "wrong database password",
        kestra("datasources", "postgres", "password", value="wrong-one"),
        "datasources.postgres.password: is a secret. Set kestra_database_password",
    ),
    Wrong(
        "kestra",
        "login that the role does not know",
        kestra("kestra", "server", "basic-auth", "password", value="Another-one-1"),
        "kestra.server.basic-auth.password: is a secret. Set kestra_password",
    ),
    Wrong("kestra", "port of another service", {"kestra_port": 5678}, "and it is healthy with them", TAKEN_BACK),
    Wrong(
        "kestra",
        "image of something else",
        {"kestra_image": "docker.io/n8nio/n8n", "kestra_version": "2.41.1"},
        "and it is healthy with them",
        TAKEN_BACK,
    ),
    Wrong("n8n", "short key", {"n8n_encryption_key": "short"}, "n8n_encryption_key: shorter than 16 characters"),
    Wrong("n8n", "other key", {"n8n_encryption_key": "0123456789abcdef"}, "is encrypted with that one", WRITTEN),
    Wrong("n8n", "port out of range", {"n8n_port": 0}, "n8n_port: 0 is not a TCP port"),
    Wrong("n8n", "name of a variable", {"n8n_environment": {"A B": "x"}}, "n8n_environment: 'A B' is not a name"),
    Wrong("n8n", "list as a value", {"n8n_environment": {"NODES_EXCLUDE": ["x"]}}, "NODES_EXCLUDE: is a list, and"),
    Wrong("n8n", "queue mode", {"n8n_environment": {"EXECUTIONS_MODE": "queue"}}, "the role deploys no Redis"),
    Wrong(
        "n8n", "other version", {"n8n_version": "2.40.7"}, "changes them when it starts. Set n8n_version back, or run"
    ),
    Wrong("n8n", "missing image", {"n8n_version": "0.0.0"}, "has no n8nio/n8n 0.0.0"),
    Wrong(
        "n8n",
        "unparsable template",
        {"n8n_compose_template": str(TEMPLATES / "unparsable.yml.j2")},
        "docker refuses the new file",
        WRITTEN,
    ),
    Wrong(
        "n8n",
        "option that Node.js does not know",
        {"n8n_environment": {"NODE_OPTIONS": "--no-such-option"}},
        "The last known good files are back (/opt/orchestration/env/n8n.env), and it is healthy with them",
        TAKEN_BACK,
        60,
    ),
    Wrong("n8n", "port of another service", {"n8n_port": 8080}, "and it is healthy with them", TAKEN_BACK),
    Wrong("sidecar", "port out of range", {"sidecar_port": 0}, "sidecar_port: 0 is not a TCP port"),
    Wrong("sidecar", "open to all", {"sidecar_bind_addresses": ["0.0.0.0"]}, "not of the loopback interface"),  # noqa: S104
    Wrong("sidecar", "short token", {"sidecar_token": "short"}, "sidecar_token: needs at least 32 characters"),
    Wrong("sidecar", "unknown group", {"sidecar_groups": ["nosuch"]}, "sidecar_groups: the host has no group nosuch"),
    Wrong("sidecar", "missing Python", {"sidecar_python": "/nowhere/python3"}, "sidecar_python: /nowhere/python3 is"),
    Wrong(
        "sidecar",
        "networks that leave the host out",
        {"sidecar_allowed_networks": ["203.0.113.0/24"]},
        "and it runs with them",
        TAKEN_BACK,
    ),
    Wrong("orchestration", "memory", {"orchestration_minimum_memory": 99999999}, "orchestration_minimum_memory"),
    Wrong(
        "orchestration",
        "another root",
        {"orchestration_root": "/srv/elsewhere"},
        "orchestration_root: is /srv/elsewhere, and the services of this host are in /opt/orchestration",
    ),
    Wrong("orchestration", "registry away", {"orchestration_registry": "127.0.0.1:9/x"}, "no registry gives it"),
    Wrong("orchestration", "limit", {"orchestration_start_timeout": "long"}, "orchestration_start_timeout"),
]
