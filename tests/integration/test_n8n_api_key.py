"""`n8n_api_key` against the real n8n."""

from __future__ import annotations

import stat
from pathlib import Path

from ..unit.in_process import printed
from .n8n import OWNER, N8n


def test_a_key_is_only_in_its_file(n8n: N8n, tmp_path: Path) -> None:
    path = tmp_path / "key"
    options = {"url": n8n.url, "email": OWNER, "password": n8n.password, "path": str(path), "label": "file"}
    output = printed("n8n_api_key", options)
    key = path.read_text("ascii").strip()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert key not in output and n8n.password not in output
    headers = {"X-N8N-API-KEY": key}
    assert n8n.session.get(f"{n8n.url}/api/v1/workflows", headers=headers, timeout=30).status_code == 200
    assert '"changed": false' in printed("n8n_api_key", options)


def test_a_wrong_password_changes_nothing(n8n: N8n, tmp_path: Path) -> None:
    path = tmp_path / "key"
    options = {"url": n8n.url, "email": OWNER, "password": "Wrong-4711", "path": str(path), "label": "wrong"}
    output = printed("n8n_api_key", options)
    assert "Check email and password" in output and "Wrong-4711" not in output and not path.exists()


def test_the_first_visitor_sees_a_login(n8n: N8n) -> None:
    """The page asks for the set-up as long as there is no owner."""
    settings = n8n.session.get(f"{n8n.url}/rest/settings", timeout=30).json()["data"]
    assert settings["userManagement"]["showSetupOnFirstLoad"] is False
    owner = {"email": "a@b.example", "firstName": "A", "lastName": "B", "password": "Abcdefg1"}
    assert n8n.session.post(f"{n8n.url}/rest/owner/setup", json=owner, timeout=30).status_code in (400, 403)
