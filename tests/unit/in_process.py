"""Call a module in this process, which is much faster than a playbook."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
from typing import Any

from ansible.module_utils.testing import patch_module_args


def printed(name: str, options: dict[str, Any], *, check: bool = False) -> str:
    """Return what the module prints with these options."""
    module = importlib.import_module(f"ansible_collections.devorch.orchestration.plugins.modules.{name}")
    output = io.StringIO()
    with (
        patch_module_args({**options, "_ansible_check_mode": check, "_ansible_diff": True}),
        contextlib.redirect_stdout(output),
        contextlib.suppress(SystemExit),
    ):
        module.main()
    return output.getvalue()


def call(name: str, options: dict[str, Any], *, check: bool = False) -> dict[str, Any]:
    """Return what the module returns with these options; C(failed) tells whether it failed."""
    result: dict[str, Any] = json.loads(printed(name, options, check=check).splitlines()[-1])
    result.pop("invocation", None)
    return {"failed": False, **result}
