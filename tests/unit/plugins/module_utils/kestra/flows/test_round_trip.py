"""What is exported can be loaded, and what is loaded is exported again: the same bytes."""

from __future__ import annotations

from pathlib import Path

from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.client import Connection, KestraClient
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.export import Reader
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows.plan import make_plan
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows.source import parse_sources
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows.sync import FlowSync
from ansible_collections.devorch.orchestration.plugins.module_utils.source_files import read_all

from .....fake_kestra import PASSWORD, USERNAME, FakeKestra

NAMESPACES = ("team", "team.a-b", "team.a")
BODY = "id: {id}\nnamespace: {namespace}\ntasks:\n  - id: say\n    type: Log\n    message: Grüße 🎉 \n"
KINDS = (
    "{body}",
    "{body}deleted: false\n",
    "{body}draft: false\n",
    "{body}revision: 7\n",
    "{body}deleted: false\ndraft: false\nrevision: 1\nsource: x\n",
    "{body}disabled: true\n",
    "\ufeff{body}",
    "---\n{body}",
    "# first\n\n{body}\n\n\n",
    "{body}# the end, without a line end",
    '{body}description: |\n  "---" is no marker\n   --- either\n',
    "{body}variables: {{a: 0777, b: 1_000, c: ~, d: 'it''s'}}\n",
)


def client(server: FakeKestra) -> KestraClient:
    return KestraClient(Connection(server.url, USERNAME, PASSWORD, retries=0, timeout=5))


def exported(server: FakeKestra) -> dict[str, bytes]:
    return dict(Reader(client(server), 4).read(NAMESPACES, ["flows"]).files)


def test_two_hundred_flows_of_every_kind(tmp_path: Path) -> None:
    with FakeKestra() as first, FakeKestra() as second:
        for number in range(204):
            names = {"id": f"f{number}.x-Y", "namespace": NAMESPACES[number % len(NAMESPACES)]}
            text = KINDS[number % len(KINDS)].format(body=BODY.format(**names))
            first.add(text.replace("\n", "\r\n") if number % 5 == 0 else text)
        files = exported(first)
        assert len(files) == 204
        for name, content in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(content)
        sources, problems = read_all([tmp_path], "")
        flows, found = parse_sources(sources)
        assert problems + found == []
        sync = FlowSync(client(second))
        outcomes = sync.apply(make_plan(flows, sync.read(set(NAMESPACES))))
        assert {outcome.action for outcome in outcomes} == {"created"}
        assert exported(second) == files
        again = make_plan(flows, sync.read(set(NAMESPACES)))
        assert not again.changes
