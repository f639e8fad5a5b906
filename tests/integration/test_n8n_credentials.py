"""`n8n_credentials` against the real n8n: the values arrive, and are shown nowhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..unit.in_process import call, printed
from .contracts.n8n_credentials import header
from .contracts.n8n_workflows import write
from .n8n import N8n
from .n8n_patterns import webhook
from .test_n8n_workflows import load

CANARY = "canary-4711-songbird"


def options(n8n: N8n, *wanted: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"credentials": list(wanted), "url": n8n.url, "api_key": n8n.api_key, **more}


def test_a_workflow_uses_the_values(n8n: N8n, tmp_path: Path) -> None:
    """The reference is by name: the file has the id of another n8n."""
    guarded = webhook("guarded", "guarded")
    guarded["nodes"][0]["parameters"]["authentication"] = "headerAuth"
    guarded["nodes"][0]["credentials"] = {"httpHeaderAuth": {"id": "of-elsewhere", "name": "Guard"}}
    write(tmp_path, {**guarded, "active": True})
    missing = load(n8n, tmp_path)
    assert missing["failed"] and "'Guard' of the type httpHeaderAuth, which n8n does not have" in missing["msg"]
    for value in (CANARY, f"{CANARY}-rotated"):
        output = printed("n8n_credentials", options(n8n, header("Guard", value)))
        assert json.loads(output.splitlines()[-1])["changed"] and CANARY not in output
        assert not load(n8n, tmp_path)["failed"]
        n8n.refused("guarded")
        answer = n8n.session.get(f"{n8n.url}/webhook/guarded", headers={"X-Token": value}, timeout=30)
        assert answer.json() == {"says": "hello"}
    tables = n8n.api("GET", "/data-tables")["data"]
    rows = json.dumps([n8n.api("GET", f"/data-tables/{table['id']}/rows", limit=250) for table in tables])
    assert CANARY not in rows and "credential" in rows


def test_wrong_fields_are_all_reported_and_nothing_is_written(n8n: N8n) -> None:
    wrong = [
        header("Fine", "x"),
        {"name": "Bearer", "type": "httpBearerAuth", "data": {"tokn": CANARY}},
        {"name": "None", "type": "noSuchType", "data": {}},
    ]
    result = call("n8n_credentials", options(n8n, *wrong))
    assert result["failed"] and not result.get("changed")
    assert "has no field 'tokn'" in result["msg"] and "no type of credentials 'noSuchType'" in result["msg"]
    assert CANARY not in json.dumps(result) and n8n.api("GET", "/credentials")["data"] == []
