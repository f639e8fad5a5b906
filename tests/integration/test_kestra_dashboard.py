"""`kestra_dashboard` on the test server: what is refused, and by whom."""

from __future__ import annotations

import secrets
from typing import Any

import pytest

from ..unit.in_process import call
from .contracts.kestra_dashboard import YAML, dashboard, save
from .kestra import Kestra


@pytest.fixture
def name() -> str:
    return f"test-{secrets.token_hex(4)}"


def keep(kestra: Kestra, name: str, **options: Any) -> dict[str, Any]:
    address = {"url": kestra.url, "username": kestra.username, "password": kestra.password}
    return call("kestra_dashboard", {"id": name, **address, **options}, check=False)


def test_the_text_is_kept_byte_for_byte(either: Kestra, name: str) -> None:
    text = dashboard(name)
    result = keep(either, name, content=text)
    assert (result["action"], result["dashboard"]) == ("created", {"id": name, "source": text})
    assert either.call("GET", f"/dashboards/{name}").json()["sourceCode"] == text
    (diff,) = keep(either, name, content=dashboard(name, "Other"))["diff"]
    assert (diff["before"], diff["after"]) == (text, dashboard(name, "Other"))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("title: Errors\n", "", "title: must not be"),
        ("chart.Pie", "chart.Cake", "Cake"),
        ("charts:", "charst:", "charst"),
    ],
)
def test_what_the_engine_refuses_is_told_before_anything_is_written(
    either: Kestra, name: str, old: str, new: str, message: str
) -> None:
    save(either, name, dashboard(name))
    result = keep(either, name, content=dashboard(name).replace(old, new))
    assert result["failed"] and message in result["msg"] and "nothing was written" in result["msg"]
    assert either.call("GET", f"/dashboards/{name}").json()["sourceCode"] == dashboard(name)


def test_the_server_refuses_what_kestra_refuses(either: Kestra, name: str) -> None:
    """A second one of an id, another id, a text without an id, and another media type."""

    def status(method: str, path: str, text: str, headers: dict[str, str] = YAML) -> tuple[int, str]:
        answer = either.call(method, path, data=text.encode(), headers=headers)
        return answer.status_code, answer.text

    text = dashboard(name)
    assert status("PUT", f"/dashboards/{name}", text)[0] == 404
    assert status("POST", "/dashboards", text)[0] == 200
    code, message = status("POST", "/dashboards", text)
    assert (code, "Dashboard id already exists" in message) == (422, True)
    code, message = status("PUT", f"/dashboards/{name}", text.replace(f"id: {name}", "id: other"))
    assert (code, "Illegal dashboard id update" in message) == (422, True)
    code, message = status("POST", "/dashboards", text.replace(f"id: {name}\n", ""))
    assert (code, "Dashboard id is mandatory" in message) == (422, True)
    assert status("POST", "/dashboards", text, {"Content-Type": "application/json"})[0] == 415
    assert either.call("DELETE", f"/dashboards/{name}").status_code == 204
    assert either.call("DELETE", f"/dashboards/{name}").status_code == 404
