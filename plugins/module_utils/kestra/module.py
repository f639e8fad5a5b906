# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What all Kestra modules share: the connection options and how a client is made from them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from typing import Any

from ansible.module_utils.basic import AnsibleModule, env_fallback, missing_required_lib
from ansible_collections.devorch.orchestration.plugins.module_utils.http_session import REQUESTS_IMPORT_ERROR
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.client import (
    SHORTEST_SECRET,
    Connection,
    KestraClient,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.module import HIDDEN, run_with, texts_in


def connection_argument_spec() -> dict[str, dict[str, Any]]:
    """Return the options of the doc fragment C(devorch.orchestration.kestra)."""
    return {
        "url": {"type": "str", "default": "http://127.0.0.1:8080", **environment("KESTRA_URL", "KESTRACTL_HOST")},
        "username": {"type": "str", **environment(*LOGINS["username"])},
        "password": {"type": "str", "no_log": True, **environment("KESTRA_PASSWORD", "KESTRACTL_PASSWORD")},
        "token": {"type": "str", "no_log": True, **environment(*LOGINS["token"])},
        "headers": {"type": "dict", "default": {}, "no_log": True},
        "client_cert": {"type": "path", **environment("KESTRA_CLIENT_CERT")},
        # A path, and no secret itself.
        "client_key": {"type": "path", "no_log": False, **environment("KESTRA_CLIENT_KEY")},
        "tenant": {"type": "str", "default": "main", **environment("KESTRA_TENANT", "KESTRACTL_TENANT")},
        "validate_certs": {"type": "bool", "default": True, **environment("KESTRA_VALIDATE_CERTS")},
        "ca_path": {"type": "path", **environment("KESTRA_CA_PATH")},
        "timeout": {"type": "int", "default": 30, **environment("KESTRA_TIMEOUT")},
        "retries": {"type": "int", "default": 3, **environment("KESTRA_RETRIES")},
    }


def environment(*names: str) -> dict[str, Any]:
    """Return the part of an option that reads it from the first of these variables that is set."""
    return {"fallback": (env_fallback, list(names))}


LOGINS = {"username": ("KESTRA_USERNAME", "KESTRACTL_USERNAME"), "token": ("KESTRA_TOKEN", "KESTRACTL_TOKEN")}
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
    options["headers"] = {str(name): str(value) for name, value in options["headers"].items()}
    try:
        connection = Connection(**{**options, **_login(options), **changes})
    except ValueError as error:
        module.fail_json(msg=str(error))
        raise
    return connection


def _login(options: dict[str, Any]) -> dict[str, Any]:
    """Return the changes that leave one login; ValueError if the task has two. A task's wins over the environment's."""
    if options["token"] is None or options["username"] is None:
        return {}
    given = [name for name, names in LOGINS.items() if options[name] not in map(os.environ.get, names)]
    if len(given) == len(LOGINS):
        raise ValueError("token and username are both set; set one of them")
    return {"token": None} if given == ["username"] else {"username": None, "password": None}


def only_for_the_server(module: AnsibleModule, name: str, within: dict[str, Any] | None = None) -> Any:
    """Return an option with C(no_log) that is shown nowhere, but whose values are not masked in what others say.

    An input C(1) would otherwise be masked in every number of the result. C(within) is the option that it belongs to.
    """
    options = module.params if within is None else within
    given, options[name] = options[name], HIDDEN
    still = [module.params.get(other) for other in ("password", "token", "secret_inputs", "plan_key")]
    still += [value for value in module.params["headers"].values() if len(str(value)) >= SHORTEST_SECRET]
    module.no_log_values.clear()
    module.no_log_values.update(forms_of(texts_in(still)))
    return given


def forms_of(texts: Iterable[str]) -> set[str]:
    """Return texts and how else a program may show them: line by line, and in JSON."""
    found: set[str] = set()
    for text in texts:
        lines = [line.strip() for line in text.splitlines()] if len(text.splitlines()) > 1 else []
        found |= {text, *(line for line in lines if len(line) >= SHORTEST_SECRET)}
    return found | {json.dumps(text, ensure_ascii=ascii_only)[1:-1] for text in found for ascii_only in (True, False)}


def run_module(
    module: AnsibleModule,
    body: Callable[[KestraClient], dict[str, Any]],
    *,
    partial: Callable[[], dict[str, Any]] = dict,
    pool_size: int = 8,
    **changes: Any,
) -> None:
    """Call C(body) with a client and end the module with the result that it returns.

    C(partial) returns the keys that a failure reports as well. The other keyword arguments replace connection options.
    """
    run_with(module, KestraClient(connection_from(module, **changes), pool_size), body, partial)
