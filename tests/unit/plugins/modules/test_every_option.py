"""Every module with its smallest set of options, with each option alone, and with a secret where one can be."""

from __future__ import annotations

import base64
import importlib
import json
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra import executions

from ...fake_kestra import PASSWORD, USERNAME, Answer, FakeKestra
from ...in_process import call, printed
from .test_module_contracts import KESTRA_MODULES, MODULES, N8N_MODULES, SIDECAR_MODULES

CANARY = "canary-4711-songbird"
FLOW = "id: one\nnamespace: team\ntasks:\n  - id: say\n    type: Log\n"
# What a module needs besides what its specification says.
SMALLEST: dict[str, dict[str, Any]] = {
    "kestra_dashboard": {"content": "id: team\ntitle: Team\n"},
    "kestra_execution": {"namespace": "team", "flow": "one", "wait": False},
    "kestra_executions": {"state": "killed", "namespace": "team"},
    "kestra_flow": {"content": FLOW, "id": "one"},
    "kestra_flows": {"content": [FLOW]},
    "kestra_kv": {"value": "x"},
    "kestra_namespace_files": {"remote_src": True},
    "kestra_health": {"wait_timeout": 0},
    "n8n_health": {"wait_timeout": 0},
    "n8n_workflows": {"remote_src": True},
}
# Options that are nothing alone, and what the module says then.
NEED_MORE = {
    ("kestra_execution", "once"): "set labels",
    ("kestra_executions", "only_logs"): "only_logs is for state=purged",
    ("kestra_flow", "revision"): "mutually exclusive",
    ("kestra_flow_info", "id"): "required by 'id': namespace",
    ("kestra_flows", "plan"): "mutually exclusive",
    ("kestra_flows", "_packed_src"): "",
    ("kestra_namespace_files", "_packed_src"): "",
    ("kestra_namespace_files", "_problems"): "",
    ("n8n_workflows", "_packed_src"): "",
}
FAULTS_OF_USE = (
    "missing parameter",
    "missing required arg",
    "all of the following are missing",
    "Unexpected",
    "value of",
)


class Stop(Exception):
    """The end of a module whose specification is known."""


def specification(name: str) -> dict[str, Any]:
    """Return the arguments that a module gives to AnsibleModule."""
    found: dict[str, Any] = {}

    def init(self: object, **arguments: Any) -> None:
        found.update(arguments)
        raise Stop

    module = importlib.import_module(f"ansible_collections.devorch.orchestration.plugins.modules.{name}")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Stop):
        patch.setattr(AnsibleModule, "__init__", init)
        module.main()
    return found


def sample(name: str, option: Mapping[str, Any], directory: Path) -> Any:
    """Return a value that an option takes."""
    if option.get("choices"):
        return [option["choices"][0]] if option["type"] == "list" else option["choices"][0]
    special: dict[str, Any] = {
        "url": "http://127.0.0.1:9",
        "management_url": "http://127.0.0.1:9",
        "management_closed_on": ["192.0.2.1"],
        "prune_limit": "20%",
        "target_version": "2.0",
        "ttl": "PT1H",
        "since": "2026-11-01",
        "until": "2026-11-01",
        "older_than": "P1D",
        "schedule_date": "2026-11-01",
        "labels": {"a": "b"},
        "memory": "1G",
        "disk": "5G",
        "src": str(directory),
        "content": FLOW,
        "client_cert": str(directory / "missing.pem"),
        "client_key": str(directory / "missing.pem"),
        "interval": 0.1,
    }
    if name in special:
        value = special[name]
        return [value] if option["type"] == "list" and not isinstance(value, list) else value
    kinds: dict[str, Any] = {
        "bool": True,
        "int": 1,
        "float": 1.0,
        "dict": {},
        "list": [],
        "raw": "x",
        "path": str(directory / "other"),
    }
    return kinds.get(str(option.get("type", "str")), "team")


def smallest(module: str, options: Mapping[str, Any], directory: Path) -> dict[str, Any]:
    required = {name for name, option in options.items() if option.get("required")}
    return {**{name: sample(name, options[name], directory) for name in sorted(required)}, **SMALLEST.get(module, {})}


def connection(module: str, url: str) -> dict[str, Any]:
    login = {"username": USERNAME, "password": PASSWORD} if module in KESTRA_MODULES else {"token": "t"}
    if module in N8N_MODULES:
        login = {} if module == "n8n_api_key" else {"api_key": "k"}
    return {"url": url, "retries": 0, "timeout": 5, **login}


def cases(module: str, directory: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the smallest set of options, and that with each other option and each of its choices."""
    arguments = specification(module)
    options: dict[str, Any] = arguments["argument_spec"]
    base = smallest(module, options, directory)
    yield "", base
    # A state that needs other options than the default is called with them.
    needs = {condition[1]: condition[2] for condition in arguments.get("required_if", []) if condition[0] == "state"}
    for name, option in options.items():
        for value in option.get("choices") if option.get("type") == "str" and option.get("choices") else [None]:
            given = dict(base)
            given[name] = sample(name, option, directory) if value is None else value
            if name == "state":
                given.update(
                    {other: "x" for other in needs.get(value, ()) if other not in given and value != "present"}
                )
            if name == "username":
                given["password"] = "x"
            if name == "password":
                given["username"] = "x"
            if name == "client_key":
                given["client_cert"] = given["client_key"]
            yield name, given


@pytest.mark.parametrize("module", MODULES)
def test_each_option_alone(module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server has next to nothing, so that most calls fail: with a sentence about that, not about the options."""
    monkeypatch.setattr(executions, "LOOK_SECONDS", 0.1)
    (tmp_path / "one.yml").write_text(FLOW)
    wrong = []
    with FakeKestra() as server:
        for name, options in cases(module, tmp_path):
            given = {**connection(module, server.url), **options}
            if name == "token" and module in KESTRA_MODULES:
                del given["username"], given["password"]
            for check in (True, False):
                result = call(module, given, check=check)
                message = str(result["msg"])
                expected = NEED_MORE.get((module, name))
                fault = any(text in message for text in FAULTS_OF_USE) or "exception" in result
                if (expected is None and fault) or (expected is not None and expected not in message):
                    wrong.append((name, options.get(name), message))
    assert wrong == []


@pytest.mark.parametrize("module", MODULES)
def test_an_option_with_a_default_needs_no_other_one(module: str) -> None:
    """Ansible takes a default for a given value there, so that the module could not be called without the other."""
    arguments = specification(module)
    defaults = {name for name, option in arguments["argument_spec"].items() if option.get("default") is not None}
    needing = set(arguments.get("required_by") or {})
    for group in arguments.get("required_together") or []:
        needing |= set(group)
    for pair in arguments.get("mutually_exclusive") or []:
        needing |= set(pair)
    assert needing & defaults - {"template", "remote_src"} == set()


def echo(handler: BaseHTTPRequestHandler, body: bytes) -> Answer:
    """Refuse, and repeat all that was sent, as a careless server does."""
    login = handler.headers.get("Authorization", "")
    if login.startswith("Basic "):
        login = base64.b64decode(login.removeprefix("Basic ")).decode()
    sent = " ".join([handler.path, login, *handler.headers.values(), body.decode("utf-8", "replace")])
    return Answer(422, {"message": f"I do not like {sent}"})


def with_secret(module: str, where: str, directory: Path) -> dict[str, Any]:
    """Return the options of a call with the canary in one place."""
    base = smallest(module, specification(module)["argument_spec"], directory)
    secrets: dict[str, dict[str, Any]] = {
        "password": {"username": "u", "password": CANARY},
        "token": {"token": CANARY},
        "headers": {"headers": {"X-Secret": CANARY}},
        "inputs": {"inputs": {"a": {"deep": [CANARY]}, "b": CANARY, "n": 1, "s": "1"}},
        "secret_inputs": {"secret_inputs": {"b": CANARY}},
        "backfill": {"backfill": {"start": "2026-11-01", "inputs": {"b": CANARY}}},
        "value": {"value": CANARY, "sensitive": True},
        "plan_key": {"plan_key": CANARY, "save_plan": str(directory / "plan.json")},
        "settings": {"settings": {"storageType": "s3", "storageConfiguration": {"key": CANARY}}},
        "cloud_init": {"cloud_init": CANARY},
        "instances": {"instances": [{"name": "vm", "cloud_init": CANARY}]},
        "api_key": {"api_key": CANARY},
        "credentials": {
            "credentials": [{"name": "one", "type": "httpBearerAuth", "data": {"token": [CANARY], "n": 1}}]
        },
        "hash_key": {"hash_key": CANARY},
    }
    if module == "n8n_api_key":
        secrets["password"] = {"password": CANARY}
    return {**base, **secrets[where]}


SECRET_PLACES = [
    *((module, where) for module in KESTRA_MODULES for where in ("password", "token", "headers")),
    *((module, "token") for module in SIDECAR_MODULES),
    *((module, "api_key") for module in N8N_MODULES if module != "n8n_api_key"),
    ("n8n_api_key", "password"),
    ("n8n_credentials", "credentials"),
    ("n8n_credentials", "hash_key"),
    ("kestra_execution", "inputs"),
    ("kestra_execution", "secret_inputs"),
    ("kestra_trigger", "backfill"),
    ("kestra_kv", "value"),
    ("kestra_namespace", "settings"),
    ("kestra_flows", "plan_key"),
    ("multipass_instance", "cloud_init"),
    ("multipass_environment", "instances"),
]


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What goes to the host's log."""
    lines: list[str] = []

    def log(self: AnsibleModule, message: str, log_args: Any = None) -> None:
        lines.append(f"{message} {log_args}")

    monkeypatch.setattr(AnsibleModule, "log", log)
    return lines


@pytest.mark.parametrize(("module", "where"), SECRET_PLACES)
def test_a_secret_is_shown_nowhere(module: str, where: str, tmp_path: Path, logged: list[str]) -> None:
    """Not in the log, the invocation, the result, the diff or a failure, even if the server repeats it."""
    (tmp_path / "one.yml").write_text(FLOW)
    options = {**connection(module, ""), **with_secret(module, where, tmp_path)}
    if where == "token" and module in KESTRA_MODULES:
        del options["username"], options["password"]
    with FakeKestra() as server:
        options["url"] = server.url
        server.edition = "EE"
        normal = server.respond
        for careless in (True, False):
            server.respond = echo if careless else normal  # type: ignore[method-assign]
            for check in (True, False):
                output = printed(module, options, check=check)
                assert json.loads(output.splitlines()[-1])["msg"]
                assert CANARY not in output
    assert logged and not [line for line in logged if CANARY in line]


TEXTS = [("kestra_flow", "content"), ("kestra_flows", "content")]


@pytest.mark.parametrize(("module", "option"), TEXTS)
def test_the_text_of_a_flow_is_shown_by_the_result_alone(
    module: str, option: str, tmp_path: Path, logged: list[str]
) -> None:
    """It may hold what a template has filled in. Numbers in it are not masked in what the module says."""
    text = f"{FLOW}    message: {CANARY}\n"
    base = smallest(module, specification(module)["argument_spec"], tmp_path)
    with FakeKestra() as server:
        for options in ({}, {"password": "other"}):
            given = {**connection(module, server.url), **base, **options}
            given[option] = [text] if isinstance(base[option], list) else text
            result = json.loads(printed(module, given).splitlines()[-1])
            assert CANARY not in json.dumps(result["invocation"])
            assert result["invocation"]["module_args"]["password"] == "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"
        assert CANARY in server.flows[("team", "one")].source
    assert logged and not [line for line in logged if CANARY in line]


def test_the_key_of_plans_stays_masked_beside_a_text(tmp_path: Path) -> None:
    with FakeKestra() as server:
        server.respond = echo  # type: ignore[method-assign]
        options = {"content": [FLOW], "plan_key": CANARY, "headers": {"X-Odd": CANARY}}
        assert CANARY not in printed("kestra_flows", {**connection("kestra_flows", server.url), **options})


@pytest.mark.parametrize("module", MODULES)
def test_every_secret_option_is_known_here(module: str) -> None:
    """A new option with C(no_log) gets its canary."""

    def secret(options: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
        for name, option in options.items():
            if option.get("no_log"):
                yield prefix or name
            yield from secret(option.get("options") or {}, prefix or name)

    assert set(secret(specification(module)["argument_spec"])) <= {
        where for each, where in (*SECRET_PLACES, *TEXTS) if each == module
    }


def ended(state: str, **more: Any) -> dict[str, Any]:
    return {
        "id": "abc",
        "namespace": "team",
        "flowId": "one",
        "state": {"current": state, "histories": [{"state": state}]},
        **more,
    }


@pytest.mark.parametrize(("option", "shown"), [("inputs", True), ("secret_inputs", False)])
def test_the_log_of_failing_tasks_is_told_and_secret_inputs_are_masked_in_it(
    option: str, shown: bool, logged: list[str]
) -> None:
    run = {"id": "r", "taskId": "say", "state": {"current": "FAILED"}}
    execution = ended("FAILED", inputs={"b": CANARY}, taskRunList=[run], url="u")
    lines = [{"level": "ERROR", "taskRunId": "r", "message": f"could not use {CANARY} of 10 rows"}]
    with FakeKestra() as server:
        flow = {**json.loads(json.dumps({"namespace": "team", "id": "one"})), "source": FLOW, "inputs": [{"id": "b"}]}
        server.prepare("GET /api/v1/main/flows/team/one", Answer(200, {**flow, "tasks": [{}]}))
        server.prepare("POST /api/v1/main/executions/team/one", Answer(200, ended("CREATED", url="http://ui")))
        server.prepare("GET /api/v1/main/executions/abc", Answer(200, execution))
        server.prepare("GET /api/v1/main/outputs", Answer(200, {}))
        server.prepare("GET /api/v1/main/logs", Answer(200, lines))
        options = {**connection("kestra_execution", server.url), "namespace": "team", "flow": "one"}
        output = printed("kestra_execution", {**options, option: {"b": CANARY, "n": None}})
    result = json.loads(output.splitlines()[-1])
    assert "could not use" in result["msg"] and "of 10 rows" in result["msg"]
    assert (CANARY in result["msg"]) is shown
    assert (result["execution"]["inputs"] == {"b": CANARY}) is shown
    assert CANARY not in json.dumps(result["invocation"])
    assert not [line for line in logged if CANARY in line]


def test_secret_inputs_are_masked_however_a_flow_shows_them() -> None:
    key, quoted, deep = "-----BEGIN KEY-----\nMIIsecretline1\n  MIIsecretline2\n", 'zqx"xqv\\vqzö', "qdeep\tsecret"
    shown = [*key.split(), json.dumps(key), quoted, json.dumps(quoted), json.dumps(quoted, ensure_ascii=False)]
    shown.append(json.dumps({"token": deep}))
    run = {"id": "r", "taskId": "say", "state": {"current": "FAILED"}}
    execution = ended("FAILED", taskRunList=[run], url="u", outputs={"all": "\n".join(shown)})
    with FakeKestra() as server:
        flow = {"namespace": "team", "id": "one", "source": FLOW, "inputs": [{"id": name} for name in "abc"]}
        server.prepare("GET /api/v1/main/flows/team/one", Answer(200, {**flow, "tasks": [{}]}))
        server.prepare("POST /api/v1/main/executions/team/one", Answer(200, ended("CREATED", url="http://ui")))
        server.prepare("GET /api/v1/main/executions/abc", Answer(200, execution))
        server.prepare("GET /api/v1/main/outputs", Answer(200, {}))
        lines = [{"level": "ERROR", "taskRunId": "r", "message": f"could not use {text}"} for text in shown]
        server.prepare("GET /api/v1/main/logs", Answer(200, lines))
        options = {**connection("kestra_execution", server.url), "namespace": "team", "flow": "one"}
        output = printed("kestra_execution", {**options, "secret_inputs": {"a": key, "b": quoted, "c": {"x": deep}}})
    assert output.count("could not use") >= 1 and "token" in output
    for part in ("secretline", "zqx", "xqv", "vqz", "qdeep"):
        assert part not in output, part
