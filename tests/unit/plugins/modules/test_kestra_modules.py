"""The Kestra modules as a playbook runs them, against a server that counts what it is asked and can refuse writes."""

from __future__ import annotations

import venv
from pathlib import Path
from typing import Any

import pytest

from ...fake_kestra import PASSWORD, USERNAME, Answer, FakeKestra
from ...in_process import call
from ...playbook import Played, play

GROUP = "group/devorch.orchestration.kestra"
KEYS = {"changed", "msg", "summary", "flows", "problems", "server", "plan", "seconds"}
HEALTH_KEYS = {"changed", "msg", "liveness", "readiness", "database", "disk", "api", "credentials", "version"} | {
    "edition",
    "reasons",
    "ready_within",
    "attempts",
}


def flow(name: str, namespace: str = "team", more: str = "") -> str:
    return f"id: {name}\nnamespace: {namespace}\ntasks:\n  - id: say\n    type: Log\n{more}"


def write(directory: Path, **files: str | bytes) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (directory / f"{name}.yml").write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return directory


def flows_task(server: FakeKestra, **options: Any) -> dict[str, Any]:
    options = {"url": server.url, "username": USERNAME, "password": PASSWORD, **options}
    given = {name: value for name, value in options.items() if value is not None}
    return {"name": "Load", "devorch.orchestration.kestra_flows": given, "ignore_errors": True}


def load(tmp_path: Path, server: FakeKestra, *arguments: str, **options: Any) -> Played:
    played = play(tmp_path, [flows_task(server, **{"src": "flows", **options})], *arguments)
    assert PASSWORD not in played.output
    return played


def test_check_mode_tells_what_the_run_does_and_writes_nothing(tmp_path: Path) -> None:
    write(tmp_path / "files" / "flows", new=flow("new"), old=flow("old", more="# new\n"), same=flow("same"))
    with FakeKestra(read_only=True) as server:
        server.add(flow("old"))
        server.add(flow("same"))
        checked = load(tmp_path, server, "--check", "--diff").last
        assert server.writes == []
        server.read_only = False
        real = load(tmp_path, server, "--diff").last
        assert len(server.flow_writes) == 2
        again = load(tmp_path, server).last
        named = load(tmp_path, server, list_unchanged=True).last
    assert checked["changed"] and real["changed"] and not again["changed"]
    assert set(checked) >= KEYS and set(checked) == set(real) == set(again) | {"diff"}
    assert checked["summary"] == real["summary"] == {
        "total": 3, "created": 1, "updated": 1, "unchanged": 1, "pruned": 0, "blocked": 0, "failed": 0, "skipped": 0,
        "rolled_back": 0,
    }  # fmt: skip
    assert checked["diff"] == real["diff"] and len(real["diff"]) == 2
    assert checked["msg"] == real["msg"] == "1 created, 1 updated, 1 unchanged"
    assert [(f["id"], f["action"], f["revision"]) for f in real["flows"]] == [
        ("new", "created", 1),
        ("old", "updated", 2),
    ]
    assert again["flows"] == [] and again["summary"]["unchanged"] == 3
    assert [(f["id"], f["action"], f["revision"]) for f in named["flows"]] == [
        ("new", "unchanged", 1),
        ("old", "unchanged", 2),
        ("same", "unchanged", 1),
    ]
    assert [f["revision"] for f in checked["flows"]] == [None, 1]
    assert real["flows"][0]["file"] == str(tmp_path / "files" / "flows" / "new.yml")
    assert real["server"] == {"version": "2.0.5", "edition": "OSS"}


def test_a_hundred_unchanged_flows_take_three_requests(tmp_path: Path) -> None:
    texts = {f"f{n}": flow(f"f{n}", f"team.n{n % 5}") for n in range(100)}
    write(tmp_path / "flows", **texts)
    with FakeKestra(read_only=True) as server:
        for text in texts.values():
            server.add(text)
        result = load(tmp_path, server).last
        assert not result["changed"] and result["summary"]["unchanged"] == 100
        assert len(server.requests) <= 3
        assert server.connections <= 2


def test_bad_files_are_all_named_with_file_and_line_and_nothing_is_written(tmp_path: Path) -> None:
    directory = write(
        tmp_path / "flows",
        good=flow("good"),
        syntax="id: a\nnamespace: team\ntasks: [\n",
        noid="namespace: team\ntasks: []\n",
        nonamespace="id: x\ntasks: []\n",
        badid=flow("a b"),
        duplicate=flow("good"),
        deleted=flow("r", more="deleted: true\n"),
        compose="services: {web: {image: nginx}}\n",
        refused=flow("refused", more="  - id: x\n    type: io.nope\n"),
        keys=flow("k", more="id: again\n"),
        latin=b"id: l\nnamespace: team\n# Gr\xfc\xdfe\n",
        empty="",
    )
    (directory / "dangling.yml").symlink_to(directory / "missing")
    with FakeKestra() as server:
        played = load(tmp_path, server)
        assert server.writes == []
        unreachable = load(tmp_path, server, url="http://127.0.0.1:9", retries=0)
    asked = [p for p in played.last["problems"] if "Kestra refuses" in p["message"]]
    assert [Path(p["file"]).name for p in asked] == ["refused.yml"], "the server's problems are told in the same run"
    local = [p for p in played.last["problems"] if p not in asked]
    assert unreachable.last["problems"] == local, "no server is needed to tell what is wrong"
    assert played.last["msg"].endswith(f"write into {directory}/.kestraignore:\n  /compose.yml")
    result = played.last
    assert result["failed"] and not result["changed"] and set(result) >= KEYS
    assert "Traceback" not in played.output
    named = {(Path(p["file"]).name, p["line"]) for p in result["problems"]}
    assert named == {
        ("syntax.yml", 4),
        ("noid.yml", None),
        ("nonamespace.yml", None),
        ("badid.yml", 1),
        ("good.yml", 1),
        ("deleted.yml", 6),
        ("compose.yml", None),
        ("refused.yml", 7),
        ("keys.yml", 6),
        ("latin.yml", 3),
        ("empty.yml", None),
        ("dangling.yml", None),
    }
    assert result["msg"].startswith("12 problems in the flow files; nothing was written:\n")
    assert all(str(p["message"]) in result["msg"] for p in result["problems"])
    duplicate = next(p for p in result["problems"] if p["file"].endswith("good.yml"))
    assert "duplicate.yml:1" in duplicate["message"]


def test_what_kestra_refuses_is_told_before_any_write(tmp_path: Path) -> None:
    write(
        tmp_path / "flows",
        a=flow("a"),
        b=flow("b", more="  - id: x\n    type: io.nope\n"),
        c=flow("c", more="x: nope\n"),
    )
    with FakeKestra() as server:
        for arguments in ([], ["--check"]):
            result = load(tmp_path, server, *arguments).last
            assert result["failed"] and not result["changed"]
            assert [(Path(p["file"]).name, p["line"]) for p in result["problems"]] == [("b.yml", 7)]
            assert "1 problem found in the flows; nothing was written" in result["msg"]
            assert len(result["plan"]) == 3, "the plan is told"
            assert result["summary"]["skipped"] == 3 and {flow["state"] for flow in result["flows"]} == {"previous"}
        assert server.writes == []


def test_a_failure_midway_is_rolled_back(tmp_path: Path) -> None:
    write(tmp_path / "flows", a=flow("a"), b=flow("b", more="refuse: me\n"), c=flow("c"))
    with FakeKestra() as server:
        played = load(tmp_path, server)
        assert all(stored.deleted for stored in server.flows.values())
    result = played.last
    assert result["failed"] and set(result) >= KEYS
    assert result["flows"][1]["action"] == "failed"
    assert all(entry["state"] == "previous" for entry in result["flows"])
    assert "team/b" in result["msg"] and "The server has what it had before." in result["msg"]
    assert "Traceback" not in played.output


def test_with_keep_a_failure_midway_tells_what_was_written(tmp_path: Path) -> None:
    write(tmp_path / "flows", a=flow("a"), b=flow("b", more="refuse: me\n"), c=flow("c"))
    with FakeKestra() as server:
        played = load(tmp_path, server, on_failure="keep")
    result = played.last
    assert result["failed"] and result["changed"]
    assert [f["action"] for f in result["flows"]] == ["created", "failed", "created"]
    assert result["flows"][1]["error"] == "HTTP 422: tasks: must not be empty"
    assert result["summary"]["failed"] == 1
    assert "team/b" in result["msg"] and "Written, and kept: team/a, team/c" in result["msg"]
    assert "Traceback" not in played.output


def test_files_on_the_managed_host(tmp_path: Path) -> None:
    single = write(tmp_path / "remote", one=flow("one", more="# Grüße ☃\r\n")) / "one.yml"
    with FakeKestra() as server:
        result = load(tmp_path, server, src=str(single), remote_src=True).last
        assert result["summary"]["created"] == 1
        assert server.flows[("team", "one")].source == flow("one", more="# Grüße ☃\r\n")
        missing = load(tmp_path, server, src=str(tmp_path / "missing"), remote_src=True).last
        assert f"{tmp_path}/missing: does not exist" in missing["msg"]
        absent = load(tmp_path, server, src="nowhere").last
        assert "was not found on the controller" in absent["msg"]


def test_errors_are_sentences(tmp_path: Path) -> None:
    write(tmp_path / "flows", a=flow("a"))
    with FakeKestra() as server:
        cases = [
            ({"password": "wrong"}, "Could not read the version of Kestra: HTTP 401"),
            ({"url": "http://u:p@127.0.0.1"}, "url contains credentials"),
            ({"url": f"{server.url}/ui"}, "it is the root of the server"),
            ({"tenant": "other"}, "Check url and tenant (now 'other')"),
            ({"concurrency": 0}, "concurrency is 0"),
            ({"timeout": 0}, "timeout is 0"),
            ({"retries": -1}, "retries is -1"),
            ({"_packed_src": "x"}, "not for use in a task"),
            ({"run_timeout": 0}, "run_timeout is 0"),
            ({"prune_limit": "many"}, "prune_limit is 'many'"),
            ({"prune": True, "owner_labels": {}}, "owner_labels is empty"),
            ({"plan": "p"}, "mutually exclusive: src|plan"),
            ({"plan": "p", "src": None}, "The plan p cannot be read: No such file"),
            ({"password": None}, "parameters are required together: username, password"),
            ({"ca_path": "/nowhere.pem", "url": "https://127.0.0.1:1"}, "/nowhere.pem"),
        ]
        tasks = [flows_task(server, **{"src": "flows", "retries": 0, **options}) for options, _message in cases]
        server.prepare("GET /api/v1/main/flows/export", Answer(200, "no"))
        played = play(tmp_path, tasks)
    for (_options, message), result in zip(cases, played.results, strict=True):
        assert message in result["msg"]
    assert "Traceback" not in played.output
    assert server.writes == []


def test_defaults_of_the_action_group_and_the_environment(tmp_path: Path) -> None:
    write(tmp_path / "flows", a=flow("a"))
    with FakeKestra() as server:
        options = {"url": server.url, "username": USERNAME, "password": PASSWORD}
        tasks = [
            {"name": "Load", "devorch.orchestration.kestra_flows": {"src": "flows"}},
            {"name": "Look", "devorch.orchestration.kestra_health": {"management_url": server.url}},
        ]
        played = play(tmp_path, tasks, play_keys={"module_defaults": {GROUP: options}})
        assert played.returncode == 0, played.output
        environment = {"KESTRA_URL": server.url, "KESTRA_USERNAME": USERNAME, "KESTRA_PASSWORD": PASSWORD}
        environment["KESTRA_MANAGEMENT_URL"] = server.url
        tasks[1]["devorch.orchestration.kestra_health"] = {}
        played = play(tmp_path, tasks, environment=environment)
        assert played.returncode == 0, played.output
        assert [result["changed"] for result in played.results] == [False, False]
    assert PASSWORD not in played.output


def test_verbose_output_holds_neither_password_nor_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "flows", a=flow("a"))
    # ansible-core 2.21 shows what a module was called with only if they are asked to.
    monkeypatch.setenv("ANSIBLE_INJECT_INVOCATION", "true")
    with FakeKestra() as server:
        played = load(tmp_path, server, "-vvv")
    assert played.returncode == 0
    assert "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER" in played.output
    assert "type: Log" not in played.output.replace("\\n", "\n").split('"diff"')[0]


def test_warnings(tmp_path: Path) -> None:
    write(tmp_path / "flows", a=flow("a", more="x: old.Log\n"), b=flow("b"))
    with FakeKestra() as server:
        server.add(flow("b"), exception="plugin is gone", tasks=[])
        played = load(tmp_path, server)
    assert "old.Log is replaced by new.Log" in played.output
    assert "plugin is gone" in played.output
    assert played.last["summary"]["unchanged"] == 1


def health(server: FakeKestra, **options: Any) -> dict[str, Any]:
    defaults = {"url": server.url, "management_url": server.url, "username": USERNAME, "password": PASSWORD}
    options = {**defaults, "wait_timeout": 0, **options}
    return {"name": "Look", "devorch.orchestration.kestra_health": options, "ignore_errors": True}


def test_health(tmp_path: Path) -> None:
    with FakeKestra(read_only=True) as server:
        tasks = [
            health(server),
            health(server, password="wrong", wait_timeout=60, interval=0.1),
            health(server, management_url="http://127.0.0.1:9", wait_timeout=1, interval=0.2),
            health(server, wait_timeout=-1),
            health(server, interval=0),
            health(server, management_url="nonsense"),
        ]
        real = play(tmp_path, tasks)
        assert server.writes == []
        checked = play(tmp_path, tasks[:1], "--check")
    assert set(real.results[0]) >= HEALTH_KEYS and set(checked.last) == set(real.results[0])
    well, refused, gone, *wrong = real.results
    assert not well["changed"] and well["msg"] == "Kestra 2.0.5 is healthy"
    assert set(refused) >= HEALTH_KEYS and set(gone) >= HEALTH_KEYS
    assert refused["credentials"] == "DOWN" and refused["attempts"] == 3 and "HTTP 401" in refused["msg"]
    assert gone["readiness"] == "DOWN" and gone["attempts"] > 1 and "connection refused" in gone["msg"]
    for result, message in zip(wrong, ("wait_timeout is -1", "interval is 0", "management_url is"), strict=True):
        assert message in result["msg"]
    assert "Traceback" not in real.output and PASSWORD not in real.output


def test_health_waits(tmp_path: Path) -> None:
    with FakeKestra() as server:
        down = Answer(503, {"name": "kestra", "status": "DOWN"})
        server.prepare("GET /health/readiness", down, down)
        result = play(tmp_path, [health(server, wait_timeout=30, interval=0.2)]).last
    assert not result.get("failed") and result["attempts"] == 3


def test_a_host_without_the_libraries_is_told_what_to_install(tmp_path: Path) -> None:
    write(tmp_path / "flows", a=flow("a"))
    venv.create(tmp_path / "bare", with_pip=False)
    with FakeKestra() as server:
        tasks = [flows_task(server, src="flows"), health(server)]
        variables = {"vars": {"ansible_python_interpreter": str(tmp_path / "bare" / "bin" / "python")}}
        played = play(tmp_path, tasks, play_keys=variables)
    for library, result in zip(("PyYAML", "requests"), played.results, strict=True):
        assert f"Failed to import the required Python library ({library})" in result["msg"]


OWNED = "labels: {managed-by: ansible}\n"


def test_a_saved_plan_is_carried_out_or_refused(tmp_path: Path) -> None:
    write(tmp_path / "flows", new=flow("new"), old=flow("old", more="# new\n"))
    plan_file = tmp_path / "plan.json"
    with FakeKestra() as server:
        server.add(flow("old"))
        server.add(flow("gone", more=OWNED))
        planned = load(tmp_path, server, "--check", prune=True, save_plan=str(plan_file)).last
        assert server.writes == [] and plan_file.stat().st_mode & 0o777 == 0o600
        server.flows[("team", "old")].source += "# by somebody\n"
        refused = load(tmp_path, server, src=None, plan=str(plan_file)).last
        assert "team/old was changed" in refused["msg"] and server.writes == []
        server.flows[("team", "old")].source = flow("old")
        applied = load(tmp_path, server, "--diff", src=None, plan=str(plan_file)).last
        assert applied["summary"] == planned["summary"] and applied["plan"] == planned["plan"]
        assert applied["summary"]["pruned"] == 1
        again = load(tmp_path, server, src=None, plan=str(plan_file)).last
        assert not again.get("failed") and not again["changed"]
        server.uuid = "v"
        other = load(tmp_path, server, src=None, plan=str(plan_file)).last
        assert "was made for another server" in other["msg"]
        plan_file.write_text(plan_file.read_text("utf-8").replace('"uuid": "u"', '"uuid": "v"'), encoding="utf-8")
        edited = load(tmp_path, server, src=None, plan=str(plan_file)).last
        assert "its checksum does not fit" in edited["msg"]
        signed = load(tmp_path, server, "--check", save_plan=str(plan_file), plan_key="a-key-of-many-words")
        assert "a-secret-key" not in signed.output + plan_file.read_text("utf-8")
        assert (
            "another key than plan_key"
            in load(tmp_path, server, src=None, plan=str(plan_file), plan_key="another-key-of-many").last["msg"]
        )
        assert not load(tmp_path, server, src=None, plan=str(plan_file), plan_key="a-key-of-many-words").last["changed"]
        # As a secret that a CI does not have: anybody could sign with it.
        empty = load(tmp_path, server, src=None, plan=str(plan_file), plan_key="")
        assert empty.last["msg"] == "plan_key has 0 characters; set it to a secret of 16 or more"


def test_pruning_is_limited_and_keeps_to_what_is_owned(tmp_path: Path) -> None:
    write(tmp_path / "flows", kept=flow("kept", more=OWNED))
    with FakeKestra() as server:
        for name in ("kept", "one", "two"):
            server.add(flow(name, more=OWNED))
        server.add(flow("foreign"))
        server.add(flow("far", "other", more=OWNED))
        limited = load(tmp_path, server, prune=True, prune_limit=1).last
        assert "prune_limit allows 1" in limited["msg"] and server.writes == []
        empty = load(tmp_path, server, src=str(tmp_path / "nothing"), prune=True).last
        (tmp_path / "none").mkdir()
        empty = load(tmp_path, server, src=str(tmp_path / "none"), namespaces=["team"], prune=True).last
        assert "no *.yml or *.yaml file" in empty["msg"] and server.writes == []
        played = load(tmp_path, server, prune=True, namespaces=["other"], owner_labels={"managed-by": "ansible"})
        pruned = played.last
        assert "Flow team/one is not known to have been written from files, and is pruned." in played.output
        gone = sorted(name for (_ns, name), stored in server.flows.items() if stored.deleted)
    assert gone == ["far", "one", "two"] and pruned["msg"] == "0 created, 0 updated, 1 unchanged, 3 pruned"


def test_drift_is_told_apart(tmp_path: Path) -> None:
    names = ("edited", "disabled", "broken", "fine")
    write(tmp_path / "flows", **{name: flow(name) for name in names})
    with FakeKestra() as server:
        load(tmp_path, server)
        server.flows[("team", "edited")].source += "# in the UI\n"
        server.flows[("team", "disabled")].source += "\ndisabled: true"
        server.flows[("team", "broken")].source += "# x\n"
        server.flows[("team", "broken")].extra = {"exception": "plugin is gone"}
        writes = len(server.writes)
        failed = load(tmp_path, server, drift="fail").last
        reported = load(tmp_path, server, drift="report")
        assert len(server.writes) == writes
        overwritten = load(tmp_path, server).last
        assert not load(tmp_path, server, drift="fail").last["changed"]
    drift = {entry["id"]: entry["drift"] for entry in failed["plan"]}
    assert drift == {"edited": "edited", "disabled": "disabled", "broken": "unparseable"}
    assert failed["failed"] and "team/edited" in failed["msg"] and "was disabled on the server" in failed["msg"]
    assert reported.last["summary"]["blocked"] == 3 and not reported.last["changed"]
    assert "Flow team/edited was edited on the server, and is left as it is." in reported.output
    assert overwritten["summary"]["updated"] == 3


def test_templates_and_inline_texts(tmp_path: Path) -> None:
    write(tmp_path / "flows", a=flow("a", more="# <[ stage ]> {{ kestra }} <% if true %>yes<% endif %>\n"))
    task = {"template": True, "content": ["id: b\nnamespace: <[ stage ]>\ntasks: [{id: say, type: Log}]\n"]}
    with FakeKestra() as server:
        tasks = [flows_task(server, src="flows", **task), flows_task(server, src="flows", template=True)]
        played = play(tmp_path, tasks[:1], play_keys={"vars": {"stage": "prod"}})
        assert played.last["summary"]["created"] == 2, played.output
        assert "# prod {{ kestra }} yes\n" in server.flows[("team", "a")].source
        assert ("prod", "b") in server.flows
        failed = play(tmp_path, tasks[1:]).last
    assert "the template fails" in failed["msg"] and "stage" in failed["msg"]


def test_namespaces_are_promoted(tmp_path: Path) -> None:
    write(tmp_path / "flows", a=flow("a", "dev.team"))
    with FakeKestra() as server:
        assert load(tmp_path, server, namespace_map={"dev": "prod"}).last["summary"]["created"] == 1
        assert server.flows[("prod.team", "a")].source == flow("a", "prod.team")
        assert not load(tmp_path, server, namespace_map={"dev": "prod"}).last["changed"]


def test_owner_labels_are_compared_as_yaml_writes_them(tmp_path: Path) -> None:
    write(tmp_path / "flows", kept=flow("kept"))
    with FakeKestra() as server:
        server.add(flow("gone", more="labels: {managed: true}\n"))
        assert load(tmp_path, server, prune=True, owner_labels={"managed": True}).last["summary"]["pruned"] == 1


def test_a_mapping_is_no_text_of_a_flow(tmp_path: Path) -> None:
    with FakeKestra() as server:
        result = load(tmp_path, server, src=None, content=[flow("a"), {"id": "b", "namespace": "team"}]).last
        assert server.writes == []
    assert result["problems"] == [
        {
            "file": "content[1]",
            "line": None,
            "message": "is a mapping, not the text of a flow; write it as a block (- |), or use the filter to_yaml",
        }
    ]


def test_templates_keep_their_line_ends(tmp_path: Path) -> None:
    texts = {"a": flow("a", more="# <[ 1 + 1 ]>\n").replace("\n", "\r\n"), "b": flow("b") + "# x\r\n"}
    write(tmp_path / "flows", a=texts["a"])
    with FakeKestra() as server:
        assert load(tmp_path, server, template=True).last["summary"]["created"] == 1
        assert server.flows[("team", "a")].source == texts["a"].replace("<[ 1 + 1 ]>", "2")
        write(tmp_path / "flows", b=texts["b"])
        assert "line ends of several kinds" in load(tmp_path, server, template=True).last["msg"]


def test_flow_info_with_each_option_alone(tmp_path: Path) -> None:
    with FakeKestra() as server:
        server.add(flow("a"))
        base = {"url": server.url, "username": USERNAME, "password": PASSWORD}
        for options in ({}, {"namespace": "team"}, {"labels": {}}, {"query": "a"}, {"limit": 1}, {"source": True}):
            result = call("kestra_flow_info", {**base, **options})
            assert not result["failed"] and [each["id"] for each in result["flows"]] == ["a"], (options, result)
        refused = call("kestra_flow_info", {**base, "below": True})
        assert refused["failed"] and refused["msg"] == "below is set, so namespace has to be set as well"
        server.version = "0.21.1"
        server.prepare("GET /api/v1/main/triggers", Answer(200, {"results": [], "total": 0}))
        old = call("kestra_flow_info", {**base, "activity": True})
        assert old["failed"] and "this version of Kestra (0.21.1) cannot list the last executions" in old["msg"]
