"""A backup: what is in it, what it says, and that it can be restored."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from orchestration_backup import create, restore, store
from orchestration_backup.config import Config

from .backup_host import FILES, VERSIONS, Docker, tree


def test_backup_is_created_checked_and_restored(config: Config, docker: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = tree(config.root)
    record = create.create(config, "nightly")
    counts = {"workflows": 2, "credentials": 0, "rows": 7, "files": len(FILES)}
    assert (record["verified"], record["counts"], record["incomplete"]) == (None, counts, [])
    assert record["uncovered"] == ["database reports"]
    assert [(target["name"], target["ok"]) for target in record["targets"]] == [("local", True)]
    assert json.loads(config.last.read_text()) == record
    source = store.first_store(config).open().find("")
    assert source.id == record["backup"]
    found = restore.check(config, source, {"versions": {"n8n": "2.41.1"}}, read_data=True)
    assert (found["versions"], found["counts"]) == ({"n8n": "2.41.1"}, counts)
    assert source.read_manifest()["images"]["n8n"]["digests"] == "n8nio/n8n@sha256:00"
    (config.root / "data/n8n/config").write_text("changed since")
    standin = Docker(config, monkeypatch)
    assert restore.restore(config, source, {"versions": VERSIONS})["backup"] == source.id
    restored = {path: entry for path, entry in tree(config.root).items() if not path.startswith("data/postgres")}
    assert restored == {path: entry for path, entry in wanted.items() if not path.startswith("data/postgres")}
    # The passwords are passed on standard input only, quoted.
    assert not any("it's" in command for command in standin.commands)
    assert any("PASSWORD 'it''s'" in script for script in standin.scripts)
    assert "CREATE ROLE grafana;\nALTER ROLE grafana WITH NOSUPERUSER;\n" in standin.scripts
    assert "GRANT CONNECT ON DATABASE n8n TO grafana;\n" in standin.scripts
