# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads the workflow files on the controller for the module of the same name, which runs where n8n can be reached."""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.devorch.orchestration.plugins.module_utils.n8n.workflows.source import IGNORE_FILE, SUFFIXES
from ansible_collections.devorch.orchestration.plugins.module_utils.source_files import read_all
from ansible_collections.devorch.orchestration.plugins.plugin_utils.packed_files import transfer_files
from ansible_collections.devorch.orchestration.plugins.plugin_utils.packed_source import PackedSourceAction


class ActionModule(PackedSourceAction):
    module = "n8n_workflows"

    def read(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Read O(src)."""
        given = arguments.get("src") or []
        paths = [self.find(str(path).strip()) for path in (given if isinstance(given, list) else str(given).split(","))]
        sources, problems = read_all(paths, str(arguments.get("ignore_file", IGNORE_FILE) or ""), SUFFIXES)
        told = [(problem.file, problem.line, problem.message) for problem in problems]
        first = json.dumps({"problems": told}).encode("utf-8")
        entries = [("", first), *((source.path, source.content) for source in sources)]
        return {"_packed_src": transfer_files(self, entries)}
