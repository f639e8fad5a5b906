# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The manifest of a backup: what it contains, and of which host. Tar archives have one too."""

from __future__ import annotations

import json
from typing import Any

from .errors import refuse

KIND = "devorch.orchestration backup"
FORMAT = 3
"""Formats 1 and 2 are archives, and differ only in the names of files: see `former_names` of the configuration."""
MANIFEST = "manifest.json"
GLOBALS = "globals.sql"
"""The roles of the cluster."""
GRANTS = "grants.sql"
"""Permissions and settings of the databases themselves, which pg_dump leaves out."""
TEXTS = ("created", "host", "root")
OBJECTS = ("images", "databases")


def read(name: object, text: bytes) -> dict[str, Any]:
    """Return a manifest; raise BackupError if this program does not understand it."""
    try:
        manifest = json.loads(text)
    except ValueError:
        refuse(name, f"{MANIFEST} is not JSON")
    if not isinstance(manifest, dict) or manifest.get("kind") != KIND:
        refuse(name, "it is not a backup of an orchestration host")
    if not isinstance(manifest.get("format"), int) or manifest["format"] < 1:
        refuse(name, "its format is not a number")
    if manifest["format"] > FORMAT:
        refuse(
            name,
            f"its format {manifest['format']} is newer than {FORMAT}. Use the collection that made it, or a newer one",
        )
    for key in TEXTS:
        if not isinstance(manifest.get(key), str):
            refuse(name, f"its manifest has no {key}")
    for key in OBJECTS:
        if not isinstance(manifest.get(key), dict) or not all(isinstance(one, dict) for one in manifest[key].values()):
            refuse(name, f"its manifest has no {key}")
    if not all(isinstance(image.get("version"), str) and "image" in image for image in manifest["images"].values()):
        refuse(name, "its manifest has an image without a version")
    if not all(isinstance(database.get("rows"), dict) for database in manifest["databases"].values()):
        refuse(name, "its manifest has a database without numbers of rows")
    return manifest


def counts(manifest: dict[str, Any]) -> dict[str, int]:
    """Return the numbers of workflows, credentials, rows and files in a backup."""
    tables = [database["rows"] for database in manifest["databases"].values()]
    return {
        # Tables of n8n.
        "workflows": sum(rows.get("public.workflow_entity", 0) for rows in tables),
        "credentials": sum(rows.get("public.credentials_entity", 0) for rows in tables),
        "rows": sum(sum(rows.values()) for rows in tables),
        "files": manifest["files"]
        if "files" in manifest
        else sum(part.get("files", 0) for part in manifest["parts"].values()),
    }


def summary(name: str, manifest: dict[str, Any]) -> dict[str, Any]:
    """Return the description of a backup that commands print."""
    versions = {name: image["version"] for name, image in manifest["images"].items()}
    origin = {key: manifest[key] for key in TEXTS}
    return {"backup": name, **origin, "versions": versions, "counts": counts(manifest)}
