"""`kestra_flows` on a live Kestra: its own engine parses, validates, stores and counts revisions."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ..faults.proxy import Proxy, Rule, status
from ..unit.playbook import Played, play, play_plainly
from .kestra import Kestra, wait_until

ROOT = Path(__file__).parents[2]
LOG = "io.kestra.plugin.core.log.Log"


def flow(name: str, namespace: str, message: str = "hello", more: str = "") -> str:
    return f"id: {name}\nnamespace: {namespace}\ntasks:\n  - id: say\n    type: {LOG}\n    message: {message}\n{more}"


@pytest.fixture
def namespace() -> str:
    """A namespace of this test's own."""
    return f"test.n{secrets.token_hex(4)}"


def write(directory: Path, files: dict[str, str | bytes]) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (directory / name).write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))


def run(kestra: Kestra, tmp_path: Path, *arguments: str, **options: Any) -> Played:
    login = {"url": kestra.url, "username": kestra.username, "password": kestra.password}
    options = {"src": "flows", "list_unchanged": True, **login, **options}
    options = {name: value for name, value in options.items() if value is not None}
    task = {"name": "Load", "devorch.orchestration.kestra_flows": options, "ignore_errors": True}
    played = play(tmp_path, [task], *arguments)
    assert kestra.password not in played.output and "Traceback" not in played.output
    return played


def actions(played: Played) -> dict[str, tuple[str, int | None]]:
    return {entry["id"]: (entry["action"], entry["revision"]) for entry in played.last["flows"]}


def source(kestra: Kestra, namespace: str, name: str) -> str | None:
    answer = kestra.call("GET", f"/flows/{namespace}/{name}", params={"source": "true"})
    return answer.json()["source"] if answer.status_code == 200 else None


def test_create_unchanged_update(either: Kestra, tmp_path: Path, namespace: str) -> None:
    write(tmp_path / "flows", {"a.yml": flow("a", namespace), "b.yaml": flow("b", f"{namespace}.below")})
    checked = run(either, tmp_path, "--check", "--diff")
    assert checked.last["changed"] and actions(checked) == {"a": ("created", None), "b": ("created", None)}
    assert source(either, namespace, "a") is None
    first = run(either, tmp_path, "--diff")
    assert first.last["changed"] and actions(first) == {"a": ("created", 1), "b": ("created", 1)}
    assert first.last["diff"] == checked.last["diff"] and set(first.last) == set(checked.last)
    second = run(either, tmp_path)
    assert not second.last["changed"] and actions(second) == {"a": ("unchanged", 1), "b": ("unchanged", 1)}

    write(tmp_path / "flows", {"a.yml": flow("a", namespace, "goodbye")})
    checked = run(either, tmp_path, "--check", "--diff")
    assert actions(checked) == {"a": ("updated", 1), "b": ("unchanged", 1)}
    third = run(either, tmp_path, "--diff")
    assert actions(third) == {"a": ("updated", 2), "b": ("unchanged", 1)}
    (shown,) = third.last["diff"]
    assert (shown["before"], shown["after"]) == (flow("a", namespace), flow("a", namespace, "goodbye"))
    assert shown["before_header"] == f"{namespace}/a (revision 1)"
    assert checked.last["diff"] == third.last["diff"] and checked.last["summary"] == third.last["summary"]
    assert not run(either, tmp_path, "--check").last["changed"]


def test_the_diff_is_shown_as_a_unified_one(kestra: Kestra, tmp_path: Path, namespace: str) -> None:
    write(tmp_path / "flows", {"a.yml": flow("a", namespace)})
    run(kestra, tmp_path)
    write(tmp_path / "flows", {"a.yml": flow("a", namespace, "goodbye")})
    options = {"src": "flows", "url": kestra.url, "username": kestra.username, "password": kestra.password}
    shown = play_plainly(tmp_path, {"name": "Load", "devorch.orchestration.kestra_flows": options}, "--diff", "--check")
    assert f"--- before: {namespace}/a (revision 1)\n+++ after: {namespace}/a ({tmp_path}/flows/a.yml)\n" in shown
    assert "-    message: hello\n+    message: goodbye\n" in shown


VARIANTS: dict[str, Callable[[str], str]] = {
    "no-final-newline": lambda text: text.rstrip("\n"),
    "two-more-newlines": lambda text: text + "\n\n",
    "leading-newlines": lambda text: "\n\n" + text,
    "byte-order-mark": lambda text: "\ufeff" + text,
    "crlf": lambda text: text.replace("\n", "\r\n"),
    "comment-and-marker": lambda text: "# comment\n---\n" + text,
    "marker": lambda text: "---\n" + text,
    "end-marker": lambda text: text + "...\n",
    "directive": lambda text: "%YAML 1.1\n---\n" + text,
    "unicode": lambda text: text.replace("hello", '"Grüße ☃ 🎉"'),
    "trailing-blanks": lambda text: text.replace("hello", "hello   "),
    "tab": lambda text: text.replace("hello", '"a\tb"'),
    "marker-in-a-text": lambda text: text + "description: |\n  one\n  ---\n  two\n",
    "disabled": lambda text: text + "disabled: true\n",
}


def test_texts_are_kept_as_they_are(either: Kestra, tmp_path: Path, namespace: str) -> None:
    """All variants at once, so that none disturbs the others in the common validation request."""
    texts = {name: vary(flow(name, namespace)) for name, vary in VARIANTS.items()}
    write(tmp_path / "flows", {f"{name}.yml": text for name, text in texts.items()})
    first = run(either, tmp_path)
    assert actions(first) == dict.fromkeys(texts, ("created", 1)), first.last["msg"]
    assert {name: source(either, namespace, name) for name in texts} == texts
    assert actions(run(either, tmp_path)) == dict.fromkeys(texts, ("unchanged", 1))


def test_odd_ids_are_what_kestra_reads(kestra: Kestra, tmp_path: Path, namespace: str) -> None:
    written = {
        "true": "true", "123": "123", "1.2.3": "1.2.3", '"1.10"': "1.10", "'0x1F'": "0x1F",
        "2026-01-02": "2026-01-02", "a.b-c_D": "a.b-c_D", '"yes"': "yes", "'on'": "on",
    }  # fmt: skip
    write(tmp_path / "flows", {f"{n}.yml": flow(text, namespace) for n, text in enumerate(written)})
    first = run(kestra, tmp_path)
    assert first.last["summary"]["created"] == len(written), first.last["msg"]
    assert all(source(kestra, namespace, name) for name in written.values())
    assert not run(kestra, tmp_path).last["changed"]


def test_what_the_engine_refuses_is_named_with_its_line_and_nothing_is_written(
    kestra: Kestra, tmp_path: Path, namespace: str
) -> None:
    write(
        tmp_path / "flows",
        {
            "good.yml": flow("good", namespace),
            "type.yml": flow("type", namespace, more="  - id: x\n    type: io.kestra.plugin.nope.Nope\n"),
            "property.yml": flow("property", namespace, more="    mesage: oops\n"),
            "field.yml": flow("field", namespace, more="taskss: []\n"),
            "missing.yml": flow("missing", namespace, more="  - id: x\n    type: io.kestra.plugin.core.flow.Switch\n"),
            "tasks.yml": f"id: tasks\nnamespace: {namespace}\ntasks: []\n",
            "twice.yml": flow("twice", namespace, more=f"  - id: say\n    type: {LOG}\n    message: again\n"),
            "typeless.yml": flow("typeless", namespace, more="  - id: x\n"),
        },
    )
    for arguments in (["--check"], []):
        result = run(kestra, tmp_path, *arguments).last
        assert result["failed"] and not result["changed"]
        named = {(Path(p["file"]).name, p["line"]) for p in result["problems"]}
        assert named == {
            ("type.yml", 8),
            ("property.yml", 7),
            ("field.yml", 7),
            ("missing.yml", 7),
            ("tasks.yml", 3),
            ("twice.yml", 7),
            ("typeless.yml", 7),
        }, result["msg"]
    assert kestra.call("GET", f"/flows/{namespace}").json() == []


def test_a_deleted_flow_is_created_again(either: Kestra, tmp_path: Path, namespace: str) -> None:
    write(tmp_path / "flows", {"a.yml": flow("a", namespace)})
    run(either, tmp_path)
    assert either.call("DELETE", f"/flows/{namespace}/a").status_code == 204
    again = run(either, tmp_path)
    action, revision = actions(again)["a"]
    assert action == "created" and revision is not None and revision > 1
    assert not run(either, tmp_path).last["changed"]


def test_a_change_by_hand_is_undone(kestra: Kestra, tmp_path: Path, namespace: str) -> None:
    write(tmp_path / "flows", {"a.yml": flow("a", namespace)})
    run(kestra, tmp_path)
    kestra.save_flow(flow("a", namespace, "by hand"))
    undone = run(kestra, tmp_path)
    assert actions(undone) == {"a": ("updated", 3)}
    assert source(kestra, namespace, "a") == flow("a", namespace)


def test_flows_without_a_file_are_left_alone(kestra: Kestra, tmp_path: Path, namespace: str) -> None:
    kestra.save_flow(flow("other", namespace))
    write(tmp_path / "flows", {"a.yml": flow("a", namespace)})
    run(kestra, tmp_path)
    assert source(kestra, namespace, "other") == flow("other", namespace)


def test_names_whose_files_in_the_archive_collide(either: Kestra, tmp_path: Path, namespace: str) -> None:
    files: dict[str, str | bytes] = {
        "1.yml": flow("b.c", f"{namespace}.a"),
        "2.yml": flow("c", f"{namespace}.a.b", "other"),
    }
    write(tmp_path / "flows", files)
    assert run(either, tmp_path).last["summary"]["created"] == 2
    assert not run(either, tmp_path).last["changed"]


def test_a_hundred_flows(either: Kestra, tmp_path: Path, namespace: str) -> None:
    files: dict[str, str | bytes] = {
        f"{n}.yml": flow(f"f{n}", f"{namespace}.n{n % 4}", f"number {n}") for n in range(100)
    }
    write(tmp_path / "flows", files)
    assert run(either, tmp_path).last["summary"]["created"] == 100
    start = time.monotonic()
    again = run(either, tmp_path).last
    assert again["summary"]["unchanged"] == 100 and not again["changed"]
    assert time.monotonic() - start < 60


def test_the_flows_of_the_collection(kestra: Kestra, tmp_path: Path) -> None:
    first = run(kestra, tmp_path, src=str(ROOT / "kestra-flows"))
    assert not first.last.get("failed"), first.last["msg"]
    assert not run(kestra, tmp_path, src=str(ROOT / "kestra-flows")).last["changed"]


def test_the_version_is_told(kestra: Kestra, tmp_path: Path, namespace: str) -> None:
    write(tmp_path / "flows", {"a.yml": flow("a", namespace)})
    assert run(kestra, tmp_path, "--check").last["server"]["version"].startswith("2.")


OWNED = "labels: {managed-by: ansible}\n"


def test_a_saved_plan_prunes_and_what_moved_is_refused(either: Kestra, tmp_path: Path, namespace: str) -> None:
    write(tmp_path / "flows", {name: flow(name[0], namespace, more=OWNED) for name in ("a.yml", "b.yml", "c.yml")})
    run(either, tmp_path)
    (tmp_path / "flows" / "b.yml").unlink()
    write(tmp_path / "flows", {"a.yml": flow("a", namespace, "new", OWNED), "d.yml": flow("d", namespace)})
    saved = str(tmp_path / "plan.json")
    planned = run(either, tmp_path, "--check", prune=True, prune_limit="50%", save_plan=saved)
    assert [(entry["action"], entry["id"]) for entry in planned.last["plan"]] == [
        ("update", "a"),
        ("prune", "b"),
        ("create", "d"),
    ]
    either.save_flow(flow("a", namespace, "by hand", OWNED))
    refused = run(either, tmp_path, src=None, plan=saved)
    assert refused.last["failed"] and f"{namespace}/a was changed (revision 1 then, 2 now)" in refused.last["msg"]
    assert source(either, namespace, "b") is not None
    drifted = run(either, tmp_path, "--check", drift="report", prune=True, save_plan=saved).last
    assert {entry["id"]: (entry["action"], entry["drift"]) for entry in drifted["plan"]}["a"] == ("blocked", "edited")
    either.save_flow(flow("c", namespace, "by hand", OWNED))
    applied = run(either, tmp_path, src=None, plan=saved)
    assert applied.last["summary"] == drifted["summary"], applied.last["msg"]
    assert f"Flow {namespace}/c was changed (revision 1 then, 2 now)" in applied.output
    assert source(either, namespace, "b") is None and "by hand" in str(source(either, namespace, "a"))


def test_a_flow_that_is_switched_off_on_the_server_is_told(either: Kestra, tmp_path: Path, namespace: str) -> None:
    write(tmp_path / "flows", {"a.yml": flow("a", namespace), "b.yml": flow("b", namespace).rstrip("\n")})
    run(either, tmp_path)
    keys = [{"namespace": namespace, "id": name} for name in "ab"]
    assert either.call("POST", "/flows/disable/by-ids", json=keys).status_code in (200, 202)
    wait_until("both are disabled", lambda: all("disabled" in str(source(either, namespace, n)) for n in "ab"), 30)
    told = run(either, tmp_path, "--check", drift="report").last
    assert [entry["drift"] for entry in told["plan"]] == ["disabled", "disabled"]
    assert run(either, tmp_path).last["summary"]["updated"] == 2
    assert source(either, namespace, "b") == flow("b", namespace).rstrip("\n")


def test_a_failure_puts_everything_back(either: Kestra, tmp_path: Path, namespace: str) -> None:
    """The server refuses the last write, as one does whose disk is full; everything before is undone."""
    names = ("a", "b", "c", "gone")
    write(tmp_path / "flows", {f"{name}.yml": flow(name, namespace, more=OWNED) for name in names})
    run(either, tmp_path)
    (tmp_path / "flows" / "gone.yml").unlink()
    changed = {f"{name}.yml": flow(name, namespace, "new", OWNED) for name in ("a", "b", "c", "d")}
    write(tmp_path / "flows", changed)
    before = {name: source(either, namespace, name) for name in (*names, "d")}
    rule = Rule(status(403), method="DELETE", path=f".*/{namespace}/gone")
    with Proxy(either.url, [rule]) as proxy:
        result = run(either, tmp_path, url=proxy.url, prune=True).last
    assert result["failed"] and "The server has what it had before." in result["msg"]
    assert {entry["id"]: entry["action"] for entry in result["flows"]} == {
        **dict.fromkeys("abcd", "rolled_back"), "gone": "failed",
    }  # fmt: skip
    assert {name: source(either, namespace, name) for name in (*names, "d")} == before
    assert run(either, tmp_path, prune=True).last["summary"]["pruned"] == 1
