"""How modules end: with a result, a sentence, or an error that is ours."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.client import KestraClient, KestraError
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.module import (
    connection_argument_spec,
    run_module,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.module import Failure


class Ended(Exception):
    """A module's end: C(failed), and its result."""


class Module:
    """The part of an AnsibleModule that is used here."""

    def __init__(self, **params: Any) -> None:
        self.params = {name: option.get("default") for name, option in connection_argument_spec().items()} | params

    def exit_json(self, **result: Any) -> None:
        raise Ended(False, result)

    def fail_json(self, **result: Any) -> None:
        raise Ended(True, result)


def ended(body: Any, **params: Any) -> tuple[bool, dict[str, Any]]:
    """Return whether the module failed, and its result."""
    with pytest.raises(Ended) as caught:
        run_module(Module(**params), body)  # type: ignore[arg-type]
    failed, result = caught.value.args
    return failed, result


def test_a_result() -> None:
    seen: list[KestraClient] = []

    def body(client: KestraClient) -> dict[str, Any]:
        seen.append(client)
        return {"changed": True, "msg": "done"}

    assert ended(body, tenant="/main/") == (False, {"changed": True, "msg": "done"})
    assert seen[0].connection.tenant == "main"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (Failure("no way", summary={"total": 1}), {"msg": "no way", "changed": False, "summary": {"total": 1}}),
        (Failure("half way", changed=True), {"msg": "half way", "changed": True}),
        (KestraError("do it", "no", status=500), {"msg": "Could not do it: HTTP 500: no", "changed": False}),
    ],
)
def test_a_failure(error: Exception, expected: dict[str, Any]) -> None:
    def body(_client: KestraClient) -> dict[str, Any]:
        raise error

    assert ended(body) == (True, expected)


def test_an_error_of_ours_has_its_traceback() -> None:
    failed, result = ended(lambda _client: {}["missing"])
    assert failed and result["msg"] == "Unexpected KeyError: 'missing'" and "Traceback" in result["exception"]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"timeout": 0}, "timeout is 0"),
        ({"retries": -1}, "retries is -1"),
        ({"url": "ftp://x"}, "url is 'ftp://x'"),
    ],
)
def test_options_that_cannot_work(params: dict[str, Any], message: str) -> None:
    failed, result = ended(lambda _client: {}, **params)
    assert failed and message in result["msg"]
