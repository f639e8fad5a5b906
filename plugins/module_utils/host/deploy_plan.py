# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What differs between a service as it is wanted and the host: pure functions, for the controller and for the host."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ansible_collections.devorch.orchestration.plugins.module_utils.host.container import State, verdict
from ansible_collections.devorch.orchestration.plugins.module_utils.host.service_files import (
    RECORD,
    digest_of,
    temporary_prefix,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.versions import numbers

COMPOSE, SYSTEMD, DOCKER, FILES = "compose", "systemd", "docker", "files"
TYPES = [COMPOSE, SYSTEMD, DOCKER, FILES]
NONE, CREATE, UPDATE, RESTART, START, ROLLBACK = "none", "create", "update", "restart", "start", "rollback"
DOCKER_UNIT = "docker.service"
OLDEST_ENGINE, OLDEST_COMPOSE = (25,), (2, 20, 2)
"""The first with start_interval, https://docs.docker.com/reference/compose-file/services/#healthcheck."""
SHORTEST_SECRET = 12
"""Words of a header that are shorter say what kind of secret follows."""

ENABLED = ("enabled", "enabled-runtime", "static", "indirect", "generated", "alias")
"""What systemd calls a unit that need not be enabled."""

EPOCH = (1980, 1, 1, 0, 0, 0)


class PlanError(Exception):
    """Options that can't be followed; the message names the option and what to set."""


@dataclass(frozen=True)
class Need:
    """Something that is not as wanted, and what is done about it; V(none) means that waiting may be enough."""

    reason: str
    action: str


@dataclass(frozen=True)
class WantedFile:
    """A file as it should be."""

    path: str
    sha256: str
    mode: int


@dataclass(frozen=True)
class WantedDirectory:
    """A directory as it should be; None leaves a property as it is."""

    path: str
    mode: int | None = None
    owner: str | None = None
    group: str | None = None
    recurse: bool = False
    """Whether everything below it has the same owner before the service starts."""


@dataclass(frozen=True)
class Found:
    """What is at a path."""

    type: str
    mode: int
    uid: int = 0
    gid: int = 0
    owner: str = ""
    group: str = ""
    sha256: str = ""

    @classmethod
    def seen(cls, entry: Mapping[str, Any]) -> Found:
        """Read one file of what M(devorch.orchestration.host_info) returns."""
        return cls(
            type=str(entry.get("type", "")),
            mode=int(str(entry.get("mode", "0")), 8),
            uid=int(entry.get("uid", -1)),
            gid=int(entry.get("gid", -1)),
            owner=str(entry.get("owner", "")),
            group=str(entry.get("group", "")),
            sha256=str(entry.get("sha256", "")),
        )


@dataclass(frozen=True)
class Unit:
    """What systemd says about a unit."""

    load: str = ""
    active: str = ""
    enabled: str = ""

    @classmethod
    def seen(cls, entry: Mapping[str, Any] | None) -> Unit:
        """Read one unit of what M(devorch.orchestration.host_info) returns."""
        entry = entry or {}
        return cls(str(entry.get("load", "")), str(entry.get("active", "")), str(entry.get("enabled", "")))


@dataclass(frozen=True)
class WantedService:
    """A service as it should be."""

    service: str
    type: str
    root: PurePosixPath
    project: str
    files: tuple[WantedFile, ...]
    directories: tuple[WantedDirectory, ...] = ()
    depends_on: str = ""
    units: tuple[str, ...] = ()
    companions: tuple[str, ...] = ()
    """Further services of the Compose project that are in its file and always run."""

    @property
    def digest(self) -> str:
        """The digest of the files as a set."""
        return digest_of((file.path, file.mode, file.sha256) for file in self.files)

    def container(self, service: str = "") -> str:
        """Return the name of a service's container."""
        return f"{self.project}-{service or self.service}-1"


def argument_spec() -> dict[str, dict[str, Any]]:
    """Return the options of M(devorch.orchestration.deploy)."""
    file_spec: dict[str, dict[str, Any]] = {
        "path": {"type": "path", "required": True},
        "content": {"type": "str", "no_log": True},
        "src": {"type": "str"},
        "template": {"type": "str"},
        "zip": {"type": "dict"},
        "main": {"type": "str"},
        "interpreter": {"type": "str"},
        "mode": {"type": "str", "default": "0644"},
        "secret": {"type": "str", "choices": ["none", "some", "all"], "default": "none", "no_log": False},
        "public": {"type": "list", "elements": "str", "default": []},
        "validate": {"type": "list", "elements": "str", "default": []},
        "merge_record": {"type": "path"},
        "merge_below": {"type": "str", "default": ""},
    }
    check_spec: dict[str, dict[str, Any]] = {
        "url": {"type": "str"},
        "headers": {"type": "dict", "default": {}, "no_log": True},
        "status": {"type": "list", "elements": "int", "default": [200]},
        "validate_certs": {"type": "bool", "default": True},
        "timeout": {"type": "float", "default": 5},
        "command": {"type": "list", "elements": "str", "default": []},
        "kestra": {"type": "dict", "no_log": True},
        "deadline": {"type": "float", "default": 60},
    }
    return {
        "service": {"type": "str", "required": True},
        "type": {"type": "str", "choices": TYPES, "required": True},
        "root": {"type": "path", "default": "/opt/orchestration"},
        "project": {"type": "str", "default": "orchestration"},
        "files": {"type": "list", "elements": "dict", "required": True, "options": file_spec},
        "extra_files": {"type": "list", "elements": "path", "default": []},
        "preserved_env": {"type": "dict", "default": {}, "no_log": True},
        "directories": {"type": "dict", "default": {}},
        "depends_on": {"type": "str"},
        "wait_timeout": {"type": "int", "default": 600},
        "units": {"type": "list", "elements": "str", "default": []},
        "verify": {"type": "list", "elements": "dict", "default": [], "options": check_spec},
        "log": {"type": "list", "elements": "str", "default": []},
        "host": {"type": "dict", "default": {}},
        "lock": {"type": "path"},
    }


def secret_options(options: Mapping[str, Any]) -> list[str]:
    """Return the values among the options that no message may show."""
    values = [str(value) for value in options["preserved_env"].values()]
    for check in options["verify"]:
        words = [word for value in (check.get("headers") or {}).values() for word in (str(value), *str(value).split())]
        values += [word for word in words if len(word) >= SHORTEST_SECRET]
        values.append(str((check.get("kestra") or {}).get("password") or ""))
    return [value for value in values if value]


def unchanged(service: str, *, remote: bool) -> dict[str, Any]:
    """Return the result for a service that is as wanted."""
    return {
        "changed": False,
        "msg": f"{service} is as wanted",
        "service": service,
        "remote": remote,
        "paths": [],
        "action": NONE,
        "restarted": False,
        "seconds": 0.0,
        "reasons": [],
        "diff": [],
    }


def octal(value: Any, option: str) -> int:
    """Return a mode as a number."""
    if not isinstance(value, str) or not re.fullmatch(r"0?[0-7]{3,4}", value):
        raise PlanError(f"{option}: {value!r} is not a mode. Set octal digits in quotes, such as '0644'")
    return int(value, 8)


def with_records(files: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the files, with the record of each that is merged before it: a run may be killed between the two."""
    found: list[dict[str, Any]] = []
    for spec in files:
        if spec["merge_record"]:
            found.append({**spec, "path": spec["merge_record"], "mode": "0600", "validate": [], "merge_record": None})
        found.append(dict(spec))
    return found


def as_found(
    files: Iterable[Mapping[str, Any]], digests: Mapping[str, str], found: Mapping[str, Any]
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Return files and digests with a merged file as the host has it, as long as its record is the wanted one.

    What the host has put into it is not known here. If the record differs, the file is merged on the host.
    """
    specs, known = [], dict(digests)
    for spec in files:
        entry, record = found.get(spec["path"]) or {}, spec["merge_record"]
        same = bool(record) and (found.get(record) or {}).get("sha256") == digests[record]
        if same and entry.get("type") == "file":
            known[spec["path"]] = str(entry.get("sha256", ""))
            spec = {**spec, "mode": spec["mode"] if spec["mode"] == "0600" else str(entry["mode"])}
        specs.append(dict(spec))
    return specs, known


def companions_of(service: str, compose: Any) -> list[str]:
    """Return the other services of a Compose file that always run, whatever the service itself does."""
    services = compose.get("services") if isinstance(compose, Mapping) else None
    return [
        str(name)
        for name, spec in (services.items() if isinstance(services, Mapping) else ())
        if name != service
        and isinstance(spec, Mapping)
        and spec.get("restart") in ("always", "unless-stopped")
        and not spec.get("profiles")
    ]


def parse(options: Mapping[str, Any], digests: Mapping[str, str], companions: Iterable[str] = ()) -> WantedService:
    """Read the options of the module; C(digests) are the SHA-256 of the files' contents by path."""
    service, kind = str(options["service"]), str(options["type"])
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", service):
        raise PlanError(f"service: {service!r} is not a name of letters, digits, '.', '_' and '-'")
    files = tuple(
        WantedFile(str(spec["path"]), digests[str(spec["path"])], octal(spec["mode"], f"files: {spec['path']}: mode"))
        for spec in options["files"]
    )
    paths = [file.path for file in files]
    for path in [*paths, *options["extra_files"], *options["directories"]]:
        if not PurePosixPath(path).is_absolute():
            raise PlanError(f"{path}: is not an absolute path")
    for path in paths:
        if paths.count(path) > 1 or path in options["extra_files"]:
            raise PlanError(f"files: {path} is there twice")
    if kind == SYSTEMD and not options["units"]:
        raise PlanError("units: is empty. Set the units to run, in the order in which they are started")
    return WantedService(
        service=service,
        type=kind,
        root=PurePosixPath(options["root"]),
        project=str(options["project"]),
        files=files,
        directories=tuple(_directory(path, value) for path, value in options["directories"].items()),
        depends_on=str(options["depends_on"] or ""),
        units=(DOCKER_UNIT,) if kind == DOCKER else tuple(options["units"]),
        companions=tuple(companions),
    )


def _directory(path: str, value: Any) -> WantedDirectory:
    option = f"directories: {path}"
    if isinstance(value, str):
        return WantedDirectory(path, octal(value, option), "root", "root")
    if not isinstance(value, Mapping):
        raise PlanError(f"{option}: {value!r} is not a mode. Set octal digits in quotes, or mode, owner and group")
    unknown = sorted(set(value) - {"mode", "owner", "group", "recurse"})
    if unknown:
        raise PlanError(f"{option}: the key {unknown[0]!r} is unknown. Set mode, owner, group and recurse")
    mode, owner, group = (value.get(key) for key in ("mode", "owner", "group"))
    return WantedDirectory(
        path,
        None if mode is None else octal(mode, option),
        None if owner is None else str(owner),
        None if group is None else str(group),
        bool(value.get("recurse", False)),
    )


def file_problem(wanted: WantedFile, found: Found | None, owner: tuple[int, int] = (0, 0)) -> str:
    """Return how a file differs from the wanted one; an empty string if it does not."""
    if found is None:
        return "is missing"
    if found.type != "file":
        return f"is a {found.type}"
    if found.sha256 != wanted.sha256:
        return "has another content"
    if found.mode != wanted.mode:
        return f"has the mode {found.mode:04o} instead of {wanted.mode:04o}"
    return "" if (found.uid, found.gid) == owner else "has another owner"


def directory_problem(wanted: WantedDirectory, found: Found | None) -> str:
    """Return how a directory differs from the wanted one; an empty string if it does not."""
    if found is None:
        return "is missing"
    if found.type != "directory":
        return f"is a {found.type}"
    if wanted.mode is not None and found.mode != wanted.mode:
        return f"has the mode {found.mode:04o} instead of {wanted.mode:04o}"
    if wanted.owner is not None and wanted.owner not in (found.owner, str(found.uid)):
        return f"belongs to {found.owner or found.uid} instead of {wanted.owner}"
    if wanted.group is not None and wanted.group not in (found.group, str(found.gid)):
        return f"belongs to the group {found.group or found.gid} instead of {wanted.group}"
    return ""


def container_needs(
    name: str, state: State | None, dependency: State | None, now: float, config_hash: str = "", image_id: str = ""
) -> list[Need]:
    """Return what is to be done about a container; an empty list if it is the wanted one, and healthy.

    C(config_hash) is that of the container that was committed, and C(image_id) the id of the image that has its image's
    name now; empty strings if they are not known.
    """
    if state is None:
        return [Need(f"{name} does not exist", START)]
    if state.status == "restarting":
        return [Need(f"{name} restarts again and again", NONE)]
    if state.status != "running":
        return [Need(f"{name} is {state.status or 'in an unknown state'}", START)]
    if config_hash and state.config_hash != config_hash:
        return [Need(f"{name} was made from other files than those that were committed", UPDATE)]
    if image_id and state.image_id and state.image_id != image_id:
        return [Need(f"{name} runs another image than the one that {state.image} is now", UPDATE)]
    if state.needs_restart(dependency, now):
        why = "is unhealthy" if state.health == "unhealthy" else "runs since before its dependency was restarted"
        return [Need(f"{name} {why}", RESTART)]
    return [Need(f"{name} is starting", NONE)] if verdict(state, state.restarts, 1) is None else []


def unit_needs(names: Sequence[str], units: Mapping[str, Unit]) -> list[Need]:
    """Return what is to be done about units; an empty list if all are enabled and active."""
    needs = []
    for name in names:
        unit = units.get(name, Unit())
        if unit.active != "active":
            needs.append(
                Need(f"{name} is {unit.active or 'not there'}", NONE if unit.active == "activating" else START)
            )
        elif unit.enabled not in ENABLED:
            needs.append(Need(f"{name} is not enabled", UPDATE))
    return needs


def docker_problem(engine: str, compose: str) -> str:
    """Return why Docker is of no use; an empty string if both answer and are new enough."""
    if numbers(engine) >= OLDEST_ENGINE and numbers(compose) >= OLDEST_COMPOSE:
        return ""
    return (
        f"Docker answers with version '{engine}', Compose with '{compose}'; Docker 25 and Compose 2.20.2 or newer are"
        " needed. Look at 'systemctl status docker' and 'journalctl -u docker', or set docker_package_source to docker"
    )


def compose_project(project: str, names: Iterable[str]) -> str:
    """Return the text of compose.yml for these files of its directory C(services)."""
    lines = ["# Ansible managed", "---", f"name: {project}", "include:"]
    return "".join(f"{line}\n" for line in [*lines, *(f"  - services/{name}" for name in sorted(set(names)))])


def compose_file(root: PurePosixPath) -> str:
    """Return the path of the Compose project."""
    return str(root / "compose.yml")


def file_reasons(
    wanted: WantedService, files: Mapping[str, Found | None], committed: str, owner: tuple[int, int] = (0, 0)
) -> list[str]:
    """Return how files and directories differ; C(committed) is the digest of the set that was committed."""
    reasons = [
        f"{file.path} {problem}"
        for file in wanted.files
        if (problem := file_problem(file, files.get(file.path), owner))
    ]
    reasons += [
        f"{directory.path} {problem}"
        for directory in wanted.directories
        if (problem := directory_problem(directory, files.get(directory.path)))
    ]
    if wanted.files and not reasons and committed != wanted.digest:
        reasons.append("the files were not committed")
    return reasons


def difference(wanted: WantedService, host: Mapping[str, Any], now: float) -> list[str]:
    """Return why a service is to be deployed, from what M(devorch.orchestration.host_info) has returned.

    An empty list means that it is as wanted, and healthy. What was not looked at counts as different.
    """
    if not host:
        return ["the host was not looked at"]
    files = {path: Found.seen(entry) for path, entry in (host.get("files") or {}).items()}
    record = (host.get("services") or {}).get(wanted.service) or {}
    reasons = file_reasons(wanted, files, str(record.get("committed", "")))
    # Those that others write can't be compared here.
    own = {file.path for file in wanted.files}
    reasons += [f"{path} is not as it was committed" for path in record.get("differing") or [] if path not in own]
    reasons += [f"{path} is left of a run that was killed" for path in sorted(files) if _is_left(path, wanted)]
    units = host.get("units") or {}
    if wanted.type == COMPOSE:
        directory = wanted.root / "services"
        names = [path.rpartition("/")[2] for path in files if path.endswith(".yml") and _is_in(path, directory)]
        names.append(f"{wanted.service}.yml")
        text = compose_project(wanted.project, names)
        reasons += _compose_reasons(wanted, files, text)
        containers, images = host.get("containers") or {}, host.get("images") or {}
        dependency = State.seen(containers.get(wanted.depends_on)) if wanted.depends_on else None
        needs = []
        for service in (wanted.service, *wanted.companions):
            state = State.seen(containers.get(service))
            image_id = str(images.get(state.image, "")) if state else ""
            more = (dependency, str(record.get("config_hash", ""))) if service == wanted.service else (None, "")
            needs += container_needs(wanted.container(service), state, more[0], now, more[1], image_id)
    else:
        needs = unit_needs(wanted.units, {name: Unit.seen(units.get(name)) for name in wanted.units})
    reasons += [need.reason for need in needs]
    if wanted.type == DOCKER:
        docker = host.get("docker") or {}
        problem = docker_problem(str(docker.get("engine", "")), str(docker.get("compose", "")))
        reasons += [problem] if problem else []
    return reasons


def _is_in(path: str, directory: PurePosixPath) -> bool:
    return PurePosixPath(path).parent == directory


def _is_left(path: str, wanted: WantedService) -> bool:
    record = str(wanted.root / "rollback" / wanted.service / RECORD)
    written = [*(file.path for file in wanted.files), record]
    written += [compose_file(wanted.root)] if wanted.type == COMPOSE else []
    return any(path.startswith(str(PurePosixPath(each).parent / temporary_prefix(Path(each)))) for each in written)


def _compose_reasons(wanted: WantedService, files: Mapping[str, Found], text: str) -> list[str]:
    path = compose_file(wanted.root)
    problem = file_problem(WantedFile(path, sha256(text.encode()), 0o644), files.get(path))
    return [f"{path} {problem}"] if problem else []


def sha256(content: bytes) -> str:
    """Return the SHA-256 of a content, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def pack(files: Mapping[str, bytes], options: Mapping[str, Any]) -> str:
    """Return contents by path, and the options that may hold secrets, as one string."""
    texts = {path: base64.b64encode(content).decode() for path, content in files.items()}
    return base64.b64encode(zlib.compress(json.dumps({"files": texts, "options": options}).encode())).decode()


def unpack(text: str) -> tuple[dict[str, bytes], dict[str, Any]]:
    """Return contents by path, and options, from a string of C(pack)."""
    packed = json.loads(zlib.decompress(base64.b64decode(text)))
    return {path: base64.b64decode(content) for path, content in packed["files"].items()}, packed["options"]


def archive(entries: Mapping[str, bytes], main: str = "", interpreter: str = "") -> bytes:
    """Return a zip file that is the same for the same entries, wherever and whenever it is made.

    With C(main), as C(package:function), Python runs it; with C(interpreter) it is a program of its own.
    """
    entries = dict(entries)
    if main:
        package, separator, function = main.partition(":")
        if not (separator and re.fullmatch(r"[\w.]+", package) and re.fullmatch(r"\w+", function)):
            raise PlanError(f"main: {main!r} is not a function. Set it as 'package.module:function'")
        if "__main__.py" in entries:
            raise PlanError("main: the directory holds a __main__.py already. Leave main out, or remove that file")
        entries["__main__.py"] = f"import sys\n\nimport {package}\n\nsys.exit({package}.{function}())\n".encode()
    buffer = io.BytesIO()
    if interpreter:
        buffer.write(f"#!{interpreter}\n".encode())
    # Stored: what a compressor makes differs between its versions.
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as file:
        for name, content in sorted(entries.items()):
            information = zipfile.ZipInfo(name, EPOCH)
            information.create_system = 3
            information.external_attr = 0o100644 << 16
            file.writestr(information, content)
    return buffer.getvalue()
