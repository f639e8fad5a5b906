# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What all modules for multipass share: the connection options and how a client is made from them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule, env_fallback, missing_required_lib
from ansible_collections.devorch.orchestration.plugins.module_utils.http_session import REQUESTS_IMPORT_ERROR
from ansible_collections.devorch.orchestration.plugins.module_utils.module import run_with
from ansible_collections.devorch.orchestration.plugins.module_utils.multipass.client import Sidecar, SidecarConnection


def sidecar_argument_spec() -> dict[str, dict[str, Any]]:
    """Return the options of the doc fragment C(devorch.orchestration.sidecar)."""
    return {
        "url": {"type": "str", "default": "http://127.0.0.1:8090", "fallback": (env_fallback, ["SIDECAR_URL"])},
        "token": {"type": "str", "no_log": True, "fallback": (env_fallback, ["SIDECAR_TOKEN"])},
        "validate_certs": {"type": "bool", "default": True, "fallback": (env_fallback, ["SIDECAR_VALIDATE_CERTS"])},
        "ca_path": {"type": "path", "fallback": (env_fallback, ["SIDECAR_CA_PATH"])},
        "timeout": {"type": "int", "default": 30, "fallback": (env_fallback, ["SIDECAR_TIMEOUT"])},
        "retries": {"type": "int", "default": 3, "fallback": (env_fallback, ["SIDECAR_RETRIES"])},
    }


def wait_argument_spec() -> dict[str, dict[str, Any]]:
    """Return the option of the doc fragment C(devorch.orchestration.sidecar.wait)."""
    return {"wait_timeout": {"type": "int", "default": 1800}}


def run_module(module: AnsibleModule, body: Callable[[Sidecar], dict[str, Any]]) -> None:
    """Call C(body) with a client and end the module with the result that it returns, or with what is wrong."""
    if REQUESTS_IMPORT_ERROR is not None:
        module.fail_json(msg=missing_required_lib("requests"), exception=REQUESTS_IMPORT_ERROR)
    for option, least in (("timeout", 1), ("retries", 0), ("wait_timeout", 1)):
        if option in module.params and module.params[option] < least:
            module.fail_json(msg=f"{option} is {module.params[option]}; it is a number from {least}")
    try:
        connection = SidecarConnection(**{name: module.params[name] for name in sidecar_argument_spec()})
    except ValueError as error:
        module.fail_json(msg=str(error))
        raise
    run_with(module, Sidecar(connection, module.params.get("wait_timeout", 0)), body)
