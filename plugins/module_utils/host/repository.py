# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The stores of backups: repositories as restic names them, and what the backup program has to know about each."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from ansible.module_utils.parsing.convert_bool import boolean
from ansible_collections.devorch.orchestration.plugins.module_utils.environment_file import text

LOCAL = "local"
"""The name of the store below backup_directory, unless backup_targets has another one of this name."""
WITH_BUCKET = ("b2", "azure", "gs", "swift", "rclone")
REMOTE = ("sftp", "rest", "s3", *WITH_BUCKET)
ON_THE_WEB = ("rest", "s3", "b2", "azure", "gs", "swift")
"""Stores that are reached with the proxies of the host."""
REST_LOGIN = ("RESTIC_REST_USERNAME", "RESTIC_REST_PASSWORD")
KEEP = {"daily": 7, "weekly": 5, "monthly": 12, "upgrade": 3, "manual": 3}
"""How many backups are kept of each kind that backup_keep does not name."""
PACKAGES = {"sftp": "openssh-client", "rclone": "rclone"}
EXAMPLES = "/srv/backups, sftp:user@host:/path, rest:https://host/path, s3:https://host/bucket, or rclone:remote:path"


class RepositoryError(ValueError):
    """A repository that restic does not open. The message continues a sentence and has no password."""


@dataclass(frozen=True)
class Repository:
    """A repository in its parts."""

    kind: str
    path: str = ""
    """Of a local one."""
    host: str = ""
    port: int | None = None
    user: str = ""
    password: bool = False
    """Whether its address has one."""


def parse(repository: str) -> Repository:
    """Return the parts of a repository; raise RepositoryError if there is no such store."""
    if re.search(r"[\x00-\x20\x7f]", repository):
        raise RepositoryError("has a blank or a control character")
    if repository.startswith("/"):
        return Repository(LOCAL, path=repository)
    kind, colon, rest = repository.partition(":")
    if kind == LOCAL and rest.startswith("/"):
        return Repository(LOCAL, path=rest)
    if not colon or kind not in REMOTE:
        raise RepositoryError(f"is not a store of restic. Set one such as {EXAMPLES}")
    if kind == "sftp":
        return _sftp(rest)
    if kind == "rest":
        return _address(kind, rest, "rest:https://host/path")
    if kind == "s3":
        if re.match("https?://", rest):
            return _address(kind, rest, "s3:https://host/bucket", bucket=True)
        if "@" in rest.partition("/")[0]:
            return Repository(kind, password=True)
        if re.fullmatch(r"(?://)?[\w.:-]+/[^/].*", rest):
            return Repository(kind)
        raise RepositoryError("has no host and bucket. Set one such as s3:https://host/bucket")
    if not re.match(r"[^/:]+(:.*)?$", rest) or (kind in ("azure", "gs", "swift", "rclone") and ":" not in rest):
        raise RepositoryError(f"has no path after the name. Set one such as {kind}:name:/path")
    return Repository(kind)


def _sftp(rest: str) -> Repository:
    wanted = "Set one such as sftp:user@host:/path or sftp://user@host:2222//path"
    if rest.startswith("//"):
        return _address("sftp", f"sftp:{rest}", "sftp://user@host:2222//path")
    login, colon, path = rest.partition(":")
    user, _at, host = login.rpartition("@")
    # What begins with a dash would be an option of ssh.
    if not colon or not path or not re.fullmatch(r"[\w.][\w.-]*", host) or not re.fullmatch(r"([\w.][\w.-]*)?", user):
        raise RepositoryError(f"has no host and path. {wanted}")
    return Repository("sftp", host=host, user=user)


def _address(kind: str, url: str, example: str, bucket: bool = False) -> Repository:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise RepositoryError(f"has an address that is not valid. Set one such as {example}") from error
    schemes = ("sftp",) if kind == "sftp" else ("http", "https")
    host = parts.hostname or ""
    if parts.scheme not in schemes or not re.fullmatch(r"[\w.:][\w.:-]*", host):
        raise RepositoryError(f"has no address with a host. Set one such as {example}")
    if not re.fullmatch(r"([\w.][\w.-]*)?", parts.username or ""):
        raise RepositoryError("has a user name with characters other than letters, digits, '.', '-' and '_'")
    if (bucket or kind == "sftp") and not parts.path.strip("/"):
        raise RepositoryError(f"has no path. Set one such as {example}")
    return Repository(kind, "", host, port, parts.username or "", parts.password is not None)


def secret_name(target: str, what: str) -> str:
    """Return the name of a secret file of a store."""
    return f"backup_{target}_{what}"


SECRETS = re.compile(r"backup_[a-z0-9-]+_(repository|environment|ssh_key|known_hosts)")
"""The names of the secret files of stores."""


def stores(
    targets: Any,
    directory: str,
    root: str,
    keep: Any,
    proxies: Mapping[str, str] | None = None,
) -> list[dict[str, Any]]:
    """Return each store: what backup.json says of it, its files and secrets below C(root), and the packages it needs.

    The first is the one below C(directory), or that which C(targets) names so. What is not valid is left to the
    preflight.
    """
    listed = targets if isinstance(targets, Sequence) and not isinstance(targets, str) else []
    given = [target for target in listed if isinstance(target, Mapping) and target.get("name")]
    if all(target["name"] != LOCAL for target in given):
        given.insert(0, {"name": LOCAL, "repository": f"{directory.rstrip('/')}/repository"})
    given.sort(key=lambda target: target["name"] != LOCAL)
    return [_store(target, root, _mapping(keep), proxies or {}) for target in given]


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _number(value: Any) -> int:
    return int(value) if str(value).isdecimal() else 0


def _text(value: Any) -> str:
    try:
        return text(value)
    except ValueError:
        return ""


def _store(target: Mapping[str, Any], root: str, keep: Mapping[str, Any], proxies: Mapping[str, str]) -> dict[str, Any]:
    name, repository = str(target["name"]), str(target.get("repository") or "")
    environment = {str(key): _text(value) for key, value in _mapping(target.get("environment")).items()}
    try:
        parsed = parse(repository)
    except RepositoryError:
        parsed = Repository("")
    if parsed.kind == "rest" and REST_LOGIN[0] in environment:
        # restic reads these variables since 0.16.1. Before, it knows the login from the address only.
        login = ":".join(quote(environment.pop(key, ""), safe="") for key in REST_LOGIN)
        repository = repository.replace("://", f"://{login}@", 1)
    if parsed.kind in ON_THE_WEB:
        environment = {**proxies, **environment}
    files = {"repository": f"{repository}\n"}
    if environment:
        files["environment"] = "".join(f"{key}={value}\n" for key, value in environment.items())
    for what in ("ssh_key", "known_hosts"):
        if target.get(what):
            files[what] = f"{str(target[what]).strip()}\n"
    paths = {what: f"{root}/secrets/{secret_name(name, what)}" for what in files}
    public: dict[str, str] = {}
    if parsed.path:
        # A directory is not a secret.
        paths["repository"] = f"{root}/bin/backup.{name}.repository"
        public = {paths["repository"]: files.pop("repository")}
    return {
        "config": {
            "name": name,
            "repository_file": paths["repository"],
            "environment_file": paths.get("environment", ""),
            "options": _options(parsed, paths),
            "append_only": bool(boolean(target.get("append_only") or False, strict=False)),
            "upload_limit": _number(target.get("upload_limit")),
            "download_limit": _number(target.get("download_limit")),
            "keep": {
                str(key): _number(value) for key, value in {**KEEP, **keep, **_mapping(target.get("keep"))}.items()
            },
        },
        "path": parsed.path,
        "files": public,
        "secrets": {secret_name(name, what): {"value": content, "kind": "text"} for what, content in files.items()},
        "packages": [PACKAGES[parsed.kind]] if parsed.kind in PACKAGES else [],
    }


def _options(repository: Repository, paths: Mapping[str, str]) -> dict[str, str]:
    """Return restic's options. ssh never asks, trusts only the hosts in its file, and ends if they are silent."""
    if repository.kind != "sftp" or not repository.host:
        return {}
    command = ["ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=30"]
    command += ["-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=4"]
    if "ssh_key" in paths:
        command += ["-i", paths["ssh_key"], "-o", "IdentitiesOnly=yes"]
    if "known_hosts" in paths:
        command += ["-o", f"UserKnownHostsFile={paths['known_hosts']}", "-o", "StrictHostKeyChecking=yes"]
    if repository.port:
        command += ["-p", str(repository.port)]
    if repository.user:
        command += ["-l", repository.user]
    return {"sftp.command": shlex.join([*command, repository.host, "-s", "sftp"])}
