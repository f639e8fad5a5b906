"""Each endpoint that the test server serves and Kestra's Python SDK knows is called through the SDK by a test.

The server lists its routes; the SDK's are read from its source. A test counts that names a method of an API of the
SDK, as in `client.flows.create_flow(...)`, in a file called `test_sdk_<resource>.py`.
"""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import requests

from .kestra import Kestra
from .sdk import TENANT, kestrapy

VERBS = {"_csv_request": "GET", "_sse_stream": "GET"}
Route = tuple[str, str]


def served(kestra: Kestra) -> set[Route]:
    """Return method and path of what the server serves, a variable as {}."""
    routes = requests.get(f"{kestra.management_url}/routes", timeout=30).json()
    found = set()
    for key in routes:
        match = re.fullmatch(r"\{\[(?P<path>[^]]*)\],method=\[(?P<method>\w+)\].*\}", key)
        assert match, key
        path = re.sub(r"\{[^}]*\}", "{}", match["path"])
        if path.startswith("/api/v1/"):
            found.add((match["method"], path))
    return found


def segment(node: ast.expr) -> str:
    return str(node.value) if isinstance(node, ast.Constant) else "{}"


def known_by(api: type) -> dict[str, Route]:
    """Return the route that each method of an API of the SDK calls."""
    tree = ast.parse(inspect.getsource(inspect.getmodule(api)))  # type: ignore[arg-type]
    found = {}
    for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
        path = verb = None
        for call in (node for node in ast.walk(function) if isinstance(node, ast.Call)):
            if not isinstance(call.func, ast.Attribute):
                continue
            name = call.func.attr
            if name in ("_tenant_path", "_superadmin_path"):
                first = [TENANT] if name == "_tenant_path" else []
                arguments = call.args[1:] if first else call.args
                path = "/".join(["/api/v1", *first, *map(segment, arguments)])
            elif name in VERBS:
                verb = VERBS[name]
            elif call.args and isinstance(call.args[0], ast.Constant) and str(call.args[0].value).isupper():
                verb = str(call.args[0].value)
        if path and verb:
            found[function.name] = (verb, path)
    return found


def sdk_table() -> dict[tuple[str, str], Route]:
    """Return the route of each method of the SDK, by the name of its API and its own."""
    client = kestrapy.KestraClient()
    apis = [name for name, value in vars(kestrapy.KestraClient).items() if isinstance(value, property)]
    return {(api, method): route for api in apis for method, route in known_by(type(getattr(client, api))).items()}


def last_name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def exercised() -> set[tuple[str, str]]:
    """Return the methods of the SDK that the tests call, by the name of the API and their own.

    The API may have been given a name before, as in `api = client(kestra).kv`.
    """
    found = set()
    for file in sorted(Path(__file__).parent.glob("test_sdk_*.py")):
        nodes = list(ast.walk(ast.parse(file.read_text("utf-8"))))
        named = {
            last_name(node.targets[0]): node.value.attr
            for node in nodes
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Attribute)
        }
        for node in nodes:
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                owner = last_name(node.func.value)
                found.add((named.get(owner, owner), node.func.attr))
    return found


def test_each_served_endpoint_is_called_through_the_sdk(kestra: Kestra) -> None:
    table = sdk_table()
    routes = served(kestra)
    assert ("GET", "/api/v1/main/flows/{}/{}") in routes
    called = {table[method] for method in exercised() if method in table}
    missing = {route: method for method, route in table.items() if route in routes - called}
    assert not missing


def test_the_tables_are_read_rightly() -> None:
    table = sdk_table()
    assert table["flows", "create_flow"] == ("POST", "/api/v1/main/flows")
    assert table["flows", "delete_revisions"] == ("DELETE", "/api/v1/main/flows/{}/{}/revisions")
    assert table["misc", "login_configuration"] == ("GET", "/api/v1/configs/login")
    assert len(table) > 300
