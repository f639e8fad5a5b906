# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What Kestra's configuration may contain. The server itself silently ignores a key that it does not know."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

try:
    import yaml

    HAS_YAML = True
except ImportError:
    HAS_YAML = False

DURATION = re.compile(r"(\d+(ms|s|m|h|d))+|P(?=.)(\d+[YMWD])*(T(\d+H)?(\d+M)?(\d+(\.\d+)?S)?)?", re.IGNORECASE)
PLACEHOLDER = "${"
ANY = "anything"
"""A branch with names of the user, or one that belongs to a plug-in."""

_BASIC_AUTH = {"username": "text", "password": "text", "enabled": "bool", "realm": "text", "open-urls": "list"}
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
        "access-log": ANY,
        "metrics": ANY,
    },
    "repository": {"type": ("postgres", "mysql", "h2", "memory", "elasticsearch")},
    "queue": {"type": ("postgres", "mysql", "h2", "memory", "kafka")},
    "storage": {
        "type": "text",
        "local": {"base-path": "text"},
        "isolation": {"enabled": "bool", "denied-services": "list"},
        **dict.fromkeys(("s3", "s3files", "minio", "gcs", "azure", "cloudflare", "seaweedfs"), ANY),
    },
    "tasks": {
        "tmp-dir": {"path": "text"},
        "http": {"allowed-list": "list", "denied-list": "list"},
        "sdk": {"authentication": {"url": "text", "username": "text", "password": "text"}},
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
        "globals": ANY,
        "cache-enabled": "bool",
        "cache-size": "int",
        "recursive-rendering": "bool",
    },
    "plugins": {
        "repositories": ANY,
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
    "local-files": {"allowed-paths": "list", "enable-preview": "bool"},
    "regex": {"timeout": "duration"},
    "security": ANY,
    "migration": {"auto": "bool", "lock-acquire-timeout": "duration"},
    "configurations": {"delete-files-on-start": "bool"},
    "metrics": {"prefix": "text", "labels": "list"},
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
    **dict.fromkeys(("datasources", "micronaut", "endpoints", "logger", "jackson", "netty", "otel", "tracing"), ANY),
    **dict.fromkeys(("flyway", "jasync", "executors", "caches", "http", "elasticsearch", "kafka", "slf4j"), ANY),
}
# Set by the Compose file, so that another value leaves the server behind a closed door.
FIXED: dict[tuple[str, ...], tuple[Any, str]] = {
    ("micronaut", "server", "port"): (8080, "kestra_port sets the port of the host"),
    ("endpoints", "all", "port"): (8081, "kestra_management_port sets the port of the host"),
}


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


def _walk(
    found: Mapping[str, Any], known: Mapping[str, Any], path: tuple[str, ...], old: bool, allowed: frozenset[str]
) -> Iterator[str]:
    for key, value in found.items():
        name = ".".join((*path, str(key)))
        if name in allowed:
            continue
        kind = known.get(str(key))
        if kind is None and old:
            kind = known.get(kebab(str(key)))
        if kind is None:
            plain = kebab(str(key))
            if plain in known:
                yield f"{name}: Kestra 2.0 does not bind this spelling. Write {plain}"
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
            elif value is not None:
                yield f"{name}: must be a dictionary with {', '.join(kind)}"
        elif kind != ANY:
            problem = _type_problem(value, kind)
            if problem:
                yield f"{name}: {problem}"


def problems(configuration: Any, version: str = "", allowed: Iterable[str] = ()) -> list[str]:
    """Return what Kestra would not understand in its configuration, a sentence each, without the values.

    The configuration is a dictionary or its YAML. Keys in camelCase pass if the version begins with 1; C(allowed) are
    paths with dots that pass as they are.
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
    known = dict(KNOWN)
    old = version.lstrip("v").startswith(("0.", "1."))
    listed = list(_walk(configuration, known, (), old, frozenset(allowed)))
    for path, (value, way_out) in FIXED.items():
        found: Any = configuration
        for key in path:
            found = found.get(key) if isinstance(found, Mapping) else None
        if found is not None and str(found) != str(value):
            listed.append(f"{'.'.join(path)}: must be {value}, the port inside the container; {way_out}")
    return listed
