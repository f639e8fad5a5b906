# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The nodes of a YAML text with their lines: what is in it, without an interpretation.

Pure. It knows nothing of flows; the limits are those of Kestra's parser.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from typing import Any, Literal

# Loaded when the first text is parsed: where nothing has changed, none is.
HAS_YAML = find_spec("yaml") is not None

BOM = "\ufeff"
DEEPEST = 200
# Kestra would take more, but needs minutes for it.
MOST_NODES = 100_000
# How many characters the parser in Python gets, which is a hundred times slower than the fast one.
LONGEST_FOR_PYTHON = 20_000
_SURROGATE = re.compile("[\ud800-\udfff]")


class YamlProblem(Exception):
    """Text that is not YAML; C(line) counts from 1."""

    def __init__(self, message: str, line: int | None) -> None:
        super().__init__(message)
        self.line = line


@dataclass(eq=False, slots=True)
class Node:
    """A part of a YAML text: its kind, its place and its text, without an interpretation.

    C(children) are the entries of a sequence, or keys and values in turn of a mapping. C(start) and C(end) are the
    range of a scalar in the text, its anchor, tag and quotes included. C(document_start) is where the document begins,
    its directives and its marker included, for the node at its top.
    """

    kind: Literal["scalar", "sequence", "mapping"]
    line: int
    text: str = ""
    plain: bool = False
    children: list[Node] = field(default_factory=list)
    start: int = 0
    end: int = 0
    document_start: int = 0

    @property
    def is_nothing(self) -> bool:
        """Whether there is nothing here, or only a comment."""
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
    """Return the trees of the documents in a text; raise YamlProblem if it is not YAML.

    The fast parser decides when it succeeds; the one in Python gives the message when it does not.
    """
    import yaml

    # Both parsers count characters; the byte order mark is left out for them.
    shift = 1 if text.startswith(BOM) else 0
    text = text.removeprefix(BOM)
    fast = getattr(yaml, "CSafeLoader", None)
    problem: Exception | None = None
    if fast is not None:
        try:
            return _documents(yaml.parse(text, Loader=fast), shift)
        except yaml.YAMLError as error:
            problem = error
            # Since libyaml 0.2.6: it reads ahead, and so ends before the events are that deep.
            if isinstance(error, yaml.MarkedYAMLError) and "maximum nesting depth" in str(error.problem):
                raise _too_deep(error.problem_mark.line if error.problem_mark else 0) from error
    refused = yaml.reader.Reader.NON_PRINTABLE.search(text)
    if refused:
        line = text.count("\n", 0, refused.start()) + 1
        raise YamlProblem(f"character U+{ord(refused.group()):04X} is not allowed in YAML", line) from problem
    if problem is None or len(text) <= LONGEST_FOR_PYTHON:
        try:
            return _documents(yaml.parse(text, Loader=yaml.SafeLoader), shift)
        except yaml.YAMLError as error:
            problem = error
        except (ValueError, OverflowError) as error:
            # Of a version or an escape with too large a number; the fast parser has a message for it.
            problem = problem or error
    mark = getattr(problem, "problem_mark", None) or getattr(problem, "context_mark", None)
    parts = [getattr(problem, "context", None), getattr(problem, "problem", None)]
    message = ", ".join(part for part in parts if part) or str(problem)
    raise YamlProblem(message, int(mark.line) + 1 if mark else None) from problem


def _documents(events: Iterable[Any], shift: int) -> list[Node]:
    """Build the trees from the parser's events; PyYAML's own composer recurses, and its fast one crashes on depth."""
    import yaml

    documents: list[Node] = []
    anchors: dict[str, Node] = {}
    open_nodes: list[Node] = []
    start = count = 0
    for event in events:
        kind = type(event)
        begin = event.start_mark
        if kind is yaml.ScalarEvent:
            node = Node(
                "scalar",
                begin.line + 1,
                event.value,
                plain=not event.style and event.implicit[0],
                start=begin.index + shift,
                end=event.end_mark.index + shift,
            )
            if event.style == '"' and _SURROGATE.search(node.text):
                raise YamlProblem("an escape is half a character (a surrogate)", node.line)
            if event.style == '"' and "\0" in node.text:
                raise YamlProblem("an escape is the character NUL, which Kestra's database does not take", node.line)
        elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
            node = Node("mapping" if kind is yaml.MappingStartEvent else "sequence", begin.line + 1)
        elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
            open_nodes.pop()
            continue
        elif kind is yaml.AliasEvent:
            if event.anchor not in anchors:
                raise YamlProblem(f"alias {event.anchor!r} has no anchor before it", begin.line + 1)
            node = anchors[event.anchor]
            if node.kind == "scalar":
                finish = event.end_mark
                node = replace(node, line=begin.line + 1, start=begin.index + shift, end=finish.index + shift)
        elif kind is yaml.DocumentStartEvent:
            anchors = {}
            start = begin.index + shift if documents else 0
            continue
        else:
            continue
        if kind is not yaml.AliasEvent and event.anchor:
            anchors[event.anchor] = node
        if open_nodes:
            open_nodes[-1].children.append(node)
        else:
            node.document_start = start
            documents.append(node)
        count += 1
        if count > MOST_NODES:
            raise YamlProblem(f"has more than {MOST_NODES} keys and values", begin.line + 1)
        if kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
            open_nodes.append(node)
            if len(open_nodes) > DEEPEST:
                raise _too_deep(begin.line)
    return documents


def _too_deep(line: int) -> YamlProblem:
    return YamlProblem(f"is nested more than {DEEPEST} levels deep", line + 1)


def walk(root: Node) -> Iterator[Node]:
    """Yield every node once, in the order of the text; aliases may make the tree a graph."""
    seen: set[int] = set()
    pending = [root]
    while pending:
        node = pending.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        yield node
        if node.children:
            pending += reversed(node.children)


def duplicate_keys(root: Node) -> Iterator[tuple[str, int, int]]:
    """Yield key, line and line of the first one for every key that a mapping has twice."""
    for node in walk(root):
        if node.kind != "mapping":
            continue
        keys = [key for key in node.children[::2] if key.kind == "scalar"]
        if len({key.text for key in keys}) == len(keys):
            continue
        lines: dict[str, int] = {}
        for key in keys:
            if key.text in lines:
                yield key.text, key.line, lines[key.text]
            else:
                lines[key.text] = key.line


def labels_of(text: str) -> dict[str, str]:
    """Return the labels in the text of a flow, written as a mapping or as a list of C(key) and C(value)."""
    try:
        roots = compose(text)
    except YamlProblem:
        return {}
    labels = roots[0].get("labels") if roots else None
    if labels is None:
        return {}
    found = {key.text: value.text for key, value in labels.pairs if value.kind == "scalar"}
    for entry in labels.children if labels.kind == "sequence" else ():
        key, value = entry.get("key"), entry.get("value")
        if key is not None and value is not None and value.kind == "scalar":
            found[key.text] = value.text
    return found
