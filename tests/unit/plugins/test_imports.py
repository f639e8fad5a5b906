"""Which file of `plugins/` may import which.

Each line is a package, or a single file, and what it may import besides itself (an action or a module imports no other
one). An arrow that is not here is an error, and so is a circle of files.

| From | To |
|---|---|
| `action` | `host`, `ignore_file`, `kestra.namespace_files`, `n8n.workflows`, `plugin_utils`, `source_files` |
| `filter` | `environment_file`, `host`, `kestra.config_schema`, `versions` |
| `inventory` | `http_session`, `multipass` |
| `plugin_utils` | `host`, `packed_files`, `versions` |
| `modules` | `addresses`, `dates`, `host`, `http_session`, `ignore_file`, `kestra`, `kestra.activity`, `kestra.dashboards`, `kestra.export`, `kestra.flows`, `kestra.namespace_files`, `module`, `multipass`, `n8n`, `n8n.export`, `n8n.workflows`, `packed_files`, `source_files`, `versions` |
| `kestra.activity` | `dates`, `kestra`, `kestra.flows` |
| `kestra.dashboards` | `kestra`, `kestra.flows` |
| `kestra.export` | `kestra`, `kestra.flows`, `kestra.namespace_files` |
| `kestra.flows` | `http_session`, `kestra`, `module`, `packed_files`, `source_files` |
| `kestra.namespace_files` | `http_session`, `ignore_file`, `kestra` |
| `kestra` | `addresses`, `dates`, `http_session`, `module` |
| `multipass` | `http_session`, `module` |
| `n8n.export` | `n8n.workflows` |
| `n8n` | `http_session`, `module` |
| `n8n.workflows` | `http_session`, `module`, `n8n`, `packed_files`, `source_files` |
| `source_files` | `ignore_file` |
| `host` | `dates`, `environment_file`, `http_session`, `kestra`, `kestra.config_schema`, `versions` |
| `module` | `http_session` |

Some files are stricter than their package:

- A pure file (`PURE`, and each whose docstring says so) imports neither Ansible nor what reads from a network or a program, and
  only files of which that is true as well. Ansible's reading of booleans is the exception.
- A module of every run of `site.yml` (`SMALL`) imports no more than it needs: Ansible packs, sends and compiles all of it.
"""  # noqa: E501

from __future__ import annotations

import ast
import re
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PLUGINS = Path(__file__).parents[3] / "plugins"
COLLECTION = "ansible_collections.devorch.orchestration.plugins."
ALLOWED = {
    source: frozenset(re.findall(r"`(.+?)`", targets))
    for source, targets in re.findall(r"^\| `(.+?)` \| (.+) \|$", __doc__ or "", re.MULTILINE)
}
UNITS = set(ALLOWED).union(*ALLOWED.values())
FILES = {".".join(path.relative_to(PLUGINS).with_suffix("").parts): path for path in sorted(PLUGINS.rglob("*.py"))}
IMPURE = {"ansible", "requests", "urllib3", "socket", "ssl", "subprocess"}
PURE = (
    "module_utils.dates",
    "module_utils.environment_file",
    "module_utils.host.container",
    "module_utils.host.deploy_plan",
    "module_utils.host.doctor",
    "module_utils.host.preflight.check",
    "module_utils.kestra.config_schema",
    "module_utils.kestra.flows.deprecations",
    "module_utils.kestra.flows.locate",
    "module_utils.kestra.flows.plan",
    "module_utils.kestra.flows.record",
    "module_utils.kestra.flows.saved_plan",
    "module_utils.kestra.flows.source",
    "module_utils.kestra.flows.yaml_nodes",
    "module_utils.kestra.namespace_files.plan",
    "module_utils.multipass.plan",
    "module_utils.n8n.canonical",
    "module_utils.n8n.workflows.normal",
    "module_utils.n8n.workflows.plan",
    "module_utils.n8n.workflows.source",
    "module_utils.packed_files",
    "module_utils.source_files",
    "module_utils.versions",
)
SMALL = {
    "modules.preflight": set(),
    "modules.secrets": {"environment_file", "host.bcrypt", "host.lock", "host.service_files"},
    "modules.host_lock": {"environment_file", "host.lock", "host.service_files"},
    "modules.host_info": {
        "addresses",
        "environment_file",
        "host.commands",
        "host.container",
        "host.docker_host",
        "host.files",
        "host.json_merge",
        "host.listeners",
        "host.lock",
        "host.registry",
        "host.scram",
        "host.service_files",
        "host.state",
        "versions",
    },
    "modules.deploy": {
        "addresses",
        "environment_file",
        "host.container",
        "host.deploy",
        "host.deploy_plan",
        "host.hints",
        "host.json_merge",
        "host.lock",
        "host.runtimes",
        "host.service_files",
        "http_session",
        "kestra.client",
        "kestra.health",
        "versions",
    },
}


@cache
def imports(file: str) -> tuple[frozenset[str], frozenset[str]]:
    """Return the files of the collection that a file imports, and the names of everything else that it imports."""
    ours: set[str] = set()
    others: set[str] = set()
    for node in ast.walk(ast.parse(FILES[file].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            others |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{file} imports relatively: Ansible's other files import by the collection's name"
            others |= {f"{node.module}.{alias.name}" for alias in node.names}
    for name in list(others):
        if name.startswith(COLLECTION):
            others.remove(name)
            below = name.removeprefix(COLLECTION)
            ours.add(below if below in FILES else below.rpartition(".")[0])
    assert ours <= set(FILES), f"{file} imports what is not a file: {ours - set(FILES)}"
    return frozenset(ours), frozenset(others)


def closure(file: str) -> set[str]:
    """Return all files of the collection that are loaded with a file."""
    found: set[str] = set()
    waiting = {file}
    while waiting:
        found |= waiting
        waiting = set().union(*(imports(name)[0] for name in waiting)) - found
    return found - {file}


def unit(file: str) -> str:
    """Return the line of the table that a file belongs to."""
    name = file.removeprefix("module_utils.")
    while name not in UNITS and "." in name:
        name = name.rpartition(".")[0]
    return name


@pytest.mark.parametrize("file", FILES)
def test_a_file_imports_only_what_its_package_may(file: str) -> None:
    source = unit(file)
    itself = set() if source in ("action", "modules") else {source}
    targets = {unit(name) for name in imports(file)[0]} - itself
    assert targets <= ALLOWED.get(source, frozenset()), f"{file} imports {sorted(imports(file)[0])}"


def test_every_arrow_of_the_table_is_used() -> None:
    used = {(unit(file), unit(name)) for file in FILES for name in imports(file)[0]}
    assert {(source, target) for source, targets in ALLOWED.items() for target in targets} - used == set()


@pytest.mark.parametrize("names", ["files", "packages"])
def test_no_imports_make_a_circle(names: str) -> None:
    graph = {file: imports(file)[0] for file in FILES} if names == "files" else ALLOWED
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' <- '.join(error.args[1])}")


@pytest.mark.parametrize("file", PURE)
def test_a_pure_file_loads_neither_ansible_nor_a_client(file: str) -> None:
    for name in {file} | closure(file):
        found = {other for other in imports(name)[1] if other.partition(".")[0] in IMPURE}
        assert found <= {"ansible.module_utils.parsing.convert_bool.boolean"}, name


@pytest.mark.parametrize("file", FILES)
def test_a_file_that_calls_itself_pure_is_checked(file: str) -> None:
    docstring = ast.get_docstring(ast.parse(FILES[file].read_text(encoding="utf-8"))) or ""
    assert file in PURE or not re.search(r"(?m)(^|\. )Pure[.:]", docstring)


@pytest.mark.parametrize("file", SMALL)
def test_a_module_of_every_run_loads_only_what_it_needs(file: str) -> None:
    assert {name.removeprefix("module_utils.") for name in closure(file)} == SMALL[file]
