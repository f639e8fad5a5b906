"""The test server keeps Kestra's contract: the rest of the tests relies on it."""

from __future__ import annotations

import contextlib
import io
import re
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from .kestra import (
    Kestra,
    Postgres,
    docker,
    environment,
    render_configuration,
    role_defaults,
    start_kestra,
    start_postgres,
    wait_until,
)

YAML = {"Content-Type": "application/x-yaml"}
PROBLEMS = "https://kestra.io/docs/api-reference/problems/"
LOG = "{id: say, type: io.kestra.plugin.core.log.Log, message: hello}"


def flow(identifier: str, namespace: str = "demo.team", tasks: str = f"tasks: [{LOG}]", more: str = "") -> str:
    """Return the source of a flow."""
    return f"id: {identifier}\nnamespace: {namespace}\n{more}{tasks}\n"


def problem(answer: requests.Response, status: int, name: str) -> str:
    """Check that an answer is a problem of this kind and return its detail."""
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    body = answer.json()
    assert body["type"] == PROBLEMS + name
    assert body["status"] == status
    assert body["instance"] == urlsplit(answer.url).path
    detail: str = body["detail"]
    return detail


def post(kestra: Kestra, source: str) -> requests.Response:
    return kestra.call("POST", "/flows", data=source.encode(), headers=YAML)


def put(kestra: Kestra, path: str, source: str) -> requests.Response:
    return kestra.call("PUT", f"/flows/{path}", data=source.encode(), headers=YAML)


# --- the container -------------------------------------------------------------------------------------------------


def test_it_says_that_it_is_a_test_double(kestra: Kestra) -> None:
    assert "This is the TEST SERVER" in kestra.logs()


def test_image_has_what_the_official_one_has(kestra: Kestra) -> None:
    assert docker("exec", kestra.container, "pwd") == "/app"
    health = docker("exec", kestra.container, "curl", "--fail", "--silent", "http://localhost:8081/health")
    assert '"status":"UP"' in health
    docker("exec", kestra.container, "python3", "-c", "import pandas, pyarrow")


def test_secrets_are_not_logged(kestra: Kestra, postgres: Postgres) -> None:
    assert postgres.password not in kestra.logs()
    assert kestra.password not in kestra.logs()


def test_unknown_options_are_refused() -> None:
    image = f"kestra/kestra:{role_defaults('kestra')['kestra_version']}"
    refused = docker("run", "--rm", image, "server", "standalone", "--colour", "blue", check=False)
    assert refused.startswith("Unknown option: '--colour'")


def test_management_port(kestra: Kestra) -> None:
    for path in ("health", "health/readiness", "health/liveness"):
        assert kestra.health(path) == 200, path
    assert requests.get(f"{kestra.management_url}/health", timeout=5).json()["status"] == "UP"
    assert requests.get(f"{kestra.url}/health", timeout=5).status_code == 404
    assert requests.get(f"{kestra.management_url}/env", timeout=5).status_code in (401, 404)


# --- authentication ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "authorization",
    [None, "Basic bm9ib2R5OndvcmQ=", "Basic !!!", "Bearer token"],
    ids=["none", "wrong", "broken", "bearer"],
)
@pytest.mark.parametrize("path", ["/configs", "/main/flows/search", "/main/flows/demo.team/nope", "/no/such/path"])
def test_credentials_are_asked_for(kestra: Kestra, path: str, authorization: str | None) -> None:
    headers = {"Authorization": authorization} if authorization else {}
    answer = requests.get(f"{kestra.url}/api/v1{path}", headers=headers, timeout=10)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Basic realm=Kestra"
    assert answer.content == b""


def test_open_addresses(kestra: Kestra) -> None:
    assert requests.get(f"{kestra.url}/ping", timeout=10).text == "pong"
    login = requests.get(f"{kestra.url}/api/v1/configs/login", timeout=10)
    assert login.json() == {"isBasicAuthInitialized": True}
    webhook = requests.get(f"{kestra.url}/api/v1/main/executions/webhook/demo.team/nope/key", timeout=10)
    assert problem(webhook, 404, "not-found") == "Flow not found"


def test_configuration(kestra: Kestra) -> None:
    answer = requests.get(f"{kestra.url}/api/v1/configs", auth=(kestra.username, kestra.password), timeout=10).json()
    assert answer["version"].startswith("2.")
    assert answer["edition"] == "OSS"
    assert answer["isBasicAuthInitialized"] is True
    assert answer["url"] == "http://localhost:8080"


# --- flows ---------------------------------------------------------------------------------------------------------


def test_flow_from_creation_to_recreation(kestra: Kestra) -> None:
    source, path = flow("life"), "demo.team/life"
    created = post(kestra, source)
    assert created.status_code == 200
    assert (created.json()["revision"], created.json()["source"]) == (1, source)
    assert problem(post(kestra, source), 409, "entity-already-exists")

    assert put(kestra, path, source).json()["revision"] == 1
    assert put(kestra, path, source + "\n").json()["revision"] == 2
    assert put(kestra, path, source + "# why\n").json()["revision"] == 3
    second = kestra.call("GET", f"/flows/{path}", params={"source": "true", "revision": 2}).json()
    assert second["source"] == source + "\n"
    assert "source" not in kestra.call("GET", f"/flows/{path}").json()

    deleted = kestra.call("DELETE", f"/flows/{path}")
    assert (deleted.status_code, deleted.content) == (204, b"")
    problem(kestra.call("DELETE", f"/flows/{path}"), 404, "not-found")
    problem(kestra.call("GET", f"/flows/{path}"), 404, "not-found")
    problem(put(kestra, path, source), 404, "not-found")
    assert kestra.call("GET", f"/flows/{path}", params={"allowDeleted": "true"}).json()["deleted"] is True

    assert post(kestra, source).json()["revision"] == 5
    revisions = kestra.call("GET", f"/flows/{path}/revisions").json()
    assert [(one["revision"], one["deleted"]) for one in revisions] == [
        (1, False),
        (2, False),
        (3, False),
        (4, True),
        (5, False),
    ]


@pytest.mark.parametrize(
    ("name", "change"),
    {
        "plain": lambda text: text,
        "no-newline": str.rstrip,
        "two-newlines": lambda text: text + "\n",
        "crlf": lambda text: text.replace("\n", "\r\n"),
        "bom": lambda text: "\ufeff" + text,
        "marker": lambda text: "---\n" + text,
        "unicode": lambda text: text + "# Grüße ☃ \t \n",
    }.items(),
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_source_is_kept_byte_for_byte(kestra: Kestra, name: str, change) -> None:  # type: ignore[no-untyped-def]
    source = change(flow(name, "demo.bytes"))
    assert post(kestra, source).json()["source"] == source
    assert kestra.call("GET", f"/flows/demo.bytes/{name}", params={"source": "true"}).json()["source"] == source
    assert put(kestra, f"demo.bytes/{name}", source).json()["revision"] == 1
    archive = kestra.call("GET", "/flows/export/by-query", params={"filters[namespace][EQUALS]": "demo.bytes"})
    assert zipfile.ZipFile(io.BytesIO(archive.content)).read(f"demo.bytes.{name}.yml") == source.encode()


def test_update_cannot_rename(kestra: Kestra) -> None:
    kestra.save_flow(flow("fixed"))
    renamed = put(kestra, "demo.team/fixed", flow("other"))
    assert problem(renamed, 422, "validation-failed") == "flow.id: Illegal flow id update"
    assert renamed.json()["errors"] == [
        {"detail": "Illegal flow id update", "pointer": "/flow/id", "path": "flow.id"},
    ]
    moved = put(kestra, "demo.team/fixed", flow("fixed", "demo.other"))
    assert problem(moved, 422, "validation-failed") == "flow.namespace: Illegal namespace update"


def test_missing_flow_is_told_before_its_source_is_read(kestra: Kestra) -> None:
    problem(put(kestra, "demo.team/nope", "id: 'broken"), 404, "not-found")


@pytest.mark.parametrize(
    ("source", "name", "message"),
    [
        (flow("bad", tasks="tasks: [{id: a, type: io.Nope}]"), "invalid-plugin-type", "Invalid type: io.Nope"),
        (flow("bad", tasks="tasks: []"), "validation-failed", "tasks: must not be empty"),
        (flow("bad", more="foo: 1\n"), "validation-failed", 'Unrecognized field "foo"'),
        (
            flow("bad", tasks=f"tasks: [{LOG.replace('message', 'description')}]"),
            "validation-failed",
            "must not be null",
        ),
        (flow("bad", tasks=f"tasks: [{LOG}, {LOG}]"), "validation-failed", "Duplicate task id with name [say]"),
        (flow("bad id"), "validation-failed", "id: must match"),
        (f"id: bad\ntasks: [{LOG}]\n", "validation-failed", "namespace: must not be null"),
        ("id: 'bad\n", "validation-failed", "YAML parsing error"),
        ("", "invalid-request-body", "Required Body"),
    ],
)
def test_invalid_flows_are_refused_in_the_engine_s_words(kestra: Kestra, source: str, name: str, message: str) -> None:
    assert message in problem(post(kestra, source), 422, name)
    problem(kestra.call("GET", "/flows/demo.team/bad"), 404, "not-found")


@pytest.mark.parametrize("content_type", ["application/yaml", "text/yaml", "text/plain", "application/json"])
def test_sources_have_one_content_type(kestra: Kestra, content_type: str) -> None:
    answer = kestra.call("POST", "/flows", data=flow("typed").encode(), headers={"Content-Type": content_type})
    problem(answer, 415, "unsupported-media-type")


def test_validation_of_several_documents(kestra: Kestra) -> None:
    sources = "\n---\n".join(
        [
            flow("good").rstrip(),
            flow("bad", tasks="tasks: [{id: a, type: io.nope.Nope}]").rstrip(),
            flow("dashes", tasks="tasks: [{id: a, type: io.kestra.plugin.core.log.Log, message: a --- b}]").rstrip(),
            "id: 'broken",
        ]
    )
    answer = kestra.call("POST", "/flows/validate", data=sources.encode(), headers=YAML)
    assert answer.status_code == 200
    first, second, third, fourth = answer.json()
    assert "constraints" not in first
    assert (first["index"], first["namespace"], first["flow"], first["warnings"]) == (0, "demo.team", "good", [])
    assert "Invalid type: io.nope.Nope" in second["constraints"]
    assert "flow" not in second
    assert "constraints" not in third
    assert fourth["index"] == 3
    assert "YAML parsing error" in fourth["constraints"]


@pytest.fixture(scope="module")
def searchable(kestra: Kestra) -> Iterator[Kestra]:
    for namespace, identifier in (("find", "a"), ("find.me", "b"), ("find.me", "c"), ("finder", "d")):
        kestra.save_flow(flow(identifier, namespace, more="labels: {team: ops}\n" if identifier == "b" else ""))
    yield kestra


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"filters[namespace][EQUALS]": "find.me"}, "bc"),
        ({"filters[namespace][IN]": "find,finder"}, "ad"),
        ({"filters[namespace][PREFIX]": "find"}, "abc"),
        ({"filters[namespace][STARTS_WITH]": "find"}, "abcd"),
        ({"filters[namespace][PREFIX]": "find", "filters[labels][EQUALS][team]": "ops"}, "b"),
        ({"filters[or][0][namespace][EQUALS]": "find", "filters[or][1][namespace][EQUALS]": "finder"}, "ad"),
        (
            {
                "filters[and][0][namespace][PREFIX]": "find",
                "filters[and][1][or][0][flowId][EQUALS]": "a",
                "filters[and][1][or][1][flowId][EQUALS]": "c",
            },
            "ac",
        ),
    ],
)
def test_flow_search_and_export_filter_alike(searchable: Kestra, query: dict[str, str], found: str) -> None:
    answer = searchable.call("GET", "/flows/search", params=query | {"sort": "id:asc", "size": "100"}).json()
    assert "".join(one["id"] for one in answer["results"]) == found
    assert answer["total"] == len(found)
    archive = zipfile.ZipFile(io.BytesIO(searchable.call("GET", "/flows/export/by-query", params=query).content))
    assert sorted(name.split(".")[-2] for name in archive.namelist()) == sorted(found)


def test_flow_search_has_pages(searchable: Kestra) -> None:
    query = {"filters[namespace][PREFIX]": "find", "sort": "id:desc", "size": "2"}
    pages = [searchable.call("GET", "/flows/search", params=query | {"page": str(page)}).json() for page in (1, 2, 3)]
    assert [[one["id"] for one in page["results"]] for page in pages] == [["c", "b"], ["a"], []]
    assert [page["total"] for page in pages[:2]] == [3, 3]
    assert all("source" not in one for page in pages for one in page["results"])


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ({"size": "0"}, "validation-failed"),
        ({"page": "0"}, "validation-failed"),
        ({"size": "many"}, "invalid-argument"),
        ({"sort": "id:up"}, "invalid-argument"),
        ({"sort": "nope"}, "invalid-argument"),
    ],
)
def test_flow_search_refuses_what_it_cannot_do(kestra: Kestra, query: dict[str, str], name: str) -> None:
    problem(kestra.call("GET", "/flows/search", params=query), 422, name)


@pytest.mark.parametrize("name", ["filters[nope][EQUALS]", "filters[state][EQUALS]", "filters[q][NOPE]", "filters[q]"])
def test_unknown_filters_are_refused(kestra: Kestra, name: str) -> None:
    problem(kestra.call("GET", "/flows/search", params={name: "x"}), 400, "invalid-query-filters")


def test_flow_lists(searchable: Kestra) -> None:
    assert {one["id"] for one in searchable.call("GET", "/flows/find.me").json()} == {"b", "c"}
    assert searchable.call("GET", "/flows/find.nobody").json() == []
    names = searchable.call("GET", "/flows/distinct-namespaces", params={"q": "find"}).json()
    assert sorted(names) == ["find", "find.me", "finder"]


# --- executions ----------------------------------------------------------------------------------------------------

GREETING = """\
id: greeting
namespace: demo.run
labels: {kind: test}
inputs:
  - {id: who, type: STRING, defaults: nobody}
  - {id: count, type: INT, defaults: 1}
  - {id: letter, type: FILE, required: false}
tasks:
  - id: say
    type: io.kestra.plugin.core.log.Log
    message: "{{ inputs.who }} {{ envs.sidecar_url }} {{ secret('SIDECAR_TOKEN') }}"
  - id: text
    type: io.kestra.plugin.core.debug.Return
    format: "{{ inputs.letter ? read(inputs.letter) : inputs.who }}"
outputs:
  - {id: greeting, type: STRING, value: "{{ outputs.text.value }}"}
"""


@pytest.fixture(scope="module")
def greeting(kestra: Kestra) -> str:
    kestra.save_flow(GREETING)
    return "demo.run/greeting"


def test_execution_with_default_inputs(kestra: Kestra, greeting: str) -> None:
    created = kestra.call("POST", f"/executions/{greeting}")
    assert created.status_code == 200
    execution = created.json()
    assert execution["state"]["current"] == "CREATED"
    assert execution["inputs"] == {"who": "nobody", "count": 1, "letter": None}
    assert execution["url"] == f"http://localhost:8080/ui/main/executions/{greeting}/{execution['id']}"

    def ended() -> bool:
        current: str = kestra.call("GET", f"/executions/{execution['id']}").json()["state"]["current"]
        return current == "SUCCESS"

    wait_until("the execution succeeds", ended, 30)
    assert kestra.call("GET", f"/outputs/executions/{execution['id']}").json() == {"greeting": "nobody"}


def test_execution_with_inputs_labels_and_files(kestra: Kestra, greeting: str) -> None:
    files = {"who": (None, "Wörld"), "count": (None, "3"), "letter": ("letter.txt", "Dear Ω".encode())}
    execution = kestra.execute(greeting, files, labels=["a:b", "c:d,e"])
    assert execution["state"]["current"] == "SUCCESS"
    assert execution["inputs"]["count"] == 3
    labels = {label["key"]: label["value"] for label in execution["labels"]}
    assert {"a": "b", "c": "d,e", "kind": "test"}.items() <= labels.items()
    assert kestra.call("GET", f"/outputs/executions/{execution['id']}").json() == {"greeting": "Dear Ω"}
    path = f"/executions/{execution['id']}/file"
    assert kestra.call("GET", path, params={"path": execution["inputs"]["letter"]}).content == "Dear Ω".encode()
    foreign = kestra.call("GET", path, params={"path": "kestra:///demo/run/other/executions/x/a"})
    problem(foreign, 422, "invalid-argument")

    (task,) = kestra.call("GET", f"/outputs/tasks/{execution['id']}").json()
    assert task["taskId"] == "text"
    task_path = f"/outputs/tasks/{execution['id']}/{task['taskRunId']}"
    assert kestra.call("GET", task_path).json() == {"value": "Dear Ω"}

    assert "Wörld http://host.docker.internal:8090 ******" in kestra.messages(execution)
    assert kestra.call("GET", f"/logs/{execution['id']}", params={"minLevel": "ERROR"}).json() == []
    query = {"filters[labels][EQUALS][a]": "b", "filters[flowId][EQUALS]": "greeting", "sort": "state.startDate:desc"}
    results = kestra.call("GET", "/executions/search", params=query).json()["results"]
    assert results[0]["id"] == execution["id"]
    assert "taskRunList" not in results[0]


@pytest.mark.parametrize(
    ("options", "status", "name"),
    [
        ({"files": {"count": (None, "many")}}, 422, "validation-failed"),
        ({"json": {"who": "me"}}, 415, "unsupported-media-type"),
        ({"data": {"who": "me"}}, 415, "unsupported-media-type"),
        ({"params": {"labels": "nolabel"}}, 422, "invalid-argument"),
        ({"params": {"labels": "system.username:me"}}, 422, "invalid-argument"),
        ({"params": {"revision": "99"}}, 404, "not-found"),
    ],
    ids=["bad input", "json", "form", "bad label", "system label", "no such revision"],
)
def test_refused_executions(kestra: Kestra, greeting: str, options: dict[str, object], status: int, name: str) -> None:
    problem(kestra.call("POST", f"/executions/{greeting}", **options), status, name)


def test_flows_that_cannot_run(kestra: Kestra) -> None:
    kestra.save_flow(flow("off", more="disabled: true\n"))
    detail = problem(kestra.call("POST", "/executions/demo.team/off"), 409, "conflict")
    assert detail == "Requested Flow is disabled."
    detail = problem(kestra.call("POST", "/executions/demo.team/nope"), 404, "not-found")
    assert detail == "Requested Flow is not found."
    problem(kestra.call("GET", "/executions/nope"), 404, "not-found")


def test_failed_execution_runs_its_errors_branch(kestra: Kestra) -> None:
    errors = f"errors: [{LOG.replace('hello', 'went wrong')}]\n"
    kestra.save_flow(flow("fails", tasks="tasks: [{id: f, type: io.kestra.plugin.core.execution.Fail}]", more=errors))
    execution = kestra.execute("demo.team/fails")
    assert execution["state"]["current"] == "FAILED"
    assert "went wrong" in kestra.messages(execution)


def test_kill(kestra: Kestra) -> None:
    kestra.save_flow(flow("long", tasks="tasks: [{id: s, type: io.kestra.plugin.core.flow.Sleep, duration: PT5M}]"))
    execution = kestra.call("POST", "/executions/demo.team/long").json()
    path = f"/executions/{execution['id']}"
    wait_until("it runs", lambda: kestra.call("GET", path).json()["state"]["current"] == "RUNNING", 30)
    # As Kestra declares it: an answer in text/json, which a client has to take.
    refused = kestra.call("DELETE", f"{path}/actions/kill", headers={"Accept": "application/json"})
    assert refused.status_code == 406
    killed = kestra.call("DELETE", f"{path}/actions/kill")
    assert (killed.status_code, killed.json()["id"]) == (200, execution["id"])
    wait_until("it is killed", lambda: kestra.call("GET", path).json()["state"]["current"] == "KILLED", 30)
    # Without the cascade there is nothing left to kill; with it, the kill is for subflows that may still run.
    problem(kestra.call("DELETE", f"{path}/actions/kill", params={"isOnKillCascade": "false"}), 409, "conflict")
    assert kestra.call("DELETE", f"{path}/actions/kill").status_code == 200
    problem(kestra.call("DELETE", "/executions/nope/actions/kill"), 404, "not-found")


def test_schedule(kestra: Kestra) -> None:
    trigger = "{id: every, type: io.kestra.plugin.core.trigger.Schedule, cron: '* * * * * *', withSeconds: true}"
    kestra.save_flow(flow("tick", "demo.time", more=f"triggers: [{trigger}]\n"))
    query = {"filters[namespace][EQUALS]": "demo.time"}
    wait_until("it fires", lambda: kestra.call("GET", "/executions/search", params=query).json()["total"] > 1, 30)
    (entry,) = kestra.call("GET", "/triggers/search", params=query).json()["results"]
    assert entry["trigger"]["cron"] == "* * * * * *"
    state = entry["state"]
    assert (state["flowId"], state["triggerId"], state["disabled"]) == ("tick", "every", False)
    assert kestra.call("DELETE", "/flows/demo.time/tick").status_code == 204


# --- webhooks ------------------------------------------------------------------------------------------------------

HOOK = """\
id: hook
namespace: demo.run
tasks:
  - {id: echo, type: io.kestra.plugin.core.debug.Return, format: "{{ trigger.body ?? 'no body' }}"}
outputs:
  - {id: body, type: STRING, value: "{{ outputs.echo.value }}"}
triggers:
  - {id: secret, type: io.kestra.plugin.core.trigger.Webhook, key: "{{ secret('SIDECAR_TOKEN') }}"}
  - {id: waiting, type: io.kestra.plugin.core.trigger.Webhook, key: waiting, wait: true, returnOutputs: true}
  - {id: choosy, type: io.kestra.plugin.core.trigger.Webhook, key: choosy, when: "{{ trigger.body.go ?? false }}"}
"""


@pytest.fixture(scope="module")
def hook(kestra: Kestra) -> str:
    kestra.save_flow(HOOK)
    return f"{kestra.url}/api/v1/main/executions/webhook/demo.run/hook"


@pytest.mark.parametrize(
    ("method", "options", "body"),
    [
        ("POST", {"json": {"a": [1, True]}}, {"a": [1, True]}),
        ("PUT", {"data": "plain", "headers": {"Content-Type": "text/plain"}}, "plain"),
        ("POST", {"data": b"\xff\x00", "headers": {"Content-Type": "application/octet-stream"}}, "/wA="),
        ("GET", {}, None),
    ],
    ids=["json", "text", "binary", "get"],
)
def test_webhook(hook: str, method: str, options: dict[str, object], body: object) -> None:
    url = f"{hook}/sidecar-token?p=1&p=2"
    answer = requests.request(method, url, timeout=30, **options)  # type: ignore[arg-type]
    assert answer.status_code == 200, answer.text
    execution = answer.json()
    assert (execution["flowId"], execution["state"]["current"]) == ("hook", "CREATED")
    variables = execution["trigger"]["variables"]
    assert variables.get("body") == body
    assert variables["parameters"] == {"p": ["1", "2"]}
    assert any(name.lower() == "user-agent" for name in variables["headers"])


def test_webhook_answers(kestra: Kestra, hook: str) -> None:
    assert requests.post(f"{hook}/waiting", json={"x": 1}, timeout=30).json() == {"body": '{"x":1}'}
    assert requests.post(f"{hook}/choosy", json={"go": False}, timeout=30).status_code == 204
    assert problem(requests.post(f"{hook}/wrong", timeout=30), 404, "not-found") == "Webhook not found"
    trigger = "triggers: [{id: w, type: io.kestra.plugin.core.trigger.Webhook, key: k}]\n"
    kestra.save_flow(flow("hooked", more=f"disabled: true\n{trigger}"))
    problem(requests.post(f"{hook.replace('demo.run/hook', 'demo.team/hooked')}/k", timeout=30), 409, "conflict")


# --- key-value store -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ('"hello world"', "STRING", "hello world"),
        ("42", "NUMBER", 42),
        ("true", "BOOLEAN", True),
        ('{"a":[1,true]}', "JSON", {"a": [1, True]}),
        ("2025-10-13", "DATE", "2025-10-13"),
        ("PT15M", "DURATION", "PT15M"),
        ("{ no ion", "STRING", "{ no ion"),
    ],
)
def test_key_value_types(kestra: Kestra, text: str, kind: str, value: object) -> None:
    path = "/namespaces/demo.kv/kv/key"
    written = kestra.call("PUT", path, data=text, headers={"Content-Type": "text/plain"})
    assert (written.status_code, written.content) == (200, b"")
    read = kestra.call("GET", path).json()
    assert (read["type"], read["value"]) == (kind, value)


def test_key_value_deletion_and_expiry(kestra: Kestra) -> None:
    path, text = "/namespaces/demo.kv/kv/gone", {"Content-Type": "text/plain"}
    kestra.call("PUT", path, data="1", headers=text)
    assert [kestra.call("DELETE", path).json() for _ in range(2)] == [True, False]
    detail = problem(kestra.call("GET", path), 404, "not-found")
    assert detail == "No value found for key 'gone' in namespace 'demo.kv'"
    kestra.call("PUT", path, data="1", headers=text | {"ttl": "PT1S"})
    wait_until("it expires", lambda: kestra.call("GET", path).status_code == 410, 10)


# --- Python scripts ------------------------------------------------------------------------------------------------

CLEAN = """\
id: clean
namespace: demo.python
tasks:
  - id: process
    type: io.kestra.plugin.scripts.python.Script
    containerImage: python:3.13-slim
    pythonVersion: "3.13"
    packageManager: PIP
    dependencies: [pandas, "pyarrow>=10"]
    beforeCommands: ["echo $GREETING > greeting.txt"]
    env: {GREETING: hello}
    inputFiles: {raw.csv: "a,b\\n1,2\\n1,2\\n3,4\\n"}
    outputFiles: [clean.parquet, report.md]
    script: |
      import json, pandas
      assert true and null is None
      frame = pandas.read_csv("raw.csv").drop_duplicates()
      frame.to_parquet("clean.parquet")
      open("report.md", "w").write(open("greeting.txt").read() + f"{len(frame)} rows")
      print("::" + json.dumps({"outputs": {"rows": len(frame)}}) + "::")
outputs:
  - {id: report, type: FILE, value: "{{ outputs.process.outputFiles['report.md'] }}"}
  - {id: rows, type: INT, value: "{{ outputs.process.vars.rows }}"}
"""


def script(identifier: str, code: str, more: str) -> str:
    """Return a flow of one Python task."""
    task = f"{{id: p, type: io.kestra.plugin.scripts.python.Script, {more}, script: {code!r}}}"
    return flow(identifier, "demo.python", tasks=f"tasks: [{task}]")


def test_script(kestra: Kestra) -> None:
    kestra.save_flow(CLEAN)
    execution = kestra.execute("demo.python/clean")
    assert execution["state"]["current"] == "SUCCESS", kestra.messages(execution)
    outputs = kestra.call("GET", f"/outputs/executions/{execution['id']}").json()
    assert outputs["rows"] == 2
    report = kestra.call("GET", f"/executions/{execution['id']}/file", params={"path": outputs["report"]})
    assert report.content == b"hello\n2 rows"


def test_script_without_its_dependencies_fails_clearly(kestra: Kestra) -> None:
    kestra.save_flow(script("unmet", "print(1)", "dependencies: [pandas, no-such-library]"))
    execution = kestra.execute("demo.python/unmet")
    assert execution["state"]["current"] == "FAILED"
    assert "does not have these dependencies and installs none: no-such-library" in kestra.messages(execution)


@pytest.mark.parametrize(
    ("identifier", "code", "more", "attempts", "message"),
    [
        ("retried", "raise SystemExit('bad')", "retry: {type: constant, interval: PT0.2S, maxAttempts: 3}", 3, "bad"),
        ("timed", "import time; time.sleep(60)", "timeout: PT2S", 1, "Timeout after"),
    ],
)
def test_script_failures(kestra: Kestra, identifier: str, code: str, more: str, attempts: int, message: str) -> None:
    kestra.save_flow(script(identifier, code, more))
    execution = kestra.execute(f"demo.python/{identifier}")
    assert execution["state"]["current"] == "FAILED"
    assert len(execution["taskRunList"][0]["attempts"]) == attempts
    assert message in kestra.messages(execution)


# --- what a running server needs -----------------------------------------------------------------------------------


def test_starts_that_fail(postgres: Postgres, tmp_path: Path, standalone: Path) -> None:
    """Three at once: a wrong password, no PostgreSQL at all, and a user name that is no e-mail address."""
    names: dict[str, dict[str, str]] = {"password": {}, "absent": {}, "username": {"kestra_username": "admin"}}
    configurations = {}
    for name, variables in names.items():
        configurations[name] = tmp_path / f"{name}.yml"
        configurations[name].write_text(render_configuration(**variables), encoding="utf-8")
    absent = configurations["absent"]
    absent.write_text(absent.read_text("utf-8").replace("//postgres:", "//nowhere:"), encoding="utf-8")
    environments = {name: environment(postgres) for name in names}
    environments["password"]["KESTRA_DB_PASSWORD"] = "not-the-password"
    with contextlib.ExitStack() as stack:
        start = time.monotonic()
        servers = {
            name: stack.enter_context(start_kestra(path, environments[name], postgres.network, wait=False))
            for name, path in configurations.items()
        }
        for name in ("password", "absent"):
            wait_until(f"{name}: it ends", lambda name=name: not servers[name].state()["Running"], 120)  # type: ignore[misc]
            assert servers[name].state()["ExitCode"] == 1
        assert time.monotonic() - start > 25
        log = servers["password"].logs()
        assert 'password authentication failed for user "kestra"' in log
        assert "not-the-password" not in log
        assert "PostgreSQL was not available for 30 seconds" in servers["absent"].logs()

        named = servers["username"]
        assert "Please provide a valid email address" in named.logs()
        assert named.state()["Running"]
        assert named.health() == 0
        with pytest.raises(requests.ConnectionError):
            requests.get(f"{named.url}/ping", timeout=5)


def test_weak_password_is_never_accepted(postgres: Postgres, standalone: Path) -> None:
    env = environment(postgres) | {"KESTRA_PASSWORD": "short"}
    with start_kestra(standalone, env, postgres.network) as server:
        assert server.call("GET", "/flows/search").status_code == 401
        login = requests.get(f"{server.url}/api/v1/configs/login", timeout=10)
        assert login.json() == {"isBasicAuthInitialized": False}
        errors = requests.get(f"{server.url}/api/v1/basicAuthValidationErrors", timeout=10).json()
        assert errors
        assert "Invalid password" in errors[0]


def test_data_survive_the_container(postgres: Postgres, standalone: Path, tmp_path: Path) -> None:
    """It runs as another user as well, with the options that the role may pass."""
    data = tmp_path / "data"
    data.mkdir()
    data.chmod(0o777)
    env = environment(postgres)
    run = {"volume": str(data), "user": "12345:12345", "options": ("--worker-thread", "2", "--no-tutorials")}
    with start_kestra(standalone, env, postgres.network, **run) as server:  # type: ignore[arg-type]
        server.save_flow(flow("kept"))
        execution = server.execute("demo.team/kept")
        # As Compose ends a container; its database, unlike PostgreSQL, writes up to half a second late.
        docker("stop", "--time", "30", server.container)
    with start_kestra(standalone, env, postgres.network, **run) as server:  # type: ignore[arg-type]
        assert server.call("GET", "/flows/demo.team/kept").json()["revision"] == 1
        assert server.call("GET", f"/executions/{execution['id']}").json()["state"]["current"] == "SUCCESS"
        assert re.search(r"Worker started with 2 thread", server.logs())


def test_lost_database_is_lost_until_the_restart(images: None, standalone: Path) -> None:
    with start_postgres() as database, start_kestra(standalone, environment(database), database.network) as server:
        docker("restart", "--time", "5", database.container)
        wait_until("Kestra is unhealthy", lambda: server.health() == 503, 20)
        time.sleep(5)
        assert server.health() == 503
        assert server.health("health/readiness") == 503
        assert server.call("GET", "/flows/search").status_code == 500
        assert server.state()["Running"]
        assert "The connection to PostgreSQL is lost" in server.logs()
        assert server.restart().call("GET", "/flows/search").status_code == 200
