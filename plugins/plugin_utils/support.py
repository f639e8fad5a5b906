# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the collection cannot work with, by what is known before anything is read from the host."""

from __future__ import annotations

import contextlib
import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.devorch.orchestration.plugins.module_utils.host.preflight.server import supported
from ansible_collections.devorch.orchestration.plugins.module_utils.versions import numbers

ANSIBLE = ((2, 19), (2, 21))
"""The oldest and the newest ansible-core that are tested."""
DOCKER_MODULES, FAULTY_DOCKER_MODULES = (4, 8, 3), ((5, 0, 0), (5, 0, 1))
"""The oldest community.docker that works with Docker 29, and newer ones that do not."""
PYTHON = (3, 11)
"""The oldest Python on a host."""


def ansible_problem(version: str) -> str:
    """Return why a version of ansible-core cannot be used, and what to do; an empty string if it can."""
    if ANSIBLE[0] <= (numbers(version) or ())[:2] <= ANSIBLE[1]:
        return ""
    oldest, newest = (".".join(map(str, release)) for release in ANSIBLE)
    return (
        f"ansible-core: {version} is not supported. Install ansible-core {oldest} to {newest} on the controller, such"
        f" as with 'pip install \"ansible-core>={oldest},<{ANSIBLE[1][0]}.{ANSIBLE[1][1] + 1}\"'."
    )


def docker_modules_problem(version: str) -> str:
    """Return why a version of community.docker cannot be used; an empty string if it can, or is unknown."""
    found = numbers(version)
    if not found or (found >= DOCKER_MODULES and found not in FAULTY_DOCKER_MODULES):
        return ""
    return (
        f"community.docker: {version} does not work with Docker 29. Install a newer version on the controller, such as"
        " with 'ansible-galaxy collection install --upgrade community.docker'."
    )


def version_of(collection: str) -> str:
    """Return the version of a collection on the controller; an empty string if it does not say."""
    with contextlib.suppress(ImportError, OSError, ValueError, KeyError, TypeError):
        for directory in importlib.import_module(f"ansible_collections.{collection}").__path__:
            manifest = json.loads((Path(directory) / "MANIFEST.json").read_text(encoding="utf-8"))
            return str(manifest["collection_info"]["version"])
    return ""


def host_problem(facts: Mapping[str, Any]) -> str:
    """Return why the modules do not run on a host; an empty string if they do, or if its facts are unknown."""
    version = str(facts.get("python_version", ""))
    if not version or (numbers(version) or PYTHON)[:2] >= PYTHON:
        return ""
    system = f"{facts.get('distribution', 'the system')} {facts.get('distribution_version', '')}".strip()
    return (
        f"{system}: its Python is {version}, and this collection needs {'.'.join(map(str, PYTHON))} or newer on the"
        f" host. Use {supported()}, with ansible_python_interpreter set to /usr/bin/python3."
    )
