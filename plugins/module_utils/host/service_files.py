# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The files of a service as one set: written together, and restored together."""

from __future__ import annotations

import base64
import binascii
import contextlib
import fnmatch
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.devorch.orchestration.plugins.module_utils.environment_file import quoted, unquoted

RECORD = "record.json"
REPLACED = "replaced.json"
"""What the host had in files that it shares, beside the record: by path, the values that this collection replaced."""
SECRET_NAME = re.compile(
    r"pass|pwd|(?<![a-z])pw(?![a-z])|secret|token|key|credential|auth|jwt|dsn|private|license_cert", re.IGNORECASE
)
SECRET_SETTING = re.compile(SECRET_NAME.pattern + r"|://[^/\s]*@", re.IGNORECASE)
"""What a name or a value has that is a secret in spite of a public name."""
SECRET_GROUP = re.compile(r"(?:passwords|secrets|tokens|keys|credentials|auths)$", re.IGNORECASE)
"""How a name ends if whatever is below it is secret, by whatever name."""
SETTING = re.compile(r"^(?P<start>\s*(?:- )*[\"']?(?P<name>[\w.-]+)[\"']?\s*(?P<sign>[:=])\s*)(?P<value>\S.*)$")
HEADING = re.compile(r"^(?P<start>\s*(?:- )*[\"']?(?P<name>[\w.-]+)[\"']?\s*:\s*)$|^[A-Z_][A-Z0-9_]*=$")
"""A line that has a name and no value. The end of a text in Base64 looks alike, but for its small letters."""
JSON_OBJECT = re.compile(r"[\"']?\s*[\[{].*", re.DOTALL)
"""A JSON text, which may have a secret by any name."""
OPENING = re.compile(r"[\[{][\s\[{]*")
BRACKETS = re.compile(r"[\s\[\]{},]*")
PLACEHOLDER = re.compile(r"[\"']?\$\{[\w.-]+\}[\"']?,?")
EMBEDDED = re.compile(
    rf"(?:{SECRET_NAME.pattern})[\w.-]*\\?[\"']?\s*[:=]\s*(?![\"']?\$\{{[\w.-]+\}}(?:[\"'&;,}}\]\s]|$))"
    r"(?:\"(?P<double>[^\"]+)\"|'(?P<single>[^']+)'|\\?[\"']?(?P<bare>[^\s\"'&;,}\]\\\[{]+))",
    re.IGNORECASE,
)
"""A secret among other things, such as password=... in an address or in a line of JSON."""
URL_PASSWORD = re.compile(r"://[^\s:/@\"']*:(?!\$\{[\w.-]+\}@)(?P<password>[^\s\"']+)@")
URL_TOKEN = re.compile(r"://(?!\$\{[\w.-]+\}@)(?P<token>[^\s:/@\"']+)@")
BEARER = re.compile(r"(?:bearer|basic|token)\s+(?P<value>\S+)", re.IGNORECASE)
PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----")
UNREMARKABLE = {"true", "false", "null", "none"}
"""What no message is legible without, and what no secret is."""
LONG_WORD = 8
SHORTEST_MASKED = 4
MASK = "********"


class FilesError(Exception):
    """Files that can't be written or restored; the message names the path and what to do."""


@dataclass(frozen=True)
class File:
    """A file as it should be, or as it is: its content, and its mode as a number."""

    content: bytes
    mode: int

    def digest(self) -> str:
        """Return the SHA-256 of the content, in hexadecimal."""
        return hashlib.sha256(self.content).hexdigest()


def read(path: Path) -> File | None:
    """Return the file at a path, or None if there is none."""
    try:
        return File(path.read_bytes(), path.stat().st_mode & 0o7777)
    except FileNotFoundError:
        return None


def temporary_prefix(path: Path) -> str:
    """Return how the names of the temporary files beside a path begin."""
    return f".{path.name}.new-"


def write(path: Path, file: File) -> None:
    """Put a file in place so that a reader, or a power cut, meets the old or the new one and never a part."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=temporary_prefix(path))
    try:
        with os.fdopen(handle, "wb") as stream:
            # A directory may hand its group on.
            os.fchown(stream.fileno(), os.geteuid(), os.getegid())
            os.fchmod(stream.fileno(), file.mode)
            stream.write(file.content)
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def remove_leftovers(paths: Iterable[Path]) -> None:
    """Remove the temporary files of runs that were killed while they wrote these paths."""
    for path in paths:
        if path.parent.is_dir():
            for leftover in path.parent.iterdir():
                if leftover.name.startswith(temporary_prefix(path)):
                    leftover.unlink(missing_ok=True)


def digest_of(entries: Iterable[tuple[str, int, str]]) -> str:
    """Return a digest of files, each given as its path, its mode and the SHA-256 of its content."""
    return hashlib.sha256(json.dumps(sorted(entries)).encode()).hexdigest()


def set_digest(files: Mapping[Path, File]) -> str:
    """Return a digest of paths, modes and contents."""
    return digest_of((str(path), file.mode, file.digest()) for path, file in files.items())


class LastKnownGood:
    """The files with which a service was last healthy, in a directory of their own, one copy each.

    The record names the directory of the copies and is replaced last, so that a run that is killed leaves the set as it
    was. While a deployment is under way, the record has no digest: whatever is found then may run, or may not.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.record: dict[str, Any] | None = None
        self._before: dict[str, Any] | None = None
        try:
            self.record = json.loads((directory / RECORD).read_text(encoding="utf-8"))
        except FileNotFoundError:
            pass
        except ValueError as error:
            raise FilesError(
                f"{directory / RECORD}: it is damaged ({error}). Remove {directory} and run again"
            ) from error

    @property
    def committed(self) -> str:
        """The digest of the files that were committed; an empty string if there are none, or if others may run."""
        return str((self.record or {}).get("digest", ""))

    @property
    def config_hash(self) -> str:
        """What Compose wrote at the container that was healthy with the set; an empty string if that is not known."""
        return str((self.record or {}).get("config_hash", ""))

    @property
    def exists(self) -> bool:
        """Whether there is a set to return to."""
        return bool(self._copies)

    @property
    def _copies(self) -> str:
        """The name of the directory of the copies. Records of version 0.2 call it by the digest."""
        record = self.record or {}
        return str(record.get("copies", record.get("digest", "")[:12]))

    def paths(self) -> list[Path]:
        """Return the paths of the set."""
        return [Path(name) for name in (self.record or {}).get("files", {})]

    def files(self) -> dict[Path, File]:
        """Return the set by path; raise FilesError if a copy is missing or was changed."""
        found: dict[Path, File] = {}
        for name, noted in (self.record or {}).get("files", {}).items():
            copy = self._copy_of(self._copies, Path(name))
            file = read(copy)
            if file is None or file.digest() != noted["sha256"]:
                raise FilesError(f"{copy}: the copy of {name} is missing or was changed. Restore {name} by hand")
            found[Path(name)] = File(file.content, int(noted["mode"], 8))
        return found

    def holds(self, files: Mapping[Path, File]) -> bool:
        """Return whether exactly these files were committed, and no deployment has begun since."""
        noted = (self.record or {}).get("files", {})
        listed = [(name, int(entry["mode"], 8), entry["sha256"]) for name, entry in noted.items()]
        return bool(self.committed) and digest_of(listed) == set_digest(files)

    def disregard(self) -> None:
        """Have no set until the next commit, neither this one nor one of the files that are there."""
        self.record = {}

    def begin(self) -> None:
        """Note that other files than those of the set may run from now on."""
        self._before = self.record
        if self.record is None or self.committed:
            files = (self.record or {}).get("files", {})
            self._replace_record({"digest": "", "copies": self._copies, "files": files})

    def abandon(self) -> None:
        """Take the note back, since nothing but the set's files was started after all."""
        if self._before is not None and self._before != self.record:
            self._replace_record(self._before)

    def commit(self, files: Mapping[Path, File], extra: Mapping[Path, File], config_hash: str = "") -> None:
        """Make these files the set; the digest is that of C(files) alone, which others know as well."""
        both = {**files, **extra}
        copies = set_digest(both)[:12]
        make_directory(self.directory.parent, 0o700)
        make_directory(self.directory, 0o700)
        remove_leftovers(self._copy_of(copies, path) for path in both)
        for path, file in both.items():
            copy = self._copy_of(copies, path)
            copy.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write(copy, File(file.content, 0o600))
        noted = {str(path): {"sha256": file.digest(), "mode": f"{file.mode:04o}"} for path, file in both.items()}
        self._replace_record(
            {"digest": set_digest(files), "copies": copies, "config_hash": config_hash, "files": noted}
        )
        for entry in self.directory.iterdir():
            if entry.is_dir() and entry.name != copies:
                shutil.rmtree(entry)

    def replaced(self, path: Path) -> dict[str, Any]:
        """Return the values of the host that were replaced in a file, as far as that is known."""
        return dict(self._replaced().get(str(path)) or {})

    def note_replaced(self, values: Mapping[str, Any]) -> None:
        """Note the values of the host that are replaced, by path, before they are."""
        noted = self._replaced()
        known = {**noted, **{path: replaced for path, replaced in values.items() if replaced or path in noted}}
        if known != noted:
            make_directory(self.directory.parent, 0o700)
            make_directory(self.directory, 0o700)
            remove_leftovers([self.directory / REPLACED])
            write(self.directory / REPLACED, File(json.dumps(known, indent=1).encode(), 0o600))

    def _replaced(self) -> dict[str, Any]:
        file = read(self.directory / REPLACED)
        with contextlib.suppress(ValueError):
            return dict(json.loads(file.content)) if file else {}
        return {}

    def _copy_of(self, copies: str, path: Path) -> Path:
        return self.directory / copies / str(path).lstrip("/")

    def _replace_record(self, record: dict[str, Any]) -> None:
        make_directory(self.directory.parent, 0o700)
        make_directory(self.directory, 0o700)
        remove_leftovers([self.directory / RECORD])
        write(self.directory / RECORD, File(json.dumps(record, indent=1).encode(), 0o600))
        self.record = record


def make_directory(path: Path, mode: int, owner: tuple[int, int] = (-1, -1), *, follow: bool = False) -> None:
    """Make a directory with a mode and an owner, and those above it so that everybody may enter them.

    Raise FilesError if something else is there; a link to a directory is as well, unless C(follow).
    """
    for parent in reversed(path.parents):
        if not parent.exists():
            parent.mkdir()
            _own(parent, 0o755, (-1, -1), follow=False)
    with contextlib.suppress(FileExistsError):
        path.mkdir()
    _own(path, mode, owner, follow=follow)


def _own(path: Path, mode: int, owner: tuple[int, int], *, follow: bool) -> None:
    # Through a descriptor: who may write to the directory above can put a link in its place at any moment.
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | (0 if follow else os.O_NOFOLLOW))
    except OSError as error:
        problem = no_directory(path, follow=follow)
        if problem:
            raise FilesError(problem) from error
        raise
    try:
        if owner != (-1, -1):
            os.fchown(descriptor, *owner)
        os.fchmod(descriptor, mode)
    finally:
        os.close(descriptor)


def no_directory(path: Path, *, follow: bool = False) -> str:
    """Return why no directory can be at a path, and what to do; an empty string if there is one, or nothing."""
    if path.is_symlink() and not (follow and path.is_dir()):
        return f"{path}: is a symbolic link. Remove it and run again"
    if path.exists() and not path.is_dir():
        return f"{path}: is not a directory. Move it away and run again"
    return ""


def preserve_env(content: bytes, values: Mapping[str, str]) -> bytes:
    """Return an environment file with these values for the variables that it has among them."""
    lines = []
    for line in content.decode().split("\n"):
        name = line.split("=", 1)[0]
        lines.append(f"{name}={quoted(values[name])}" if name in values else line)
    return "\n".join(lines).encode()


@dataclass(frozen=True)
class Line:
    """A line of a file: what may be shown of it, and the secret behind that, which is empty if there is none."""

    start: str
    secret: str = ""
    certain: bool = True
    """Whether it is secret by itself, and not only because everything in its file is."""

    named: bool = False
    """Whether the secret is the value of a name."""


def lines_of(text: str, every: bool, public: Collection[str] = ()) -> list[Line]:
    """Return the lines of a file with what is secret apart: what looks like it, or all but public values."""
    lines = []
    quote, deeper, escaped, private, certain = "", -1, False, False, True
    group, all_below = -1, False
    for line in text.splitlines():
        content = line.lstrip()
        indent = len(line) - len(content)
        item = content.startswith("- ")
        if not content:
            lines.append(Line(line))
            continue
        if quote or escaped or private or (deeper >= 0 and indent > deeper):
            lines.append(Line(line[:indent], content, certain))
            quote = "" if quote and _unpaired(line, quote) else quote
            escaped = escaped and line.endswith("\\")
            private = private and "-----END " not in line
            continue
        deeper = -1
        if indent < group or (indent == group and not item):
            group = -1
        private = bool(PRIVATE_KEY.search(line)) and "-----END " not in line
        entry = _entry(line, every, public, below=group >= 0, all_below=all_below)
        lines.append(entry)
        match = SETTING.match(line)
        heading = HEADING.match(line)
        name = match or heading
        if entry.secret:
            certain = entry.certain
            if match and entry.named:
                quote = match["value"][0] if match["value"][0] in "\"'" else ""
                quote = quote if quote and _unpaired(match["value"], quote) else ""
                escaped = match["sign"] == "=" and line.endswith("\\")
                # Only the continuation of a value is indented further than its name.
                deeper = _column(match) if match["sign"] == ":" else -1
        elif name and name["name"] and not (group >= 0 and all_below) and (heading or OPENING.fullmatch(name["value"])):
            # What is below a further name is judged by that one.
            sounds_secret = bool(SECRET_NAME.search(name["name"]))
            group = _column(name) if sounds_secret else -1
            all_below = bool(SECRET_GROUP.search(name["name"]))
    return lines


def _entry(line: str, every: bool, public: Collection[str], *, below: bool, all_below: bool) -> Line:
    """Return a line that continues no other one; it may be below a name that sounds secret."""
    content = line.lstrip()
    whole = Line(line[: len(line) - len(content)], content)
    match = SETTING.match(line)
    if match and every and (not match["value"].strip("=") or (match["sign"] == ":" and match["start"][-1] == ":")):
        # The end of a text in Base64, or a colon within a text.
        match = None
    if content.startswith("#"):
        return whole if _embedded(line) else Line(line)
    if match and PLACEHOLDER.fullmatch(match["value"]):
        return Line(line)
    if match:
        opening = OPENING.fullmatch(match["value"])
        secret = (bool(SECRET_NAME.search(match["name"])) or (below and all_below)) and not opening
        secret = secret or bool(_embedded(match["value"])) or bool(PRIVATE_KEY.search(line))
        if every and not secret:
            judged = JSON_OBJECT.fullmatch(match["value"]) and "{" in match["value"]
            open_name = _public(match["name"], public) and not judged
            hidden = not opening and (not open_name or bool(SECRET_SETTING.search(line)))
            return Line(match["start"], match["value"], certain=False, named=True) if hidden else Line(line)
        return Line(match["start"], match["value"], named=True) if secret else Line(line)
    if HEADING.match(line) or (BRACKETS.fullmatch(line) and not every):
        return Line(line)
    if below or _embedded(line) or PRIVATE_KEY.search(line):
        bare = content.removeprefix("- ")
        return Line(line) if PLACEHOLDER.fullmatch(bare) else Line(line[: len(line) - len(bare)], bare)
    return Line(whole.start, content, certain=False) if every else Line(line)


def _public(name: str, public: Collection[str]) -> bool:
    """Return whether a name is among the public ones, which may be patterns."""
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in public)


def _column(match: re.Match[str]) -> int:
    """Return where the name in a line begins, with its quotation mark."""
    return match.start("name") - (match.string[match.start("name") - 1 : match.start("name")] in {'"', "'"})


def _unpaired(text: str, quote: str) -> bool:
    """Return whether a quotation that begins, or ends, in a text does not do the other there as well."""
    return re.sub(r"\\.", "", text).count(quote) % 2 == 1


def _embedded(text: str) -> set[str]:
    """Return the secrets within a text: passwords in addresses, and the values of names that sound secret."""
    found = {match["double"] or match["single"] or match["bare"] for match in EMBEDDED.finditer(text)}
    found |= {match["password"] for match in URL_PASSWORD.finditer(text)}
    return found | {match["token"] for match in URL_TOKEN.finditer(text)}


def shown(before: bytes, after: bytes, every: bool, public: Collection[str] = ()) -> tuple[str, str]:
    """Return both texts for a diff, without any secret value; those that differ are marked."""
    old = lines_of(before.decode(errors="replace"), every, public)
    new = lines_of(after.decode(errors="replace"), every, public)

    def hide(lines: list[Line], others: list[Line], word: str) -> str:
        known = {(line.start, line.secret) for line in others}
        return "".join(
            f"{line.start}{MASK if (line.start, line.secret) in known else f'{MASK} ({word})'}\n"
            if line.secret
            else f"{line.start}\n"
            for line in lines
        )

    return hide(old, new, "old"), hide(new, old, "changed")


def secret_values(text: str, every: bool = False, public: Collection[str] = ()) -> set[str]:
    """Return the secret values in an environment or YAML file, as they are and out of Base64."""
    certain: set[str] = set()
    other: set[str] = set()
    plain: set[str] = set()
    for line in lines_of(text, every, public):
        if not line.secret:
            match = SETTING.match(line.start)
            plain |= {_bare(match["value"])} if match else set()
            continue
        values = {_bare(line.secret)} | _embedded(line.secret)
        if line.named and line.secret[:1] == '"' and "\\" in line.secret:
            values.add(unquoted(line.secret))
        values |= {match["value"].rstrip("\"',") for match in BEARER.finditer(line.secret)}
        if not line.named:
            values |= {_bare(word) for word in line.secret.split() if len(word) >= LONG_WORD}
        for value in list(values):
            with contextlib.suppress(binascii.Error, ValueError):
                values.add(base64.b64decode(value, validate=True).decode())
        # A program may show a text of several lines line by line.
        values |= {part for value in values if "\n" in value for part in value.split("\n") if len(part) >= LONG_WORD}
        if line.certain:
            certain |= values
        else:
            other |= values
    return {
        value
        for value in certain | (other - plain)
        if len(value) >= SHORTEST_MASKED and value.lower() not in UNREMARKABLE and not PLACEHOLDER.fullmatch(value)
    }


def _bare(value: str) -> str:
    """Return a value without its quotation marks and the comma behind it."""
    return value.strip().rstrip(",").strip("'\"") if value.strip()[:1] in {'"', "'"} else value.strip().strip("'\"")


def mask(text: str, values: Iterable[str]) -> str:
    """Return a text in which these values are asterisks, the longest first; what is masked already stays as it is."""
    parts = [MASK, *sorted(filter(None, values), key=len, reverse=True)]
    return re.sub("|".join(map(re.escape, parts)), MASK, text)
