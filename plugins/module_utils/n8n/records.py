# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the modules remember of what they wrote, in a data table of n8n: hashes, and no contents.

n8n's community edition has no variables, and a workflow has no field of its own for a mark. A data table is the one
place that an API key can write to.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ansible_collections.devorch.orchestration.plugins.module_utils.n8n.canonical import canonical
from ansible_collections.devorch.orchestration.plugins.module_utils.n8n.client import N8nClient, N8nError

TABLE = "devorch_orchestration"
COLUMNS = ("kind", "key", "digest", "state")
# No such feature, or no right to use it.
WITHOUT = (401, 403, 404, 405)


class Records:
    """The rows of one kind: a digest and a state for each key."""

    def __init__(self, client: N8nClient, kind: str) -> None:
        self.client = client
        self.kind = kind
        self.problem: N8nError | None = None
        """Why there can be no records, if there cannot."""
        self._table: str | None = None

    def _find(self, create: bool) -> str | None:
        doing = "find the data table of the records"
        if self._table is None:
            filters = canonical({"name": TABLE})
            tables = self.client.listed(["data-tables"], doing, filter=filters)
            found = [str(table["id"]) for table in tables if table.get("name") == TABLE]
            if not found and create:
                columns = [{"name": name, "type": "string"} for name in COLUMNS]
                content = {"name": TABLE, "columns": columns}
                try:
                    found = [str(self.client.call("POST", ["data-tables"], doing, content)["id"])]
                except N8nError as error:
                    if error.status != 409:
                        raise
                    tables = self.client.listed(["data-tables"], doing, filter=filters)
                    found = [str(table["id"]) for table in tables if table.get("name") == TABLE]
            self._table = found[0] if found else None
        return self._table

    def read(self) -> dict[str, tuple[str, str]]:
        """Return the digest and the state of each key; nothing if there can be no records."""
        doing = "read the records"
        try:
            table = self._find(create=False)
            if table is None:
                return {}
            rows = self.client.listed(["data-tables", table, "rows"], doing)
        except N8nError as error:
            if error.status not in WITHOUT:
                raise
            self.problem = error
            return {}
        return {
            str(row["key"]): (str(row.get("digest")), str(row.get("state")))
            for row in rows
            if row.get("kind") == self.kind and row.get("key")
        }

    def write(self, entries: Iterable[tuple[str, str, str]]) -> None:
        """Write down a digest and a state for each key."""
        doing = "write the records"
        try:
            for key, digest, state in entries:
                table = self._find(create=True)
                data = {"kind": self.kind, "key": key, "digest": digest, "state": state}
                content = {"filter": self._filter(key), "data": data}
                path = ["data-tables", str(table), "rows", "upsert"]
                self.client.call("POST", path, doing, content)
        except N8nError as error:
            if error.status not in WITHOUT:
                raise
            self.problem = error

    def forget(self, keys: Iterable[str]) -> None:
        """Remove the records of these keys."""
        doing = "remove records"
        try:
            for key in keys:
                table = self._find(create=False)
                if table is None:
                    return
                path = ["data-tables", table, "rows", "delete"]
                self.client.call("DELETE", path, doing, filter=canonical(self._filter(key)))
        except N8nError as error:
            if error.status not in WITHOUT:
                raise
            self.problem = error

    def _filter(self, key: str) -> dict[str, Any]:
        conditions = (("kind", self.kind), ("key", key))
        return {
            "type": "and",
            "filters": [{"columnName": name, "condition": "eq", "value": value} for name, value in conditions],
        }
