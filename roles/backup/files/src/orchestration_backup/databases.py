# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Dump the databases: each from an exported snapshot, with the number of rows of each table in the same state."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
from pathlib import Path
from typing import Any

from . import compose, process
from .config import Config, Database
from .errors import BackupError
from .manifest import GLOBALS, GRANTS

SIZE = "SELECT pg_database_size('{name}');\n"
OTHERS = "SELECT datname FROM pg_database WHERE NOT datistemplate AND datname <> 'postgres' ORDER BY 1;\n"
TABLESPACES = "SELECT spcname FROM pg_tablespace WHERE spcname !~ '^pg_' ORDER BY 1;\n"
DATABASE_GRANTS = """
SELECT format('GRANT %s ON DATABASE %I TO %s%s;', privilege_type, datname,
    CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END,
    CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
  FROM pg_database, aclexplode(datacl) WHERE datname = '{name}' AND grantee <> datdba;
SELECT format('ALTER %s SET %I TO %L;',
    CASE setrole WHEN 0 THEN format('DATABASE %I', datname)
      ELSE format('ROLE %I IN DATABASE %I', pg_get_userbyid(setrole), datname) END,
    split_part(setting, '=', 1), substr(setting, strpos(setting, '=') + 1))
  FROM pg_db_role_setting JOIN pg_database d ON d.oid = setdatabase, unnest(setconfig) setting
  WHERE datname = '{name}' AND split_part(setting, '=', 1) NOT IN
    ('search_path', 'temp_tablespaces', 'session_preload_libraries', 'shared_preload_libraries',
     'local_preload_libraries', 'unix_socket_directories');
SELECT format('COMMENT ON DATABASE %I IS %L;', datname, shobj_description(oid, 'pg_database'))
  FROM pg_database WHERE datname = '{name}' AND shobj_description(oid, 'pg_database') IS NOT NULL;
"""
LISTS = """
SELECT json_build_array(
    CASE setrole WHEN 0 THEN format('DATABASE %I', datname)
      ELSE format('ROLE %I IN DATABASE %I', pg_get_userbyid(setrole), datname) END,
    split_part(setting, '=', 1), substr(setting, strpos(setting, '=') + 1))
  FROM pg_db_role_setting JOIN pg_database d ON d.oid = setdatabase, unnest(setconfig) setting
  WHERE datname = '{name}' AND split_part(setting, '=', 1) IN ('search_path', 'temp_tablespaces');
"""
"""Settings that are lists of names. They are stored as they were written, with quotes or without."""
NAMES = re.compile(r'"((?:[^"]|"")*)"|([^",\s][^,\s]*)')
"""The names of such a list."""


class Snapshot:
    """A consistent snapshot of one database."""

    def __init__(self, config: Config, database: Database) -> None:
        self.database = database
        self.command = ["docker", "compose", "exec", "-T", compose.POSTGRES]
        self.config = config

    def __enter__(self) -> Snapshot:
        self.errors = process.in_memory()
        self.process = process.begin(
            [*self.command, *compose.PSQL, "-d", self.database.name],
            cwd=self.config.root,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
        )
        self.queries, self.answers = process.pipe(self.process.stdin), process.pipe(self.process.stdout)
        try:
            (self.id,) = self.query(
                "SET idle_in_transaction_session_timeout = 0;\n"
                "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;\nSELECT pg_export_snapshot();\n"
            )
        except BaseException:
            self.__exit__()
            raise
        return self

    def query(self, text: str) -> list[str]:
        """Send a query and return the lines of the answer; raise BackupError with PostgreSQL's error."""
        with contextlib.suppress(BrokenPipeError):
            self.queries.write(f"{text}\\echo end of answer\n")
            self.queries.flush()
        lines: list[str] = []
        for line in self.answers:
            if line == "end of answer\n":
                return lines
            lines.append(line.rstrip("\n"))
        raise BackupError(f"database {self.database.name}: {process.error_output(self.errors)}")

    def dump(self, path: Path) -> dict[str, Any]:
        """Write the database in pg_dump's custom format, and return what the manifest says of it.

        The store compresses, and finds what has not changed only in data that are not compressed.
        """
        rows = compose.parse_rows(self.query(compose.COUNT_ROWS))
        options = ["-Fc", "-Z0", "--lock-wait-timeout=60s", "--snapshot", self.id, "-U", "postgres"]
        with path.open("wb") as target:
            command = [*self.command, "pg_dump", *options, "-d", self.database.name]
            process.run(command, cwd=self.config.root, target=target)
        (version,) = self.query("SHOW server_version;\n")
        (size,) = self.query(SIZE.format(name=self.database.name))
        return {"server": version.split()[0], "rows": rows, "size": int(size), "dump": path.stat().st_size}

    def __exit__(self, *_exception: object) -> None:
        with contextlib.suppress(BrokenPipeError):
            self.queries.close()
        self.answers.close()
        self.process.wait()
        self.errors.close()


def sizes(config: Config) -> int:
    """Return the size of the databases in bytes. A dump is seldom larger."""
    return sum(
        int(compose.psql(config, "postgres", SIZE.format(name=database.name)) or 0) for database in config.databases
    )


def set_list(row: str) -> str:
    """Return the SQL for a row of LISTS. Each name is quoted: the owner of a database may have written anything."""
    target, setting, value = json.loads(row)
    names = [plain.lower() or quoted.replace('""', '"') for quoted, plain in NAMES.findall(value)] or [""]
    # In this form, a backslash is what it is, whatever the settings of the server are.
    texts = ["E'" + name.replace("\\", "\\\\").replace("'", "''") + "'" for name in names]
    return f"ALTER {target} SET {setting} TO {', '.join(texts)};"


def dump_globals(config: Config, directory: Path) -> list[str]:
    """Write the roles of the cluster and the permissions of its databases; return what a backup does not cover."""
    with (directory / GLOBALS).open("wb") as target:
        compose.call(
            config, "exec", "-T", compose.POSTGRES, "pg_dumpall", "--globals-only", "-U", "postgres", target=target
        )
    grants = []
    for database in config.databases:
        grants.append(compose.psql(config, "postgres", DATABASE_GRANTS.format(name=database.name)))
        rows = compose.psql(config, "postgres", LISTS.format(name=database.name))
        grants += [set_list(row) for row in rows.split("\n") if row]
    (directory / GRANTS).write_text("".join(f"{text}\n" for text in grants if text), encoding="utf-8")
    ours = {database.name for database in config.databases}
    others = [name for name in compose.psql(config, "postgres", OTHERS).splitlines() if name not in ours]
    spaces = compose.psql(config, "postgres", TABLESPACES).splitlines()
    return [f"database {name}" for name in others] + [f"tablespace {name}" for name in spaces]
