# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Custom dashboards: what is wrong with the text of one, and how it is read, written and deleted."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.client import (
    KestraClient,
    KestraError,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows.plan import violations
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows.yaml_nodes import (
    YamlProblem,
    compose,
    duplicate_keys,
)

# A part of an address of its own.
RESERVED = ("validate", "charts", "settings")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def id_problem(dashboard_id: str) -> str | None:
    """Return what is wrong with the id of a dashboard, or None."""
    if not _ID.fullmatch(dashboard_id):
        return f"id is {dashboard_id!r}; it has letters, digits, points, hyphens and underscores"
    if dashboard_id in RESERVED:
        return f"id is {dashboard_id!r}, which is an address of Kestra's own"
    return None


def text_problems(text: str, dashboard_id: str) -> list[str]:
    """Return what is wrong with the text of a dashboard that is to have this id."""
    try:
        documents = compose(text)
    except YamlProblem as problem:
        return [f"line {problem.line or 1}: YAML syntax: {problem}"]
    if len(documents) != 1 or documents[0].kind != "mapping":
        return ["it is not one YAML mapping with id, title and charts"]
    (root,) = documents
    problems = [
        f"line {line}: key {key!r} is given twice, first in line {first}" for key, line, first in duplicate_keys(root)
    ]
    node = root.get("id")
    if node is None:
        problems.append(f"it has no id; add the line 'id: {dashboard_id}'")
    elif node.kind != "scalar" or node.text != dashboard_id:
        written = f"id {node.text}" if node.kind == "scalar" else "an id of another type"
        problems.append(f"line {node.line}: it has {written}, and the task has {dashboard_id}")
    return problems


@dataclass(frozen=True)
class Dashboards:
    """The dashboards of a server."""

    client: KestraClient

    def read(self, dashboard_id: str) -> str | None:
        """Return the text of a dashboard, or None where there is none."""
        doing = f"read dashboard {dashboard_id}"
        path = self.client.path("dashboards", dashboard_id)
        response = self.client.request("GET", path, doing, expected=(200, 404))
        if response.status_code == 404:
            # Other things are missing too if this server has no dashboards, or another tenant.
            self.client.request("GET", self.client.path("dashboards"), "list the dashboards", params={"size": 1})
            return None
        source = self.client.object(self.client.json(response, doing), doing).get("sourceCode")
        if not isinstance(source, str):
            raise KestraError(doing, "the answer is not a dashboard with its text", kind="answer")
        return source

    def refusals(self, dashboard_id: str, text: str) -> list[str]:
        """Return why the server would not take a text; nothing is stored."""
        doing = f"validate dashboard {dashboard_id}"
        path = self.client.path("dashboards", "validate")
        response = self.client.request("POST", path, doing, body=text.encode("utf-8"))
        answer = self.client.object(self.client.json(response, doing), doing)
        return violations(str(answer.get("constraints") or ""))

    def write(self, dashboard_id: str, text: str, exists: bool) -> str | None:
        """Create or replace a dashboard, and read it back; return its text, or None where it is not there."""
        body = text.encode("utf-8")
        if exists:
            path = self.client.path("dashboards", dashboard_id)
            self.client.request("PUT", path, f"update dashboard {dashboard_id}", body=body)
        else:
            doing = f"create dashboard {dashboard_id}"
            self.client.request("POST", self.client.path("dashboards"), doing, expected=(200, 201), body=body)
        return self.read(dashboard_id)

    def delete(self, dashboard_id: str) -> bool:
        """Delete a dashboard; return whether it existed."""
        path = self.client.path("dashboards", dashboard_id)
        response = self.client.request("DELETE", path, f"delete dashboard {dashboard_id}", expected=(204, 404))
        return response.status_code == 204
