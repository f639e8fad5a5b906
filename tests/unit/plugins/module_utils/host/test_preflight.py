"""What the preflight refuses: every rule once, and what it lets through."""

from __future__ import annotations

import copy
import datetime
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.devorch.orchestration.plugins.action import preflight as action
from ansible_collections.devorch.orchestration.plugins.module_utils.host.preflight import (
    backup,
    check,
    docker,
    external,
    images,
    kestra,
    n8n,
    ports,
    postgres,
    server,
    sidecar,
    values,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.host.preflight.check import problems, warnings
from ansible_collections.devorch.orchestration.plugins.module_utils.host.preflight.images import registries
from ansible_collections.devorch.orchestration.plugins.module_utils.host.preflight.situation import (
    IN_DOCKER,
    SERVICES,
    Situation,
)

from .....system.wrong_changes import CHANGES, ODD, PREFLIGHT, Wrong, batches
from ....playbook import play

ROOT = Path(__file__).parents[5]
OPTIONS: dict[str, dict[str, Any]] = {}
for path in ROOT.glob("roles/*/meta/argument_specs.yml"):
    points = yaml.safe_load(path.read_text("utf-8"))["argument_specs"]
    OPTIONS |= points.get("variables", points.get("main", {"options": {}}))["options"]
GIB, MIB = 1024**3, 1024**2
SPARE = "docker.io/kestra/kestra:v2.0.5"
VARIABLES = {name: option["default"] for name, option in OPTIONS.items() if "default" in option} | {
    "postgres_image": "docker.io/library/postgres",
    "kestra_image": "docker.io/kestra/kestra",
    "kestra_dind_image": "docker.io/library/docker",
    "n8n_image": "docker.io/n8nio/n8n",
    "n8n_runners_image": "docker.io/n8nio/runners",
    "n8n_runners_version": "2.41.1",
    "docker_repository_url": "https://download.docker.com/linux/debian",
    "docker_repository_key_url": "https://download.docker.com/linux/debian/gpg",
    "kestra_url": "http://localhost:8080",
    "n8n_url": "http://localhost:5678",
    "backup_state": "present",
    "backup_directory": "/opt/orchestration/backups",
}
FACTS = {
    "processor_vcpus": 4,
    "distribution": "Debian",
    "distribution_version": "13.1",
    "distribution_major_version": "13",
}
HOST: dict[str, Any] = {
    "memory_bytes": 8 * GIB,
    "disk_free_bytes": 80 * GIB,
    "listeners": {},
    "missing_images": [],
    "registry_problems": {},
    "versions": {
        "postgres": "docker.io/library/postgres:17.12-trixie\n",
        "kestra": "docker.io/kestra/kestra:v2.0.5\n",
        "n8n": "docker.io/n8nio/n8n:2.41.1\n",
    },
    "postgres_major": "17",
    "units": {},
    "files": {"/run/snapd.socket": {"type": "other"}},
    "groups": ["root", "sudo"],
    "python": "3.11",
    "interrupted_restore": False,
    "calendars": {"*-*-* 02:30:00": ""},
}


def listener(**more: str) -> dict[str, Any]:
    return {"addresses": ["127.0.0.1"], "process": "", "unit": "", "project": "", "container": "", **more}


def found(variables: dict[str, Any], host: dict[str, Any] | None = None, **more: Any) -> list[str]:
    facts = {**FACTS, **more.pop("facts", {})}
    return problems({**VARIABLES, **variables}, {**HOST, **(host or {})}, facts, **more)


ADDRESSES = {"addresses": ["127.0.0.1", "10.0.0.5", "::1", "2001:db8::5"]}
PROXY = {"listeners": {"8080": {**listener(process="nginx"), "addresses": ["10.0.0.5"]}}}
FULL = {"disk_free_bytes": 10_240_000_000}
DATABASE = "docker.io/library/postgres:17.12-trixie"
ROOT_WITHOUT_DATA = {"/opt/orchestration": {"type": "directory"}, "/run/snapd.socket": {"type": "other"}}
NOBODY = {"listeners": {"8080": listener()}}
SQUATTER = {"listeners": {"5678": listener(process="python3", unit="squatter.service")}}
FOREIGN = {"listeners": {"8090": listener(container="other-web-1", project="other", process="docker-proxy")}}
MISSING = {
    "missing_images": [SPARE],
    "registry_problems": {SPARE: {"https://registry-1.docker.io": "no route to host"}},
}
COMPOSE = {"files": {"/opt/orchestration/compose.yml": {"type": "file"}}}
OLD = {"versions": {"kestra": "docker.io/kestra/kestra:v1.3.9", "n8n": "docker.io/n8nio/n8n:1.9.0"}}
SSH_KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nhunter2\n-----END OPENSSH PRIVATE KEY-----\n"
WITH_STORE = {
    "secrets": ["n8n_encryption_key", "kestra_encryption_key"],
    "files": {**HOST["files"], "/opt/orchestration/backups/repository/config": {"type": "file"}},
}


def store(**more: Any) -> dict[str, Any]:
    return {"backup_targets": [{"name": "offsite", "repository": "sftp:user@host:/path", **more}]}


ABSENT = {f"{service}_state": "absent" for service in SERVICES}

# Variables, what the look at the host has, and how the one problem begins or what it has in it.
REFUSED: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    # the host
    (
        {},
        {"memory_bytes": 2 * GIB},
        "orchestration_minimum_memory: the host has 2048 MiB of memory and needs 3500 MiB.",
    ),
    ({}, FULL | {"docker": {"engine": ""}}, "/opt/orchestration has 9765 MiB of free space and needs 10000 MiB."),
    (
        {},
        FULL | {"missing_images": [DATABASE], "versions": {}},
        "9765 MiB of free space and needs 10000 MiB. Free some.",
    ),
    (
        {},
        FULL | {"missing_images": [SPARE], "versions": {}, "postgres_major": ""},
        "needs 10000 MiB. Free some, or set orchestration_root to a directory on a larger disk.",
    ),
    ({}, {"disk_free_bytes": 999 * MIB}, "orchestration_minimum_disk: /opt/orchestration has 999 MiB of free space"),
    (
        {},
        {"secrets": ["kestra_password", "n8n_encryption_key"], "versions": {"kestra": "x:v2.0.5", "n8n": "x:1"}},
        "kestra_encryption_key: /opt/orchestration/secrets/kestra_encryption_key is missing, and kestra has data",
    ),
    (
        {},
        {"secrets": ["kestra_encryption_key"], "versions": {"n8n": "x:1"}},
        "n8n_encryption_key: /opt/orchestration/secrets/n8n_encryption_key is missing",
    ),
    (
        {},
        {"other_roots": ["/srv/other"]},
        "orchestration_root: is /opt/orchestration, and the services of this host are in /srv/other. In another",
    ),
    *(
        ({}, {**known, "postgres_major": ""}, "data of this host are missing (/opt/orchestration/data/postgres/pgdata)")
        for known in ({"marked_root": "/opt/orchestration"}, {"services": {"postgres": {"committed": "f740"}}})
    ),
    ({}, {"files": ROOT_WITHOUT_DATA}, "missing (/opt/orchestration/data/kestra, /opt/orchestration/data/n8n). Mount"),
    ({"orchestration_minimum_memory": "9000"}, {}, "orchestration_minimum_memory: the host has 8192 MiB"),
    ({"orchestration_http_proxy": "http://u:secret@proxy:3128"}, {}, "orchestration_http_proxy: the value is not an"),
    ({"orchestration_https_proxy": "proxy:3128"}, {}, "orchestration_https_proxy: the value is not an address like"),
    ({"orchestration_offline": "true"}, {}, "orchestration_bundle: is empty, and orchestration_offline is true."),
    # data of a service that stays
    *(
        ({f"{service}_purge_data": "yes"}, {}, f"{service}_purge_data: is true, and {service}_state is 'present'. Set")
        for service in SERVICES
    ),
    # ports
    ({"kestra_port": "70000"}, {}, "kestra_port: 70000 is not a TCP port. Set it to a number from 1 to 65535."),
    ({"kestra_management_port": 0}, {}, "kestra_management_port: 0 is not a TCP port."),
    ({"n8n_port": -1}, {}, "n8n_port: -1 is not a TCP port."),
    ({"sidecar_port": 65536}, {}, "sidecar_port: 65536 is not a TCP port."),
    ({}, NOBODY, "kestra_port: port 8080 is in use by another program. Stop it, or set kestra_port to a free port."),
    ({}, SQUATTER, "n8n_port: port 5678 is in use by python3 (squatter.service). Stop it, or set n8n_port"),
    ({}, FOREIGN, "sidecar_port: port 8090 is in use by other-web-1. Stop it"),
    ({}, {"listeners": {"8090": listener(project="orchestration", container="c")}}, "sidecar_port: port 8090 is in"),
    ({"kestra_management_port": "8080"}, {}, "kestra_management_port: the same as kestra_port (8080). Set one of"),
    ({"n8n_port": 8080}, {}, "n8n_port: the same as kestra_port (8080). Set one of them to another port."),
    ({"kestra_port": 8090, "kestra_bind_address": "0.0.0.0"}, {}, "kestra_port: the same as sidecar_port (8090)."),  # noqa: S104
    # bind addresses
    *(
        ({"kestra_bind_address": address}, {}, f"kestra_bind_address: '{address}' is not an IP address. Set an address")
        for address in ("localhost", "eth0", "[127.0.0.1]", "fe80::1%eth0", "", "127.0.0.1:80", "*")
    ),
    ({"n8n_bind_address": "192.0.2.7"}, ADDRESSES, "n8n_bind_address: the host has no address 192.0.2.7. Set one of 1"),
    ({"n8n_bind_address": "2001:db8::9"}, ADDRESSES, "n8n_bind_address: the host has no address 2001:db8::9. Set one"),
    *(
        ({"n8n_bind_address": address}, {"addresses": ["127.0.0.1"]}, f"is {address}, and the host has no IPv6. Set an")
        for address in ("::", "[::1]", "::1", "[::]", "2001:db8::5")
    ),
    ({"kestra_bind_address": "0.0.0.0"}, PROXY, "kestra_port: port 8080 is in use by nginx. Stop it"),  # noqa: S104
    ({"kestra_bind_address": "10.0.0.5"}, PROXY, "kestra_port: port 8080 is in use by nginx. Stop it"),
    # time zones
    ({"kestra_timezone": "Europe/Nowhere"}, {}, "kestra_timezone: there is no time zone 'Europe/Nowhere'."),
    ({"n8n_timezone": "europe/berlin"}, {}, "n8n_timezone: there is no time zone 'europe/berlin'. Is Europe/Berlin me"),
    ({"n8n_timezone": ""}, {}, "n8n_timezone: there is no time zone ''. Set a name such as"),
    # images
    (
        {"postgres_digest": "sha256:12"},
        {},
        "postgres_digest: 'docker.io/library/postgres:17.12-trixie@sha256:12' is not a valid",
    ),
    ({"kestra_version": "v 2"}, {}, "kestra_version: 'docker.io/kestra/kestra:v 2' is not a valid image reference"),
    ({"n8n_image": "docker.io/N8N"}, {}, "n8n_image: 'docker.io/N8N:2.41.1' is not a valid image reference"),
    (
        {},
        MISSING,
        f"kestra_version: {SPARE} is not on the host, and no registry gives it (https://registry-1.docker.io:",
    ),
    (
        {},
        OLD | {"versions": {"kestra": OLD["versions"]["kestra"]}},
        "kestra_version: docker.io/kestra/kestra:v1.3.9 has",
    ),
    *(
        ({"kestra_version": version}, {}, f"kestra_version: '{version}' is not a full version")
        for version in ("latest", "latest-lts", "develop", "2", "v2.0", "v2.0-slim", "develop-2.0.5")
    ),
    *(({"n8n_version": version}, {}, f"n8n_version: '{version}' is not a full") for version in ("next", "2", "2.41")),
    (
        {"kestra_version": "v2.0.6"},
        {},
        "kestra/kestra:v2.0.6 changes them when it starts. Set kestra_version back, or run upgrade.yml, which makes a",
    ),
    ({"n8n_version": "2.40.7"}, {}, "If you have a backup, set orchestration_upgrade_without_backup to true."),
    (
        {"n8n_version": "3.0.0", "orchestration_upgrade_without_backup": True},
        {},
        "n8n_version: docker.io/n8nio/n8n:2.41.1 has run on the data of this host, and docker.io/n8nio/n8n:3.0.0 is",
    ),
    ({"postgres_version": "17.12-alpine"}, {}, "docker.io/library/postgres:17.12-alpine has another C library, which"),
    (
        {"postgres_version": "17.13"},
        {"versions": {"postgres": "docker.io/library/postgres:17-alpine3.22"}},
        "postgres_version: docker.io/library/postgres:17-alpine3.22 has run on the data of this host",
    ),
    ({"n8n_version": "3.0.0"}, {}, "n8n_version: docker.io/n8nio/n8n:2.41.1 has run on the data of this host, and"),
    ({"postgres_version": "16"}, {}, "postgres_version: the data in /opt/orchestration/data/postgres/pgdata belong to"),
    (
        {"postgres_version": "16.1"},
        {"postgres_major": "", "versions": {"postgres": "docker.io/library/postgres:17.2"}},
        "postgres_version: docker.io/library/postgres:17.2 has run on the data of this host",
    ),
    # PostgreSQL
    (
        {"postgres_version": "18"},
        {"postgres_major": "", "versions": {}},
        "postgres_version: 18 is not supported. Kestra needs 14",
    ),
    ({"postgres_version": "latest"}, {"postgres_major": ""}, "postgres_version: latest is not supported."),
    ({"postgres_shared_buffers": "lots"}, {}, "postgres_shared_buffers: 'lots' is not a size that PostgreSQL reads."),
    ({"postgres_password": "two\nlines"}, {}, "postgres_password: the value has a line break or another control"),
    ({"postgres_password": ""}, {}, "postgres_password: is empty. Set a value, or leave"),
    ({"n8n_database_password": "a\0b"}, {}, "n8n_database_password: the value has a line break or another control"),
    ({"kestra_database_password": "from a block\n"}, {}, "kestra_database_password: the value has a line break"),
    ({"kestra_database_password": "a${b}"}, {}, "kestra_database_password: the value holds ${, which Kestra would"),
    # Kestra
    (
        {"kestra_username": "admin"},
        {},
        "kestra_username: 'admin' is not an e-mail address, and Kestra accepts no other",
    ),
    *(
        ({"kestra_password": password}, {}, "kestra_password: empty or too weak")
        for password in ("", "password", "PASSWORD1", "Short1", "a1B" * 100)
    ),
    ({"kestra_encryption_key": "short"}, {}, "kestra_encryption_key: the value is not 32 bytes in Base64."),
    ({"kestra_encryption_key": ""}, {}, "kestra_encryption_key: is empty."),
    *(
        ({"kestra_webhook_key": key}, {}, "kestra_webhook_key: is not 16 to 256 letters, digits")
        for key in ("", "short", "a/b" * 10, "k" * 257)
    ),
    ({"kestra_config": {"kestra": {"zzz": 1}}}, {}, "kestra_config: kestra.zzz: Kestra has no such key in kestra."),
    (
        {"kestra_config": {"kestra": {"storage": {"type": "s3"}}}},
        {},
        "kestra_config: kestra.storage.type: must be local, because the backup has nothing else. If you back it up",
    ),
    (
        {"kestra_config": {"kestra": {"server": {"basic-auth": {"username": "a@example.com"}}}}},
        {},
        "kestra_config: kestra.server.basic-auth.username: is set by a variable. Set kestra_username.",
    ),
    ({"kestra_url": "https://example.com/kestra/"}, {}, "kestra_url: has the path /kestra, and Kestra is served"),
    ({"kestra_url": "https://a:Secret-1@example.com"}, {}, "kestra_url: has a user name, which everybody could read."),
    ({"kestra_url": "https://example.com?a=b"}, {}, "kestra_url: has a part that begins with ? or #."),
    *(
        ({variable: value}, {}, f"{variable}: {message}")
        for variable in ("kestra_url", "n8n_url", "docker_repository_url", "sidecar_pip_index_url")
        for value, message in (
            ("example.com", "has no scheme. Set an address such as https://host.example.com"),
            ("example.com:8080", "has no scheme."),
            ("http:/example.com", "has no scheme."),
            ("htps://example.com", "the scheme is 'htps' and must be http or https. Set"),
            (f"https://example.com:{'9' * 5000}", "the port 99999"),
            ("https://example.com:80800", "the port 80800 is out of range. Set a port from 1 to 65535."),
            ("https://example.com:0", "the port 0 is out of range."),
            ("https://example.com:http", "the port is not a number."),
            ("https://", "the host is not valid."),
            ("https://:8080", "the host is not valid."),
            ("https://[::1", "the host is not valid."),
            ("https://10.0.0.256", "the host is not valid."),
            ("https://example..com", "the host is not valid."),
            ("https://example.com ", "has a blank or a line break."),
        )
    ),
    ({"kestra_url": ""}, {}, "kestra_url: has no scheme."),
    ({"docker_registry_mirrors": ["https://a.example", "b.example"]}, {}, "docker_registry_mirrors: has no scheme."),
    ({"n8n_environment": {"N8N_WEBHOOK_URL": "a.example"}}, {}, "n8n_environment.N8N_WEBHOOK_URL: has no scheme."),
    ({"kestra_config": ["a"]}, {}, "kestra_config: the configuration is not a dictionary."),
    ({"kestra_password": "Aa1-${long}"}, {}, "kestra_password: the value holds ${, which Kestra would"),
    ({"kestra_password": "Aa1-long-enough\n"}, {}, "kestra_password: the value has a line break"),
    ({"kestra_java_opts": "-Dx='y z'"}, {}, "kestra_java_opts: has a quotation mark"),
    *(
        ({variable: {name: "x"}}, {}, f"{variable}: '{name}' is not a name of an environment variable, and the shell")
        for variable in ("kestra_envs", "kestra_secrets")
        for name in ("my-api-key", "1st", "my key", "a.b", "", "é", "a\n", True, 1)
    ),
    ({"kestra_secrets": {"key": "1", "KEY": "2", "other": "3"}}, {}, "kestra_secrets: KEY and key are one name to"),
    ({"kestra_envs": {"Key": 1, "kEY": 2, "key": 3}}, {}, "kestra_envs: Key, kEY and key are one name to Kestra"),
    *(
        ({variable: {"name": value}}, {}, f"{variable}.name: {message}")
        for variable in ("kestra_envs", "kestra_secrets", "n8n_environment")
        for value, message in (
            (None, "is null. Set a text, or leave it out."),
            (["hunter2"], "is a list, and an environment variable is a text. Write JSON in quotes, such as '["),
            ({"a": "hunter2"}, "is a dictionary, and an environment variable is a text. Write JSON in quotes, such"),
            ("a\0b", "has a NUL character. Set a value without it."),
            (datetime.datetime(2026, 1, 1), "is a point in time, which YAML reads from the text. Put it into quotes."),
        )
    ),
    # limits
    (
        {"kestra_java_opts": "-Xmx1g -Xmx4g"},
        {},
        "kestra_java_opts: -Xmx4g does not fit into kestra_memory_limit (2g), because Java needs 512 MiB beside the"
        " heap. Set a smaller heap, or kestra_memory_limit to 4608m or more.",
    ),
    (
        {"kestra_memory_limit": "256m", "kestra_java_opts": ""},
        {},
        "kestra_java_opts: the heap does not fit into kestra",
    ),
    ({"kestra_memory_limit": "2  GB"}, {}, "kestra_memory_limit: '2  GB' is not a size of 6m or more."),
    ({"n8n_memory_limit": "0"}, {}, "n8n_memory_limit: '0' is not a size of 6m or more."),
    ({"postgres_memory_limit": "much"}, {}, "postgres_memory_limit: 'much' is not a size"),
    (
        {"kestra_dind_memory_limit": "1,5g", "kestra_task_runner": "dind"},
        {},
        "kestra_dind_memory_limit: '1,5g' is not a size",
    ),
    (
        {"n8n_runners_memory_limit": "5m", "n8n_runners": "external"},
        {},
        "n8n_runners_memory_limit: '5m' is not a size of 6m or more.",
    ),
    (
        {"n8n_runners_cpu_limit": "5", "n8n_runners": "external"},
        {},
        "n8n_runners_cpu_limit: 5 is more than the 4 processors of the host.",
    ),
    (
        {"postgres_shared_buffers": "1GB"},
        {},
        "postgres_shared_buffers: 1GB does not fit into postgres_memory_limit (512m)",
    ),
    ({"kestra_cpu_limit": "all"}, {}, "kestra_cpu_limit: 'all' is not a number of processors."),
    ({"n8n_cpu_limit": "0"}, {}, "n8n_cpu_limit: '0' is not a number of processors."),
    ({"postgres_cpu_limit": "8"}, {}, "postgres_cpu_limit: 8 is more than the 4 processors of the host."),
    *(({"kestra_retention": text}, {}, f"kestra_retention: '{text}' is not a number") for text in ("90", "0d", "3M")),
    (
        {"kestra_task_runner": "dind", "kestra_dind_version": "no such tag"},
        {},
        "kestra_dind_version: 'docker.io/library/docker:no such tag' is not a valid image reference",
    ),
    # n8n
    ({"n8n_encryption_key": "short"}, {}, "n8n_encryption_key: shorter than 16 characters."),
    ({"n8n_environment": {"A B": "x"}}, {}, "n8n_environment: 'A B' is not a name of an environment variable."),
    ({"n8n_environment": {"my-var": "x"}}, {}, "n8n_environment: 'my-var' is not a name of an environment variable."),
    *(
        ({"n8n_environment": {name: "x"}}, {}, f"n8n_environment.{name}: {message}")
        for name, message in (
            ("N8N_PORT", "the port in the container is fixed. Set n8n_port"),
            ("N8N_LISTEN_ADDRESS", "the address in the container is fixed. Set n8n_bind_address"),
            ("N8N_HOST", "the name is a part of the address. Set n8n_url."),
            ("N8N_PROTOCOL", "a reverse proxy ends TLS."),
            ("N8N_SSL_KEY", "a reverse proxy ends TLS."),
            ("N8N_SSL_CERT", "a reverse proxy ends TLS."),
            ("N8N_ENCRYPTION_KEY", "the role manages the key. Set n8n_encryption_key."),
            ("N8N_ENCRYPTION_KEY_FILE", "the role manages the key. Set n8n_encryption_key."),
            ("N8N_USER_FOLDER", "n8n's data are in orchestration_root"),
            ("EXECUTIONS_MODE", "the role deploys no Redis and no workers."),
            ("DB_TYPE", "the role connects n8n with its database."),
            ("DB_POSTGRESDB_HOST", "the role connects n8n with its database."),
            ("DB_POSTGRESDB_PASSWORD_FILE", "the role manages the password. Set n8n_database_password."),
            ("DB_TABLE_PREFIX", "the backup counts tables without a prefix."),
        )
    ),
    *(
        ({"n8n_database_password": value}, {}, "n8n_database_password: begins or ends with a blank, or is in quotation")
        for value in (" blank", "blank ", "'quoted'", '"quoted"')
    ),
    # the sidecar
    (
        {"sidecar_bind_addresses": ["127.0.0.1", "10.0.0.1"]},
        {},
        "sidecar_bind_addresses: '10.0.0.1' is not of the loop",
    ),
    ({"sidecar_bind_addresses": []}, {}, "sidecar_bind_addresses: is empty. Keep 127.0.0.1"),
    ({"sidecar_multipass_path": "multipass"}, {}, "sidecar_multipass_path: 'multipass' is not an absolute path."),
    ({"sidecar_home": ""}, {}, "sidecar_home: is empty. Set an absolute path."),
    ({"sidecar_wheels": "/a b"}, {}, "sidecar_wheels: '/a b' is not an absolute path."),
    ({"sidecar_mount_sources": ["/a", "b"]}, {}, "sidecar_mount_sources: 'b' is not an absolute path."),
    ({"sidecar_max_cpus": -1}, {}, "sidecar_max_cpus: -1 is out of range. Set it to 0 to 4096."),
    ({"sidecar_max_memory": "8"}, {}, "sidecar_max_memory: '8' is not a size. Set a whole number with M or G."),
    ({"sidecar_limits": {"nobody": {"cpus": 1}}}, {}, "sidecar_limits: there is no token 'nobody'."),
    ({"sidecar_limits": {"kestra": {"disks": 1}}}, {}, "sidecar_limits: kestra: 'disks: 1' is not a limit."),
    ({"sidecar_limits": {"kestra": {"memory": 8}}}, {}, "sidecar_limits: kestra: 'memory: 8' is not a limit."),
    ({"sidecar_limits": {"kestra": 8}}, {}, "sidecar_limits: kestra: ': 8' is not a limit."),
    ({"sidecar_image_files": ["b"]}, {}, "sidecar_image_files: 'b' is not an absolute path."),
    ({"sidecar_tls_key": "/key"}, {}, "sidecar_tls_certificate, sidecar_tls_key: one is set and the other is not."),
    ({"sidecar_query_timeout": "0"}, {}, "sidecar_query_timeout: 0 is out of range. Set it to 1 to 3600."),
    ({"sidecar_change_timeout": 3601}, {}, "sidecar_change_timeout: 3601 is out of range."),
    ({"sidecar_launch_timeout": 14401}, {}, "sidecar_launch_timeout: 14401 is out of range. Set it to 1 to 14400."),
    ({"sidecar_max_parallel": 65}, {}, "sidecar_max_parallel: 65 is out of range. Set it to 1 to 64."),
    ({"sidecar_max_queue": 10001}, {}, "sidecar_max_queue: 10001 is out of range. Set it to 1 to 10000."),
    ({"sidecar_job_days": 0}, {}, "sidecar_job_days: 0 is out of range."),
    ({"sidecar_rate_limit": 0}, {}, "sidecar_rate_limit: 0 is out of range."),
    ({"sidecar_tokens": [{"name": "A", "scope": "read"}]}, {}, "sidecar_tokens: 'A' is not a name of a token."),
    ({"sidecar_tokens": [{"name": "admin", "scope": "read"}]}, {}, "sidecar_tokens: a name occurs twice."),
    ({"sidecar_token": "short"}, {}, "sidecar_token: needs at least 32 characters"),
    ({"kestra_sidecar_token": "short"}, {}, "kestra_sidecar_token: needs at least 32 characters"),
    ({"sidecar_tokens": [{"name": "kestra", "scope": "read"}]}, {}, "sidecar_tokens: a name occurs twice."),
    ({}, {"python": "3.9"}, "sidecar_python: /usr/bin/python3 is Python 3.9, and the sidecar needs Python 3.11."),
    ({}, {"python": ""}, "sidecar_python: /usr/bin/python3 is missing or does not start"),
    ({"sidecar_groups": "sudo,nosuch"}, {}, "sidecar_groups: the host has no group nosuch."),
    # backups
    ({"backup_keep": {"daily": -1}}, {}, "backup_keep: daily is not a whole number. Set how many backups are kept"),
    ({"backup_keep": {"yearly": 1}}, {}, "backup_keep: does not know yearly. Set some of daily, weekly, monthly,"),
    (
        {"backup_keep": {"daily": 0, "weekly": "0", "monthly": 0}},
        {},
        "backup_keep: keeps no nightly backup. Set one of daily, weekly and monthly",
    ),
    ({"backup_password": "short"}, {}, "backup_password: shorter than 12 characters."),
    ({"backup_password": "two\nlines-of-it"}, {}, "backup_password: the value has a line break"),
    ({"backup_password": ""}, {}, "backup_password: is empty."),
    (
        {},
        WITH_STORE,
        "backup_password: /opt/orchestration/secrets/backup_password is missing, and the backups in",
    ),
    (store(name="Off site"), {}, "backup_targets[0]: the name is 'Off site'. Set a name of at most 32"),
    (
        {"backup_targets": [{"name": "a", "repository": "/srv/a"}, {"name": "a", "repository": "/srv/b"}]},
        {},
        "backup_targets.a: two stores have this name.",
    ),
    (
        {"backup_targets": [{"name": "a", "repository": "/srv/a"}, {"name": "b", "repository": "/srv/a/"}]},
        {},
        "backup_targets.b: the repository is also that of a.",
    ),
    (
        store(repository="/opt/orchestration/backups/repository"),
        {},
        "backup_targets.offsite: the repository is the local store",
    ),
    (
        store(repository="/opt/orchestration/data/n8n/b"),
        {},
        "backup_targets.offsite: the repository /opt/orchestration/da",
    ),
    (
        store(repository="backups"),
        {},
        "backup_targets.offsite: the repository is not a store of restic. Set one such as",
    ),
    (store(repository="ftp://host/path"), {}, "backup_targets.offsite: the repository is not a store of restic."),
    (store(repository="sftp:host"), {}, "backup_targets.offsite: the repository has no host and path."),
    (store(repository="sftp:-oProxyCommand=x:/p"), {}, "backup_targets.offsite: the repository has no host and path."),
    (store(repository="s3:bucket"), {}, "backup_targets.offsite: the repository has no host and bucket."),
    (store(repository="rclone:remote"), {}, "backup_targets.offsite: the repository has no path after the name."),
    (store(repository="rest:host/path"), {}, "backup_targets.offsite: the repository has no address with a host."),
    (
        store(repository="rest:https://u:hunter2@host/path"),
        {},
        "backup_targets.offsite: the repository has a password in its address. Set environment: {RESTIC_REST_USERNAME",
    ),
    (store(repository="s3:key:hunter2@host/bucket"), {}, "Set environment: {AWS_ACCESS_KEY_ID: ..."),
    (
        store(repository="rest:https://host/", environment={"RESTIC_REST_PASSWORD": "hunter2"}),
        {},
        "backup_targets.offsite.environment: has RESTIC_REST_PASSWORD alone. Set both",
    ),
    (
        store(environment={"RESTIC_PASSWORD": "hunter2"}),
        {},
        "backup_targets.offsite.environment: RESTIC_PASSWORD is set by the role. Leave it out.",
    ),
    (store(environment={"A": "hunter\n2"}), {}, "backup_targets.offsite.environment: A has a line break"),
    (store(environment={"A B": "hunter2"}), {}, "backup_targets.offsite.environment: 'A B' is not a name"),
    (store(ssh_key=SSH_KEY), {}, "backup_targets.offsite.known_hosts: is missing,"),
    (store(ssh_key="files/key", known_hosts="h k"), {}, "backup_targets.offsite.ssh_key: is not a private key."),
    (
        store(repository="/srv/b", known_hosts="h k"),
        {},
        "backup_targets.offsite.known_hosts: the repository is not reached over SSH.",
    ),
    (store(upload_limit="-1"), {}, "backup_targets.offsite.upload_limit: is not a whole number of KiB per second."),
    (store(keep={"hourly": 1}), {}, "backup_targets.offsite.keep: does not know hourly."),
    (
        {
            "backup_targets": [
                {"name": "local", "repository": "s3:https://a/b", "environment": {"AWS_ACCESS_KEY_ID": "one"}},
                {"name": "other", "repository": "s3:https://c/d", "environment": {"AWS_ACCESS_KEY_ID": "two"}},
                {"name": "third", "repository": "s3:https://e/f", "environment": {"AWS_ACCESS_KEY_ID": "one"}},
            ]
        },
        {},
        "backup_targets.other: AWS_ACCESS_KEY_ID differs from that of the store 'local'",
    ),
    (
        {"backup_verify_schedule": "never"},
        {"calendars": {"never": "Failed to parse"}},
        "backup_verify_schedule: systemd does not read 'never' (Failed to parse).",
    ),
    ({"backup_directory": "backups"}, {}, "backup_directory: 'backups' is not an absolute path."),
    ({"backup_directory": "/srv/"}, {}, "backup_directory: '/srv/' is a directory of the system"),
    (
        {"backup_schedule": "never"},
        {"calendars": {"never": "Failed to parse\n"}},
        "backup_schedule: systemd does not read 'never' (Failed to parse). Set a calendar expression",
    ),
    ({}, {"interrupted_restore": True}, "backup: a restore on this host was interrupted. Run '/opt/orchestration/bin/"),
    # who needs whom
    (ABSENT, COMPOSE, "docker_state: services of /opt/orchestration/compose.yml run in Docker."),
    ({"docker_state": "absent"}, COMPOSE, "docker_state: services of /opt/orchestration/compose.yml run in Docker."),
    ({"docker_state": "absent"}, {}, "docker_state: PostgreSQL, Kestra and n8n run in Docker. Set docker_state to"),
    ({"postgres_state": "absent"}, {}, "postgres_state: Kestra and n8n keep data in PostgreSQL. Set kestra_state and"),
    ({"postgres_state": "absent", "kestra_state": "absent"}, {}, "postgres_state: n8n keeps data in PostgreSQL."),
    ({**ABSENT, "n8n_purge_data": True}, {}, "postgres_state: n8n_purge_data removes a database of PostgreSQL, which"),
    (
        {"sidecar_state": "absent", "sidecar_purge_data": True},
        {},
        "sidecar_purge_data: Kestra's flows use the token as",
    ),
]


@pytest.mark.parametrize(("variables", "host", "message"), REFUSED)
def test_refused(variables: dict[str, Any], host: dict[str, Any], message: str) -> None:
    (problem,) = found(variables, host)
    assert message in problem
    assert problem.endswith(".")
    assert "hunter2" not in problem


PASSED: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    # as -e name=value gives them
    ({name: str(value) for name, value in VARIABLES.items() if isinstance(value, (bool, int))}, {}),
    ({"kestra_url": "HTTPS://[2001:db8::5]:8443/", "n8n_url": "http://vm_1:5678"}, {}),
    ({"kestra_url": "http://10.0.0.5", "sidecar_pip_index_url": "https://a:b@pypi.example.com/simple/"}, {}),
    # absent is not checked
    (ABSENT, {"memory_bytes": 1, "disk_free_bytes": 1, "listeners": {"8080": listener()}, "python": ""}),
    ({**ABSENT, **{f"{service}_purge_data": True for service in SERVICES}}, {}),
    (ABSENT, {"other_roots": ["/srv/other"], "marked_root": "/srv/other", "postgres_major": ""}),
    # little space: for services that are there, for their upgrade, and if a service is removed
    ({}, {"disk_free_bytes": 1000 * MIB}),
    ({}, {**FULL, "missing_images": [SPARE]}),
    ({"orchestration_minimum_disk": 0}, {"disk_free_bytes": 1}),
    ({"kestra_state": "absent", "kestra_purge_data": True}, {"disk_free_bytes": 1}),
    # data: not there yet, or where they belong
    ({}, {"marked_root": "", "postgres_major": "", "services": {"postgres": {"committed": ""}}}),
    ({}, {"marked_root": "/opt/orchestration", "other_roots": []}),
    ({"n8n_state": "absent"}, {"files": {**ROOT_WITHOUT_DATA, "/opt/orchestration/data/kestra": {}}}),
    (ABSENT, {"marked_root": "/opt/orchestration", "postgres_major": "", "files": ROOT_WITHOUT_DATA}),
    ({"n8n_state": "absent", "n8n_purge_data": True, "n8n_database_password": "a\nb"}, {}),
    ({"sidecar_state": "absent", "sidecar_port": 8080, "sidecar_token": "short"}, {}),
    ({"kestra_state": "absent", "sidecar_state": "absent", "sidecar_purge_data": True}, {}),
    # ports: of the own project, of the own socket, and on other addresses
    ({}, {"listeners": {"8080": listener(project="orchestration", container="orchestration-kestra-1")}}),
    (
        {},
        {
            "listeners": {"8090": listener(unit="orchestration-sidecar.service")},
            "units": {"orchestration-sidecar.socket": {"active": "active", "listen": ["127.0.0.1:8090 (Stream)"]}},
        },
    ),
    ({"n8n_port": 8080, "n8n_bind_address": "10.0.0.1"}, {}),
    *(
        ({"n8n_bind_address": address, "kestra_bind_address": address}, ADDRESSES)
        for address in ("0.0.0.0", "127.0.0.1", "127.0.0.2", "10.0.0.5", "::", "[::]", "::1", "[::1]", "[2001:db8::5]")  # noqa: S104
    ),
    ({}, PROXY),
    *(({"kestra_timezone": zone, "n8n_timezone": zone}, {}) for zone in ("UTC", "America/New_York", "US/Eastern")),
    # images
    ({}, {**MISSING, "registry_problems": {}}),
    ({"docker_registry_mirrors": ["http://mirror"]}, MISSING),
    ({"orchestration_offline": True, "orchestration_bundle": "b", "kestra_digest": "sha256:12"}, MISSING),
    ({"kestra_version": "v2.0.4", "n8n_version": "2.40.7", "orchestration_upgrade_without_backup": "true"}, {}),
    ({"kestra_version": "v2.0.5-slim"}, {}),
    ({"n8n_version": "2.40.7"}, {"versions": {"n8n": "docker.io/n8nio/n8n:latest"}}),
    ({"kestra_image": "docker.io/me/flows", "kestra_version": "v2.0.4"}, {}),
    ({"postgres_version": "17.13-trixie"}, {}),
    ({"postgres_version": "17.12-bookworm"}, {}),
    ({"postgres_digest": "sha256:" + "a" * 64}, {}),
    # values
    ({"kestra_password": "Good-password-1", "kestra_encryption_key": "A" * 43 + "=", "sidecar_token": "t" * 32}, {}),
    ({"kestra_memory_limit": "", "kestra_java_opts": "-Xmx4g", "n8n_memory_limit": "", "kestra_retention": ""}, {}),
    ({"kestra_memory_limit": "5g", "kestra_java_opts": "-Xmx4g", "kestra_cpu_limit": 2.5, "n8n_cpu_limit": "4"}, {}),
    ({"kestra_memory_limit": "2.5g", "n8n_memory_limit": "1.5 GiB", "postgres_memory_limit": "0.5Gb"}, {}),
    ({"kestra_dind_memory_limit": "much", "n8n_runners_memory_limit": "much", "n8n_runners_cpu_limit": "all"}, {}),
    ({"kestra_webhook_key": "Aa0_-" * 5, "kestra_sidecar_token": "t" * 32, "sidecar_token": "'" + "t" * 32}, {}),
    ({"kestra_config": {"kestra": {"zzz": 1}}, "kestra_config_allowed": ["kestra.zzz"]}, {}),
    *(
        (
            {
                **dict.fromkeys(("postgres_password", "kestra_database_password", "n8n_database_password"), value),
                "kestra_password": f"{value}Aa1-long",
                **{name: {"A": value} for name in ("kestra_envs", "kestra_secrets", "n8n_environment")},
            },
            {},
        )
        for value in ("it's", "a\\", "p@ss/w:rd$x$$y#", "%41&?", 'é"ü', "two  blanks\tand a tab")
    ),
    *(
        ({name: {"A": value} for name in ("kestra_envs", "kestra_secrets", "n8n_environment")}, {})
        for value in (True, False, 17, 1.5, "", "${x}", " blanks ", "-----BEGIN KEY-----\nabc\n-----END KEY-----\n")
    ),
    ({"kestra_config": {"kestra": {"storage": {"type": "s3"}}}, "kestra_config_allowed": ["kestra.storage.type"]}, {}),
    ({"kestra_url": "https://kestra.example.com/"}, {}),
    ({"orchestration_http_proxy": "http://proxy.example.com:3128/"}, {}),
    ({"backup_schedule": "", "backup_keep": {"daily": "3"}}, {}),
    (store(ssh_key=SSH_KEY, known_hosts="host ssh-ed25519 AAAA", append_only="true", upload_limit="100"), {}),
    *(
        (store(repository=repository), {})
        for repository in (
            "/srv/backups",
            "local:/srv/backups",
            "sftp:host:relative/path",
            "sftp://user@[2001:db8::5]:2222//path",
            "rest:https://host:8000/user/",
            "s3:https://s3.example.com/bucket/path",
            "s3:s3.amazonaws.com/bucket",
            "s3://host/bucket",
            "b2:bucket:path",
            "azure:container:/path",
            "gs:bucket:/path",
            "swift:container:/path",
            "rclone:remote:path",
            "/opt/orchestration/backups/second",
        )
    ),
    (
        store(
            repository="rest:https://host/", environment={"RESTIC_REST_USERNAME": "u", "RESTIC_REST_PASSWORD": "p@/:"}
        ),
        {},
    ),
    ({"backup_targets": [{"name": "local", "repository": "/srv/backups"}]}, {}),
    (
        {"backup_password": "the-one-of-before"},
        WITH_STORE,
    ),
    ({"sidecar_bind_addresses": ["::1"], "sidecar_tls_certificate": "/c", "sidecar_tls_key": "/k"}, {}),
    ({"sidecar_tokens": [{"name": "a", "scope": "read"}, {"name": "b", "scope": "read"}]}, {}),
]


@pytest.mark.parametrize(("variables", "host"), PASSED)
def test_passed(variables: dict[str, Any], host: dict[str, Any]) -> None:
    assert found(variables, host) == []


@pytest.mark.parametrize(
    ("distribution", "version", "supported"),
    [
        ("Debian", "11.11", False),
        ("Debian", "12.5", True),
        ("Debian", "13.1", True),
        ("Ubuntu", "22.04", False),
        ("Ubuntu", "24.04", True),
        ("Ubuntu", "26.04", True),
        ("Fedora", "42", False),
    ],
)
def test_distributions(distribution: str, version: str, supported: bool) -> None:
    facts = {
        "distribution": distribution,
        "distribution_version": version,
        "distribution_major_version": version.partition(".")[0],
    }
    message = f"{distribution} {version} is not supported. Use Debian 12 or 13, or Ubuntu 24.04 or 26.04."
    assert found({}, facts=facts) == ([] if supported else [message])


def test_run_that_installs_nothing_needs_no_space_and_no_memory() -> None:
    small = {"memory_bytes": 1, "disk_free_bytes": 1, "docker": {"engine": ""}}
    assert found({}, small, installs=False) == []
    assert len(found({}, small)) == 2


def test_facts_are_needed() -> None:
    (problem,) = problems(VARIABLES, HOST, {})
    assert problem.startswith("ansible_facts: the distribution of the host is unknown.")


@pytest.mark.parametrize(("release", "refused"), [("12", True), ("13", False)])
def test_debian_12_has_no_compose(release: str, refused: bool) -> None:
    facts = {"distribution_version": f"{release}.1", "distribution_major_version": release}
    listed = found({"docker_package_source": "distribution"}, facts=facts)
    assert [problem.partition(":")[0] for problem in listed] == (["docker_package_source"] if refused else [])
    assert found({}, facts=facts) == []


def test_upgrade_may_change_the_major_version() -> None:
    assert len(found({"postgres_version": "16"}, OLD)) == 3
    assert found({"postgres_version": "16"}, OLD, upgrade=True) == []
    assert found({"postgres_version": "16-alpine", "n8n_version": "2.42.0"}, upgrade=True) == []
    (problem,) = found({"postgres_version": "17.13-alpine"}, upgrade=True)
    assert "has another C library" in problem


def test_every_problem_is_reported_once_and_no_secret_with_it() -> None:
    variables = {"kestra_database_password": "hunter2\n", "kestra_password": "hunter\n3", "n8n_port": 8080}
    listed = found(variables, {"memory_bytes": 1})
    assert [problem.partition(":")[0] for problem in listed] == [
        "orchestration_minimum_memory",
        "n8n_port",
        "kestra_database_password",
        "kestra_password",
        "kestra_password",
    ]
    assert "hunter" not in " ".join(listed)


def test_services_outside_of_the_run_are_not_checked() -> None:
    assert found({"kestra_username": "admin", "n8n_port": 8090}, {"python": ""}, services=["n8n"]) == []
    assert found({"postgres_state": "absent"}, services=["docker", "kestra"]) == []
    (problem,) = found({"postgres_state": "absent", "n8n_state": "absent"}, services=["postgres"])
    assert problem.startswith("postgres_state: Kestra keeps data in PostgreSQL. Set kestra_state")


def test_what_is_unknown_is_skipped() -> None:
    assert problems({}, {}, FACTS) == []


def test_rendered_template() -> None:
    name = "kestra_config_template"
    (problem,) = found({}, rendered={name: "kestra:\n  url: [\n"})
    assert problem.startswith(f"{name}: the configuration is not valid YAML (line 3)")
    assert found({"kestra_state": "absent"}, rendered={name: "["}) == []
    login = "kestra:\n  server:\n    basic-auth:\n      username: a@example.com\n"
    assert found({}, rendered={name: login}) == []


def test_bundle_must_exist() -> None:
    variables = {"orchestration_offline": True, "orchestration_bundle": "/nowhere"}
    (problem,) = found(variables, missing_files=["orchestration_bundle"])
    assert problem.startswith("orchestration_bundle: the controller has no file /nowhere.")


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("kestra/kestra:v2", ["http://mirror", "https://registry-1.docker.io"]),
        ("docker.io/library/postgres:17", ["http://mirror", "https://registry-1.docker.io"]),
        ("local:5000/kestra:v2", ["http://local:5000"]),
        ("registry.example.com/kestra:v2", ["https://registry.example.com"]),
        ("No Image", []),
    ],
)
def test_registries(reference: str, expected: list[str]) -> None:
    assert registries(reference, ["http://mirror"], ["local:5000"]) == expected


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        (
            {"postgres_version": "17-trixie"},
            "postgres_version: '17-trixie' names no minor version, so the host keeps the one that it has pulled",
        ),
        (
            {"postgres_version": "17.13-trixie"},
            "postgres_version: PostgreSQL 17.12-trixie is replaced with 17.13-trixie on the same data, and restarts.",
        ),
        *(
            ({"kestra_version": f"v2.0.5-{few}"}, f"kestra_version: v2.0.5-{few} does not have all plugins, and flows")
            for few in ("slim", "no-plugins")
        ),
        (
            {"orchestration_http_proxy": "http://proxy:3128", "orchestration_no_proxy": [".a.com", "10.0.0.0/8"]},
            "orchestration_no_proxy: Kestra and n8n do not read ranges of addresses (10.0.0.0/8), and use the proxy",
        ),
        (
            {"kestra_task_runner": "dind", "kestra_dind_memory_limit": "5g"},
            "postgres_memory_limit, kestra_memory_limit, kestra_dind_memory_limit and n8n_memory_limit: together they",
        ),
        (
            {"n8n_runners": "external", "n8n_runners_memory_limit": "5.5g"},
            "kestra_memory_limit, n8n_memory_limit and n8n_runners_memory_limit: together they are 9216 MiB",
        ),
        ({"postgres_version": "17.12"}, "may be made of another release of Debian. If PostgreSQL logs a collation"),
        (
            {"kestra_java_opts": "-Xms1g -Xmx8g", "kestra_memory_limit": ""},
            "kestra_java_opts: -Xmx8g is not less than the memory of the host",
        ),
        (
            {"n8n_memory_limit": "6g"},
            "postgres_memory_limit, kestra_memory_limit and n8n_memory_limit: together they are 8704 MiB, and the host"
            " has 8192 MiB",
        ),
        ({"kestra_secrets": {"TOKEN": "hunter2\n"}}, "kestra_secrets.TOKEN: ends with a line break, which flows get"),
        ({"n8n_environment": {"N8N_URL": "x"}}, "n8n_environment.N8N_URL: n8n has no such variable. Set n8n_url."),
        ({"n8n_environment": {"N8N_SMTP_PASS": " hunter2"}}, "n8n_environment.N8N_SMTP_PASS: begins or ends with a"),
        (
            {"kestra_config": {"kestra": {"storage": {"type": "s3"}}}, "kestra_config_allowed": ["kestra.storage"]},
            "kestra_config_allowed: has kestra.storage.type, so the backups of this host do not have all data of",
        ),
    ],
)
def test_warnings(variables: dict[str, Any], message: str) -> None:
    (warning,) = warnings({**VARIABLES, **variables}, HOST, FACTS)
    assert message in warning and "hunter2" not in warning
    assert warnings({**VARIABLES, **variables, **ABSENT}, HOST, FACTS) == []


@pytest.mark.parametrize(
    ("version", "warned"),
    [("17.11-trixie", True), ("17.2", True), ("17.12-trixie", False), ("17.13", False), ("16.4", False)],
)
def test_a_postgresql_without_the_fixes_of_the_default_is_a_warning(version: str, warned: bool) -> None:
    default = VARIABLES["postgres_version"]
    assert default.startswith("{}.{}-".format(*postgres.DEFAULT))
    host = HOST | {"versions": {"postgres": f"docker.io/library/postgres:{version}\n"}}
    listed = warnings({**VARIABLES, "postgres_version": version}, host, FACTS)
    assert [text for text in listed if "lacks the fixes of 17.12, the default of" in text] == listed
    assert bool(listed) is warned


@pytest.mark.parametrize("root", ["relative", "/", "/with space", ""])
def test_root_that_is_no_absolute_path(root: str) -> None:
    listed = problems({**VARIABLES, "orchestration_root": root}, HOST, FACTS)
    assert [problem for problem in listed if problem.startswith(f"orchestration_root: '{root}' is not an absolute")]


def test_multipass_that_cannot_be_installed_is_a_warning() -> None:
    bare = {**HOST, "files": {}}
    (warning,) = warnings(VARIABLES, bare, FACTS)
    assert "the host has no snapd" in warning
    for variables in ({"sidecar_multipass_install": False}, {"sidecar_multipass_path": "/usr/bin/multipass"}, ABSENT):
        assert warnings({**VARIABLES, **variables}, bare, FACTS) == []


def test_no_warning_without_a_reason() -> None:
    assert warnings(VARIABLES, HOST, FACTS) == []


# What the tests of whole hosts try, without a host.


@pytest.mark.parametrize(
    "change", [change for change in CHANGES if change.stage == PREFLIGHT], ids=lambda change: change.name
)
def test_wrong_changes_are_refused(change: Wrong) -> None:
    variables = {**VARIABLES, **change.variables}
    host = copy.deepcopy(HOST)
    host["listeners"]["8090"] = listener(process="python3", unit="orchestration-sidecar.service")
    host["units"] = {"orchestration-sidecar.socket": {"active": "active", "listen": ["127.0.0.1:8090 (Stream)"]}}
    host["addresses"] = ["127.0.0.1", "172.30.0.2"]
    host["python"] = "" if "sidecar_python" in change.variables else "3.11"
    host["other_roots"] = ["/opt/orchestration"] if "orchestration_root" in change.variables else []
    wanted = dict(change.variables)
    if "orchestration_registry" in wanted:
        variables["n8n_image"] = f"{wanted['orchestration_registry']}/n8nio/n8n"
    for service in IN_DOCKER:
        situation = Situation(variables, host)
        reference = situation.image(service)
        version = variables[f"{service}_digest"] or variables[f"{service}_version"]
        if {f"{service}_version", f"{service}_digest", "orchestration_registry"} & wanted.keys():
            host["missing_images"].append(reference)
            repository = reference.partition("/")[2].partition(":")[0]
            reason = f"has no {repository} {version}"
            host["registry_problems"][reference] = dict.fromkeys(registries(reference), reason)
    listed: list[str] = []
    for name, value in change.variables.items():
        variables[name], wrong = action.validate(name, OPTIONS[name], value)
        listed += wrong
    rendered = {}
    if "kestra_config_template" in change.variables:
        rendered["kestra_config_template"] = Path(change.variables["kestra_config_template"]).read_text("utf-8")
    listed += problems(variables, host, FACTS, services=[change.playing], rendered=rendered)
    said = "\n".join(listed)
    assert [message for message in (change.message, *change.also) if message not in said] == []


@pytest.mark.parametrize("variables", [variables for variables, _rows in batches(ODD)])
def test_odd_changes_are_let_through(variables: dict[str, Any]) -> None:
    """Each of them as a value of its type, and all of a run together."""
    read = {name: action.validate(name, OPTIONS[name], value) for name, value in variables.items()}
    assert {name: wrong for name, (_value, wrong) in read.items() if wrong} == {}
    assert found({name: value for name, (value, _wrong) in read.items()}, ADDRESSES) == []


# The action plugin


@pytest.mark.parametrize(
    ("option", "value", "expected", "message"),
    [
        ({"type": "int"}, "8080", 8080, ""),
        ({"type": "int"}, "http", None, "x: 'http' is not a whole number. Set x to a whole number."),
        ({"type": "bool"}, "yes", True, ""),
        ({"type": "bool"}, "maybe", None, "x: 'maybe' is not true or false. Set x to true or false."),
        ({"type": "str"}, 17, "17", ""),
        ({"type": "dict"}, ["a"], None, "x: the value is not a dictionary. Set x to a dictionary."),
        ({"type": "dict", "no_log": True}, "hunter2", None, "x: is a text, and not a dictionary. With -e, write JSON"),
        (
            {"type": "list", "elements": "str"},
            "a,b",
            None,
            """x: is a text, and not a list. With -e, write JSON: -e '{"x": ["v""",
        ),
        (
            {"type": "list", "elements": "int"},
            ["a"],
            None,
            "x: an item is not a whole number. Set each item to a whole",
        ),
        ({"choices": ["a", "b"]}, "c", None, "x: 'c' is not one of a, b. Set x to one of them."),
        ({"choices": ["a", "b"], "no_log": True}, "c", None, "x: the value is not one of a, b."),
        (OPTIONS["sidecar_tokens"], [{"name": "a"}], None, "x: missing required arguments: scope found in x. Correct"),
        (OPTIONS["sidecar_tokens"], [{"name": "a", "scope": "read"}], [{"name": "a", "scope": "read"}], ""),
        ({"type": "str", "default": "a"}, None, None, "x: is null. Set a value, or leave x out."),
        ({"type": "str"}, None, None, ""),
    ],
)
def test_types_and_choices(option: dict[str, Any], value: Any, expected: Any, message: str) -> None:
    converted, wrong = action.validate("x", option, value)
    assert converted == expected
    assert len(wrong) == bool(message) and message in "".join(wrong)


def test_texts_of_a_module_are_left_to_it() -> None:
    assert action.validate("kestra_flows_owner_labels", {"type": "list", "elements": "str"}, "a,b") == (["a", "b"], [])


def test_misspelt_name_of_a_variable_is_a_warning() -> None:
    options = {name for role in ("kestra", "n8n", "common") for name in action.read_options(role) or ()}
    variables = {
        "kestra_memmory_limit": "2g",
        "kestra_memory_limit": "{{ kestra_memory_limit2 }}",
        "kestra_memory_limit2": "of the inventory, which an option uses",
        "kestra_deployed": "a fact of the role, close to none",
        "kestra_flows_directori": "x",
        "kestra_of_ours": "of the inventory, and close to none",
        "memory_limit": "without a prefix",
        "plan_only": "renamed, which is a problem of its own",
        "upgrade_plan_onli": True,
    }
    assert list(action.misspelt(variables, options)) == [
        "kestra_flows_directori: nothing uses this variable. If kestra_flows_directory is meant, correct the name.",
        "kestra_memmory_limit: nothing uses this variable. If kestra_memory_limit is meant, correct the name.",
        "upgrade_plan_onli: nothing uses this variable. If upgrade_plan_only is meant, correct the name.",
    ]


def test_no_variable_or_fact_of_the_collection_counts_as_misspelt() -> None:
    options = {name for role in (*SERVICES, "common") for name in action.read_options(role) or ()}
    files = [path for kind in ("roles", "playbooks") for path in (ROOT / kind).rglob("*.yml")]
    names = {word for path in files for word in action.WORD.findall(path.read_text("utf-8"))}
    assert len(names) > 500 and list(action.misspelt(dict.fromkeys(names), options)) == []


def test_renamed_variables() -> None:
    assert list(action.renamed({"plan_only": True, "other": 1})) == [
        "plan_only: was renamed. Set kestra_flows_plan_only instead."
    ]


def test_variables_of_the_former_backups_are_refused_with_the_way_out() -> None:
    given = {"backup_keep_days": 3, "backup_encryption": "age", "backup_recipients": ["age1x"]}
    told = list(action.renamed(given))
    assert [text.partition(":")[0] for text in told] == list(given)
    assert "Set backup_keep to a dictionary" in told[0] and "backup_archive and backup_identity" in told[1]
    for number in (7, "7"):
        value, (problem,) = action.validate("backup_keep", OPTIONS["backup_keep"], number)
        assert value is None and problem.startswith("backup_keep: is a number, and is a dictionary now.")


def test_no_credential_of_a_store_is_in_a_message() -> None:
    canary = "canary hunter\n2"
    wrong = [
        {"name": canary[:6], "repository": f"sftp:{canary}", "environment": {"A": canary}, "ssh_key": canary},
        {"name": "b", "repository": "rest:https://u:hunter2@host:99999/", "environment": {"RESTIC_PASSWORD": canary}},
        {"name": "c", "repository": "s3:key:hunter2@host/bucket", "environment": {"A": [canary]}},
        {"name": "d", "repository": "rest:https://u:hunter2@host/", "keep": {"daily": canary}, "upload_limit": canary},
    ]
    told = found({"backup_targets": wrong, "backup_password": canary})
    assert len(told) >= 10 and "hunter" not in " ".join(told)


def test_options_of_a_role() -> None:
    assert "n8n_port" in (action.read_options("n8n") or {})
    assert action.read_options("nobody") is None


IMAGES = {
    **{name: VARIABLES[name] for name in ("postgres_image", "kestra_image", "kestra_dind_image", "n8n_image")},
    "n8n_runners_image": "docker.io/n8nio/runners",
}


def task(services: list[str], **options: Any) -> list[dict[str, Any]]:
    arguments = {"services": services, "host": "{{ look }}", **options}
    return [{"name": "Check", "devorch.orchestration.preflight": arguments, "register": "checked"}]


def test_playbook_passes_with_the_defaults_of_the_roles(tmp_path: Path) -> None:
    """The roles are not loaded: their defaults come from the specifications, the template is below the role."""
    variables = {**IMAGES, "look": HOST, "ansible_facts": FACTS, "orchestration_root": "/opt/orchestration"}
    rendered = {"kestra_config_template": "{{ lookup('ansible.builtin.file', kestra_config_template)[:0] }}kestar: x"}
    extra = json.dumps(variables)
    run = play(tmp_path, task([*SERVICES], rendered=rendered), "-e", extra)
    (problem,) = run.last["problems"]
    assert problem.startswith("kestra_config_template: kestar: Kestra has no such key at the top.")
    assert play(tmp_path, task([*SERVICES]), "-e", extra).last["msg"] == "no problems"


def test_playbook_reports_a_directory_of_flows_that_the_controller_does_not_have(tmp_path: Path) -> None:
    variables = {**IMAGES, "look": HOST, "ansible_facts": FACTS, "kestra_flows_drift": "maybe"}
    extra = {**variables, "kestra_flows_directory": f"{tmp_path}/none"}
    assert play(tmp_path, task(["kestra"]), "-e", json.dumps(extra)).last["problems"] == [
        "kestra_flows_drift: 'maybe' is not one of overwrite, report, fail. Set kestra_flows_drift to one of them.",
        f"kestra_flows_directory: the controller has no directory {tmp_path}/none. Make it, or correct the path.",
    ]


@pytest.mark.parametrize(
    ("own", "given", "reason"),
    [
        ({"log-opts": {"max-size": "1m"}}, {}, "/etc/docker/daemon.json of the host has its own log settings"),
        ({"log-driver": "json-file"}, {}, "/etc/docker/daemon.json of the host has its own log settings"),
        ({"log-driver": "journald"}, {}, "the log driver is journald"),
        ({}, {"log-driver": "syslog"}, "the log driver is syslog"),
        ({}, {"log-opts": {"max-file": 2}}, "docker_daemon_config sets max-file"),
        ({"log-opts": {"max-file": "9"}}, {}, ""),
        ({}, {"log-opts": {"tag": "x"}}, ""),
        ({}, {}, ""),
    ],
)
def test_limit_of_the_logs_without_effect_is_a_warning(own: dict[str, Any], given: dict[str, Any], reason: str) -> None:
    host = HOST | {"docker_host": {"own": own}}
    variables = VARIABLES | {"docker_daemon_config": given}
    told = [text for text in warnings({**variables, "orchestration_log_max_file": 9}, host, FACTS) if "log_max" in text]
    assert len(told) == bool(reason)
    assert all(text.startswith(f"orchestration_log_max_file: has no effect, because {reason}") for text in told)
    assert not [text for text in warnings(variables, host, FACTS) if "log_max" in text]


def test_defaults_of_the_log_are_those_of_the_roles() -> None:
    assert {name: str(VARIABLES[name]) for name in docker.LOG_LIMITS} == {
        name: default for name, (_key, default) in docker.LOG_LIMITS.items()
    }


def test_a_saved_plan_needs_no_directory_of_flows() -> None:
    assert found({"kestra_flows_plan": "/root/plan"}, missing_files=["kestra_flows_directory"]) == []


def test_playbook_reports_everything_at_once(tmp_path: Path) -> None:
    variables = {
        **IMAGES,
        "look": {**HOST, "memory_bytes": GIB},
        "ansible_facts": FACTS,
        "orchestration_minimum_memory": 3500,
        "kestra_port": "http",
        "kestra_url": "{{ nothing }}",
        "kestra_password": "hunter2 {{ 7 * }}",
        "n8n_encryption_key": "{{ 'short' }}",
        "rotate": ["kestra_password"],
        "kestra_version": "latest",
    }
    rendered = {"kestra_config_template": "{{ lookup('ansible.builtin.template', '/nowhere') }}"}
    play_keys = {"vars": variables}
    run = play(tmp_path, task(["kestra", "n8n"], rendered=rendered), "--check", play_keys=play_keys)
    assert run.returncode == 2
    lines = run.last["msg"].splitlines()
    assert lines[0] == f"{len(lines) - 1} problems; nothing was changed:"
    assert [line[2:].partition(":")[0] for line in lines[1:] if "minimum" not in line] == [
        "rotate",
        "kestra_port",
        "kestra_url",
        "kestra_password",
        "kestra_config_template",
        "kestra_version",
        "n8n_encryption_key",
    ]
    assert lines[1:] == [f"- {problem}" for problem in run.last["problems"]]
    assert "hunter2" not in run.output and "'nothing' is undefined" in run.output
    assert "kestra_version: 'latest' is not a full version" in run.output


def test_playbook_leaves_the_template_of_a_removed_service_alone(tmp_path: Path) -> None:
    variables = {**IMAGES, "look": HOST, "ansible_facts": FACTS, "kestra_state": "absent"}
    rendered = {"kestra_config_template": "{{ nothing }}"}
    run = play(tmp_path, task(["kestra"], rendered=rendered), "-e", json.dumps(variables))
    assert run.last["msg"] == "no problems"


@pytest.mark.parametrize(
    ("arguments", "keys", "problem"),
    [
        (("--tags", "kestra"), {"tags": "always"}, "--tags: no task has the tag kestra. Leave it out."),
        (("--tags", "untagged"), {"tags": "always"}, "--tags: no task has the tag untagged."),
        (("--skip-tags", "kestra"), {"tags": "always"}, "--skip-tags: no task has the tag kestra."),
        (("--skip-tags", "molecule-notest,notest"), {"tags": "always"}, ""),
        (("--tags", "all"), {"tags": "always"}, ""),
        (("--tags", "mine"), {"tags": ["mine"]}, ""),
        (("--skip-tags", "other"), {"tags": ["mine"]}, ""),
    ],
)
def test_playbook_is_never_green_without_having_done_what_a_tag_asks_for(
    tmp_path: Path, arguments: tuple[str, ...], keys: dict[str, Any], problem: str
) -> None:
    extra = json.dumps({**IMAGES, "look": HOST, "ansible_facts": FACTS})
    run = play(tmp_path, task(["n8n"]), "-e", extra, *arguments, play_keys=keys)
    (result,) = run.results
    assert problem in "".join(result.get("problems", []))
    assert len(result["problems"]) == bool(problem)


def test_playbook_refuses_an_unknown_service(tmp_path: Path) -> None:
    run = play(tmp_path, task(["nobody"]), "-e", json.dumps({"look": HOST}))
    assert run.last["failed"] and "'nobody' is not a role of this collection" in run.last["msg"]


@pytest.mark.parametrize("rules", [server, ports, external, images, docker, postgres, kestra, n8n, sidecar, backup])
def test_every_rule_of_a_file_is_applied(rules: Any) -> None:
    """A rule that no tuple lists would never run."""
    applied = {*check.RULES, *check.WARNINGS}
    for listed in (*check.DEPLOYMENT.values(), *check.REMOVAL.values()):
        applied |= {*listed}
    own = [
        rule
        for name, rule in vars(rules).items()
        if callable(rule)
        and getattr(rule, "__module__", "") == rules.__name__
        and getattr(rule, "__annotations__", {}) == {"situation": "Situation", "return": "Iterator[str]"}
    ]
    assert own and not [rule.__name__ for rule in own if rule not in applied]


ELSEWHERE = {"host": "db.example.com", "user": "admin", "password": "hunter2"}
AWAY = {"postgres_external": ELSEWHERE, "backup_state": "absent"}
"""A PostgreSQL that is not on the host, and what goes with it."""
NEW_HOST = {"versions": {}, "postgres_major": "", "secrets": []}


def external_of(**more: Any) -> dict[str, Any]:
    return {**AWAY, "postgres_external": {**ELSEWHERE, **more}}


@pytest.mark.parametrize(
    ("variables", "host", "message"),
    [
        (external_of(hots="x"), {}, "postgres_external.hots: there is no such key. Is host meant? Set some of host,"),
        (external_of(host=""), {}, "postgres_external.host: is empty. Set the name or the address of the server, or"),
        *(
            (external_of(host=host), {}, f"postgres_external.host: '{host}' is not the same server for the host and")
            for host in ("localhost", "127.0.0.1", "host.docker.internal", "localhost.", "Localhost.localdomain", "::1")
        ),
        *(
            (external_of(host=host), {}, f"postgres_external.host: '{host}' is not the same server for the host and")
            for host in ("ip6-localhost", "db.localhost", "::ffff:127.0.0.1", "fe80::1", "n8n", "postgres", "127.9.9.9")
        ),
        *(
            (external_of(host=host), {}, "postgres_external.host: the value is not a host name or an IP address.")
            for host in ("db:5432", "postgres://u:hunter2@db", "db example", "a/b", "db;id", "$(id)")
        ),
        *(
            (external_of(host=host, sslmode="require"), {}, "host: the value is not a host name or an IP address.")
            for host in ("127.1", "0", "0x7f000001", "2130706433", "0177.0.0.1", "[::1]", "::1%lo", "::", "224.0.0.1")
        ),
        *(
            (external_of(port=port), {}, f"postgres_external.port: '{port}' is not a TCP port. Set it to a number")
            for port in (0, 65536, "", "pg", 5432.5, "05432", "+5432", " 5432", "\uff15432")
        ),
        (external_of(sslmode="prefer"), {}, "postgres_external.sslmode: 'prefer' is not one of disable, require,"),
        *(
            (external_of(sslmode=mode, ca="ca.pem"), {}, f"postgres_external.ca: the mode {mode} does not check the")
            for mode in ("disable", "require")
        ),
        *(
            (external_of(sslmode=mode, host=host), {}, "postgres_external.host: n8n cannot compare a certificate with")
            for mode in ("verify-ca", "verify-full")
            for host in ("192.0.2.1", "2001:db8::1")
        ),
        (external_of(password=None), {}, "postgres_external.password: is missing, and postgres_external.user is set."),
        (external_of(user=""), {"secrets": ["kestra_database_password", "n8n_database_password"]}, "user: is missing"),
        (external_of(password="hunter2\n"), {}, "postgres_external.password: the value has a line break or another"),
        (external_of(user="n8n"), {}, "postgres_external.user: is the owner of a database of this host."),
        (
            {**AWAY, "postgres_external": {"host": "db.example.com"}, "n8n_database_password": "x"},
            {},
            "kestra_database_password: is not set, and postgres_external has no user that could give the role kestra a",
        ),
        (
            AWAY,
            {"postgres_major": "17"},
            "postgres_external: this host has a PostgreSQL of its own with data (/opt/orchestration/data/postgres",
        ),
        (
            AWAY,
            {"versions": {"postgres": "external old.example.com:5432\n"}},
            "postgres_external: the databases of this host are on old.example.com:5432, and db.example.com:5432 would",
        ),
        (
            {},
            {"versions": {"postgres": "external old.example.com:5432"}},
            "postgres_external: the databases of this host are on old.example.com:5432, and a new PostgreSQL on this",
        ),
        (
            {"postgres_external": ELSEWHERE},
            {},
            "backup_state: the databases are on db.example.com:5432 (postgres_external), and a backup of this host",
        ),
        (
            {**AWAY, "kestra_config": {"datasources": {"postgres": {"url": "jdbc:postgresql://postgres:5432/kestra"}}}},
            {},
            "kestra_config: datasources.postgres.url is not the database of postgres_external. Leave it out, or",
        ),
        (
            {**AWAY, "n8n_environment": {"DB_POSTGRESDB_SSL_REJECT_UNAUTHORIZED": False}},
            {},
            "n8n_environment.DB_POSTGRESDB_SSL_REJECT_UNAUTHORIZED: the role connects n8n with its database.",
        ),
    ],
)
def test_external_postgres_that_is_refused(variables: dict[str, Any], host: dict[str, Any], message: str) -> None:
    (problem,) = found(variables, NEW_HOST | host)
    assert message in problem and "hunter2" not in problem


@pytest.mark.parametrize(
    ("variables", "host"),
    [
        (AWAY, {}),
        (external_of(port="6432", sslmode="verify-ca", ca="ca.pem"), {}),
        (external_of(host="192.0.2.1", sslmode="require"), {}),
        (external_of(host="192.0.2.1") | {"n8n_state": "absent"}, {}),
        ({**AWAY, "kestra_database_password": "x", "n8n_database_password": "y", "postgres_version": "9"}, {}),
        (
            {**AWAY, "postgres_external": {"host": "db.example.com"}},
            {"secrets": ["kestra_database_password", "n8n_database_password"]},
        ),
        # the owner has removed what was there, or it was there before
        (AWAY, {"marked_root": "/opt/orchestration", "services": {"postgres": {"committed": "f740"}}}),
        (AWAY, {"versions": {"postgres": "external db.example.com:5432\n"}}),
        (external_of(host="DB.example.com."), {"versions": {"postgres": "external db.example.com:5432\n"}}),
        (external_of(host="1.db.example.com"), {}),
        (external_of(host="localhost.example.com"), {}),
        (external_of(host="2001:db8::1", sslmode="require"), {}),
        (AWAY, {"versions": {"postgres": DATABASE}}),
        ({**AWAY, "kestra_state": "absent", "kestra_purge_data": True}, {}),
        ({**AWAY, **ABSENT}, {"postgres_major": "17"}),
    ],
)
def test_external_postgres_that_is_accepted(variables: dict[str, Any], host: dict[str, Any]) -> None:
    assert found(variables, NEW_HOST | host) == []


def test_external_postgres_has_no_problem_of_the_image() -> None:
    missing = {"missing_images": [DATABASE], "registry_problems": {DATABASE: {"https://registry-1.docker.io": "away"}}}
    assert found(AWAY, NEW_HOST | missing) == []
    assert warnings({**VARIABLES, **AWAY, "n8n_memory_limit": "6g"}, HOST, FACTS) == []


def test_external_postgres_is_the_database_of_the_template() -> None:
    template = "datasources:\n  postgres:\n    url: jdbc:postgresql://{}/kestra?sslmode=require\n"
    name, own = "kestra_config_template", template.format("postgres:5432")
    (problem,) = found(AWAY, NEW_HOST, rendered={name: own})
    assert problem.startswith(f"{name}: datasources.postgres.url is not the database of postgres_external.")
    assert found(AWAY, NEW_HOST, rendered={name: template.format("db.example.com:5432")}) == []
    six = external_of(host="2001:db8::1", sslmode="require")
    assert found(six, NEW_HOST, rendered={name: template.format("[2001:db8::1]:5432")}) == []
    (problem,) = found({}, NEW_HOST, rendered={name: template.format("db.example.com:5432")})
    assert "that of postgres_external" in problem


def test_external_postgres_is_not_upgraded_as_if_it_had_a_backup() -> None:
    (problem,) = found(AWAY, NEW_HOST, upgrade=True)
    assert problem.startswith("postgres_external: upgrade.yml makes no backup of the databases on db.example.com:5432")
    assert found(AWAY, NEW_HOST, upgrade=True, installs=False) == []
    assert found({**AWAY, "orchestration_upgrade_without_backup": "true"}, NEW_HOST, upgrade=True) == []


def test_external_postgres_is_told_about() -> None:
    (warning,) = warnings({**VARIABLES, **external_of(sslmode="verify-ca")}, HOST, FACTS)
    assert warning.startswith("postgres_external.sslmode: n8n has no mode verify-ca, and checks the name")
    purged = {**VARIABLES, **AWAY, "kestra_state": "absent", "kestra_purge_data": True}
    (warning,) = warnings(purged, HOST, FACTS)
    assert warning.startswith("postgres_external: the databases and roles kestra on db.example.com:5432 stay.")


def test_playbook_reports_a_certificate_that_the_controller_does_not_have(tmp_path: Path) -> None:
    look = {**HOST, **NEW_HOST}
    variables = {**IMAGES, **external_of(ca=str(tmp_path / "ca.pem")), "look": look, "ansible_facts": FACTS}
    run = play(tmp_path, task(["n8n"]), "-e", json.dumps(variables))
    assert run.last["problems"] == [
        f"postgres_external.ca: the controller has no file {tmp_path}/ca.pem. Correct the path."
    ]
    (tmp_path / "ca.pem").write_text("-")
    assert play(tmp_path, task(["n8n"]), "-e", json.dumps(variables)).last["problems"] == []


def test_words_are_joined_as_in_a_sentence() -> None:
    assert values.listed(["a"]) == "a" and values.listed(["a", "b", "c"]) == "a, b and c"
    assert values.either(["a", "b"]) == "a or b"
