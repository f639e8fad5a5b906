"""How modules end: with a result, a sentence, or an error that is ours."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.client import KestraClient, KestraError
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.module import (
    connection_argument_spec,
    run_module,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.module import Failure

from ....fake_kestra import Answer, FakeKestra
from ....in_process import printed


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


def ended(body: Any, partial: Any = dict, **params: Any) -> tuple[bool, dict[str, Any]]:
    """Return whether the module failed, and its result."""
    with pytest.raises(Ended) as caught:
        run_module(Module(**params), body, partial=partial)  # type: ignore[arg-type]
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


@pytest.mark.parametrize("error", [Failure("no"), KestraError("do it", "no"), ValueError("no")])
def test_a_failure_has_the_partial_result(error: Exception) -> None:
    def body(_client: KestraClient) -> dict[str, Any]:
        raise error

    failed, result = ended(body, lambda: {"changed": True, "flows": ["a"]})
    assert failed and result["changed"] is True and result["flows"] == ["a"] and "no" in result["msg"]


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


@pytest.fixture
def no_login(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variables but those that a test sets."""
    for name in list(os.environ):
        if name.startswith(("KESTRA_", "KESTRACTL_")):
            monkeypatch.delenv(name)


VARIABLES = {
    "KESTRA_USERNAME": "kestra@example.com",
    "KESTRA_PASSWORD": "kestra-passw0rd",
    "KESTRACTL_USERNAME": "ctl@example.com",
    "KESTRACTL_PASSWORD": "ctl-passw0rd",
    "KESTRA_TOKEN": "kestra-t0ken",
    "KESTRACTL_TOKEN": "ctl-t0ken",
}
OF_KESTRA, OF_CTL = ("KESTRA_USERNAME", "KESTRA_PASSWORD"), ("KESTRACTL_USERNAME", "KESTRACTL_PASSWORD")
TASK = {"username": "task@example.com", "password": "task-passw0rd"}


@pytest.mark.parametrize(
    ("variables", "options", "username", "secret"),
    [
        ((), {}, None, None),
        (OF_KESTRA, {}, "kestra@example.com", "kestra-passw0rd"),
        (OF_CTL, {}, "ctl@example.com", "ctl-passw0rd"),
        ((*OF_KESTRA, *OF_CTL), {}, "kestra@example.com", "kestra-passw0rd"),
        (("KESTRA_TOKEN",), {}, None, "kestra-t0ken"),
        (("KESTRACTL_TOKEN",), {}, None, "ctl-t0ken"),
        (("KESTRA_TOKEN", "KESTRACTL_TOKEN"), {}, None, "kestra-t0ken"),
        (tuple(VARIABLES), {}, None, "kestra-t0ken"),
        (tuple(VARIABLES), TASK, "task@example.com", "task-passw0rd"),
        (tuple(VARIABLES), {"token": "task-t0ken"}, None, "task-t0ken"),
        (("KESTRA_PASSWORD",), TASK, "task@example.com", "task-passw0rd"),
    ],
)
def test_a_login_of_the_environment_is_sent_and_one_of_the_task_wins(
    variables: tuple[str, ...],
    options: dict[str, str],
    username: str | None,
    secret: str | None,
    no_login: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What a .netrc has never counts. The server repeats the secret in its refusal."""
    (tmp_path / "netrc").write_text("default login other password other\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for name in variables:
        monkeypatch.setenv(name, VARIABLES[name])
    login = None if secret is None else f"Bearer {secret}"
    if username is not None:
        login = "Basic " + base64.b64encode(f"{username}:{secret}".encode()).decode()
    with FakeKestra() as server:
        monkeypatch.setenv("KESTRACTL_HOST", server.url)
        monkeypatch.setenv("KESTRACTL_TENANT", "other")
        server.prepare("GET /api/v1/other/flows", Answer(422, {"message": f"I do not like {secret}"}))
        output = printed("kestra_flow_info", {"namespace": "team", "id": "one", "retries": 0, **options})
        assert server.requests[0].startswith("GET /api/v1/other/flows")
        assert server.authorizations == {login}
    assert "I do not like" in json.loads(output.splitlines()[-1])["msg"]
    assert secret is None or secret not in output


def test_two_logins_of_a_task_are_refused(no_login: None) -> None:
    output = printed("kestra_flow_info", {"namespace": "team", "token": "task-t0ken", **TASK})
    assert json.loads(output.splitlines()[-1])["msg"] == "token and username are both set; set one of them"
    assert "task-t0ken" not in output and "task-passw0rd" not in output
