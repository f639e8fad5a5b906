"""What check mode has said of every playbook and role, as the page docs/development/check-mode.md."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from tests.sampling import LONG

FOLDER = Path(__file__).parents[2] / "playbooks"
# What a playbook can't do without.
NEEDS: dict[str, dict[str, Any]] = {
    "doctor": {"doctor_fail_on": "never"},
    "export_keys": {"export_keys_recipients": ["age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"]},
}
QUICK = ("doctor", "flows", "site", "status")
PLAYBOOKS = {path.stem: NEEDS.get(path.stem, {}) for path in sorted(FOLDER.glob("*.yml")) if LONG or path.stem in QUICK}
"""Those that are run with --check: all of them in make test-long, a few in make test."""

HEAD = """\
# Check mode

`--check` does not fail on an empty host, and reports 0 changed on a converged one. The tests write this page from what
they saw; they fail if it is not current.

On an empty host Docker is not installed yet. What only Docker can answer is left out, and a message says so. Every
other task reports the change that the real run then makes; `--diff` shows the files.

`backup.yml`, `bundle.yml`, `export_keys.yml`, `restore.yml`, `rotate_secrets.yml`, `upgrade.yml` and
`verify_backup.yml` do something each time. Under `--check` they read what they need and leave that out: this page
lists the changes on the way.

"""


class Seen(Protocol):
    """A run of a playbook."""

    @property
    def recap(self) -> dict[str, int]: ...
    @property
    def tasks(self) -> dict[str, str]: ...


def roles(run: Seen) -> dict[str, str]:
    """Return what happened in each role: C(changed) where a task of it changed, else C(ok)."""
    found: dict[str, str] = {}
    for name, status in run.tasks.items():
        match = re.match(r"(\w+) : ", name)
        if match and found.get(match[1]) != "changed":
            found[match[1]] = status
    return found


def check_page(empty: Mapping[str, Seen], converged: Mapping[str, Seen]) -> str:
    """Return the page."""
    words = {"changed": "predicts the changes", "ok": "no change", None: "not reached"}
    rows = ["| Playbook | Role | Empty host | Converged host |", "|---|---|---|---|"]
    for playbook in empty:
        before, after = empty[playbook], converged[playbook]
        whole = words["changed" if before.recap["changed"] else "ok"]
        rows.append(f"| `{playbook}.yml` | all | {whole} | {after.recap['changed']} changed |")
        first, second = roles(before), roles(after)
        for role in sorted(first | second):
            changed = "changed" if second.get(role) == "changed" else "0 changed"
            rows.append(f"| `{playbook}.yml` | `{role}` | {words[first.get(role)]} | {changed} |")
    return HEAD + "\n".join(rows) + "\n"
