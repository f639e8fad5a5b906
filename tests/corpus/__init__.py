"""Flow files as people, editors, other programs and attackers make them, and what has to become of each.

A file lands byte for byte, as one flow or several, or it is refused by name: by the collection itself (`refused`, with
the line where there is one), or by Kestra's validation (`refused_by_kestra`). Nothing in between.

`cases(namespace)` is the whole of them, in one namespace. What only a file system can make, such as links, is in
`tests/unit/plugins/module_utils/kestra/flows/test_corpus.py`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field

LOG = "io.kestra.plugin.core.log.Log"
SCHEDULE = "io.kestra.plugin.core.trigger.Schedule"
WEBHOOK = "io.kestra.plugin.core.trigger.Webhook"
SUBFLOW = "io.kestra.plugin.core.flow.Subflow"
EACH = "io.kestra.core.tasks.flows.EachSequential"
BOM = "\ufeff"


@dataclass(frozen=True)
class Case:
    """A file. `flows` are the texts to be stored, by id; `refused` is a pattern that its message has to match."""

    name: str
    content: bytes
    flows: dict[str, str] = field(default_factory=dict)
    refused: str | None = None
    line: int | None = None
    refused_by_kestra: bool = False

    @property
    def lands(self) -> bool:
        return self.refused is None


def encoded(content: str | bytes) -> bytes:
    return content if isinstance(content, bytes) else content.encode("utf-8")


class Corpus:
    """Collects cases; every flow has the name of its case as id, unless the case is about ids."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self.cases: list[Case] = []

    def flow(self, name: str, more: str = "", message: str = "hello") -> str:
        """A plain flow of six lines, and what is added to it."""
        return (
            f"id: {name}\nnamespace: {self.namespace}\n"
            f"tasks:\n  - id: say\n    type: {LOG}\n    message: {message}\n{more}"
        )

    def lands(self, name: str, content: str, flow_id: str | None = None) -> None:
        """A file that is one flow as it is."""
        self.cases.append(Case(name, encoded(content), {flow_id or name: content}))

    def several(self, name: str, content: str, flows: dict[str, str]) -> None:
        """A file that is several flows."""
        self.cases.append(Case(name, encoded(content), flows))

    def refused(self, name: str, content: str | bytes, line: int | None, pattern: str) -> None:
        """A file in which the collection itself finds something wrong."""
        self.cases.append(Case(name, encoded(content), {}, pattern, line))

    def kestra(self, name: str, content: str, line: int | None, pattern: str) -> None:
        """A file that Kestra's validation refuses."""
        self.cases.append(Case(name, encoded(content), {name: content}, pattern, line, True))


def cases(namespace: str) -> list[Case]:
    """Return every case; the names are unique."""
    corpus = Corpus(namespace)
    for part in (
        _encodings,
        _nothing,
        _line_ends,
        _tabs,
        _anchors,
        _depth,
        _duplicates,
        _size,
        _ids,
        _names,
        _spellings,
        _documents,
        _tags,
        _directives,
        _roots,
        _for_kestra,
    ):
        part(corpus)
    return corpus.cases


def _encodings(c: Corpus) -> None:
    plain = c.flow("utf")
    for name, encoding, mark in (
        ("utf-16-le-bom", "utf-16-le", b"\xff\xfe"),
        ("utf-16-be-bom", "utf-16-be", b"\xfe\xff"),
        ("utf-32-le-bom", "utf-32-le", b"\xff\xfe\0\0"),
    ):
        c.refused(name, mark + plain.encode(encoding), 1, "is not UTF-8: .*0xf[ef]")
    c.refused("utf-32-be-bom", b"\0\0\xfe\xff" + plain.encode("utf-32-be"), 1, "is not UTF-8")
    for encoding in ("utf-16-le", "utf-16-be", "utf-32-le"):
        c.refused(encoding, plain.encode(encoding), 1, r"U\+0000 is not allowed")
    c.refused("latin-1", c.flow("latin-1", message="Grüße").encode("latin-1"), 6, "is not UTF-8: .*0xfc")
    c.refused("windows-1252", c.flow("windows-1252", message="“hi”").encode("cp1252"), 6, "is not UTF-8: .*0x93")
    for name, part in (
        ("continuation-alone", b"\x80"),
        ("overlong", b"\xc0\xaf"),
        ("surrogate-alone", b"\xed\xa0\x80"),
        ("surrogate-pair", b"\xed\xa0\xbd\xed\xb0\x80"),
        ("beyond-unicode", b"\xf4\x90\x80\x80"),
        ("cut-character", b"\xe2\x98"),
    ):
        c.refused(name, c.flow(name).encode() + b"description: " + part + b"\n", 7, "is not UTF-8")
    c.refused("cut-at-the-end", c.flow("cut-at-the-end").encode() + b"# \xf0\x9f\x8e", 7, "is not UTF-8")
    for name, character in (
        ("nul", "\0"),
        ("bell", "\x07"),
        ("escape", "\x1b[31m"),
        ("delete", "\x7f"),
        ("form-feed", "\x0c"),
        ("vertical-tab", "\x0b"),
        ("control-c1", "\x80"),
        ("no-character", "\uffff"),
        ("no-character-either", "\ufffe"),
    ):
        pattern = rf"U\+{ord(character[0]):04X} is not allowed"
        c.refused(name, c.flow(name, f'description: "a{character}b"\n'), 7, pattern)
    c.refused("nul-at-the-end", c.flow("nul-at-the-end") + "\0", 7, r"U\+0000 is not allowed")
    c.lands("emoji", c.flow("emoji", message='"Grüße ☃ 🎉 \U0010fffd"'))
    c.lands("combining", c.flow("combining", message='"e\u0301 \u00e9 \u1e9b\u0323"'))
    c.lands("right-to-left", c.flow("right-to-left", message='"\u202eabc\u202c"'))
    c.lands("no-break-space", c.flow("no-break-space", message='"a\u00a0b"'))
    c.lands("next-line", c.flow("next-line", 'description: "a\u0085b"\n'))
    c.lands("line-separator", c.flow("line-separator", 'description: "a\u2028b\u2029c"\n'))
    c.lands("byte-order-mark", BOM + c.flow("byte-order-mark"))
    c.lands("byte-order-mark-in-a-text", c.flow("byte-order-mark-in-a-text", f'description: "a{BOM}b"\n'))
    c.lands("byte-order-mark-and-comment", f"{BOM}# first\n---\n" + c.flow("byte-order-mark-and-comment"))
    c.refused("two-byte-order-marks", BOM + BOM + c.flow("two-byte-order-marks"), 1, "begins with two byte order marks")
    c.lands("escaped", c.flow("escaped", 'description: "\\x41\\u00e9\\U0001F389\\n\\t"\n'))
    c.refused("escaped-nul", c.flow("escaped-nul", 'description: "\\0"\n'), 7, "the character NUL")
    c.refused("id-with-a-nul", c.flow('"a\\0"'), 1, "the character NUL")
    c.refused("escaped-surrogate", c.flow("escaped-surrogate", 'description: "\\ud800"\n'), 7, "escape")
    c.refused("escaped-beyond-unicode", c.flow("escaped-beyond-unicode", 'description: "\\U00110000"\n'), 7, "escape")
    c.refused("escaped-far-beyond", c.flow("escaped-far-beyond", 'description: "\\UFFFFFFFF"\n'), 7, "escape")
    c.refused("escaped-unknown", c.flow("escaped-unknown", 'description: "\\q"\n'), 7, "escape")
    c.refused("escaped-cut", c.flow("escaped-cut", 'description: "\\x4"\n'), 7, "escape|hexadecimal")


def _nothing(c: Corpus) -> None:
    for name, content in (
        ("zero-bytes", ""),
        ("byte-order-mark-alone", BOM),
        ("blanks-alone", "  \n\n   \n"),
        ("comments-alone", "# one\n  # two\n"),
        ("marker-alone", "---\n"),
        ("end-alone", "---\n...\n"),
        ("markers-alone", "---\n---\n# nothing\n---\n"),
    ):
        c.refused(name, content, None, "is empty")
    c.refused("null-alone", "null\n", 1, "is not a mapping")
    c.refused("tilde-alone", "~\n", 1, "is not a mapping")


def _line_ends(c: Corpus) -> None:
    c.lands("crlf", c.flow("crlf", "description: |\n  one\n  two\n").replace("\n", "\r\n"))
    c.lands("cr-alone", c.flow("cr-alone").replace("\n", "\r"))
    c.lands("mixed-ends", c.flow("mixed-ends").replace("\n", "\r\n", 2))
    c.lands("no-final-end", c.flow("no-final-end").rstrip("\n"))
    c.lands("many-final-ends", c.flow("many-final-ends") + "\n" * 20)
    c.lands("final-blanks", c.flow("final-blanks") + "   \n  ")
    c.lands("blanks-behind", c.flow("blanks-behind").replace("\n", "   \n"))
    c.lands("leading-ends", "\n\n\n" + c.flow("leading-ends"))
    c.lands("indented-whole", "".join(f"   {line}\n" for line in c.flow("indented-whole").splitlines()))
    c.lands("long-line", c.flow("long-line", message="x " * 20_000 + "x"))
    c.refused("indentation-off", c.flow("indentation-off", " description: x\n"), 7, "YAML syntax")


def _tabs(c: Corpus) -> None:
    name = "tab-indentation"
    c.refused(name, c.flow(name).replace("    type", "\ttype"), 5, "YAML syntax: .*(tab|\\\\t)")
    c.kestra("tab-behind-a-colon", c.flow("tab-behind-a-colon", "description:\tx\n"), 7, "TAB")
    c.lands("tab-in-quotes", c.flow("tab-in-quotes", message='"a\tb"'))
    c.lands("tab-in-a-plain-text", c.flow("tab-in-a-plain-text", message="a\tb"))
    c.lands("tab-in-a-block", c.flow("tab-in-a-block", "description: |\n  a\n  \tb\n"))
    c.lands("tab-before-a-comment", c.flow("tab-before-a-comment", "description: x\t# y\n"))
    c.lands("tab-at-the-end", c.flow("tab-at-the-end", "description: x\t\n"))
    c.refused("tab-before-all", "\t" + c.flow("tab-before-all"), 1, "YAML syntax")
    c.refused("tab-in-an-empty-line", c.flow("tab-in-an-empty-line") + "\t\n", 7, "YAML syntax: .*\\\\t")


def _anchors(c: Corpus) -> None:
    c.lands("anchor-unused", c.flow("anchor-unused", "description: &a x\n"))
    c.lands("alias-of-a-text", c.flow("alias-of-a-text", "description: &a x\nvariables:\n  b: *a\n"))
    c.lands("alias-of-a-mapping", c.flow("alias-of-a-mapping", "variables:\n  a: &a {x: y}\n  b: *a\n"))
    c.lands("merge-key", c.flow("merge-key", "variables:\n  a: &a {x: y}\n  b:\n    <<: *a\n    z: 1\n"))
    several = "variables:\n  a: &a {x: 1}\n  b: &b {y: 2}\n  c:\n    <<: [*a, *b]\n"
    c.lands("merge-of-several", c.flow("merge-of-several", several))
    override = "variables:\n  a: &a {x: 1}\n  b:\n    <<: *a\n    x: 2\n"
    c.lands("merge-and-the-same-key", c.flow("merge-and-the-same-key", override))
    c.lands("anchor-twice", c.flow("anchor-twice", "variables:\n  a: &a 1\n  b: &a 2\n  c: *a\n"))
    c.refused("alias-without-anchor", c.flow("alias-without-anchor", "description: *a\n"), 7, "alias 'a' has no anchor")
    c.refused(
        "alias-before-anchor", c.flow("alias-before-anchor", "variables:\n  a: *a\n  b: &a 1\n"), 8, "has no anchor"
    )
    other = c.flow("alias-in-another-document-1", "description: &a x\n")
    content = f"{other}---\n{c.flow('alias-in-another-document-2', 'description: *a' + chr(10))}"
    c.refused("alias-in-another-document", content, 15, "has no anchor")
    c.kestra(
        "alias-as-id", f"description: &a alias-as-id\n{c.flow('*a')}", None, "Kestra reads .*/a where the file says"
    )
    c.lands("anchor-at-id", c.flow("&a anchor-at-id"), "anchor-at-id")
    laughs = "variables:\n  a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]\n" + "".join(
        f"  a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10)
    )
    c.lands("billion-laughs", c.flow("billion-laughs", laughs))
    blowup = f"variables:\n  a: &a {'x' * 50_000}\n  b: [{', '.join(['*a'] * 2_000)}]\n"
    c.lands("quadratic-blow-up", c.flow("quadratic-blow-up", blowup))
    c.lands("alias-of-itself", c.flow("alias-of-itself", "variables: &a\n  b: *a\n"))
    c.lands("list-of-itself", c.flow("list-of-itself", "variables:\n  a: &a [*a]\n"))
    many = "variables:\n" + "".join(f"  a{n}: &a{n} {n}\n" for n in range(5_000))
    c.lands("many-anchors", c.flow("many-anchors", many))
    name = "a" * 5_000
    c.lands("long-anchor", c.flow("long-anchor", f"variables:\n  a: &{name} 1\n  b: *{name}\n"))
    alias = c.flow("alias-as-key", "variables:\n  a: &a k\n  *a : 2\n")
    c.kestra("alias-as-key", alias, 9, "Invalid structure")


def _depth(c: Corpus) -> None:
    deep = "is nested more than 200 levels deep"
    for depth in (50, 190):
        name = f"depth-{depth}"
        c.lands(name, c.flow(name, f"variables:\n  a: {'[' * depth}{']' * depth}\n"))
    for name, text in (
        ("depth-201", "[" * 201 + "]" * 201),
        ("depth-100000", "[" * 100_000 + "]" * 100_000),
        ("depth-never-closed", "[" * 100_000),
        ("depth-of-braces", "{" * 100_000),
        ("depth-of-pairs", "{a: " * 50_000 + "}" * 50_000),
        ("depth-mixed", "[{a: " * 20_000),
    ):
        c.refused(name, c.flow(name, f"variables:\n  a: {text}\n"), 8, deep)
    for name, text in (
        ("depth-of-dashes", "- " * 20_000 + "x"),
        ("depth-of-questions", "? " * 20_000 + "x"),
    ):
        c.refused(name, c.flow(name, f"variables:\n{text}\n"), 8, deep)
    steps = "".join(f"{' ' * (n + 1)}a:\n" for n in range(1_500))
    c.refused("depth-of-mappings", c.flow("depth-of-mappings", f"variables:\n{steps}"), 207, deep)
    c.refused("closed-too-often", c.flow("closed-too-often", "variables: [a]]\n"), 7, "YAML syntax")
    c.refused("brackets-crossed", c.flow("brackets-crossed", "variables: {a: [b}]\n"), 7, "YAML syntax")
    c.refused("never-closed", c.flow("never-closed", 'description: "never\n'), 8, "YAML syntax")


def _duplicates(c: Corpus) -> None:
    for name, more, line, first in (
        ("twice-id", "id: other\n", 7, 1),
        ("twice-tasks", "tasks: []\n", 7, 3),
        ("twice-in-quotes", '"namespace": x\n', 7, 2),
        ("twice-below", "variables:\n  a: 1\n  b: 2\n  a: 3\n", 10, 8),
        ("twice-in-braces", "variables: {a: 1, a: 2}\n", 7, 7),
        ("twice-in-a-list", "inputs:\n  - id: a\n    type: STRING\n    id: b\n", 10, 8),
        ("twice-number-and-text", 'variables:\n  1: a\n  "1": b\n', 9, 8),
        ("twice-by-alias", "variables:\n  &a k: 1\n  *a : 2\n", 9, 8),
        ("twice-merge", "variables:\n  a: &a {x: 1}\n  b:\n    <<: *a\n    <<: *a\n", 11, 10),
        ("twice-deep", "variables:\n  a: [[[{b: {c: 1, c: 2}}]]]\n", 8, 8),
    ):
        c.refused(name, c.flow(name, more), line, f"is given twice, first in line {first}")
    many = "variables:\n" + "  a: 1\n" * 3_000
    c.refused("twice-three-thousand-times", c.flow("twice-three-thousand-times", many), 9, "first in line 8")


def _size(c: Corpus) -> None:
    c.lands("huge-plain-text", c.flow("huge-plain-text", f"description: {'word ' * 100_000}end\n"))
    c.lands("huge-block", c.flow("huge-block", "description: |\n" + "  a line of the block\n" * 20_000))
    c.lands("huge-quoted", c.flow("huge-quoted", 'description: "' + "\\u00e9" * 80_000 + '"\n'))
    c.lands("many-keys", c.flow("many-keys", "variables:\n" + "".join(f"  k{n}: {n}\n" for n in range(20_000))))
    tasks = "".join(f"  - id: t{n}\n    type: {LOG}\n    message: x\n" for n in range(500))
    c.lands("many-tasks", c.flow("many-tasks") + tasks)
    c.lands("many-comments", c.flow("many-comments") + "# a comment\n" * 50_000)
    c.lands("long-key", c.flow("long-key", f'variables:\n  ? "{"k" * 5_000}"\n  : 1\n'))
    c.refused("long-key-without-mark", c.flow("long-key-without-mark", f"variables:\n  {'k' * 5_000}: 1\n"), 8, "YAML")
    many, large = "has more than 100000 keys and values", "Kestra reads 3145728 at the most"
    for name, content, line, pattern in (
        ("huge-list", c.flow("x", "variables:\n  a:\n" + "  - a\n" * 500_000), 99_991, many),
        ("huge-list-in-brackets", c.flow("x", f"variables: [{'a,' * 1_500_000}]\n"), 7, many),
        ("huge-many-keys", c.flow("x", "".join(f"k{n}: 1\n" for n in range(250_000))), 50_000, many),
        ("huge-many-documents", "---\n" * 780_000, 100_002, many),
        ("huge-many-pairs", c.flow("x", f"variables: {{{'a: b, ' * 500_000}}}\n"), 7, many),
        ("huge-many-anchors", c.flow("x", f"variables: [{'&a a,' * 600_000}]\n"), 7, many),
        ("huge-many-tags", c.flow("x", f"variables: [{'! a,' * 700_000}]\n"), 7, many),
        ("huge-many-aliases", c.flow("x", f"variables: [&a a, {'*a,' * 900_000}]\n"), 7, many),
        ("keys-and-wrong-at-the-end", c.flow("x", "variables:\n" + "  a: [b]\n" * 33_000 + "x: [\n"), 33_009, "YAML"),
        ("huge-and-wrong", c.flow("x", "description: |\n" + "  line\n" * 440_000 + "x: [\n"), 440_009, "YAML"),
        ("huge-blanks", " " * 3_000_000, None, "is empty"),
        ("huge-tabs", "\t" * 3_000_000, 1, "YAML syntax"),
        ("huge-ends", "\n" * 3_000_000 + "x", 3_000_001, "is not a mapping"),
        ("huge-quotes", '"' * 3_000_000, 1, "YAML syntax"),
        ("huge-escapes", '"' + "\\x41" * 750_000 + '"', 1, "is not a mapping"),
        ("huge-exclamations", "!" * 3_000_000, 1, "is not a mapping|YAML syntax"),
        ("huge-colons", ":" * 3_000_000 + "\n", 1, "YAML syntax"),
        ("huge-colons-apart", ": " * 1_500_000 + "\n", 1, "YAML syntax"),
        ("huge-dashes", "-" * 3_000_000 + "\n", 1, "is not a mapping"),
        ("huge-stars", "* " * 1_500_000 + "\n", 1, "YAML syntax"),
        ("huge-percent", "%" * 3_000_000 + "\n", 1, "YAML syntax"),
        ("huge-emoji", "\U0001f389" * 3_000_000 + "\n", 1, "is not a mapping"),
        ("huge-folded-quotes", '"' + "a\n\n" * 1_000_000 + '"', 1, "is not a mapping"),
        ("many-unknown-directives", "%FOO bar\n" * 300_000 + "---\n", 1, "YAML syntax"),
        ("many-tag-directives", "".join(f"%TAG !{n}! x\n" for n in range(10_000)) + "---\n", None, "is empty"),
        ("more-than-kestra-reads", c.flow("x", "description: |\n" + "  a line\n" * 350_000), None, large),
        ("ten-megabytes", c.flow("x", "variables:\n" + "  a: b\n" * 1_500_000), None, large),
        ("twenty-megabytes", c.flow("x", "description: |\n" + "  twenty bytes a line\n" * 1_000_000), None, "bytes"),
    ):
        c.refused(name, content, line, pattern)


def _ids(c: Corpus) -> None:
    for name, written, value in (
        ("id-number", "123", "123"),
        ("id-zero", "0", "0"),
        ("id-version", "1.2.3", "1.2.3"),
        ("id-date", "2026-01-02", "2026-01-02"),
        ("id-true", "true", "true"),
        ("id-false", "false", "false"),
        ("id-quoted-number", '"1.10"', "1.10"),
        ("id-quoted-hex", "'0x1F'", "0x1F"),
        ("id-quoted-yes", '"yes"', "yes"),
        ("id-quoted-null", '"null"', "null"),
        ("id-dots", "a..b", "a..b"),
        ("id-all-signs", "a.b-c_D9", "a.b-c_D9"),
        ("id-dash-at-the-end", "a-", "a-"),
        ("id-of-100", "x" * 100, "x" * 100),
        ("id-y", "y", "y"),
        ("id-n", "n", "n"),
        ("id-folded", ">-\n  folded-id", "folded-id"),
        ("id-in-the-next-line", "\n  next-line-id", "next-line-id"),
        ("id-tagged-text", "!!str 17", "17"),
        ("id-escaped", '"esc\\x61ped-id"', "escaped-id"),
        ("id-with-a-comment", "comment-id # the id", "comment-id"),
        ("id-with-blanks-behind", "blanks-id   ", "blanks-id"),
        ("id-new-octal", "0o17", "0o17"),
        ("id-like-a-path", "validate", "validate"),
        ("id-like-a-search", "search", "search"),
    ):
        c.lands(name, c.flow(written), value)
    pattern = "id .* does not match"
    for name, written in (
        ("id-umlaut", "flöw"),
        ("id-emoji", "🎉"),
        ("id-cyrillic-a", "\u0430bc"),
        ("id-full-width", "\uff41bc"),
        ("id-blank", "a b"),
        ("id-slash", "a/b"),
        ("id-backslash", "a\\b"),
        ("id-dot", "."),
        ("id-dot-dot", ".."),
        ("id-up", "../up"),
        ("id-hidden", ".hidden"),
        ("id-dash", "-a"),
        ("id-underscore", "_a"),
        ("id-percent", "a%2Fb"),
        ("id-question", "a?b"),
        ("id-hash", "a#b"),
        ("id-plus", "+1"),
        ("id-minus-one", "-1"),
        ("id-infinite", ".inf"),
        ("id-not-a-number", ".nan"),
        ("id-timestamp", "2026-01-02T03:04:05Z"),
        ("id-sixty", "1:30"),
        ("id-template", '"{{ inputs.x }}"'),
        ("id-with-an-end", '"a\\n"'),
        ("id-of-blanks", '" "'),
        ("id-in-a-block", "|\n  block-id"),
        ("id-of-two-lines", "one\n  two"),
        ("id-markup", "<b>x</b>"),
        ("id-quote", "a'b"),
        ("id-zero-width", '"a\u200bb"'),
    ):
        c.refused(name, c.flow(written), 1, pattern)
    for name, written in (
        ("id-1.10", "1.10"),
        ("id-hex", "0x1F"),
        ("id-octal", "017"),
        ("id-binary", "0b11"),
        ("id-exponent", "1e3"),
        ("id-grouped", "1_000"),
        ("id-zeros", "00"),
        ("id-float-dot", "1."),
        ("id-yes", "yes"),
        ("id-no", "No"),
        ("id-on", "on"),
        ("id-off", "OFF"),
        ("id-capital-true", "True"),
        ("id-upper-false", "FALSE"),
    ):
        c.refused(name, c.flow(written), 1, "is a number or a boolean to YAML")
    for name, written in (
        ("id-null", "null"),
        ("id-tilde", "~"),
        ("id-nothing", ""),
        ("id-empty-quotes", '""'),
        ("id-comment-alone", "# none"),
    ):
        c.refused(name, c.flow(written), 1, "id is empty")
    for name, written in (("id-list", "[a]"), ("id-mapping", "{a: b}"), ("id-lines", "\n  - a")):
        c.refused(name, c.flow(written), 1, "id is not a text")
    c.refused("id-of-101", c.flow("x" * 101), 1, "id has 101 characters; Kestra takes 100")
    c.refused("id-of-100000", c.flow("x" * 100_000), 1, "id has 100000 characters")
    c.refused("id-missing", c.flow("x").partition("\n")[2], None, "id is missing")
    c.refused("id-capital", c.flow("x").replace("id: x", "ID: x", 1), None, "id is missing")
    c.refused(
        "id-below", "flow:\n" + "".join(f"  {line}\n" for line in c.flow("x").splitlines()), None, "is not a flow"
    )


def _names(c: Corpus) -> None:
    def named(namespace: str, name: str = "ns") -> str:
        return c.flow(name).replace(f"namespace: {c.namespace}", f"namespace: {namespace}")

    for name, written in (
        ("namespace-capital", "Team"),
        ("namespace-umlaut", "tëam"),
        ("namespace-blank", "a b"),
        ("namespace-slash", "a/b"),
        ("namespace-dot", ".a"),
        ("namespace-dot-dot", ".."),
        ("namespace-template", "'{{ x }}'"),
        ("namespace-wildcard", "'*'"),
    ):
        c.refused(name, named(written), 2, "namespace .* does not match")
    c.refused("namespace-number", named("1.10"), 2, "is a number or a boolean to YAML")
    c.refused("namespace-null", named("null"), 2, "namespace is empty")
    c.refused("namespace-list", named("[a]"), 2, "namespace is not a text")
    c.refused("namespace-of-151", named("x" * 151), 2, "namespace has 151 characters")
    c.refused("namespace-missing", "".join(c.flow("x").splitlines(keepends=True)[::2]), None, "namespace is missing")
    c.refused("tasks-alone", "".join(c.flow("x").splitlines(keepends=True)[2:]), None, "is not a flow")
    c.lands("namespace-in-quotes", named(f'"{c.namespace}"', "namespace-in-quotes"))


def _spellings(c: Corpus) -> None:
    """Right YAML that few people write."""
    c.lands("blank-before-the-colon", c.flow("blank-before-the-colon").replace(": ", " : "))
    c.lands("keys-in-quotes", c.flow("keys-in-quotes").replace("id:", '"id":').replace("namespace:", "'namespace':"))
    c.lands("keys-with-marks", c.flow("keys-with-marks").replace("id: keys", "? id\n: keys", 1))
    task = {"id": "say", "type": LOG, "message": "hi"}
    whole = {"id": "json", "namespace": c.namespace, "tasks": [task]}
    c.lands("json", json.dumps(whole))
    c.lands("json-in-lines", json.dumps({**whole, "id": "json-in-lines"}, indent=2) + "\n")
    c.kestra("json-with-tabs", json.dumps({**whole, "id": "json-with-tabs"}, indent="\t"), 1, "TAB")
    c.lands(
        "in-braces", f"{{id: in-braces, namespace: {c.namespace}, tasks: [{{id: say, type: {LOG}, message: x}}]}}\n"
    )
    c.lands("in-braces-with-commas", f"{{id: in-braces-with-commas,\n namespace: {c.namespace},\n tasks: "
            f"[{{id: say, type: {LOG}, message: x,}},],}}\n")  # fmt: skip
    c.lands("id-last", "".join(c.flow("id-last").splitlines(keepends=True)[1:]) + "id: id-last\n")
    c.lands("booleans-of-1.1", c.flow("booleans-of-1.1", "variables: {a: yes, b: no, c: on, d: off, e: y, f: n}\n"))
    c.lands("disabled-yes", c.flow("disabled-yes", "disabled: yes\n"))
    c.lands("disabled-on", c.flow("disabled-on", "disabled: on\n"))
    c.lands("disabled", c.flow("disabled", "disabled: true\n"))
    c.lands("octals", c.flow("octals", "variables: {a: 0777, b: 0o777, c: 08, d: 0x1F, e: 0b11, f: 1_000}\n"))
    c.lands("sixties", c.flow("sixties", "variables: {a: 12:30:45, b: 1:30, c: '190:20:30.15'}\n"))
    c.lands("floats", c.flow("floats", "variables: {a: 1e3, b: .5, c: 1.10, d: 1e400, e: -0.0}\n"))
    for name, value in (("float-infinite", "-.inf"), ("float-of-sixties", "190:20:30.15")):
        c.kestra(name, c.flow(name, f"variables: {{a: {value}}}\n"), 7, "Malformed numeric value")
    c.lands("large-number", c.flow("large-number", f"variables: {{a: {'9' * 400}}}\n"))
    c.lands("dates", c.flow("dates", "variables: {a: 2026-01-02, b: 2026-01-02T03:04:05Z, c: 2026-1-2}\n"))
    c.lands("nulls", c.flow("nulls", "variables: {a: null, b: ~, c: , d: Null}\n"))
    for name, key in (("key-of-a-list", "[a, b]"), ("key-of-a-mapping", "{a: b}")):
        c.kestra(name, c.flow(name, f"variables:\n  ? {key}\n  : c\n"), 8, "Invalid structure")
    c.lands("key-null", c.flow("key-null", "variables:\n  ~: a\n"))
    c.refused("key-nothing", c.flow("key-nothing", "variables:\n  : a\n"), 8, "YAML syntax")
    c.lands("key-number", c.flow("key-number", "variables:\n  1: a\n  2.5: b\n  true: c\n"))
    c.lands("block-with-indent", c.flow("block-with-indent", "description: |2+\n    four\n  two\n\n\n"))
    c.lands("block-that-keeps", c.flow("block-that-keeps", "description: |+\n  a\n\n\n"))
    c.lands("block-that-strips", c.flow("block-that-strips", "description: >-\n  a\n  b\n"))
    c.lands("expressions", c.flow("expressions", message="\"{{ flow.id }} {% if true %}{{ '}}' }}{% endif %}\""))
    c.lands("looks-like-jinja", c.flow("looks-like-jinja", message="'{# not a comment #} {{{{ }} %}'"))
    c.lands("comment-with-a-key", c.flow("comment-with-a-key", "# revision: 3\n"))
    c.lands("key-revision-below", c.flow("key-revision-below", "variables:\n  revision: 3\n  deleted: true\n"))
    c.kestra("unquoted-braces", c.flow("unquoted-braces", message="{{ flow.id }}"), 6, "Invalid structure")
    c.refused("percent-first", c.flow("percent-first", message="%x"), 6, "YAML syntax")
    c.refused("at-first", c.flow("at-first", message="@x"), 6, "YAML syntax")
    c.refused("backtick-first", c.flow("backtick-first", message="`x`"), 6, "YAML syntax")
    c.refused("colon-in-a-text", c.flow("colon-in-a-text", message="a: b: c"), 6, "YAML syntax")
    conflict = c.flow("x").replace("tasks", "<<<<<<< HEAD\ntasks") + "=======\n>>>>>>> b\n"
    c.refused("merge-conflict", conflict, 3, "Git left the marker")
    c.refused("text-behind-quotes", c.flow("text-behind-quotes", message='"a" b'), 6, "YAML syntax")
    c.refused("markdown", "# Title\n\nSome *words*: and `code`\n\n```yaml\nid: x\n```\n", 5, "YAML syntax")
    c.refused("python", "import os\nprint(os.environ)\n", 1, "is not a mapping")
    c.refused("gzip", b"\x1f\x8b\x08\0\0\0\0\0\0\x03K\xcc\x01\0", 1, "is not UTF-8")
    c.refused("html", "<!DOCTYPE html>\n<html><body>404</body></html>\n", 1, "is not a mapping")


def _documents(c: Corpus) -> None:
    c.lands("marker-in-a-block", c.flow("marker-in-a-block", "description: |\n  one\n  ---\n  two\n"))
    script = "description: |\n  | a | b |\n  |---|---|\n  --- a/x\n  +++ b/x\n  ...\n  ---\n"
    c.lands("markers-in-a-script", c.flow("markers-in-a-script", script))
    c.lands("marker-in-quotes", c.flow("marker-in-quotes", 'description: "one --- two"\n'))
    c.lands("marker", "---\n" + c.flow("marker"))
    c.lands("marker-and-comment", "# a\n--- # b\n" + c.flow("marker-and-comment"))
    c.lands("end-marker", c.flow("end-marker") + "...\n")
    around = "---\n" + c.flow("markers-around")
    c.several("markers-around", f"{around}---\n", {"markers-around": around})
    c.lands("comment-behind-the-end", c.flow("comment-behind-the-end") + "...\n# the end\n")
    c.lands("four-dashes-in-a-text", c.flow("four-dashes-in-a-text", "description: |\n  ----\n"))
    one, two = c.flow("documents-one"), c.flow("documents-two")
    c.several("documents", f"{one}---\n{two}", {"documents-one": one, "documents-two": two})
    one, two, three = (c.flow(f"documents-of-three-{n}").rstrip("\n") for n in range(3))
    c.several(
        "documents-of-three",
        f"---\n{one}\n---\n\n{two}\n---\n---\n# nothing\n---\n{three}",
        {"documents-of-three-0": f"---\n{one}\n", "documents-of-three-1": f"\n{two}\n", "documents-of-three-2": three},
    )
    one, two = (c.flow(f"documents-with-ends-{n}").replace("\n", "\r\n") for n in range(2))
    c.several("documents-with-ends", f"{one}---\r\n{two}", {"documents-with-ends-0": one, "documents-with-ends-1": two})
    one, two = (c.flow(f"documents-with-directives-{n}") for n in range(2))
    c.several(
        "documents-with-directives",
        f"%YAML 1.1\n---\n{one}...\n%YAML 1.1\n---\n{two}",
        {
            "documents-with-directives-0": f"%YAML 1.1\n---\n{one}...\n",
            "documents-with-directives-1": f"%YAML 1.1\n---\n{two}",
        },
    )
    one, two = (c.flow(f"documents-with-comments-{n}") for n in range(2))
    c.several(
        "documents-with-comments",
        f"# first\n{one}# between\n--- # second\n# third\n{two}",
        {"documents-with-comments-0": f"# first\n{one}# between\n", "documents-with-comments-1": f"# third\n{two}"},
    )
    one, two = c.flow("marked-one", "description: |\n  a\n  ---\n  b\n"), c.flow("marked-two")
    c.several("documents-with-a-marker-inside", f"{one}---\n{two}", {"marked-one": one, "marked-two": two})
    same = c.flow("twice-in-a-file")
    c.refused("same-flow-twice", f"{same}---\n{same}", 8, "is already in .*:1; a flow has one file")
    good = c.flow("beside-a-bad-one")
    c.refused("good-and-bad", f"{good}---\n- a\n", 8, "is not a mapping")
    c.refused("good-and-wrong", f"{good}---\nid: [\n", 9, "YAML syntax")
    c.refused("marker-inside-a-text", c.flow("x", 'description: "a\n---\nb"\n'), 8, "YAML syntax")
    c.refused("marker-at-the-margin", c.flow("x", "description: |\n  a\n---\n  b\n"), 10, "is not a mapping")
    c.refused("text-behind-the-marker", f"--- {c.flow('x')}", 1, "YAML syntax")
    c.refused("four-dashes", "----\n", 1, "is not a mapping")


def _tags(c: Corpus) -> None:
    for name, value in (
        ("tag-text", "!!str 17"),
        ("tag-binary", "!!binary aGVsbG8="),
        ("tag-full", "!<tag:yaml.org,2002:str> x"),
        ("tag-own", "!foo x"),
        ("tag-python", "!!python/object/apply:os.system ['true']"),
        ("tag-python-name", "!!python/name:os.system x"),
        ("tag-java", '!!javax.script.ScriptEngineManager [!!java.net.URLClassLoader [[!!java.net.URL ["http://x"]]]]'),
        ("tag-set", "!!set {a, b}"),
        ("tag-pairs", "!!omap [a: 1, b: 2]"),
        ("tag-number-that-is-none", "!!int abc"),
        ("tag-null", "!!null ''"),
        ("tag-vault", "!vault |\n      $ANSIBLE_VAULT;1.1;AES256\n      6162"),
        ("tag-unsafe", "!unsafe '{{ x }}'"),
    ):
        c.lands(name, c.flow(name, f"variables:\n  a: {value}\n"))
    c.lands("tag-at-the-root", "!!map\n" + c.flow("tag-at-the-root"))
    c.lands("tag-of-java-at-the-root", "!!io.kestra.core.models.flows.Flow\n" + c.flow("tag-of-java-at-the-root"))
    c.refused("tag-without-handle", c.flow("x", "variables: !e!foo x\n"), 7, "YAML syntax: .*undefined tag handle")
    c.refused("tag-broken", c.flow("x", "variables: !<broken x\n"), 7, "YAML syntax")


def _directives(c: Corpus) -> None:
    for name, directive in (
        ("directive-1.1", "%YAML 1.1"),
        ("directive-1.2", "%YAML 1.2"),
        ("directive-unknown", "%FOO bar"),
        ("directive-tag", "%TAG !e! tag:example.org,2026:"),
    ):
        c.lands(name, f"{directive}\n---\n{c.flow(name)}")
    c.refused("directive-2.0", f"%YAML 2.0\n---\n{c.flow('x')}", 1, "YAML syntax: .*version")
    c.refused("directive-twice", f"%YAML 1.1\n%YAML 1.1\n---\n{c.flow('x')}", 2, "YAML syntax: .*duplicate")
    c.refused("directive-without-marker", f"%YAML 1.1\n{c.flow('x')}", 2, "YAML syntax")
    c.refused("directive-cut", f"%YAML\n---\n{c.flow('x')}", 1, "YAML syntax")
    c.refused("directive-of-a-huge-version", f"%YAML {'1' * 10_000}.1\n---\n{c.flow('x')}", 1, "YAML syntax")


def _roots(c: Corpus) -> None:
    for name, content in (
        ("root-list", f"- {LOG}\n"),
        ("root-text", "hello\n"),
        ("root-number", "17\n"),
        ("root-quoted", '"id: x"\n'),
        ("root-empty-list", "[]\n"),
        ("root-block", "|\n  id: x\n"),
    ):
        c.refused(name, content, 1, "is not a mapping")
    c.refused("root-empty-mapping", "{}\n", None, "so it is not a flow")
    c.refused("root-alias", "*a\n", 1, "has no anchor")
    c.refused("key-deleted", c.flow("x", "deleted: 3\n"), 7, "deleted is not false")
    c.refused("key-deleted-in-quotes", c.flow("x", '"deleted": true\n'), 7, "deleted is not false")
    c.refused("key-deleted-escaped", c.flow("x", '"d\\x65leted": true\n'), 7, "deleted is not false")
    for key, value in (("deleted", "false"), ("draft", "false"), ("revision", "7"), ("source", "x")):
        c.lands(f"key-{key}-{value}", c.flow(f"key-{key}-{value}", f"{key}: {value}\n"))
    c.kestra("key-revision-merged", c.flow("key-revision-merged", "<<: {revision: 3}\n"), 7, 'Unrecognized field "<<"')


def _for_kestra(c: Corpus) -> None:
    """Right YAML and no right flow. Kestra's validation lets some things pass; those land."""
    unknown = c.flow("kestra-unknown-type").replace(LOG, "io.kestra.nope.Nope")
    c.kestra("kestra-unknown-type", unknown, 5, "Invalid type: io.kestra.nope.Nope")
    c.kestra("kestra-no-type", c.flow("kestra-no-type").replace(f"    type: {LOG}\n", ""), 4, "Invalid type: <null>")
    task = f"tasks:\n  - id: a\n    type: {LOG}\n"
    for name, tasks, line, pattern in (
        ("kestra-no-tasks", "", None, "tasks: must not be empty"),
        ("kestra-empty-tasks", "tasks: []\n", 3, "tasks: must not be empty"),
        ("kestra-tasks-null", "tasks:\n", None, "Cannot deserialize"),
        ("kestra-tasks-text", "tasks: x\n", None, "Cannot deserialize"),
        ("kestra-tasks-mapping", "tasks:\n  a: b\n", None, "Cannot deserialize"),
        ("kestra-task-without-id", f"tasks:\n  - type: {LOG}\n    message: x\n", 3, "id: must not be (null|blank)"),
        ("kestra-task-bad-id", f"tasks:\n  - id: a b\n    type: {LOG}\n    message: x\n", None, "must match"),
        ("kestra-task-without-message", task, 4, "message: must not be null"),
        ("kestra-task-unknown-key", f"{task}    message: x\n    nope: 1\n", 7, "nope"),
        ("kestra-task-of-a-trigger", task.replace(LOG, SCHEDULE), None, "cannot be cast|Unable to validate"),
    ):
        c.kestra(name, f"id: {name}\nnamespace: {c.namespace}\n{tasks}", line, pattern)
    more = f"  - id: b\n    type: {LOG}\n    message: x\n"
    trigger = f"triggers:\n  - id: t\n    type: {SCHEDULE}\n"
    for name, added, line, pattern in (
        ("kestra-same-task-twice", more.replace("id: b", "id: say"), 7, "Duplicate task id"),
        ("kestra-unknown-key", "nope: 1\n", 7, "nope"),
        ("kestra-bad-cron", f'{trigger}    cron: "61 * * *"\n', 8, "invalid cron expression"),
        ("kestra-cron-of-seven", f'{trigger}    cron: "* * * * * * *"\n', 8, "invalid cron expression"),
        ("kestra-trigger-without-type", "triggers:\n  - id: t\n", 8, "Invalid type: <null>"),
        ("kestra-bad-input-type", "inputs:\n  - id: a\n    type: NOPE\n", 9, "Invalid type: NOPE"),
        ("kestra-input-without-type", "inputs:\n  - id: a\n", None, "Invalid type"),
        ("kestra-same-input", "inputs:\n" + "  - id: a\n    type: STRING\n" * 2, 10, "Duplicate input"),
        ("kestra-bad-default", "inputs:\n  - id: a\n    type: INT\n    defaults: abc\n", None, "not a valid INT"),
        ("kestra-bad-concurrency", "concurrency:\n  limit: 0\n", 8, "greater than or equal to 1"),
        ("kestra-bad-behaviour", "concurrency:\n  limit: 1\n  behavior: NOPE\n", None, "Cannot deserialize"),
        ("kestra-bad-retry", f"{more}    retry: {{type: nope}}\n", 10, "Invalid type: nope"),
        ("kestra-labels-number", "labels: 17\n", None, "neither an object"),
        ("kestra-labels-nested", "labels: {a: {b: c}}\n", None, "Unsupported type for key: a"),
        ("kestra-system-label", "labels: {system.a: b}\n", None, "System labels"),
        ("kestra-description-list", "description: [a]\n", None, "Cannot deserialize"),
        ("kestra-disabled-text", "disabled: perhaps\n", None, "Cannot deserialize"),
        ("kestra-variables-list", "variables: [a]\n", None, "Cannot deserialize"),
        ("kestra-sla", "sla:\n  - id: a\n    type: NOPE\n    behavior: FAIL\n", 9, "Invalid type: NOPE"),
        ("kestra-webhook-key", trigger.replace(SCHEDULE, WEBHOOK) + "    key: []\n", None, "Cannot deserialize"),
        ("kestra-worker-group", f"{more}    workerGroup: 17\n", 10, "workerGroup"),
        ("kestra-flow-in-itself", f"  - id: b\n    type: {SUBFLOW}\n    namespace: {c.namespace}\n"
         "    flowId: kestra-flow-in-itself\n", None, "Recursive call"),
        ("kestra-removed-each", f"  - id: b\n    type: {EACH}\n    value: [1]\n    tasks: []\n", 8, "EachSequential"),
        ("kestra-listeners", "listeners: []\n", 7, "listeners"),
        ("kestra-task-defaults", "taskDefaults: []\n", 7, "taskDefaults"),
    ):  # fmt: skip
        c.kestra(name, c.flow(name, added), line, pattern)
    output = "outputs:\n  - id: o\n    type: STRING\n    value: '{{ %s }}'\n"
    for name, added in (
        ("kestra-bad-timeout", f"{more}    timeout: soon\n"),
        ("kestra-bad-expression", output % "nope("),
        ("kestra-unknown-variable", output % "nope.nope"),
    ):
        c.lands(name, c.flow(name, added))


def names() -> Iterator[str]:
    """The names of all cases, for parametrized tests."""
    yield from (case.name for case in cases("names.alone"))
