"""Changes of a converged host: wrong ones of each role and each kind, and odd ones that are right.

`PREFLIGHT` is refused by the checks with which site.yml begins. `WRITTEN` is refused by the role before a
file lands. `TAKEN_BACK` can't be known before: the service does not come up, and is rolled back.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .data import ROOT

PREFLIGHT, WRITTEN, TAKEN_BACK = "preflight", "written", "taken back"
TEMPLATES = Path(__file__).parent / "templates"
NO_DIGEST = "sha256:" + "0" * 64


@dataclass(frozen=True)
class Wrong:
    """A change, and what the failed run must say; C(limit) is the time in seconds to become healthy.

    C(also) are the other problems that the same run must name.
    """

    role: str
    kind: str
    variables: dict[str, Any] = field(hash=False)
    message: str
    stage: str = PREFLIGHT
    limit: int = 120
    also: tuple[str, ...] = ()

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
    Wrong("kestra", "name for an address", {"kestra_bind_address": "localhost"}, "'localhost' is not an IP address"),
    Wrong(
        "kestra", "address with a zone", {"kestra_bind_address": "fe80::1%eth0"}, "'fe80::1%eth0' is not an IP address"
    ),
    Wrong("kestra", "address of another", {"kestra_bind_address": "192.0.2.7"}, "the host has no address 192.0.2.7"),
    Wrong("kestra", "heap over the limit", {"kestra_java_opts": "-Xmx4g"}, "-Xmx4g does not fit into kestra_memory"),
    Wrong("kestra", "more processors", {"kestra_cpu_limit": "512"}, "kestra_cpu_limit: 512 is more than the"),
    Wrong("kestra", "hyphen in a name", {"kestra_envs": {"my-env": "x"}}, "kestra_envs: 'my-env' is not a name"),
    Wrong("kestra", "one name twice", {"kestra_secrets": {"A": "1", "a": "2"}}, "A and a are one name to Kestra"),
    Wrong("kestra", "dictionary as a value", {"kestra_envs": {"X": {"a": 1}}}, "kestra_envs.X: is a dictionary"),
    Wrong(
        "kestra", "days without a unit", {"kestra_retention": "90"}, "kestra_retention: '90' is not a number of days"
    ),
    Wrong("kestra", "a path", {"kestra_url": "https://example.com/ui"}, "kestra_url: has the path /ui"),
    Wrong("kestra", "short webhook key", {"kestra_webhook_key": "key"}, "kestra_webhook_key: is not 16 to 256 letters"),
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
    Wrong(
        "n8n",
        "password of the database",
        {"n8n_environment": {"DB_POSTGRESDB_PASSWORD": "wrong-one"}},
        "DB_POSTGRESDB_PASSWORD: the role manages the password. Set n8n_database_password",
    ),
    Wrong(
        "n8n",
        "another database",
        {"n8n_environment": {"DB_TYPE": "sqlite"}},
        "DB_TYPE: the role connects n8n with its database",
    ),
    Wrong("n8n", "nothing as a value", {"n8n_environment": {"ODD": None}}, "n8n_environment.ODD: is null"),
    Wrong("n8n", "no such zone", {"n8n_timezone": "Europe/Nowhere"}, "there is no time zone 'Europe/Nowhere'"),
    Wrong("n8n", "a path", {"n8n_url": "https://example.com/n8n"}, "n8n_url: has the path /n8n"),
    Wrong("n8n", "fewer than no proxies", {"n8n_proxy_hops": -1}, "n8n_proxy_hops: -1 is out of range"),
    Wrong("n8n", "owner without an address", {"n8n_owner_email": "admin"}, "n8n_owner_email: 'admin' is not an e-mail"),
    Wrong("n8n", "quoted password", {"n8n_database_password": "'abcdefgh'"}, "or is in quotation marks, and n8n"),
    Wrong("n8n", "address of IPv6", {"n8n_bind_address": "[::1]"}, "is [::1], and the host has no IPv6"),
    Wrong("n8n", "too little memory", {"n8n_memory_limit": "1m"}, "n8n_memory_limit: '1m' is not a size of 6m or more"),
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
    Wrong("sidecar", "text for a list", {"sidecar_bind_addresses": "127.0.0.1"}, "is a text, and not a list. With -e"),
    Wrong("sidecar", "short token", {"sidecar_token": "short"}, "sidecar_token: needs at least 32 characters"),
    Wrong(
        "sidecar",
        "one name twice",
        {"sidecar_tokens": [{"name": "a", "scope": "read"}, {"name": "a", "scope": "read"}]},
        "sidecar_tokens: a name occurs twice",
    ),
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
    Wrong(
        "orchestration",
        "everything at once",
        {
            "n8n_port": 0,
            "n8n_timezone": "Mars/Olympus",
            "n8n_environment": {"EXECUTIONS_MODE": "queue", "A B": "x"},
            "orchestration_https_proxy": "proxy:3128",
            "orchestration_minimum_memory": 99999999,
        },
        "n8n_port: 0 is not a TCP port",
        also=(
            "there is no time zone 'Mars/Olympus'",
            "the role deploys no Redis",
            "'A B' is not a name of an environment variable",
            "orchestration_https_proxy: the value is not an address",
        ),
    ),
]


@dataclass(frozen=True)
class Odd:
    """A change that looks odd and is right: what it must lead to on the host.

    C(environment) are variables of the role's container, byte for byte; C(script) prints C(expected) on the host.
    """

    role: str
    kind: str
    variables: dict[str, Any] = field(hash=False)
    environment: dict[str, str] = field(hash=False, default_factory=dict)
    script: str = ""
    expected: str = ""

    @property
    def name(self) -> str:
        return f"{self.role}-{self.kind}".replace(" ", "-")

    @property
    def claims(self) -> set[str]:
        """What no other row of the same run may set."""
        found = set()
        for name, value in self.variables.items():
            found |= {f"{name}.{key}" for key in value} if isinstance(value, dict) else {name}
            if name in (f"{self.role}_port", f"{self.role}_bind_address"):
                found.add(f"where {self.role} answers")
        return found


def n8n_odd(kind: str, value: Any, read: str) -> Odd:
    """Return a variable of n8n whose value the program must read so."""
    name = f"ODD_{kind.upper().replace(' ', '_')}"
    return Odd("n8n", kind, {"n8n_environment": {name: value}}, {name: read})


def same(kind: str, value: str) -> Odd:
    """Return a variable of n8n that must arrive byte for byte."""
    return n8n_odd(kind, value, value)


def inspected(role: str, kind: str, variable: str, value: Any, path: str, expected: str) -> Odd:
    """Return a change that Docker shows of the role's container."""
    script = f"docker inspect --format '{{{{{path}}}}}' orchestration-{role}-1"
    return Odd(role, kind, {variable: value}, script=script, expected=expected)


def answered(role: str, kind: str, variables: dict[str, Any], url: str, status: str = "200") -> Odd:
    """Return a change after which the service answers there."""
    return Odd(role, kind, variables, script=f"curl -s -o /dev/null -w '%{{http_code}}' {url}", expected=status)


def setting(kind: str, name: str, value: Any, expected: str) -> Odd:
    """Return a change that PostgreSQL shows."""
    script = f"docker exec orchestration-postgres-1 psql -U postgres -tAc 'show {name}'"
    return Odd("postgres", kind, {f"postgres_{name}": value}, script=script, expected=expected)


def grepped(role: str, kind: str, variables: dict[str, Any], line: str, file: str) -> Odd:
    """Return a change after which a file of the role has one such line."""
    return Odd(role, kind, variables, script=f"grep -cE -e '{line}' {ROOT}/{file}", expected="1")


# Without a login, Kestra answers 401 there.
CLOSED = "/api/v1/main/flows/search"
KESTRA = "kestra-config/standalone.yml"
PEM = "-----BEGIN PRIVATE KEY-----\nMIIE+/\\vQ==\n-----END PRIVATE KEY-----\n"
ODD = [
    same("unicode", "é ü 漢字 🚀 \u2028"),
    same("dollars", "${HOME} $HOME $$ \\$ pa$$w0rd"),
    same("quotes", "it's \"quoted\" \\' \\"),
    same("percent and hash", "%41&? # no comment"),
    same("blanks inside", "two  blanks\tand a tab"),
    same("equals", "a=b=c;d"),
    same("key", PEM),
    same("carriage return", "a\r\nb"),
    same("json", '{"a": ["b", "c"]}'),
    n8n_odd("template of its own", "{% raw %}{{ $json.body }}{% endraw %}", "{{ $json.body }}"),
    same("empty", ""),
    same("null as a text", "null"),
    same("octal", "0755"),
    n8n_odd("number", 1500, "1500"),
    n8n_odd("fraction", 0.5, "0.5"),
    n8n_odd("truth", True, "true"),
    same("yes", "yes"),
    Odd("n8n", "log level", {"n8n_environment": {"N8N_LOG_LEVEL": "debug"}}, {"N8N_LOG_LEVEL": "debug"}),
    Odd("n8n", "zone with a half hour", {"n8n_timezone": "Asia/Kathmandu"}, {"TZ": "Asia/Kathmandu"}),
    Odd("n8n", "old name of a zone", {"n8n_timezone": "US/Eastern"}, {"TZ": "US/Eastern"}),
    Odd("n8n", "reverse proxy", {"n8n_url": "https://n8n.example.com"}, {"N8N_PROXY_HOPS": "1"}),
    Odd("n8n", "age as a text", {"n8n_execution_max_age": "24"}, {"EXECUTIONS_DATA_MAX_AGE": "24"}),
    answered("n8n", "port as a text", {"n8n_port": "15678"}, "http://127.0.0.1:15678/healthz/readiness"),
    answered("n8n", "all addresses", {"n8n_bind_address": "0.0.0.0"}, "http://$(hostname -i):5678/healthz/readiness"),  # noqa: S104
    answered("n8n", "second loopback", {"n8n_bind_address": "127.0.0.2"}, "http://127.0.0.2:5678/healthz/readiness"),
    inspected("n8n", "memory", "n8n_memory_limit", "1500m", ".HostConfig.Memory", "1572864000"),
    inspected("n8n", "processors", "n8n_cpu_limit", 1, ".HostConfig.NanoCpus", "1000000000"),
    Odd("kestra", "number", {"kestra_envs": {"odd_number": 7}}, {"ENV_ODD_NUMBER": "7"}),
    Odd("kestra", "truth", {"kestra_envs": {"odd_truth": False}}, {"ENV_ODD_TRUTH": "false"}),
    Odd("kestra", "dollars", {"kestra_envs": {"odd_dollars": "$$ ${X} '\""}}, {"ENV_ODD_DOLLARS": "$$ ${X} '\""}),
    Odd(
        "kestra",
        "key as a secret",
        {"kestra_secrets": {"ODD_KEY": PEM}},
        {"SECRET_ODD_KEY": base64.b64encode(PEM.encode()).decode()},
    ),
    Odd("kestra", "empty secret", {"kestra_secrets": {"ODD_EMPTY": ""}}, {"SECRET_ODD_EMPTY": ""}),
    Odd(
        "kestra",
        "zone of three parts",
        {"kestra_timezone": "America/Argentina/Salta"},
        {"TZ": "America/Argentina/Salta"},
    ),
    answered("kestra", "port as a text", {"kestra_port": "18080"}, f"http://127.0.0.1:18080{CLOSED}", "401"),
    answered(
        "kestra",
        "all addresses",
        {"kestra_bind_address": "0.0.0.0"},  # noqa: S104
        f"http://$(hostname -i):8080{CLOSED}",
        "401",
    ),
    answered("kestra", "management port", {"kestra_management_port": 18081}, "http://127.0.0.1:18081/health"),
    inspected("kestra", "memory in bytes", "kestra_memory_limit", "2684354560", ".HostConfig.Memory", "2684354560"),
    inspected("kestra", "no limit", "kestra_memory_limit", "", ".HostConfig.Memory", "0"),
    Odd(
        "kestra",
        "threads as a text",
        {"kestra_worker_threads": "3"},
        script="docker inspect --format '{{json .Args}}' orchestration-kestra-1 | grep -cF '\"--worker-thread\",\"3\"'",
        expected="1",
    ),
    grepped(
        "kestra", "duration", kestra("kestra", "server", "liveness", "interval", value="7s"), " interval: 7s", KESTRA
    ),
    grepped("kestra", "grace in minutes", {"kestra_termination_grace_period": "2m"}, "grace-period: .?2m", KESTRA),
    setting("connections as a text", "max_connections", "150", "150"),
    setting("small buffers", "shared_buffers", "65536kB", "64MB"),
    inspected("postgres", "no limit", "postgres_memory_limit", "", ".HostConfig.Memory", "0"),
    answered("sidecar", "two", {"sidecar_bind_addresses": ["127.0.0.1", "127.0.0.2"]}, "http://127.0.0.2:8090/health"),
    grepped("sidecar", "number as a text", {"sidecar_max_parallel": "2"}, "^max_parallel = 2$", "sidecar/sidecar.toml"),
    Odd(
        "docker",
        "key beside the role's",
        {"docker_daemon_config": {"max-concurrent-downloads": 5}},
        script="grep -c max-concurrent-downloads /etc/docker/daemon.json",
        expected="1",
    ),
    inspected(
        "n8n", "log files", "orchestration_log_max_file", "3", 'index .HostConfig.LogConfig.Config "max-file"', "3"
    ),
    Odd("orchestration", "time as a text", {"orchestration_start_timeout": "900"}, script="echo yes", expected="yes"),
]


def batches(rows: Sequence[Odd]) -> list[tuple[dict[str, Any], list[Odd]]]:
    """Return the rows in as few runs as there can be, each run with its variables; no two of one set the same."""
    runs: list[list[Odd]] = []
    for row in rows:
        together = next((run for run in runs if not any(row.claims & other.claims for other in run)), None)
        if together is None:
            runs.append(together := [])
        together.append(row)
    return [(_merged(run), run) for run in runs]


def _merged(rows: Sequence[Odd]) -> dict[str, Any]:
    variables: dict[str, Any] = {}
    for row in rows:
        for name, value in row.variables.items():
            variables[name] = {**variables.get(name, {}), **value} if isinstance(value, dict) else value
    return variables
