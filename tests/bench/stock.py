"""Put thousands of flows into the server's database, past the server.

Kestra 2.0 compares each flow that is validated or written with every other (FlowService.checkCyclicDependency), so ten
thousand flows would take it hours; to be read, they can as well be copies of one that it has stored.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable

from .clients import API, Server
from .flows import Bench

# Its number stands nowhere else in a flow, and needs no zeros in front.
MODEL = Bench("bench-model", 77777)


def copies(model: str, flows: Iterable[Bench]) -> str:
    """Return, for each flow, what C(model) is for MODEL in its first version: a text with the names in it."""
    texts = []
    for flow in flows:
        text = model.replace(MODEL.namespace, flow.namespace).replace(MODEL.id, flow.id)
        text = text.replace(f"team: team-{MODEL.number % 7}\\n", f"team: team-{flow.number % 7}\\n")
        text = text.replace(f'"team-{MODEL.number % 7}"', f'"team-{flow.number % 7}"')
        texts.append(text.replace(str(MODEL.number), str(flow.number)))
    return "\n".join(texts)


def stock(server: Server, postgres: str, flows: Iterable[Bench]) -> None:
    """Store the first version of flows; C(postgres) is the container of the database."""
    server.call("POST", f"{API}/flows", MODEL.text(1))
    columns = "json_build_object('key', key, 'value', value, 'source_code', source_code)"
    model = _psql(postgres, f"\\t\\a\nSELECT {columns} FROM flows WHERE namespace = '{MODEL.namespace}';")
    rows = copies(json.dumps(json.loads(model), ensure_ascii=False), flows)
    # A row a line, in COPY's text format.
    escaped = rows.replace("\\", "\\\\")
    script = (
        "\\set ON_ERROR_STOP on",
        "CREATE TEMP TABLE rows (row jsonb);",
        "COPY rows FROM stdin;",
        escaped,
        "\\.",
        "INSERT INTO flows (key, value, source_code)",
        "SELECT row->>'key', row->'value', row->>'source_code' FROM rows;",
        "ANALYZE flows;",
    )
    _psql(postgres, "\n".join(script))


def _psql(container: str, script: str) -> str:
    done = subprocess.run(
        ["docker", "exec", "--interactive", container, "psql", "--quiet", "--username", "kestra", "--dbname", "kestra"],
        input=script,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:]
    return done.stdout
