# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What all Kestra modules share: the connection options and how a client is made from them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule, env_fallback, missing_required_lib
from ansible_collections.devorch.orchestration.plugins.module_utils.http_session import REQUESTS_IMPORT_ERROR
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.client import (
    Connection,
    KestraClient,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.module import run_with


def connection_argument_spec() -> dict[str, dict[str, Any]]:
    """Return the options of the doc fragment C(devorch.orchestration.kestra)."""
    return {
        "url": {"type": "str", "default": "http://127.0.0.1:8080", "fallback": (env_fallback, ["KESTRA_URL"])},
        "username": {"type": "str", "fallback": (env_fallback, ["KESTRA_USERNAME"])},
        "password": {"type": "str", "no_log": True, "fallback": (env_fallback, ["KESTRA_PASSWORD"])},
        "tenant": {"type": "str", "default": "main", "fallback": (env_fallback, ["KESTRA_TENANT"])},
        "validate_certs": {"type": "bool", "default": True, "fallback": (env_fallback, ["KESTRA_VALIDATE_CERTS"])},
        "ca_path": {"type": "path", "fallback": (env_fallback, ["KESTRA_CA_PATH"])},
        "timeout": {"type": "int", "default": 30, "fallback": (env_fallback, ["KESTRA_TIMEOUT"])},
        "retries": {"type": "int", "default": 3, "fallback": (env_fallback, ["KESTRA_RETRIES"])},
    }


REQUIRED_TOGETHER = [("username", "password")]


def connection_from(module: AnsibleModule, **changes: Any) -> Connection:
    """Return the connection a module's options describe; end the module where they cannot work.

    The keyword arguments replace options, such as C(retries=0).
    """
    if REQUESTS_IMPORT_ERROR is not None:
        module.fail_json(msg=missing_required_lib("requests"), exception=REQUESTS_IMPORT_ERROR)
    if module.params["timeout"] < 1:
        module.fail_json(msg=f"timeout is {module.params['timeout']}; it is a number of seconds from 1")
    if module.params["retries"] < 0:
        module.fail_json(msg=f"retries is {module.params['retries']}; it is a number from 0")
    options = {name: module.params[name] for name in connection_argument_spec()}
    options["tenant"] = options["tenant"].strip("/")
    options.update(changes)
    try:
        return Connection(**options)
    except ValueError as error:
        module.fail_json(msg=str(error))
        raise


def run_module(
    module: AnsibleModule, body: Callable[[KestraClient], dict[str, Any]], *, pool_size: int = 8, **changes: Any
) -> None:
    """Call C(body) with a client and end the module with the result that it returns.

    The keyword arguments replace connection options.
    """
    run_with(module, KestraClient(connection_from(module, **changes), pool_size), body)
