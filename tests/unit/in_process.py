"""Call a module in this process, which is much faster than a playbook."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
from typing import Any

from ansible.module_utils.testing import patch_module_args


def call(name: str, options: dict[str, Any], *, check: bool = False) -> dict[str, Any]:
    """Return what the module returns with these options; C(failed) tells whether it failed."""
    module = importlib.import_module(f"ansible_collections.devorch.orchestration.plugins.modules.{name}")
    printed = io.StringIO()
    with (
        patch_module_args({**options, "_ansible_check_mode": check, "_ansible_diff": True}),
        contextlib.redirect_stdout(printed),
        contextlib.suppress(SystemExit),
    ):
        module.main()
    result: dict[str, Any] = json.loads(printed.getvalue().splitlines()[-1])
    result.pop("invocation", None)
    return {"failed": False, **result}
