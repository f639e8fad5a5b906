"""Which part of the collection's Python may import which.

    action, filter, inventory, modules  ->  plugin_utils, host, kestra, kestra.flows, kestra.namespace_files,
                                            multipass, common
    plugin_utils                        ->  common
    host                                ->  kestra, common
    kestra                              ->  kestra.flows, kestra.namespace_files, common
    kestra.flows                        ->  kestra, common
    kestra.namespace_files              ->  kestra, common
    multipass                           ->  common
    common                              ->  (nothing)

The names are the directories below plugins/ and plugins/module_utils/; C(common) stands for the files at the top of
module_utils. A part may import itself. No two files import each other, directly or by way of others.
"""

from __future__ import annotations

import ast
import graphlib
import re
from pathlib import Path

PLUGINS = Path(__file__).parents[2] / "plugins"
NAME = "ansible_collections.devorch.orchestration.plugins"
FILES = {".".join(path.relative_to(PLUGINS).with_suffix("").parts): path for path in PLUGINS.rglob("*.py")}


def allowed_arrows() -> dict[str, set[str]]:
    """Return the arrows of the docstring: which parts a part may import."""
    arrows: dict[str, set[str]] = {}
    text = re.sub(r",\n\s+", ", ", __doc__ or "")
    for sources, targets in re.findall(r"^ {4}(\S.*?) +-> +(.*)$", text, re.MULTILINE):
        names = set() if targets == "(nothing)" else set(targets.split(", "))
        arrows.update(dict.fromkeys(sources.split(", "), names))
    return arrows


def part_of(name: str) -> str:
    """Return the part that a file belongs to; C(name) is its path below plugins/ with dots."""
    *directories, _file = name.split(".")
    if directories[0] == "module_utils":
        return ".".join(directories[1:]) or "common"
    return ".".join(directories)


def imported(text: str) -> set[str]:
    """Return the files of the collection that a file imports, also inside a function."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "plugins import each other by the name of the collection"
            candidates = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            candidates = [alias.name for alias in node.names]
        else:
            continue
        names = [name.removeprefix(f"{NAME}.") for name in candidates if name.startswith(f"{NAME}.")]
        files = [name for name in names if name in FILES]
        assert files or not names, f"{candidates} is not a file of the collection"
        found.update(files)
    return found


IMPORTS = {name: imported(path.read_text("utf-8")) for name, path in FILES.items()}


def test_every_part_has_its_arrows() -> None:
    assert {part_of(name) for name in FILES} - {"doc_fragments"} == set(allowed_arrows())


def test_parts_import_what_they_may() -> None:
    arrows = allowed_arrows()
    wrong = [
        f"{name} imports {target}"
        for name, targets in sorted(IMPORTS.items())
        for target in sorted(targets)
        if part_of(target) not in arrows.get(part_of(name), set()) | ({part_of(name)} - {"modules", "action"})
    ]
    assert wrong == []


def test_every_arrow_is_used() -> None:
    used = {(part_of(name), part_of(target)) for name, targets in IMPORTS.items() for target in targets}
    doors = {"action", "filter", "inventory", "modules"}
    arrows = {(source, target) for source, targets in allowed_arrows().items() for target in targets}
    assert {arrow for arrow in arrows if arrow[0] not in doors} <= used


def test_files_do_not_import_each_other_in_a_circle() -> None:
    try:
        graphlib.TopologicalSorter(IMPORTS).prepare()
    except graphlib.CycleError as error:
        raise AssertionError(f"a circle of imports: {' -> '.join(error.args[1])}") from error
