# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From flow files to a plan, without a server: read the files, find what is wrong with them, compare them with
what is stored.

Nothing here talks to the network, and only `read_sources` touches the disk. The text of a flow is compared and sent as
it stands in its file; YAML is parsed for the id, the namespace and the line numbers of messages alone, so that the
differences between YAML 1.1 and 1.2 cannot change what is stored.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

try:
    import yaml

    HAS_YAML = True
except ImportError:
    HAS_YAML = False

Action = Literal["create", "update", "unchanged"]
Key = tuple[str, str]
"""Namespace and id: what identifies a flow within a tenant."""

SUFFIXES = (".yml", ".yaml")
BOM = "\ufeff"

# Kestra's own rules for the two names: io.kestra.core.models.flows.AbstractFlow.
PATTERNS: Mapping[str, re.Pattern[str]] = {
    "id": re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]*"),
    "namespace": re.compile(r"[a-z0-9][a-z0-9._-]*"),
}
LONGEST: Mapping[str, int] = {"id": 100, "namespace": 150}

REFUSED_KEYS: Mapping[str, str] = {
    "revision": "Kestra counts revisions itself, and a file that names one is stored as a new revision on every run",
    "deleted": "Kestra would store a flow that nobody can see",
    "tenantId": "Kestra would store a flow that nobody can see; the tenant is an option of the module",
    "draft": "whether a revision is a draft is told by the request, not by the file",
    "source": "it is what Kestra adds to a flow when it is read",
    "updated": "it is what Kestra adds to a flow when it is read",
}

_NULLS = ("", "~", "null", "Null", "NULL")
DEEPEST = 200
_BOOLEAN = re.compile(r"yes|Yes|YES|no|No|NO|on|On|ON|off|Off|OFF|True|TRUE|False|FALSE")
_NUMBER = re.compile(r"0[xX][0-9a-fA-F_]+|0[bo][0-7_]+|[0-9][0-9_]*(\.[0-9_]*)?([eE][-+]?[0-9]+)?")
_CANONICAL_INTEGER = re.compile(r"0|[1-9][0-9]*")
_DOCUMENT_MARKER = re.compile(r"^---(?=[ \t\r\n]|$)", re.MULTILINE)


@dataclass(frozen=True)
class Source:
    """A file as it was read: its path, as messages name it, and its bytes."""

    path: str
    content: bytes


@dataclass(frozen=True)
class Problem:
    """Something that keeps a file from being loaded; C(line) counts from 1 and is None where no line can be told."""

    file: str
    line: int | None
    message: str

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{place}: {self.message}"

    def as_result(self) -> dict[str, Any]:
        """Return the entry of a module's C(problems)."""
        return {"file": self.file, "line": self.line, "message": self.message}


@dataclass(frozen=True)
class Flow:
    """A flow of a file: what it is called, and the exact text to store."""

    namespace: str
    id: str
    file: str
    text: str

    @property
    def key(self) -> Key:
        return (self.namespace, self.id)

    @property
    def name(self) -> str:
        return f"{self.namespace}/{self.id}"


@dataclass(frozen=True)
class Stored:
    """A flow as the server holds it. C(broken) is the server's reason for not being able to read its own text."""

    namespace: str
    id: str
    text: str
    revision: int | None = None
    broken: str | None = None
    draft: bool = False

    @property
    def key(self) -> Key:
        return (self.namespace, self.id)


@dataclass(frozen=True)
class Item:
    """One line of a plan."""

    flow: Flow
    action: Action
    stored: Stored | None = None

    @property
    def to_validate(self) -> bool:
        """Whether the server has to look at the text before anything is written."""
        return self.action != "unchanged" or (self.stored is not None and self.stored.broken is not None)

    def diff(self) -> dict[str, str]:
        """Return Ansible's diff of this flow, which is shown as a unified one."""
        before = self.stored.text if self.stored else ""
        revision = f"revision {self.stored.revision}" if self.stored and self.stored.revision else "stored"
        return {
            "before_header": f"{self.flow.name} ({revision})" if self.stored else f"{self.flow.name} (missing)",
            "after_header": f"{self.flow.name} ({self.flow.file})",
            "before": before,
            "after": self.flow.text,
        }


@dataclass(frozen=True)
class Plan:
    """What has to happen to make the server equal to the files, one item a flow, sorted by namespace and id."""

    items: tuple[Item, ...] = field(default_factory=tuple)

    @property
    def changes(self) -> tuple[Item, ...]:
        return tuple(item for item in self.items if item.action != "unchanged")

    @property
    def to_validate(self) -> tuple[Item, ...]:
        return tuple(item for item in self.items if item.to_validate)

    def count(self, action: Action) -> int:
        """Return the number of flows with this action."""
        return sum(item.action == action for item in self.items)

    def diff(self) -> list[dict[str, str]]:
        """Return Ansible's diffs of the flows that change."""
        return [item.diff() for item in self.changes]


def read_sources(path: Path) -> tuple[list[Source], list[Problem]]:
    """Read a flow file, or every C(*.yml) and C(*.yaml) file below a directory, sorted by path.

    Hidden files and directories are left out. Files that cannot be read, and a directory without any flow file, are
    problems; a missing path raises FileNotFoundError.
    """
    if not path.exists():
        raise FileNotFoundError(str(path))
    sources: list[Source] = []
    problems: list[Problem] = []
    for file in _flow_files(path):
        try:
            sources.append(Source(str(file), file.read_bytes()))
        except OSError as error:
            problems.append(Problem(str(file), None, f"cannot be read: {error.strerror or error}"))
    if not sources and not problems:
        problems.append(Problem(str(path), None, "no *.yml or *.yaml file below this directory"))
    return sources, problems


def _flow_files(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    found: list[Path] = []
    seen: set[str] = set()
    for root, directories, files in os.walk(path, followlinks=True):
        real = os.path.realpath(root)
        if real in seen:
            directories.clear()
            continue
        seen.add(real)
        directories[:] = [name for name in directories if not name.startswith(".")]
        found += [Path(root, name) for name in files if name.endswith(SUFFIXES) and not name.startswith(".")]
    yield from sorted(found, key=lambda file: file.relative_to(path).parts)


def parse_sources(sources: Iterable[Source]) -> tuple[list[Flow], list[Problem]]:
    """Return the flows of the files, and everything that is wrong with any of the files.

    A file with a problem yields no flow. The problems are in the order of the files and their lines.
    """
    flows: list[Flow] = []
    problems: list[Problem] = []
    first: dict[Key, tuple[str, int | None]] = {}
    for source in sources:
        parsed = _parse(source)
        found = list(parsed.problems)
        if parsed.namespace is not None and parsed.id is not None:
            key = (parsed.namespace, parsed.id)
            if key in first:
                where = first[key][0] if first[key][1] is None else f"{first[key][0]}:{first[key][1]}"
                found.append(
                    Problem(
                        source.path,
                        parsed.line,
                        f"flow {parsed.namespace}/{parsed.id} is already in {where}; a flow has one file",
                    )
                )
            else:
                first[key] = (source.path, parsed.line)
                if not found:
                    flows.append(Flow(parsed.namespace, parsed.id, source.path, parsed.text))
        problems += sorted(found, key=lambda problem: problem.line or 0)
    return flows, problems


@dataclass
class _Parsed:
    text: str = ""
    id: str | None = None
    namespace: str | None = None
    line: int | None = None
    problems: list[Problem] = field(default_factory=list)


def _parse(source: Source) -> _Parsed:
    result = _Parsed()

    def report(line: int | None, message: str) -> None:
        result.problems.append(Problem(source.path, line, message))

    try:
        result.text = source.content.decode("utf-8")
    except UnicodeDecodeError as error:
        bad_line = source.content.count(b"\n", 0, error.start) + 1
        report(bad_line, f"is not UTF-8: {error.reason} (byte 0x{source.content[error.start]:02x})")
        return result

    try:
        documents = compose(result.text)
    except YamlProblem as error:
        report(error.line, f"YAML syntax: {error}")
        return result
    if not documents or (len(documents) == 1 and documents[0].is_nothing):
        report(None, "is empty: a flow has at least an id, a namespace and tasks")
        return result
    if len(documents) > 1:
        report(
            documents[1].document,
            f"holds {len(documents)} documents, the second begins here; put each flow into a file of its own "
            "(Kestra would load the first and drop the others)",
        )
        return result
    root = documents[0]
    for key, second_line, first_line in _duplicate_keys(root):
        report(second_line, f"key {key!r} is given twice, first in line {first_line}")
    if root.kind != "mapping":
        report(root.line, "is not a mapping: a flow begins with keys such as id, namespace and tasks")
        return result

    for name in ("id", "namespace"):
        value, line, problem = _name(root, name)
        if problem:
            report(line, problem)
        elif name == "id":
            result.id, result.line = value, line
        else:
            result.namespace = value
    for key_node, _value_node in root.pairs:
        reason = REFUSED_KEYS.get(key_node.text)
        if reason:
            report(key_node.line, f"top-level key {key_node.text!r} is refused: {reason}")
    return result


def _name(root: Node, name: str) -> tuple[str | None, int | None, str | None]:
    """Return the value of a flow's id or namespace, its line, and what is wrong with it."""
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
    if not PATTERNS[name].fullmatch(value):
        return None, line, f"{name} {value!r} does not match {PATTERNS[name].pattern}"
    if len(value) > LONGEST[name]:
        return None, line, f"{name} has {len(value)} characters; Kestra takes {LONGEST[name]}"
    return value, line, None


def _ambiguous(plain: str) -> bool:
    """Whether Kestra's YAML 1.1 parser turns an unquoted value into another text, such as 1.10, 0x1F, on or True."""
    if _BOOLEAN.fullmatch(plain):
        return True
    return bool(_NUMBER.fullmatch(plain)) and not _CANONICAL_INTEGER.fullmatch(plain)


class YamlProblem(Exception):
    """Text that is no YAML; C(line) counts from 1."""

    def __init__(self, message: str, line: int | None) -> None:
        super().__init__(message)
        self.line = line


@dataclass(eq=False)
class Node:
    """A part of a YAML text: what it is, where it begins, and what stands in it, without an interpretation.

    C(children) holds the entries of a sequence, or keys and values in turn of a mapping. C(document) is the line where
    the document begins, for the node at its top.
    """

    kind: Literal["scalar", "sequence", "mapping"]
    line: int
    text: str = ""
    plain: bool = False
    children: list[Node] = field(default_factory=list)
    document: int = 0

    @property
    def is_nothing(self) -> bool:
        """Whether nothing but perhaps a comment stands here."""
        return self.kind == "scalar" and self.plain and not self.text

    @property
    def pairs(self) -> list[tuple[Node, Node]]:
        """The keys and values of a mapping; nothing for other kinds."""
        if self.kind != "mapping":
            return []
        return list(zip(self.children[::2], self.children[1::2], strict=True))

    def get(self, name: str) -> Node | None:
        """Return the value of a key, or None."""
        return next((value for key, value in self.pairs if key.text == name), None)


def compose(text: str) -> list[Node]:
    """Return the trees of the documents in a text; raise YamlProblem where it is no YAML.

    The fast parser decides when it succeeds; the one in Python gives the message when it does not.
    """
    text = text.removeprefix(BOM)
    fast = getattr(yaml, "CSafeLoader", None)
    if fast is not None:
        try:
            return _documents(yaml.parse(text, Loader=fast))
        except yaml.YAMLError:
            pass
    try:
        return _documents(yaml.parse(text, Loader=yaml.SafeLoader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        message = ", ".join(part for part in (error.context, error.problem) if part)
        raise YamlProblem(message or "cannot be parsed", mark.line + 1 if mark else None) from error
    except yaml.reader.ReaderError as error:
        position = int(error.position)
        message = f"character U+{ord(text[position]):04X} is not allowed in YAML"
        raise YamlProblem(message, text.count("\n", 0, position) + 1) from error
    except yaml.YAMLError as error:
        raise YamlProblem(str(error), None) from error


def _documents(events: Iterator[Any]) -> list[Node]:
    """Build the trees from the parser's events; PyYAML's own composer recurses, and its fast one crashes on depth."""
    documents: list[Node] = []
    anchors: dict[str, Node] = {}
    open_nodes: list[Node] = []
    start = 0
    for event in events:
        line = int(event.start_mark.line) + 1
        if isinstance(event, yaml.DocumentStartEvent):
            anchors = {}
            start = line
            continue
        if isinstance(event, yaml.CollectionEndEvent):
            open_nodes.pop()
            continue
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in anchors:
                raise YamlProblem(f"alias {event.anchor!r} has no anchor before it", line)
            node = anchors[event.anchor]
        elif isinstance(event, yaml.ScalarEvent):
            node = Node("scalar", line, str(event.value), plain=bool(event.implicit[0]) and not event.style)
        elif isinstance(event, yaml.CollectionStartEvent):
            node = Node("mapping" if isinstance(event, yaml.MappingStartEvent) else "sequence", line)
        else:
            continue
        if not isinstance(event, yaml.AliasEvent) and event.anchor:
            anchors[event.anchor] = node
        if open_nodes:
            open_nodes[-1].children.append(node)
        else:
            node.document = start
            documents.append(node)
        if isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append(node)
            if len(open_nodes) > DEEPEST:
                raise YamlProblem(f"is nested more than {DEEPEST} levels deep", line)
    return documents


def _walk(root: Node) -> Iterator[Node]:
    """Yield every node once, in the order of the text; aliases may make the tree a graph."""
    seen: set[int] = set()
    pending = [root]
    while pending:
        node = pending.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        yield node
        pending += reversed(node.children)


def _duplicate_keys(root: Node) -> Iterator[tuple[str, int, int]]:
    """Yield key, line and line of the first one for every key that a mapping has twice."""
    for node in _walk(root):
        lines: dict[str, int] = {}
        for key, _value in node.pairs:
            if key.kind != "scalar":
                continue
            if key.text in lines:
                yield key.text, key.line, lines[key.text]
            else:
                lines[key.text] = key.line


def make_plan(flows: Iterable[Flow], stored: Mapping[Key, Stored]) -> Plan:
    """Compare the flows of the files with those of the server, text with text.

    A stored draft is updated even where the text is the same, since a draft is not in force.
    """
    items: list[Item] = []
    for flow in sorted(flows, key=lambda flow: flow.key):
        before = stored.get(flow.key)
        action: Action
        if before is None:
            action = "create"
        elif before.text != flow.text or before.draft:
            action = "update"
        else:
            action = "unchanged"
        items.append(Item(flow, action, before))
    return Plan(tuple(items))


def validation_text(text: str) -> str:
    """Return a text that means the same to Kestra's validation and keeps its line numbers, without what would upset a
    request that carries several flows: a byte order mark, YAML directives, and the marker before the document."""
    text = text.removeprefix(BOM)
    marker = _DOCUMENT_MARKER.search(text)
    if marker is None:
        return text
    head = re.sub(r"^%", "#", text[: marker.start()], flags=re.MULTILINE)
    return head + "   " + text[marker.end() :]


def validation_batches(
    texts: Sequence[str], most_flows: int = 100, most_bytes: int = 1_000_000
) -> list[list[tuple[int, str]]]:
    """Split texts into as few requests as their number and their size (bytes of UTF-8) allow.

    Each entry is the index of the text and what to send. Kestra splits a request at every line that begins with
    C(---), so a text that still has such a line travels alone.
    """
    batches: list[list[tuple[int, str]]] = []
    alone: list[list[tuple[int, str]]] = []
    size = 0
    for index, text in enumerate(texts):
        sent = validation_text(text)
        if re.search(r"^---", sent, re.MULTILINE):
            alone.append([(index, sent)])
            continue
        length = len(sent.encode("utf-8"))
        if not batches or len(batches[-1]) >= most_flows or size + length > most_bytes:
            batches.append([])
            size = 0
        batches[-1].append((index, sent))
        size += length
    return batches + alone


_VIOLATION = re.compile(r"[^\s:]*: \S")


def violations(constraints: str) -> list[str]:
    """Split what C(/flows/validate) says about one flow into single messages of one line each."""
    messages: list[str] = []
    for line in constraints.strip().removeprefix("Validation error: ").splitlines():
        if messages and not _VIOLATION.match(line):
            messages[-1] += " " + line.strip()
        else:
            messages.append(line.strip())
    return list(dict.fromkeys(re.sub(r"\s+", " ", message) for message in messages if message))


def locate(text: str, message: str) -> int | None:
    """Return the line of a flow that a message of Kestra is about, or None where it cannot be told.

    Kestra names a position only for syntax errors; otherwise a type, a field, an id or a path through the flow.
    """
    position = re.findall(r"\bline:? (\d+)", message)
    if position:
        return int(position[-1])
    try:
        root = compose(text)[0]
    except (YamlProblem, IndexError):
        return None
    for rule in (_locate_type, _locate_field, _locate_duplicate, _locate_path):
        line = rule(root, message)
        if line is not None:
            return line
    return None


def _locate_type(root: Node, message: str) -> int | None:
    match = re.search(r"(?:Invalid type|No plugin registered for the defined type): '?([^\s'\"]+)", message)
    if not match:
        return None
    if match.group(1) == "<null>":
        return next((node.line for node in _tasks(root) if node.get("type") is None), None)
    types = (node.get("type") for node in _walk(root))
    return next((node.line for node in types if node is not None and node.text == match.group(1)), None)


def _tasks(root: Node) -> Iterator[Node]:
    """Yield the mappings in which Kestra expects a type."""
    lists = ("tasks", "errors", "finally", "afterExecution", "triggers", "inputs", "outputs")
    for node in _walk(root):
        for key, value in node.pairs:
            if key.text in lists and value.kind == "sequence":
                yield from (entry for entry in value.children if entry.kind == "mapping")


def _locate_field(root: Node, message: str) -> int | None:
    match = re.search(r"Unrecognized field \\?[\"']([^\"'\\]+)", message)
    if not match:
        return None
    keys = (key for node in _walk(root) for key, _value in node.pairs)
    return next((key.line for key in keys if key.text == match.group(1)), None)


def _locate_duplicate(root: Node, message: str) -> int | None:
    match = re.search(r"[Dd]uplicate .*?\[([^\],]+)", message)
    if not match:
        return None
    found = list(_with_id(root, match.group(1)))
    return found[1].line if len(found) > 1 else None


def _with_id(root: Node, name: str) -> Iterator[Node]:
    """Yield what stands below the flow itself and has this id: tasks, triggers, inputs, outputs."""
    for node in _walk(root):
        value = node.get("id")
        if node is not root and value is not None and value.text == name:
            yield node


def _locate_path(root: Node, message: str) -> int | None:
    """Follow a path such as C(tasks[say].message), C(tasks[0].type), C(say.message) or C(tasks)."""
    match = re.match(r"([^\s:]+):", message)
    if not match:
        return None
    node: Node | None = root
    line: int | None = None
    for index, step in enumerate(step for step in re.split(r"[.\[\]]+", match.group(1)) if step):
        found = _step(node, step)
        if found is None and index == 0:
            # Messages of 1.x begin with the id of a task.
            found = next(((task.line, task) for task in _with_id(root, step)), None)
        if found is None:
            break
        line, node = found
    return line


def _step(node: Node | None, step: str) -> tuple[int, Node] | None:
    if node is None:
        return None
    for key, value in node.pairs:
        if key.text == step:
            return key.line, value
    if node.kind == "sequence":
        for index, entry in enumerate(node.children):
            value_of_id = entry.get("id")
            if (value_of_id is not None and value_of_id.text == step) or str(index) == step:
                return entry.line, entry
    return None


def exported_sources(entries: Mapping[str, bytes], keys: Iterable[Key]) -> dict[Key, str]:
    """Tell which flow each file of an export archive holds.

    The names of the files are no safe guide: C(<namespace>.<id>.yml) or C(<namespace>-<id>.yml), depending on the
    server, with dots and dashes in both parts. A name that fits one known flow alone counts; otherwise the text does.
    """
    owners: dict[str, list[Key]] = {}
    for namespace, flow_id in keys:
        for separator in (".", "-"):
            owners.setdefault(f"{namespace}{separator}{flow_id}.yml", []).append((namespace, flow_id))
    found: dict[Key, str] = {}
    for name, content in entries.items():
        text = content.decode("utf-8", errors="surrogateescape")
        candidates = owners.get(name, [])
        if len(candidates) == 1:
            found[candidates[0]] = text
            continue
        parsed = _parse(Source(name, content))
        if parsed.namespace is not None and parsed.id is not None:
            found[(parsed.namespace, parsed.id)] = text
    return found
