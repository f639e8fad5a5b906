# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Environments: named sets of instances, each defined by a file in the state directory.

It only reads and writes definitions. Instances are changed by jobs.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from pydantic import ValidationError

from . import models
from .problems import ApiError


class Environments:
    """The definition files."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(mode=0o700, exist_ok=True)

    def names(self) -> list[str]:
        """Return the names of all environments, sorted."""
        return sorted(path.stem for path in self._directory.glob("*.json"))

    def read(self, name: str) -> models.Environment:
        """Return a definition; raise ApiError 404 if it does not exist, 503 if its file cannot be read."""
        path = self._path(name)
        try:
            return models.Environment.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            raise ApiError(404, "environment-not-found", f'environment "{name}" does not exist') from None
        except (OSError, ValidationError) as error:
            detail = f"environment {name}: {path} cannot be read ({type(error).__name__}); define the environment again"
            raise ApiError(503, "environment-unreadable", detail) from error

    def write(self, name: str, definition: models.Environment) -> bool:
        """Write a definition atomically; return whether it is new."""
        path = self._path(name)
        new = not path.exists()
        draft = path.with_suffix(".new")
        try:
            draft.touch(mode=0o600)
            with draft.open("w", encoding="utf-8") as stream:
                stream.write(definition.model_dump_json(indent=2) + "\n")
                stream.flush()
                os.fsync(stream.fileno())
            draft.replace(path)
            # The new name is in the directory only after this.
            directory = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
        except OSError as error:
            raise ApiError(503, "storage", f"the state directory cannot be used: {error.strerror}") from error
        return new

    def delete(self, name: str) -> None:
        """Delete a definition; raise ApiError 404 if it does not exist."""
        try:
            self._path(name).unlink()
        except FileNotFoundError:
            raise ApiError(404, "environment-not-found", f'environment "{name}" does not exist') from None
        except OSError as error:
            raise ApiError(503, "storage", f"the state directory cannot be used: {error.strerror}") from error

    def check_match(self, name: str, wanted: str | None, *, absent: bool = False) -> None:
        """Raise ApiError 412 unless the definition is still the one of an entity tag (If-Match).

        With `absent`, raise it if there is any definition (If-None-Match: *).
        """
        if wanted is None and not absent:
            return
        try:
            present = etag(self.read(name))
        except ApiError as error:
            if error.status != 404:
                raise
            present = ""
        if absent and present:
            raise ApiError(412, "changed", f"environment {name} exists already")
        tags = [] if wanted is None else [tag.strip() for tag in wanted.split(",")]
        if tags and present not in tags and not (present and "*" in tags):
            raise ApiError(412, "changed", f"environment {name} has changed; read it again")

    def _path(self, name: str) -> Path:
        return self._directory / f"{name}.json"


def etag(definition: models.Environment) -> str:
    """Return the entity tag of a definition."""
    return f'"{hashlib.sha256(definition.model_dump_json().encode(errors="surrogatepass")).hexdigest()[:32]}"'


def status(name: str, definition: models.Environment, found: list[models.Instance]) -> models.EnvironmentStatus:
    """Return the status of an environment, derived from the list of all instances."""
    by_name = {item.name: item for item in found}
    instances = []
    for launch in definition.instances:
        item = by_name.get(launch.name)
        instances.append(
            models.EnvironmentInstance(
                name=launch.name, state=item.state if item else "absent", ipv4=item.ipv4 if item else []
            )
        )
    states = {item.state for item in instances}
    state: models.EnvironmentState = "partial"
    if states == {"Running"}:
        state = "running"
    elif states == {"absent"}:
        state = "absent"
    elif states <= {"Stopped", "Suspended"}:
        state = "stopped"
    return models.EnvironmentStatus(name=name, state=state, instances=instances, definition=definition)
