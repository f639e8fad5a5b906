# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What Kestra's configuration may contain. The server itself silently ignores a key that it does not know."""

from __future__ import annotations

import difflib
import re
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

try:
    import yaml

    HAS_YAML = True
except ImportError:
    HAS_YAML = False

DURATION = re.compile(r"(\d+(ms|s|m|h|d))+|P(?=.)(\d+[YMWD])*(T(\d+H)?(\d+M)?(\d+(\.\d+)?S)?)?", re.IGNORECASE)
PLACEHOLDER = "${"
ANY = "anything"
"""A branch whose keys are not listed here. Their spelling is checked."""
OTHER = "*"
"""Stands for the keys of a branch that are not listed."""
NAMES = "names"
"""A branch with names of the user, or one that is not read as Kestra's own keys are."""

_BASIC_AUTH = {"username": "text", "password": "text", "enabled": "bool", "realm": "text", "open-urls": "list"}
_LIMIT = {"enabled": "bool", "limit": "int"}
_PURGE = {"enabled": "bool", "initial-delay": "duration", "fixed-delay": "duration", "batch-size": "int"}
_KESTRA: dict[str, Any] = {
    "url": "text",
    "server": {
        "basic-auth": _BASIC_AUTH,
        "liveness": {
            "enabled": "bool",
            "interval": "duration",
            "timeout": "duration",
            "initial-delay": "duration",
            "heartbeat-interval": "duration",
        },
        "termination-grace-period": "duration",
        "worker-task-restart-strategy": ("NEVER", "IMMEDIATELY", "AFTER_TERMINATION_GRACE_PERIOD"),
        "preview": {"initial-rows": "int", "max-rows": "int"},
        "service": {"purge": {"initial-delay": "duration", "fixed-delay": "duration", "retention": "duration"}},
        "standalone": {"running": {"timeout": "duration"}},
        "access-log": ANY,
        "metrics": ANY,
    },
    "repository": {"type": ("postgres", "mysql", "h2", "memory", "elasticsearch")},
    "queue": {
        "type": ("postgres", "mysql", "h2", "memory", "kafka"),
        "prefix": "text",
        "fail-fast": "bool",
        "message-protection": _LIMIT,
    },
    "storage": {
        "type": "text",
        "local": {"base-path": "text"},
        "isolation": {"enabled": "bool", "denied-services": "list"},
        "temp-file-deletion": {"max-attempts": "int", "retry-delay": "duration"},
        **dict.fromkeys(("s3", "s3files", "minio", "gcs", "azure", "cloudflare", "seaweedfs"), ANY),
    },
    "tasks": {
        "tmp-dir": {"path": "text"},
        "http": {"allowed-list": "list", "denied-list": "list"},
        "sdk": {"authentication": {"url": "text", "username": "text", "password": "text", "api-token": "text"}},
        "scripts": ANY,
        "subflow": ANY,
    },
    "encryption": {"secret-key": "text"},
    "secret": ANY,
    "anonymous-usage-report": {
        "enabled": "bool",
        "uri": "text",
        "initial-delay": "duration",
        "fixed-delay": "duration",
    },
    "ui-anonymous-usage-report": {"enabled": "bool"},
    "tutorial-flows": {"enabled": "bool"},
    "environment": {"name": "text", "color": "text"},
    "system-flows": {"namespace": "text"},
    "variables": {
        "env-vars-prefix": "text",
        "globals": NAMES,
        "cache-enabled": "bool",
        "cache-size": "int",
        "recursive-rendering": "bool",
        "redacted-env-vars": "list",
        "max-output-size": "int",
        "max-render-depth": "int",
    },
    "plugins": {
        "repositories": NAMES,
        "configurations": "list",
        "defaults": "list",
        "auto-install": {"enabled": "bool"},
        "management": ANY,
        "security": ANY,
    },
    "kv": {"purge-expired": _PURGE},
    "retries": {
        "attempts": "int",
        "delay": "duration",
        "max-delay": "duration",
        "multiplier": "number",
    },
    "allocated-cpu-cores": "int",
    "jdbc": ANY,
    "local-files": {"allowed-paths": "list", "enable-preview": "bool", "enable-file-functions": "bool"},
    "regex": {"timeout": "duration"},
    "security": ANY,
    "migration": {"auto": "bool", "lock-acquire-timeout": "duration"},
    "configurations": {"delete-files-on-start": "bool"},
    "metrics": {"prefix": "text", "labels": "list", "tags": NAMES, "shared-service-instance-metrics": "bool"},
    "metric": {"queue": {"lag": ANY}},
    "grpc": ANY,
    "async-operations": {"wait-timeout": "duration"},
    "execution": {"depth": {"max-depth": "int"}, "outputs": _LIMIT},
    "task": {"outputs": _LIMIT},
    "logging": {"labels": NAMES},
    "logs": ANY,
    "pebble": ANY,
    "traces": ANY,
    "ephemeral-database": ANY,
    "hidden-labels": ANY,
    "webserver": ANY,
    "worker": ANY,
    "executor": ANY,
    "scheduler": ANY,
    "indexer": ANY,
    "controller": ANY,
    "heartbeat": ANY,
    "ai": ANY,
    "ee": ANY,
    "elasticsearch": ANY,
    "kafka": ANY,
    "mails": ANY,
    "templates": {"enabled": "bool"},
    "micronaut": ANY,
}
KNOWN: dict[str, Any] = {
    "kestra": _KESTRA,
    "micronaut": {
        "server": {
            "cors": {"configurations": NAMES, OTHER: ANY},
            OTHER: ANY,
        },
        "http": {"services": NAMES, OTHER: ANY},
        "router": {"static-resources": NAMES, OTHER: ANY},
        "metrics": {"tags": NAMES, OTHER: ANY},
        "security": {"oauth2": NAMES, OTHER: ANY},
        **dict.fromkeys(("executors", "caches"), NAMES),
        OTHER: ANY,
    },
    "datasources": {"postgres": ANY},
    "endpoints": {"all": {OTHER: ANY}, "health": {OTHER: ANY}, OTHER: ANY},
    **dict.fromkeys(("logger", "jackson", "netty", "otel", "tracing", "flyway", "jasync", "executors"), NAMES),
    **dict.fromkeys(("caches", "http", "elasticsearch", "kafka", "slf4j"), NAMES),
}


@dataclass(frozen=True)
class Fixed:
    """A key that the rest of the installation relies on.

    It may have one of C(values), which may hold wildcards; without any, it may not be set. C(own) is a key that the
    template fills from a variable.
    """

    path: str
    reason: str
    values: tuple[str, ...] = ()
    own: bool = False


_BACKUP = "because the backup has nothing else. If you back it up yourself, put {} into kestra_config_allowed"
_OPEN = "is not supported, because the health check has no login. The port is on loopback only"
_HEALTH = "must be true, because the health check needs it"
_TLS = "must be false, because health checks and modules use HTTP. Let a reverse proxy encrypt, and set kestra_url"
_DATABASE = f"must be the database of this host, or that of postgres_external, {_BACKUP}"
DATABASE = "datasources.postgres.url"
BACKED_UP = (
    Fixed(
        DATABASE,
        _DATABASE,
        ("jdbc:postgresql://postgres:5432/kestra", "jdbc:postgresql://postgres:5432/kestra[?]*"),
    ),
    Fixed("datasources.postgres.jdbc-url", f"is another name of url, which {_DATABASE}"),
    # Null would remove all of it.
    Fixed("datasources.postgres", f"must be a dictionary. It {_DATABASE}", ("{*",)),
    Fixed("datasources.postgres.username", f"must be kestra, {_BACKUP}", ("kestra",)),
    Fixed("kestra.repository.type", f"must be postgres, {_BACKUP}", ("postgres",)),
    Fixed("kestra.queue.type", f"must be postgres, {_BACKUP}", ("postgres",)),
    Fixed("kestra.storage.type", f"must be local, {_BACKUP}", ("local",)),
    Fixed("kestra.storage.local.base-path", f"must be /app/data, {_BACKUP}", ("/app/data",)),
)
"""What the backup relies on."""
FIXED = (
    # Set by the Compose file.
    Fixed("micronaut.server.port", "must be 8080, the port inside the container. Set kestra_port", ("8080",)),
    Fixed("endpoints.all.port", "must be 8081, the port inside the container. Set kestra_management_port", ("8081",)),
    Fixed("micronaut.server.host", "is an address inside the container. Set kestra_bind_address"),
    # Health checks, modules and the backup ask there.
    Fixed(
        "micronaut.server.context-path",
        "is not supported, because health checks, modules and links have no path. Give Kestra a host name of its own in"
        " the reverse proxy, and set kestra_url",
    ),
    Fixed("micronaut.server.ssl.enabled", _TLS, ("false",)),
    Fixed("micronaut.ssl.enabled", _TLS, ("false",)),
    Fixed("endpoints.all.path", "is not supported, because the health check asks for /health"),
    Fixed("endpoints.all.enabled", _HEALTH, ("true",)),
    Fixed("endpoints.all.sensitive", _OPEN, ("false",)),
    Fixed("endpoints.all.basic-auth", _OPEN),
    Fixed("endpoints.health.enabled", _HEALTH, ("true",)),
    Fixed("endpoints.health.sensitive", _OPEN, ("false",)),
    # The login.
    Fixed("kestra.server.basic-auth.enabled", "must be true, because Kestra does not run without a login", ("true",)),
    Fixed("kestra.server.basic-auth.username", "is set by a variable. Set kestra_username", own=True),
    Fixed("kestra.server.basic-auth.password", "is a secret. Set kestra_password", ("${KESTRA_PASSWORD}",)),
    Fixed("kestra.server.basic-auth.email", "is called username. Set kestra_username"),
    # What the container's environment has.
    Fixed("datasources.postgres.password", "is a secret. Set kestra_database_password", ("${KESTRA_DB_PASSWORD}",)),
    Fixed("kestra.encryption.secret-key", "is a secret. Set kestra_encryption_key", ("${KESTRA_ENCRYPTION_KEY}",)),
    Fixed("kestra.secret.encoding", "must be base64, because kestra_secrets are passed in Base64", ("base64",)),
    Fixed("kestra.variables.env-vars-prefix", "must be ENV_, because kestra_envs are passed with it", ("ENV_",)),
    # The file is mounted, and is read at every start.
    Fixed(
        "kestra.configurations.delete-files-on-start", "must be false, because each start needs the file", ("false",)
    ),
    Fixed(
        "micronaut.io.watch.enabled",
        "must be false, because another source would change the flows that flows.yml loads. Set kestra_flows_directory",
        ("false",),
    ),
    *BACKED_UP,
)
"""What the configuration alone cannot change. Other files of the installation rely on it."""


def kebab(name: str) -> str:
    """Return a name in camelCase or with underscores as Kestra 2.0 binds it."""
    return re.sub(r"(?<=[a-z0-9])([A-Z])|_", lambda match: f"-{(match[1] or '').lower()}", name)


def _type_problem(value: Any, kind: Any) -> str:
    """Return what is wrong with a value, or an empty string."""
    text = str(value)
    if value is None or (isinstance(value, str) and PLACEHOLDER in value):
        return ""
    if isinstance(kind, tuple):
        return "" if text.lower() in {choice.lower() for choice in kind} else f"is one of {', '.join(kind)}"
    if kind == "list":
        return "" if isinstance(value, list) else "must be a list"
    if isinstance(value, (list, Mapping)):
        return "must be a single value"
    wrong = {
        "bool": text.lower() not in ("true", "false"),
        "int": re.fullmatch(r"-?\d+", text) is None,
        "number": re.fullmatch(r"-?\d+(\.\d+)?", text) is None,
        "duration": DURATION.fullmatch(text) is None,
        "text": False,
    }
    words = {
        "bool": "true or false",
        "int": "a whole number",
        "number": "a number",
        "duration": "a duration such as 30s",
    }
    return f"must be {words[kind]}" if wrong[kind] else ""


def _spelling(found: Any, path: tuple[str, ...], allowed: Container[str]) -> Iterator[str]:
    """Return the keys of a branch that is not listed here which Kestra 2.0 does not bind."""
    for key, value in found.items() if isinstance(found, Mapping) else ():
        name = ".".join((*path, str(key)))
        plain = kebab(str(key))
        if name in allowed:
            continue
        if plain == str(key):
            yield from _spelling(value, (*path, str(key)), allowed)
        else:
            yield _misspelt(name, plain)


def _misspelt(name: str, plain: str) -> str:
    return f"{name}: Kestra 2.0 does not bind this spelling. Write {plain}"


def _walk(
    found: Mapping[str, Any], known: Mapping[str, Any], path: tuple[str, ...], old: bool, allowed: Container[str]
) -> Iterator[str]:
    for key, value in found.items():
        name = ".".join((*path, str(key)))
        if name in allowed:
            continue
        plain = kebab(str(key))
        kind = known.get(plain if old else str(key))
        if kind is None and (old or plain == str(key)):
            kind = known.get(OTHER)
        if kind is None:
            if plain in known or OTHER in known:
                yield _misspelt(name, plain)
                continue
            close = difflib.get_close_matches(plain, known, n=1, cutoff=0.7)
            where = f"in {'.'.join(path)}" if path else "at the top"
            yield (
                f"{name}: Kestra has no such key {where}."
                + (f" Is {close[0]} meant?" if close else "")
                + f" If your version does have it, put {name} into kestra_config_allowed"
            )
        elif isinstance(kind, Mapping):
            if isinstance(value, Mapping):
                yield from _walk(value, kind, (*path, str(key)), old, allowed)
            else:
                listed = ", ".join(name for name in kind if name != OTHER)
                yield f"{name}: must be a dictionary with {listed}"
        elif kind == ANY:
            yield from () if old else _spelling(value, (*path, str(key)), allowed)
        elif kind != NAMES:
            problem = _type_problem(value, kind)
            if problem:
                yield f"{name}: {problem}"


def _keys(found: Any, old: bool, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Return every key with its value, as Kestra binds it, those of branches as well."""
    for key, value in found.items() if isinstance(found, Mapping) else ():
        here = (*path, kebab(str(key)) if old else str(key))
        yield ".".join(here), value
        yield from _keys(value, old, here)


def _holds(key: Fixed, value: Any) -> bool:
    if not key.values:
        return value is None
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return any(fnmatchcase(text, choice) for choice in key.values)


def value(configuration: Any, path: str, version: str = "") -> str:
    """Return the text at a path of a configuration, which is a dictionary or its YAML; empty if there is none."""
    if isinstance(configuration, str):
        try:
            configuration = yaml.safe_load(configuration) if HAS_YAML else None
        except yaml.YAMLError:
            return ""
    return str(dict(_keys(configuration, _is_old(version))).get(path) or "")


def _permitted(path: str, allowed: Container[str]) -> bool:
    parts = path.split(".")
    return any(".".join(parts[:length]) in allowed for length in range(1, len(parts) + 1))


def not_backed_up(configuration: Any, allowed: Iterable[str], version: str = "") -> list[str]:
    """Return the keys which have Kestra store data where the backup does not reach, and which C(allowed) has."""
    accepted, found = frozenset(allowed), dict(_keys(configuration, _is_old(version)))
    changed = [key.path for key in BACKED_UP if key.path in found and not _holds(key, found[key.path])]
    return [path for path in changed if _permitted(path, accepted)]


def _is_old(version: str) -> bool:
    return version.lstrip("v").startswith(("0.", "1."))


def problems(configuration: Any, version: str = "", allowed: Iterable[str] = (), own: bool = False) -> list[str]:
    """Return what Kestra would not understand in its configuration, a sentence each, without the values.

    The configuration is a dictionary or its YAML. Keys in camelCase pass if the version begins with 1; C(allowed) are
    paths with dots that pass as they are. With C(own) the configuration is merged over the template, and may not have
    what the template takes from a variable.
    """
    if isinstance(configuration, str):
        if not HAS_YAML:
            raise ValueError("a configuration in YAML needs PyYAML on the controller")
        try:
            configuration = yaml.safe_load(configuration)
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            line = f" (line {mark.line + 1})" if mark else ""
            # The rest of the message may quote the text.
            reason = getattr(error, "problem", None) or getattr(error, "reason", None) or "it cannot be read"
            return [f"the configuration is not valid YAML{line}: {reason}"]
    if not isinstance(configuration, Mapping):
        return ["the configuration is not a dictionary"]
    old, accepted = _is_old(version), frozenset(allowed)
    found = dict(_keys(configuration, old))
    fixed = {
        key.path: f"{key.path}: {key.reason.format(key.path)}"
        for key in FIXED
        if key.path in found and (own or not key.own)
        if not _holds(key, found[key.path]) and not _permitted(key.path, accepted)
    }
    return [*_walk(configuration, KNOWN, (), old, accepted | fixed.keys()), *fixed.values()]
