"""The backup program as it is on hosts, in one file, for the tests to run and to import."""

from __future__ import annotations

import tempfile
from pathlib import Path

from ...zips import build

ROOT = Path(__file__).parents[3]
PACKAGE = ROOT / "roles" / "backup" / "files" / "src" / "orchestration_backup"
DIRECTORY = tempfile.TemporaryDirectory()
PROGRAM = build(
    Path(DIRECTORY.name) / "orchestration-backup",
    {
        "orchestration_backup": PACKAGE,
        "orchestration_backup/environment_file.py": ROOT / "plugins" / "module_utils" / "environment_file.py",
        "orchestration_backup/versions.py": ROOT / "plugins" / "module_utils" / "versions.py",
    },
    main="orchestration_backup.cli:main",
    interpreter="/usr/bin/python3",
)
