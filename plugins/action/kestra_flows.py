# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads the flow files on the controller for the module of the same name, which runs where Kestra can be reached."""

from __future__ import annotations

import json
import re
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.module_utils.parsing.convert_bool import boolean
from ansible_collections.devorch.orchestration.plugins.module_utils.ignore_file import IGNORE_FILE
from ansible_collections.devorch.orchestration.plugins.module_utils.source_files import (
    Problem,
    Source,
    read_all,
)
from ansible_collections.devorch.orchestration.plugins.plugin_utils.packed_files import transfer_files
from ansible_collections.devorch.orchestration.plugins.plugin_utils.packed_source import PackedSourceAction

# Kestra's own are the braces of Jinja.
DELIMITERS = {
    "variable_start_string": "<[",
    "variable_end_string": "]>",
    "block_start_string": "<%",
    "block_end_string": "%>",
    "comment_start_string": "<#",
    "comment_end_string": "#>",
}


class ActionModule(PackedSourceAction):
    module = "kestra_flows"

    def read(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Read and render O(src) and O(content); with a saved plan there is nothing to read."""
        if arguments.get("plan"):
            return {}
        given = arguments.get("src") or []
        paths = [self.find(str(path).strip()) for path in (given if isinstance(given, list) else str(given).split(","))]
        sources, problems = read_all(paths, str(arguments.get("ignore_file", IGNORE_FILE) or ""))
        texts = arguments.get("content") or []
        for number, text in enumerate(texts if isinstance(texts, list) else [texts]):
            if not isinstance(text, str):
                kind = "mapping" if isinstance(text, dict) else type(text).__name__
                message = f"is a {kind}, not the text of a flow; write it as a block (- |), or use the filter to_yaml"
                problems.append(Problem(f"content[{number}]", None, message))
                continue
            sources.append(Source(f"content[{number}]", str(text).encode("utf-8")))
        if boolean(arguments.get("template", False), strict=False):
            sources, more = self._render(sources, task_vars)
            problems += more
        told = [(problem.file, problem.line, problem.message) for problem in problems]
        first = json.dumps({"problems": told, "paths": [str(path) for path in paths]}).encode("utf-8")
        entries = [("", first), *((source.path, source.content) for source in sources)]
        return {"_packed_src": transfer_files(self, entries)}

    def _render(self, sources: list[Source], task_vars: dict[str, Any]) -> tuple[list[Source], list[Problem]]:
        """Return the texts with their templates carried out, and what is wrong with any of them."""
        try:
            from ansible.template import trust_as_template
        except ImportError as error:
            raise AnsibleActionFail("template=true needs ansible-core 2.19 or newer on the controller") from error
        rendered: list[Source] = []
        problems: list[Problem] = []
        templar = self._templar.copy_with_new_env(available_variables=task_vars)
        for source in sources:
            try:
                content = source.content.decode("utf-8")
                # Jinja makes every line end a line feed.
                ends = set(re.findall(r"\r\n|\r|\n", content))
                if len(ends) > 1:
                    problems.append(Problem(source.path, None, "has line ends of several kinds; a template has one"))
                    continue
                template = trust_as_template(content.replace("\r\n", "\n"))
                text = str(templar.template(template, escape_backslashes=False, overrides=DELIMITERS))
                rendered.append(Source(source.path, text.replace("\n", *(ends or {"\n"})).encode("utf-8")))
            except UnicodeDecodeError:
                rendered.append(source)
            except AnsibleError as error:
                problems.append(Problem(source.path, None, f"the template fails: {error.message}"))
        return rendered, problems
