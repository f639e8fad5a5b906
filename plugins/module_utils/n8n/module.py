# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What all n8n modules share: the connection options and how a client is made from them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule, env_fallback, missing_required_lib
from ansible_collections.devorch.orchestration.plugins.module_utils.http_session import REQUESTS_IMPORT_ERROR
from ansible_collections.devorch.orchestration.plugins.module_utils.module import run_with
from ansible_collections.devorch.orchestration.plugins.module_utils.n8n.client import N8nClient, N8nConnection


def connection_argument_spec() -> dict[str, dict[str, Any]]:
    """Return the options of the doc fragment C(devorch.orchestration.n8n)."""
    return {
        "url": {"type": "str", "default": "http://127.0.0.1:5678", **environment("N8N_URL")},
        "api_key": {"type": "str", "no_log": True, **environment("N8N_API_KEY")},
        "client_cert": {"type": "path", **environment("N8N_CLIENT_CERT")},
        # A path, and no secret itself.
        "client_key": {"type": "path", "no_log": False, **environment("N8N_CLIENT_KEY")},
        "validate_certs": {"type": "bool", "default": True, **environment("N8N_VALIDATE_CERTS")},
        "ca_path": {"type": "path", **environment("N8N_CA_PATH")},
        "timeout": {"type": "int", "default": 30, **environment("N8N_TIMEOUT")},
        "retries": {"type": "int", "default": 3, **environment("N8N_RETRIES")},
    }


def environment(name: str) -> dict[str, Any]:
    """Return the part of an option that reads it from this variable."""
    return {"fallback": (env_fallback, [name])}


def run_module(
    module: AnsibleModule,
    body: Callable[[N8nClient], dict[str, Any]],
    *,
    partial: Callable[[], dict[str, Any]] = dict,
    **changes: Any,
) -> None:
    """Call C(body) with a client and end the module with the result that it returns, or with what is wrong.

    C(partial) returns the keys that a failure reports as well. The other keyword arguments replace connection options.
    """
    if REQUESTS_IMPORT_ERROR is not None:
        module.fail_json(msg=missing_required_lib("requests"), exception=REQUESTS_IMPORT_ERROR)
    for option, least in (("timeout", 1), ("retries", 0)):
        if module.params[option] < least:
            module.fail_json(msg=f"{option} is {module.params[option]}; it is a number from {least}")
    options = {name: module.params[name] for name in connection_argument_spec()}
    try:
        connection = N8nConnection(**{**options, **changes})
    except ValueError as error:
        module.fail_json(msg=str(error))
        raise
    run_with(module, N8nClient(connection), body, partial)
