# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The Docker of a host that has a life of its own: its configuration, what others run in it, where apt has it from."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.devorch.orchestration.plugins.module_utils.host import json_merge
from ansible_collections.devorch.orchestration.plugins.module_utils.host.files import RECORDS
from ansible_collections.devorch.orchestration.plugins.module_utils.host.service_files import FilesError, LastKnownGood

CONFIGURATION = Path("/etc/docker/daemon.json")
RECORD = Path("docker/daemon.json")
"""Below the root: the keys that the last run has set."""

DATA_ROOT = "/var/lib/docker"
APT = Path("/etc/apt")
BUILT_IN = ("bridge", "host", "none", "docker_gwbridge", "ingress")
INFO = ("docker", "info", "--format", "{{json .}}")
PROJECT = '\t{{json (.Label "com.docker.compose.project")}}'
VOLUMES = ("docker", "volume", "ls", "--format", "{{json .Name}}" + PROJECT)
NETWORKS = ("docker", "network", "ls", "--no-trunc", "--format", "{{json .Name}}" + PROJECT)
DEB = re.compile(r"deb\s+(?:\[(?P<options>[^\]]*)\]\s+)?(?P<uri>\S+)\s")
SIGNED_BY = re.compile(r"signed-by=(\S+)", re.IGNORECASE)
LOGIN = re.compile(r"(?<=://)[^/@\s]*@")

Ask = Callable[[Sequence[str]], str]


def engine(printed: str) -> dict[str, Any]:
    """Return what decides about a change of Docker, from what C(docker info) prints."""
    try:
        info = json.loads(printed)
    except ValueError:
        info = {}
    return {
        "swarm": str((info.get("Swarm") or {}).get("LocalNodeState") or ""),
        "live_restore": bool(info.get("LiveRestoreEnabled")),
        "data_root": str(info.get("DockerRootDir") or ""),
        "proxy": bool(info.get("HttpProxy") or info.get("HttpsProxy")),
        "pools": [str(pool.get("Base", "")) for pool in info.get("DefaultAddressPools") or []],
    }


def configuration(root: Path, path: Path) -> dict[str, Any]:
    """Return the keys of the daemon's configuration that are the host's own, or why it can't be read."""
    for name in RECORDS:
        with contextlib.suppress(OSError):
            try:
                good = LastKnownGood(root / name / "docker")
                if good.record is not None or name == RECORDS[-1]:
                    return {"own": json_merge.own(path, root / RECORD, good), "problem": ""}
            except FilesError as error:
                return {"own": {}, "problem": str(error)}
    return {"own": {}, "problem": ""}


def configured_data_root(path: Path) -> str:
    """Return where a Docker that does not run has its data."""
    with contextlib.suppress(OSError, FilesError):
        return str(json_merge.parse(path, path.read_bytes()).get("data-root") or DATA_ROOT)
    return DATA_ROOT


def _named(printed: str) -> Iterator[tuple[str, str]]:
    for line in printed.splitlines():
        name, owner = (json.loads(field) for field in line.split("\t"))
        yield name, owner


def containers(listed: str, project: str) -> dict[str, list[str]]:
    """Return the containers of others, and which of them run, from what C(state.CONTAINERS) prints."""
    found: dict[str, list[str]] = {"containers": [], "running": []}
    for line in listed.splitlines():
        _identifier, name, _ports, owner, _single, state = (json.loads(field) for field in line.split("\t"))
        if owner != project:
            found["containers"].append(name)
            if state in ("running", "restarting", "paused"):
                found["running"].append(name)
    return {key: sorted(names) for key, names in found.items()}


def stored(data_root: Path, project: str) -> dict[str, list[str]]:
    """Return the containers and volumes of others in the data of a Docker that does not run."""
    names = []
    for path in data_root.glob("containers/*/config.v2.json"):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            container = json.loads(path.read_text(encoding="utf-8"))
            labels = (container.get("Config") or {}).get("Labels") or {}
            if labels.get("com.docker.compose.project") != project:
                names.append(str(container.get("Name", "")).lstrip("/") or path.parent.name)
    volumes = [path.name for path in data_root.glob("volumes/*") if (path / "_data").is_dir()]
    return {"containers": sorted(names), "running": [], "volumes": sorted(volumes), "networks": []}


def subnets(printed: str) -> dict[str, list[str]]:
    """Return the subnets of networks by name, from what C(docker network inspect) prints."""
    return {
        network["Name"]: [str(part["Subnet"]) for part in network["IPAM"].get("Config") or [] if part.get("Subnet")]
        for network in json.loads(printed or "[]")
    }


def look(ask: Ask, listed: Callable[[], str], root: Path, project: str) -> dict[str, Any]:
    """Return everything about Docker that is not of this collection alone."""
    found = engine(ask(INFO))
    found |= configuration(root, CONFIGURATION)
    answers = bool(found["data_root"])
    found["data_root"] = found["data_root"] or configured_data_root(CONFIGURATION)
    if not answers:
        return {**found, "others": stored(Path(found["data_root"]), project), "networks": {}}
    networks = dict(_named(ask(NETWORKS)))
    wanted = [name for name, owner in networks.items() if name == "bridge" or owner == project]
    return {
        **found,
        "others": {
            **containers(listed(), project),
            "volumes": sorted(name for name, owner in _named(ask(VOLUMES)) if owner != project),
            "networks": sorted(name for name, owner in networks.items() if owner != project and name not in BUILT_IN),
        },
        "networks": subnets(ask(["docker", "network", "inspect", *wanted]) if wanted else ""),
    }


def apt_sources() -> list[dict[str, str]]:
    """Return the repositories of packages that apt uses, each with the file that names it and its key."""
    found = []
    paths = [APT / "sources.list", *sorted((APT / "sources.list.d").glob("*"))]
    for path in paths:
        kind = {".list": _one_line, ".sources": _stanzas}.get(path.suffix)
        with contextlib.suppress(OSError):
            text = path.read_text(encoding="utf-8", errors="replace") if kind else ""
            found += [
                {"path": str(path), "uri": LOGIN.sub("", uri).rstrip("/"), "signed_by": key}
                for uri, key in (kind(text) if kind else ())
            ]
    return found


def _one_line(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        match = DEB.match(line.strip())
        if match:
            key = SIGNED_BY.search(match["options"] or "")
            yield match["uri"], key[1] if key else ""


def _stanzas(text: str) -> Iterator[tuple[str, str]]:
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    for stanza in re.split(r"\n\s*\n", "\n".join(lines)):
        fields: dict[str, str] = {}
        name = ""
        for line in stanza.splitlines():
            if line[:1].isspace():
                fields[name] = f"{fields.get(name, '')} {line.strip()}"
            else:
                name, _sign, value = line.partition(":")
                name = name.strip().lower()
                fields[name] = value.strip()
        if fields.get("enabled", "yes").lower() in ("no", "false", "off", "0") or "deb" not in fields.get("types", ""):
            continue
        key = fields.get("signed-by", "").strip()
        for uri in fields.get("uris", "").split():
            yield uri, "a key in the file" if "BEGIN PGP" in key else key
