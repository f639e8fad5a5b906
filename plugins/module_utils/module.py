# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run the body of a module with a client, and turn its failures into the module's result.

It knows neither Kestra nor multipass: only that a client can be closed.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.devorch.orchestration.plugins.module_utils.http_session import ServiceError


class Failure(Exception):
    """Why a module cannot do what it was asked to, with the keys that its result has all the same."""

    def __init__(self, message: str, **result: Any) -> None:
        super().__init__(message)
        self.result = result


class Closable(Protocol):
    """A client, as far as the end of a module concerns it."""

    def close(self) -> None: ...


Client = TypeVar("Client", bound=Closable)


def run_with(module: AnsibleModule, client: Client, body: Callable[[Client], dict[str, Any]]) -> None:
    """Call C(body) with the client and end the module with the result that it returns.

    A `Failure` and a ServiceError end the module with their message; anything else is an error of this collection, and
    its traceback is shown with C(-vvv) alone.
    """
    try:
        result = body(client)
    except Failure as failure:
        module.fail_json(msg=str(failure), **{"changed": False, **failure.result})
    except ServiceError as error:
        module.fail_json(msg=str(error), changed=False)
    except Exception as error:
        module.fail_json(
            msg=f"Unexpected {type(error).__name__}: {error}", changed=False, exception=traceback.format_exc()
        )
    finally:
        client.close()
    module.exit_json(**result)
