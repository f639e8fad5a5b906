# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From the texts of flow files to flows, without a server, and what is wrong with them.

Nothing here talks to the network. The text of a flow is compared and sent as
it is in its file; YAML is parsed for the id, the namespace, labels and the line numbers of messages alone, so that
the differences between YAML 1.1 and 1.2 cannot change what is stored.

What is imported in a function is not needed where nothing has changed; a host compiles what it imports in every run.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows.yaml_nodes import (
    BOM,
    Node,
    YamlProblem,
    compose,
    duplicate_keys,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.source_files import (
    LONGEST_TEXT,
    Problem,
    Source,
    too_large,
)

if TYPE_CHECKING:
    from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows.deprecations import Finding

Key = tuple[str, str]
"""Namespace and id: what identifies a flow within a tenant."""
Known = tuple[str, str, str]
"""Namespace, id and text of a flow that a server has stored."""

# Kestra's own rules for the two names: io.kestra.core.models.flows.AbstractFlow.
PATTERNS: Mapping[str, re.Pattern[str]] = {
    "id": re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]*"),
    "namespace": re.compile(r"[a-z0-9][a-z0-9._-]*"),
}
LONGEST: Mapping[str, int] = {"id": 100, "namespace": 150}

_NULLS = ("", "~", "null", "Null", "NULL")
_BOOLEAN = re.compile(r"yes|Yes|YES|no|No|NO|on|On|ON|off|Off|OFF|True|TRUE|False|FALSE")
# Integers that are written in another way than Kestra writes them: hexadecimal, binary, octal, with underscores.
_ODD_INTEGER = re.compile(r"0x[0-9a-fA-F_]+|0b[01_]+|0[0-7_]+|[1-9][0-9]*_[0-9_]*")
_FLOAT = re.compile(r"[0-9][0-9_]*(\.[0-9_]*([eE][-+]?[0-9]+)?|[eE][-+]?[0-9]+)")
_FALSE = ("false", "no", "off", "null", "~", "")
_CONFLICT = re.compile(r"^(<{7}|={7}|>{7}|\|{7})(?=[ \t\r\n]|$)", re.MULTILINE)
# Begins with a plain word, not with a line's start, since the search for a word is several times faster.
_NAMESPACE = re.compile(rb"namespace[\"']?[ \t]*:[ \t]*[\"']?([a-z0-9][a-z0-9._-]*)")


@dataclass(frozen=True)
class Flow:
    """A flow of a file: what it is called, the exact text to store, and in which lines of the file text and id are."""

    namespace: str
    id: str
    file: str
    text: str
    first_line: int = 1
    id_line: int = 1
    findings: tuple[Finding, ...] = ()

    @property
    def key(self) -> Key:
        return (self.namespace, self.id)

    @property
    def name(self) -> str:
        return f"{self.namespace}/{self.id}"

    def problem(self, message: str, about: str | None = None) -> Problem:
        """Return a problem of this flow; C(about) is Kestra's message, from which the line is found."""
        line = None
        if about:
            from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows.locate import locate

            line = locate(self.text, about)
        return Problem(self.file, None if line is None else line + self.first_line - 1, message)


def guess_namespaces(sources: Iterable[Source]) -> set[str]:
    """Return what the files seem to name as namespaces, without parsing them: a hint of what to ask the server for."""
    found: set[bytes] = set()
    for source in sources:
        for match in _NAMESPACE.finditer(source.content):
            before = source.content[max(0, match.start() - 2) : match.start()]
            if (before[:-1] if before[-1:] in (b"'", b'"') else before)[-1:] in (b"", b"\n"):
                found.add(match[1])
    return {name.decode("ascii") for name in found}


def parse_sources(
    sources: Iterable[Source],
    namespace_map: Mapping[str, str] | None = None,
    known: Mapping[bytes, Sequence[Known]] | None = None,
    inspect: Callable[[Node, str], Sequence[Finding]] | None = None,
) -> tuple[list[Flow], list[Problem]]:
    """Return the flows of the files, and everything that is wrong with any of the files.

    A file with a problem yields no flow. The problems are in the order of the files and their lines. C(namespace_map)
    renames namespaces, and those below them, in the line of the text that has the namespace. C(known) has the flows
    that a server has stored, by their contents: a file with such a content needs no parsing, since Kestra has read it.
    C(inspect) examines each flow that is parsed; its findings are not problems yet.
    """
    flows: list[Flow] = []
    problems: list[Problem] = []
    first: dict[Key, str] = {}
    for source in sources:
        recognized = _recognize(source, known) if known and not namespace_map else None
        parsed, found = ([recognized], list[Problem]()) if recognized else _parse(source, namespace_map or {}, inspect)
        fine: list[Flow] = []
        for flow in parsed:
            if flow.key in first:
                message = f"flow {flow.name} is already in {first[flow.key]}; a flow has one file"
                found.append(Problem(source.path, flow.id_line, message))
            else:
                first[flow.key] = f"{source.path}:{flow.id_line}"
                fine.append(flow)
        if not found:
            flows += fine
        problems += sorted(found, key=lambda problem: problem.line or 0)
    return flows, problems


def _recognize(source: Source, known: Mapping[bytes, Sequence[Known]]) -> Flow | None:
    """Return the flow of a file with the very bytes that the server has stored for one flow."""
    flows = known.get(source.content, ())
    if len(flows) != 1 or not source.recognizable:
        return None
    namespace, flow_id, text = flows[0]
    return Flow(namespace, flow_id, source.path, text)


def _parse(
    source: Source,
    namespace_map: Mapping[str, str],
    inspect: Callable[[Node, str], Sequence[Finding]] | None,
) -> tuple[list[Flow], list[Problem]]:
    """Return the flows of a file, those with problems of their names left out, and everything that is wrong."""
    problems: list[Problem] = []

    def report(line: int | None, message: str, no_flow: bool = False) -> None:
        problems.append(Problem(source.path, line, message, no_flow))

    try:
        text = source.content.decode("utf-8")
    except UnicodeDecodeError as error:
        bad_line = source.content.count(b"\n", 0, error.start) + 1
        report(bad_line, f"is not UTF-8: {error.reason} (byte 0x{source.content[error.start]:02x})")
        return [], problems
    if len(text) > LONGEST_TEXT:
        report(None, too_large(len(text), "characters", LONGEST_TEXT))
        return [], problems
    if text.startswith(BOM + BOM):
        report(1, "begins with two byte order marks, and Kestra takes the second for a part of the first key")
        return [], problems
    try:
        documents = compose(text)
    except YamlProblem as error:
        conflict = _CONFLICT.search(text)
        if conflict:
            line = text.count("\n", 0, conflict.start()) + 1
            report(line, f"Git left the marker {conflict.group(1)} of a conflict here; choose one side and remove it")
        else:
            report(error.line, f"YAML syntax: {error}")
        return [], problems
    if all(root.is_nothing for root in documents):
        report(None, "is empty: a flow has at least an id, a namespace and tasks")
        return [], problems
    flows: list[Flow] = []
    for root, start, end in _split(text, documents):
        for key, second_line, first_line in duplicate_keys(root):
            report(second_line, f"key {key!r} is given twice, first in line {first_line}")
        if root.kind != "mapping":
            report(root.line, "is not a mapping: a flow begins with keys such as id, namespace and tasks", no_flow=True)
            continue
        if root.get("id") is None and root.get("namespace") is None:
            report(None, "has no id and no namespace, so it is not a flow", no_flow=True)
            continue
        for key_node, value_node in root.pairs:
            if key_node.text == "deleted" and value_node.text.lower() not in _FALSE:
                report(key_node.line, "deleted is not false, so that Kestra would hide the flow; remove the line")
        names: dict[str, Node] = {}
        for name in ("id", "namespace"):
            node, name_line, problem = _name(root, name)
            if node is None or problem:
                report(name_line, problem or "")
            else:
                names[name] = node
        if len(names) < 2:
            continue
        namespace = renamed(names["namespace"].text, namespace_map)
        own_text = text[start:end]
        if namespace != names["namespace"].text:
            node = names["namespace"]
            written = text[node.start : node.end]
            replacement = _rewritten(written, node, namespace)
            if replacement is None:
                report(
                    node.line,
                    f"namespace_map cannot rename the namespace, which is written as {written!r}: write it as a plain "
                    "or quoted text, without an anchor, an alias or a tag",
                )
                continue
            own_text = text[start : node.start] + replacement + text[node.end : end]
            problem = _wrong_name("namespace", namespace)
            if problem:
                report(node.line, f"after namespace_map, {problem}")
                continue
        first_line = 1 if start == 0 else text.count("\n", 0, start) + 1
        findings = tuple(inspect(root, text)) if inspect else ()
        flows.append(Flow(namespace, names["id"].text, source.path, own_text, first_line, names["id"].line, findings))
    return flows, problems


def _split(text: str, documents: list[Node]) -> Iterator[tuple[Node, int, int]]:
    """Yield each document that is not empty, with its range of the text.

    The only document of a file is the whole file. A document among several begins after its marker, or with it if
    there is more on its line or before it, such as a directive.
    """
    if len(documents) == 1:
        yield documents[0], 0, len(text)
        return
    for number, root in enumerate(documents):
        if root.is_nothing:
            continue
        end = documents[number + 1].document_start if number + 1 < len(documents) else len(text)
        start = 0
        if number > 0:
            start = root.document_start
            line_end = text.find("\n", start)
            if line_end >= 0 and re.fullmatch(r"---[ \t\r]*(#.*)?", text[start:line_end]):
                start = line_end + 1
        yield root, start, end


def renamed(namespace: str, namespace_map: Mapping[str, str]) -> str:
    """Return the new name of a namespace, by the longest entry of the map that is the namespace or its parent."""
    for old in sorted(namespace_map, key=len, reverse=True):
        if namespace == old or namespace.startswith(f"{old}."):
            return namespace_map[old] + namespace[len(old) :]
    return namespace


def _rewritten(written: str, node: Node, value: str) -> str | None:
    """Return the text to put in place of a scalar, in the same quotes; None if its form has more than the value."""
    if written[:1] in ("'", '"') and written[-1:] == written[:1]:
        return f"{written[0]}{value}{written[0]}"
    if written == node.text:
        return f'"{value}"' if _ambiguous(value) or value in _NULLS else value
    return None


def _name(root: Node, name: str) -> tuple[Node | None, int | None, str | None]:
    """Return the node of a flow's id or namespace, its line, and what is wrong with it."""
    entry = next(((key, value) for key, value in root.pairs if key.text == name), None)
    if entry is None:
        return None, None, f"{name} is missing"
    line, node = entry[0].line, entry[1]
    if node.kind != "scalar":
        return None, line, f"{name} is not a text"
    value, plain = node.text, node.plain
    if (plain and value in _NULLS) or not value:
        return None, line, f"{name} is empty"
    if plain and _ambiguous(value):
        return (
            None,
            line,
            f"{name}: {value} is a number or a boolean to YAML, and Kestra makes another text of it; "
            f'put it in quotes: {name}: "{value}"',
        )
    return node, line, _wrong_name(name, value)


def _wrong_name(name: str, value: str) -> str | None:
    if not PATTERNS[name].fullmatch(value):
        return f"{name} {value!r} does not match {PATTERNS[name].pattern}"
    if len(value) > LONGEST[name]:
        return f"{name} has {len(value)} characters; Kestra takes {LONGEST[name]}"
    return None


def _ambiguous(plain: str) -> bool:
    """Whether Kestra's engine turns an unquoted value into another text, such as 1.10, 0x1F, on or True."""
    if _BOOLEAN.fullmatch(plain) or _ODD_INTEGER.fullmatch(plain):
        return True
    if not _FLOAT.fullmatch(plain):
        return False
    # Java writes a number as Python does, except for very large and very small ones.
    same = re.fullmatch(r"[0-9]+\.[0-9]+", plain) is not None and repr(float(plain)) == plain
    return not same or not (float(plain) == 0 or 1e-3 <= float(plain) < 1e7)
