# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads the files on the controller for the module of the same name, which runs where Kestra can be reached."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleActionFail
from ansible_collections.devorch.orchestration.plugins.module_utils.ignore_file import IGNORE_FILE
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.namespace_files.plan import read_tree
from ansible_collections.devorch.orchestration.plugins.plugin_utils.packed_files import transfer_files
from ansible_collections.devorch.orchestration.plugins.plugin_utils.packed_source import PackedSourceAction


class ActionModule(PackedSourceAction):
    module = "kestra_namespace_files"
    private = ("_packed_src", "_problems")

    def read(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Read the directory O(src), and transfer its files and what is wrong with others."""
        source = arguments.get("src")
        if not source:
            return {}
        found = self.find(str(source))
        if not found.is_dir():
            raise AnsibleActionFail(f"src {str(found)!r} is not a directory")
        ignore_file = arguments.get("ignore_file")
        files, problems = read_tree(found, IGNORE_FILE if ignore_file is None else str(ignore_file))
        # With problems too: the server may refuse others of the files, and all of that is one message.
        try:
            packed = transfer_files(self, ((file.name, file.read()) for file in files))
        except OSError as error:
            raise AnsibleActionFail(f"src {str(found)!r} cannot be read: {error}") from error
        return {"src": str(found), "_problems": problems, "_packed_src": packed}
