"""The module for one flow, called in this process."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.module_utils.basic import AnsibleModule

from ...fake_kestra import PASSWORD, USERNAME, FakeKestra
from ...in_process import call

FLOW = "id: one\nnamespace: team\ntasks:\n  - id: say\n    type: Log\n"


def run(server: FakeKestra, *, check: bool = False, **options: Any) -> dict[str, Any]:
    login = {"url": server.url, "username": USERNAME, "password": PASSWORD, "retries": 0, "timeout": 5}
    result = call("kestra_flow", {**login, "namespace": "team", "id": "one", **options}, check=check)
    assert not result.get("failed"), result["msg"]
    return result


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize(
    ("options", "warning"),
    [
        ({"content": f"{FLOW}# newer\n"}, "Flow team/one was edited on the server, and is overwritten."),
        ({"state": "absent"}, "Flow team/one was edited on the server, and is deleted."),
        ({"state": "disabled"}, None),
        ({"content": f"{FLOW}# by somebody\n"}, None),
    ],
)
def test_an_edit_on_the_server_is_told(
    check: bool, options: dict[str, Any], warning: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(AnsibleModule, "warn", lambda _module, text: told.append(text))
    with FakeKestra() as server:
        assert run(server, content=FLOW)["action"] == "created"
        run(server, content=f"{FLOW}# new\n")
        assert told == []
        server.edit(f"{FLOW}# by somebody\n")
        run(server, check=check, **options)
        assert told == ([warning] if warning else [])
