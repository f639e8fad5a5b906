# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run the body of a module with a client, and turn its failures into the module's result.

It knows neither Kestra nor multipass: only that a client can be closed.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.devorch.orchestration.plugins.module_utils.http_session import ServiceError

# As with -vvv.
VERY_VERBOSE = 3

HIDDEN = "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"


class Failure(Exception):
    """Why a module cannot do what it was asked to, with the keys that its result has all the same."""

    def __init__(self, message: str, **result: Any) -> None:
        super().__init__(message)
        self.result = result


class Closable(Protocol):
    """A client, as far as the end of a module concerns it."""

    @property
    def whole_messages(self) -> Sequence[str]: ...

    def close(self) -> None: ...


Client = TypeVar("Client", bound=Closable)


def texts_in(value: Any) -> set[str]:
    """Return every text and number in a value as text, however deep it is."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return set().union(*map(texts_in, value))
    return set() if value is None or isinstance(value, bool) or value == "" else {str(value)}


def run_with(
    module: AnsibleModule,
    client: Client,
    body: Callable[[Client], dict[str, Any]],
    partial: Callable[[], dict[str, Any]] = dict,
) -> None:
    """Call C(body) with the client and end the module with the result that it returns.

    A `Failure` and a ServiceError end the module with their message. Any other exception is an error of this
    collection; its traceback is shown with C(-vvv) only. The result of every failure has the keys of C(partial), which
    is called when the module fails; with C(-vvv) it has what the server said in full, where its message is shorter.
    """

    def fail(message: str, **keys: Any) -> None:
        if client.whole_messages and module._verbosity >= VERY_VERBOSE:
            keys["server_messages"] = list(client.whole_messages)
        module.fail_json(**{"changed": False, **partial(), **keys, "msg": message})

    try:
        result = body(client)
    except Failure as failure:
        fail(str(failure), **failure.result)
    except ServiceError as error:
        fail(str(error))
    except Exception as error:
        fail(f"Unexpected {type(error).__name__}: {error}", exception=traceback.format_exc())
    finally:
        client.close()
    module.exit_json(**result)
